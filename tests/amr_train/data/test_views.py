"""Changes of bodies in training views: by hand, against loops over joints, for bones as for joints, the same
for any number of processes, and nothing at all by default."""

from __future__ import annotations

import re
from contextlib import nullcontext
from dataclasses import replace
from math import cos, sin
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from amr_data import UsageError, load_spec, open_dataset
from amr_data.specs import load_skeleton
from amr_train import run_experiment
from amr_train.config import AugmentConfig, InputConfig
from amr_train.data.augment import rotate, rotation_matrices
from amr_train.data.batching import Batch
from amr_train.data.bodies import Body, body_of
from amr_train.data.feed import Feed
from amr_train.data.views import DRAWS, Changes, check_changes, make_changes
from amr_train.evaluation.protocols import PROTOCOLS
from amr_train.experiments.loading import load_experiment
from amr_train.experiments.running import check_energies
from amr_train.models.guidance import window_energy
from amr_train.training.encoders import load_encoder
from tests.amr_train.data.test_feed import MIXED, arrays_of
from tests.amr_train.runs import Listener, Stop, small
from tests.amr_train.tracing import clips

CPU = torch.device("cpu")
# chest, head, left elbow, left hand, right elbow, right hand
BODY = Body(parent=(0, 0, 0, 2, 0, 4), mirror=(0, 1, 4, 5, 2, 3), up=1)
# the trunk hangs on the left hand, so the sides do not hang alike
LOPSIDED = replace(BODY, parent=(2, 0, 3, 3, 0, 4))
ALL = AugmentConfig(turn=0.5, mirror=0.5, limbs=0.2, scale=0.1, noise=0.02, drop_axis=0.3)
SHIFTED = ALL.model_copy(update={"shift": 0.5, "bias": 0.03})
FOUR = Body(parent=(0, 0, 1, 1), mirror=(0, 1, 3, 2), up=1)  # the joints of `arrays_of`
FIVE = Body(parent=(0, 0, 1, 1, 0), mirror=(0, 1, 3, 2, 4), up=1)  # of `clips`


def batch_of(joints: Tensor, energy: Tensor | None = None, first: int = 0, total: int | None = None) -> Batch:
    clip = torch.arange(len(joints))
    return Batch(joints, energy, None, clip, clip, first, total or len(joints), (0, len(joints)))


def as_bones(joints: Tensor, body: Body) -> Tensor:
    out = joints.clone()
    for joint, parent in enumerate(body.parent):
        if joint != parent:
            out[:, :, joint] = joints[:, :, joint] - joints[:, :, parent]
    return out


def drawn_for(changes: Changes, **columns: float) -> Tensor:
    """Draws of one clip by which nothing happens but what these say."""
    names = ("turn", "mirror", "limbs", "scale", "size", "drop", "axis", "noise")
    nothing = dict.fromkeys(names, 0.999) | {"turn": 0.5}
    row = [(nothing | columns)[name] for name in names]
    return torch.tensor([row + [0.5] * (changes.draws - DRAWS)])


def slowly(joints: np.ndarray, config: AugmentConfig, body: Body, draws: list[float]) -> np.ndarray:
    """One sequence (T, V, 3), frame by frame and joint by joint, without noise and rotation."""
    turn, mirror, limbs, scale, size, drop, axis, _ = draws[:DRAWS]
    hanging = [j for j, p in enumerate(body.parent) if j != p]
    pairs = sorted({tuple(sorted((j, body.mirror[j]))) for j in hanging})
    longer = dict.fromkeys(range(len(body.parent)), 1.0)
    for pair, value in zip(pairs, draws[DRAWS:], strict=True):
        for j in pair:
            longer[j] = 1 + (value * 2 - 1) * config.limbs if limbs < 0.5 else 1.0
    angle = (turn * 2 - 1) * config.turn
    out = np.zeros_like(joints)
    for t in range(len(joints)):
        placed: dict[int, np.ndarray] = {}

        def place(j: int, t: int = t, placed: dict[int, np.ndarray] = placed) -> np.ndarray:
            if j not in placed:
                p = body.parent[j]
                bone = joints[t, j] - joints[t, p]
                placed[j] = joints[t, j] if p == j else place(p) + longer[j] * bone
            return placed[j]

        points = [place(j) for j in range(len(body.parent))]
        if mirror < config.mirror:
            points = [points[body.mirror[j]] * [-1, 1, 1] for j in range(len(points))]
        for j, (x, y, z) in enumerate(points):
            if body.up == 1:
                point = [cos(angle) * x + sin(angle) * z, y, cos(angle) * z - sin(angle) * x]
            else:
                point = [cos(angle) * x - sin(angle) * y, sin(angle) * x + cos(angle) * y, z]
            point = np.array(point) * (1 + (size * 2 - 1) * config.scale if scale < 0.5 else 1)
            if drop < config.drop_axis:
                point[int(axis * 3)] = 0
            out[t, j] = point
    return out


@pytest.mark.parametrize("body", [BODY, LOPSIDED, replace(BODY, up=2)])
def test_every_change_equals_a_loop_over_joints(body):
    config = ALL.model_copy(update={"noise": 0.0})
    changes, chance = Changes(config, body), torch.Generator().manual_seed(0)
    joints, drawn = torch.randn(24, 3, 6, 3, generator=chance), changes.draw(24, chance)
    found = changes.apply(batch_of(joints), torch.zeros(24, 3), drawn, 0).joints
    wanted = [
        slowly(j.double().numpy(), config, body, d.tolist()) for j, d in zip(joints, drawn, strict=True)
    ]
    np.testing.assert_allclose(found, np.stack(wanted), atol=2e-6)
    # rotation comes next, and last of all an axis is left out
    whole = Changes(config.model_copy(update={"drop_axis": 0.0}), body)
    found = whole.apply(batch_of(joints), torch.zeros(24, 3), drawn, 0).joints
    angles = torch.randn(24, 3, generator=chance)
    rotated = rotate(found, rotation_matrices(angles))
    kept = torch.from_numpy(np.stack(wanted)).ne(0).any(dim=2).any(dim=1)  # (24, 3)
    turned = changes.apply(batch_of(joints), angles, drawn, 0).joints
    torch.testing.assert_close(turned, rotated * kept[:, None, None], atol=2e-6, rtol=0)
    assert kept.all(dim=1).any()
    assert not kept.all()


@pytest.mark.parametrize("body", [BODY, LOPSIDED])
def test_bones_are_treated_as_the_joints_are(body):
    chance = torch.Generator().manual_seed(0)
    joints, angles = torch.randn(64, 20, 6, 3, generator=chance), torch.randn(64, 3, generator=chance)
    of_joints, of_bones = Changes(ALL, body), Changes(ALL, replace(body, bones=True))
    drawn = of_joints.draw(64, chance)
    wanted = as_bones(of_joints.apply(batch_of(joints), angles, drawn, 7).joints, body)
    found = of_bones.apply(batch_of(as_bones(joints, body)), angles, drawn, 7).joints
    torch.testing.assert_close(found, wanted, atol=5e-6, rtol=0)


def test_who_waves_the_left_hand_waves_the_right_one_in_the_mirror():
    """In NTU's coordinates a body that faces the sensor has its right at larger x."""
    spec = load_spec("ntu60")
    at = spec.skeleton.index
    dataset = SimpleNamespace(spec=spec, up=1, manifest={"recipe": {}})
    changes = Changes(AugmentConfig(mirror=0.5), body_of(dataset, InputConfig()))
    pose = torch.zeros(1, 2, 25, 3)
    pose[:, :, at("left_shoulder"), 0], pose[:, :, at("right_shoulder"), 0] = -0.2, 0.2
    pose[:, 1, at("left_hand")] = torch.tensor([-0.3, 0.9, -0.1])
    drawn = drawn_for(changes, mirror=0.49)
    seen = changes.apply(batch_of(pose), torch.zeros(1, 3), drawn, 0).joints[0]
    assert seen[1, at("right_hand")].tolist() == pytest.approx([0.3, 0.9, -0.1])
    assert not seen[1, at("left_hand")].any()
    assert [round(float(seen[0, at(f"{s}_shoulder"), 0]), 3) for s in ("left", "right")] == [-0.2, 0.2]
    same = changes.apply(batch_of(pose), torch.zeros(1, 3), drawn_for(changes, mirror=0.5), 0).joints
    assert torch.equal(same, pose)


def test_limbs_keep_their_directions_and_sides_stay_alike():
    changes, chance = Changes(AugmentConfig(limbs=0.15), BODY), torch.Generator().manual_seed(1)
    joints = torch.randn(1, 5, 6, 3, generator=chance).expand(2000, -1, -1, -1)
    drawn = changes.draw(2000, chance)
    found = changes.apply(batch_of(joints), torch.zeros(2000, 3), drawn, 0).joints
    assert torch.equal(found[:, :, 0], joints[:, :, 0])  # the root
    before, after = as_bones(joints, BODY), as_bones(found, BODY)
    share = (after * before).sum(3) / before.square().sum(3)  # (2000, 5, 6)
    torch.testing.assert_close(after, before * share[..., None], atol=2e-5, rtol=0)
    torch.testing.assert_close(share, share[:, :1].expand_as(share), atol=1e-4, rtol=0)  # in every frame
    share = share[:, 0]
    torch.testing.assert_close(share[:, [2, 3]], share[:, [4, 5]], atol=1e-5, rtol=0)
    changed = (share[:, 1:] - 1).abs().amax(1) > 1e-4
    assert changed.float().mean() == pytest.approx(0.5, abs=0.04)
    each = share[changed][:, [1, 2, 3]]
    assert each.amin() >= 0.8499
    assert each.amax() <= 1.1501
    assert each.std(0).tolist() == pytest.approx([0.3 / 12**0.5] * 3, rel=0.06)
    assert abs(float(torch.corrcoef(each.T)[0, 1])) < 0.1


@pytest.mark.parametrize("apart", [1, 0, 3])
def test_a_path_is_no_limb(apart):
    """However far somebody walks, the body keeps its shape, and the way its length; the joint that shows it
    is in the middle, at the root or at an end of the body."""
    body = Body(parent=(0, 0, 1, 2, 1), mirror=(0, 1, 2, 3, 4), up=1, apart=apart)
    changes = Changes(AugmentConfig(rotation=0, limbs=0.5), body)
    torch.manual_seed(0)
    joints, drawn = torch.randn(1, 6, 5, 3), drawn_for(changes, limbs=0)
    drawn[:, DRAWS:] = torch.rand(1, changes.draws - DRAWS)
    seen = []
    for walked in (0.0, 5.0):
        moved = joints.clone()
        moved[:, :, apart] = walked
        seen.append(changes.apply(batch_of(moved), torch.zeros(1, 3), drawn, 0).joints)
    others = [joint for joint in range(5) if joint != apart]
    assert torch.equal(seen[1][:, :, others], seen[0][:, :, others])
    assert torch.equal(seen[1][:, :, apart], torch.full((1, 6, 3), 5.0))
    assert not torch.equal(seen[0][:, :, others], joints[:, :, others])  # some limb is another


def test_the_path_that_is_shown_is_told_from_the_body(ntu_shards):
    dataset, config = open_dataset(ntu_shards), AugmentConfig(limbs=0.1)
    skeleton = dataset.spec.skeleton
    shown = {
        centre: make_changes(config, InputConfig(centre=centre), dataset) for centre in ("every", "path")
    }
    assert shown["every"].body.apart is None
    assert shown["path"].body.apart == skeleton.index(skeleton.centre)


def test_noise_has_its_deviation_in_every_frame_and_drifts():
    changes = Changes(AugmentConfig(noise=0.02), replace(BODY, metres=0.5))
    joints = torch.ones(3000, 40, 6, 3)
    joints[:, 30:] = 0  # nobody is there
    drawn = drawn_for(changes, noise=0.49).expand(3000, -1)
    error = changes.apply(batch_of(joints), torch.zeros(3000, 3), drawn, 5).joints - joints
    assert not error[:, 30:].any()
    error = error[:, :30]
    assert error.std(dim=(0, 2, 3)).tolist() == pytest.approx([0.04] * 30, rel=0.02)  # of half a metre
    assert abs(float(error.mean())) < 1e-3
    step = (error[:, 1:] - error[:, :-1]).std()
    assert float(step) == pytest.approx(0.04 * np.pi / 2 / 16, rel=0.05)
    flat = error.flatten(2)
    assert abs(float((flat[:, :, 0] * flat[:, :, 1]).mean())) < 1e-4  # joints and axes for themselves
    assert float((flat[:, 0] * flat[:, 16]).mean()) == pytest.approx(0, abs=2e-5)
    same = changes.apply(batch_of(joints), torch.zeros(3000, 3), drawn_for(changes).expand(3000, -1), 5)
    assert torch.equal(same.joints, joints)
    level = Changes(AugmentConfig(noise=0.02), replace(BODY, flat=True))
    error = level.apply(batch_of(joints), torch.zeros(3000, 3), drawn, 5).joints - joints
    assert error[..., :2].any()
    assert not error[..., 2].any()


@pytest.mark.parametrize("body", [BODY, replace(BODY, up=2), replace(BODY, flat=True, metres=0.5)])
def test_every_second_view_stands_elsewhere_on_the_ground(body):
    config = AugmentConfig(shift=0.8)
    changes, chance = Changes(config, body), torch.Generator().manual_seed(0)
    joints = torch.randn(2000, 3, 6, 3, generator=chance)
    joints[:, 2] = 0  # absent
    found = changes.apply(batch_of(joints), torch.zeros(2000, 3), changes.draw(2000, chance), 0).joints
    assert not found[:, 2].any()
    way = (found - joints)[:, :2]
    torch.testing.assert_close(way, way[:, :1, :1].expand_as(way), atol=1e-6, rtol=0)  # the body as a whole
    way = way[:, 0, 0]
    level = [axis for axis in range(3) if axis != body.up and not (body.flat and axis == 2)]
    assert not np.delete(way.numpy(), level, axis=1).any()
    moved = way[way.any(dim=1)][:, level]
    assert len(moved) == pytest.approx(1000, abs=80)
    most = 0.8 / body.metres
    assert moved.abs().amax(dim=0).tolist() == pytest.approx([most] * len(level), rel=0.02)
    assert moved.std(dim=0).tolist() == pytest.approx([most / 3**0.5] * len(level), rel=0.05)
    # what else is drawn is drawn first, so that a shift leaves it as it was
    plain = Changes(AugmentConfig(), body)
    assert changes.draws == plain.draws + 3
    # an axis that is left out stays so
    flattened = Changes(AugmentConfig(shift=0.8, drop_axis=1), body)
    found = flattened.apply(batch_of(joints), torch.zeros(2000, 3), flattened.draw(2000, chance), 0).joints
    assert (found == 0).all(dim=(1, 2)).any(dim=1).all()


@pytest.mark.parametrize("body", [BODY, replace(BODY, bones=True), replace(BODY, flat=True, metres=0.5)])
def test_joints_of_every_second_view_are_displaced_for_all_of_it(body):
    config = AugmentConfig(bias=0.05)
    changes, chance = Changes(config, body), torch.Generator().manual_seed(0)
    joints = torch.randn(2000, 5, 6, 3, generator=chance)
    joints[:, 2] = 0  # absent
    found = changes.apply(batch_of(joints), torch.zeros(2000, 3), changes.draw(2000, chance), 7).joints
    assert not found[:, 2].any()
    error = (found - joints)[:, [0, 1, 3, 4]]
    torch.testing.assert_close(error, error[:, :1].expand_as(error), atol=1e-6, rtol=0)
    error = error[:, 0]
    displaced = error.flatten(1).any(dim=1)
    assert int(displaced.sum()) == pytest.approx(1000, abs=80)
    error = error[displaced]
    if body.bones:  # as those of the joints that they hold
        error = changes._placed(error[:, None])[:, 0]
    error, unit = error[..., : 2 if body.flat else 3], 0.05 / body.metres
    assert not (body.flat and (found - joints)[..., 2].any())
    assert error.std(dim=0).flatten().tolist() == pytest.approx([unit] * error[0].numel(), rel=0.1)
    between = torch.corrcoef(error.flatten(1).T) - torch.eye(error[0].numel())
    assert float(between.abs().max()) < 0.15  # each joint and axis for itself
    # where the draws are the same, so is all else, noise included
    both = AugmentConfig(bias=0.05, shift=0.8, noise=0.01)
    views = [Changes(both.model_copy(update={"bias": bias}), body) for bias in (0.05, 0.0)]
    drawn = views[0].draw(2000, chance)
    drawn[:, -1] = 0.999  # displaced is none
    same = [one.apply(batch_of(joints), torch.zeros(2000, 3), drawn[:, : one.draws], 7) for one in views]
    assert torch.equal(same[0].joints, same[1].joints)
    # an axis that is left out stays so
    flattened = Changes(AugmentConfig(bias=0.05, drop_axis=1), body)
    found = flattened.apply(batch_of(joints), torch.zeros(2000, 3), flattened.draw(2000, chance), 0).joints
    assert (found == 0).all(dim=(1, 2)).any(dim=1).all()


@pytest.mark.parametrize("whole_clips", [True, False])
def test_processes_see_what_one_sees(whole_clips):
    feed = Feed(clips(30), CPU, 24, changes=Changes(SHIFTED, FIVE))

    def epoch(rank: int, processes: int) -> list[Batch]:
        chance = torch.Generator().manual_seed(3)
        how = {"whole_clips": whole_clips, "batches": "drawn"}
        return list(feed.batches(feed.train_views(8, SHIFTED, chance, rank, processes, **how)))

    whole = epoch(0, 1)
    for processes in (2, 3, 8):
        parts = [epoch(rank, processes) for rank in range(processes)]
        for step, batch in enumerate(whole):
            found = torch.cat([part[step].joints for part in parts])
            torch.testing.assert_close(found, batch.joints, atol=1e-6, rtol=0)


def test_streamed_views_are_resident_ones_and_bodies_of_a_clip_share_their_changes():
    changes = Changes(SHIFTED.model_copy(update={"noise": 0.0, "bias": 0.0}), FOUR)
    arrays = arrays_of([[20, 20]] * 12)
    arrays.joints[:] = np.random.default_rng(0).normal(size=(1, 4, 3))  # one pose
    feeds = [Feed(arrays, CPU, 8, resident=where, changes=changes) for where in ("device", "host")]
    feeds[1].device, feeds[1].home = CPU, torch.device("meta")  # streams, on a machine without a GPU
    made = []
    for feed in feeds:
        views = (
            feed.train_views(6, SHIFTED, torch.Generator().manual_seed(0)) if not feed.streams else made[0][0]
        )
        made.append((views, list(feed.batches(views))))
    (_, resident), (_, streamed) = made
    for a, b in zip(resident, streamed, strict=True):
        assert torch.equal(a.joints, b.joints)
        first, second = a.joints.unflatten(0, (6, 2)).unbind(1)
        assert torch.equal(first, second)
        assert len({tuple(one.flatten().tolist()) for one in first}) == 6


def test_by_default_the_very_same_numbers_are_drawn():
    """Crops and angles are those of a feed without changes; and without, nothing more is drawn than ever."""
    plain, changed = (
        Feed(arrays_of(MIXED), CPU, 8),
        Feed(arrays_of(MIXED), CPU, 8, changes=Changes(ALL, FOUR)),
    )
    chances = [torch.Generator().manual_seed(0) for _ in range(3)]
    views = plain.train_views(2, AugmentConfig(), chances[0], count=2)
    others = changed.train_views(2, ALL, chances[1], count=2)
    for a, b in ((views, others), (views.others[0], others.others[0])):
        for name in ("first", "length", "angles", "row", "index"):
            assert torch.equal(getattr(a, name), getattr(b, name))
    order = torch.randperm(len(plain), generator=chances[2])
    for _ in range(2):
        torch.rand(len(order) // 2 * 2, 5, generator=chances[2])
    assert torch.equal(chances[0].get_state(), chances[2].get_state())
    assert not torch.equal(chances[0].get_state(), chances[1].get_state())
    assert (views.changes, views.seeds) == (None, ())
    centre = changed.batch(changed.centre_views(2, 1.0), 0).joints  # what tests are made of
    assert torch.equal(centre, plain.batch(plain.centre_views(2, 1.0), 0).joints)
    dataset = SimpleNamespace(spec=load_spec("ntu60"), up=1)
    assert make_changes(AugmentConfig(rotation=0.1, min_frames=3), InputConfig(), dataset) is None


def test_two_views_of_a_clip_are_changed_each_for_itself():
    arrays = arrays_of([[20]] * 40)
    arrays.joints[:] = np.random.default_rng(0).normal(size=(1, 4, 3))
    still = {"rotation": 0.0, "min_crop": 1.0}
    for key, value in (
        ("turn", 0.5),
        ("mirror", 0.5),
        ("limbs", 0.2),
        ("scale", 0.2),
        ("noise", 0.1),
        ("shift", 0.5),
        ("bias", 0.1),
    ):
        config = AugmentConfig(**still, **{key: value})
        feed = Feed(arrays, CPU, 8, changes=Changes(config, FOUR))
        views = feed.train_views(40, config, torch.Generator().manual_seed(0), count=2)
        batch = feed.batch(views, 0)
        assert torch.equal(batch.clips, batch.others[0].clips)
        same = (batch.joints == batch.others[0].joints).all(dim=(1, 2, 3)).float().mean()
        # with a chance of a half in either view both are as they were in a quarter, both mirrored in another
        wanted = {"turn": 0.0, "mirror": 0.5}.get(key, 0.25)
        assert float(same) == pytest.approx(wanted, abs=0.2), key


def test_energies_from_the_shard_follow_a_mirror_and_a_size():
    """Of windows of 4 frames, as a shard has them and as measured on the changed joints."""
    config = AugmentConfig(mirror=0.5, scale=0.3, turn=1.0)
    changes, chance = Changes(config, BODY), torch.Generator().manual_seed(0)
    joints, drawn = torch.randn(32, 8, 6, 3, generator=chance), changes.draw(32, chance)
    energy = window_energy(joints, 4).repeat_interleave(4, dim=1)[..., None]
    found = changes.apply(batch_of(joints, energy), torch.randn(32, 3, generator=chance), drawn, 0)
    assert found.energy is not None
    torch.testing.assert_close(found.energy[:, ::4, :, 0], window_energy(found.joints, 4))
    assert not torch.equal(found.energy, energy)


def test_motion_is_changed_as_the_joints_that_move_are():
    """Changed velocities are those of the changed joints."""
    config = AugmentConfig(turn=0.5, mirror=0.5, limbs=0.2, scale=0.1, drop_axis=0.3)
    for body in (BODY, LOPSIDED):
        changes, chance = Changes(config, body), torch.Generator().manual_seed(0)
        joints, drawn = torch.randn(32, 9, 6, 3, generator=chance), changes.draw(32, chance)
        angles = torch.randn(32, 3, generator=chance)
        moved = changes.apply(batch_of(joints.diff(dim=1)), angles, drawn, 0).joints
        torch.testing.assert_close(
            moved, changes.apply(batch_of(joints), angles, drawn, 0).joints.diff(dim=1)
        )


def test_what_is_up_follows_the_form_that_is_shown():
    spec = load_spec("nw-ucla")
    plain, turned = (
        SimpleNamespace(spec=spec, up=up, manifest={"recipe": {"scale": up == 2}}) for up in (1, 2)
    )
    assert body_of(plain, InputConfig()).up == 1
    assert body_of(turned, InputConfig()).up == 2
    assert body_of(plain, InputConfig(frame="first")).up == 2
    metres = [body_of(plain, InputConfig()), body_of(turned, InputConfig())]
    metres.append(body_of(plain, InputConfig(lengths="spine")))
    assert [body.metres for body in metres] == [1, 0.5, 0.5]
    assert body_of(plain, InputConfig(stream="bone")).bones


def test_what_cannot_be_done_is_refused(ntu_shards, tmp_path):
    flat = SimpleNamespace(spec=load_spec("openpose"), path="poses")
    for key in ("turn", "drop_axis"):
        with pytest.raises(UsageError, match=rf"two-dimensional.*augment\.{key}"):
            check_changes(AugmentConfig(**{key: 0.1}), [flat], InputConfig())
    assert check_changes(AugmentConfig(limbs=0.1, scale=0.1, noise=0.1), [flat], InputConfig()) == []
    for stream in ("bone", "motion"):
        with pytest.raises(
            UsageError, match=r"does not show where bodies and joints are.*set augment\.shift=0"
        ):
            small(ntu_shards, "guidance.source=online", f"input.stream={stream}", "augment.shift=0.5")
    for key in ("noise", "bias"):
        with pytest.raises(UsageError, match=rf"does not show.*set augment\.{key}=0"):
            small(ntu_shards, "guidance.source=online", "input.stream=motion", f"augment.{key}=0.1")
    with pytest.raises(UsageError, match=r"set augment\.shift=0 augment\.noise=0 augment\.bias=0$"):
        load_experiment("any-skeleton-small-agreement", ["input.stream=motion"])
    shard = small(ntu_shards, "guidance.source=shard", "augment.limbs=0.1")
    with pytest.raises(UsageError, match=r"take guidance\.source=online"):
        run_experiment(shard, tmp_path / "run")
    for key in ("noise", "drop_axis", "turn", "scale", "shift", "bias"):
        other = shard.model_copy(update={"augment": AugmentConfig(**{key: 0.1})})
        refused = (
            pytest.raises(UsageError, match="as they are") if key in ("noise", "drop_axis") else nullcontext()
        )
        with refused:
            check_energies(other, "another")
    assert not (tmp_path / "run").exists()


def test_a_path_keeps_its_joint_in_a_mirror():
    """COCO's keypoints have no middle of the spine, and their centre is the left hip: mirrored, the right one
    would show the path, and does so in no clip that is judged."""
    recipe = {"up": 1, "path": "clips", "manifest": {"recipe": {}}}
    spec, mirrored = load_spec("ntu60"), AugmentConfig(mirror=0.5)
    coco = SimpleNamespace(spec=spec.changed(name="coco", skeleton=load_skeleton("coco_17")), **recipe)
    ntu, path = SimpleNamespace(spec=spec, **recipe), InputConfig(centre="path")
    with pytest.raises(UsageError, match="coco shows its path by left_hip, which would be right_hip in a m"):
        check_changes(mirrored, [coco], path)
    assert "not mirrored: coco" in check_changes(mirrored, [coco, ntu], path)[0]
    assert make_changes(mirrored, path, coco) is None
    for shown, dataset in ((InputConfig(centre="every"), coco), (path, ntu)):
        assert check_changes(mirrored, [dataset], shown) == []
        assert make_changes(mirrored, shown, dataset) is not None


def test_only_bodies_whose_classes_know_no_side_are_mirrored():
    mirrored, ntu = AugmentConfig(mirror=0.5), load_spec("ntu60")
    middle = ntu.changed(skeleton=ntu.skeleton.model_copy(update={"symmetric": []}))
    recipe = {"up": 1, "path": "clips", "manifest": {"recipe": {}}}
    sbu = SimpleNamespace(spec=load_spec("sbu"), **recipe)
    for spec, said in (
        (load_spec("wmft"), "wmft does not say whether .* add `handed: false` to it and convert clips again"),
        (load_spec("utd-mhad"), "classes of utd-mhad tell left from right"),
        (middle, "kinect_v2 of clips does not say which joints"),
    ):
        dataset = SimpleNamespace(spec=spec, **recipe)
        with pytest.raises(UsageError, match=f"{said}.*; or set it to 0"):
            check_changes(mirrored, [dataset], InputConfig())
        assert check_changes(AugmentConfig(limbs=0.1), [dataset], InputConfig()) == []
        # beside others it is trained on as it is, and the user is told
        (line,) = check_changes(mirrored, [sbu, dataset], InputConfig())
        assert re.search(f"not mirrored: .*{said}", line)
        assert make_changes(mirrored, InputConfig(), dataset) is None
        kept = make_changes(mirrored.model_copy(update={"turn": 0.1}), InputConfig(), dataset)
        assert kept is not None
        assert kept.config.changes == {"turn": 0.1}
    for name in ("ntu60", "nw-ucla", "sbu", "pku-mmd-2"):
        dataset = SimpleNamespace(spec=load_spec(name), **recipe)
        assert check_changes(mirrored, [dataset], InputConfig()) == []
        changes = make_changes(mirrored, InputConfig(), dataset)
        assert changes is not None
        assert changes.config == mirrored


def test_a_stopped_training_with_changes_ends_with_the_same_weights(ntu_shards, tmp_path):
    words = [f"augment.{key}={value}" for key, value in ALL.changes.items()]
    experiment = small(ntu_shards, "guidance.source=online", *words)
    whole = run_experiment(experiment, tmp_path / "whole", judged=False)
    with pytest.raises(Stop):
        run_experiment(experiment, tmp_path / "cut", Listener(stop_after=5))
    again = run_experiment(experiment, tmp_path / "cut", judged=False)
    assert again["pretraining"]["loss"] == whole["pretraining"]["loss"]
    # an evaluation of its own training knows nothing of them, and is called as ever
    augment = load_encoder(tmp_path / "whole").config.augment
    assert augment.changes == experiment.augment.changes
    plain = AugmentConfig(**augment.judged)
    for name in ("finetune", "semi", "linear"):
        settings = [PROTOCOLS[name].settings(experiment.evaluation, each) for each in (augment, plain)]
        assert settings[0] == settings[1]
