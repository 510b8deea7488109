"""Clips a second of whole training at the paper's model, feed included: precision, compilation and batch size
side by side, the share of the measured bf16 peak, and where the rest of a step goes. `python -m benchmarks
throughput`; made for a GPU, small on a CPU.

Synthetic clips have NTU's make-up: 40 to 130 frames, two bodies in every sixth clip, empty bodies skipped.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch

from amr_data import SplitArrays
from amr_train.config import Experiment
from amr_train.data.feed import Feed
from amr_train.experiments.loading import load_experiment
from amr_train.models.flops import count_flops
from amr_train.models.masked import MaskedReconstruction
from amr_train.parallel.processes import Processes, choose_device
from amr_train.training.loop import make_optimizer, prepare, train_step
from benchmarks.step import JOINTS, WINDOWS
from benchmarks.timing import best_seconds

EPOCH_CLIPS, EPOCHS = 40_091, 400


def main() -> None:
    device = choose_device("auto")
    cuda = device.type == "cuda"
    peak = matrix_peak(device)
    print(
        f"{torch.cuda.get_device_name(device) if cuda else 'CPU'}: bf16 matrix product {peak / 1e12:.2f} "
        f"TFLOP/s"
    )
    arrays = clips_like_ntu(16_384 if cuda else 64)
    batches = (128, 512, 2048) if cuda else (8,)
    modes = ("none", "default", "cuda-graphs") if cuda else ("none", "default")
    precisions = ("float32", "bfloat16") if cuda else ("bfloat16",)
    linear, attention = count_flops(MaskedReconstruction(load_experiment("ntu60-xsub-amr"), JOINTS, WINDOWS))
    bodies = len(arrays.clip) / len(arrays.names)
    flops = 3 * (linear + attention) / 2 * bodies  # forward and backward, of the bodies that are there
    print(
        f"{'precision':10}{'compile':>13}{'batch':>7}{'clips/s':>10}{'of peak':>9}"
        f"{'400 epochs of NTU-60 xsub':>27}"
    )
    for precision in precisions:
        for mode in modes:
            for batch in batches:
                settings = [f"precision={precision}", f"compile={mode}", f"pretrain.batch_size={batch}"]
                speed = clips_per_second(load_experiment("ntu60-xsub-amr", settings), arrays, device)
                minutes = EPOCH_CLIPS * EPOCHS / speed / 60
                print(
                    f"{precision:10}{mode:>13}{batch:7}{speed:10,.0f}{speed * flops / peak:9.1%}"
                    f"{minutes:23.1f} min",
                    flush=True,
                )
    print("\nparts of a bfloat16 step, ms")
    for name, seconds in parts(
        load_experiment("ntu60-xsub-amr", [f"pretrain.batch_size={batches[0]}"]), arrays, device
    ).items():
        print(f"{name:36}{1000 * seconds:9.2f}")


def clips_per_second(experiment: Experiment, arrays: SplitArrays, device: torch.device) -> float:
    """Whole training, the first steps left out."""
    feed = Feed(arrays, device, experiment.model.frames)
    torch.manual_seed(0)
    model = MaskedReconstruction(experiment, JOINTS, WINDOWS).to(device)
    trained, optimizer = (
        prepare(model, experiment, Processes(), device),
        make_optimizer(model, experiment.pretrain),
    )

    def steps(epoch: int, most: int) -> int:
        done = 0
        views = feed.train_views(
            experiment.pretrain.batch_size, experiment.augment, torch.Generator().manual_seed(epoch)
        )
        for batch in feed.batches(views):
            train_step(trained, batch, optimizer, experiment, done, Processes())
            done += 1
            if done == most:
                break
        wait(device)
        return done

    steps(0, 10 if device.type == "cuda" else 1)
    if experiment.compile == "cuda-graphs":
        steps(1, 1000)  # every size of a batch is captured once
    began = time.perf_counter()
    done = sum(steps(epoch, 1000 if device.type == "cuda" else 3) for epoch in (2, 3))
    return done * experiment.pretrain.batch_size / (time.perf_counter() - began)


def parts(experiment: Experiment, arrays: SplitArrays, device: torch.device) -> dict[str, float]:
    """Seconds of the parts of a step, each on its own, so that they need not add up."""
    feed = Feed(arrays, device, experiment.model.frames)
    model = MaskedReconstruction(experiment, JOINTS, WINDOWS).to(device)
    optimizer, whole = (
        make_optimizer(model, experiment.pretrain),
        prepare(model, experiment, Processes(), device),
    )
    views = feed.train_views(
        experiment.pretrain.batch_size, experiment.augment, torch.Generator().manual_seed(0)
    )
    batch = feed.batch(views, 0)
    noise = torch.rand(len(batch.joints), model.encoder.tokens, device=device)

    def forward() -> torch.Tensor:
        with torch.autocast(device.type, torch.bfloat16):
            return model(batch.joints, noise)[0].mean()  # type: ignore[no-any-return]

    def backward() -> None:
        optimizer.zero_grad(set_to_none=True)
        forward().backward()

    def guidance() -> None:
        model.weights(batch.joints, None)

    work: dict[str, Callable[[], object]] = {
        "feed: crop, resample, rotate": lambda: feed.batch(views, 0),
        "focal weights": guidance,
        "forward": forward,
        "forward and backward": backward,
        "optimiser": optimizer.step,
        "whole step": lambda: train_step(whole, batch, optimizer, experiment, 0, Processes()),
    }
    return {name: timed(function, device) for name, function in work.items()}


def timed(function: Callable[[], object], device: torch.device) -> float:
    def once() -> None:
        function()
        wait(device)

    once()
    return best_seconds(once, 10 if device.type == "cuda" else 3)


def matrix_peak(device: torch.device) -> float:
    """FLOP/s of a large bf16 matrix product on random data."""
    size = 8192 if device.type == "cuda" else 1024
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    return 2 * size**3 / timed(lambda: a @ b, device)


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def clips_like_ntu(count: int) -> SplitArrays:
    rng = np.random.default_rng(0)
    bodies = np.where(np.arange(count) % 6 == 0, 2, 1)
    clip = np.repeat(np.arange(count), bodies)
    frames = rng.integers(40, 131, count)
    rows = frames[clip]
    joints = rng.normal(0, 0.3, (int(rows.sum()), JOINTS, 3)).astype(np.float32)
    energy = np.zeros((len(joints), JOINTS, 0), np.float32)
    names = [str(i) for i in range(count)]
    first = np.cumsum(rows) - rows
    frame = np.arange(len(joints)) - np.repeat(first, rows)
    labels = np.zeros(count, np.int64)
    return SplitArrays(joints, energy, frame, first, rows, clip, labels, names, frames)
