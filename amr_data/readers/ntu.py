"""NTU RGB+D .skeleton files: one clip a file, any number of bodies in each frame (layout: docs/datasets.md).

A plainly written file passes through the compiled scanner, where there is one. All others, damaged ones
among them, are read with patience: the frame structure is walked line by line, a few hundred steps a file,
and the joint lines then go to the column parser all at once. Every count in the file is checked against the
lines that are really there before it is believed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from amr_data.clip import BodyTrack, Clip
from amr_data.compiling import compiled
from amr_data.errors import Reject, RejectError
from amr_data.readers.base import Discovery, Unit, discover_by_name, files_ending, new_clip
from amr_data.readers.family import Family, FamilyOptions
from amr_data.readers.sources import RawSource
from amr_data.readers.text import check_positions, parse_columns, parse_count, parse_lines, within_range
from amr_data.recipes.cleaning import clean_ntu
from amr_data.specs import DatasetSpec

MAX_BODIES_IN_FRAME = 64
BODY_FIELDS = 10
JOINT_FIELDS = 12
TRACKED = 2
LINE_FEED = 10
KEEP = (0, 1, 2, JOINT_FIELDS - 1)
GROUP_BYTES = 2 << 20
Parsed = tuple[int, list[BodyTrack], list[str]]


class NtuFamily(Family):
    name = "ntu"
    title = "NTU RGB+D .skeleton files"
    endings = (".skeleton",)
    scanner = "amr_data.readers.scanning"

    def sniff(self, head: bytes, filename: str) -> bool:
        """Lines of one number (frames), one number (bodies), then a body's ten fields or the next frame."""
        lines = [line.split() for line in head.split(b"\n")[:4]]
        return (
            len(lines) > 2
            and all(len(f) == 1 and f[0].isdigit() for f in lines[:2])
            and (len(lines[2]) == BODY_FIELDS or (len(lines[2]) == 1 and lines[2][0].isdigit()))
        )

    def discover(self, source: RawSource, spec: DatasetSpec, options: FamilyOptions) -> Discovery:
        members = files_ending(source, self.endings)
        if spec.naming is None:
            named = {(m.source, m.path) for m in members}
            members = [
                m for m in source.members() if (m.source, m.path) in named or self.looks_like(source, m)
            ]
        return discover_by_name(source, spec, members)

    def clean(self, clip: Clip, recipe: str, spec: DatasetSpec) -> Clip:
        return clean_ntu(clip, recipe)

    def read(
        self, source: RawSource, units: Sequence[Unit], spec: DatasetSpec, options: FamilyOptions
    ) -> Iterator[Clip | Reject]:
        joints = len(spec.skeleton.joints)
        for group in _groups(units):
            texts: list[bytes | RejectError] = []
            for unit in group:
                try:
                    texts.append(source.read(unit.members[0]))
                except RejectError as error:
                    texts.append(error)
            for unit, parsed in zip(group, parse_many(texts, joints), strict=True):
                shown = source.shown(unit.members[0])
                if isinstance(parsed, RejectError):
                    yield Reject(shown, parsed.reason, parsed.detail)
                    continue
                clip = new_clip(unit, spec, shown)
                clip.frames, clip.tracks, clip.dropped = parsed
                yield clip


def parse_ntu(data: bytes, joints: int) -> Parsed:
    """Parse a whole file.

    Args:
        data: the file's bytes, CRLF or LF line ends.
        joints: joints of a body, V.
    Returns: number of frames; a track per body id in order of appearance, with `inferred` set; notes on what
        was left out.
    Raises: RejectError.
    """
    (parsed,) = parse_many([data], joints)
    if isinstance(parsed, RejectError):
        raise parsed
    return parsed


def parse_many(texts: Sequence[bytes | RejectError], joints: int) -> list[Parsed | RejectError]:
    """`parse_ntu` for several files. An error given in place of a file comes back in its place."""
    sound = [text for text in texts if not isinstance(text, RejectError)]
    found = iter(_scan(sound, joints))
    scanned = [None if isinstance(text, RejectError) else next(found) for text in texts]
    patiently = iter(_parse_patiently([t for t, s in zip(texts, scanned, strict=True) if s is None], joints))
    return [next(patiently) if s is None else s for s in scanned]


def _scan(texts: Sequence[bytes], joints: int) -> list[Parsed | None]:
    """What `_parse_patiently` makes of files, where the compiled scanner takes them; None for all others."""
    scanning = compiled(NtuFamily.scanner)
    if not scanning:
        return [None] * len(texts)
    return [None if found is None else _parsed(*found) for found in scanning.scan_ntu(texts, joints)]


def _parsed(
    frames: int,
    names: list[str],
    frame_of: npt.NDArray[np.int64],
    body_of: npt.NDArray[np.int64],
    positions: npt.NDArray[np.float64],
    inferred: npt.NDArray[np.bool_],
) -> Parsed:
    if len(names) == 1:
        return frames, [BodyTrack(frame_of, positions, names[0], 0, inferred)], []
    tracks = []
    for body, name in enumerate(names):
        rows = np.flatnonzero(body_of == body)
        tracks.append(BodyTrack(frame_of[rows], positions[rows], name, body, inferred[rows]))
    return frames, tracks, []


def _parse_patiently(texts: Sequence[bytes | RejectError], joints: int) -> list[Parsed | RejectError]:
    """Files whose joint lines pass the column parser together, since each of its calls costs 0.15 ms."""
    outlines = [text if isinstance(text, RejectError) else _outline(text, joints) for text in texts]
    sound = [o for o in outlines if isinstance(o, _Outline)]
    values = None
    if sound:
        blocks = [block for outline in sound for block in outline.blocks()]
        values = parse_columns(b"\n".join(blocks), len(blocks) * joints, JOINT_FIELDS, KEEP)
    out: list[Parsed | RejectError] = []
    at = 0
    for outline in outlines:
        if isinstance(outline, RejectError):
            out.append(outline)
            continue
        rows = len(outline.ids) * joints
        try:
            mine = outline.read_slowly() if values is None else values[at : at + rows]
            out.append(_finish(outline, mine))
        except RejectError as error:
            out.append(error)
        at += rows
    return out


@dataclass
class _Outline:
    """Where things stand in a file: line n is data[breaks[n] + 1 : breaks[n + 1]]; for every body in file
    order its id, its frame and the number of its first joint line."""

    data: bytes
    joints: int
    breaks: list[int]
    frames: int
    ids: list[str]
    body_frames: list[int]
    first_lines: list[int]

    def blocks(self) -> list[bytes]:
        """The joint lines of each body."""
        breaks, joints = self.breaks, self.joints
        return [self.data[breaks[i] + 1 : breaks[i + joints]] for i in self.first_lines]

    def read_slowly(self) -> npt.NDArray[np.float64]:
        numbers = [i + j for i in self.first_lines for j in range(self.joints)]
        return parse_lines(
            [self.data[self.breaks[n] + 1 : self.breaks[n + 1]] for n in numbers], numbers, JOINT_FIELDS, KEEP
        )


def _outline(data: bytes, joints: int) -> _Outline | RejectError:
    try:
        if not data or data.isspace():
            raise RejectError("empty", f"{len(data)} bytes, nothing but white space")
        breaks = [-1, *np.flatnonzero(np.frombuffer(data, np.uint8) == LINE_FEED).tolist()]
        if not data.endswith(b"\n"):
            breaks.append(len(data))
        while not data[breaks[-2] + 1 : breaks[-1]].strip():
            breaks.pop()
        frames, ids, body_frames, first_lines = _walk(data, breaks, joints)
        if not ids:
            raise RejectError("no_body", f"{frames} frames, none holds a body")
        return _Outline(data, joints, breaks, frames, ids, body_frames, first_lines)
    except RejectError as error:
        return error


def _finish(outline: _Outline, values: npt.NDArray[np.float64]) -> Parsed:
    """values : (bodies * V, 4), x, y, z and the tracking state of every joint line."""
    values = values.reshape(len(outline.ids), outline.joints, 4)
    frames = np.array(outline.body_frames, np.int64)
    if not within_range(values):  # the whole array at once; the positions alone only where something is odd
        check_positions(values[..., :3], frames)
    tracks, notes = _tracks(outline.ids, frames, values)
    return outline.frames, tracks, notes


def _groups(units: Sequence[Unit]) -> Iterator[list[Unit]]:
    group: list[Unit] = []
    for unit in units:
        group.append(unit)
        if sum(u.size for u in group) >= GROUP_BYTES:
            yield group
            group = []
    if group:
        yield group


def _walk(data: bytes, breaks: list[int], joints: int) -> tuple[int, list[str], list[int], list[int]]:
    """Frame count, and for every body in file order its id, its frame and the number of its first joint line.

    breaks : where each line ends, with -1 before the first.
    """
    frames = parse_count(data[: breaks[1]], 0, 10**9)
    lines = len(breaks) - 1
    if frames is None:
        raise RejectError("not_skeleton", "line 1 is not a number of frames")
    if frames > lines - 1:
        raise RejectError(
            "frame_count", f"line 1 says {frames:,} frames, but only {lines - 1:,} lines follow"
        )
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
                "body_count",
                f"line {at + 1} (frame {frame}) is not a number of bodies up to {MAX_BODIES_IN_FRAME}",
            )
        at += 1
        if at + bodies * block > lines:
            raise RejectError(
                "truncated",
                f"frame {frame} of {frames:,} is cut off: {lines - at} of {bodies * block} lines are there",
            )
        for _ in range(bodies):
            fields = data[breaks[at] + 1 : breaks[at + 1]].split()
            if len(fields) != BODY_FIELDS or not fields[0].isdigit() or len(fields[0]) > 24:
                raise RejectError(
                    "not_skeleton",
                    f"line {at + 1} is not a body line of {BODY_FIELDS} fields that begins with its id",
                )
            if data[breaks[at + 1] + 1 : breaks[at + 2]].strip() != shown_joints:
                found = data[breaks[at + 1] + 1 : breaks[at + 2]].strip()[:16].decode("ascii", "replace")
                raise RejectError(
                    "joint_count", f"line {at + 2} says {found!r} joints, the skeleton has {joints}"
                )
            ids.append(fields[0].decode("ascii"))
            body_frames.append(frame)
            first_lines.append(at + 2)
            at += block
    if at < lines:
        raise RejectError(
            "frame_count", f"line 1 says {frames:,} frames, but {lines - at:,} lines follow the last of them"
        )
    return frames, ids, body_frames, first_lines


def _tracks(
    ids: list[str], frames: npt.NDArray[np.int64], values: npt.NDArray[np.float64]
) -> tuple[list[BodyTrack], list[str]]:
    rows_of: dict[str, list[int]] = {}
    for row, body in enumerate(ids):
        rows_of.setdefault(body, []).append(row)
    tracks: list[BodyTrack] = []
    notes: list[str] = []
    for slot, (body, row_list) in enumerate(rows_of.items()):
        if (
            len(row_list) == len(ids) and (np.diff(frames) > 0).all()
        ):  # the only body: no need to pick its rows
            tracks.append(BodyTrack(frames, values[..., :3], body, slot, values[..., 3] != TRACKED))
            continue
        rows = np.array(row_list)
        first = np.concatenate(
            [[True], np.diff(frames[rows]) > 0]
        )  # an id twice in a frame: the first one counts
        if not first.all():
            notes.append(f"body {body}: {int((~first).sum())} second sightings in the same frame")
            rows = rows[first]
        tracks.append(BodyTrack(frames[rows], values[rows, :, :3], body, slot, values[rows, :, 3] != TRACKED))
    return tracks, notes
