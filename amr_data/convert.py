"""The pipeline: discover sources, plan shards, read and clean in parallel, write shards, and last the manifest.

Each worker makes whole shards on its own, so no array ever passes between processes. Which source goes into which shard depends on the
sources alone, so the result is the same for any number of workers, and a run that was interrupted goes on with the shards that are missing.
"""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import h5py
import joblib
import numpy as np

from amr_data.clip import Clip
from amr_data.errors import AmrError, Reject, RejectError, UsageError
from amr_data.files import write_json
from amr_data.motion import WINDOWS, add_energy
from amr_data.normalize import RECIPES, apply_recipe, is_centred
from amr_data.readers import READERS, RawSource, Unit
from amr_data.shards.layout import FORMAT_VERSION, MANIFEST, PLAN, shard_name
from amr_data.shards.writer import COMPRESSIONS, LENGTH_BIN, build_tables, read_record, write_shard
from amr_data.specs import DatasetSpec, load_spec, unknown

MIN_SHARD_BYTES, MAX_SHARD_BYTES, TARGET_SHARDS = 4 << 20, 96 << 20, 32
Progress = Callable[[int, int, dict[str, Any]], None]


@dataclass
class ConvertReport:
    """What a conversion did; `as_dict` is what `--json` prints."""

    path: Path
    manifest: dict[str, Any]
    seconds: float
    kept_shards: int

    def as_dict(self) -> dict[str, Any]:
        totals = self.manifest["totals"]
        megabytes = self.manifest["source"]["bytes"] / 1e6
        return {
            "path": str(self.path),
            "dataset": self.manifest["spec"]["name"],
            "recipe": self.manifest["recipe"]["name"],
            **totals,
            "classes": len(self.manifest["class_counts"]),
            "shards": len(self.manifest["shards"]),
            "kept_shards": self.kept_shards,
            "rejects_by_reason": self.manifest["rejects_by_reason"],
            "seconds": round(self.seconds, 3),
            "source_megabytes": round(megabytes, 3),
            "megabytes_per_second": round(megabytes / self.seconds, 3) if self.seconds and not self.kept_shards else None,
        }


def convert(
    sources: str | Path | Sequence[str | Path],
    out: str | Path,
    dataset: str | DatasetSpec,
    *,
    recipe: str = "amr",
    frame_base: int = 0,
    workers: int | None = None,
    compression: str = "none",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> ConvertReport:
    """Convert raw skeleton files to a folder of shards.

    Args:
        sources: a folder or a zip file as it is distributed, or several of them.
        out: the dataset folder to make. An interrupted conversion of the same sources is taken up where it stopped.
        dataset: a built-in name, a path to a spec in YAML, or a spec.
        recipe: 'amr' (true gaps) or 'ctrgcn' (the reference clean-up of the literature).
        frame_base: PKU-MMD only; 0 reads a label row's frames as [start, end), 1 as [start - 1, end).
        workers: processes, all cores by default.
        compression: 'none', 'lzf' or 'gzip'.
        overwrite: replace a dataset that was made from other sources or with other settings.
        progress: called as (bytes done, bytes in all, record of the shard that ended).
    Raises: UsageError for a wrong request, AmrError where the work failed.
    """
    started = time.perf_counter()
    spec = dataset if isinstance(dataset, DatasetSpec) else load_spec(dataset)
    for kind, name, known in (("recipe", recipe, RECIPES), ("compression", compression, COMPRESSIONS)):
        if name not in known:
            raise UsageError(unknown(kind, name, known))
    if frame_base not in (0, 1):
        raise UsageError(f"frame base is 0 or 1, not {frame_base}")
    workers = workers or joblib.cpu_count()
    if workers < 1:
        raise UsageError(f"workers is {workers}; give 1 or more")
    source = RawSource([sources] if isinstance(sources, str | Path) else list(sources))
    reader = READERS[spec.raw]
    found = reader.discover(source, spec)
    if not found.units and not found.rejects:
        raise UsageError(f"{', '.join(map(str, source.paths))}: no {spec.title} file in it")
    spec = spec.model_copy(update={"protocols": {**spec.protocols, **found.protocols}})
    out = Path(out)
    shards = plan_shards(found.units)
    settings = {
        "name": recipe,
        "frame_base": frame_base if spec.raw == "pku-mmd" else None,
        "centred": is_centred(spec, recipe),
        "compression": compression,
    }
    fingerprint = _fingerprint(spec, settings, found.units, found.rejects)
    _prepare(out, fingerprint, overwrite)

    records: list[dict[str, Any] | None] = [read_record(out / shard_name(i), fingerprint) for i in range(len(shards))]
    kept = sum(r is not None for r in records)
    sizes = [sum(u.size for u in units) for units in shards]
    total = sum(sizes)
    done = sum(s for s, r in zip(sizes, records, strict=True) if r is not None)
    missing = [i for i, r in enumerate(records) if r is None]
    jobs = (
        joblib.delayed(_make_shard)(i, out, source, shards[i], spec, recipe, frame_base, fingerprint, compression)
        for i in missing
    )
    parallel = joblib.Parallel(n_jobs=min(workers, max(1, len(missing))), return_as="generator_unordered", pre_dispatch="n_jobs")
    try:
        for index, record in parallel(jobs):
            records[index] = record
            done += sizes[index]
            if progress:
                progress(done, total, record)
    except OSError as error:
        raise AmrError(f"writing to {out} failed: {error.strerror or error}; finished shards are kept, run again") from None
    manifest = _manifest(spec, settings, source, found.sources, total, found.rejects, [r for r in records if r], fingerprint)
    write_json(out / MANIFEST, manifest)
    return ConvertReport(out, manifest, time.perf_counter() - started, kept)


def plan_shards(units: Sequence[Unit]) -> list[list[Unit]]:
    """Cut the units into shards of about equal raw size; the cut depends on names and sizes alone."""
    total = sum(u.size for u in units)
    target = min(max(total // TARGET_SHARDS, MIN_SHARD_BYTES), MAX_SHARD_BYTES)
    shards: list[list[Unit]] = []
    filled = target
    for unit in sorted(units, key=lambda u: u.name):
        if filled >= target:
            shards.append([])
            filled = 0
        shards[-1].append(unit)
        filled += unit.size
    return shards


def read_clips(source: RawSource, unit: Unit, spec: DatasetSpec, recipe: str, frame_base: int) -> list[Clip | Reject]:
    """Read, clean, centre one unit and add the motion energies; what fails is a reject in the list."""
    out: list[Clip | Reject] = []
    for item in READERS[spec.raw].read(source, unit, spec, frame_base):
        if isinstance(item, Clip):
            try:
                item = apply_recipe(item, spec, recipe)
                for track in item.tracks:
                    add_energy(track)
            except RejectError as error:
                item = Reject(item.source, error.reason, error.detail)
        out.append(item)
    return out


def _make_shard(
    index: int,
    out: Path,
    source: RawSource,
    units: list[Unit],
    spec: DatasetSpec,
    recipe: str,
    frame_base: int,
    fingerprint: str,
    compression: str,
) -> tuple[int, dict[str, Any]]:
    items = [item for unit in units for item in read_clips(source, unit, spec, recipe, frame_base)]
    clips = [i for i in items if isinstance(i, Clip)]
    rejects = [i for i in items if isinstance(i, Reject)]
    tables = build_tables(clips, len(spec.skeleton.joints), spec.frame_rate)
    return index, write_shard(out / shard_name(index), tables, rejects, fingerprint, compression)


def _prepare(out: Path, fingerprint: str, overwrite: bool) -> None:
    """Make the folder, or take up an unfinished one of the same plan; anything else there is refused."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; name a folder to write the dataset to")
    plan = out / PLAN
    ours = plan.exists() or (out / MANIFEST).exists()
    if out.is_dir() and any(out.iterdir()) and not ours:
        raise UsageError(f"{out} is not empty and holds no dataset; name a new folder")
    try:
        if ours:
            try:
                old = json.loads(plan.read_text()).get("fingerprint")
            except (OSError, ValueError, AttributeError):
                old = None
            if old != fingerprint:
                if not overwrite:
                    raise UsageError(f"{out} holds a dataset made from other sources or settings; --overwrite replaces it")
                for path in [*out.glob("shard-*.h5"), out / MANIFEST, plan]:
                    path.unlink(missing_ok=True)
        for stale in out.glob(".*.tmp"):
            stale.unlink(missing_ok=True)
        out.mkdir(parents=True, exist_ok=True)
        if not plan.exists():
            write_json(plan, {"fingerprint": fingerprint})
    except OSError as error:
        raise AmrError(f"{out} cannot be written: {error.strerror or error}") from None


def _fingerprint(spec: DatasetSpec, settings: dict[str, Any], units: Sequence[Unit], rejects: Sequence[Reject]) -> str:
    """Changes with the sources (names, sizes, stamps), the spec, the settings and the format."""
    files = [(u.name, [(m.path, m.size, m.stamp) for m in u.members]) for u in units]
    content = [
        FORMAT_VERSION,
        version("amr-skeleton"),
        spec.model_dump(),
        settings,
        files,
        [asdict(r) for r in rejects],
        WINDOWS,
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _manifest(
    spec: DatasetSpec,
    settings: dict[str, Any],
    source: RawSource,
    sources: int,
    total_bytes: int,
    name_rejects: list[Reject],
    records: list[dict[str, Any]],
    fingerprint: str,
) -> dict[str, Any]:
    rejects = [asdict(r) for r in name_rejects] + [r for record in records for r in record["rejects"]]
    frames = sum(r["frames"] for r in records)
    points = max(frames * len(spec.skeleton.joints), 1)
    mean = np.sum([r["position_sum"] for r in records], axis=0) / points if records else np.zeros(3)
    square = np.sum([r["position_square_sum"] for r in records], axis=0) / points if records else np.zeros(3)
    energy = np.sum([r["energy_sum"] for r in records], axis=0) / points if records else np.zeros(len(WINDOWS))
    totals = {key: sum(r[key] for r in records) for key in ("clips", "frames", "clip_frames", "bodies")}
    return {
        "format_version": FORMAT_VERSION,
        "versions": {
            "amr-skeleton": version("amr-skeleton"),
            "numpy": np.__version__,
            "h5py": h5py.__version__,
            "python": platform.python_version(),
        },
        "spec": spec.model_dump(),
        "recipe": settings,
        "windows": list(WINDOWS),
        "source": {
            "paths": [p.name for p in source.paths],
            "files": sources,
            "bytes": total_bytes,
            "fingerprint": fingerprint,
        },
        "totals": {"sources": sources, **totals, "rejects": len(rejects)},
        "statistics": {
            "position_mean": mean.tolist(),
            "position_std": np.sqrt(np.maximum(square - mean**2, 0)).tolist(),
            "energy_mean": energy.tolist(),
            "length_bin": LENGTH_BIN,
            "length_histogram": _added(records, "length_histogram"),
        },
        "class_counts": _added(records, "class_counts"),
        "body_counts": _added(records, "body_counts"),
        "shards": [{"file": shard_name(i), **{k: r[k] for k in ("clips", "frames", "checksum")}} for i, r in enumerate(records)],
        "rejects_by_reason": dict(Counter(r["reason"] for r in rejects).most_common()),
        "rejects": rejects,
    }


def _added(records: list[dict[str, Any]], key: str) -> dict[str, int]:
    total: Counter[str] = Counter()
    for record in records:
        total.update(record[key])
    return {k: total[k] for k in sorted(total, key=int)}
