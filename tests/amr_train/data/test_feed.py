"""Views: resampling equal to torch's, crops inside, rotations rigid, every clip once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from amr_data import SplitArrays, open_dataset
from amr_train import ClipDataset
from amr_train.config import AugmentConfig
from amr_train.data.augment import crop_bounds, gather_resampled, rotate, rotation_matrices
from amr_train.data.feed import Batch, Feed

CPU = torch.device("cpu")


@pytest.mark.parametrize("length", [1, 2, 7, 48, 113])
def test_resampling_is_torchs_linear_interpolation(length):
    values = torch.randn(200, 5, 3)
    ours = gather_resampled(values, torch.tensor([20]), torch.tensor([length]), 48)[0]
    crop = values[20 : 20 + length].flatten(1).T[None]  # (1, V * C, L)
    theirs = interpolate(crop, size=48, mode="linear", align_corners=False)[0].T.reshape(48, 5, 3)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_crops_keep_their_share_and_stay_inside():
    rows = torch.tensor([1, 10, 63, 64, 100, 300]).repeat_interleave(500)
    share, place = 0.5 + 0.5 * torch.rand(len(rows)), torch.rand(len(rows))
    start, length = crop_bounds(rows, share, place, 64)
    assert (start >= 0).all()
    assert (start + length <= rows).all()
    assert (length >= torch.minimum(rows, torch.tensor(64))).all()
    assert (length >= (rows * share).floor()).all()
    longest = rows == 300
    assert length[longest].min() < 170
    assert length[longest].max() > 280


def test_a_crop_can_lie_at_either_end():
    start, length = crop_bounds(
        torch.tensor([100, 100]), torch.tensor([0.5, 0.5]), torch.tensor([0.0, 0.9999]), 1
    )
    assert (start.tolist(), length.tolist()) == ([0, 50], [50, 50])


def test_rotations_by_hand_and_rigid():
    quarter = torch.tensor([[0, 0, torch.pi / 2]])
    torch.testing.assert_close(
        rotation_matrices(quarter)[0] @ torch.tensor([1.0, 0, 0]),
        torch.tensor([0.0, 1, 0]),
        atol=1e-6,
        rtol=0,
    )
    turns = rotation_matrices(torch.randn(50, 3))
    torch.testing.assert_close(
        turns @ turns.transpose(1, 2), torch.eye(3).expand(50, 3, 3), atol=1e-5, rtol=0
    )
    torch.testing.assert_close(torch.linalg.det(turns), torch.ones(50), atol=1e-5, rtol=0)


@pytest.mark.parametrize("joints", [1, 17, 20, 25])
def test_every_sequence_turns_by_its_own_matrix(joints):
    points, turns = torch.randn(3, 4, joints, 3), torch.randn(3, 3, 3)
    expected = torch.stack(
        [torch.stack([frame @ turn.T for frame in clip]) for clip, turn in zip(points, turns, strict=True)]
    )
    torch.testing.assert_close(rotate(points, turns), expected, atol=1e-5, rtol=1e-5)


def arrays_of(lengths: list[list[int]]) -> SplitArrays:
    """Clip i with bodies of the given lengths; frame t of sequence q has all joints at (q, t, 1)."""
    flat = [n for bodies in lengths for n in bodies]
    joints = np.concatenate(
        [np.tile([[[q, t, 1]] for t in range(n)], (1, 4, 1)) for q, n in enumerate(flat)]
    ).astype(np.float32)
    first = np.cumsum([0, *flat[:-1]])
    clip = np.repeat(np.arange(len(lengths)), [len(b) for b in lengths])
    names = [f"c{i}" for i in range(len(lengths))]
    return SplitArrays(
        joints,
        np.ones((len(joints), 4, 3), np.float32),
        first,
        np.array(flat),
        clip,
        np.arange(len(lengths)),
        names,
    )


def epoch_of(feed: Feed, size: int, seed: int = 0, rank: int = 0, processes: int = 1) -> list[Batch]:
    return list(
        feed.batches(
            feed.train_views(size, AugmentConfig(), torch.Generator().manual_seed(seed), rank, processes)
        )
    )


def test_each_clip_once_in_order_with_all_its_bodies():
    feed = Feed(arrays_of([[20], [30, 12], [5], [9]]), CPU, 8)
    batches = list(feed.batches(feed.centre_views(3, 1.0)))
    assert [b.clips.tolist() for b in batches] == [[0, 1, 2], [3]]
    assert [b.clip.tolist() for b in batches] == [[0, 1, 1, 2], [0]]
    torch.testing.assert_close(batches[0].joints[:, 0, 0, 0], torch.tensor([0.0, 1, 2, 3]))
    torch.testing.assert_close(
        batches[0].joints[2, :, 0, 1].mean(), torch.tensor(5.5)
    )  # the middle of frames 0-11


def test_the_centre_crop_lies_in_the_middle():
    feed = Feed(arrays_of([[100]]), CPU, 10)
    (batch,) = feed.batches(feed.centre_views(1, 0.5))
    torch.testing.assert_close(batch.joints[0, :, 0, 1].mean(), torch.tensor(49.5), atol=0.6, rtol=0)
    assert batch.joints[0, :, 0, 1].min() >= 25


def test_an_epoch_repeats_with_its_seed_and_has_no_clip_twice():
    feed = Feed(arrays_of([[20, 20], [30], [25], [9], [14]]), CPU, 8)

    def epoch(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        batches = epoch_of(feed, 2, seed)
        return torch.cat([b.clips for b in batches]), torch.cat([b.joints for b in batches])

    clips, joints = epoch(1)
    again = epoch(1)
    assert len(set(clips.tolist())) == len(clips) == 4
    torch.testing.assert_close(clips, again[0])
    torch.testing.assert_close(joints, again[1], atol=0, rtol=0)
    assert not torch.equal(epoch(2)[1][:1], joints[:1])


def test_bodies_of_a_clip_turn_together():
    feed = Feed(arrays_of([[40, 40]]), CPU, 8)
    (batch,) = epoch_of(feed, 1)
    first, second = batch.joints
    # before the rotation the two differ by exactly one metre along x, everywhere
    gap = second - first
    torch.testing.assert_close(gap, gap[:1, :1].expand_as(gap), atol=1e-4, rtol=0)
    torch.testing.assert_close(gap.norm(dim=-1), torch.ones(8, 4), atol=1e-4, rtol=0)


def test_a_batch_larger_than_the_split_is_the_split():
    batches = epoch_of(Feed(arrays_of([[20], [30]]), CPU, 8), 64)
    assert [len(b.clips) for b in batches] == [2]


def test_the_plain_dataset_holds_the_resampled_clips(ntu_shards):
    clips = ClipDataset(ntu_shards, "xsub", "test", frames=16)
    dataset = open_dataset(ntu_shards)
    chosen = dataset.split("xsub", "test")
    assert len(clips) == len(chosen)
    for index in (0, len(clips) - 1):
        joints, label = clips[index]
        clip = dataset.clip(int(chosen[index]))
        assert (joints.shape, label) == ((2, 16, 25, 3), clip.label)
        for slot in range(2):
            own = [t.joints for t in clip.tracks if t.slot == slot]
            if not own:
                assert not joints[slot].any()
                continue
            crop = torch.from_numpy(np.concatenate(own)).flatten(1).T[None]
            expected = interpolate(crop, size=16, mode="linear", align_corners=False)[0].T.reshape(16, 25, 3)
            torch.testing.assert_close(joints[slot], expected, atol=1e-5, rtol=1e-5)


def test_real_shards_feed(ntu_shards):
    dataset = open_dataset(ntu_shards)
    feed = Feed(dataset.arrays(dataset.split("xsub", "train")), CPU, 24, with_energy=True)
    batch = epoch_of(feed, 8)[0]
    assert batch.joints.shape[1:] == (24, 25, 3)
    assert batch.energy is not None
    assert batch.energy.shape == (*batch.joints.shape[:3], 3)
    assert torch.isfinite(batch.joints).all()


MIXED = [[20, 20], [30], [25], [9, 11], [14], [40], [17, 17]]


def test_processes_share_every_batch():
    """Together they see what one process sees, each clip once, in the same views; a part knows where its
    sequences lie in the whole batch."""
    feed = Feed(arrays_of(MIXED), CPU, 8)
    whole = epoch_of(feed, 3)
    parts = [epoch_of(feed, 3, rank=r, processes=2) for r in range(2)]
    for step, batch in enumerate(whole):
        mine = [p[step] for p in parts]
        assert torch.equal(torch.cat([b.joints for b in mine]), batch.joints)
        assert torch.equal(torch.cat([b.clips for b in mine]), batch.clips)
        assert [(b.first, b.total) for b in mine] == [
            (0, len(batch.joints)),
            (len(mine[0].joints), len(batch.joints)),
        ]
        assert all(int(b.clip[0]) == 0 and int(b.clip[-1]) == len(b.clips) - 1 for b in mine)


def test_in_an_evaluation_the_processes_see_each_clip_once():
    feed = Feed(arrays_of(MIXED), CPU, 8)
    for processes in (2, 3, 4):
        seen = [
            b.clips for r in range(processes) for b in feed.batches(feed.centre_views(2, 1.0, r, processes))
        ]
        assert sorted(torch.cat(seen).tolist()) == list(range(7))


def test_empty_bodies_are_kept_as_zeros_where_asked():
    arrays = arrays_of(MIXED)
    skip, keep = Feed(arrays, CPU, 8, with_energy=True), Feed(arrays, CPU, 8, with_energy=True, bodies=2)
    for a, b in zip(epoch_of(skip, 3), epoch_of(keep, 3), strict=True):
        assert torch.equal(a.clips, b.clips)
        assert b.clip.tolist() == [0, 0, 1, 1, 2, 2]
        present = torch.tensor([body < len(MIXED[c]) for c in b.clips.tolist() for body in range(2)])
        assert torch.equal(b.joints[present], a.joints)
        assert torch.equal(b.energy[present], a.energy)
        assert not b.joints[~present].any()
        assert not b.energy[~present].any()


def test_a_split_that_does_not_fit_is_streamed_in_the_same_batches(monkeypatch):
    """The frames stay where they are and batches are gathered one ahead; nothing of what they hold
    changes."""
    feed = Feed(arrays_of(MIXED), CPU, 8, with_energy=True)
    streamed = Feed(arrays_of(MIXED), CPU, 8, with_energy=True, resident="host")
    monkeypatch.setattr(Feed, "streams", property(lambda self: self is streamed))
    ahead = []
    gather = Feed._gather
    monkeypatch.setattr(
        Feed, "_gather", lambda self, views, step: ahead.append(step) or gather(self, views, step)
    )
    views = streamed.train_views(2, AugmentConfig(), torch.Generator().manual_seed(0))
    batches = streamed.batches(views, start=1)
    first = next(batches)
    later = list(batches)
    assert sorted(ahead) == [1, 2]
    monkeypatch.undo()
    for a, b in zip(epoch_of(feed, 2)[1:], [first, *later], strict=True):
        assert torch.equal(a.joints, b.joints)
        assert torch.equal(a.energy, b.energy)


def test_an_epoch_can_be_taken_up_in_the_middle():
    feed = Feed(arrays_of(MIXED), CPU, 8)
    views = feed.train_views(2, AugmentConfig(), torch.Generator().manual_seed(4))
    whole, rest = list(feed.batches(views)), list(feed.batches(views, start=2))
    assert len(rest) == len(whole) - 2
    assert torch.equal(rest[0].joints, whole[2].joints)
