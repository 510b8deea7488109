"""An encoder on a dataset whose skeleton is not its own: the joints that it knows, in the dataset's order."""

from __future__ import annotations

from dataclasses import replace

from amr_data import ShardDataset, SplitArrays, UsageError
from amr_train.models.encoder import SkeletonEncoder
from amr_train.models.files import ClipEncoder
from amr_train.models.skeletons import encoder_on, known_joints

FEWEST = 5


def shared_joints(encoder: ClipEncoder, dataset: ShardDataset) -> list[int] | None:
    """Which of the dataset's joints the encoder knows, None where the two skeletons are the same.

    Raises: UsageError where too few joints are shared.
    """
    skeleton, config = dataset.spec.skeleton, encoder.config
    shared = known_joints(config, skeleton)
    if shared is not None and len(shared) < FEWEST:
        named, what = bool(config.model.names), f"{config.joints} joints"
        knows = f"{len(config.model.names)} names" if named else what
        missing = [joint for i, joint in enumerate(skeleton.joints) if i not in shared]
        told = f"say in `counterparts` what {', '.join(missing[:3])} and others are"
        raise UsageError(
            f"the encoder knows {knows} of {config.skeleton or 'an unnamed skeleton'}, "
            f"{len(shared)} of them are among the "
            f"{len(skeleton.joints)} of {skeleton.name} in {dataset.path}; too few to evaluate it there: "
            f"{FEWEST} are needed" + (f"; {told}" if named and len(skeleton.joints) >= FEWEST else "")
        )
    return shared


def encoder_for(encoder: ClipEncoder, dataset: ShardDataset, shared: list[int]) -> SkeletonEncoder:
    """The encoder for these joints of the dataset alone."""
    return encoder_on(encoder, dataset.spec.skeleton, shared).encoder


def joints_of(arrays: SplitArrays, shared: list[int]) -> SplitArrays:
    """The same clips with these joints alone."""
    return replace(arrays, joints=arrays.joints[:, shared], energy=arrays.energy[:, shared])
