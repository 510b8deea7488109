"""Skeletons as validated data: joints, bones, and the few joints that a recipe needs by name."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from amr_data.specs.names import MIDPOINT, Shares, shares_of
from amr_data.specs.strict import Strict


class Skeleton(Strict):
    """Joint names in file order; bones as (joint, the joint it hangs on) by name. Recipes move `centre` to
    the origin; `spine` (low, high) and `shoulders` (right, left) give a body its length and its axes.
    `symmetric`: joints of the left and the right that are each other's image in a mirror. `counterparts`:
    what other skeletons call a joint, or of which names its place is composed, `midpoint of A and B` or
    shares that add up to 1."""

    name: str
    joints: list[str] = Field(min_length=2, max_length=512)
    bones: list[tuple[str, str]]
    symmetric: list[tuple[str, str]] = []
    parts: dict[str, list[str]]
    centre: str
    spine: tuple[str, str]
    shoulders: tuple[str, str]
    counterparts: dict[str, str | Shares] = {}

    @property
    def common_names(self) -> list[str]:
        """The joints by the names that skeletons share; one whose place is composed keeps its own, since it
        is no other skeleton's joint."""
        found = {joint: self.counterparts.get(joint, joint) for joint in self.joints}
        return [
            name if isinstance(name, str) and not name.startswith(MIDPOINT) else joint
            for joint, name in found.items()
        ]

    @cached_property
    def shares(self) -> list[Shares]:
        """Of which anatomical names each joint is composed, in the order of the joints."""
        return [shares_of(self.counterparts.get(joint, joint)) for joint in self.joints]

    @model_validator(mode="after")
    def _check(self) -> Skeleton:
        if len(set(self.joints)) != len(self.joints):
            raise ValueError("a joint name occurs twice")
        named = [j for pair in (*self.bones, *self.symmetric) for j in pair] + [
            j for p in self.parts.values() for j in p
        ]
        for joint in [*named, self.centre, *self.spine, *self.shoulders, *self.counterparts]:
            if joint not in self.joints:
                raise ValueError(f"'{joint}' is not one of the joints")
        for place in self.counterparts.values():
            shares_of(place)
        sides = [j for pair in self.symmetric for j in pair]
        if twice := sorted(joint for joint in set(sides) if sides.count(joint) > 1):
            raise ValueError(f"symmetric names '{twice[0]}' twice; in a mirror a joint is one other joint")
        if sorted(j for p in self.parts.values() for j in p) != sorted(self.joints):
            raise ValueError("parts must hold every joint exactly once")
        children = [child for child, _ in self.bones]
        if len(set(children)) != len(children) or len(children) != len(self.joints) - 1:
            raise ValueError("bones must form a tree: every joint but the root hangs on exactly one other")
        parent = dict(self.bones)
        for start in children:
            joint, steps = start, 0
            while joint in parent:
                joint, steps = parent[joint], steps + 1
                if steps > len(children):
                    raise ValueError(f"bones form a ring through '{start}'")
        return self

    def index(self, joint: str) -> int:
        """Row of a joint in the (V, 3) arrays, 0-based."""
        return self.joints.index(joint)

    @cached_property
    def bone_indices(self) -> npt.NDArray[np.int64]:
        """(V - 1, 2) int64: joint and the joint it hangs on, 0-based."""
        return np.array([[self.index(a), self.index(b)] for a, b in self.bones], np.int64)
