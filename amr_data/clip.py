"""The one thing that flows through the data side: a clip, one labelled action with the tracks of its
bodies."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating]
Kind = TypeVar("Kind")


@dataclass(repr=False)
class BodyTrack:
    """What one body did in a clip.

    frames : (K,) int64, strictly increasing frame numbers within the clip, 0-based; a gap in them is a gap in
        the track.
    joints : (K, V, 3) float64 while cleaning, float32 from a shard; metres.
    body_id : the sensor's id as text (ids exceed 2^53, so they never become floats).
    slot : which body of the clip the track belongs to, 0 the main actor; several tracks may share a slot, one
        after another.
    inferred : (K, V) bool, joints that the sensor did not track, or None where the format does not say.
    energy : (K, V, S) float32, motion energy at S window lengths in square metres, or None before it is
        computed.
    """

    frames: npt.NDArray[np.int64]
    joints: FloatArray
    body_id: str = "0"
    slot: int = 0
    inferred: npt.NDArray[np.bool_] | None = None
    energy: npt.NDArray[np.float32] | None = None

    def __repr__(self) -> str:
        where = f", {self.frames[0]} to {self.frames[-1]}" if len(self.frames) else ""
        return f"BodyTrack({self.body_id!r}, slot={self.slot}, {len(self.frames)} frames{where})"

    def changed(self, **fields: Any) -> BodyTrack:
        """The same track with other values in some fields. `dataclasses.replace` takes ten times as long,
        which counts in the many short steps of the clean-up."""
        return _copy(self, fields)

    def take(self, rows: npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> BodyTrack:
        """The same track with only the given rows (boolean mask or indices)."""
        return BodyTrack(
            self.frames[rows],
            self.joints[rows],
            self.body_id,
            self.slot,
            None if self.inferred is None else self.inferred[rows],
            None if self.energy is None else self.energy[rows],
        )


@dataclass(repr=False)
class Clip:
    """One labelled action. `label` is 0-based in the order of the spec's classes; ids are the dataset's own
    numbers, -1 where it has none."""

    name: str
    label: int
    frames: int
    tracks: list[BodyTrack]
    subject: int = -1
    camera: int = -1
    setup: int = -1
    replication: int = -1
    video: str = ""
    source: str = ""
    start: int = 0
    """Frame of the source at which the clip begins, 0-based."""
    dropped: list[str] = field(default_factory=list)
    """What the clean-up left out and why, one line each."""
    scale: float = 1.0
    """What the joints were divided by: the main actor's spine in metres after `--scale`."""

    def __repr__(self) -> str:
        bodies = len({t.slot for t in self.tracks})
        shown = f"{self.frames} frames, {bodies} {'body' if bodies == 1 else 'bodies'}"
        return f"Clip({self.name!r}, label={self.label}, {shown})"

    def changed(self, **fields: Any) -> Clip:
        """The same clip with other values in some fields."""
        return _copy(self, fields)

    def dense(self, bodies: int | None = None) -> npt.NDArray[np.float32]:
        """The clip as the zero-padded array that other projects use.

        Returns: (M, T, V, 3) float32, zeros where a body has no data; M is `bodies` or the number of slots.
        """
        slots = max((t.slot for t in self.tracks), default=-1) + 1
        joints = self.tracks[0].joints.shape[1] if self.tracks else 0
        out = np.zeros((slots if bodies is None else bodies, self.frames, joints, 3), np.float32)
        for track in self.tracks:
            if track.slot < len(out):
                out[track.slot, track.frames] = track.joints
        return out


def _copy(original: Kind, fields: dict[str, Any]) -> Kind:
    copy = object.__new__(type(original))
    vars(copy).update(vars(original), **fields)
    return copy
