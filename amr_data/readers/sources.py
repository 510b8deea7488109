"""Folders, zip files and single files, opened alike: a list of members with their sizes, and bounded reads.
Zip files are never unpacked; .7z archives, which cannot be read out of order, are unpacked into a temporary
folder that is gone afterwards."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from amr_data.errors import AmrError, RejectError, UsageError
from amr_data.files import SYNTHETIC_MARK

MAX_MEMBER_BYTES = 256 * 1024 * 1024
"""No skeleton file of any dataset comes near this; the largest PKU-MMD video is under 15 MB."""
MAX_RATIO, RATIO_FROM_BYTES = 400, 16 * 1024 * 1024
"""Skeleton text shrinks to a fourth; a larger member that shrinks to less than a 400th is a zip bomb."""
IMPORTS = (".pkl", ".pickle", ".npz")


@dataclass(frozen=True)
class Member:
    """One raw file: which source it lies in, its path there, its size in bytes, a stamp that changes with its
    content, and why it must not be read, if so."""

    source: int
    path: str
    size: int
    stamp: int
    refused: str = ""

    @property
    def filename(self) -> str:
        return self.path.rsplit("/", 1)[-1]

    @property
    def stem(self) -> str:
        return self.filename.rsplit(".", 1)[0]


class RawSource:
    """One or several folders, zip files or single files seen as one list of members. `names` are what people
    see in place of the paths' own names. Zip files are opened anew after the object was sent to another
    process."""

    def __init__(self, paths: Sequence[str | Path], names: Sequence[str] | None = None) -> None:
        if not paths:
            raise UsageError("no source was given: name a folder, an archive, or several of them")
        self.paths = [Path(p).resolve() for p in paths]
        self.names = list(names) if names else [Path(p).resolve().name for p in paths]
        for given, path in zip(paths, self.paths, strict=True):
            if not path.exists():
                raise UsageError(f"no such source: {given}")
            if not path.is_dir() and path.suffix.lower() not in IMPORTS and not zipfile.is_zipfile(path):
                raise UsageError(
                    f"{given} is neither a folder nor an archive (.zip, .7z) nor another project's file "
                    f"(.pkl, .npz)"
                )
        self._folders = [str(p) if p.is_dir() else "" for p in self.paths]
        self._open: dict[int, zipfile.ZipFile] = {}
        self._listed: list[Member] | None = None

    def __getstate__(self) -> dict[str, object]:
        return {**vars(self), "_open": {}, "_listed": None}

    def members(self) -> list[Member]:
        """Every file besides marks of synthetic folders, sorted by path, then by the order of the sources."""
        return [m for m in self._everything() if m.filename != SYNTHETIC_MARK]

    @property
    def synthetic(self) -> bool:
        """Whether one of the sources holds the mark of invented motion, at whatever depth."""
        return any(m.filename == SYNTHETIC_MARK for m in self._everything())

    def _everything(self) -> list[Member]:
        if self._listed is None:
            self._listed = self._list()
        return self._listed

    def _list(self) -> list[Member]:
        found: list[Member] = []
        for index, path in enumerate(self.paths):
            if path.is_dir():
                found += _folder_members(index, path)
            elif path.suffix.lower() in IMPORTS:
                found.append(Member(index, path.name, path.stat().st_size, path.stat().st_mtime_ns))
            else:
                found += [
                    _zip_member(index, info) for info in self._zip(index).infolist() if not info.is_dir()
                ]
        return sorted(found, key=lambda m: (m.path, m.source))

    def shown(self, member: Member) -> str:
        """A member's name for people and for JSON: the source's own name, then the path inside it; bytes that
        are no UTF-8 are spelt out."""
        name = f"{self.names[member.source]}/{member.path}"
        return name.encode("utf-8", "backslashreplace").decode("utf-8")

    def read(self, member: Member) -> bytes:
        """The whole member. Raises RejectError for one that is too large or that cannot be read; never
        allocates by a header's word."""
        if member.refused:
            raise RejectError("unsafe_name", member.refused)
        if member.size > MAX_MEMBER_BYTES:
            raise RejectError("too_large", f"{member.size:,} bytes, at most {MAX_MEMBER_BYTES:,} are read")
        try:
            if folder := self._folders[member.source]:
                # O_NONBLOCK: opening a pipe must not wait for a writer
                handle = os.open(f"{folder}/{member.path}", os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
                with open(handle, "rb", buffering=0) as file:
                    if not stat.S_ISREG(os.fstat(handle).st_mode):
                        raise RejectError("unreadable", "not a regular file")
                    data = _read_all(file, member.size + 1)
            else:
                with self._zip(member.source).open(member.path) as file:
                    data = file.read(
                        member.size + 1
                    )  # a member that inflates past its declared size stops here
        except (
            OSError,
            RuntimeError,
            NotImplementedError,
            EOFError,
            KeyError,
            zipfile.BadZipFile,
            zlib.error,
        ) as error:
            raise RejectError("unreadable", str(error) or type(error).__name__) from None
        if len(data) > member.size:
            raise RejectError("unreadable", f"more than the {member.size:,} bytes that it had a moment ago")
        return data

    def head(self, member: Member, count: int) -> bytes:
        """The first bytes of a member, at most `count`. Raises RejectError for one that cannot be read."""
        if member.refused:
            raise RejectError("unsafe_name", member.refused)
        path = self.paths[member.source]
        try:
            if path.is_dir():
                path = path / member.path
            elif path.suffix.lower() not in IMPORTS and zipfile.is_zipfile(path):
                with self._zip(member.source).open(member.path) as packed:
                    return packed.read(count)
            if not path.is_file():
                raise RejectError("unreadable", "not a regular file")
            with open(path, "rb") as file:
                return file.read(count)
        except (
            OSError,
            RuntimeError,
            NotImplementedError,
            EOFError,
            KeyError,
            ValueError,
            zlib.error,
        ) as error:
            raise RejectError("unreadable", str(error) or type(error).__name__) from None
        except zipfile.BadZipFile as error:
            raise RejectError("unreadable", str(error)) from None

    def _zip(self, index: int) -> zipfile.ZipFile:
        if index not in self._open:
            try:
                self._open[index] = zipfile.ZipFile(self.paths[index])
            except (zipfile.BadZipFile, OSError) as error:
                raise UsageError(f"{self.paths[index]} cannot be opened: {error}") from None
        return self._open[index]


@contextlib.contextmanager
def open_sources(paths: Sequence[Path], beside: Path) -> Iterator[RawSource]:
    """Open sources, with every .7z archive unpacked into a temporary folder below `beside` for as long as
    they are open.

    Raises: UsageError for a source that is none, AmrError for an archive that cannot be unpacked.
    """
    with contextlib.ExitStack() as stack:
        opened = []
        for path in paths:
            if path.suffix.lower() == ".7z" and path.is_file():
                folder = stack.enter_context(_temporary_folder(beside))
                unpack_7z(path, folder)
                opened.append(folder)
            else:
                opened.append(path)
        yield RawSource(opened, [p.resolve().name for p in paths])


def unpack_7z(archive: Path, folder: Path) -> None:
    """Unpack a .7z archive. Links, names that lead out of the folder and archives that grow without measure
    are refused as a whole."""
    try:
        import py7zr
    except ImportError:
        raise UsageError(
            f"{archive}: reading .7z needs the extra: pip install 'amr-skeleton[archives]'; or unpack it "
            f"first"
        ) from None
    try:
        with py7zr.SevenZipFile(archive) as file:
            members = file.list()
            for member in members:
                problem = _unsafe(member.filename) or ("it is a link" if member.is_symlink else "")
                if problem:
                    raise AmrError(f"{archive} is refused: member {member.filename!r}: {problem}")
            total = sum(m.uncompressed or 0 for m in members)
            if problem := bomb(total, archive.stat().st_size):
                raise AmrError(f"{archive} is refused: {problem}")
            if total > shutil.disk_usage(folder).free:
                raise AmrError(
                    f"{archive} needs {total:,} bytes to unpack, more than is free in {folder.parent}"
                )
            file.extractall(folder)
    except (
        py7zr.exceptions.ArchiveError,
        OSError,
        EOFError,
        ValueError,
        zlib.error,
        IndexError,
        TypeError,
        KeyError,
    ) as error:
        raise AmrError(f"{archive} cannot be unpacked: {error or type(error).__name__}") from None


@contextlib.contextmanager
def _temporary_folder(beside: Path) -> Iterator[Path]:
    """A folder that is removed afterwards; those that killed processes left behind go first."""
    beside.mkdir(parents=True, exist_ok=True)
    for left in beside.glob(".amr-unpacked-*"):
        match = re.match(r"\.amr-unpacked-([0-9]+)-", left.name)
        if match and not Path(f"/proc/{match[1]}").exists() and Path("/proc/self").exists():
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f".amr-unpacked-{os.getpid()}-", dir=beside))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unsafe(name: str) -> str:
    parts = re.split(r"[/\\]", name)
    if name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name) or ".." in parts:
        return "its name leads out of the archive's folder"
    return ""


def _zip_member(index: int, info: zipfile.ZipInfo) -> Member:
    refused = _unsafe(info.filename)
    if stat.S_ISLNK(info.external_attr >> 16):
        refused = "it is a link"
    return Member(
        index, info.filename, info.file_size, info.CRC, refused or bomb(info.file_size, info.compress_size)
    )


def bomb(size: int, packed: int) -> str:
    """What is wrong with an archive member that grows out of all measure, or nothing."""
    if size > RATIO_FROM_BYTES and size > MAX_RATIO * max(packed, 1):
        return f"a zip bomb: {size:,} bytes packed in {packed:,}"
    return ""


def _read_all(file: io.FileIO, limit: int) -> bytes:
    """Up to `limit` bytes; one system call for a file that has not changed."""
    parts = []
    while limit > 0 and (part := file.read(limit)):
        parts.append(part)
        limit -= len(part)
    return b"".join(parts)


def _folder_members(index: int, folder: Path) -> list[Member]:
    found: list[Member] = []
    stack = [""]
    while stack:
        base = stack.pop()
        with os.scandir(folder / base) as entries:
            for entry in entries:
                relative = f"{base}{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    stack.append(f"{relative}/")
                    continue
                try:
                    status = entry.stat()
                    found.append(Member(index, relative, status.st_size, status.st_mtime_ns))
                except OSError:  # a dangling link: listed, and rejected as unreadable when it is read
                    found.append(Member(index, relative, 0, 0))
    return found
