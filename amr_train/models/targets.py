"""What the decoder has to predict: coordinates or motion, cut into patches of one joint and several frames,
normalised or not."""

from __future__ import annotations

import torch
from torch import Tensor

from amr_train.config import TargetConfig

EPS = 1e-6
UNBIASED = 1
"""The variance over a patch's n values divides by n - 1, as in the published code of masked autoencoders."""


def patchify(values: Tensor, length: int) -> Tensor:
    """Cut (S, T, V, C) into patches of one joint x `length` frames: (S, T / length * V, length * C),
    time-major token order."""
    sequences, frames, joints, channels = values.shape
    cut = values.reshape(sequences, frames // length, length, joints, channels)
    return cut.transpose(2, 3).reshape(sequences, frames // length * joints, length * channels)


def unpatchify(patches: Tensor, joints: int, channels: int) -> Tensor:
    """The inverse of `patchify`: (S, P, length * C) to (S, T, V, C)."""
    sequences, count, values = patches.shape
    length = values // channels
    cut = patches.reshape(sequences, count // joints, joints, length, channels)
    return cut.transpose(2, 3).reshape(sequences, count // joints * length, joints, channels)


def make_target(joints: Tensor, config: TargetConfig, length: int) -> Tensor:
    """X_t of the reconstruction loss.

    Args:
        joints: (S, T, V, 3), the augmented input.
        config: kind and normalisation; 'patch' gives each patch mean 0 and unbiased variance 1 over its
            values, 'clip' each joint's axis mean 0 and variance 1 over the clip's frames.
        length: frames of a target patch, r * l.
    Returns: (S, T / length * V, length * 3); with both, motion and behind it coordinates.
    """
    parts = []
    if config.kind != "joints":
        parts.append(torch.cat([joints[:, 1:] - joints[:, :-1], torch.zeros_like(joints[:, :1])], dim=1))
    if config.kind != "motion":
        parts.append(joints)
    cut = [_normalized(values, config.normalize, length) for values in parts]
    return cut[0] if len(cut) == 1 else torch.cat(cut, dim=2)


def _normalized(values: Tensor, how: str, length: int) -> Tensor:
    if how == "clip":
        values = _standardize(values, 1)
    patches = patchify(values, length)
    return _standardize(patches, 2, UNBIASED) if how == "patch" else patches


def _standardize(values: Tensor, dim: int, correction: int = 0) -> Tensor:
    variance, mean = torch.var_mean(values, dim=dim, keepdim=True, correction=correction)
    return (values - mean) * (variance + EPS).rsqrt()
