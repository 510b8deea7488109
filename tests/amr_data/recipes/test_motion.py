"""Window energies and focal weights, by hand and against a slow version that shares no code."""

from __future__ import annotations

import numpy as np
import pytest

from amr_data.clip import BodyTrack, Clip
from amr_data.recipes.motion import (
    EPS,
    STILL_SPEED,
    WINDOWS,
    add_energy,
    clip_statistics,
    focal_weights,
    segments,
    windowed_energy,
)


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


@pytest.mark.parametrize("far", [1000.0, -1000.0])
def test_no_distance_from_the_origin_costs_precision(far):
    # a joint that swings by 0.1 mm, a kilometre away, beside one at the other end: energy (0.05 mm)^2
    joints = np.zeros((12, 2, 3))
    joints[:, 0], joints[:, 1] = far, -far
    joints[::2, 0, 0] += 1e-4
    np.testing.assert_allclose(windowed_energy(joints, (4,))[0, :, 0], [0.25e-8, 0], rtol=1e-3, atol=1e-12)


def test_positions_in_single_precision_are_summed_in_double():
    joints = np.random.default_rng(0).normal(0, 0.3, (200, 2, 3)).cumsum(axis=0).astype(np.float32)
    energy = windowed_energy(joints, (4,))
    assert energy.dtype == np.float32
    np.testing.assert_allclose(energy[..., 0], slow_energy(joints.astype(np.float64), 4), rtol=1e-5)


def test_a_window_never_reaches_across_a_gap():
    track = BodyTrack(np.array([0, 1, 5, 6]), np.array([0, 1, 100, 101.0]).reshape(4, 1, 1).repeat(3, 2))
    assert segments(track.frames) == [(0, 2), (2, 4)]
    add_energy(track, (4,))
    assert track.energy is not None
    assert track.energy.shape == (4, 1, 1)
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


def test_weights_of_two_windows_are_averaged_each_over_its_own_frames():
    # window 2: energies 3 and 1 (of the two joints) in row 0, 1 and 1 in row 2, mean 1.5; k = 2, so w is
    # e / (e + 3): 1/2, 1/4 and 1/4, 1/4. Window 4: energies 6 and 2, mean 4, w = e / (e + 8): 3/7 and 1/5
    energy = np.zeros((4, 2, 2))
    energy[0, :, 0], energy[2, :, 0] = (3, 1), (1, 1)
    energy[1, :, 0] = energy[3, :, 0] = 99  # rows between windows count for nothing
    energy[0, :, 1], energy[1:, :, 1] = (6, 2), 99
    first, second = (1 / 2 + 3 / 7) / 2, (1 / 4 + 1 / 5) / 2
    expected = [[first, second]] * 2 + [[(1 / 4 + 3 / 7) / 2, second]] * 2
    np.testing.assert_allclose(focal_weights(energy, (2, 4), k=2.0, eps=0.0), expected, rtol=1e-9)


def test_eps_and_k_as_they_are_set():
    # energies of one and three times (0.1 mm)^2, mean twice: w = 1 / (1 + 0.01 * 2 / (1 + 1)), and / (3 + 1)
    energy = np.array([[[1e-8], [3e-8]]])
    np.testing.assert_allclose(focal_weights(energy, (4,)), [[1 / 1.01, 1 / 1.005]], rtol=1e-6)
    assert (EPS, WINDOWS, STILL_SPEED) == (1e-8, (4, 8, 12), 0.1)


def moving(first: int, steps: list[float], joints: int = 2) -> BodyTrack:
    """Joint 0 goes along x by these steps in metres, along y by as much again; the others stand still."""
    places = np.zeros((len(steps) + 1, joints, 3))
    places[1:, 0, 0] = places[1:, 0, 1] = np.cumsum(steps)
    return BodyTrack(np.arange(first, first + len(steps) + 1), places)


def test_statistics_of_a_clip_by_hand():
    # joint 0 steps by sqrt(2) * (0.3, 0, 0.4) m, joint 1 by nothing; at 10 frames a second, over two joints,
    # these are speeds of 10 * sqrt(2) * (0.15, 0, 0.2) m/s: the middle step is still
    track = moving(0, [0.3, 0.0, 0.4])
    add_energy(track, (2, 4))
    energy, still, path = clip_statistics(Clip("x", 0, 4, [track]), 10, (2, 4))
    # windows of 2: joint 0 at (0, .3) and (.3, .7) on both axes, 2 * .15^2 = .045 and 2 * .2^2 = .08; the
    # mean over two windows and two joints is .03125. One window of 4: (0, .3, .3, .7), mean .325, variance
    # .061875, twice this over two joints
    np.testing.assert_allclose(energy, [0.03125, 0.061875], rtol=1e-6)
    assert still == pytest.approx(1 / 3)
    np.testing.assert_allclose(path, [0.7 * np.sqrt(2), 0], rtol=1e-9)


def test_statistics_take_all_bodies_together_and_no_step_across_a_gap():
    first, second = moving(0, [0.3, 0.3]), moving(4, [0.5])
    gapped = BodyTrack(np.array([0, 1, 7]), np.concatenate([first.joints[:2], first.joints[2:] + 50]), slot=1)
    for track in (first, second, gapped):
        add_energy(track, (2,))
    energy, still, path = clip_statistics(Clip("x", 0, 8, [first, second, gapped]), 30, (2,))
    # windows: first (0, .3) and the lone last frame; second (0, .5); gapped (0, .3), and the lone frame after
    # the gap: 2 * .15^2 = .045, 0, 2 * .25^2 = .125, .045, 0 of joint 0; as many zeros of joint 1
    np.testing.assert_allclose(energy, [(0.045 + 0.125 + 0.045) / 10], rtol=1e-6)
    assert still == 0
    np.testing.assert_allclose(path, [np.sqrt(2) * (0.6 + 0.5 + 0.3), 0], rtol=1e-9)


def test_a_frame_is_still_below_the_speed_of_a_tenth_of_a_metre_a_second():
    # one joint by 1/256 m along x and y: sqrt(2) / 256 m a frame, .0994 m/s at 18 frames a second, .1005 at
    # 18.2
    track = moving(0, [1 / 256], joints=1)
    add_energy(track)
    clip = Clip("x", 0, 2, [track])
    assert clip_statistics(clip, 18)[1] == 1
    assert clip_statistics(clip, 18.2)[1] == 0
    exact = BodyTrack(np.arange(2), np.array([0.0, 0.1]).reshape(2, 1, 1).repeat(3, 2) * (1, 0, 0))
    add_energy(exact)
    assert clip_statistics(Clip("x", 0, 2, [exact]), 1)[1] == 0  # at just this speed it moves


def test_a_clip_without_any_step_is_still_and_has_no_path():
    track = moving(3, [], joints=4)
    add_energy(track)
    energy, still, path = clip_statistics(Clip("x", 0, 1, [track]), 30)
    assert (energy.tolist(), still, path.tolist()) == ([0, 0, 0], 1.0, [0, 0, 0, 0])


def test_still_frames_of_every_stretch_of_every_body_count():
    first, second = moving(0, [0.0, 0.0]), moving(9, [0.0, 0.5, 0.5])
    for track in (first, second):
        add_energy(track)
    assert clip_statistics(Clip("x", 0, 13, [first, second]), 30)[1] == pytest.approx(3 / 5)


def test_one_window_is_its_own_mean_and_many_are_summed_in_double_precision():
    track = moving(0, [1.0], joints=1)  # 0 and 1 on two axes: twice 0.25
    add_energy(track, (4,))
    assert clip_statistics(Clip("x", 0, 2, [track]), 30, (4,))[0].tolist() == [0.5]
    track = moving(0, [1.0, 1.0], joints=1)
    track.energy = np.array([2.0**24, 1, 1], np.float32).reshape(3, 1, 1)  # single precision drops the ones
    assert clip_statistics(Clip("x", 0, 3, [track]), 30, (1,))[0].tolist() == [(2**24 + 2) / 3]


def test_what_is_still_does_not_depend_on_the_unit():
    # steps of sqrt(2) * (0, .006, .011) m, at 10 frames a second 0, .085 and .156 m/s: two are still. In
    # spine lengths of half a metre the numbers are twice as large, and what is still is the same
    steps, twice = [0.0, 0.006, 0.011], [0.0, 0.012, 0.022]
    for given, scale in ((steps, 1.0), (twice, 0.5)):
        track = moving(0, given, joints=1)
        add_energy(track)
        _, still, path = clip_statistics(Clip("x", 0, 4, [track], scale=scale), 10)
        assert still == pytest.approx(2 / 3)
        np.testing.assert_allclose(path, [np.sqrt(2) * 0.017 / scale], rtol=1e-9)


def test_stillness_is_a_speed_in_metres_whatever_the_clip_s_unit():
    # half a unit a frame at 2 frames a second: 0.099 m/s where a unit is 0.099 m, 0.101 where it is 0.101
    track = BodyTrack(np.arange(2), np.array([0.0, 0.5]).reshape(2, 1, 1) * np.array([1.0, 0, 0]))
    add_energy(track)
    clip = Clip("x", 0, 2, [track])
    for clip.scale, still in ((0.099, 1), (0.101, 0)):
        assert clip_statistics(clip, 2)[1] == still
    assert np.isnan(clip_statistics(clip, 2, metric=False)[1])  # image heights are no metres


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        ([0, 1, 2], [(0, 3)]),
        ([7, 8, 9, 10], [(0, 4)]),
        ([4], [(0, 1)]),
        ([0, 2], [(0, 1), (1, 2)]),
        ([3, 4, 7], [(0, 2), (2, 3)]),  # two frames are missing
        ([0, 1, 9, 10, 20], [(0, 2), (2, 4), (4, 5)]),
    ],
)
def test_stretches_end_where_a_frame_is_missing(frames, expected):
    assert segments(np.array(frames)) == expected
