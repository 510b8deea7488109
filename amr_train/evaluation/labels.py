"""Which training clips of a semi-supervised run keep their labels: a share of every class, drawn with a
seed."""

from __future__ import annotations

import torch
from torch import Tensor


def draw_labelled(labels: Tensor, percent: float, seed: int) -> Tensor:
    """Draw `percent` of each class's clips, rounded, one or more. Depends on labels, share and seed alone, so
    it is the same in every process.

    labels : (N,) int64. Returns indices (K,) in ascending order, on the CPU.
    """
    labels = labels.cpu()
    generator = torch.Generator().manual_seed(seed)
    chosen = []
    for label in labels.unique().tolist():
        mine = (labels == label).nonzero()[:, 0]
        count = max(1, round(len(mine) * percent / 100))
        chosen.append(mine[torch.randperm(len(mine), generator=generator)[:count]])
    return torch.cat(chosen).sort().values
