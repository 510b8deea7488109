"""How tall people are, and whether left is left: what tells a wrong unit and a wrong axis before anything is
trained on them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from amr_data.clip import Clip, FloatArray
from amr_data.specs import Skeleton

ALONG, UPRIGHT = "head to ankles along the bones", "lowest to highest joint"
TOPS = ("head", "nose")
ENDS = ("ankle", "foot")
LYING = 0.35
"""A head that is this share of a body's height above the ankles, or less, is that of somebody who lies."""
FORWARD = (("ankle", "foot"), ("ankle", "foot_index"), ("ankle", "big_toe"), ("heel", "foot_index"))
"""Pairs of joints of one leg of which the second lies in front."""


def bone_path(skeleton: Skeleton, start: str, end: str) -> list[int]:
    """The joints from one to another along the bones, both included."""
    parent = dict(skeleton.bones)

    def to_root(joint: str) -> list[str]:
        line = [joint]
        while line[-1] in parent:
            line.append(parent[line[-1]])
        return line

    up, down = to_root(start), to_root(end)
    common = next(joint for joint in up if joint in down)
    path = up[: up.index(common) + 1] + down[: down.index(common)][::-1]
    return [skeleton.index(joint) for joint in path]


def measured(skeleton: Skeleton) -> str:
    """What `heights` measures on a skeleton."""
    return ALONG if _legs(skeleton) else UPRIGHT


def heights(joints: FloatArray, skeleton: Skeleton) -> npt.NDArray[np.float64]:
    """joints : (K, V, 3). The height of a body in each frame, (K,), in the unit of the joints: the way from
    the head to the ankles along the bones, which neither sitting nor lying shortens; for a skeleton without
    these joints the vertical extent."""
    legs = _legs(skeleton)
    if not legs:
        return np.asarray(np.ptp(joints[..., 1], axis=1), np.float64)
    ways = [np.linalg.norm(np.diff(joints[:, leg], axis=1), axis=-1).sum(axis=1) for leg in legs]
    return np.asarray(np.mean(ways, axis=0), np.float64)


def median_height(clips: Sequence[Clip], skeleton: Skeleton) -> float | None:
    """The median over the bodies of clips, None where there is no body."""
    with np.errstate(over="ignore", invalid="ignore"):  # a wrong unit may be far beyond any body
        found = [
            float(np.median(heights(t.joints, skeleton))) for c in clips for t in c.tracks if len(t.joints)
        ]
    return float(np.median(found)) if found else None


def odd_axes(clips: Sequence[Clip], skeleton: Skeleton) -> list[str]:
    """What looks wrong about the axes of clips: heads below feet or hardly above them, toes that point
    backwards."""
    joints = [t.joints for c in clips for t in c.tracks if len(t.joints)]
    if not joints:
        return []
    found = []
    stacked = np.concatenate(joints).astype(np.float64)
    legs = _legs(skeleton)
    if legs:
        up = np.median(stacked[:, legs[0][0], 1] - stacked[:, [leg[-1] for leg in legs], 1].mean(axis=1))
        if up < 0:
            found.append(f"the head is {-up:.2f} below the ankles: the axis that points up looks wrong")
        elif up <= LYING * (tall := float(np.median(heights(stacked, skeleton)))):
            found.append(
                f"the head is {up:.2f} above the ankles in bodies of {tall:.2f}: most people lie, or another "
                "axis points up"
            )
    ahead = _ahead(stacked, skeleton)
    if ahead is not None and ahead < 0:
        found.append("the toes point backwards: left and right, or the sign of an axis, look exchanged")
    return found


def _legs(skeleton: Skeleton) -> list[list[int]]:
    """The ways from the head to both ankles, or nothing where the skeleton has no such joints."""
    top = next((t for t in TOPS if t in skeleton.joints), None)
    for end in ENDS:
        both = [f"{side}_{end}" for side in ("left", "right")]
        if top and all(joint in skeleton.joints for joint in both):
            return [bone_path(skeleton, top, joint) for joint in both]
    return []


def _ahead(joints: npt.NDArray[np.float64], skeleton: Skeleton) -> float | None:
    """Share of frames in which the toes point to where the trunk faces, less the share in which they do not;
    None where the skeleton does not tell."""
    pair = next(
        (p for p in FORWARD if all(f"{s}_{j}" in skeleton.joints for s in ("left", "right") for j in p)), None
    )
    if pair is None:
        return None
    at = {n: joints[:, skeleton.index(n)] for n in skeleton.joints}
    right = at[skeleton.shoulders[0]] - at[skeleton.shoulders[1]]
    up = at[skeleton.spine[1]] - at[skeleton.spine[0]]
    toes = sum(at[f"{side}_{pair[1]}"] - at[f"{side}_{pair[0]}"] for side in ("left", "right"))
    # in right-handed axes, up x right points to where a body faces
    facing = (np.cross(up, right) * toes).sum(axis=1)
    return float(np.sign(facing).mean())
