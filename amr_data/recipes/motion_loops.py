"""Compiled loops over all frames of a shard: motion energies, and the sums of its statistics. They add in the
same order as numpy does in `amr_data.recipes.motion`, so that the results are equal bit by bit.

Imported only through `amr_data.compiling`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

kernel = njit(cache=True, nogil=True, error_model="numpy")


@kernel  # type: ignore[untyped-decorator,unused-ignore]
def energies(joints: Any, starts: Any, windows: Any, out: Any) -> None:
    """`windowed_energy` of every stretch of frames.

    joints : (R, V, C) float32.  starts : (P + 1,) where each stretch begins, R last.  windows : (S,) int64.
    out : (R, V, S) float32, filled.
    """
    joint_count, channels = joints.shape[1:]
    longest = 0
    for part in range(len(starts) - 1):
        longest = max(longest, starts[part + 1] - starts[part])
    # one plane for each coordinate, so that the innermost loops run over joints that lie side by side
    sums = np.zeros((channels, longest + 1, joint_count))
    squares = np.zeros((longest + 1, joint_count))
    mean = np.empty((channels, joint_count))
    total = np.empty(joint_count)
    for part in range(len(starts) - 1):
        first = starts[part]
        frames = starts[part + 1] - first
        mean[:] = 0
        for t in range(frames):
            for c in range(channels):
                for v in range(joint_count):
                    mean[c, v] += np.float64(joints[first + t, v, c])
        mean /= frames
        for t in range(frames):
            total[:] = 0
            for c in range(channels):
                for v in range(joint_count):
                    value = np.float64(joints[first + t, v, c]) - mean[c, v]
                    sums[c, t + 1, v] = sums[c, t, v] + value
                    total[v] += value * value
            for v in range(joint_count):
                squares[t + 1, v] = squares[t, v] + total[v]
        for scale in range(len(windows)):
            for t in range(frames):
                stop = min(t + windows[scale], frames)
                n = np.float64(stop - t)
                total[:] = 0
                for c in range(channels):
                    for v in range(joint_count):
                        shift = sums[c, stop, v] - sums[c, t, v]
                        total[v] += shift * shift
                for v in range(joint_count):
                    total[v] = (squares[stop, v] - squares[t, v] - total[v] / n) / n
                for v in range(joint_count):
                    out[first + t, v, scale] = np.float32(0.0 if total[v] < 0 else total[v])


@kernel  # type: ignore[untyped-decorator,unused-ignore]
def column_sums(values: Any, sums: Any, squares: Any) -> None:
    """Add up each column of `values` (R, K) float32, and the squares."""
    for row in range(values.shape[0]):
        for c in range(values.shape[1]):
            value = np.float64(values[row, c])
            sums[c] += value
            squares[c] += value * value


@kernel  # type: ignore[untyped-decorator,unused-ignore]
def variances(points: Any) -> Any:
    """The variance of each column of `points` (N, C) float64."""
    count, channels = points.shape
    mean, out = np.zeros(channels), np.zeros(channels)
    for row in range(count):
        for c in range(channels):
            mean[c] += points[row, c]
    mean /= count
    for row in range(count):
        for c in range(channels):
            away = points[row, c] - mean[c]
            out[c] += away * away
    return out / count


@kernel  # type: ignore[untyped-decorator,unused-ignore]
def spreads(joints: Any) -> Any:
    """joints : (K, V, 3) float64. Returns (2, K), how far the joints are spread in x and in y."""
    frames, joint_count = joints.shape[:2]
    out = np.empty((2, frames))
    for axis in range(2):
        for t in range(frames):
            low = high = joints[t, 0, axis]
            for v in range(1, joint_count):
                low, high = min(low, joints[t, v, axis]), max(high, joints[t, v, axis])
            out[axis, t] = high - low
    return out


def try_out() -> None:
    """Load the loops, or compile them."""
    joints, out = np.ones((2, 1, 3), np.float32), np.empty((2, 1, 1), np.float32)
    energies(joints, np.array([0, 2]), np.array([2]), out)
    column_sums(joints.reshape(2, 3), sums := np.zeros(3), np.zeros(3))
    assert out.max() == 0
    assert variances(np.array([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]])).tolist() == [1.0, 0.0, 1.0]
    assert spreads(np.array([[[1.0, 2.0, 3.0], [4.0, 0.0, 0.0]]])).tolist() == [[3.0], [2.0]]
    assert sums.tolist() == [2.0, 2.0, 2.0]
