"""From the axes that a file has to (T, M, V, C): frames, bodies, joints, values of a joint."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import numpy.typing as npt

from amr_data.errors import RejectError

LETTERS = {"T": "frames", "M": "bodies", "V": "joints", "C": "values of a joint"}
MAX_VALUES = 1 << 27
"""Numbers that one file may hold: a gibibyte as float64, forty hours of a Kinect body."""


def parse_shape(text: str) -> list[list[str]]:
    """The axes of a file: `T (M V C)` is [[T], [M, V, C]], a second axis that runs over bodies, in each over
    joints, in each over values. Raises ValueError."""
    parts = re.findall(r"\(([^()]*)\)|([A-Z])", text)
    groups = [grouped.split() if grouped else [single] for grouped, single in parts]
    letters = [letter for group in groups for letter in group]
    plain = re.sub(r"\([TMVC](?: [TMVC])*\)|[TMVC]", "", text)
    if plain.strip() or not letters or any(not group for group in groups):
        raise ValueError(
            f"'{text}' is no shape; write the file's axes as letters, such as 'T V C' or 'T (M V C)'"
        )
    for letter in set(letters):
        if letter not in LETTERS:
            raise ValueError(
                f"'{text}' has the axis {letter}; axes are T frames, M bodies, V joints, C values"
            )
        if letters.count(letter) > 1:
            raise ValueError(f"'{text}' has the axis {letter} twice")
    if not {"V", "C"} <= set(letters):
        raise ValueError(f"'{text}' lacks {' and '.join(sorted({'V', 'C'} - set(letters)))}")
    return groups


def arrange(
    array: npt.NDArray[Any], groups: list[list[str]], sizes: dict[str, int | None]
) -> npt.NDArray[np.float64]:
    """An array with the file's axes as (T, M, V, C) float64.

    Args:
        groups: what `parse_shape` gives, an entry for each axis of the array.
        sizes: V and C, and T and M where they are known.
    Raises: RejectError("joint_count") where the array has other sizes.
    """
    shown = " x ".join(map(str, array.shape))
    wanted = " ".join(g[0] if len(g) == 1 else f"({' '.join(g)})" for g in groups)
    if array.ndim != len(groups):
        raise RejectError("joint_count", f"the array is {shown}; shape {wanted} has {len(groups)} axes")
    if array.dtype.kind not in "fiu":
        raise RejectError("bad_number", f"the array holds {array.dtype}, not numbers")
    if array.size > MAX_VALUES:
        raise RejectError("too_large", f"{array.size:,} numbers, at most {MAX_VALUES:,} are read")
    lengths: list[int] = []
    for group, length in zip(groups, array.shape, strict=True):
        known = math.prod(sizes[letter] or 1 for letter in group)
        free = [letter for letter in group if sizes[letter] is None]
        if len(free) > 1:
            raise RejectError("body_count", "the shape leaves the number of bodies open; say bodies: 2")
        if length % known or (not free and length != known):
            each = " x ".join(f"{sizes[k]} {LETTERS[k]}" for k in group if sizes[k] is not None)
            wants = f"a multiple of {known}" if free else f"{known}"
            raise RejectError(
                "joint_count", f"axis {' '.join(group)} has {length} entries; {each} need {wants}"
            )
        for letter in group:
            lengths.append(sizes[letter] or (length // known if letter == free[0] else 1))
    letters = [letter for group in groups for letter in group]
    array = array.reshape(lengths)
    for letter in "TMVC":
        if letter not in letters:
            array, letters = array[..., None], [*letters, letter]
    with np.errstate(invalid="ignore"):  # a signalling NaN is a NaN like any other
        return array.transpose([letters.index(letter) for letter in "TMVC"]).astype(np.float64)
