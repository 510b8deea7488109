"""Files that are whole or absent: written under a temporary name, synced, renamed."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from amr_data.errors import AmrError

SYNTHETIC_MARK = "synthetic.json"
"""Lies in every folder of invented raw files and says so; what is made from a source that holds it, at
whatever depth, is synthetic too."""


class WriteError(AmrError):
    """A file cannot be written: no space, no permission, no such place. `reason` : the system's words."""

    def __init__(self, path: Path, error: OSError) -> None:
        self.path, self.reason = path, " ".join((error.strerror or str(error)).split())[:160]
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            remedy = "free some space, or name another place"
        else:
            remedy = "name a place that you may write to"
        super().__init__(f"{path} cannot be written: {self.reason}; {remedy}")
        self._error = error

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path, self._error)


@contextmanager
def whole_file(path: Path, settled: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path`, making the folder where there is none; on success it is synced
    and takes the name, on failure it is removed. Raises: WriteError.

    settled : the folder is synced too, so that the name outlasts a loss of power. One of many files may leave
        that to the last of them: if its name is lost, the file is absent, never half.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
            if settled:
                folder = os.open(path.parent, os.O_RDONLY)
                try:
                    os.fsync(folder)
                finally:
                    os.close(folder)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise WriteError(path, error) from None


def write_json(path: Path, content: dict[str, Any]) -> None:
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def parse_json(text: str) -> Any:
    """What a JSON text says. Raises: ValueError where it is none, or could not be written again: lists in
    lists without end, numbers that are not finite, halves of characters."""
    try:
        content = json.loads(text)
        json.dumps(content, allow_nan=False, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("lists in lists without end") from None
    return content


def read_json(path: Path) -> Any:
    """What a JSON file says. Raises: OSError, ValueError as `parse_json`."""
    return parse_json(path.read_text(encoding="utf-8"))


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def write_text(path: Path, text: str) -> None:
    """Write a text file whole, making its folder where there is none. Raises: WriteError."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
