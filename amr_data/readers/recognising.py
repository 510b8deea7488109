"""Which dataset do raw files belong to? Each built-in spec is held against the files' names, each family
against their content."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from amr_data.errors import UsageError
from amr_data.readers.family import Family, family_for, load_family
from amr_data.readers.sources import RawSource
from amr_data.specs import DatasetSpec, load_spec, spec_names

SHOWN, SNIFFED = 3, 50


@dataclass(frozen=True)
class Recognised:
    """What a source was taken for: the dataset, the family that reads it, and why, for people. `labelled` is
    False where no file's name is one of the dataset's: clips then have no label."""

    spec: DatasetSpec
    family: str
    because: str
    labelled: bool = True

    @property
    def told(self) -> str:
        """One line for people."""
        without = "" if self.labelled else ", without labels"
        return f"{self.spec.title}{without} ({self.because}); --dataset or --spec says otherwise"


def recognise(source: RawSource) -> Recognised:
    """The built-in dataset to which most of the files belong; of several the one with the fewest classes that
    holds them all.

    Raises: UsageError where no family can read any of the files, with what lies there.
    """
    best: tuple[tuple[int, int], Recognised] | None = None
    readable: dict[str, DatasetSpec] = {}
    for name in spec_names():
        spec = load_spec(name)
        family = family_for(source, spec)
        taken, seen = family.matches(source, spec)
        if seen:
            readable.setdefault(family.name, spec)
        if not taken:
            continue
        kind = "clips" if family.imported else "files"
        because = f"{taken:,} of {seen:,} {kind} are named like its own: {family.title}"
        rank = (taken, -len(spec.classes))
        if best is None or rank > best[0]:
            best = rank, Recognised(spec, family.name, because)
    if best is not None:
        return best[1]
    for family_name, spec in readable.items():
        family = load_family(family_name)
        title = family.title
        return Recognised(
            spec.unlabelled(),
            family_name,
            f"the files look like {title}, their names like no dataset's",
            False,
        )
    by_content = sniffed(source)
    if by_content is not None:
        spec = next(s for s in map(load_spec, spec_names()) if s.raw == by_content.name)
        because = f"the content is that of {by_content.title}"
        return Recognised(spec.unlabelled(), by_content.name, because, labelled=False)
    raise UsageError(f"{', '.join(source.names)}: {_unknown(source)}")


def sniffed(source: RawSource) -> Family | None:
    """The family of a built-in dataset that knows one of the first files by its content, whatever it is
    called."""
    families = [load_family(name) for name in dict.fromkeys(load_spec(s).raw for s in spec_names())]
    for member in source.members()[:SNIFFED]:
        for family in families:
            if family.looks_like(source, member):
                return family
    return None


def _unknown(source: RawSource) -> str:
    members = source.members()
    if not members:
        return "no file in it"
    endings = Counter("." + m.filename.rpartition(".")[2] if "." in m.filename else "no" for m in members)
    listed = ", ".join(f"{n:,} with {ending} ending" for ending, n in endings.most_common(SHOWN))
    return (
        f"not recognised as any dataset's ({listed}; the first is {members[0].path}); say what it is with "
        f"--dataset NAME ({', '.join(spec_names())}), or describe the files in a --spec FILE.yaml"
    )
