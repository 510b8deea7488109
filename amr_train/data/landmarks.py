"""The joints by which a body is placed: where its centre, its spine and its shoulders are.

Skeletons of different sensors mean different places by `centre` and `spine`: the centre of Kinect's first
version lies 14 cm above the hips, OpenNI's 22 cm, and OpenNI's spine is half as long. Hips and shoulders
nearly all of them have.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from amr_data import UsageError
from amr_data.specs import Skeleton
from amr_train.config import InputConfig

HIPS = ("right_hip", "left_hip")
PATH = "middle_of_spine"
"""The joint that shows a path, wherever there is one of that name, whatever a sensor's centre is."""


class Anatomy(BaseModel):
    """The joints that an input is made by, see `Skeleton`. `hips`: the two, or the lower end of the spine
    where there are none. `path`: the one that shows it, the centre where there is no middle of the spine."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    centre: str
    spine: tuple[str, str]
    shoulders: tuple[str, str]
    bones: list[tuple[str, str]]
    hips: tuple[str, ...] = ()
    path: str = ""


def anatomy_of(skeleton: Skeleton, own: bool = False) -> Anatomy:
    """What a skeleton says of its joints, by their common or by their own names."""
    of = dict(zip(skeleton.joints, skeleton.joints if own else skeleton.common_names, strict=True))
    joint = dict(zip(skeleton.common_names, skeleton.joints, strict=True))
    hips = [joint[hip] for hip in HIPS] if set(HIPS) <= set(joint) else skeleton.spine[:1]
    return Anatomy(
        centre=of[skeleton.centre],
        spine=(of[skeleton.spine[0]], of[skeleton.spine[1]]),
        shoulders=(of[skeleton.shoulders[0]], of[skeleton.shoulders[1]]),
        bones=[(of[a], of[b]) for a, b in skeleton.bones],
        hips=tuple(of[hip] for hip in hips),
        path=of[joint.get(PATH, skeleton.centre)],
    )


def landmarks_of(config: InputConfig, anatomy: Anatomy, names: Sequence[str]) -> dict[str, list[int]]:
    """Rows of the joints that an input needs among `names`: `centre`, the ends `low` and `high` of the spine,
    `right` and `left` across the body, each the mean of its joints; `shown`, the joint that shows the path;
    `above` and `below`, the ends of every bone.

    Raises: UsageError where one is not among them.
    """
    wanted = dict(_placing(config, anatomy))
    if config.stream == "bone":
        bones = [bone for bone in anatomy.bones if bone[0] in names]
        wanted["below"], wanted["above"] = [child for child, _ in bones], [parent for _, parent in bones]
    for name in (name for group in wanted.values() for name in group):
        if name not in names:
            raise UsageError(
                f"clips are shown in a form that is made by the joint '{name}', which is not among these "
                f"{len(names)}: {', '.join(list(names)[:5])}, ..."
            )
    return {key: [list(names).index(name) for name in group] for key, group in wanted.items()}


def _placing(config: InputConfig, anatomy: Anatomy) -> dict[str, Sequence[str]]:
    """The joints that place a body, and the one that shows its path."""
    limbs = config.landmarks == "limbs"
    low, high = (anatomy.hips, anatomy.shoulders) if limbs else ([end] for end in anatomy.spine)
    wanted: dict[str, Sequence[str]] = {}
    if config.centre != "recorded":
        wanted["centre"] = anatomy.hips if limbs else [anatomy.centre]
    if config.centre == "path":
        wanted["shown"] = [anatomy.path]
    if config.lengths == "spine" or config.frame != "recorded":
        wanted["low"], wanted["high"] = low, high
    if config.frame != "recorded":
        wanted["right"], wanted["left"] = ([side] for side in anatomy.shoulders)
    return wanted


def placed_by(config: InputConfig, anatomy: Anatomy) -> dict[str, str]:
    """The joints that place a body and show its path, in words, by what they are for. The hips are where the
    spine begins: those two are one place."""
    means = {"low": "spine from", "high": "spine to", "right": "right", "left": "left", "shown": "path"}
    return {
        means.get(role, role): "base_of_spine" if tuple(names) == HIPS else " and ".join(names)
        for role, names in _placing(config, anatomy).items()
    }


def path_of(config: InputConfig, skeleton: Skeleton) -> int | None:
    """The joint of a skeleton that shows a path and not a part of the body; None where none does."""
    if config.centre != "path":
        return None
    return skeleton.index(anatomy_of(skeleton, own=True).path)
