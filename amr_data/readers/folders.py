"""Folders and single files as containers of raw files. Links to folders are followed; each folder is read
once, however many ways lead to it."""

from __future__ import annotations

import heapq
import io
import os
import stat
from collections.abc import Collection
from pathlib import Path

from amr_data.errors import Reject, RejectError
from amr_data.readers.members import Container, Member

UNPACKED = ".amr-unpacked-"
"""How the names of folders begin that archives are unpacked into for a while, and of their locks."""
DATASET_FILES = {"plan.json", "manifest.json"}
"""A folder that holds both is a converted dataset, not raw data."""

FolderId = tuple[int, int]


class SingleFile(Container):
    """A file that is a source by itself."""

    def members(self) -> list[Member]:
        status = self.path.stat()
        return [Member(self.index, self.path.name, status.st_size, status.st_mtime_ns)]

    def read(self, member: Member, limit: int) -> bytes:
        return read_regular(str(self.path), limit)


class Folder(Container):
    """A folder with everything below it.

    Args:
        read_before: the folders that were read so far, by device and number, with the names that people know
            them by; this one's are added.
        without: folders that are no part of the source.
    """

    def __init__(
        self, index: int, path: Path, name: str, read_before: dict[FolderId, str], without: Collection[Path]
    ) -> None:
        super().__init__(index, path)
        self._name = name
        self._read_before = read_before
        self._without = [p for p in without if p.is_dir()]
        self._prefix = f"{path}/"

    def members(self) -> list[Member]:
        found: list[Member] = []
        left_out = {folder_id(p) for p in self._without}
        waiting = [("", os.path.realpath(self.path))]
        links: list[tuple[str, str]] = []  # by path; they wait until all real folders have been read
        while waiting or links:
            if not waiting:
                link, holder = heapq.heappop(links)
                target = os.path.realpath(self._prefix + link)
                if f"{holder}/".startswith(f"{target.rstrip('/')}/"):
                    self._refuse(link, "unreadable", "a link to a folder that it lies in")
                    continue
                waiting.append((f"{link}/", target))
            base, real = waiting.pop()
            try:
                identity = folder_id(Path(self._prefix + base))
                if identity in left_out:
                    continue
                if identity in self._read_before:
                    same = self._read_before[identity]
                    self._refuse(base, "duplicate", f"the same folder as {same}, whose files are taken")
                    continue
                self._read_before[identity] = f"{self._name}/{base}".rstrip("/")
                with os.scandir(self._prefix + base) as entries:
                    listed = list(entries)
            except OSError as error:
                self._refuse(base, "unreadable", f"the folder cannot be listed: {error.strerror or error}")
                continue
            if base and {e.name for e in listed} >= DATASET_FILES:
                continue
            for entry in listed:
                relative = f"{base}{entry.name}"
                if entry.name.startswith(UNPACKED):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    waiting.append((f"{relative}/", f"{real}/{entry.name}"))
                elif entry.is_symlink() and os.path.isdir(self._prefix + relative):
                    heapq.heappush(links, (relative, real))
                else:
                    found += self._file(entry, relative)
        return found

    def _file(self, entry: os.DirEntry[str], relative: str) -> list[Member]:
        try:
            status = entry.stat()
            return [Member(self.index, relative, status.st_size, status.st_mtime_ns)]
        except OSError as error:
            if "." not in entry.name:  # perhaps a folder on a disk that is not there
                self._refuse(relative, "unreadable", f"a link that leads nowhere: {error.strerror or error}")
                return []
            return [Member(self.index, relative, 0, 0)]  # listed, and rejected when it is read

    def _refuse(self, path: str, reason: str, detail: str) -> None:
        self.rejects.append(Reject(path.rstrip("/"), reason, detail))

    def read(self, member: Member, limit: int) -> bytes:
        return read_regular(self._prefix + member.path, limit)


def folder_id(path: Path) -> FolderId:
    """What tells a folder from all others, by whatever path it is reached."""
    status = os.stat(path)
    return status.st_dev, status.st_ino


def read_regular(path: str, limit: int) -> bytes:
    """The first bytes of a regular file, at most `limit`. Raises OSError, RejectError."""
    # O_NONBLOCK: opening a pipe must not wait for a writer
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    with open(handle, "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise RejectError("unreadable", "not a regular file")
        return _read_all(file, limit)


def _read_all(file: io.FileIO, limit: int) -> bytes:
    """Up to `limit` bytes; one system call for a file that has not changed."""
    parts = []
    while limit > 0 and (part := file.read(limit)):
        parts.append(part)
        limit -= len(part)
    return b"".join(parts)
