"""What encoders and classifiers say about whole datasets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from amr_data import ShardDataset, SplitArrays, UsageError, open_dataset
from amr_train.data.feed import Feed
from amr_train.data.landmarks import path_of
from amr_train.data.reading import read_split
from amr_train.evaluation.classifier import ClipClassifier, load_classifier
from amr_train.evaluation.features import MEAN, encode
from amr_train.evaluation.joints import encoder_for, joints_of, shared_joints
from amr_train.evaluation.subjects import trained
from amr_train.listening import Listener
from amr_train.models.files import EncoderConfig
from amr_train.models.skeletons import placed_in_words, told_of
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
    shared, told = shared_joints(subject.encoder, data), listener or Listener()
    for line in told_of(subject.encoder.config, data.spec.skeleton):
        told.warn(line)
    chosen = np.arange(len(data)) if clips is None else clips
    arrays = read_split(data, chosen, Processes(), shown=subject.input, listener=told)
    module = subject.encoder.encoder if shared is None else encoder_for(subject.encoder, data, shared)
    arrays = arrays if shared is None else joints_of(arrays, shared)
    feed = Feed(arrays, where, subject.frames, bodies=subject.bodies)
    views = feed.centre_views(BATCH, crop, rounding=subject.encoder.config.augment.rounding)
    told.stage("features")
    return encode(module, feed, views, listener=told)[pooling].cpu().numpy(), data


def predict(
    classifier: str | Path,
    dataset: str | Path,
    device: str = "auto",
    crop: float = 0.95,
    listener: Listener | None = None,
) -> dict[str, Tensor]:
    """Probabilities of the classifier's classes for every clip of a dataset: {name: (classes,) float32}.

    Raises: UsageError where the dataset lacks some of the classifier's joints.
    """
    loaded, data = load_classifier(classifier, choose_device(device)), open_dataset(dataset)
    return dict(zip(data.names, predictions(loaded, data, crop, listener), strict=True))


@torch.no_grad()
def predictions(
    loaded: ClipClassifier, data: ShardDataset, crop: float = 0.95, listener: Listener | None = None
) -> Tensor:
    """Probabilities for every clip of an open dataset, in its order: (N, classes) float32 on the CPU.

    A classifier's head is about its own joints: a dataset of another skeleton must have them all, by their
    names; where they are told by name, one that is composed may also be made of joints that the dataset has,
    such as a hand between wrist and hand.

    Raises: UsageError where the dataset lacks some.
    """
    config, where = loaded.config.encoder, next(loaded.parameters()).device
    matrix = composition(config, data)
    told = listener or Listener()
    ignored = [j for j, used in zip(data.spec.skeleton.joints, matrix.sum(axis=0), strict=True) if not used]
    if ignored:
        told.warn(
            f"{len(ignored)} of the {matrix.shape[1]} joints of {data.spec.skeleton.name} are ignored, since "
            f"the classifier was trained without them: {', '.join(ignored)}"
        )
    if line := placed_in_words(config, data.spec.skeleton):
        told.warn(line)
    bodies = data.spec.max_bodies if config.empty_bodies == "keep" else None
    every = np.arange(len(data))
    arrays = composed(read_split(data, every, Processes(), shown=config.input, listener=told), matrix)
    feed = Feed(arrays, where, config.model.frames, bodies=bodies)
    found = torch.empty(len(data), len(loaded.config.classes))
    told.stage("classes")
    done = 0
    for batch in feed.batches(feed.centre_views(BATCH, crop, rounding=config.augment.rounding)):
        logits = loaded.model(batch.joints, batch.present, batch.clip, len(batch.clips))
        found[batch.clips] = logits.softmax(dim=1).cpu()
        done += len(batch.clips)
        told.advance(done, len(data), {})
    return found


def composition(config: EncoderConfig, data: ShardDataset) -> npt.NDArray[np.float32]:
    """The joints of a classifier as shares of a dataset's, (V of the classifier, V of the dataset). Raises:
    UsageError where there is no such one."""
    skeleton, wanted = data.spec.skeleton, config.joint_names
    named = bool(config.model.names)
    theirs: list[Any] = list(skeleton.shares) if named else list(skeleton.common_names)
    matrix = np.zeros((len(wanted), len(theirs)), np.float32)
    missing = []
    path = path_of(config.input, skeleton)
    shown = set() if path is None else {skeleton.common_names[path]}  # no place that others are made of
    for row, joint in enumerate(config.shares if named else wanted):
        parts = joint if isinstance(joint, dict) and config.input.stream != "bone" else {}
        parts = {} if shown & set(parts) else parts
        if joint in theirs:
            matrix[row, theirs.index(joint)] = 1
        elif parts and all({name: 1.0} in theirs for name in parts):
            for name, share in parts.items():
                matrix[row, theirs.index({name: 1.0})] = share
        else:
            missing.append(wanted[row])
    if missing:
        raise UsageError(
            f"the classifier knows the joints of {config.skeleton}, and {data.spec.title} is in "
            f"{skeleton.name}, which lacks {', '.join(missing[:5])}{', ...' if missing[5:] else ''}"
        )
    return matrix


def composed(arrays: SplitArrays, matrix: npt.NDArray[np.float32]) -> SplitArrays:
    """The same clips with other joints, made of theirs: matrix (V of the new ones, V)."""
    chosen = matrix.argmax(axis=1).tolist()
    found = joints_of(arrays, chosen)
    if not ((matrix > 0).sum(axis=1) > 1).any():
        return found
    return replace(found, joints=np.einsum("wv,fvc->fwc", matrix, arrays.joints))
