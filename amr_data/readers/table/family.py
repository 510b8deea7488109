"""The family `table`: files that a spec's `layout` describes. Discovery finds recordings and their labels,
reading makes clips of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from pydantic import Field

from amr_data.clip import Clip
from amr_data.errors import Reject, RejectError, UsageError
from amr_data.readers.base import Discovery, Unit, name_problem
from amr_data.readers.family import Family, FamilyOptions
from amr_data.readers.sources import RawSource
from amr_data.readers.stature import measured, median_height
from amr_data.readers.table.clips import interval, untrimmed, whole
from amr_data.readers.table.content import Content, read_content
from amr_data.readers.table.finding import LabelBook, find, frame_number, recording_path, recordings
from amr_data.readers.table.labels import Row, is_label_file
from amr_data.readers.table.layout import FORMATS, UNITS, Layout
from amr_data.readers.table.resolved import Resolved, resolve
from amr_data.readers.table.shapes import MAX_VALUES
from amr_data.readers.table.takes import Take, takes
from amr_data.readers.untrimmed import Untrimmed
from amr_data.specs import DatasetSpec

LOOKED_AT = 8
"""Recordings that are read to see whether the unit is right."""


class TableOptions(FamilyOptions):
    image: str = Field(
        "",
        pattern=r"^([1-9][0-9]{0,4}x[1-9][0-9]{0,4})?$",
        description="Size of the images in which joints were found, for layouts in pixels: 1920x1080.",
    )


class TableFamily(Family):
    """Tables, arrays and JSON files; the spec says what stands where."""

    name = "table"
    title = "tables, arrays or JSON"
    endings = tuple(FORMATS)
    options = TableOptions

    def __init__(self) -> None:
        self._book = LabelBook()

    def check(self, spec: DatasetSpec) -> None:
        resolve(Layout.model_validate(spec.layout), spec)

    def sniff(self, head: bytes, filename: str) -> bool:
        return False  # nothing but a layout tells a table of skeletons from any other

    def matches(self, source: RawSource, spec: DatasetSpec) -> tuple[int, int]:
        """Names tell, and one file that reads as the layout says."""
        resolved = resolve(Layout.model_validate(spec.layout), spec)
        there = recordings(source, resolved.layout)
        found = [r for r in there if name_problem(spec, spec.name_of(r.path)) is None]
        for recording in found[:1]:
            unit = Unit(spec.name_of(recording.path), recording.members)
            if any(isinstance(c, Clip) for c in self._read_unit(source, unit, spec, resolved, None)):
                return len(found), len(there)
        return 0, 0

    def discover(self, source: RawSource, spec: DatasetSpec, options: TableOptions) -> Discovery:
        resolved = _resolved(spec, options)
        found, spec = find(source, spec, resolved, self._book)
        if spec.dimensions == 3:
            self._check_height(source, found.units[:LOOKED_AT], spec, resolved)
        return found

    def read(
        self, source: RawSource, units: Sequence[Unit], spec: DatasetSpec, options: TableOptions
    ) -> Iterator[Clip | Reject]:
        yield from self._read(source, units, spec, _resolved(spec, options))

    def _read(
        self, source: RawSource, units: Sequence[Unit], spec: DatasetSpec, resolved: Resolved
    ) -> Iterator[Clip | Reject]:
        for item in self._with_rows(source, units, resolved):
            if isinstance(item, Reject):
                yield item
            else:
                yield from self._read_unit(source, item[0], spec, resolved, item[1])

    def keeps_recordings(self, spec: DatasetSpec) -> bool:
        labels = Layout.model_validate(spec.layout).labels
        return labels is not None and labels.intervals

    def untrimmed(
        self, source: RawSource, units: Sequence[Unit], spec: DatasetSpec, options: TableOptions
    ) -> Iterator[Untrimmed | Reject]:
        resolved = _resolved(spec, options)
        for item in self._with_rows(source, units, resolved):
            if isinstance(item, Reject):
                yield item
                continue
            unit, rows = item
            shown = source.shown(unit.members[0])
            where = [shown]
            try:
                content = _content(source, unit, resolved)
                # labels in files of their own and clips in a column exclude each other: a file is one take
                (take,) = takes(content, resolved.layout, spec.frame_rate)
                if not isinstance(take, Take):
                    raise take[1]
                where = [f"{shown}:label row {row.line}" for row in rows or ()] or where
                yield untrimmed(unit.name, take, rows or [], shown, spec, resolved)
            except RejectError as error:
                yield from (Reject(w, error.reason, error.detail) for w in where)

    def _with_rows(
        self, source: RawSource, units: Sequence[Unit], resolved: Resolved
    ) -> Iterator[tuple[Unit, list[Row] | None] | Reject]:
        """Units without their label files, and the rows of these."""
        layout = resolved.layout
        for unit in units:
            rows: list[Row] | None = None
            last = unit.members[-1]
            if layout.labels is not None and is_label_file(layout.labels, last.path):
                found, rejects = self._book.of(source, last, layout.labels)
                key = self._book.key(source, last, layout.labels, recording_path(layout, unit))
                rows = found.get(key or "", [])
                if layout.labels.beside:  # those of a table for all were told at discovery
                    yield from rejects
                    if not rows and not rejects:
                        yield Reject(source.shown(last), "empty", "the label file has no row")
                    if len(rows) > 1 and not layout.labels.intervals:
                        detail = "a second row about a whole recording: which label counts?"
                        yield Reject(f"{source.shown(last)}:{rows[1].line}", "duplicate", detail)
                        continue
                unit = Unit(unit.name, unit.members[:-1])
            yield unit, rows

    def _read_unit(
        self, source: RawSource, unit: Unit, spec: DatasetSpec, resolved: Resolved, rows: list[Row] | None
    ) -> Iterator[Clip | Reject]:
        shown = source.shown(unit.members[0])
        labels = resolved.layout.labels
        try:
            content = _content(source, unit, resolved)
        except RejectError as error:
            yield Reject(shown, error.reason, error.detail)
            return
        for take in takes(content, resolved.layout, spec.frame_rate):
            if not isinstance(take, Take):
                name, problem = take
                yield Reject(f"{shown}:{name}" if name else shown, problem.reason, problem.detail)
            elif rows is None or labels is None or not labels.intervals:
                row = rows[0] if rows else None
                where = f"{shown}:{take.clip}" if take.clip else shown
                yield _made(where, partial(whole, unit.name, take, row, spec, resolved))
            else:
                for number, row in enumerate(rows, 1):
                    where = f"{shown}:label row {row.line}"
                    yield _made(where, partial(interval, unit.name, take, row, number, spec, resolved))

    def _check_height(
        self, source: RawSource, units: Sequence[Unit], spec: DatasetSpec, resolved: Resolved
    ) -> None:
        """Refuse a unit in which people are giants or ants. Raises UsageError."""
        read: list[Clip] = []
        for item in self._read(source, units, spec, replace(resolved, unbounded=True)):
            if isinstance(item, Clip):
                read.append(item)
            if len(read) >= LOOKED_AT:
                break
        height = median_height(read, spec.skeleton)
        least, most = resolved.layout.height
        if height is None or least <= height <= most:
            return
        unit = resolved.layout.unit
        fits = [u for u in ("m", "cm", "mm") if least <= height / UNITS[unit] * UNITS[u] <= most]
        hint = f"unit: {fits[0]} would fit" if fits else "look at unit, scale, axes and the order of joints"
        raise UsageError(
            f"{spec.name}: people come out {height:.3g} m tall with unit: {unit} "
            f"({measured(spec.skeleton)}, median of the first {len(read)} clips), "
            f"expected {least:g} to {most:g}; {hint}"
        )


def _resolved(spec: DatasetSpec, options: TableOptions) -> Resolved:
    """The layout with the size of images that an option gives. Raises UsageError."""
    layout = Layout.model_validate(spec.layout)
    if options.image:
        if not layout.of_images:
            raise UsageError(f"{spec.name} is in {layout.unit}, not in pixels; image does not go with it")
        width, _, height = options.image.partition("x")
        layout = layout.model_copy(update={"image": (int(width), int(height))})
    if layout.of_images and layout.image is None:
        raise UsageError(f"{spec.name} is in pixels of an image; say its size: --image 1920x1080")
    return resolve(layout, spec)


def _content(source: RawSource, unit: Unit, resolved: Resolved) -> Content:
    """A unit's only file, or its files of one frame each put together. Raises RejectError."""
    layout = resolved.layout
    if not layout.frame_files:
        member = unit.members[0]
        return read_content(source.read(member), member.filename, resolved)
    frames, parts = [], []
    for member in unit.members:
        try:
            part = read_content(source.read(member), member.filename, resolved).values
        except RejectError as error:
            raise RejectError(error.reason, f"{member.filename}: {error.detail}") from None
        parts.append(part)
        frames.append(frame_number(layout, member))
    bodies = max(part.shape[1] for part in parts)
    if len(parts) * bodies * parts[0][0, 0].size > MAX_VALUES:
        raise RejectError(
            "too_large", f"{len(parts):,} frames of {bodies} bodies, at most {MAX_VALUES:,} numbers are read"
        )
    values = np.full((len(parts), bodies, *parts[0].shape[2:]), np.nan)
    for row, part in enumerate(parts):
        values[row, : part.shape[1]] = part[0]
    return Content(values, {"frame": np.array(frames, np.float64)})


def _made(shown: str, make: Callable[[], Clip]) -> Clip | Reject:
    """A clip that knows its source, or why there is none."""
    try:
        return replace(make(), source=shown)
    except RejectError as error:
        return Reject(shown, error.reason, error.detail)
