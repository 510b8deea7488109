"""How a step is measured, by a clock of the test's own."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from amr_train import load_experiment
from amr_train.evaluation.protocols import PROTOCOLS
from amr_train.experiments import timing
from amr_train.experiments.timing import CPU_CLIPS, SHORT_SECONDS, Times


@pytest.fixture
def clock(monkeypatch):
    """Seconds that only steps spend."""
    spent = [0.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: spent[0])
    return spent


def steps(
    clock: list[float], always: float, each: float, seen: list[int]
) -> Callable[[int], Callable[[], object]]:
    """Steps that cost something however few their clips, and something for each; the first twice that."""

    def step_of(clips: int) -> Callable[[], object]:
        first = iter([2])

        def step() -> None:
            seen.append(clips)
            clock[0] += (always + each * clips) * next(first, 1)

        return step

    return step_of


def test_what_a_step_costs_by_itself_is_counted_once_a_batch(clock):
    seen: list[int] = []
    found = timing._measured(steps(clock, 0.04, 0.001, seen), 32, torch.device("cpu"))
    assert found * 32 == pytest.approx(0.04 + 0.032)
    assert seen == [CPU_CLIPS] * 3 + [32] * 3


def test_a_batch_that_takes_long_is_told_from_a_few_of_its_clips(clock):
    seen: list[int] = []
    each = 2 * SHORT_SECONDS / 32
    found = timing._measured(steps(clock, 0.0, each, seen), 32, torch.device("cpu"))
    assert found == pytest.approx(each)
    assert set(seen) == {CPU_CLIPS}


def test_of_fewer_clips_than_that_all_are_measured(clock):
    seen: list[int] = []
    found = timing._measured(steps(clock, 0.04, 0.001, seen), 2, torch.device("cpu"))
    assert found * 2 == pytest.approx(0.042)
    assert set(seen) == {2}


def test_of_subjects_views_are_made_for_each_of_them(monkeypatch):
    """Of 2, 3 and 4 clips that are 7, 6 and 5 in each epoch, where the part for testing has 9."""
    monkeypatch.setattr(timing, "_forward", lambda *of: 1.0)
    clips = np.zeros(9, [("subject", int), ("bodies", int)])
    clips["subject"], clips["bodies"] = np.repeat([4, 6, 8], [2, 3, 4]), 2
    dataset = SimpleNamespace(clips=clips, spec=SimpleNamespace(skeleton=SimpleNamespace(joints=[0] * 5)))
    words = [f"evaluation.{word}" for word in ("linear.views=augmented", "linear.epochs=10", "baselines=[]")]
    found = {}
    for part in ("test", "subjects"):
        experiment = load_experiment("demo", [*words, f"evaluation.part={part}"])
        times = Times(experiment, dataset, torch.device("cpu"))
        found[part] = times.evaluation(PROTOCOLS["linear"], np.arange(9), np.arange(9))
    assert found == {"test": 10 * 9 * 2, "subjects": 10 * (7 + 6 + 5) * 2}
