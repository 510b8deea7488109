"""Which tokens stay visible: an order of the tokens made from uniform noise, the first ones stay.

The noise comes from outside, so that a step repeats exactly, alone or spread over processes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from amr_train.config import MaskConfig
from amr_train.models.encoder import steps_present
from amr_train.models.targets import patchify

EPS = 1e-12


def visible_count(tokens: int, config: MaskConfig) -> int:
    """N_v = round(N * (1 - ratio)), 1 or more."""
    return max(1, round(tokens * (1 - config.ratio)))


def token_order(
    noise: Tensor, joints: Tensor, segment: int, config: MaskConfig, present: Tensor | None = None
) -> Tensor:
    """The order in which tokens are kept.

    `random`: every order equally likely. `motion` (MAMP, arXiv 2308.07092): Gumbel noise is added to the
    logarithm of softmax(m / (tau * max m)) and the tokens with the lowest sums come first, so the masked ones
    are drawn without replacement in proportion to the softmax; m is `patch_motion`.

    Args:
        noise: (S, N) uniform in [0, 1).
        joints: (S, T, V, 3), the augmented input.
        segment: frames of a token.
        present: (S, T) bool, the frames in which the body is there; tokens of other frames come last.
    Returns: (S, N) int64 token numbers.
    """
    absent = None if present is None else ~token_present(present, segment, joints.shape[2])
    if config.by == "random":
        return (noise if absent is None else noise + absent).argsort(dim=1)
    assert config.tau is not None
    motion = patch_motion(joints, segment)
    if absent is not None:
        motion = motion.masked_fill(absent, 0)  # what stands in for an absent body does not count as motion
    scaled = motion / (motion.amax(dim=1, keepdim=True) * config.tau).clamp(min=EPS)
    gumbel = -(-noise.clamp(min=EPS).log()).clamp(min=EPS).log()
    score = scaled.log_softmax(dim=1) + gumbel
    return (score if absent is None else score.masked_fill(absent, torch.inf)).argsort(dim=1)


def token_present(present: Tensor, segment: int, joints: int) -> Tensor:
    """present : (S, T) bool of frames. Returns (S, N) bool of tokens."""
    return steps_present(present, segment).repeat_interleave(joints, dim=1)


def patch_motion(joints: Tensor, segment: int) -> Tensor:
    """Mean absolute difference of each token's values from those of the same joint one segment before; the
    first segment has the second's.

    joints : (S, T, V, 3). Returns (S, N).
    """
    sequences, frames, joint_count, _ = joints.shape
    patches = patchify(joints, segment).view(sequences, frames // segment, joint_count, -1)
    change = (patches[:, 1:] - patches[:, :-1]).abs().mean(dim=-1)  # (S, T / l - 1, V)
    first = change[:, :1] if frames > segment else patches.new_zeros(sequences, 1, joint_count)
    return torch.cat([first, change], dim=1).flatten(1)
