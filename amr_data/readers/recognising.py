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
NEARLY = 0.99


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
    """The built-in dataset to which most of the files belong; of several that hold nearly as many, the one
    with the fewest classes, so that a stray file does not make NTU RGB+D 120 of 60.

    Raises: UsageError where no family can read any of the files, with what lies there.
    """
    best: tuple[int, Recognised] | None = None
    readable: tuple[int, Family, DatasetSpec] | None = None
    for spec in sorted(map(load_spec, spec_names()), key=lambda s: len(s.classes)):
        family = family_for(source, spec)
        taken, seen = family.matches(source, spec)
        if seen and (readable is None or seen > readable[0]):
            readable = seen, family, spec
        if not taken:
            continue
        kind = "clip" if family.imported else "file"
        because = f"{taken:,} of {seen:,} {kind} names fit; {family.title}"
        if best is None or taken * NEARLY > best[0]:  # specs come in order of their classes
            best = taken, Recognised(spec, family.name, because)
    if best is not None:
        return best[1]
    if readable is not None and readable[1].imported:
        raise UsageError(
            f"{', '.join(source.given)}: {readable[1].title}, but neither names nor sizes are those of a "
            f"built-in dataset, and nothing else says whose skeleton it is; say it with --dataset NAME "
            f"({', '.join(spec_names())}) or a --spec FILE.yaml"
        )
    if readable is not None:
        _, family, spec = readable
        because = f"the files look like {family.title}, their names like no dataset's"
        return Recognised(spec.unlabelled(), family.name, because, labelled=False)
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
