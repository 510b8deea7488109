"""Both commands from the outside: the whole line on tiny data, help, JSON, exit codes."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner, Result

from amr_cli.data import SYNTHESISED
from amr_cli.data import main as data_main
from amr_cli.train import main as train_main
from amr_data import load_spec, spec_names
from amr_data.synth.files import WRITERS
from amr_train import load_encoder
from tests.amr_train.models.test_encoders import TheirEncoder


def call(main, *words: object) -> Result:
    return CliRunner().invoke(main, [str(w) for w in words])


@pytest.mark.parametrize(
    "words",
    [
        (data_main,),
        (data_main, "convert"),
        (data_main, "inspect"),
        (data_main, "synth"),
        (data_main, "verify"),
        (data_main, "export"),
        (train_main,),
        (train_main, "run"),
        (train_main, "show"),
        (train_main, "list"),
        (train_main, "eval"),
        (train_main, "import-mamp"),
        (train_main, "embed"),
        (train_main, "predict"),
        (train_main, "export"),
        (train_main, "report"),
    ],
)
def test_help_has_examples(words):
    result = call(*words, "--help")
    assert result.exit_code == 0
    assert result.output.count("amr-") >= 2


@pytest.mark.parametrize("main", [data_main, train_main], ids=["amr-data", "amr-train"])
def test_no_summary_of_a_command_is_cut_off(main):
    lines = call(main, "--help").output.split("Commands:")[1].splitlines()
    assert len(lines) > 7
    assert not [line for line in lines if line.endswith("...")]


def test_an_example_in_a_help_text_stands_on_a_line_of_its_own():
    commands = [*data_main.commands.values(), *train_main.commands.values()]
    lines = [line.strip() for command in commands for line in (command.help or "").splitlines()]
    assert sum(line.startswith("amr-") for line in lines) > 40
    assert not [line for line in lines if re.search(r"[^|`] +amr-(data|train) ", line)]


def test_synth_offers_what_it_can_write():
    assert set(SYNTHESISED) == {name for name in spec_names() if load_spec(name).raw in WRITERS}


def test_the_whole_line(tmp_path: Path):
    raw, shards, run = tmp_path / "raw", tmp_path / "shards", tmp_path / "run"
    made = call(
        data_main,
        "synth",
        raw,
        "--dataset",
        "ntu60",
        "--classes",
        3,
        "--subjects",
        4,
        "--replications",
        1,
        "--json",
    )
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
    clip = call(
        data_main,
        "inspect",
        shards,
        "--class",
        60,
        "--random",
        1,
        "--png",
        tmp_path / "pictures" / "clip.png",
    )
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
    for text in ("untrained", "coordinates", "pre-trained", "linear", "kNN", "synthetic"):
        assert text in trained.stdout


def test_import_mamp_says_what_it_took(tmp_path):
    torch.manual_seed(0)
    torch.save({"model": TheirEncoder(layers=3).state_dict()}, tmp_path / "mamp.pth")
    done = call(train_main, "import-mamp", tmp_path / "mamp.pth", "--heads", 4)
    assert done.exit_code == 0, done.output
    assert "3 layers, width 32, 4 heads" in done.stdout
    assert load_encoder(tmp_path / "mamp.safetensors").config.empty_bodies == "keep"
    refused = call(train_main, "import-mamp", tmp_path / "mamp.pth", "--heads", 5)
    assert (refused.exit_code, "--heads" in refused.stderr) == (2, True)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["convert", "nowhere", "out", "--dataset", "ntu60"], 2, "no such source: nowhere"),
        (["convert", ".", "out", "--dataset", "ntu60", "--spec", "x.yaml"], 2, "not both"),
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


def test_failed_work_is_1_and_debug_shows_the_error(ntu_shards, tmp_path):
    (tmp_path / "manifest.json").write_text("{}")
    result = call(data_main, "inspect", tmp_path)
    assert result.exit_code == 1
    assert "manifest.json" in result.stderr
    assert call(data_main, "inspect", tmp_path, "--debug").exception is not None
    wrong = call(data_main, "inspect", ntu_shards, "--clip", 0, "--png", tmp_path / "clip.bmp")
    assert (wrong.exit_code, ".png" in wrong.stderr) == (2, True)


def test_an_own_spec_is_taken_where_a_name_is(tmp_path, ntu_file, own_spec):
    (tmp_path / "raw").mkdir()
    joints = np.arange(75).reshape(25, 3) / 50
    for person in (1, 2):
        (tmp_path / "raw" / f"P{person}A3.skeleton").write_bytes(
            ntu_file([[("1", joints + t / 10)] for t in range(4)])
        )
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(own_spec))
    result = call(
        data_main, "convert", tmp_path / "raw", tmp_path / "out", "--spec", tmp_path / "mine.yaml", "--json"
    )
    assert json.loads(result.stdout)["clips"] == 2
    summary = json.loads(call(data_main, "inspect", tmp_path / "out", "--json").stdout)
    assert summary["protocols"] == {"xsub": {"train": 1, "test": 1, "unassigned": 0}}


def test_verify_repair_and_export(ntu_raw, ntu_shards, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(ntu_shards, out)
    assert "is sound" in call(data_main, "verify", out).stdout
    (out / "shard-00000.h5").write_bytes(b"x")
    wrong = call(data_main, "verify", out)
    assert wrong.exit_code == 1
    assert "shard-00000.h5" in wrong.stdout
    assert "--repair" in wrong.stdout
    findings = json.loads(call(data_main, "verify", out, "--json").stdout)
    assert (findings["sound"], findings["findings"][0]["kind"]) == (False, "changed_file")
    mended = call(data_main, "verify", out, "--repair", ntu_raw, "--workers", 1)
    assert mended.exit_code == 0, mended.output
    assert "rebuilt 1 of" in mended.stdout
    done = call(data_main, "export", out, tmp_path / "x.npz", "--format", "npz", "--split", "xview")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "x.npz").exists()
    assert call(data_main, "export", out, tmp_path / "y", "--format", "npz").exit_code == 2


def test_strict_fails_on_damaged_files_but_not_on_listed_ones(ntu_raw, ntu_file, tmp_path):
    strict = call(
        data_main, "convert", ntu_raw, tmp_path / "a", "--dataset", "ntu60", "--workers", 1, "--strict"
    )
    assert strict.exit_code == 1
    assert "--strict: 6 files" in strict.stderr
    assert (tmp_path / "a" / "manifest.json").exists()
    (tmp_path / "raw").mkdir()
    body = np.random.default_rng(0).normal(0, 0.3, (25, 3))
    for name in ("S001C001P001R001A001", "S001C002P005R002A008"):  # the second is on the list
        (tmp_path / "raw" / f"{name}.skeleton").write_bytes(ntu_file([[("1", body)]] * 3))
    options = ["--recipe", "ctrgcn", "--rotate", "--scale", "--strict", "--json"]
    fine = call(data_main, "convert", tmp_path / "raw", tmp_path / "b", "--dataset", "ntu60", *options)
    assert fine.exit_code == 0, fine.output
    summary = json.loads(fine.stdout)
    assert (summary["clips"], summary["rejects_by_reason"]) == (1, {"listed_unusable": 1})
    assert summary["recipe"]["rotate"]


def test_a_clip_tells_where_it_comes_from(ntu_shards):
    facts = json.loads(call(data_main, "inspect", ntu_shards, "--class", 60, "--random", 1, "--json").stdout)
    assert facts["source"].startswith("raw/S")
    frames = facts["source_frames"]
    assert frames["last"] - frames["first"] + 1 == facts["frames"]
    assert [body["body"] for body in facts["bodies"]] == [1, 2]
    assert facts["bodies"][0]["tracks"][0]["first_frame"] == 0
    assert 0 < facts["inferred_share"] < 1
    assert isinstance(facts["dropped"], list)


@pytest.mark.parametrize("name", ["S001C002P005R002A008.skeleton", "S001C001P001R001A001.skeleton"])
def test_a_dataset_without_a_single_clip_can_be_made_and_looked_at(tmp_path, name):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / name).write_bytes(b"")  # listed as unusable, or just empty
    made = call(data_main, "convert", tmp_path / "raw", tmp_path / "out", "--dataset", "ntu60")
    assert (made.exit_code, "no clip came out of 1 files" in made.stderr) == (1, True)
    for words in (
        ["inspect", tmp_path / "out"],
        ["inspect", tmp_path / "out", "--json"],
        ["verify", tmp_path / "out"],
    ):
        seen = call(data_main, *words)
        assert seen.exit_code == 0, seen.output
    nothing = call(train_main, "run", "demo", "--data", tmp_path / "out", "--out", tmp_path / "run")
    assert (nothing.exit_code, "no train clip" in nothing.stderr) == (2, True)
