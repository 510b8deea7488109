"""The viewer's limits: `python -m benchmarks.viewer`.

A page of one clip of 300 frames and two bodies: its size, and the time to open it in Chromium where there is
one. What `amr-data serve` takes is measured by `benchmarks.workbench`.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from amr_data import convert, open_dataset
from amr_data.looking.inspection import find_clips
from amr_data.shards.reader import ShardDataset
from amr_data.synth import synthesize
from amr_data.viz import Scene, clip_scene, viewer_page


def long_scene(dataset: ShardDataset) -> Scene:
    """A clip of two people, again and again to 300 frames."""
    scene = clip_scene(dataset, find_clips(dataset, ["S*A060"])[0])
    wanted = np.arange(300) % scene.frames
    panels = [replace(p, joints=p.joints[:, wanted]) for p in scene.panels]
    return replace(
        scene,
        panels=panels,
        layers=[replace(layer, values=layer.values[:, wanted]) for layer in scene.layers],
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        synthesize(folder / "raw", "ntu60", classes=4, subjects=4, replications=1, broken=0)
        convert(folder / "raw", folder / "shards", "ntu60")
        dataset = open_dataset(folder / "shards")
        scene = long_scene(dataset)
        began = time.perf_counter()
        page = viewer_page([scene])
        print(
            f"a page of 300 frames and two bodies: {len(page.encode()) / 1e6:.2f} MB, made in "
            f"{time.perf_counter() - began:.2f} s"
        )
        (folder / "page.html").write_text(page, encoding="utf-8")
        _open(folder / "page.html")


def _open(page: Path) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        print("no Chromium here, so the time to open it is not measured")
        return
    from playwright.sync_api import sync_playwright

    with sync_playwright() as p:
        options = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
        browser = p.chromium.launch(executable_path=chromium, args=options)
        seconds = []
        for _ in range(5):
            tab = browser.new_page()
            began = time.perf_counter()
            tab.goto(page.as_uri())
            tab.wait_for_selector("body[data-ready]")
            seconds.append(time.perf_counter() - began)
            tab.close()
        browser.close()
    print(f"opened and drawn in Chromium, graphics by the CPU: {', '.join(f'{s:.2f}' for s in seconds)} s")


if __name__ == "__main__":
    main()
