"""`amr-data spec`: lists, texts to begin from, and what a spec makes of files."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result

from amr_cli.data import main
from amr_data.specs import skeleton_names, spec_names


def call(*words: object) -> Result:
    return CliRunner().invoke(main, ["spec", *(str(w) for w in words)])


def test_everything_built_in_is_listed():
    said = call()
    assert said.exit_code == 0, said.output
    for name in (*spec_names(), *skeleton_names()):
        assert name in said.stdout
    listed = json.loads(call("--json").stdout)
    assert [d["name"] for d in listed["datasets"]] == spec_names()
    assert {s["name"]: s["joints"] for s in listed["skeletons"]}["kinect_v2"] == 25


@pytest.mark.parametrize("name", ["ntu60", "utd-mhad", "kinect_v2"])
def test_the_text_of_a_built_in_one_is_a_start(name):
    said = call(name)
    assert said.exit_code == 0, said.output
    assert yaml.safe_load(said.stdout)["name"] == name


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["ntu61"], "did you mean 'ntu60'"),
        (["ntu60", "ntu120"], "name one"),
        (["--check", "ntu60"], "needs the files"),
        (["--check", "none.yaml", "."], "no spec file none.yaml"),
    ],
)
def test_wrong_use(words, says):
    said = call(*words)
    assert (said.exit_code, says in said.stderr) == (2, True), said.output


def walks(tmp_path, unit: float):
    """Four recordings of a body that stands 1.5 m high and goes along x, in metres times `unit`."""
    body = np.array([[0, 0.9, 2], [0, 1.5, 2], [-0.2, 1.4, 2], [0.2, 1.4, 2], [0, 0, 2]])
    joints = ["hip", "head", "right_shoulder", "left_shoulder", "foot"]
    bones = [["head", "hip"], ["right_shoulder", "head"], ["left_shoulder", "head"], ["foot", "hip"]]
    (tmp_path / "raw").mkdir()
    for name, frames in (("slow_1", 12), ("fast_1", 7), ("slow_2", 9), ("jump_2", 9)):
        rows = unit * (body + np.arange(frames)[:, None, None] * [0.1, 0, 0])
        np.savetxt(tmp_path / "raw" / f"{name}.csv", rows.reshape(frames, -1), delimiter=",")
    spec = {
        "name": "walks",
        "title": "Walks",
        "raw": "table",
        "skeleton": {
            "name": "five",
            "joints": joints,
            "bones": bones,
            "parts": {"all": joints},
            "centre": "hip",
            "spine": ["hip", "head"],
            "shoulders": ["right_shoulder", "left_shoulder"],
        },
        "layout": {"format": "csv", "unit": "cm"},
        "frame_rate": 30,
        "max_bodies": 1,
        "naming": "(?P<action>[a-z]+)_(?P<subject>[0-9])",
        "example": "slow_1",
        "classes": ["slow", "fast"],
        "protocols": {"xsub": {"by": "subject", "train": [1], "test": [2]}},
    }
    (tmp_path / "walks.yaml").write_text(yaml.safe_dump(spec))
    return tmp_path / "walks.yaml", tmp_path / "raw"


def test_a_check_says_what_was_understood(tmp_path):
    spec, raw = walks(tmp_path, unit=100)
    found = json.loads(call("--check", spec, raw, "--json").stdout)
    assert (found["units"], found["clips_read"], found["unit"]) == (3, 3, "metres")
    assert found["classes"] == {"1 slow": 2, "2 fast": 1}
    assert found["splits"] == {"xsub": {"train": 2, "test": 1, "unassigned": 0}}
    assert found["rejects"]["name"]["count"] == 1
    assert found["joints_m"]["head"] == [0, 0.6, 0]
    assert found["height_m"]["median"] == pytest.approx(1.5, abs=0.01)
    said = call("--check", spec, raw)
    assert said.exit_code == 0, said.output
    words = " ".join(said.output.split())
    for part in (
        "1 slow 2",
        "xsub 2 1 0",
        "a name like slow_1",
        "head +0.00 +0.60 +0.00",
        "slow_1 1 slow 12 1",
    ):
        assert part in words


def test_people_of_the_wrong_size_are_an_error_that_names_the_unit(tmp_path):
    spec, raw = walks(tmp_path, unit=1000)
    said = call("--check", spec, raw)
    assert said.exit_code == 2
    assert "15" in said.stderr
    assert "mm" in said.stderr


def test_nothing_is_written(tmp_path):
    spec, raw = walks(tmp_path, unit=100)
    before = sorted(p for p in tmp_path.rglob("*"))
    call("--check", spec, raw)
    assert sorted(p for p in tmp_path.rglob("*")) == before
