"""Folders and zip files, opened alike: a list of members with their sizes, and bounded reads. Nothing is ever unpacked to disk."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from amr_data.errors import RejectError, UsageError

MAX_MEMBER_BYTES = 256 * 1024 * 1024
"""No skeleton file of any dataset comes near this; the largest PKU-MMD video is under 15 MB."""


@dataclass(frozen=True)
class Member:
    """One raw file: which source it lies in, its path there, its size in bytes, and a stamp that changes with its content."""

    source: int
    path: str
    size: int
    stamp: int

    @property
    def filename(self) -> str:
        return self.path.rsplit("/", 1)[-1]

    @property
    def stem(self) -> str:
        return self.filename.rsplit(".", 1)[0]


class RawSource:
    """One or several folders and zip files seen as one list of members. Opens zip files anew after it was sent to another process."""

    def __init__(self, paths: Sequence[str | Path]) -> None:
        if not paths:
            raise UsageError("no source was given: name a folder, a zip file, or several of them")
        self.paths = [Path(p) for p in paths]
        for path in self.paths:
            if not path.exists():
                raise UsageError(f"no such source: {path}")
            if not path.is_dir() and not zipfile.is_zipfile(path):
                raise UsageError(f"{path} is neither a folder nor a zip file; unpack other archives first")
        self._open: dict[int, zipfile.ZipFile] = {}

    def __getstate__(self) -> dict[str, object]:
        return {"paths": self.paths, "_open": {}}

    def members(self) -> list[Member]:
        """Every regular file, sorted by path, then by the order of the sources."""
        found: list[Member] = []
        for index, path in enumerate(self.paths):
            found += _folder_members(index, path) if path.is_dir() else self._zip_members(index)
        return sorted(found, key=lambda m: (m.path, m.source))

    def shown(self, member: Member) -> str:
        """A member's name for people and for JSON: the source's own name, then the path inside it; bytes that are no UTF-8 are spelt out."""
        name = f"{self.paths[member.source].name}/{member.path}"
        return name.encode("utf-8", "backslashreplace").decode("utf-8")

    def read(self, member: Member) -> bytes:
        """The whole member. Raises RejectError for one that is too large or that cannot be read; never allocates by a header's word."""
        if member.size > MAX_MEMBER_BYTES:
            raise RejectError("too_large", f"{member.size:,} bytes, at most {MAX_MEMBER_BYTES:,} are read")
        try:
            if self.paths[member.source].is_dir():
                path = self.paths[member.source] / member.path
                if not path.is_file():  # a pipe would never end, a link may lead nowhere
                    raise RejectError("unreadable", "not a regular file")
                with open(path, "rb") as file:
                    data = file.read(MAX_MEMBER_BYTES + 1)
            else:
                with self._zip(member.source).open(member.path) as file:
                    data = file.read(member.size + 1)  # a member that inflates past its declared size stops here
        except (OSError, RuntimeError, NotImplementedError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise RejectError("unreadable", str(error) or type(error).__name__) from None
        if len(data) > MAX_MEMBER_BYTES:
            raise RejectError("too_large", f"more than {MAX_MEMBER_BYTES:,} bytes")
        return data

    def _zip(self, index: int) -> zipfile.ZipFile:
        if index not in self._open:
            try:
                self._open[index] = zipfile.ZipFile(self.paths[index])
            except (zipfile.BadZipFile, OSError) as error:
                raise UsageError(f"{self.paths[index]} cannot be opened: {error}") from None
        return self._open[index]

    def _zip_members(self, index: int) -> list[Member]:
        infos = self._zip(index).infolist()
        return [Member(index, i.filename, i.file_size, i.CRC) for i in infos if not i.is_dir()]


def _folder_members(index: int, folder: Path) -> list[Member]:
    found = []
    for base, folders, names in os.walk(folder):
        folders.sort()
        for name in names:
            path = Path(base) / name
            try:
                stat = path.stat()
            except OSError:
                stat = None  # a dangling link: listed, and rejected as unreadable when it is read
            relative = path.relative_to(folder).as_posix()
            found.append(Member(index, relative, stat.st_size if stat else 0, stat.st_mtime_ns if stat else 0))
    return found
