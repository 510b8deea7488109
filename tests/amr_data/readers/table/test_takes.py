"""Rows to recordings: which rows make a clip, in which frames, and whose they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from amr_data.errors import RejectError
from amr_data.readers.table import takes as module
from amr_data.readers.table.content import Content
from amr_data.readers.table.layout import MAX_BODIES, Layout
from amr_data.readers.table.takes import Take, takes
from amr_data.shards.layout import MAX_RECORDING_FRAMES


def content(rows: int, slots: int = 1, **extras: Any) -> Content:
    """Row r of slot m holds 10 r + m, in one joint of one value."""
    values = 10.0 * np.arange(rows)[:, None] + np.arange(slots)
    return Content(values[..., None, None], extras)


def layout(**fields: Any) -> Layout:
    return Layout.model_validate(fields)


def told(found: Take | tuple[str, RejectError]) -> tuple:
    """A recording in plain values, or what is wrong with it."""
    if isinstance(found, tuple):
        return found[0], found[1].reason, found[1].detail
    bodies = [(b.name, b.frames.tolist(), b.values.ravel().tolist()) for b in found.bodies]
    return found.clip, found.label, found.subject, found.first, found.last, bodies, found.notes


def only(given: Content, of: Layout, rate: float = 10) -> tuple:
    (found,) = takes(given, of, rate)
    return told(found)


def test_rows_without_a_word_about_them_are_one_recording():
    for slots, bodies in ((1, [("1", [0, 1, 2], [0, 10, 20])]), (0, [])):
        assert only(content(3, slots), layout()) == ("", "", "", 0, 2, bodies, [])
    two = [("1", [0, 1], [0, 10]), ("2", [0, 1], [1, 11])]
    assert only(content(2, 2), layout()) == ("", "", "", 0, 1, two, [])
    (found,) = takes(content(2), layout(), 10)
    assert isinstance(found, Take)
    assert found.bodies[0].frames.dtype == np.int64
    assert only(content(0), layout()) == ("", "no_body", "no frame in the file")


def test_a_column_of_clips_cuts_rows_wherever_they_lie():
    given = content(5, clip=["3.0", "b", "3", " b", "3e0"], label=["7", "1", "7", "1", "7"])
    given.extras["frame"] = np.array([4.0, 0, 6, 1, 7])
    found = [told(t) for t in takes(given, layout(clip=0, frame=1, label=2), 10)]
    assert found == [
        ("3", "7", "", 4, 7, [("1", [4, 6, 7], [0, 20, 40])], []),
        ("b", "1", "", 0, 1, [("1", [0, 1], [10, 30])], []),
    ]


def test_a_clip_that_cannot_be_leaves_the_others():
    given = content(4, clip=["a", "a", "b", "b"], subject=["1", "2", "3", "3"])
    found = [told(t) for t in takes(given, layout(clip=0, subject=1), 10)]
    says = "its rows give the subject '1' and '2'; a recording has one"
    assert found == [
        ("a", "label_mismatch", says),
        ("b", "", "3", 0, 1, [("1", [0, 1], [20, 30])], []),
    ]
    given = content(3, label=["x" * 30, "y", "z"])
    says = f"its rows give the label '{'x' * 24}' and 'y'; a recording has one"
    assert only(given, layout(label=0)) == ("", "label_mismatch", says)


def test_a_column_of_bodies_makes_a_body_each_in_order_of_sight():
    given = content(5, body=["9", "4", "9", "4", "9"], frame=np.array([2.0, 2, 3, 5, 8]))
    found = only(given, layout(body=0, frame=1))
    assert found[3:] == (2, 8, [("9", [2, 3, 8], [0, 20, 40]), ("4", [2, 5], [10, 30])], [])
    given = content(2, body=["n" * 70, "m"])
    assert [b[0] for b in only(given, layout(body=0))[5]] == ["n" * 64, "m"]
    nearly = content(3, body=["7", "7\0", "7"])
    assert [b[:2] for b in only(nearly, layout(body=0))[5]] == [("7", [0, 2]), ("7\0", [1])]
    many = content(MAX_BODIES + 1, body=[str(i) for i in range(MAX_BODIES + 1)])
    says = f"{MAX_BODIES + 1} bodies, at most {MAX_BODIES} are read"
    assert only(many, layout(body=0)) == ("", "body_count", says)
    assert len(only(content(MAX_BODIES, body=many.extras["body"][:-1]), layout(body=0))[5]) == MAX_BODIES


@pytest.mark.parametrize(
    ("numbers", "reason", "detail"),
    [
        ([1, 2.5, 3], "bad_number", "row 2 has 2.5 for a frame number"),
        ([1, 2, np.nan], "bad_number", "row 3 has nan for a frame number"),
        ([np.inf, 2, 3], "bad_number", "row 1 has inf for a frame number"),
        ([0, 2**53 + 2, 3], "bad_number", "row 2 has 9.0072e+15 for a frame number"),
        ([0, 1, -(2.0**54)], "bad_number", "row 3 has -1.80144e+16 for a frame number"),
        ([4, 7, 6], "frame_count", "frame 6 comes after frame 7"),
        ([4, 4, 3], "frame_count", "frame 3 comes after frame 4"),
        (
            [4, 6, 6],
            "frame_count",
            "frame 6 stands twice; repeated_frames: first (or last) keeps one of them",
        ),
    ],
)
def test_frame_numbers_that_cannot_be(numbers, reason, detail):
    given = content(3, frame=np.array(numbers, np.float64))
    assert only(given, layout(frame=0)) == ("", reason, detail)
    if reason == "frame_count":
        given.extras["body"] = ["b" * 30] * 3
        assert only(given, layout(frame=0, body=1)) == ("", reason, f"body {'b' * 24}: {detail}")


def test_the_frames_of_a_recording_are_bounded(monkeypatch: pytest.MonkeyPatch):
    assert module.MAX_SPAN == MAX_RECORDING_FRAMES
    monkeypatch.setattr(module, "MAX_SPAN", 1000)
    assert only(content(2, frame=np.array([-500.0, 499])), layout(frame=0))[3:5] == (-500, 499)
    assert only(content(2, frame=np.array([600.0, 700])), layout(frame=0))[3:5] == (600, 700)
    huge = "row 2 has 1.18059e+21 for a frame number"
    assert only(content(2, frame=[1, 2**70]), layout(frame=0)) == ("", "bad_number", huge)
    says = "frame numbers go from 1,000 to 2,000, over 1,000 frames"
    assert only(content(2, frame=np.array([1000.0, 2000])), layout(frame=0)) == ("", "frame_count", says)
    edge = 2.0**53
    assert only(content(1, frame=np.array([-edge])), layout(frame=0))[3:5] == (-(2**53), -(2**53))


@pytest.mark.parametrize(
    ("policy", "frames", "values", "note"),
    [
        ("first", [1, 2, 4], [0, 10, 40], "the first of each kept"),
        ("last", [1, 2, 4], [0, 30, 40], "the last of each kept"),
    ],
)
def test_frames_that_repeat_are_kept_once(policy, frames, values, note):
    of = layout(frame=0, repeated_frames=policy)
    given = content(5, frame=np.array([1.0, 2, 2, 2, 4]))
    assert only(given, of)[5:] == ([("1", frames, values)], [f"2 repeated frames, {note}"])
    given.extras["body"] = ["b" * 30] * 5
    of = layout(frame=0, repeated_frames=policy, body=1)
    assert only(given, of)[6] == [f"body {'b' * 24}: 2 repeated frames, {note}"]


def test_frames_that_are_drawn_together_repeat_and_the_first_is_kept():
    stepped = content(6, frame=np.array([-3.0, 4, 6, 7, 10, 11]))
    found = only(stepped, layout(frame=0, frame_step=2))
    assert found[3:] == (
        -2,
        5,
        [("1", [-2, 2, 3, 5], [0, 10, 20, 40])],
        ["2 frames with numbers of their own fall onto others by frame_step 2, the first of each kept"],
    )
    last = only(stepped, layout(frame=0, frame_step=2, repeated_frames="last"))
    assert last[5] == [("1", [-2, 2, 3, 5], [0, 10, 30, 50])]
    # what stands twice in the file is a repeat all the same, and numbers are told as they stand there
    again = content(4, frame=np.array([4.0, 6, 6, 7]))
    assert only(again, layout(frame=0, frame_step=2))[1:] == (
        "frame_count",
        "frame 6 stands twice; repeated_frames: first (or last) keeps one of them",
    )
    assert only(again, layout(frame=0, frame_step=2, repeated_frames="first"))[5:] == (
        [("1", [2, 3], [0, 10])],
        [
            "1 repeated frames, the first of each kept",
            "1 frames with numbers of their own fall onto others by frame_step 2, the first of each kept",
        ],
    )
    falling = content(2, frame=np.array([7.0, 6]))
    assert only(falling, layout(frame=0, frame_step=2))[2] == "frame 6 comes after frame 7"
    # a step of one draws nothing together
    twice = content(2, frame=np.array([3.0, 3]))
    assert only(twice, layout(frame=0, frame_step=1))[1] == "frame_count"
    timed = content(2, time=np.array([3.0, 3.01]))
    assert only(timed, layout(time={"column": 0}))[5] == [("1", [0], [0])]


@pytest.mark.parametrize(("unit", "factor"), [("s", 1.0), ("ms", 1e3), ("us", 1e6)])
def test_time_stamps_are_rounded_to_frames_from_the_first_on(unit, factor):
    given = content(4, time=factor * (7 + np.array([0.0, 0.034, 0.1, 0.5])))
    found = only(given, layout(time={"column": 0, "unit": unit}), rate=30)
    assert found[3:] == (0, 15, [("1", [0, 1, 3, 15], [0, 10, 20, 30])], [])
    given = content(2, time=np.array([0, np.nan]))
    assert only(given, layout(time={"column": 0}))[1:] == ("bad_number", "row 2 has nan for a frame number")
    given = content(2, time=np.array([np.nan, np.nan]))
    assert only(given, layout(time={"column": 0}))[1:] == ("bad_number", "row 1 has nan for a frame number")
