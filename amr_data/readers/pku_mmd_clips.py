"""From PKU-MMD videos to clips, and to whole recordings with the intervals of their label files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from amr_data.clip import BodyTrack, Clip
from amr_data.errors import Reject, RejectError
from amr_data.readers.base import name_fields
from amr_data.readers.text import check_positions, within_range
from amr_data.readers.untrimmed import Cut, Untrimmed
from amr_data.recording import Interval
from amr_data.specs import NO_LABEL, DatasetSpec

BODIES = 2


class LabelRow(NamedTuple):
    """A row of a label file as it stands there, and the clip that it makes; `shown` is where it stands."""

    name: str
    label: int
    start: int
    end: int
    shown: str


def untrimmed(
    name: str,
    spec: DatasetSpec,
    video: npt.NDArray[np.float64],
    rows: Sequence[LabelRow | Reject],
    frame_base: int,
) -> Untrimmed:
    """A whole video with its intervals. Frames that are no positions are left out of it, and clips that hold
    one are rejected. Raises RejectError where no body is left."""
    tracks, bad = [], np.zeros(len(video), bool)
    for slot in range(BODIES):
        there = np.flatnonzero(video[:, slot].any(axis=(1, 2)))
        joints = video[there, slot]
        if not within_range(joints):
            sound = np.array([within_range(frame) for frame in joints])
            bad[there[~sound]] = True
            there, joints = there[sound], joints[sound]
        if len(there):
            tracks.append(BodyTrack(there, joints, str(slot + 1), slot))
    if not tracks:
        raise RejectError("no_body", f"{len(video):,} frames hold no body")
    whole = Clip(name, NO_LABEL, len(video), tracks, **name_fields(spec, name))
    whole.dropped += [f"frame {frame}: positions that no sensor gives" for frame in np.flatnonzero(bad)]
    found = Untrimmed(whole, [])
    for row in rows:
        if isinstance(row, Reject):
            found.cuts.append(row)
            continue
        start, end = row.start - frame_base, min(row.end, len(video))
        try:
            if start < 0 or start >= len(video):
                raise RejectError("interval", _outside(start, row.end, video))
            if row.label != NO_LABEL:
                found.intervals.append(Interval(row.label, start, end))
            if bad[start:end].any():
                cut(row.name, name, spec, video, row.label, start, row.end)  # says which
        except RejectError as error:
            found.cuts.append(Reject(row.shown, error.reason, error.detail))
            continue
        past = (_past(row.end, video),) if row.end > len(video) else ()
        found.cuts.append(Cut(row.name, row.label, start, end, row.shown, dropped=past))
    return found


def _outside(start: int, end: int, video: npt.NDArray[np.float64]) -> str:
    return f"frames [{start}, {end}) do not begin inside the video of {len(video)} frames"


def _past(end: int, video: npt.NDArray[np.float64]) -> str:
    return f"{end - len(video)} frames that the label names lie past the video's end"


def cut(
    name: str,
    recording: str,
    spec: DatasetSpec,
    video: npt.NDArray[np.float64],
    label: int,
    start: int,
    end: int,
) -> Clip:
    """The frames [start, end) of a video as a clip. Raises RejectError where they begin outside it, hold
    nobody, or are no positions."""
    if start < 0 or start >= len(video):
        raise RejectError("interval", _outside(start, end, video))
    part = video[start:end]
    fields = name_fields(spec, recording)
    clip = Clip(name, label, len(part), [], video=recording, start=start, **fields)
    if end > len(video):
        clip.dropped.append(_past(end, video))
    for slot in range(BODIES):
        frames = np.flatnonzero(part[:, slot].any(axis=(1, 2)))
        if len(frames):
            check_positions(part[frames, slot], frames + start)
            clip.tracks.append(BodyTrack(frames, part[frames, slot], str(slot + 1), slot))
    if not clip.tracks:
        raise RejectError("no_body", f"frames [{start}, {end}) hold no body")
    return clip
