"""Intervals and paired differences, by hand and against scipy's own tests."""

from __future__ import annotations

import pytest
from scipy import stats

from amr_train.report.differences import interval, leaders, of_sample, paired

SEEDED = {0: 80.0, 1: 83.0, 2: 86.0}


def row(values: dict[int, float], **more):
    mean = sum(values.values()) / len(values)
    about = {"protocol": "knn", "part": "test", "clips": {"train": 10, "test": 100}, "folds": []}
    return {"seeds": list(values), "values": list(values.values()), "mean": mean, **about, **more}


def test_the_interval_of_three_seeds_by_hand():
    """Mean 83, standard deviation 3, t of 2 degrees of freedom 4.303: 83 -+ 4.303 x 3 / sqrt(3)."""
    assert interval([80.0, 83.0, 86.0]) == pytest.approx((75.548, 90.452), abs=1e-3)
    assert interval([80.0]) is None


def test_a_common_spread_of_seeds_does_not_hide_a_difference():
    """Seeds spread by 3 points, the methods differ by one in each of them."""
    other = {seed: value - 1 - 0.1 * (seed == 2) for seed, value in SEEDED.items()}
    found = paired(row(SEEDED), row(other))
    expected = stats.ttest_rel(list(SEEDED.values()), list(other.values())).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.told_apart
    assert paired(row(other), row(SEEDED)).mean == pytest.approx(-found.mean)
    assert leaders({"a": row(SEEDED), "b": row(other)}) == ({"a"}, True)
    apart = stats.ttest_ind(list(SEEDED.values()), list(other.values()))
    assert apart.pvalue > 0.5  # as if they shared no seed


def test_only_common_seeds_are_paired():
    found = paired(row({1: 5.0, 2: 7.0, 9: 70.0}), row({2: 6.0, 1: 5.5}))
    assert (found.seeds, found.values) == ((1, 2), (-0.5, 1.0))
    assert found.between.endswith("], n 2")
    assert paired(row({1: 5.0}), row({2: 6.0})) is None
    assert paired(row({1: 5.0}, folds=["a", "b"]), row({1: 6.0}, folds=["a"])) is None
    alone = paired(row({1: 5.0}), row({1: 6.0}))
    assert (alone.mean, alone.between, alone.told_apart) == (-1.0, "n 1", False)


def test_no_lead_is_claimed_without_noise_to_judge_it_by():
    one = {"a": row({0: 90.0}), "b": row({0: 10.0})}
    assert leaders(one) == ({"a"}, False)
    assert leaders({"a": row(SEEDED)}) == (set(), False)
    assert leaders({"a": row(SEEDED), "b": row(SEEDED)}) == ({"a", "b"}, False)
    third = {seed: value + 2 * (-1) ** seed for seed, value in SEEDED.items()}
    assert leaders({"a": row(SEEDED), "b": row({s: 1.0 * s for s in SEEDED}), "c": row(third)}) == (
        {"c"},
        False,
    )


def test_the_sample_of_one_training_is_wilsons():
    expected = stats.binomtest(83, 100).proportion_ci(0.95, method="wilson")
    assert of_sample(row({0: 83.0})) == pytest.approx((100 * expected.low, 100 * expected.high))
    assert of_sample(row({0: 83.0}, protocol="retrieval")) is None
    two = of_sample(row({0: 83.0}, clips={"train": 10, "test": 50}, folds=["a", "b"]))
    assert two == pytest.approx((100 * expected.low, 100 * expected.high))
    # training clips are nearly the same in each fold
    shared = {"part": "subjects", "clips": {"train": 100, "subjects": 100}}
    assert of_sample(row({0: 83.0}, **shared, folds=["a", "b"])) == of_sample(row({0: 83.0}, **shared))
    assert of_sample(row({0: 100.0}))[1] == pytest.approx(100)
