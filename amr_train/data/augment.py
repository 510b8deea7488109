"""Views of many sequences at once: crop, linear resampling and rotation as batched tensor operations.

The bodies of a clip share its time axis. Where a body is not there, its nearest frame stands in, so that no
motion is invented, and the frame is marked as absent, so that it is neither compared nor pooled.
"""

from __future__ import annotations

import torch
from torch import Tensor


def crop_bounds(
    frames: Tensor, share: Tensor, place: Tensor, min_frames: int, rounding: str = "up"
) -> tuple[Tensor, Tensor]:
    """Random crops in frames of each clip.

    Args:
        frames: (S,) int64, frames of each clip, 1 or more.
        share: (S,) share of the frames to keep, in (0, 1].
        place: (S,) where the crop lies among the possible places, in [0, 1).
        min_frames: frames to keep at least, where the clip has them.
        rounding: of the crop's length, 'up' or, as MAMP's code does, 'mamp': down.
    Returns: first frame (S,) and number of frames (S,), int64.
    """
    length = frames * share
    length = (length.ceil() if rounding == "up" else length.floor()).long()
    length = length.clamp(min=min_frames).minimum(frames)
    start = ((frames - length + 1) * place).long().minimum(frames - length)
    return start, length


def centre_bounds(frames: Tensor, share: float, rounding: str = "up") -> tuple[Tensor, Tensor]:
    """The crop in the middle of each clip: first frame (S,) and number of frames (S,), int64.

    frames : (S,) int64.  `rounding` : 'up' keeps the share rounded up; 'mamp' cuts off half of the rest,
        rounded down, at both ends, as MAMP's code does.
    """
    if rounding == "mamp":
        off = ((1 - share) * frames.double() / 2).long()
        return off, (frames - 2 * off).clamp(min=1)
    half = torch.full(frames.shape, 0.5)
    return crop_bounds(frames, torch.full(frames.shape, share), half, 1)


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


def gather_resampled(
    values: Tensor, first: Tensor, length: Tensor, frames: int, row: Tensor | None = None
) -> Tensor:
    """Cut crops out of frames that lie end to end and resample each to the same number of frames.

    Args:
        values: (F, ...) frames of all sequences.
        first: (S,) place at which each crop begins.
        length: (S,) frames of each crop.
        row: (P,) int64, the row of `values` at each place; None where places are rows.
    Returns: (S, T, ...).
    """
    lower, upper, weight = resample_positions(length, frames)
    shape = (*lower.shape, *values.shape[1:])
    lower, upper = (first[:, None] + lower).flatten(), (first[:, None] + upper).flatten()
    if row is not None:
        lower, upper = row[lower], row[upper]
    low, high = values.index_select(0, lower).view(shape), values.index_select(0, upper).view(shape)
    return low.lerp_(high, weight.reshape(*weight.shape, *[1] * (values.ndim - 1)))


def gather_present(present: Tensor, first: Tensor, length: Tensor, frames: int) -> Tensor:
    """Whether a body is there in each resampled frame, which is in the nearer of the two that it is made of.

    present : (P,) bool at each place. Returns (S, T) bool.
    """
    lower, upper, weight = resample_positions(length, frames)
    return present[first[:, None] + torch.where(weight < 0.5, lower, upper)]


def nearest_present(present: Tensor) -> Tensor:
    """For each frame the nearest one in which the body is there, the earlier of two; itself where it
    never is.

    present : (S, T) bool. Returns (S, T) int64.
    """
    frames = present.shape[1]
    number = torch.arange(frames, device=present.device)
    distance = (number[:, None] - number).abs() + 2 * frames * ~present[:, None, :]  # (S, T, T)
    return distance.argmin(dim=2)


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
