"""Values to bodies by hand: axes, scales, what is absent or filled in, and which bodies a clip has."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from amr_data.errors import RejectError
from amr_data.readers.table.bodies import bone_steps, filled, tracks
from amr_data.readers.table.layout import Layout
from amr_data.readers.table.resolved import Resolved, resolve
from amr_data.readers.table.takes import Sighting
from amr_data.specs import DatasetSpec

CHAIN = {
    "name": "chain",
    "joints": ["a", "b", "c", "d"],
    "bones": [["a", "b"], ["b", "c"], ["c", "d"]],
    "parts": {"all": ["a", "b", "c", "d"]},
    "centre": "a",
    "spine": ["a", "b"],
    "shoulders": ["c", "d"],
}


def resolved(dimensions: int = 3, unbounded: bool = False, **layout: Any) -> Resolved:
    spec = DatasetSpec.model_validate(
        {
            "name": "mine",
            "title": "Mine",
            "raw": "table",
            "skeleton": CHAIN,
            "frame_rate": 10,
            "max_bodies": 2,
            "dimensions": dimensions,
        }
    )
    return replace(resolve(Layout.model_validate(layout), spec), unbounded=unbounded)


def body(frames: int = 3, joints: int = 4, axes: int = 3) -> np.ndarray:
    """Joint v of frame t lies at (t + 1, 10 v + 1, 100 v + t + 1)."""
    t, v = np.meshgrid(np.arange(frames), np.arange(joints), indexing="ij")
    return np.stack([t + 1.0, 10.0 * v + 1, 100.0 * v + t + 1], axis=-1)[..., :axes]


def seen(values: np.ndarray, frames: list[int] | None = None, name: str = "one") -> Sighting:
    numbers = range(len(values)) if frames is None else frames
    return Sighting(name, np.array(numbers, np.int64), values)


def only(values: np.ndarray, of: Resolved, frames: list[int] | None = None) -> tuple[Any, list[str]]:
    (track,), notes = tracks([seen(values, frames)], of, 0, 100)
    return track, notes


def refused(values: np.ndarray, of: Resolved, frames: list[int] | None = None) -> tuple[str, str]:
    with pytest.raises(RejectError) as error:
        tracks([seen(values, frames)], of, 0, 100)
    return error.value.reason, error.value.detail


def test_positions_as_they_stand():
    track, notes = only(body(), resolved(), [2, 3, 7])
    np.testing.assert_array_equal(track.joints, body())
    assert (track.frames.tolist(), track.body_id, track.slot, track.inferred) == ([2, 3, 7], "one", 0, None)
    assert notes == []


def test_joints_in_another_order_skipped_and_derived():
    layout = {"joints": ["d", None, "x", "a", "y"], "derived": {"b": ["x", "y"], "c": ["a"]}}
    values = body(1, 5)
    track, _ = only(values, resolved(**layout))
    expected = [values[0, 3], (values[0, 2] + values[0, 4]) / 2, values[0, 3], values[0, 0]]
    np.testing.assert_allclose(track.joints[0], expected)


def test_axes_scales_and_offsets():
    values = np.concatenate([np.full((3, 4, 1), 9.0), body()[..., ::-1]], axis=-1)
    layout = {
        "values": ["score", "z", "y", "x"],
        "unit": "cm",
        "scale": {"x": 2},
        "offset": {"y": 3},
        "axes": ["-z", "x", "y"],
    }
    track, _ = only(values, resolved(**layout))
    x, y, z = np.moveaxis(body(), -1, 0)
    np.testing.assert_allclose(track.joints, np.stack([-z / 100, 2 * x / 100, (y + 3) / 100], axis=-1))
    pixels = only(body(axes=2), resolved(2, values=["x", "y"], unit="pixel", image=[200, 100]))[0].joints
    np.testing.assert_allclose(pixels, np.stack([(x - 100) / 100, (50 - y) / 100, 0 * x], axis=-1))


def test_frames_between_two_numbers_the_end_left_out():
    values = body(5)
    (track,), _ = tracks([seen(values, [10, 11, 13, 14, 20])], resolved(), 11, 14)
    assert track.frames.tolist() == [0, 2]
    np.testing.assert_array_equal(track.joints, values[1:3])
    assert tracks([seen(values, [10, 11, 13, 14, 20])], resolved(), 15, 20) == ([], [])


def test_bodies_keep_their_place_but_where_a_column_names_them():
    absent = seen(np.zeros((3, 4, 3)), name="ghost")
    several = [seen(body(), name="one"), absent, seen(body() + 1, name="two")]
    for layout, slots in (({}, [0, 2]), ({"body": 0, "columns": [1]}, [0, 1])):
        found, _ = tracks(several, resolved(**layout), 0, 100)
        assert [(t.body_id, t.slot) for t in found] == list(zip(["one", "two"], slots, strict=True))


def test_a_body_of_zeros_or_of_no_number_is_a_gap_whatever_the_layout_says():
    values = body(4)
    values[1], values[2] = 0, np.nan
    track, notes = only(values, resolved())
    assert (track.frames.tolist(), track.inferred, notes) == ([0, 3], None, [])
    some = body(2, 5)
    some[1, :4] = 0  # the joint that is left is none of the skeleton's
    track, _ = only(some, resolved(joints=["a", "b", "c", "d", None]))
    assert track.frames.tolist() == [0]
    some[1, :4] = np.nan
    track, _ = only(some, resolved(joints=["a", "b", "c", "d", None]))
    assert track.frames.tolist() == [0]


RULES: list[dict[str, Any]] = [
    {"absent": ["zeros"]},
    {"absent": ["negative"]},
    {"absent": ["nan"]},
    {"absent_below": {"s": 0.5}},
]


@pytest.mark.parametrize("rule", RULES)
def test_a_body_that_is_not_there_is_a_gap_besides_what_the_layout_says(rule):
    values = np.concatenate([body(5), np.ones((5, 4, 1))], axis=-1)
    values[1, :, :3], values[2, :, :3] = 0, np.nan
    values[3, :, 0] = np.nan  # a coordinate of each joint is enough
    track, _ = only(values, resolved(values=["x", "y", "z", "s"], **rule))
    assert track.frames.tolist() == [0, 4]
    np.testing.assert_array_equal(track.joints, body(5)[[0, 4]])


def test_all_that_means_absence_counts_together():
    values = np.concatenate([body(2), np.ones((2, 4, 1))], axis=-1)
    values[0, 0, :3], values[0, 1, :3], values[0, 2, 1], values[0, 3, 3] = 0, -1, np.nan, 0
    values[1, 0, :3], values[1, 1, :3] = [0, -1, -1], [0.5, -1, -1]
    names = ["x", "y", "z", "s"]
    of = resolved(values=names, absent=["zeros", "negative", "nan"], absent_below={"s": 0.5}, min_joints=1)
    track, _ = only(np.concatenate([values, values[1:]]), of)
    assert track.frames.tolist() == [1, 2]
    values[0, 3, 3] = 1
    track, _ = only(values, of)
    assert np.argwhere(track.inferred).tolist() == [[0, 0], [0, 1], [0, 2]]


def test_an_absent_joint_is_no_far_one_whatever_the_offset():
    values = body(2)
    values[..., 0] -= 2000
    values[0, 1] = 0
    track, _ = only(values, resolved(absent=["zeros"], offset={"x": 2000}))
    np.testing.assert_allclose(track.joints[1], body(2)[1])
    assert track.joints[0, 1].tolist() == track.joints[1, 1].tolist()


def test_zeros_that_mean_absence_are_filled_in_and_marked():
    values = body(4)
    values[0, 1] = values[2, 1] = 0
    track, notes = only(values, resolved(absent=["zeros"]), [0, 2, 4, 8])
    assert track.joints[:, 1, 0].tolist() == [2, 2, 2 + 2 * 2 / 6, 4]
    assert track.joints[:, 1, 2].tolist() == [102, 102, 102 + 2 * 2 / 6, 104]
    assert np.argwhere(track.inferred).tolist() == [[0, 1], [2, 1]]
    assert notes == ["body one: 12.5% of its joints absent, filled in and marked as inferred"]
    half = body(2)
    half[0, 1] = [0, 0, 5]  # one coordinate is not 0
    assert only(half, resolved(absent=["zeros"]))[0].inferred is None
    assert only(values, resolved())[0].joints[0, 1].tolist() == [0, 0, 0]


def test_numbers_that_are_none():
    values = body(2)
    values[1, 2, 1] = np.nan
    track, _ = only(values, resolved(absent=["nan"]))
    assert track.joints[1, 2].tolist() == values[0, 2].tolist()
    assert np.argwhere(track.inferred).tolist() == [[1, 2]]
    says = "frame 9, joint 'c'; if that means an absent joint, say absent: [nan]"
    assert refused(values, resolved(), [4, 9]) == ("non_finite", says)
    extra = body(2, 5)
    extra[1, 0] = np.nan  # of a joint that nobody takes
    layout: dict[str, Any] = {"joints": [None, "a", "b", "c", "d"]}
    np.testing.assert_array_equal(only(extra, resolved(**layout))[0].joints, extra[:, 1:])
    extra[1, 3, 0] = np.nan
    assert refused(extra, resolved(**layout))[1].startswith("frame 1, joint 'c'; if")
    # zeros and a number that is none in one joint: it is absent already
    both = body(2)
    both[0, 1] = [-1, -1, -1]
    assert only(both, resolved(absent=["negative"]))[0].inferred[0, 1]
    both[0, 1, 2] = 1
    assert only(both, resolved(absent=["negative"]))[0].inferred is None


def test_infinite_and_far_positions_are_refused():
    values = body(3)
    values[1, 2, 0] = np.inf
    assert refused(values, resolved(), [4, 9, 11]) == ("non_finite", "frame 9, joint 'c' is infinite")
    values[1, 2, 0] = 1001
    assert refused(values, resolved(), [4, 9, 11]) == (
        "out_of_range",
        "frame 9, joint 3 (1-based) is at 1001 m",
    )
    assert only(values, resolved(unbounded=True))[0].joints[1, 2, 0] == 1001
    values[1, 2, 0] = np.inf
    values[1, 2, 1] = np.nan
    assert only(values, resolved(absent=["nan"]))[0].joints[1, 2].tolist() == [2, 21, 202]


def test_scores_below_a_limit_make_a_joint_absent_or_inferred():
    values = np.concatenate([body(3), np.full((3, 4, 1), 0.5)], axis=-1)
    values[0, 0, 3], values[1, 1, 3], values[2, 2, 3] = 0.1, np.nan, 0.4
    names = ["x", "y", "z", "s"]
    track, notes = only(values, resolved(values=names, inferred_below={"s": 0.4}))
    assert np.argwhere(track.inferred).tolist() == [[0, 0], [1, 1]]
    np.testing.assert_array_equal(track.joints, body(3))
    assert notes == []
    track, notes = only(values, resolved(values=names, absent_below={"s": 0.4}))
    assert np.argwhere(track.inferred).tolist() == [[0, 0], [1, 1]]
    assert track.joints[0, 0].tolist() == body(3)[1, 0].tolist()
    assert notes == ["body one: 16.7% of its joints absent, filled in and marked as inferred"]
    both = resolved(values=names, absent_below={"s": 0.4}, inferred_below={"s": 0.5})
    assert np.argwhere(only(values, both)[0].inferred).tolist() == [[0, 0], [1, 1], [2, 2]]
    two = np.concatenate([values, np.ones((3, 4, 1))], axis=-1)
    two[0, 3, 4] = 0
    either = resolved(values=[*names, "r"], inferred_below={"s": 0.4, "r": 0.5})
    assert np.argwhere(only(two, either)[0].inferred).tolist() == [[0, 0], [0, 3], [1, 1]]
    sure = np.concatenate([body(3), np.ones((3, 4, 1))], axis=-1)
    assert not only(sure, resolved(values=names, inferred_below={"s": 0.4}))[0].inferred.any()
    assert only(sure, resolved(values=names, absent_below={"s": 0.4}))[0].inferred is None


def test_a_derived_joint_is_absent_or_inferred_where_one_of_its_parts_is():
    values = np.concatenate([body(3, 5), np.ones((3, 5, 1))], axis=-1)
    values[1, 3, 3], values[2, 4, 3] = 0.3, 0.1
    layout = {
        "joints": ["a", "b", "c", "x", "y"],
        "derived": {"d": ["x", "y"]},
        "values": ["x", "y", "z", "s"],
        "absent_below": {"s": 0.2},
        "inferred_below": {"s": 0.4},
    }
    track, notes = only(values, resolved(**layout))
    assert np.argwhere(track.inferred).tolist() == [[1, 3], [2, 3]]
    assert track.joints[:, 3, 1].tolist() == [36, 36, 36]
    assert track.joints[:, 3, 2].tolist() == [351, 352, 352]  # the last is held from the frame before
    assert notes == ["body one: 8.3% of its joints absent, filled in and marked as inferred"]


def test_frames_with_too_few_joints_are_gaps():
    values = body(4)
    values[1, 1:], values[2, 2:] = 0, 0
    for least, frames in ((1, [0, 1, 2, 3]), (2, [0, 2, 3]), (3, [0, 3]), (4, [0, 3]), (9, [0, 3])):
        assert only(values, resolved(absent=["zeros"], min_joints=least))[0].frames.tolist() == frames
    assert tracks([seen(values[1:3])], resolved(absent=["zeros"], min_joints=3), 0, 9) == ([], [])


def test_joints_that_are_never_there_stand_at_the_nearest_along_the_bones():
    values = body(2)
    values[:, [0, 1, 3]] = 0
    track, _ = only(values, resolved(absent=["zeros"]))
    assert [track.joints[1, j].tolist() for j in range(4)] == [values[1, 2].tolist()] * 4
    values = body(2)
    values[:, 3] = 0
    track, _ = only(values, resolved(absent=["zeros"]))
    assert track.joints[:, 3].tolist() == values[:, 2].tolist()
    values = body(2)
    values[:, 1] = 0  # a and c are as near: the first of them
    values[1, 0] = 0
    track, _ = only(values, resolved(absent=["zeros"]))
    assert track.joints[:, 1].tolist() == track.joints[:, 0].tolist() == [values[0, 0].tolist()] * 2


def test_steps_along_bones():
    assert bone_steps(((0, 1), (1, 2), (1, 3))) == [
        [0, 1, 2, 2],
        [1, 0, 1, 1],
        [2, 1, 0, 2],
        [2, 1, 2, 0],
    ]
    skeleton = resolved().skeleton
    joints = body(3)
    gone = np.zeros((3, 4), bool)
    np.testing.assert_array_equal(filled(joints, gone, np.arange(3), skeleton), joints)
    gone[1, 2] = True
    assert filled(joints, gone, np.array([0, 3, 4]), skeleton)[1, 2].tolist() == [2.5, 21, 202.5]
    assert joints[1, 2].tolist() == [2, 21, 202]  # what was given is left alone
