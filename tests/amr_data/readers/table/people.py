"""A stick figure of six joints, known in metres, and short ways to read files of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from amr_data.clip import Clip
from amr_data.errors import Reject
from amr_data.readers.sources import RawSource
from amr_data.readers.table import TableFamily, TableOptions
from amr_data.specs import DatasetSpec

JOINTS = ["head", "spine", "left_hand", "right_hand", "left_foot", "right_foot"]
STICK = {
    "name": "stick",
    "joints": JOINTS,
    "bones": [["head", "spine"], *([j, "spine"] for j in JOINTS[2:])],
    "parts": {"all": JOINTS},
    "centre": "spine",
    "spine": ["spine", "head"],
    "shoulders": ["right_hand", "left_hand"],
}
PERSON = np.array(
    [[0, 1.7, 3], [0, 1.1, 3], [-0.5, 0.9, 2.9], [0.5, 0.9, 2.9], [-0.1, 0.05, 3], [0.1, 0.05, 3]]
)
"""Metres: x to the sensor's left, y up, z away from it; 1.65 m and a little along the bones."""


def moving(frames: int = 5, shift: float = 0.0) -> np.ndarray:
    """(T, 6, 3) metres: the right hand rises by a centimetre a frame."""
    out = np.repeat(PERSON[None], frames, axis=0)
    out[:, 3, 1] += 0.01 * np.arange(frames)
    out[..., 0] += shift
    return out


def stick(layout: dict[str, Any], **rest: Any) -> DatasetSpec:
    """A spec for files of stick figures."""
    plain: dict[str, Any] = {
        "name": "mine",
        "title": "Mine",
        "raw": "table",
        "skeleton": STICK,
        "frame_rate": 10,
        "max_bodies": 2,
        "layout": layout,
    }
    return DatasetSpec.model_validate({**plain, **rest})


def discovered(spec: DatasetSpec, folder: Path) -> Any:
    family = TableFamily()
    family.check(spec)
    return family.discover(RawSource([folder]), spec, TableOptions())


def read(spec: DatasetSpec, folder: Path) -> tuple[list[Clip], list[Reject]]:
    """Everything that a folder gives: clips, and rejects of discovery and reading."""
    family, source = TableFamily(), RawSource([folder])
    family.check(spec)
    found = family.discover(source, spec, TableOptions())
    spec = DatasetSpec.model_validate({**spec.model_dump(), "classes": spec.classes or found.classes})
    items = list(family.read(source, found.units, spec, TableOptions()))
    clips = [i for i in items if isinstance(i, Clip)]
    return clips, [*found.rejects, *(i for i in items if isinstance(i, Reject))]


def only(spec: DatasetSpec, folder: Path) -> Clip:
    """The one clip that a folder gives, with nothing rejected."""
    clips, rejects = read(spec, folder)
    assert (len(clips), rejects) == (1, [])
    return clips[0]


def text(array: np.ndarray, delimiter: str = ",") -> str:
    """Rows of numbers, one line each."""
    return "".join(delimiter.join(f"{v:.6g}" for v in row) + "\n" for row in array)
