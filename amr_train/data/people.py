"""Which clips the contrast tells apart: with `agreement.negatives=subject` those of one person, so that build
and habits give none away, and batches that hold enough of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from amr_data import ShardDataset
from amr_train.config import AgreementConfig

TOGETHER = 16
"""Clips of one person that stand together in the order of an epoch, where there are as many."""


def people_of(dataset: ShardDataset, clips: npt.NDArray[np.int64], config: AgreementConfig) -> Tensor | None:
    """Whose each of a dataset's training clips is, (N,) int64: a number for every subject in every setup (of
    SBU, whose clips do not name subjects, a setup is a pair of them). Clips that say neither count as one
    person's. None where nothing is asked for."""
    if config.negatives == "all":
        return None
    rows = dataset.clips[clips]
    keys = np.stack([rows["setup"], rows["subject"]], axis=1)
    return torch.from_numpy(np.unique(keys, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64))


def in_chance_order(clips: int, people: Tensor | None, generator: torch.Generator) -> Tensor:
    """Numbers of so many clips in an order of chance, those of one person in groups where `people` says whose
    each is."""
    order = torch.randperm(clips, generator=generator)
    return order if people is None else by_person(order, people, generator)


def by_person(order: Tensor, people: Tensor, generator: torch.Generator) -> Tensor:
    """Clips in an order of chance, (K,), so that up to `TOGETHER` of one person follow each other: each
    person's are cut into groups, in that order, and the groups drawn.

    people : (N,) of all clips.
    """
    place = order[torch.argsort(people[order], stable=True)]
    who = people[place]
    number = torch.arange(len(order))
    starts = torch.ones(len(order), dtype=torch.bool)
    starts[1:] = who[1:] != who[:-1]
    within = number - torch.where(starts, number, 0).cummax(0).values
    group = (within % TOGETHER == 0).cumsum(0) - 1
    drawn = torch.randperm(int(group[-1]) + 1, generator=generator)
    return place[torch.argsort(drawn[group], stable=True)]


def nobody_known(
    config: AgreementConfig, sources: Sequence[tuple[ShardDataset, npt.NDArray[np.int64]]]
) -> list[str]:
    """A line for each dataset of whose training clips `agreement.negatives=subject` tells no people, or no
    clips of one.

    sources : datasets that are trained on together, each with its training clips.
    """
    lines = []
    for dataset, clips in sources:
        people = people_of(dataset, clips, config)
        if people is None:
            continue
        if not people.any():
            lines.append(
                f"agreement.negatives=subject: the training clips of {dataset.spec.name} name no subjects, "
                "or one; each is told from all others"
            )
        elif len(people.unique()) == len(people):
            lines.append(
                f"agreement.negatives=subject: no two training clips of {dataset.spec.name} are of one "
                "person in one setup, so that the contrast teaches nothing; agreement.negatives=all tells "
                "each from all others"
            )
    return lines
