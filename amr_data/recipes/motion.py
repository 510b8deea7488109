"""Windowed motion energy and the focal weights made from it (Adaptive Masked Reconstruction, section on
adaptive guidance), in numpy.

For a joint's slice S of n frames, e = (1/n) sum_t ||s_t - mean(S)||^2 and w = 1 / (1 + k * mean(e) / (e +
eps)): still windows get a weight near 0, strongly moving ones near 1. Several window lengths are fused by
their mean.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from amr_data.clip import BodyTrack, Clip, FloatArray
from amr_data.compiling import compiled

WINDOWS = (4, 8, 12)
"""Window lengths in frames of the shards' energies."""
EPS = 1e-8
"""Square metres, (0.1 mm)^2: below any sensor's noise, so that a motionless window gets weight 0 and none
divides by 0."""
BLOCK = 1 << 12
"""Frames whose energies are computed at once, where a track is a whole recording's."""
STILL_SPEED = 0.1
"""Metres a second; a frame whose joints move slower than this on average is still."""


def windowed_energy(joints: FloatArray, windows: Sequence[int] = WINDOWS) -> npt.NDArray[np.float32]:
    """Energy of every joint over the n frames that start at each frame, fewer at the track's end.

    Args:
        joints: (T, V, C) positions of one track without gaps, metres.
        windows: window lengths n in frames, S of them.
    Returns: (T, V, S) float32, square metres. `energy[::n]` holds the non-overlapping windows of length n.
    """
    frames, joint_count, channels = joints.shape
    flat = np.array(joints, np.float64).reshape(frames, joint_count * channels)
    flat -= flat.mean(axis=0)  # keeps the sums small, so that their difference stays exact
    # running sums of the coordinates and of their squares, from which every window follows by one subtraction
    sums = np.zeros((frames + 1, joint_count * channels))
    np.cumsum(flat, axis=0, out=sums[1:])
    squares = np.zeros((frames + 1, joint_count))
    np.cumsum(_over_channels(flat * flat, channels), axis=0, out=squares[1:])
    out = np.empty((frames, joint_count, len(windows)), np.float32)
    start = np.arange(frames)
    for scale, length in enumerate(windows):
        stop = np.minimum(start + length, frames)
        n = (stop - start)[:, None].astype(np.float64)
        shift = sums[stop] - sums[:-1]
        energy = (squares[stop] - squares[:-1] - _over_channels(shift * shift, channels) / n) / n
        out[..., scale] = np.maximum(energy, 0)
    return out


def _over_channels(values: npt.NDArray[np.float64], channels: int) -> npt.NDArray[np.float64]:
    """(T, V * C) summed over the channels: (T, V). Strided additions, several times as fast as a sum over an
    axis of length 3."""
    total: npt.NDArray[np.float64] = values[:, ::channels].copy()
    for channel in range(1, channels):
        total += values[:, channel::channels]
    return total


def add_energy(track: BodyTrack, windows: Sequence[int] = WINDOWS) -> None:
    """Fill a track's energies in place; a window never reaches across a gap."""
    stretches = segments(track.frames)
    loops = compiled("amr_data.recipes.motion_loops")
    if loops:
        track.energy = np.empty((*track.joints.shape[:2], len(windows)), np.float32)
        starts = np.array([0, *(b for _, b in stretches)])
        loops.energies(track.joints, starts, np.array(windows), track.energy)
    else:
        track.energy = np.concatenate([windowed_energy(track.joints[a:b], windows) for a, b in stretches])


def add_energy_in_blocks(track: BodyTrack, windows: Sequence[int] = WINDOWS) -> None:
    """The same for a track of any length, in memory that does not grow with it: running sums begin anew every
    `BLOCK` frames, so that they also stay as exact as those of a short clip."""
    energy = np.empty((*track.joints.shape[:2], len(windows)), np.float32)
    for begin, end in segments(track.frames):
        for low in range(begin, end, BLOCK):
            high = min(low + BLOCK, end)
            part = track.take(np.arange(low, min(high + max(windows) - 1, end)))
            add_energy(part, windows)
            assert part.energy is not None
            energy[low:high] = part.energy[: high - low]
    track.energy = energy


def column_sums(values: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """values : (R, K). The sum of each column and that of its squares (K,), added from the first row on."""
    loops = compiled("amr_data.recipes.motion_loops")
    if not loops:
        return values.sum(axis=0, dtype=np.float64), np.square(values, dtype=np.float64).sum(axis=0)
    sums, squares = np.zeros(values.shape[1]), np.zeros(values.shape[1])
    loops.column_sums(values, sums, squares)
    return sums, squares


def segments(frames: npt.NDArray[np.int64]) -> list[tuple[int, int]]:
    """Row ranges [a, b) of a track that hold consecutive frames."""
    if len(frames) and frames[-1] - frames[0] == len(frames) - 1:  # the usual case, with no gap
        return [(0, len(frames))]
    cuts = [0, *(np.flatnonzero(np.diff(frames) != 1) + 1).tolist(), len(frames)]
    return list(itertools.pairwise(cuts))


def focal_weights(
    energy: FloatArray, windows: Sequence[int] = WINDOWS, k: float = 0.01, eps: float = EPS
) -> FloatArray:
    """Fused weights of one track without gaps, from the energies of `windowed_energy`.

    energy : (T, V, S). Returns (T, V) in [0, 1]; each frame carries the weight of the non-overlapping window
        that it lies in.
    """
    fused = np.zeros(energy.shape[:2])
    for scale, length in enumerate(windows):
        e = energy[::length, :, scale].astype(np.float64)  # (ceil(T / n), V)
        weight = 1 / (1 + k * e.mean() / (e + eps))
        fused += np.repeat(weight, length, axis=0)[: len(energy)]
    return fused / len(windows)


def clip_statistics(
    clip: Clip, frame_rate: float, windows: Sequence[int] = WINDOWS, metric: bool = True
) -> tuple[FloatArray, float, FloatArray]:
    """What a clip's row says of its motion.

    Returns: mean energy per scale over the non-overlapping windows of all bodies (S,), in the clip's unit
        squared; the share of the steps between frames in which the joints move slower than `STILL_SPEED` on
        average, whatever the clip's unit, NaN where it has none in space (`metric` False: image heights); and
        the way of each joint, summed over the bodies (V,), in the clip's unit. What a body does not show, the
        steps across its gaps, counts in none of them.
    """
    joints = clip.tracks[0].joints.shape[1]
    total, count = np.zeros(len(windows)), np.zeros(len(windows))
    path, still, steps = np.zeros(joints), 0, 0
    for track in clip.tracks:
        assert track.energy is not None
        for a, b in segments(track.frames):
            for scale, length in enumerate(windows):
                e = track.energy[a:b:length, :, scale]
                total[scale] += e.sum(dtype=np.float64)
                count[scale] += e.size
            move = track.joints[a + 1 : b] - track.joints[a : b - 1]
            step = np.sqrt(np.einsum("tvc,tvc->tv", move, move))  # (b - a - 1, V)
            path += step.sum(axis=0)
            still += int((step.mean(axis=1) * frame_rate * clip.scale < STILL_SPEED).sum())
            steps += len(step)
    share = still / steps if steps else 1.0
    return total / np.maximum(count, 1), share if metric else np.nan, path
