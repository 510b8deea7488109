"""What encoders and classifiers say about whole datasets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from amr_data import ShardDataset, UsageError, open_dataset
from amr_train.data.feed import Feed
from amr_train.data.reading import read_split
from amr_train.evaluation.classifier import ClipClassifier, load_classifier
from amr_train.evaluation.features import MEAN, encode
from amr_train.evaluation.joints import encoder_for, joints_of, shared_joints
from amr_train.evaluation.subjects import trained
from amr_train.listening import Listener
from amr_train.parallel.processes import Processes, choose_device

BATCH = 64


def embed(
    encoder: str | Path,
    dataset: str | Path,
    device: str = "auto",
    crop: float = 0.95,
    listener: Listener | None = None,
    clips: npt.NDArray[np.int64] | None = None,
    pooling: str = MEAN,
) -> tuple[npt.NDArray[np.float32], ShardDataset]:
    """Features of clips of a dataset, in its order: (N, D) float32, and the dataset.

    Args:
        crop: the share of each clip, from its middle, that is seen.
        clips: sorted indices; every clip by default.
        pooling: 'mean' over time, joints and bodies, or 'joints', which keeps these: (N, V * D).
    Raises: UsageError, AmrError.
    """
    where, data = choose_device(device), open_dataset(dataset)
    subject = trained(encoder, data, where)
    assert subject.encoder is not None
    shared = shared_joints(subject.encoder, data)
    chosen = np.arange(len(data)) if clips is None else clips
    arrays = read_split(data, chosen, Processes(), shown=subject.input)
    module = subject.encoder.encoder if shared is None else encoder_for(subject.encoder, data, shared)
    arrays = arrays if shared is None else joints_of(arrays, shared)
    feed = Feed(arrays, where, subject.frames, bodies=subject.bodies)
    views = feed.centre_views(BATCH, crop, rounding=subject.encoder.config.augment.rounding)
    return encode(module, feed, views, listener=listener)[pooling].cpu().numpy(), data


def predict(
    classifier: str | Path, dataset: str | Path, device: str = "auto", crop: float = 0.95
) -> dict[str, Tensor]:
    """Probabilities of the classifier's classes for every clip of a dataset: {name: (classes,) float32}.

    Raises: UsageError where its skeleton is another.
    """
    loaded, data = load_classifier(classifier, choose_device(device)), open_dataset(dataset)
    return dict(zip(data.names, predictions(loaded, data, crop), strict=True))


@torch.no_grad()
def predictions(loaded: ClipClassifier, data: ShardDataset, crop: float = 0.95) -> Tensor:
    """Probabilities for every clip of an open dataset, in its order: (N, classes) float32 on the CPU.

    Raises: UsageError where its skeleton is another.
    """
    config, where = loaded.config.encoder, next(loaded.parameters()).device
    names, wanted = data.spec.skeleton.common_names, config.joint_names
    if not set(wanted) <= set(names):
        raise UsageError(
            f"the classifier knows the joints of {config.skeleton}, "
            f"and {data.spec.title} is in {data.spec.skeleton.name}"
        )
    bodies = data.spec.max_bodies if config.empty_bodies == "keep" else None
    arrays = read_split(data, np.arange(len(data)), Processes(), shown=config.input)
    arrays = joints_of(arrays, [names.index(name) for name in wanted])
    feed = Feed(arrays, where, config.model.frames, bodies=bodies)
    found = torch.empty(len(data), len(loaded.config.classes))
    for batch in feed.batches(feed.centre_views(BATCH, crop, rounding=config.augment.rounding)):
        logits = loaded.model(batch.joints, batch.present, batch.clip, len(batch.clips))
        found[batch.clips] = logits.softmax(dim=1).cpu()
    return found
