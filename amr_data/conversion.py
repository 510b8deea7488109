"""The pipeline: discover sources, plan shards, read and clean in parallel, write shards, and last the
manifest.

Each worker makes whole shards on its own, so no array ever passes between processes. Which source goes into
which shard depends on the sources alone, so the result is the same for any number of workers and any backend,
and a run that was stopped goes on with what is missing.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from joblib.externals.loky.process_executor import TerminatedWorkerError

from amr_data.errors import AmrError, UsageError
from amr_data.files import WriteError, sha256_of
from amr_data.interrupts import heeding_interrupts
from amr_data.manifest import Columns, sources_hash, split_columns, write_manifest
from amr_data.plan import Plan, Settings, check_folder, make_plan, take_folder
from amr_data.readers import family_for, open_sources
from amr_data.readers.recognising import Recognised, recognise
from amr_data.recipes.motion import WINDOWS
from amr_data.recipes.normalize import Recipe
from amr_data.shards.layout import shard_name
from amr_data.shards.model import ShardRecord
from amr_data.shards.writer import read_finished
from amr_data.specs import DatasetSpec, load_spec
from amr_data.workers import Runner, shard_runner

Progress = Callable[[int, int, dict[str, Any]], None]


@dataclass
class ConvertReport:
    """What a conversion did; `as_dict` is what `--json` prints."""

    path: Path
    manifest: dict[str, Any]
    seconds: float
    kept_shards: int
    recognised: Recognised | None = None

    @property
    def damaged(self) -> int:
        """Rejects besides the samples that the dataset itself lists as unusable."""
        return sum(
            n for reason, n in self.manifest["rejects_by_reason"].items() if reason != "listed_unusable"
        )

    def as_dict(self) -> dict[str, Any]:
        megabytes = self.manifest["source"]["bytes"] / 1e6
        return {
            "path": str(self.path),
            "dataset": self.manifest["spec"]["name"],
            "recognised": None if self.recognised is None else self.recognised.family,
            "recipe": self.manifest["recipe"],
            "synthetic": self.manifest["source"]["synthetic"],
            **self.manifest["totals"],
            **({"recordings": self.manifest["recordings"]} if "recordings" in self.manifest else {}),
            "splits": self.manifest["protocol_counts"],
            "classes": len(self.manifest["class_counts"]),
            "shards": len(self.manifest["shards"]),
            "kept_shards": self.kept_shards,
            "rejects_by_reason": self.manifest["rejects_by_reason"],
            "seconds": round(self.seconds, 3),
            "source_megabytes": round(megabytes, 3),
            "megabytes_per_second": round(megabytes / self.seconds, 3)
            if self.seconds and not self.kept_shards
            else None,
        }


def convert(
    sources: str | Path | Sequence[str | Path],
    out: str | Path,
    dataset: str | Path | DatasetSpec | None = None,
    *,
    recipe: str | Recipe | None = None,
    rotate: bool = False,
    scale: bool = False,
    options: Mapping[str, Any] | None = None,
    keep: str | None = None,
    unlabelled: bool = False,
    workers: int | None = None,
    compression: str = "none",
    overwrite: bool = False,
    backend: str = "processes",
    scheduler: str | None = None,
    progress: Progress | None = None,
) -> ConvertReport:
    """Convert raw skeleton files to a folder of shards.

    Args:
        sources: folders, zip or 7z files as they are distributed, or single files, one or several; or a PYSKL
            pickle or .npz file of another project.
        out: the dataset folder to make. A stopped conversion of the same sources is taken up where it
            stopped.
        dataset: a built-in name, a path to a spec in YAML, or a spec; recognised from the files where none is
            given.
        recipe: a name ('amr', 'ctrgcn', 'none') or a `Recipe`; 'amr' by default, 'none' for what other
            projects have cleaned already.
        rotate, scale: of the recipe, where this is given by its name or left out.
        options: the raw family's own, such as PKU-MMD's `frame_base`.
        keep: 'recordings' to keep whole the recordings that labels cut clips from, with all their intervals;
            clips are then views into them, and no frame is stored twice.
        unlabelled: take every file that the family can read, whatever its name, as a clip without a label.
        workers: threads or processes that make shards at once; all cores by default.
        compression: 'none', 'lzf' or 'gzip'.
        overwrite: replace a dataset that was made from other sources or with other settings.
        backend: 'processes' on this machine, or 'dask' on the cluster whose `scheduler` address is given;
            `out` and the sources must then lie where all its workers see them.
        progress: called as (bytes done, bytes in all, record of the shard that ended).
    Raises: UsageError for a wrong request, AmrError where the work failed.
    """
    started = time.perf_counter()
    spec = dataset if isinstance(dataset, DatasetSpec | None) else load_spec(dataset)
    paths = [Path(p) for p in ([sources] if isinstance(sources, str | Path) else sources)]
    chosen = recipe if isinstance(recipe, Recipe) else Recipe(recipe or "amr", rotate, scale)
    settings = Settings(chosen, compression, options or {}, keep)
    run = shard_runner(workers, backend, scheduler)
    out = Path(out).resolve()
    check_folder(out)
    with open_sources(paths, out.parent, [out]) as source:
        recognised = recognise(source) if spec is None else None
        spec = spec or (recognised.spec if recognised else None)
        assert spec is not None
        spec = spec.unlabelled() if unlabelled else spec
        if recipe is None and family_for(source, spec).imported:
            settings = replace(settings, recipe=replace(chosen, name="none"))
        plan = make_plan(source, spec, settings)
        with locked(out):
            plan = take_folder(out, plan, overwrite)
            manifest, kept = build_missing(plan, out, run, progress)
    return ConvertReport(out, manifest, time.perf_counter() - started, kept, recognised)


def build_missing(
    plan: Plan,
    out: Path,
    run: Runner,
    progress: Progress | None,
    expected: Mapping[str, Mapping[str, Any]] | None = None,
) -> tuple[dict[str, Any], int]:
    """Make the shards of a plan that are not there yet, then the manifest.

    Args:
        expected: lines of an earlier manifest by shard file, whose checksums the content must have; a new
            shard that differs is taken away again, and nothing else changes.
    Returns: the manifest, and how many shards were there before.
    """
    records: dict[int, tuple[ShardRecord, str, Columns]] = {}
    for index in range(len(plan.shards)):
        found = read_finished(out / shard_name(index), plan.fingerprint, plan.spec, len(WINDOWS))
        if found is not None:
            record, clips = found
            records[index] = record, sha256_of(out / shard_name(index)), split_columns(clips, plan.spec)
    kept = len(records)
    sizes = [sum(u.size for u in units) for units in plan.shards]
    total, done = sum(sizes), sum(sizes[i] for i in records)
    missing = [i for i in range(len(plan.shards)) if i not in records]
    try:
        with heeding_interrupts() as check, contextlib.closing(run(plan, out, missing)) as made:
            for index, record, sha256, columns in made if missing else ():
                records[index] = record, sha256, columns
                _check_as_before(out / shard_name(index), record, (expected or {}).get(shard_name(index)))
                done += sizes[index]
                if progress:
                    progress(done, total, record.model_dump())
                check()
        ordered = [records[i] for i in range(len(plan.shards))]
        hashes, known = [h for _, h, _ in ordered], [c for _, _, c in ordered]
        return write_manifest(out, plan, [r for r, _, _ in ordered], hashes, known), kept
    except WriteError as error:
        raise AmrError(
            f"writing to {out} failed: {error.reason}; finished shards are kept, run again"
        ) from None
    except OSError as error:
        raise AmrError(
            f"writing to {out} failed: {error.strerror or error}; finished shards are kept, run again"
        ) from None
    except TerminatedWorkerError:
        raise AmrError(
            "a worker process was killed, perhaps for want of memory; finished shards are kept, run again "
            "with fewer --workers"
        ) from None


def _check_as_before(shard: Path, record: ShardRecord, before: Mapping[str, Any] | None) -> None:
    if before is None or before["checksum"] == record.checksum:
        return
    shard.unlink()
    if not before.get("sources"):
        why = "the sources have changed, or this release makes other clips of them"
    elif before["sources"] == sources_hash(record):
        why = "the sources are the same, but this release makes other clips of them"
    else:
        why = "the sources have changed"
    raise AmrError(
        f"{shard.name} comes out with other content than before: {why}; convert again with --overwrite"
    )


@contextlib.contextmanager
def locked(out: Path) -> Iterator[None]:
    """Hold the folder for one conversion. The lock is the operating system's and ends with the process,
    however it ends."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = FileLock(out / ".lock")
        lock.acquire(timeout=0)
    except Timeout:
        raise UsageError(
            f"another conversion is writing to {out}; wait for it, or name another folder"
        ) from None
    except OSError as error:
        raise AmrError(f"{out} cannot be written: {error.strerror or error}") from None
    try:
        yield
    finally:
        lock.release()
