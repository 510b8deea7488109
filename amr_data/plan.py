"""What a conversion is going to do, before it does it: sources, settings, which source goes into which shard,
and the fingerprints by which an interrupted run knows its own work again."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from amr_data.errors import AmrError, Reject, UsageError
from amr_data.files import write_json
from amr_data.identity import changed_unit, digest, plan_fingerprint
from amr_data.readers import Family, RawSource, Unit, family_for, family_options
from amr_data.recipes.normalize import Recipe
from amr_data.shards.layout import MANIFEST, PLAN, SHARD_FILES
from amr_data.shards.model import DamageError, PlanRecord, believed, read_object
from amr_data.shards.opening import is_shard
from amr_data.shards.writer import COMPRESSIONS
from amr_data.specs import DatasetSpec, first_problem, spec_from_json, unknown

_LEFT_OVER = re.compile(r"\.(shard-[0-9]+\.h5|manifest\.json|plan\.json|rejects\.jsonl)\.[0-9]+\.tmp")
"""What a killed conversion leaves, see `files.whole_file`."""
RECORDINGS = "recordings"
KEEP = {RECORDINGS: "the whole recordings that clips are cut from, with the intervals of their labels"}
"""What a conversion can keep besides clips."""
MIN_SHARD_BYTES, MAX_SHARD_BYTES, TARGET_SHARDS = 4 << 20, 48 << 20, 32


class NoRecordings(UsageError):
    """Recordings are to be kept of files whose labels are of whole files."""


@dataclass(frozen=True)
class Settings:
    """How raw files become shards; kept in the manifest. `options` are the raw family's own. `keep` : a key
    of `KEEP`, or nothing.

    Raises: UsageError for an unknown compression, or an unknown thing to keep.
    """

    recipe: Recipe
    compression: str = "none"
    options: Mapping[str, Any] = field(default_factory=dict)
    keep: str | None = None

    @property
    def recordings(self) -> bool:
        """Whether recordings are kept, their clips as views into them."""
        return self.keep == RECORDINGS

    def __post_init__(self) -> None:
        if self.keep is not None and self.keep not in KEEP:
            raise UsageError(unknown("thing to keep", self.keep, KEEP))
        if self.compression not in COMPRESSIONS:
            raise UsageError(unknown("compression", self.compression, COMPRESSIONS))


@dataclass
class Plan:
    """`shards` : the units of each shard, in order.  `sources` : files seen (for PKU-MMD with their label
    files).  `fingerprint` : see `identity`; `stamps` changes with the files' times or checksums.  `synthetic`
    : a source says that its motion is invented; it is no part of the fingerprint, since it changes no
    clip."""

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
            "names": self.source.names,
            **({"keep": self.settings.keep} if self.settings.keep else {}),
        }


def make_plan(source: RawSource, spec: DatasetSpec, settings: Settings) -> Plan:
    """Look at the sources without reading them. Raises UsageError where nothing in them fits the dataset."""
    family = family_for(source, spec)
    settings.recipe.check(spec)
    options = family_options(family, settings.options)
    settings = replace(settings, options=options.model_dump())
    if settings.recordings and not family.keeps_recordings(spec):
        raise NoRecordings(
            f"{spec.title}: its labels are of whole files, so there are no recordings to keep; "
            f"--keep {RECORDINGS} is for label files that name intervals of recordings"
        )
    given = ", ".join(source.given)
    try:
        found = family.discover(source, spec, options)
        if not found.units and not found.rejects:
            raise UsageError(f"{given}: no {spec.title} file in it")
        spec = found.applied_to(spec)
    except ValidationError as error:  # classes or splits that the files bring along and no spec may have
        raise UsageError(f"{given}: {first_problem(error, spec.name)[:400]}") from None
    stamps = [m.stamp for u in found.units for m in u.members]
    rejected = [*source.rejects, *found.rejects]
    changed = options.model_dump(exclude_defaults=True)
    fingerprint = plan_fingerprint(spec, settings, changed, found.units, rejected)
    return Plan(
        source,
        spec,
        family,
        settings,
        cut_shards(found.units),
        rejected,
        found.sources,
        fingerprint,
        digest(stamps),
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
    if out.is_dir() and not all(_is_trace(p.name) for p in out.iterdir()) and not is_dataset(out):
        raise UsageError(f"{out} is not empty and holds no dataset; name a new folder")


def _is_trace(name: str) -> bool:
    """Whether it may be all that is left of a conversion that was killed early."""
    return name == ".lock" or _LEFT_OVER.fullmatch(name) is not None


def is_dataset(out: Path) -> bool:
    """Whether a folder holds a dataset, whole, unfinished or damaged: judged by what the files say, since
    others name their files manifest.json too."""
    if read_plan(out) is not None:
        return True
    try:
        if {"format_version", "spec", "shards"} <= read_object(out / MANIFEST).keys():
            return True
    except (DamageError, FileNotFoundError):
        pass
    return any(is_shard(p) for p in out.iterdir() if SHARD_FILES.fullmatch(p.name))


def take_folder(out: Path, plan: Plan, overwrite: bool) -> Plan:
    """Make the folder this plan's, or take up an unfinished conversion of the same plan.

    Returns: the plan, with the names that the sources had when the conversion began.
    Raises: UsageError, AmrError.
    """
    try:
        check_folder(out)
        old = read_plan(out)
        if any((out / name).exists() for name in (PLAN, MANIFEST)):
            plan, other = _same_plan(out, plan, old)
            if other:
                if not overwrite:
                    raise UsageError(
                        f"{out} holds a dataset made from other {other}; --overwrite replaces it"
                    )
                for stale in [*_shards(out), out / MANIFEST, out / PLAN]:
                    stale.unlink(missing_ok=True)
                old = None
        for stale in out.iterdir():
            if _LEFT_OVER.fullmatch(stale.name):
                stale.unlink(missing_ok=True)
        if old is None or old.model_dump() != plan.record():
            write_json(out / PLAN, plan.record())
    except OSError as error:
        raise AmrError(f"{out} cannot be written: {error.strerror or error}") from None
    return plan


def _same_plan(out: Path, plan: Plan, old: PlanRecord | None) -> tuple[Plan, str]:
    """The plan as it goes on, and what the folder was made from otherwise, or nothing."""
    if old is None:
        return plan, "sources or settings"
    plan = _named(plan, old)
    if old.fingerprint != plan.fingerprint:
        return plan, "sources or settings"
    plan.synthetic = plan.synthetic or old.synthetic  # though the mark may be gone since
    if old.stamps != plan.stamps and (unit := changed_unit(plan, out)):
        return plan, f"sources or settings: {unit} may have changed"
    return plan, ""


def _named(plan: Plan, old: PlanRecord) -> Plan:
    """The plan with the names that the sources had at first, if it is the same plan: what a clip says of its
    source must not depend on whether the folder was renamed in between."""
    given = plan.source.names
    if old.names is None or old.names == given or len(old.names) != len(given):
        return plan
    plan.source.names = list(old.names)
    renamed = make_plan(plan.source, plan.spec, plan.settings)
    if renamed.fingerprint == old.fingerprint:
        return renamed
    plan.source.names = given
    return plan


def _shards(out: Path) -> list[Path]:
    return [p for p in out.iterdir() if SHARD_FILES.fullmatch(p.name)]


def read_plan(out: Path) -> PlanRecord | None:
    """The record in plan.json, or None where it is missing or damaged."""
    path = out / PLAN
    try:
        record = believed(path, PlanRecord, read_object(path))
        spec_from_json(record.spec)
        Settings(Recipe(**record.recipe), record.compression, record.options, record.keep)
    except (FileNotFoundError, ValueError, TypeError, AmrError):
        return None
    return record
