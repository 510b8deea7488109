"""The viewer in a real browser: headless Chromium, driven by Playwright; skipped where there is none."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from amr_data import load_spec, open_dataset
from amr_data.looking.inspection import dataset_summary, find_clips
from amr_data.viz import Interval, Panel, Track, clip_scene, viewer_page
from amr_data.viz.colours import LEAST, THEMES, contrast
from amr_data.viz.overview import overview_page
from benchmarks.viewer import long_scene

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# Debian's build takes its graphics from the CPU where there is no screen
OPTIONS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
# opacity of the drawn picture, 160 x 120
DRAWN = """() => { const c = document.createElement('canvas'), v = document.getElementById('view');
c.width = 160; c.height = 120; const g = c.getContext('2d');
g.drawImage(v, 0, 0, 160, 120); const d = g.getImageData(0, 0, 160, 120).data;
let s = ''; for (let i = 3; i < d.length; i += 4) s += String.fromCharCode(d[i]); return s; }"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no Chromium here: install Debian's chromium to run the browser tests")
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="pip install playwright to run the browser tests"
    )
    with playwright.sync_playwright() as p:
        chromium = p.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield chromium
        chromium.close()


@contextmanager
def opened(
    browser: Any, address: str, width: int = 1100, height: int = 800, phone: bool = False
) -> Iterator[tuple[Any, list[str]]]:
    """A page that is ready, and every request it made; it fails the test if the console complains."""
    context = browser.new_context(
        viewport={"width": width, "height": height}, has_touch=phone, is_mobile=phone
    )
    context.set_default_timeout(120_000)  # a machine that is busy otherwise draws slowly
    page = context.new_page()
    complaints: list[str] = []
    requests: list[str] = []
    page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(address, timeout=120_000)
    page.wait_for_selector("body[data-ready]", timeout=120_000)
    yield page, requests
    # the tests' own reading of the picture
    assert [c for c in complaints if "GPU stall due to ReadPixels" not in c] == []
    context.close()


@pytest.fixture(scope="module")
def gallery(ntu_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Address of a page with one clip of two people and four of one."""
    dataset = open_dataset(ntu_shards)
    chosen = find_clips(dataset, ["S*A060"])[:1] + find_clips(dataset, ["S*A001"])[:4]
    path = tmp_path_factory.mktemp("pages") / "gallery.html"
    path.write_text(viewer_page([clip_scene(dataset, i) for i in chosen]), encoding="utf-8")
    return path.as_uri()


def frame(page: Any) -> int:
    """The frame that is drawn, after what was asked for has been drawn."""
    page.evaluate(
        "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => "
        "setTimeout(done, 30))))"
    )
    return int(page.get_attribute("#view", "data-frame"))


def until(page: Any, condition: str) -> None:
    """Wait for a condition; asked from here, since the page's own rules forbid code from text, which
    Playwright's waiting needs."""
    for _ in range(400):
        if page.evaluate(f"() => {condition}"):
            return
        page.wait_for_timeout(50)
    raise AssertionError(condition)


def test_it_loads_nothing_and_shows_two_bodies(browser, gallery):
    with opened(browser, gallery) as (page, requests):
        assert requests == [gallery]
        until(page, "document.getElementById('view').dataset.bodies === '2'")
        assert page.is_hidden("#trouble")
        picture = np.frombuffer(page.evaluate(DRAWN).encode("latin-1"), np.uint8)
        assert (picture > 0).sum() > 500  # bodies and floor
        page.keyboard.press("ArrowDown")
        until(page, "document.getElementById('view').dataset.bodies === '1'")


def test_play_pause_and_speed(browser, gallery):
    with opened(browser, gallery) as (page, _):
        assert frame(page) == 0
        page.click("#play")
        until(page, "Number(document.getElementById('view').dataset.frame) > 5")
        page.click("#play")
        stopped = frame(page)
        page.wait_for_timeout(300)
        assert frame(page) == stopped > 5
        assert page.text_content("#frame").split(" / ")[0] == str(stopped)
        page.keyboard.press("-")
        assert page.input_value("#speed") == "0.5"


def test_scrubbing_moves_frame_and_cursor(browser, gallery):
    with opened(browser, gallery) as (page, _):
        page.fill("#scrub", "20")
        assert frame(page) == 20
        assert page.get_attribute("#heat", "data-cursor") == "20"
        box = page.locator("#heat").bounding_box()
        page.mouse.click(box["x"] + box["width"] - 3, box["y"] + 10)
        last = int(page.get_attribute("#scrub", "max"))
        assert frame(page) == last == int(page.get_attribute("#heat", "data-cursor"))
        page.keyboard.press("Shift+ArrowLeft")
        assert frame(page) == last - 10
        page.keyboard.press("Home")
        assert frame(page) == 0


def test_search_filters_the_gallery(browser, gallery):
    with opened(browser, gallery) as (page, _):
        assert page.locator("#list button").count() == 5
        page.fill("#search", "walking")
        until(page, "document.querySelectorAll('#list button').length === 1")
        assert page.text_content("#count") == "1 clip"
        page.fill("#search", "drink A001")
        until(page, "document.querySelectorAll('#list button').length === 4")
        page.click("#list li:nth-child(2) button")
        until(page, "document.getElementById('title').textContent.includes('drink')")
        assert page.get_attribute("#list li:nth-child(2) button", "aria-current") == "true"


def test_joint_names_under_the_pointer(browser, gallery):
    with opened(browser, gallery) as (page, _):
        box = page.locator("#view").bounding_box()
        names: set[str] = set()
        for x in np.linspace(0.3, 0.7, 14):
            for y in np.linspace(0.15, 0.85, 14):
                page.mouse.move(box["x"] + box["width"] * x, box["y"] + box["height"] * y)
                if page.is_visible("#hint"):
                    names.add(re.split("[,:]", page.text_content("#hint"))[0])
        assert len(names & set(load_spec("ntu60").skeleton.joints)) >= 5
        heat = page.locator("#heat").bounding_box()
        page.mouse.move(heat["x"] + heat["width"] / 2, heat["y"] + 3)
        assert page.text_content("#hint").startswith("base_of_spine, body 1: ")


def test_colours_themes_and_turning(browser, gallery):
    with opened(browser, gallery) as (page, _):
        assert page.input_value("#layer") == ""  # left and right, above the map of the first layer
        assert page.is_visible("#map")
        assert page.is_visible("#legend .left")
        page.keyboard.press("l")
        assert page.input_value("#layer") == "energy, 8 frames"
        page.select_option("#layer", "focal weight, fused, k = 0.01")
        assert page.is_hidden("#legend .left")
        page.wait_for_timeout(300)
        page.click("#reset")
        page.wait_for_timeout(200)
        before = page.evaluate(DRAWN)
        box = page.locator("#view").bounding_box()
        page.mouse.move(box["x"] + 300, box["y"] + 150)
        page.mouse.down()
        page.mouse.move(box["x"] + 420, box["y"] + 170, steps=4)
        page.mouse.up()
        page.wait_for_timeout(200)
        assert page.evaluate(DRAWN) != before
        page.click("#reset")
        page.wait_for_timeout(200)
        assert page.evaluate(DRAWN) == before
        light = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.keyboard.press("d")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light


def test_on_a_phone(browser, gallery):
    with opened(browser, gallery, 390, 800, phone=True) as (page, _):
        assert page.is_hidden("#gallery")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.tap("#menu")
        page.tap("#list li:nth-child(3) button")
        until(page, "document.getElementById('title').textContent.includes('drink')")
        assert page.is_hidden("#gallery")
        page.tap("#play")
        until(page, "Number(document.getElementById('view').dataset.frame) > 2")


@pytest.fixture(scope="module")
def marked(ntu_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Address of a page of four clips: the first with faults, intervals, a ghost and joints that stand out,
    all with names that are HTML."""
    dataset = open_dataset(ntu_shards)
    first, *rest = (clip_scene(dataset, i) for i in find_clips(dataset, ["S*A001"])[:4])
    base, markup = first.panels[0], "<img src=x onerror=alert(1)>"
    seen = np.zeros(base.joints.shape[:3], bool)
    seen[:, :, :3] = True
    ghost = Panel(f"reconstruction {markup}", base.joints + np.float32(0.05), ghost=True)
    tracks = [
        Track("true", [Interval(f"drink {markup}", 5, 20), Interval("pause", 20, 30)]),
        Track("found", [Interval("pause", 8, 16), Interval("pause", 12, 25)]),
        Track("faults", [Interval("joint jump", 12, 13, markup)], alarm=True),
    ]
    panels = [replace(base, marked=seen), ghost]
    scenes = [
        replace(first, name=markup, title=f"{markup} {'long ' * 60}", panels=panels, tracks=tracks),
        *rest,
    ]
    path = tmp_path_factory.mktemp("pages") / "marked.html"
    path.write_text(viewer_page(scenes), encoding="utf-8")
    return path.as_uri()


def test_faults_and_intervals_stand_on_the_time_and_keys_go_through_them(browser, marked):
    with opened(browser, marked) as (page, requests):
        assert page.locator(".track").count() == 3
        assert page.locator(".track .mark").count() == 5
        assert page.locator("#ticks i").count() == 5  # on the scrubber
        assert page.locator("img").count() == 0
        stops = []
        for _ in range(6):
            page.keyboard.press("n")
            stops.append(frame(page))
        assert stops == [5, 8, 12, 20, 20, 20]
        page.keyboard.press("p")
        assert frame(page) == 12
        now = page.locator(".mark[aria-current=true]").evaluate_all("all => all.map(b => b.dataset.first)")
        assert sorted(map(int, now)) == [5, 8, 12, 12]
        fault = page.locator(".track", has_text="faults").locator(".mark")
        assert fault.get_attribute("title") == "joint jump · frame 12 · <img src=x onerror=alert(1)>"
        page.click("#after")
        assert frame(page) == 20
        page.locator(".track", has_text="true").locator(".mark").first.click()
        assert frame(page) == 5
        # a mark, the scrubber's thumb and the map's cursor share one axis of time
        heat, mark = (page.locator(s).first.bounding_box() for s in ("#heat", ".mark"))
        page.mouse.click(mark["x"] + 3, heat["y"] + 20)
        assert frame(page) == 5
        # the fault's colour is on the map, in its frame
        alarm = page.evaluate("JSON.parse(document.getElementById('data').textContent).themes.light.alarm")
        column = """() => { const c = document.getElementById('heat'), d = c.getContext('2d')
            .getImageData(0, 20, c.width, 1).data; const out = [];
            for (let i = 0; i < c.width; i++) out.push([...d.slice(4 * i, 4 * i + 3)].join());
            return out; }"""
        colour = ",".join(str(int(alarm[i : i + 2], 16)) for i in (1, 3, 5))
        ratio = page.evaluate("Math.min(devicePixelRatio, 2)")
        columns = [i / ratio for i, c in enumerate(page.evaluate(column)) if c == colour]
        fault_at = fault.bounding_box()["x"] + fault.bounding_box()["width"] / 2 - heat["x"]
        assert columns
        assert np.mean(columns) == pytest.approx(fault_at, abs=3)
        assert requests == [marked]


def test_clips_run_in_step_and_a_ghost_lies_over_its_clip(browser, marked):
    with opened(browser, marked) as (page, _):
        assert page.locator("#title").bounding_box()["height"] < 30  # one line, however long
        assert page.is_visible("#seen")
        page.keyboard.press("g")
        assert page.get_attribute("#overlay", "aria-pressed") == "true"
        assert page.text_content("#overlaid") == "reconstruction <img src=x onerror=alert(1)>"
        page.keyboard.press("g")
        lengths = [int(page.get_attribute("#scrub", "max"))]
        page.check("#list li:nth-child(3) input")
        until(page, "document.getElementById('view').dataset.bodies === '2'")
        page.check("#list li:nth-child(4) input")
        until(page, "document.getElementById('view').dataset.bodies === '3'")
        lengths.append(int(page.get_attribute("#scrub", "max")))
        assert lengths[1] >= lengths[0]
        assert page.locator("#panels button").count() == 3
        page.keyboard.press("End")
        frame(page)
        assert page.get_attribute("#view", "data-bodies") == "3"  # the shorter ones wait at their end
        page.click("#panels button:nth-child(2)")
        assert "drink" in page.text_content("#title")
        assert page.is_hidden("#tracks")
        page.uncheck("#list li:nth-child(3) input")
        until(page, "document.querySelectorAll('#panels button').length === 2")
        assert page.get_attribute("#follow", "aria-pressed") == "false"
        before = page.evaluate(DRAWN)
        page.keyboard.press("f")
        frame(page)
        assert page.get_attribute("#follow", "aria-pressed") == "true"
        assert page.evaluate(DRAWN) != before


def test_the_list_on_a_phone_closes_by_key_by_touch_and_by_its_buttons(browser, marked):
    with opened(browser, marked, 390, 800, phone=True) as (page, _):
        closing = (
            lambda: page.keyboard.press("Escape"),
            lambda: page.touchscreen.tap(375, 500),
            lambda: page.tap("#close"),
            lambda: page.evaluate("document.getElementById('menu').click()"),  # it lies under the list
        )
        for close in closing:
            page.tap("#menu")
            assert page.is_visible("#gallery")
            assert page.get_attribute("#menu", "aria-expanded") == "true"
            close()
            assert page.is_hidden("#gallery")
            assert page.is_hidden("#scrim")
            assert page.get_attribute("#menu", "aria-expanded") == "false"
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.tap("#after")
        assert frame(page) == 5


def test_what_is_drawn_stands_out_on_both_grounds(browser, marked):
    """The colours that reach the screen, light and shade included: all but the edges of what is drawn."""
    with opened(browser, marked) as (page, _):
        inside = """() => { const c = document.createElement('canvas'), v = document.getElementById('view');
            c.width = v.width; c.height = v.height; const g = c.getContext('2d', {willReadFrequently: true});
            g.drawImage(v, 0, 0); const d = g.getImageData(0, 0, c.width, c.height).data, out = {};
            const wide = 4 * c.width;
            for (let i = wide + 4; i < d.length - wide - 4; i += 4) {
              if ([0, -4, 4, -wide, wide, -wide - 4, wide + 4].some((o) => d[i + o + 3] < 255)) continue;
              const k = '#' + [d[i], d[i + 1], d[i + 2]].map((x) => x.toString(16).padStart(2, '0')).join('');
              out[k] = (out[k] || 0) + 1; } return out; }"""
        for theme in ("light", "dark"):
            if page.evaluate("document.documentElement.dataset.theme") != theme:
                page.keyboard.press("d")
            ground = THEMES[theme].ground
            for layer in ("", "energy, 8 frames", "focal weight, fused, k = 0.01"):
                page.select_option("#layer", layer)
                page.evaluate("document.activeElement.blur()")
                frame(page)
                seen = page.evaluate(inside)
                assert sum(seen.values()) > 200
                low = sum(n for colour, n in seen.items() if contrast(colour, ground) < LEAST)
                assert low < 0.02 * sum(seen.values())


def test_a_long_clip_of_two_is_a_small_page(browser, ntu_shards, tmp_path):
    page = viewer_page([long_scene(open_dataset(ntu_shards))])
    assert len(page.encode()) < 6e6
    (tmp_path / "long.html").write_text(page, encoding="utf-8")
    with opened(browser, (tmp_path / "long.html").as_uri()) as (shown, _):
        assert shown.get_attribute("#scrub", "max") == "299"


def test_the_overview_opens(browser, ntu_shards, tmp_path):
    path = tmp_path / "overview.html"
    path.write_text(overview_page(dataset_summary(open_dataset(ntu_shards)), []), encoding="utf-8")
    context = browser.new_context(viewport={"width": 390, "height": 800})
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda m: complaints.append(m.text))
    page.goto(path.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator(".chart i").count() > 8
    assert complaints == []
    context.close()


def test_continuous_integration_has_a_browser():
    """Where CI runs, the tests above must not be skipped."""
    assert (CHROMIUM and find_spec("playwright")) or os.environ.get("CI") != "true"
