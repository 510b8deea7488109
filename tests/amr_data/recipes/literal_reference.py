"""The reference clean-up of the literature, written a second time: slow, literal, frame by frame, sharing
nothing with amr_data.

It follows the description in docs/recipes.md and works on dense arrays with zero padding, as the reference
does.
"""

from __future__ import annotations

import numpy as np


class NothingLeft(Exception):
    pass


def variance_sum(joints: list[np.ndarray]) -> float:
    points = [p for frame in joints for p in frame]
    total = 0.0
    for axis in range(3):
        values = [p[axis] for p in points]
        mean = sum(values) / len(values)
        total += sum((v - mean) ** 2 for v in values) / len(values)
    return total


def is_good(frame: np.ndarray) -> bool:
    xs, ys = [p[0] for p in frame], [p[1] for p in frame]
    return max(xs) - min(xs) <= 0.8 * (max(ys) - min(ys))


def clean(frames: list[list[tuple[str, np.ndarray]]]) -> np.ndarray:
    """frames : for each frame its (body id, (V, 3)). Returns (T, M, V, 3), M = 1 for a file with one body id,
    else 2."""
    with_body = [f for f in frames if f]
    if not with_body:
        raise NothingLeft
    joints_of: dict[str, list[np.ndarray]] = {}
    first_of: dict[str, int] = {}
    for number, frame in enumerate(with_body):
        for body, joints in frame:
            joints_of.setdefault(body, []).append(joints)
            first_of.setdefault(body, number)
    shape = next(iter(joints_of.values()))[0].shape

    if len(joints_of) == 1:
        (sightings,) = joints_of.values()
        video = np.zeros((len(sightings), 1, *shape))
        for t, joints in enumerate(sightings):
            video[t, 0] = joints
        return move(video)

    motion_of = {b: variance_sum(j) for b, j in joints_of.items()}
    for body in list(joints_of):
        if len(joints_of[body]) <= 11:
            del joints_of[body]
    if not joints_of:
        raise NothingLeft
    for body in list(joints_of):
        if len(joints_of) == 1:
            break
        good = [j for j in joints_of[body] if is_good(j)]
        bad = len(joints_of[body]) - len(good)
        if bad == 0:
            continue
        if bad / len(joints_of[body]) >= 0.69754:
            del joints_of[body]
        else:
            motion_of[body] = min(motion_of[body], variance_sum(good))
    order = sorted(joints_of, key=lambda b: motion_of[b], reverse=True)

    video = np.zeros((len(with_body), 2, *shape))
    spans: list[list[int]] = [[0, 0], [0, 0]]
    for place, body in enumerate(order):
        start = first_of[body]
        end = start + len(joints_of[body]) - 1
        if place == 0:
            actor = 0
            spans[0] = [start, end]
        elif min(spans[0][1], end) - max(spans[0][0], start) <= 0:
            actor = 0
        elif min(spans[1][1], end) - max(spans[1][0], start) <= 0:
            actor = 1
        else:
            continue
        for k, joints in enumerate(joints_of[body]):
            video[start + k, actor] = joints
        spans[actor] = [min(spans[actor][0], start), max(spans[actor][1], end)]
    kept = [t for t in range(len(video)) if video[t, 0].sum() != 0 or video[t, 1].sum() != 0]
    if not kept:
        raise NothingLeft
    return move(video[kept])


def move(video: np.ndarray) -> np.ndarray:
    """Joint 2 of actor 1's first frame with data to the origin; with two actors, missing frames back to
    zero."""
    missing = [[video[t, m].sum() == 0 for m in range(video.shape[1])] for t in range(len(video))]
    first = next((t for t in range(len(video)) if (video[t, 0] != 0).any()), None)
    if first is None:
        raise NothingLeft
    origin = video[first, 0, 1].copy()
    out = video - origin
    if video.shape[1] == 2:
        for t in range(len(video)):
            for m in range(2):
                if missing[t][m]:
                    out[t, m] = 0
    return out


def cut_pku(video: np.ndarray, start: int, end: int, frame_base: int) -> np.ndarray | None:
    """video : (frames, 2, V, 3). The clip as it is, or None where its coordinates sum to exactly 0."""
    clip = video[start - frame_base : end]
    return None if clip.sum() == 0 else clip
