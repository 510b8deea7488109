"""Where the floor is: no recording says, and sensors are tilted, so a plane is laid under the feet."""

from __future__ import annotations

import numpy as np

from amr_data.clip import FloatArray

TILT_KNOWN = 0.15
"""How far (metres) the places of the feet spread before the plane's tilt is more their own than level."""
NEAR = 0.05
"""Metres off the plane from which on a foot counts less: it is lifted, or wrong."""
ROUNDS = 20


def floor_of(joints: FloatArray, up: int) -> tuple[float, float, float]:
    """Height of the floor where both other axes are 0, and its slope along each of them.

    The lowest joint of every body in every frame is taken for a foot on the floor; the plane is fitted by
    least squares, reweighted so that lifted feet and outliers count less, its slope drawn towards level as
    far as the feet stay in one place. Points of an image get a level floor.

    Args:
        joints: (M, T, V, 3), NaN where a body is absent.
        up: the axis that points upwards.
    """
    bodies = joints[np.isfinite(joints).all(axis=(2, 3))].astype(np.float64)  # (N, V, 3)
    if not len(bodies):
        return 0.0, 0.0, 0.0
    feet = bodies[np.arange(len(bodies)), bodies[..., up].argmin(axis=1)]
    height, places = feet[:, up], np.delete(feet, up, axis=1)
    middle = places.mean(axis=0)
    if not np.ptp(np.delete(bodies, up, axis=2), axis=(0, 1)).all():
        return float(np.quantile(height, 0.1)), 0.0, 0.0  # points of an image have no depth to tilt in
    offsets = np.column_stack([np.ones(len(feet)), places - middle])
    level = np.diag([0, TILT_KNOWN**2, TILT_KNOWN**2])
    weight = np.ones(len(feet))
    for _ in range(ROUNDS):
        weighted = (offsets * weight[:, None] / weight.sum()).T
        plane = np.linalg.solve(weighted @ offsets + level, weighted @ height)
        weight = 1 / (1 + ((height - offsets @ plane) / NEAR) ** 2)
    return float(plane[0] - plane[1:] @ middle), float(plane[1]), float(plane[2])
