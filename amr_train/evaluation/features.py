"""Features of clips: made once for an encoder, a dataset and a crop, and kept in a file beside the
results."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from amr_data.files import whole_file
from amr_train.data.batching import Views
from amr_train.data.feed import Feed
from amr_train.listening import Listener
from amr_train.models.encoder import SkeletonEncoder
from amr_train.models.pooling import body_features, mean_over_bodies
from amr_train.parallel.precision import arithmetic
from amr_train.parallel.processes import Processes

MEAN, JOINTS, BODIES = "mean", "joints", "bodies"
"""The field's two ways to pool an encoder's tokens: over time, joints and bodies (D values), or joints kept
(V x D values). The third, if asked for, keeps the bodies apart too (M x V x D values, zeros for a body that
is not there): what two people do to each other is in their difference, which a mean loses."""
_KEY = "amr_features"
POSITIONS, MOTION = "positions", "motion"


@dataclass(frozen=True)
class Features:
    """The two parts of a split. `train`, `test` : for each way of pooling (N, D) float32; their labels (N,)
    int64, all on one device; `classes` of the dataset. `metric` : how they are compared, 'cosine' or
    'euclidean'."""

    train: dict[str, Tensor]
    train_labels: Tensor
    test: dict[str, Tensor]
    test_labels: Tensor
    classes: int
    metric: str = "cosine"


@torch.no_grad()
def encode(
    encoder: SkeletonEncoder,
    feed: Feed,
    views: Views,
    processes: Processes | None = None,
    listener: Listener | None = None,
    precision: str = "float32",
    bodies: int = 1,
) -> dict[str, Tensor]:
    """Features of a feed's clips, each seen once in `views`; each process does its part of them.

    bodies : M, so many of each clip are kept apart too, those that the view meets in their order; 1 for none.
    Returns: `mean` (N, D), `joints` (N, V * D) and, with more than one of `bodies`, `bodies` (N, M * V * D),
    float32 on the feed's device, in every process.
    """
    processes, listener = processes or Processes(), listener or Listener()
    was_training = encoder.training
    encoder.eval()
    kept = torch.zeros(len(feed), encoder.joints, encoder.width, device=feed.device)
    apart = kept.new_zeros(len(feed), bodies if bodies > 1 else 0, *kept.shape[1:])
    seen = 0
    for batch in feed.batches(views):
        if not len(batch.clips):  # the last batch may have fewer clips than there are processes
            continue
        with arithmetic(precision, feed.device):
            each = body_features(encoder, batch.joints, batch.present)
        kept[batch.clips] = mean_over_bodies(each, batch.clip, len(batch.clips))
        if bodies > 1:
            first = torch.searchsorted(batch.clip, batch.clip)
            apart[batch.clips[batch.clip], torch.arange(len(first), device=first.device) - first] = each
        seen += len(batch.clips)
        listener.advance(min(seen * processes.size, len(feed)), len(feed), {})
    encoder.train(was_training)
    found = _pooled(processes.total(kept).flatten(1), encoder.joints)
    if bodies > 1:
        found[BODIES] = processes.total(apart).flatten(1)
    return found


def _pooled(kept: Tensor, joints: int) -> dict[str, Tensor]:
    return {MEAN: kept.unflatten(1, (joints, -1)).mean(dim=1), JOINTS: kept}


def coordinate_features(feed: Feed, batch_size: int, crop: float) -> dict[str, Tensor]:
    """Positions of every body (N, M * T * V * 3), and their differences from frame to frame; a body that a
    clip does not have is zeros. `feed` has `bodies` set."""
    views = feed.centre_views(batch_size, crop)
    parts = [
        batch.joints.view(len(batch.clips), -1, *batch.joints.shape[1:]) for batch in feed.batches(views)
    ]
    positions = torch.cat(parts)  # (N, M, T, V, 3)
    return {POSITIONS: positions.flatten(1), MOTION: positions.diff(dim=2).flatten(1)}


def standardised(train: Tensor, test: Tensor) -> tuple[Tensor, Tensor]:
    """Both with the mean and the standard deviation of the training clips taken out, value by value; a value
    that never changes there becomes 0."""
    deviation, mean = torch.std_mean(train, dim=0, correction=0)
    scale = torch.where(deviation > 1e-6, 1 / deviation.clamp(min=1e-6), 0)
    return (train - mean) * scale, (test - mean) * scale


def keep_features(path: Path, features: dict[str, Tensor]) -> None:
    """Write the joints-kept features, and those with bodies apart where they are there, with their checksums;
    the mean follows from them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = {name: features[name].cpu().contiguous() for name in (JOINTS, BODIES) if name in features}
    sums = {_key(name): _checksum(value) for name, value in values.items()}
    with whole_file(path) as temporary:
        save_file(values, temporary, sums)


def kept_features(
    path: Path, clips: int, joints: int, device: torch.device, bodies: int = 1
) -> dict[str, Tensor] | None:
    """What `keep_features` wrote of so many clips, None where it is not there or is not what was written.
    bodies : as in `encode`."""
    wanted = [JOINTS, BODIES] if bodies > 1 else [JOINTS]
    try:
        with safe_open(path, "pt") as file:
            known, found = file.metadata() or {}, {name: file.get_tensor(name) for name in wanted}
    except (OSError, SafetensorError):
        return None
    for name, values in found.items():
        times = joints * (bodies if name == BODIES else 1)
        if values.ndim != 2 or len(values) != clips or values.shape[1] % times:
            return None
        if _checksum(values) != known.get(_key(name)):
            return None
    there = {name: values.to(device) for name, values in found.items()}
    return {**_pooled(there[JOINTS], joints), **there}


def _key(name: str) -> str:
    return _KEY if name == JOINTS else f"{_KEY}_{name}"


def _checksum(values: Tensor) -> str:
    return hashlib.sha256(values.numpy().tobytes()).hexdigest()
