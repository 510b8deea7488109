"""The limits of `amr-data serve`: `python -m benchmarks workbench`, or with `--clips N --keep DIR`.

A dataset of 50,000 clips is made (synthetic motion, the same again and again under other names), served by
the command itself, and asked as a browser asks: until it is ready, the first page, searches, thumbnails, and
the most memory that the server's process took. With Chromium, the page itself too.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil

from amr_data import Record, convert, open_dataset
from amr_data.manifest import split_columns, write_manifest
from amr_data.plan import Settings
from amr_data.recipes.normalize import Recipe
from amr_data.shards.features import write_features
from amr_data.shards.layout import shard_name
from amr_data.shards.writer import ShardTables, build_tables, write_shard
from amr_data.specs import DatasetSpec
from amr_data.synth import synthesize

CLIPS, PER_SHARD, WIDTH = 50_000, 1000, 256
REPEATS = 5
FIRST = ("", "api/search", "api/overview", "api/rows", "api/frames?clips=" + ",".join(map(str, range(24))))
SEARCHES = (
    "class:walking",
    "class:walking split:xsub/test frames>60",
    "-camera:1 subject:3,4,5 frames>=40",
    "drink water -C003",
    "nothing of the kind",
    "class:walking split:xsub/test fault:any",
)
"""The last needs the faults."""


def write_dataset(
    folder: Path, spec: DatasetSpec, parts: Iterable[ShardTables], rejects: Sequence[Record] = ()
) -> Path:
    """A dataset of finished tables, a shard each, without any raw files; the first has the rejects."""
    folder.mkdir(parents=True)
    records, sums, columns = [], [], []
    for tables in parts:
        mine = () if records else rejects
        record, sha256 = write_shard(folder / shard_name(len(records)), tables, mine, "f", "none")
        records.append(record)
        sums.append(sha256)
        columns.append(split_columns(tables.clips, spec))
    plan: Any = SimpleNamespace(
        spec=spec,
        settings=Settings(Recipe()),
        family=SimpleNamespace(centres=lambda recipe, spec: True),
        source=SimpleNamespace(names=["synthetic"]),
        sources=len(sums),
        bytes=1,
        fingerprint="f",
        synthetic=True,
        rejects=[],
    )
    write_manifest(folder, plan, records, sums, columns)
    return folder


def many(folder: Path, count: int) -> Path:
    """So many clips in the manner of NTU RGB+D 60, and features of them. The frames of every shard are the
    same; names, classes, subjects, cameras and setups are not."""
    with tempfile.TemporaryDirectory() as scratch:
        synthesize(Path(scratch) / "raw", "ntu60", classes=8, subjects=4, replications=1, broken=0)
        convert(Path(scratch) / "raw", Path(scratch) / "shards", "ntu60")
        dataset = open_dataset(Path(scratch) / "shards")
        few = list(dataset)
    spec = dataset.spec
    clips = [few[i % len(few)].changed(name="x" * 20) for i in range(PER_SHARD)]
    whole = build_tables(clips, len(spec.skeleton.joints), spec.frame_rate)
    rng = np.random.default_rng(0)

    def parts() -> Iterator[ShardTables]:
        for first in range(0, count, PER_SHARD):
            i = np.arange(first, first + PER_SHARD)
            rows = whole.clips.copy()
            rows["setup"], rows["camera"], rows["subject"] = i % 17 + 1, i // 17 % 3 + 1, i // 51 % 40 + 1
            rows["label"], rows["replication"] = rng.integers(60, size=PER_SHARD), i // 2040
            fields = ("setup", "camera", "subject", "replication", "label")
            name = "S{:03d}C{:03d}P{:03d}R{:03d}A{:03d}"
            rows["name"] = [name.format(*(row[field] for field in fields)) for row in rows]
            yield replace(whole, clips=rows)

    rejects = [Record(f"S{i:03d}.skeleton", "truncated", "line 9") for i in range(200)]
    write_dataset(folder, spec, parts(), rejects)
    made = open_dataset(folder)
    labels = made.clips["label"].astype(np.int64)
    features = np.random.default_rng(1).normal(size=(len(made), WIDTH)).astype(np.float32)
    features[:, :60] += 3 * np.eye(60, dtype=np.float32)[labels]
    write_features(folder.with_suffix(".parquet"), features, made.names, labels, {})
    return folder


def main(words: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks workbench")
    parser.add_argument("--clips", type=int, default=CLIPS)
    parser.add_argument("--keep", type=Path, help="where the dataset is made, or lies from before")
    asked = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as scratch:
        folder = (asked.keep or Path(scratch)) / f"clips-{asked.clips}"
        if not folder.is_dir():
            many(folder, asked.clips)
        _measure(folder, asked.clips)


def _measure(folder: Path, count: int) -> None:
    began = time.perf_counter()
    command = [sys.executable, "-c", "from amr_cli.start import data; data()", "serve", str(folder)]
    more = ["--port", "0", "--features", str(folder.with_suffix(".parquet"))]
    with subprocess.Popen([*command, *more], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            found = re.search(r"http://\S+", server.stdout.readline())
            assert found is not None
            ready = time.perf_counter() - began
            load = psutil.getloadavg()[0]
            print(
                f"{count:,} clips: ready in {ready:.1f} s, features and all; {load:.0f} processes want to run"
            )
            ask = _Asking(found[0], server.pid)
            ask.told("all that the first page asks for", *FIRST)
            for search in SEARCHES[:-1]:
                ask.told(f"search  {search}", f"api/search?q={urllib.parse.quote(search)}")
            ask.told("100 rows from the middle", f"api/rows?from={count // 2}")
            spread = range(0, count, max(1, count // 24))
            ask.told("24 thumbnails of 24 places", f"api/frames?clips={_numbers(spread)}")
            ask.told("a clip in the viewer", f"viewer/{count // 3}")
            _browse(found[0])
            while ask("api/maps").find(b'"faults"') >= 0:
                time.sleep(0.5)
            print(f"  faults are known {time.perf_counter() - began:.0f} s after the command")
            ask.told(f"search  {SEARCHES[-1]}", f"api/search?q={urllib.parse.quote(SEARCHES[-1])}")
            print(f"  most memory of the server: {_most_memory(server.pid) / 1e6:.0f} MB")
        finally:
            server.terminate()


class _Asking:
    """Asks a server again and again. Its own work is told too, of all its threads, which other work on the
    machine leaves alone; while faults are looked for, that is in it."""

    def __init__(self, address: str, process: int) -> None:
        self.address, self.process = address, psutil.Process(process)

    def __call__(self, path: str) -> bytes:
        with urllib.request.urlopen(self.address + path) as answer:
            content: bytes = answer.read()
            return content

    def told(self, what: str, *paths: str) -> None:
        seconds, before = [], self._work()
        for _ in range(REPEATS):
            began = time.perf_counter()
            for path in paths:
                self(path)
            seconds.append(time.perf_counter() - began)
        _show(what, seconds, f", work {1000 * (self._work() - before) / REPEATS:.0f} ms")

    def _work(self) -> float:
        times = self.process.cpu_times()
        return float(times.user + times.system)


def _browse(address: str) -> None:
    """The page in Chromium: from the address to the first clips, and from a click on a facet to its count."""
    chromium = shutil.which("chromium")
    if chromium is None:
        print("  no Chromium here, so the page itself is not measured")
        return
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        opened, filtered = [], []
        for _ in range(REPEATS):
            page = browser.new_page(viewport={"width": 1300, "height": 900})
            began = time.perf_counter()
            page.goto(address, timeout=120_000)
            page.wait_for_selector("body[data-ready]", timeout=120_000)
            opened.append(time.perf_counter() - began)
            filtered.append(page.evaluate(CLICK) / 1000)
            page.close()
        browser.close()
    _show("the page in Chromium, to the first clips", opened)
    _show("a click on a facet, to its count", filtered)


CLICK = """() => new Promise((done) => {
  const count = document.getElementById("count"), began = performance.now();
  const seen = new MutationObserver(() => done(performance.now() - began));
  seen.observe(count, { childList: true, subtree: true });
  document.querySelector("[data-facet^='class:']").click();
})"""


def _numbers(indices: Iterable[int]) -> str:
    return ",".join(map(str, islice(indices, 24)))


def _show(what: str, seconds: Sequence[float], more: str = "") -> None:
    best, middle, most = (1000 * f(seconds) for f in (min, median, max))
    print(f"  {what:52}  best {best:.0f}, median {middle:.0f}, slowest {most:.0f} ms{more}", flush=True)


def _most_memory(process: int) -> int:
    """Bytes that were resident at most; what is resident now where the system does not say."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024  # type: ignore[index]
    except (OSError, TypeError):
        return int(psutil.Process(process).memory_info().rss)
