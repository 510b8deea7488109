"""Small datasets of several sensors, of invented motion."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from amr_data import convert
from amr_data.specs import DatasetSpec, load_skeleton

TAILED: dict[str, Any] = {
    "name": "tailed_8",
    "joints": ["chest", "crown", "arm_l", "arm_r", "foot_l", "foot_r", "waist", "tail"],
    "bones": [
        ("crown", "chest"),
        ("arm_l", "chest"),
        ("arm_r", "chest"),
        ("waist", "chest"),
        ("foot_l", "waist"),
        ("foot_r", "waist"),
        ("tail", "waist"),
    ],
    "parts": {"all": ["chest", "crown", "arm_l", "arm_r", "foot_l", "foot_r", "waist", "tail"]},
    "centre": "waist",
    "spine": ("waist", "chest"),
    "shoulders": ("arm_r", "arm_l"),
    "counterparts": {
        "chest": "spine_at_shoulders",
        "crown": "head",
        "arm_l": "midpoint of left_elbow and left_shoulder",
        "arm_r": "midpoint of right_elbow and right_shoulder",
        "foot_l": "left_ankle",
        "foot_r": "right_ankle",
        "waist": {"left_hip": 0.5, "right_hip": 0.5},
    },
}
"""A sensor of its own, seven of whose joints can be named; nobody else has a tail."""


def sensor(
    out: Path,
    name: str,
    skeleton: str | dict[str, Any],
    seed: int = 0,
    dimensions: int = 3,
    splits: tuple[str, ...] = ("xsub",),
) -> Path:
    """24 clips of four subjects and two classes, a second body in every third; each split trains on the first
    three subjects. Returns the converted dataset."""
    rng = np.random.default_rng(seed)
    bones = load_skeleton(skeleton).model_dump() if isinstance(skeleton, str) else skeleton
    shape = rng.normal(0, 0.5, (1, 1, len(bones["joints"]), 3))
    clips = []
    for subject in (1, 2, 3, 4):
        for action in (1, 2):
            for take in range(3):
                size = (1 + (take == 0), 30 + 5 * take, len(bones["joints"]), dimensions)
                joints = shape[..., :dimensions] + np.cumsum(rng.normal(0, 0.02 * action, size), axis=1)
                about = {"label": action - 1, "img_shape": (480, 640)}
                clip = {"frame_dir": f"P{subject}A{action}R{take}", **about}
                clips.append({**clip, "keypoint": joints.astype(np.float32)})
    out.mkdir(parents=True)
    names = [str(clip["frame_dir"]) for clip in clips]
    split = {f"{rule}_train": names[:18] for rule in splits} | {f"{rule}_test": names[18:] for rule in splits}
    (out / "raw.pkl").write_bytes(pickle.dumps({"annotations": clips, "split": split}))
    spec = {
        "name": name,
        "title": name,
        "raw": "pyskl",
        "skeleton": bones,
        "frame_rate": 30,
        "max_bodies": 2,
        "naming": "P(?P<subject>[0-9]+)A(?P<action>[0-9]+)R(?P<replication>[0-9]+)",
        "classes": {1: "wave", 2: "bow"},
        "dimensions": dimensions,
    }
    convert(out / "raw.pkl", out / "shards", DatasetSpec.model_validate(spec), workers=1)
    return out / "shards"
