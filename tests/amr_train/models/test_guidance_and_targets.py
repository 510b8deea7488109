"""Focal weights and target patches: by hand, against numpy, and shard against online."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from amr_data.recipes.motion import focal_weights as numpy_weights
from amr_data.recipes.motion import windowed_energy
from amr_train.config import TargetConfig
from amr_train.models.guidance import online_weights, shard_weights, window_energy, window_weights
from amr_train.models.targets import make_target, patchify, unpatchify


def motion(seed: int, frames: int = 24, joints: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.05, (frames, joints, 3)).cumsum(axis=0)


def test_energy_and_weight_by_hand():
    joints = torch.zeros(1, 4, 2, 3)
    joints[0, :, 0, 1] = torch.tensor([0.0, 1, 2, 3])
    energy = window_energy(joints, 4)
    torch.testing.assert_close(energy, torch.tensor([[[1.25, 0.0]]]))
    torch.testing.assert_close(window_weights(energy, 1.0), torch.tensor([[[2 / 3, 0.0]]]), atol=1e-6, rtol=0)


def test_a_motionless_sequence_has_finite_weights():
    assert torch.isfinite(online_weights(torch.zeros(1, 24, 5, 3), [4, 8], 0.01)).all()


def test_the_fusion_is_the_mean_over_the_windows_frames():
    joints = torch.from_numpy(motion(1)).float()[None]
    fused = online_weights(joints, [4, 8, 12], 0.1)
    slow = torch.zeros(24, 5)
    for n in (4, 8, 12):
        e = torch.stack([joints[0, s : s + n].var(dim=0, correction=0).sum(-1) for s in range(0, 24, n)])
        w = 1 / (1 + 0.1 * e.mean() / (e + 1e-8))
        slow += torch.stack([w[t // n] for t in range(24)]) / 3
    torch.testing.assert_close(fused[0], slow, atol=1e-5, rtol=1e-5)


def test_online_shard_and_numpy_agree_where_nothing_is_resampled():
    joints = motion(2)
    energy = windowed_energy(joints, (4, 8, 12))
    online = online_weights(torch.from_numpy(joints).float()[None], [4, 12], 0.01)
    shard = shard_weights(torch.from_numpy(energy)[None], [0, 2], [4, 12], 0.01)
    torch.testing.assert_close(online, shard, atol=1e-4, rtol=1e-4)
    everything = online_weights(torch.from_numpy(joints).float()[None], [4, 8, 12], 0.01)
    np.testing.assert_allclose(everything[0], numpy_weights(energy), atol=1e-4)


def test_rotation_does_not_change_weights():
    joints = torch.from_numpy(motion(3)).float()[None]
    turn = torch.linalg.qr(torch.randn(3, 3))[0]
    torch.testing.assert_close(
        online_weights(joints @ turn, [4, 8], 0.01),
        online_weights(joints, [4, 8], 0.01),
        atol=1e-4,
        rtol=1e-4,
    )


@pytest.mark.parametrize("length", [4, 12, 24])
def test_patches_round_trip(length):
    values = torch.randn(2, 24, 5, 3)
    patches = patchify(values, length)
    assert patches.shape == (2, 24 // length * 5, length * 3)
    torch.testing.assert_close(unpatchify(patches, 5, 3), values, atol=0, rtol=0)


def test_a_patch_is_one_joint_over_its_frames():
    values = torch.arange(2 * 24 * 5 * 3).reshape(2, 24, 5, 3)
    # token 7 with 5 joints and 4 frames a patch: segment 1, joint 2
    torch.testing.assert_close(patchify(values, 4)[1, 7].view(4, 3), values[1, 4:8, 2])


def test_motion_target_by_hand():
    joints = torch.arange(24.0).pow(2).view(1, 24, 1, 1).expand(1, 24, 5, 3)
    target = unpatchify(make_target(joints, TargetConfig(kind="motion", normalize="none"), 8), 5, 3)
    torch.testing.assert_close(target[0, :23, 0, 0], torch.arange(23.0) * 2 + 1)
    assert not target[:, 23].any()


def test_joint_target_is_the_input():
    joints = torch.randn(2, 24, 5, 3)
    target = make_target(joints, TargetConfig(kind="joints", normalize="none"), 8)
    torch.testing.assert_close(target, patchify(joints, 8))


@pytest.mark.parametrize("kind", ["joints", "motion"])
def test_normalisations_have_mean_0_and_variance_1_along_their_own_axis(kind):
    joints = torch.from_numpy(np.stack([motion(4), motion(5)])).float() * 10
    patch = make_target(joints, TargetConfig(kind=kind, normalize="patch"), 8)
    torch.testing.assert_close(patch.mean(-1), torch.zeros(2, 15), atol=1e-5, rtol=0)
    torch.testing.assert_close(patch.var(-1, correction=1), torch.ones(2, 15), atol=1e-3, rtol=0)
    clip = unpatchify(make_target(joints, TargetConfig(kind=kind, normalize="clip"), 8), 5, 3)
    torch.testing.assert_close(clip.mean(1), torch.zeros(2, 5, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(clip.var(1, correction=0), torch.ones(2, 5, 3), atol=1e-3, rtol=0)


@pytest.mark.parametrize("normalize", ["none", "patch", "clip"])
def test_both_targets_stand_side_by_side_each_normalised_by_itself(normalize):
    joints = torch.randn(2, 24, 5, 3, generator=torch.Generator().manual_seed(0))
    both = make_target(joints, TargetConfig(kind="both", normalize=normalize), 8)
    for kind, half in (("motion", both[..., :24]), ("joints", both[..., 24:])):
        config = TargetConfig.model_validate({"kind": kind, "normalize": normalize})
        assert torch.equal(half, make_target(joints, config, 8))


def test_absent_frames_do_not_lower_the_threshold():
    """A body that is there in the first of two windows: e_t is that window's mean energy alone."""
    energy = torch.tensor([[[0.2, 0.4], [9.0, 9.0]]])
    present = torch.tensor([[True, False, False, False, False, False, False, False]])
    weights = window_weights(energy, 0.5, present)
    torch.testing.assert_close(weights[0, 0], 1 / (1 + 0.5 * 0.3 / (energy[0, 0] + 1e-8)))
    everywhere = window_weights(energy, 0.5, torch.ones(1, 8, dtype=torch.bool))
    torch.testing.assert_close(everywhere, window_weights(energy, 0.5))
