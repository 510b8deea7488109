"""What is watched while an encoder trains: a kNN probe on held-out training clips, and a collapse meter.

The held-out clips take part in the training, which sees no label; they are kept apart from the labelled ones
that vote. The test part is never looked at.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from amr_train.config import EvaluationConfig
from amr_train.data.feed import Feed
from amr_train.evaluation.features import MEAN, Features, encode
from amr_train.evaluation.protocols.knn import votes
from amr_train.models.encoder import SkeletonEncoder
from amr_train.parallel.processes import Processes, exact
from amr_train.training.schedule import seed_of

HELD_OUT = 0.25
"""Share of the watched clips that ask; the others vote."""


@dataclass
class Monitor:
    """feed : the training part's.  clips : how many of it are watched at most, drawn once with the seed."""

    feed: Feed
    clips: int
    classes: int
    seed: int
    settings: EvaluationConfig
    processes: Processes

    def __post_init__(self) -> None:
        generator = torch.Generator().manual_seed(seed_of(self.seed, "monitor", 0))
        order = torch.randperm(len(self.feed), generator=generator)[: self.clips]
        self.watched = self.feed.subset(order)
        self.asking = max(1, round(len(order) * HELD_OUT))

    def look(self, encoder: SkeletonEncoder) -> dict[str, float]:
        """`knn`: accuracy of the nearest neighbour on held-out training clips, percent, if all have labels.
        `rank`, `spread`: of the features, see `effective_rank` and `spread_of`."""
        where = (self.processes.rank, self.processes.size)
        views = self.watched.centre_views(self.settings.batch_size, self.settings.crop, *where)
        precision = self.settings.feature_precision
        mean = encode(encoder, self.watched, views, self.processes, precision=precision)[MEAN]
        return self.processes.shared(lambda: self._seen(mean))

    def _seen(self, mean: Tensor) -> dict[str, float]:
        found = {"rank": effective_rank(mean), "spread": spread_of(mean)}
        labels, ask = self.watched.labels, self.asking
        if bool((labels < 0).any()):  # without labels nobody can vote
            return found
        held = Features({MEAN: mean[ask:]}, labels[ask:], {MEAN: mean[:ask]}, labels[:ask], self.classes)
        right = votes(held, MEAN, 1).argmax(dim=1) == labels[:ask]
        return {"knn": 100 * float(right.float().mean()), **found}


def effective_rank(features: Tensor) -> float:
    """exp of the entropy of the shares that the singular values of the centred features (N, D) have of their
    sum: D where all directions are used alike, 1 where all clips lie on a line (Roy and Vetterli, 2007)."""
    values = torch.linalg.svdvals((features - features.mean(dim=0)).to(exact(features.device)))
    share = values / values.sum().clamp(min=1e-12)
    entropy = -(share * share.clamp(min=1e-12).log()).sum()
    return float(entropy.exp())


def spread_of(features: Tensor) -> float:
    """The standard deviation of a value of the features scaled to length 1, times the root of their width: 1
    where they point everywhere alike, 0 where all are the same."""
    scaled = normalize(features, dim=1)
    return float(scaled.std(dim=0, correction=0).square().mean().sqrt() * scaled.shape[1] ** 0.5)
