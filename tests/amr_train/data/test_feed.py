"""Views: resampling equal to torch's, crops inside, rotations rigid, every clip once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from amr_data import SplitArrays, open_dataset
from amr_train import ClipDataset
from amr_train.config import AugmentConfig
from amr_train.data.augment import (
    centre_bounds,
    crop_bounds,
    gather_resampled,
    nearest_present,
    rotate,
    rotation_matrices,
)
from amr_train.data.batching import Batch
from amr_train.data.feed import Feed
from amr_train.data.timeline import timeline_of

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


def arrays_of(lengths: list[list[int]], begins: list[list[int]] | None = None) -> SplitArrays:
    """Clip i with bodies of the given lengths, there from the given frames on (0 where nothing is said); row
    t of sequence q has all joints at (q, t, 1)."""
    flat = [n for bodies in lengths for n in bodies]
    begins = begins or [[0] * len(bodies) for bodies in lengths]
    offsets = [b for bodies in begins for b in bodies]
    joints = np.concatenate(
        [np.tile([[[q, t, 1]] for t in range(n)], (1, 4, 1)) for q, n in enumerate(flat)]
    ).astype(np.float32)
    first = np.cumsum([0, *flat[:-1]])
    clip = np.repeat(np.arange(len(lengths)), [len(b) for b in lengths])
    names = [f"c{i}" for i in range(len(lengths))]
    return SplitArrays(
        joints,
        np.ones((len(joints), 4, 3), np.float32),
        np.concatenate([np.arange(n) + b for n, b in zip(flat, offsets, strict=True)]),
        first,
        np.array(flat),
        clip,
        np.arange(len(lengths)),
        names,
        np.array([max(map(sum, zip(n, b, strict=True))) for n, b in zip(lengths, begins, strict=True)]),
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
    # the second body of clip 1 is there in 12 of its 30 frames, then its last frame stands in
    assert batches[0].present.tolist()[2] == [True] * 3 + [False] * 5
    assert batches[0].joints[2, :, 0, 1].tolist()[4:] == [11, 11, 11, 11]


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
        time = (torch.arange(16) + 0.5) * clip.frames / 16 - 0.5
        for slot in range(2):
            tracks = [track for track in clip.tracks if track.slot == slot]
            rows = {int(f): track.joints[i] for track in tracks for i, f in enumerate(track.frames)}
            for out, at in enumerate(time.clamp(min=0).tolist()):
                nearest = int(at) if at % 1 < 0.5 else min(int(at) + 1, clip.frames - 1)
                if nearest not in rows:
                    assert not joints[slot, out].any()
                elif int(at) in rows and min(int(at) + 1, clip.frames - 1) in rows:
                    low, high = rows[int(at)], rows[min(int(at) + 1, clip.frames - 1)]
                    between = torch.from_numpy(low + (high - low) * (at % 1)).float()
                    torch.testing.assert_close(joints[slot, out], between, atol=1e-4, rtol=1e-4)


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
        there = torch.tensor([body < len(MIXED[c]) for c in b.clips.tolist() for body in range(2)])
        assert b.present is None  # zeros count like anything else
        assert not b.joints[~there].any()
        assert not b.energy[~there].any()
        if all(len(set(MIXED[c])) == 1 for c in b.clips.tolist()):
            assert torch.equal(b.joints[there], a.joints)
            assert torch.equal(b.energy[there], a.energy)


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


def test_bodies_share_the_clips_time_axis():
    """A body that comes in at frame 30 of 60 is seen where the other one is, not stretched over the whole
    clip."""
    feed = Feed(arrays_of([[60, 20]], [[0, 30]]), CPU, 60)
    (batch,) = feed.batches(feed.centre_views(1, 1.0))
    assert batch.present.tolist() == [[True] * 60, [False] * 30 + [True] * 20 + [False] * 10]
    assert batch.joints[1, :, 0, 1].tolist() == [0.0] * 30 + list(map(float, range(20))) + [19.0] * 10


def test_the_nearest_frame_stands_in_for_an_absent_one():
    arrays = arrays_of([[4, 10]])
    arrays.frame[:4] = [1, 2, 7, 8]  # of ten frames; at frame 4.5 the gap has its middle
    feed = Feed(arrays, CPU, 10)
    (batch,) = feed.batches(feed.centre_views(1, 1.0))
    assert batch.joints[0, :, 0, 1].tolist() == [0, 0, 1, 1, 1, 2, 2, 2, 3, 3]
    assert batch.present[0].nonzero().flatten().tolist() == [1, 2, 7, 8]


def test_nearest_frames_are_found_alike_on_the_host_and_in_a_model():
    generator = torch.Generator().manual_seed(0)
    present = torch.rand(40, 30, generator=generator) < 0.3
    present[:, 0] |= ~present.any(dim=1)
    rows = [row.nonzero().flatten().numpy() for row in present]
    arrays = arrays_of([[len(r)] for r in rows])
    arrays.frame[:] = np.concatenate(rows)
    arrays.clip_frames[:] = 30
    timeline = timeline_of(arrays)
    theirs = nearest_present(present)
    ours = torch.from_numpy(arrays.frame)[timeline.row].view(40, 30)
    assert torch.equal(ours, theirs)
    assert torch.equal(timeline.present.view(40, 30), present)


def test_a_body_outside_the_crop_is_left_out_and_never_the_last_one():
    arrays = arrays_of([[100, 10], [10]], [[0, 90], [0]])
    arrays.clip_frames[1] = 100  # its only body leaves after ten frames
    feed = Feed(arrays, CPU, 8)
    (batch,) = feed.batches(feed.centre_views(2, 0.5))
    assert batch.clip.tolist() == [0, 1]
    assert not batch.present[1].any()
    drawn = [b.clip.tolist() for seed in range(40) for b in epoch_of(feed, 2, seed)]
    assert {len(rows) for rows in drawn} == {2, 3}
    assert all(set(rows) == {0, 1} for rows in drawn)


def test_further_views_show_the_same_clips():
    feed = Feed(arrays_of(MIXED), CPU, 8)
    views = feed.train_views(3, AugmentConfig(), torch.Generator().manual_seed(0), count=2)
    for batch in feed.batches(views):
        (other,) = batch.others
        assert torch.equal(other.clips, batch.clips)
        assert not torch.equal(other.joints[:1], batch.joints[:1])
    alone = feed.train_views(3, AugmentConfig(), torch.Generator().manual_seed(0))
    assert torch.equal(feed.batch(views, 0).joints, feed.batch(alone, 0).joints)


def test_augmented_views_show_every_clip_once_in_order():
    feed = Feed(arrays_of(MIXED), CPU, 8)
    views = feed.augmented_views(3, AugmentConfig(), torch.Generator().manual_seed(0))
    assert torch.cat([b.clips for b in feed.batches(views)]).tolist() == list(range(7))


@pytest.mark.parametrize("frames", range(1, 130))
def test_crop_lengths_as_mamp_rounds_them(frames):
    """Literal: int((1 - p) / 2 of the frames) off at both ends; floor(p * frames), at least 64, at most
    all."""
    start, length = centre_bounds(torch.tensor([frames]), 0.95, "mamp")
    bias = int((1 - 0.95) * frames / 2)
    assert (int(start), int(length)) == (bias, len(range(frames)[bias : frames - bias]))
    share = torch.tensor([0.7])
    _, random = crop_bounds(torch.tensor([frames]), share, torch.tensor([0.3]), 64, "mamp")
    assert int(random) == min(max(int(np.floor(np.float32(0.7) * np.float32(frames))), 64), frames)


def test_energies_are_read_where_they_are_wanted(ntu_shards):
    dataset = open_dataset(ntu_shards)
    clips = dataset.split("xsub", "train")
    whole, less = dataset.arrays(clips), dataset.arrays(clips, energy=False)
    assert (whole.energy.shape[2], less.energy.shape[2]) == (3, 0)
    assert (whole.joints == less.joints).all()
