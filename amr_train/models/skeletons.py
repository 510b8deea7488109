"""An encoder on a skeleton that is not the one it was trained on: the joints that it knows, in that
skeleton's order. Where they are told by their place, these are the joints of its own skeleton by their common
names; where they are told by name, all that can be composed of the names that it has seen."""

from __future__ import annotations

import torch

from amr_data import UsageError
from amr_data.specs import Skeleton
from amr_train.data.landmarks import PATH, anatomy_of, placed_by
from amr_train.models.encoder import SkeletonEncoder, for_joints
from amr_train.models.files import ClipEncoder, EncoderConfig, naming_of


def known_joints(config: EncoderConfig, skeleton: Skeleton) -> list[int] | None:
    """Which joints of a skeleton an encoder knows, None where it is the encoder's own."""
    own = skeleton.common_names == config.joint_names
    if config.model.names:
        names = set(config.model.names)
        known = [i for i, shares in enumerate(skeleton.shares) if names >= set(shares)]
        return None if own and skeleton.shares == config.shares else known
    if own or (not config.joint_names and len(skeleton.joints) == config.joints):
        return None
    return [i for i, name in enumerate(skeleton.common_names) if name in config.joint_names]


def ignored_in_words(config: EncoderConfig, skeleton: Skeleton) -> str:
    """A skeleton's joints that an encoder does not know, in one line; '' where it knows all."""
    known = known_joints(config, skeleton)
    ignored = [] if known is None else [j for i, j in enumerate(skeleton.joints) if i not in set(known)]
    if not ignored:
        return ""
    return (
        f"{len(ignored)} of the {len(skeleton.joints)} joints of {skeleton.name} are ignored, since the "
        f"encoder does not know them: {', '.join(ignored)}"
    )


def told_of(config: EncoderConfig, skeleton: Skeleton) -> list[str]:
    """What a user should know before an encoder sees bodies of a skeleton, a line each."""
    return list(filter(None, (ignored_in_words(config, skeleton), placed_in_words(config, skeleton))))


def placed_in_words(config: EncoderConfig, skeleton: Skeleton) -> str:
    """By which joints other than those that an encoder has learnt from the bodies of a skeleton are placed,
    and show their path, in one line; '' where by the same. Of an encoder of several skeletons only the joint
    of the path is known."""
    there = placed_by(config.input, anatomy_of(skeleton))
    learnt = {} if config.anatomy is None else placed_by(config.input, config.anatomy)
    if config.anatomy is None and PATH in config.model.names and config.input.centre == "path":
        learnt = {"path": PATH}
    other = [
        f"{role} {there[role]}, not {name}" for role, name in learnt.items() if name not in ("", there[role])
    ]
    if not other:
        return ""
    return f"bodies of {skeleton.name} are placed by other joints than those learnt from: {'; '.join(other)}"


def encoder_on(encoder: ClipEncoder, skeleton: Skeleton, joints: list[int] | None = None) -> ClipEncoder:
    """The same weights for joints of another skeleton, `known_joints` or some of them: everything but the
    joints' embeddings is independent of how many there are.

    Raises: UsageError where it knows none.
    """
    config = encoder.config
    chosen = known_joints(config, skeleton) if joints is None else joints
    if chosen is None:
        return encoder
    if not chosen:
        raise UsageError(
            f"the encoder knows none of the joints of {skeleton.name}: {', '.join(skeleton.joints)}"
        )
    names, shares = [skeleton.common_names[i] for i in chosen], [skeleton.shares[i] for i in chosen]
    if config.model.names:
        restricted = for_joints(encoder.encoder, naming_of(shares, config.model.names))
    else:
        rows = [config.joint_names.index(name) for name in names]
        weights = dict(encoder.encoder.state_dict())
        joint = weights["position.joint"]
        weights["position.joint"] = joint[:, :, torch.tensor(rows, device=joint.device)]
        restricted = SkeletonEncoder(config.model, len(rows)).to(joint.device)
        restricted.load_state_dict(weights)
    update = {
        "joints": len(chosen),
        "joint_names": names,
        "skeleton": skeleton.name,
        "shares": shares if config.model.names else [],
        "anatomy": anatomy_of(skeleton) if config.input.changes else None,
    }
    return ClipEncoder(restricted, config.model_copy(update=update)).train(encoder.training)
