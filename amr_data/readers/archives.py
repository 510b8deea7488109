"""Zip and tar archives as containers of raw files: read where they lie, never unpacked."""

from __future__ import annotations

import contextlib
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

from amr_data.errors import AmrError
from amr_data.readers.members import Container, Member, bomb, unsafe_name

try:
    from isal import isal_zlib
except ImportError:  # the extra `fast`
    isal_zlib = None  # type: ignore[assignment,unused-ignore]

ZIP_HEADS = (b"PK\x03\x04", b"PK\x05\x06")
"""How a zip archive begins, one with members and an empty one."""
LOCAL_HEADER = struct.Struct("<4s2xHH16xHH")
"""Of a zip archive's member: mark, flags, method, and the lengths of what follows, its name and its extra
field (.ZIP file format specification, section 4.3.7)."""
IN_UTF8, ODD = 0x800, 0x61
"""Flags: how the name is written; encrypted or patched."""
TWICE = "the archive holds another member of this name, which counts"


class _Archive(Container):
    def __getstate__(self) -> dict[str, object]:
        return {**vars(self), "_file": None}


class ZipArchive(_Archive):
    """Raises: AmrError for a file that is no zip archive, or a damaged one."""

    def __init__(self, index: int, path: Path, name: str) -> None:
        super().__init__(index, path)
        self._name = name
        self._file: zipfile.ZipFile | None = None
        if not zipfile.is_zipfile(path):
            with open(path, "rb") as file:
                begins = file.read(4) in ZIP_HEADS
            if begins:
                raise AmrError(
                    f"{name} is a zip archive without its end: it is damaged, or was cut off while it was "
                    f"fetched; fetch it again"
                )
            raise AmrError(f"{name} is no zip archive, though its name says so")

    def members(self) -> list[Member]:
        found: list[Member] = []
        seen: set[str] = set()
        for entry, info in enumerate(self._archive().infolist()):
            if info.filename.endswith("/"):
                continue
            refused = unsafe_name(info.filename) or bomb(info.file_size, info.compress_size)
            reason = "unsafe_name"
            if stat.S_ISLNK(info.external_attr >> 16):
                refused = "it is a link"
            elif info.filename in seen:
                refused, reason = TWICE, "duplicate"
            seen.add(info.filename)
            found.append(Member(self.index, info.filename, info.file_size, info.CRC, refused, reason, entry))
        return found

    def read(self, member: Member, limit: int) -> bytes:
        archive = self._archive()
        info = archive.infolist()[member.entry]  # by its place: a name may stand for two members
        if info.filename != member.path:
            raise OSError("the archive has changed")
        if isal_zlib and info.compress_type == zipfile.ZIP_DEFLATED and limit > info.file_size:
            with contextlib.suppress(Exception):  # whatever is wrong, zipfile has the usual words for it
                return _inflated(self.path, info, limit)
        with archive.open(info) as file:
            return file.read(limit)

    def _archive(self) -> zipfile.ZipFile:
        if self._file is None:
            try:
                self._file = zipfile.ZipFile(self.path)
            except Exception as error:  # a damaged archive can fail in any way
                raise AmrError(f"{self._name} cannot be opened: {error or type(error).__name__}") from None
        return self._file


def _inflated(path: Path, info: zipfile.ZipInfo, limit: int) -> bytes:
    """A whole deflated member of an archive, by a decompressor twice as fast as Python's. Raises: ValueError
    where anything is odd."""
    with open(path, "rb") as file:
        file.seek(info.header_offset)
        head = file.read(LOCAL_HEADER.size)
        mark, flags, method, name, extra = LOCAL_HEADER.unpack(head)
        named = file.read(name).decode("utf-8" if flags & IN_UTF8 else "cp437")
        if mark != ZIP_HEADS[0] or flags & ODD or method != info.compress_type or named != info.orig_filename:
            raise ValueError("another header than the archive's list says")
        file.seek(extra, os.SEEK_CUR)
        packed = file.read(info.compress_size)
    inflater = isal_zlib.decompressobj(-zlib.MAX_WBITS)
    data: bytes = inflater.decompress(packed, limit)
    if not inflater.eof or len(data) != info.file_size or isal_zlib.crc32(data) != info.CRC:
        raise ValueError("other bytes than the archive's list says")
    return data


class TarArchive(_Archive):
    """An uncompressed tar archive: its headers are read once, and members by their place in it."""

    def __init__(self, index: int, path: Path, name: str) -> None:
        super().__init__(index, path)
        self._name = name
        self._file: BinaryIO | None = None

    def members(self) -> list[Member]:
        try:
            return self._list()
        except Exception as error:  # a damaged archive can fail in any way
            said = str(error)[:100] or type(error).__name__
            raise AmrError(f"{self._name} is no tar archive, or damaged or cut off: {said}") from None

    def _list(self) -> list[Member]:
        found: list[Member] = []
        seen: set[str] = set()
        before = -1
        with tarfile.open(self.path, "r:") as archive:
            while (info := archive.next()) is not None:
                archive.members = []  # type: ignore[attr-defined]  # it would keep them all
                if (
                    info.size < 0 or info.offset <= before
                ):  # a negative size makes older Pythons go in circles
                    raise ValueError("a header leads backwards")
                before = info.offset
                if info.isdir():
                    continue
                refused, reason = unsafe_name(info.name), "unsafe_name"
                if not info.isreg() or info.issparse():
                    refused = "it is a link, or no plain file"
                elif info.name in seen:
                    refused, reason = TWICE, "duplicate"
                seen.add(info.name)
                found.append(
                    Member(self.index, info.name, info.size, info.chksum, refused, reason, info.offset_data)
                )
        return found

    def read(self, member: Member, limit: int) -> bytes:
        if self._file is None:
            self._file = open(self.path, "rb")  # noqa: SIM115  # open for as long as the archive is
        self._file.seek(member.entry)
        return self._file.read(min(limit, member.size))
