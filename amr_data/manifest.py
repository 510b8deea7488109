"""The manifest: what a dataset is, made from the records that its shards carry. Rejects lie beside it, one
JSON line each."""

from __future__ import annotations

import json
import platform
from collections import Counter
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from amr_data.errors import UsageError
from amr_data.files import whole_file, write_json
from amr_data.plan import Plan
from amr_data.recipes.motion import WINDOWS
from amr_data.shards.layout import FORMAT_VERSION, MANIFEST, REJECTS, shard_name
from amr_data.shards.writer import LENGTH_BIN
from amr_data.specs import NAMED, NO_LABEL, TEST, TRAIN, UNASSIGNED, VALIDATION, DatasetSpec


def write_manifest(out: Path, plan: Plan, records: list[dict[str, Any]], hashes: list[str]) -> dict[str, Any]:
    """Write rejects.jsonl, then manifest.json, which makes the dataset complete. Returns the manifest."""
    rejects = [asdict(r) for r in plan.rejects] + [r for record in records for r in record["rejects"]]
    with whole_file(out / REJECTS) as temporary:
        temporary.write_text(
            "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rejects), encoding="utf-8"
        )
    manifest = build_manifest(plan, records, hashes, rejects)
    write_json(out / MANIFEST, manifest)
    return manifest


def build_manifest(
    plan: Plan, records: list[dict[str, Any]], hashes: list[str], rejects: list[dict[str, Any]]
) -> dict[str, Any]:
    """hashes : SHA-256 of each shard file. Raises UsageError for more folds than values."""
    spec = _with_folds(plan, records)
    frames = sum(r["frames"] for r in records)
    points = max(frames * len(plan.spec.skeleton.joints), 1)
    mean = np.sum([r["position_sum"] for r in records], axis=0) / points if records else np.zeros(3)
    square = np.sum([r["position_square_sum"] for r in records], axis=0) / points if records else np.zeros(3)
    energy = (
        np.sum([r["energy_sum"] for r in records], axis=0) / points if records else np.zeros(len(WINDOWS))
    )
    totals = {key: sum(r[key] for r in records) for key in ("clips", "frames", "clip_frames", "bodies")}
    classes = _added(records, "class_counts")
    unlabelled = classes.pop(str(NO_LABEL), 0)
    shards = [
        {"file": shard_name(i), **{k: r[k] for k in ("clips", "frames", "checksum")}, "sha256": h}
        for i, (r, h) in enumerate(zip(records, hashes, strict=True))
    ]
    return {
        "format_version": FORMAT_VERSION,
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
        "statistics": {
            "position_mean": mean.tolist(),
            "position_std": np.sqrt(np.maximum(square - mean**2, 0)).tolist(),
            "energy_mean": energy.tolist(),
            "length_bin": LENGTH_BIN,
            "length_histogram": _added(records, "length_histogram"),
        },
        "class_counts": classes,
        "body_counts": _added(records, "body_counts"),
        "protocol_counts": protocol_counts(spec, records),
        "shards": shards,
        "rejects_by_reason": dict(Counter(r["reason"] for r in rejects).most_common()),
    }


def _with_folds(plan: Plan, records: list[dict[str, Any]]) -> DatasetSpec:
    """The spec with every number of folds dealt out over what occurs in the clips."""
    values: dict[str, list[int | str]] = {}
    for rule in plan.spec.protocols.values():
        found = {v for record in records for v in record["field_counts"].get(rule.by, {})}
        values[rule.by] = list(found) if rule.by in NAMED else [int(v) for v in found]
    try:
        return plan.spec.with_folds(values)
    except ValueError as error:
        raise UsageError(str(error)) from None


def protocol_counts(spec: DatasetSpec, records: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """Clips in each part of each split, and in none."""
    counts = {}
    for name, rule in spec.protocols.items():
        values: Counter[str] = Counter()
        for record in records:
            values.update(record["field_counts"][rule.by])
        keys = list(values) if rule.by in NAMED else [int(v) for v in values]
        sides = rule.assign(keys) if keys else np.zeros(0, np.int8)
        sizes = np.array(list(values.values()), np.int64)
        parts = {"train": TRAIN, "test": TEST, "unassigned": UNASSIGNED}
        if rule.validation:
            parts["validation"] = VALIDATION
        counts[name] = {part: int(sizes[sides == side].sum()) for part, side in parts.items()}
    return counts


def _added(records: list[dict[str, Any]], key: str) -> dict[str, int]:
    total: Counter[str] = Counter()
    for record in records:
        total.update(record[key])
    return {k: total[k] for k in sorted(total, key=int)}
