"""What of a clip the encoder is shown: a view-independent form of the shard's coordinates, made where a split
is loaded, so that a dataset converted once serves every choice.

All of it but `every` and motion commutes with cropping and linear resampling, which come later. A body frame
or a centre of every frame does not quite: what is resampled are positions in frames that turn in between.
Motion is that of the recorded frames, before crops and resampling: a crop's last frame has the motion to the
frame behind it, and a velocity is the same however long the crop is that it is seen in.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from amr_data import ShardDataset, SplitArrays, UsageError
from amr_data.looking.faults import BODY_SPEED, unit_metres
from amr_data.recipes.normalize import MIN_SPINE
from amr_train.config import InputConfig
from amr_train.data.landmarks import anatomy_of, landmarks_of

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
B8 = npt.NDArray[np.bool_]

BRIDGED_SECONDS = 0.25
"""Of a stretch between two jumps that is replaced; of a longer one nobody can say that it is the wrong
one."""
BLOCK = 2048
"""Clips that are worked on at once."""


def check_input(config: InputConfig, dataset: ShardDataset) -> None:
    """Refuse what cannot be made of a dataset. Raises: UsageError."""
    if dataset.spec.dimensions != 2:
        return
    for key in ("frame", "jumps"):
        if key in config.changes:
            raise UsageError(
                f"{dataset.path} is two-dimensional: it has neither a body frame nor metres for "
                f"input.{key}={config.changes[key]}; set input.{key}={InputConfig.model_fields[key].default}"
            )


def energies_fit(config: InputConfig) -> bool:
    """Whether the shard's energies are still those of the joints: a turn or a shift of the whole clip leaves
    them, a unit scales them, anything else makes other motion of it."""
    still = config.frame != "every" and config.centre in ("recorded", "first") and config.jumps == "keep"
    return still and config.stream == "joint"


def apply_input(arrays: SplitArrays, dataset: ShardDataset, config: InputConfig) -> None:
    """Change a split's joints, and its energies where they are read, in place.

    In this order: jumps bridged, centred, in units of the spine, turned, bones, paths, motion. The main actor
    is a clip's first body. Where it has no data in a frame, its last centre and body frame hold, before the
    first the first; a clip in which none is found is left as it is in that respect. Frames of zeros stay
    zeros.
    """
    if config == InputConfig():
        return
    metres = unit_metres(dataset)
    skeleton = dataset.spec.skeleton
    place = landmarks_of(config, anatomy_of(skeleton, own=True), skeleton.joints)
    for block in _blocks(arrays):
        joints = block.joints.astype(np.float64)
        if config.jumps == "bridge":
            joints, _ = bridged(joints, block, dataset.spec.frame_rate, metres)
        there: B8 = np.asarray(joints.any(axis=(1, 2)))
        scale, where = _placed(joints, there, block, place, config)
        if config.stream == "bone":
            joints[:, place["below"]] -= joints[:, place["above"]]
        if config.centre == "path":
            joints[there, place["shown"][0]] += where[there]
        if config.stream == "motion":
            joints = motion_of(joints, block, there, dataset.spec.frame_rate)
        block.joints[...] = joints
        if block.energy.size:
            block.energy[...] = block.energy / (scale**2)[:, None, None]


def motion_of(joints: F64, arrays: SplitArrays, there: B8, rate: float) -> F64:
    """Velocities (F, V, 3) in lengths a second: the step to a body's next frame times the frames a second.

    0 in the clip's last frame, and in the frames beside one in which the body is absent, on both sides: what
    stands in for an absent frame is the nearest one, which must not move then. there : (F,) whether a row
    holds data.
    """
    begins = np.zeros(len(joints), bool)
    begins[arrays.first_row[arrays.rows > 0]] = True
    joined = np.zeros(len(joints), bool)  # to the row behind
    joined[:-1] = (np.diff(arrays.frame) == 1) & ~begins[1:] & there[:-1] & there[1:]
    before = arrays.frame == 0
    before[1:] |= joined[:-1]
    moves = np.flatnonzero(joined & before)
    out = np.zeros_like(joints)
    out[moves] = (joints[moves + 1] - joints[moves]) * rate
    return out


def bridged(joints: F64, arrays: SplitArrays, rate: float, metres: float) -> tuple[F64, B8]:
    """Joints (F, V, 3) of a split without tracking jumps of the whole body, and the rows that were replaced
    (F,).

    A jump is a step in which the median joint is faster than `BODY_SPEED`, as `amr-data inspect` counts them.
    A stretch of at most `BRIDGED_SECONDS` between two jumps becomes the line between its neighbours; at the
    beginning or the end of a body, behind one jump, its only neighbour. rate : frames a second.  metres : of
    one unit.
    """
    rows = len(joints)
    begins = np.zeros(rows, bool)  # of a body
    begins[arrays.first_row[arrays.rows > 0]] = True
    jumps = jumps_of(joints, arrays, rate, metres)
    starts = np.flatnonzero(begins | jumps)  # of the stretches
    if len(starts) == np.count_nonzero(begins):
        return joints, np.zeros(rows, bool)
    lasts = np.append(starts[1:], rows) - 1
    most = BRIDGED_SECONDS * rate + 1e-9
    short = arrays.frame[lasts] - arrays.frame[starts] + 1 <= most
    # short ones that follow each other in a body are one run
    opens = begins[starts] | ~short
    opens[1:] |= ~short[:-1]
    run = np.flatnonzero(opens)
    first, last = starts[run], lasts[np.append(run[1:], len(starts)) - 1]
    span = arrays.frame[last] - arrays.frame[first] + 1
    at_begin = begins[first]
    at_end = np.append(begins, True)[last + 1]
    wrong = short[run] & (span <= most) & ~(at_begin & at_end)
    length = (last - first + 1)[wrong]
    replaced = np.repeat(first[wrong] - (np.cumsum(length) - length), length) + np.arange(int(length.sum()))
    before = np.repeat(np.where(at_begin, last + 1, first - 1)[wrong], length)
    after = np.repeat(np.where(at_end, first - 1, last + 1)[wrong], length)
    low, high = arrays.frame[before], arrays.frame[after]
    share = np.where(high > low, (arrays.frame[replaced] - low) / np.maximum(high - low, 1), 0.0)
    out = joints.copy()
    out[replaced] = joints[before] + share[:, None, None] * (joints[after] - joints[before])
    found = np.zeros(rows, bool)
    found[replaced] = True
    return out, found


def jumps_of(joints: F64, arrays: SplitArrays, rate: float, metres: float) -> B8:
    """(F,) whether the whole body has jumped since the frame before."""
    step = np.zeros(len(joints))
    step[1:] = np.median(np.linalg.norm(np.diff(joints, axis=0), axis=-1), axis=1) * metres * rate
    joined = np.zeros(len(joints), bool)
    joined[1:] = np.diff(arrays.frame) == 1
    joined[arrays.first_row[arrays.rows > 0]] = False
    return joined & (step > BODY_SPEED)


def count_bridged(dataset: ShardDataset, clips: I64) -> dict[str, int]:
    """What `jumps: bridge` does to these clips: `clips` and `frames` (of bodies) with something replaced, and
    `left`, clips with a jump that stays."""
    arrays = dataset.arrays(clips, energy=False)
    metres = unit_metres(dataset)
    rate, counts = dataset.spec.frame_rate, {"clips": 0, "frames": 0, "left": 0}
    for block in _blocks(arrays):
        joints, found = bridged(block.joints.astype(np.float64), block, rate, metres)
        clip = np.repeat(block.clip, block.rows)
        counts["clips"] += len(np.unique(clip[found]))
        counts["frames"] += int(found.sum())
        counts["left"] += len(np.unique(clip[jumps_of(joints, block, rate, metres)]))
    return counts


def _placed(
    joints: F64, there: B8, arrays: SplitArrays, place: dict[str, list[int]], config: InputConfig
) -> tuple[F64, F64]:
    """Centre, scale and turn (F, V, 3) in place. Returns the unit of each row (F,), and where the bodies that
    are placed by themselves are (F, 3): their centre, with `centre: path`; else 0. Places are seen from where
    the main actor's centre was in its first frame, in its axes and its unit. there : (F,)."""
    own = _Main(arrays, there, config.bodies == "each")
    scale, turn = _measures(joints, own, place, config)
    where = np.zeros((len(joints), 3))
    if config.centre != "recorded":
        centres = joints[:, place["centre"]].mean(axis=1)
        origin = own.of(centres[own.rows], own.there, "first" if config.centre == "first" else "every", 0.0)
        if config.centre == "path":
            main, unit, axes = own, scale, turn
            if config.bodies == "each":
                main = _Main(arrays, there, False)
                unit, axes = _measures(joints, main, place, config)
            start = main.of(centres[main.rows], main.there, "first", 0.0)
            where[own.rows] = (origin - start)[own.rows]
            where = np.einsum("fc,fdc->fd", where, axes) / unit[:, None]
        joints[there] -= origin[there][:, None]
    if config.lengths == "spine":
        joints /= scale[:, None, None]
    if config.frame != "recorded":
        joints[:] = np.einsum("fvc,fdc->fvd", joints, turn)
    return scale, where


def _measures(joints: F64, main: _Main, place: dict[str, list[int]], config: InputConfig) -> tuple[F64, F64]:
    """Of every row the unit (F,) and the turn (F, 3, 3) that its main actor gives it."""
    scale, turn = np.ones(len(joints)), np.broadcast_to(np.eye(3), (len(joints), 3, 3))
    actor = joints[main.rows]
    if config.lengths == "spine" or config.frame != "recorded":
        spine = actor[:, place["high"]].mean(axis=1) - actor[:, place["low"]].mean(axis=1)
    if config.lengths == "spine":
        scale = main.mean(np.linalg.norm(spine, axis=1), MIN_SPINE)
    if config.frame != "recorded":
        right, left = place["right"][0], place["left"][0]
        turns, found = body_frames(spine, actor[:, left] - actor[:, right])
        turn = main.of(turns, found, config.frame, np.eye(3))
    return scale, turn


def body_frames(spine: F64, across: F64) -> tuple[F64, B8]:
    """Rotations (K, 3, 3) that take spines (K, 3) to z and shoulders, right to left (K, 3), into the x-z
    plane, and where there is such a one (K,)."""
    length = np.linalg.norm(spine, axis=1, keepdims=True)
    z = spine / np.maximum(length, MIN_SPINE)
    x = across - (across * z).sum(axis=1, keepdims=True) * z
    width = np.linalg.norm(x, axis=1, keepdims=True)
    x = x / np.maximum(width, MIN_SPINE)
    return np.stack([x, np.cross(z, x), z], axis=1), ((length > MIN_SPINE) & (width > MIN_SPINE))[:, 0]


class _Main:
    """The main actors of a split's clips, or with `each` every body as its own. `rows` (K,): their rows, one
    clip after another.  `there` (K,): whether they hold data."""

    def __init__(self, arrays: SplitArrays, there: B8, each: bool) -> None:
        sequence = np.repeat(np.arange(len(arrays.clip)), arrays.rows)
        whose = np.arange(len(arrays.clip)) if each else arrays.clip
        first = np.ones(len(whose), bool)
        first[1:] = np.diff(whose) != 0
        self.rows = np.flatnonzero(first[sequence])
        self.there = there[self.rows]
        clip = whose[sequence]  # of every row
        span = int(arrays.frame.max(initial=0)) + 1
        key = clip * span + arrays.frame
        mine = clip[self.rows]
        self.begin = np.searchsorted(mine, clip)  # the first of `rows` in the same clip
        self.end = np.searchsorted(mine, clip, "right")
        # the last of `rows` up to the same time
        self.at = np.maximum(np.searchsorted(key[self.rows], key, "right") - 1, self.begin)

    def of(self, values: F64, found: B8, when: str, otherwise: F64 | float) -> F64:
        """For every row of the split the value (K, ...) of its main actor, `first` or `every`: where it was
        last found, before that the first found; `otherwise` where none is found, or for `recorded`."""
        shape = (len(self.at), *values.shape[1:])
        out = np.broadcast_to(np.asarray(otherwise, np.float64), shape).copy()
        if when == "recorded" or not len(self.rows):
            return out
        places = np.flatnonzero(found)
        after = np.searchsorted(places, self.begin)  # the clip's first found one
        has = after < np.searchsorted(places, self.end)
        chosen = after
        if when == "every":
            chosen = np.maximum(np.searchsorted(places, self.at, "right") - 1, after)
        out[has] = values[places[chosen[has]]]
        return out

    def mean(self, values: F64, least: float) -> F64:
        """For every row the mean of its main actor's values (K,) above `least`; 1 where there is none."""
        counted = values > least
        total, count = (np.append(0, np.cumsum(v)) for v in (np.where(counted, values, 0), counted))
        number = count[self.end] - count[self.begin]
        mean = (total[self.end] - total[self.begin]) / np.maximum(number, 1)
        return np.where(number > 0, mean, 1.0)


def _blocks(arrays: SplitArrays) -> Iterator[SplitArrays]:
    """Some clips at a time, whose joints and energies are views of the whole."""
    ends = np.append(arrays.first_row, arrays.rows.sum())
    for start in range(0, len(arrays.names), BLOCK):
        low, high = np.searchsorted(arrays.clip, [start, start + BLOCK])
        if low == high:
            continue
        rows = slice(int(ends[low]), int(ends[high]))
        yield replace(
            arrays,
            joints=arrays.joints[rows],
            energy=arrays.energy[rows],
            frame=arrays.frame[rows],
            first_row=arrays.first_row[low:high] - ends[low],
            rows=arrays.rows[low:high],
            clip=arrays.clip[low:high],
        )
