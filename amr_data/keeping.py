"""Recordings on their way into a shard that keeps them: placed as a whole, their energies computed once, and
each clip laid out as a view of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from amr_data.clip import BodyTrack, Clip
from amr_data.errors import Reject, RejectError
from amr_data.plan import Settings
from amr_data.readers import RawSource, Unit, family_for, family_options
from amr_data.readers.untrimmed import Untrimmed
from amr_data.recipes.motion import WINDOWS, add_energy, add_energy_in_blocks, segments
from amr_data.recipes.normalize import Placement, placed_clip, placed_recording
from amr_data.shards.kept import KeptTables
from amr_data.shards.layout import (
    INTERVAL_DTYPE,
    MAX_CLIP_FRAMES,
    MAX_DEPTH,
    MAX_RECORDING_FRAMES,
    MAX_SLOTS,
    VIEW_DTYPE,
    clip_dtype,
    recording_dtype,
    stretch_dtype,
    track_dtype,
)
from amr_data.shards.writer import (
    ShardTables,
    Sums,
    check_storable,
    check_texts,
    clip_numbers,
    in_order,
    note_of,
    utf8,
)
from amr_data.specs import NO_LABEL, DatasetSpec

ALIKE = 1e-3
"""How far a view may be from its clip, in the clip's unit; single precision is a thousand times as close."""


def read_recordings(
    source: RawSource, units: Sequence[Unit], spec: DatasetSpec, settings: Settings
) -> tuple[ShardTables, list[Reject]]:
    """Read and place the recordings of units whole, and cut their clips; what fails is a reject."""
    family = family_for(source, spec)
    kept = _Kept(len(spec.skeleton.joints), spec.frame_rate, spec.dimensions == 3)
    rejects: list[Reject] = []
    for item in family.untrimmed(source, units, spec, family_options(family, settings.options)):
        if isinstance(item, Reject):
            rejects.append(item)
            continue
        try:
            whole, there = placed_recording(item.whole, spec, settings.recipe, family)
            _check_recording(whole)
        except RejectError as error:
            rejects += _all_rejected(item, error)
            continue
        kept.begin(whole, item)
        for clip in item.clips():
            if isinstance(clip, Reject):
                rejects.append(clip)
                continue
            if clip.label == NO_LABEL and clip.frames > MAX_CLIP_FRAMES:
                continue  # nobody has cut it: it is the recording, which is kept
            try:
                made, here = placed_clip(clip, spec, settings.recipe, family)
                for track in made.tracks:
                    add_energy(track)
                check_storable(made)
                kept.add(made, *_turned(there, here))
            except RejectError as error:
                rejects.append(Reject(clip.source, error.reason, error.detail))
    return kept.tables(), rejects


def _all_rejected(item: Untrimmed, error: RejectError) -> list[Reject]:
    """What becomes of a recording's labels where it cannot be kept; of one without labels, of itself."""
    told = [c if isinstance(c, Reject) else Reject(c.source, error.reason, error.detail) for c in item.cuts]
    return told or [Reject(item.whole.source, error.reason, error.detail)]


def _check_recording(whole: Clip) -> None:
    """Raises: RejectError for a recording that no shard may hold."""
    if whole.frames > MAX_RECORDING_FRAMES:
        most = f"at most {MAX_RECORDING_FRAMES:,} make a recording"
        raise RejectError("too_large", f"{whole.frames:,} frames, {most}")
    if max(t.slot for t in whole.tracks) >= MAX_SLOTS:
        raise RejectError("body_count", f"more than {MAX_SLOTS} bodies side by side")
    check_texts(whole)


def _turned(there: Placement, here: Placement) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Origin and turn that take a recording's joints to a clip's: both stand for the same raw joints."""
    origin = there.turn @ ((here.origin - there.origin) / there.length)
    if (here.turn == there.turn).all():
        return origin, np.eye(3) * (there.length / here.length)
    return origin, there.length / here.length * here.turn @ there.turn.T


class _Kept:
    """The tables of one shard as they grow."""

    def __init__(self, joints: int, frame_rate: float, metric: bool) -> None:
        self._joints, self._frame_rate, self._metric = joints, frame_rate, metric
        self._sums = Sums()
        self._parts: list[npt.NDArray[np.float32]] = [np.zeros((0, joints, 3), np.float32)]
        self._energies = [np.zeros((0, joints, len(WINDOWS)), np.float32)]
        self._rows = 0
        self._recordings: list[tuple[Any, ...]] = []
        self._stretches: list[tuple[int, int, int, int, int, bytes]] = []
        self._intervals: list[tuple[int, int, int, int]] = []
        self._recording_notes: list[str] = []
        self._clips: list[tuple[Any, ...]] = []
        self._tracks: list[tuple[int, int, int, int, int, bytes]] = []
        self._views: list[tuple[Any, ...]] = []
        self._notes: list[str] = []

    def begin(self, whole: Clip, found: Untrimmed) -> None:
        """Take up a recording; the clips that are added next are its."""
        index = len(self._recordings)
        numbers = whole.subject, whole.camera, whole.setup, whole.replication, whole.frames
        self._recordings.append((utf8(whole.name), *numbers))
        self._recording_notes.append(note_of(whole))
        rows = sorted((i.first, i.end, i.label) for i in found.intervals)
        self._intervals += [(index, label, first, end) for first, end, label in rows]
        self._whole, self._first = whole, self._rows
        self._depth = np.zeros(whole.frames, np.int16)
        self._places: dict[bytes, list[tuple[int, int, BodyTrack]]] = {}
        for track in in_order(whole):
            add_energy_in_blocks(track)
            assert track.energy is not None
            body = utf8(track.body_id)
            for a, b in segments(track.frames):
                first = int(track.frames[a])
                self._stretches.append((index, track.slot, self._rows + a, first, b - a, body))
            self._places.setdefault(body, []).append((self._rows, len(track.frames), track))
            self._parts.append(track.joints.astype(np.float32, copy=False))
            self._energies.append(track.energy)
            self._rows += len(track.frames)

    def add(self, clip: Clip, origin: npt.NDArray[np.float64], turn: npt.NDArray[np.float64]) -> None:
        """A clip of the recording. Raises: RejectError where it is no part of it, or too many share a
        frame."""
        first = clip.start - self._whole.start
        part = self._depth[max(first, 0) : first + clip.frames]
        if len(part) != clip.frames:
            raise RejectError("moved", f"frames {first} to {first + clip.frames - 1} of the recording")
        if part.max() >= MAX_DEPTH:
            frame = int(part.argmax()) + first
            raise RejectError("overlap", f"frame {frame} belongs to {MAX_DEPTH} clips already")
        index, rows = len(self._clips), []
        for track in in_order(clip):
            for a, b in segments(track.frames):
                row = self._row(track, a, b, first, origin, turn)
                rows.append((index, track.slot, row, int(track.frames[a]), b - a, utf8(track.body_id)))
        part += 1
        self._tracks += rows
        for track in in_order(clip):
            assert track.energy is not None
            self._sums.add(track.joints.astype(np.float32, copy=False), track.energy)
        texts = utf8(clip.name), utf8(clip.video)
        self._clips.append((*texts, *clip_numbers(clip, self._frame_rate, self._metric)))
        self._views.append((len(self._recordings) - 1, first, origin, turn))
        self._notes.append(note_of(clip))

    def _row(
        self,
        track: BodyTrack,
        a: int,
        b: int,
        first: int,
        origin: npt.NDArray[np.float64],
        turn: npt.NDArray[np.float64],
    ) -> int:
        """The shard's row in which the rows a to b of a clip's track begin."""
        frames = track.frames[a:b] + first
        for begin, _, whole in self._places.get(utf8(track.body_id), ()):
            at = int(np.searchsorted(whole.frames, frames[0]))
            if not np.array_equal(whole.frames[at : at + b - a], frames):
                continue
            shown = (whole.joints[at : at + b - a].astype(np.float64) - origin) @ turn.T
            if np.abs(shown - track.joints[a:b]).max() <= ALIKE:
                return begin + at
        where = f"body {track.body_id}, frames {frames[0]} to {frames[-1]} of the recording"
        raise RejectError("moved", where)

    def tables(self) -> ShardTables:
        """All that was added."""
        kept = KeptTables(
            np.array(self._recordings, recording_dtype(_width(self._recordings, 0))),
            np.array(self._stretches, stretch_dtype(_width(self._stretches, -1))),
            np.array(self._views, VIEW_DTYPE),
            np.array(self._intervals, INTERVAL_DTYPE),
            self._recording_notes,
        )
        columns = clip_dtype(_width(self._clips, 0), _width(self._clips, 1), self._joints, len(WINDOWS))
        return ShardTables(
            _joined(self._parts),
            _joined(self._energies),
            np.array(self._tracks, track_dtype(_width(self._tracks, -1))),
            np.array(self._clips, columns),
            self._notes,
            kept,
            self._sums,
        )


def _width(rows: Sequence[tuple[Any, ...]], column: int) -> int:
    """Bytes of the longest text in a column."""
    return max((len(row[column]) for row in rows), default=0)


def _joined(parts: list[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
    """Arrays end to end; a single long one is not copied."""
    filled = [part for part in parts if len(part)] or parts[:1]
    return filled[0] if len(filled) == 1 else np.concatenate(filled)
