"""Whole conversion of synthetic NTU files, from a folder and from a zip archive, and its parts on one core.
With `--against COMMIT` that commit converts the same files in turns with this one, so that both meet the same
machine, and the contents are compared."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from amr_data.compiling import compiled, want_compiled
from amr_data.plan import Settings, make_plan
from amr_data.readers import open_sources
from amr_data.readers.base import new_clip
from amr_data.readers.ntu import NtuFamily, parse_many
from amr_data.recipes.motion import add_energy
from amr_data.recipes.normalize import Recipe, apply_recipe
from amr_data.shards.layout import content_checksum, shard_name
from amr_data.shards.writer import build_tables, shard_record, write_shard
from amr_data.specs import load_spec
from amr_data.synth import synthesize

ROOT = Path(__file__).resolve().parents[1]
RUN = """
import sys, time
from amr_data import convert
raw, out, workers = sys.argv[1:]
began = time.perf_counter()
convert(raw, out, "ntu60", workers=int(workers))
print(time.perf_counter() - began)
"""
"""With the start of workers and the loading of what is compiled, without Python's own start."""
T = TypeVar("T")


def main(options: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks convert", description=__doc__)
    parser.add_argument("--against", metavar="COMMIT", help="an earlier commit to compare with")
    parser.add_argument("--runs", type=int, default=3, help="of each, of which the best counts (3)")
    parser.add_argument("--copies", type=int, default=4, help="names under which each file is read (4)")
    given = parser.parse_args(options)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        raw, archive = Path(folder) / "raw", Path(folder) / "raw.zip"
        synthesize(raw, "ntu60", classes=20, subjects=5, replications=2, broken=0)
        originals = sorted(raw.glob("*.skeleton"))
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
            for path in originals:
                packed.write(path, path.name)
        multiply(raw, originals, given.copies)
        (Path(folder) / "few").mkdir()
        shutil.copy(originals[0], Path(folder) / "few")
        trees = {"this one": ROOT}
        if given.against:
            trees[given.against] = stack.enter_context(checked_out(given.against, Path(folder)))
        for tree in trees.values():
            run(tree, Path(folder) / "few", Path(folder), 1)  # fills the cache of what is compiled
        cores = os.cpu_count() or 1
        want_compiled(True)  # for the parts
        loops = "no" if compiled(NtuFamily.scanner) is None else "with"
        print(f"{cores} cores, load {os.getloadavg()[0]:.1f}, {loops} compiled loops")
        for source, workers in [(raw, n) for n in sorted({1, cores})] + [(archive, cores)]:
            compare(trees, source, Path(folder), workers, given.runs)
        parts(raw, Path(folder) / "parts")


def compare(trees: dict[str, Path], source: Path, folder: Path, workers: int, runs: int) -> None:
    """Convert in turns, and print the best of each."""
    best: dict[str, float] = {}
    sums: dict[str, str] = {}
    for _ in range(runs):
        for name, tree in trees.items():
            seconds, sums[name] = run(tree, source, folder, workers)
            best[name] = min(best.get(name, seconds), seconds)
    with open_sources([source], folder) as opened:
        sizes = [m.size for m in opened.members()]
    megabytes, slowest = sum(sizes) / 1e6, max(best.values())
    same = "" if len(trees) == 1 else f", contents {'equal' if len(set(sums.values())) == 1 else 'DIFFER'}"
    print(f"\n{source.name}, {len(sizes):,} files, {megabytes:,.0f} MB, {workers} worker(s){same}")
    for name, seconds in best.items():
        print(f"  {name:22s}{seconds:8.2f} s {megabytes / seconds:8.0f} MB/s {slowest / seconds:6.2f}")


def run(tree: Path, source: Path, folder: Path, workers: int) -> tuple[float, str]:
    """Convert with the code of a working tree: seconds, and a checksum over the shards' contents."""
    names, out = folder / f"names-{tree.name}", folder / "out"
    names.mkdir(exist_ok=True)
    if not (names / "amr_specs").exists():
        (names / "amr_specs").symlink_to(tree / "data_specs")
    shutil.rmtree(out, ignore_errors=True)
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(source), str(out), str(workers)],
        env={**os.environ, "PYTHONPATH": f"{tree}{os.pathsep}{names}"},
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    )
    shards = json.loads((out / "manifest.json").read_text(encoding="utf-8"))["shards"]
    content = "".join(shard["checksum"] for shard in shards)
    return float(done.stdout), hashlib.sha256(content.encode()).hexdigest()


@contextlib.contextmanager
def checked_out(commit: str, folder: Path) -> Iterator[Path]:
    """A commit's files in a folder of their own, for a while."""
    tree = folder / "against"
    git = ["git", "-C", str(ROOT), "worktree"]
    subprocess.run([*git, "add", "--quiet", "--detach", str(tree), commit], check=True)
    try:
        yield tree
    finally:
        subprocess.run([*git, "remove", "--force", str(tree)], check=True)


def parts(raw: Path, out: Path) -> None:
    """What each part of a conversion takes of one core's time."""
    spent: dict[str, float] = defaultdict(float)

    def timed(part: str, work: Callable[[], T]) -> T:
        began = time.process_time()
        result = work()
        spent[part] += time.process_time() - began
        return result

    out.mkdir()
    recipe, joints = Recipe(), 25
    with open_sources([raw], out) as source:
        plan = timed("plan", lambda: make_plan(source, load_spec("ntu60"), Settings(recipe)))
        for index, units in enumerate(plan.shards):
            texts = timed("read, with hashes", lambda u=units: [source.read(x.members[0]) for x in u])
            parsed = timed("tokenise", lambda t=texts: parse_many(t, joints))
            clips = []
            for unit, found in zip(units, parsed, strict=True):
                clip = timed("name", lambda u=unit: new_clip(u, plan.spec, u.name))
                clip.frames, clip.tracks, clip.dropped = found
                clips.append(timed("clean", lambda c=clip: apply_recipe(c, plan.spec, recipe, plan.family)))
            timed("energies", lambda c=clips: [add_energy(t) for clip in c for t in clip.tracks])
            tables = timed("tables", lambda c=clips: build_tables(c, joints, plan.spec.frame_rate))
            arrays = (tables.joints, tables.energy, tables.tracks, tables.clips)
            timed("content checksum", lambda a=arrays, t=tables: content_checksum(a, t.notes))
            timed("sums, with checksum", lambda t=tables: shard_record(t, [], []))
            path = out / shard_name(index)
            timed("write, with sums", lambda p=path, t=tables: write_shard(p, t, [], "", "none"))
        megabytes = plan.bytes / 1e6
    print("\nparts, seconds of one core")
    for part, seconds in spent.items():
        print(f"  {part:24s}{seconds:8.3f} s {megabytes / seconds:8.0f} MB/s")


def multiply(raw: Path, originals: list[Path], times: int) -> None:
    """The same bytes under more names (other replications), as hard links."""
    for copy in range(1, times):
        for path in originals:
            replication = int(path.name[13:16]) + 2 * copy
            os.link(path, raw / f"{path.name[:13]}{replication:03d}{path.name[16:]}")
