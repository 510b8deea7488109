"""Family `bvh`: motion capture as BVH files, one file a clip of one body. Joints are found by their names,
placed by forward kinematics, turned into the axes of a Kinect, brought to metres and to the dataset's frame
rate."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from amr_data.clip import BodyTrack, Clip
from amr_data.errors import Reject, RejectError
from amr_data.readers.base import Discovery, Unit, discover_by_name, files_ending, new_clip
from amr_data.readers.bvh_file import BvhFile, parse_bvh, positions
from amr_data.readers.family import Family, FamilyOptions
from amr_data.readers.sources import RawSource
from amr_data.readers.stature import heights, measured
from amr_data.readers.text import check_positions
from amr_data.specs import DatasetSpec, Skeleton, Strict, load_spec

UNITS = {"m": 1.0, "cm": 0.01, "mm": 0.001, "inch": 0.0254, "cmu": 0.0254 / 0.45}
"""Metres. `cmu`: the Carnegie Mellon database counts in inches times 0.45."""
MEASURED = ("m", "cmu", "cm", "mm")
"""Units that a body's size tells apart."""
TALL = (0.5, 2.5)
"""Metres from head to feet."""
LOOKED_AT = 64
"""Frames that a body is measured in."""
NEAR_RATE = 0.005
"""Frame Time is rounded (0.0333), and film runs at 29.97: this close to a whole multiple is that multiple."""
AXES = {"x": (1.0, 0.0, 0.0), "y": (0.0, 1.0, 0.0), "z": (0.0, 0.0, 1.0)}

Signed = Literal["+x", "-x", "+y", "-y", "+z", "-z"]


class Between(Strict):
    """The middle of two BVH joints."""

    between: tuple[str, str]


Place = str | Between


class BvhLayout(Strict):
    """How to take a dataset's BVH files.

    up : the axis that points up.
    facing : where the rest pose looks; it is turned to the camera, as people stand in Kinect data. None
        leaves the heading as it is.
    unit, scale : of lengths, by name or as metres a unit. Without both the unit is metres, centimetres,
        millimetres or that of the CMU database, whichever makes the body 0.5 to 2.5 m tall.
    offsets : whether a joint's position channels stand in place of its OFFSET, as most programs write them,
        or are added to it.
    joints : joint of the skeleton to a BVH joint, to the middle of two, or to a list of these of which the
        first that a file has is taken. Names are compared without regard to case, punctuation, and what
        stands before a colon or before all names alike. An End Site is its parent's name and `_end`. Joints
        that are left out are found by the names that the dataset `bvh` lists.
    """

    up: Literal["y", "z"] = "y"
    facing: Signed | None = None
    unit: Literal["m", "cm", "mm", "inch", "cmu"] | None = None
    scale: Annotated[float, Field(gt=0, le=1000)] | None = None
    offsets: Literal["replaced", "added"] = "replaced"
    joints: dict[str, Place | Annotated[list[Place], Field(min_length=1)]] = {}

    @model_validator(mode="after")
    def _check(self) -> BvhLayout:
        if self.unit is not None and self.scale is not None:
            raise ValueError("give unit or scale, not both")
        if self.facing is not None and self.facing[1] == self.up:
            raise ValueError(f"a body whose up is {self.up} cannot face {self.facing}")
        return self

    @property
    def turn(self) -> npt.NDArray[np.float64]:
        """(3, 3) rotation into Kinect's axes: y up, z away from the camera, which the body faces."""
        up = np.array(AXES[self.up])
        facing = self.facing or ("-z" if self.up == "y" else "+y")
        away = -np.array(AXES[facing[1]]) * (1 if facing[0] == "+" else -1)
        return np.stack([np.cross(up, away), up, away])


class BvhFamily(Family):
    name = "bvh"
    title = "BVH motion capture files"
    endings = (".bvh",)

    def check(self, spec: DatasetSpec) -> None:
        spec.need_names()
        if spec.dimensions != 3:
            raise ValueError("BVH files hold three dimensions")
        layout = BvhLayout.model_validate(spec.layout)
        for joint in layout.joints:
            if joint not in spec.skeleton.joints:
                raise ValueError(f"layout.joints has '{joint}', which is no joint of {spec.skeleton.name}")
        for joint, places in _places(spec, layout).items():
            if not places:
                raise ValueError(f"layout.joints does not say which BVH joint is '{joint}'")

    def sniff(self, head: bytes, filename: str) -> bool:
        return head.removeprefix(b"\xef\xbb\xbf").lstrip()[:9].upper() == b"HIERARCHY"

    def discover(self, source: RawSource, spec: DatasetSpec, options: FamilyOptions) -> Discovery:
        return discover_by_name(source, spec, files_ending(source, self.endings))

    def read(
        self, source: RawSource, units: Sequence[Unit], spec: DatasetSpec, options: FamilyOptions
    ) -> Iterator[Clip | Reject]:
        layout = BvhLayout.model_validate(spec.layout)
        for unit in units:
            shown = source.shown(unit.members[0])
            try:
                clip = new_clip(unit, spec, shown)
                yield fill_clip(clip, parse_bvh(source.read(unit.members[0])), spec, layout)
            except RejectError as error:
                yield Reject(shown, error.reason, error.detail)


def fill_clip(clip: Clip, file: BvhFile, spec: DatasetSpec, layout: BvhLayout) -> Clip:
    """Put a file's motion into a clip, as one track without gaps. Raises RejectError."""
    pairs = find_joints([joint.name for joint in file.joints], _places(spec, layout))
    wanted = sorted({joint for pair in pairs for joint in pair})
    rows, between, note = timing(len(file.values), 1 / file.frame_time, spec.frame_rate)
    places = positions(file, wanted, rows, layout.offsets == "added")
    ends = np.array([[wanted.index(a), wanted.index(b)] for a, b in pairs])
    joints = places[:, ends].mean(axis=2)  # (T, V, 3): a joint itself, or the middle of two
    if between is not None:
        low = between.astype(np.int64)
        high = np.minimum(low + 1, len(joints) - 1)
        share = (between - low)[:, None, None]
        joints = joints[low] * (1 - share) + joints[high] * share
    joints = joints @ layout.turn.T
    joints *= metres_per_unit(joints, layout, spec.skeleton)
    frames = np.arange(len(joints))
    check_positions(joints, frames)
    clip.frames, clip.tracks = len(joints), [BodyTrack(frames, joints)]
    if note:
        clip.dropped.append(note)
    return clip


def find_joints(names: Sequence[str], places: Mapping[str, Sequence[Place]]) -> list[tuple[int, int]]:
    """For each joint of the skeleton the two rows of the file in whose middle it lies, twice the same for a
    joint of its own.

    Raises: RejectError for a joint that the file does not have, or whose name it has twice.
    """
    plain = [_plain(name) for name in names]
    first, last = min(plain), max(plain)
    prefix = first[
        : next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    ]
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(plain):
        rows.setdefault(name, []).append(row)
    # a prefix is looked past only where the whole name is nobody's
    rows = {**{name.removeprefix(prefix): found for name, found in rows.items()}, **rows}
    out = []
    for joint, alternatives in places.items():
        for place in alternatives:
            ends = (place, place) if isinstance(place, str) else place.between
            if all(_plain(end) in rows for end in ends):
                break
        else:
            tried = ", ".join(p if isinstance(p, str) else " and ".join(p.between) for p in alternatives)
            listed = ", ".join(names[:8]) + (" ..." if len(names) > 8 else "")
            raise RejectError(
                "joint_name",
                f"none for {joint}, called {tried}; there are {listed}; say which one it is in layout.joints",
            )
        here, there = (rows[_plain(end)] for end in ends)
        if len(here) > 1 or len(there) > 1:
            raise RejectError("joint_name", f"several joints are called {' or '.join({*ends})}, for {joint}")
        out.append((here[0], there[0]))
    return out


def timing(
    frames: int, rate: float, wanted: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64] | None, str]:
    """How `frames` frames at `rate` a second become frames at `wanted` a second: every n-th frame where the
    rate is a multiple, else positions between frames, since a frame that is repeated would stand still.

    Returns: the frames to take; where among these the new frames lie, or None where they are these; and a
        note, empty where nothing is changed.
    Raises: RejectError for less than half the rate that is wanted: most frames would be made up.
    """
    step = round(rate / wanted)
    if step >= 1 and abs(rate / wanted / step - 1) <= NEAR_RATE:
        note = f"{rate:.4g} frames a second in the file: one of every {step} kept" if step > 1 else ""
        return np.arange(0, frames, step), None, note
    if rate < wanted / 2:
        raise RejectError(
            "frame_time",
            f"{rate:.4g} frames a second are too few for {wanted:.4g}; give the spec a lower frame_rate",
        )
    last = int((frames - 1) * wanted / rate + 1e-9)
    at = np.minimum(np.arange(last + 1) * (rate / wanted), frames - 1)
    return np.arange(frames), at, f"{rate:.4g} frames a second in the file: positions between them taken"


def metres_per_unit(joints: npt.NDArray[np.float64], layout: BvhLayout, skeleton: Skeleton) -> float:
    """Metres a unit, by which the body is as tall as a person, in the median of some frames.

    joints : (T, V, 3) in the file's unit, y up.
    Raises: RejectError("height") where no unit makes it a person.
    """
    some = joints[np.unique(np.linspace(0, len(joints) - 1, LOOKED_AT).astype(np.int64))]
    size = float(np.median(heights(some, skeleton)))
    fitting = {unit: metres for unit, metres in UNITS.items() if TALL[0] <= size * metres <= TALL[1]}
    stated = layout.scale or (UNITS[layout.unit] if layout.unit else None)
    if stated is None:
        for unit in MEASURED:
            if unit in fitting:
                return UNITS[unit]
    elif TALL[0] <= size * stated <= TALL[1]:
        return stated
    found = f"the body is {size:.3g} units{f', {size * stated:.3g} m' if stated else ''} tall"
    if fitting:
        advice = " or ".join(f"unit: {unit} would make it {size * m:.2g} m" for unit, m in fitting.items())
    else:
        advice = f"scale: {1.7 / size:.2g} would make it 1.7 m" if size else "all joints are in one place"
    raise RejectError(
        "height", f"{found} ({measured(skeleton)}), a person is {TALL[0]} to {TALL[1]} m; {advice}"
    )


def _places(spec: DatasetSpec, layout: BvhLayout) -> dict[str, list[Place]]:
    """For every joint of the skeleton where it may be: as the spec says, else by the names in use."""
    places: dict[str, list[Place]] = {}
    for joint, common in zip(spec.skeleton.joints, spec.skeleton.common_names, strict=True):
        given = layout.joints.get(joint)
        if given is None:
            places[joint] = list(_names_in_use().get(common, ()))
        else:
            places[joint] = list(given) if isinstance(given, list) else [given]
    return places


@lru_cache(maxsize=1)
def _names_in_use() -> dict[str, list[Place]]:
    """The built-in dataset's places, by the names that skeletons share."""
    spec = load_spec("bvh")
    joints = BvhLayout.model_validate(spec.layout).joints
    shared = dict(zip(spec.skeleton.joints, spec.skeleton.common_names, strict=True))
    return {shared[j]: list(p) if isinstance(p, list) else [p] for j, p in joints.items()}


def _plain(name: str) -> str:
    """A joint's name as names are compared."""
    return re.sub(r"[\W_]", "", name.rpartition(":")[2]).lower()
