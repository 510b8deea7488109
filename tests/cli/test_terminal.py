"""Nothing that comes from data steers the terminal, and no encoding ends a command: every command is run on
names that try."""

from __future__ import annotations

import json
import os
import re
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result
from rich.text import Text

from amr_cli.data import main as data_main
from amr_cli.terminal import Terminal, shown, shown_lines, styled, table
from amr_cli.train import main as train_main
from amr_cli.ui import progress_bar
from tests.amr_train.runs import SMALL
from tests.forked import Forked

HOSTILE = "[red]x[/]\x1b[2J\x9b31m\u202e\x07\rerror:\nforged"
"""Markup, sequences that clear the screen and colour, a turn of direction, a bell, and a line of its own."""
FILES = "[red]x\x1b[2J\u202e\nforged"
"""As much of it as a file's name may hold."""
FORBIDDEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
TRAINING = [*SMALL, "pretrain.epochs=1", "pretrain.warmup_epochs=0", "evaluation.protocols=[knn]"]
SPLIT = f"xsub{HOSTILE}"


def call(group, *words: object) -> Result:
    return CliRunner().invoke(group, [str(w) for w in words])


def harmless(result: Result, code: int = 0, lines: bool = True) -> str:
    """What a command wrote, which neither steers a terminal nor begins a line with what came from data."""
    text = result.stdout + result.stderr
    assert result.exit_code == code, text
    assert not FORBIDDEN.search(text), ascii(text)
    assert not lines or not [line for line in text.splitlines() if line.startswith("forged")]
    return text


@pytest.fixture(scope="module")
def place(ntu_file, tmp_path_factory):
    """A folder with raw files, a spec, a dataset, a run and a suite, all with hostile names, and a damaged
    file."""
    folder = tmp_path_factory.mktemp("hostile") / FILES
    raw = folder / "raw"
    raw.mkdir(parents=True)
    dice = np.random.default_rng(0)
    spec = {
        "name": f"mine{HOSTILE}",
        "title": f"My clips {HOSTILE}",
        "raw": "ntu",
        "skeleton": "kinect_v2",
        "frame_rate": 25,
        "max_bodies": 2,
        "naming": r"P(?P<subject>[0-9]+)A(?P<action>[0-9]+)R[0-9]+[\s\S]*",
        "classes": {3: f"wave {HOSTILE}", 8: f"$bow$ {HOSTILE}"},
        "protocols": {SPLIT: {"by": "subject", "train": [1], "test": [2]}},
    }
    (folder / "mine.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    for subject in (1, 2):
        for action in (3, 8):
            for take in range(3):
                base = dice.normal(0, 0.3, (25, 3))
                frames = [[("1", base + dice.normal(0, 0.01, 3) * t)] for t in range(30)]
                frames[20] = [("1", base + 3.0)]  # a jump, so that there is a fault
                name = f"P{subject}A{action}R{take}{FILES}.skeleton"
                (raw / name).write_bytes(ntu_file(frames))
    (raw / f"P1A3R9{FILES}.skeleton").write_bytes(b"")
    (raw / f"{FILES}.skeleton").write_bytes(b"")
    made = call(data_main, "convert", raw, folder / "data", "--spec", folder / "mine.yaml", "--workers", 1)
    text = harmless(made)
    assert "[red]x" in text
    assert r"\x1b[2J" in text
    trained = call(
        train_main,
        "run",
        "demo",
        "--data",
        folder / "data",
        "-o",
        folder / "run",
        *TRAINING,
        f"data.split={json.dumps(SPLIT)}",
    )
    harmless(trained)
    return folder


DATA_COMMANDS = {
    "convert": [
        ["P/raw", "P/again", "--spec", "P/mine.yaml", "--workers", "1"],
        ["P/zip.zip", "P/zipped", "--spec", "P/mine.yaml", "--workers", "1"],
    ],
    "spec": [[], ["ntu60"], ["--check", "P/mine.yaml", "P/raw"]],
    "verify": [["P/data"], ["P/broken"], ["P/broken", "--json"]],
    "inspect": [
        ["P/data", "--html", "P/all.html"],
        ["P/data", "--clip", "0", "--png", "P/x.png", "--html", "P/x.html", "--raw", "P/raw"],
        ["P/data", "--clip", "*R1*"],
        ["P/data", "--worst", "3", "--animate", "P/x.gif"],
        ["P/data", "--clip", "0", "--run", "P/run"],
        ["P/data", "--json"],
    ],
    "export": [["P/data", "P/x.csv", "--format", "csv"], ["P/data", "P/x.pkl", "--format", "pyskl"]],
    "synth": [["P/made", "--dataset", "ntu60", "--classes", "1", "--subjects", "2", "--workers", "1"]],
}
TRAIN_COMMANDS = {
    "run": [
        ["P/mine-experiment.yaml", "--data", "P/data", "-o", "P/run2", *TRAINING],
        ["P/mine-suite.yaml", "--data", "P/data", "-o", "P/runs"],
        ["P/mine-suite.yaml", "--data", "P/data", "-o", "P/runs", "--plan"],
        ["P/mine-suite.yaml", "--data", "P/data", "-o", "P/runs3", "--plan", "--workers", "2"],
        ["P/mine-suite.yaml", "--data", "P/data", "-o", "P/runs3", "--workers", "2"],
    ],
    "show": [["P/mine-experiment.yaml"], ["P/mine-suite.yaml"]],
    "list": [[]],
    "eval": [["P/run", "--protocol", "retrieval"]],
    "embed": [["P/run", "P/data", "-o", "P/x.h5"]],
    "predict": [["CLASSIFIER", "P/raw", "--spec", "P/mine.yaml"], ["CLASSIFIER", "P/data"]],
    "export": [["P/run", "-o", "P/model.pt2"]],
    "fuse": [["P/run", "P/run2"], ["P/run", "P/run2", "--json"]],
    "report": [["P/run"], ["P/run", "--format", "csv"], ["P/run", "-o", "P/report.html"]],
}
NOT_RUN = {
    "serve": "it serves until it is stopped",
    "import-mamp": "it needs a checkpoint of another project",
}


def test_every_command_is_run():
    assert {*DATA_COMMANDS, *TRAIN_COMMANDS, *NOT_RUN} == {*data_main.commands, *train_main.commands}


@pytest.mark.parametrize(
    ("name", "words"), [(name, words) for name, all_words in DATA_COMMANDS.items() for words in all_words]
)
def test_amr_data_writes_no_sign_that_steers(place, name, words):
    if "P/broken" in words and not (place / "broken").exists():
        shutil.copytree(place / "data", place / "broken")
        (place / "broken" / "rejects.jsonl").write_text("")
    if "P/zip.zip" in words:
        with zipfile.ZipFile(place / "zip.zip", "w") as file:
            for path in (place / "raw").iterdir():
                file.write(path, f"folder[/]/{path.name}")
            file.writestr(f"{HOSTILE}.skeleton", b"")
    done = call(data_main, name, *(word.replace("P/", f"{place}/", 1) for word in words))
    text = harmless(done, int("P/broken" in words))
    if name in ("convert", "inspect", "verify") and "--json" not in words:
        assert "[red]x" in text.replace("\n", "")  # a long path may be broken there


@pytest.mark.parametrize(
    ("name", "words"), [(name, words) for name, all_words in TRAIN_COMMANDS.items() for words in all_words]
)
def test_amr_train_writes_no_sign_that_steers(place, name, words):
    experiment = {"method": "amr", "description": HOSTILE, "name": "own [red]x[/]", "data": {"split": SPLIT}}
    (place / "mine-experiment.yaml").write_text(yaml.safe_dump(experiment), encoding="utf-8")
    settings = {"pretrain": {"epochs": 1, "warmup_epochs": 0, "batch_size": 8}, "model": {"frames": 24}}
    suite = {
        "description": HOSTILE,
        "seeds": [0],
        "experiments": [{"experiment": "mine-experiment.yaml"}],
        "settings": {**settings, "evaluation": {"protocols": ["knn"]}},
    }
    (place / "mine-suite.yaml").write_text(yaml.safe_dump(suite), encoding="utf-8")
    words = [word.replace("P/", f"{place}/", 1) for word in words]
    if "CLASSIFIER" in words:
        tune = ["finetune.epochs=1", "finetune.warmup_epochs=0", "finetune.hidden=16"]
        judged = call(train_main, "eval", place / "run", "--protocol", "finetune", *tune)
        harmless(judged)
        (classifier,) = (place / "run").rglob("classifier.safetensors")
        words = [str(classifier) if word == "CLASSIFIER" else word for word in words]
    if words and words[-1].endswith(".pt2"):
        pytest.importorskip("onnxscript")
    harmless(
        call(train_main, name, *words), lines="csv" not in words
    )  # whose quoted cells may hold line breaks


@pytest.mark.parametrize(
    ("group", "words"),
    [
        (data_main, ["inspect", HOSTILE]),
        (data_main, ["verify", HOSTILE]),
        (data_main, [HOSTILE]),
        (data_main, ["inspect", f"--{HOSTILE}"]),
        (data_main, ["convert", HOSTILE, "out", "--dataset", HOSTILE]),
        (train_main, ["run", HOSTILE]),
        (train_main, ["show", "demo", f"{HOSTILE}=1"]),
        (train_main, ["report", HOSTILE]),
        (train_main, ["predict", HOSTILE, HOSTILE]),
    ],
)
def test_errors_are_spelt_out_too(tmp_path, monkeypatch, group, words):
    monkeypatch.chdir(tmp_path)
    harmless(call(group, *words), 2)


def test_a_line_is_a_line():
    assert shown("a\x1b[2Jb\nc\u202ed\udcff") == r"a\x1b[2Jb\nc\u202ed\udcff"
    assert shown_lines("a\nb\r") == "a\nb\\r"
    assert shown("Größe 身長 naïve 👩\u200d🔬") == "Größe 身長 naïve 👩\u200d🔬"  # what people write stays


def test_what_is_forgotten_is_caught_at_the_end(capsys):
    """A string is no markup wherever it stands, and a Text made of data still does not steer."""
    terminal = Terminal(width=60)
    rows = table(HOSTILE)
    rows.add_column(HOSTILE)
    rows.add_row(HOSTILE)
    rows.add_row(Text(HOSTILE.replace("\n", "")))
    terminal.print(rows)
    terminal.print(HOSTILE, Text(HOSTILE), styled((HOSTILE, "bold")))
    text = capsys.readouterr().out
    assert not FORBIDDEN.search(text), ascii(text)
    assert text.count("[red]x[/]") == 7


def test_progress_bars_are_spelt_out(monkeypatch, capsys):
    monkeypatch.setattr(
        "amr_cli.ui.errors", Terminal(stderr=True, force_terminal=True, color_system=None, width=99)
    )
    with progress_bar(HOSTILE) as update:
        update(1, 2, HOSTILE)
    told = re.sub(r"\x1b\[[0-9?]*[A-Zhl]", "", capsys.readouterr().err)  # the bar's own steps
    assert "[red]x[/]" in told
    assert not re.search("[\x1b\x9b\u202e\x07]", told), ascii(told)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_an_encoding_that_lacks_a_sign_is_no_failure(place, encoding):
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0", "COLUMNS": "80"}
    for module, words in (
        ("data", ["inspect", str(place / "data")]),
        ("data", ["inspect", str(place / "data"), "--clip", "0"]),
        ("data", ["inspect", "--help"]),
        ("train", ["eval", str(place / "run"), "--protocol", "knn"]),
    ):
        done = Forked(f"amr_cli.{module}", words, environment)
        assert done.wait(120) == 0, done.stderr
        text = done.stdout
        if "--help" not in words:
            assert "[red]x" in text
        if encoding == "ascii" and words[1:] == [str(place / "data")]:
            assert "####" in text  # a bar


def test_names_that_are_no_utf_8(tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe")
    Path(path).mkdir()
    done = call(data_main, "verify", path)
    assert done.exit_code == 1
    assert r"\udcff\udcfe" in done.stdout.replace("\n", "")
