"""How far a figure can be trusted: intervals over seeds, and differences between two rows seed by seed.

Two methods that share a seed share the order of the clips and the views of the evaluation, so the spread of
their differences is what decides between them, not the spread of each alone. Intervals are Student's, 95 %.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

from scipy.special import ndtri, stdtrit

from amr_train.evaluation.parts import SUBJECTS

Row = Mapping[str, Any]
LEVEL = 0.95
TAIL = 0.5 + LEVEL / 2
TOP1 = ("linear", "logistic", "knn", "finetune", "supervised")
"""Protocols whose figures are shares of the judged clips."""


@dataclass(frozen=True)
class Difference:
    """Values of one row less those of another, by the seeds that both have; `low` and `high` : of the mean
    difference, None of a single seed."""

    seeds: tuple[int, ...]
    values: tuple[float, ...]
    low: float | None
    high: float | None

    @property
    def mean(self) -> float:
        return mean(self.values)

    @property
    def told_apart(self) -> bool:
        """Whether the interval is all on one side of zero."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)

    @property
    def between(self) -> str:
        """`[+0.3, +2.1], n 3`."""
        ends = "" if self.low is None else f"[{self.low:+.1f}, {self.high:+.1f}], "
        return f"{ends}n {len(self.values)}"


def interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Where the mean over all seeds lies, from those of some; None for fewer than two."""
    if len(values) < 2:
        return None
    half = float(stdtrit(len(values) - 1, TAIL)) * stdev(values) / math.sqrt(len(values))
    return mean(values) - half, mean(values) + half


def of_sample(row: Row) -> tuple[float, float] | None:
    """Where a figure of one training would lie on all clips like the judged ones, in percent: Wilson's
    interval of a share. None for figures that are no shares of clips. The noise between seeds comes on
    top."""
    # test parts of folds have no clip in common; training parts nearly all
    folds = 1 if row["part"] == SUBJECTS else max(1, len(row["folds"]))
    clips = row["clips"].get(row["part"], 0) * folds
    if row["protocol"] not in TOP1 or not clips:
        return None
    share, z = min(max(row["mean"] / 100, 0.0), 1.0), float(ndtri(TAIL))
    centre = (share + z * z / (2 * clips)) / (1 + z * z / clips)
    half = z / (1 + z * z / clips) * math.sqrt(share * (1 - share) / clips + z * z / (4 * clips * clips))
    return 100 * (centre - half), 100 * (centre + half)


def paired(one: Row, other: Row) -> Difference | None:
    """`one` less `other`; None where they share no seed, or are means over other folds."""
    if one["folds"] != other["folds"]:
        return None
    theirs = dict(zip(other["seeds"], other["values"], strict=True))
    found = {s: v - theirs[s] for s, v in zip(one["seeds"], one["values"], strict=True) if s in theirs}
    if not found:
        return None
    low, high = interval(list(found.values())) or (None, None)
    return Difference(tuple(found), tuple(found.values()), low, high)


def leaders(rows: Mapping[str, Row]) -> tuple[set[str], bool]:
    """The highest of some rows by name, and whether its lead over each of the others is larger than the
    noise: their paired difference's interval leaves zero out."""
    if len(rows) < 2:
        return set(), False
    most = max(row["mean"] for row in rows.values())
    first = {name for name, row in rows.items() if row["mean"] == most}
    if len(first) > 1:
        return first, False
    (best,) = first
    found = [paired(rows[best], row) for name, row in rows.items() if name != best]
    return first, all(one is not None and one.told_apart for one in found)
