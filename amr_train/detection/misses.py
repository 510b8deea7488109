"""Where a detector is most wrong: actions that it does not find, and sure detections of what is not there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from amr_train.detection.intervals import Intervals, overlap
from amr_train.detection.scoring import HEADLINE, NONE, match

EACH = 10
"""Of each kind that are kept."""


def worst_misses(
    found: Intervals, truth: Intervals, names: Sequence[str], classes: Sequence[str]
) -> list[dict[str, Any]]:
    """The surest detections that match no truth at the headline's overlap, by their score; then the truths
    that nothing found, those whose time is said to be something else with the highest score first.

    Returns: for each the recording, `kind` ('false' or 'missed'), the class, its frames, `score` of the
        detection that is wrong, if any, and `other`: the class that is true or said there, if any.
    """
    matches = match(found, truth)
    hit = (matches.truth != NONE) & (matches.overlap >= HEADLINE)
    rows: list[dict[str, Any]] = []
    wrong = np.flatnonzero(~hit)
    for row in wrong[np.argsort(-found.score[wrong], kind="stable")][:EACH].tolist():
        there, _ = _beside(truth, found, row)
        about = _row(found, row, names, classes)
        rows.append(
            {"kind": "false", **about, "score": float(found.score[row]), "other": _name(there, classes)}
        )
    missed = np.setdiff1d(np.arange(len(truth)), matches.truth[hit])
    said = [(*_beside(found, truth, row), row) for row in missed.tolist()]
    said.sort(key=lambda one: (-one[1], one[2]))
    for label, score, row in said[:EACH]:
        about = _row(truth, row, names, classes)
        known = score if label is not None else None
        rows.append({"kind": "missed", **about, "score": known, "other": _name(label, classes)})
    return rows


def _beside(those: Intervals, one: Intervals, row: int) -> tuple[int | None, float]:
    """The class and the score of the surest of those that overlap a row of another table by half or more;
    None where there is none."""
    mine = np.flatnonzero(those.recording == one.recording[row])
    shared = overlap((those.first[mine], those.end[mine]), (one.first[row : row + 1], one.end[row : row + 1]))
    near = mine[(shared >= HEADLINE) & (those.label[mine] != one.label[row])]
    if not len(near):
        return None, 0.0
    best = near[those.score[near].argmax()]
    return int(those.label[best]), float(those.score[best])


def _row(table: Intervals, row: int, names: Sequence[str], classes: Sequence[str]) -> dict[str, Any]:
    return {
        "recording": names[int(table.recording[row])],
        "class": classes[int(table.label[row])],
        "first": int(table.first[row]),
        "end": int(table.end[row]),
    }


def _name(label: int | None, classes: Sequence[str]) -> str | None:
    return None if label is None else classes[label]
