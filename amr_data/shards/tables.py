"""The tables of a shard: what each row may hold, and what follows from them. Everything that reads by a row's
numbers relies on `check_rows`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from amr_data.shards.layout import MAX_CLIP_FRAMES
from amr_data.specs import NAMED, NO_LABEL, TEST, TRAIN, UNASSIGNED, VALIDATION, Protocol

Problem = tuple[str, str]
STRUCTURE, RANGE = "structure", "range"


def check_rows(
    clips: npt.NDArray[np.void], tracks: npt.NDArray[np.void], rows: int, classes: int, bodies: int
) -> Problem | None:
    """What is wrong with the rows of one shard: a kind and what was found, or None.

    rows : frames of all tracks in the shard.  classes : of the dataset.  bodies : slots that a clip may have.
    """
    for table, fields in ((clips, ("name", "video")), (tracks, ("body_id",))):
        for field in fields:
            if not _is_text(table[field]):
                return STRUCTURE, f"a {field} is not UTF-8"
    return _check_tracks(clips, tracks, rows, bodies) or _check_clips(clips, tracks, classes)


def _check_tracks(
    clips: npt.NDArray[np.void], tracks: npt.NDArray[np.void], rows: int, bodies: int
) -> Problem | None:
    clip, slot, first, frames = (
        tracks[k].astype(np.int64) for k in ("clip", "slot", "first_frame", "frames")
    )
    if len(tracks) and (clip.min() < 0 or clip.max() >= len(clips)):
        return STRUCTURE, "a track belongs to no clip"
    if len(tracks) and (slot.min() < 0 or slot.max() >= bodies):
        return STRUCTURE, f"a track has a slot outside 0 to {bodies - 1}"
    if len(tracks) and (frames.min() < 1 or first.min() < 0):
        return STRUCTURE, "a track has no frame, or begins before its clip"
    if (first + frames > clips["frames"][clip]).any():
        return STRUCTURE, "a track ends after its clip"
    # one after another, so that no row is read twice and what the tables ask for never exceeds the file
    row = tracks["first_row"]
    outside = (row < 0) | (row > rows - frames)
    if outside.any() or (row[1:] < (row + frames)[:-1]).any():
        return STRUCTURE, "the tracks do not follow each other in the frames, or point outside them"
    body = clip * 64 + slot
    step = np.diff(body)
    if (step < 0).any():
        return STRUCTURE, "the tracks are not in the order of clips and slots"
    if (first[1:] < (first + frames)[:-1])[step == 0].any():
        return STRUCTURE, "two stretches of one body overlap, or are not in the order of time"
    return None


def _check_clips(clips: npt.NDArray[np.void], tracks: npt.NDArray[np.void], classes: int) -> Problem | None:
    if not len(clips):
        return None
    clip, slot = tracks["clip"], tracks["slot"]
    begins = np.ones(len(tracks), bool)  # of a body, whose stretches lie together
    begins[1:] = (clip[1:] != clip[:-1]) | (slot[1:] != slot[:-1])
    found = np.bincount(clip[begins], minlength=len(clips))
    if (clips["bodies"] != found).any():
        return STRUCTURE, "a clip has other bodies than its tracks"
    for field, low, high in (("frames", 1, MAX_CLIP_FRAMES), ("label", NO_LABEL, classes - 1)):
        values = clips[field]
        if values.min() < low or values.max() > high:
            return RANGE, f"a clip's {field} is outside {low} to {high:,}"
    inferred, still = clips["inferred_share"], clips["still_share"]
    for field, values, most in (
        ("inferred_share", inferred[~np.isnan(inferred)], 1.0),
        ("still_share", still[~np.isnan(still)], 1.0),
        ("mean_energy", clips["mean_energy"], np.inf),
        ("path_length", clips["path_length"], np.inf),
    ):
        if values.size and not (values.min() >= 0 and values.max() <= most and np.isfinite(values.max())):
            return RANGE, f"a clip's {field} is not a number from 0 up"
    return None


def split_values(clips: npt.NDArray[np.void], field: str) -> npt.NDArray[np.generic]:
    """(N,) what splits go by: numbers, or for `video` and `name` text; a clip of no recording has its own
    name for one."""
    if field not in NAMED:
        return clips[field]
    names = decoded(clips["name"])
    if field == "name":
        return np.array(names, np.str_)
    videos = decoded(clips["video"])
    return np.array([v or n for v, n in zip(videos, names, strict=True)], np.str_)


def side_counts(found: npt.NDArray[np.int8], rule: Protocol) -> dict[str, int]:
    """Clips in each part of a split, and in none, as the manifest keeps them."""
    parts = {"train": TRAIN, "test": TEST, "unassigned": UNASSIGNED}
    if rule.validation:
        parts["validation"] = VALIDATION
    return {name: int((found == side).sum()) for name, side in parts.items()}


def decoded(values: npt.NDArray[np.bytes_]) -> list[str]:
    """A text column as text; its bytes were checked by `check_rows`."""
    return [value.decode() for value in values.tolist()]


def _is_text(values: npt.NDArray[np.bytes_]) -> bool:
    if np.ascontiguousarray(values).tobytes().isascii():
        return True
    try:
        decoded(values)
    except UnicodeDecodeError:
        return False
    return True
