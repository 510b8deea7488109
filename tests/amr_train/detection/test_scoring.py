"""The scorer beside a literal one, straight from the definition, on random and hand-made intervals."""

from __future__ import annotations

import time
import zipfile

import numpy as np
import pytest

from amr_train.detection.intervals import Intervals, intervals, joined
from amr_train.detection.scoring import ALL_OVERLAPS, frame_accuracy, score_detections

THETAS = (0.1, 0.3, 0.5, 0.7)
Row = tuple[int, int, int, int, float]  # recording, label, first, end, score


def rows_of(table: Intervals) -> list[Row]:
    columns = (table.recording, table.label, table.first, table.end, table.score)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def literal_overlap(a: Row, b: Row) -> float:
    if a[0] != b[0] or a[1] != b[1]:
        return 0.0
    spanned = max(a[3], b[3]) - min(a[2], b[2])
    return (min(a[3], b[3]) - max(a[2], b[2])) / spanned if spanned > 0 else 0.0


def literal_match(found: list[Row], truths: list[Row], theta: float) -> tuple[list[int], list[int]]:
    taken, count = [-1] * len(found), [0] * len(truths)
    for x, detection in enumerate(found):
        for y, truth in enumerate(truths):
            if truth[1] != detection[1] or literal_overlap(detection, truth) < theta:
                continue
            # without a match so far the last truth of the list is what it is compared with
            if literal_overlap(detection, truth) < literal_overlap(detection, truths[taken[x]]):
                continue
            taken[x] = y
        if taken[x] != -1:
            count[taken[x]] += 1
    return taken, count


def literal_ratios(positive: int, proposals: int, truths: int) -> tuple[float, float]:
    return (positive / proposals, positive / truths) if proposals and truths else (0.0, 0.0)


def literal_ap(found: list[Row], truths: list[Row], theta: float) -> float:
    found = sorted(found, key=lambda row: row[4])
    taken, count = literal_match(found, truths, theta)
    positive, proposals = sum(c > 0 for c in count), len(found)
    largest, before = literal_ratios(positive, proposals, len(truths))
    total = 0.0
    for x in range(len(found)):
        proposals -= 1
        if taken[x] == -1:
            continue
        count[taken[x]] -= 1
        positive -= count[taken[x]] == 0
        precision, recall = literal_ratios(positive, proposals, len(truths))
        largest = max(largest, precision)
        total += largest * (before - recall)
        before = recall
    return total


def literal_f1(found: list[Row], truths: list[Row], theta: float) -> float:
    _, count = literal_match(found, truths, theta)
    precision, recall = literal_ratios(sum(c > 0 for c in count), len(found), len(truths))
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def compare(found: Intervals, truth: Intervals, classes: int, recordings: int) -> None:
    scores = score_detections(found, truth, classes, recordings)
    detections, truths = rows_of(found), rows_of(truth)
    for theta in THETAS:
        by_class = [
            literal_ap([r for r in detections if r[1] == c], [r for r in truths if r[1] == c], theta)
            for c in range(classes)
        ]
        by_video = [
            literal_ap([r for r in detections if r[0] == v], [r for r in truths if r[0] == v], theta)
            for v in range(recordings)
        ]
        assert scores.map_action[theta] == pytest.approx(np.mean(by_class), abs=1e-12)
        assert scores.map_video[theta] == pytest.approx(np.mean(by_video), abs=1e-12)
        assert scores.ap[theta] == pytest.approx(literal_ap(detections, truths, theta), abs=1e-12)
        assert scores.f1[theta] == pytest.approx(literal_f1(detections, truths, theta), abs=1e-12)
    every = [literal_ap(detections, truths, theta) for theta in ALL_OVERLAPS]
    assert scores.two_d_ap == pytest.approx(np.mean(every), abs=1e-12)


def drawn(generator: np.random.Generator) -> tuple[Intervals, Intervals, int, int]:
    """A few intervals in a few frames, so that ties, duplicates, zero lengths and overlapping truths are
    common."""
    classes, recordings = int(generator.integers(1, 4)), int(generator.integers(1, 4))

    def some(most: int) -> Intervals:
        count = int(generator.integers(0, most))
        first = generator.integers(0, 12, count)
        numbers = generator.integers(0, recordings, count), generator.integers(0, classes, count)
        length = generator.integers(-1 if generator.random() < 0.1 else 0, 8, count)
        return Intervals(*numbers, first, first + length, generator.integers(0, 5, count) / 4)

    return some(14), some(8), classes, recordings


def test_a_thousand_random_cases_agree_with_the_literal_scorer() -> None:
    generator = np.random.default_rng(0)
    for _ in range(1000):
        compare(*drawn(generator))


@pytest.mark.parametrize(
    ("found", "truth"),
    [
        pytest.param([], [], id="nothing at all"),
        pytest.param([], [(0, 0, 5)], id="nothing found"),
        pytest.param([(0, 0, 5, 0.5)], [], id="nothing true"),
        pytest.param([(0, 0, 10, 0.5)] * 4, [(0, 0, 10)], id="duplicates"),
        pytest.param(
            [(0, 0, 10, 0.5), (1, 0, 10, 0.5), (0, 20, 30, 0.5)], [(0, 0, 10), (1, 0, 10)], id="ties"
        ),
        pytest.param(
            [(0, 0, 10, 0.9), (0, 4, 14, 0.4)], [(0, 0, 10), (0, 4, 14), (0, 2, 12)], id="overlapping"
        ),
        pytest.param([(0, 5, 5, 0.9), (0, 5, 5, 0.8)], [(0, 5, 5), (0, 0, 5)], id="zero length"),
        pytest.param([(0, 3, 9, 0.9)], [(0, 9, 3)], id="end before start"),
        pytest.param([(0, 2, 4, 0.9)], [(0, 0, 4), (0, 2, 6), (0, 1, 4)], id="two as near"),
    ],
)
def test_hand_made_cases_agree_with_the_literal_scorer(found: list, truth: list) -> None:
    compare(intervals(found), intervals(truth), 2, 2)


def test_a_case_by_hand() -> None:
    # two truths; the surest detection is right, the next wrong, the last two find the other truth
    truth = intervals([(0, 0, 10), (0, 20, 30)])
    found = intervals([(0, 0, 10, 0.9), (0, 40, 50, 0.8), (0, 21, 30, 0.3), (0, 20, 29, 0.2)])
    scores = score_detections(found, truth, 1, 1)
    # the first to leave loses no truth and leaves 2 of 3 proposals right, the best that is ever reached
    assert scores.ap[0.5] == pytest.approx(0.5 * 2 / 3 + 0.5 * 2 / 3)
    assert (scores.precision[0.5], scores.recall[0.5]) == (0.5, 1.0)
    assert scores.f1[0.5] == pytest.approx(2 / 3)
    assert scores.curve[0] == [1.0, 0.5, 0.0]


def test_perfect_detections_score_one_and_shifted_ones_fall_with_the_overlap() -> None:
    truth = joined([intervals([(c, 100 * c, 100 * c + 60) for c in range(5)], r) for r in range(3)])
    assert score_detections(truth, truth, 5, 3).map_action[0.7] == 1
    late = Intervals(truth.recording, truth.label, truth.first + 20, truth.end + 20, truth.score)
    shifted = score_detections(late, truth, 5, 3)  # 40 of 80 frames
    assert (shifted.map_action[0.5], shifted.map_action[0.7]) == (1, 0)
    assert shifted.two_d_ap == pytest.approx(0.5)


def test_a_class_without_truth_counts_as_nothing_and_is_named() -> None:
    truth = intervals([(0, 0, 10)])
    scores = score_detections(truth, truth, 4, 1)
    assert scores.map_action[0.5] == 0.25
    assert scores.per_class[0.5] == [1.0, None, None, None]


def test_frames_are_right_where_any_true_class_is_said() -> None:
    truth = intervals([(0, 2, 5), (1, 4, 6)])
    said = np.array([9, 9, 0, 0, 1, 0, 9, 1])
    # wrong: frame 5 (class 1 there) and frame 7 (nothing there)
    assert frame_accuracy([said], truth, 9) == (6, 8)


def test_a_score_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        intervals([(0, 0, 1, float("nan"))])


def test_all_rows_of_the_real_labels_are_scored_in_seconds(genuine) -> None:  # type: ignore[no-untyped-def]
    """Detections made of PKU-MMD I's 21,545 rows: moved, doubled, of other classes."""
    tables = []
    with zipfile.ZipFile(genuine("pku-mmd/Label_PKUMMD.zip")) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".txt"))
        for number, name in enumerate(names):
            rows = [line.split(",") for line in archive.read(name).decode().split()]
            tables.append(intervals([(int(r[0]) - 1, int(r[1]), int(r[2])) for r in rows], number))
    truth = joined(tables)
    assert (len(names), len(truth)) == (1076, 21_545)
    exact = score_detections(truth, truth, 51, len(names))
    # the reversed row of 0043-L is found by nobody
    assert exact.recall[0.5] == (len(truth) - 1) / len(truth)
    generator = np.random.default_rng(0)
    twice = joined([truth, truth])
    moved = generator.integers(-40, 40, len(twice))
    label = np.where(generator.random(len(twice)) < 0.2, generator.integers(0, 51, len(twice)), twice.label)
    found = Intervals(
        twice.recording, label, twice.first + moved, twice.end + moved, generator.random(len(twice))
    )
    began = time.perf_counter()
    scores = score_detections(found, truth, 51, len(names))
    assert time.perf_counter() - began < 20
    assert 0 < scores.map_action[0.7] < scores.map_action[0.5] < scores.map_action[0.1] < 1
    one = found.take(found.recording < 3), truth.take(truth.recording < 3)
    compare(*one, 51, 3)
