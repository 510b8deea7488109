"""Writes one shard from finished clips. A shard carries a record of itself (counts, rejects, checksum), so
that a manifest can be made again from the shards alone."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from amr_data.clip import Clip
from amr_data.errors import Reject
from amr_data.files import whole_file
from amr_data.recipes.motion import WINDOWS, clip_statistics, segments
from amr_data.shards.layout import FORMAT_VERSION, clip_dtype, content_checksum, track_dtype

COMPRESSIONS = ("none", "lzf", "gzip")
LENGTH_BIN = 25
"""Frames per bin of the length histogram."""


@dataclass
class ShardTables:
    """The arrays of one shard, as docs/shard-format.md lays them out."""

    joints: npt.NDArray[np.float32]
    energy: npt.NDArray[np.float32]
    tracks: npt.NDArray[np.void]
    clips: npt.NDArray[np.void]
    notes: list[str]


def build_tables(clips: Sequence[Clip], joints: int, frame_rate: float) -> ShardTables:
    """Lay clips end to end, slot by slot, each slot in order of time."""
    names = [c.name.encode() for c in clips]
    videos = [c.video.encode() for c in clips]
    clip_rows = np.zeros(
        len(clips),
        clip_dtype(max(map(len, names), default=0), max(map(len, videos), default=0), joints, len(WINDOWS)),
    )
    track_rows: list[tuple[int, int, int, int, int, bytes]] = []
    joint_parts: list[npt.NDArray[np.floating]] = [np.zeros((0, joints, 3), np.float32)]
    energy_parts = [np.zeros((0, joints, len(WINDOWS)), np.float32)]
    row = 0
    for index, clip in enumerate(clips):
        inferred = total = 0
        for track in sorted(clip.tracks, key=lambda t: (t.slot, int(t.frames[0]))):
            assert track.energy is not None
            for a, b in segments(track.frames):
                track_rows.append(
                    (index, track.slot, row + a, int(track.frames[a]), b - a, track.body_id.encode())
                )
            joint_parts.append(track.joints)
            energy_parts.append(track.energy)
            row += len(track.frames)
            if track.inferred is not None:
                inferred, total = inferred + int(track.inferred.sum()), total + track.inferred.size
        energy, still, path = clip_statistics(clip, frame_rate)
        slots = len({t.slot for t in clip.tracks})
        numbers = (clip.label, clip.subject, clip.camera, clip.setup, clip.replication, clip.frames, slots)
        share = inferred / total if total else np.nan
        clip_rows[index] = (names[index], videos[index], *numbers, share, still, energy, path)
    ids = max((len(t[-1]) for t in track_rows), default=0)
    return ShardTables(
        np.concatenate(joint_parts, dtype=np.float32),
        np.concatenate(energy_parts),
        np.array(track_rows, track_dtype(ids)),
        clip_rows,
        [
            json.dumps({"source": c.source, "start": c.start, "dropped": c.dropped}, ensure_ascii=False)
            for c in clips
        ],
    )


def write_shard(
    path: Path, tables: ShardTables, rejects: Sequence[Reject], fingerprint: str, compression: str
) -> tuple[dict[str, Any], str]:
    """Write a shard; it is whole or absent. Returns its record, which also lies in the file, and the SHA-256
    of the file.

    The file is laid out in memory first: a full disk then is a plain OSError, not a failure somewhere inside
        HDF5.
    """
    record = shard_record(tables, rejects)
    with h5py.File(path.name, "w", driver="core", backing_store=False, libver="latest") as file:
        file.attrs["format_version"] = FORMAT_VERSION
        file.attrs["fingerprint"] = fingerprint
        for name, array in (("frames/joints", tables.joints), ("frames/energy", tables.energy)):
            options: dict[str, Any] = {}
            if compression != "none" and len(array):
                rows = max(1, min(len(array), (1 << 20) // (array[0].nbytes or 1)))
                options = {"compression": compression, "shuffle": True, "chunks": (rows, *array.shape[1:])}
            file.create_dataset(name, data=array, **options)
        file.create_dataset("tracks", data=tables.tracks)
        file.create_dataset("clips", data=tables.clips)
        file.create_dataset("notes", data=tables.notes, dtype=h5py.string_dtype())
        file.create_dataset("record", data=json.dumps(record, ensure_ascii=False), dtype=h5py.string_dtype())
        file.flush()
        image: bytes = file.id.get_file_image()
    with whole_file(path) as temporary:
        temporary.write_bytes(image)
    return record, hashlib.sha256(image).hexdigest()


def read_record(path: Path, fingerprint: str) -> dict[str, Any] | None:
    """The record of a finished shard made under the same plan, or None where there is none."""
    try:
        with h5py.File(path, "r") as file:
            if file.attrs.get("fingerprint") != fingerprint:
                return None
            record = json.loads(file["record"][()])
            return record if isinstance(record, dict) else None
    except (OSError, KeyError, ValueError):
        return None


def shard_record(tables: ShardTables, rejects: Sequence[Reject]) -> dict[str, Any]:
    """Counts, the sums that dataset statistics are made of, rejects, and the content's checksum."""
    clips = tables.clips
    # summed over frames first, with all joints side by side, which numpy does fast
    flat = tables.joints.reshape(len(tables.joints), math.prod(tables.joints.shape[1:]))
    total, squares = flat.sum(axis=0, dtype=np.float64), np.square(flat, dtype=np.float64).sum(axis=0)
    energy = tables.energy.reshape(len(tables.energy), math.prod(tables.energy.shape[1:])).sum(
        axis=0, dtype=np.float64
    )
    lengths = Counter((int(n) // LENGTH_BIN) * LENGTH_BIN for n in clips["frames"])
    return {
        "clips": len(clips),
        "frames": len(tables.joints),
        "clip_frames": int(clips["frames"].sum()),
        "bodies": int(clips["bodies"].sum()),
        "class_counts": _counts(clips["label"]),
        "body_counts": _counts(clips["bodies"]),
        "field_counts": {
            **{
                field: _counts(clips[field])
                for field in ("subject", "camera", "setup", "replication", "name")
            },
            "video": _counts(np.where(clips["video"] == b"", clips["name"], clips["video"])),
        },
        "length_histogram": {str(k): v for k, v in sorted(lengths.items())},
        "position_sum": total.reshape(-1, 3).sum(axis=0).tolist(),
        "position_square_sum": squares.reshape(-1, 3).sum(axis=0).tolist(),
        "energy_sum": energy.reshape(tables.energy.shape[1:]).sum(axis=0).tolist(),
        "rejects": [asdict(r) for r in rejects],
        "checksum": content_checksum(
            (tables.joints, tables.energy, tables.tracks, tables.clips), tables.notes
        ),
    }


def _counts(values: npt.NDArray[np.generic]) -> dict[str, int]:
    """How often each value occurs; text fields as text."""
    found = Counter(v.decode() if isinstance(v, bytes) else v for v in values.tolist())
    return {str(k): found[k] for k in sorted(found)}
