"""What a batch is, and how an epoch's clips are dealt out so that every batch has the same number of bodies:
then one shape suffices, and little is filled up.

The clips, in an order of chance, are sorted by their number of bodies and dealt out to the batches like
cards: two batches then differ by one body, or by as many as the clips with most and with fewest bodies
differ by. Within a batch the clips with more bodies are spread evenly, so that the parts of any number of
processes are alike too. How many bodies stand at which place is the same in every epoch, which clips these
are is drawn; so the largest share of a process is known before the first step.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import pad

from amr_train.data.people import in_chance_order


@dataclass
class Batch:
    """joints : (S, T, V, 3) metres.  energy : (S, T, V, S_n) square metres, or None.
    present : (S, T) bool, the frames in which the body is there, None where all of the split always are.
    clip : (S,) row of the clip in the batch.  clips : (B,) indices in the split.
    others : further views of the same clips.
    part : number of the first clip in the whole batch, and how many clips that has.
    room : sequences that no batch of the run has more of, where that is known; what wants one shape fills up
        to so many (`filled_up`).
    people : (B,) int64, whose each clip is, where the contrast asks for it.
    naming : (V, names), of which of the encoder's names each joint is, by shares; None where all batches are
        of one skeleton.

    Of a batch that several processes share, these are this process's: the sequences `first` to `first + S` of
    `total`, and the clips that they are of; where sequences are shared, a clip may be with two processes. All
    tensors are on the feed's device.
    """

    joints: Tensor
    energy: Tensor | None
    present: Tensor | None
    clip: Tensor
    clips: Tensor
    first: int
    total: int
    part: tuple[int, int]
    others: tuple[Batch, ...] = ()
    room: int | None = None
    naming: Tensor | None = None
    people: Tensor | None = None


@dataclass(frozen=True)
class Views:
    """Views of the sequences of many batches end to end: first place and frames of the crop (Q,), angles (Q,
    3) radians, row of the clip among all (Q,), indices of the clips (K,), on the device that gathers.
    parts : for each batch its first and last clip.  bounds : its first and last sequence.  clips : its
    indices (B,), on the CPU.  shares : number of the first sequence in the whole batch, and how many that
    has.  dealt : the same of its clips.  others : further views of the same clips.  room : as in `Batch`.
    changes : (K, E) what was drawn for changes of each clip's bodies, None where there are none; seeds : of
    each batch's noise."""

    first: Tensor
    length: Tensor
    angles: Tensor
    row: Tensor
    index: Tensor
    clips: tuple[Tensor, ...]
    parts: tuple[tuple[int, int], ...]
    bounds: tuple[tuple[int, int], ...]
    shares: tuple[tuple[int, int], ...]
    dealt: tuple[tuple[int, int], ...]
    others: tuple[Views, ...] = ()
    room: int | None = None
    changes: Tensor | None = None
    seeds: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.clips)


class EvenBatches:
    """Args:
    counts: (N,) int64, bodies of each clip.
    size: clips of a batch, N or fewer. A last batch that is not full is left out: of each number of bodies
        the same share of the clips, drawn anew in every epoch.
    """

    def __init__(self, counts: Tensor, size: int) -> None:
        self.size, self.steps = size, len(counts) // size
        levels, self._level, self._held = counts.unique(return_inverse=True, return_counts=True)
        self._kept = _kept(self._held, self.steps * size)
        dealt = levels.repeat_interleave(self._kept).view(size, self.steps).T  # (steps, size), rising
        self._place = _spread(dealt, levels)
        self.bodies = dealt.gather(1, self._place)
        """(steps, size) bodies of the clip at each place of each batch."""

    def draw(self, generator: torch.Generator, people: Tensor | None = None) -> Tensor:
        """The clips of an epoch's batches, (steps * size,) indices. people : (N,) whose each clip is; those
        of one then meet in a batch, as far as numbers of bodies allow, see `by_person`."""
        order = in_chance_order(len(self._level), people, generator)
        order = order[self._level[order].argsort(stable=True)]  # by bodies, by chance among equals
        ends = self._held.cumsum(0)
        within = torch.arange(len(order)) - (ends - self._held).repeat_interleave(self._held)
        order = order[within < self._kept.repeat_interleave(self._held)]
        if people is not None:
            # what follows each other of one level goes to one batch, not to one after another
            place = torch.arange(len(order))
            level = torch.arange(len(self._kept)).repeat_interleave(self._kept)
            by_batch = ((level * self.steps + place % self.steps) * self.size + place // self.steps).argsort()
            order = torch.empty_like(order).index_copy(0, by_batch, order)
        dealt = order.view(self.size, self.steps).T.gather(1, self._place)
        return dealt[torch.randperm(self.steps, generator=generator)].flatten()

    def room(self, processes: int = 1, whole_clips: bool = True) -> int:
        """Sequences that the largest part of a batch has, when so many processes share its clips, or its
        sequences."""
        before = pad(self.bodies.cumsum(1), (1, 0))  # (steps, size + 1)
        if not whole_clips:
            return -(-int(before[:, -1].max()) // processes)
        bounds = shares(0, self.size, processes)
        return max(int((before[:, last] - before[:, first]).max()) for first, last in bounds)


def shares(first: int, last: int, processes: int) -> list[tuple[int, int]]:
    """Each process's part of the clips, or of the sequences, from `first` up to `last` of a batch."""
    return list(pairwise(first + (last - first) * rank // processes for rank in range(processes + 1)))


def filled_up(values: Tensor, room: int, value: float = 0) -> Tensor:
    """values : (S, ...). Returns (room, ...), the last ones all `value`. Raises: ValueError where there is
    too little room."""
    missing = room - len(values)
    if missing < 0:
        raise ValueError(f"{len(values)} sequences do not fit into {room}")
    return pad(values, (0, 0) * (values.ndim - 1) + (0, missing), value=value)


def _kept(held: Tensor, wanted: int) -> Tensor:
    """How many of the clips at each level stay, `wanted` in all, by largest remainder."""
    total = int(held.sum())
    kept = held * wanted // total
    remainder = held * wanted % total
    most = remainder.argsort(descending=True, stable=True)[: wanted - int(kept.sum())]
    kept[most] += 1
    return kept


def _spread(dealt: Tensor, levels: Tensor) -> Tensor:
    """An order of the clips of each batch in which the bodies add up as evenly as they can.

    dealt : (steps, size) bodies, rising in each batch.  levels : (L,) the numbers there are, rising.
    Returns: (steps, size) which clip of the batch stands at each place.
    """
    steps, size = dealt.shape
    left = (dealt[:, :, None] == levels).sum(dim=1)  # (steps, L)
    following = left.cumsum(1) - left  # the next clip of each level
    mean, bodies = dealt.double().mean(dim=1), torch.zeros(steps, dtype=torch.float64)
    batch, place = torch.arange(steps), torch.empty_like(dealt)
    for slot in range(size):
        miss = (bodies[:, None] + levels - (slot + 1) * mean[:, None]).abs()
        chosen = miss.masked_fill(left == 0, torch.inf).argmin(dim=1)
        place[:, slot] = following[batch, chosen]
        following[batch, chosen] += 1
        left[batch, chosen] -= 1
        bodies += levels[chosen]
    return place
