"""Raw families by the name that a spec's `raw` field gives, and files that other projects have made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from amr_data.readers.base import Discovery, Reader, Unit
from amr_data.readers.imports import NpzReader, PysklReader
from amr_data.readers.ntu import NtuReader
from amr_data.readers.nw_ucla import NwUclaReader
from amr_data.readers.pku_mmd import PkuMmdReader
from amr_data.readers.sources import IMPORTS, Member, RawSource, open_sources
from amr_data.specs import DatasetSpec

READERS: dict[str, Reader] = {"ntu": NtuReader(), "pku-mmd": PkuMmdReader(), "nw-ucla": NwUclaReader()}
_PYSKL, _NPZ = PysklReader(), NpzReader()


def is_import(paths: Sequence[Path]) -> bool:
    """Whether the sources are another project's file rather than raw data."""
    return any(p.suffix.lower() in IMPORTS for p in paths)


def reader_for(source: RawSource, spec: DatasetSpec) -> Reader:
    """The reader that fits the sources."""
    if is_import(source.paths):
        return _NPZ if source.paths[0].suffix.lower() == ".npz" else _PYSKL
    return READERS[spec.raw]


__all__ = [
    "READERS",
    "Discovery",
    "Member",
    "RawSource",
    "Reader",
    "Unit",
    "is_import",
    "open_sources",
    "reader_for",
]
