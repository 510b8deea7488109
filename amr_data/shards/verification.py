"""Is a dataset what its manifest says? Every finding names the file, a short kind and what was found. What a
file may be at all is decided where every reader decides it, in `model` and `opening`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from amr_data.errors import AmrError, Record, UsageError
from amr_data.files import sha256_of
from amr_data.readers.text import MAX_METRES
from amr_data.shards.layout import MANIFEST, REJECTS, SHARD_FILES, Progress
from amr_data.shards.model import DamageError, ShardRecord, check_place, read_manifest, read_rejects
from amr_data.shards.opening import Shard
from amr_data.shards.reader import ShardDataset, open_dataset
from amr_data.shards.tables import side_counts
from amr_data.shards.writer import ShardTables, tables_checksum
from amr_data.specs import NO_LABEL, DatasetSpec

Problem = tuple[str, str]

Finding = Record
"""A file of the dataset folder that is not what the manifest says."""


def verify(path: str | Path, progress: Progress | None = None) -> list[Finding]:
    """Check a dataset folder: manifest, presence, file hashes, structure, checksums, value ranges, counts. An
    empty list is a sound dataset.

    Raises: UsageError where the folder is none, AmrError where it cannot be listed.
    """
    path = Path(path)
    try:
        if not path.is_dir():
            raise UsageError(f"{path} is not a folder")
        there = sorted(p.name for p in path.iterdir() if SHARD_FILES.fullmatch(p.name))
    except OSError as error:
        raise AmrError(f"{path} cannot be read: {error.strerror or error}") from None
    findings: list[Finding] = []
    try:
        manifest, spec = read_manifest(path)
    except FileNotFoundError:
        detail = "there is none: the conversion did not end, or the file was lost"
        return [Finding(MANIFEST, "missing_manifest", detail)]
    except DamageError as error:
        return [Finding(MANIFEST, error.kind, error.detail)]
    listed = {s["file"]: s for s in manifest["shards"]}
    for name in there:
        if name not in listed:
            findings.append(Finding(name, "extra_shard", "the manifest does not list it"))
    records: list[ShardRecord] = []
    for done, (name, entry) in enumerate(listed.items(), 1):
        problems, record = check_shard(path / name, entry, spec, manifest)
        findings += [Finding(name, kind, detail) for kind, detail in problems]
        if record:
            records.append(record)
        if progress:
            progress(done, len(listed))
    if not any(f.where in listed for f in findings):
        findings += _check_counts(path, manifest, records)
    return findings


def check_shard(
    path: Path, entry: dict[str, Any], spec: DatasetSpec, manifest: dict[str, Any]
) -> tuple[list[Problem], ShardRecord | None]:
    """Problems (kind, detail) of one shard against its line in the manifest, and its record if it can be
    read."""
    try:
        problem = _check_file(path, entry)
        return ([problem], None) if problem else _check_content(path, entry, spec, manifest)
    except DamageError as error:
        return [(error.kind, error.detail)], None
    except FileNotFoundError:
        return [("missing_shard", "the file is not there")], None
    except OSError as error:
        return [("unreadable", error.strerror or str(error))], None


def _check_file(path: Path, entry: dict[str, Any]) -> Problem | None:
    check_place(path)
    if sha256_of(path) == entry["sha256"]:
        return None
    # what lies inside a file that changed is not to be trusted to HDF5; its size tells the common case
    size = path.stat().st_size
    detail = f"its {size:,} bytes do not have the SHA-256 in the manifest: damaged, cut off, or written anew"
    return "changed_file", detail


def _check_content(
    path: Path, entry: dict[str, Any], spec: DatasetSpec, manifest: dict[str, Any]
) -> tuple[list[Problem], ShardRecord]:
    problems: list[Problem] = []
    with Shard(path, len(spec.skeleton.joints), len(manifest["windows"])) as shard:
        record = shard.record()
        clips, tracks, kept = shard.tables(len(spec.classes), spec.max_bodies)
        texts = shard.note_texts(0, len(clips))
        shard.notes(0, len(clips))
        if kept:
            kept.notes = shard.recording_note_texts(0, len(kept.recordings))
            shard.recording_notes(0, len(kept.recordings))
        joints, energy = shard.raw_frames(0, shard.rows)
        fingerprint = shard.fingerprint
    if fingerprint != manifest["source"]["fingerprint"]:
        detail = "the shard was made from other sources or settings than the manifest"
        problems.append(("fingerprint", detail))
    if kept is not None and entry.get("kept") != (record.kept and record.kept.model_dump()):
        problems.append(("structure", "the manifest says otherwise what recordings it keeps"))
    frames = len(joints) if kept is None else int(tracks["frames"].sum(dtype=np.int64))
    if (len(clips), frames) != (entry["clips"], entry["frames"]):
        detail = f"{len(clips):,} clips, {frames:,} frames, the manifest says otherwise"
        problems.append(("structure", detail))
    checksum = tables_checksum(ShardTables(joints, energy, tracks, clips, texts, kept))
    if not checksum == entry["checksum"] == record.checksum:
        problems.append(("checksum", "the content does not have the checksum in the manifest"))
    if record.clip_frames != int(clips["frames"].sum(dtype=np.int64)):
        problems.append(("structure", "its record counts other frames of clips than the table"))
    problems += _check_values("joints", joints, -MAX_METRES, MAX_METRES)
    problems += _check_values("energy", energy, 0, MAX_METRES**2)
    return problems, record


def _check_values(name: str, values: npt.NDArray[np.float32], low: float, high: float) -> list[Problem]:
    if not values.size:
        return []
    least, most = float(values.min()), float(values.max())
    if not (math.isfinite(least) and math.isfinite(most)):
        count = int((~np.isfinite(values)).sum())
        return [("non_finite", f"{count} values of {name} are not finite")]
    if least < low or most > high:
        return [("range", f"{name} from {least:.4g} to {most:.4g}, outside {low:g} to {high:g}")]
    return []


def _check_counts(path: Path, manifest: dict[str, Any], records: list[ShardRecord]) -> list[Finding]:
    """Totals, classes, splits and names over all shards; only asked once every shard is sound."""
    findings = []
    for key in ("clips", "frames", "clip_frames", "bodies"):
        found, said = sum(getattr(r, key) for r in records), manifest["totals"][key]
        if found != said:
            detail = f"{key}: the shards hold {found:,}, the manifest says {said:,}"
            findings.append(Finding(MANIFEST, "totals", detail))
    kept = [r.kept for r in records if r.kept]
    for key, said in (manifest.get("recordings") or {}).items():
        found = sum(getattr(k, key, 0) for k in kept)
        if found != said:
            detail = f"{key} of recordings: the shards hold {found:,}, the manifest says {said:,}"
            findings.append(Finding(MANIFEST, "totals", detail))
    try:
        findings += _check_tables(open_dataset(path), manifest)
    except DamageError as error:
        findings.append(Finding(error.file, error.kind, error.detail))
    except AmrError as error:
        findings.append(Finding(MANIFEST, "unreadable", str(error)))
    try:
        rejects = len(read_rejects(path))
    except DamageError as error:
        findings.append(Finding(REJECTS, "rejects", error.detail))
    else:
        if rejects != manifest["totals"]["rejects"]:
            detail = f"holds {rejects}, the manifest says {manifest['totals']['rejects']}"
            findings.append(Finding(REJECTS, "rejects", detail))
    return findings


def _check_tables(dataset: ShardDataset, manifest: dict[str, Any]) -> list[Finding]:
    findings = []
    labelled = dataset.clips["label"] != NO_LABEL
    labels, counts = np.unique(dataset.clips["label"][labelled], return_counts=True)
    if {str(k): int(v) for k, v in zip(labels, counts, strict=True)} != manifest["class_counts"]:
        findings.append(Finding(MANIFEST, "totals", "class_counts is not what the shards hold"))
    for name, said in manifest["protocol_counts"].items():
        if name not in dataset.spec.protocols:
            findings.append(Finding(MANIFEST, "protocol_counts", f"{name}: the spec has no such split"))
            continue
        found = side_counts(dataset.membership(name), dataset.spec.protocol(name))
        if found != said:
            detail = f"{name}: the shards give {found}, the manifest says {said}"
            findings.append(Finding(MANIFEST, "protocol_counts", detail))
    names, times = np.unique(dataset.clips["name"], return_counts=True)
    if (times > 1).any():
        detail = f"clip {names[times > 1][0].decode()} is there more than once"
        findings.append(Finding(MANIFEST, "duplicate_name", detail))
    return findings
