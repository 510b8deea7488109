"""The viewer's limits: `python -m benchmarks.viewer`.

A page of one clip of 300 frames and two bodies (size, time to open in Chromium where there is one), and
`amr-data serve` with 50,000 clips.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
import urllib.request
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np

from amr_data import convert, open_dataset
from amr_data.looking.inspection import find_clips
from amr_data.shards.reader import ShardDataset
from amr_data.synth import synthesize
from amr_data.viz import Scene, clip_scene, viewer_page
from amr_data.viz.server import open_server

CLIPS = 50_000


def many(dataset: ShardDataset, count: int) -> ShardDataset:
    """The same clips again and again under new names, as many as wanted; their frames are read from the same
    shards."""
    times = -(-count // len(dataset))
    names = [f"{name}-{i:05d}" for i in range(times) for name in dataset.names][:count]
    per, clips = len(dataset), dataset.clips
    tracks = [dataset.tracks.copy() for _ in range(times)]
    for i, part in enumerate(tracks):
        part["clip"] += i * per
    dataset.tracks, dataset.clips = np.concatenate(tracks), np.tile(clips, times)[:count]
    shards = len(dataset._files)
    dataset.shard_of = np.concatenate([dataset.shard_of + i * shards for i in range(times)])[:count]
    dataset._files = dataset._files * times
    dataset.__dict__["names"] = names
    return dataset


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
        _serve(many(dataset, CLIPS))


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


def _serve(dataset: ShardDataset) -> None:
    began = time.perf_counter()
    server = open_server(dataset, 0)
    print(f"serve: {len(dataset):,} clips, ready in {time.perf_counter() - began:.2f} s")
    threading.Thread(target=server.run, daemon=True).start()
    address = f"http://127.0.0.1:{server.effective_port}"
    for what, path in (
        ("the page", "/"),
        ("first 100 clips", "/api/clips?count=100"),
        ("100 clips from 49,900 on", "/api/clips?from=49900&count=100"),
        ("search for two words", "/api/clips?q=walking+c003&count=100"),
        ("search that finds nothing", "/api/clips?q=nothing&count=100"),
        ("a clip", "/api/clips/4321"),
    ):
        times = []
        for _ in range(20):
            began = time.perf_counter()
            with urllib.request.urlopen(address + path) as answer:
                answer.read()
            times.append((time.perf_counter() - began) * 1000)
        print(f"  {what}: median {median(times):.1f} ms, slowest {max(times):.1f} ms")
    server.close()


if __name__ == "__main__":
    main()
