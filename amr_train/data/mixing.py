"""Several datasets at once: a batch is a part of each, with its own joints, so that nothing is padded and a
joint that a sensor does not have is simply not there. How many clips each gives is the same in every
batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from amr_data import UsageError
from amr_train.config import AugmentConfig
from amr_train.data.batching import Batch, Views
from amr_train.data.feed import Feed


@dataclass
class Mixed:
    """A batch of several datasets. parts : of each, in the order of `names`."""

    parts: tuple[Batch, ...]
    names: tuple[str, ...]


@dataclass(frozen=True)
class MixedViews:
    """views : of each dataset.  clips : for each batch the numbers of its clips among those of all (B,)."""

    views: tuple[Views, ...]
    clips: tuple[Tensor, ...]


class MixedFeed:
    """Args:
    feeds: of each dataset by its name, each with its own joints.
    mixing: how much larger datasets have more of every batch, see `apportioned`.
    """

    def __init__(self, feeds: dict[str, Feed], mixing: float) -> None:
        self.feeds, self.mixing = feeds, mixing
        self.device = next(iter(feeds.values())).device
        self.names = [f"{name}: {clip}" for name, feed in feeds.items() for clip in feed.names]

    def __len__(self) -> int:
        return len(self.names)

    def train_views(
        self,
        batch_size: int,
        augment: AugmentConfig,
        generator: torch.Generator,
        rank: int = 0,
        processes: int = 1,
        count: int = 1,
        batches: str = "drawn",
        whole_clips: bool = True,
    ) -> MixedViews:
        """An epoch has as many batches as all clips together fill; meanwhile a dataset that has more of them
        than its size is gone through more than once, another in part. The arguments are those of
        `Feed.train_views`."""
        size = min(batch_size, len(self))
        steps = len(self) // size
        shares = apportioned([len(feed) for feed in self.feeds.values()], size, self.mixing)
        how = (augment, generator, rank, processes, count, batches, whole_clips, steps)
        views = [feed.train_views(n, *how) for feed, n in zip(self.feeds.values(), shares, strict=True)]
        firsts = [0]
        for feed in self.feeds.values():
            firsts.append(firsts[-1] + len(feed))
        clips = tuple(
            torch.cat([first + one.clips[step] for first, one in zip(firsts, views, strict=False)])
            for step in range(steps)
        )
        return MixedViews(tuple(views), clips)

    def batches(self, views: MixedViews, start: int = 0) -> Iterator[Mixed]:
        """The batches from `start` on."""
        each = [feed.batches(one, start) for feed, one in zip(self.feeds.values(), views.views, strict=True)]
        for parts in zip(*each, strict=True):
            yield Mixed(parts, tuple(self.feeds))


def batches_of(
    feed: Feed | MixedFeed, views: Views | MixedViews, start: int = 0
) -> Iterator[Batch] | Iterator[Mixed]:
    """The batches of views that the feed made, from `start` on."""
    if isinstance(views, MixedViews):
        assert isinstance(feed, MixedFeed)
        return feed.batches(views, start)
    assert isinstance(feed, Feed)
    return feed.batches(views, start)


def apportioned(clips: Sequence[int], size: int, mixing: float) -> list[int]:
    """How many clips of each dataset are in a batch: one at least, all of them at most, and otherwise in
    proportion to clips^mixing, by Webster's method.

    Args:
        clips: of each dataset, one or more.
        size: clips of a batch, as many as there are or fewer.
        mixing: 1 by size, 0 all alike.
    Raises: UsageError where there are more datasets than clips in a batch.
    """
    if size < len(clips):
        raise UsageError(
            f"a batch of {size} clips cannot hold one of each of {len(clips)} datasets; raise "
            "pretrain.batch_size"
        )
    weights = [count**mixing for count in clips]
    shares = [1] * len(clips)
    for _ in range(size - len(clips)):
        claims = [
            weight / (2 * share + 1) if share < most else 0.0
            for weight, share, most in zip(weights, shares, clips, strict=True)
        ]
        shares[claims.index(max(claims))] += 1
    return shares
