"""Adaptive guidance: motion energy of windows, focal weights, their fusion over window lengths (the paper's
focal reconstruction).

`online` measures the augmented input itself, as the paper does; `from_shard` reads the precomputed energies
at the windows' first frames. The two agree exactly where a crop is not resampled.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from amr_train.models.encoder import steps_present

EPS = 1e-8
"""Square metres, the same as in amr_data.motion."""


def window_energy(joints: Tensor, length: int) -> Tensor:
    """e = (1/n) sum_t ||s_t - mean(S)||^2 over the non-overlapping windows of `length` frames.

    joints : (S, T, V, C), T a multiple of length. Returns (S, T / n, V).
    """
    sequences, frames, joint_count, channels = joints.shape
    windows = joints.reshape(sequences, frames // length, length, joint_count, channels)
    centred = windows - windows.mean(dim=2, keepdim=True)
    return centred.square().sum(dim=-1).mean(dim=2)


def window_weights(energy: Tensor, k: float, present: Tensor | None = None) -> Tensor:
    """w = 1 / (1 + k * e_t / (e + eps)), e_t the mean over all windows of the sequence in which the body is
    there.

    energy : (S, T / n, V), likewise returned.  present : (S, T) bool, None for all.
    """
    if present is None:
        threshold = energy.mean(dim=(1, 2), keepdim=True)
    else:
        there = steps_present(present, present.shape[1] // energy.shape[1])[..., None].to(energy.dtype)
        count = there.sum(dim=(1, 2), keepdim=True).clamp(min=1) * energy.shape[2]
        threshold = (energy * there).sum(dim=(1, 2), keepdim=True) / count
    return 1 / (1 + k * threshold / (energy + EPS))


def focal_weights(energies: Sequence[Tensor], frames: int, k: float, present: Tensor | None = None) -> Tensor:
    """Fuse the weights of several window lengths by their mean. energies : one (S, T / n, V) a length.
    Returns (S, T, V) in [0, 1]."""
    weights = [window_weights(e, k, present).repeat_interleave(frames // e.shape[1], dim=1) for e in energies]
    return torch.stack(weights).mean(dim=0)


def online_weights(joints: Tensor, windows: Sequence[int], k: float, present: Tensor | None = None) -> Tensor:
    """Weights from the input itself. joints : (S, T, V, 3). Returns (S, T, V)."""
    return focal_weights([window_energy(joints, n) for n in windows], joints.shape[1], k, present)


def shard_weights(
    energy: Tensor, scales: Sequence[int], windows: Sequence[int], k: float, present: Tensor | None = None
) -> Tensor:
    """Weights from precomputed energies.

    energy : (S, T, V, S_n), energy over the frames that start at each frame; scales : which of the last axis
        belong to `windows`.
    Returns (S, T, V).
    """
    energies = [energy[:, ::n, :, scale] for scale, n in zip(scales, windows, strict=True)]
    return focal_weights(energies, energy.shape[1], k, present)
