"""From probabilities of steps to intervals: stretches above several thresholds, of which those that stand out
most from what lies around them stay.

All of it looks at a bounded piece of time, so that a stream gives the same intervals as the whole: a stretch
is done when its class was below the lowest threshold for a while, or when it has become too long and is cut.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, field_validator

from amr_train.detection.intervals import Intervals, intervals, joined
from amr_train.detection.windows import F32

F64 = npt.NDArray[np.float64]
Row = tuple[int, int, int, float]
"""Label, first step, end, score."""
FLANK = 8
"""Steps beside a stretch, at most, that it is compared with."""
FLANK_SHARE = 0.25
"""Of a stretch's length, so long is what it is compared with on each side."""


class Decoding(BaseModel):
    """`smooth` : steps that a probability is the mean of, odd.  `thresholds` : rising.  `gap` : steps below a
    threshold that do not end a stretch.  `least`, `most` : steps of an interval.  `suppress` : intervals of a
    class that overlap a better one more than so much are left out.  `floor` : the lowest score that is
    kept."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    smooth: int = Field(3, ge=1, le=999)
    thresholds: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    gap: int = Field(1, ge=0, le=1000)
    least: int = Field(2, ge=1, le=10_000)
    most: int = Field(256, ge=2, le=100_000)
    suppress: float = Field(0.2, ge=0, lt=1)
    floor: float = Field(0.01, ge=0, lt=1)

    @field_validator("smooth")
    @classmethod
    def _odd(cls, smooth: int) -> int:
        if smooth % 2 == 0:
            raise ValueError("smooth is the number of steps around one and itself, so it is odd")
        return smooth

    @field_validator("thresholds")
    @classmethod
    def _rising(cls, thresholds: tuple[float, ...]) -> tuple[float, ...]:
        if not thresholds or list(thresholds) != sorted(set(thresholds)):
            raise ValueError("thresholds rise from one to the next")
        if not 0 < thresholds[0] <= thresholds[-1] < 1:
            raise ValueError("thresholds lie between 0 and 1")
        return thresholds

    @property
    def wait(self) -> int:
        """Steps behind the end of a stretch until it is certain."""
        return self.smooth // 2 + self.gap + 1 + FLANK


class Decoder:
    """Intervals of steps that come bit by bit, and the class of each step.

    step : frames of one.  classes : without the background.
    """

    def __init__(self, config: Decoding, classes: int, step: int) -> None:
        self.config, self.classes, self.step = config, classes, step
        self._raw: F32 = np.zeros((0, classes + 1), np.float32)
        self._smooth: F32 = np.zeros((0, classes + 1), np.float32)
        self._raw_begin = self._begin = 0  # the first step that each of them keeps
        self._from = [0] * classes  # where each class is looked at from

    def push(self, probabilities: F32, frames: int | None = None) -> tuple[npt.NDArray[np.int64], Intervals]:
        """Further steps (L, C + 1).

        frames : of the recording, with its last steps; everything is certain then.
        Returns: the classes of the next steps (K,), the number of classes for none; the intervals that are
        certain now, in frames, by their end.
        """
        last = frames is not None
        labels = self._smoothed(probabilities, last)
        end = self._begin + len(self._smooth)
        found = [self._of_class(label, end, last) for label in range(self.classes)]
        self._forget(end)
        table = joined(found)
        first, stop = table.first * self.step, table.end * self.step
        if frames is not None:
            first, stop = np.minimum(first, frames), np.minimum(stop, frames)
        made = Intervals(table.recording, table.label, first, stop, table.score)
        return labels, made.take(np.lexsort((made.first, made.end)))

    def _smoothed(self, probabilities: F32, last: bool) -> npt.NDArray[np.int64]:
        """Take up further steps; the classes of those that are smoothed now."""
        half = self.config.smooth // 2
        self._raw = np.concatenate([self._raw, probabilities])
        end = self._raw_begin + len(self._raw)
        done = self._begin + len(self._smooth)
        ready = end if last else end - half
        if ready <= done:
            return np.zeros(0, np.int64)
        padded = np.zeros((ready - done + 2 * half, self.classes + 1), np.float64)
        low, high = max(done - half, self._raw_begin), min(ready + half, end)
        padded[low - done + half : high - done + half] = self._raw[
            low - self._raw_begin : high - self._raw_begin
        ]
        total = sum(padded[k : k + ready - done] for k in range(2 * half + 1))
        place = np.arange(done, ready)
        reach = np.minimum(place, half) + 1 + np.minimum(end - 1 - place, half)
        mean = (total / reach[:, None]).astype(np.float32)
        self._smooth = np.concatenate([self._smooth, mean])
        forget = max(0, ready - half - self._raw_begin)
        self._raw, self._raw_begin = self._raw[forget:].copy(), self._raw_begin + forget
        return np.asarray(mean.argmax(axis=1), np.int64)

    def _of_class(self, label: int, end: int, last: bool) -> Intervals:
        """The intervals of a class that are certain up to the step `end`."""
        config = self.config
        values: F64 = self._smooth[self._from[label] - self._begin :, label].astype(np.float64)
        offset, found = self._from[label], list[Row]()
        above = values >= config.thresholds[0]
        for low, high in runs(above, config.gap):
            at = low
            while at < high:  # what is too long is cut; the rest begins where the class is above again
                at += int(above[at:high].argmax())
                cut = min(high, at + config.most)
                whole = cut < high or offset + high + config.gap + 1 <= end
                if not last and not (whole and offset + cut + FLANK <= end):
                    self._from[label] = offset + at
                    return intervals(found)
                found += self._best(label, offset + at, offset + cut)
                at = cut
            self._from[label] = offset + high
        self._from[label] = max(self._from[label], end)
        return intervals(found)

    def _best(self, label: int, start: int, stop: int) -> list[Row]:
        """Of a stretch above the lowest threshold, the stretches above any that stay."""
        config, around = self.config, self._smooth[:, label].astype(np.float64)
        inside = around[start - self._begin : stop - self._begin]
        spans = dict.fromkeys(
            span for threshold in config.thresholds for span in runs(inside >= threshold, config.gap)
        )
        rows: list[Row] = []
        for low, high in spans:
            if high - low < config.least:
                continue
            flank = min(FLANK, max(1, round((high - low) * FLANK_SHARE)))
            a, b = start + low - self._begin, start + high - self._begin
            beside = np.concatenate([around[max(0, a - flank) : a], around[b : b + flank]])
            score = float(around[a:b].mean() - (beside.sum() / (2 * flank)))
            if score >= config.floor:
                rows.append((label, start + low, start + high, score))
        return suppressed(rows, config.suppress)

    def _forget(self, end: int) -> None:
        keep = min([end, *self._from]) - FLANK
        forget = max(0, keep - self._begin)
        self._smooth, self._begin = self._smooth[forget:].copy(), self._begin + forget


def runs(above: npt.NDArray[np.bool_], gap: int) -> list[tuple[int, int]]:
    """Stretches (first, end) of what is true; those at most `gap` apart are one."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], above, [False]]).astype(np.int8)))
    low, high = edges[::2], edges[1::2]
    if not len(low):
        return []
    apart = np.append(True, low[1:] - high[:-1] > gap)
    begins = np.flatnonzero(apart)
    ends = np.append(begins[1:], len(low)) - 1
    return list(zip(low[begins].tolist(), high[ends].tolist(), strict=True))


def suppressed(rows: list[Row], most: float) -> list[Row]:
    """Rows of one class without those that overlap a better one more than so much, by their first step; of
    equals the first stays."""
    kept: list[Row] = []
    for row in sorted(rows, key=lambda one: -one[3]):
        # of a few rows, which numpy would take longer for
        _, first, end, _ = row
        if all((min(end, b) - max(first, a)) / (max(end, b) - min(first, a)) <= most for _, a, b, _ in kept):
            kept.append(row)
    return sorted(kept, key=lambda one: one[1:3])


def decode(
    probabilities: F32, config: Decoding, step: int, frames: int
) -> tuple[npt.NDArray[np.int64], Intervals]:
    """The classes of a whole recording's steps, and its intervals in frames."""
    return Decoder(config, probabilities.shape[1] - 1, step).push(probabilities, frames)
