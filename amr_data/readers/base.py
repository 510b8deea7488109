"""What readers work with: units of work, what lies in a source, and clips by their files' names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from amr_data.clip import Clip
from amr_data.errors import Reject, RejectError
from amr_data.readers.sources import Member, RawSource
from amr_data.specs import NO_LABEL, DatasetSpec, Protocol


@dataclass(frozen=True)
class Unit:
    """The files that are read together: one skeleton file, or a video with its labels. `name` is unique in a
    dataset."""

    name: str
    members: tuple[Member, ...]

    @property
    def size(self) -> int:
        return sum(m.size for m in self.members)


@dataclass
class Discovery:
    """What lies in a source: units to read, files refused by name alone, how many sources (files or label
    files) were seen, and protocols that the raw data brings along in place of the spec's."""

    units: list[Unit] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    sources: int = 0
    protocols: dict[str, Protocol] = field(default_factory=dict)
    replace_protocols: bool = False
    """The source's protocols are the only ones that its clips can be split by."""
    synthetic: bool = False
    """The source itself says, besides any mark beside it, that its motion is invented."""
    classes: dict[int, str] = field(default_factory=dict)
    """Classes that the source brings along, for a spec that has none: number to name, in label order."""

    def applied_to(self, spec: DatasetSpec) -> DatasetSpec:
        """The spec with the splits and classes that the source brings along. Raises ValidationError where no
        spec may have them."""
        protocols = self.protocols if self.replace_protocols else {**spec.protocols, **self.protocols}
        return spec.changed(protocols=protocols, classes=spec.classes or self.classes)


def discover_by_name(source: RawSource, spec: DatasetSpec, members: list[Member]) -> Discovery:
    """Units of one file each, for formats that put a clip's numbers into the file name. Without a naming
    every file is a unit, named by its path."""
    found = Discovery(sources=len(members))
    seen: set[str] = set()
    unusable = set(spec.unusable)
    names = path_names(source, spec, members) if spec.naming is None else None
    for index, member in enumerate(members):
        shown = source.shown(member)
        if member.refused:  # it takes nobody's name
            found.rejects.append(Reject(shown, member.reason, member.refused))
            continue
        name = names[index] if names else spec.name_of(member.path)
        problem = name_problem(spec, name)
        if name in seen:
            problem = "duplicate", f"{name} was already taken from another folder or archive"
        elif name in unusable:
            problem = "listed_unusable", unusable_detail(spec)
        if problem:
            found.rejects.append(Reject(shown, *problem))
        else:
            found.units.append(Unit(name, (member,)))
        seen.add(name)
    return found


def unusable_detail(spec: DatasetSpec) -> str:
    """What a reject says of a name that is among the spec's `unusable`."""
    return f"listed by {spec.title} as without a usable skeleton"


def name_problem(spec: DatasetSpec, name: str) -> tuple[str, str] | None:
    """Why a name is not one of the dataset's: reason and detail; None where it is."""
    numbers = spec.parse_name(name)
    if numbers is None:
        return "name", f"expected {spec.named_like}"
    if "action" in numbers and spec.label(numbers["action"]) is None:
        return "unknown_class", f"action {numbers['action']} is not in {spec.name}"
    return None


def path_names(source: RawSource, spec: DatasetSpec, members: list[Member]) -> list[str]:
    """A name for every file that differs from all others: its path without the ending; with the ending, and
    with the source's name before it, where these tell apart."""
    ways = (
        [spec.name_of(m.path) for m in members],
        [m.path for m in members],
        [source.shown(m) for m in members],
    )
    taken = [i for i, m in enumerate(members) if not m.refused]
    for names in ways:
        if len({names[i] for i in taken}) == len(taken):
            return names
    return [f"{name}#{m.source}" for name, m in zip(ways[-1], members, strict=True)]


def files_ending(source: RawSource, endings: tuple[str, ...]) -> list[Member]:
    """Files of a source by their ending, without what operating systems leave there."""
    return [m for m in source.members() if m.filename.lower().endswith(endings) and not is_litter(m)]


def new_clip(unit: Unit, spec: DatasetSpec, source: str) -> Clip:
    """An empty clip with everything that the file name says. Raises RejectError for an unknown class."""
    numbers = spec.parse_name(unit.name) or {}
    label = spec.label(numbers["action"]) if "action" in numbers else NO_LABEL
    if label is None:
        raise RejectError("unknown_class", f"action {numbers['action']} is not in {spec.name}")
    return Clip(unit.name, label, 0, [], source=source, **_fields(numbers))


def name_fields(spec: DatasetSpec, name: str) -> dict[str, Any]:
    """Fields of a `Clip` that its name says besides the class: int, -1 for what it does not say."""
    return _fields(spec.parse_name(name) or {})


def _fields(numbers: Mapping[str, int]) -> dict[str, Any]:
    return {field: numbers.get(field, -1) for field in ("subject", "camera", "setup", "replication")}


def is_litter(member: Member) -> bool:
    """Files that operating systems leave in folders and archives."""
    return member.filename.startswith("._") or "__MACOSX/" in member.path
