"""Clips that are views into recordings: their rows gathered from where the recordings lie, and put where the
recipe put the clip."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from amr_data.shards.opening import Shard

Floats = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]
FrameArrays = tuple[Floats, Floats]
"""Joints (F, V, 3) and energies (F, V, S)."""
PIECE_ROWS = 1 << 14
"""Rows that are read or moved at once: 10 MB of 25 joints."""
GAP = 1 << 9
"""Rows between two stretches that are rather read than skipped."""
TAILS = 512
"""Ends of stretches whose energies are computed at once."""


def view_frames(
    shard: Shard,
    tracks: npt.NDArray[np.void],
    views: npt.NDArray[np.void],
    into: FrameArrays,
    windows: Sequence[int],
) -> None:
    """Fill `into` with the frames of tracks of clips end to end. views : (K,) of each track that of its
    clip.  windows : of the energies."""
    lengths = tracks["frames"].astype(np.int64)
    gathered(shard, tracks["first_row"], lengths, *into)
    placed(*into, lengths, views, windows)


def gathered(shard: Shard, first_row: Numbers, lengths: Numbers, joints: Floats, energy: Floats) -> None:
    """Read stretches of rows, in whatever order and overlapping or not, end to end into `joints` (F, V, 3)
    and `energy` (F, V, S); energies are not read where S is 0."""
    place = np.cumsum(lengths) - lengths
    order = np.argsort(first_row, kind="stable").tolist()
    at = 0
    while at < len(order):
        low = int(first_row[order[at]])
        high, end = low, at
        while end < len(order):
            begin = int(first_row[order[end]])
            after = max(high, begin + int(lengths[order[end]]))
            if end > at and (begin > high + GAP or after > low + PIECE_ROWS):
                break
            high, end = after, end + 1
        some_joints, some_energy = shard.frames(low, high, energy.shape[2] > 0)
        for k in order[at:end]:
            rows = slice(int(first_row[k]) - low, int(first_row[k] + lengths[k]) - low)
            here = slice(int(place[k]), int(place[k] + lengths[k]))
            joints[here], energy[here] = some_joints[rows], some_energy[rows]
        at = end


def placed(
    joints: Floats,
    energy: Floats,
    lengths: Numbers,
    views: npt.NDArray[np.void],
    windows: Sequence[int],
) -> None:
    """Make rows of recordings those of clips, in place.

    lengths : of the stretches that lie end to end in `joints` (F, V, 3) and `energy` (F, V, S).
    views : (K,) of each stretch that of its clip.
    """
    ends = np.cumsum(lengths)
    turned = bool((views["turn"] != np.eye(3)).any())
    for low in range(0, len(joints), PIECE_ROWS):
        rows = slice(low, min(low + PIECE_ROWS, len(joints)))
        of = np.searchsorted(ends, np.arange(rows.start, rows.stop), "right")
        moved = joints[rows] - views["origin"][of][:, None]  # (R, V, 3) float64
        if turned:
            turn = views["turn"][of]  # (R, 3, 3)
            moved = moved @ turn.transpose(0, 2, 1)
            # a rotation times a length; energies are squares of it
            energy[rows] *= ((turn**2).sum(axis=(1, 2)) / 3)[:, None, None].astype(np.float32)
        joints[rows] = moved
    if energy.shape[2]:
        _end_within_clips(joints, energy, ends - lengths, ends, windows)


def _end_within_clips(
    joints: Floats, energy: Floats, begins: Numbers, ends: Numbers, windows: Sequence[int]
) -> None:
    """Energies of the last frames of stretches, whose windows would reach past the clip into its recording:
    over the frames up to the end, fewer than the window has, as `recipes.motion.windowed_energy` says."""
    most = max(windows) - 1
    back = np.arange(-most, 0)
    count = np.arange(most, 0, -1)[None, :, None].astype(np.float64)
    for at in range(0, len(ends) if most else 0, TAILS):
        begin, end = begins[at : at + TAILS, None], ends[at : at + TAILS, None]
        rows = end + back  # (K, T)
        there = rows >= begin
        part = joints[np.maximum(rows, begin)].astype(np.float64)  # (K, T, V, 3)
        part -= part[:, -1:]  # keeps the sums small, so that their difference stays exact
        # sums from each frame to the end
        sums = part[:, ::-1].cumsum(axis=1)[:, ::-1]
        squares = (part**2).sum(axis=3)[:, ::-1].cumsum(axis=1)[:, ::-1]
        found = np.maximum((squares - (sums**2).sum(axis=3) / count) / count, 0)
        for scale, length in enumerate(windows):
            if length > 1:
                some = there[:, most - length + 1 :]
                energy[rows[:, most - length + 1 :][some], :, scale] = found[:, most - length + 1 :][some]
