"""How good a frozen encoder is: a linear probe and nearest neighbours on the features of one centre crop of each clip."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from amr_train.config import EvaluationConfig, LinearConfig
from amr_train.distributed import Processes
from amr_train.feed import Feed
from amr_train.models.encoder import SkeletonEncoder


@dataclass(frozen=True)
class ProbeResult:
    """Top-1 accuracies on the test part, in percent. `linear` is the last epoch's; `linear_best_epoch` stands beside it and is no headline."""

    linear: float
    linear_best_epoch: float
    knn: float

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


@torch.no_grad()
def extract_features(
    encoder: SkeletonEncoder,
    feed: Feed,
    config: EvaluationConfig,
    report: Callable[[int, int], None] | None = None,
    processes: Processes | None = None,
) -> Tensor:
    """Mean over joints, time and bodies of the encoder's tokens, all of them visible. Each process does its part of the clips, each clip is
    seen once. Returns (N, D) float32 on the feed's device, in every process."""
    processes = processes or Processes()
    encoder.eval()
    views = feed.centre_views(config.batch_size, config.crop, processes.rank, processes.size)
    features = torch.zeros(len(feed), encoder.width, device=feed.device)
    for batch in feed.batches(views):
        clips = len(batch.clips)
        pooled = encoder(batch.joints).float().mean(dim=1)  # (S, D)
        total = pooled.new_zeros(clips, pooled.shape[1]).index_add_(0, batch.clip, pooled)
        bodies = torch.bincount(batch.clip, minlength=clips)
        features[batch.clips.to(feed.device)] = total / bodies[:, None]
        if report and clips:
            report(int(batch.clips[-1]) + 1, len(feed))
    return processes.total(features)


def evaluate(
    encoder: SkeletonEncoder,
    train: Feed,
    test: Feed,
    classes: int,
    config: EvaluationConfig,
    seed: int,
    report: Callable[[int, int], None] | None = None,
    processes: Processes | None = None,
) -> ProbeResult:
    """Linear and kNN accuracy of a frozen encoder."""
    both = len(train) + len(test)
    shift = len(train)
    train_features = extract_features(encoder, train, config, report and (lambda done, _: report(done, both)), processes)
    test_features = extract_features(encoder, test, config, report and (lambda done, _: report(shift + done, both)), processes)
    last, best = linear_probe(train_features, train.labels, test_features, test.labels, classes, config.linear, seed)
    knn = knn_accuracy(train_features, train.labels, test_features, test.labels, config.knn_neighbours)
    return ProbeResult(last, best, knn)


def probe_name(config: LinearConfig) -> str:
    """Which linear probe was used, for the record."""
    return f"{'BatchNorm without affine, ' if config.batch_norm else ''}linear layer, SGD"


def linear_probe(
    train: Tensor,
    train_labels: Tensor,
    test: Tensor,
    test_labels: Tensor,
    classes: int,
    config: LinearConfig,
    seed: int,
) -> tuple[float, float]:
    """Train one linear layer with SGD and a cosine to 0 on features (N, D).

    Returns: test top-1 in percent after the last epoch, and at the best epoch.
    """
    device = train.device
    generator = torch.Generator().manual_seed(seed)
    layer = nn.Linear(train.shape[1], classes)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator) * 0.01)
        layer.bias.zero_()
    parts = [nn.BatchNorm1d(train.shape[1], affine=False)] if config.batch_norm else []
    head = nn.Sequential(*parts, layer).to(device)
    optimizer = torch.optim.SGD(head.parameters(), config.lr, config.momentum, weight_decay=config.weight_decay)
    size = min(config.batch_size, len(train))
    steps = len(train) // size
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.epochs * steps)
    accuracy = []
    for _ in range(config.epochs):
        head.train()
        order = torch.randperm(len(train), generator=generator).to(device)
        for rows in order[: steps * size].view(steps, size):
            optimizer.zero_grad(set_to_none=True)
            cross_entropy(head(train[rows]), train_labels[rows]).backward()
            optimizer.step()
            schedule.step()
        head.eval()
        with torch.no_grad():
            accuracy.append((head(test).argmax(dim=1) == test_labels).float().mean() * 100)
    curve = torch.stack(accuracy).tolist()
    return curve[-1], max(curve)


def knn_accuracy(train: Tensor, train_labels: Tensor, test: Tensor, test_labels: Tensor, neighbours: int) -> float:
    """Top-1 in percent of the nearest neighbours by cosine similarity, each voting with its similarity. Features (N, D)."""
    train, test = normalize(train, dim=1), normalize(test, dim=1)
    classes = int(torch.cat([train_labels, test_labels]).max()) + 1
    hits = torch.zeros((), device=train.device)
    for rows in torch.arange(len(test), device=test.device).split(1024):
        similarity, nearest = (test[rows] @ train.T).topk(min(neighbours, len(train)), dim=1)
        votes = similarity.new_zeros(len(rows), classes).scatter_add_(1, train_labels[nearest], similarity + 1)
        hits += (votes.argmax(dim=1) == test_labels[rows]).sum()
    return float(hits) / len(test) * 100
