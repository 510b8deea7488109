"""Zip and tar archives as containers of raw files: read where they lie, never unpacked."""

from __future__ import annotations

import contextlib
import stat
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
        if isal_zlib and info.compress_type == zipfile.ZIP_DEFLATED:
            with contextlib.suppress(Exception):  # whatever is wrong, zlib has the usual words for it
                return _inflated(archive, info, limit)
        with archive.open(info) as file:
            return file.read(limit)

    def _archive(self) -> zipfile.ZipFile:
        if self._file is None:
            try:
                self._file = zipfile.ZipFile(self.path)
            except Exception as error:  # a damaged archive can fail in any way
                raise AmrError(f"{self._name} cannot be opened: {error or type(error).__name__}") from None
        return self._file


def _inflated(archive: zipfile.ZipFile, info: zipfile.ZipInfo, limit: int) -> bytes:
    """A deflated member's first bytes, by a decompressor twice as fast as Python's. zipfile has no public way
    to give it one; where its private one is gone, Python's own serves."""
    with archive.open(info) as file:
        if hasattr(file, "_decompressor"):
            file._decompressor = isal_zlib.decompressobj(-zlib.MAX_WBITS)
        return file.read(limit)


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
