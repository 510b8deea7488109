"""The arrays of an .npz of CTR-GCN, MAMP and their kin, without a copy in memory: what the archive stores as
it is gets mapped, as `numpy.savez` writes it; what is compressed is read once."""

from __future__ import annotations

import math
import mmap
import struct
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from amr_data.errors import AmrError
from amr_data.readers.members import bomb
from amr_data.readers.npy import read_header

PARTS = ("train", "test", "val")
_LOCAL_HEADER = struct.Struct("<4s22sHH")
BLOCK = 1 << 20

Array = npt.NDArray[Any]


def load_npz(path: Path, given: str = "", check: bool = True) -> dict[str, Array]:
    """`x_train`, `y_train` and so on; a part without its `y_` has no labels.

    Args:
        given: what the user calls the file.
        check: read everything once and compare the archive's checksums.
    Raises: AmrError.
    """
    given = given or str(path)
    content: dict[str, Array] = {}
    try:
        with open(path, "rb") as raw, zipfile.ZipFile(raw) as archive:
            mapped = memoryview(mmap.mmap(raw.fileno(), 0, access=mmap.ACCESS_READ))
            names = archive.namelist()
            for name in (f"{axis}_{part}" for part in PARTS for axis in "xy"):
                if (count := names.count(f"{name}.npy")) > 1:
                    raise ValueError(f"it holds {name}.npy {count} times")
                if count:
                    content[name] = _array(archive, archive.getinfo(f"{name}.npy"), mapped, check)
    except Exception as error:  # a damaged archive can fail in any way
        said = str(error)[:200] or type(error).__name__
        raise AmrError(f"{given} cannot be read as .npz: {said}") from None
    if not any(f"x_{part}" in content for part in PARTS):
        raise AmrError(f"{given} has neither x_train nor x_test")
    for part in PARTS:
        _check_shapes(given, part, content.get(f"x_{part}"), content.get(f"y_{part}"))
    return content


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo, mapped: memoryview, check: bool) -> Array:
    """One array, its header checked against the bytes that are there before anything is allocated."""
    problem = bomb(info.file_size, info.compress_size)
    if problem:
        raise ValueError(f"{info.filename} is {problem}")
    stored = info.compress_type == zipfile.ZIP_STORED and not info.flag_bits & 1
    with archive.open(info) as file:
        shape, order, kind = _header(file, info.filename)
        begin = file.tell()
        if not stored:
            data: bytes | memoryview = file.read()
        else:
            data = _stored(info, mapped)[begin:]
            while check and file.read(BLOCK):  # the library compares the checksum at the end
                pass
    if math.prod(shape) * kind.itemsize != len(data):
        raise ValueError(f"{info.filename} says {shape} of {kind}, but has {len(data):,} bytes")
    return np.frombuffer(data, kind).reshape(shape, order=order) if len(data) else np.zeros(shape, kind)


def _header(file: IO[bytes], name: str) -> tuple[tuple[int, ...], Any, np.dtype[Any]]:
    shape, order, kind = read_header(file)
    if kind.kind not in "fiub":
        raise ValueError(f"{name} holds {kind}, not numbers")
    if any(n < 0 for n in shape) or (0 in shape and shape[0] > 0):
        raise ValueError(f"{name} says {shape}")
    return shape, order, kind


def _stored(info: zipfile.ZipInfo, mapped: memoryview) -> memoryview:
    """A stored member's bytes in the mapped file."""
    at = info.header_offset
    begins, _, name, extra = _LOCAL_HEADER.unpack(mapped[at : at + _LOCAL_HEADER.size])
    at += _LOCAL_HEADER.size + name + extra
    part = mapped[at : at + info.file_size]
    if begins != b"PK\x03\x04" or len(part) != info.file_size:
        raise ValueError(f"{info.filename} is not where the archive's list says")
    return part


def _check_shapes(given: str, part: str, x: Array | None, y: Array | None) -> None:
    if x is None and y is None:
        return
    sound = x is not None and x.ndim == 3 and x.dtype.kind == "f"
    if not sound or x is None or (y is not None and (y.ndim not in (1, 2) or len(x) != len(y))):
        found = ", ".join(
            f"{axis}_{part} is {'absent' if a is None else f'{a.dtype}{a.shape}'}"
            for axis, a in (("x", x), ("y", y))
        )
        raise AmrError(f"{given}: {found}; expected (N, T, 150) and (N, classes)")
