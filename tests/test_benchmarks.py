"""The throughput page: what it holds, how the best batch is found, and that the parts add up to the step."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch

from amr_train.experiments.loading import load_experiment
from benchmarks import throughput
from benchmarks.throughput import CPU, EPOCH_CLIPS, EPOCHS, PARTS, QUICK, Clock, Row, measured, parts

HERE = torch.device("cpu")
TINY = ["scale=tiny"]


def test_the_page_holds_every_method_and_loads_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(throughput, "METHODS", ("mamp", "amr"))
    throughput.main(["--quick", "--html", str(tmp_path / "page.html"), "precision=float32"])
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert not re.search(r"https?://|src=|<script|@import|url\(", page)
    assert "prefers-color-scheme: dark" in page
    rows = re.findall(r"<tr class=.*?</tr>", page)
    assert 4 <= len(rows) <= 8  # two methods, bodies fed and left out, at batch 4 and at the best batch
    assert page.count("absent left out") + page.count("both fed") == len(rows)
    for text in ("scale tiny", "GFLOP/s in float32", "only to see the page", *PARTS):
        assert text in page
    shown = capsys.readouterr().out
    assert "page → " in shown
    assert len(re.findall(r"^(?:mamp|amr) +\S", shown, re.M)) == len(rows) + 2


def speeds(by_batch: dict[int, float | None]) -> Callable[..., tuple[float, float, int]]:
    """A measurement with these clips a second; None is more than the memory holds."""

    def whole(experiment, *rest):
        speed = by_batch[experiment.pretrain.batch_size]
        if speed is None:
            raise torch.OutOfMemoryError("no room")
        return speed, 1.5, 2**30

    return whole


@pytest.mark.parametrize(
    ("by_batch", "expected"),
    [
        ({8: 100, 16: 150, 32: 151}, [(8, False), (16, True)]),  # less than 2 % more is no gain
        ({8: 100, 16: 150, 32: None}, [(8, False), (16, True)]),
        ({8: 100, 16: 90}, [(8, True)]),
        ({8: 100, 16: 120, 32: 140}, [(8, False), (32, True)]),
    ],
)
def test_the_best_batch_is_the_last_that_gains_and_fits(monkeypatch, by_batch, expected):
    monkeypatch.setattr(throughput, "whole", speeds(by_batch))
    scale = throughput.Scale(clips=64, batch=8, largest=32, warm=0, steps=1)
    rows = measured("amr", TINY, throughput.clips_like_ntu(64), HERE, scale, peak=1e9)
    assert [(row.batch, row.best) for row in rows] == expected


def test_a_batch_that_does_not_fit_is_said(monkeypatch):
    monkeypatch.setattr(throughput, "whole", speeds({8: None}))
    assert measured("amr", TINY, throughput.clips_like_ntu(64), HERE, CPU, peak=1e9) == []


def test_figures_of_a_row_by_hand():
    row = Row("amr", "skip", 128, False, 16_000.0, 0.2, 0)
    assert row.step_ms == pytest.approx(8.0)
    assert row.minutes == pytest.approx(EPOCH_CLIPS * EPOCHS / 16_000 / 60)


def test_the_parts_add_up_to_the_time_between_begin_and_the_last_mark(monkeypatch):
    now = iter([0.0, 1.0, 3.0, 6.0, 100.0, 101.0, 105.0])
    clock = Clock(HERE)
    monkeypatch.setattr(clock, "_now", lambda: next(now))
    for _ in range(2):
        clock.begin()
        clock.mark("views")
        clock.mark("forward")
        if not _:
            clock.mark("views")
    assert clock.seconds() == {"views": 1 + 3 + 1, "forward": 2 + 4}


def test_every_part_of_a_step_is_measured():
    experiment = load_experiment("ntu60-xsub-subset", [*TINY, "pretrain.batch_size=4"])
    found = parts(experiment, throughput.clips_like_ntu(8), HERE, QUICK)
    assert list(found) == list(PARTS)
    assert min(found.values()) > 0
