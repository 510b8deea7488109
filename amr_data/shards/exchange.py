"""A converted dataset in the forms that other projects load: PYSKL's annotation pickle, the .npz of CTR-GCN
and MAMP, and CSV."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import csv

from amr_data.clip import Clip
from amr_data.errors import UsageError
from amr_data.files import whole_file
from amr_data.shards.reader import ShardDataset
from amr_data.specs import TEST, TRAIN, unknown

Progress = Callable[[int, int], None]


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
        form: 'pyskl', 'npz' or 'csv'.
        split: whose train and test parts an .npz holds; the dataset's only split by default.
        frames: frames of every clip in an .npz, 300 by default as in the published files; a longer clip is
            refused.
        copy_single_body: fill the second body of one-person clips with the first, as the published NTU-120
            .npz files do.
        protocol: what `split` was once called; refused.
    Returns: how many clips were written.
    Raises: UsageError.
    """
    if protocol is not None:
        raise UsageError(f"protocol is now split: export_dataset(..., split={protocol!r})")
    forms: dict[str, Callable[[Path], int]] = {
        "pyskl": lambda path: _write_pyskl(dataset, path, progress),
        "npz": lambda path: _write_npz(dataset, path, split, frames or 300, copy_single_body, progress),
        "csv": lambda path: _write_csv(dataset, path, progress),
    }
    if form not in forms:
        raise UsageError(unknown("format", form, forms))
    if form != "npz" and (split or frames or copy_single_body):
        raise UsageError("split, frames and copy_single_body belong to the format npz")
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(out) as temporary:
        return forms[form](temporary)


def _write_pyskl(dataset: ShardDataset, path: Path, progress: Progress | None) -> int:
    annotations = []
    for clip in _clips(dataset, np.arange(len(dataset)), progress):
        keypoint = clip.dense()
        annotations.append(
            {"frame_dir": clip.name, "label": clip.label, "keypoint": keypoint, "total_frames": clip.frames}
        )
    parts = {}
    for name in dataset.spec.protocols:
        sides = dataset.membership(name)
        for part, side in (("train", TRAIN), ("val", TEST)):
            parts[f"{name}_{part}"] = [n for n, s in zip(dataset.names, sides, strict=True) if s == side]
    content: dict[str, Any] = {"split": parts, "annotations": annotations}
    if dataset.synthetic:
        content["synthetic"] = True
    with open(path, "wb") as file:
        pickle.dump(content, file, protocol=4)
    return len(annotations)


def _write_npz(
    dataset: ShardDataset,
    path: Path,
    split: str | None,
    frames: int,
    copy_single_body: bool,
    progress: Progress | None,
) -> int:
    if split is None:
        if len(dataset.spec.protocols) > 1:
            known = ", ".join(dataset.spec.protocols)
            raise UsageError(f"{dataset.spec.name} has the splits {known}: choose one with --split")
        (split,) = dataset.spec.protocols
    longest = int(dataset.clips["frames"].max(initial=0))
    if longest > frames:
        raise UsageError(f"the longest clip has {longest} frames, more than {frames}: raise frames")
    bodies, joints, classes = (
        dataset.spec.max_bodies,
        len(dataset.spec.skeleton.joints),
        len(dataset.spec.classes),
    )
    sides = [dataset.split(split, part) for part in ("train", "test")]
    total, done = sum(map(len, sides)), 0
    arrays: dict[str, Any] = {}
    for part, indices in zip(("train", "test"), sides, strict=True):
        x = np.zeros((len(indices), frames, bodies, joints, 3), np.float32)
        y = np.zeros((len(indices), classes), np.float32)
        for row, clip in enumerate(_clips(dataset, indices, None)):
            dense = clip.dense(bodies).transpose(1, 0, 2, 3)  # (T, M, V, 3)
            if copy_single_body and bodies > 1 and {t.slot for t in clip.tracks} == {0}:
                dense[:, 1] = dense[:, 0]
            x[row, : clip.frames] = dense
            y[row, clip.label] = 1
            done += 1
            if progress:
                progress(done, total)
        arrays[f"x_{part}"], arrays[f"y_{part}"] = x.reshape(len(indices), frames, -1), y
    with open(path, "wb") as file:
        np.savez(file, **arrays)
    return total


def _write_csv(dataset: ShardDataset, path: Path, progress: Progress | None) -> int:
    """One row per clip, body and frame: clip, label, body, frame, then x, y, z of every joint by its name."""
    joints = dataset.spec.skeleton.joints
    coordinates = [f"{j}_{axis}" for j in joints for axis in "xyz"]
    schema = pa.schema(
        [("clip", pa.string()), ("label", pa.int32()), ("body", pa.int32()), ("frame", pa.int32())]
        + [(c, pa.float32()) for c in coordinates]
    )
    with csv.CSVWriter(path, schema) as writer:
        for clip in _clips(dataset, np.arange(len(dataset)), progress):
            for track in clip.tracks:
                rows = len(track.frames)
                flat: npt.NDArray[np.float32] = track.joints.astype(np.float32).reshape(rows, -1)
                columns = [
                    pa.array([clip.name] * rows),
                    pa.array(np.full(rows, clip.label, np.int32)),
                    pa.array(np.full(rows, track.slot, np.int32)),
                    pa.array(track.frames.astype(np.int32)),
                    *(pa.array(np.ascontiguousarray(flat[:, i])) for i in range(flat.shape[1])),
                ]
                writer.write_batch(pa.record_batch(columns, schema=schema))
    return len(dataset)


def _clips(
    dataset: ShardDataset, indices: npt.NDArray[np.int64], progress: Progress | None
) -> Iterator[Clip]:
    for done, index in enumerate(indices.tolist(), 1):
        clip: Clip = dataset.clip(index)
        yield clip
        if progress:
            progress(done, len(indices))
