"""HDF5 files that are laid out in memory and written in one piece: on a full disk HDF5 itself fails in ways
that nobody can read."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Buffer = bytearray | memoryview


class FileImage(io.RawIOBase):
    """What HDF5 takes for an empty file that is open, as `h5py.File(image, "w")`. Arrays that are named
    beforehand and written whole stand for themselves and are not copied, so that they must not change before
    the file is saved.

    arrays : contiguous ones.
    """

    def __init__(self, arrays: Sequence[npt.NDArray[np.generic]] = ()) -> None:
        self._known = {a.ctypes.data: a.reshape(-1).view(np.uint8).data for a in arrays if a.nbytes}
        self._kept: dict[int, memoryview] = {}
        self._written: list[tuple[int, bytes]] = []
        self._at = self._size = 0

    def write(self, data: Any) -> int:
        values = np.frombuffer(data, np.uint8)
        whole = self._known.get(values.ctypes.data)
        if whole is not None and whole.nbytes == values.nbytes:
            self._kept[self._at] = whole
        else:
            self._written.append((self._at, values.tobytes()))
        self._at += values.nbytes
        self._size = max(self._size, self._at)
        return values.nbytes

    def readinto(self, buffer: Any) -> int:
        out = memoryview(buffer).cast("B")
        data = b"".join(self.parts())[self._at : self._at + out.nbytes]
        out[: len(data)] = data
        self._at += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def truncate(self, size: int | None = None) -> int:
        self._size = self._at if size is None else size
        return self._size

    def seekable(self) -> bool:
        return True

    def parts(self) -> Iterator[Buffer]:
        """The file's bytes in order: the arrays, and what was written around them."""
        at = 0
        for start, array in [*sorted(self._kept.items()), (self._size, memoryview(b""))]:
            between = bytearray(start - at)
            for place, data in self._written:
                if at <= place < start:
                    between[place - at : place - at + len(data)] = data[: start - place]
            yield between
            yield array
            at = start + array.nbytes

    def save(self, path: Path) -> str:
        """Write the file. Returns its SHA-256. Raises: OSError."""
        digest = hashlib.sha256()
        with open(path, "wb") as file:
            for part in self.parts():
                file.write(part)
                digest.update(part)
        return digest.hexdigest()
