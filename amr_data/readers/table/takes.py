"""From the rows of a file to recordings: cut by clip, ordered by frame, a track for each body."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from amr_data.errors import RejectError
from amr_data.readers.table.content import Content
from amr_data.readers.table.grids import plain
from amr_data.readers.table.layout import MAX_BODIES, Layout

MAX_SPAN = 1 << 22
"""Frames from the first to the last of one recording, as many as are kept whole: 38 hours at 30 a second."""
FALLEN = "frames with numbers of their own fall onto others"
"""How notes begin about frames that are left out since `frame_step` divides their numbers."""
SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
Frames = npt.NDArray[np.int64]


@dataclass
class Sighting:
    """One body of a recording. frames : (K,) the file's frame numbers, strictly increasing.  values :
    (K, V, C) as they stand in the file."""

    name: str
    frames: Frames
    values: npt.NDArray[np.float64]


@dataclass
class Take:
    """One recording: what its rows say about it, its first and last frame number, its bodies."""

    clip: str
    label: str
    subject: str
    first: int
    last: int
    bodies: list[Sighting]
    notes: list[str]


def takes(content: Content, layout: Layout, frame_rate: float) -> Iterator[Take | tuple[str, RejectError]]:
    """The recordings of a file; where one cannot be made, its clip name and what is wrong with it."""
    rows = len(content.values)
    if not rows:
        yield "", RejectError("no_body", "no frame in the file")
        return
    names = content.extras.get("clip")
    if names is None:
        groups: dict[str, Any] = {"": slice(None)}
    else:
        order: dict[str, list[int]] = {}
        for row, name in enumerate(names):
            order.setdefault(plain(name), []).append(row)
        groups = {name: np.array(rows_of) for name, rows_of in order.items()}
    for name, rows_of in groups.items():
        try:
            yield _take(name, content, rows_of, layout, frame_rate)
        except RejectError as error:
            yield name, error


def _take(name: str, content: Content, rows: Any, layout: Layout, frame_rate: float) -> Take:
    values = content.values[rows]
    extras = {
        f: column[rows]
        if isinstance(column, np.ndarray) or isinstance(rows, slice)
        else [column[r] for r in rows]
        for f, column in content.extras.items()
    }
    notes: list[str] = []
    numbers = _numbers(extras, len(values), layout, frame_rate)
    frames = numbers // layout.frame_step  # 1 where no column says frames
    bodies: list[Sighting] = []
    if "body" in extras:
        seen: dict[str, list[int]] = {}
        for row, number in enumerate(extras["body"]):
            seen.setdefault(number, []).append(row)
        if len(seen) > MAX_BODIES:
            raise RejectError("body_count", f"{len(seen)} bodies, at most {MAX_BODIES} are read")
        for number, rows_of in seen.items():
            mine = np.array(rows_of)
            who = f"body {str(number)[:24]}: "
            mine = mine[_increasing(numbers[mine], layout, who, notes)]
            bodies.append(Sighting(str(number)[:64], frames[mine], values[mine, 0]))
    else:
        kept = _increasing(numbers, layout, "", notes)
        for slot in range(values.shape[1]):
            bodies.append(Sighting(str(slot + 1), frames[kept], values[kept, slot]))
    first, last = int(frames.min()), int(frames.max())
    if last - first >= MAX_SPAN:
        raise RejectError(
            "frame_count", f"frame numbers go from {first:,} to {last:,}, over {MAX_SPAN:,} frames"
        )
    return Take(name, _one(extras, "label"), _one(extras, "subject"), first, last, bodies, notes)


def _one(extras: dict[str, Any], field: str) -> str:
    """The value that all rows of a recording give."""
    seen = list(dict.fromkeys(extras.get(field, ())))
    if len(seen) > 1:
        shown = " and ".join(repr(str(s)[:24]) for s in seen[:2])
        raise RejectError("label_mismatch", f"its rows give the {field} {shown}; a recording has one")
    return str(seen[0]) if seen else ""


def _numbers(extras: dict[str, Any], rows: int, layout: Layout, frame_rate: float) -> Frames:
    """(R,) int64 frame numbers: as a column has them, from time stamps, or counted."""
    if "frame" in extras:
        numbers = extras["frame"]
    elif layout.time is not None:
        seconds = np.asarray(extras["time"], np.float64) * SECONDS[layout.time.unit]
        begin = seconds[np.isfinite(seconds)].min(
            initial=np.inf
        )  # one that is none would make all of them so
        numbers = np.round((seconds - begin) * frame_rate)
    else:
        return np.arange(rows)
    numbers = np.asarray(numbers, np.float64)
    bad = ~np.isfinite(numbers) | (np.abs(numbers) > 2**53) | (numbers != np.round(numbers))
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise RejectError("bad_number", f"row {row + 1} has {numbers[row]:g} for a frame number")
    return numbers.astype(np.int64)


def _increasing(numbers: Frames, layout: Layout, who: str, notes: list[str]) -> npt.NDArray[np.int64]:
    """The rows to keep, so that the frames that their numbers (R,) mean increase. Raises RejectError where
    numbers fall, or stand twice and may not."""
    step = np.diff(numbers)
    if (step < 0).any():
        row = int(np.flatnonzero(step < 0)[0])
        raise RejectError("frame_count", f"{who}frame {numbers[row + 1]} comes after frame {numbers[row]}")
    again = np.diff(numbers // layout.frame_step) == 0
    if not again.any():
        return np.arange(len(numbers))
    twice = step == 0
    refused = layout.repeated_frames == "refuse"
    if refused and layout.time is None and twice.any():  # stamps of two rows may round to one frame
        row = int(np.flatnonzero(twice)[0])
        raise RejectError(
            "frame_count",
            f"{who}frame {numbers[row]} stands twice; repeated_frames: first (or last) keeps one of them",
        )
    policy = "first" if refused else layout.repeated_frames
    if twice.any():
        notes.append(f"{who}{int(twice.sum())} repeated frames, the {policy} of each kept")
    if fallen := int((again & ~twice).sum()):
        notes.append(f"{who}{fallen} {FALLEN} by frame_step {layout.frame_step}, the {policy} of each kept")
    kept = np.concatenate([[True], ~again]) if policy == "first" else np.concatenate([~again, [True]])
    return np.flatnonzero(kept)
