"""Clips that look wrong: bodies that jump, bones that stretch, frozen tracks, exchanged bodies, turned axes,
flicker; ranked, with reasons.

Everything is computed over flat arrays, many clips at a time. The limits are of human motion and of Kinect's
known noise, in metres and seconds: a dataset in spine lengths is judged as if every spine had half a metre,
and of one in two dimensions only that is looked for which needs no metres. A fault is a reason to look
(`amr-data inspect DIR --clip NAME`), not a verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from amr_data.errors import Record, UsageError
from amr_data.shards.reader import ShardDataset
from amr_data.specs import Skeleton, unknown

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
B8 = npt.NDArray[np.bool_]

BODY_SPEED = 10.0
"""Metres a second of the median joint; the fastest sprint is 12, and nobody sprints in these rooms."""
JOINT_SPEED = 25.0
"""Metres a second of a single joint; fast kicks and punches stay below 20."""
BONE_SPREAD = 0.3
"""Standard deviation over mean of the length of a bone of at least `LONG_BONE`, within a body; Kinect's own
noise gives up to 0.2."""
LONG_BONE = 0.15
SPINE = 0.5
"""Metres of an adult's spine, for datasets in spine lengths."""
FROZEN_SECONDS = 0.25
"""A sensor's numbers never repeat: so long without any change in any joint is a stopped track."""
FROZEN_STEP = 1e-6
SWAP_GAIN = 0.5
"""Metres that two bodies would move less in one frame if their tracks were exchanged, and at least half of
what they do move."""
UPSIDE_SHARE = 0.5
MIRRORED = -0.3
"""Mean cosine between where the feet point and where shoulders and spine say that the body faces; about +0.8
in sound data."""
FLICKER_SHARE = 0.3
FLICKER_STRETCHES = 4
AT_ONCE = 1 << 14
"""Rows of bodies that are looked at together: 10 MB of 25 joints."""

KINDS = {
    "swapped bodies": "two bodies exchange their places from one frame to the next",
    "body jump": "the whole body moves faster than a person can",
    "joint jump": "one joint moves faster than a limb can",
    "bone length": "a long bone changes its length",
    "frozen": "no joint moves at all",
    "upside down": "the head is below the hips",
    "mirrored": "the feet point backwards: an axis has the wrong sign, or left and right are exchanged",
    "side flip": "left and right are exchanged from one frame to the next",
    "flicker": "the body is missing again and again",
}


IN_METRES = frozenset(KINDS) - {"upside down", "flicker"}
"""Faults whose limits are metres, or directions in space: points of an image cannot show them."""


@dataclass
class _Rows:
    """A shard's frames, one row each, in the order of tracks. `joined` (R,) tells that the row before is the
    frame before in the same track."""

    joints: F64  # (R, V, 3)
    clip: I64
    slot: I64
    frame: I64
    joined: B8
    skeleton: Skeleton
    rate: float
    up: int


def find_faults(
    dataset: ShardDataset,
    kinds: Sequence[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
    clips: Sequence[int] | None = None,
) -> list[Record]:
    """Doubtful clips of a dataset, the worst first; a clip has at most one fault of each kind, its worst.

    Args:
        kinds: which of `KINDS` to look for; by default all that the dataset can show (`kinds_for`).
        progress: called with (shards done, shards in all).
        clips: indices of those that are looked at; all where it is None.
    Returns: records whose `where` is the clip and whose `values` are what was measured
        (`amr_data.looking.words.fault_in_words` says it); lengths in metres also of a dataset in spine
        lengths.
    Raises: UsageError for an unknown kind, or for one that needs metres where there are none.
    """
    known = kinds_for(dataset)
    for kind in kinds or ():
        if kind not in KINDS:
            raise UsageError(unknown("fault", kind, KINDS))
        if kind not in known:
            raise UsageError(f"'{kind}' is not to be seen in two dimensions, as {dataset.path} has them")
    wanted = set(known if kinds is None else kinds)
    found: list[Record] = []
    chosen = np.arange(len(dataset)) if clips is None else np.unique(np.asarray(clips, np.int64))
    shards = np.unique(dataset.shard_of[chosen]).tolist()
    count = len(shards)
    for done, shard in enumerate(shards, 1):
        for rows in _pieces(dataset, chosen[dataset.shard_of[chosen] == shard]):
            for clip, kind, severity, frame, values in _all(rows):
                if kind in wanted:
                    place = None if frame is None else int(frame)
                    times = round(float(severity), 2)
                    found.append(Record(dataset.names[clip], kind, KINDS[kind], times, place, values))
        if progress:
            progress(done, count)
    return sorted(found, key=lambda f: (-(f.severity or 0), f.where, f.kind))


def kinds_for(dataset: ShardDataset) -> tuple[str, ...]:
    """The faults that a dataset can show: all, or in two dimensions those that need no metres."""
    return tuple(kind for kind in KINDS if not (dataset.spec.dimensions == 2 and kind in IN_METRES))


Measured = dict[str, float | str]
Found = Iterator[tuple[int, str, float, int | None, Measured]]


def _all(rows: _Rows) -> Found:
    step = np.zeros(rows.joints.shape[:2])  # (R, V) metres from the frame before, 0 where there is none
    step[1:] = np.linalg.norm(np.diff(rows.joints, axis=0), axis=-1)
    step[~rows.joined] = 0
    swapped = list(_swaps(rows))
    yield from swapped
    exchanged = {clip for clip, *_ in swapped}  # their jumps are the exchange
    yield from (f for f in _jumps(rows, step) if f[0] not in exchanged)
    yield from _bones(rows)
    yield from _frozen(rows, step)
    yield from _axes(rows)
    yield from _flicker(rows)


def _worst(rows: I64, clip: I64, value: F64) -> Iterator[int]:
    """Of some rows, for each clip the one with the largest value."""
    order = rows[np.lexsort((-value[rows], clip[rows]))]
    yield from order[np.unique(clip[order], return_index=True)[1]].tolist()


def _jumps(rows: _Rows, step: F64) -> Found:
    body, joint = np.median(step, axis=1) * rows.rate, step.max(axis=1) * rows.rate
    jumped = body > BODY_SPEED
    for r in _worst(np.flatnonzero(jumped), rows.clip, body):
        yield (
            rows.clip[r],
            "body jump",
            body[r] / BODY_SPEED,
            rows.frame[r],
            {"body": int(rows.slot[r]) + 1, "speed_m_per_second": float(body[r])},
        )
    for r in _worst(np.flatnonzero(~jumped & (joint > JOINT_SPEED)), rows.clip, joint):
        name = rows.skeleton.joints[int(step[r].argmax())]
        yield (
            rows.clip[r],
            "joint jump",
            joint[r] / JOINT_SPEED,
            rows.frame[r],
            {"joint": name, "speed_m_per_second": float(joint[r])},
        )


def _bones(rows: _Rows) -> Found:
    bones = rows.skeleton.bone_indices
    length = np.linalg.norm(rows.joints[:, bones[:, 0]] - rows.joints[:, bones[:, 1]], axis=-1)
    start, count = _bodies(rows)
    mean = np.add.reduceat(length, start) / count[:, None]
    spread = np.sqrt(np.maximum(np.add.reduceat(length**2, start) / count[:, None] - mean**2, 0))
    ratio = np.where((mean >= LONG_BONE) & (count[:, None] > 1), spread / np.maximum(mean, LONG_BONE), 0)
    worst = ratio.max(axis=1)
    for b in _worst(np.flatnonzero(worst > BONE_SPREAD), rows.clip[start], worst):
        bone = int(ratio[b].argmax())
        joint, parent = rows.skeleton.bones[bone]
        values: Measured = {"joint": joint, "parent": parent, "spread_share": float(worst[b])}
        values["mean_cm"] = float(mean[b, bone]) * 100
        yield rows.clip[start[b]], "bone length", worst[b] / BONE_SPREAD, None, values


def _frozen(rows: _Rows, step: F64) -> Found:
    still = rows.joined & (step.max(axis=1) < FROZEN_STEP)
    edge = np.diff(np.concatenate([[False], still, [False]]).astype(np.int8))
    first, length = np.flatnonzero(edge == 1), np.flatnonzero(edge == -1) - np.flatnonzero(edge == 1)
    # two runs can only touch at a track's border, where `joined` is False
    seconds = np.zeros(len(still))
    seconds[first] = length / rows.rate
    for r in _worst(first[seconds[first] >= FROZEN_SECONDS], rows.clip, seconds):
        frames = round(seconds[r] * rows.rate)
        values: Measured = {"body": int(rows.slot[r]) + 1, "still_frames": frames}
        yield rows.clip[r], "frozen", seconds[r] / FROZEN_SECONDS, rows.frame[r] - 1, values


def _swaps(rows: _Rows) -> Found:
    """Pairs of bodies in consecutive frames, found by merging the sorted (clip, frame) keys of the first two
    slots."""
    span = int(rows.frame.max()) + 2
    key = rows.clip * span + rows.frame
    first, second = np.flatnonzero(rows.slot == 0), np.flatnonzero(rows.slot == 1)
    common, a, b = np.intersect1d(key[first], key[second], return_indices=True)
    one, two = rows.joints[first[a]], rows.joints[second[b]]
    next_to = np.flatnonzero(np.diff(common) == 1)

    def moved(x: F64, y: F64) -> F64:
        return np.asarray(np.median(np.linalg.norm(y[next_to + 1] - x[next_to], axis=-1), axis=1))

    straight, crossed = moved(one, one) + moved(two, two), moved(one, two) + moved(two, one)
    gain = straight - crossed
    row = first[a][next_to + 1]
    value = np.zeros(len(rows.clip))
    value[row] = gain
    for r in _worst(row[(gain > SWAP_GAIN) & (crossed < straight / 2)], rows.clip, value):
        yield (
            rows.clip[r],
            "swapped bodies",
            value[r] / SWAP_GAIN,
            rows.frame[r],
            {"gain_m": float(value[r])},
        )


def _axes(rows: _Rows) -> Found:
    at = {name: rows.joints[:, i] for i, name in enumerate(rows.skeleton.common_names)}
    spine = _unit(
        rows.joints[:, rows.skeleton.index(rows.skeleton.spine[1])]
        - rows.joints[:, rows.skeleton.index(rows.skeleton.spine[0])]
    )
    right, left = (rows.joints[:, rows.skeleton.index(j)] for j in rows.skeleton.shoulders)
    across = _unit(left - right)
    start, count = _bodies(rows)
    down = np.add.reduceat((spine[:, rows.up] < -0.2).astype(np.float64), start) / count
    for b in _worst(np.flatnonzero(down > UPSIDE_SHARE), rows.clip[start], down):
        values: Measured = {"body": int(rows.slot[start[b]]) + 1, "frames_share": float(down[b])}
        yield rows.clip[start[b]], "upside down", down[b] / UPSIDE_SHARE, None, values
    turn = np.zeros(len(across))
    turn[1:] = -(across[1:] * across[:-1]).sum(axis=1)  # 1 for a reversal
    turn[~rows.joined] = 0
    for r in _worst(np.flatnonzero(turn > 0.5), rows.clip, turn):
        degrees = np.degrees(np.arccos(-min(turn[r], 1.0)))
        values = {"body": int(rows.slot[r]) + 1, "turn_degrees": float(degrees)}
        yield rows.clip[r], "side flip", turn[r] / 0.5, rows.frame[r], values
    needed = [f"{side}_{joint}" for side in ("left", "right") for joint in ("foot", "ankle")]
    if all(name in at for name in needed):
        toes = _unit(at["left_foot"] - at["left_ankle"] + at["right_foot"] - at["right_ankle"])
        ahead = np.add.reduceat((toes * _unit(np.cross(across, spine))).sum(axis=1), start) / count
        for b in _worst(np.flatnonzero(ahead < MIRRORED), rows.clip[start], -ahead):
            values = {"body": int(rows.slot[start[b]]) + 1, "cosine": float(ahead[b])}
            yield rows.clip[start[b]], "mirrored", ahead[b] / MIRRORED, None, values


def _flicker(rows: _Rows) -> Found:
    start, count = _bodies(rows)
    stretches = np.add.reduceat((~rows.joined).astype(np.int64), start)
    last = start + count - 1
    span = rows.frame[last] - rows.frame[start] + 1
    missing = 1 - count / span
    value = np.maximum(missing / FLICKER_SHARE, stretches / FLICKER_STRETCHES)
    doubtful = ((missing > FLICKER_SHARE) & (stretches > 1)) | (stretches >= FLICKER_STRETCHES)
    for b in _worst(np.flatnonzero(doubtful), rows.clip[start], value):
        values: Measured = {"body": int(rows.slot[start[b]]) + 1, "stretches": int(stretches[b])}
        values["missing_share"] = float(missing[b])
        yield rows.clip[start[b]], "flicker", value[b], int(rows.frame[start[b]]), values


def _bodies(rows: _Rows) -> tuple[I64, I64]:
    """First row and number of rows of every body of every clip."""
    change = (np.diff(rows.clip) != 0) | (np.diff(rows.slot) != 0)
    start = np.flatnonzero(np.concatenate([[True], change]))
    return start, np.diff(np.append(start, len(rows.clip)))


def _unit(vectors: F64) -> F64:
    """Vectors of length one; zero where there is hardly any length."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(np.where(length > 0.01, vectors / np.maximum(length, 0.01), 0))


def _pieces(dataset: ShardDataset, clips: I64) -> Iterator[_Rows]:
    """Clips of one shard, rising, so many at once that their rows are about `AT_ONCE`: what is made of them
    takes several times their memory."""
    mine = dataset.tracks[np.isin(dataset.tracks["clip"], clips)]
    if not len(mine):
        return
    rows = np.bincount(np.searchsorted(clips, mine["clip"]), mine["frames"], minlength=len(clips))
    piece = rows.cumsum() // AT_ONCE
    for some in np.split(clips, np.flatnonzero(np.diff(piece)) + 1):
        tracks = mine[np.isin(mine["clip"], some)]
        if len(tracks):
            yield _read(dataset, some, tracks)


def _read(dataset: ShardDataset, clips: I64, tracks: npt.NDArray[np.void]) -> _Rows:
    arrays = dataset.arrays(clips, energy=False, check=False)
    frames = tracks["frames"].astype(np.int64)
    first = np.cumsum(frames) - frames
    inside = np.arange(int(frames.sum())) - np.repeat(first, frames)
    clip, slot = (np.repeat(tracks[k].astype(np.int64), frames) for k in ("clip", "slot"))
    frame = np.repeat(tracks["first_frame"].astype(np.int64), frames) + inside
    joined = inside > 0
    # stretches of a body that follow each other without a gap are one
    joined[1:] |= (np.diff(clip) == 0) & (np.diff(slot) == 0) & (np.diff(frame) == 1)
    joints = arrays.joints.astype(np.float64) * unit_metres(dataset)
    return _Rows(
        joints, clip, slot, frame, joined, dataset.spec.skeleton, dataset.spec.frame_rate, dataset.up
    )


def unit_metres(dataset: ShardDataset) -> float:
    """About how many metres one unit of a dataset's joints is."""
    return SPINE if dataset.manifest["recipe"].get("scale") else 1.0
