"""Raw families, built-in and of other packages, and what lies in sources."""

from __future__ import annotations

from amr_data.readers.base import Discovery, Unit, discover_by_name, files_ending, new_clip
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
from amr_data.readers.text import check_positions

__all__ = [
    "Discovery",
    "Family",
    "FamilyOptions",
    "Member",
    "RawSource",
    "Unit",
    "check_positions",
    "check_spec",
    "discover_by_name",
    "family_for",
    "family_names",
    "family_options",
    "files_ending",
    "load_family",
    "new_clip",
    "open_sources",
]
