"""Files that other projects have made: PYSKL's annotation pickles and the .npz files of CTR-GCN, MAMP and
their kin. Both are mapped, not loaded: a clip's values are read when it is cut out, in whatever process."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from xxhash import xxh3_128

from amr_data.clip import Clip
from amr_data.errors import AmrError, Reject, RejectError, UsageError
from amr_data.readers.base import Discovery, Unit, unusable_detail
from amr_data.readers.family import Family, FamilyOptions, load_family
from amr_data.readers.imported_clips import imported_clip, label_of, one_hot_label
from amr_data.readers.npz_arrays import PARTS, load_npz
from amr_data.readers.safe_pickle import UnsafePickle, load_plain
from amr_data.readers.sources import Member, RawSource
from amr_data.readers.split_lists import paired
from amr_data.specs import NO_LABEL, DatasetSpec, Protocol


class _ImportFamily(Family):
    """Opens the file once in each process; a unit is one of its clips."""

    imported = True

    def __init__(self) -> None:
        self._key: tuple[Path, int] | None = None
        self._content: dict[str, Any] = {}

    def content(self, source: RawSource, check: bool = True) -> dict[str, Any]:
        """What the file holds; `check` compares checksums where the file has any: it reads all of it, and is
        needed once, not in every process. Raises UsageError, AmrError."""
        if len(source.paths) != 1:
            raise UsageError("another project's file is converted alone, not together with other sources")
        path = source.paths[0]
        key = (path, path.stat().st_mtime_ns)
        if self._key != key:
            self._content, self._key = self.load(path, source.given[0], check), key
        return self._content

    @abstractmethod
    def load(self, path: Path, given: str, check: bool) -> dict[str, Any]:
        """The content of a file that the user calls `given`, its structure checked. Raises AmrError."""

    def read(
        self, source: RawSource, units: Sequence[Unit], spec: DatasetSpec, options: FamilyOptions
    ) -> Iterator[Clip | Reject]:
        for unit in units:
            shown = self.shown(source, unit.members[0])
            self.read_again(source, unit)
            try:
                yield self.clip(source, unit, spec, shown)
            except RejectError as error:
                yield Reject(shown, error.reason, error.detail)

    def read_again(self, source: RawSource, unit: Unit) -> None:
        """A member is one clip of the file; what it holds is what is hashed."""
        digest = xxh3_128()
        for value in self.values(source, unit):
            if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biuf":
                digest.update(f"{value.dtype.str}{value.shape}".encode() + value.tobytes())
            else:
                digest.update(_spelt(value).encode() + b"\0")
        source.hashes[unit.members[0]] = digest.hexdigest()

    @abstractmethod
    def values(self, source: RawSource, unit: Unit) -> list[Any]:
        """Everything that the file says about a clip: arrays and plain values."""

    @abstractmethod
    def shown(self, source: RawSource, member: Member) -> str:
        """Where a clip lies in the file, for people."""

    @abstractmethod
    def clip(self, source: RawSource, unit: Unit, spec: DatasetSpec, shown: str) -> Clip:
        """One clip. Raises RejectError."""

    def check(self, spec: DatasetSpec) -> None:
        """Names need not say anything: labels and splits stand in the file."""
        if spec.layout:
            raise ValueError(f"layout belongs to other families than {self.name}")

    def clean(self, clip: Clip, recipe: str, spec: DatasetSpec) -> Clip:
        """As the dataset's own files are cleaned, for whoever asks for it."""
        own = load_family(spec.raw)
        return super().clean(clip, recipe, spec) if own.imported else own.clean(clip, recipe, spec)

    def centres(self, recipe: str, spec: DatasetSpec) -> bool:
        own = load_family(spec.raw)
        return super().centres(recipe, spec) if own.imported else own.centres(recipe, spec)


class PysklFamily(_ImportFamily):
    """`split` : part name to frame_dirs, as in xsub_train and xsub_val; may be absent.  `annotations` : dicts
    with frame_dir, label, and keypoint (M, T, V, 3), or (M, T, V, 2) pixels with keypoint_score (M, T, V) and
    img_shape (height, width).  `synthetic` : True in an export of invented motion; other readers look past
    it."""

    name = "pyskl"
    title = "PYSKL annotation files"
    endings = (".pkl", ".pickle")

    def sniff(self, head: bytes, filename: str) -> bool:
        return head[:1] == b"\x80" or filename.lower().endswith(self.endings)

    def load(self, path: Path, given: str, check: bool) -> dict[str, Any]:
        try:
            content = load_plain(path)
        except UnsafePickle as error:
            raise AmrError(f"{given} is refused: {error}") from None
        if not isinstance(content, dict) or not isinstance(content.get("annotations"), list):
            raise AmrError(
                f"{given} is not a PYSKL annotation file: expected a dict with 'split' and 'annotations'"
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
            protocols=_protocols(source.names[0], content.get("split")),
        )
        seen: set[str] = set()
        unusable = set(spec.unusable)
        stamp = source.paths[0].stat().st_mtime_ns
        for index, annotation in enumerate(content["annotations"]):
            name = annotation.get("frame_dir") if isinstance(annotation, dict) else None
            shown = f"{source.names[0]}:{index}"
            if not isinstance(name, str) or not name:
                found.rejects.append(Reject(shown, "name", "the annotation has no frame_dir"))
            elif name in seen:
                found.rejects.append(Reject(shown, "duplicate", f"{name} was already taken"))
            elif name in unusable:
                found.rejects.append(Reject(shown, "listed_unusable", unusable_detail(spec)))
            else:
                size = int(getattr(annotation.get("keypoint"), "nbytes", 0))
                found.units.append(Unit(name, (Member(0, str(index), size, stamp),)))
                seen.add(name)
        return found

    def values(self, source: RawSource, unit: Unit) -> list[Any]:
        annotation = self.content(source, check=False)["annotations"][int(unit.members[0].path)]
        return [annotation.get(key) for key in ("label", "keypoint", "keypoint_score", "img_shape")]

    def shown(self, source: RawSource, member: Member) -> str:
        return f"{source.names[0]}:{member.path}"

    def clip(self, source: RawSource, unit: Unit, spec: DatasetSpec, shown: str) -> Clip:
        annotation = self.content(source, check=False)["annotations"][int(unit.members[0].path)]
        keypoint = annotation.get("keypoint")
        if not isinstance(keypoint, np.ndarray) or keypoint.ndim != 4 or keypoint.dtype.kind != "f":
            raise RejectError("not_skeleton", "keypoint is not an array of floats (M, T, V, 3)")
        label = label_of(annotation.get("label"), spec)
        score, shape = annotation.get("keypoint_score"), annotation.get("img_shape")
        return imported_clip(unit.name, label, keypoint, shown, spec, score=score, img_shape=shape)


class NpzFamily(_ImportFamily):
    """x_train, x_test : (N, T, M * V * 3), zero-padded.  y_train, y_test : (N, classes) one-hot, or (N,)
    labels, or absent.  x_val and y_val : a validation part, if there is one."""

    name = "npz"
    title = ".npz files of CTR-GCN, MAMP and their kin"
    endings = (".npz",)

    def sniff(self, head: bytes, filename: str) -> bool:
        return head.startswith(b"PK") and filename.lower().endswith(self.endings)

    def load(self, path: Path, given: str, check: bool) -> dict[str, Any]:
        return load_npz(path, given, check)

    def matches(self, source: RawSource, spec: DatasetSpec) -> tuple[int, int]:
        """All clips where the values a frame and the classes are as many as the dataset's, else none."""
        content = self.content(source)
        parts = [p for p in PARTS if f"x_{p}" in content]
        clips = sum(len(content[f"x_{p}"]) for p in parts)
        values = spec.max_bodies * len(spec.skeleton.joints) * 3
        fits = all(
            content[f"x_{p}"].shape[2] == values
            and getattr(content.get(f"y_{p}"), "shape", ())[1:] == (len(spec.classes),)
            for p in parts
        )
        return clips if fits else 0, clips

    def discover(self, source: RawSource, spec: DatasetSpec, options: FamilyOptions) -> Discovery:
        content = self.content(source)
        found = Discovery(replace_protocols=True)
        stamp = source.paths[0].stat().st_mtime_ns
        joints = len(spec.skeleton.joints)
        unusable = set(spec.unusable)
        for part in PARTS:
            x = content.get(f"x_{part}")
            if x is None:
                continue
            if x.shape[2] % (joints * 3):
                raise AmrError(
                    f"{source.names[0]}: x_{part} has {x.shape[2]} values a frame, no multiple of the "
                    f"{joints} joints x 3 of {spec.name}"
                )
            size = x.itemsize * x.shape[1] * x.shape[2]
            for index in range(len(x)):
                unit = Unit(f"{part}_{index:06d}", (Member(0, f"{part}/{index}", size, stamp),))
                if unit.name in unusable:
                    shown = self.shown(source, unit.members[0])
                    found.rejects.append(Reject(shown, "listed_unusable", unusable_detail(spec)))
                else:
                    found.units.append(unit)
            found.sources += len(x)
        validation = ["val"] if "x_val" in content else []
        found.protocols["split"] = Protocol(by="video", train=["train"], test=["test"], validation=validation)
        return found

    def values(self, source: RawSource, unit: Unit) -> list[Any]:
        part, index = unit.members[0].path.split("/")
        content = self.content(source, check=False)
        return [content[key][int(index)] for key in (f"x_{part}", f"y_{part}") if key in content]

    def shown(self, source: RawSource, member: Member) -> str:
        part, index = member.path.split("/")
        return f"{source.names[0]}:x_{part}[{index}]"

    def clip(self, source: RawSource, unit: Unit, spec: DatasetSpec, shown: str) -> Clip:
        part, index = unit.members[0].path.split("/")
        content = self.content(source, check=False)
        x, y = content[f"x_{part}"][int(index)], content.get(f"y_{part}")
        row = None if y is None else y[int(index)]
        label = label_of(row, spec) if row is None or not row.ndim else one_hot_label(row, spec)
        used = np.flatnonzero(x.any(axis=1))
        frames = int(used[-1]) + 1 if len(used) else 0
        keypoint = x.reshape(len(x), -1, len(spec.skeleton.joints), 3)[:frames].transpose(1, 0, 2, 3)
        return imported_clip(unit.name, label, keypoint, shown, spec, video=part)


def _spelt(value: Any) -> str:
    """A number or a pair of numbers as text; of anything else, which may be endless, only what it is."""
    if isinstance(value, list | tuple) and len(value) == 2:
        return f"{_number(value[0])},{_number(value[1])}"
    return _number(value)


def _number(value: Any) -> str:
    small = isinstance(value, int) and abs(value) < 2**63
    return repr(value) if small or isinstance(value, float) else type(value).__name__


def _is_of(spec: DatasetSpec, annotation: Any) -> bool:
    """Whether an annotation's name is one of the dataset's, its label the class that the name says, and its
    joints as many as the skeleton's."""
    shape = getattr(annotation.get("keypoint") if isinstance(annotation, dict) else None, "shape", ())
    if shape[2:3] != (len(spec.skeleton.joints),):
        return False
    name = annotation.get("frame_dir")
    numbers = spec.parse_name(name) if isinstance(name, str) and spec.naming is not None else None
    if not numbers:
        return False
    try:
        label = label_of(annotation.get("label"), spec)
    except RejectError:
        return False
    return "action" not in numbers or (label != NO_LABEL and spec.label(numbers["action"]) == label)


def _protocols(shown: str, split: Any) -> dict[str, Protocol]:
    """Train/test rules from a pickle's lists of names. Raises AmrError."""
    lists: dict[str, list[str]] = {}
    if not isinstance(split, dict | None):
        raise AmrError(f"{shown}: 'split' is a {type(split).__name__}, not a dict of lists of names")
    for name, names in (split or {}).items():
        if (
            not isinstance(name, str)
            or not isinstance(names, list | tuple)
            or not all(isinstance(n, str) for n in names)
        ):
            raise AmrError(f"{shown}: 'split' holds {str(name)[:60]}, which is no list of names")
        lists[name] = list(dict.fromkeys(names))
    try:
        return paired(lists)
    except ValueError as error:
        raise AmrError(f"{shown}: 'split': {error}") from None
