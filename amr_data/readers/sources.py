"""Folders, archives and single files, opened alike: a list of members with their sizes, and bounded reads.
Zip and tar archives are never unpacked; .7z and .tar.gz archives, which cannot be read out of order, are
unpacked into a temporary folder that is gone afterwards."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from xxhash import xxh3_128_hexdigest

from amr_data.errors import Reject, RejectError, UsageError
from amr_data.files import SYNTHETIC_MARK
from amr_data.readers.archives import ZIP_HEADS, TarArchive, ZipArchive
from amr_data.readers.folders import Folder, FolderId, SingleFile
from amr_data.readers.members import MAX_MEMBER_BYTES, MAX_RECORDING_BYTES, Container, Member, bomb
from amr_data.readers.unpacking import PACKED_TARS, unpacked

IMPORTS = (".pkl", ".pickle", ".npz")
"""Files that are read as they are, though some of them are zip archives."""

__all__ = [
    "IMPORTS",
    "MAX_MEMBER_BYTES",
    "MAX_RECORDING_BYTES",
    "Member",
    "RawSource",
    "bomb",
    "open_sources",
]


class RawSource:
    """One or several folders, archives or single files seen as one list of members. A single file of any kind
    is a source of one member. `names` are what people see in place of the paths' own names. Archives stay
    open for as long as the object lives, and are opened anew after it was sent to another process.

    Args:
        without: folders that are no raw data wherever they lie, such as the one that is written to.
        given: what the user called the sources, for messages, where `paths` are what they were unpacked to.
    Raises: UsageError for a source that does not exist, AmrError for a damaged archive.
    """

    def __init__(
        self,
        paths: Sequence[str | Path],
        names: Sequence[str] | None = None,
        without: Sequence[Path] = (),
        given: Sequence[str | Path] = (),
    ) -> None:
        if not paths:
            raise UsageError("no source was given: name a folder, a file, an archive, or several of them")
        self.paths = [Path(p).resolve() for p in paths]
        self.given = [str(p) for p in given or paths]
        self.names = list(names) if names else [p.name for p in self.paths]
        read_before: dict[FolderId, str] = {}
        self._containers: list[Container] = []
        for index, path in enumerate(self.paths):
            if not path.exists():
                raise UsageError(f"no such source: {self.given[index]}")
            if path.is_dir():
                self._containers.append(Folder(index, path, self.names[index], read_before, without))
            else:
                self._containers.append(_file(index, path, self.given[index]))
        self.hashes: dict[Member, str] = {}
        """XXH3 of every member that was read whole: against accidents, not against forgers, and thirty times
        as fast as SHA-256, which was a seventh of a conversion."""
        self._listed: list[Member] | None = None

    def __getstate__(self) -> dict[str, object]:
        return {**vars(self), "_listed": None, "hashes": {}}

    def members(self) -> list[Member]:
        """Every file besides marks of synthetic folders, sorted by path, then by the order of the sources."""
        return [m for m in self._everything() if m.filename != SYNTHETIC_MARK]

    @property
    def rejects(self) -> list[Reject]:
        """Parts of the sources that could not be looked into, or that were left out because they were reached
        before: links that lead back or nowhere, folders without permission."""
        self._everything()
        return [
            Reject(self._named(container.index, r.where), r.kind, _printable(r.detail))
            for container in self._containers
            for r in sorted(container.rejects, key=lambda r: r.where)
        ]

    def _named(self, index: int, path: str) -> str:
        return _printable(f"{self.names[index]}/{path}".rstrip("/"))

    @property
    def synthetic(self) -> bool:
        """Whether one of the sources holds the mark of invented motion, at whatever depth."""
        return any(m.filename == SYNTHETIC_MARK for m in self._everything())

    def _everything(self) -> list[Member]:
        if self._listed is None:
            found = [m for container in self._containers for m in container.members()]
            self._listed = sorted(found, key=lambda m: (m.path, m.source, m.entry))
        return self._listed

    def shown(self, member: Member) -> str:
        """A member's name for people and for JSON: the source's own name, then the path inside it, which a
        single file lacks; bytes that are no UTF-8 are spelt out."""
        name = self.names[member.source]
        if not isinstance(self._containers[member.source], SingleFile):
            name = f"{name}/{member.path}"
        return _printable(name)

    def read(self, member: Member, most: int = MAX_MEMBER_BYTES) -> bytes:
        """The whole member, of at most so many bytes. Raises RejectError for one that is too large or that
        cannot be read; never allocates by a header's word."""
        if member.size > most and not member.refused:
            raise RejectError("too_large", f"{member.size:,} bytes, at most {most:,} are read")
        data = self.head(member, member.size + 1)  # a member that inflates past its declared size stops here
        if len(data) > member.size:
            raise RejectError("unreadable", f"more than the {member.size:,} bytes that it had a moment ago")
        self.hashes[member] = xxh3_128_hexdigest(data)
        return data

    def head(self, member: Member, count: int) -> bytes:
        """The first bytes of a member, at most `count`. Raises RejectError for one that cannot be read."""
        if member.refused:
            raise RejectError(member.reason, member.refused)
        try:
            return self._containers[member.source].read(member, count)
        except RejectError:
            raise
        except Exception as error:  # a damaged archive can fail in any way
            raise RejectError("unreadable", str(error) or type(error).__name__) from None


@contextlib.contextmanager
def open_sources(paths: Sequence[Path], beside: Path, without: Sequence[Path] = ()) -> Iterator[RawSource]:
    """Open sources, with archives that cannot be read out of order unpacked into temporary folders below
    `beside` for as long as they are open.

    Raises: UsageError for a source that is none, AmrError for an archive that is damaged or that cannot be
        unpacked.
    """
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(unpacked(path, beside)) for path in paths]
        yield RawSource(opened, [p.resolve().name for p in paths], without, paths)


def _file(index: int, path: Path, given: str) -> Container:
    """What a path to something else than a folder is."""
    if not path.is_file():
        raise UsageError(f"{given} is neither a folder nor a regular file")
    ending = path.suffix.lower()
    if ending in IMPORTS:
        return SingleFile(index, path)
    try:
        with open(path, "rb") as file:
            head = file.read(4)
        if ending == ".zip" or head in ZIP_HEADS:
            return ZipArchive(index, path, given)
    except OSError as error:
        raise UsageError(f"{given} cannot be opened: {error.strerror or error}") from None
    if ending == ".7z" or path.name.lower().endswith(PACKED_TARS):
        raise UsageError(f"{given} has to be unpacked first; see open_sources")
    return TarArchive(index, path, given) if ending == ".tar" else SingleFile(index, path)


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
