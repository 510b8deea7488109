"""The linear probe, 100 epochs on random features of NTU-60's size, and retrieval among them. On the GPU
where there is one."""

from __future__ import annotations

import time

import torch

from amr_train.config import LinearConfig
from amr_train.evaluation.features import Features
from amr_train.evaluation.frozen import knn, linear_probe, retrieval
from amr_train.parallel.processes import choose_device

TRAIN, TEST, CLASSES, WIDTH = 40_091, 16_487, 60, 256


def main() -> None:
    device = choose_device("auto")
    generator = torch.Generator().manual_seed(0)
    parts = [torch.randn(n, WIDTH, generator=generator).to(device) for n in (TRAIN, TEST)]
    labels = [torch.randint(CLASSES, (n,), generator=generator).to(device) for n in (TRAIN, TEST)]
    features = Features(parts[0], labels[0], parts[1], labels[1], CLASSES)
    print(f"{TRAIN:,} and {TEST:,} random features of width {WIDTH} on {device.type}")
    for name, work in {
        "linear probe, 100 epochs": lambda: linear_probe(features, LinearConfig(), 0),
        "kNN": lambda: knn(features, 1),
        "retrieval": lambda: retrieval(features),
    }.items():
        began = time.perf_counter()
        work()
        print(f"{name:28}{time.perf_counter() - began:8.1f} s", flush=True)
