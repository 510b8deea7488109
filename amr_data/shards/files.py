"""The shard files of an open dataset: still those that were opened, and what the conversion wrote."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from amr_data.errors import AmrError
from amr_data.files import sha256_of
from amr_data.shards.layout import Progress
from amr_data.shards.model import DamageError, read_manifest
from amr_data.shards.opening import Shard


class ShardFiles:
    """Opens shards by their number in the manifest.

    path : the dataset's folder.  entries : the manifest's lines of shards.  joints, scales : V and S.
    """

    def __init__(self, path: Path, entries: Sequence[dict[str, Any]], joints: int, scales: int) -> None:
        self._path, self._entries, self._sizes = path, entries, (joints, scales)
        self._stamps: dict[int, tuple[int, int, int]] = {}  # which file each shard was first read from
        self._unchanged: set[int] = set()

    def open(self, index: int) -> Shard:
        """Raises: AmrError where its content is no longer what it was when the dataset was opened."""
        entry, file = self._entries[index], self._file(index)
        shard = Shard(file, *self._sizes)
        stamp = _stamp(file)
        if self._stamps.setdefault(index, stamp) != stamp:
            with contextlib.ExitStack() as stack:
                stack.push(shard)
                if shard.record().checksum != entry["checksum"]:  # a repaired one has the same
                    raise AmrError(
                        f"{file} was replaced while it was in use: start again with what is there now"
                    )
                stack.pop_all()
            self._stamps[index] = stamp
            self._unchanged.discard(index)
        return shard

    def check_unchanged(self, shards: Iterable[int], progress: Progress | None = None) -> None:
        """Compare whole files with the SHA-256 in the manifest, each once as long as it is the same file. A
        value that was changed within what the format allows, such as a flipped bit of a coordinate, is seen
        by nothing else.

        shards : their numbers.  progress : of those that were not compared before.  Raises: DamageError.
        """
        asked = list(shards)
        for index in asked:
            if self._stamps.get(index) != _stamp(self._file(index)):
                with self.open(index):
                    pass  # another file, of the same content
        new = [index for index in asked if index not in self._unchanged]
        with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as threads:
            for done, (index, found) in enumerate(zip(new, threads.map(self._sha256, new), strict=True), 1):
                if found != self._entries[index]["sha256"] and found != self._written_anew(index):
                    what = "it was changed after its conversion (its SHA-256 is not the manifest's)"
                    raise DamageError(self._file(index), "changed_file", what)
                self._unchanged.add(index)
                if progress:
                    progress(done, len(new))

    def _file(self, index: int) -> Path:
        return self._path / str(self._entries[index]["file"])

    def _sha256(self, index: int) -> str:
        try:
            return sha256_of(self._file(index))
        except OSError as error:
            raise DamageError(self._file(index), "unreadable", error.strerror or str(error)) from None

    def _written_anew(self, index: int) -> str | None:
        """The SHA-256 that the manifest has by now for the same content: the shard was repaired meanwhile."""
        entry = self._entries[index]
        try:
            manifest, _ = read_manifest(self._path)
        except FileNotFoundError:
            return None
        for now in manifest["shards"]:
            if (now["file"], now["checksum"]) == (entry["file"], entry["checksum"]):
                return str(now["sha256"])
        return None


def _stamp(file: Path) -> tuple[int, int, int]:
    """What changes with a file. Raises: DamageError where it is gone."""
    try:
        found = file.stat()
    except FileNotFoundError:
        raise DamageError(file, "missing_shard", "the file is not there") from None
    except OSError as error:
        raise DamageError(file, "unreadable", error.strerror or str(error)) from None
    return found.st_ino, found.st_size, found.st_mtime_ns
