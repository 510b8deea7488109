"""What names, classes and skeletons of a spec mean, field by field and by hand."""

from __future__ import annotations

from typing import Any

import pytest

from amr_data.errors import UsageError
from amr_data.specs import DatasetSpec, load_skeleton, load_spec
from amr_data.specs.skeleton import Skeleton


@pytest.fixture
def make(own_spec: dict[str, Any]):
    own_spec["skeleton"] = load_skeleton("kinect_v2").model_dump()
    return lambda **changes: DatasetSpec.model_validate({**own_spec, **changes})


def test_labels_follow_the_order_of_the_classes_not_their_numbers(make):
    spec = make(classes={8: "bow", 3: "Wave", 0: "rub_two-hands"}, mutual=[3])
    assert spec.class_ids == [8, 3, 0]
    assert spec.class_names == ["bow", "Wave", "rub_two-hands"]
    assert [spec.label(action) for action in (8, 3, 0, 1, -1)] == [0, 1, 2, None, None]
    assert [spec.class_title(label) for label in (0, 2, -1)] == ["8 bow", "0 rub_two-hands", "no label"]
    assert make(classes=["a", "b"]).classes == {1: "a", 2: "b"}


def test_a_class_is_told_by_number_or_by_name(make):
    spec = make(classes={8: "bow", 3: "Wave", 12: "rub_two-hands"})
    texts = (
        "8",
        "08",
        "7",
        "wave",
        "RUB TWO  HANDS",
        " bow ",
        "bo w",
        "3x",
        "-3",
        "2147483647",
        "2147483648",
    )
    assert [spec.action(t) for t in texts] == [8, 8, 7, 3, 12, 8, None, None, None, 2147483647, None]


def test_a_class_that_is_called_by_a_number_is_told_by_its_name_first(make):
    spec = make(classes={1: "10", 10: "x", 4: "7 "}, naming="(?P<subject>[0-9a-z]+)_(?P<action>[0-9a-z]+)")
    assert [spec.action(t) for t in ("10", " 10 ", "1", "x", "7", "4", "5")] == [1, 1, 1, 10, 4, 4, 5]
    assert spec.parse_name("10_10") == {"subject": 10, "action": 1}  # a person is no class
    assert spec.parse_name("x_10") is None


def test_what_stands_for_a_space_does_not_count_at_the_ends_either(make):
    spec = make(classes={8: "bow", 3: "-wave hand_"})
    assert [spec.action(t) for t in ("_bow_", "- bow", "wave-hand", "_Wave  Hand", "wavehand")] == [
        8,
        8,
        3,
        3,
        None,
    ]


def test_names_say_numbers_codes_and_classes(make):
    spec = make(
        naming="(?P<camera>[A-Z0-9]+)_(?P<subject>[A-Z0-9]+)_(?P<action>[^_]+)(_(?P<setup>[0-9]+))?",
        codes={"camera": {"L": 1, "7": 70}},
        camera_codes={"R": 3},
    )
    assert spec.parse_name("L_05_wave") == {"camera": 1, "subject": 5, "action": 3}
    assert spec.parse_name("7_05_8_2") == {"camera": 70, "subject": 5, "action": 8, "setup": 2}
    assert spec.parse_name("R_05_wave") is None  # codes of the field stand in place of camera_codes
    assert spec.parse_name("L_L_wave") is None  # and concern no other field
    assert spec.parse_name("L_05_jump") is None
    assert spec.parse_name("L_05_wave_2_3") is None
    assert spec.parse_name("xL_05_wave") is None
    assert spec.parse_name("L_99999999999_wave") is None
    spec = make(naming="(?P<camera>[A-Z0-9]+)_(?P<subject>[A-Z]+|[0-9]+)", camera_codes={"R": 3}, classes={})
    spec_names = [spec.parse_name(n) for n in ("R_5", "4_5", "L_5", "R_R")]
    assert spec_names == [{"camera": 3, "subject": 5}, {"camera": 4, "subject": 5}, None, None]
    assert make(naming=None, classes={}, protocols={}).parse_name("whatever") == {}
    # what is absent hides nothing that comes after it
    spec = make(naming="((?P<setup>[0-9])-)?(?P<subject>[0-9])(?P<action>[0-9])")
    assert spec.parse_name("53") == {"subject": 5, "action": 3}


@pytest.mark.parametrize(
    ("naming", "path", "name"),
    [
        (None, "a/b/c.json", "a/b/c"),
        (None, "a.b/c", "a.b/c"),
        (None, ".hidden", ".hidden"),
        (None, "x.tar.gz", "x.tar"),
        ("[a-z]", "a/b/c.json", "c"),
        ("[a-z]/[a-z]", "a/b/c.json", "b/c"),
        ("[a-z]/[a-z]/[a-z]", "b/c.json", "b/c"),
    ],
)
def test_the_part_of_a_path_that_is_a_name(make, naming, path, name):
    assert make(naming=naming, classes={}, protocols={}).name_of(path) == name


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"naming": "(?P<shoe>.)(?P<actor>.)"},
            "naming has the group 'actor'; there are subject, camera, setup",
        ),
        ({"codes": {"shoe": {"L": 1}}}, "codes has the field 'shoe'; there are subject"),
        ({"naming": "("}, "naming is not a regular expression: missing"),
        ({"mutual": [3, 4]}, "mutual names class 4, which is not in classes"),
        ({"classes": {1: "Wave", 2: "bow", 3: "wAVE"}}, "two classes are called 'wave'"),
        ({"example": "P1B3"}, "the example 'P1B3' does not follow naming"),
        ({"classes": {-1: "x"}}, "greater than or equal to 0"),
        ({"frame_rate": 0}, "greater than 0"),
        ({"frame_rate": 10_001}, "less than or equal to 10000"),
        ({"max_bodies": 0}, "greater than or equal to 1"),
        ({"max_bodies": 9}, "less than or equal to 8"),
        ({"dimensions": 4}, "dimensions"),
        ({"title": ""}, "title"),
    ],
)
def test_a_spec_that_cannot_be_is_refused(make, changes, says):
    with pytest.raises(ValueError, match=says):
        make(**changes)


def test_what_families_ask_of_names(make):
    make().need_names()
    make(naming="(?P<subject>.)").need_names(action=False)
    make(naming="(?P<subject>.)", classes={}).need_names()
    make(naming=None, classes={}, protocols={"p": {"by": "name", "train": ["a"], "test": ["b"]}}).need_names()
    with pytest.raises(ValueError, match="naming needs the group 'action'"):
        make(naming="(?P<subject>.)").need_names()
    with pytest.raises(ValueError, match="split xsub goes by subject, which naming does not capture"):
        make(naming="(?P<action>.)").need_names()


def test_how_names_look_to_people(make):
    assert make(example="P1A3").named_like == "a name like P1A3"
    assert make(naming="(?P<action>.)").named_like == "a name that matches (?P<action>.)"
    assert (make().unit, make(dimensions=2).unit) == ("metres", "image heights")


def test_the_same_files_without_names(make):
    spec = make(example="P1A3", mutual=[3], unusable=["P1A3"]).unlabelled()
    assert (spec.naming, spec.example, spec.classes, spec.mutual) == (None, "", {}, [])
    assert (spec.protocols, spec.unusable) == ({}, [])
    assert (spec.name, spec.raw, spec.frame_rate) == ("mine", "ntu", 25)


def test_splits_by_name(make):
    spec = make()
    assert spec.protocol("xsub").train == [1]
    with pytest.raises(
        UsageError, match=r"there is no split 'xsup' of mine: did you mean 'xsub'\? known: xsub"
    ):
        spec.protocol("xsup")
    with pytest.raises(UsageError, match=r"there is no split 'x' of mine: known: all \(every clip trains\)"):
        make(protocols={}).protocol("x")
    folded = make(protocols={"f": {"by": "subject", "folds": 2}}).with_folds({"subject": [1, 2, 3]})
    assert {n: r.test for n, r in folded.protocols.items()} == {"f1": [1, 3], "f2": [2]}
    assert list(make(protocols={"f": {"by": "subject", "folds": [[1], [2]]}}).protocols) == ["f1", "f2"]


TINY: dict[str, Any] = {
    "name": "tiny",
    "joints": ["hip", "neck", "left", "right"],
    "bones": [("neck", "hip"), ("left", "neck"), ("right", "neck")],
    "symmetric": [("left", "right")],
    "parts": {"trunk": ["hip", "neck"], "arms": ["left", "right"]},
    "centre": "hip",
    "spine": ("hip", "neck"),
    "shoulders": ("right", "left"),
    "counterparts": {"hip": "pelvis"},
}


def test_a_skeleton_by_hand():
    skeleton = Skeleton.model_validate(TINY)
    assert skeleton.common_names == ["pelvis", "neck", "left", "right"]
    assert [skeleton.index(j) for j in skeleton.joints] == [0, 1, 2, 3]
    assert skeleton.bone_indices.tolist() == [[1, 0], [2, 1], [3, 1]]
    assert skeleton.bone_indices.dtype == "int64"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"joints": ["hip", "neck", "left", "left"]}, "a joint name occurs twice"),
        ({"bones": [("neck", "hip"), ("left", "neck"), ("tail", "neck")]}, "'tail' is not one of the joints"),
        ({"symmetric": [("left", "tail")]}, "'tail' is not one"),
        ({"symmetric": [("left", "right"), ("left", "neck")]}, "symmetric names 'left' twice"),
        ({"symmetric": [("left", "left")]}, "symmetric names 'left' twice"),
        ({"parts": {"all": ["hip", "neck", "left", "right", "tail"]}}, "'tail' is not one"),
        ({"centre": "tail"}, "'tail' is not one"),
        ({"spine": ("hip", "tail")}, "'tail' is not one"),
        ({"shoulders": ("tail", "left")}, "'tail' is not one"),
        ({"counterparts": {"tail": "x"}}, "'tail' is not one"),
        ({"parts": {"all": ["hip", "neck", "left"]}}, "parts must hold every joint exactly once"),
        (
            {"parts": {"a": ["hip", "neck", "left", "right"], "b": ["hip"]}},
            "parts must hold every joint exactly",
        ),
        ({"bones": [("neck", "hip"), ("left", "neck")]}, "bones must form a tree"),
        ({"bones": [("neck", "hip"), ("left", "neck"), ("left", "hip")]}, "bones must form a tree"),
        (
            {"bones": [("neck", "left"), ("left", "right"), ("right", "neck")]},
            "bones form a ring through 'neck'",
        ),
        (
            {"bones": [("neck", "hip"), ("left", "right"), ("right", "left")]},
            "bones form a ring through 'left'",
        ),
        ({"joints": ["hip"], "bones": []}, "at least 2"),
        ({"hands": 2}, "hands"),
    ],
)
def test_a_skeleton_that_cannot_be_is_refused(changes, says):
    with pytest.raises(ValueError, match=says):
        Skeleton.model_validate({**TINY, **changes})


def test_a_chain_of_any_length_is_no_ring():
    joints = [f"j{i}" for i in range(60)]
    bones = [(f"j{i}", f"j{i + 1}") for i in range(59)]
    changes = {
        "joints": joints,
        "bones": bones,
        "parts": {"all": joints},
        "symmetric": [],
        "counterparts": {},
    }
    ends = {"centre": "j0", "spine": ("j0", "j9"), "shoulders": ("j1", "j2")}
    assert len(Skeleton.model_validate({**TINY, **changes, **ends}).bone_indices) == 59


def test_built_in_names_keep_their_meaning():
    spec = load_spec("pku-mmd-1")
    assert [spec.parse_name(f"0002-{c}")["camera"] for c in "LMR"] == [1, 2, 3]
    name = load_spec("ntu60").parse_name("S001C002P003R004A005")
    assert name == {"setup": 1, "camera": 2, "subject": 3, "replication": 4, "action": 5}
