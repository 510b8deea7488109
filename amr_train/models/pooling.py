"""From an encoder's tokens to one vector a clip, in one place for probes, fine-tuning, predictions and
exports.

Both of the field's ways: joints kept (V x D values), and the mean over them too (D). Absent frames and bodies
are left out of every mean.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from amr_train.models.encoder import SkeletonEncoder, steps_present


def clip_features(
    encoder: SkeletonEncoder,
    joints: Tensor,
    present: Tensor | None,
    clip: Tensor,
    clips: int,
    weight: Tensor | None = None,
    dropout: Callable[[Tensor], Tensor] = lambda tokens: tokens,
) -> Tensor:
    """Features of clips with joints kept, (B, V, D) float32: the mean over time, then over bodies.

    Args:
        joints: (S, T, V, 3), one sequence a body.
        present: (S, T) bool, the frames in which the body is there, None for all.
        clip: (S,) row of each sequence's clip, of `clips`.
        weight: (S,) 1 for a body that counts and 0 for one that does not, None for all.
        dropout: done to the tokens before anything is averaged.
    """
    return mean_over_bodies(body_features(encoder, joints, present, dropout), clip, clips, weight)


def body_features(
    encoder: SkeletonEncoder,
    joints: Tensor,
    present: Tensor | None,
    dropout: Callable[[Tensor], Tensor] = lambda tokens: tokens,
) -> Tensor:
    """Features of bodies with joints kept, (S, V, D) float32: the mean over time. The arguments are those of
    `clip_features`."""
    tokens = dropout(encoder(joints, present=present).float()).unflatten(1, (encoder.steps, encoder.joints))
    steps = None if present is None else steps_present(present, encoder.segment)
    return mean_over_time(tokens, steps)


def mean_over_time(tokens: Tensor, steps: Tensor | None) -> Tensor:
    """tokens : (S, T / l, V, D).  steps : (S, T / l) bool, the segments in which the body is there, None for
    all. Returns (S, V, D), the mean over those segments; over all of them for a body that is never there."""
    if steps is None:
        return tokens.mean(dim=1)
    weight = (steps | ~steps.any(dim=1, keepdim=True)).to(tokens.dtype)[..., None, None]  # (S, T / l, 1, 1)
    return (tokens * weight).sum(dim=1) / weight.sum(dim=1)


def mean_over_bodies(values: Tensor, clip: Tensor, clips: int, weight: Tensor | None = None) -> Tensor:
    """values : (S, ...), clip : (S,) row of each sequence's clip, weight : (S,) 1 for a body that counts and
    0 for one that does not, None for all. Returns (B, ...), zeros for a clip without a body."""
    weight = torch.ones_like(clip, dtype=values.dtype) if weight is None else weight.to(values.dtype)
    column = weight.view(-1, *[1] * (values.ndim - 1))
    total = values.new_zeros(clips, *values.shape[1:]).index_add(0, clip, values * column)
    count = values.new_zeros(clips, *column.shape[1:]).index_add(0, clip, column)
    return total / count.clamp(min=1)
