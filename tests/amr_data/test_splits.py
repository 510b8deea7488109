"""Splits: which clips train, test, validate or stand aside, and folds, by hand."""

from __future__ import annotations

import pytest

from amr_data.specs import TEST, TRAIN, UNASSIGNED, VALIDATION, Protocol
from amr_data.specs.splits import folds_with, unfolded


def rule(by: str = "subject", **parts: object) -> Protocol:
    return Protocol.model_validate({"by": by, **parts})


def test_the_codes_of_the_sides_are_those_that_shards_and_reports_keep():
    assert (UNASSIGNED, TRAIN, TEST, VALIDATION) == (-1, 0, 1, 2)


def test_numbers_are_assigned_by_the_lists_they_stand_in():
    sides = rule(train=[1, 3], test=[2], validation=[7]).assign([3, 2, 1, 9, 7, -1])
    assert sides.tolist() == [0, 1, 0, -1, 2, -1]
    assert sides.dtype == "int8"
    assert rule(train=[1], test=[2]).assign([]).tolist() == []
    assert rule(train=[1]).assign([[1, 2], [2, 1]]).tolist() == [[0, -1], [-1, 0]]


def test_names_are_assigned_whole():
    sides = rule("name", train=["a", "ab"], test=["b"]).assign(["ab", "a", "abc", "b", "", "A"])
    assert sides.tolist() == [0, 0, -1, 1, -1, -1]


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ({"train": [1, 2], "test": [2]}, "2 is in train and in test"),
        ({"train": [1], "validation": [1]}, "1 is in train and in validation"),
        ({"test": [4], "validation": [4]}, "4 is in test and in validation"),
        ({"folds": [[1, 2], [3], [2]]}, "2 is in fold 1 and in fold 3"),
        ({"folds": [[1, 2]]}, "one fold leaves nothing to train on"),
        ({"folds": 3, "train": [1]}, "folds take the place of train, test and validation"),
        ({"folds": [[1], [2]], "validation": [3]}, "folds take the place"),
        ({"folds": 1}, "greater than or equal to 2"),
        ({"folds": 101}, "less than or equal to 100"),
        ({"train": ["a"]}, "by subject cannot list 'a'"),
        ({"by": "name", "test": [5]}, "by name cannot list 5"),
        ({"by": "video", "folds": [["a"], [5]]}, "by video cannot list 5"),
        ({"by": "shoe size"}, "by"),
    ],
)
def test_what_contradicts_itself_is_refused(parts, says):
    with pytest.raises(ValueError, match=says):
        rule(**parts)


def test_a_value_twice_in_one_part_is_no_contradiction():
    assert rule(train=[1, 1], test=[2]).assign([1, 2]).tolist() == [0, 1]
    assert rule(folds=[[1, 1], [2]]).folds == [[1, 1], [2]]


def test_each_fold_is_tested_on_once_and_the_others_train():
    rules = unfolded({"f": rule(folds=[[1, 2], [3], [4, 5]]), "x": rule(train=[1], test=[2])}, {})
    assert {n: (r.by, r.train, r.test, r.validation, r.folds) for n, r in rules.items()} == {
        "f1": ("subject", [3, 4, 5], [1, 2], [], None),
        "f2": ("subject", [1, 2, 4, 5], [3], [], None),
        "f3": ("subject", [1, 2, 3], [4, 5], [], None),
        "x": ("subject", [1], [2], [], None),
    }
    assert list(rules) == ["f1", "f2", "f3", "x"]


def test_folds_are_found_again_by_what_they_do():
    dealt = {"f": rule(folds=[[i] for i in range(12)]), "half": rule(folds=[[1], [2]]), "x": rule(train=[1])}
    rules = unfolded(dealt, {})
    assert folds_with(rules, "f11") == folds_with(rules, "f1") == tuple(f"f{i}" for i in range(1, 13))
    assert folds_with(rules, "half2") == ("half1", "half2")
    assert folds_with(rules, "x") == folds_with(rules, "none") == folds_with(rules, "f13") == ()
    assert folds_with(unfolded({"f1": rule(folds=[[1], [2]])}, {}), "f11") == ("f11", "f12")


@pytest.mark.parametrize(
    "second",
    [
        {"train": [1], "test": [2, 3]},  # the first does not train on 3
        {"train": [], "test": [1, 2]},  # and is tested on 1 too
        {"train": [], "test": [2]},
        {"train": [1], "test": [2], "validation": [3]},
        {"train": [1], "test": [2], "by": "camera"},
    ],
)
def test_splits_of_one_name_alone_are_no_folds(second):
    first = rule(train=[2], test=[1])
    assert folds_with({"v1": first, "v2": rule(**second)}, "v1") == ()
    assert folds_with({"v1": first, "v2": rule(train=[1], test=[2])}, "v1") == ("v1", "v2")


def test_a_number_of_folds_is_dealt_out_over_the_values_in_order():
    rules = unfolded({"f": rule(folds=2)}, {"subject": [5, 1, -1, 3, 5, 2, 1]})
    assert {n: (r.train, r.test) for n, r in rules.items()} == {
        "f1": ([2, 5], [1, 3]),
        "f2": ([1, 3], [2, 5]),
    }
    rules = unfolded({"f": rule("video", folds=2)}, {"video": ["b", "", "a"]})
    assert {n: (r.by, r.train, r.test) for n, r in rules.items()} == {
        "f1": ("video", ["b"], ["a"]),
        "f2": ("video", ["a"], ["b"]),
    }


def test_a_number_of_folds_waits_for_the_values_of_its_field():
    assert unfolded({"f": rule(folds=3)}, {"camera": [1, 2, 3]})["f"].folds == 3
    assert len(unfolded({"f": rule(folds=3)}, {"subject": [1, 2, 3]})) == 3
    with pytest.raises(ValueError, match="split f: 2 subject values for 3 folds"):
        unfolded({"f": rule(folds=3)}, {"subject": [1, 2, -1]})


@pytest.mark.parametrize("order", [("f", "f1"), ("f1", "f")])
def test_folds_take_no_other_split_s_name(order):
    both = {"f": rule(folds=[[1], [2]]), "f1": rule(train=[1], test=[2])}
    with pytest.raises(ValueError, match="the folds of split f make a split f1, which exists"):
        unfolded({name: both[name] for name in order}, {})
    twice = {"f": rule(folds=[[i] for i in range(11)]), "f1": rule(folds=[[1], [2]])}
    with pytest.raises(ValueError, match="make a split f1"):
        unfolded(twice, {})
