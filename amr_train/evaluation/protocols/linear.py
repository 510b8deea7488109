"""The linear probe as published: one layer on frozen features, trained with SGD for a number of epochs.

"Linear" means two things in print, and both are given: on the mean over time, joints and bodies, and with the
joints kept. On small sets so few steps leave the layer untrained; see `logistic` for a converged one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from amr_data import UsageError
from amr_train.config import AugmentConfig, EvaluationConfig, LinearConfig
from amr_train.data.feed import sent
from amr_train.evaluation.features import Features, encode
from amr_train.evaluation.protocols.base import Protocol, Result
from amr_train.evaluation.scores import score
from amr_train.evaluation.task import Task
from amr_train.training.schedule import seed_of

BATCH_NORM_EPS = 1e-6
"""As in the published probes of masked autoencoders."""


class Linear(Protocol):
    name = "linear"

    def settings(self, config: EvaluationConfig, augment: AugmentConfig) -> dict[str, Any]:
        views = augment.judged if config.linear.views == "augmented" else {}
        shared = {"crop": config.crop, "rounding": augment.rounding}
        return {**shared, "linear": config.linear.model_dump(mode="json"), "augment": views}

    def collective(self, config: EvaluationConfig) -> bool:
        return config.linear.views == "augmented"  # each epoch's features are made by all

    def run(self, task: Task) -> Result:
        config, features = task.settings.linear, task.features

        def begun() -> list[LinearProbe]:
            return [LinearProbe(features, name, config, task.seed) for name in features.train]

        probes = task.processes.from_main(begun) or []
        task.listener.stage(f"linear probe, {task.subject.kind}")
        for epoch in range(config.epochs):
            train = _augmented(task, epoch) if config.views == "augmented" else features.train
            for probe in probes:
                probe.epoch(train[probe.name])
            task.listener.advance(epoch + 1, config.epochs, {})
        result = task.processes.shared(lambda: _result(probes))
        # the main process alone has the probes
        return replace(result, scores={probe.name: probe.logits for probe in probes})

    def spoken(self, settings: dict[str, Any]) -> str:
        linear = settings["linear"]
        layer = "BatchNorm, " if linear["batch_norm"] else ""
        how = f"lr {linear['lr']:g}, batch {linear['batch_size']}, {linear['epochs']} epochs"
        return f"{layer}{how}, {linear['views']} views, last epoch"


class LinearProbe:
    """One linear layer on features by the name of their pooling, trained with SGD and a cosine to 0."""

    def __init__(self, features: Features, name: str, config: LinearConfig, seed: int) -> None:
        self.features, self.name = features, name
        train = features.train[name]
        self.generator = torch.Generator().manual_seed(seed)
        layer = nn.Linear(train.shape[1], features.classes)
        with torch.no_grad():
            layer.weight.copy_(torch.randn(layer.weight.shape, generator=self.generator) * 0.01)
            layer.bias.zero_()
        self.size = min(config.batch_size, len(train))
        if config.batch_norm and self.size == 1:
            raise UsageError(
                "BatchNorm has nothing to norm over in batches of one clip; set linear.batch_norm=false or a "
                "larger linear.batch_size"
            )
        norm = [nn.BatchNorm1d(train.shape[1], affine=False, eps=BATCH_NORM_EPS)] if config.batch_norm else []
        self.head = nn.Sequential(*norm, layer).to(train.device)
        self.steps = len(train) // self.size
        self.optimizer = torch.optim.SGD(
            self.head.parameters(), config.lr, config.momentum, weight_decay=config.weight_decay
        )
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, config.epochs * self.steps)
        self.logits = torch.zeros(len(features.test_labels), features.classes, device=train.device)
        self.best = torch.zeros((), device=train.device)

    def epoch(self, train: Tensor) -> Tensor:
        """Train on (N, D), then give the test clips' logits (N, C), which stay here as `logits`; `best` is
        the best epoch's top-1."""
        self.head.train()
        order = sent(torch.randperm(len(train), generator=self.generator), train.device)
        for rows in order[: self.steps * self.size].view(self.steps, self.size):
            self.optimizer.zero_grad(set_to_none=True)
            cross_entropy(self.head(train[rows]), self.features.train_labels[rows]).backward()
            self.optimizer.step()
            self.schedule.step()
        self.head.eval()
        with torch.no_grad():
            self.logits = self.head(self.features.test[self.name])
        right = (self.logits.argmax(dim=1) == self.features.test_labels).float().mean() * 100
        self.best = torch.maximum(self.best, right)
        return self.logits


def _result(probes: Sequence[LinearProbe]) -> Result:
    figures, details = {}, {}
    for probe in probes:
        found = score(probe.logits, probe.features.test_labels)
        figures[f"linear {probe.name}"] = found.top1
        details[probe.name] = {**found.as_dict(), "best_epoch": float(probe.best)}
    return Result(figures, details)


def _augmented(task: Task, epoch: int) -> dict[str, Tensor]:
    """Features of a new random view of every training clip."""
    feed, place = task.feed("train"), (task.processes.rank, task.processes.size)
    generator = torch.Generator().manual_seed(seed_of(task.seed, "linear views", epoch))
    views = feed.augmented_views(task.batch_size, task.augment, generator, *place)
    told = (task.processes, None, task.settings.feature_precision, task.bodies)
    return encode(task.encoder, feed, views, *told)
