"""Joints by anatomical names: what a place is composed of, and skeletons as matrices of names."""

from __future__ import annotations

import numpy as np
import pytest

from amr_data import UsageError
from amr_data.specs import (
    Skeleton,
    common_vocabulary,
    load_skeleton,
    name_matrix,
    names_in,
    shares_of,
    skeleton_names,
)

TINY = {
    "name": "tiny",
    "joints": ["hip", "chest", "paw"],
    "bones": [("chest", "hip"), ("paw", "chest")],
    "parts": {"all": ["hip", "chest", "paw"]},
    "centre": "hip",
    "spine": ("hip", "chest"),
    "shoulders": ("hip", "paw"),
}


def test_a_place_is_a_name_or_composed_of_names():
    assert shares_of("head") == {"head": 1}
    assert shares_of("midpoint of left_wrist and left_hand") == {"left_wrist": 0.5, "left_hand": 0.5}
    assert shares_of({"a": 0.75, "b": 0.25}) == {"a": 0.75, "b": 0.25}


@pytest.mark.parametrize(
    "place",
    ["midpoint of a", "midpoint of a and a", "midpoint of a and b and c", {"a": 0.5}, {"a": 2, "b": -1}, {}],
)
def test_a_place_that_cannot_be_is_refused(place):
    with pytest.raises(ValueError, match=r"share|midpoint"):
        shares_of(place)
    with pytest.raises(ValueError, match=r"share|midpoint"):
        Skeleton.model_validate({**TINY, "counterparts": {"paw": place}})


def test_the_matrix_of_a_skeleton_by_hand():
    places = {"hip": "base_of_spine", "chest": {"spine_at_shoulders": 0.25, "middle_of_spine": 0.75}}
    skeleton = Skeleton.model_validate({**TINY, "counterparts": places})
    assert skeleton.common_names == [
        "base_of_spine",
        "chest",
        "paw",
    ]  # composed: nobody else's
    names = names_in(skeleton.shares)
    assert names == ["base_of_spine", "middle_of_spine", "spine_at_shoulders", "paw"]  # own names last
    matrix = name_matrix(skeleton.shares, names)
    assert matrix.tolist() == [[1, 0, 0, 0], [0, 0.75, 0.25, 0], [0, 0, 0, 1]]
    with pytest.raises(UsageError, match="'spine_at_shoulders' is not among the 2 names"):
        name_matrix(skeleton.shares, ["base_of_spine", "middle_of_spine"])


@pytest.mark.parametrize("name", skeleton_names())
def test_every_joint_of_a_built_in_skeleton_has_a_place_of_its_own(name):
    skeleton = load_skeleton(name)
    names = names_in(skeleton.shares)
    assert set(names) <= set(common_vocabulary())
    matrix = name_matrix(skeleton.shares, names)
    np.testing.assert_allclose(matrix.sum(axis=1), 1)
    assert len(np.unique(matrix, axis=0)) == len(skeleton.joints)


def test_sensors_meet_in_names():
    """OpenNI's hands lie between Kinect's wrists and hands, its feet where Kinect has the ankles."""
    openni, kinect = load_skeleton("openni_15"), load_skeleton("kinect_v1")
    shares = dict(zip(openni.joints, openni.shares, strict=True))
    assert shares["left_hand"] == {"left_wrist": 0.5, "left_hand": 0.5}
    assert shares["right_foot"] == {"right_ankle": 1}
    assert set(names_in(openni.shares)) <= set(names_in(kinect.shares))
    assert openni.common_names[5] == "left_hand"  # encoders that know joints by number see what they saw
