"""Weights & Biases, MLflow and TensorBoard get what JSONL gets, and a run that is taken up goes on where it
was. The services' own libraries take it down, on this machine alone."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from amr_data import UsageError
from amr_train import run_experiment
from amr_train.training.trackers import open_tracker
from tests.amr_train.runs import Listener, Stop, small

KINDS = ("mlflow", "wandb")


@pytest.fixture(scope="module")
def tracked(ntu_shards, tmp_path_factory) -> Iterator[Path]:
    """A run with both services, stopped in its third epoch and taken up with another evaluation setting."""
    folder = tmp_path_factory.mktemp("tracked")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", (folder / "store").as_uri())
        patch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("WANDB_SILENT", "true")
        patch.setenv("WANDB_ERROR_REPORTING", "false")
        patch.setenv("WANDB__DISABLE_STATS", "true")
        patch.delenv("MLFLOW_RUN_ID", raising=False)
        with pytest.raises(Stop):
            run_experiment(small(ntu_shards), folder / "run", Listener(stop_after=7), KINDS, judged=False)
        again = small(ntu_shards, "evaluation.knn_neighbours=3")
        run_experiment(again, folder / "run", trackers=KINDS, judged=False)
        yield folder


def test_mlflow_has_one_run_with_every_epoch(tracked):
    from mlflow import MlflowClient

    client = MlflowClient()
    (experiment,) = (e for e in client.search_experiments() if e.name == "amr")
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_name, run.info.status) == ("run", "FINISHED")
    assert run.data.params["model.width"] == "16"
    history = client.get_metric_history(run.info.run_id, "pretrain/loss")
    assert {m.step: m.value for m in history} == _losses(tracked / "run")


def test_wandb_goes_on_in_one_run_with_every_epoch(tracked):
    files = sorted((tracked / "run" / "wandb").glob("offline-run-*/run-*.wandb"))
    assert len(files) == 2  # two sittings
    names, losses = set(), {}
    for file in files:
        for record in _records(file):
            if record.HasField("run"):
                names.add((record.run.run_id, record.run.display_name, record.run.project))
                width = [u for u in record.run.config.update if u.key == "model"]
                assert not width or json.loads(width[0].value_json)["width"] == 16
            values = {"/".join(i.nested_key) or i.key: i.value_json for i in record.history.item}
            if "pretrain/loss" in values:
                losses[int(values["epoch"])] = float(values["pretrain/loss"])
    kept = json.loads((tracked / "run" / "tracking.json").read_text())
    assert names == {(kept["wandb"], "run", "amr")}
    assert losses == pytest.approx(_losses(tracked / "run"))


def test_tensorboard_has_every_epoch_once(tracked):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(tracked / "run" / "tensorboard")).Reload()
    events = board.Scalars("pretrain/loss")
    assert [e.step for e in events] == [1, 2, 3, 4]
    assert {e.step: e.value for e in events} == pytest.approx(_losses(tracked / "run"))


def test_a_run_that_the_service_does_not_have(ntu_shards, tracked, monkeypatch):
    run = tracked / "run"
    name = json.loads((run / "tracking.json").read_text())["mlflow"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tracked / "other").as_uri())
    with pytest.raises(
        UsageError, match=rf"take up the run {name} .*tracking.json names: .* not found; .*MLFLOW_"
    ):
        run_experiment(small(ntu_shards), run, trackers=["mlflow"], judged=False)
    run_experiment(small(ntu_shards), run, judged=False)  # and the folder is free again


@pytest.mark.parametrize("text", ["{", '{"mlflow": "../x"}', '{"mlflow": 3}'])
def test_a_note_that_names_no_run(ntu_shards, tmp_path, text):
    (tmp_path / "tracking.json").write_text(text)
    with pytest.raises(UsageError, match=r"tracking.json .*remove it to begin another"):
        open_tracker("mlflow", tmp_path, small(ntu_shards))


def test_folders_of_one_name_are_two_runs(ntu_shards, tmp_path, monkeypatch):
    begun = []
    run = SimpleNamespace(define_metric=lambda *a, **k: None)
    library = SimpleNamespace(init=lambda **k: begun.append(k["id"]) or run, Error=OSError)
    monkeypatch.setitem(sys.modules, "wandb", library)
    for parent in ("a", "b", "a"):
        open_tracker("wandb", tmp_path / parent / "run-0", small(ntu_shards))
    assert begun[0] == begun[2] != begun[1]


def _losses(run: Path) -> dict[int, float]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = {entry["step"]: entry["loss"] for entry in lines if entry["stage"] == "pretrain"}
    assert list(losses) == [1, 2, 3, 4]
    return losses


def _records(file: Path) -> Iterator:
    """What the library wrote down of an offline run: its own messages, in LevelDB's log format (blocks of
    32 KiB; seven bytes of checksum, length and kind before each part of a record) after a heading of seven
    bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, place, whole = file.read_bytes(), 7, b""
    assert content.startswith(b":W&B")
    while place + 7 <= len(content):
        if place % 32768 > 32768 - 7:
            place += -place % 32768
            continue
        length, kind = int.from_bytes(content[place + 4 : place + 6], "little"), content[place + 6]
        whole += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(whole)
            whole = b""


def test_a_tracker_that_is_not_there(ntu_shards, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UsageError, match="pip install wandb"):
        run_experiment(small(ntu_shards), tmp_path / "run", trackers=["wandb"])
    with pytest.raises(UsageError, match="there is no tracker 'visdom'; known: wandb, mlflow"):
        run_experiment(small(ntu_shards), tmp_path / "run", trackers=["visdom"])
    assert not (tmp_path / "run").exists()
