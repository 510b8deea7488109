"""Labels for a recording while it is made: a line of numbers a frame, from a file that grows or from a
pipe."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from amr_data import AmrError
from amr_train.detection.detector import Stream
from amr_train.detection.files import LoadedDetector
from amr_train.detection.intervals import Intervals

LONGEST = 1 << 20
"""Bytes of a line."""
FARTHEST = 1e4
"""Metres from the origin: nobody is farther away."""
POLL = 0.1
"""Seconds until a file that has ended is looked at again."""


@dataclass(frozen=True)
class Now:
    """What is done from a frame on. `label` : None for nothing."""

    frame: int
    label: int | None


@dataclass(frozen=True)
class Found:
    """An action that is over. `first`, `end` : its frames, the end exclusive."""

    label: int
    first: int
    end: int
    score: float


@dataclass(frozen=True)
class Refused:
    """A line that is no frame; it counts as one in which nobody is. `line` : counted from 1."""

    line: int
    reason: str


@dataclass(frozen=True)
class Ended:
    """The stream is over. `frames` : all that came."""

    frames: int
    refused: int


Event = Now | Found | Refused | Ended


def follow(
    detector: LoadedDetector, lines: Iterator[bytes], fps: float | None = None, least: float | None = None
) -> Iterator[Event]:
    """Events as they are certain, of frames that come as lines.

    Args:
        lines: each one frame: JSON, a list of bodies of V [x, y, z], also as {"bodies": [...]}, [] where
            nobody is; or CSV, V x 3 numbers for each body. Joints in the detector's order, metres.
        fps: frames a second; those of the recordings that the detector was trained on.
        least: the lowest score that is told; by default the one that was best on held-out recordings.
    """
    about = detector.about
    stream = Stream(detector, fps or about.frame_rate)
    told = about.sure if least is None else least
    said: int | None = None
    at, count, refused = 0, 0, 0
    shape = (about.bodies, 1, len(about.names), 3)
    for count, line in enumerate(lines, 1):
        frame = np.zeros(shape, np.float32)
        try:
            read_frame(line, frame[:, 0])
        except ValueError as error:
            frame[:] = 0
            refused += 1
            yield Refused(count, str(error))
        labels, found = stream.push(frame)
        for event in _events(labels, found, at, said, stream, told, detector.classes):
            if isinstance(event, Now):
                said = event.label
            yield event
        at += len(labels)
    labels, found = stream.push(np.zeros((shape[0], 0, *shape[2:]), np.float32), last=True)
    yield from _events(labels, found, at, said, stream, told, detector.classes)
    yield Ended(count, refused)


def _events(
    labels: npt.NDArray[np.int64],
    found: Intervals,
    at: int,
    said: int | None,
    stream: Stream,
    least: float,
    background: int,
) -> Iterator[Event]:
    """Of steps from `at` on: where the label changes from the one that was said last; then what is over."""
    for number, value in enumerate(labels.tolist()):
        label = None if value == background else value
        if label != said:
            said = label
            yield Now((at + number) * stream.grid.step, label)
    rows = (found.label.tolist(), found.first.tolist(), found.end.tolist(), found.score.tolist())
    for label, first, end, score in zip(*rows, strict=True):
        if score >= least:
            yield Found(label, first, end, score)


def read_frame(line: bytes, out: npt.NDArray[np.float32]) -> None:
    """Lay a line's bodies into `out` (M, V, 3) of zeros. Raises: ValueError with what is wrong."""
    text = line.strip()
    if len(line) > LONGEST:
        raise ValueError(f"longer than {LONGEST:,} bytes")
    if not text:
        raise ValueError("an empty line; a frame without a body is []")
    bodies, joints = out.shape[:2]
    values = _json(text, joints) if text[:1] in b"[{" else _csv(text, joints)
    if len(values) > bodies:
        raise ValueError(f"{len(values)} bodies, the detector takes {bodies}")
    if not np.isfinite(values).all():
        raise ValueError("a coordinate is not a finite number")
    if len(values) and float(np.abs(values).max()) > FARTHEST:
        raise ValueError(f"a coordinate is more than {FARTHEST:g} m away")
    out[: len(values)] = values


def _json(text: bytes, joints: int) -> npt.NDArray[np.float64]:
    try:
        content: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {str(error)[:80]}") from None
    if isinstance(content, dict):
        if "bodies" not in content:
            raise ValueError('an object without "bodies"')
        content = content["bodies"]
    if not isinstance(content, list):
        raise ValueError("not a list of bodies")
    for number, body in enumerate(content, 1):
        if not isinstance(body, list) or len(body) != joints:
            found = f"{len(body)} joints" if isinstance(body, list) else type(body).__name__
            raise ValueError(f"body {number} is {found}, not {joints} joints")
        for joint, point in enumerate(body, 1):
            if (
                not isinstance(point, list)
                or len(point) != 3
                or any(type(value) not in (int, float) for value in point)
                or not all(_small(value) for value in point)
            ):
                raise ValueError(f"body {number}, joint {joint} is not a point of three numbers")
    return np.array(content, np.float64).reshape(-1, joints, 3)


def _small(value: float) -> bool:
    """Whether a number fits a float at all: JSON's integers have no end."""
    try:
        return not math.isnan(float(value))
    except OverflowError:
        return False


def _csv(text: bytes, joints: int) -> npt.NDArray[np.float64]:
    fields = text.split(b",")
    if len(fields) % (3 * joints):
        raise ValueError(f"{len(fields)} numbers, {joints} joints need {3 * joints} for each body")
    values = np.zeros(len(fields))
    for number, field in enumerate(fields):
        try:
            values[number] = float(field if b"_" not in field else b"")  # 1_0 is ten to Python alone
        except ValueError:
            shown = field[:24].decode("ascii", "replace").strip()
            raise ValueError(f"field {number + 1} is {shown!r}, not a number") from None
    found = values.reshape(-1, joints, 3)
    last = len(found)
    while last and not found[last - 1].any():  # a body that is not there, as others write it
        last -= 1
    return found[:last]


def lines_of(file: BinaryIO) -> Iterator[bytes]:
    """Lines until the file ends; of one that is too long the beginning, its rest is passed over."""
    while line := file.readline(LONGEST + 2):
        yield line
        while line and not line.endswith(b"\n") and len(line) == LONGEST + 2:
            line = file.readline(LONGEST + 2)


def growing_lines(path: Path, idle_s: float | None = None) -> Iterator[bytes]:
    """Lines of a file that is being written, each when its end has come; without `idle_s` forever, otherwise
    until nothing came for so long. Raises: AmrError where it was cut or replaced."""
    with open(path, "rb") as file:
        kept, quiet, too_long = b"", 0.0, False
        while True:
            piece = file.readline(LONGEST + 2)
            if piece:
                quiet = 0.0
                kept = piece if too_long and not kept else kept + piece
                ended = piece.endswith(b"\n")
                if too_long:
                    too_long, kept = not ended, b""
                elif ended or len(kept) > LONGEST:
                    yield kept
                    too_long, kept = not ended, b""
                continue
            now = path.stat()
            if now.st_size < file.tell() or now.st_ino != os.fstat(file.fileno()).st_ino:
                raise AmrError(f"{path} was cut or replaced while it was followed; follow it anew")
            if idle_s is not None and quiet >= idle_s:
                break
            time.sleep(POLL)
            quiet += POLL
        if kept:
            yield kept
