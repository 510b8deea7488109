"""By what a conversion is known again: the names and sizes of the raw files, then their content, and what
decides the clips. The release of this package, what the sources are called, and what is only shown or can be
changed without touching a clip (titles, splits) are provenance: they are kept, and they decide nothing."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xxhash import xxh3_128_hexdigest

from amr_data.errors import Reject
from amr_data.readers import RawSource, Unit
from amr_data.recipes.motion import WINDOWS
from amr_data.recipes.normalize import Recipe
from amr_data.shards.layout import FORMAT_VERSION, shard_name
from amr_data.shards.writer import read_record
from amr_data.specs import DatasetSpec

if TYPE_CHECKING:
    from amr_data.plan import Plan, Settings

PRESENTATION = {
    "name",
    "title",
    "licence",
    "homepage",
    "example",
    "handed",
    "mutual",
    "protocols",
    "unusable",
}
"""Of a spec; what `unusable` leaves out is missing among the units."""
SKELETON_PRESENTATION = {"name", "bones", "symmetric", "parts", "counterparts"}
MARK = "2:"
"""Before every fingerprint. Those of release 0.1.0, which took its version and the names of the sources for a
part of it, have none."""


def plan_fingerprint(
    spec: DatasetSpec,
    settings: Settings,
    options: Mapping[str, Any],
    units: Sequence[Unit],
    rejects: Sequence[Reject],
) -> str:
    """SHA-256 over the units' names, files and sizes and over what decides the clips. Settings at their
    defaults are left out, so that one that a later release adds changes nothing.

    options : the raw family's own, without those at their defaults.
    """
    about = spec.model_dump(exclude=PRESENTATION | {"skeleton"}, exclude_defaults=True)
    about["skeleton"] = spec.skeleton.model_dump(exclude=SKELETON_PRESENTATION)
    about["classes"] = list(spec.classes.items())  # their order is the labels'
    recipe = {
        f.name: value for f in fields(Recipe) if (value := getattr(settings.recipe, f.name)) != f.default
    }
    files = [(u.name, [(m.source, m.path, m.size) for m in u.members]) for u in units]
    reasons = sorted(Counter(r.kind for r in rejects).items())
    made = [recipe, settings.compression, dict(options), *([settings.keep] if settings.keep else [])]
    return MARK + digest([FORMAT_VERSION, WINDOWS, about, made, files, reasons])


def digest(content: Any) -> str:
    """SHA-256 of what JSON can hold."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def unit_hashes(source: RawSource, units: Sequence[Unit]) -> list[str]:
    """XXH3 of each unit's bytes, from what was read of the source; "" for a unit of which nothing was."""
    found = []
    for unit in units:
        parts = [source.hashes.get(m, "") for m in unit.members]
        found.append(xxh3_128_hexdigest("\n".join(parts).encode()) if any(parts) else "")
    return found


def changed_unit(plan: Plan, out: Path) -> str | None:
    """The first unit whose bytes are no longer those that a finished shard was made from, None where all are.
    Reads the files of the finished shards again, which nothing but a doubt about them is worth: their times
    differ, as after a copy."""
    for index, units in enumerate(plan.shards):
        record = read_record(out / shard_name(index), plan.fingerprint, plan.spec, len(WINDOWS))
        if record is None:
            continue
        if len(record.sources) != len(units) or not any(record.sources):
            return units[0].name  # nothing is known of their content
        for unit, known in zip(units, record.sources, strict=True):
            if known:  # one that was never read proves nothing
                plan.family.read_again(plan.source, unit)
            if known and unit_hashes(plan.source, [unit]) != [known]:
                return unit.name
    return None
