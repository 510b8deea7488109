"""Rows of labelled intervals that run beside a clip: the faults that were found in it, or the actions in a
long recording, true and found. The viewer draws them above the scrubber and on the map, and steps from one to
the next."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from amr_data.errors import Record
from amr_data.looking.words import fault_in_words


@dataclass(frozen=True)
class Interval:
    """The frames from `first` to before `end`, 0-based; `note` is what more there is to say."""

    label: str
    first: int
    end: int
    note: str = ""


@dataclass(frozen=True)
class Track:
    """A row of intervals, which may overlap; equal labels get equal colours in all tracks of a clip. `alarm`:
    all of them in the colour of a warning."""

    name: str
    intervals: list[Interval]
    alarm: bool = False


def fault_track(faults: Iterable[Record], frames: int) -> Track:
    """What `looking.faults.find_faults` says of one clip; a fault of no one frame runs
    through all."""
    intervals = []
    for fault in faults:
        first, length = (0, frames) if fault.frame is None else (fault.frame, 1)
        length = int(fault.values.get("still_frames", length))
        intervals.append(Interval(fault.kind, first, min(first + length, frames), fault_in_words(fault)))
    return Track("faults", sorted(intervals, key=lambda i: (i.first, i.end)), alarm=True)
