"""Recipes: how a raw clip becomes a clean one. A base recipe selects bodies and sets the origin; rotation and
scale compose with any of them.

The rotation is PYSKL's idea (its PreNormalize3D): a canonical body frame, so that view and heading no longer
matter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from amr_data.clip import BodyTrack, Clip, FloatArray
from amr_data.errors import RejectError, UsageError
from amr_data.specs import DatasetSpec, unknown

RECIPES = {
    "amr": "bodies selected, true gaps kept, centred on the main actor",
    "ctrgcn": "the reference clean-up of the literature, with its quirks",
    "none": "everything as it stands in the source",
}
MIN_SPINE = 1e-3
"""A body frame needs a spine and shoulders of at least a millimetre."""


@dataclass(frozen=True)
class Recipe:
    """name : a key of `RECIPES`.  rotate : into the body frame of the main actor's first frame, spine along
    z, shoulders along x.
    scale : in units of the main actor's mean spine length.

    Raises: UsageError.
    """

    name: str = "amr"
    rotate: bool = False
    scale: bool = False

    def __post_init__(self) -> None:
        if self.name not in RECIPES:
            raise UsageError(unknown("recipe", self.name, RECIPES))

    def check(self, spec: DatasetSpec) -> None:
        """Refuse what cannot be done to clips of the dataset. Raises UsageError."""
        if self.rotate and spec.dimensions == 2:
            raise UsageError(f"{spec.title} is two-dimensional: there is no body frame to rotate into")

    def record(self, spec: DatasetSpec, family: Cleaner) -> dict[str, Any]:
        """The settings as the manifest keeps them."""
        return {
            **asdict(self),
            "centred": family.centres(self.name, spec),
            "unit": "spine lengths" if self.scale else spec.unit,
        }


class Cleaner(Protocol):
    """What a recipe asks of the raw family: see `amr_data.readers.Family`."""

    def clean(self, clip: Clip, recipe: str, spec: DatasetSpec) -> Clip: ...

    def centres(self, recipe: str, spec: DatasetSpec) -> bool: ...


@dataclass(frozen=True)
class Placement:
    """Where a recipe has put a clip: a raw joint x comes to stand at `turn` @ (x - `origin`) / `length`.

    origin : (3,).  turn : (3, 3), a rotation.
    """

    origin: npt.NDArray[np.float64]
    length: float
    turn: npt.NDArray[np.float64]


def apply_recipe(clip: Clip, spec: DatasetSpec, recipe: Recipe, family: Cleaner) -> Clip:
    """Clean, centre, turn and scale one raw clip, see `placed_clip`."""
    return placed_clip(clip, spec, recipe, family)[0]


def placed_clip(clip: Clip, spec: DatasetSpec, recipe: Recipe, family: Cleaner) -> tuple[Clip, Placement]:
    """Clean, centre, turn and scale one raw clip.

    Args:
        family: how its bodies are chosen, and whether it is centred.
    Returns: a clip whose tracks hold float32 coordinates, slots 0 and up, gaps kept; bodies past
        `max_bodies` are left out with a note. And where the recipe has put it.
    Raises: RejectError where nothing is left, or where a body frame cannot be found.
    """
    if recipe.name != "none":
        clip = family.clean(clip, recipe.name, spec)
    return _placed(_first_bodies(clip, spec.max_bodies), spec, recipe, family)


def placed_recording(
    clip: Clip, spec: DatasetSpec, recipe: Recipe, family: Cleaner
) -> tuple[Clip, Placement]:
    """The same for a whole recording, of which no frame and no body is left out: clips are cut from it. The
    main actor is the first body that is there at all, its frame for `rotate` the first that has one.

    Raises: RejectError where there is none, or where a body frame cannot be found.
    """
    order = {slot: i for i, slot in enumerate(sorted({t.slot for t in clip.tracks}))}
    if recipe.name == "amr" or family.centres(recipe.name, spec):
        clip = clip.changed(tracks=[t.changed(slot=order[t.slot]) for t in clip.tracks])
    return _placed(clip, spec, recipe, family, anywhere=True)


def _placed(
    clip: Clip, spec: DatasetSpec, recipe: Recipe, family: Cleaner, anywhere: bool = False
) -> tuple[Clip, Placement]:
    origin, length, frame = np.zeros(3), 1.0, np.eye(3)
    if family.centres(recipe.name, spec):
        single = not (recipe.scale or recipe.rotate)
        joint = spec.skeleton.index(spec.skeleton.centre)
        track, row = _main_actor(clip)
        origin = np.array(track.joints[row, joint], np.float64)
        clip = centre(clip, joint, np.float32 if single else None)
    if recipe.scale:
        length = spine_length(clip, spec)
        clip = _each(clip, lambda joints: joints / length).changed(scale=length)
    if recipe.rotate:
        frame = body_frame(clip, spec, anywhere)
        clip = _each(clip, lambda joints: joints @ frame.T)
    clip = _each(clip, lambda joints: joints.astype(np.float32, copy=False))
    return clip, Placement(origin, length, frame)


def _first_bodies(clip: Clip, most: int) -> Clip:
    kept = [t for t in clip.tracks if t.slot < most]
    if not kept:
        raise RejectError("no_body_left", f"no body in the first {most} slots")
    notes = [
        f"body {t.body_id}: one more than {most} bodies, in frames {t.frames[0]}-{t.frames[-1]}"
        for t in clip.tracks
        if t.slot >= most
    ]
    return clip.changed(tracks=kept, dropped=[*clip.dropped, *notes])


def centre(clip: Clip, joint: int, kind: npt.DTypeLike | None = None) -> Clip:
    """Shift all bodies so that `joint` of the main actor's first frame with data is the origin. Raises
    RejectError where it has none.

    kind : of the shifted coordinates, which are rounded once they are shifted; as they were by default.
    """
    track, row = _main_actor(clip)
    # as many numbers as a frame has: numpy takes them side by side in half the time
    origin = np.tile(track.joints[row, joint], (track.joints.shape[1], 1))

    def shifted(joints: FloatArray) -> FloatArray:
        out = np.empty(joints.shape, kind or joints.dtype)
        np.subtract(joints, origin, out=out, casting="same_kind")
        return out

    return _each(clip, shifted)


def spine_length(clip: Clip, spec: DatasetSpec) -> float:
    """Mean length of the main actor's spine, in the unit of the clip. Raises RejectError for a spine of no
    length."""
    low, high = (spec.skeleton.index(j) for j in spec.skeleton.spine)
    bones = [t.joints[:, high] - t.joints[:, low] for t in clip.tracks if t.slot == 0]  # each (K, 3)
    spine = np.linalg.norm(np.concatenate(bones), axis=1) if bones else np.zeros(0)
    length = float(spine[spine > MIN_SPINE].mean()) if (spine > MIN_SPINE).any() else 0.0
    if length <= MIN_SPINE:
        raise RejectError("no_body_frame", "the main actor's spine has no length to scale by")
    return length


def body_frame(clip: Clip, spec: DatasetSpec, anywhere: bool = False) -> npt.NDArray[np.float64]:
    """(3, 3) rotation that takes the main actor's spine in its first frame to z, and its shoulders, right to
    left, into the x-z plane.

    anywhere : take the first frame that has such a rotation.
    Raises: RejectError where spine and shoulders do not span a plane.
    """
    track, row = _main_actor(clip)
    names = (*spec.skeleton.spine, *spec.skeleton.shoulders)
    wanted = [spec.skeleton.index(j) for j in names]
    for joints in track.joints[row:, wanted] if anywhere else track.joints[row : row + 1, wanted]:
        low, high, right, left = joints.astype(np.float64)
        z, across = high - low, left - right
        if np.linalg.norm(z) > MIN_SPINE:
            z = z / np.linalg.norm(z)
            x = across - (across @ z) * z
            if np.linalg.norm(x) > MIN_SPINE:
                x = x / np.linalg.norm(x)
                return np.stack([x, np.cross(z, x), z])
    raise RejectError(
        "no_body_frame", "spine and shoulders of the main actor's first frame do not span a plane"
    )


def _main_actor(clip: Clip) -> tuple[BodyTrack, int]:
    """The main actor's first track with data, and the row of its first frame with data."""
    for track in sorted((t for t in clip.tracks if t.slot == 0), key=lambda t: int(t.frames[0])):
        for row, joints in enumerate(track.joints):  # ends with the first row, but for all-zero frames
            if joints.any():
                return track, row
    raise RejectError("no_body_left", "the main actor is all zeros")


def _each(clip: Clip, change: Callable[[FloatArray], FloatArray]) -> Clip:
    return clip.changed(tracks=[t.changed(joints=change(t.joints)) for t in clip.tracks])
