"""Memory of the whole process tree and time for more and more files: memory has to stay flat, time to grow in
step."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import psutil

from amr_data.synth import synthesize
from benchmarks.convert import multiply

COUNTS = (5_000, 10_000, 20_000)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        stock = Path(folder) / "stock"
        synthesize(stock, "ntu60", classes=30, subjects=4, replications=1, broken=0)
        originals = sorted(stock.glob("*.skeleton"))
        multiply(stock, originals, -(-max(COUNTS) // len(originals)))
        everything = sorted(stock.glob("*.skeleton"))
        print(
            "   files       MB   seconds   files/s   peak memory of the process tree (shared pages counted "
            "once)"
        )
        for count in COUNTS:
            raw = Path(folder) / f"raw-{count}"
            raw.mkdir()
            for path in everything[:count]:
                (raw / path.name).hardlink_to(path)
            seconds, peak = watch(raw, Path(folder) / f"out-{count}")
            megabytes = sum(p.stat().st_size for p in raw.iterdir()) / 1e6
            print(
                f"{count:8,} {megabytes:8,.0f} {seconds:9.1f} {count / seconds:9,.0f}   {peak / 1e6:,.0f} MB",
                flush=True,
            )


def watch(raw: Path, out: Path) -> tuple[float, int]:
    """Convert in a process of its own. Returns seconds and the highest sum of proportional set sizes seen."""
    code = "import sys, amr_data; amr_data.convert(sys.argv[1], sys.argv[2], 'ntu60')"
    began = time.perf_counter()
    process = psutil.Popen([sys.executable, "-c", code, str(raw), str(out)])
    peak = 0
    while process.poll() is None:
        total = 0
        for member in [process, *_children(process)]:
            try:
                total += member.memory_full_info().pss
            except psutil.Error:
                continue
        peak = max(peak, total)
        time.sleep(0.1)
    if process.returncode:
        raise SystemExit("the conversion failed")
    return time.perf_counter() - began, peak


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        found: list[psutil.Process] = process.children(recursive=True)
        return found
    except psutil.Error:
        return []
