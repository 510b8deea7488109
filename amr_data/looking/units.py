"""In which unit a dataset's lengths are, by its recipe, and how that is called in keys and by people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from amr_data.shards.reader import ShardDataset
from amr_data.specs import DatasetSpec


@dataclass(frozen=True)
class LengthUnit:
    """key : how keys of values end, and their `_squared` for energies.  title : for people.
    fine : the smaller unit in which people read motion, `per` of it in one."""

    key: str
    title: str
    fine: str
    per: int

    def of(self, values: Mapping[str, Any], name: str) -> Any:
        """The value whose key is `name` and this unit."""
        return values[f"{name}_{self.key}"]


UNITS = {
    unit.key: unit
    for unit in (
        LengthUnit("m", "m", "mm", 1000),
        LengthUnit("spine_lengths", "spine lengths", "thousandths of a spine length", 1000),
        LengthUnit("image_heights", "image heights", "thousandths of an image's height", 1000),
    )
}


def length_unit(dataset: ShardDataset) -> LengthUnit:
    """The unit of a dataset's joints and paths; that of its energies is the square."""
    if dataset.manifest["recipe"].get("scale"):
        return UNITS["spine_lengths"]
    return raw_unit(dataset.spec)


def raw_unit(spec: DatasetSpec) -> LengthUnit:
    """The unit of a dataset's coordinates before any scaling: points of an image have no metres."""
    return UNITS["image_heights" if spec.dimensions == 2 else "m"]
