"""Files that other projects have made: PYSKL's annotation pickles and the .npz files of CTR-GCN, MAMP and
their kin. Values are taken as they are; a frame of a body that is all zeros is a frame without that body, as
these projects mean it."""

from __future__ import annotations

import math
import zipfile
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from amr_data.clip import BodyTrack, Clip
from amr_data.errors import AmrError, Reject, RejectError, UsageError
from amr_data.readers.base import Discovery, Unit, name_fields
from amr_data.readers.family import Family, FamilyOptions, load_family
from amr_data.readers.safe_pickle import UnsafePickle, load_plain
from amr_data.readers.sources import Member, RawSource, bomb
from amr_data.readers.text import check_positions
from amr_data.specs import DatasetSpec, Protocol


class _ImportFamily(Family):
    """Reads the file once and keeps its clips; a unit is one of them."""

    imported = True
    parallel = False  # the file is read once and cut into clips by index

    def __init__(self) -> None:
        self._key: tuple[Path, int] | None = None
        self._content: dict[str, Any] = {}

    def content(self, source: RawSource) -> dict[str, Any]:
        if len(source.paths) != 1:
            raise UsageError("another project's file is converted alone, not together with other sources")
        path = source.paths[0]
        key = (path, path.stat().st_mtime_ns)
        if self._key != key:
            self._content, self._key = self.load(path), key
        return self._content

    @abstractmethod
    def load(self, path: Path) -> dict[str, Any]:
        """The file's content, its structure checked. Raises AmrError."""

    def read(
        self, source: RawSource, units: Sequence[Unit], spec: DatasetSpec, options: FamilyOptions
    ) -> Iterator[Clip | Reject]:
        for unit in units:
            yield self.read_one(source, unit, spec)

    @abstractmethod
    def read_one(self, source: RawSource, unit: Unit, spec: DatasetSpec) -> Clip | Reject: ...

    def clean(self, clip: Clip, recipe: str, spec: DatasetSpec) -> Clip:
        """As the dataset's own files are cleaned, for whoever asks for it."""
        return load_family(spec.raw).clean(clip, recipe, spec)

    def centres(self, recipe: str, spec: DatasetSpec) -> bool:
        return load_family(spec.raw).centres(recipe, spec)


class PysklFamily(_ImportFamily):
    """`split` : part name to frame_dirs, as in xsub_train and xsub_val.  `annotations` : dicts with
    frame_dir, label, total_frames and keypoint (M, T, V, 3).  `synthetic` : True in an export of invented
    motion; other readers look past it."""

    name = "pyskl"
    title = "PYSKL annotation files"
    endings = (".pkl", ".pickle")

    def sniff(self, head: bytes, filename: str) -> bool:
        return head[:1] == b"\x80" or filename.lower().endswith(self.endings)

    def load(self, path: Path) -> dict[str, Any]:
        try:
            content = load_plain(path)
        except UnsafePickle as error:
            raise AmrError(f"{path} is refused: {error}") from None
        if (
            not isinstance(content, dict)
            or not isinstance(content.get("annotations"), list)
            or not isinstance(content.get("split"), dict)
        ):
            raise AmrError(
                f"{path} is not a PYSKL annotation file: expected a dict with 'split' and 'annotations'"
            )
        return content

    def matches(self, source: RawSource, spec: DatasetSpec) -> tuple[int, int]:
        annotations = self.content(source)["annotations"]
        return sum(_is_of(spec, a) for a in annotations), len(annotations)

    def discover(self, source: RawSource, spec: DatasetSpec, options: FamilyOptions) -> Discovery:
        content = self.content(source)
        found = Discovery(
            sources=len(content["annotations"]),
            replace_protocols=True,
            synthetic=content.get("synthetic") is True,
        )
        seen: set[str] = set()
        shown = source.names[0]
        for index, annotation in enumerate(content["annotations"]):
            name = annotation.get("frame_dir") if isinstance(annotation, dict) else None
            if not isinstance(name, str) or not name:
                found.rejects.append(Reject(f"{shown}:{index}", "name", "the annotation has no frame_dir"))
            elif name in seen:
                found.rejects.append(Reject(f"{shown}:{index}", "duplicate", f"{name} was already taken"))
            else:
                size = getattr(annotation.get("keypoint"), "nbytes", 0)
                found.units.append(
                    Unit(name, (Member(0, str(index), int(size), source.paths[0].stat().st_mtime_ns),))
                )
                seen.add(name)
        for part, names in content["split"].items():
            if isinstance(part, str) and part.endswith("_train") and isinstance(names, list | tuple):
                protocol = part.removesuffix("_train")
                test = content["split"].get(f"{protocol}_val", content["split"].get(f"{protocol}_test", []))
                found.protocols[protocol] = Protocol(
                    by="video", train=[str(n) for n in names], test=[str(n) for n in test]
                )
        if not found.protocols:
            raise AmrError(f"{source.paths[0]}: 'split' has no pair such as xsub_train and xsub_val")
        return found

    def read_one(self, source: RawSource, unit: Unit, spec: DatasetSpec) -> Clip | Reject:
        index = int(unit.members[0].path)
        annotation = self.content(source)["annotations"][index]
        shown = f"{source.names[0]}:{index}"
        try:
            keypoint, label = annotation.get("keypoint"), annotation.get("label")
            if not isinstance(keypoint, np.ndarray) or keypoint.ndim != 4 or keypoint.dtype.kind != "f":
                raise RejectError("not_skeleton", "keypoint is not an array of floats (M, T, V, 3)")
            return _clip(
                unit.name,
                label,
                keypoint.transpose(1, 0, 2, 3),
                len(keypoint[0]) if len(keypoint) else 0,
                shown,
                spec,
                unit.name,
            )
        except RejectError as error:
            return Reject(shown, error.reason, error.detail)


class NpzFamily(_ImportFamily):
    """x_train, x_test : (N, T, M * V * 3), zero-padded.  y_train, y_test : (N, classes) one-hot, or (N,)
    labels."""

    name = "npz"
    title = ".npz files of CTR-GCN, MAMP and their kin"
    endings = (".npz",)

    def sniff(self, head: bytes, filename: str) -> bool:
        return head.startswith(b"PK") and filename.lower().endswith(self.endings)

    def load(self, path: Path) -> dict[str, Any]:
        content: dict[str, Any] = {}
        try:
            with zipfile.ZipFile(path) as file:
                for part in ("train", "test"):
                    if f"x_{part}.npy" in file.namelist():
                        content[f"x_{part}"], content[f"y_{part}"] = (
                            _npy(file, f"{axis}_{part}.npy") for axis in "xy"
                        )
        except Exception as error:  # a damaged archive can fail in any way
            raise AmrError(
                f"{path} cannot be read as .npz: {str(error)[:200] or type(error).__name__}"
            ) from None
        parts = [p for p in ("train", "test") if f"x_{p}" in content]
        if not parts:
            raise AmrError(f"{path} has neither x_train nor x_test")
        for part in parts:
            x, y = content[f"x_{part}"], content[f"y_{part}"]
            if x.ndim != 3 or x.dtype.kind != "f" or y.ndim not in (1, 2) or len(x) != len(y):
                raise AmrError(
                    f"{path}: x_{part} is {x.dtype}{x.shape}, y_{part} {y.shape}; expected (N, T, 150) and "
                    f"(N, classes)"
                )
        return content

    def matches(self, source: RawSource, spec: DatasetSpec) -> tuple[int, int]:
        """All clips where the values a frame and the classes are as many as the dataset's, else none."""
        content = self.content(source)
        parts = [p for p in ("train", "test") if f"x_{p}" in content]
        clips = sum(len(content[f"x_{p}"]) for p in parts)
        values = spec.max_bodies * len(spec.skeleton.joints) * 3
        fits = all(
            content[f"x_{p}"].shape[2] == values and content[f"y_{p}"].shape[1:] == (len(spec.classes),)
            for p in parts
        )
        return clips if fits else 0, clips

    def discover(self, source: RawSource, spec: DatasetSpec, options: FamilyOptions) -> Discovery:
        content = self.content(source)
        found = Discovery(replace_protocols=True)
        stamp = source.paths[0].stat().st_mtime_ns
        for part in ("train", "test"):
            x = content.get(f"x_{part}", ())
            found.units += [
                Unit(f"{part}_{i:06d}", (Member(0, f"{part}/{i}", int(x[i].nbytes), stamp),))
                for i in range(len(x))
            ]
        found.sources = len(found.units)
        found.protocols["split"] = Protocol(by="video", train=["train"], test=["test"])
        return found

    def read_one(self, source: RawSource, unit: Unit, spec: DatasetSpec) -> Clip | Reject:
        part, index = unit.members[0].path.split("/")
        content = self.content(source)
        x, y = content[f"x_{part}"][int(index)], content[f"y_{part}"][int(index)]
        shown = f"{source.names[0]}:x_{part}[{index}]"
        joints = len(spec.skeleton.joints)
        try:
            if x.shape[1] % (joints * 3):
                raise RejectError(
                    "joint_count", f"{x.shape[1]} values a frame are no multiple of {joints} joints x 3"
                )
            used = np.flatnonzero(x.any(axis=1))
            if y.ndim and not (np.count_nonzero(y) == 1 and y.max() == 1):
                raise RejectError("label_mismatch", "the label is not one-hot")
            label = int(y.argmax()) if y.ndim else int(y)
            frames = int(used[-1]) + 1 if len(used) else 0
            return _clip(
                unit.name, label, x.reshape(len(x), -1, joints, 3)[:frames], frames, shown, spec, part
            )
        except RejectError as error:
            return Reject(shown, error.reason, error.detail)


def _is_of(spec: DatasetSpec, annotation: Any) -> bool:
    """Whether an annotation's name is one of the dataset's, and its label the class that the name says."""
    name = annotation.get("frame_dir") if isinstance(annotation, dict) else None
    numbers = spec.parse_name(name) if isinstance(name, str) and spec.naming is not None else None
    if not numbers:
        return False
    label = annotation.get("label")
    return "action" not in numbers or (label is not None and spec.label(numbers["action"]) == label)


def _npy(archive: zipfile.ZipFile, name: str) -> npt.NDArray[Any]:
    """One array of an .npz, its header checked against the bytes that are there before anything is
    allocated."""
    info = archive.getinfo(name)
    problem = bomb(info.file_size, info.compress_size)
    if problem:
        raise ValueError(f"{name} is {problem}")
    with archive.open(info) as file:
        version = np.lib.format.read_magic(file)
        read_header = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, fortran, kind = read_header(file)
        if kind.hasobject or kind.names:
            raise ValueError(f"{name} holds objects or records, not numbers")
        data = file.read()
    if math.prod(shape) * kind.itemsize != len(data):
        raise ValueError(f"{name} says {shape} of {kind}, but has {len(data):,} bytes")
    return np.frombuffer(data, kind).reshape(shape, order="F" if fortran else "C")


def _clip(
    name: str,
    label: Any,
    video: npt.NDArray[np.floating],
    frames: int,
    source: str,
    spec: DatasetSpec,
    part: str,
) -> Clip:
    """video : (T, M, V, 3), zeros where a body is absent; `part` is what the source's protocols split by."""
    if not isinstance(label, int | np.integer) or not 0 <= int(label) < len(spec.classes):
        raise RejectError("unknown_class", f"label {label!r} is not one of 0 to {len(spec.classes) - 1}")
    if video.shape[2:] != (len(spec.skeleton.joints), 3):
        raise RejectError(
            "joint_count",
            f"{video.shape[2:]} values a body, the skeleton has {(len(spec.skeleton.joints), 3)}",
        )
    values = video.astype(np.float64)
    check_positions(values.reshape(len(values), -1, 3), range(len(values)))
    clip = Clip(name, int(label), frames, [], video=part, source=source, **name_fields(spec, name))
    for slot in range(video.shape[1]):
        there = np.flatnonzero(values[:, slot].any(axis=(1, 2)))
        if len(there):
            clip.tracks.append(BodyTrack(there, values[there, slot], str(slot + 1), slot))
    if not clip.tracks:
        raise RejectError("no_body", f"{frames} frames, all zeros")
    return clip
