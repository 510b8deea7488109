"""A plain torch dataset of a converted folder, for models and loops of one's own. The trainer itself uses
`Feed`."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset

from amr_data import open_dataset
from amr_train.data.augment import gather_present, gather_resampled
from amr_train.data.timeline import timeline_of


class ClipDataset(Dataset[tuple[Tensor, int]]):
    """Clips of one part of a split, resampled to the same number of frames on the time axis that the bodies
    of a clip share.

    Args:
        path: a folder made by `amr-data convert`.
        split, part: for example 'xsub' and 'train'.
        frames: T, frames of every item.
    Item: joints (M, T, V, 3) float32, zeros for bodies and frames that the clip does not have, and the label,
        0-based.
    """

    def __init__(self, path: str | Path, split: str, part: str, frames: int = 64) -> None:
        dataset = open_dataset(path)
        arrays = dataset.arrays(dataset.split(split, part), energy=False)
        self.names, self.labels, self.frames = arrays.names, arrays.labels.tolist(), frames
        self.bodies = dataset.spec.max_bodies
        self._joints, self._timeline = torch.from_numpy(arrays.joints), timeline_of(arrays)
        ends = self._timeline.counts.cumsum(0)
        self._bounds = list(zip((ends - self._timeline.counts).tolist(), ends.tolist(), strict=True))

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        time, mine = self._timeline, slice(*self._bounds[index])
        first, frames = time.first[mine], time.frames[mine]
        views = gather_resampled(self._joints, first, frames, self.frames, time.row)
        if time.present is not None:
            views *= gather_present(time.present, first, frames, self.frames)[..., None, None]
        out = views.new_zeros(self.bodies, *views.shape[1:])
        out[: len(views)] = views
        return out, self.labels[index]
