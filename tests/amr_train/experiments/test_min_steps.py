"""Few clips are trained on for more epochs (`pretrain.min_steps`), unless somebody says how many."""

from __future__ import annotations

import json

import pytest

from amr_train.experiments.length import steps_of
from amr_train.experiments.loading import load_experiment, resolve
from amr_train.experiments.planning import FINISHED, plan
from amr_train.experiments.running import run_experiment
from amr_train.experiments.sources import settled
from amr_train.experiments.stages import stages_alone
from amr_train.identity import training_digest
from tests.amr_train.runs import small


@pytest.mark.parametrize(
    ("overrides", "epochs", "least"),
    [
        ([], 120, 3600),
        (["pretrain.epochs=30"], 30, 0),
        (["pretrain.epochs=30", "pretrain.min_steps=5"], 30, 5),
        (["pretrain.min_steps=0"], 120, 0),
        (["scale=tiny"], load_experiment("nw-ucla-amr", ["scale=tiny"]).pretrain.epochs, 0),
    ],
)
def test_who_says_how_many_epochs_says_how_long(overrides, epochs, least):
    config = load_experiment("any-skeleton-small-amr", overrides).pretrain
    assert (config.epochs, config.min_steps) == (epochs, least)


def test_a_suite_that_says_epochs_switches_it_off():
    found = resolve("any-skeleton-small-amr", suite={"pretrain": {"epochs": 7, "warmup_epochs": 0}})
    assert (found.experiment.pretrain.epochs, found.experiment.pretrain.min_steps) == (7, 0)
    assert found.origins["pretrain.min_steps"] == "suite"
    assert resolve("any-skeleton-small-amr").origins["pretrain.min_steps"] == "data any-skeleton-small"
    assert resolve("nw-ucla-amr", ["pretrain.epochs=7"]).origins["pretrain.min_steps"] == "default"


def test_what_is_counted_in_epochs_grows_alike(ntu_shards):
    asked = [
        "pretrain.epochs=4",
        "pretrain.warmup_epochs=1",
        "pretrain.batch_size=8",
        "monitor.every_epochs=2",
    ]
    asked += ["pretrain.checkpoint_epochs=3"]
    plain = settled(small(ntu_shards, *asked))
    each = plain.clips // 8
    assert plain.experiment.pretrain.epochs == 4
    # as many steps as there are already change nothing
    enough = settled(small(ntu_shards, *asked, f"pretrain.min_steps={4 * each}"))
    assert enough.experiment.pretrain.epochs == 4
    assert enough.lines == plain.lines
    found = settled(small(ntu_shards, *asked, f"pretrain.min_steps={9 * each + 1}"))
    config = found.experiment.pretrain
    assert (config.epochs, config.warmup_epochs, config.checkpoint_epochs) == (10, 2, 7)
    assert found.experiment.monitor.every_epochs == 5
    assert steps_of(found.experiment, found.clips) == 10 * each
    assert f"{plain.clips} training clips are few: 10 epochs in place of 4" in found.lines[0]
    # it is the training that 10 epochs make
    same = settled(small(ntu_shards, *asked, "pretrain.epochs=10", "pretrain.warmup_epochs=2"))
    assert training_digest(found.experiment) == training_digest(same.experiment)
    assert settled(found.experiment).experiment == found.experiment


def test_a_run_is_as_long_as_planned_and_taken_up(ntu_shards, tmp_path):
    experiment = small(ntu_shards, "pretrain.epochs=2", "pretrain.min_steps=10", "evaluation.protocols=[]")
    run_experiment(experiment, tmp_path / "run")
    (planned,) = plan(stages_alone(experiment, tmp_path / "run"))
    pretraining = json.loads((tmp_path / "run" / "pretraining.json").read_text())
    assert planned.state == FINISHED
    assert pretraining["steps"] == planned.steps >= 10
    before = (tmp_path / "run" / "encoder.safetensors").stat().st_mtime_ns
    run_experiment(experiment, tmp_path / "run")
    assert (tmp_path / "run" / "encoder.safetensors").stat().st_mtime_ns == before
