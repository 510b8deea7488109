"""A detector: windows, dense features, a head and what makes intervals of its probabilities; for whole
recordings, and for streams of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from amr_train.detection.decoding import Decoder, Decoding, decode
from amr_train.detection.dense import Dense
from amr_train.detection.heads import Head, HeadStream
from amr_train.detection.intervals import Intervals
from amr_train.detection.windows import B8, F32, Bodies, Grid, StepSums, grid_of

BATCH = 32
"""Windows that go through the encoder at once."""
SECTION = 4096
"""Frames of a long recording that are taken at once."""


@dataclass(frozen=True)
class Windowing:
    """`lengths` : of the windows, in those that the encoder is made for.  `cover` : windows over each frame.
    `token_s` : seconds of a time step of the encoder at length 1."""

    lengths: tuple[float, ...]
    cover: int
    token_s: float

    def grid(self, tokens: int, rate: float) -> Grid:
        """rate : the recording's frames a second."""
        return grid_of(self.lengths, tokens, self.token_s * rate, self.cover)


class Detector(nn.Module):
    """`dense` : features of windows.  `head` : from them to classes.  `decoding` : from these to
    intervals."""

    def __init__(
        self, dense: nn.Module, head: Head, windowing: Windowing, decoding: Decoding, bodies: int, joints: int
    ) -> None:
        super().__init__()
        self.dense, self.head = dense, head
        self.windowing, self.decoding = windowing, decoding
        self.bodies, self.joints = bodies, joints

    @property
    def classes(self) -> int:
        """Without the background."""
        return self.head.config.classes - 1

    def grid(self, rate: float) -> Grid:
        return self.windowing.grid(dense_of(self.dense).tokens, rate)

    def detect(self, bodies: Bodies, rate: float) -> tuple[npt.NDArray[np.int64], Intervals]:
        """Of a whole recording: the class of each frame (F,), the number of classes for none, and the
        intervals found."""
        grid = self.grid(rate)
        features, there = dense_features(self.dense, bodies, grid, rate, next(self.head.buffers()).device)
        if not len(features):
            return np.zeros(0, np.int64), decode_nothing()
        found = self.head.probabilities(features, there)
        labels, table = decode(found, self.decoding, grid.step, bodies.frames)
        return labels.repeat(grid.step)[: bodies.frames], table


def dense_of(module: nn.Module) -> Dense:
    return module  # type: ignore[return-value]


def decode_nothing() -> Intervals:
    """Of a recording without a frame."""
    empty = np.zeros(0)
    return Intervals(empty, empty, empty, empty, empty)  # type: ignore[arg-type]


@torch.no_grad()
def dense_features(
    dense: nn.Module, bodies: Bodies, grid: Grid, rate: float, device: torch.device
) -> tuple[F32, B8]:
    """Features of every step of a whole recording (J, S * D), scale by scale, and whether anybody is there
    (J,)."""
    steps, parts, anybody = grid.steps(bodies.frames), [], np.zeros(0, bool)
    if not steps:
        return np.zeros((0, len(grid.scales) * dense_of(dense).width), np.float32), anybody
    for number, scale in enumerate(grid.scales):
        sums = StepSums(dense_of(dense).width)
        count = scale.count(steps * grid.step)
        for first in range(0, count, BATCH):
            end = min(count, first + BATCH)
            cut = torch.from_numpy(bodies.windows(scale, first, end)).to(device)
            values, there = dense(cut, rate)
            _add(sums, grid, number, first, values, there, steps)
        mean, there_of = sums.take(steps)
        parts.append(mean)
        anybody = there_of if number == 0 else anybody | there_of
    return np.concatenate(parts, axis=1), anybody


def _add(
    sums: StepSums, grid: Grid, scale: int, first: int, values: torch.Tensor, there: torch.Tensor, steps: int
) -> None:
    """Lay what windows from the number `first` on say under the steps that they are over."""
    said, known = values.float().cpu().numpy(), there.cpu().numpy()
    for k in range(len(said)):
        mine, token = grid.scales[scale].covered(sums.first, first + k, grid.step, steps)
        sums.add(mine, said[k][token], known[k][token])


class Stream:
    """The same of frames that come bit by bit: constant memory, and what is said of a step waits for the
    windows over it, the head's view ahead and the decoding, `delay` frames at most; an interval for its end
    besides."""

    def __init__(self, detector: Detector, rate: float) -> None:
        self.detector, self.rate, self.grid = detector, rate, detector.grid(rate)
        self._kept: F32 = np.zeros((detector.bodies, 0, detector.joints, 3), np.float32)
        self._begin = 0  # the first frame that is kept
        self._next = [0] * len(self.grid.scales)  # windows, by scale
        self._sums = [StepSums(dense_of(detector.dense).width) for _ in self.grid.scales]
        self._head = HeadStream(detector.head)
        self._decoder = Decoder(detector.decoding, detector.classes, self.grid.step)
        self._device = next(detector.head.buffers()).device

    @property
    def frames(self) -> int:
        """That have come."""
        return self._begin + int(self._kept.shape[1])

    @property
    def delay(self) -> int:
        """Frames until a step's class is certain, at most."""
        ahead = self.detector.head.right + self.detector.decoding.smooth // 2 + 1
        return self.grid.frames + ahead * self.grid.step

    def push(self, frames: F32, last: bool = False) -> tuple[npt.NDArray[np.int64], Intervals]:
        """Further frames (M, K, V, 3), zeros where a body is absent; with `last` the end.

        Returns: classes of the next steps (`grid.step` frames each), the number of classes for none; the
        intervals that are certain now.
        """
        self._kept = np.concatenate([self._kept, frames], axis=1)
        come = self.frames
        steps = self.grid.steps(come)
        if last and not come:
            return np.zeros(0, np.int64), decode_nothing()
        for number in range(len(self.grid.scales)):
            self._windows(number, steps if last else None)
        ready = steps if last else self._ready()
        if not last and ready == self._sums[0].first:  # no window was filled
            return np.zeros(0, np.int64), decode_nothing()
        said = [sums.take(ready) for sums in self._sums]
        features = np.concatenate([values for values, _ in said], axis=1)
        there = np.logical_or.reduce([known for _, known in said])
        found = self._head.push(features, there, last)
        keep = min(n * s.hop for n, s in zip(self._next, self.grid.scales, strict=True))
        forget = min(max(0, keep - self._begin), self._kept.shape[1])
        self._kept, self._begin = self._kept[:, forget:].copy(), self._begin + forget
        return self._decoder.push(found, come if last else None)

    @torch.no_grad()
    def _windows(self, number: int, steps: int | None) -> None:
        """See the windows of a scale that are whole; with `steps`, the number of them all, every one."""
        scale = self.grid.scales[number]
        if steps is None:
            end = (self.frames - scale.frames) // scale.hop + 1 if self.frames >= scale.frames else 0
        else:
            end = scale.count(steps * self.grid.step)
        while self._next[number] < end:
            first = self._next[number]
            stop = min(end, first + BATCH)
            shape = (stop - first, self.detector.bodies, scale.frames, self.detector.joints, 3)
            cut = np.zeros(shape, np.float32)
            for k in range(first, stop):
                piece = self._kept[:, k * scale.hop - self._begin :][:, : scale.frames]
                cut[k - first, :, : piece.shape[1]] = piece
            values, there = self.detector.dense(torch.from_numpy(cut).to(self._device), self.rate)
            reach = (stop - 1) * scale.hop + scale.frames
            _add(
                self._sums[number],
                self.grid,
                number,
                first,
                values,
                there,
                self.grid.steps(reach + self.grid.step) if steps is None else steps,
            )
            self._next[number] = stop

    def _ready(self) -> int:
        """Steps whose windows have all been seen: those with their middle before the next window."""
        step = self.grid.step
        following = min(n * s.hop for n, s in zip(self._next, self.grid.scales, strict=True))
        return max(0, -(-(following - step // 2) // step))


def detect_long(
    detector: Detector, bodies: Bodies, rate: float
) -> Iterator[tuple[int, npt.NDArray[np.int64], Intervals]]:
    """The same as `detect` in memory that does not grow with the recording: section by section, frames done
    so far, the classes of further steps and further intervals."""
    stream = Stream(detector, rate)
    for start in range(0, max(1, bodies.frames), SECTION):
        end = min(bodies.frames, start + SECTION)
        labels, found = stream.push(bodies.cut(start, end), end >= bodies.frames)
        yield end, labels, found
