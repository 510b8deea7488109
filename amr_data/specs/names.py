"""Joints by anatomical names that all skeletons share, so that an encoder can tell them apart whatever the
sensor. A place that has no name of its own is composed of named ones, by shares."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from importlib.resources import files

import numpy as np
import numpy.typing as npt
import yaml

from amr_data.errors import UsageError

Shares = dict[str, float]
"""Names and what each counts for; they add up to 1."""
MIDPOINT = "midpoint of "
_HALVES = re.compile(rf"{MIDPOINT}(\S.*?) and (\S.*)")


def shares_of(place: str | Mapping[str, float]) -> Shares:
    """What a place is composed of: itself where it is a name, both halves of `midpoint of A and B`, or the
    shares that it gives.

    Raises: ValueError where the shares are not positive or do not add up to 1, or a midpoint is not of two.
    """
    if not isinstance(place, str):
        given = {name: float(share) for name, share in place.items()}
        if not all(share > 0 for share in given.values()) or not math.isclose(
            sum(given.values()), 1, abs_tol=1e-6
        ):
            raise ValueError(f"shares are positive and add up to 1, unlike {given}")
        return given
    if not place.startswith(MIDPOINT):
        return {place: 1.0}
    halves = _HALVES.fullmatch(place)
    if halves is None or halves[1] == halves[2] or " and " in halves[2]:
        raise ValueError(f"'{place}' does not read '{MIDPOINT}A and B' of two different names")
    return {halves[1]: 0.5, halves[2]: 0.5}


@lru_cache(maxsize=1)
def common_vocabulary() -> dict[str, str]:
    """The names that the built-in skeletons use, and where each is, in words."""
    text = (files("amr_specs") / "joints.yaml").read_text(encoding="utf-8")
    return dict(yaml.safe_load(text))


def names_in(shares: Iterable[Mapping[str, float]]) -> list[str]:
    """Every name that occurs, those of the common vocabulary first and in its order."""
    found = dict.fromkeys(name for one in shares for name in one)
    return [
        *(n for n in common_vocabulary() if n in found),
        *(n for n in found if n not in common_vocabulary()),
    ]


def name_matrix(shares: Sequence[Mapping[str, float]], names: Sequence[str]) -> npt.NDArray[np.float32]:
    """Joints as rows, names as columns, (V, K) float32: each row adds up to 1. Raises: UsageError where a
    name is not among them."""
    place = {name: column for column, name in enumerate(names)}
    matrix = np.zeros((len(shares), len(names)), np.float32)
    for row, one in enumerate(shares):
        for name, share in one.items():
            if name not in place:
                raise UsageError(
                    f"'{name}' is not among the {len(names)} names of joints: {', '.join(names)}"
                )
            matrix[row, place[name]] = share
    return matrix
