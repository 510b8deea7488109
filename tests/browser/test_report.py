"""The report in a real browser: its filter, hover, differences, and the clips behind a confusion."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from amr_data import open_dataset
from amr_train.config import Experiment
from amr_train.evaluation.features import JOINTS, keep_features
from amr_train.evaluation.kept import keep_scores, scores_file
from amr_train.evaluation.parts import parts_of
from amr_train.evaluation.records import write_record
from amr_train.evaluation.scores import score
from amr_train.report import write_report
from tests.amr_train.report.folders import judge, write_run

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
EVIL = "<img src=x onerror=alert(1)>"
WRONG = 5
"""Every so many clips are taken for the next class."""


def with_clips(folder: Path, experiment: Experiment, shards: Path) -> None:
    """Let the run in the folder have been judged on real clips, scores and features kept."""
    dataset = open_dataset(shards)
    run = json.loads((folder / "run.json").read_text())
    run["data"] |= {"path": str(shards), "fingerprint": dataset.fingerprint}
    (folder / "run.json").write_text(json.dumps(run))
    clips = parts_of(dataset, "xsub", "test")[1]
    labels = torch.from_numpy(dataset.clips["label"][clips].astype("int64"))
    taken = (labels + (torch.arange(len(labels)) % WRONG == 0)) % 60
    scores = torch.eye(60)[taken]
    record = judge(folder, experiment, details={"mean": score(scores, labels).as_dict()})
    shutil.rmtree(folder / "evaluations")
    record["subject"]["digest"] = "weights"
    write_record(folder, record)
    keep_scores(scores_file(folder, record), {"mean": scores}, [dataset.names[i] for i in clips])
    features = torch.rand(len(dataset), 25 * 2, generator=torch.Generator().manual_seed(0))
    keep_features(
        folder / "features" / f"weights-{dataset.fingerprint[:12]}-1.safetensors", {JOINTS: features}
    )


@pytest.fixture(scope="module")
def file(ntu_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two methods of three seeds that differ by five points in each, and one with a hostile name."""
    out = tmp_path_factory.mktemp("runs")
    for seed in range(3):
        for name, shift in (("amr", 5.0), ("mamp", 0.0)):
            folder = out / f"{name}-{seed}"
            experiment = write_run(folder, f"ntu60-xsub-{name}", seed=seed)
            judge(folder, experiment, shift=shift + 3 * seed + 0.1 * (seed == 2) * (name == "amr"))
    judge(out / "evil", write_run(out / "evil", "ntu60-xsub-mae", "pretrain.epochs=77", called=EVIL))
    experiment = write_run(out / "clips", "ntu60-xsub-amr", "pretrain.epochs=99")
    with_clips(out / "clips", experiment, ntu_shards)
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_report([out], path)
    return path


@pytest.fixture(scope="module")
def page(file: Path) -> Iterator[Any]:
    """The page, opened once; it fails where the console complained or more than the page was asked for."""
    if CHROMIUM is None:
        pytest.skip("no Chromium here: install Debian's chromium to run the browser tests")
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="pip install playwright to run the browser tests"
    )
    with playwright.sync_playwright() as p:
        chromium = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], timeout=120_000)
        opened = chromium.new_page(viewport={"width": 1100, "height": 900})
        opened.set_default_timeout(120_000)
        said: list[str] = []
        opened.on("console", lambda message: said.append(message.text))
        opened.on("pageerror", lambda error: said.append(str(error)))
        opened.on("dialog", lambda dialog: said.append(dialog.message))
        opened.on("request", lambda request: said.append(request.url))
        opened.goto(file.as_uri())
        opened.wait_for_selector("body[data-ready]")
        yield opened
        assert said == [file.as_uri()]
        chromium.close()


@pytest.fixture
def fresh(page: Any) -> Any:
    page.set_viewport_size({"width": 1100, "height": 900})
    page.emulate_media(media="screen", color_scheme="light")
    page.click("#every")
    return page


def rows(page: Any, table: str = "#results") -> list[str]:
    """Experiments that a table shows."""
    return page.evaluate(f"[...document.querySelectorAll('{table} tbody tr')].filter(r => !r.hidden)"
                         ".map(r => r.cells[0].textContent)")  # fmt: skip


def drawn(page: Any) -> str:
    return str(
        page.evaluate("[...document.querySelectorAll('.panels.dots svg')].map(s => s.textContent).join()")
    )


def test_names_are_text_and_the_filter_takes_words_and_buttons(fresh):
    assert EVIL in rows(fresh)
    assert EVIL in fresh.inner_text("#runs")
    assert fresh.locator("img").count() == 0
    everything = rows(fresh)
    fresh.fill("#words", "mamp")
    assert rows(fresh) == ["ntu60-xsub-mamp"]
    assert fresh.inner_text("#count") == f"1 of {fresh.locator('#runs button').count()} shown"
    assert "xsub-amr" not in drawn(fresh)
    assert "xsub-mamp" in drawn(fresh)
    fresh.fill("#words", "-mamp -img")
    assert rows(fresh) == [name for name in everything if "mamp" not in name and "img" not in name]
    fresh.click("#every")
    fresh.click("#runs button:has-text('mamp')")
    assert rows(fresh) == [name for name in everything if "mamp" not in name]
    assert fresh.get_attribute("#runs button:has-text('mamp')", "aria-pressed") == "false"
    assert "xsub-mamp" not in drawn(fresh)


def test_a_dot_under_the_pointer_says_seed_value_and_interval(fresh):
    fresh.fill("#words", "mamp")
    picture = fresh.locator(".panels.dots .panel").first
    dots = picture.locator("g[aria-label=dot]").last.locator("path")  # published values come before them
    assert dots.count() == 3
    dots.nth(1).scroll_into_view_if_needed()
    dots.nth(1).hover(force=True)
    said = picture.locator("g[aria-label=tip]").text_content()
    for text in ("ntu60-xsub-mamp", "linear mean, seed 1: 83.00 %", "mean 83.0 ± 3.0, n 3", "75.5 to 90.5"):
        assert text in said


def test_differences_are_paired_and_turn_round(fresh):
    cells = "figure:has(.pairs) tbody tr:has-text('ntu60-xsub-{}') td:nth-child(2)"
    assert fresh.inner_text("select.reference option:checked") == "ntu60-xsub-amr"
    assert fresh.inner_text(cells.format("mamp")) == "-5.0\n[-5.2, -4.9], n 3"
    assert fresh.locator(cells.format("mamp") + " b").count() == 1  # told apart, though seeds spread by six
    fresh.select_option("select.reference", label="ntu60-xsub-mamp")
    assert fresh.inner_text(cells.format("amr")).splitlines()[0] == "+5.0"
    assert "ntu60-xsub-mamp" in fresh.inner_text("figure:has(.pairs) thead")
    evil = fresh.locator("figure:has(.pairs) tbody tr").filter(has_text="img").locator("td").nth(1)
    assert evil.inner_text().endswith("n 1")
    assert evil.locator("b").count() == 0


def test_cells_of_the_confusion_list_their_clips(fresh, file):
    detail = fresh.locator(".detail")
    detail.locator(".confused button").first.click()
    which = detail.locator(".which").inner_text()
    links = detail.locator(".clips a")
    assert which.endswith(f": {links.count()} clips" if links.count() > 1 else ": 1 clip")
    name = links.first.inner_text()
    assert links.first.get_attribute("href") == f"http://127.0.0.1:8000/?clip={name}"
    assert "amr-data serve" in detail.locator(".clips").inner_text()
    detail.locator(".viewer").fill("javascript:alert(1)//")
    detail.locator(".viewer").blur()
    assert links.count() == 0
    assert name in detail.locator(".clips").inner_text()
    detail.locator(".viewer").fill("http://localhost:8123/")
    detail.locator(".viewer").blur()
    assert links.first.get_attribute("href") == f"http://localhost:8123/?clip={name}"
    cell = detail.locator(".confusion g[aria-label=cell] rect").first
    cell.scroll_into_view_if_needed()
    cell.hover(force=True)
    assert "taken for" in detail.locator(".confusion g[aria-label=tip]").text_content()
    cell.click(force=True)
    assert detail.locator(".which").inner_text() != which


def test_a_class_of_the_plane_stands_out_alone(fresh):
    detail = fresh.locator(".detail")
    dots = "[...document.querySelectorAll('.plane g[aria-label=dot] path')]"
    shown = f"{dots}.filter(e => Number(e.getAttribute('fill-opacity')) > .5).length"
    whole = fresh.evaluate(shown)
    button = detail.locator(".classes button").first
    button.click()
    assert 0 < fresh.evaluate(shown) < whole
    assert button.get_attribute("aria-pressed") == "true"
    button.click()
    assert fresh.evaluate(shown) == whole


def test_dark_print_and_phone(fresh):
    ground = "getComputedStyle(document.body).backgroundColor"
    light = fresh.evaluate(ground)
    fresh.emulate_media(color_scheme="dark")
    assert fresh.evaluate(ground) != light
    fresh.emulate_media(media="print", color_scheme="dark")
    assert fresh.evaluate(ground) == light  # paper is white
    assert not fresh.is_visible("#words")
    fresh.emulate_media(media="screen", color_scheme="light")
    fresh.set_viewport_size({"width": 390, "height": 800})
    fresh.wait_for_timeout(300)
    assert fresh.evaluate("document.documentElement.scrollWidth") <= 390
    assert fresh.evaluate("Math.max(...[...document.querySelectorAll('svg')].map(s => s.clientWidth))") <= 390
