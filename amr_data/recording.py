"""Whole recordings: what a sensor saw from beginning to end, and when which action took place in it."""

from __future__ import annotations

from dataclasses import dataclass

from amr_data.clip import BodyTrack


@dataclass(frozen=True)
class Interval:
    """One labelled action of a recording. label : 0-based in the order of the spec's classes, as clips carry
    it.  first, end : frames of the recording, `end` excluded."""

    label: int
    first: int
    end: int


@dataclass(frozen=True, repr=False)
class Recording:
    """An untrimmed recording with the intervals that its labels name.

    subject, camera, setup, replication : the dataset's own numbers, -1 where it has none.
    fps : frames a second.  frames : T, from the first to the last.
    tracks : where bodies were, after the recipe, each with frame numbers of the recording; several may share
        a slot, one after another.
    intervals : sorted by their first frame; they may overlap, and what lies between them is no action.
    source : the file that it was read from.  start : the file's number of the recording's frame 0.
    dropped : what was left out and why, one line each.
    """

    name: str
    subject: int
    camera: int
    setup: int
    fps: float
    frames: int
    tracks: tuple[BodyTrack, ...]
    intervals: tuple[Interval, ...]
    replication: int = -1
    source: str = ""
    start: int = 0
    dropped: tuple[str, ...] = ()

    def __repr__(self) -> str:
        found = f"{self.frames} frames, {len(self.intervals)} intervals"
        return f"Recording({self.name!r}, {found})"
