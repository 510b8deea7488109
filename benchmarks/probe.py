"""The linear probe, 100 epochs on random features of NTU-60's size, and retrieval among them. On the GPU
where there is one."""

from __future__ import annotations

import time

import torch

from amr_train.config import LinearConfig
from amr_train.evaluation.features import MEAN, Features
from amr_train.evaluation.protocols.knn import votes
from amr_train.evaluation.protocols.linear import LinearProbe
from amr_train.evaluation.protocols.retrieval import ranked
from amr_train.parallel.processes import choose_device

TRAIN, TEST, CLASSES, WIDTH = 40_091, 16_487, 60, 256


def main() -> None:
    device = choose_device("auto")
    generator = torch.Generator().manual_seed(0)
    parts = [torch.randn(n, WIDTH, generator=generator).to(device) for n in (TRAIN, TEST)]
    labels = [torch.randint(CLASSES, (n,), generator=generator).to(device) for n in (TRAIN, TEST)]
    features = Features({MEAN: parts[0]}, labels[0], {MEAN: parts[1]}, labels[1], CLASSES)
    config = LinearConfig()

    def linear() -> None:
        probe = LinearProbe(features, MEAN, config, 0)
        for _ in range(config.epochs):
            probe.epoch(parts[0])

    print(f"{TRAIN:,} and {TEST:,} random features of width {WIDTH} on {device.type}")
    for name, work in {
        "linear probe, 100 epochs": linear,
        "kNN": lambda: votes(features, MEAN, 1),
        "retrieval": lambda: ranked(features, MEAN),
    }.items():
        began = time.perf_counter()
        work()
        print(f"{name:28}{time.perf_counter() - began:8.1f} s", flush=True)
