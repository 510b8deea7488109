"""A recording in overlapping windows: where they lie, and the frames of its bodies in them.

Time is counted in steps of some frames; each step takes what the windows over its middle frame say of it.
The grid begins with the recording and ends with the window that reaches its end, so that a window never
depends on frames behind it and a stream has the same windows as the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from amr_data import BodyTrack
from amr_train.detection.intervals import I64

F32 = npt.NDArray[np.float32]
B8 = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Scale:
    """Windows of one length. `tokens` : time steps that the encoder makes of one.  `token` : frames of the
    recording in each of them.  `hop` : frames from one window to the next."""

    tokens: int
    token: int
    hop: int

    @property
    def frames(self) -> int:
        """Of a window."""
        return self.tokens * self.token

    def count(self, frames: int) -> int:
        """Windows of a recording of so many frames: up to the first that reaches its end."""
        return 1 + -(-max(0, frames - self.frames) // self.hop)

    def covered(self, first: int, window: int, step: int, steps: int) -> tuple[I64, I64]:
        """Which steps of `step` frames, of those from `first` to before `steps`, a window is over, and by
        which of its tokens."""
        start = window * self.hop
        low = max(first, -(-(start - step // 2) // step))
        high = min(steps, -(-(start + self.frames - step // 2) // step))
        mine = np.arange(low, max(low, high))
        return mine, (mine * step + step // 2 - start) // self.token


@dataclass(frozen=True)
class Grid:
    """`scales` : of the windows.  `step` : frames in a step."""

    scales: tuple[Scale, ...]
    step: int

    @property
    def frames(self) -> int:
        """Of the longest window: so long a step waits at most for what is said of it."""
        return max(scale.frames for scale in self.scales)

    def steps(self, frames: int) -> int:
        return -(-frames // self.step)


def grid_of(lengths: Sequence[float], tokens: int, token: float, cover: int) -> Grid:
    """Windows of several lengths, in the encoder's own.

    Args:
        tokens: time steps that the encoder makes of a window.
        token: frames of the recording in one of them at length 1; the frame rate decides.
        cover: windows over each frame.
    """
    sizes = [max(1, round(length * token)) for length in lengths]
    scales = tuple(Scale(tokens, size, max(1, tokens * size // cover)) for size in sizes)
    return Grid(scales, min(sizes))


class Bodies:
    """The bodies of a recording, from which windows are cut. `frames` : of the recording.

    tracks : slots from `bodies` on are left out; where two hold the same frame of a slot, the later counts.
    """

    def __init__(self, frames: int, tracks: Sequence[BodyTrack], bodies: int, joints: int) -> None:
        self.frames, self.bodies, self.joints = frames, bodies, joints
        self._slots: list[tuple[I64, F32]] = []
        for slot in range(bodies):
            mine = [track for track in tracks if track.slot == slot and len(track.frames)]
            if len(mine) == 1:
                self._slots.append((mine[0].frames, np.asarray(mine[0].joints, np.float32)))
                continue
            place = np.concatenate([t.frames for t in mine] or [np.zeros(0, np.int64)])
            values = np.concatenate(
                [np.asarray(t.joints, np.float32) for t in mine] or [np.zeros((0, joints, 3), np.float32)]
            )
            order = np.argsort(place, kind="stable")
            self._slots.append((place[order], values[order]))

    def window(self, start: int, out: F32) -> None:
        """Lay the frames from `start` on into `out` (M, W, V, 3), which holds zeros; they stay where a body
        is not there."""
        for slot, (place, values) in enumerate(self._slots):
            low, high = np.searchsorted(place, [start, start + out.shape[1]])
            out[slot, place[low:high] - start] = values[low:high]

    def windows(self, scale: Scale, first: int, end: int) -> F32:
        """Windows by their numbers (B, M, W, V, 3)."""
        out = np.zeros((end - first, self.bodies, scale.frames, self.joints, 3), np.float32)
        for number in range(first, end):
            self.window(number * scale.hop, out[number - first])
        return out

    def cut(self, start: int, end: int) -> F32:
        """Frames of all bodies (M, K, V, 3)."""
        out = np.zeros((self.bodies, end - start, self.joints, 3), np.float32)
        self.window(start, out)
        return out


class StepSums:
    """Means over windows of what they say of each step, for a range of steps that moves on. One scale."""

    def __init__(self, width: int) -> None:
        self.first = 0
        self._sum: F32 = np.zeros((0, width), np.float32)
        self._count: F32 = np.zeros(0, np.float32)
        self._there: B8 = np.zeros(0, bool)

    def add(self, steps: I64, values: F32, there: B8) -> None:
        """steps : (K,) rising.  values : (K, D).  there : (K,), whether anybody is."""
        if not len(steps):
            return
        more = int(steps[-1]) + 1 - self.first - len(self._sum)
        if more > 0:
            room = max(more, len(self._sum))  # doubled, so that a whole recording is not copied over and over
            self._sum = np.concatenate([self._sum, np.zeros((room, self._sum.shape[1]), np.float32)])
            self._count = np.append(self._count, np.zeros(room, np.float32))
            self._there = np.append(self._there, np.zeros(room, bool))
        rows = steps - self.first
        self._sum[rows] += values
        self._count[rows] += 1
        self._there[rows] |= there

    def take(self, end: int) -> tuple[F32, B8]:
        """The means of the steps up to `end`, and whether anybody is there; they are forgotten here."""
        rows = max(0, end - self.first)
        mean: F32 = self._sum[:rows] / np.maximum(self._count[:rows], 1).astype(np.float32)[:, None]
        there: B8 = self._there[:rows].copy()
        self._sum, self._count = self._sum[rows:].copy(), self._count[rows:].copy()
        self._there = self._there[rows:].copy()
        self.first = max(self.first, end)
        return mean, there
