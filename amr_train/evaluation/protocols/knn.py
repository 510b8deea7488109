"""Nearest neighbours on frozen features."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from amr_train.config import AugmentConfig, EvaluationConfig
from amr_train.evaluation.features import Features
from amr_train.evaluation.protocols.base import Protocol, Result
from amr_train.evaluation.scores import score
from amr_train.evaluation.task import Task

QUERIES = 512


class Knn(Protocol):
    name = "knn"

    def settings(self, config: EvaluationConfig, augment: AugmentConfig) -> dict[str, Any]:
        return {"crop": config.crop, "rounding": augment.rounding, "neighbours": config.knn_neighbours}

    def run(self, task: Task) -> Result:
        features, neighbours = task.features, task.settings.knn_neighbours
        figures, details = {}, {}
        for name in features.train:
            found = score(votes(features, name, neighbours), features.test_labels)
            figures[f"kNN {name}"] = found.top1
            details[name] = {k: v for k, v in found.as_dict().items() if k != "top5"}
        return Result(figures, {**details, "metric": features.metric})

    def spoken(self, settings: dict[str, Any]) -> str:
        return f"{settings['neighbours']} neighbour{'s' if settings['neighbours'] > 1 else ''}"


def votes(features: Features, name: str, neighbours: int) -> Tensor:
    """(N, C): each of the nearest training clips votes for its class, a nearer one with more weight."""
    found = []
    for closeness, _ in closenesses(features, name):
        near, nearest = closeness.topk(min(neighbours, closeness.shape[1]), dim=1)
        weight = near + 1 if features.metric == "cosine" else 1 / (1 - near)
        count = near.new_zeros(len(near), features.classes)
        found.append(count.scatter_add_(1, features.train_labels[nearest], weight))
    return torch.cat(found)


def closenesses(features: Features, name: str) -> Iterator[tuple[Tensor, Tensor]]:
    """How close some test clips at a time are to all training clips (Q, N), cosine similarity or negative
    distance, and these test clips' labels (Q,)."""
    train, test = features.train[name], features.test[name]
    if features.metric == "cosine":
        train, test = normalize(train, dim=1), normalize(test, dim=1)
    for some, labels in zip(test.split(QUERIES), features.test_labels.split(QUERIES), strict=True):
        yield some @ train.T if features.metric == "cosine" else -torch.cdist(some, train), labels
