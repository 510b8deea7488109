"""NW-UCLA clips as they are passed on among skeleton projects: one JSON a clip with file_name, skeletons
(frames x 20 x 3) and label."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import numpy as np

from amr_data.clip import BodyTrack, Clip
from amr_data.errors import Reject, RejectError
from amr_data.readers.base import Discovery, Unit, discover_by_name, files_ending, new_clip
from amr_data.readers.family import Family, FamilyOptions
from amr_data.readers.sources import RawSource
from amr_data.readers.text import check_positions
from amr_data.specs import NO_LABEL, DatasetSpec


class NwUclaFamily(Family):
    name = "nw-ucla"
    title = "NW-UCLA clips as JSON"
    endings = (".json",)

    def sniff(self, head: bytes, filename: str) -> bool:
        return head.lstrip().startswith(b"{") and b'"skeletons"' in head

    def discover(self, source: RawSource, spec: DatasetSpec, options: FamilyOptions) -> Discovery:
        return discover_by_name(source, spec, files_ending(source, self.endings))

    def read(
        self, source: RawSource, units: Sequence[Unit], spec: DatasetSpec, options: FamilyOptions
    ) -> Iterator[Clip | Reject]:
        for unit in units:
            shown = source.shown(unit.members[0])
            try:
                clip = new_clip(unit, spec, shown)
                track, label = parse_nw_ucla(source.read(unit.members[0]), len(spec.skeleton.joints))
                if label is not None and clip.label not in (NO_LABEL, label - 1):
                    raise RejectError(
                        "label_mismatch", f"the file says class {label}, its name says {clip.label + 1}"
                    )
                clip.frames, clip.tracks = int(track.frames[-1]) + 1, [track]
                yield clip
            except RejectError as error:
                yield Reject(shown, error.reason, error.detail)


def parse_nw_ucla(data: bytes, joints: int) -> tuple[BodyTrack, int | None]:
    """Parse one clip. Returns its only track (frames of all zeros left out) and the 1-based label it states,
    if any."""
    if not data.strip():
        raise RejectError("empty", f"{len(data)} bytes, nothing but white space")
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise RejectError("not_skeleton", f"not JSON: {str(error)[:120]}") from None
    if not isinstance(content, dict) or not isinstance(content.get("skeletons"), list):
        raise RejectError("not_skeleton", "expected an object with a list 'skeletons'")
    skeletons = content["skeletons"]
    if not skeletons:
        raise RejectError("no_body", "'skeletons' holds no frame")
    for frame, body in enumerate(skeletons):
        if not isinstance(body, list) or len(body) != joints:
            found = len(body) if isinstance(body, list) else type(body).__name__
            raise RejectError("joint_count", f"frame {frame} has {found} joints, the skeleton has {joints}")
        for joint, point in enumerate(body):
            if not isinstance(point, list) or len(point) != 3:
                raise RejectError(
                    "joint_count", f"frame {frame}, joint {joint + 1} is not a point of three numbers"
                )
            if not all(type(value) in (int, float) for value in point):
                raise RejectError(
                    "bad_number", f"frame {frame}, joint {joint + 1} (1-based) is {str(point)[:48]}"
                )
    try:
        positions = np.array(skeletons, np.float64)
    except (OverflowError, ValueError, TypeError) as error:
        raise RejectError("bad_number", str(error)[:120]) from None
    check_positions(positions, range(len(positions)))
    frames = np.flatnonzero(positions.any(axis=(1, 2)))
    if not len(frames):
        raise RejectError("no_body", f"{len(positions)} frames, all zeros")
    label = content.get("label")
    if label is not None and type(label) is not int:
        raise RejectError("label_mismatch", f"label is {str(label)[:24]!r}, not a number")
    return BodyTrack(frames, positions[frames]), label
