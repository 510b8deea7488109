"""Which head and which decoding: what finds most on recordings of people whom training does not see."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from amr_data import Recording
from amr_train.detection.decoding import Decoding, decode
from amr_train.detection.heads import Head
from amr_train.detection.intervals import Intervals, intervals, joined
from amr_train.detection.scoring import (
    HEADLINE,
    DetectionScores,
    Matches,
    frame_accuracy,
    match,
    precision_recall,
    score_detections,
)
from amr_train.detection.training import Example
from amr_train.detection.windows import Grid

SMOOTH, GAP = (1, 5), (0, 2)
"""What is tried of a decoding, in steps; the first of equals is taken."""
HELD_EVERY = 5
SURE = tuple(round(0.05 * step, 2) for step in range(1, 18))
"""Scores from which detections may be told."""


def truth_of(recordings: Sequence[Recording]) -> Intervals:
    """What is true of recordings, by their place."""
    return joined(
        [
            intervals([(one.label, one.first, one.end) for one in recording.intervals], number)
            for number, recording in enumerate(recordings)
        ]
    )


def whose(recording: Recording) -> str:
    """Who or what is in a recording, so that nobody is on both sides of a choice: the subject, or, where
    nobody is known, the name without a last part that tells the camera."""
    if recording.subject >= 0:
        return f"{recording.subject:09}"
    return re.sub(r"[-_][A-Za-z0-9]+$", "", recording.name)


def held_out(recordings: Sequence[Recording]) -> npt.NDArray[np.bool_]:
    """Which recordings choices are made on: every fifth group's, the last one's where there are fewer; none
    of a single group."""
    groups = [whose(recording) for recording in recordings]
    known = sorted(set(groups))
    chosen = set(known[HELD_EVERY - 1 :: HELD_EVERY] or known[-1:]) if len(known) > 1 else set[str]()
    return np.array([group in chosen for group in groups], bool)


def found_by(
    head: Head, examples: Sequence[Example], frames: Sequence[int], decoding: Decoding, grid: Grid
) -> tuple[Intervals, list[npt.NDArray[np.int64]]]:
    """What a head finds in recordings, and the class of each of their frames."""
    return found_in([head.probabilities(e.features, e.there) for e in examples], frames, decoding, grid)


def found_in(
    probabilities: Sequence[npt.NDArray[np.float32]], frames: Sequence[int], decoding: Decoding, grid: Grid
) -> tuple[Intervals, list[npt.NDArray[np.int64]]]:
    """The same of probabilities that are known."""
    tables, labels = [], []
    for number, (each, length) in enumerate(zip(probabilities, frames, strict=True)):
        if not len(each):
            labels.append(np.zeros(0, np.int64))
            continue
        said, table = decode(each, decoding, grid.step, length)
        place = np.full(len(table), number)
        tables.append(Intervals(place, table.label, table.first, table.end, table.score))
        labels.append(said.repeat(grid.step)[:length])
    return joined(tables), labels


def chosen_decoding(
    head: Head, examples: Sequence[Example], recordings: Sequence[Recording], grid: Grid, classes: int
) -> tuple[Decoding, float, float]:
    """The decoding with the best mean average precision over the classes at the headline's overlap; that one,
    in percent; and the score from which its detections are to be told."""
    frames, truth = [recording.frames for recording in recordings], truth_of(recordings)
    known = [head.probabilities(example.features, example.there) for example in examples]
    best: tuple[float, Decoding, float] = (-1.0, Decoding(), SURE[0])
    for smooth, gap in itertools.product(SMOOTH, GAP):
        tried = Decoding(smooth=smooth, gap=gap)
        found, _ = found_in(known, frames, tried, grid)
        value = score_detections(found, truth, classes, len(recordings), (HEADLINE,)).map_action[HEADLINE]
        if value > best[0]:
            best = (value, tried, sure_from(found, truth))
    return best[1], 100 * best[0], best[2]


def sure_from(found: Intervals, truth: Intervals) -> float:
    """The score from which detections agree best with the truth, by F1 at the headline's overlap."""
    matches = match(found, truth)
    best = (-1.0, SURE[0])
    for least in SURE:
        kept = found.score >= least
        some = Matches(matches.truth[kept], matches.overlap[kept])
        precision, recall = precision_recall(some, len(truth), HEADLINE)
        f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
        best = max(best, (f1, least))
    return best[1]


def judged_on(
    head: Head,
    examples: Sequence[Example],
    recordings: Sequence[Recording],
    decoding: Decoding,
    grid: Grid,
    classes: int,
) -> tuple[DetectionScores, float, Intervals]:
    """What a head's detections are worth, how many percent of the frames are right, and the detections."""
    frames = [recording.frames for recording in recordings]
    truth = truth_of(recordings)
    found, labels = found_by(head, examples, frames, decoding, grid)
    right, total = frame_accuracy(labels, truth, classes)
    scores = score_detections(found, truth, classes, len(recordings))
    return scores, 100 * right / max(1, total), found
