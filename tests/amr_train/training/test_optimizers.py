"""Muon against its formula, matrix by matrix, and against torch's; who gets which weights; runs with it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from amr_data import UsageError
from amr_train import load_experiment, run_experiment
from amr_train.config import PretrainConfig
from amr_train.models.registry import make_method
from amr_train.training.optimizers import Muon, Together, block_matrices, make_optimizer, orthogonal
from tests.amr_train.runs import Listener, Stop, small

SHAPES = [(24, 8), (8, 8), (32, 8), (8, 32), (8, 8)]
PARTS = [3, 1, 1, 1, 1]  # queries, keys and values on top of each other


def iterated(matrix: Tensor) -> Tensor:
    """Five Newton-Schulz iterations of a wide matrix, as Jordan et al. write them."""
    if matrix.shape[0] > matrix.shape[1]:
        return iterated(matrix.T).T
    x = matrix / matrix.square().sum().sqrt()
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x


def slow_steps(weights: list[Tensor], grads: list[list[Tensor]], lr: float, decay: float) -> list[Tensor]:
    """In float64, one map after the other."""
    weights = [w.double() for w in weights]
    held = [torch.zeros_like(w) for w in weights]
    for step in grads:
        for i, grad in enumerate(step):
            held[i] = 0.95 * held[i] + 0.05 * grad.double()
            ahead = 0.05 * grad.double() + 0.95 * held[i]
            maps = ahead.chunk(PARTS[i])
            update = torch.cat([iterated(one) * 0.2 * max(one.shape) ** 0.5 for one in maps])
            weights[i] = weights[i] * (1 - lr * decay) - lr * update
    return weights


def test_steps_are_those_of_the_formula():
    chance = torch.Generator().manual_seed(0)
    weights = [torch.randn(shape, generator=chance) for shape in SHAPES]
    grads = [[torch.randn(shape, generator=chance) for shape in SHAPES] for _ in range(4)]
    matrices = [nn.Parameter(w.clone()) for w in weights]
    optimizer = Muon(matrices, PARTS, lr=0.1, weight_decay=0.3)
    for step in grads:
        for matrix, grad in zip(matrices, step, strict=True):
            matrix.grad = grad.clone()
        optimizer.step()
    wanted = slow_steps(weights, grads, 0.1, 0.3)
    for matrix, slow in zip(matrices, wanted, strict=True):
        torch.testing.assert_close(matrix.detach().double(), slow, atol=5e-6, rtol=1e-5)


def test_it_is_torchs_muon_but_for_its_bfloat16():
    chance = torch.Generator().manual_seed(0)
    ours = [nn.Parameter(torch.randn(shape, generator=chance)) for shape in SHAPES[1:]]
    theirs = [nn.Parameter(p.detach().clone()) for p in ours]
    before = [p.detach().clone() for p in ours]
    settings = {"lr": 0.01, "weight_decay": 0.0}
    optimizers = [
        Muon(ours, PARTS[1:], **settings),
        torch.optim.Muon(theirs, adjust_lr_fn="match_rms_adamw", **settings),
    ]
    for _ in range(3):
        for a, b in zip(ours, theirs, strict=True):
            a.grad = torch.randn(a.shape, generator=chance)
            b.grad = a.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    for a, b, start in zip(ours, theirs, before, strict=True):
        assert float((a - b).detach().norm() / (a - start).detach().norm()) < 0.03


def test_what_it_steps_along_is_nearly_orthogonal_whatever_the_gradients_size():
    chance = torch.Generator().manual_seed(0)
    for shape in ((4, 16, 64), (4, 64, 16)):
        found = orthogonal(
            torch.randn(shape, generator=chance) * torch.tensor([1e-4, 1, 1e4, 0])[:, None, None]
        )
        values = torch.linalg.svdvals(found[:3])
        assert values.min() > 0.65
        assert values.max() < 1.25
        assert not found[3].any()  # no gradient, no step


def test_blocks_matrices_are_muons_and_all_the_rest_is_adamws():
    experiment = load_experiment("demo", ["model.width=16", "pretrain.optimizer=muon"])
    method = make_method(experiment, 25, (4, 8, 12))
    names = {p: name for name, p in method.named_parameters()}
    optimizer = make_optimizer(method, experiment.pretrain)
    assert isinstance(optimizer, Together)
    adamw, muon = optimizer.parts
    mine = {
        names[p]: n
        for group in muon.param_groups
        for p, n in zip(group["params"], group["parts"], strict=True)
    }
    wanted = {"qkv": 3, "query": 1, "key_value": 2, "proj": 1, "0": 1, "2": 1}
    assert mine == {
        name: wanted[name.split(".")[-2]]
        for name in names.values()
        if ".blocks." in name and name.endswith(".weight") and "norm" not in name
    }
    theirs = [names[p] for group in adamw.param_groups for p in group["params"]]
    assert sorted([*mine, *theirs]) == sorted(names.values())
    assert {"encoder.embed.weight", "decoder.head.weight", "encoder.position.joint"} <= set(theirs)
    decayed = {names[p] for group in optimizer.param_groups if group["weight_decay"] for p in group["params"]}
    assert {"encoder.embed.weight", *mine} <= decayed
    assert not [name for name in decayed if name.endswith("bias") or "norm" in name]
    for parameter in block_matrices(method):
        parameter.requires_grad_(False)  # as a teacher's
    with pytest.raises(UsageError, match=r"optimizer=muon.*the method has none; take adamw"):
        make_optimizer(method, experiment.pretrain)
    plain = make_optimizer(method, PretrainConfig())
    assert isinstance(plain, torch.optim.AdamW)


def test_a_stopped_training_with_muon_ends_with_the_same_weights(ntu_shards, tmp_path):
    experiment = small(ntu_shards, "pretrain.optimizer=muon", "pretrain.clip_grad=1")
    whole = run_experiment(experiment, tmp_path / "whole", judged=False)
    with pytest.raises(Stop):
        run_experiment(experiment, tmp_path / "cut", Listener(stop_after=5))
    again = run_experiment(experiment, tmp_path / "cut", judged=False)
    assert again["pretraining"]["loss"] == whole["pretraining"]["loss"]
    encoders = [(tmp_path / name / "encoder.safetensors").read_bytes() for name in ("whole", "cut")]
    assert encoders[0] == encoders[1]
    plain = run_experiment(small(ntu_shards, "pretrain.clip_grad=1"), tmp_path / "plain", judged=False)
    assert plain["pretraining"]["loss"] != whole["pretraining"]["loss"]
