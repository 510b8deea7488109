"""Recordings that were kept whole in forms that other projects read: a table of their frames, and their
intervals."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pyarrow import csv

from amr_data.clip import BodyTrack
from amr_data.interval_files import FoundInterval, IntervalsOf, write_intervals
from amr_data.shards.layout import Progress
from amr_data.shards.recordings import Recordings

if TYPE_CHECKING:
    from amr_data.shards.reader import ShardDataset

PIECE_FRAMES = 1 << 13
"""Frames that are read and written at once: memory does not grow with a recording."""


def write_recordings(dataset: ShardDataset, path: Path, progress: Progress | None) -> int:
    """One row per recording, body and frame: recording, body, frame, then x, y, z of every joint by its
    name. Returns the number of recordings."""
    numbers = [("body", pa.int32()), ("frame", pa.int32())]
    schema = pa.schema([("recording", pa.string()), *numbers, *coordinate_columns(dataset)])
    recordings = dataset.recordings
    with csv.CSVWriter(path, schema) as writer:
        for index, (name, frames) in enumerate(
            zip(recordings.names, recordings.frames.tolist(), strict=True)
        ):
            for first in range(0, frames, PIECE_FRAMES):
                for track in recordings.part(index, first, first + PIECE_FRAMES).tracks:
                    columns = [pa.array([name] * len(track.frames)), *track_columns(track)]
                    writer.write_batch(pa.record_batch(columns, schema=schema))
            if progress:
                progress(index + 1, len(recordings))
    return len(recordings)


def write_true_intervals(dataset: ShardDataset, path: Path, progress: Progress | None) -> int:
    """What the labels say of every recording, as `interval_files` writes it. Returns the number of
    intervals."""

    def of_each() -> Iterator[IntervalsOf]:
        recordings = dataset.recordings
        for index, (name, frames) in enumerate(
            zip(recordings.names, recordings.frames.tolist(), strict=True)
        ):
            found = (FoundInterval(i.label, i.first, i.end) for i in recordings.intervals_of(index))
            yield IntervalsOf(name, dataset.spec.frame_rate, frames, tuple(found))
            if progress:
                progress(index + 1, len(recordings))

    return write_intervals(path, of_each(), dataset.spec.class_names)


def _named(recordings: Recordings) -> Iterator[tuple[str, int]]:
    """Name and frames of each."""
    return zip(recordings.names, recordings.frames.tolist(), strict=True)


def coordinate_columns(dataset: ShardDataset) -> list[tuple[str, Any]]:
    """Name and type of a column for each coordinate of each joint."""
    return [(f"{joint}_{axis}", pa.float32()) for joint in dataset.spec.skeleton.joints for axis in "xyz"]


def track_columns(track: BodyTrack) -> list[Any]:
    """A track's body, its frames and its coordinates, a row a frame."""
    flat = track.joints.astype(np.float32).reshape(len(track.frames), -1)
    return [
        pa.array(np.full(len(track.frames), track.slot, np.int32)),
        pa.array(track.frames.astype(np.int32)),
        *(pa.array(np.ascontiguousarray(flat[:, i])) for i in range(flat.shape[1])),
    ]
