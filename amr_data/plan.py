"""What a conversion is going to do, before it does it: sources, settings, which source goes into which shard,
and the fingerprints by which an interrupted run knows its own work again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from amr_data.errors import AmrError, Reject, UsageError
from amr_data.files import write_json
from amr_data.readers import Family, RawSource, Unit, family_for, family_options
from amr_data.recipes.motion import WINDOWS
from amr_data.recipes.normalize import Recipe
from amr_data.shards.layout import FORMAT_VERSION, MANIFEST, PLAN
from amr_data.shards.writer import COMPRESSIONS
from amr_data.specs import DatasetSpec, spec_from_json, unknown

MIN_SHARD_BYTES, MAX_SHARD_BYTES, TARGET_SHARDS = 4 << 20, 48 << 20, 32


@dataclass(frozen=True)
class Settings:
    """How raw files become shards; kept in the manifest. `options` are the raw family's own.

    Raises: UsageError for an unknown compression.
    """

    recipe: Recipe
    compression: str = "none"
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.compression not in COMPRESSIONS:
            raise UsageError(unknown("compression", self.compression, COMPRESSIONS))


@dataclass
class Plan:
    """`shards` : the units of each shard, in order.  `sources` : files seen (for PKU-MMD with their label
    files).  `fingerprint` changes with the names and sizes of the sources, the spec, the settings and the
    format; `stamps` with their times or checksums.  `synthetic` : a source says that its motion is invented;
    it is no part of the fingerprint, since it changes no clip."""

    source: RawSource
    spec: DatasetSpec
    family: Family
    settings: Settings
    shards: list[list[Unit]]
    rejects: list[Reject]
    sources: int
    fingerprint: str
    stamps: str
    synthetic: bool

    @property
    def bytes(self) -> int:
        return sum(u.size for units in self.shards for u in units)

    def record(self) -> dict[str, Any]:
        """What plan.json keeps: enough to recognise this conversion, and to repair its result."""
        return {
            "fingerprint": self.fingerprint,
            "stamps": self.stamps,
            "spec": self.spec.model_dump(),
            "recipe": asdict(self.settings.recipe),
            "compression": self.settings.compression,
            "options": dict(self.settings.options),
            "synthetic": self.synthetic,
        }

    def recall(self, record: dict[str, Any]) -> None:
        """Stay synthetic where an earlier plan of the same sources was, though the mark is gone since."""
        self.synthetic = self.synthetic or record.get("synthetic") is True


def make_plan(source: RawSource, spec: DatasetSpec, settings: Settings) -> Plan:
    """Look at the sources without reading them. Raises UsageError where nothing in them fits the dataset."""
    family = family_for(source, spec)
    settings.recipe.check(spec)
    options = family_options(family, settings.options)
    settings = replace(settings, options=options.model_dump())
    found = family.discover(source, spec, options)
    if not found.units and not found.rejects:
        raise UsageError(f"{', '.join(map(str, source.paths))}: no {spec.title} file in it")
    protocols = found.protocols if found.replace_protocols else {**spec.protocols, **found.protocols}
    spec = spec.changed(protocols=protocols, classes=spec.classes or found.classes)
    files = [(u.name, [(m.path, m.size) for m in u.members]) for u in found.units]
    stamps = [m.stamp for u in found.units for m in u.members]
    settings_record = [asdict(settings.recipe), settings.compression, dict(settings.options)]
    rejected = [*source.rejects, *found.rejects]
    rejects = [asdict(r) for r in rejected]
    content = [
        FORMAT_VERSION,
        version("amr-skeleton"),
        spec.model_dump(),
        settings_record,
        files,
        rejects,
        WINDOWS,
    ]
    return Plan(
        source,
        spec,
        family,
        settings,
        cut_shards(found.units),
        rejected,
        found.sources,
        _digest(content),
        _digest(stamps),
        source.synthetic or found.synthetic,
    )


def cut_shards(units: Sequence[Unit]) -> list[list[Unit]]:
    """Cut the units into shards of about equal raw size; the cut depends on names and sizes alone."""
    total = sum(u.size for u in units)
    target = min(max(total // TARGET_SHARDS, MIN_SHARD_BYTES), MAX_SHARD_BYTES)
    shards: list[list[Unit]] = []
    filled = target
    for unit in sorted(units, key=lambda u: u.name):
        if filled >= target:
            shards.append([])
            filled = 0
        shards[-1].append(unit)
        filled += unit.size
    return shards


def check_folder(out: Path) -> None:
    """Refuse a place that is not ours to write to, before anything is made there. Raises UsageError."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; name a folder to write the dataset to")
    ours = (out / PLAN).exists() or (out / MANIFEST).exists()
    if out.is_dir() and not ours and any(p.name != ".lock" for p in out.iterdir()):
        raise UsageError(f"{out} is not empty and holds no dataset; name a new folder")


def take_folder(out: Path, plan: Plan, overwrite: bool) -> None:
    """Make the folder this plan's, or take up an unfinished conversion of the same plan. Raises UsageError,
    AmrError."""
    path = out / PLAN
    try:
        if path.exists() or (out / MANIFEST).exists():
            old = read_plan(out)
            same = old is not None and (old["fingerprint"], old["stamps"]) == (plan.fingerprint, plan.stamps)
            if not same:
                if not overwrite:
                    raise UsageError(
                        f"{out} holds a dataset made from other sources or settings; --overwrite replaces it"
                    )
                for stale in [*out.glob("shard-*.h5"), out / MANIFEST, path]:
                    stale.unlink(missing_ok=True)
            elif old is not None:
                plan.recall(old)
        for stale in out.glob(".*.tmp"):
            stale.unlink(missing_ok=True)
        if not path.exists():
            write_json(path, plan.record())
    except OSError as error:
        raise AmrError(f"{out} cannot be written: {error.strerror or error}") from None


def read_plan(out: Path) -> dict[str, Any] | None:
    """The record in plan.json, or None where it is missing or damaged."""
    try:
        record = json.loads((out / PLAN).read_text(encoding="utf-8"))
        spec_from_json(record["spec"])
        Settings(Recipe(**record["recipe"]), record["compression"], record["options"])
        return (
            record if isinstance(record["fingerprint"], str) and isinstance(record["stamps"], str) else None
        )
    except (OSError, ValueError, KeyError, TypeError, AmrError):
        return None


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
