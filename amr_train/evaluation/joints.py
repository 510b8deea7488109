"""An encoder on a skeleton that is not its own: the joints that both have, in the dataset's order."""

from __future__ import annotations

from dataclasses import replace

import torch

from amr_data import ShardDataset, SplitArrays, UsageError
from amr_data.specs import Skeleton
from amr_train.models.encoder import SkeletonEncoder, for_joints
from amr_train.models.files import ClipEncoder, EncoderConfig, naming_of

FEWEST = 5


def shared_joints(encoder: ClipEncoder, dataset: ShardDataset) -> list[int] | None:
    """Which of the dataset's joints the encoder knows, None where the two skeletons are the same.

    Raises: UsageError where too few joints are shared.
    """
    skeleton, config = dataset.spec.skeleton, encoder.config
    shared = known_joints(config, skeleton)
    if shared is not None and len(shared) < FEWEST:
        knows = f"{config.joints} joints of {config.skeleton or 'an unnamed skeleton'}"
        if config.model.names:
            knows = f"the names of {len(config.model.names)} joints"
        raise UsageError(
            f"the encoder knows {knows}, {len(shared)} of them are among the "
            f"{len(skeleton.joints)} of {skeleton.name} in {dataset.path}; too few to evaluate it there"
        )
    return shared


def known_joints(config: EncoderConfig, skeleton: Skeleton) -> list[int] | None:
    """Which joints of a skeleton an encoder knows: has, or can name. None where it is the encoder's own."""
    if config.model.names:
        if skeleton.shares == config.shares and skeleton.common_names == config.joint_names:
            return None
        names = set(config.model.names)
        return [i for i, shares in enumerate(skeleton.shares) if names >= set(shares)]
    if skeleton.common_names == config.joint_names or (
        not config.joint_names and len(skeleton.joints) == config.joints
    ):
        return None
    return [i for i, name in enumerate(skeleton.common_names) if name in config.joint_names]


def ignored_in_words(encoder: ClipEncoder, dataset: ShardDataset, shared: list[int] | None) -> str:
    """The dataset's joints that the encoder does not know, in one line; '' where it knows all."""
    joints = dataset.spec.skeleton.joints
    ignored = [] if shared is None else [j for i, j in enumerate(joints) if i not in set(shared)]
    if not ignored:
        return ""
    return (
        f"{len(ignored)} of the {len(joints)} joints of {dataset.spec.skeleton.name} are ignored, which the "
        f"encoder does not know: {', '.join(ignored)}"
    )


def encoder_for(encoder: ClipEncoder, dataset: ShardDataset, shared: list[int]) -> SkeletonEncoder:
    """The encoder for these joints of the dataset alone: everything but the joints' embeddings is independent
    of how many there are."""
    skeleton, config = dataset.spec.skeleton, encoder.config
    if config.model.names:
        return for_joints(
            encoder.encoder, naming_of([skeleton.shares[i] for i in shared], config.model.names)
        )
    names = [skeleton.common_names[i] for i in shared]
    rows = [config.joint_names.index(name) for name in names]
    weights = dict(encoder.encoder.state_dict())
    joint = weights["position.joint"]
    weights["position.joint"] = joint[:, :, torch.tensor(rows, device=joint.device)]
    restricted = SkeletonEncoder(config.model, len(rows)).to(joint.device)
    restricted.load_state_dict(weights)
    return restricted


def joints_of(arrays: SplitArrays, shared: list[int]) -> SplitArrays:
    """The same clips with these joints alone."""
    return replace(arrays, joints=arrays.joints[:, shared], energy=arrays.energy[:, shared])
