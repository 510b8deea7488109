"""Weights & Biases and MLflow get what JSONL gets; stand-ins for the libraries take down what they are
told."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import pytest

from amr_data import UsageError
from amr_train import run_experiment
from tests.amr_train.runs import small


def test_wandb_gets_every_epoch(ntu_shards, tmp_path, monkeypatch):
    said: list = []
    run = SimpleNamespace(log=said.append, finish=lambda: said.append("finished"))
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=lambda **k: said.append(k) or run))
    run_experiment(small(ntu_shards), tmp_path / "run", trackers=["wandb"])
    assert said[0]["config"]["pretrain"]["epochs"] == 4
    assert said[-1] == "finished"
    losses = [entry["pretrain/loss"] for entry in said[1:-1] if "pretrain/loss" in entry]
    assert losses == _losses(tmp_path / "run")


def test_mlflow_gets_every_epoch(ntu_shards, tmp_path, monkeypatch):
    losses, parameters, ended = [], {}, []
    library = SimpleNamespace(
        set_experiment=lambda name: None,
        start_run=lambda run_name: None,
        log_params=parameters.update,
        log_metrics=lambda values, step: losses.append(values.get("pretrain/loss")),
        end_run=lambda: ended.append(1),
    )
    monkeypatch.setitem(sys.modules, "mlflow", library)
    run_experiment(small(ntu_shards), tmp_path / "run", trackers=["mlflow"])
    assert [v for v in losses if v is not None] == _losses(tmp_path / "run")
    assert parameters["model.width"] == 16
    assert ended


def _losses(run) -> list[float]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [entry["loss"] for entry in lines if entry["stage"] == "pretrain"]


def test_a_tracker_that_is_not_there(ntu_shards, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UsageError, match="pip install wandb"):
        run_experiment(small(ntu_shards), tmp_path / "run", trackers=["wandb"])
    with pytest.raises(UsageError, match="there is no tracker 'visdom'; known: wandb, mlflow"):
        run_experiment(small(ntu_shards), tmp_path / "run", trackers=["visdom"])
    assert not (tmp_path / "run").exists()
