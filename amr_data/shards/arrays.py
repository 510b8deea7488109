"""One part of a split as flat arrays, and how clips of many shards are laid out in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from amr_data.shards.layout import Progress
from amr_data.shards.opening import Shard
from amr_data.shards.views import FrameArrays, view_frames

Numbers = npt.NDArray[np.int64]


@dataclass
class SplitArrays:
    """One part of a split, laid end to end; a sequence is one body of one clip over its own frames.

    joints : (F, V, 3) float32 metres.  energy : (F, V, S) float32 square metres.
    frame : (F,) int64, each row's frame in its clip; they rise within a sequence, and a gap in them is a gap.
    first_row, rows : (Q,) int64, where each of the Q sequences lies in the frames.
    clip : (Q,) int64, the sequence's clip, 0 to N - 1.  labels : (N,) int64.  names : N clip names.
    clip_frames : (N,) int64, frames of each clip.
    """

    joints: npt.NDArray[np.float32]
    energy: npt.NDArray[np.float32]
    frame: npt.NDArray[np.int64]
    first_row: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]
    clip: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    names: list[str]
    clip_frames: npt.NDArray[np.int64]


def read_frames(
    opened: Callable[[int], Shard],
    shard: Numbers,
    tracks: npt.NDArray[np.void],
    into: FrameArrays,
    views: npt.NDArray[np.void] | None = None,
    windows: Sequence[int] = (),
    progress: Progress | None = None,
) -> None:
    """Read the frames of tracks end to end, shard by shard straight into place.

    opened : a shard by its number.  shard : (K,) that of each track, rising.  into : energies are not read
    where S is 0.  views : (K,) of each track that of its clip, where clips are views into recordings.
    windows : of the energies.  progress : of the shards.
    """
    joints, energies = into
    lengths = tracks["frames"].astype(np.int64)
    ends = lengths.cumsum()
    shards = np.unique(shard)
    for done, index in enumerate(shards, 1):
        mine = np.flatnonzero(shard == index)
        place = slice(int(ends[mine[0]] - lengths[mine[0]]), int(ends[mine[-1]]))
        with opened(int(index)) as file:
            some = joints[place], energies[place]
            if views is None:
                _track_frames(file, tracks[mine], some)
            else:
                view_frames(file, tracks[mine], views[mine], some, windows)
        if progress:
            progress(done, len(shards))


def _track_frames(file: Shard, tracks: npt.NDArray[np.void], into: FrameArrays) -> None:
    rows = np.concatenate([np.arange(t["first_row"], t["first_row"] + t["frames"]) for t in tracks])
    low, high = int(rows[0]), int(rows[-1]) + 1
    joints, energies = file.frames(low, high, into[1].shape[2] > 0)
    into[0][:], into[1][:] = joints[rows - low], energies[rows - low]


def laid_out(tracks: npt.NDArray[np.void], wanted: Numbers) -> tuple[Numbers, Numbers, Numbers, Numbers]:
    """`frame`, `first_row`, `rows` and `clip` of `SplitArrays`.  wanted : the number of each of the dataset's
    clips among those of the tracks."""
    lengths = tracks["frames"].astype(np.int64)
    ends = lengths.cumsum()
    # stretches of one body follow each other: a sequence begins where the clip or the slot changes
    other = (np.diff(tracks["clip"]) != 0) | (np.diff(tracks["slot"]) != 0)
    begin = np.flatnonzero(np.concatenate([[True], other])) if len(tracks) else np.zeros(0, np.int64)
    rows_each = np.add.reduceat(lengths, begin) if len(begin) else np.zeros(0, np.int64)
    frame = np.arange(int(lengths.sum()), dtype=np.int64) + np.repeat(
        tracks["first_frame"] - (ends - lengths), lengths
    )
    return frame, (ends - lengths)[begin], rows_each, wanted[tracks["clip"][begin]]
