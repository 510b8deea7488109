"""Clips as few bytes, to be drawn small and moving: some frames of each, seen from the front, a byte a
coordinate."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from amr_data.shards.reader import ShardDataset
from amr_data.viz.scene import front_view, with_gaps

FRAMES = 24
BODIES = 2
TOP = 254
ABSENT = 255
HEAD = struct.Struct("<IHBxf")
"""Index, frames, bodies, seconds."""
MARGIN = 0.06
LEAST = 0.4
"""Of the picture's side, in the dataset's unit: nobody is blown up to more than that."""


def thumbnails(dataset: ShardDataset, indices: Sequence[int]) -> bytes:
    """Clips one after another, in the order of the dataset: for each a head (`HEAD`), then (frames, bodies,
    V, 2) bytes: rightwards and downwards from 0 to 254, 255 where a body is absent. Frames are spread evenly
    over the clip. Raises: DamageError."""
    rate = dataset.spec.frame_rate
    out = bytearray()
    chosen = sorted(set(indices))
    for index, clip in zip(chosen, dataset.stream(chosen), strict=True):
        frames = np.unique(np.linspace(0, clip.frames - 1, min(FRAMES, clip.frames)).round().astype(np.int64))
        joints = with_gaps(clip, dataset.spec.dimensions == 2)[:BODIES]
        points = _picture(joints[:, frames], dataset.up)
        out += HEAD.pack(index, points.shape[0], points.shape[1], clip.frames / rate) + points.tobytes()
    return bytes(out)


def _picture(joints: npt.NDArray[np.float32], up: int) -> npt.NDArray[np.uint8]:
    """(M, T, V, 3) to (T, M, V, 2). The picture holds nearly all of the motion; a body that jumps out of it
    is held at its edge."""
    right, high = front_view(joints, up)
    there = np.isfinite(right)
    points = np.stack([right, -high], axis=-1).swapaxes(0, 1)  # (T, M, V, 2)
    if not there.any():
        return np.full(points.shape, ABSENT, np.uint8)
    seen = points[np.isfinite(points[..., 0])]
    low, top = np.quantile(seen, (0.01, 0.99), axis=0)
    side = max(float((top - low).max()), LEAST) * (1 + 2 * MARGIN)
    scaled = ((points - (low + top) / 2) / side + 0.5) * TOP
    held = np.clip(np.nan_to_num(scaled), 0, TOP).round().astype(np.uint8)
    return np.where(np.isfinite(points), held, np.uint8(ABSENT))
