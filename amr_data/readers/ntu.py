"""NTU RGB+D .skeleton files: one clip a file, any number of bodies in each frame (layout: docs/datasets.md).

The frame structure is walked line by line, a few hundred steps a file; the joint lines then go to the column parser all at once. Every
count in the file is checked against the lines that are really there before it is believed.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from amr_data.clip import BodyTrack, Clip
from amr_data.errors import Reject, RejectError
from amr_data.readers.base import Discovery, Unit, discover_by_name, new_clip
from amr_data.readers.sources import RawSource
from amr_data.readers.text import check_positions, parse_columns, parse_count, parse_lines
from amr_data.specs import DatasetSpec

MAX_BODIES_IN_FRAME = 64
BODY_FIELDS = 10
JOINT_FIELDS = 12
TRACKED = 2
LINE_FEED = 10


class NtuReader:
    def discover(self, source: RawSource, spec: DatasetSpec) -> Discovery:
        return discover_by_name(source, spec, ".skeleton")

    def read(self, source: RawSource, unit: Unit, spec: DatasetSpec, frame_base: int) -> Iterator[Clip | Reject]:
        shown = source.shown(unit.members[0])
        try:
            clip = new_clip(unit, spec, shown)
            clip.frames, clip.tracks, clip.dropped = parse_ntu(source.read(unit.members[0]), len(spec.skeleton.joints))
            yield clip
        except RejectError as error:
            yield Reject(shown, error.reason, error.detail)


def parse_ntu(data: bytes, joints: int) -> tuple[int, list[BodyTrack], list[str]]:
    """Parse a whole file.

    Args:
        data: the file's bytes, CRLF or LF line ends.
        joints: joints of a body, V.
    Returns: number of frames; a track per body id in order of appearance, with `inferred` set; notes on what was left out.
    Raises: RejectError.
    """
    if not data.strip():
        raise RejectError("empty", f"{len(data)} bytes, nothing but white space")
    breaks = [
        -1,
        *np.flatnonzero(np.frombuffer(data, np.uint8) == LINE_FEED).tolist(),
    ]  # line n is data[breaks[n] + 1 : breaks[n + 1]]
    if not data.endswith(b"\n"):
        breaks.append(len(data))
    while not data[breaks[-2] + 1 : breaks[-1]].strip():
        breaks.pop()
    frames, ids, body_frames, first_lines = _walk(data, breaks, joints)
    if not ids:
        raise RejectError("no_body", f"{frames} frames, none holds a body")
    blocks = [data[breaks[i] + 1 : breaks[i + joints]] for i in first_lines]
    keep = (0, 1, 2, JOINT_FIELDS - 1)
    values = parse_columns(b"\n".join(blocks), len(blocks) * joints, JOINT_FIELDS, keep)
    if values is None:
        numbers = [i + j for i in first_lines for j in range(joints)]
        values = parse_lines([data[breaks[n] + 1 : breaks[n + 1]] for n in numbers], numbers, JOINT_FIELDS, keep)
    values = values.reshape(len(ids), joints, 4)
    at = np.array(body_frames, np.int64)
    check_positions(values[..., :3], at)
    tracks, notes = _tracks(ids, at, values)
    return frames, tracks, notes


def _walk(data: bytes, breaks: list[int], joints: int) -> tuple[int, list[str], list[int], list[int]]:
    """Frame count, and for every body in file order its id, its frame and the number of its first joint line.

    breaks : where each line ends, with -1 before the first.
    """
    frames = parse_count(data[: breaks[1]], 0, 10**9)
    lines = len(breaks) - 1
    if frames is None:
        raise RejectError("not_skeleton", "line 1 is not a number of frames")
    if frames > lines - 1:
        raise RejectError("frame_count", f"line 1 says {frames:,} frames, but only {lines - 1:,} lines follow")
    ids: list[str] = []
    body_frames: list[int] = []
    first_lines: list[int] = []
    at, block = 1, 2 + joints
    shown_joints = str(joints).encode()
    for frame in range(frames):
        if at >= lines:
            raise RejectError("truncated", f"line 1 says {frames:,} frames, the file ends after {frame:,}")
        bodies = parse_count(data[breaks[at] + 1 : breaks[at + 1]], 0, MAX_BODIES_IN_FRAME)
        if bodies is None:
            raise RejectError(
                "body_count", f"line {at + 1} (frame {frame}) is not a number of bodies up to {MAX_BODIES_IN_FRAME}"
            )
        at += 1
        if at + bodies * block > lines:
            raise RejectError(
                "truncated", f"frame {frame} of {frames:,} is cut off: {lines - at} of {bodies * block} lines are there"
            )
        for _ in range(bodies):
            fields = data[breaks[at] + 1 : breaks[at + 1]].split()
            if len(fields) != BODY_FIELDS or not fields[0].isdigit() or len(fields[0]) > 24:
                raise RejectError(
                    "not_skeleton", f"line {at + 1} is not a body line of {BODY_FIELDS} fields that begins with its id"
                )
            if data[breaks[at + 1] + 1 : breaks[at + 2]].strip() != shown_joints:
                found = data[breaks[at + 1] + 1 : breaks[at + 2]].strip()[:16].decode("ascii", "replace")
                raise RejectError("joint_count", f"line {at + 2} says {found!r} joints, the skeleton has {joints}")
            ids.append(fields[0].decode("ascii"))
            body_frames.append(frame)
            first_lines.append(at + 2)
            at += block
    if at < lines:
        raise RejectError("frame_count", f"line 1 says {frames:,} frames, but {lines - at:,} lines follow the last of them")
    return frames, ids, body_frames, first_lines


def _tracks(ids: list[str], frames: npt.NDArray[np.int64], values: npt.NDArray[np.float64]) -> tuple[list[BodyTrack], list[str]]:
    rows_of: dict[str, list[int]] = {}
    for row, body in enumerate(ids):
        rows_of.setdefault(body, []).append(row)
    tracks, notes = [], []
    for slot, (body, row_list) in enumerate(rows_of.items()):
        rows = np.array(row_list)
        first = np.concatenate([[True], np.diff(frames[rows]) > 0])  # an id twice in a frame: the first one counts
        if not first.all():
            notes.append(f"body {body}: {int((~first).sum())} second sightings in the same frame")
            rows = rows[first]
        tracks.append(BodyTrack(frames[rows], values[rows, :, :3], body, slot, values[rows, :, 3] != TRACKED))
    return tracks, notes
