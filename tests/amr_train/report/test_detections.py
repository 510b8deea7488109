"""Detections on the report's page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from amr_train.report.collect import Run
from amr_train.report.detections import detections_of

MISS = {"kind": "false", "recording": "<b>0002-L", "class": "bow", "first": 10, "end": 1200, "score": 0.9}
DETAIL = {
    "map_action": {"0.5": 42.0},
    "curve": {"recall": [50.0, 0.0], "precision": [80.0, 100.0]},
    "misses": [{**MISS, "other": None}, {"kind": "missed"}, {**MISS, "score": None, "other": "clap"}],
}


def run_with(**details: Any) -> Run:
    record = {
        "protocol": "detect",
        "subject": {"kind": "encoder", "experiment": "mine"},
        "data": {"dataset": "d", "synthetic": False},
        "split": "xsub",
        "seed": 3,
        "details": details,
    }
    return Run(Path("run"), {}, None, None, [], [], [record])


def test_a_curve_by_hand() -> None:
    weak = {**DETAIL, "map_action": {"0.5": 40.0}}
    (found,) = detections_of([run_with(linear=weak, temporal=DETAIL)])
    assert (found["name"], found["seed"], found["best"]) == ("mine", 3, "temporal")
    assert found["place"] == "d xsub, test part"
    # half of 300 from 44, and a fifth of 220 below 10; then the origin's column, at the top
    assert found["heads"][0]["line"] == "194.0,54.0 44.0,10.0"
    assert [row["kind"] for row in found["misses"]] == ["not there", "not there"]
    assert found["misses"][0]["frames"] == "10 to 1,200"
    assert (found["misses"][1]["score"], found["misses"][1]["other"]) == ("", "clap")


def test_records_that_hold_something_else_are_left_out() -> None:
    for changed in (
        {"curve": None},
        {"curve": {"recall": [1.0], "precision": [1.0, 2.0]}},
        {"curve": {"recall": ["1"], "precision": [1.0]}},
        {"curve": {"recall": [float("nan")], "precision": [1.0]}},
        {"curve": {"recall": [10**400], "precision": [1.0]}},
        {"curve": {"recall": [1.0] * 1000, "precision": [1.0] * 1000}},
        {"map_action": {}},
    ):
        assert detections_of([run_with(linear={**DETAIL, **changed})]) == []
    assert detections_of([run_with()]) == []
    assert detections_of([run_with(linear=7)]) == []
    (found,) = detections_of([run_with(linear={**DETAIL, "misses": "none"})])
    assert found["misses"] == []
