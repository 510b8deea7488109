"""Protocols on the features of a frozen encoder: a linear layer, nearest neighbours, retrieval."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from amr_train.config import LinearConfig
from amr_train.evaluation.features import Features
from amr_train.evaluation.scores import Scores, score

QUERIES = 512
RECALLS = (1, 5, 10)


@dataclass(frozen=True)
class Probe:
    """`scores` are the last epoch's, the headline; `best_epoch`, in percent, is the best test epoch's top-1
    and no headline."""

    scores: Scores
    best_epoch: float


def probe_name(config: LinearConfig) -> str:
    """Which linear probe was used, for the record."""
    return f"{'BatchNorm without affine, ' if config.batch_norm else ''}linear layer, SGD"


def linear_probe(features: Features, config: LinearConfig, seed: int) -> Probe:
    """Train one linear layer with SGD and a cosine to 0."""
    train, labels = features.train, features.train_labels
    device = train.device
    generator = torch.Generator().manual_seed(seed)
    layer = nn.Linear(train.shape[1], features.classes)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator) * 0.01)
        layer.bias.zero_()
    parts = [nn.BatchNorm1d(train.shape[1], affine=False)] if config.batch_norm else []
    head = nn.Sequential(*parts, layer).to(device)
    optimizer = torch.optim.SGD(
        head.parameters(), config.lr, config.momentum, weight_decay=config.weight_decay
    )
    size = min(config.batch_size, len(train))
    steps = len(train) // size
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.epochs * steps)
    accuracy = []
    for _ in range(config.epochs):
        head.train()
        order = torch.randperm(len(train), generator=generator).to(device)
        for rows in order[: steps * size].view(steps, size):
            optimizer.zero_grad(set_to_none=True)
            cross_entropy(head(train[rows]), labels[rows]).backward()
            optimizer.step()
            schedule.step()
        head.eval()
        with torch.no_grad():
            said = head(features.test)
            accuracy.append((said.argmax(dim=1) == features.test_labels).float().mean() * 100)
    return Probe(score(said, features.test_labels), max(torch.stack(accuracy).tolist()))


def knn(features: Features, neighbours: int) -> Scores:
    """The nearest training clips by cosine similarity, each voting with its similarity."""
    said = []
    for similarity, _ in _similarities(features):
        near, nearest = similarity.topk(min(neighbours, similarity.shape[1]), dim=1)
        votes = near.new_zeros(len(near), features.classes)
        said.append(votes.scatter_add_(1, features.train_labels[nearest], near + 1))
    return score(torch.cat(said), features.test_labels)


def retrieval(features: Features) -> dict[str, float]:
    """Test clips ask for training clips of their class, ranked by cosine similarity. Returns, in percent,
    `mAP` (the mean over queries of the mean precision at each hit) and `recall@k` (queries with a hit among
    the first k). Queries whose class has no training clip are left out."""
    precision, asked = torch.zeros((), device=features.test.device, dtype=torch.float64), 0
    found = dict.fromkeys(RECALLS, 0)
    for similarity, labels in _similarities(features):
        hits = features.train_labels[similarity.argsort(dim=1, descending=True)] == labels[:, None]  # (Q, N)
        hits = hits[hits.any(dim=1)]
        ranks = torch.arange(1, hits.shape[1] + 1, device=hits.device)
        precisions = (hits.cumsum(dim=1) / ranks * hits).sum(dim=1) / hits.sum(dim=1)
        precision += precisions.double().sum()
        asked += len(hits)
        for k in RECALLS:
            found[k] += int(hits[:, :k].any(dim=1).sum())
    asked = max(1, asked)
    return {"mAP": 100 * float(precision) / asked, **{f"recall@{k}": 100 * found[k] / asked for k in RECALLS}}


def _similarities(features: Features) -> Iterator[tuple[Tensor, Tensor]]:
    """Cosine similarities of some test clips at a time to all training clips (Q, N), and the test clips'
    labels (Q,)."""
    train, test = normalize(features.train, dim=1), normalize(features.test, dim=1)
    for some, labels in zip(test.split(QUERIES), features.test_labels.split(QUERIES), strict=True):
        yield some @ train.T, labels
