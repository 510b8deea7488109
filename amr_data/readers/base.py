"""What every reader offers: `discover` lists the units of work without reading them, `read` turns one unit
into clips and rejects."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from typing import Protocol as TypingProtocol

from amr_data.clip import Clip
from amr_data.errors import Reject, RejectError
from amr_data.readers.sources import Member, RawSource
from amr_data.specs import DatasetSpec, Protocol


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


class Reader(TypingProtocol):
    def discover(self, source: RawSource, spec: DatasetSpec) -> Discovery: ...

    def read(
        self, source: RawSource, units: Sequence[Unit], spec: DatasetSpec, frame_base: int
    ) -> Iterator[Clip | Reject]: ...


class UnitReader(ABC):
    """A reader that takes its units one by one."""

    def read(
        self, source: RawSource, units: Sequence[Unit], spec: DatasetSpec, frame_base: int
    ) -> Iterator[Clip | Reject]:
        for unit in units:
            yield from self.read_one(source, unit, spec, frame_base)

    @abstractmethod
    def read_one(
        self, source: RawSource, unit: Unit, spec: DatasetSpec, frame_base: int
    ) -> Iterator[Clip | Reject]: ...


def discover_by_name(source: RawSource, spec: DatasetSpec, ending: str) -> Discovery:
    """Units of one file each, for formats that put a clip's numbers into the file name."""
    found = Discovery()
    seen: set[str] = set()
    unusable = set(spec.unusable)
    for member in source.members():
        if not member.filename.lower().endswith(ending) or _is_litter(member):
            continue
        found.sources += 1
        shown = source.shown(member)
        numbers = spec.parse_name(member.stem)
        if numbers is None:
            found.rejects.append(Reject(shown, "name", f"expected a name like {spec.naming}"))
        elif member.stem in seen:
            found.rejects.append(
                Reject(shown, "duplicate", f"{member.stem} was already taken from another folder or archive")
            )
        elif member.stem in unusable:
            found.rejects.append(
                Reject(shown, "listed_unusable", f"listed by {spec.title} as without a usable skeleton")
            )
        elif spec.label(numbers["action"]) is None:
            found.rejects.append(
                Reject(shown, "unknown_class", f"action {numbers['action']} is not in {spec.name}")
            )
        else:
            found.units.append(Unit(member.stem, (member,)))
        seen.add(member.stem)
    return found


def new_clip(unit: Unit, spec: DatasetSpec, source: str) -> Clip:
    """An empty clip with everything that the file name says."""
    numbers = spec.parse_name(unit.name) or {}
    label = spec.label(numbers["action"])
    if label is None:
        raise RejectError("unknown_class", f"action {numbers['action']} is not in {spec.name}")
    return Clip(unit.name, label, 0, [], source=source, **name_fields(spec, unit.name))


def name_fields(spec: DatasetSpec, name: str) -> dict[str, Any]:
    """Fields of a `Clip` that its name says besides the class: int, -1 for what it does not say."""
    numbers = spec.parse_name(name) or {}
    return {field: numbers.get(field, -1) for field in ("subject", "camera", "setup", "replication")}


def _is_litter(member: Member) -> bool:
    """Files that operating systems leave in folders and archives."""
    return member.filename.startswith("._") or "__MACOSX/" in member.path
