"""Raw families, built-in and of other packages, and what lies in sources."""

from __future__ import annotations

from amr_data.readers.base import Discovery, Unit
from amr_data.readers.family import (
    Family,
    FamilyOptions,
    check_spec,
    family_for,
    family_names,
    family_options,
    load_family,
)
from amr_data.readers.sources import Member, RawSource, open_sources

__all__ = [
    "Discovery",
    "Family",
    "FamilyOptions",
    "Member",
    "RawSource",
    "Unit",
    "check_spec",
    "family_for",
    "family_names",
    "family_options",
    "load_family",
    "open_sources",
]
