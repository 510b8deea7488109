"""The tables of a shard that keeps recordings: their frames lie in it once, and clips are views into them.
Everything that reads by a row's numbers relies on `check_kept`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from amr_data.shards.layout import MAX_DEPTH, MAX_RECORDING_FRAMES, MAX_SLOTS

Table = npt.NDArray[np.void]
Problem = tuple[str, str]
STRUCTURE, RANGE = "structure", "range"
KEPT = ("recordings", "stretches", "views", "intervals")
MAX_SHIFT = 1e7
"""Of an origin or a turn: a recording is a few metres, or some thousand spine lengths, wide."""


@dataclass
class KeptTables:
    """recordings : one row each.  stretches : of their bodies, one row each.  views : one row per clip.
    intervals : one row each; see `layout` for the columns.  notes : JSON text of each recording."""

    recordings: Table
    stretches: Table
    views: Table
    intervals: Table
    notes: list[str]

    @property
    def arrays(self) -> tuple[Table, Table, Table, Table]:
        return self.recordings, self.stretches, self.views, self.intervals


def check_kept(clips: Table, tracks: Table, kept: KeptTables, rows: int, classes: int) -> Problem | None:
    """What is wrong with the tables of recordings of one shard: a kind and what was found, or None.

    clips, tracks : checked by `tables.check_rows`.  rows : F of the shard.  classes : of the dataset.
    """
    lengths = kept.recordings["frames"].astype(np.int64)
    if len(lengths) and (lengths.min() < 1 or lengths.max() > MAX_RECORDING_FRAMES):
        return RANGE, f"a recording's frames are outside 1 to {MAX_RECORDING_FRAMES:,}"
    return (
        check_stretches(kept.stretches, lengths, rows, MAX_SLOTS)
        or _check_intervals(kept.intervals, lengths, classes)
        or _check_views(clips, tracks, kept, lengths)
    )


def check_stretches(table: Table, lengths: npt.NDArray[np.int64], rows: int, bodies: int) -> Problem | None:
    """Stretches of bodies lie one after another in the frames, in the order of what they belong to, of slots
    and of time, and end within it.

    table : its first column is the number of the clip or recording that a stretch belongs to.
    lengths : frames of each of these.
    """
    of = (table.dtype.names or ("",))[0]
    if problem := check_times(table, lengths, bodies):
        return problem
    frames, row = table["frames"].astype(np.int64), table["first_row"]
    # one after another, so that no row is read twice and what the tables ask for never exceeds the file
    outside = (row < 0) | (row > rows - frames)
    if outside.any() or (row[1:] < (row + frames)[:-1]).any():
        what = "tracks" if of == "clip" else "stretches"
        return STRUCTURE, f"the {what} do not follow each other in the frames, or point outside them"
    return check_order(table)


def check_times(table: Table, lengths: npt.NDArray[np.int64], bodies: int) -> Problem | None:
    """Where stretches lie in time, apart from their order."""
    of = (table.dtype.names or ("",))[0]
    whole, slot, first, frames = (table[k].astype(np.int64) for k in (of, "slot", "first_frame", "frames"))
    if len(table) and (whole.min() < 0 or whole.max() >= len(lengths)):
        return STRUCTURE, f"a track belongs to no {of}"
    if len(table) and (slot.min() < 0 or slot.max() >= bodies):
        return STRUCTURE, f"a track has a slot outside 0 to {bodies - 1}"
    if len(table) and (frames.min() < 1 or first.min() < 0):
        return STRUCTURE, f"a track has no frame, or begins before its {of}"
    if (first + frames > lengths[whole]).any():
        return STRUCTURE, f"a track ends after its {of}"
    return None


def check_order(table: Table) -> Problem | None:
    of = (table.dtype.names or ("",))[0]
    whole, slot, first, frames = (table[k].astype(np.int64) for k in (of, "slot", "first_frame", "frames"))
    step = np.diff(whole * MAX_SLOTS + slot)
    if (step < 0).any():
        return STRUCTURE, f"the tracks are not in the order of {of}s and slots"
    if (first[1:] < (first + frames)[:-1])[step == 0].any():
        return STRUCTURE, "two stretches of one body overlap, or are not in the order of time"
    return None


def _check_intervals(table: Table, lengths: npt.NDArray[np.int64], classes: int) -> Problem | None:
    if not len(table):
        return None
    of, first, end = (table[k].astype(np.int64) for k in ("recording", "first", "end"))
    if of.min() < 0 or of.max() >= len(lengths):
        return STRUCTURE, "an interval belongs to no recording"
    if table["label"].min() < 0 or table["label"].max() >= classes:
        return RANGE, f"an interval's label is outside 0 to {classes - 1}"
    if (first < 0).any() or (end <= first).any() or (end > lengths[of]).any():
        return STRUCTURE, "an interval is empty, or does not lie within its recording"
    step = np.diff(of)
    if (step < 0).any() or (np.diff(first)[step == 0] < 0).any():
        return STRUCTURE, "the intervals are not in the order of recordings and of time"
    return None


def _check_views(
    clips: Table, tracks: Table, kept: KeptTables, lengths: npt.NDArray[np.int64]
) -> Problem | None:
    views, stretches = kept.views, kept.stretches
    if len(views) != len(clips):
        return STRUCTURE, f"{len(views):,} views for {len(clips):,} clips"
    if not len(views):
        return None
    of, first = (views[k].astype(np.int64) for k in ("recording", "first"))
    if of.min() < 0 or of.max() >= len(lengths) or (np.diff(of) < 0).any():
        return STRUCTURE, "a clip belongs to no recording, or clips are not in the order of recordings"
    if first.min() < 0 or (first + clips["frames"] > lengths[of]).any():
        return STRUCTURE, "a clip does not lie within its recording"
    for field in ("origin", "turn"):
        if not np.isfinite(views[field]).all() or np.abs(views[field]).max() > MAX_SHIFT:
            return RANGE, f"a view's {field} is no number that a recipe gives"
    row, frames = tracks["first_row"], tracks["frames"].astype(np.int64)
    if not len(tracks):
        return None
    # each in a stretch of its own recording, at the frame that it is said to have
    within = np.searchsorted(stretches["first_row"], row, "right") - 1
    if within.min() < 0:
        return STRUCTURE, "a clip's track lies in no stretch of a recording"
    home, of = stretches[within], of[tracks["clip"]]
    inside = row - home["first_row"]
    if (home["recording"] != of).any() or (inside + frames > home["frames"]).any():
        return STRUCTURE, "a clip's track lies in no stretch of its recording"
    if (home["first_frame"] + inside != first[tracks["clip"]] + tracks["first_frame"]).any():
        return STRUCTURE, "a clip's track lies at another frame of its recording than its clip"
    if depth(row, row + frames) > MAX_DEPTH:
        return STRUCTURE, f"a row belongs to more than {MAX_DEPTH} clips"
    return None


def depth(low: npt.NDArray[np.int64], high: npt.NDArray[np.int64]) -> int:
    """How many of the ranges [low, high) lie over each other at most."""
    if not len(low):
        return 0
    at = np.concatenate([high, low])  # of equal numbers, ends come first
    step = np.repeat([-1, 1], len(low))
    return int(step[np.argsort(at, kind="stable")].cumsum().max())
