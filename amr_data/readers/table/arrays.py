"""Arrays out of .npy, .npz, .mat and .bin files, sizes checked against the bytes that are there before
anything is allocated, and nothing unpickled."""

from __future__ import annotations

import io
import math
import zipfile
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from amr_data.errors import RejectError
from amr_data.readers.npy import read_header
from amr_data.readers.sources import bomb
from amr_data.readers.table.layout import Layout
from amr_data.readers.table.matlab import read_mat

EMPTY = "no byte in the file"


def read_npy(file: IO[bytes], name: str) -> npt.NDArray[Any]:
    """One array, its header checked against what follows it. Raises RejectError."""
    try:
        shape, order, kind = read_header(file)
    except Exception as error:  # a damaged header can be wrong in any way
        raise RejectError("not_skeleton", f"{name} is no .npy array: {str(error)[:100]}") from None
    if kind.hasobject or kind.names or not kind.itemsize:
        raise RejectError(
            "not_skeleton", f"{name} holds {'objects' if kind.hasobject else kind}, not numbers"
        )
    data = file.read()
    if math.prod(shape) * kind.itemsize != len(data) or min(shape, default=0) < 0:
        raise RejectError("truncated", f"{name} says {shape} of {kind}, but has {len(data):,} bytes")
    return np.frombuffer(data, kind).reshape(shape, order=order)


def read_npz(data: bytes, keys: list[str]) -> dict[str, npt.NDArray[Any]]:
    """Arrays of an .npz by name; an empty name is the only one in it. Raises RejectError."""
    out = {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {
                i.filename.removesuffix(".npy"): i for i in archive.infolist() if i.filename.endswith(".npy")
            }
            for key in keys:
                if key not in members and (key or len(members) != 1):
                    shown = ", ".join(list(members)[:8]) or "none"
                    what = f"no array '{key}' in it" if key else "key must say which array"
                    raise RejectError("not_skeleton", f"{what}; it has {shown}")
                info = members[key or next(iter(members))]
                if problem := bomb(info.file_size, info.compress_size):
                    raise RejectError("too_large", f"{info.filename} is {problem}")
                with archive.open(info) as packed:
                    # a member that inflates past its declared size stops there
                    content = packed.read(info.file_size + 1)
                out[key] = read_npy(io.BytesIO(content), info.filename)
    except RejectError:
        raise
    except Exception as error:  # a damaged archive can fail in any way
        raise RejectError("unreadable", f"not an .npz: {str(error)[:120] or type(error).__name__}") from None
    return out


def read_bin(data: bytes, layout: Layout) -> npt.NDArray[Any]:
    """All numbers of a file that holds nothing else, (N,). Raises RejectError."""
    kind = np.dtype(layout.dtype).newbyteorder("<" if layout.endian == "little" else ">")
    if len(data) % kind.itemsize:
        raise RejectError("truncated", f"{len(data):,} bytes are no whole number of {layout.dtype}")
    return np.frombuffer(data, kind)


def read_arrays(kind: str, data: bytes, keys: list[str], layout: Layout) -> dict[str, npt.NDArray[Any]]:
    """The arrays of a file of format npy, npz, mat or bin, by the keys that were asked for. Raises
    RejectError."""
    if not data:
        raise RejectError("empty", EMPTY)
    if kind == "npz":
        return read_npz(data, keys)
    if kind == "mat":
        return read_mat(data, keys)
    array = read_npy(io.BytesIO(data), "the file") if kind == "npy" else read_bin(data, layout)
    return dict.fromkeys(keys, array)
