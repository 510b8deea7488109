"""Features of a frozen encoder, computed once for all protocols that need no more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from amr_train.config import EvaluationConfig
from amr_train.data.feed import Feed
from amr_train.models.encoder import SkeletonEncoder
from amr_train.parallel.processes import Processes

Report = Callable[[int, int], None]


@dataclass(frozen=True)
class Features:
    """train, test : (N, D) float32; their labels (N,) int64, all on one device; `classes` of the dataset."""

    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor
    classes: int


@torch.no_grad()
def extract_features(
    encoder: SkeletonEncoder,
    feed: Feed,
    config: EvaluationConfig,
    report: Report | None = None,
    processes: Processes | None = None,
) -> Tensor:
    """Mean over joints, time and bodies of the encoder's tokens, all of them visible. Each process does its
    part of the clips, each clip is seen once. Returns (N, D) float32 on the feed's device, in every
    process."""
    processes = processes or Processes()
    encoder.eval()
    views = feed.centre_views(config.batch_size, config.crop, processes.rank, processes.size)
    features = torch.zeros(len(feed), encoder.width, device=feed.device)
    for batch in feed.batches(views):
        clips = len(batch.clips)
        pooled = encoder(batch.joints).float().mean(dim=1)  # (S, D)
        features[batch.clips.to(feed.device)] = mean_over_bodies(pooled, batch.clip, clips)
        if report and clips:
            report(int(batch.clips[-1]) + 1, len(feed))
    return processes.total(features)


def mean_over_bodies(values: Tensor, clip: Tensor, clips: int) -> Tensor:
    """values : (S, D), clip : (S,) row of each sequence's clip. Returns (B, D)."""
    total = values.new_zeros(clips, values.shape[1]).index_add_(0, clip, values)
    return total / torch.bincount(clip, minlength=clips)[:, None]


def features_of(
    encoder: SkeletonEncoder,
    train: Feed,
    test: Feed,
    classes: int,
    config: EvaluationConfig,
    report: Report | None = None,
    processes: Processes | None = None,
) -> Features:
    """Features of both parts of a protocol. `report` counts the clips of both."""
    both, shift = len(train) + len(test), len(train)
    first = extract_features(
        encoder, train, config, report and (lambda done, _: report(done, both)), processes
    )
    second = extract_features(
        encoder, test, config, report and (lambda done, _: report(shift + done, both)), processes
    )
    return Features(first, train.labels, second, test.labels, classes)
