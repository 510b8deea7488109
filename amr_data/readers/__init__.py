"""Raw families by the name that a spec's `raw` field gives."""

from __future__ import annotations

from amr_data.readers.base import Discovery, Reader, Unit
from amr_data.readers.ntu import NtuReader
from amr_data.readers.nw_ucla import NwUclaReader
from amr_data.readers.pku_mmd import PkuMmdReader
from amr_data.readers.sources import Member, RawSource

READERS: dict[str, Reader] = {"ntu": NtuReader(), "pku-mmd": PkuMmdReader(), "nw-ucla": NwUclaReader()}

__all__ = ["READERS", "Discovery", "Member", "RawSource", "Reader", "Unit"]
