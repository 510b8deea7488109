"""The manifest: what a dataset is, made from the records that its shards carry. Rejects lie beside it, one
JSON line each."""

from __future__ import annotations

import hashlib
import json
import platform
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from amr_data.errors import UsageError
from amr_data.files import whole_file, write_json
from amr_data.plan import Plan
from amr_data.recipes.motion import WINDOWS
from amr_data.shards.layout import FORMAT_VERSION, MANIFEST, REJECTS, WITH_RECORDINGS, shard_name
from amr_data.shards.model import KeptCounts, ShardRecord
from amr_data.shards.tables import side_counts, split_values
from amr_data.shards.writer import LENGTH_BIN
from amr_data.specs import NO_LABEL, DatasetSpec

Columns = Mapping[str, Sequence[Any]]
"""Of each field that a split goes by, the value of every clip."""


def write_manifest(
    out: Path,
    plan: Plan,
    records: list[ShardRecord],
    hashes: list[str],
    columns: Sequence[Columns],
) -> dict[str, Any]:
    """Write rejects.jsonl, then manifest.json, which makes the dataset complete. Returns the manifest.

    records, hashes, columns : of each shard.
    """
    rejects = [r.as_stored() for r in plan.rejects] + [
        r.model_dump() for record in records for r in record.rejects
    ]
    with whole_file(out / REJECTS) as temporary:
        temporary.write_text(
            "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rejects), encoding="utf-8"
        )
    spec, counts = _splits(plan, columns)
    manifest = build_manifest(plan, spec, records, hashes, rejects, counts)
    write_json(out / MANIFEST, manifest)
    return manifest


def build_manifest(
    plan: Plan,
    spec: DatasetSpec,
    records: list[ShardRecord],
    hashes: list[str],
    rejects: list[dict[str, Any]],
    counts: dict[str, dict[str, int]],
) -> dict[str, Any]:
    """spec : the plan's, its folds dealt out.  hashes : SHA-256 of each shard file.  counts : clips in each
    part of each split."""
    frames = sum(r.frames for r in records)
    points = max(frames * len(plan.spec.skeleton.joints), 1)
    mean = np.sum([r.position_sum for r in records], axis=0) / points if records else np.zeros(3)
    square = np.sum([r.position_square_sum for r in records], axis=0) / points if records else np.zeros(3)
    energy = np.sum([r.energy_sum for r in records], axis=0) / points if records else np.zeros(len(WINDOWS))
    totals = {
        key: sum(getattr(r, key) for r in records) for key in ("clips", "frames", "clip_frames", "bodies")
    }
    classes = _added(records, "class_counts")
    unlabelled = classes.pop(str(NO_LABEL), 0)
    shards = [
        {
            "file": shard_name(i),
            "clips": r.clips,
            "frames": r.frames,
            "checksum": r.checksum,
            "sha256": h,
            "sources": sources_hash(r),
            **({"kept": r.kept.model_dump()} if r.kept else {}),
        }
        for i, (r, h) in enumerate(zip(records, hashes, strict=True))
    ]
    return {
        "format_version": WITH_RECORDINGS if plan.settings.recordings else FORMAT_VERSION,
        "versions": {
            "amr-skeleton": version("amr-skeleton"),
            "numpy": np.__version__,
            "h5py": h5py.__version__,
            "python": platform.python_version(),
        },
        "spec": spec.model_dump(),
        "recipe": {**plan.settings.recipe.record(plan.spec, plan.family), **plan.settings.options},
        "compression": plan.settings.compression,
        "windows": list(WINDOWS),
        "source": {
            "paths": plan.source.names,
            "files": plan.sources,
            "bytes": plan.bytes,
            "fingerprint": plan.fingerprint,
            "synthetic": plan.synthetic,
        },
        "totals": {"sources": plan.sources, **totals, "unlabelled": unlabelled, "rejects": len(rejects)},
        **({"recordings": kept_counts(records)} if plan.settings.recordings else {}),
        "statistics": {
            "position_mean": mean.tolist(),
            "position_std": np.sqrt(np.maximum(square - mean**2, 0)).tolist(),
            "energy_mean": energy.tolist(),
            "length_bin": LENGTH_BIN,
            "length_histogram": _added(records, "length_histogram"),
        },
        "class_counts": classes,
        "body_counts": _added(records, "body_counts"),
        "protocol_counts": counts,
        "shards": shards,
        "rejects_by_reason": dict(Counter(r["reason"] for r in rejects).most_common()),
    }


def kept_counts(records: Iterable[ShardRecord]) -> dict[str, int]:
    """What the shards together count of the recordings that they keep."""
    counts = [record.kept for record in records if record.kept]
    return {name: sum(getattr(c, name) for c in counts) for name in KeptCounts.model_fields}


def split_columns(clips: npt.NDArray[np.void], spec: DatasetSpec) -> Columns:
    """clips : a shard's table."""
    return {field: split_values(clips, field).tolist() for field in {r.by for r in spec.protocols.values()}}


def _splits(plan: Plan, shards: Sequence[Columns]) -> tuple[DatasetSpec, dict[str, dict[str, int]]]:
    """The spec with every number of folds dealt out over what occurs in the clips, and the clips in each part
    of each split. Raises UsageError for more folds than values."""
    fields = {rule.by for rule in plan.spec.protocols.values()}
    columns: dict[str, list[Any]] = {f: [value for shard in shards for value in shard[f]] for f in fields}
    try:
        spec = plan.spec.with_folds(columns)
    except ValueError as error:
        raise UsageError(str(error)) from None
    return spec, {
        name: side_counts(rule.assign(columns[rule.by]), rule) for name, rule in spec.protocols.items()
    }


def sources_hash(record: ShardRecord) -> str:
    """SHA-256 over what a shard's record says of its sources, "" where it says nothing."""
    return hashlib.sha256("\n".join(record.sources).encode()).hexdigest() if record.sources else ""


def _added(records: list[ShardRecord], key: str) -> dict[str, int]:
    total: Counter[str] = Counter()
    for record in records:
        total.update(getattr(record, key))
    return {k: total[k] for k in sorted(total, key=int)}
