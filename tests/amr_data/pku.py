"""PKU-MMD files of a skeleton with four joints: small enough that whole recordings are cheap to write and to
convert."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from amr_data.specs import DatasetSpec, load_spec

JOINTS = ["hip", "neck", "right_shoulder", "left_shoulder"]
SMALL = {
    "name": "small",
    "joints": JOINTS,
    "bones": [["neck", "hip"], ["right_shoulder", "neck"], ["left_shoulder", "neck"]],
    "parts": {"all": JOINTS},
    "centre": "neck",
    "spine": ["hip", "neck"],
    "shoulders": ["right_shoulder", "left_shoulder"],
}
BODY = np.array([[0.0, 0.9, 3.0], [0.0, 1.4, 3.0], [0.2, 1.4, 3.1], [-0.2, 1.4, 2.9]])


def small_pku(**changes: Any) -> DatasetSpec:
    """PKU-MMD phase I for such files."""
    whole = load_spec("pku-mmd-1").model_dump()
    return DatasetSpec.model_validate({**whole, "skeleton": SMALL, **changes})


def walking(frames: int, seed: int = 0) -> np.ndarray:
    """(T, 4, 3) metres: a body that walks, turns and shakes."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(0, 0.004, (frames, 4, 3)).cumsum(axis=0) * 0.2
    way = rng.normal(0, 0.01, (frames, 1, 3)).cumsum(axis=0)
    angle = rng.normal(0, 0.02, frames).cumsum()
    turn = np.zeros((frames, 3, 3))
    turn[:, 1, 1] = 1
    turn[:, 0, 0] = turn[:, 2, 2] = np.cos(angle)
    turn[:, 0, 2], turn[:, 2, 0] = np.sin(angle), -np.sin(angle)
    return (BODY - BODY[0]) @ turn + BODY[0] + steps + way


def write_video(folder: Path, name: str, bodies: Sequence[np.ndarray], rows: Sequence[str] | None) -> None:
    """A skeleton file of bodies (T, 4, 3), zeros where one is absent, and its label file."""
    both = np.zeros((len(bodies[0]), 2, 4, 3))
    for slot, body in enumerate(bodies):
        both[:, slot] = body
    for kind in ("skeleton", "label"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    lines = (" ".join(f"{v:.6f}" for v in frame) for frame in both.reshape(len(both), -1))
    (folder / "skeleton" / f"{name}.txt").write_text("\n".join(lines) + "\n")
    if rows is not None:
        (folder / "label" / f"{name}.txt").write_text("".join(f"{row}\n" for row in rows))
