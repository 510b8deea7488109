"""The public way to read a converted dataset: clips by index or name, and whole splits as flat arrays for
training."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from amr_data.clip import BodyTrack, Clip
from amr_data.errors import AmrError, UsageError
from amr_data.shards.layout import FORMAT_VERSION, MANIFEST, REJECTS, clip_dtype, track_dtype
from amr_data.specs import NAMED, TEST, TRAIN, VALIDATION, DatasetSpec, spec_from_json, unknown

PARTS = {"train": TRAIN, "test": TEST, "validation": VALIDATION}
ALL = "all"
SYNTHETIC = "synthetic: invented motion"


@dataclass
class SplitArrays:
    """One part of a split, laid end to end; a sequence is one body of one clip over its own frames.

    joints : (F, V, 3) float32 metres.  energy : (F, V, S) float32 square metres.
    frame : (F,) int64, each row's frame in its clip; they rise within a sequence, and a gap in them is a gap.
    first_row, rows : (Q,) int64, where each of the Q sequences lies in the frames.
    clip : (Q,) int64, the sequence's clip, 0 to N - 1.  labels : (N,) int64.  names : N clip names.
    clip_frames : (N,) int64, frames of each clip.
    """

    joints: npt.NDArray[np.float32]
    energy: npt.NDArray[np.float32]
    frame: npt.NDArray[np.int64]
    first_row: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]
    clip: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    names: list[str]
    clip_frames: npt.NDArray[np.int64]


class ShardDataset:
    """A converted dataset folder. Opening reads the manifest and the small tables; frames are read when they
    are asked for."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.manifest = _read_manifest(self.path)
        self.spec: DatasetSpec = spec_from_json(self.manifest["spec"])
        self.windows: tuple[int, ...] = tuple(self.manifest["windows"])
        self._files = [self.path / s["file"] for s in self.manifest["shards"]]
        joints, scales = len(self.spec.skeleton.joints), len(self.windows)
        clips, tracks = [np.zeros(0, clip_dtype(1, 1, joints, scales))], [np.zeros(0, track_dtype(1))]
        shard_of = [np.zeros(0, np.int64)]
        first = 0
        for index, file_path in enumerate(self._files):
            with _open(file_path) as file:
                shard_clips, shard_tracks = file["clips"][()], file["tracks"][()]
            shard_tracks["clip"] += first
            clips.append(shard_clips)
            tracks.append(shard_tracks)
            shard_of.append(np.full(len(shard_clips), index))
            first += len(shard_clips)
        self.clips: npt.NDArray[np.void] = _concatenate(clips)
        """One row per clip in the order of the shards; see docs/shard-format.md for the fields."""
        self.tracks: npt.NDArray[np.void] = _concatenate(tracks)
        """One row per contiguous stretch of a body; `clip` is an index into `clips`, `first_row` a row of the
        clip's shard."""
        self.shard_of: npt.NDArray[np.int64] = np.concatenate(shard_of)

    def __len__(self) -> int:
        return len(self.clips)

    def __repr__(self) -> str:
        return f"ShardDataset({self.spec.title}, {len(self):,} clips, {self.path})"

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the checksums of all shards: equal for equal content, wherever and from wherever it
        was made."""
        return hashlib.sha256("".join(s["checksum"] for s in self.manifest["shards"]).encode()).hexdigest()

    @property
    def synthetic(self) -> bool:
        """Whether the motion is invented (`amr-data synth`); manifests from before the mark do not say."""
        return bool(self.manifest["source"].get("synthetic", False))

    @property
    def title(self) -> str:
        """The dataset's name for people, with a word where its motion is invented."""
        return f"{self.spec.title} · {SYNTHETIC}" if self.synthetic else self.spec.title

    @property
    def up(self) -> int:
        """The axis that points upwards: 1 (y), or 2 (z) in clips turned into the body's frame."""
        return 2 if self.manifest["recipe"].get("rotate") else 1

    @cached_property
    def names(self) -> list[str]:
        return [n.decode() for n in self.clips["name"].tolist()]

    def index(self, name: str) -> int:
        """Index of a clip by its name. Raises UsageError with the nearest name."""
        try:
            return self.names.index(name)
        except ValueError:
            known = self.names if len(self.names) < 8 else [*self.names[:4], "..."]
            raise UsageError(unknown("clip", name, known, f" in {self.path}")) from None

    def membership(self, name: str) -> npt.NDArray[np.int8]:
        """(N,) int8: TRAIN (0), TEST (1), VALIDATION (2) or UNASSIGNED (-1) for every clip, by the split of
        that name; `all` is a split of every dataset, by which every clip trains."""
        if name == ALL and ALL not in self.spec.protocols:
            return np.full(len(self), TRAIN, np.int8)
        rule = self.spec.protocol(name)
        return rule.assign(self.values(rule.by))

    def values(self, field: str) -> npt.NDArray[np.generic]:
        """(N,) what splits go by: numbers, or for `video` and `name` text; a clip of no recording has its own
        name for one."""
        if field not in NAMED:
            return self.clips[field]
        if field == "name":
            return np.array(self.names, dtype=str)
        videos = [v.decode() for v in self.clips["video"].tolist()]
        return np.array([v or n for v, n in zip(videos, self.names, strict=True)], dtype=str)

    def split(self, name: str, part: str) -> npt.NDArray[np.int64]:
        """Indices of the clips in 'train', 'test' or 'validation' of a split such as 'xsub'."""
        if part not in PARTS:
            raise UsageError(unknown("part", part, PARTS))
        return np.flatnonzero(self.membership(name) == PARTS[part])

    def clip(self, index: int | str) -> Clip:
        """One clip by index or name, its joints float32 metres, its energies with it."""
        i = self.index(index) if isinstance(index, str) else range(len(self))[index]
        row = self.clips[i]
        local = i - int(np.searchsorted(self.shard_of, self.shard_of[i]))
        tracks = []
        with _open(self._files[self.shard_of[i]]) as file:
            note: dict[str, Any] = json.loads(file["notes"][local])
            for t in self.tracks[
                np.searchsorted(self.tracks["clip"], i) : np.searchsorted(self.tracks["clip"], i, "right")
            ]:
                rows = slice(int(t["first_row"]), int(t["first_row"] + t["frames"]))
                frames = np.arange(int(t["first_frame"]), int(t["first_frame"] + t["frames"]))
                joints, energy = file["frames/joints"][rows], file["frames/energy"][rows]
                tracks.append(BodyTrack(frames, joints, t["body_id"].decode(), int(t["slot"]), None, energy))
        fields: dict[str, Any] = {
            k: int(row[k]) for k in ("label", "frames", "subject", "camera", "setup", "replication")
        }
        return Clip(row["name"].decode(), tracks=tracks, video=row["video"].decode(), **note, **fields)

    def arrays(self, clips: npt.NDArray[np.int64]) -> SplitArrays:
        """The given clips (sorted indices) as flat arrays, read shard by shard straight into place."""
        wanted = np.full(len(self), -1, np.int64)
        wanted[clips] = np.arange(len(clips))
        tracks = self.tracks[wanted[self.tracks["clip"]] >= 0]
        lengths = tracks["frames"].astype(np.int64)
        total = int(lengths.sum())
        joints = np.empty((total, len(self.spec.skeleton.joints), 3), np.float32)
        energy = np.empty((total, len(self.spec.skeleton.joints), len(self.windows)), np.float32)
        ends = lengths.cumsum()
        shard = self.shard_of[tracks["clip"]]
        for index in np.unique(shard):
            mine = np.flatnonzero(shard == index)
            rows = np.concatenate(
                [
                    np.arange(t["first_row"], t["first_row"] + t["frames"], dtype=np.int64)
                    for t in tracks[mine]
                ]
            )
            place = slice(int(ends[mine[0]] - lengths[mine[0]]), int(ends[mine[-1]]))
            with _open(self._files[index]) as file:
                low, high = int(rows[0]), int(rows[-1]) + 1
                joints[place] = file["frames/joints"][low:high][rows - low]
                energy[place] = file["frames/energy"][low:high][rows - low]
        # stretches of one body follow each other: a sequence begins where the clip or the slot changes
        key = tracks["clip"].astype(np.int64) * 64 + tracks["slot"]
        begin = (
            np.flatnonzero(np.concatenate([[True], np.diff(key) != 0])) if len(key) else np.zeros(0, np.int64)
        )
        rows_each = np.add.reduceat(lengths, begin) if len(begin) else np.zeros(0, np.int64)
        first_row = (ends - lengths)[begin]
        sequence_clip = wanted[tracks["clip"][begin]]
        frame = np.arange(total, dtype=np.int64) + np.repeat(
            tracks["first_frame"] - (ends - lengths), lengths
        )
        return SplitArrays(
            joints,
            energy,
            frame,
            first_row,
            rows_each,
            sequence_clip,
            self.clips["label"][clips].astype(np.int64),
            [self.names[i] for i in clips],
            self.clips["frames"][clips].astype(np.int64),
        )


def open_dataset(path: str | Path) -> ShardDataset:
    """Open a converted dataset folder. Raises UsageError where there is none."""
    return ShardDataset(path)


def read_rejects(out: Path) -> list[dict[str, str]]:
    """All rejects of a dataset: source, reason, detail."""
    path = out / REJECTS
    return (
        [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []
    )


def _read_manifest(path: Path) -> dict[str, Any]:
    file = path / MANIFEST
    if not file.is_file():
        hint = (
            "an unfinished conversion: run the same convert command again"
            if path.is_dir() and any(path.glob("shard-*.h5"))
            else ""
        )
        raise UsageError(
            f"{path} is not a converted dataset: no {MANIFEST} in it; "
            f"{hint or 'make one with `amr-data convert`'}"
        )
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
        version = manifest["format_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise AmrError(f"{file} cannot be read ({error}); convert again with --overwrite") from None
    if version != FORMAT_VERSION:
        raise AmrError(
            f"{file} has format version {version}, this release reads {FORMAT_VERSION}; convert the raw "
            f"data again"
        )
    return dict(manifest)


def _open(path: Path) -> h5py.File:
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise AmrError(f"shard {path} cannot be read ({error}); convert again with --overwrite") from None


def _concatenate(tables: list[npt.NDArray[np.void]]) -> npt.NDArray[np.void]:
    """Join tables whose text fields may differ in length."""
    names = tables[0].dtype.names or ()
    fields = [(n, max((t.dtype[n] for t in tables), key=lambda d: d.itemsize)) for n in names]
    return np.concatenate([t.astype(np.dtype(fields)) for t in tables])
