"""Window energies and focal weights, by hand and against a slow version that shares no code."""

from __future__ import annotations

import numpy as np
import pytest

from amr_data.clip import BodyTrack
from amr_data.recipes.motion import add_energy, focal_weights, segments, windowed_energy


def slow_energy(joints: np.ndarray, length: int) -> np.ndarray:
    out = np.zeros(joints.shape[:2])
    for t in range(len(joints)):
        for v in range(joints.shape[1]):
            window = [joints[u, v] for u in range(t, min(t + length, len(joints)))]
            mean = sum(window) / len(window)
            out[t, v] = sum(float(((s - mean) ** 2).sum()) for s in window) / len(window)
    return out


def test_by_hand():
    # a joint at 0, 1, 2, 3 m on one axis: mean 1.5, squared distances 2.25 .25 .25 2.25, energy 1.25; a still
    # joint has none
    joints = np.zeros((4, 2, 3))
    joints[:, 0, 1] = [0, 1, 2, 3]
    energy = windowed_energy(joints, (4, 2))
    np.testing.assert_allclose(energy[0], [[1.25, 0.25], [0, 0]], atol=1e-7)
    np.testing.assert_allclose(energy[3], 0, atol=1e-7)  # one frame is left: no motion


@pytest.mark.parametrize("frames", [1, 3, 12, 29])
def test_against_the_slow_version(frames):
    joints = np.random.default_rng(frames).normal(0, 0.3, (frames, 5, 3)).cumsum(axis=0) + 5
    energy = windowed_energy(joints, (4, 8, 12))
    for scale, length in enumerate((4, 8, 12)):
        np.testing.assert_allclose(energy[..., scale], slow_energy(joints, length), rtol=1e-5, atol=1e-9)


def test_tiny_motion_far_from_the_origin_is_not_lost():
    joints = np.full((12, 1, 3), 7.0)
    joints[::2, 0, 0] += 1e-4
    np.testing.assert_allclose(windowed_energy(joints, (4,))[0], 0.25e-8, rtol=1e-3)


def test_a_window_never_reaches_across_a_gap():
    track = BodyTrack(np.array([0, 1, 5, 6]), np.array([0, 1, 100, 101.0]).reshape(4, 1, 1).repeat(3, 2))
    assert segments(track.frames) == [(0, 2), (2, 4)]
    add_energy(track, (4,))
    assert track.energy is not None
    np.testing.assert_allclose(track.energy[:, 0, 0], [0.75, 0, 0.75, 0])


def test_weights_by_hand():
    # two joints over one window of 4 frames, energies 1.25 and 0: mean .625; k = 1: w = 1 / (1 + .625 / 1.25)
    # = 2/3, and 0
    joints = np.zeros((4, 2, 3))
    joints[:, 0, 1] = [0, 1, 2, 3]
    weights = focal_weights(windowed_energy(joints, (4,)), (4,), k=1.0)
    np.testing.assert_allclose(weights, [[2 / 3, 0]] * 4, atol=1e-6)


def test_moving_joints_weigh_more_and_weights_stay_between_0_and_1():
    rng = np.random.default_rng(0)
    joints = rng.normal(0, 0.002, (48, 3, 3))
    joints[:, 1, 0] += np.sin(np.arange(48) / 3) * 0.3
    weights = focal_weights(windowed_energy(joints))
    assert weights.min() >= 0
    assert weights.max() <= 1
    assert (weights[:, 1] > weights[:, [0, 2]].max(axis=1)).all()
