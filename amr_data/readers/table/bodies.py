"""From a file's values to bodies in metres: scaled, turned, joints in the skeleton's order, what is absent
filled in and marked."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from amr_data.clip import BodyTrack
from amr_data.errors import RejectError
from amr_data.readers.table.resolved import Resolved
from amr_data.readers.table.takes import Sighting
from amr_data.readers.text import check_positions
from amr_data.specs import Skeleton

Mask = npt.NDArray[np.bool_]


def tracks(
    bodies: Sequence[Sighting], resolved: Resolved, start: int, end: int
) -> tuple[list[BodyTrack], list[str]]:
    """The tracks of a recording between two of its frame numbers, `end` excluded, and notes about them.

    A frame in which a body has no joint is a gap. A joint that is absent in other frames is taken from the
    frames around it, along a line, and marked as inferred; one that no frame has stands where the nearest
    joint along the bones stands. Raises RejectError for numbers that are no positions.
    """
    out: list[BodyTrack] = []
    notes: list[str] = []
    for slot, body in enumerate(bodies):
        low, high = np.searchsorted(body.frames, [start, end])
        track, absent = _track(body.values[low:high], body.frames[low:high], resolved)
        if track is None:
            continue
        if absent:
            notes.append(
                f"body {body.name}: {absent:.1%} of its joints absent, filled in and marked as inferred"
            )
        track.frames, track.body_id, track.slot = track.frames - start, body.name, slot
        out.append(track)
    if resolved.layout.body is not None:  # of many people in a recording, those of this clip are its bodies
        for slot, track in enumerate(out):
            track.slot = slot
    return out, notes


def _track(
    values: npt.NDArray[np.float64], frames: npt.NDArray[np.int64], resolved: Resolved
) -> tuple[BodyTrack | None, float]:
    """values : (K, V, C) as in the file. Returns the track, if the body is there at all, and the share of its
    joints that was absent."""
    raw = values[..., list(resolved.coordinates)]  # (K, V, D)
    absent, inferred = _absent(values, raw, frames, resolved), _inferred(values, resolved)
    raw = np.where(absent[..., None], 0.0, raw)
    if np.isinf(raw).any():
        row, joint, _ = (int(i) for i in np.argwhere(np.isinf(raw))[0])
        raise RejectError("non_finite", f"frame {frames[row]}, joint '{resolved.joints[joint]}' is infinite")
    positions = (raw * resolved.scale + resolved.offset) @ resolved.turn.T  # (K, V, 3)
    joints, gone, guessed = _skeleton_joints(positions, absent, inferred, resolved)
    there = (~gone).sum(axis=1) >= min(resolved.layout.min_joints, gone.shape[1])
    if not there.any():
        return None, 0.0
    joints, gone, guessed, frames = joints[there], gone[there], guessed[there], frames[there]
    joints = np.where(gone[..., None], 0.0, joints)
    if not resolved.unbounded:
        check_positions(joints, frames)
    if gone.any():
        joints = filled(joints, gone, frames, resolved.skeleton)
    marked = guessed | gone
    says = bool(resolved.layout.inferred_below) or bool(gone.any())
    return BodyTrack(frames, joints, inferred=marked if says else None), float(gone.mean())


def _absent(
    values: npt.NDArray[np.float64],
    raw: npt.NDArray[np.float64],
    frames: npt.NDArray[np.int64],
    resolved: Resolved,
) -> Mask:
    """(K, V) joints that the file says are not there. A body of zeros or without any number is absent as a
    whole, whatever the layout says."""
    known = resolved.layout.absent
    nan: Mask = np.asarray(np.isnan(raw).any(axis=-1))
    used = sorted({i for part in resolved.take for i in part})
    some: Mask = np.asarray(np.nan_to_num(raw[:, used]).any(axis=(1, 2)))
    whole = ~some | nan[:, used].all(axis=1)
    absent = np.broadcast_to(whole[:, None], nan.shape).copy()
    if "zeros" in known:
        absent |= ~raw.any(axis=-1)
    if "negative" in known:
        absent |= (raw < 0).all(axis=-1)
    for value, limit, gone in resolved.marks:
        if gone:
            absent |= ~(values[..., value] >= limit)
    if "nan" in known:
        absent |= nan
    elif (nan & ~absent)[:, used].any():
        row, at = (int(i) for i in np.argwhere((nan & ~absent)[:, used])[0])
        raise RejectError(
            "non_finite",
            f"frame {frames[row]}, joint '{resolved.joints[used[at]]}'; "
            f"if that means an absent joint, say absent: [nan]",
        )
    return absent


def _inferred(values: npt.NDArray[np.float64], resolved: Resolved) -> Mask:
    """(K, V) joints that the file gives with little confidence."""
    inferred: Mask = np.zeros(values.shape[:2], bool)
    for value, limit, gone in resolved.marks:
        if not gone:
            inferred |= ~(values[..., value] >= limit)
    return inferred


def _skeleton_joints(
    positions: npt.NDArray[np.float64], absent: Mask, inferred: Mask, resolved: Resolved
) -> tuple[npt.NDArray[np.float64], Mask, Mask]:
    """The skeleton's joints in its order: positions (K, V, 3), absent and inferred (K, V). A derived joint is
    the mean of others, and absent where one of them is."""
    shape = (len(positions), len(resolved.take))
    joints = np.empty((*shape, 3))
    gone: Mask = np.empty(shape, bool)
    guessed: Mask = np.empty(shape, bool)
    for i, parts in enumerate(resolved.take):
        chosen = list(parts)
        joints[:, i] = positions[:, chosen].mean(axis=1) if len(chosen) > 1 else positions[:, chosen[0]]
        gone[:, i], guessed[:, i] = absent[:, chosen].any(axis=1), inferred[:, chosen].any(axis=1)
    return joints, gone, guessed


def filled(
    joints: npt.NDArray[np.float64], gone: Mask, frames: npt.NDArray[np.int64], skeleton: Skeleton
) -> npt.NDArray[np.float64]:
    """joints : (K, V, 3). Absent joints from the frames before and after, held at the ends; those that are
    never there at the nearest joint along the bones that is."""
    out = joints.copy()
    never = gone.all(axis=0)
    for joint in np.flatnonzero(gone.any(axis=0) & ~never):
        seen = ~gone[:, joint]
        for axis in range(3):
            out[:, joint, axis] = np.interp(frames, frames[seen], joints[seen, joint, axis])
    steps = bone_steps(tuple(map(tuple, skeleton.bone_indices.tolist())))
    for joint in np.flatnonzero(never):
        near = min(np.flatnonzero(~never), key=lambda other: (steps[joint][other], other))
        out[:, joint] = out[:, near]
    return out


@lru_cache(maxsize=16)
def bone_steps(bones: tuple[tuple[int, int], ...]) -> list[list[int]]:
    """How many bones lie between two joints."""
    count = len(bones) + 1
    beside: list[list[int]] = [[] for _ in range(count)]
    for a, b in bones:
        beside[a].append(b)
        beside[b].append(a)
    steps = []
    for start in range(count):
        far = [-1] * count
        far[start], queue = 0, [start]
        for joint in queue:
            for other in beside[joint]:
                if far[other] < 0:
                    far[other] = far[joint] + 1
                    queue.append(other)
        steps.append(far)
    return steps
