"""Clips from other projects' arrays. Values are taken as they are; a frame of a body that is all zeros is a
frame without that body, as these projects mean it.

Two-dimensional keypoints are given in pixels: they are divided by the image's height, the origin is the
image's centre, y points upwards, and the third coordinate is 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from amr_data.clip import BodyTrack, Clip
from amr_data.errors import RejectError
from amr_data.readers.base import name_fields
from amr_data.readers.text import check_positions
from amr_data.specs import NO_LABEL, DatasetSpec

MIN_SCORE = 0.2
"""A joint with a lower score counts as not seen, as in HRNet's own evaluation on COCO (`IN_VIS_THRE`), whose
keypoints PYSKL's pickles hold."""
MAX_PIXELS = 100_000

Floats = npt.NDArray[np.floating]


def label_of(value: Any, spec: DatasetSpec) -> int:
    """A clip's label; NO_LABEL for none (absent, or -1), and for a spec without classes. Raises RejectError
    for anything but a whole number that is one of the classes."""
    if value is None or not spec.classes:
        return NO_LABEL
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not number or value != value or value in (np.inf, -np.inf) or int(value) != value:
        shown = f"{value}" if number else f"of type {type(value).__name__}"
        raise RejectError("unknown_class", f"label {shown} is not a whole number")
    if value != NO_LABEL and not 0 <= value < len(spec.classes):
        raise RejectError("unknown_class", f"label {int(value)} is not one of 0 to {len(spec.classes) - 1}")
    return int(value)


def one_hot_label(row: npt.NDArray[Any], spec: DatasetSpec) -> int:
    """The label of a row of zeros with a single 1; NO_LABEL for zeros alone. Raises RejectError."""
    there = np.flatnonzero(row)
    if not len(there):
        return NO_LABEL
    if len(there) > 1 or row[there[0]] != 1:
        raise RejectError("label_mismatch", "the label is not one-hot")
    return label_of(int(there[0]), spec)


def imported_clip(
    name: str, label: int, keypoint: Floats, source: str, spec: DatasetSpec, **about: Any
) -> Clip:
    """A clip from an array of positions.

    Args:
        keypoint: (M, T, V, 3), metres as a rule, zeros where a body is absent; for a two-dimensional spec
            (M, T, V, 2) pixels, or (M, T, V, 3) image heights with a third coordinate of 0, as our own
            exports have it.
        about: `score` (M, T, V) and `img_shape` (height, width) where the file has them; `video`, the
            recording.
    Raises: RejectError.
    """
    values = positions(keypoint, spec, about.get("img_shape"))
    unsure = _unsure(about.get("score"), keypoint.shape[:3])
    frames = keypoint.shape[1]
    video = about.get("video", "")
    clip = Clip(name, label, frames, [], video=video, source=source, **name_fields(spec, name))
    for slot in range(len(values)):
        there = np.flatnonzero(keypoint[slot].any(axis=(1, 2)))
        if len(there):
            joints = values[slot, there]
            check_positions(joints, there)
            inferred = None if unsure is None else unsure[slot, there]
            clip.tracks.append(BodyTrack(there, joints, str(slot + 1), slot, inferred))
    if not clip.tracks:
        raise RejectError("no_body", f"{frames} frames, all zeros")
    return clip


def positions(keypoint: Floats, spec: DatasetSpec, img_shape: Any = None) -> npt.NDArray[np.float64]:
    """(M, T, V, 3) float64 from (M, T, V, 2 or 3), in the spec's unit. Raises RejectError."""
    joints = len(spec.skeleton.joints)
    bodies, frames, columns, axes = keypoint.shape
    if columns != joints or axes not in (2, 3):
        raise RejectError("joint_count", f"{(columns, axes)} values a body, the skeleton has {(joints, 3)}")
    if not keypoint.size:
        raise RejectError("no_body", f"{frames} frames, {bodies} bodies")
    if axes == 3 and (spec.dimensions == 3 or not keypoint[..., 2].any()):
        return keypoint.astype(np.float64)
    if spec.dimensions == 3:
        raise RejectError(
            "dimensions",
            f"keypoints in two dimensions; {spec.name} has three (a spec's `dimensions: 2` has two)",
        )
    if axes == 3:
        raise RejectError("dimensions", f"keypoints in three dimensions; {spec.name} has two")
    height, width = _image(img_shape)
    out = np.zeros((bodies, frames, columns, 3))
    out[..., 0] = (keypoint[..., 0].astype(np.float64) - width / 2) / height
    out[..., 1] = (height / 2 - keypoint[..., 1].astype(np.float64)) / height
    return out


def _image(shape: Any) -> tuple[int, int]:
    """Height and width in pixels."""
    if (
        not isinstance(shape, tuple | list)
        or len(shape) != 2
        or not all(isinstance(n, int | np.integer) and 1 <= n <= MAX_PIXELS for n in shape)
    ):
        raise RejectError(
            "not_skeleton", "keypoints in pixels without img_shape, the image's height and width"
        )
    return int(shape[0]), int(shape[1])


def _unsure(score: Any, shape: tuple[int, ...]) -> npt.NDArray[np.bool_] | None:
    """(M, T, V) bool, joints whose score is too low, or None where there are no scores."""
    if score is None:
        return None
    if not isinstance(score, np.ndarray) or score.dtype.kind != "f" or score.shape != shape:
        found = score.shape if isinstance(score, np.ndarray) else type(score).__name__
        raise RejectError("joint_count", f"the scores are {found}, the keypoints {shape}")
    return ~(score >= MIN_SCORE)
