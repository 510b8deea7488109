"""Which files of a source are recordings, which are labels, and what the two say together before any
recording is read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from amr_data.errors import Reject, RejectError
from amr_data.readers.base import Discovery, Unit, discover_by_name, files_ending, is_litter
from amr_data.readers.sources import Member, RawSource
from amr_data.readers.table.content import read_content
from amr_data.readers.table.grids import plain
from amr_data.readers.table.labels import (
    Row,
    is_label_file,
    label_file_of,
    label_files,
    label_rows,
    recording_names,
)
from amr_data.readers.table.layout import Labels, Layout
from amr_data.readers.table.resolved import Resolved
from amr_data.specs import DatasetSpec, plain_name

KEPT = 64
"""Label files whose rows are kept at a time."""


@dataclass(frozen=True)
class Recording:
    """The file, or the files of one frame each, that are read as one; `path` gives the name."""

    path: str
    members: tuple[Member, ...]

    @property
    def standing_in(self) -> Member:
        """One member for all of them, by which names are made."""
        first = self.members[0]
        size = sum(m.size for m in self.members)
        return Member(first.source, self.path, size, first.stamp, first.refused, first.reason, first.entry)


def recordings(source: RawSource, layout: Layout) -> list[Recording]:
    """What a layout takes for recordings, sorted by path."""
    if layout.files:
        pattern = layout.files
        members = [m for m in source.members() if not is_litter(m) and _fits(m.path, pattern)]
    else:
        members = files_ending(source, layout.endings)
    if not members:  # a file that was named itself need not be called like any other
        members = [m for m in source.members() if m.path == source.paths[m.source].name]
    members = [m for m in members if not is_label_file(layout.labels, m.path)]
    if not layout.frame_files:
        return [Recording(m.path, (m,)) for m in members]
    frames: dict[tuple[int, str], list[tuple[int, Member]]] = {}
    for member in members:
        found = _frame_file(layout.frame_files, member)
        if found is not None:
            frames.setdefault((member.source, found[0]), []).append((found[1], member))
    return [
        # `name_of` takes an ending off
        Recording(
            f"{path}.frames", tuple(m for _, m in sorted(of_one, key=lambda pair: (pair[0], pair[1].path)))
        )
        for (_, path), of_one in sorted(frames.items())
    ]


def frame_number(layout: Layout, member: Member) -> int:
    """The number of the frame that a file of one frame holds."""
    found = _frame_file(layout.frame_files, member)
    return found[1] if found else 0


def _frame_file(pattern: str, member: Member) -> tuple[str, int] | None:
    """Path of the recording, and number of the frame; None for another file."""
    match = re.fullmatch(pattern, member.stem) or re.fullmatch(pattern, member.filename)
    if match is None or not re.fullmatch(r"[0-9]{1,15}", match["frame"] or ""):
        return None
    folder = member.path.rpartition("/")[0]
    clip = match.groupdict().get("clip") or ""
    return "/".join(part for part in (folder, clip) if part) or "recording", int(match["frame"])


def _fits(path: str, pattern: str) -> bool:
    """Whether the last parts of a path match, as many as the pattern has."""
    return fnmatchcase("/".join(path.split("/")[-1 - pattern.count("/") :]), pattern)


@dataclass
class LabelBook:
    """Rows of label files, each file read once: a table for all recordings is asked for by every unit."""

    _known: dict[tuple[object, ...], tuple[dict[str, list[Row]], list[Reject]]] = field(default_factory=dict)

    def of(
        self, source: RawSource, member: Member, labels: Labels
    ) -> tuple[dict[str, list[Row]], list[Reject]]:
        """Rows by recording ('' in a file about one recording), and what could not be read."""
        key = (tuple(source.paths), member, labels.model_dump_json())
        if key not in self._known:
            if len(self._known) >= KEPT:
                self._known.clear()
            self._known[key] = self._read(source, member, labels)
        return self._known[key]

    def _read(
        self, source: RawSource, member: Member, labels: Labels
    ) -> tuple[dict[str, list[Row]], list[Reject]]:
        shown = source.shown(member)
        try:
            data = source.read(member)
        except RejectError as error:
            return {}, [Reject(shown, error.reason, error.detail)]
        found: dict[str, list[Row]] = {}
        rejects: list[Reject] = []
        for row in label_rows(data, member.filename, shown, labels):
            if isinstance(row, Reject):
                rejects.append(row)
            else:
                found.setdefault("" if labels.beside else row.recording, []).append(row)
        return found, rejects

    def key(self, source: RawSource, member: Member, labels: Labels, path: str) -> str | None:
        """What a label file calls the recording at a path, None where it says nothing about it."""
        rows = self.of(source, member, labels)[0]
        names = [""] if labels.beside else recording_names(labels, path)
        return next((name for name in reversed(names) if name in rows), None)  # the one that says most


def find(
    source: RawSource, spec: DatasetSpec, resolved: Resolved, book: LabelBook
) -> tuple[Discovery, DatasetSpec]:
    """Units, and the spec, with the classes that names, label files or columns give where it has none."""
    layout = resolved.layout
    there = recordings(source, layout)
    labelled = label_files(source, layout.labels) if layout.labels else []
    classes: dict[int, str] = {}
    if not spec.classes:
        classes = _classes(_said(source, spec, resolved, there, labelled, book))
        spec = spec.changed(classes=classes)
    # with a column of clips, names are about its values, not about files
    named = spec if layout.clip is None else spec.unlabelled()
    by_path = {r.standing_in: r for r in there}
    found = discover_by_name(source, named, list(by_path))
    found.classes = classes
    found.sources = sum(len(r.members) for r in there) + len(labelled)
    found.units = [Unit(u.name, by_path[u.members[0]].members) for u in found.units]
    if layout.clip is not None:
        found.units = _told_apart(found.units)
    if layout.labels is not None and (labelled or spec.classes):
        _join_labels(source, spec, layout, found, labelled, book)
    return found, spec


def _told_apart(units: list[Unit]) -> list[Unit]:
    """Units under whose names, `_` and a value of the clip column no two clips are called alike: with their
    files' endings, where x_1 stands beside x and 2 in the one could be 1_2 in the other."""
    names = {u.name for u in units}
    if not any(name[:at] in names for name in names for at, sign in enumerate(name) if sign == "_"):
        return units
    return [Unit(u.members[0].path, u.members) for u in units]


def recording_path(layout: Layout, unit: Unit) -> str:
    """The path that gives a unit its name."""
    member = unit.members[0]
    found = _frame_file(layout.frame_files, member) if layout.frame_files else None
    return f"{found[0]}.frames" if found else member.path


def _join_labels(
    source: RawSource,
    spec: DatasetSpec,
    layout: Layout,
    found: Discovery,
    labelled: list[Member],
    book: LabelBook,
) -> None:
    """Add to each unit its label file; what has no partner is a reject."""
    labels = layout.labels
    assert labels is not None
    units, taken = [], dict[tuple[Member, str], str]()
    for unit in found.units:
        path = recording_path(layout, unit)
        shown = source.shown(unit.members[0])
        members = _beside(labels, path, labelled) if labels.beside else labelled
        keys = [(m, book.key(source, m, labels, path)) for m in members]
        said = [(m, key) for m, key in keys if key is not None]
        if labels.beside and len(members) == 1:
            units.append(Unit(unit.name, (*unit.members, members[0])))
        elif len(said) == 1 and said[0] not in taken:
            taken[said[0]] = shown
            units.append(Unit(unit.name, (*unit.members, said[0][0])))
        elif said:
            other = taken.get(said[0], "") if len(said) == 1 else source.shown(said[1][0])
            found.rejects.append(
                Reject(
                    shown, "no_label", f"not clear whose the labels of '{said[0][1]}' are: see also {other}"
                )
            )
        else:
            where = labels.file if labelled else f"no file {labels.file} in the source"
            found.rejects.append(Reject(shown, "no_label", f"no row about it: {where}"))
    found.units = units
    for member in labelled:
        rows, rejects = book.of(source, member, labels)
        if labels.beside:
            continue  # told when the recording is read
        found.rejects += rejects
        for name in rows:
            if (member, name) not in taken:
                row = rows[name][0]
                found.rejects.append(
                    Reject(
                        f"{source.shown(member)}:{row.line}",
                        "no_skeleton",
                        f"no file of recording '{name[:80]}'",
                    )
                )
            elif not labels.intervals and len(rows[name]) > 1:
                line = rows[name][1].line
                found.rejects.append(
                    Reject(f"{source.shown(member)}:{line}", "duplicate", f"'{name[:80]}' has a row already")
                )


def _beside(labels: Labels, path: str, labelled: list[Member]) -> list[Member]:
    """The label file of a recording: of several of its name the one that lies nearest."""
    name = recording_names(labels, path)[0]
    mine = [m for m in labelled if label_file_of(labels, m.path) == name]
    folders = path.split("/")[:-1]
    near = [_shared(m.path.split("/")[:-1], folders) for m in mine]
    return [m for m, n in zip(mine, near, strict=True) if n == max(near)]


def _shared(one: list[str], other: list[str]) -> int:
    """How many folders two paths share from the top."""
    return next(
        (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )


def _said(
    source: RawSource,
    spec: DatasetSpec,
    resolved: Resolved,
    there: list[Recording],
    labelled: list[Member],
    book: LabelBook,
) -> Iterator[str]:
    """Every label that occurs, as text."""
    layout = resolved.layout
    if layout.labels is not None:
        for member in labelled:
            for rows in book.of(source, member, layout.labels)[0].values():
                yield from (row.label for row in rows)
    elif layout.label is not None:
        for recording in there:
            try:
                content = read_content(
                    source.read(recording.members[0]), recording.members[0].filename, resolved
                )
            except RejectError:
                continue  # rejected when it is read
            yield from dict.fromkeys(content.extras["label"])
    elif "action" in re.compile(spec.naming or "").groupindex and layout.clip is None:
        codes = {str(code): text for text, code in spec.codes.get("action", {}).items()}
        for recording in there:
            match = re.fullmatch(spec.naming or "", spec.name_of(recording.path))
            if match and match["action"]:
                text = match["action"]
                yield codes.get(text, text)


def _classes(said: Iterable[str]) -> dict[int, str]:
    """Classes out of labels: numbers keep themselves, words are numbered in their order from 1."""
    labels = sorted({plain(text) for text in said} - {""})
    if all(re.fullmatch(r"[0-9]{1,9}", label) for label in labels):
        return {number: str(number) for number in sorted(map(int, labels))}
    # spellings that labels are compared alike in are one class, called by the first of them
    first: dict[str, str] = {}
    for label in labels:
        first.setdefault(plain_name(label), label)
    return dict(enumerate(first.values(), 1))
