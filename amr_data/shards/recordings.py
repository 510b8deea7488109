"""The recordings of a dataset, read when they are asked for: whole, or a part of one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import overload

import numpy as np
import numpy.typing as npt

from amr_data.clip import BodyTrack
from amr_data.errors import UsageError, unknown
from amr_data.recording import Interval, Recording
from amr_data.shards.kept import KeptTables, Table
from amr_data.shards.layout import INTERVAL_DTYPE, VIEW_DTYPE, recording_dtype, stretch_dtype
from amr_data.shards.opening import Shard
from amr_data.shards.tables import decoded, joined
from amr_data.specs import Protocol


class Recordings(Sequence[Recording]):
    """A dataset's recordings in the order of its shards. What their rows say is known at once; frames are
    read by `recordings[i]` and `recordings.part`, and are not kept.

    rows, stretches, intervals : the tables of all shards, see docs/shard-format.md; `recording` is a number
        among all of them.  shard_of : (R,) of each recording.
    """

    def __init__(
        self,
        rows: Table,
        stretches: Table,
        intervals: Table,
        shard_of: npt.NDArray[np.int64],
        opened: Callable[[int], Shard],
        fps: float,
        bodies: int,
    ) -> None:
        self.rows, self.stretches, self.intervals = rows, stretches, intervals
        self.shard_of = shard_of
        self._opened, self._fps, self._bodies = opened, fps, bodies

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"Recordings({len(self):,} recordings, {len(self.intervals):,} intervals)"

    @cached_property
    def names(self) -> list[str]:
        return decoded(self.rows["name"])

    @property
    def frames(self) -> npt.NDArray[np.int64]:
        """(R,) frames of each recording."""
        return self.rows["frames"].astype(np.int64)

    def index(self, name: object, start: int = 0, stop: int | None = None) -> int:
        """Index of a recording by its name. Raises UsageError with the nearest name."""
        names = self.names
        if name not in names:
            raise UsageError(unknown("recording", str(name), names))
        return names.index(str(name), start, len(names) if stop is None else stop)

    def intervals_of(self, index: int) -> tuple[Interval, ...]:
        """The intervals of a recording, sorted by their first frame; no frame is read."""
        low, high = np.searchsorted(self.intervals["recording"], [index, index + 1])
        return tuple(Interval(*row) for row in self.intervals[["label", "first", "end"]][low:high].tolist())

    def assigned(self, rule: Protocol) -> npt.NDArray[np.int8]:
        """(R,) TRAIN, TEST, VALIDATION or UNASSIGNED by a split that goes by anything but clips' names."""
        return rule.assign(np.array(self.names, np.str_) if rule.by == "video" else self.rows[rule.by])

    @overload
    def __getitem__(self, index: int) -> Recording: ...

    @overload
    def __getitem__(self, index: slice) -> list[Recording]: ...

    def __getitem__(self, index: int | slice) -> Recording | list[Recording]:
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        return self.part(index)

    def part(self, index: int, first: int = 0, end: int | None = None) -> Recording:
        """A recording of which only the frames from `first` up to `end` were read: its tracks are shorter,
        all else is the whole recording's. Energies look past the end of the part."""
        index = range(len(self))[index]
        row = self.rows[index]
        frames = int(row["frames"])
        end = frames if end is None else min(end, frames)
        low, high = np.searchsorted(self.stretches["recording"], [index, index + 1])
        found = self.stretches[low:high]
        found = found[found["slot"] < self._bodies]
        found = found[(found["first_frame"] < end) & (found["first_frame"] + found["frames"] > first)]
        local = index - int(np.searchsorted(self.shard_of, self.shard_of[index]))
        with self._opened(int(self.shard_of[index])) as shard:
            (note,) = shard.recording_notes(local, local + 1)
            tracks = [_track(shard, stretch, first, end) for stretch in found]
        return Recording(
            self.names[index],
            subject=int(row["subject"]),
            camera=int(row["camera"]),
            setup=int(row["setup"]),
            fps=self._fps,
            frames=frames,
            tracks=tuple(tracks),
            intervals=self.intervals_of(index),
            replication=int(row["replication"]),
            source=note.source,
            start=note.start,
            dropped=tuple(note.dropped),
        )


def _track(shard: Shard, stretch: np.void, first: int, end: int) -> BodyTrack:
    begins, row = int(stretch["first_frame"]), int(stretch["first_row"])
    low = max(first, begins)
    high = min(end, begins + int(stretch["frames"]))
    joints, energy = shard.frames(row + low - begins, row + high - begins)
    body = stretch["body_id"].decode()
    return BodyTrack(np.arange(low, high), joints, body, int(stretch["slot"]), None, energy)


def joined_recordings(
    kept: Sequence[KeptTables], opened: Callable[[int], Shard], fps: float, bodies: int
) -> tuple[Recordings, Table]:
    """The recordings of all shards, and the view of every clip.

    kept : of each shard in order; none where no recordings are kept.  opened : a shard by its number.
    """
    first, shard_of = 0, [np.zeros(0, np.int64)]
    tables: list[list[Table]] = [
        [np.zeros(0, kind)] for kind in (recording_dtype(1), stretch_dtype(1), VIEW_DTYPE, INTERVAL_DTYPE)
    ]
    for index, of_shard in enumerate(kept):
        for found, table in zip(tables, of_shard.arrays, strict=True):
            if "recording" in (table.dtype.names or ()):
                table["recording"] += first
            found.append(table)
        shard_of.append(np.full(len(of_shard.recordings), index))
        first += len(of_shard.recordings)
    rows, stretches, views, intervals = (joined(found) for found in tables)
    return Recordings(rows, stretches, intervals, np.concatenate(shard_of), opened, fps, bodies), views
