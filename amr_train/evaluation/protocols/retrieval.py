"""Retrieval on frozen features: test clips ask for training clips of their class."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from amr_train.config import AugmentConfig, EvaluationConfig
from amr_train.evaluation.features import Features
from amr_train.evaluation.protocols.base import Protocol, Result
from amr_train.evaluation.protocols.knn import closenesses
from amr_train.evaluation.task import Task
from amr_train.parallel.processes import exact

RECALLS = (1, 5, 10)


class Retrieval(Protocol):
    name = "retrieval"

    def settings(self, config: EvaluationConfig, augment: AugmentConfig) -> dict[str, Any]:
        return {"crop": config.crop, "rounding": augment.rounding}

    def run(self, task: Task) -> Result:
        figures: dict[str, float] = {}
        details = {}
        for name in task.features.train:
            found = ranked(task.features, name)
            figures |= {f"mAP {name}": found["mAP"], f"1-NN {name}": found["recall@1"]}
            details[name] = found
        return Result(figures, details)


def ranked(features: Features, name: str) -> dict[str, float]:
    """In percent, `mAP` (the mean over queries of the mean precision at each hit) and `recall@k` (queries
    with a hit among the first k; at 1 the nearest neighbour's accuracy). A query whose class has no training
    clip finds nothing."""
    precision, found = precisions(features, name)
    asked = max(1, len(features.test_labels))
    recalls = {f"recall@{k}": 100 * n / asked for k, n in zip(RECALLS, found.tolist(), strict=True)}
    return {"mAP": 100 * float(precision) / asked, **recalls}


def precisions(features: Features, name: str) -> tuple[Tensor, Tensor]:
    """The sum over queries of the mean precision at each hit (), and how many have a hit among the first k
    (K,), on the features' device, where nobody waits for them."""
    device = features.test_labels.device
    precision = torch.zeros((), device=device, dtype=exact(device))
    found = torch.zeros(len(RECALLS), device=device, dtype=torch.int64)
    for closeness, labels in closenesses(features, name):
        hits = features.train_labels[closeness.argsort(dim=1, descending=True)] == labels[:, None]  # (Q, N)
        ranks = torch.arange(1, hits.shape[1] + 1, device=device)
        at = (hits.cumsum(dim=1) / ranks * hits).sum(dim=1) / hits.sum(dim=1).clamp(min=1)
        precision += at.to(exact(device)).sum()
        found += torch.stack([hits[:, :k].any(dim=1).sum() for k in RECALLS])
    return precision, found
