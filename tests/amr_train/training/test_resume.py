"""A run that was stopped ends as one that was not: kills, damaged checkpoints, folders of others."""

from __future__ import annotations

import json
import pickle
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from amr_data import UsageError
from amr_train import run_experiment
from amr_train.training.checkpoints import list_checkpoints, load_latest, save_checkpoint
from tests.amr_train.runs import SMALL, UNJUDGED, Listener, Stop, small

pytestmark = pytest.mark.long

CPU = torch.device("cpu")


def same_files(a: Path, b: Path) -> bool:
    return (a / "encoder.safetensors").read_bytes() == (b / "encoder.safetensors").read_bytes()


def test_killed_at_random_moments_the_weights_are_those_of_a_run_left_alone(ntu_shards, tmp_path):
    """kill -9 five times and more, at any step; a checkpoint is due every 60 ms, so most are in the middle of
    an epoch."""
    settings = [
        *SMALL,
        "pretrain.epochs=500",
        "pretrain.checkpoint_epochs=1000",
        "pretrain.checkpoint_minutes=0.001",
    ]
    command = [
        sys.executable,
        "-m",
        "amr_cli.train",
        "run",
        "demo",
        "--data",
        str(ntu_shards),
        *settings,
        "--json",
        "--out",
    ]
    run = tmp_path / "killed"
    dice, started_at, kills = random.Random(0), [], 0
    while kills < 6:
        process = subprocess.Popen([*command, str(run)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        before = len(list_checkpoints(run / "checkpoints"))
        newest = list_checkpoints(run / "checkpoints")[-1:]
        deadline = time.monotonic() + 120
        while (
            process.poll() is None
            and list_checkpoints(run / "checkpoints")[-1:] == newest
            and time.monotonic() < deadline
        ):
            time.sleep(0.01)
        time.sleep(dice.uniform(0, 0.4))
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert process.returncode == -signal.SIGKILL, process.stderr.read().decode()
        kills += 1
        started_at.append(_step(list_checkpoints(run / "checkpoints")[-1]))
        assert (
            before <= 3
        )  # a kill between a write and the removal of the oldest leaves one more, until the next write
    assert started_at == sorted(set(started_at))  # every sitting got further
    per_epoch = 3
    assert any(step % per_epoch for step in started_at)
    subprocess.run([*command, str(run)], check=True, capture_output=True)
    subprocess.run([*command, str(tmp_path / "whole")], check=True, capture_output=True)
    assert same_files(run, tmp_path / "whole")
    ours, theirs = (json.loads((p / "results.json").read_text()) for p in (run, tmp_path / "whole"))
    assert [r["figures"] for r in ours["evaluations"]] == [r["figures"] for r in theirs["evaluations"]]
    assert ours["pretraining"]["loss"] == theirs["pretraining"]["loss"]
    assert not list((run / "checkpoints").glob(".*"))
    epochs = [
        e["step"]
        for line in (run / "metrics.jsonl").read_text().splitlines()
        if (e := json.loads(line))["stage"] == "pretrain"
    ]
    assert epochs == list(range(1, 501))  # each epoch is logged once


def _step(path: Path) -> int:
    return int(re.findall(r"step-(\d+)", path.name)[0])


ZEROS = ["guidance.source=shard", "data.empty_bodies=keep"]
AGREEING = ["agreement.contrast=0.1", "agreement.teacher=0.5", "agreement.layers=1"]


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["method=mamp"],
        ["precision=bfloat16"],
        ["guidance.source=shard", "data.empty_bodies=keep"],
        AGREEING,
    ],
)
def test_taken_up_in_the_middle_of_an_epoch(ntu_shards, tmp_path, overrides):
    experiment = small(ntu_shards, UNJUDGED, *overrides)
    run_experiment(experiment, tmp_path / "whole")
    for stop in (2, 4, 5):
        with pytest.raises(Stop):
            run_experiment(experiment, tmp_path / "parts", Listener(stop_after=stop))
    listener = Listener()
    run_experiment(experiment, tmp_path / "parts", listener)
    assert listener.steps[0] == 6
    assert same_files(tmp_path / "whole", tmp_path / "parts")
    losses = [_losses(tmp_path / n) for n in ("whole", "parts")]
    assert losses[0] == losses[1]


def _losses(run: Path) -> list[float]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [entry["loss"] for entry in lines if entry["stage"] == "pretrain"]


def test_settings_that_change_no_result_may_change_when_a_run_is_taken_up(ntu_shards, tmp_path):
    with pytest.raises(Stop):
        run_experiment(small(ntu_shards), tmp_path / "run", Listener(stop_after=3))
    listener = Listener()
    changed = ["pretrain.keep_checkpoints=1", "data.resident=host", UNJUDGED]
    run_experiment(small(ntu_shards, *changed), tmp_path / "run", listener)
    assert listener.steps[0] == 4


def test_a_folder_serves_one_process_at_a_time(ntu_shards, tmp_path):
    class Second(Listener):
        def advance(self, done: int, total: int, metrics: dict[str, float]) -> None:
            if done == 2 and total == 12:
                with pytest.raises(UsageError, match="another process is at work in"):
                    run_experiment(small(ntu_shards), tmp_path / "run")
                self.lines.append("refused")

    listener = Second()
    run_experiment(small(ntu_shards, UNJUDGED), tmp_path / "run", listener)
    assert listener.lines == ["refused"]


def test_deterministic_mode_is_switched_on_and_off_again(ntu_shards, tmp_path):
    seen = []

    class Looking(Listener):
        def advance(self, done: int, total: int, metrics: dict[str, float]) -> None:
            seen.append(torch.are_deterministic_algorithms_enabled())

    run_experiment(small(ntu_shards, "deterministic=true"), tmp_path / "run", Looking())
    assert all(seen)
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(ntu_shards, tmp_path, damage):
    with pytest.raises(Stop):
        run_experiment(small(ntu_shards), tmp_path / "run", Listener(stop_after=7))
    newest = list_checkpoints(tmp_path / "run" / "checkpoints")[-1]
    content = bytearray(newest.read_bytes())
    middle = len(content) // 2
    content[middle] ^= 1  # one bit of a weight: only the checksum can tell
    newest.write_bytes({"cut": content[:500], "flip": content, "empty": b""}[damage])
    listener = Listener()
    run_experiment(small(ntu_shards, UNJUDGED), tmp_path / "run", listener)
    assert listener.steps[0] == 7
    assert re.search(r"step-000000007.* is damaged \(.*checksum.*\); going back", listener.lines[0])
    run_experiment(small(ntu_shards, UNJUDGED), tmp_path / "whole")
    assert same_files(tmp_path / "run", tmp_path / "whole")


def test_checkpoints_are_kept_to_the_last_few(tmp_path):
    (tmp_path / ".step-000000001-0123456789abcdef.pt.77.tmp").write_text("what a kill left")
    for step in range(1, 6):
        save_checkpoint(tmp_path, step, {"x": torch.ones(2)}, keep=2)
    assert [_step(p) for p in sorted(tmp_path.iterdir())] == [4, 5]


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "touched",))

    save_checkpoint(tmp_path, 1, {"x": 1}, keep=5)
    from hashlib import sha256
    from io import BytesIO

    zipped = BytesIO()
    torch.save({"step": 2, "x": Evil()}, zipped)
    for step, content in ((2, zipped.getvalue()), (3, pickle.dumps({"step": 3, "x": Evil()}))):
        (tmp_path / f"step-{step:09d}-{sha256(content).hexdigest()[:16]}.pt").write_bytes(content)
    state, problems = load_latest(tmp_path, CPU)
    assert state is not None
    assert state["step"] == 1
    assert len(problems) == 2
    assert not (tmp_path / "touched").exists()
