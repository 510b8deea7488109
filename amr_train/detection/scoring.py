"""How good found intervals are, as PKU-MMD's own scorer counts (Liu et al., arXiv 1703.07475).

A detection takes the truth of its recording and class that it overlaps most (of equals the later in the
table), if the overlap reaches theta. Several may take one truth: it counts as found once, and each of them as
a proposal. Precision is truths found / proposals, recall truths found / truths. For the average precision,
detections leave from the lowest score up; whenever a truth goes with its last one, the drop of recall counts
with the largest precision so far. One thing is not as in the circulating script, whose overlap reads class
numbers in place of the starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from amr_train.detection.intervals import F64, I64, Intervals, overlap

THETAS = (0.1, 0.3, 0.5, 0.7)
HEADLINE = 0.5
ALL_OVERLAPS = tuple(round(0.05 * step, 2) for step in range(1, 21))
"""The twenty overlaps that 2D-AP is the mean over."""
PAIRS = 1 << 22
"""Detections beside truths that are compared at once."""
NONE = -1
DRAWN = 200
"""Points of a curve that is kept."""


@dataclass(frozen=True)
class DetectionScores:
    """All from 0 to 1, by overlap where they depend on one.

    `map_action` : mean over the classes, 0 for one without truth.  `map_video` : mean over the recordings.
    `ap`, `f1`, `precision`, `recall` : of everything together.  `per_class` : the average precision of each
    class, None where it has no truth.  `two_d_ap` : the mean of `ap` over twenty overlaps.  `curve` : recall
    and precision at the headline's overlap, as detections leave.
    """

    map_action: dict[float, float]
    map_video: dict[float, float]
    ap: dict[float, float]
    f1: dict[float, float]
    precision: dict[float, float]
    recall: dict[float, float]
    per_class: dict[float, list[float | None]]
    two_d_ap: float
    curve: tuple[list[float], list[float]]

    def as_dict(self) -> dict[str, Any]:
        """In percent, JSON's types; `per_class` and `curve` at the headline's overlap, the latter in so many
        points as can be seen."""
        by = ("map_action", "map_video", "ap", "f1", "precision", "recall")
        found: dict[str, Any] = {
            name: {f"{theta:g}": 100 * value for theta, value in getattr(self, name).items()} for name in by
        }
        per_class = [None if ap is None else 100 * ap for ap in self.per_class[HEADLINE]]
        step = -(-len(self.curve[0]) // DRAWN)
        recall, precision = ([round(100 * v, 2) for v in values[::step]] for values in self.curve)
        return {
            **found,
            "two_d_ap": 100 * self.two_d_ap,
            "per_class": per_class,
            "curve": {"recall": recall, "precision": precision},
        }


@dataclass(frozen=True)
class Matches:
    """`truth` : the row of the truth that each detection overlaps most, -1 where its recording has none of
    its class.  `overlap` : how much."""

    truth: I64
    overlap: F64


def score_detections(
    found: Intervals, truth: Intervals, classes: int, recordings: int, thetas: Sequence[float] = THETAS
) -> DetectionScores:
    """Judge what was found in so many recordings of so many classes. Where scores are equal, the order of the
    rows decides. `thetas` : overlaps, each above 0."""
    matches = match(found, truth)
    wanted = sorted({*thetas, HEADLINE})
    by_class = _groups(found.label, truth.label, classes)
    by_recording = _groups(found.recording, truth.recording, recordings)
    map_action, map_video, per_class = {}, {}, {}
    everything = (np.arange(len(found)), len(truth))
    ap, f1, precision, recall = {}, {}, {}, {}
    for theta in wanted:
        aps = [average_precision(found.score[rows], *_some(matches, rows), n, theta) for rows, n in by_class]
        per_class[theta] = [value if n else None for value, (_, n) in zip(aps, by_class, strict=True)]
        map_action[theta] = sum(aps) / max(1, classes)
        videos = [average_precision(found.score[r], *_some(matches, r), n, theta) for r, n in by_recording]
        map_video[theta] = sum(videos) / max(1, recordings)
        ap[theta] = average_precision(found.score, matches.truth, matches.overlap, everything[1], theta)
        precision[theta], recall[theta] = precision_recall(matches, len(truth), theta)
        both = precision[theta] + recall[theta]
        f1[theta] = 2 * precision[theta] * recall[theta] / both if both else 0.0
    every = (found.score, matches.truth, matches.overlap, len(truth))
    two_d = sum(average_precision(*every, theta) for theta in ALL_OVERLAPS) / len(ALL_OVERLAPS)
    drawn = curve(*every, HEADLINE)
    return DetectionScores(map_action, map_video, ap, f1, precision, recall, per_class, two_d, drawn)


def match(found: Intervals, truth: Intervals) -> Matches:
    """Which truth each detection overlaps most."""
    span = int(max(found.label.max(initial=0), truth.label.max(initial=0))) + 1
    key = truth.recording * span + truth.label
    order = np.argsort(key, kind="stable")
    wanted = found.recording * span + found.label
    low, high = (np.searchsorted(key[order], wanted, side) for side in ("left", "right"))
    best, chosen = np.full(len(found), -np.inf), np.full(len(found), NONE)
    count = high - low
    at = 0
    while at < len(found):  # as many detections as fit
        stop = max(at + 1, int(np.searchsorted(count.cumsum(), count[:at].sum() + PAIRS, "right")))
        mine = np.arange(at, stop)
        of = np.repeat(mine, count[mine])
        within = np.arange(len(of)) - np.repeat(count[mine].cumsum() - count[mine], count[mine])
        row = order[low[of] + within]
        shared = overlap((found.first[of], found.end[of]), (truth.first[row], truth.end[row]))
        np.maximum.at(best, of, shared)
        equal = shared == best[of]
        np.maximum.at(chosen, of[equal], row[equal])
        at = stop
    return Matches(chosen, np.where(chosen == NONE, 0.0, best))


def average_precision(score: F64, truth: I64, shared: F64, truths: int, theta: float) -> float:
    """The interpolated average precision of detections: score, best truth and overlap with it (N,), of so
    many truths."""
    recall, precision = curve(score, truth, shared, truths, theta)
    return float(-np.diff(recall) @ np.asarray(precision[1:])) if len(recall) > 1 else 0.0


def curve(score: F64, truth: I64, shared: F64, truths: int, theta: float) -> tuple[list[float], list[float]]:
    """Recall, falling, and the largest precision so far: of all detections, then whenever a truth is left."""
    if not truths or not len(score):
        return [0.0], [0.0]
    order = np.argsort(score, kind="stable")
    matched = (truth[order] != NONE) & (shared[order] >= theta)
    place = np.flatnonzero(matched)
    _, last = np.unique(truth[order][place][::-1], return_index=True)  # a truth goes with its highest
    leaves = np.zeros(len(order), np.int64)
    leaves[place[len(place) - 1 - last]] = 1
    left = leaves.sum() - leaves.cumsum()
    proposals = len(order) - 1 - np.arange(len(order))
    precision = np.where(proposals > 0, left / np.maximum(proposals, 1), 0.0)[place]
    began = leaves.sum() / len(order)
    largest = np.maximum.accumulate(np.append(began, precision))
    recall = np.append(leaves.sum(), left[place]) / truths
    kept = np.append(True, leaves[place] > 0)
    return recall[kept].tolist(), largest[kept].tolist()


def precision_recall(matches: Matches, truths: int, theta: float) -> tuple[float, float]:
    """Of all detections; both 0 where there is no detection or no truth."""
    proposals = len(matches.truth)
    if not proposals or not truths:
        return 0.0, 0.0
    found = len(np.unique(matches.truth[(matches.truth != NONE) & (matches.overlap >= theta)]))
    return found / proposals, found / truths


def frame_accuracy(
    predicted: Sequence[npt.NDArray[np.int64]], truth: Intervals, background: int
) -> tuple[int, int]:
    """Frames that are right, and how many there are. `predicted` : of each recording a class a frame, the
    number `background` for none; right is any of the true ones of a frame, background where there is none."""
    right = total = 0
    for number, labels in enumerate(predicted):
        mine, frames = truth.of(number), len(labels)
        none, hit = np.ones(frames, bool), np.zeros(frames, bool)
        for label, first, end in zip(mine.label, mine.first, mine.end, strict=True):
            part = slice(max(0, int(first)), max(0, int(end)))
            none[part] = False
            hit[part] |= labels[part] == label
        right += int((hit | (none & (labels == background))).sum())
        total += frames
    return right, total


def _some(matches: Matches, rows: I64) -> tuple[I64, F64]:
    return matches.truth[rows], matches.overlap[rows]


def _groups(found: I64, truth: I64, count: int) -> list[tuple[I64, int]]:
    """For each number the rows of what was found, in their order, and how many truths."""
    order = np.argsort(found, kind="stable")
    bounds = np.searchsorted(found[order], np.arange(count + 1))
    truths = np.bincount(truth, minlength=count)
    return [(order[bounds[i] : bounds[i + 1]], int(truths[i])) for i in range(count)]
