"""Texts in tables that a spreadsheet may open. It takes a cell that begins with = + - @, a tab or a carriage
return for a formula, and a name may come from anybody: such a cell has an apostrophe before it in the file,
which is taken off when it is read, as has one that begins with an apostrophe itself."""

from __future__ import annotations

from collections.abc import Iterable

FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")


def as_row(values: Iterable[str | float]) -> str:
    """A line of a table, with its end."""
    return ",".join(_as_cell(value) if isinstance(value, str) else str(value) for value in values) + "\n"


def _as_cell(text: str) -> str:
    text = f"'{text}" if text.startswith(FORMULA) else text
    # a csv.writer leaves a carriage return bare where lines end without one
    return '"{}"'.format(text.replace('"', '""')) if any(c in text for c in ',"\r\n') else text


def from_cell(cell: str) -> str:
    """The text that a cell was made of; an apostrophe before anything else is the text's own."""
    return cell[1:] if cell[:1] == "'" and cell[1:].startswith(FORMULA) else cell
