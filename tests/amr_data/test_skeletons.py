"""The built-in skeletons against what their makers number and draw."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from amr_data.specs import Skeleton, load_skeleton, skeleton_names

# the number of a few joints that pin the order down, as the makers' own lists count from 0
NUMBERS = {
    "openni_15": {
        "head": 0,
        "neck": 1,
        "torso": 2,
        "left_hand": 5,
        "right_hand": 8,
        "left_hip": 9,
        "right_foot": 14,
    },
    "kinect_azure_32": {
        "pelvis": 0,
        "spine_chest": 2,
        "left_clavicle": 4,
        "left_thumb": 10,
        "right_shoulder": 12,
        "left_hip": 18,
        "right_foot": 25,
        "head": 26,
        "nose": 27,
        "left_eye": 28,
        "left_ear": 29,
        "right_ear": 31,
    },
    "mediapipe_33": {
        "nose": 0,
        "left_eye_inner": 1,
        "right_eye_outer": 6,
        "left_ear": 7,
        "mouth_right": 10,
        "left_shoulder": 11,
        "right_wrist": 16,
        "left_pinky": 17,
        "right_index": 20,
        "left_thumb": 21,
        "left_hip": 23,
        "right_heel": 30,
        "left_foot_index": 31,
    },
    "coco_17": {
        "nose": 0,
        "left_eye": 1,
        "right_ear": 4,
        "left_shoulder": 5,
        "right_wrist": 10,
        "right_ankle": 16,
    },
    "openpose_25": {
        "nose": 0,
        "neck": 1,
        "right_shoulder": 2,
        "left_wrist": 7,
        "mid_hip": 8,
        "right_ankle": 11,
        "right_eye": 15,
        "left_ear": 18,
        "left_big_toe": 19,
        "left_heel": 21,
        "right_heel": 24,
    },
    "h36m_17": {
        "pelvis": 0,
        "right_hip": 1,
        "left_ankle": 6,
        "thorax": 8,
        "head": 10,
        "left_shoulder": 11,
        "right_wrist": 16,
    },
    "smpl_24": {
        "pelvis": 0,
        "right_hip": 2,
        "spine1": 3,
        "spine3": 9,
        "right_foot": 11,
        "head": 15,
        "left_hand": 22,
    },
}
SIZES = {name: int(name.rpartition("_")[2]) for name in NUMBERS}
# SMPL's kinematic tree as its model file has it: the parent of each joint from 1 on
SMPL_PARENTS = [0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21]


@pytest.mark.parametrize("name", list(NUMBERS))
def test_joints_are_in_their_makers_order(name):
    skeleton = load_skeleton(name)
    assert len(skeleton.joints) == SIZES[name]
    assert {joint: skeleton.index(joint) for joint in NUMBERS[name]} == NUMBERS[name]


@pytest.mark.parametrize("name", skeleton_names())
def test_left_and_right_mirror_each_other(name):
    skeleton = load_skeleton(name)
    sides = [j for j in skeleton.joints if "left" in j]
    assert [pair[0] for pair in skeleton.symmetric] == sides
    assert all(b == a.replace("left", "right") for a, b in skeleton.symmetric)
    mirror = dict(skeleton.symmetric) | {b: a for a, b in skeleton.symmetric}
    bones = set(skeleton.bones)
    # a tree without a joint in the middle of the body hangs both sides on the same joint, so it mirrors too
    assert {(mirror.get(a, a), mirror.get(b, b)) for a, b in bones} == bones
    assert list(skeleton.parts) == ["torso", "left_arm", "left_leg", "right_arm", "right_leg"]
    for part in ("arm", "leg"):
        left, right = skeleton.parts[f"left_{part}"], skeleton.parts[f"right_{part}"]
        assert [mirror[j] for j in left] == right
    assert skeleton.shoulders == ("right_shoulder", "left_shoulder")


@pytest.mark.parametrize("name", skeleton_names())
def test_counterparts_are_kinect_v2_joints_and_no_name_means_two_joints(name):
    skeleton, kinect = load_skeleton(name), load_skeleton("kinect_v2")
    other = {n for j, n in zip(skeleton.joints, skeleton.common_names, strict=True) if n != j}
    assert other <= set(kinect.joints)
    assert len(set(skeleton.common_names)) == len(skeleton.joints)


def test_smpl_hangs_together_as_its_model_does():
    skeleton = load_skeleton("smpl_24")
    parent = dict(skeleton.bones)
    assert [skeleton.index(parent[j]) for j in skeleton.joints[1:]] == SMPL_PARENTS


def test_the_documents_skeleton_is_one():
    page = (Path(__file__).parents[2] / "docs" / "adding-a-dataset.md").read_text(encoding="utf-8")
    block = re.search(r"```yaml\n(skeleton:.*?)```", page, re.S)
    assert block is not None
    assert len(Skeleton.model_validate(yaml.safe_load(block[1])["skeleton"]).joints) == 6
