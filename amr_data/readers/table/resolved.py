"""A layout held against its spec: which of the file's joints is which of the skeleton's, which value is which
coordinate, and what can be refused before any file is opened."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from amr_data.errors import unknown
from amr_data.readers.table.layout import UNITS, Layout
from amr_data.readers.table.shapes import parse_shape
from amr_data.specs import NAMED, DatasetSpec, Skeleton

SKIPPED = "_"


@dataclass(frozen=True)
class Resolved:
    """A layout with everything looked up.

    joints : what the file calls its joints, in the file's order; "_" for one that is skipped.
    take : (V,) for each joint of the skeleton the file's joints whose mean it is, mostly one.
    values : what the file calls the values of a joint, in its order.
    coordinates : where x, y and (for three dimensions) z stand among the values.
    turn : (3, D) that takes the file's coordinates to ours: x to the side, y up, z away from the sensor.
    marks : value, limit and whether a joint below it is absent (or only inferred).
    unbounded : let positions through that are farther than any sensor sees, so that they can be measured.
    """

    layout: Layout
    skeleton: Skeleton
    dimensions: int
    joints: tuple[str, ...]
    take: tuple[tuple[int, ...], ...]
    values: tuple[str, ...]
    coordinates: tuple[int, ...]
    scale: npt.NDArray[np.float64]
    offset: npt.NDArray[np.float64]
    turn: npt.NDArray[np.float64]
    marks: tuple[tuple[int, float, bool], ...]
    shape: list[list[str]] | None
    unbounded: bool = False

    @property
    def sizes(self) -> dict[str, int | None]:
        """The lengths of the axes that the spec knows."""
        many = self.layout.bodies
        if self.layout.body is not None or self.layout.joint is not None:
            many = 1
        return {"T": None, "M": many, "V": len(self.joints), "C": len(self.values)}


def resolve(layout: Layout, spec: DatasetSpec) -> Resolved:
    """Hold a layout against its spec. Raises ValueError with what does not fit."""
    names, calls = _pairs(layout.joints or list(spec.skeleton.joints))
    take = _take(names, layout.derived, spec.skeleton)
    values, value_calls = _pairs(layout.values)
    axes = ("x", "y", "z")[: spec.dimensions]
    for axis in axes:
        if values.count(axis) != 1:
            raise ValueError(f"layout: values must name {axis} once; they are {', '.join(values)}")
    marks = []
    for field, gone in (("absent_below", True), ("inferred_below", False)):
        for value, limit in getattr(layout, field).items():
            if value not in values:
                raise ValueError(f"layout: {field}: {unknown('value', value, values)}")
            marks.append((values.index(value), float(limit), gone))
    if layout.of_images and spec.dimensions != 2:
        raise ValueError("layout: unit pixel and fraction are of images; say dimensions: 2")
    scale, offset = _scale(layout, axes)
    shape = parse_shape(layout.shape) if layout.shape else None
    _check_shape(layout, shape)
    _check_splits(layout, spec)
    return Resolved(
        layout,
        spec.skeleton,
        spec.dimensions,
        tuple(calls),
        take,
        tuple(value_calls),
        tuple(values.index(axis) for axis in axes),
        scale,
        offset,
        _turn(layout, axes),
        tuple(marks),
        shape,
    )


def _pairs(given: Sequence[str | None] | dict[str, str]) -> tuple[list[str], list[str]]:
    """Our names, and what the file calls them."""
    if isinstance(given, dict):
        return list(given), list(given.values())
    names = [SKIPPED if name is None else name for name in given]
    return names, names


def _take(names: list[str], derived: dict[str, list[str]], skeleton: Skeleton) -> tuple[tuple[int, ...], ...]:
    named = [n for n in names if n != SKIPPED]
    if twice := sorted({n for n in named if named.count(n) > 1}):
        raise ValueError(f"layout: joints name '{twice[0]}' twice")
    sources = {source for parts in derived.values() for source in parts}
    for name in named:
        if name not in skeleton.joints and name not in sources:
            known = unknown("joint", name, skeleton.joints, f" of {skeleton.name}")
            raise ValueError(f"layout: joints: {known}; null skips a joint of the file")
    take = []
    for joint in skeleton.joints:
        parts = [joint] if joint in named else derived.get(joint)
        if not parts:
            raise ValueError(
                f"layout: joints lack '{joint}' of {skeleton.name}; name it, or derive it from others: "
                f"derived: {{{joint}: [{named[0] if named else 'a'}, {named[-1] if named else 'b'}]}}"
            )
        for part in parts:
            if part not in named:
                raise ValueError(f"layout: derived {joint}: {unknown('joint', part, named, ' of the file')}")
        take.append(tuple(names.index(part) for part in parts))
    for joint in derived:
        if joint not in skeleton.joints:
            raise ValueError(f"layout: derived: {unknown('joint', joint, skeleton.joints)}")
        if joint in named:
            raise ValueError(f"layout: '{joint}' is in joints and in derived")
    return tuple(take)


def _scale(layout: Layout, axes: tuple[str, ...]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Factor and summand of each of the file's axes, in metres or image heights."""
    unit = UNITS[layout.unit]
    scale = np.array([layout.scale.get(a, 1.0) for a in axes])  # type: ignore[call-overload]
    offset = np.array([layout.offset.get(a, 0.0) for a in axes])  # type: ignore[call-overload]
    if layout.of_images:  # to image heights, from the middle of the image
        width, height = layout.image or (1, 1)
        whole = np.array([width, height]) if layout.unit == "fraction" else np.ones(2)
        scale, offset = scale * whole / height, (offset * whole - np.array([width, height]) / 2) / height
    if not (np.isfinite(scale).all() and np.isfinite(offset).all() and scale.all()):
        raise ValueError("layout: scale and offset must be finite, and no scale 0")
    return scale * unit, offset * unit


def _turn(layout: Layout, axes: tuple[str, ...]) -> npt.NDArray[np.float64]:
    given = layout.axes or (["x", "-y"] if layout.of_images else list(axes))
    if sorted(a.removeprefix("-") for a in given) != sorted(axes):
        raise ValueError(
            f"layout: axes say which of the file's axes is ours: {', '.join(axes)}, each once, with "
            f"- where it points the other way; found {', '.join(given)}"
        )
    turn = np.zeros((3, len(axes)))
    for row, axis in enumerate(given):
        turn[row, axes.index(axis.removeprefix("-"))] = -1.0 if axis.startswith("-") else 1.0
    return turn


def _check_shape(layout: Layout, shape: list[list[str]] | None) -> None:
    letters = [letter for group in shape or [] for letter in group]
    if layout.frame_files and "T" in letters:
        raise ValueError("layout: with frame_files a file is one frame; its shape has no T")
    if shape and not layout.frame_files and "T" not in letters:
        raise ValueError(f"layout: shape {layout.shape} lacks T, the frames")
    if "M" in letters and layout.body is not None:
        raise ValueError("layout: bodies come from a column (body) or from the shape (M), not from both")
    for group in shape or []:
        if "T" in group and "M" in group and layout.bodies is None:
            raise ValueError("layout: say how many bodies: bodies: 2")


def _check_splits(layout: Layout, spec: DatasetSpec) -> None:
    groups = set(re.compile(spec.naming or "").groupindex)
    told = groups | set(layout.special) | (layout.labels.names if layout.labels else set())
    if spec.classes and "action" not in groups and "label" not in told:
        raise ValueError(
            "classes are given, but nothing says the label of a clip: naming with the group action, "
            "layout.label or layout.labels"
        )
    for name, protocol in spec.protocols.items():
        if protocol.by not in (*NAMED, *groups) and not (protocol.by == "subject" and "subject" in told):
            raise ValueError(f"split {name} goes by {protocol.by}, which neither naming nor a column says")
