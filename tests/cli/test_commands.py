"""Both commands from the outside: the whole line on tiny data, help, JSON, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from amr_cli.data import main as data_main
from amr_cli.train import main as train_main


def call(main, *words: object) -> Result:
    return CliRunner().invoke(main, [str(w) for w in words])


@pytest.mark.parametrize(
    "words",
    [(data_main,), (data_main, "convert"), (data_main, "inspect"), (data_main, "synth"), (train_main,), (train_main, "run")],
)
def test_help_has_examples(words):
    result = call(*words, "--help")
    assert result.exit_code == 0
    assert result.output.count("amr-") >= 2


def test_the_whole_line(tmp_path: Path):
    raw, shards, run = tmp_path / "raw", tmp_path / "shards", tmp_path / "run"
    made = call(data_main, "synth", raw, "--dataset", "ntu60", "--classes", 3, "--subjects", 4, "--replications", 1, "--json")
    assert made.exit_code == 0
    assert json.loads(made.stdout)["clips"] == 36
    converted = call(data_main, "convert", raw, shards, "--dataset", "ntu60", "--workers", 1)
    assert converted.exit_code == 0, converted.output
    for text in ("clips", "rejects", "truncated", "MB/s", "joint_count"):
        assert text in converted.output
    again = json.loads(call(data_main, "convert", raw, shards, "--dataset", "ntu60", "--json").stdout)
    assert again["kept_shards"] == again["shards"]
    assert again["clips"] + again["rejects"] == again["sources"] == 42
    seen = call(data_main, "inspect", shards)
    assert seen.exit_code == 0
    for text in ("xsub", "xview", "60 walking apart", "rejects by reason", "clip lengths"):
        assert text in seen.output
    assert json.loads(call(data_main, "inspect", shards, "--json").stdout)["facts"]["clips"] == again["clips"]
    clip = call(data_main, "inspect", shards, "--clip", "S*A060", "--png", tmp_path / "pictures" / "clip.png")
    assert clip.exit_code == 0, clip.output
    assert "bodies" in clip.output
    assert (tmp_path / "pictures" / "clip.png").stat().st_size > 10_000
    sizes = [
        "model.width=16",
        "model.encoder_layers=1",
        "pretrain.epochs=2",
        "pretrain.warmup_epochs=1",
        "evaluation.linear.epochs=2",
    ]
    trained = call(train_main, "run", "demo", "--data", shards, "--out", run, *sizes)
    assert trained.exit_code == 0, trained.output
    for text in ("untrained", "pre-trained", "linear", "kNN"):
        assert text in trained.stdout
    results = json.loads(call(train_main, "run", "demo", "--data", shards, "--out", run, *sizes, "--json").stdout)
    assert results == json.loads((run / "results.json").read_text())


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["convert", "nowhere", "out", "--dataset", "ntu60"], 2, "no such source: nowhere"),
        (["convert", ".", "out"], 2, "--dataset"),
        (["convert", ".", "out", "--dataset", "ntu60", "--spec", "x.yaml"], 2, "one of them"),
        (["convert", ".", "out", "--spec", "x.yaml"], 2, "no spec file x.yaml"),
        (["inspect", "nowhere"], 2, "not a converted dataset"),
        (["inspect", "nowhere", "--colour"], 2, "--colour"),
    ],
)
def test_wrong_use_of_amr_data(tmp_path, monkeypatch, words, code, says):
    monkeypatch.chdir(tmp_path)
    result = call(data_main, *words)
    assert result.exit_code == code
    assert says in result.output
    assert "Traceback" not in result.output
    assert len(result.stderr.strip().splitlines()) <= 5


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["run", "dmeo"], "did you mean 'demo'"),
        (["run", "demo"], "--data"),
        (["run", "demo", "--data", "nowhere"], "not a converted dataset"),
        (["run", "demo", "pretrain.epoch=3"], "did you mean 'pretrain.epochs'"),
    ],
)
def test_wrong_use_of_amr_train(tmp_path, monkeypatch, words, says):
    monkeypatch.chdir(tmp_path)
    result = call(train_main, *words)
    assert result.exit_code == 2
    assert says in result.output
    assert not (tmp_path / "runs").exists()


def test_failed_work_is_1_and_debug_shows_the_error(ntu_shards, tmp_path):
    (tmp_path / "manifest.json").write_text("{}")
    result = call(data_main, "inspect", tmp_path)
    assert result.exit_code == 1
    assert "manifest.json" in result.stderr
    assert call(data_main, "inspect", tmp_path, "--debug").exception is not None
    wrong = call(data_main, "inspect", ntu_shards, "--clip", 0, "--png", tmp_path / "clip.bmp")
    assert (wrong.exit_code, ".png" in wrong.stderr) == (2, True)


def test_an_own_spec_is_taken_where_a_name_is(tmp_path, ntu_file):
    import numpy as np
    import yaml

    (tmp_path / "raw").mkdir()
    joints = np.arange(75).reshape(25, 3) / 50
    for person in (1, 2):
        (tmp_path / "raw" / f"P{person}A3.skeleton").write_bytes(ntu_file([[("1", joints + t / 10)] for t in range(4)]))
    spec = {
        "name": "mine",
        "title": "My clips",
        "raw": "ntu",
        "skeleton": "kinect_v2",
        "frame_rate": 25,
        "max_bodies": 2,
        "naming": "P(?P<subject>[0-9]+)A(?P<action>[0-9]+)",
        "classes": {3: "wave"},
        "protocols": {"xsub": {"by": "subject", "train": [1], "test": [2]}},
    }
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(spec))
    result = call(data_main, "convert", tmp_path / "raw", tmp_path / "out", "--spec", tmp_path / "mine.yaml", "--json")
    assert json.loads(result.stdout)["clips"] == 2
    summary = json.loads(call(data_main, "inspect", tmp_path / "out", "--json").stdout)
    assert summary["protocols"] == {"xsub": {"train": 1, "test": 1, "unassigned": 0}}
