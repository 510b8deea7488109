"""Specs: valid, complete, and equal to what the literature counts."""

from __future__ import annotations

import re

import numpy as np
import pytest
import yaml

from amr_data.errors import UsageError
from amr_data.specs import load_skeleton, load_spec, spec_names


def test_all_built_in_specs_load():
    assert spec_names() == ["ntu120", "ntu60", "nw-ucla", "pku-mmd-1", "pku-mmd-2"]
    sizes = {name: len(load_spec(name).classes) for name in spec_names()}
    assert sizes == {"ntu60": 60, "ntu120": 120, "pku-mmd-1": 51, "pku-mmd-2": 51, "nw-ucla": 10}


def test_unusable_lists_have_the_published_length():
    assert len(set(load_spec("ntu60").unusable)) == 302
    assert len(set(load_spec("ntu120").unusable)) == 535


@pytest.mark.parametrize(
    ("dataset", "protocol", "train", "test"),
    [
        ("ntu60", "xsub", 40_091, 16_487),
        ("ntu60", "xview", 37_646, 18_932),
        ("ntu120", "xsub", 63_026, 50_919),
        ("ntu120", "xset", 54_468, 59_477),
    ],
)
def test_protocols_give_the_published_counts(genuine, dataset, protocol, train, test):
    spec = load_spec(dataset)
    rule = spec.protocols[protocol]
    names = genuine(f"ntu-rgbd/available_{dataset}.txt").read_text().split()
    values = [spec.parse_name(n)[rule.by] for n in names]
    sides = rule.assign(values)
    assert [int((sides == s).sum()) for s in (0, 1, -1)] == [train, test, 0]
    assert not set(names) & set(spec.unusable)


def test_skeletons():
    v2, v1 = load_skeleton("kinect_v2"), load_skeleton("kinect_v1")
    assert (len(v2.joints), len(v1.joints)) == (25, 20)
    # the bone list of the NTU documents, 1-based
    text = "(1,2) (2,21) (3,21) (4,3) (5,21) (6,5) (7,6) (8,7) (9,21) (10,9) (11,10) (12,11) (13,1) (14,13) "
    text += "(15,14) (16,15) (17,1) (18,17) (19,18) (20,19) (22,23) (23,8) (24,25) (25,12)"
    assert (v2.bone_indices + 1).tolist() == [
        [int(a), int(b)] for a, b in re.findall(r"\((\d+),(\d+)\)", text)
    ]
    assert v2.index(v2.centre) == 1
    assert v1.index(v1.centre) == 1
    for skeleton in (v1, v2):
        assert all(a.replace("left", "right") == b for a, b in skeleton.symmetric)


def test_names_are_parsed():
    spec = load_spec("ntu120")
    assert spec.parse_name("S018C002P044R001A120") == {
        "setup": 18,
        "camera": 2,
        "subject": 44,
        "replication": 1,
        "action": 120,
    }
    assert spec.parse_name("S018C002P044R001A120.bak") is None
    assert load_spec("pku-mmd-2").parse_name("A03N07-M") == {"setup": 3, "subject": 7, "camera": 2}


def test_a_users_own_spec(tmp_path, own_spec):
    (tmp_path / "names.txt").write_text("P1A3\nP2A8\n")
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({**own_spec, "unusable": "names.txt"}))
    spec = load_spec(str(path))
    assert (spec.label(8), spec.label(4), spec.unusable) == (1, None, ["P1A3", "P2A8"])
    np.testing.assert_array_equal(spec.protocols["xsub"].assign([2, 1, 7]), [1, 0, -1])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"colour": 1}, "colour"),
        ({"raw": "bvh"}, "raw"),
        ({"naming": "A(?P<action"}, "regular expression"),
        ({"naming": "(?P<person>.)A(?P<action>.)"}, "person"),
        ({"mutual": [5]}, "mutual names class 5"),
        ({"skeleton": "kinect_v3"}, "did you mean 'kinect_v2'"),
        ({"frame_rate": 0}, "frame_rate"),
        ({"protocols": {"x": {"by": "camera", "train": [1], "test": [2]}}}, "does not capture"),
        ({"protocols": {"x": {"by": "subject", "train": [1], "test": [1]}}}, "in train and in test"),
        ({"protocols": {"x": {"by": "subject", "train": ["a"], "test": [1]}}}, "cannot list 'a'"),
        ({"unusable": "no-such-list.txt"}, "no-such-list"),
        ({"classes": {}}, "classes"),
        ({"protocols": 3}, "mine.yaml"),
    ],
)
def test_a_wrong_spec_is_refused_by_field(tmp_path, own_spec, changes, says):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({**own_spec, **changes}))
    with pytest.raises(UsageError, match=re.escape(says)):
        load_spec(str(path))


@pytest.mark.parametrize("text", ["[1, 2", "- a\n- b", "!!python/object/apply:os.system ['true']"])
def test_a_file_that_is_no_spec(tmp_path, text):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(UsageError, match=r"mine\.yaml"):
        load_spec(str(tmp_path / "mine.yaml"))


def test_an_unknown_dataset_names_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'ntu60'"):
        load_spec("ntu-60")
