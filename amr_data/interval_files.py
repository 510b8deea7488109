"""Intervals of recordings in files of their own, JSON or CSV: what a detector has found, or what a dataset's
labels say. docs/recordings.md shows both forms."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic_core import from_json

from amr_data.cells import as_row, from_cell
from amr_data.errors import UsageError
from amr_data.files import whole_file
from amr_data.recording import Interval

FORMS = (".json", ".csv")
COLUMNS = ("recording", "label", "class", "first", "end", "start_s", "end_s", "score")
MAX_BYTES = 64 << 20
MAX_FRAME = 1 << 31
MAX_SCORE = 1e9
"""Also below zero; the shades of larger ones cannot be told from each other's differences."""


@dataclass(frozen=True)
class FoundInterval(Interval):
    """An interval with how sure its finder is, more meaning surer.  title : the class's name as the file has
    it, empty where it has none."""

    score: float = 1.0
    title: str = ""


@dataclass(frozen=True)
class IntervalsOf:
    """The intervals of one recording, sorted by their first frame.  frames : of the recording, 0 where the
    file does not say."""

    recording: str
    fps: float
    frames: int
    intervals: tuple[FoundInterval, ...]

    def as_dict(self, names: Sequence[str]) -> dict[str, Any]:
        """As it is written to JSON. names : of the classes, by label."""
        rows = [
            {
                "label": one.label,
                "class": names[one.label] if one.label < len(names) else "",
                "first": one.first,
                "end": one.end,
                "score": one.score,
            }
            for one in self.intervals
        ]
        return {"recording": self.recording, "fps": self.fps, "frames": self.frames, "intervals": rows}


Frame = Annotated[int, Field(ge=0, lt=MAX_FRAME)]
Name = Annotated[str, Field(max_length=4096)]


class _Row(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    label: Annotated[int, Field(ge=0, lt=2**31)]
    first: Frame
    end: Frame
    score: Annotated[float, Field(allow_inf_nan=False, ge=-MAX_SCORE, le=MAX_SCORE)] = 1.0
    title: Name = Field(default="", alias="class")

    @model_validator(mode="after")
    def _check(self) -> _Row:
        if self.end <= self.first:
            raise ValueError(f"its end {self.end} is not after its first frame {self.first}")
        return self

    def interval(self) -> FoundInterval:
        return FoundInterval(self.label, self.first, self.end, self.score, self.title)


class _Recording(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    recording: Name
    fps: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 30.0
    frames: Frame = 0
    intervals: list[_Row]


_LIST = TypeAdapter(list[_Recording])


def read_intervals(path: str | Path) -> list[IntervalsOf]:
    """The intervals in a .json or .csv file, one entry a recording in the order of the file.

    Raises: UsageError for a file that is none, with what is wrong and where.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMS:
        raise UsageError(f"{path}: intervals are read from {' or '.join(FORMS)}")
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from None
    if len(data) > MAX_BYTES:
        raise UsageError(f"{path}: more than {MAX_BYTES >> 20} MiB of intervals")
    found = _from_json(path, data) if path.suffix.lower() == ".json" else _from_csv(path, data)
    seen: dict[str, IntervalsOf] = {}
    for one in found:
        if one.recording in seen:
            raise UsageError(f"{path}: the recording '{one.recording[:80]}' stands in it twice")
        rows = tuple(sorted((r.interval() for r in one.intervals), key=lambda i: (i.first, i.end, i.label)))
        seen[one.recording] = IntervalsOf(one.recording, one.fps, one.frames, rows)
    return list(seen.values())


def _from_json(path: Path, data: bytes) -> list[_Recording]:
    try:
        content = from_json(data, allow_inf_nan=False)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is no JSON: {str(error)[:120]}") from None
    try:
        return _LIST.validate_python(content if isinstance(content, list) else [content])
    except ValidationError as error:
        raise UsageError(f"{path}: {_problem(error)}") from None


def _from_csv(path: Path, data: bytes) -> list[_Recording]:
    rows = csv.DictReader(io.StringIO(data.decode("utf-8-sig", "replace"), newline=""))
    found: dict[str, list[_Row]] = {}
    try:
        heading = rows.fieldnames or ()
        missing = [name for name in ("recording", "label", "first", "end") if name not in heading]
        if missing:
            raise UsageError(f"{path}: no column '{missing[0]}'; its header is {','.join(COLUMNS)}")
        for row in rows:
            given = {name: value for name, value in row.items() if value and isinstance(value, str)}
            given.update({name: from_cell(given[name]) for name in ("recording", "class") if name in given})
            found.setdefault(given.get("recording", ""), []).append(_Row.model_validate(given))
    except ValidationError as error:
        raise UsageError(f"{path}, line {rows.line_num}: {_problem(error)}") from None
    except csv.Error as error:
        raise UsageError(f"{path}, line {max(1, rows.line_num)}: {str(error)[:120]}") from None
    return [_Recording(recording=name, intervals=of) for name, of in found.items()]


def _problem(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(str(part)[:40] for part in first["loc"])
    return f"{where}: {first['msg']}" if where else str(first["msg"])


def write_intervals(path: str | Path, found: Iterable[IntervalsOf], names: Sequence[str]) -> int:
    """Write intervals as .json or .csv, whole or not at all, one recording after another. Returns how many
    intervals were written.

    names : of the classes, by label.
    Raises: UsageError for another ending, WriteError.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMS:
        raise UsageError(f"{path}: intervals are written to {' or '.join(FORMS)}")
    as_json, count, between = path.suffix.lower() == ".json", 0, "[\n"
    with whole_file(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        if not as_json:
            file.write(as_row(COLUMNS))
        for one in found:
            told = one.as_dict(names)
            count += len(told["intervals"])
            if as_json:
                file.write(between + json.dumps(told, ensure_ascii=False))
                between = ",\n"
            else:
                file.writelines(as_row(_cells(one, row)) for row in told["intervals"])
        if as_json:
            file.write("[]\n" if between == "[\n" else "\n]\n")
    return count


def _cells(one: IntervalsOf, row: Mapping[str, Any]) -> list[Any]:
    """A row of the table, in the order of `COLUMNS`."""
    seconds = (f"{row[key] / one.fps:.3f}" for key in ("first", "end"))
    return [one.recording, row["label"], row["class"], row["first"], row["end"], *seconds, row["score"]]
