"""An encoder on a skeleton that is not its own: the joints that both have, in the dataset's order."""

from __future__ import annotations

from dataclasses import replace

import torch

from amr_data import ShardDataset, SplitArrays, UsageError
from amr_train.models.encoder import SkeletonEncoder
from amr_train.models.files import ClipEncoder

FEWEST = 5


def shared_joints(encoder: ClipEncoder, dataset: ShardDataset) -> list[int] | None:
    """Which of the dataset's joints the encoder knows, None where the two skeletons are the same.

    Raises: UsageError where too few joints are shared.
    """
    skeleton, config = dataset.spec.skeleton, encoder.config
    if skeleton.common_names == config.joint_names or (
        not config.joint_names and len(skeleton.joints) == config.joints
    ):
        return None
    shared = [i for i, name in enumerate(skeleton.common_names) if name in config.joint_names]
    if len(shared) < FEWEST:
        raise UsageError(
            f"the encoder knows {config.joints} joints of {config.skeleton or 'an unnamed skeleton'}, "
            f"{len(shared)} of them are among the "
            f"{len(skeleton.joints)} of {skeleton.name} in {dataset.path}; too few to evaluate it there"
        )
    return shared


def encoder_for(encoder: ClipEncoder, dataset: ShardDataset, shared: list[int]) -> SkeletonEncoder:
    """The encoder for these joints of the dataset alone: everything but the joints' embeddings is independent
    of how many there are."""
    names = [dataset.spec.skeleton.common_names[i] for i in shared]
    rows = [encoder.config.joint_names.index(name) for name in names]
    weights = dict(encoder.encoder.state_dict())
    joint = weights["position.joint"]
    weights["position.joint"] = joint[:, :, torch.tensor(rows, device=joint.device)]
    restricted = SkeletonEncoder(encoder.config.model, len(rows)).to(joint.device)
    restricted.load_state_dict(weights)
    return restricted


def joints_of(arrays: SplitArrays, shared: list[int]) -> SplitArrays:
    """The same clips with these joints alone."""
    return replace(arrays, joints=arrays.joints[:, shared], energy=arrays.energy[:, shared])
