"""Views of many sequences at once: crop, linear resampling and rotation as batched tensor operations."""

from __future__ import annotations

import torch
from torch import Tensor


def crop_bounds(rows: Tensor, share: Tensor, place: Tensor, min_frames: int) -> tuple[Tensor, Tensor]:
    """Crops in frames of each sequence's own rows.

    Args:
        rows: (S,) int64, frames of each sequence, 1 or more.
        share: (S,) share of the frames to keep, in (0, 1].
        place: (S,) where the crop lies among the possible places, in [0, 1).
        min_frames: frames to keep at least, where the sequence has them.
    Returns: first frame (S,) and number of frames (S,), int64.
    """
    length = (rows * share).ceil().long().clamp(min=min_frames).minimum(rows)
    start = ((rows - length + 1) * place).long().minimum(rows - length)
    return start, length


def resample_positions(length: Tensor, frames: int) -> tuple[Tensor, Tensor, Tensor]:
    """Where `frames` output frames lie in crops of `length` frames, as torch's interpolate(mode="linear",
    align_corners=False) has it.

    Returns: lower frame (S, T) int64, upper frame (S, T) int64, weight of the upper one (S, T) float32.
    """
    out = torch.arange(frames, device=length.device, dtype=torch.float32)
    scale = length[:, None].float() / frames
    source = ((out + 0.5) * scale - 0.5).clamp(min=0)
    lower = source.long().minimum(length[:, None] - 1)
    upper = (lower + 1).minimum(length[:, None] - 1)
    return lower, upper, source - lower


def gather_resampled(values: Tensor, first_row: Tensor, length: Tensor, frames: int) -> Tensor:
    """Cut crops out of frames that lie end to end and resample each to the same number of frames.

    Args:
        values: (F, ...) frames of all sequences.
        first_row: (S,) row at which each crop begins.
        length: (S,) frames of each crop.
    Returns: (S, T, ...).
    """
    lower, upper, weight = resample_positions(length, frames)
    shape = (*lower.shape, *values.shape[1:])
    low = values.index_select(0, (first_row[:, None] + lower).flatten()).view(shape)
    high = values.index_select(0, (first_row[:, None] + upper).flatten()).view(shape)
    return low.lerp_(high, weight.reshape(*weight.shape, *[1] * (values.ndim - 1)))


def rotation_matrices(angles: Tensor) -> Tensor:
    """Rotations about x, then y, then z. angles : (S, 3) radians. Returns (S, 3, 3), to be applied as `points
    @ R^T`."""
    cos, sin = angles.cos(), angles.sin()
    zero, one = torch.zeros_like(cos[:, 0]), torch.ones_like(cos[:, 0])
    cx, cy, cz = cos.unbind(1)
    sx, sy, sz = sin.unbind(1)
    x = torch.stack([one, zero, zero, zero, cx, -sx, zero, sx, cx], 1).view(-1, 3, 3)
    y = torch.stack([cy, zero, sy, zero, one, zero, -sy, zero, cy], 1).view(-1, 3, 3)
    z = torch.stack([cz, -sz, zero, sz, cz, zero, zero, zero, one], 1).view(-1, 3, 3)
    return z @ y @ x


def rotate(joints: Tensor, rotation: Tensor) -> Tensor:
    """Turn every point of a sequence by its own matrix: several joints at once by a block-diagonal matrix,
    since products with a 3 x 3 matrix waste most of a matrix unit.

    joints : (S, T, V, 3).  rotation : (S, 3, 3).  Returns (S, T, V, 3), points @ rotation^T.
    """
    sequences, frames, count, _ = joints.shape
    group = max(n for n in range(1, 9) if count % n == 0)
    blocks = joints.new_zeros(sequences, group, 3, group, 3)
    diagonal = torch.arange(group, device=joints.device)
    blocks[:, diagonal, :, diagonal] = rotation.transpose(1, 2)
    size = 3 * group
    return torch.bmm(
        joints.reshape(sequences, frames * count // group, size), blocks.view(sequences, size, size)
    ).view(joints.shape)
