"""What changes of bodies need to know of a dataset's: what hangs on what, left and right, which way is up."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from amr_data import ShardDataset
from amr_data.looking.faults import SPINE, unit_metres
from amr_data.specs import Skeleton
from amr_train.config import InputConfig
from amr_train.data.landmarks import path_of


@dataclass(frozen=True)
class Body:
    """What changes need to know of a dataset's clips.

    parent : of each joint, the root's is itself.  mirror : each joint's counterpart on the other side.
    up : the vertical axis.  flat : whether the third axis is empty.  metres : of one unit.
    bones : whether joints are shown as seen from their parents.  apart : the joint that shows a path and not
    a part of the body.
    """

    parent: tuple[int, ...]
    mirror: tuple[int, ...]
    up: int
    flat: bool = False
    metres: float = 1.0
    bones: bool = False
    apart: int | None = None


def body_of(dataset: ShardDataset, shown: InputConfig) -> Body:
    """The bodies of a dataset in the form that is shown."""
    skeleton = dataset.spec.skeleton
    up = 2 if shown.frame != "recorded" else dataset.up
    metres = SPINE if shown.lengths == "spine" else unit_metres(dataset)
    places = (_parents(skeleton), mirrored_joints(skeleton), up)
    flat, bones = dataset.spec.dimensions == 2, shown.stream == "bone"
    return Body(*places, flat, metres, bones, path_of(shown, skeleton))


def _parents(skeleton: Skeleton) -> tuple[int, ...]:
    parent = list(range(len(skeleton.joints)))
    for child, on in skeleton.bone_indices.tolist():
        parent[child] = on
    return tuple(parent)


def mirrored_joints(skeleton: Skeleton) -> tuple[int, ...]:
    """Of each joint its counterpart on the other side, or itself."""
    mirror = list(range(len(skeleton.joints)))
    for left, right in skeleton.symmetric:
        a, b = skeleton.index(left), skeleton.index(right)
        mirror[a], mirror[b] = b, a
    return tuple(mirror)


def hung_past(parent: tuple[int, ...], apart: int | None) -> tuple[int, ...]:
    """The parents with one joint that is no part of the body: it hangs on nothing, and what hung on it hangs
    on its parent, or on nothing where it has none."""
    if apart is None:
        return parent
    above = parent[apart]
    hung = [above if on == apart else on for on in parent]
    if above == apart:  # the root: they hang on nothing
        hung = [joint if on == apart else on for joint, on in enumerate(parent)]
    hung[apart] = apart
    return tuple(hung)


def paths_to(parent: tuple[int, ...]) -> Tensor:
    """(V, V): 1 where a bone (column) lies on the way from the root, itself one, to a joint (row)."""
    path = torch.eye(len(parent))
    for joint in range(len(parent)):
        at = joint
        while parent[at] != at:
            at = parent[at]
            path[joint, at] = 1
    return path
