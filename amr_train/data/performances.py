"""Which clips are one performance, seen by several cameras: the other view of a clip may then be what another
camera saw of it (`agreement.cameras`), so that features agree across cameras."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from amr_data import ShardDataset, UsageError
from amr_train.config import AgreementConfig

SAME = ("setup", "subject", "replication", "label")
"""What two clips of one performance share; with the camera it is what names of clips say. The class serves
to find the performance and for nothing else."""


@dataclass(frozen=True)
class Performances:
    """How often the other view of a clip is another camera's, and of whom.

    share : of the clips that have one.  first, count : (N,) int64, where those of each clip stand in
    `others`.  others : (K,) int64, clips.
    """

    share: float
    first: Tensor
    count: Tensor
    others: Tensor

    @property
    def clips(self) -> int:
        """That were seen by another camera too."""
        return int((self.count > 0).sum())

    def seen_again(self, clips: Tensor, generator: torch.Generator) -> Tensor:
        """For each clip (K,) the one that its other view is made of, (K,) int64: itself, or one of another
        camera, all of which are as likely."""
        random = torch.rand(len(clips), 2, generator=generator)
        count = self.count[clips]
        which = (random[:, 1] * count).long().clamp(max=(count - 1).clamp(min=0))
        found = self.others[self.first[clips] + which]  # the first of all where a clip has none
        return torch.where((random[:, 0] < self.share) & (count > 0), found, clips)


def performances_of(
    dataset: ShardDataset, clips: npt.NDArray[np.int64], config: AgreementConfig
) -> Performances | None:
    """Of a dataset's training clips (N,), numbered as they stand here; None where nothing is asked for or no
    clip was seen by another camera."""
    if not config.cameras:
        return None
    first, count, others = other_cameras(dataset.clips[clips])
    if not len(others):
        return None
    return Performances(config.cameras, *(torch.from_numpy(values) for values in (first, count, others)))


def other_cameras(
    clips: npt.NDArray[np.void],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The clips of a table (N,) that show the performance of each, from another camera.

    A performance is one repetition of a class by a subject in a setup. Where subject, repetition, class or
    camera is not known, and where a camera has seen it twice, nobody can say which clips are one; those have
    no other.

    Returns: first (N,), count (N,) and others (K,), int64: those of clip i are `count[i]` from `first[i]` on.
    """
    size = len(clips)
    known = np.ones(size, bool)
    for key in ("subject", "replication", "label", "camera"):
        known &= clips[key] >= 0
    keys = np.stack([clips[key].astype(np.int64) for key in SAME], axis=1)
    _, performance = np.unique(keys, axis=0, return_inverse=True)
    performance = performance.reshape(-1)
    camera = clips["camera"].astype(np.int64)
    seen = np.stack([performance, camera], axis=1)[known]
    twice, times = np.unique(seen, axis=0, return_counts=True)
    known &= ~np.isin(performance, twice[times > 1, 0])
    order = np.flatnonzero(known)
    order = order[np.argsort(performance[order], kind="stable")]
    starts = np.flatnonzero(np.diff(performance[order], prepend=-1))
    sizes = np.diff(np.append(starts, len(order)))
    first, count = np.zeros(size, np.int64), np.zeros(size, np.int64)
    others: list[npt.NDArray[np.int64]] = []
    end = 0
    for n in np.unique(sizes[sizes > 1]):
        members = order[starts[sizes == n][:, None] + np.arange(n)]  # (P, n)
        picked = np.array([[j for j in range(n) if j != i] for i in range(n)])  # (n, n - 1)
        theirs = members[:, picked].reshape(-1, n - 1)
        first[members.ravel()] = end + (n - 1) * np.arange(members.size)
        count[members.ravel()] = n - 1
        others.append(theirs.ravel())
        end += theirs.size
    return first, count, np.concatenate(others) if others else np.zeros(0, np.int64)


def check_cameras(
    config: AgreementConfig, sources: Sequence[tuple[ShardDataset, npt.NDArray[np.int64]]]
) -> None:
    """Refuse `agreement.cameras` where no training clip was seen by another camera.

    sources : datasets that are trained on together, each with its training clips. Raises: UsageError.
    """
    made = [performances_of(dataset, clips, config) for dataset, clips in sources]
    if config.cameras and not any(made):
        names = ", ".join(dataset.spec.name for dataset, _ in sources)
        raise UsageError(
            f"agreement.cameras: no training clip of {names} was seen by another camera too (the same setup, "
            "subject, repetition and class, with a camera of its own); set it to 0"
        )
