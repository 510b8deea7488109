"""The whole split on the device, batches by index arithmetic: no worker processes, no per-clip Python, no
host synchronisation.

A sequence is one body of one clip over its own frames. What an epoch shows (order, crops, angles) is drawn on
the CPU beforehand and laid on the device once, so a batch is a few slices and gathers. Where a split does not
fit, its frames stay in host memory, views are gathered there one batch ahead and sent over from pinned
memory; the batches are the same.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from amr_data import SplitArrays
from amr_train.config import AugmentConfig
from amr_train.data.augment import crop_bounds, gather_resampled, rotate, rotation_matrices

RESIDENT_SHARE = 0.5
"""Share of the device's free memory that a split may take to live there."""


@dataclass
class Batch:
    """joints : (S, T, V, 3) metres.  energy : (S, T, V, S_n) square metres, or None.  clip : (S,) row of the
    clip in the batch.
    clips : (B,) indices in the split, on the CPU.

    Of a batch that several processes share, these are this process's clips; the sequences `first` to `first +
    S` of `total`.
    """

    joints: Tensor
    energy: Tensor | None
    clip: Tensor
    clips: Tensor
    first: int
    total: int


@dataclass(frozen=True)
class Views:
    """Views of the sequences of many batches end to end: first frame and frames of the crop (Q,), angles (Q,
    3) radians, row of the clip in its batch (Q,), on the device that gathers.  clips : for each batch the
    indices (B,).  bounds : for each batch its first and last sequence."""

    first_row: Tensor
    length: Tensor
    angles: Tensor
    row: Tensor
    clips: tuple[Tensor, ...]
    bounds: tuple[tuple[int, int], ...]
    shares: tuple[tuple[int, int], ...]

    def __len__(self) -> int:
        return len(self.clips)


class Feed:
    """Args:
    arrays: a split as `ShardDataset.arrays` gives it.
    device: where batches are wanted.
    frames: T, frames of every view.
    with_energy: resample the shard's energies with the joints.
    bodies: feed so many bodies of every clip, zeros for those it does not have; None feeds what is there.
    resident: keep the frames on the device, on the host, or on the device where they fit.
    """

    def __init__(
        self,
        arrays: SplitArrays,
        device: torch.device,
        frames: int,
        with_energy: bool = False,
        bodies: int | None = None,
        resident: Literal["auto", "device", "host"] = "auto",
    ) -> None:
        self.device, self.frames, self.bodies = device, frames, bodies
        joints = torch.from_numpy(arrays.joints)
        energy = torch.from_numpy(arrays.energy) if with_energy else None
        if bodies is not None:  # a last frame of zeros, which absent bodies are views of
            joints, energy = _with_zero_frame(joints), None if energy is None else _with_zero_frame(energy)
        size = joints.nbytes + (0 if energy is None else energy.nbytes)
        self.home = (
            device
            if resident == "device" or (resident == "auto" and _fits(size, device))
            else torch.device("cpu")
        )
        self.joints = joints.to(self.home)
        self.energy = None if energy is None else energy.to(self.home)
        self.labels = torch.from_numpy(arrays.labels).to(device)
        self.names = arrays.names
        # on the CPU, where epochs are planned:
        clip, first_row, rows = (torch.from_numpy(a) for a in (arrays.clip, arrays.first_row, arrays.rows))
        if bodies is not None:
            clip, first_row, rows = _fill_up(clip, first_row, rows, len(self.names), bodies, len(joints) - 1)
        self._first_row, self._rows = first_row, rows
        self._counts = torch.bincount(clip, minlength=len(self.names))
        self._first_sequence = self._counts.cumsum(0) - self._counts

    def __len__(self) -> int:
        return len(self.names)

    def subset(self, clips: Tensor) -> Feed:
        """The same frames, with these clips alone. clips : (K,) indices on the CPU."""
        part = copy.copy(self)
        part.labels = self.labels[clips.to(self.device)]
        part.names = [self.names[i] for i in clips.tolist()]
        part._counts, part._first_sequence = self._counts[clips], self._first_sequence[clips]
        return part

    @property
    def streams(self) -> bool:
        """Whether frames stay in host memory while batches go to another device."""
        return self.home != self.device

    def train_views(
        self,
        batch_size: int,
        augment: AugmentConfig,
        generator: torch.Generator,
        rank: int = 0,
        processes: int = 1,
    ) -> Views:
        """One epoch of random views in random order; `generator` (on the CPU) decides all of it. A last batch
        that is not full is left out, unless it is the only one. Each process gets its own part of every
        batch."""
        size = min(batch_size, len(self))
        steps = len(self) // size
        order = torch.randperm(len(self), generator=generator)[: steps * size]
        return self._views(
            order, torch.rand(len(order), 5, generator=generator), augment, size, rank, processes
        )

    def centre_views(self, batch_size: int, crop: float, rank: int = 0, processes: int = 1) -> Views:
        """Every clip once in order, seen through a centre crop."""
        random = torch.full((len(self), 5), 0.5)
        random[:, 0] = 0  # the share is min_crop itself
        augment = AugmentConfig(min_crop=crop, min_frames=1, rotation=0)
        return self._views(torch.arange(len(self)), random, augment, batch_size * processes, rank, processes)

    def batch(self, views: Views, step: int) -> Batch:
        """Gather, resample and rotate the views of one batch."""
        return self._send(*self._gather(views, step))

    def batches(self, views: Views, start: int = 0) -> Iterator[Batch]:
        """The batches from `start` on; one is gathered ahead where frames are streamed."""
        if not self.streams:
            yield from (self.batch(views, step) for step in range(start, len(views)))
            return
        with ThreadPoolExecutor(1) as ahead:
            waiting = ahead.submit(self._gather, views, start) if start < len(views) else None
            for step in range(start, len(views)):
                assert waiting is not None
                gathered = waiting.result()
                waiting = ahead.submit(self._gather, views, step + 1) if step + 1 < len(views) else None
                yield self._send(*gathered)

    def _views(
        self, order: Tensor, random: Tensor, augment: AugmentConfig, size: int, rank: int, processes: int
    ) -> Views:
        """random : (clips, 5) in [0, 1): crop share, crop place, three angles; the bodies of a clip share
        them."""
        counts = self._counts[order]
        row = torch.arange(len(order)).repeat_interleave(counts)
        ends = counts.cumsum(0)
        sequence = (
            self._first_sequence[order].repeat_interleave(counts)
            + torch.arange(len(row))
            - (ends - counts)[row]
        )
        random = random[row]
        share = augment.min_crop + (1 - augment.min_crop) * random[:, 0]
        start, length = crop_bounds(self._rows[sequence], share, random[:, 1], augment.min_frames)
        angles = (random[:, 2:] * 2 - 1) * augment.rotation
        ends = torch.cat([ends.new_zeros(1), ends])
        whole = [(first, min(first + size, len(order))) for first in range(0, len(order), size)]
        mine = [(a + (b - a) * rank // processes, a + (b - a) * (rank + 1) // processes) for a, b in whole]
        return Views(
            self._put(self._first_row[sequence] + start),
            self._put(length),
            self._put(angles),
            self._put(row),
            clips=tuple(order[a:b] for a, b in mine),
            bounds=tuple((int(ends[a]), int(ends[b])) for a, b in mine),
            shares=tuple(
                (int(ends[m] - ends[a]), int(ends[b] - ends[a]))
                for (a, b), (m, _) in zip(whole, mine, strict=True)
            ),
        )

    def _put(self, table: Tensor) -> Tensor:
        return table.pin_memory().to(self.home, non_blocking=True) if self.home.type == "cuda" else table

    def _gather(self, views: Views, step: int) -> tuple[Batch, Tensor]:
        first, last = views.bounds[step]
        here = slice(first, last)
        first_row, length = views.first_row[here], views.length[here]
        joints = gather_resampled(self.joints, first_row, length, self.frames)  # (S, T, V, 3)
        energy = (
            None if self.energy is None else gather_resampled(self.energy, first_row, length, self.frames)
        )
        row = views.row[here]
        clip = row - row[:1] if len(row) else row
        return Batch(joints, energy, clip, views.clips[step], *views.shares[step]), views.angles[here]

    def _send(self, batch: Batch, angles: Tensor) -> Batch:
        if self.streams:
            tensors = (
                None if t is None else self._over(t) for t in (batch.joints, batch.energy, batch.clip, angles)
            )
            joints, energy, clip, turned = tensors
            assert joints is not None
            assert clip is not None
            assert turned is not None
            batch, angles = replace(batch, joints=joints, energy=energy, clip=clip), turned
        return replace(batch, joints=rotate(batch.joints, rotation_matrices(angles)))

    def _over(self, tensor: Tensor) -> Tensor:
        if self.device.type == "cuda":
            tensor = tensor.pin_memory()
        return tensor.to(self.device, non_blocking=True)


def _with_zero_frame(values: Tensor) -> Tensor:
    return torch.cat([values, values.new_zeros(1, *values.shape[1:])])


def _fill_up(
    clip: Tensor, first_row: Tensor, rows: Tensor, clips: int, bodies: int, zero_row: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Give every clip `bodies` sequences: its own, then views of one zero frame."""
    counts = torch.bincount(clip, minlength=clips)
    slot = torch.arange(len(clip)) - (counts.cumsum(0) - counts)[clip]
    full_first, full_rows = (
        torch.full((clips, bodies), zero_row),
        torch.ones(clips, bodies, dtype=torch.int64),
    )
    full_first[clip, slot], full_rows[clip, slot] = first_row, rows
    return torch.arange(clips).repeat_interleave(bodies), full_first.flatten(), full_rows.flatten()


def _fits(size: int, device: torch.device) -> bool:
    return device.type != "cuda" or size < RESIDENT_SHARE * torch.cuda.mem_get_info(device)[0]
