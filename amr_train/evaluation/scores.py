"""What a classifier got right, from its scores: top-1, top-5, per class, and what was taken for what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

import torch
from torch import Tensor

from amr_data import AmrError


@dataclass(frozen=True)
class Scores:
    """In percent. `per_class` has None for a class without a test clip; `confusion[i][j]` counts clips of
    class i that were taken for j."""

    top1: float
    top5: float
    per_class: list[float | None]
    confusion: list[list[int]]

    def as_dict(self) -> dict[str, Any]:
        return {
            "top1": self.top1,
            "top5": self.top5,
            "per_class": self.per_class,
            "confusion": self.confusion,
        }


def score(scores: Tensor, labels: Tensor, what: str = "the probe's scores") -> Scores:
    """scores : (N, C), a number for every class; labels : (N,) int64. Raises: AmrError where one is no
    number;
    `what` : whose, for the message."""
    if bool(scores.isnan().any()):
        raise AmrError(f"{what} are not numbers: its training diverged; lower the learning rate")
    classes = scores.shape[1]
    ranked = scores.topk(min(5, classes), dim=1).indices  # (N, 5)
    hits = ranked == labels[:, None]
    confusion = torch.bincount(labels * classes + ranked[:, 0], minlength=classes * classes).view(
        classes, classes
    )
    counts = confusion.sum(dim=1)
    right = confusion.diagonal()
    per_class = [100 * r / n if n else None for r, n in zip(right.tolist(), counts.tolist(), strict=True)]
    total = max(1, len(labels))
    return Scores(
        100 * int(hits[:, 0].sum()) / total, 100 * int(hits.sum()) / total, per_class, confusion.tolist()
    )


def spread(values: Sequence[float]) -> dict[str, float]:
    """Mean, and the sample's standard deviation (0 for a single value)."""
    return {"mean": mean(values), "std": stdev(values) if len(values) > 1 else 0.0}
