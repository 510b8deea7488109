"""Specs: valid, complete, and equal to what the literature counts."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
import yaml

from amr_data.errors import UsageError, unknown
from amr_data.readers import check_spec
from amr_data.specs import TEST, TRAIN, UNASSIGNED, VALIDATION, Protocol, load_skeleton, load_spec, spec_names


def test_all_built_in_specs_load():
    for name in spec_names():
        check_spec(load_spec(name))
    sizes = {"ntu60": 60, "ntu120": 120, "pku-mmd-1": 51, "pku-mmd-2": 51, "nw-ucla": 10}
    assert {name: len(load_spec(name).classes) for name in sizes} == sizes


def test_only_where_no_class_tells_left_from_right_a_spec_says_so():
    handed = {name: load_spec(name).handed for name in spec_names()}
    alike = {"ntu60", "ntu120", "pku-mmd-1", "pku-mmd-2", "nw-ucla", "sbu"}
    assert {name for name, said in handed.items() if said is False} == alike
    assert {name for name, said in handed.items() if said} == {"utd-mhad"}
    for name, said in handed.items():
        classes = " ".join(load_spec(name).class_names)
        assert bool(re.search(r"\b(left|right|clockwise)\b", classes)) == bool(said), name


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
        ({"raw": "nut"}, "did you mean 'ntu'"),
        ({"naming": "A(?P<action"}, "regular expression"),
        ({"naming": "(?P<person>.)A(?P<action>.)"}, "person"),
        ({"mutual": [5]}, "mutual names class 5"),
        ({"skeleton": "kinect_v3"}, "did you mean 'kinect_v2'"),
        ({"frame_rate": 0}, "frame_rate"),
        ({"protocols": {"x": {"by": "camera", "train": [1], "test": [2]}}}, "does not capture"),
        ({"protocols": {"x": {"by": "subject", "train": [1], "test": [1]}}}, "in train and in test"),
        ({"protocols": {"x": {"by": "subject", "train": ["a"], "test": [1]}}}, "cannot list 'a'"),
        ({"unusable": "no-such-list.txt"}, "no-such-list"),
        ({"classes": {1: "a", 2: "A"}}, "two classes are called 'a'"),
        ({"example": "S1"}, "the example 'S1' does not follow naming"),
        ({"layout": {"unit": "m"}}, "layout belongs to other families"),
        ({"codes": {"colour": {"r": 1}}}, "colour"),
        ({"protocols": 3}, "mine.yaml"),
    ],
)
def test_a_wrong_spec_is_refused_by_field(tmp_path, own_spec, changes, says):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({**own_spec, **changes}))
    with pytest.raises(UsageError, match=re.escape(says)):
        check_spec(load_spec(str(path)))


@pytest.mark.parametrize("text", ["[1, 2", "- a\n- b", "!!python/object/apply:os.system ['true']"])
def test_a_file_that_is_no_spec(tmp_path, text):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(UsageError, match=r"mine\.yaml"):
        load_spec(str(tmp_path / "mine.yaml"))


def test_an_unknown_dataset_names_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'ntu60'"):
        load_spec("ntu-60")


def own_file(tmp_path, own_spec, text="", **changes):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({**own_spec, **changes}) + text)
    return path


def test_numbers_with_leading_zeros_are_decimal(tmp_path, own_spec):
    own_spec.pop("classes"), own_spec.pop("mutual", None)
    path = own_file(tmp_path, own_spec, "classes:\n  008: sit\n  010: stand\n  12: no\n")
    assert load_spec(path).classes == {8: "sit", 10: "stand", 12: "no"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("title: again\n", "gives 'title' a second time"),
        ("mutual: &x [*x]\n", "aliases make it grow"),
        (
            "a: &a [1,1,1,1,1,1,1,1,1]\n"
            + "".join(
                f"{n}: &{n} [" + ",".join([f"*{m}"] * 9) + "]\n" for m, n in itertools.pairwise("abcdefghi")
            ),
            "aliases make it grow",
        ),
        ("? [1, 2]\n: 3\n", "no plain value"),
    ],
)
def test_keys_are_plain_and_given_once(tmp_path, own_spec, text, says):
    with pytest.raises(UsageError, match=says):
        load_spec(own_file(tmp_path, own_spec, text))


def test_codes_concern_their_own_field(tmp_path, own_spec):
    naming = "(?P<subject>[0-9A-Z]+)_(?P<camera>[0-9A-Z]+)_(?P<action>.+)"
    spec = own_spec | {"naming": naming, "camera_codes": {"3": 7}, "classes": {3: "wave hand", 4: "bow"}}
    loaded = load_spec(own_file(tmp_path, spec | {"mutual": [], "protocols": {}}))
    assert loaded.parse_name("3_3_3") == {"subject": 3, "camera": 7, "action": 3}
    assert loaded.parse_name("3_3_Wave-Hand") == {"subject": 3, "camera": 7, "action": 3}
    assert loaded.parse_name("X_3_3") is None
    coded = load_spec(
        own_file(tmp_path, spec | {"mutual": [], "protocols": {}, "codes": {"subject": {"X": 5}}})
    )
    assert coded.parse_name("X_3_bow") == {"subject": 5, "camera": 7, "action": 4}


def test_a_group_that_is_absent_says_nothing(tmp_path, own_spec):
    spec = own_spec | {"naming": "A(?P<action>[0-9]+)(P(?P<subject>[0-9]+))?", "protocols": {}}
    loaded = load_spec(own_file(tmp_path, spec))
    assert loaded.parse_name("A3") == {"action": 3}
    assert loaded.parse_name("A3P2") == {"action": 3, "subject": 2}
    assert loaded.parse_name("A3P99999999999") is None


def test_an_edited_spec_is_read_anew(tmp_path, own_spec):
    assert load_spec(own_file(tmp_path, own_spec, title="one")).title == "one"
    assert load_spec(own_file(tmp_path, own_spec, title="two")).title == "two"


def test_lists_in_files_serve_every_field_and_may_begin_with_a_mark(tmp_path, own_spec):
    (tmp_path / "train.txt").write_text("\ufeff1\n3\n", encoding="utf-8")
    (tmp_path / "names.txt").write_text("\ufeffP1A3\r\nP2A3\r\n", encoding="utf-8")
    rules = {
        "xsub": {"by": "subject", "train": "train.txt", "test": [2]},
        "listed": {"by": "name", "train": ["P3A3"], "test": "names.txt"},
    }
    loaded = load_spec(own_file(tmp_path, own_spec, protocols=rules))
    assert loaded.protocols["xsub"].train == [1, 3]
    assert loaded.protocols["listed"].test == ["P1A3", "P2A3"]
    rules["xsub"]["train"] = "names.txt"
    with pytest.raises(UsageError, match="'P1A3' is not a number"):
        load_spec(own_file(tmp_path, own_spec, protocols=rules))


def test_folds_become_one_rule_each(tmp_path, own_spec):
    loaded = load_spec(
        own_file(tmp_path, own_spec, protocols={"fold": {"by": "subject", "folds": [[1, 4], [2], [3]]}})
    )
    assert list(loaded.protocols) == ["fold1", "fold2", "fold3"]
    assert (loaded.protocols["fold2"].train, loaded.protocols["fold2"].test) == ([1, 4, 3], [2])
    drawn = load_spec(own_file(tmp_path, own_spec, protocols={"fold": {"by": "subject", "folds": 2}}))
    dealt = drawn.with_folds({"subject": [5, 1, 9, 1, -1]})
    assert [r.test for r in dealt.protocols.values()] == [[1, 9], [5]]
    assert [r.train for r in dealt.protocols.values()] == [[5], [1, 9]]
    with pytest.raises(ValueError, match="1 subject values for 2 folds"):
        drawn.with_folds({"subject": [1]})


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ({"by": "subject", "folds": [[1, 2], [2, 3]]}, "2 is in fold 1 and in fold 2"),
        ({"by": "subject", "folds": [[1]]}, "one fold"),
        ({"by": "subject", "folds": [[1], [2]], "train": [3]}, "take the place"),
        ({"by": "subject", "train": [1], "test": [2], "validation": [1]}, "in train and in validation"),
    ],
)
def test_splits_that_contradict_themselves(tmp_path, own_spec, rule, says):
    with pytest.raises(UsageError, match=says):
        load_spec(own_file(tmp_path, own_spec, protocols={"x": rule}))


def test_a_validation_part_is_a_side_of_its_own():
    rule = Protocol(by="subject", train=[1, 2], test=[3], validation=[4])
    assert rule.assign([1, 2, 3, 4, 5]).tolist() == [TRAIN, TRAIN, TEST, VALIDATION, UNASSIGNED]


def test_the_nearest_of_all_names_is_found_and_few_are_printed():
    names = [f"S{s:03}C001P001R001A{a:03}" for s in range(1, 60) for a in range(1, 200)]
    said = unknown("clip", "S059C001P001R001A1999", names)
    assert "did you mean 'S059C001P001R001A199'?" in said
    assert said.endswith(f", ... ({len(names):,} in all)")
    assert len(said) < 450
    assert unknown("clip", "XS031C001P001R001A077", names).count("did you mean 'S031C001P001R001A077'?") == 1
    assert "did you mean 'S007C001P001R001A042'?" in unknown("clip", "S007C001P01R001A042", names)
    assert unknown("clip", "anything else", ["a", "b"]).endswith("'anything else': known: a, b")
    assert unknown("layer", "x", []).endswith("there is none at all")
