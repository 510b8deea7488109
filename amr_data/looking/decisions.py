"""What people decide about clips: to keep one or to leave it out of training, and why. A list beside the
dataset, which itself is never changed: `nw-ucla/` has `nw-ucla.decisions.csv`.

Three columns, `clip,decision,note`, in UTF-8, names and notes as `amr_data.cells` writes them.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from amr_data.cells import as_row, from_cell
from amr_data.errors import UsageError, unknown
from amr_data.files import WriteError, write_text

KEEP, EXCLUDE = "keep", "exclude"
DECISIONS = (KEEP, EXCLUDE, "")
"""The last: nothing is decided, and there is a note."""
COLUMNS = ["clip", "decision", "note"]
ENDING = ".decisions.csv"
MAX_NOTE = 2000
MAX_BYTES = 64 << 20


@dataclass(frozen=True)
class Decision:
    """clip : its name.  decision : one of `DECISIONS`.  note : why, of one or more lines."""

    clip: str
    decision: str = ""
    note: str = ""


def decisions_file(dataset: str | Path) -> Path:
    """Where the list of a dataset's folder lies: beside it, under its name."""
    folder = Path(os.path.abspath(dataset))
    return folder.with_name(folder.name + ENDING)


def read_decisions(path: str | Path) -> dict[str, Decision]:
    """The list by the clips' names, in its order. Raises: UsageError, naming the line, for what is none."""
    path = Path(path)
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise UsageError(f"{path}: more than {MAX_BYTES >> 20} MiB are no list of decisions")
        return _parsed(content.decode("utf-8-sig"), path)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: byte {error.start} is not UTF-8") from None


def _parsed(text: str, path: Path) -> dict[str, Decision]:
    if "\0" in text:
        raise UsageError(f"{path}: it holds a NUL, so it is no list of decisions")
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    found: dict[str, Decision] = {}
    try:
        if next(rows, None) != COLUMNS:
            raise UsageError(f"{path}, line 1: expected the heading {','.join(COLUMNS)}")
        for row in rows:
            if not row:
                continue
            where = f"{path}, line {rows.line_num}"
            if len(row) != len(COLUMNS):
                raise UsageError(f"{where}: {len(row)} columns, expected {','.join(COLUMNS)}")
            one = Decision(*map(from_cell, row))
            if one.decision not in DECISIONS:
                raise UsageError(f"{where}: the decision '{one.decision}' is neither {KEEP} nor {EXCLUDE}")
            if one.clip in found:
                raise UsageError(f"{where}: the clip '{one.clip}' stands there twice")
            found[one.clip] = one
    except csv.Error as error:
        raise UsageError(f"{path}, line {rows.line_num}: {error}") from None
    return found


def decisions_text(decisions: Mapping[str, Decision]) -> str:
    """The list as it is kept, and exported."""
    return "".join(
        as_row(row) for row in (COLUMNS, *((d.clip, d.decision, d.note) for d in decisions.values()))
    )


def decide(
    path: str | Path, clip: str, decision: str | None = None, note: str | None = None
) -> dict[str, Decision]:
    """Change what is decided about a clip in the list, which is read again first, since others may have
    written to it; None leaves a part as it stands there. Without a decision and a note the clip is not in it.
    The file is whole before and after.

    Returns: the list.  Raises: UsageError for a note that cannot be kept, or where the list is none any more;
        WriteError.
    """
    path = Path(path)
    if note is not None:
        note = note.replace("\r\n", "\n").strip()
        if len(note) > MAX_NOTE:
            raise UsageError(f"the note has {len(note):,} characters, at most {MAX_NOTE:,} are kept")
        if any(not c.isprintable() and c not in "\n\t" for c in note):
            raise UsageError("the note holds a character that cannot be shown")
    try:
        with FileLock(path.with_name(f".{path.name}.lock")):
            found = read_decisions(path) if path.exists() else {}
            before = found.get(clip, Decision(clip))
            now = Decision(
                clip,
                before.decision if decision is None else decision,
                before.note if note is None else note,
            )
            if now.decision or now.note:
                found[clip] = now
            else:
                found.pop(clip, None)
            write_text(path, decisions_text(found))
    except OSError as error:  # of the lock
        raise WriteError(path, error) from None
    return found


def excluded_clips(path: str | Path, names: Sequence[str], dataset: object) -> list[str]:
    """The clips that a list leaves out, sorted. names : of the dataset's clips.  dataset : for the message.

    Raises: UsageError for an entry about a clip that the dataset does not have, whatever is decided about it.
    """
    known = set(names)
    decisions = read_decisions(path)
    for name in decisions:
        if name not in known:
            raise UsageError(f"{path}: {unknown('clip', name, names, f' in {dataset}')}")
    return sorted(name for name, one in decisions.items() if one.decision == EXCLUDE)
