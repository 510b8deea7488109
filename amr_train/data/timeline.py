"""Where each body of a clip is on the clip's time axis, which all its bodies share.

A place is one frame of one sequence (one body of one clip); the places of all sequences lie end to end. Where
a body is not there, its nearest frame stands in and the place counts as absent; published pipelines have
zeros there and count them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from amr_data import SplitArrays


@dataclass
class Timeline:
    """first, frames : (Q,) int64, the place at which each sequence begins, and how many it has: its clip's
    frames.
    counts : (N,) int64, sequences of each clip.  row : (P,) int64, the row of the frames at each place, None
    where places are rows.  present : (P,) bool, None where every body is there all the time.  All on the CPU.
    """

    first: Tensor
    frames: Tensor
    counts: Tensor
    row: Tensor | None
    present: Tensor | None

    def among(self, first: Tensor, length: Tensor) -> Tensor:
        """How many of `length` places from `first` on hold the body. (S,) int64, likewise returned."""
        if self.present is None:
            return length
        return self._before[first + length] - self._before[first]

    @cached_property
    def _before(self) -> Tensor:
        """(P + 1,) how many places before each hold the body."""
        assert self.present is not None
        return torch.cat([torch.zeros(1, dtype=torch.int64), self.present.long().cumsum(0)])


def timeline_of(arrays: SplitArrays) -> Timeline:
    """The bodies that are there, absent frames marked."""
    frames, counts = arrays.clip_frames[arrays.clip], np.bincount(arrays.clip, minlength=len(arrays.names))
    first = np.cumsum(frames) - frames
    whole = bool((arrays.rows == frames).all())
    row = present = None
    if not whole:
        row, present = _filled(arrays, first, frames)
    tables = [torch.from_numpy(table) for table in (first, frames, counts)]
    return Timeline(tables[0], tables[1], tables[2], row, present)


def zero_timeline(arrays: SplitArrays, bodies: int, zero_row: int) -> Timeline:
    """So many bodies of every clip, as published pipelines feed them: a row of zeros where there is none,
    which counts like any other."""
    counts = np.bincount(arrays.clip, minlength=len(arrays.names))
    before = np.cumsum(counts) - counts
    slot = np.arange(len(arrays.clip)) - before[arrays.clip]
    frames = np.repeat(arrays.clip_frames, bodies)
    first = np.cumsum(frames) - frames
    row = np.full(int(frames.sum()), zero_row, np.int64)
    place = first[arrays.clip * bodies + slot]
    row[np.repeat(place, arrays.rows) + arrays.frame] = np.arange(len(arrays.frame))
    every = torch.full((len(arrays.names),), bodies)
    return Timeline(torch.from_numpy(first), torch.from_numpy(frames), every, torch.from_numpy(row), None)


def _filled(
    arrays: SplitArrays, first: npt.NDArray[np.int64], frames: npt.NDArray[np.int64]
) -> tuple[Tensor, Tensor]:
    """The row at each place, the nearest one where the body is absent (the earlier of two), and where it is
    not."""
    place = np.repeat(first, arrays.rows) + arrays.frame  # of each row, rising
    total = int(frames.sum())
    present = np.zeros(total, bool)
    present[place] = True
    here = np.arange(total)
    after = np.searchsorted(place, here)  # the next row, itself where the body is there
    last = np.repeat(np.cumsum(arrays.rows), frames)  # of the sequence
    begin = last - np.repeat(arrays.rows, frames)
    before = np.maximum(after - 1, begin)
    after = np.minimum(after, last - 1)
    earlier = here - place[before] <= place[after] - here
    later = (place[before] > here) | ((place[after] >= here) & ~earlier)
    return torch.from_numpy(np.where(later, after, before)), torch.from_numpy(present)
