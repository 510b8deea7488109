"""SIGINT and SIGTERM at a random step of a real process: what is said, the exit code, and that the same
command goes on to the very encoder of a run that was left alone."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from amr_cli.data import main as data_main
from amr_cli.train import main as train_main
from amr_cli.ui import guarded
from amr_train.training.checkpoints import list_checkpoints
from amr_train.training.stopping import Stopped
from tests.amr_train.runs import SMALL

pytestmark = pytest.mark.long

SETTINGS = [*SMALL, "pretrain.epochs=300", "pretrain.checkpoint_epochs=1000", "evaluation.protocols=[knn]"]
SETTINGS += ["evaluation.baselines=[]", "pretrain.check_steps=2"]
SAID = re.compile(
    r"stopped: at step ([\d,]+) of 900; its checkpoint is kept; the same command goes on from there\n"
)


def command(shards: Path, out: Path, *options: str) -> list[str]:
    words = [sys.executable, "-m", "amr_cli.train", "run", "demo", "--data", str(shards), "-o", str(out)]
    return [*words, *SETTINGS, *options]


def started(words: list[str]) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(words, text=True, env=environment, **pipes)


def stopped_at(process: subprocess.Popen[str], run: Path, number: int, after: float) -> int:
    """Send a signal some time after the training began to log; gives the step that is announced."""
    log, before = run / "metrics.jsonl", time.monotonic()
    size = log.stat().st_size if log.is_file() else 0
    while process.poll() is None and time.monotonic() - before < 120:
        if log.is_file() and log.stat().st_size > size:
            break
        time.sleep(0.005)
    time.sleep(after)
    process.send_signal(number)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 128 + number, told
    (step,) = SAID.findall(told)
    assert "Traceback" not in told
    return int(step.replace(",", ""))


def epochs_of(run: Path) -> list[int]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [entry["step"] for entry in lines if entry["stage"] == "pretrain"]


@pytest.fixture(scope="module")
def undisturbed(ntu_shards, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    done = started(command(ntu_shards, out))
    assert done.wait(200) == 0
    return out


def test_stopped_at_random_steps_no_step_is_lost(ntu_shards, tmp_path, undisturbed):
    run, dice, steps = tmp_path / "run", random.Random(1), [0]
    for number in (signal.SIGTERM, signal.SIGINT):
        process = started(command(ntu_shards, run))
        steps.append(stopped_at(process, run, number, dice.uniform(0, 0.3)))
        (newest,) = list_checkpoints(run / "checkpoints")[-1:]
        assert newest.name.startswith(f"step-{steps[-1]:09d}-")  # the announced step, and not one before
    assert steps == sorted(set(steps))
    last = started(command(ntu_shards, run))
    shown, told = last.communicate(timeout=200)
    assert last.returncode == 0, told
    first = int(re.findall(r"pre-training (\d+)/900", told)[0])
    assert first == steps[-1] + 1
    assert "pre-trained" in shown
    assert (run / "encoder.safetensors").read_bytes() == (undisturbed / "encoder.safetensors").read_bytes()
    assert epochs_of(run) == list(range(1, 301))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_several_processes_stop_together(ntu_shards, tmp_path, number):
    run = tmp_path / "run"
    process = started(command(ntu_shards, run, "--nproc", "2"))
    step = stopped_at(process, run, number, 0.1)
    (newest,) = list_checkpoints(run / "checkpoints")[-1:]
    assert newest.name.startswith(f"step-{step:09d}-")


def test_ctrl_c_claims_no_more_than_is_kept(monkeypatch):
    def says(main: click.Group, name: str, words: list[str]) -> str:
        def interrupted(*args: object, **options: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("amr_cli.data.convert", interrupted)
        monkeypatch.setattr("amr_cli.data.verify", interrupted)
        done = CliRunner().invoke(main, [name, *words])
        assert done.exit_code == 130
        return done.stderr

    assert "the same command goes on" in says(data_main, "convert", ["a", "b", "--dataset", "ntu60"])
    assert "the same command starts anew" in says(data_main, "verify", ["a"])

    @click.command()
    @guarded
    def other() -> None:
        raise KeyboardInterrupt

    done = CliRunner().invoke(other, [])
    assert (done.exit_code, "goes on" in done.stderr) == (130, False)


@pytest.mark.parametrize("kept", [True, False])
def test_a_stopped_training_goes_on_only_where_it_is_kept(kept):
    @click.command()
    @guarded
    def judge() -> None:
        raise Stopped("in fine-tuning, at step 3 of 9", signal.SIGTERM, kept)

    done = CliRunner().invoke(judge, [])
    assert done.exit_code == 143
    assert "stopped: in fine-tuning, at step 3 of 9" in done.stderr
    assert ("the same command goes on" in done.stderr) == kept


@pytest.mark.parametrize(
    ("main", "name"), [(main, name) for main in (data_main, train_main) for name in main.commands]
)
def test_each_command_says_the_truth_when_it_is_stopped(monkeypatch, main, name):
    """Only convert, run and eval take work up again; the others say that they start anew, or what stays."""
    words = {"run": "goes on from there", "eval": "else it starts anew", "serve": "is in the list"}
    words |= {"convert": "goes on from there", "synth": "remove the folder"} if main is data_main else {}
    command = main.commands[name]

    def stopped(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    callback = inner = command.callback
    assert callback is not None
    while hasattr(inner, "__wrapped__"):
        inner = inner.__wrapped__
    monkeypatch.setattr(inner, "__code__", stopped.__code__)  # its decorators stay
    arguments = {parameter.name: None for parameter in command.params if parameter.expose_value}
    told = CliRunner().invoke(click.Command(name, callback=lambda: callback(**arguments)), [])
    assert told.exit_code == 130, told.output
    assert words.get(name, "the same command starts anew") in told.stderr
    assert ("goes on" in told.stderr) == (name in ("convert", "run", "eval"))


@pytest.mark.parametrize("interrupted", [True, False])
def test_ctrl_c_during_the_imports_of_a_command_counts_when_they_are_done(tmp_path, interrupted):
    """What an import makes of KeyboardInterrupt does not matter: here, nothing."""
    (tmp_path / "slow.py").write_text(
        "import os, signal\n"
        "try:\n"
        f"    {'os.kill(os.getpid(), signal.SIGINT)' if interrupted else 'pass'}\n"
        "    for _ in range(1000): pass\n"
        "except KeyboardInterrupt: pass\n"
        "def main(): print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)\n"
    )
    code = (  # a shell's background jobs ignore the signal
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "import amr_cli.start; amr_cli.start._begin('slow')"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    expected = (130, "", "stopped: nothing was begun\n") if interrupted else (0, "True\n", "")
    assert (done.returncode, done.stdout, done.stderr) == expected


def test_the_installed_commands_begin_without_heavy_imports():
    code = "import sys, amr_cli.start; print({'numpy', 'h5py', 'click', 'rich'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert '\namr-data = "amr_cli.start:data"\namr-train = "amr_cli.start:train"\n' in project


@pytest.mark.parametrize("main", [data_main, train_main])
def test_ctrl_c_between_the_imports_and_the_work_has_the_usual_code(monkeypatch, main):
    """While options are read, which loads the raw families; click would call it a failure."""

    def interrupted(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "resolve_command", interrupted)
    done = CliRunner().invoke(main, ["verify" if main is data_main else "eval", "a"])
    assert (done.exit_code, done.stderr) == (130, "stopped: nothing was begun\n")
