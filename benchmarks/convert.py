"""Whole conversion of NTU files against numpy.fromstring over the same bytes on one core, in one run."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np

from amr_data import convert
from amr_data.readers.ntu import parse_ntu
from amr_data.synth import synthesize
from benchmarks.timing import best_seconds


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw"
        synthesize(raw, "ntu60", classes=30, subjects=8, replications=2, broken=0)
        originals = sorted(raw.glob("*.skeleton"))
        sample = [p.read_bytes() for p in originals[:: max(1, len(originals) // 100)]]
        multiply(raw, originals, 4)
        files = list(raw.glob("*.skeleton"))
        megabytes = sum(p.stat().st_size for p in files) / 1e6
        sample_megabytes = sum(map(len, sample)) / 1e6

        plain = sample_megabytes / best_seconds(lambda: [np.fromstring(t.decode(), sep=" ") for t in sample])
        parse = sample_megabytes / best_seconds(lambda: [parse_ntu(t, 25) for t in sample])
        print(f"{len(files):,} files, {megabytes:,.0f} MB, {os.cpu_count()} cores")
        print(f"numpy.fromstring, one core          {plain:8.1f} MB/s   1.0")
        print(f"parsing alone, one core             {parse:8.1f} MB/s   {parse / plain:.1f}")
        for workers in sorted({1, os.cpu_count() or 1}):
            runs = iter(range(100))
            seconds = best_seconds(
                lambda w=workers, r=runs: convert(
                    raw, Path(folder) / f"out-{w}-{next(r)}", "ntu60", workers=w
                ),
                2,
            )
            speed, rate = megabytes / seconds, len(files) / seconds
            print(
                f"whole conversion, {workers} worker(s)       {speed:8.1f} MB/s   {speed / plain:.1f}   "
                f"{rate:,.0f} files/s"
            )


def multiply(raw: Path, originals: list[Path], times: int) -> None:
    """The same bytes under more names (other replications), as hard links."""
    for copy in range(1, times):
        for path in originals:
            replication = int(path.name[13:16]) + 2 * copy
            os.link(path, raw / f"{path.name[:13]}{replication:03d}{path.name[16:]}")
