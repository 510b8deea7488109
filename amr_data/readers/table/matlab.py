"""Arrays of plain numbers out of MATLAB files: versions 5 to 7 decoded here, version 7.3 by h5py. SciPy reads
more kinds of variables, but a damaged file can end the process in it, and it takes memory by a file's word.
Here no structure or object is looked into, no link followed, nothing outside the file read."""

from __future__ import annotations

import io
import math
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from amr_data.errors import RejectError
from amr_data.readers.sources import bomb
from amr_data.readers.table.shapes import MAX_VALUES

HEADER_BYTES = 128
MAX_INFLATED, MAX_AXES = 1 << 30, 8
MATRIX, COMPRESSED, UINT32, INT32 = 14, 15, 6, 5
COMPLEX = 0x0800
STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
"""How the numbers of an array are stored, which may be smaller than the array's own class."""
CLASSES = {1: "a cell array", 2: "a structure", 3: "an object", 4: "text", 5: "a sparse array"}
NUMBERS = range(6, 16)
HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"


def read_mat(data: bytes, keys: list[str]) -> dict[str, npt.NDArray[Any]]:
    """Arrays of a MATLAB file by name; an empty name is the only array of numbers in it. Raises
    RejectError."""
    if data[:8] == HDF5_MAGIC or data[512:520] == HDF5_MAGIC:
        return {key: _hdf5_array(data, key) for key in keys}
    if len(data) < HEADER_BYTES + 8 or data[126:128] not in (b"IM", b"MI"):
        raise RejectError("not_skeleton", "not a MATLAB file of version 5 or later (save it with -v7)")
    order = "<" if data[126:128] == b"IM" else ">"
    found = dict(_variables(data, order))
    out = {}
    for key in keys:
        name = _chosen(key, {n: kind in NUMBERS for n, (kind, _) in found.items()})
        kind, element = found[name]
        if kind not in NUMBERS:
            what = CLASSES.get(kind, "no array")
            raise RejectError("not_skeleton", f"'{name}' is {what}, not an array of numbers")
        out[key] = _array(name, element, order)
    return out


def _array(name: str, element: bytes, order: str) -> npt.NDArray[Any]:
    """The numbers of a variable: its parts are flags, sizes, name, real part."""
    parts = list(_parts(element, order, 4))
    if len(parts) < 4 or parts[1][0] != INT32 or len(parts[1][1]) % 4 or parts[3][0] not in STORED:
        raise RejectError("not_skeleton", f"'{name}' is damaged: sizes or numbers are missing")
    if struct.unpack(order + "I", parts[0][1][:4])[0] & COMPLEX:
        raise RejectError("bad_number", f"'{name}' holds complex numbers")
    shape = struct.unpack(f"{order}{len(parts[1][1]) // 4}i", parts[1][1])
    stored = np.dtype(order + STORED[parts[3][0]])
    if len(shape) > MAX_AXES or len(parts[3][1]) % stored.itemsize:
        raise RejectError("not_skeleton", f"'{name}' is damaged: {len(shape)} axes")
    numbers = np.frombuffer(parts[3][1], stored)
    if min(shape, default=0) < 0 or math.prod(shape) != len(numbers):
        shown = " x ".join(map(str, shape[:8]))
        raise RejectError("truncated", f"'{name}' says it is {shown}, but has {len(numbers):,} numbers")
    return numbers.reshape(shape, order="F")


def _chosen(key: str, numeric: dict[str, bool]) -> str:
    """The variable that a key names. `numeric` says of each whether it holds numbers."""
    if key:
        if key not in numeric:
            raise RejectError("not_skeleton", f"no array '{key}' in it; it has {_shown(list(numeric))}")
        return key
    arrays = [name for name, plain in numeric.items() if plain]
    if len(arrays) != 1:
        raise RejectError("not_skeleton", f"key must say which array; it has {_shown(list(numeric))}")
    return arrays[0]


def _shown(names: list[str]) -> str:
    return ", ".join(n[:40] for n in names[:8]) or "none"


def _variables(data: bytes, order: str) -> Iterator[tuple[str, tuple[int, bytes]]]:
    """Name, class and content of each variable, its size checked."""
    at = HEADER_BYTES
    while at + 8 <= len(data):
        kind, size = struct.unpack_from(order + "II", data, at)
        at += 8
        if size > len(data) - at:
            raise RejectError(
                "truncated", f"a variable of {size:,} bytes, of which {len(data) - at:,} are there"
            )
        element = data[at : at + size]
        at += size
        if kind == COMPRESSED:
            element = _inflated(element, order)
        elif kind != MATRIX:
            raise RejectError("not_skeleton", f"an element of type {kind} where a variable belongs")
        yield _named(element, order)


def _inflated(packed: bytes, order: str) -> bytes:
    """The content of a compressed variable, without its tag; stops where it grows out of measure."""
    engine = zlib.decompressobj()
    try:
        head = engine.decompress(packed, 8)
        if len(head) < 8:
            raise RejectError("truncated", "a compressed variable without content")
        kind, size = struct.unpack(order + "II", head)
        if kind != MATRIX:
            raise RejectError("not_skeleton", f"a compressed element of type {kind} where a variable belongs")
        if size > MAX_INFLATED:
            raise RejectError("too_large", f"a variable of {size:,} bytes, at most {MAX_INFLATED:,} are read")
        if problem := bomb(size, len(packed)):
            raise RejectError("too_large", problem)
        content = engine.decompress(engine.unconsumed_tail, size)
    except zlib.error as error:
        raise RejectError("unreadable", str(error)) from None
    if len(content) != size:
        raise RejectError("truncated", f"a variable of {size:,} bytes, of which {len(content):,} are there")
    return content


def _named(element: bytes, order: str) -> tuple[str, tuple[int, bytes]]:
    """A variable's name, class and content."""
    parts = list(_parts(element, order, 3))
    if len(parts) < 3 or parts[0][0] != UINT32 or len(parts[0][1]) != 8:
        raise RejectError("not_skeleton", "a variable without flags, sizes and name")
    kind = struct.unpack(order + "I", parts[0][1][:4])[0] & 0xFF
    return parts[2][1].decode("latin-1"), (kind, element)


def _parts(element: bytes, order: str, most: int) -> Iterator[tuple[int, bytes]]:
    """Type and content of the first parts of a variable. A part of up to four bytes keeps its size in the
    upper half of its type."""
    at = 0
    while at + 8 <= len(element) and most:
        kind, size = struct.unpack_from(order + "II", element, at)
        if kind >> 16:
            kind, size, begin, step = kind & 0xFFFF, kind >> 16, at + 4, 8
            if size > 4:
                raise RejectError("not_skeleton", f"a short part of {size} bytes")
        else:
            begin, step = at + 8, 8 + -(-size // 8) * 8
        if size > len(element) - begin:
            raise RejectError(
                "truncated", f"a part of {size:,} bytes, of which {len(element) - begin:,} are there"
            )
        yield kind, element[begin : begin + size]
        at += step
        most -= 1


def _hdf5_array(data: bytes, key: str) -> npt.NDArray[Any]:
    """A plain dataset of a version 7.3 file, its axes in MATLAB's order."""
    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            names = {n: isinstance(file.get(n, getlink=True), h5py.HardLink) for n in list(file)[:1000]}
            plain = {n: ok and file.get(n, getclass=True) is h5py.Dataset for n, ok in names.items()}
            plain = {n: ok and file[n].dtype.kind in "fiu" for n, ok in plain.items()}
            name = _chosen(key, plain)
            if not plain[name]:
                raise RejectError("not_skeleton", f"'{name}' is not an array of numbers")
            array = file[name]
            if array.is_virtual or array.external:
                raise RejectError("unsafe_name", f"'{name}' has its numbers outside the file")
            if array.size > MAX_VALUES or bomb(array.nbytes, len(data)):
                raise RejectError(
                    "too_large", f"'{name}' says it has {array.size:,} numbers, in {len(data):,} bytes"
                )
            if array.chunks is None:
                return np.asarray(array[()]).T
            return _from_chunks(array, name, len(data)).T
    except RejectError:
        raise
    except Exception as error:  # a damaged file can fail in any way
        raise RejectError("unreadable", f"MATLAB 7.3 file: {str(error)[:120]}") from None


def _from_chunks(array: Any, name: str, most: int) -> npt.NDArray[Any]:
    """A dataset that is stored in packed pieces. They are unpacked here, since HDF5 doubles its memory for as
    long as a damaged piece does not fit."""
    layout = array.id.get_create_plist()
    filters = [layout.get_filter(i)[0] for i in range(layout.get_nfilters())]
    size = math.prod(array.chunks) * array.dtype.itemsize
    if len(array.chunks) != array.ndim or size > max(array.nbytes, 1 << 20) * 8:
        raise RejectError("unreadable", f"'{name}' is damaged: pieces of {size:,} bytes")
    if filters not in ([], [h5py.h5z.FILTER_DEFLATE], [h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE]):
        raise RejectError(
            "unreadable", f"'{name}' is packed in a way that MATLAB does not use (save it with -v7)"
        )
    out = np.zeros(array.shape, array.dtype)
    for index in range(array.id.get_num_chunks()):
        found = array.id.get_chunk_info(index)
        if not 0 <= found.size <= most or any(
            a >= b for a, b in zip(found.chunk_offset, array.shape, strict=True)
        ):
            raise RejectError("unreadable", f"'{name}' is damaged: a piece of {found.size:,} bytes")
        skipped, packed = array.id.read_direct_chunk(found.chunk_offset)
        used = [f for i, f in enumerate(filters) if not skipped >> i & 1]
        plain = packed
        if h5py.h5z.FILTER_DEFLATE in used:
            plain = zlib.decompressobj().decompress(packed, size + 1)
        if len(plain) != size:
            raise RejectError("truncated", f"'{name}' has a piece of {len(plain):,} bytes, not {size:,}")
        if h5py.h5z.FILTER_SHUFFLE in used:
            plain = np.frombuffer(plain, np.uint8).reshape(array.dtype.itemsize, -1).T.tobytes()
        piece = np.frombuffer(plain, array.dtype).reshape(array.chunks)
        place = tuple(slice(a, a + n) for a, n in zip(found.chunk_offset, array.chunks, strict=True))
        there = out[place].shape
        out[place] = piece[tuple(slice(n) for n in there)]
    return out
