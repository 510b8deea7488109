"""What a raw family is: everything that one kind of raw files needs, in one object. Built-in families and a
user's own are found the same way: by the name of an entry point of the group `amr_data.readers`, or as
`package.module:Class` in the spec's `raw`."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, ValidationError

from amr_data.clip import Clip
from amr_data.errors import Reject, RejectError, UsageError, unknown
from amr_data.extensions import extension_names, load_extension
from amr_data.readers.base import Discovery, Unit, files_ending, name_problem
from amr_data.readers.sources import Member, RawSource
from amr_data.readers.untrimmed import Untrimmed
from amr_data.recipes.cleaning import clean_slots
from amr_data.specs import DatasetSpec, first_problem

GROUP = "amr_data.readers"
HEAD_BYTES = 4096
LOOKED_INTO = 3


class FamilyOptions(BaseModel):
    """A family's own settings of a conversion. Each field is an option of `amr-data convert`, its description
    the help."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Family(ABC):
    """One kind of raw files.

    name : the entry point's name, and the `raw` of a spec.  title : what people call such files.
    endings : of the files that a dataset of this family consists of, in lower case.
    options : the family's own settings.
    scanner : module of compiled loops that read its files, and let other threads run; see
        `amr_data.compiling`.
    imported : files that another project has made and cleaned; they are recognised by their content whatever
        the spec's own family is, and the recipe is `none` by default.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    endings: ClassVar[tuple[str, ...]]
    options: ClassVar[type[FamilyOptions]] = FamilyOptions
    imported: ClassVar[bool] = False
    scanner: ClassVar[str] = ""

    def check(self, spec: DatasetSpec) -> None:
        """Refuse a spec that does not describe files of this family. Raises ValueError."""
        if spec.layout:
            raise ValueError(f"layout belongs to other families than {self.name}")
        spec.need_names()

    @abstractmethod
    def sniff(self, head: bytes, filename: str) -> bool:
        """Whether a file that begins with these bytes (at most `HEAD_BYTES`) can be one of this family's."""

    @abstractmethod
    def discover(self, source: RawSource, spec: DatasetSpec, options: Any) -> Discovery:
        """List units of work, without reading clips. Without `spec.naming` any name will do, and clips have
        no label."""

    @abstractmethod
    def read(
        self, source: RawSource, units: Sequence[Unit], spec: DatasetSpec, options: Any
    ) -> Iterator[Clip | Reject]:
        """Turn units into clips and rejects."""

    def untrimmed(
        self, source: RawSource, units: Sequence[Unit], spec: DatasetSpec, options: Any
    ) -> Iterator[Untrimmed | Reject]:
        """The recordings of units whole, with their labelled intervals and clips; only of families that
        `keeps_recordings`."""
        raise NotImplementedError

    def keeps_recordings(self, spec: DatasetSpec) -> bool:
        """Whether labels name intervals of recordings, so that these can be kept whole."""
        return False

    def read_again(self, source: RawSource, unit: Unit) -> None:
        """Have `source.hashes` say what a unit's members hold now, where they can be read."""
        for member in unit.members:
            with contextlib.suppress(RejectError):
                source.read(member)

    def clean(self, clip: Clip, recipe: str, spec: DatasetSpec) -> Clip:
        """Choose and join the bodies of a clip for the recipes 'amr' and 'ctrgcn'. Raises RejectError."""
        return clean_slots(clip, recipe)

    def centres(self, recipe: str, spec: DatasetSpec) -> bool:
        """Whether a recipe of that name shifts the main actor to the origin."""
        return recipe in ("amr", "ctrgcn")

    def matches(self, source: RawSource, spec: DatasetSpec) -> tuple[int, int]:
        """How many of the source's files have names and classes of the spec, of how many that this family
        could read; a few of the latter are looked into."""
        files = self.files(source)
        if not files:
            return 0, 0
        return sum(name_problem(spec, spec.name_of(m.path)) is None for m in files), len(files)

    def files(self, source: RawSource) -> list[Member]:
        """Files of the source with one of the family's endings, if the first of them look like it."""
        files = files_ending(source, self.endings)
        return files if any(self.looks_like(source, m) for m in files[:LOOKED_INTO]) else []

    def looks_like(self, source: RawSource, member: Member) -> bool:
        """Whether a file's beginning is of this family; False where it cannot be read."""
        try:
            return self.sniff(source.head(member, HEAD_BYTES), member.filename)
        except RejectError:
            return False


def family_names() -> list[str]:
    """Names of the installed families."""
    return extension_names(GROUP)


@lru_cache(maxsize=64)
def load_family(name: str) -> Family:
    """A family by its entry point's name, or by `package.module:Class`. Raises UsageError."""
    found = load_extension(GROUP, name, Family)  # type: ignore[type-abstract]
    if found is None:
        known = unknown("raw family", name, family_names())
        raise UsageError(f"{known}; or package.module:Class of your own")
    return found()


def check_spec(spec: DatasetSpec) -> Family:
    """The spec's family, which has nothing against the spec. Raises UsageError."""
    family = load_family(spec.raw)
    try:
        family.check(spec)
    except ValidationError as error:
        raise UsageError(f"{spec.name}: layout: {first_problem(error, family.name)}") from None
    except ValueError as error:
        raise UsageError(f"{spec.name}: {error}") from None
    return family


def family_for(source: RawSource, spec: DatasetSpec) -> Family:
    """The family that reads these sources: the spec's own, or another project's where a file of one is given.
    Raises UsageError."""
    own = check_spec(spec)
    for name in family_names() if any(not p.is_dir() for p in source.paths) else ():
        family = load_family(name)
        if family.imported and any(_is_file_of(family, own, path) for path in source.paths):
            return family
    return own


def _is_file_of(family: Family, own: Family, path: Path) -> bool:
    ending = path.suffix.lower()
    return path.is_file() and ending in family.endings and ending not in own.endings


def family_options(family: Family, given: Mapping[str, Any]) -> FamilyOptions:
    """A family's options with some of them set. Raises UsageError for one that the family does not have."""
    for name in given:
        if name not in family.options.model_fields:
            raise UsageError(f"{name.replace('_', '-')} is no option of {family.title} ({family.name})")
    try:
        return family.options(**given)
    except ValidationError as error:
        raise UsageError(f"{family.name}: {first_problem(error, 'options')}") from None
