"""Results whose file is sound JSON under its own digest, and yet holds something else than a result."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from amr_train.evaluation.records import record_file, records_in
from amr_train.evaluation.whole import figures_in
from amr_train.report import write_report
from tests.amr_train.report.folders import judge, run_with, write_run

HUGE = 10**400
CHANGES: list[tuple[tuple[str, ...], Any]] = [
    (("subject", "recipe"), 3),
    (("subject", "input"), None),
    (("subject", "model"), "wide"),
    (("subject", "epoch"), HUGE),
    (("subject", "datasets"), [{"fingerprint": "f1"}]),
    (("seed",), 1.5),
    (("seed",), 2**70),
    (("figures", "linear mean"), HUGE),
    (("figures", "linear mean"), "80"),
    (("figures", "linear mean"), True),
    (("figures", "linear\nmean"), 80.0),
    (("figures", ""), 80.0),
    (("figures",), {}),
    (("settings", "lr"), float("nan")),
    (("spoken",), "half a character \ud800"),
    (("clips", "test"), -1),
    (("clips", "other"), 3),
    (("data", "synthetic"), "no"),
    (("body_gflops",), HUGE),
    (("part",), "training"),
    (("details",), {"mean": {"top1": float("inf")}}),
]


def put(record: dict[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    changed = deepcopy(record)
    place = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return changed


@pytest.mark.parametrize(("path", "value"), CHANGES, ids=range(len(CHANGES)))
def test_a_result_of_other_types_is_left_out_and_named(tmp_path: Path, path: tuple[str, ...], value: Any):
    run_with(tmp_path / "good")
    changed = put(judge(tmp_path / "odd", write_run(tmp_path / "odd")), path, value)
    (there,) = (tmp_path / "odd" / "evaluations").iterdir()
    there.unlink()
    record_file(tmp_path / "odd", changed).write_text(json.dumps(changed))
    assert list(records_in(tmp_path / "odd")) == []
    notes: list[str] = []
    write_report([tmp_path], tmp_path / "report.md", "md", notes.append)
    assert any("1 files" in note and "odd" in note for note in notes)


def test_a_subject_of_several_is_whole_where_each_of_them_is(tmp_path: Path):
    record = judge(tmp_path / "a", write_run(tmp_path / "a"))
    one = record["subject"]
    both = {"kind": "fused", "digest": "d", "name": "a + b", "seed": 0, "parameters": 2, "of": [one, one]}
    (tmp_path / "b" / "evaluations").mkdir(parents=True)
    for of, whole in (([one, one], True), ([one, {**one, "seed": None}], False), ([], False)):
        changed = {**record, "subject": {**both, "of": of}}
        record_file(tmp_path / "b", changed).write_text(json.dumps(changed))
        assert [r["subject"]["kind"] for r in records_in(tmp_path / "b")] == ["fused"] * whole


def test_what_a_protocol_may_give_as_figures():
    given = {"purity": 80, "of a tensor": torch.tensor(0.5), "of ä": np.float32(-1), "most": 1e300}
    kept = figures_in(given)
    assert kept == {"purity": 80.0, "of a tensor": 0.5, "of ä": -1.0, "most": 1e300}
    assert {type(value) for value in kept.values()} == {float}
    odd = (
        {},
        [],
        None,
        {"": 1.0},
        {1: 1.0},
        {"a\tb": 1.0},
        {"a": "1"},
        {"a": None},
        {"a": True},
        {"a": np.nan},
    )
    for bad in (*odd, {"a": np.inf}, {"a": HUGE}, {"a": torch.zeros(2)}, {"a": {}}):
        assert figures_in(bad) is None, bad
