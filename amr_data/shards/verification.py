"""Is a dataset what its manifest says? Every finding names the file, a short kind and what was found."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from amr_data.errors import UsageError
from amr_data.files import sha256_of
from amr_data.readers.text import MAX_METRES
from amr_data.shards.layout import FORMAT_VERSION, MANIFEST, REJECTS, content_checksum, shard_name
from amr_data.shards.reader import open_dataset, read_rejects
from amr_data.specs import NO_LABEL, TEST, TRAIN, UNASSIGNED, VALIDATION, DatasetSpec, spec_from_json


@dataclass(frozen=True)
class Finding:
    """file : the file in the dataset folder.  kind : what is wrong in a word.  detail : what was found."""

    file: str
    kind: str
    detail: str


def verify(path: str | Path, progress: Callable[[int, int], None] | None = None) -> list[Finding]:
    """Check a dataset folder: manifest, presence, file hashes, structure, checksums, value ranges, counts. An
    empty list is a sound dataset.

    Raises: UsageError where the folder is none.
    """
    path = Path(path)
    if not path.is_dir():
        raise UsageError(f"{path} is not a folder")
    manifest, spec, findings = check_manifest(path)
    listed = {s["file"]: s for s in manifest["shards"]} if manifest else {}
    for file in sorted(path.glob("shard-*.h5")):
        if manifest and file.name not in listed:
            findings.append(Finding(file.name, "extra_shard", "the manifest does not list it"))
    if manifest is None or spec is None:
        return findings
    records: list[dict[str, Any]] = []
    for done, (name, entry) in enumerate(listed.items(), 1):
        problems, record = check_shard(path / name, entry, spec, manifest["source"]["fingerprint"])
        findings += [Finding(name, kind, detail) for kind, detail in problems]
        if record:
            records.append(record)
        if progress:
            progress(done, len(listed))
    if not any(f.file in listed for f in findings):
        findings += _check_counts(path, manifest, records)
    return findings


def check_shard(
    path: Path, entry: dict[str, Any], spec: DatasetSpec, fingerprint: str
) -> tuple[list[tuple[str, str]], dict[str, Any] | None]:
    """Problems (kind, detail) of one shard against its line in the manifest, and its record if it can be
    read."""
    if not path.is_file():
        return [("missing_shard", "the file is not there")], None
    try:
        if sha256_of(path) != entry["sha256"]:
            # what lies inside a file that changed is not to be trusted to HDF5; its size tells the common
            # case
            size = path.stat().st_size
            return [
                (
                    "changed_file",
                    f"its {size:,} bytes do not have the SHA-256 in the manifest: damaged, cut off, or "
                    f"written anew",
                )
            ], None
        with h5py.File(path, "r") as file:
            record = json.loads(file["record"][()])
            arrays = [file[name][()] for name in ("frames/joints", "frames/energy", "tracks", "clips")]
            notes = [n.decode() for n in file["notes"][()]]
            found = file.attrs.get("fingerprint")
    except (OSError, KeyError, ValueError, RuntimeError, TypeError) as error:
        return [("unreadable", f"{type(error).__name__}: {error}")], None
    problems = []
    if found != fingerprint:
        problems.append(
            ("fingerprint", "the shard was made from other sources or settings than the manifest")
        )
    if content_checksum(arrays, notes) != entry["checksum"] or record.get("checksum") != entry["checksum"]:
        problems.append(("checksum", "the content does not have the checksum in the manifest"))
    return problems + _check_tables(arrays, len(notes), entry, spec), record


def check_manifest(path: Path) -> tuple[dict[str, Any] | None, DatasetSpec | None, list[Finding]]:
    """The manifest and its spec, None where they cannot be believed, and why."""
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        spec = spec_from_json(manifest["spec"])
        if manifest["format_version"] != FORMAT_VERSION:
            return (
                None,
                None,
                [
                    Finding(
                        MANIFEST,
                        "version",
                        f"format {manifest['format_version']}, this release reads {FORMAT_VERSION}",
                    )
                ],
            )
        names = [s["file"] for s in manifest["shards"]]
        if names != [shard_name(i) for i in range(len(names))]:
            return None, None, [Finding(MANIFEST, "structure", "the list of shards has a gap")]
        for shard in manifest["shards"]:
            _ = shard["sha256"], shard["checksum"], shard["clips"], shard["frames"]
        _ = (
            manifest["totals"]["clips"],
            manifest["source"]["fingerprint"],
            manifest["protocol_counts"],
            manifest["class_counts"],
        )
        return manifest, spec, []
    except FileNotFoundError:
        return (
            None,
            None,
            [
                Finding(
                    MANIFEST,
                    "missing_manifest",
                    "there is none: the conversion did not end, or the file was lost",
                )
            ],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        return None, None, [Finding(MANIFEST, "unreadable", f"{type(error).__name__}: {str(error)[:120]}")]


def _check_tables(
    arrays: list[Any], notes: int, entry: dict[str, Any], spec: DatasetSpec
) -> list[tuple[str, str]]:
    joints, energy, tracks, clips = arrays
    bodies = len(spec.skeleton.joints)
    problems: list[tuple[str, str]] = []
    if (
        joints.shape[1:] != (bodies, 3)
        or energy.shape[:2] != joints.shape[:2]
        or len(joints) != entry["frames"]
        or len(clips) != entry["clips"]
    ):
        return [
            (
                "structure",
                f"tables of {joints.shape}, {energy.shape}, {len(clips)} clips do not fit together or the "
                f"manifest",
            )
        ]
    if notes != len(clips):
        problems.append(("structure", f"{notes} notes for {len(clips)} clips"))
    if len(tracks):
        ends = tracks["first_row"] + tracks["frames"]
        inside = (
            (tracks["clip"] >= 0)
            & (tracks["clip"] < len(clips))
            & (tracks["first_row"] >= 0)
            & (ends <= len(joints))
            & (tracks["frames"] > 0)
        )
        if (
            not inside.all()
            or (
                tracks["first_frame"] + tracks["frames"]
                > clips["frames"][np.clip(tracks["clip"], 0, max(len(clips) - 1, 0))]
            ).any()
        ):
            problems.append(("structure", "a track points outside its clip or the frames"))
    for name, values, low, high in (
        ("joints", joints, -MAX_METRES, MAX_METRES),
        ("energy", energy, 0, MAX_METRES**2),
    ):
        if not np.isfinite(values).all():
            problems.append(
                ("non_finite", f"{int((~np.isfinite(values)).sum())} values of {name} are not finite")
            )
        elif len(values) and (values.min() < low or values.max() > high):
            problems.append(
                (
                    "range",
                    f"{name} from {values.min():.4g} to {values.max():.4g}, outside {low:g} to {high:g}",
                )
            )
    if len(clips) and not ((clips["label"] >= NO_LABEL) & (clips["label"] < len(spec.classes))).all():
        problems.append(("range", "a label is not one of the dataset's classes"))
    return problems


def _check_counts(path: Path, manifest: dict[str, Any], records: list[dict[str, Any]]) -> list[Finding]:
    """Totals, classes, protocols and names over all shards; only asked once every shard is sound."""
    findings = []
    for key in ("clips", "frames", "clip_frames", "bodies"):
        found = sum(r[key] for r in records)
        if found != manifest["totals"][key]:
            findings.append(
                Finding(
                    MANIFEST,
                    "totals",
                    f"{key}: the shards hold {found:,}, the manifest says {manifest['totals'][key]:,}",
                )
            )
    dataset = open_dataset(path)
    labelled = dataset.clips["label"] != NO_LABEL
    labels, counts = np.unique(dataset.clips["label"][labelled], return_counts=True)
    if {str(k): int(v) for k, v in zip(labels, counts, strict=True)} != manifest["class_counts"]:
        findings.append(Finding(MANIFEST, "totals", "class_counts is not what the shards hold"))
    for name, expected in manifest["protocol_counts"].items():
        sides = dataset.membership(name)
        parts = {"train": TRAIN, "test": TEST, "unassigned": UNASSIGNED, "validation": VALIDATION}
        found_counts = {part: int((sides == parts[part]).sum()) for part in expected if part in parts}
        if found_counts != expected:
            findings.append(
                Finding(
                    MANIFEST,
                    "protocol_counts",
                    f"{name}: the shards give {found_counts}, the manifest says {expected}",
                )
            )
    names, times = np.unique(dataset.clips["name"], return_counts=True)
    if (times > 1).any():
        findings.append(
            Finding(
                MANIFEST, "duplicate_name", f"clip {names[times > 1][0].decode()} is there more than once"
            )
        )
    try:
        rejects = len(read_rejects(path))
    except (OSError, ValueError):
        rejects = -1
    if rejects != manifest["totals"]["rejects"]:
        found_text = "cannot be read" if rejects < 0 else f"holds {rejects}"
        findings.append(
            Finding(REJECTS, "rejects", f"{found_text}, the manifest says {manifest['totals']['rejects']}")
        )
    return findings
