"""Two gloo processes on the CPU do what one process does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from amr_train import load_encoder
from amr_train.evaluation.records import records_in
from amr_train.parallel.processes import Processes
from tests.amr_train.runs import SMALL

pytestmark = pytest.mark.long

SETTINGS = [*SMALL, "pretrain.epochs=6", "pretrain.check_steps=2", "pretrain.min_lr=0.001"]
FINETUNED = [
    "evaluation.protocols=[linear, knn, finetune]",
    "evaluation.finetune.epochs=3",
    "evaluation.finetune.warmup_epochs=1",
]
WITHOUT_CHANCE = [
    "evaluation.finetune.drop_path=0",
    "evaluation.finetune.head_dropout=0",
    "evaluation.finetune.batch_size=8",
]
SETTINGS += [*FINETUNED, *WITHOUT_CHANCE, "evaluation.linear.views=augmented"]


def train(
    shards: Path, out: Path, *options: str, launcher: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        *launcher,
        "-m",
        "amr_cli.train",
        "run",
        "demo",
        "--data",
        str(shards),
        "--out",
        str(out),
        "--json",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*command, *SETTINGS, *options], capture_output=True, text=True, env=environment, timeout=200
    )


def losses(run: Path) -> list[float]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [entry["loss"] for entry in lines if entry["stage"] == "pretrain"]


@pytest.fixture(scope="module")
def alone(ntu_shards, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("alone") / "run"
    done = train(ntu_shards, out)
    assert done.returncode == 0, done.stderr
    return out


def test_two_processes_have_the_losses_of_one(ntu_shards, tmp_path, alone):
    done = train(ntu_shards, tmp_path / "two", "--nproc", "2")
    assert done.returncode == 0, done.stderr
    assert losses(tmp_path / "two") == pytest.approx(losses(alone), abs=1e-5)
    assert len(losses(alone)) == 6
    assert losses(alone)[-1] < losses(alone)[0]
    clips = torch.randn(4, 2, 24, 25, 3, generator=torch.Generator().manual_seed(0))
    features = [load_encoder(run)(clips) for run in (alone, tmp_path / "two")]
    torch.testing.assert_close(features[0], features[1], atol=1e-3, rtol=1e-3)
    records = [list(records_in(run)) for run in (alone, tmp_path / "two")]
    assert len(records[0]) == len(records[1]) == 7
    figures = [[r["figures"] for r in kept if r["subject"]["kind"] != "encoder"] for kept in records]
    assert figures[0] == figures[1]
    finetuned = [next(r for r in kept if r["protocol"] == "finetune") for kept in records]
    sums = [sum(map(sum, r["details"]["confusion"])) for r in finetuned]
    assert sums == [r["clips"]["test"] for r in finetuned]  # each test clip counts once
    printed = json.loads(done.stdout)["evaluations"]  # once, by the process that writes
    told = [(r["protocol"], r["subject"], r["figures_percent"]) for r in printed]
    kept = [(r["protocol"], r["subject"], r["figures"]) for r in records[1]]
    assert sorted(map(json.dumps, told)) == sorted(map(json.dumps, kept))
    assert json.loads((tmp_path / "two" / "run.json").read_text())["hardware"]["processes"] == 2
    assert len(list((tmp_path / "two" / "tensorboard").iterdir())) == 1


def test_views_are_told_from_the_clips_of_all_processes(ntu_shards, tmp_path):
    agreement = [
        "agreement.contrast=1",
        "agreement.negatives=subject",
        "agreement.teacher=0.5",
        "agreement.layers=1",
        "pretrain.batch_size=5",
    ]
    found = []
    for number in ("1", "2"):  # five clips are dealt out as two and three
        out = tmp_path / number
        done = train(
            ntu_shards, out, "--nproc", number, *agreement, "pretrain.batch_size=5", "evaluation.protocols=[]"
        )
        assert done.returncode == 0, done.stderr
        found.append(losses(out))
    assert found[0] == pytest.approx(found[1], abs=1e-5)


def test_torchrun_takes_up_what_one_process_began(ntu_shards, tmp_path, alone):
    """The number of processes may change between sittings, as under elastic restarts."""
    from amr_train import load_experiment, run_experiment
    from tests.amr_train.runs import Listener, Stop

    settings = [*SETTINGS, f"data.path={ntu_shards}", "pretrain.checkpoint_minutes=1e-9"]
    with pytest.raises(Stop):
        run_experiment(
            load_experiment("demo", settings), tmp_path / "run", Listener(stop_after=8)
        )  # in the middle of epoch 3
    launcher = (
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "--no-python",
        sys.executable,
    )
    done = train(ntu_shards, tmp_path / "run", launcher=launcher)
    assert done.returncode == 0, done.stderr
    assert losses(tmp_path / "run") == pytest.approx(losses(alone), abs=1e-5)


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["data.split=xset"], 2, "there is no split 'xset'"),
        (["pretrain.batch_size=1"], 2, "a batch of 1 clips cannot be shared by 2 processes"),
        (["pretrain.lr=1e30", "target.normalize=none", "pretrain.warmup_epochs=0"], 1, "not finite at step"),
    ],
)
def test_an_error_in_the_processes_ends_them(ntu_shards, tmp_path, options, code, says):
    done = train(ntu_shards, tmp_path / "run", "--nproc", "2", *options)
    assert done.returncode == code
    assert says in done.stderr
    assert code == 1 or done.stderr.count(says) == 1
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) < 10


def test_a_single_process_needs_no_group():
    values = torch.arange(3.0)
    alone = Processes()
    assert alone.main
    assert torch.equal(alone.total(values), values)
    assert torch.equal(alone.least(values), values)
    assert alone.any(True) and not alone.any(False)  # noqa: PT018
    assert alone.from_main(lambda: 5) == 5


def _normed(rank: int, store: str, out: str) -> None:
    """One of two processes: its half of a batch through BatchNorm, and its gradient."""
    import torch.distributed as dist

    from amr_train.evaluation.finetuning import SharedBatchNorm

    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    values = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    mine = values[rank * 4 : rank * 4 + 4].requires_grad_()
    norm = SharedBatchNorm(3)
    norm.clips = 8  # of both
    (norm(mine) * torch.arange(12.0).view(4, 3) * (1 + rank)).sum().backward()
    torch.save([norm.running_mean, norm.running_var, mine.grad], f"{out}/{rank}.pt")
    dist.destroy_process_group()


def test_batch_norm_sees_the_clips_of_all_processes(tmp_path):
    torch.multiprocessing.spawn(_normed, (str(tmp_path / "store"), str(tmp_path)), nprocs=2)
    halves = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    values = torch.randn(8, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    norm = torch.nn.BatchNorm1d(3)
    weight = torch.cat([torch.arange(12.0).view(4, 3) * (1 + rank) for rank in range(2)])
    (norm(values) * weight).sum().backward()
    for rank in range(2):
        mine = values.grad[rank * 4 : rank * 4 + 4]
        torch.testing.assert_close(halves[rank][0], norm.running_mean)
        torch.testing.assert_close(halves[rank][1], norm.running_var)
        torch.testing.assert_close(halves[rank][2], mine, atol=1e-4, rtol=1e-4)
