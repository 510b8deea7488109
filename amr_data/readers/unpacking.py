"""Archives that cannot be read out of order are unpacked into a temporary folder for as long as they are
open."""

from __future__ import annotations

import contextlib
import errno
import gzip
import os
import re
import shutil
import socket
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from filelock import FileLock, Timeout

from amr_data.errors import AmrError, UsageError
from amr_data.readers.folders import UNPACKED
from amr_data.readers.members import MAX_MEMBER_BYTES, bomb, unsafe_name

PACKED_TARS = (".tar.gz", ".tgz")
BLOCK = 1 << 20
Readable = IO[bytes] | gzip.GzipFile


@contextlib.contextmanager
def unpacked(path: Path, beside: Path) -> Iterator[Path]:
    """What to read in place of `path`: itself, or what it was unpacked to in a temporary folder below
    `beside`: a .7z archive to a folder, a .tar.gz to a tar archive, a compressed .npz to one that is not.

    Raises: AmrError for an archive that cannot be unpacked.
    """
    name = path.name.lower()
    if not path.is_file():
        yield path
    elif name.endswith(".7z"):
        with temporary_folder(beside) as folder:
            unpack_7z(path, folder)
            yield folder
    elif name.endswith(PACKED_TARS):
        with temporary_folder(beside) as folder:
            _gunzip(path, folder / "x.tar")
            yield folder / "x.tar"
    elif name.endswith(".npz") and _squeezed_bytes(path) > MAX_MEMBER_BYTES:
        with temporary_folder(beside) as folder:
            _store(path, folder / path.name)
            yield folder / path.name
    else:
        yield path


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
                problem = unsafe_name(member.filename) or ("it is a link" if member.is_symlink else "")
                if problem:
                    raise AmrError(f"{archive} is refused: member {member.filename!r}: {problem}")
            _check_size(archive, sum(m.uncompressed or 0 for m in members), folder)
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
def temporary_folder(beside: Path) -> Iterator[Path]:
    """A folder that is removed afterwards; those that killed processes of this machine left behind go first.
    A folder is in use for as long as a lock beside it is held, which ends with its process, however that
    ends; other machines' folders, whose locks may not be seen from here, are left alone."""
    mine = f"{UNPACKED}{re.sub(r'[^A-Za-z0-9]', '_', socket.gethostname())}-"
    try:
        beside.mkdir(parents=True, exist_ok=True)
        for lock_file in beside.glob(f"{mine}*.lock"):
            with contextlib.suppress(Timeout, OSError), FileLock(lock_file, timeout=0):
                shutil.rmtree(lock_file.with_suffix(""), ignore_errors=True)
                lock_file.unlink(missing_ok=True)
        handle, name = tempfile.mkstemp(prefix=mine, suffix=".lock", dir=beside)
        os.close(handle)
        lock = FileLock(name)
        lock.acquire()
        folder = Path(name).with_suffix("")
        folder.mkdir()
    except OSError as error:
        raise AmrError(f"nothing can be unpacked in {beside}: {error.strerror or error}") from None
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        Path(name).unlink(missing_ok=True)
        lock.release()


def _gunzip(archive: Path, out: Path) -> None:
    with _as_failed_work(archive), gzip.open(archive) as packed, open(out, "wb") as file:
        _copy(packed, file, archive)


def _squeezed_bytes(archive: Path) -> int:
    """Unpacked size of the members that are compressed; 0 for what is no archive, which its reader says."""
    try:
        with zipfile.ZipFile(archive) as file:
            return sum(i.file_size for i in file.infolist() if i.compress_type != zipfile.ZIP_STORED)
    except Exception:  # a damaged archive can fail in any way
        return 0


def _store(archive: Path, out: Path) -> None:
    """The same archive with its members uncompressed, so that they can be mapped."""
    with _as_failed_work(archive), zipfile.ZipFile(archive) as packed, zipfile.ZipFile(out, "w") as stored:
        _check_size(archive, sum(i.file_size for i in packed.infolist()), out.parent)
        for info in packed.infolist():
            target = zipfile.ZipInfo(info.filename)
            with packed.open(info) as source, stored.open(target, "w", force_zip64=True) as file:
                _copy(source, file, archive)
    times = archive.stat()
    os.utime(out, ns=(times.st_atime_ns, times.st_mtime_ns))


def _copy(source: Readable, target: IO[bytes], archive: Path) -> None:
    """Copy to the end, which no size in a header is believed to tell."""
    packed, done = archive.stat().st_size, 0
    while block := source.read(BLOCK):
        done += len(block)
        if problem := bomb(done, packed):
            raise AmrError(f"{archive} is refused: {problem}")
        target.write(block)


def _check_size(archive: Path, size: int, folder: Path) -> None:
    """Raises AmrError for a size that is out of measure, or more than there is room for."""
    if problem := bomb(size, archive.stat().st_size):
        raise AmrError(f"{archive} is refused: {problem}")
    if size > shutil.disk_usage(folder).free:
        raise AmrError(f"{archive} needs {size:,} bytes to unpack, more than is free in {folder.parent}")


@contextlib.contextmanager
def _as_failed_work(archive: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, ValueError, RuntimeError, zlib.error, zipfile.BadZipFile) as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise AmrError(f"{archive} cannot be unpacked: the disk is full") from None
        raise AmrError(
            f"{archive} cannot be unpacked; it is damaged or was cut off: {error or type(error).__name__}"
        ) from None
