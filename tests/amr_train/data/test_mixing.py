"""Several datasets in one batch: how many clips each gives, and which."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from amr_data import UsageError
from amr_train import load_experiment
from amr_train.data.feed import Feed
from amr_train.data.mixing import MixedFeed, apportioned
from tests.amr_train.tracing import clips

CPU = torch.device("cpu")
AUGMENT = load_experiment("demo").augment.model_copy(update={"min_frames": 12})


@pytest.mark.parametrize(
    ("counts", "size", "mixing", "shares"),
    [
        ([400, 100], 15, 1, [12, 3]),
        ([400, 100], 15, 0.5, [10, 5]),  # 20 to 10
        ([400, 100], 15, 0, [8, 7]),
        ([100, 400], 15, 0.5, [5, 10]),
        ([3, 1000], 10, 0, [3, 7]),  # no more than there are
        ([1, 10_000], 4, 1, [1, 3]),  # one at least
        ([50], 8, 0.5, [8]),
    ],
)
def test_shares_of_a_batch_by_hand(counts, size, mixing, shares):
    assert apportioned(counts, size, mixing) == shares


def test_more_datasets_than_clips_in_a_batch_are_refused():
    with pytest.raises(UsageError, match="a batch of 2 clips cannot hold one of each of 3"):
        apportioned([5, 5, 5], 2, 1)


def mixed(mixing: float = 0.0, first: int = 12, second: int = 40) -> MixedFeed:
    """Two datasets of 12 and 40 clips, of 5 and of 3 joints."""
    arrays = clips(second)
    fewer = replace(arrays, joints=arrays.joints[:, :3].copy(), energy=arrays.energy[:, :3].copy())
    feeds = {"a": Feed(clips(first), CPU, 24), "b": Feed(fewer, CPU, 24, naming=torch.eye(3, 5))}
    return MixedFeed(feeds, mixing)


def views(feed: MixedFeed, seed: int = 0, *how: int, batches: str = "drawn"):
    return feed.train_views(8, AUGMENT, torch.Generator().manual_seed(seed), *how, batches=batches)


@pytest.mark.parametrize("batches", ["drawn", "even"])
def test_an_epoch_goes_through_a_small_dataset_more_than_once(batches):
    feed = mixed()
    made = views(feed, batches=batches)
    assert len(made.clips) == 52 // 8
    shown = [step.tolist() for step in made.clips]
    assert all(sum(clip < 12 for clip in step) == 4 for step in shown)  # the other four are of b
    of_a = [clip for step in shown for clip in step if clip < 12]
    assert sorted(of_a[:12]) == sorted(of_a[12:]) == list(range(12))  # 24 clips: twice, each pass whole
    assert of_a[:12] != of_a[12:]
    of_b = [clip for step in shown for clip in step if clip >= 12]
    assert len(set(of_b)) == 24  # 24 of the 40, none twice
    assert [feed.names[clip] for clip in (0, 11, 12)] == ["a: c0", "a: c11", "b: c0"]


def test_a_batch_has_a_part_of_each_with_its_own_joints():
    (batch, *rest) = mixed().batches(views(mixed()))
    assert [part.joints.shape[1:] for part in batch.parts] == [(24, 5, 3), (24, 3, 3)]
    assert [len(part.clips) for part in batch.parts] == [4, 4]
    assert batch.parts[0].naming is None
    assert batch.parts[1].naming.shape == (3, 5)
    assert len(rest) == 5


def test_batches_follow_from_the_seed_and_from_nothing_else():
    feed = mixed()
    again = views(mixed())
    for one, other in zip(views(feed).clips, again.clips, strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(views(feed, 1).clips[0], again.clips[0])
    late = list(feed.batches(views(feed), 4))  # taken up after four steps
    for one, other in zip(late, list(mixed().batches(again))[4:], strict=True):
        for mine, theirs in zip(one.parts, other.parts, strict=True):
            assert torch.equal(mine.joints, theirs.joints)


@pytest.mark.parametrize("whole_clips", [True, False])
def test_processes_share_every_part_of_a_batch(whole_clips):
    feed = mixed()

    def parts(rank: int, size: int):
        chance = torch.Generator().manual_seed(0)
        made = feed.train_views(8, AUGMENT, chance, rank, size, whole_clips=whole_clips)
        return [batch.parts for batch in feed.batches(made)]

    for alone, *shared in zip(parts(0, 1), parts(0, 2), parts(1, 2), strict=True):
        for number, whole in enumerate(alone):
            joints = torch.cat([mine[number].joints for mine in shared])
            assert torch.equal(joints, whole.joints)
            assert all(len(mine[number].joints) for mine in shared)
            assert {mine[number].total for mine in shared} == {len(whole.joints)}
