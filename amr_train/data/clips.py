"""A plain torch dataset of a converted folder, for models and loops of one's own. The trainer itself uses
`Feed`."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset

from amr_data import open_dataset
from amr_train.data.augment import gather_resampled


class ClipDataset(Dataset[tuple[Tensor, int]]):
    """Clips of one part of a protocol, every body resampled over its own frames to the same length.

    Args:
        path: a folder made by `amr-data convert`.
        protocol, part: for example 'xsub' and 'train'.
        frames: T, frames of every item.
    Item: joints (M, T, V, 3) float32, zeros for a body that the clip does not have, and the label, 0-based.
    """

    def __init__(self, path: str | Path, protocol: str, part: str, frames: int = 64) -> None:
        dataset = open_dataset(path)
        arrays = dataset.arrays(dataset.split(protocol, part))
        self.names, self.labels, self.frames = arrays.names, arrays.labels.tolist(), frames
        self.bodies = dataset.spec.max_bodies
        self._joints = torch.from_numpy(arrays.joints)
        self._first_row, self._rows = torch.from_numpy(arrays.first_row), torch.from_numpy(arrays.rows)
        self._sequences: list[list[int]] = [[] for _ in self.names]
        for sequence, clip in enumerate(arrays.clip.tolist()):
            self._sequences[clip].append(sequence)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        mine = self._sequences[index]
        views = gather_resampled(self._joints, self._first_row[mine], self._rows[mine], self.frames)
        out = views.new_zeros(self.bodies, *views.shape[1:])
        out[: len(views)] = views
        return out, self.labels[index]
