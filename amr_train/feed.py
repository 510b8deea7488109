"""The whole split on the device, batches by index arithmetic: no worker processes, no per-clip Python.

A sequence is one body of one clip over its own frames; empty bodies do not exist here. A batch is made of clips, so the number of sequences
in it varies with how many bodies the clips have.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from amr_data import SplitArrays
from amr_train.augment import crop_bounds, gather_resampled, rotation_matrices
from amr_train.config import AugmentConfig


@dataclass
class Batch:
    """joints : (S, T, V, 3) metres.  energy : (S, T, V, S_n) square metres, or None.  clip : (S,) row of the clip in the batch.
    clips : (B,) indices in the split."""

    joints: Tensor
    energy: Tensor | None
    clip: Tensor
    clips: Tensor


class Feed:
    """Args:
    arrays: a split as `ShardDataset.arrays` gives it.
    device: where the frames live.
    frames: T, frames of every view.
    with_energy: keep the shard's energies on the device and resample them with the joints.
    """

    def __init__(self, arrays: SplitArrays, device: torch.device, frames: int, with_energy: bool = False) -> None:
        self.device, self.frames = device, frames
        self.joints = torch.from_numpy(arrays.joints).to(device)
        self.energy = torch.from_numpy(arrays.energy).to(device) if with_energy else None
        self.first_row = torch.from_numpy(arrays.first_row).to(device)
        self.rows = torch.from_numpy(arrays.rows).to(device)
        self.labels = torch.from_numpy(arrays.labels).to(device)
        self.names = arrays.names
        clip = torch.from_numpy(arrays.clip)
        counts = torch.bincount(clip, minlength=len(self.names))
        self._first_sequence = (counts.cumsum(0) - counts).to(device)
        self._sequences = counts.to(device)
        self._slots = torch.arange(int(counts.max()) if len(counts) else 0, device=device)

    def __len__(self) -> int:
        return len(self.names)

    def train_batches(self, batch_size: int, augment: AugmentConfig, generator: torch.Generator) -> Iterator[Batch]:
        """One epoch of random views in random order; `generator` (on the CPU) decides all of it. A last batch that is not full is left out,
        unless it is the only one."""
        order = torch.randperm(len(self), generator=generator)
        size = min(batch_size, len(self))
        for first in range(0, len(self) - size + 1, size):
            random = torch.rand(size, 5, generator=generator).to(self.device, non_blocking=True)
            yield self._view(order[first : first + size].to(self.device, non_blocking=True), random, augment)

    def centre_batches(self, batch_size: int, crop: float) -> Iterator[Batch]:
        """Every clip once in order, seen through a centre crop."""
        augment = AugmentConfig(min_crop=crop, min_frames=1, rotation=0)
        for first in range(0, len(self), batch_size):
            clips = torch.arange(first, min(first + batch_size, len(self)), device=self.device)
            random = torch.full((len(clips), 5), 0.5, device=self.device)
            random[:, 0] = 0  # the share is min_crop itself
            yield self._view(clips, random, augment)

    def _view(self, clips: Tensor, random: Tensor, augment: AugmentConfig) -> Batch:
        """random : (B, 5) in [0, 1): crop share, crop place, three angles; the bodies of a clip share them."""
        present = self._slots < self._sequences[clips][:, None]  # (B, M)
        row = present.nonzero()[:, 0]
        sequence = (self._first_sequence[clips][:, None] + self._slots)[present]
        random = random[row]
        share = augment.min_crop + (1 - augment.min_crop) * random[:, 0]
        start, length = crop_bounds(self.rows[sequence], share, random[:, 1], augment.min_frames)
        first_row = self.first_row[sequence] + start
        joints = gather_resampled(self.joints, first_row, length, self.frames)  # (S, T, V, 3)
        if augment.rotation:
            rotation = rotation_matrices((random[:, 2:] * 2 - 1) * augment.rotation)
            joints = torch.einsum("stvc,sdc->stvd", joints, rotation)
        energy = None if self.energy is None else gather_resampled(self.energy, first_row, length, self.frames)
        return Batch(joints, energy, row, clips)
