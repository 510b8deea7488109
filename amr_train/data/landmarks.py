"""The joints by which a body is placed: where its centre, its spine and its shoulders are.

Skeletons of different sensors mean different places by `centre` and `spine`: Kinect's centre lies 7 cm above
its hips and its spine begins there, OpenNI's lies at the navel. Hips and shoulders nearly all of them have.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from amr_data import UsageError
from amr_data.specs import Skeleton
from amr_train.config import InputConfig

HIPS = ("right_hip", "left_hip")
SHOULDERS = ("right_shoulder", "left_shoulder")


class Anatomy(BaseModel):
    """The joints that an input is made by, by the names that skeletons share; see `Skeleton`."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    centre: str
    spine: tuple[str, str]
    shoulders: tuple[str, str]
    bones: list[tuple[str, str]]


def anatomy_of(skeleton: Skeleton) -> Anatomy:
    """What a skeleton says of its joints."""
    called = dict(zip(skeleton.joints, skeleton.common_names, strict=True))
    spine, shoulders = ((called[a], called[b]) for a, b in (skeleton.spine, skeleton.shoulders))
    bones = [(called[a], called[b]) for a, b in skeleton.bones]
    return Anatomy(centre=called[skeleton.centre], spine=spine, shoulders=shoulders, bones=bones)


def landmarks_of(config: InputConfig, anatomy: Anatomy, names: Sequence[str]) -> dict[str, list[int]]:
    """Rows of the joints that an input needs among `names`: `centre`, the ends `low` and `high` of the spine,
    `right` and `left` across the body, each the mean of its joints; `shown`, the joint that shows the path;
    `above` and `below`, the ends of every bone.

    Raises: UsageError where one is not among them.
    """
    limbs = config.landmarks == "limbs"
    wanted: dict[str, Sequence[str]] = {}
    if config.centre != "recorded":
        wanted["centre"] = HIPS if limbs else [anatomy.centre]
    if config.centre == "path":
        wanted["shown"] = [anatomy.centre]
    if config.lengths == "spine" or config.frame != "recorded":
        wanted["low"], wanted["high"] = (HIPS, SHOULDERS) if limbs else ([name] for name in anatomy.spine)
    if config.frame != "recorded":
        right, left = SHOULDERS if limbs else anatomy.shoulders
        wanted["right"], wanted["left"] = [right], [left]
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
