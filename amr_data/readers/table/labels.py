"""Label files of a layout: which recording, from which frame to which, is what."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from amr_data.errors import Reject, RejectError
from amr_data.readers.base import is_litter
from amr_data.readers.sources import Member, RawSource
from amr_data.readers.table.grids import text_lines, text_records
from amr_data.readers.table.layout import FORMATS, Labels

MAX_LABEL_BYTES = 32 << 20
MAX_LINE = 2000
SECONDS = {"seconds": 1.0, "milliseconds": 1e-3}


@dataclass(frozen=True)
class Row:
    """One line of a label file. recording : as the file calls it, nothing in a file of one recording.  start,
    end : as they stand there, frame numbers or seconds, None where rows are about whole recordings."""

    line: int
    recording: str
    label: str
    subject: str = ""
    start: float | None = None
    end: float | None = None


def is_label_file(labels: Labels | None, path: str) -> bool:
    """Whether a file is one of labels."""
    if labels is None:
        return False
    if labels.beside:
        return bool(label_file_of(labels, path))
    return "/".join(path.split("/")[-1 - labels.file.count("/") :]) == labels.file


def label_files(source: RawSource, labels: Labels) -> list[Member]:
    """The label files of a source."""
    return [m for m in source.members() if is_label_file(labels, m.path) and not is_litter(m)]


def recording_names(labels: Labels, path: str) -> list[str]:
    """What label files may call the recording at a path: its name, then its name after one folder, after two,
    and so on."""
    *folders, filename = path.split("/")
    stem = re.sub(r"\.[^./]*\Z", "", filename)
    name = _between(labels.recording, stem) or stem
    return ["/".join([*folders[len(folders) - i :], name]) for i in range(len(folders) + 1)]


def label_file_of(labels: Labels, path: str) -> str:
    """The recording that a label file beside it is about."""
    name = "/".join(path.split("/")[-1 - labels.file.count("/") :])
    return _between(labels.file, name)


def _between(template: str, name: str) -> str:
    """What stands for `{recording}` in a name, nothing where the name does not fit."""
    before, _, after = template.partition("{recording}")
    fits = name.startswith(before) and name.endswith(after)
    return name[len(before) : len(name) - len(after)] if fits else ""


def called_alike(name: str) -> str:
    """A recording's name as label files give it: without a file's ending."""
    ending = PurePosixPath(name).suffix.lower()
    return name[: -len(ending)] if ending in FORMATS else name


def label_rows(data: bytes, filename: str, shown: str, labels: Labels) -> Iterator[Row | Reject]:
    """The rows of a label file; those that cannot be read as rejects."""
    if len(data) > MAX_LABEL_BYTES:
        yield Reject(
            shown, "too_large", f"{len(data):,} bytes of labels, at most {MAX_LABEL_BYTES:,} are read"
        )
        return
    try:
        text_lines(data, 0, "")
        fields = _by_pattern(data, labels) if labels.rows else _by_column(data, filename, labels)
        for line, found in fields:
            try:
                yield _row(line, found, labels)
            except RejectError as error:
                yield Reject(f"{shown}:{line}", error.reason, error.detail)
    except RejectError as error:
        yield Reject(shown, error.reason, error.detail)


def _row(line: int, found: dict[str, str] | str, labels: Labels) -> Row:
    if isinstance(found, str):
        raise RejectError("label_syntax", found)
    read = _number if labels.unit == "frames" else _seconds
    limits = [read(found[f], f, labels) for f in ("start", "end")] if labels.intervals else [None, None]
    if not found.get("label", "").strip():
        raise RejectError("label_syntax", "the label is empty")
    recording = called_alike(found.get("recording", "").strip())
    return Row(line, recording, found["label"].strip(), found.get("subject", "").strip(), *limits)


def _number(text: str, field: str, _: Labels) -> int:
    match = re.fullmatch(r"\s*(-?[0-9]{1,12})(\.0*)?\s*", text)
    if match is None:
        raise RejectError("interval", f"{field} is {text.strip()[:24]!r}, not a frame number")
    return int(match[1])


def _seconds(text: str, field: str, labels: Labels) -> float:
    if re.fullmatch(r"\s*[0-9]{1,12}(\.[0-9]{0,12})?\s*", text) is None:
        raise RejectError("interval", f"{field} is {text.strip()[:24]!r}, not a time in {labels.unit}")
    return float(text) * SECONDS[labels.unit]


def _by_pattern(data: bytes, labels: Labels) -> Iterator[tuple[int, dict[str, str] | str]]:
    rows = re.compile(labels.rows)
    heading = re.compile(labels.heading) if labels.heading else None
    above: dict[str, str] = {}
    for number, raw in enumerate(data.decode("utf-8-sig", "replace").splitlines(), 1):
        line = raw.strip()
        if number <= labels.skip or not line or (labels.comment and line.startswith(labels.comment)):
            continue
        if len(line) > MAX_LINE:
            yield number, f"a line of {len(line):,} characters"
        elif match := rows.fullmatch(line):
            yield number, {**above, **_said(match)}
        elif heading and (match := heading.fullmatch(line)):
            above = _said(match)
        else:
            yield number, f"{line[:48]!r} is neither a row nor a heading"


def _said(match: re.Match[str]) -> dict[str, str]:
    return {name: text for name, text in match.groupdict().items() if text is not None}


def _by_column(data: bytes, filename: str, labels: Labels) -> Iterator[tuple[int, dict[str, str] | str]]:
    delimiter = labels.delimiter or {"csv": ",", "tsv": "\t"}.get(filename.rpartition(".")[2].lower(), "")
    where: dict[str, int] | None = None
    for number, fields in enumerate(text_records(data, delimiter), 1):
        if (
            number <= labels.skip
            or not any(fields)
            or (labels.comment and fields[0].startswith(labels.comment))
        ):
            continue
        if where is None:
            where = _positions(fields, labels)
            if labels.header:
                continue
        if max(where.values()) >= len(fields):
            yield number, f"{len(fields)} columns, expected {max(where.values()) + 1}"
        else:
            yield number, {name: fields[at] for name, at in where.items()}


def _positions(first: list[str], labels: Labels) -> dict[str, int]:
    """Where each field stands, by the first line. Raises RejectError."""
    out: dict[str, int] = {}
    for name, column in labels.columns.items():
        if isinstance(column, str) and column not in first:
            shown = ", ".join(f[:24] for f in first[:8])
            raise RejectError("label_syntax", f"no column '{column[:40]}': the first line has {shown}")
        out[name] = first.index(column) if isinstance(column, str) else column
    return out
