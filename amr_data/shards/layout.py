"""The layout of a shard (docs/shard-format.md): frames of all tracks lie end to end, and two tables say what
they are."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import numpy.typing as npt

FORMAT_VERSION, WITH_RECORDINGS = 1, 2
"""Of a dataset of clips alone, and of one that keeps the recordings which its clips are cut from."""
MANIFEST = "manifest.json"
PLAN = "plan.json"
REJECTS = "rejects.jsonl"
SHARD_FILES = re.compile(r"shard-[0-9]{5,}\.h5")

Progress = Callable[[int, int], None]
"""Is told how much is done, and of how much."""

COORDINATES = 3
"""Of a joint, in metres."""

# What a dataset may hold at most, so that no number in a file decides how much memory is taken. No skeleton
# recording comes near them; the conversion rejects what is larger.
MAX_JSON_BYTES = 64 << 20
"""Of manifest.json, plan.json and of the texts in a shard."""
MAX_LINE_BYTES = 1 << 20
"""Of one reject."""
MAX_NAME_BYTES, MAX_ID_BYTES = 1024, 256
"""Of a clip's or a recording's name, and of a body's id, in UTF-8."""
MAX_CLIP_FRAMES = 1 << 20
"""Nine hours at 30 frames a second."""
MAX_RECORDING_FRAMES = 1 << 22
"""A day and a half at 30 frames a second."""
MAX_SLOTS = 64
"""Bodies that a recording may hold side by side."""
MAX_DEPTH = 64
"""Clips that a row of a recording may belong to, so that a small file cannot ask for much memory."""
MAX_CHUNK_BYTES = 1 << 20
"""Of a compressed shard's chunk, unless one frame alone is larger."""


def shard_name(index: int) -> str:
    return f"shard-{index:05d}.h5"


def track_dtype(id_length: int) -> np.dtype[np.void]:
    """One row per contiguous stretch of one body: `first_row` in /frames, `first_frame` in the clip."""
    return np.dtype(
        [
            ("clip", "<i4"),
            ("slot", "<i2"),
            ("first_row", "<i8"),
            ("first_frame", "<i4"),
            ("frames", "<i4"),
            ("body_id", f"S{max(id_length, 1)}"),
        ]
    )


def clip_dtype(name_length: int, video_length: int, joints: int, scales: int) -> np.dtype[np.void]:
    """One row per clip; `mean_energy` (S,) in square metres, `path_length` (V,) in metres, `still_share` of
    the frame steps."""
    return np.dtype(
        [
            ("name", f"S{max(name_length, 1)}"),
            ("video", f"S{max(video_length, 1)}"),
            ("label", "<i4"),
            ("subject", "<i4"),
            ("camera", "<i4"),
            ("setup", "<i4"),
            ("replication", "<i4"),
            ("frames", "<i4"),
            ("bodies", "<i2"),
            ("inferred_share", "<f4"),
            ("still_share", "<f4"),
            ("mean_energy", "<f4", (scales,)),
            ("path_length", "<f4", (joints,)),
        ]
    )


def recording_dtype(name_length: int) -> np.dtype[np.void]:
    """One row per recording."""
    numbers = ("subject", "camera", "setup", "replication", "frames")
    return np.dtype([("name", f"S{max(name_length, 1)}"), *((field, "<i4") for field in numbers)])


def stretch_dtype(id_length: int) -> np.dtype[np.void]:
    """One row per contiguous stretch of one body of a recording; as `track_dtype`."""
    fields = track_dtype(id_length).descr
    return np.dtype([("recording", fields[0][1]), *fields[1:]])


VIEW_DTYPE = np.dtype(
    [("recording", "<i4"), ("first", "<i4"), ("origin", "<f8", (3,)), ("turn", "<f8", (3, 3))]
)
"""One row per clip: the recording and the frame of it at which the clip begins; a joint of the clip stands at
`turn` x (joint of the recording - `origin`)."""

INTERVAL_DTYPE = np.dtype([("recording", "<i4"), ("label", "<i4"), ("first", "<i4"), ("end", "<i4")])
"""One row per labelled interval of a recording, in frames of it, `end` excluded."""


def content_checksum(arrays: Iterable[npt.NDArray[np.generic]], texts: Sequence[str]) -> str:
    """SHA-256 over shapes, types and values: equal content gives an equal sum, whatever the file's
    compression."""
    digest = hashlib.sha256()
    for array in arrays:
        # spelt out field by field, since h5py adds notes of its own to a type that it reads back
        fields = [
            (name, kind[0].base.str, kind[0].shape) for name, kind in (array.dtype.fields or {}).items()
        ]
        digest.update(f"{fields or array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).view(np.uint8).data if array.size else b"")
    for text in texts:
        digest.update(text.encode() + b"\0")
    return digest.hexdigest()
