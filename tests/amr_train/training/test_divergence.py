"""A loss that is no longer finite stops the run and says where; the checkpoints before it stay good."""

from __future__ import annotations

import json
import re

import pytest
import torch

from amr_data import AmrError
from amr_train import run_experiment
from amr_train.models.masked import MaskedReconstruction
from amr_train.training.checkpoints import list_checkpoints, load_latest
from amr_train.training.divergence import DivergenceError
from tests.amr_train.runs import UNJUDGED, Listener, small

CPU = torch.device("cpu")


@pytest.fixture
def poisoned(monkeypatch):
    """Makes the loss of the eighth step, the second of the third epoch, what it is told to be."""

    def poison(value: float, gradient: float | None = None) -> None:
        calls = []
        forward = MaskedReconstruction.forward

        def wrapped(self, *args):
            loss, plain = forward(self, *args)
            calls.append(1)
            if len(calls) != 8:
                return loss, plain
            if gradient is not None:
                loss.register_hook(lambda grad: grad * gradient)
                return loss, plain
            return loss * value, plain

        monkeypatch.setattr(MaskedReconstruction, "forward", wrapped)

    return poison


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_step_clips_and_last_good_checkpoint_are_named(ntu_shards, tmp_path, poisoned, value):
    poisoned(value)
    with pytest.raises(
        DivergenceError, match=r"the loss is not finite at step 8, clips S\d{3}C\d{3}"
    ) as caught:
        run_experiment(small(ntu_shards), tmp_path / "run")
    record = json.loads((tmp_path / "run" / "divergence.json").read_text())
    assert (record["step"], len(record["clips"]), len(set(record["clips"]))) == (8, 8, 8)
    named = re.findall(r"S\d{3}C\d{3}P\d{3}R\d{3}A\d{3}", str(caught.value))
    assert named == record["clips"][:5]
    newest = list_checkpoints(tmp_path / "run" / "checkpoints")[-1]
    assert str(newest) in str(caught.value)
    state, _ = load_latest(tmp_path / "run" / "checkpoints", CPU)
    assert state["step"] == 7
    assert all(v.isfinite().all() for v in state["model"].values())
    assert isinstance(caught.value, AmrError)


def test_the_clips_named_are_those_of_the_step(ntu_shards, tmp_path, poisoned, monkeypatch):
    """Against what the feed really gave at that step."""
    from amr_train.training import loop

    given = []
    step_function = loop.train_step
    monkeypatch.setattr(
        loop,
        "train_step",
        lambda model, batch, *rest: given.append(batch.clips) or step_function(model, batch, *rest),
    )
    poisoned(float("nan"))
    with pytest.raises(DivergenceError):
        run_experiment(small(ntu_shards), tmp_path / "run")
    from amr_data import open_dataset

    dataset = open_dataset(ntu_shards)
    names = dataset.arrays(dataset.split("xsub", "train")).names
    record = json.loads((tmp_path / "run" / "divergence.json").read_text())
    assert record["clips"] == [names[i] for i in given[7].tolist()]


def test_weights_that_are_not_finite_never_become_a_checkpoint(ntu_shards, tmp_path, poisoned):
    poisoned(1.0, gradient=float("inf"))
    with pytest.raises(DivergenceError, match="the weights are not finite at step 8"):
        run_experiment(small(ntu_shards), tmp_path / "run")
    assert [int(p.name[5:14]) for p in list_checkpoints(tmp_path / "run" / "checkpoints")] == [6, 7]


def test_detect_anomaly_names_the_operation(ntu_shards, tmp_path, poisoned):
    poisoned(1.0, gradient=float("nan"))
    with (
        pytest.raises(DivergenceError, match=r"Function '\w+' returned nan values.* at step 8, clips S"),
        pytest.warns(UserWarning, match="Error detected in"),
    ):
        run_experiment(small(ntu_shards), tmp_path / "run", detect_anomaly=True)


def test_a_learning_rate_out_of_bounds_diverges(ntu_shards, tmp_path):
    settings = ["pretrain.lr=1e30", "pretrain.warmup_epochs=0", "target.normalize=none"]
    with pytest.raises(
        DivergenceError, match=r"not finite.*no checkpoint was written yet\nlower pretrain\.lr"
    ):
        run_experiment(
            small(ntu_shards, *settings, "pretrain.checkpoint_minutes=60", "pretrain.checkpoint_epochs=9"),
            tmp_path / "run",
        )


def test_clipping_keeps_the_gradients_norm_below_its_bound(ntu_shards, tmp_path, monkeypatch):
    norms = []
    step = torch.optim.AdamW.step

    def look(self, *args):
        grads = [p.grad for g in self.param_groups for p in g["params"]]
        norms.append(float(torch.stack([g.norm() for g in grads]).norm()))
        return step(self, *args)

    monkeypatch.setattr(torch.optim.AdamW, "step", look)
    run_experiment(small(ntu_shards, "pretrain.clip_grad=0.01", UNJUDGED), tmp_path / "clipped", Listener())
    assert max(norms) <= 0.0101
    norms.clear()
    run_experiment(small(ntu_shards, UNJUDGED), tmp_path / "free", Listener())
    assert max(norms) > 0.1
