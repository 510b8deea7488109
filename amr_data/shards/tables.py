"""The tables of a shard: what each row may hold, and what follows from them. Everything that reads by a row's
numbers relies on `check_rows`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from amr_data.shards.kept import KeptTables, check_kept, check_order, check_stretches, check_times
from amr_data.shards.layout import MAX_CLIP_FRAMES
from amr_data.specs import NAMED, NO_LABEL, TEST, TRAIN, UNASSIGNED, VALIDATION, Protocol

Problem = tuple[str, str]
STRUCTURE, RANGE = "structure", "range"


def check_rows(
    clips: npt.NDArray[np.void],
    tracks: npt.NDArray[np.void],
    rows: int,
    classes: int,
    bodies: int,
    kept: KeptTables | None = None,
) -> Problem | None:
    """What is wrong with the rows of one shard: a kind and what was found, or None.

    rows : frames of all tracks in the shard.  classes : of the dataset.  bodies : slots that a clip may have.
    kept : the tables of recordings that the clips are views into, where the shard has them.
    """
    tables = [(clips, ("name", "video")), (tracks, ("body_id",))]
    if kept:
        tables += [(kept.recordings, ("name",)), (kept.stretches, ("body_id",))]
    for table, fields in tables:
        for field in fields:
            if not _is_text(table[field]):
                return STRUCTURE, f"a {field} is not UTF-8"
    lengths = clips["frames"].astype(np.int64)
    if kept is None:
        problem = check_stretches(tracks, lengths, rows, bodies)
        return problem or _check_clips(clips, tracks, classes)
    problem = check_times(tracks, lengths, bodies) or check_order(tracks)
    problem = problem or _check_clips(clips, tracks, classes)
    return problem or check_kept(clips, tracks, kept, rows, classes)


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


def joined(tables: list[npt.NDArray[np.void]]) -> npt.NDArray[np.void]:
    """Tables end to end, whose text fields may differ in length."""
    names = tables[0].dtype.names or ()
    # spelt with their shapes, which a field of several numbers has
    fields = [(n, max((t.dtype[n] for t in tables), key=lambda d: d.itemsize)) for n in names]
    return np.concatenate([t.astype(np.dtype(fields)) for t in tables])


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
