"""Where HDF5 keeps texts of any length (its "global heap collections"), looked at before HDF5 looks: an entry
that is said to take no place keeps the library walking on the spot for ever.

Layout: HDF5 file format specification, section III.E: "GCOL", a version, the collection's size; then entries
of an index, a reference count and a size, each padded to eight bytes. Index 0 is free space, whose size
counts its own head.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

HEAD = 16
MARK = b"GCOL\x01"


def heaps_are_sound(path: Path, addresses: Iterable[int], file_bytes: int) -> bool:
    """Whether the collections at these addresses lie in the file, and each of their entries moves on."""
    with open(path, "rb") as file:
        for address in addresses:
            if not 0 <= address <= file_bytes - HEAD:
                return False
            file.seek(address)
            head = file.read(HEAD)
            size = int.from_bytes(head[8:], "little")
            if not head.startswith(MARK) or not HEAD <= size <= file_bytes - address:
                return False
            if not _moves_on(file.read(size - HEAD)):
                return False
    return True


def _moves_on(entries: bytes) -> bool:
    at = 0
    while len(entries) - at >= HEAD:
        size = int.from_bytes(entries[at + 8 : at + HEAD], "little")
        free = entries[at : at + 2] == b"\0\0"
        takes = size if free else HEAD + -(-size // 8) * 8
        if not HEAD <= takes <= len(entries) - at:
            return False
        at += takes
    return True
