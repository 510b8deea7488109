"""How shards are made from the units of a plan: each wholly by one worker, which is a thread or a process of
this machine, or one of a Dask cluster."""

from __future__ import annotations

import os
import pickle
import secrets
import sys
import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import joblib

from amr_data.clip import Clip
from amr_data.cluster import cluster_client
from amr_data.compiling import compiled, want_compiled
from amr_data.errors import Reject, RejectError, UsageError
from amr_data.identity import unit_hashes
from amr_data.keeping import read_recordings
from amr_data.manifest import Columns, split_columns
from amr_data.plan import Plan, Settings
from amr_data.readers import RawSource, Unit, family_for, family_options
from amr_data.recipes.motion import add_energy
from amr_data.recipes.normalize import apply_recipe
from amr_data.shards.layout import shard_name
from amr_data.shards.model import ShardRecord
from amr_data.shards.writer import build_tables, check_storable, write_shard
from amr_data.specs import DatasetSpec

Made = tuple[int, ShardRecord, str, Columns]
"""A shard's number, its record, its file's SHA-256, and what splits need of its clips."""
Runner = Callable[[Plan, Path, list[int]], Generator[Made, None, None]]
"""Makes the shards of the given numbers, in any order."""
SWITCH_SECONDS = 5e-4
"""How long a thread that comes back from a compiled loop waits at most for another to let Python go; Python's
own 5 ms are twenty times what the loop takes, and make two threads a tenth slower."""
BACKENDS = ("processes", "dask")
WORTH_COMPILED = 96 << 20
"""Bytes for each worker from which on the compiled loops are loaded: that takes half a second."""
MOST_THREADS, MOST_THREADED, MOST_COMPILED_THREADED = 3, 256 << 20, 1 << 30
"""Up to so many workers on so many bytes, and a single one on any, are threads: they start at once,
while processes take a second or more. But they hold each other up wherever Python itself works, less so where
loops are compiled."""


def read_clips(
    source: RawSource, units: Sequence[Unit], spec: DatasetSpec, settings: Settings
) -> list[Clip | Reject]:
    """Read, clean, centre units and add the motion energies; what fails is a reject in the list."""
    out: list[Clip | Reject] = []
    family = family_for(source, spec)
    for item in family.read(source, units, spec, family_options(family, settings.options)):
        if isinstance(item, Clip):
            try:
                item = apply_recipe(item, spec, settings.recipe, family)
                for track in item.tracks:
                    add_energy(track)
                check_storable(item)
            except RejectError as error:
                item = Reject(item.source, error.reason, error.detail)
        out.append(item)
    return out


def shard_runner(workers: int | None, backend: str, scheduler: str | None) -> Runner:
    """How the missing shards are made: in threads or processes here, or on a Dask cluster. What the runner
    gives is to be closed: no thread of it then writes any more. Raises UsageError."""
    if backend not in BACKENDS:
        raise UsageError(f"there is no backend '{backend}': known: {', '.join(BACKENDS)}")
    if (backend == "dask") != (scheduler is not None):
        raise UsageError("--backend dask and --scheduler tcp://HOST:PORT go together")
    if workers is not None and workers < 1:
        raise UsageError(f"workers is {workers}; give 1 or more")

    def run(plan: Plan, out: Path, missing: list[int]) -> Generator[Made, None, None]:
        owner = os.getpid() if backend == "processes" else 0
        name = secrets.token_hex(8)
        count = min(workers or joblib.cpu_count(), len(missing))
        size = sum(u.size for i in missing for u in plan.shards[i])
        fast = bool(plan.family.scanner) and size >= WORTH_COMPILED * count
        about = plan.spec, plan.settings, plan.fingerprint, out
        each = [(plan.source, plan.shards[i], *about, i, owner, name, fast) for i in missing]
        jobs = (joblib.delayed(_make_shard)(*arguments) for arguments in each)
        if backend == "dask":
            with cluster_client(str(scheduler)), joblib.parallel_config(backend="dask"):
                yield from joblib.Parallel(
                    n_jobs=-1, return_as="generator_unordered", pre_dispatch="2*n_jobs"
                )(jobs)
            return
        want_compiled(fast)
        if count == 1 or (count <= MOST_THREADS and size <= _most_threaded(plan, fast)):
            yield from _in_threads(count, each)
            return
        # one shard at a time, since joblib would tie quick ones together, and the last ones would wait
        yield from joblib.Parallel(
            n_jobs=count, return_as="generator_unordered", pre_dispatch="2*n_jobs", batch_size=1
        )(jobs)

    return run


def _most_threaded(plan: Plan, fast: bool) -> int:
    return MOST_COMPILED_THREADED if fast and compiled(plan.family.scanner) else MOST_THREADED


def _in_threads(count: int, each: Sequence[tuple[Any, ...]]) -> Generator[Made, None, None]:
    """While a shard is written, its worker reads the next one: `count` threads do either, so that no core
    waits for the disk. A thread cannot be ended: whoever stops waits for those that read and write; what is
    being written is kept. A single worker is a thread too, since Python interrupts the main one alone, which
    has nothing to lose."""
    readers, writers, room = ThreadPoolExecutor(count), ThreadPoolExecutor(count), threading.Semaphore(count)
    stopped = False

    def make(*arguments: Any) -> Future[Made] | None:
        write = _read_shard(*arguments)
        room.acquire()  # or else shards would pile up before a slow disk
        if stopped:
            room.release()
            return None
        writing = writers.submit(write)
        writing.add_done_callback(lambda _: room.release())
        return writing

    patience = sys.getswitchinterval()
    sys.setswitchinterval(min(patience, SWITCH_SECONDS))
    try:
        waiting: set[Future[Any]] = {readers.submit(make, *arguments) for arguments in each}
        while waiting:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                made = future.result()
                if isinstance(made, Future):
                    waiting.add(made)
                else:
                    yield made
    finally:
        stopped = True
        readers.shutdown(cancel_futures=True)
        writers.shutdown()
        sys.setswitchinterval(patience)


def _make_shard(*arguments: Any) -> Made:
    return _read_shard(*arguments)()


def _read_shard(
    source: RawSource,
    units: list[Unit],
    spec: DatasetSpec,
    settings: Settings,
    fingerprint: str,
    out: Path,
    index: int,
    owner: int,
    run: str,
    fast: bool,
) -> Callable[[], Made]:
    """Make all that a shard holds. Returns what writes it, which needs nothing of this worker's own."""
    if owner not in (0, os.getpid()):
        _end_with_parent(owner)
    want_compiled(fast)
    source = _own(source, run)
    if settings.recordings:
        tables, rejects = read_recordings(source, units, spec, settings)
    else:
        items = read_clips(source, units, spec, settings)
        clips = [i for i in items if isinstance(i, Clip)]
        rejects = [i for i in items if isinstance(i, Reject)]
        tables = build_tables(clips, len(spec.skeleton.joints), spec.frame_rate, spec.dimensions == 3)
    hashes = unit_hashes(source, units)

    def write() -> Made:
        if owner and owner not in (os.getpid(), os.getppid()):
            os._exit(1)  # the parent was killed; its folder may be another conversion's by now
        path = out / shard_name(index)
        made = write_shard(path, tables, rejects, fingerprint, settings.compression, hashes)
        return index, *made, split_columns(tables.clips, spec)

    return write


_opened = threading.local()


def _own(source: RawSource, run: str) -> RawSource:
    """A worker's own copy of the source, whether it is a process or a thread: open archives and hashes are
    not to be shared. It is kept from shard to shard, since an archive's list of members takes a while to
    read.

    run : what no other conversion is called.
    """
    if getattr(_opened, "run", None) != run:
        _opened.run, _opened.source = run, pickle.loads(pickle.dumps(source))
    mine: RawSource = _opened.source
    mine.hashes.clear()
    return mine


_watch: threading.Thread | None = None


def _end_with_parent(owner: int) -> None:
    """In a worker: end when the conversion's own process has ended, however it ended; otherwise idle workers
    would linger for minutes."""
    global _watch

    def look() -> None:
        while os.getppid() == owner:
            time.sleep(0.5)
        os._exit(1)

    if _watch is None:
        _watch = threading.Thread(target=look, daemon=True)
        _watch.start()
