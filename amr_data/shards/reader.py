"""The public way to read a converted dataset: clips by index or name, and whole splits as flat arrays for
training."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from amr_data.clip import BodyTrack, Clip
from amr_data.errors import UsageError
from amr_data.shards.arrays import SplitArrays, laid_out, read_frames
from amr_data.shards.files import ShardFiles
from amr_data.shards.kept import KeptTables
from amr_data.shards.layout import MANIFEST, Progress, clip_dtype, track_dtype
from amr_data.shards.model import DamageError, Note, read_manifest, read_rejects
from amr_data.shards.opening import Shard
from amr_data.shards.recordings import joined_recordings
from amr_data.shards.tables import decoded, joined, split_values
from amr_data.shards.views import FrameArrays, view_frames
from amr_data.specs import TEST, TRAIN, VALIDATION, DatasetSpec, unknown

__all__ = ["PARTS", "SYNTHETIC", "ShardDataset", "SplitArrays", "open_dataset", "read_rejects"]

PARTS = {"train": TRAIN, "test": TEST, "validation": VALIDATION}
PIECE_ROWS = 1 << 14
"""Rows that `ShardDataset.stream` reads at once: 10 MB of 25 joints."""
CLIP_NUMBERS = ("label", "frames", "subject", "camera", "setup", "replication")
ALL = "all"
SYNTHETIC = "synthetic: invented motion"


class ShardDataset:
    """A converted dataset folder. Opening reads the manifest and the small tables; frames are read when they
    are asked for."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.manifest, self.spec = _read_manifest(self.path)
        self.windows: tuple[int, ...] = tuple(self.manifest["windows"])
        joints, scales = len(self.spec.skeleton.joints), len(self.windows)
        clips, tracks = [np.zeros(0, clip_dtype(1, 1, joints, scales))], [np.zeros(0, track_dtype(1))]
        shard_of = [np.zeros(0, np.int64)]
        self._files = ShardFiles(self.path, self.manifest["shards"], joints, scales)
        kept: list[KeptTables] = []
        first = 0
        for index, entry in enumerate(self.manifest["shards"]):
            with self._files.open(index) as shard:
                shard_clips, shard_tracks, tables = shard.tables(len(self.spec.classes), self.spec.max_bodies)
                found = len(shard_clips), shard.rows
            rows = entry["kept"]["rows"] if entry.get("kept") else entry["frames"]
            if found != (entry["clips"], rows) or (tables is not None) != self.keeps_recordings:
                what = f"{found} clips and frames, the manifest says {entry['clips'], rows}"
                raise DamageError(self.path / entry["file"], "structure", what)
            kept += [tables] if tables else []
            shard_tracks["clip"] += first
            clips.append(shard_clips)
            tracks.append(shard_tracks)
            shard_of.append(np.full(len(shard_clips), index))
            first += len(shard_clips)
        self.clips: npt.NDArray[np.void] = joined(clips)
        """One row per clip in the order of the shards; see docs/shard-format.md for the fields."""
        self.tracks: npt.NDArray[np.void] = joined(tracks)
        """One row per contiguous stretch of a body; `clip` is an index into `clips`, `first_row` a row of the
        clip's shard."""
        self.shard_of: npt.NDArray[np.int64] = np.concatenate(shard_of)
        self.recordings, self._views = joined_recordings(
            kept, self._files.open, self.spec.frame_rate, self.spec.max_bodies
        )
        """`recordings`: the whole recordings that clips are views into; none where they were not kept."""

    @property
    def keeps_recordings(self) -> bool:
        """Whether the conversion kept the recordings (`amr-data convert --keep recordings`)."""
        return self.manifest.get("recordings") is not None

    @property
    def recording_of(self) -> npt.NDArray[np.int64]:
        """(N,) the number of each clip's recording among `recordings`, -1 where none are kept."""
        if not self.keeps_recordings:
            return np.full(len(self), -1)
        return self._views["recording"].astype(np.int64)

    @property
    def first_frame(self) -> npt.NDArray[np.int64]:
        """(N,) the frame of its recording at which each clip begins; 0 where none are kept."""
        return self._views["first"].astype(np.int64) if self.keeps_recordings else np.zeros(len(self), int)

    def recordings_of(self, name: str, part: str) -> npt.NDArray[np.int64]:
        """Numbers of the recordings in 'train', 'test' or 'validation' of a split, by the split's rule for
        clips: its subject, camera, setup, replication or name. Of a split that lists clips by their names,
        those of which all clips are in the part.

        Raises: UsageError for an unknown split or part.
        """
        if part not in PARTS:
            raise UsageError(unknown("part", part, PARTS))
        if name == ALL and ALL not in self.spec.protocols:
            return np.arange(len(self.recordings) if part == "train" else 0)
        rule = self.spec.protocol(name)
        if rule.by != "name":
            return np.flatnonzero(self.recordings.assigned(rule) == PARTS[part])
        of = self.recording_of[self.recording_of >= 0]
        inside = (self.membership(name) == PARTS[part])[self.recording_of >= 0]
        clips, found = (np.bincount(some, minlength=len(self.recordings)) for some in (of, of[inside]))
        return np.flatnonzero((clips > 0) & (found == clips))

    def check_unchanged(
        self, progress: Progress | None = None, clips: npt.NDArray[np.int64] | None = None
    ) -> None:
        """Compare whole files with the SHA-256 in the manifest, see `ShardFiles`.

        progress : of the files that were not compared before.  clips : those whose files are compared, all
        by default.  Raises: DamageError.
        """
        every = len(self.manifest["shards"])
        self._files.check_unchanged(
            range(every) if clips is None else np.unique(self.shard_of[clips]).tolist(), progress
        )

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
        return decoded(self.clips["name"])

    def index(self, name: str) -> int:
        """Index of a clip by its name. Raises UsageError with the nearest name."""
        try:
            return self.names.index(name)
        except ValueError:
            raise UsageError(unknown("clip", name, self.names, f" in {self.path}")) from None

    def membership(self, name: str) -> npt.NDArray[np.int8]:
        """(N,) int8: TRAIN (0), TEST (1), VALIDATION (2) or UNASSIGNED (-1) for every clip, by the split of
        that name; `all` is a split of every dataset, by which every clip trains."""
        if name == ALL and ALL not in self.spec.protocols:
            return np.full(len(self), TRAIN, np.int8)
        rule = self.spec.protocol(name)
        return rule.assign(self.values(rule.by))

    def values(self, field: str) -> npt.NDArray[np.generic]:
        """(N,) what splits go by, see `split_values`."""
        return split_values(self.clips, field)

    def split(self, name: str, part: str) -> npt.NDArray[np.int64]:
        """Indices of the clips in 'train', 'test' or 'validation' of a split such as 'xsub'."""
        if part not in PARTS:
            raise UsageError(unknown("part", part, PARTS))
        return np.flatnonzero(self.membership(name) == PARTS[part])

    def clip(self, index: int | str) -> Clip:
        """One clip by index or name, its joints float32 metres, its energies with it."""
        i = self.index(index) if isinstance(index, str) else range(len(self))[index]
        (clip,) = self.stream([i])
        return clip

    def __iter__(self) -> Iterator[Clip]:
        return self.stream(range(len(self)))

    def stream(self, indices: Sequence[int] | npt.NDArray[np.int64]) -> Iterator[Clip]:
        """The given clips one after another, in their order. A shard is opened once for all that follow each
        other in it, and read in pieces of `PIECE_ROWS` rows, so that memory does not grow with the clips."""
        order = np.asarray(indices, np.int64)
        shard = self.shard_of[order]
        cuts = [0, *(np.flatnonzero(np.diff(shard)) + 1).tolist(), len(order)]
        for a, b in itertools.pairwise(cuts):
            if a < b:
                yield from self._stream_shard(int(shard[a]), order[a:b])

    def _stream_shard(self, index: int, order: npt.NDArray[np.int64]) -> Iterator[Clip]:
        """Clips of one shard. Those that follow each other without a gap are read together."""
        first_clip = int(np.searchsorted(self.shard_of, index))
        low, high = (np.searchsorted(self.tracks["clip"], order, side).tolist() for side in ("left", "right"))
        tracks = self.tracks
        with self._files.open(index) as shard:
            at = 0
            if self.keeps_recordings:
                for clip, a, b in zip(order.tolist(), low, high, strict=True):
                    yield self._view(shard, clip, tracks[a:b], clip - first_clip)
                return
            while at < len(order):
                begin = rows = int(tracks["first_row"][low[at]])
                end = at
                while end < len(order) and (end == at or order[end] == order[end - 1] + 1):
                    last = tracks[high[end] - 1]
                    after = int(last["first_row"]) + int(last["frames"])
                    if end > at and after - begin > PIECE_ROWS:
                        break
                    rows, end = after, end + 1
                joints, energy = shard.frames(begin, rows)
                local = int(order[at]) - first_clip
                notes = shard.notes(local, local + end - at)
                for k in range(at, end):
                    yield self._clip(
                        int(order[k]), tracks[low[k] : high[k]], joints, energy, begin, notes[k - at]
                    )
                at = end

    def _view(self, shard: Shard, i: int, tracks: npt.NDArray[np.void], local: int) -> Clip:
        """A clip that is a view into a recording. local : its number within the shard."""
        joints, energy = (np.empty(shape, np.float32) for shape in self._shapes(tracks))
        (note,) = shard.notes(local, local + 1)
        view_frames(shard, tracks, self._views[tracks["clip"]], (joints, energy), self.windows)
        rows = tracks.copy()
        rows["first_row"] = np.cumsum(tracks["frames"]) - tracks["frames"]
        return self._clip(i, rows, joints, energy, 0, note)

    def _clip(
        self,
        i: int,
        tracks: npt.NDArray[np.void],
        joints: npt.NDArray[np.float32],
        energy: npt.NDArray[np.float32],
        begin: int,
        note: Note,
    ) -> Clip:
        """joints, energy : rows of the clip's shard from the row `begin` on."""
        row, found = self.clips[i], []
        for t in tracks.tolist():
            _, slot, first_row, first_frame, frames, body_id = t
            rows = slice(first_row - begin, first_row - begin + frames)
            # copies, so that a clip that is kept does not keep its neighbours
            found.append(
                BodyTrack(
                    np.arange(first_frame, first_frame + frames),
                    joints[rows].copy(),
                    body_id.decode(),
                    slot,
                    None,
                    energy[rows].copy(),
                )
            )
        fields: dict[str, Any] = {k: int(row[k]) for k in CLIP_NUMBERS}
        name, video = row["name"].decode(), row["video"].decode()
        dropped = list(note.dropped)
        return Clip(
            name,
            tracks=found,
            video=video,
            source=note.source,
            start=note.start,
            dropped=dropped,
            scale=note.scale,
            **fields,
        )

    def arrays(
        self,
        clips: npt.NDArray[np.int64],
        energy: bool = True,
        into: FrameArrays | None = None,
        fill: bool = True,
        check: bool = True,
        progress: Progress | None = None,
    ) -> SplitArrays:
        """The given clips (sorted indices) as flat arrays, read shard by shard straight into place.

        Args:
            energy: whether the motion energies are read too; S is 0 without them.
            into: arrays of the shapes of `frame_shapes` that take the frames, in place of new ones.
            fill: whether frames are read; without, somebody else reads them into these arrays.
            check: whether files must be as the conversion wrote them, see `check_unchanged`.
            progress: of the files that are read.
        Raises: DamageError.
        """
        tracks, wanted = self._tracks_of(clips)
        if into is None:
            shapes = self.frame_shapes(clips, energy)
            into = (np.empty(shapes[0], np.float32), np.empty(shapes[1], np.float32))
        if fill:
            views = self._views[tracks["clip"]] if self.keeps_recordings else None
            if check:
                self.check_unchanged(clips=clips)
            shard = self.shard_of[tracks["clip"]]
            read_frames(self._files.open, shard, tracks, into, views, self.windows, progress)
        return SplitArrays(
            *into,
            *laid_out(tracks, wanted),
            self.clips["label"][clips].astype(np.int64),
            [self.names[i] for i in clips],
            self.clips["frames"][clips].astype(np.int64),
        )

    def frame_shapes(
        self, clips: npt.NDArray[np.int64], energy: bool = True
    ) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        """Those of the joints (F, V, 3) and of the energies (F, V, S) that `arrays` gives of these clips."""
        return self._shapes(self._tracks_of(clips)[0], energy)

    def _shapes(
        self, tracks: npt.NDArray[np.void], energy: bool = True
    ) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        frames = int(tracks["frames"].sum(dtype=np.int64))
        joints = len(self.spec.skeleton.joints)
        return (frames, joints, 3), (frames, joints, len(self.windows) if energy else 0)

    def _tracks_of(self, clips: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.void], npt.NDArray[np.int64]]:
        """The tracks of these clips, and the number of each of the dataset's clips among them, -1 for
        others."""
        wanted = np.full(len(self), -1, np.int64)
        wanted[clips] = np.arange(len(clips))
        return self.tracks[wanted[self.tracks["clip"]] >= 0], wanted


def open_dataset(path: str | Path) -> ShardDataset:
    """Open a converted dataset folder. Raises UsageError where there is none."""
    return ShardDataset(path)


def _read_manifest(path: Path) -> tuple[dict[str, Any], DatasetSpec]:
    try:
        return read_manifest(path)
    except FileNotFoundError:
        hint = (
            "an unfinished conversion: run the same convert command again"
            if path.is_dir() and any(path.glob("shard-*.h5"))
            else ""
        )
        raise UsageError(
            f"{path} is not a converted dataset: no {MANIFEST} in it; "
            f"{hint or 'make one with `amr-data convert`'}"
        ) from None
