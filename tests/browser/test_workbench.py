"""The workbench in a real browser: headless Chromium, driven by Playwright; skipped where there is none."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

from amr_data import Record, load_spec, open_dataset
from amr_data.clip import BodyTrack, Clip
from amr_data.looking.clip_table import Judged
from amr_data.looking.decisions import Decision, decisions_file, read_decisions
from amr_data.shards.features import write_features
from amr_data.shards.writer import build_tables
from amr_data.viz.server import open_server
from amr_data.viz.workbench import Workbench
from amr_train.experiments.sources import settled
from benchmarks.workbench import write_dataset
from tests.amr_train.runs import small
from tests.browser.test_viewer import browser  # noqa: F401

pytestmark = pytest.mark.long

PATIENCE = 180
"""Seconds for what takes a tenth of one on a machine with nothing else to do."""
HOSTILE = '<img src=x onerror="document.title=1">'


@contextmanager
def served(bench: Workbench) -> Iterator[str]:
    server: Any = open_server(bench, 0)
    threading.Thread(target=server.run, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.effective_port}/"
    finally:
        server.close()


@pytest.fixture(scope="module")
def bench(ntu_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    """48 clips with features, judgements and a list of decisions, in a folder of its own."""
    place = tmp_path_factory.mktemp("bench") / "mine"
    shutil.copytree(ntu_shards, place)
    dataset = open_dataset(place)
    rng = np.random.default_rng(0)
    features = rng.normal(size=(len(dataset), 8)).astype(np.float32)
    features[:, 0] += 5 * dataset.clips["label"]
    path = place.parent / "features.parquet"
    write_features(path, features, dataset.names, dataset.clips["label"].astype(np.int64), {})
    predicted = np.full(len(dataset), -1, np.int64)
    test = dataset.split("xsub", "test")
    predicted[test] = dataset.clips["label"][test]
    predicted[test[:2]] = 59 - predicted[test[:2]]
    bench = Workbench(dataset, path, [Judged("linear mean", predicted)], "runs/a")
    bench.work()
    return bench


@pytest.fixture(scope="module")
def address(bench: Workbench) -> Iterator[str]:
    with served(bench) as found:
        yield found


@contextmanager
def opened(browser: Any, address: str, width: int = 1300, height: int = 800) -> Iterator[Any]:  # noqa: F811
    """A page that is ready; the test fails if the console complains or anything but this server is asked."""
    context = browser.new_context(viewport={"width": width, "height": height})
    page = context.new_page()
    page.set_default_timeout(1000 * PATIENCE)
    complaints: list[str] = []
    requests: list[str] = []
    page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(address)
    page.wait_for_selector("body[data-ready]")
    yield page
    # what a search that is wrong is answered with, and the software renderer of the tests
    asked = ("400 (BAD REQUEST)", "400 (Bad Request)", "GPU stall due to ReadPixels")
    assert [c for c in complaints if not any(word in c for word in asked)] == []
    base = "/".join(address.split("/")[:3])
    assert {r for r in requests if not r.startswith((base, "data:"))} == set()
    context.close()


def until(page: Any, condition: str) -> None:
    """Wait for a condition; asked from here, since the page's own rules forbid code from text."""
    end = time.monotonic() + PATIENCE
    while not page.evaluate(f"() => {condition}"):
        assert time.monotonic() < end, condition
        page.wait_for_timeout(50)


def count(page: Any, text: str) -> None:
    until(page, f"document.getElementById('count').textContent.startsWith({text!r})")


def in_address(page: Any) -> dict[str, str]:
    return {key: values[0] for key, values in parse_qs(urlsplit(page.url).query).items()}


def test_overview_facets_search_and_the_way_back(browser, address, bench):  # noqa: F811
    total = len(bench.dataset)
    with opened(browser, address) as page:
        count(page, f"{total} clips")
        assert page.locator("#overview[open] .card").count() >= 6
        assert page.locator("#overview .faults a").count() == min(10, len(bench.faults or ()))
        until(page, "Number(document.getElementById('grid').dataset.drawn) > 0")
        assert page.locator("#cells .cell").count() > 8
        assert page.locator("canvas").count() == 2  # of the grid and of the map, not one a clip
        walking = int(np.count_nonzero(bench.dataset.clips["label"] == 59))
        title = bench.dataset.spec.class_title(59)
        page.click(f"[data-facet='class:{title}']")
        count(page, f"{walking} clips of {total}")
        assert in_address(page) == {"q": f'class:"{title}"'}
        assert page.get_attribute("[data-facet^='class:60']", "aria-pressed") == "true"
        page.fill("#search", "class:60 camera:1 frames>0")
        few = len(bench.table.find("class:60 camera:1").clips)
        count(page, f"{few} clips of {total}")
        assert 0 < few < walking
        page.go_back()
        count(page, f"{walking} clips")
        page.go_back()
        count(page, f"{total} clips")
        page.go_forward()
        count(page, f"{walking} clips")
        page.fill("#search", "clas:60")
        until(page, "!document.getElementById('said').hidden")
        assert page.text_content("#said").startswith("there is no key 'clas': did you mean 'class'?")
        page.fill("#search", "judged:wrong")
        count(page, "2 clips")
        until(page, "document.querySelectorAll('.marks .wrong').length === 2")
        page.fill("#search", "reject:any")
        count(page, f"{len(bench.table.rejects)} rejected sources")
        assert page.locator("#rejects tbody tr").count() == len(bench.table.rejects)


def test_a_link_opens_a_clip_at_its_frame(browser, address, bench):  # noqa: F811
    names = bench.dataset.names
    with opened(browser, f"{address}?q=camera:1&clip={names[0]}&frame=20") as page:
        viewer = page.frame_locator("#panel iframe")
        viewer.locator("body[data-ready]").wait_for(timeout=1000 * PATIENCE)
        inside = "document.querySelector('#panel iframe').contentDocument"
        until(page, f"{inside}.getElementById('view').dataset.frame === '20'")
        facts = page.text_content("#about-clip")
        clip = bench.dataset.clip(0)
        assert clip.source in facts
        assert "recipe" in facts
        assert "cleaning" in facts
        page.evaluate(
            f"{inside}.getElementById('scrub').value = 7; {inside}.getElementById('scrub')"
            ".dispatchEvent(new Event('input'))"
        )
        until(page, "location.search.includes('frame=7')")
        page.keyboard.press("n")
        following = names[bench.find("camera:1", "index", None).clips[1]]
        until(page, f"document.querySelector('#panel-bar h2').textContent === '{following}'")
        assert in_address(page) == {"q": "camera:1", "clip": following}
        page.go_back()
        until(page, f"document.querySelector('#panel-bar h2').textContent === '{names[0]}'")
        page.keyboard.press("Escape")
        until(page, "document.getElementById('panel').hidden")


def test_a_map_opens_and_selects_clips(browser, address, bench):  # noqa: F811
    with opened(browser, f"{address}?map=pca") as page:
        until(page, "document.getElementById('map-legend').children.length > 3")
        box = page.locator("#map-canvas").bounding_box()
        side = min(box["width"], box["height"]) - 12
        left, top = box["x"] + (box["width"] - side) / 2, box["y"] + (box["height"] - side) / 2
        x, y = bench.table.columns["pca"].places[5].tolist()
        page.mouse.move(left + x * side, top + (1 - y) * side)
        until(page, "!document.getElementById('map-hint').hidden")
        page.mouse.click(left + x * side, top + (1 - y) * side)
        until(page, "!document.getElementById('panel').hidden")
        opened_clip = in_address(page)["clip"]
        place = bench.table.columns["pca"].places[bench.index[opened_clip]]
        assert np.hypot(*(place - (x, y))) * side < 9
        page.keyboard.press("Escape")
        box = page.locator("#map-canvas").bounding_box()
        page.wait_for_timeout(200)
        page.mouse.move(box["x"] + 2, box["y"] + 2)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] - 2, steps=3)
        page.mouse.up()
        until(page, "location.search.includes('q=pca')")
        inside = bench.table.find(in_address(page)["q"]).clips
        count(page, f"{len(inside)} clips")
        assert 0 < len(inside) < len(bench.dataset)


def test_a_decision_is_listed_and_a_training_honours_it(browser, address, bench):  # noqa: F811
    name = bench.dataset.names[bench.dataset.split("xsub", "train")[0]]
    with opened(browser, f"{address}?q={name}&clip={name}") as page:
        page.wait_for_selector("#deciding")
        page.fill("#note", "=jumps, see frame 3")
        page.click("#deciding .exclude")
        until(page, "document.getElementById('saved').textContent === 'saved'")
        until(page, "document.querySelector('#cells .cell.excluded') !== null")
        assert bench.list == decisions_file(bench.dataset.path)
        assert read_decisions(bench.list) == {name: Decision(name, "exclude", "=jumps, see frame 3")}
        with page.expect_download() as download:
            page.click("#exporting a")
        assert Path(download.value.path()).read_text() == bench.list.read_text()
        page.click("[data-facet='decision:exclude']")
        count(page, "1 clip of")
    (source,) = settled(small(bench.dataset.path, "data.exclude=beside")).every
    assert source.left_out == 1
    assert name not in {bench.dataset.names[i] for i in source.clips}


def test_a_click_that_ends_the_writing_of_a_note_is_not_lost(browser, address, bench):  # noqa: F811
    one, other = (bench.dataset.names[i] for i in bench.dataset.split("xsub", "train")[1:3])
    with opened(browser, f"{address}?clip={one}") as page:
        # the note is saved between the two halves of the click
        page.wait_for_selector("#deciding")
        page.fill("#note", "slow hand")
        page.hover("#deciding .exclude")
        page.mouse.down()
        until(page, "document.getElementById('saved').textContent === 'saved'")
        page.mouse.up()
        until(page, "document.querySelector('#deciding .exclude').getAttribute('aria-pressed') === 'true'")
        # the note arrives later than the decision that was sent after it
        page.goto(f"{address}?clip={other}")
        page.wait_for_selector("#deciding")
        sent: list[Any] = []

        def first_late(route: Any) -> None:
            sent.append(route)
            if len(sent) == 1:
                page.evaluate("document.querySelector('#deciding .exclude').click()")
                page.wait_for_timeout(300)
            route.continue_()

        page.route("**/api/decisions", first_late)
        page.fill("#note", "quick hand")
        page.evaluate("document.getElementById('note').blur()")
        until(page, "document.getElementById('saved').textContent === 'saved'")
        until(page, "document.querySelector('#deciding .exclude').getAttribute('aria-pressed') === 'true'")
        assert len(sent) == 2
        # a note that is left by Esc, and a failure that is told when its clip is shown no more
        page.unroute("**/api/decisions")
        page.fill("#note", "left by Esc")
        page.keyboard.press("Escape")
        until(page, "document.getElementById('panel').hidden")
        end = time.monotonic() + PATIENCE
        while read_decisions(bench.list)[other].note != "left by Esc":
            assert time.monotonic() < end
            page.wait_for_timeout(50)
        page.goto(f"{address}?clip={other}")
        page.wait_for_selector("#deciding")

        def fails(route: Any) -> None:
            page.evaluate("document.getElementById('close').click()")
            page.wait_for_timeout(300)
            route.fulfill(status=400, json={"error": "the disk is full"})

        page.route("**/api/decisions", fails)
        page.click("#deciding .keep")
        until(page, "!document.getElementById('said').hidden")
        assert page.text_content("#said") == f"{other}: not saved: the disk is full"
    found = read_decisions(bench.list)
    assert found[one] == Decision(one, "exclude", "slow hand")
    assert found[other] == Decision(other, "exclude", "left by Esc")
    bench.decide(one, "", "")
    bench.decide(other, "", "")


def test_a_phone_has_its_filters_in_a_drawer(browser, address):  # noqa: F811
    with opened(browser, address, 390, 800) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert page.is_hidden("#facets")
        page.click("#menu")
        page.click("[data-facet='camera:1']") if page.is_visible("[data-facet='camera:1']") else page.click(
            "[data-facet^='class:']"
        )
        page.keyboard.press("Escape")
        assert page.is_hidden("#facets")
        page.click("#cells .cell")
        until(page, "!document.getElementById('panel').hidden")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        light = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.keyboard.press("d")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light


def test_hostile_names_stay_text_everywhere(browser, tmp_path):  # noqa: F811
    rng = np.random.default_rng(0)
    names = [
        HOSTILE,
        "</script><script>document.title=2</script>",
        "=cmd|'/c calc'!A0",
        "a\"b'c&lt;d\n\u202ee",
    ]
    classes = {1: f"{HOSTILE} 1", 2: '" onload="document.title=3', 3: "plain"}
    spec = load_spec("nw-ucla").changed(
        title=f"{HOSTILE} set",
        naming=None,
        example="",
        classes=classes,
        mutual=[],
        handed=None,
        protocols={HOSTILE: {"by": "subject", "train": [1], "test": [2]}},
    )

    def clip(i: int) -> Clip:
        joints, energy = (rng.normal(size=(9, 20, 3)).astype(np.float32) for _ in range(2))
        track = BodyTrack(np.arange(9), joints, HOSTILE, 0, None, energy**2)
        return Clip(names[i], i % 3, 9, [track], subject=i % 2 + 1, source=HOSTILE, dropped=[HOSTILE])

    rejects = [Record(HOSTILE, "truncated", HOSTILE)]
    tables = build_tables([clip(i) for i in range(4)], 20, 30.0)
    folder = write_dataset(tmp_path / HOSTILE.replace("/", ""), spec, [tables], rejects)
    dataset = open_dataset(folder)
    features = tmp_path / "f.parquet"
    write_features(features, rng.normal(size=(4, 3)).astype(np.float32), names, np.zeros(4, np.int64), {})
    bench = Workbench(dataset, features, [Judged(HOSTILE, np.array([1, 1, 1, 0]))], HOSTILE)
    bench.work()
    with served(bench) as address, opened(browser, f"{address}?map=pca") as page:
        title = page.title()
        count(page, "4 clips")
        until(page, "document.querySelectorAll('#cells .cell').length === 4")
        shown = page.locator("#cells .name").all_text_contents()
        assert [text.strip() for text in shown] == names
        for name in names:
            until(page, "document.querySelectorAll('#cells .cell').length === 4")
            page.evaluate(
                "name => [...document.querySelectorAll('#cells a')].find(a => a.title === name).click()", name
            )
            until(page, "document.querySelector('#deciding') !== null")
            until(page, "document.querySelector('#panel iframe').contentDocument.body?.dataset.ready === '1'")
            assert page.text_content("#panel-bar h2") == name
            page.fill("#note", HOSTILE)
            page.click("#deciding .keep")
            until(page, "document.getElementById('saved').textContent === 'saved'")
            page.keyboard.press("Escape")
            page.locator("#main").focus()
            page.keyboard.press("Escape")
            until(page, "document.getElementById('panel').hidden")
        page.fill("#search", HOSTILE)
        until(page, "!document.getElementById('said').hidden")
        page.fill("#search", "reject:any")
        count(page, "1 rejected source")
        assert page.text_content("#rejects td") == HOSTILE
        assert page.locator("img, script:not([src]):not([type='application/json'])").count() == 0
        assert page.title() == title
    assert {d.note for d in read_decisions(bench.list).values()} == {HOSTILE}
    assert list(read_decisions(bench.list)) == names
