"""Actions in time as a table: what is true and what was found, of one recording or of many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Intervals:
    """One row an interval. `recording` : its number.  `label` : 0-based class.  `first`, `end` : its frames,
    the end exclusive.  `score` : of what was found, how sure; 1 of what is true.  All (N,)."""

    recording: I64
    label: I64
    first: I64
    end: I64
    score: F64

    def __post_init__(self) -> None:
        for field in fields(self):
            kind = np.float64 if field.name == "score" else np.int64
            object.__setattr__(self, field.name, np.asarray(getattr(self, field.name), kind).reshape(-1))
        if len({len(getattr(self, field.name)) for field in fields(self)}) > 1:
            raise ValueError("the columns of intervals differ in length")
        if not np.isfinite(self.score).all():
            raise ValueError("the score of an interval is not a finite number")

    def __len__(self) -> int:
        return len(self.label)

    def take(self, rows: npt.NDArray[np.bool_] | I64) -> Intervals:
        """Some of them: a mask or row numbers."""
        return Intervals(*(getattr(self, field.name)[rows] for field in fields(self)))

    def of(self, recording: int) -> Intervals:
        """Those of one recording."""
        return self.take(self.recording == recording)


def intervals(
    rows: Sequence[tuple[int, int, int]] | Sequence[tuple[int, int, int, float]], recording: int = 0
) -> Intervals:
    """Rows of (label, first, end) or (label, first, end, score) of one recording."""
    columns = list(zip(*rows, strict=True)) if len(rows) else [(), (), (), ()]
    score = columns[3] if len(columns) > 3 else np.ones(len(rows))
    place = np.full(len(rows), recording)
    return Intervals(place, *(np.array(column) for column in (*columns[:3], score)))


def joined(parts: Sequence[Intervals]) -> Intervals:
    """Several tables one after another."""
    if not parts:
        return intervals([])
    return Intervals(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Intervals)))


def overlap(one: tuple[I64, I64], other: tuple[I64, I64]) -> F64:
    """What two intervals (first, end) share of what they span together: (the earlier end - the later start) /
    (the later end - the earlier start), negative for what lies apart; 0 where they span no frame."""
    shared = np.minimum(one[1], other[1]) - np.maximum(one[0], other[0])
    spanned = np.maximum(one[1], other[1]) - np.minimum(one[0], other[0])
    found: F64 = np.where(spanned > 0, shared / np.where(spanned > 0, spanned, 1), 0.0)
    return found
