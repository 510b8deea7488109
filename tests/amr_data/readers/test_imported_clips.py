"""Labels, positions and scores of other projects' arrays, and lists of names paired to splits, by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from amr_data.errors import RejectError
from amr_data.readers.imported_clips import MAX_PIXELS, MIN_SCORE, imported_clip, label_of, one_hot_label
from amr_data.readers.split_lists import paired
from amr_data.specs import NO_LABEL, DatasetSpec


@pytest.fixture
def space(own_spec: dict[str, Any]) -> DatasetSpec:
    """Three joints, the classes 3 and 8 as labels 0 and 1."""
    skeleton = {
        "name": "three",
        "joints": ["low", "high", "side"],
        "bones": [("high", "low"), ("side", "high")],
        "parts": {"all": ["low", "high", "side"]},
        "centre": "low",
        "spine": ("low", "high"),
        "shoulders": ("side", "high"),
    }
    return DatasetSpec.model_validate(own_spec | {"skeleton": skeleton})


@pytest.fixture
def plane(space: DatasetSpec) -> DatasetSpec:
    return space.changed(dimensions=2)


def refused(call: Any, *arguments: Any, **more: Any) -> tuple[str, str]:
    with pytest.raises(RejectError) as error:
        call(*arguments, **more)
    return error.value.reason, error.value.detail


@pytest.mark.parametrize(
    ("value", "label"),
    [
        (0, 0),
        (1, 1),
        (1.0, 1),
        (np.float32(1), 1),
        (np.uint8(1), 1),
        (np.array(1), 1),
        (np.array(1.0), 1),
        (-1, NO_LABEL),
        (-1.0, NO_LABEL),
        (None, NO_LABEL),
    ],
)
def test_labels_are_whole_numbers_of_a_class(space, value, label):
    found = label_of(value, space)
    assert (found, type(found)) == (label, int)
    assert label_of(value, space.unlabelled()) == NO_LABEL


@pytest.mark.parametrize(
    ("value", "detail"),
    [
        (2, "label 2 is not one of 0 to 1"),
        (2.0, "label 2 is not one of 0 to 1"),
        (-2, "label -2 is not one of 0 to 1"),
        (0.5, "label 0.5 is not a whole number"),
        (float("nan"), "label nan is not a whole number"),
        (np.float32("inf"), "label inf is not a whole number"),
        (-np.inf, "label -inf is not a whole number"),
        (True, "label of type bool is not a whole number"),
        ("1", "label of type str is not a whole number"),
        ([1], "label of type list is not a whole number"),
        (np.array([1]), "label of type ndarray is not a whole number"),
    ],
)
def test_what_is_no_label(space, value, detail):
    assert refused(label_of, value, space) == ("unknown_class", detail)


def test_one_hot_rows(space):
    assert [one_hot_label(np.array(row), space) for row in ([1, 0], [0, 1.0], [0, 0], [False, True])] == [
        0,
        1,
        NO_LABEL,
        1,
    ]
    for row in ([1, 1], [0, 0.5], [0, np.nan], [-1, 0], [2, 0]):
        assert refused(one_hot_label, np.array(row), space) == ("label_mismatch", "the label is not one-hot")
    assert refused(one_hot_label, np.array([0, 0, 1]), space)[1] == "label 2 is not one of 0 to 1"


def test_positions_stay_as_they_are_without_the_frames_of_zeros(space):
    keypoint = np.zeros((3, 4, 3, 3), np.float16)
    keypoint[0, [0, 1, 3]] = np.arange(27).reshape(3, 3, 3)
    keypoint[2, 2, 1, 2] = -5  # a single value makes a body
    score = np.full((3, 4, 3), MIN_SCORE)
    score[0, 3] = [0.19, np.nan, 1]
    clip = imported_clip("P7A3", 1, keypoint, "x:0", space, score=score, video="film")
    assert (clip.name, clip.label, clip.frames, clip.source, clip.video) == ("P7A3", 1, 4, "x:0", "film")
    assert (clip.subject, clip.camera) == (7, -1)
    assert [(t.slot, t.body_id, t.frames.tolist()) for t in clip.tracks] == [
        (0, "1", [0, 1, 3]),
        (2, "3", [2]),
    ]
    assert [t.joints.dtype for t in clip.tracks] == [np.float64] * 2
    np.testing.assert_array_equal(clip.tracks[0].joints, np.arange(27).reshape(3, 3, 3))
    assert clip.tracks[1].joints[0].tolist() == [[0, 0, 0], [0, 0, -5], [0, 0, 0]]
    sure = [False, False, False]
    assert clip.tracks[0].inferred.tolist() == [sure, sure, [True, True, False]]
    plain = imported_clip("other", -1, keypoint, "x:0", space)
    assert (plain.tracks[0].inferred, plain.subject, plain.video) == (None, -1, "")


def test_pixels_are_counted_in_image_heights_from_the_centre(plane):
    keypoint = np.zeros((1, 2, 3, 2), np.int16)
    keypoint[0, 1] = [[320, 100], [0, 0], [640, 200]]
    for shape in ((200, 640), [np.int32(200), 640]):
        clip = imported_clip("a", 0, keypoint, "x", plane, img_shape=shape)
        assert [t.frames.tolist() for t in clip.tracks] == [[1]]
        assert clip.tracks[0].joints.tolist() == [[[0, 0, 0], [-1.6, 0.5, 0], [1.6, -0.5, 0]]]
    ours = np.array([[[[0.5, -0.25, 0], [0, 0.1, 0], [0.3, 0, 0]]]])
    assert imported_clip("a", 0, ours, "x", plane).tracks[0].joints.tolist() == ours[0].tolist()


@pytest.mark.parametrize(
    ("shape", "kind", "detail"),
    [
        ((1, 2, 4, 3), "joint_count", "(4, 3) values a body, the skeleton has (3, 3)"),
        ((1, 2, 3, 4), "joint_count", "(3, 4) values a body, the skeleton has (3, 3)"),
        ((1, 2, 3, 1), "joint_count", "(3, 1) values a body, the skeleton has (3, 3)"),
        ((0, 2, 3, 3), "no_body", "2 frames, 0 bodies"),
        ((2, 0, 3, 3), "no_body", "0 frames, 2 bodies"),
        (
            (1, 2, 3, 2),
            "dimensions",
            "keypoints in two dimensions; mine has three (a spec's `dimensions: 2` has two)",
        ),
    ],
)
def test_arrays_that_are_no_bodies_in_space(space, shape, kind, detail):
    assert refused(imported_clip, "a", 0, np.ones(shape), "x", space) == (kind, detail)


def test_arrays_that_are_no_bodies_in_an_image(plane):
    says = ("dimensions", "keypoints in three dimensions; mine has two")
    assert refused(imported_clip, "a", 0, np.ones((1, 2, 3, 3)), "x", plane) == says
    pixels = np.ones((1, 2, 3, 2))
    says = ("not_skeleton", "keypoints in pixels without img_shape, the image's height and width")
    for shape in (None, (1,), (1, 2, 3), "ab", (1.0, 2), (1, 0), (0, 1), (1, -1), (1, MAX_PIXELS + 1)):
        assert refused(imported_clip, "a", 0, pixels, "x", plane, img_shape=shape) == says
    for shape in ((1, 1), (MAX_PIXELS, MAX_PIXELS)):
        assert imported_clip("a", 0, pixels, "x", plane, img_shape=shape).frames == 2


def test_bodies_that_are_nowhere_or_too_far(space):
    keypoint = np.zeros((1, 5, 3, 3))
    assert refused(imported_clip, "a", 0, keypoint, "x", space) == ("no_body", "5 frames, all zeros")
    keypoint[0, 3, 1, 2] = 1001
    assert refused(imported_clip, "a", 0, keypoint, "x", space) == (
        "out_of_range",
        "frame 3, joint 2 (1-based) is at 1001 m",
    )
    keypoint[0, 4, 2, 0] = np.nan
    assert refused(imported_clip, "a", 0, keypoint, "x", space) == (
        "non_finite",
        "frame 4, joint 3 (1-based), in 1 joints in all",
    )


@pytest.mark.parametrize(
    ("score", "found"),
    [
        (np.ones((1, 2, 2)), "(1, 2, 2)"),
        (np.ones((1, 2, 3), int), "(1, 2, 3)"),
        ([[[1.0] * 3] * 2], "list"),
        (1.0, "float"),
    ],
)
def test_scores_are_one_a_joint(space, score, found):
    assert refused(imported_clip, "a", 0, np.ones((1, 2, 3, 3)), "x", space, score=score) == (
        "joint_count",
        f"the scores are {found}, the keypoints (1, 2, 3)",
    )


def rules(**lists: list[str]) -> dict[str, tuple[list, list, list]]:
    found = paired(lists)
    assert {r.by for r in found.values()} <= {"name"}
    return {n: (r.train, r.test, r.validation) for n, r in found.items()}


def test_lists_are_parts_of_the_split_that_the_rest_of_their_name_is():
    assert rules(train=["a"], val=["b"]) == {"split": (["a"], ["b"], [])}
    assert rules(train=["a"], test=["b"], val=["c"]) == {"split": (["a"], ["b"], ["c"])}
    assert rules(
        Training2=["a"], TESTING_2=["b"], **{"2-validation": ["c"], "train 3": ["d"], "val.3": []}
    ) == {
        "split2": (["a"], ["b"], ["c"]),
        "split3": (["d"], [], []),
    }
    assert rules(sub_train_a=["a"], sub_valid_a=["b"]) == {"sub_a": (["a"], ["b"], [])}
    assert rules(xval_train=["a"], xval_test=["b"]) == {"xval": (["a"], ["b"], [])}
    assert paired({}) == {}


@pytest.mark.parametrize(
    ("lists", "says"),
    [
        (["trainer"], "the list trainer is neither called train nor test nor val, as xsub_train would be"),
        (["all"], "the list all is neither called train nor test nor val, as xsub_train would be"),
        (["a_train", "train-a"], "the lists a_train and train-a are the same part of one split"),
        (["a_valid", "a_val"], "the lists a_valid and a_val are the same part of one split"),
        (
            ["a_test", "a_val", "train", "val"],
            "no split comes out of a_test, a_val; the lists are a_test, a_val, train, val, and go in pairs "
            "such as train and test, or xsub_train and xsub_val",
        ),
        (
            ["train"],
            "no split comes out of train; the lists are train, and go in pairs such as train and test, or "
            "xsub_train and xsub_val",
        ),
    ],
)
def test_lists_without_a_counterpart(lists, says):
    with pytest.raises(ValueError, match="list") as error:
        paired({name: [name] for name in lists})
    assert str(error.value) == says


def test_a_name_in_two_parts_is_told_with_its_split():
    with pytest.raises(ValueError, match=r"^split x: b is in train and in validation$"):
        paired({"x_train": ["a", "b"], "x_test": ["c"], "x_val": ["b"]})
