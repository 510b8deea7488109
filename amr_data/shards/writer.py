"""Writes one shard from finished clips. A shard carries a record of itself (counts, rejects, checksum), so
that a manifest can be made again from the shards alone."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from amr_data.clip import BodyTrack, Clip
from amr_data.errors import Reject, RejectError
from amr_data.files import whole_file
from amr_data.recipes.motion import WINDOWS, clip_statistics, column_sums, segments
from amr_data.shards.kept import KEPT, KeptTables
from amr_data.shards.layout import (
    COORDINATES,
    FORMAT_VERSION,
    MAX_CHUNK_BYTES,
    MAX_CLIP_FRAMES,
    MAX_ID_BYTES,
    MAX_NAME_BYTES,
    WITH_RECORDINGS,
    clip_dtype,
    content_checksum,
    track_dtype,
)
from amr_data.shards.memory import FileImage
from amr_data.shards.model import DamageError, KeptCounts, RejectLine, ShardRecord
from amr_data.shards.opening import Shard
from amr_data.specs import DatasetSpec

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
    kept: KeptTables | None = None
    sums: Sums | None = None
    """Of the clips' frames, where these are views into what lies in the shard."""


class Sums:
    """What the statistics of a dataset are made of: sums over the joints and energies of clips."""

    def __init__(self) -> None:
        self.frames = 0
        self.position, self.square = np.zeros(COORDINATES), np.zeros(COORDINATES)
        self.energy = np.zeros(len(WINDOWS))

    def add(self, joints: npt.NDArray[np.float32], energy: npt.NDArray[np.float32]) -> None:
        """joints (F, V, 3), energy (F, V, S)."""
        total, squares = column_sums(_flat(joints))
        self.frames += len(joints)
        self.position += total.reshape(-1, COORDINATES).sum(axis=0)
        self.square += squares.reshape(-1, COORDINATES).sum(axis=0)
        self.energy += column_sums(_flat(energy))[0].reshape(energy.shape[1:]).sum(axis=0)


def check_storable(clip: Clip) -> None:
    """Raises: RejectError for a clip that no shard may hold, see `layout`."""
    if clip.frames > MAX_CLIP_FRAMES:
        raise RejectError("too_large", f"{clip.frames:,} frames, at most {MAX_CLIP_FRAMES:,} make a clip")
    check_texts(clip)


def check_texts(clip: Clip) -> None:
    """Raises: RejectError for names that no shard may hold."""
    texts = [("its name", clip.name, MAX_NAME_BYTES), ("the recording's name", clip.video, MAX_NAME_BYTES)]
    texts += [("a body's id", track.body_id, MAX_ID_BYTES) for track in clip.tracks]
    for what, text, most in texts:
        if "\0" in text:  # a fixed field of bytes ends there
            raise RejectError("name", f"{what} holds a NUL")
        if len(utf8(text)) > most:
            raise RejectError("name", f"{what} has {len(utf8(text)):,} bytes, at most {most:,} are kept")


def utf8(text: str) -> bytes:
    """A name as it is kept; bytes of a file's name that are no UTF-8 are spelt out."""
    return text.encode("utf-8", "backslashreplace")


def build_tables(clips: Sequence[Clip], joints: int, frame_rate: float, metric: bool = True) -> ShardTables:
    """Lay clips end to end, slot by slot, each slot in order of time. metric : whether the joints lie in
    space, not in an image."""
    names = [utf8(c.name) for c in clips]
    videos = [utf8(c.video) for c in clips]
    clip_rows = np.zeros(
        len(clips),
        clip_dtype(max(map(len, names), default=0), max(map(len, videos), default=0), joints, len(WINDOWS)),
    )
    track_rows: list[tuple[int, int, int, int, int, bytes]] = []
    joint_parts: list[npt.NDArray[np.floating]] = [np.zeros((0, joints, 3), np.float32)]
    energy_parts = [np.zeros((0, joints, len(WINDOWS)), np.float32)]
    row = 0
    for index, clip in enumerate(clips):
        for track in in_order(clip):
            assert track.energy is not None
            for a, b in segments(track.frames):
                track_rows.append(
                    (index, track.slot, row + a, int(track.frames[a]), b - a, utf8(track.body_id))
                )
            joint_parts.append(track.joints)
            energy_parts.append(track.energy)
            row += len(track.frames)
        clip_rows[index] = (names[index], videos[index], *clip_numbers(clip, frame_rate, metric))
    ids = max((len(t[-1]) for t in track_rows), default=0)
    return ShardTables(
        np.concatenate(joint_parts, dtype=np.float32),
        np.concatenate(energy_parts),
        np.array(track_rows, track_dtype(ids)),
        clip_rows,
        [note_of(c) for c in clips],
    )


def in_order(clip: Clip) -> list[BodyTrack]:
    """A clip's tracks slot by slot, each slot in order of time."""
    return sorted(clip.tracks, key=lambda t: (t.slot, int(t.frames[0])))


def clip_numbers(clip: Clip, frame_rate: float, metric: bool) -> tuple[Any, ...]:
    """A clip's row in the table without the texts that it begins with."""
    marked = [t.inferred for t in clip.tracks if t.inferred is not None]
    total = sum(m.size for m in marked)
    share = sum(int(np.count_nonzero(m)) for m in marked) / total if total else np.nan
    energy, still, path = clip_statistics(clip, frame_rate, metric=metric)
    slots = len({t.slot for t in clip.tracks})
    numbers = (clip.label, clip.subject, clip.camera, clip.setup, clip.replication, clip.frames, slots)
    return (*numbers, share, still, energy, path)


def note_of(clip: Clip) -> str:
    """Where a clip comes from, as JSON text; its scale only where it has one."""
    scale = {} if clip.scale == 1 else {"scale": clip.scale}
    note = {"source": clip.source, "start": clip.start, "dropped": clip.dropped, **scale}
    return json.dumps(note, ensure_ascii=False)


def write_shard(
    path: Path,
    tables: ShardTables,
    rejects: Sequence[Reject],
    fingerprint: str,
    compression: str,
    sources: Sequence[str] = (),
) -> tuple[ShardRecord, str]:
    """Write a shard; it is whole or absent. Returns its record, which also lies in the file, and the SHA-256
    of the file.

    sources : hashes of the units that the shard was made from, see `ShardRecord`.
    """
    record = shard_record(tables, rejects, sources)
    image = FileImage([tables.joints, tables.energy])
    with h5py.File(image, "w", libver="latest") as file:
        file.attrs["format_version"] = WITH_RECORDINGS if tables.kept else FORMAT_VERSION
        file.attrs["fingerprint"] = fingerprint
        for name, array in (("frames/joints", tables.joints), ("frames/energy", tables.energy)):
            options: dict[str, Any] = {}
            if compression != "none" and len(array):
                rows = max(1, min(len(array), MAX_CHUNK_BYTES // (array[0].nbytes or 1)))
                options = {"compression": compression, "shuffle": True, "chunks": (rows, *array.shape[1:])}
            file.create_dataset(name, data=array, **options)
        file.create_dataset("tracks", data=tables.tracks)
        file.create_dataset("clips", data=tables.clips)
        file.create_dataset("notes", data=tables.notes, dtype=h5py.string_dtype())
        if tables.kept:
            for name, table in zip(KEPT, tables.kept.arrays, strict=True):
                file.create_dataset(name, data=table)
            file.create_dataset("recording_notes", data=tables.kept.notes, dtype=h5py.string_dtype())
        file.create_dataset(
            "record", data=json.dumps(record.stored(), ensure_ascii=False), dtype=h5py.string_dtype()
        )
    with whole_file(path, settled=False) as temporary:  # the manifest, written last, settles all
        sha256 = image.save(temporary)
    return record, sha256


def read_record(path: Path, fingerprint: str, spec: DatasetSpec, scales: int) -> ShardRecord | None:
    """The record of a finished, sound shard made under the same plan, or None where there is none."""
    found = read_finished(path, fingerprint, spec, scales)
    return None if found is None else found[0]


def read_finished(
    path: Path, fingerprint: str, spec: DatasetSpec, scales: int
) -> tuple[ShardRecord, npt.NDArray[np.void]] | None:
    """The same, with the shard's table of clips."""
    try:
        with Shard(path, len(spec.skeleton.joints), scales) as shard:
            if shard.fingerprint != fingerprint:
                return None
            clips, *_ = shard.tables(len(spec.classes), spec.max_bodies)
            return shard.record(), clips
    except DamageError:
        return None


def shard_record(tables: ShardTables, rejects: Sequence[Reject], sources: Sequence[str]) -> ShardRecord:
    """Counts, the sums that dataset statistics are made of, rejects, and the content's checksum."""
    clips, kept, sums = tables.clips, tables.kept, tables.sums
    if sums is None:
        sums = Sums()
        sums.add(tables.joints, tables.energy)
    lengths = Counter((int(n) // LENGTH_BIN) * LENGTH_BIN for n in clips["frames"])
    counts = None
    if kept is not None:
        counts = KeptCounts(
            recordings=len(kept.recordings),
            rows=len(tables.joints),
            frames=int(kept.recordings["frames"].sum(dtype=np.int64)),
            intervals=len(kept.intervals),
        )
    return ShardRecord(
        clips=len(clips),
        frames=sums.frames,
        clip_frames=int(clips["frames"].sum(dtype=np.int64)),
        bodies=int(clips["bodies"].sum(dtype=np.int64)),
        class_counts=_counts(clips["label"]),
        body_counts=_counts(clips["bodies"]),
        length_histogram={str(k): v for k, v in sorted(lengths.items())},
        position_sum=sums.position.tolist(),
        position_square_sum=sums.square.tolist(),
        energy_sum=sums.energy.tolist(),
        rejects=[RejectLine(**r.as_stored()) for r in rejects],
        checksum=tables_checksum(tables),
        sources=list(sources),
        kept=counts,
    )


def tables_checksum(tables: ShardTables) -> str:
    """Of all that lies in a shard, see `content_checksum`."""
    kept = tables.kept
    arrays = (tables.joints, tables.energy, tables.tracks, tables.clips, *(kept.arrays if kept else ()))
    return content_checksum(arrays, [*tables.notes, *(kept.notes if kept else ())])


def _flat(frames: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return frames.reshape(len(frames), math.prod(frames.shape[1:]))


def _counts(values: npt.NDArray[np.generic]) -> dict[str, int]:
    found = Counter(values.tolist())
    return {str(k): found[k] for k in sorted(found)}
