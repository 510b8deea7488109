"""A converged linear probe: logistic regression to the end, its strength chosen by cross-validation on the
training clips.

On sets of some thousand clips or fewer, 100 epochs of SGD are a few hundred steps and leave the layer
untrained; there this is the figure to quote.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from amr_train.config import AugmentConfig, EvaluationConfig, LogisticConfig
from amr_train.evaluation.features import standardised
from amr_train.evaluation.protocols.base import Protocol, Result
from amr_train.evaluation.scores import score
from amr_train.evaluation.task import Task

FOLD_SEED = 0


class Logistic(Protocol):
    name = "logistic"

    def settings(self, config: EvaluationConfig, augment: AugmentConfig) -> dict[str, Any]:
        return {"crop": config.crop, "rounding": augment.rounding, "logistic": config.logistic.model_dump()}

    def run(self, task: Task) -> Result:
        features, config = task.features, task.settings.logistic
        figures, details, scores = {}, {}, {}
        task.listener.stage(f"logistic regression, {task.subject.kind}")
        for done, name in enumerate(features.train, 1):
            train, test = standardised(features.train[name], features.test[name])
            if train.shape[1] > len(train):
                basis = row_space(train)
                train, test = train @ basis, test @ basis
            seen, labels = features.train_labels.unique(return_inverse=True)
            strength, accuracies = chosen_strength(train, labels, len(seen), config)
            weights = fit(train, labels, len(seen), strength, config.iterations)
            every = test.new_full((len(test), features.classes), -torch.inf)
            every[:, seen] = logits(weights, test)
            found, scores[name] = score(every, features.test_labels), every
            figures[f"logistic {name}"] = found.top1
            validated = dict(zip(map(str, config.strengths), accuracies, strict=True))
            details[name] = {**found.as_dict(), "strength": strength, "validated": validated}
            task.listener.advance(done, len(features.train), {})
        return Result(figures, details, scores)

    def spoken(self, settings: dict[str, Any]) -> str:
        return f"converged, strength by {settings['logistic']['folds']}-fold cross-validation"


def row_space(train: Tensor) -> Tensor:
    """An orthonormal basis (D, N) of the space that fewer training clips (N, D) than values span: the penalty
    keeps the weights in it, so nothing is lost."""
    basis: Tensor = torch.linalg.qr(train.T).Q
    return basis


def chosen_strength(
    train: Tensor, labels: Tensor, classes: int, config: LogisticConfig
) -> tuple[float, list[float]]:
    """The penalty with the best mean accuracy over the folds (the strongest of equals), and every penalty's,
    in percent."""
    fold = folds_of(labels, config.folds)
    right = torch.zeros(len(config.strengths), dtype=torch.float64)
    for number in range(config.folds):
        held = fold == number
        weights = None
        for place in sorted(range(len(config.strengths)), key=lambda i: -config.strengths[i]):
            strength = config.strengths[place]
            weights = fit(train[~held], labels[~held], classes, strength, config.iterations, weights)
            right[place] += float((logits(weights, train[held]).argmax(dim=1) == labels[held]).sum())
    accuracies = (100 * right / len(labels)).tolist()
    best = max(range(len(accuracies)), key=lambda i: (accuracies[i], config.strengths[i]))
    return config.strengths[best], accuracies


def folds_of(labels: Tensor, folds: int) -> Tensor:
    """(N,) the fold of each clip: every class is spread evenly over the folds, by chance with a fixed
    seed."""
    generator = torch.Generator().manual_seed(FOLD_SEED)
    fold = torch.zeros(len(labels), dtype=torch.int64)
    for label in labels.unique().tolist():
        mine = (labels.cpu() == label).nonzero()[:, 0]
        place = torch.randperm(len(mine), generator=generator)
        fold[mine[place]] = (torch.arange(len(mine)) + label) % folds
    return fold.to(labels.device)


def fit(
    train: Tensor,
    labels: Tensor,
    classes: int,
    strength: float,
    iterations: int,
    start: tuple[Tensor, Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """Weights (C, D) and bias (C,) that minimise the mean cross-entropy plus strength / 2 times the sum of
    the squared weights, by L-BFGS, from `start` or from 0."""
    fresh = (train.new_zeros(classes, train.shape[1]), train.new_zeros(classes))
    weight, bias = (values.clone().requires_grad_() for values in (start or fresh))
    optimizer = torch.optim.LBFGS(
        [weight, bias],
        max_iter=iterations,
        tolerance_grad=1e-5,
        tolerance_change=1e-8,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        penalty = strength / 2 * weight.square().sum()
        loss: Tensor = cross_entropy(logits((weight, bias), train), labels) + penalty
        loss.backward()
        return loss

    optimizer.step(closure)
    return weight.detach(), bias.detach()


def logits(weights: tuple[Tensor, Tensor], values: Tensor) -> Tensor:
    """values : (N, D). Returns (N, C)."""
    weight, bias = weights
    return values @ weight.T + bias
