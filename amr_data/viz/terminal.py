"""Scenes in braille: every character cell is 2 x 4 dots."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from amr_data.clip import FloatArray
from amr_data.viz.scene import Scene, front_view

# the bit of each dot of a cell, by (row, column); U+2800 is the empty cell
_BITS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])


def braille(scene: Scene, frame: int, width: int = 60, height: int = 20) -> str:
    """One frame of a scene as text, seen from the sensor, at the same scale in every frame; panels side by
    side.

    Args:
        frame: 0-based.
        width, height: in characters.
    Returns: `height` lines.
    """
    each = max(width // len(scene.panels), 8)
    blocks = [_panel(scene, i, frame, each, height) for i in range(len(scene.panels))]
    return "\n".join("".join(parts) for parts in zip(*blocks, strict=True))


def _panel(scene: Scene, index: int, frame: int, width: int, height: int) -> list[str]:
    joints = scene.panels[index].joints
    dots = np.zeros((height * 4, width * 2), bool)
    right, up = front_view(joints, scene.up)
    if frame < joints.shape[1] and np.isfinite(right).any():
        middle = (np.nanmedian(right), (np.nanquantile(up, 0.001) + np.nanquantile(up, 0.999)) / 2)
        tall = float(np.nanquantile(up, 0.999) - np.nanquantile(up, 0.001))
        wide = float(np.nanquantile(right, 0.999) - np.nanquantile(right, 0.001))
        scale = min(0.92 * height * 4 / max(tall, 0.5), 0.96 * width * 2 / max(wide, 0.5))
        for body in range(len(right)):
            x = (right[body, frame] - middle[0]) * scale + width
            y = height * 2 - (up[body, frame] - middle[1]) * scale
            bones = scene.skeleton.bone_indices
            bones = bones[np.isfinite(x[bones]).all(axis=1)]
            if len(bones):
                _lines(dots, x, y, bones)
    cells = dots.reshape(height, 4, width, 2).transpose(0, 2, 1, 3)
    codes = 0x2800 + (cells * _BITS).sum(axis=(2, 3))
    return ["".join(map(chr, row)) for row in codes.tolist()]


def _lines(dots: npt.NDArray[np.bool_], x: FloatArray, y: FloatArray, bones: npt.NDArray[np.int64]) -> None:
    """Set the dots of all bones of one body."""
    steps = int(max(np.abs(np.diff(x[bones], axis=1)).max(), np.abs(np.diff(y[bones], axis=1)).max(), 1)) + 2
    along = np.linspace(0, 1, min(steps, 400))[:, None]
    px = (x[bones[:, 0]] + along * (x[bones[:, 1]] - x[bones[:, 0]])).round().astype(int).ravel()
    py = (y[bones[:, 0]] + along * (y[bones[:, 1]] - y[bones[:, 0]])).round().astype(int).ravel()
    inside = (px >= 0) & (px < dots.shape[1]) & (py >= 0) & (py < dots.shape[0])
    dots[py[inside], px[inside]] = True
