"""One training step of every method at the paper's settings, both bodies of every clip fed, with the counted
cost beside the published one.

All methods go through the same encoder, attention kernels and optimiser; times are ratios within one run.
Runs on the GPU where there is one.
"""

from __future__ import annotations

from functools import partial

import torch

from amr_train.config import Experiment
from amr_train.data.batching import Batch
from amr_train.experiments.loading import load_experiment
from amr_train.models.flops import count_flops
from amr_train.models.masked import MaskedReconstruction
from amr_train.parallel.processes import Processes, choose_device
from amr_train.training.loop import prepare, train_step
from amr_train.training.optimizers import Optimizer, make_optimizer
from benchmarks.timing import best_seconds

PUBLISHED = {"amr": "3.8", "amr-no-focal": "3.8", "mae": "13.7", "mamp": "13.7"}
"""GFLOPs of a forward pass, a clip of two bodies, without the products of attention."""
METHODS = ("mamp", "mae", "subset", "pooled", "amr-self-attention", "amr-no-focal", "amr")
JOINTS, WINDOWS = 25, (4, 8, 12)


def main() -> None:
    device = choose_device("auto")
    print("forward pass of a clip of two bodies, GFLOPs")
    print(f"{'':20}{'parameters':>12}{'linear layers':>15}{'published':>11}{'with attention':>16}")
    for name in METHODS:
        model = MaskedReconstruction(load_experiment(f"ntu120-xsub-{name}"), JOINTS, WINDOWS)
        linear, attention = count_flops(model)
        size = sum(p.numel() for p in model.parameters())
        print(
            f"{name:20}{size:12,}{linear / 1e9:15.2f}{PUBLISHED.get(name, '-'):>11}"
            f"{(linear + attention) / 1e9:16.2f}",
            flush=True,
        )
    clips = 128 if device.type == "cuda" else 8
    print(
        f"\ntraining step on {device.type}, batch {clips}, two bodies a clip; ratio to amr in the same "
        f"precision"
    )
    print(f"{'':20}{'float32 ms/clip':>17}{'ratio':>7}{'bfloat16 ms/clip':>18}{'ratio':>7}")
    times = {}
    for name in reversed(METHODS):
        times[name] = [step_seconds(name, p, device, clips) / clips * 1000 for p in ("float32", "bfloat16")]
        ratios = [t / a for t, a in zip(times[name], times["amr"], strict=True)]
        print(
            f"{name:20}{times[name][0]:17.2f}{ratios[0]:7.2f}{times[name][1]:18.2f}{ratios[1]:7.2f}",
            flush=True,
        )


def step_seconds(
    method: str, precision: str, device: torch.device, clips: int, *settings: str, repeats: int = 3
) -> float:
    """Seconds of one training step on clips of two moving bodies, the best of several."""
    experiment = load_experiment(f"ntu120-xsub-{method}", [f"precision={precision}", *settings])
    run = partial(_steps, *_prepared(experiment, device), batch_of(clips, device), experiment)
    run(3 if device.type == "cuda" else 1)  # warm up, compile
    count = 10 if device.type == "cuda" else 1
    return best_seconds(partial(run, count), repeats) / count


def _prepared(experiment: Experiment, device: torch.device) -> tuple[torch.nn.Module, Optimizer]:
    torch.manual_seed(0)
    model = MaskedReconstruction(experiment, JOINTS, WINDOWS).to(device)
    return prepare(model, experiment, Processes(), device), make_optimizer(model, experiment.pretrain)


def batch_of(clips: int, device: torch.device, frames: int = 120) -> Batch:
    joints = torch.randn(2 * clips, frames, JOINTS, 3, device=device).cumsum(1) * 0.01
    row = torch.arange(clips, device=device).repeat_interleave(2)
    return Batch(joints, None, None, row, torch.arange(clips), 0, 2 * clips, (0, clips))


def _steps(
    model: torch.nn.Module, optimizer: Optimizer, batch: Batch, experiment: Experiment, count: int
) -> None:
    for step in range(count):
        train_step(model, batch, optimizer, experiment, step, Processes())
    if batch.joints.is_cuda:
        torch.cuda.synchronize()
