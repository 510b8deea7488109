"""A converted dataset in the forms that other projects load: PYSKL's annotation pickle, the .npz of CTR-GCN
and MAMP, and CSV."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import csv

from amr_data.clip import Clip
from amr_data.errors import UsageError
from amr_data.files import whole_file
from amr_data.shards.layout import COORDINATES, Progress
from amr_data.shards.reader import ShardDataset
from amr_data.shards.recording_exchange import (
    coordinate_columns,
    track_columns,
    write_recordings,
    write_true_intervals,
)
from amr_data.specs import unknown


def export_dataset(
    dataset: ShardDataset,
    out: str | Path,
    form: str,
    *,
    split: str | None = None,
    frames: int | None = None,
    copy_single_body: bool = False,
    progress: Progress | None = None,
    protocol: None = None,
) -> int:
    """Write a dataset for another project.

    Args:
        out: the file to write, whole or not at all.
        form: 'pyskl', 'npz' or 'csv' of the clips; where recordings were kept, 'recordings' (a table of all
            their frames, .csv) or 'intervals' (what their labels say, .csv or .json).
        split: whose train and test parts an .npz holds; the dataset's only split by default.
        frames: frames of every clip in an .npz, 300 by default as in the published files; a longer clip is
            refused.
        copy_single_body: fill the second body of one-person clips with the first, as the published NTU-120
            .npz files do.
        protocol: what `split` was once called; refused.
    Memory does not grow with the number of clips: each is written as soon as it is read.

    Returns: how many clips were written, or recordings, or intervals.
    Raises: UsageError, DamageError, WriteError.
    """
    if protocol is not None:
        raise UsageError(f"protocol is now split: export_dataset(..., split={protocol!r})")
    forms: dict[str, Callable[[Path], int]] = {
        "pyskl": lambda path: _write_pyskl(dataset, path, progress),
        "npz": lambda path: _write_npz(dataset, path, split, frames or 300, copy_single_body, progress),
        "csv": lambda path: _write_csv(dataset, path, progress),
        "recordings": lambda path: write_recordings(dataset, path, progress),
    }
    if form in ("recordings", "intervals") and not dataset.keeps_recordings:
        raise UsageError(f"{dataset.path} keeps no recordings; convert it again with --keep recordings")
    if form == "intervals":
        dataset.check_unchanged()
        return write_true_intervals(dataset, Path(out), progress)
    if form not in forms:
        raise UsageError(unknown("format", form, [*forms, "intervals"]))
    if form != "npz" and (split or frames or copy_single_body):
        raise UsageError("split, frames and copy_single_body belong to the format npz")
    dataset.check_unchanged()
    out = Path(out)
    with whole_file(out) as temporary:
        return forms[form](temporary)


def _write_pyskl(dataset: ShardDataset, path: Path, progress: Progress | None) -> int:
    parts = {}
    for name in dataset.spec.protocols:
        for part, indices in _parts(dataset, name).items():
            # these files call the part that is tested on val where there is no other
            shown = "val" if part == "test" and not dataset.spec.protocol(name).validation else part
            parts[f"{name}_{shown}"] = [dataset.names[i] for i in indices.tolist()]
    with open(path, "wb") as file:
        file.write(pickle.PROTO + bytes([_PROTOCOL]) + pickle.EMPTY_DICT + pickle.MARK)
        file.write(_pickled("split") + _pickled(parts))
        if dataset.synthetic:
            file.write(_pickled("synthetic") + _pickled(True))
        file.write(_pickled("annotations") + pickle.EMPTY_LIST)
        for clip in _clips(dataset, np.arange(len(dataset)), progress):
            file.write(
                _pickled(
                    {
                        "frame_dir": clip.name,
                        "label": clip.label,
                        "keypoint": clip.dense(),
                        "total_frames": clip.frames,
                    }
                )
                + pickle.APPEND
            )
        file.write(pickle.SETITEMS + pickle.STOP)
    return len(dataset)


_PROTOCOL = 3
"""The newest pickle protocol whose values may be strung together: each names its own places in the memo, and
none is cut into frames."""


def _pickled(value: Any) -> bytes:
    """A value's part of a pickle, without the mark at the beginning and the stop at the end."""
    return pickle.dumps(value, _PROTOCOL)[2:-1]


def _write_npz(
    dataset: ShardDataset,
    path: Path,
    split: str | None,
    frames: int,
    copy_single_body: bool,
    progress: Progress | None,
) -> int:
    if split is None:
        if len(dataset.spec.protocols) != 1:
            known = ", ".join(dataset.spec.protocols) or "none"
            raise UsageError(f"{dataset.spec.name} has the splits {known}: choose one with --split")
        (split,) = dataset.spec.protocols
    longest = int(dataset.clips["frames"].max(initial=0))
    if longest > frames:
        raise UsageError(f"the longest clip has {longest} frames, more than {frames}: raise frames")
    bodies, joints = dataset.spec.max_bodies, len(dataset.spec.skeleton.joints)
    sides = _parts(dataset, split)
    total, done = sum(map(len, sides.values())), 0
    with zipfile.ZipFile(path, "w", allowZip64=True) as archive:
        for part, indices in sides.items():
            shape = (len(indices), frames, bodies * joints * COORDINATES)
            with _npy(archive, f"x_{part}", shape) as file:
                for clip in dataset.stream(indices):
                    x = np.zeros((frames, bodies, joints, COORDINATES), np.float32)
                    x[: clip.frames] = clip.dense(bodies).transpose(1, 0, 2, 3)  # (T, M, V, 3)
                    if copy_single_body and bodies > 1 and {t.slot for t in clip.tracks} == {0}:
                        x[:, 1] = x[:, 0]
                    file.write(x.data)
                    done += 1
                    if progress:
                        progress(done, total)
            with _npy(archive, f"y_{part}", (len(indices), len(dataset.spec.classes))) as file:
                for label in dataset.clips["label"][indices].tolist():
                    # a clip without a label has a row of zeros
                    file.write((np.arange(len(dataset.spec.classes)) == label).astype(np.float32).data)
    return total


def _parts(dataset: ShardDataset, split: str) -> dict[str, npt.NDArray[np.int64]]:
    """Indices of the clips in each part of a split: train, test, and val where it has one."""
    parts = {"train": "train", "test": "test"}
    if split in dataset.spec.protocols and dataset.spec.protocol(split).validation:
        parts["val"] = "validation"
    return {shown: dataset.split(split, part) for shown, part in parts.items()}


@contextmanager
def _npy(archive: zipfile.ZipFile, name: str, shape: tuple[int, ...]) -> Iterator[IO[bytes]]:
    """An array of float32 in an .npz, to be written row by row."""
    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
        kind = np.lib.format.dtype_to_descr(np.dtype(np.float32))
        header = {"descr": kind, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        yield file


def _write_csv(dataset: ShardDataset, path: Path, progress: Progress | None) -> int:
    """One row per clip, body and frame: clip, label, body, frame, then x, y, z of every joint by its name."""
    numbers = [("label", pa.int32()), ("body", pa.int32()), ("frame", pa.int32())]
    schema = pa.schema([("clip", pa.string()), *numbers, *coordinate_columns(dataset)])
    with csv.CSVWriter(path, schema) as writer:
        for clip in _clips(dataset, np.arange(len(dataset)), progress):
            for track in clip.tracks:
                label = pa.array(np.full(len(track.frames), clip.label, np.int32))
                columns = [pa.array([clip.name] * len(track.frames)), label, *track_columns(track)]
                writer.write_batch(pa.record_batch(columns, schema=schema))
    return len(dataset)


def _clips(
    dataset: ShardDataset, indices: npt.NDArray[np.int64], progress: Progress | None
) -> Iterator[Clip]:
    for done, clip in enumerate(dataset.stream(indices), 1):
        yield clip
        if progress:
            progress(done, len(indices))
