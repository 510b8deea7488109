"""From raw bodies to at most two actors. Two recipes share the selection of bodies and differ in how they
treat time:

`ctrgcn` reproduces the reference clean-up that CTR-GCN, MAMP and nearly every paper since 2020 train on,
quirks included (docs/recipes.md). `amr` selects bodies by the same rules, but keeps every sighting at its
true frame, so that gaps stay gaps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from amr_data.clip import BodyTrack, Clip, FloatArray
from amr_data.compiling import compiled
from amr_data.errors import RejectError

MIN_FRAMES = 12
"""A body seen in fewer frames is noise (the reference drops 11 or fewer)."""
SPREAD_RATIO = 0.8
"""A frame is good where the body is at most this much as wide as it is high."""
MAX_BAD_SHARE = 0.69754
"""A body with this share of frames that are not good is a ghost."""


@dataclass
class _Body:
    track: BodyTrack
    motion: float


def clean_ntu(clip: Clip, recipe: str) -> Clip:
    """Select and join the bodies of an NTU clip. Raises RejectError("no_body_left") where none remains."""
    if recipe == "ctrgcn":
        return _clean_like_reference(clip)
    tracks = [_without_zeros(t) for t in clip.tracks]
    tracks = [t for t in tracks if len(t.frames)]
    if not tracks:
        raise RejectError("no_body_left", "every body is all zeros")
    notes = list(clip.dropped)
    if len(tracks) == 1:
        tracks = [tracks[0].changed(slot=0)]
    else:
        longest = max(tracks, key=lambda t: len(t.frames))
        kept = [t for t in tracks if len(t.frames) >= MIN_FRAMES] or [longest]
        kept_ids = {id(t) for t in kept}
        notes += [_short_note(t) for t in tracks if id(t) not in kept_ids]
        bodies = _drop_ghosts(kept, notes)
        tracks = _join_by_frames(bodies, notes)
    return _renumber(clip, tracks, notes)


def clean_slots(clip: Clip, recipe: str) -> Clip:
    """PKU-MMD and NW-UCLA give bodies in fixed slots and need no selection: `ctrgcn` takes them as they are;
    `amr` moves the second body up where the first is absent throughout, and trims frames without any body
    from both ends."""
    if recipe == "ctrgcn":
        return clip
    order = {slot: i for i, slot in enumerate(sorted({t.slot for t in clip.tracks}))}
    return _renumber(clip, [t.changed(slot=order[t.slot]) for t in clip.tracks], list(clip.dropped))


def spread_is_good(joints: FloatArray) -> npt.NDArray[np.bool_]:
    """joints : (K, V, 3). Frames in which the body is not too wide for its height. Returns (K,) bool."""
    loops = compiled("amr_data.recipes.motion_loops")
    if loops:
        widths = loops.spreads(np.ascontiguousarray(joints))
        return np.asarray(widths[0] <= SPREAD_RATIO * widths[1])
    x, y = np.ascontiguousarray(
        joints[..., :2].transpose(2, 0, 1)
    )  # each (K, V), which numpy reduces several times as fast
    return np.asarray(x.max(axis=1) - x.min(axis=1) <= SPREAD_RATIO * (y.max(axis=1) - y.min(axis=1)))


def body_motion(joints: FloatArray) -> float:
    """joints : (K, V, 3). Sum over the axes of the variance of all joint positions, square metres."""
    if not len(joints):
        return 0.0
    loops = compiled("amr_data.recipes.motion_loops")
    points = np.ascontiguousarray(joints.reshape(-1, 3))
    return float((loops.variances(points) if loops else points.var(axis=0)).sum())


def _drop_ghosts(tracks: list[BodyTrack], notes: list[str]) -> list[_Body]:
    """Drop bodies that are too wide for their height too often, never the last one; the rest in order of
    motion, largest first."""
    bodies = [_Body(t, body_motion(t.joints)) for t in tracks]
    left = len(bodies)
    kept: list[_Body] = []
    for position, body in enumerate(bodies):
        if left == 1:
            kept += bodies[position:]
            break
        good = spread_is_good(body.track.joints)
        bad_share = float((~good).sum()) / len(good)
        if bad_share >= MAX_BAD_SHARE:
            left -= 1
            notes.append(
                f"body {body.track.body_id}: ghost, too wide for its height in {bad_share:.0%} of "
                f"{len(good)} frames"
            )
            continue
        if bad_share > 0:
            body.motion = min(body.motion, body_motion(body.track.joints[good]))
        kept.append(body)
    return sorted(kept, key=lambda b: -b.motion)


def _clean_like_reference(clip: Clip) -> Clip:
    """The reference's steps on its own time axis: only frames with a body count, and a body's k-th sighting
    is placed at (first frame + k)."""
    notes = list(clip.dropped)
    with_body = np.unique(np.concatenate([t.frames for t in clip.tracks]))
    if len(with_body) < clip.frames:
        notes.append(f"{clip.frames - len(with_body)} frames without a body")
    closed = []
    for track in clip.tracks:
        first = int(np.searchsorted(with_body, track.frames[0]))
        closed.append(track.changed(frames=np.arange(first, first + len(track.frames))))
    if len(closed) == 1:
        return clip.changed(frames=len(with_body), tracks=[closed[0].changed(slot=0)], dropped=notes)
    kept = [t for t in closed if len(t.frames) >= MIN_FRAMES]
    notes += [_short_note(t) for t in closed if len(t.frames) < MIN_FRAMES]
    if not kept:
        raise RejectError("no_body_left", f"{len(closed)} bodies, none seen in {MIN_FRAMES} frames or more")
    tracks = _join_by_interval(_drop_ghosts(kept, notes), notes)
    # "no data" is tested as a sum of exactly zero; such frames of a body go back to zero, which is to be
    # absent
    tracks = [t.take(t.joints.reshape(len(t.joints), -1).sum(axis=1) != 0) for t in tracks]
    tracks = [t for t in tracks if len(t.frames)]
    if not tracks:
        raise RejectError("no_body_left", "every body that remains is all zeros")
    used = np.unique(np.concatenate([t.frames for t in tracks]))
    if len(used) < len(with_body):
        notes.append(f"{len(with_body) - len(used)} frames in which no kept body has data")
    tracks = [t.changed(frames=np.searchsorted(used, t.frames)) for t in tracks]
    return clip.changed(frames=len(used), tracks=tracks, dropped=notes)


def _join_by_interval(bodies: list[_Body], notes: list[str]) -> list[BodyTrack]:
    """The reference's assignment by whole intervals (ends inclusive, the second actor's beginning as 0..0); a
    later body overwrites."""
    slots: list[list[BodyTrack]] = [[bodies[0].track], []]
    spans = [[int(bodies[0].track.frames[0]), int(bodies[0].track.frames[-1])], [0, 0]]
    for body in bodies[1:]:
        track = body.track
        first, last = int(track.frames[0]), int(track.frames[-1])
        for slot in (0, 1):
            if min(spans[slot][1], last) - max(spans[slot][0], first) <= 0:
                slots[slot] = [t.take(~np.isin(t.frames, track.frames)) for t in slots[slot]] + [track]
                spans[slot] = [min(spans[slot][0], first), max(spans[slot][1], last)]
                break
        else:
            notes.append(f"body {track.body_id}: a third body in frames {first}-{last}")
    # no track is left empty: a body of 12 frames or more loses at most its first and its last
    return [t.changed(slot=slot) for slot in (0, 1) for t in sorted(slots[slot], key=_first_frame)]


def _join_by_frames(bodies: list[_Body], notes: list[str]) -> list[BodyTrack]:
    """Join a body to the first actor with whom it shares no frame."""
    slots: list[list[BodyTrack]] = [[], []]
    for body in bodies:
        track = body.track
        for slot in slots:
            if not any(_meet(track.frames, t.frames) for t in slot):
                slot.append(track)
                break
        else:
            notes.append(f"body {track.body_id}: a third body in frames {track.frames[0]}-{track.frames[-1]}")
    return [t.changed(slot=slot) for slot in (0, 1) for t in sorted(slots[slot], key=_first_frame)]


def _meet(one: npt.NDArray[np.int64], other: npt.NDArray[np.int64]) -> bool:
    """Whether two tracks share a frame."""
    if one[-1] < other[0] or other[-1] < one[0]:
        return False
    taken = np.zeros(max(one[-1], other[-1]) + 1, np.bool_)
    taken[one] = True
    return bool(taken[other].any())


def _renumber(clip: Clip, tracks: list[BodyTrack], notes: list[str]) -> Clip:
    """Trim frames without any body from both ends of the clip; gaps inside stay."""
    first = min(int(t.frames[0]) for t in tracks)
    last = max(int(t.frames[-1]) for t in tracks)
    frames = last - first + 1
    if frames < clip.frames:
        notes.append(f"{clip.frames - frames} frames without a body at the ends")
    shifted = [t.changed(frames=t.frames - first) for t in tracks]
    return clip.changed(start=clip.start + first, frames=frames, tracks=shifted, dropped=notes)


def _first_frame(track: BodyTrack) -> int:
    return int(track.frames[0])


def _short_note(track: BodyTrack) -> str:
    return f"body {track.body_id}: seen in {len(track.frames)} frames, fewer than {MIN_FRAMES}"


def _without_zeros(track: BodyTrack) -> BodyTrack:
    if track.joints[:, 0, 2].all():  # the usual case: one number per frame tells that there is data
        return track
    there = np.asarray(track.joints.reshape(len(track.joints), -1).any(axis=1))
    return track.take(there)
