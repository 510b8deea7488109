"""Results in the terminal: experiments as rows, figures as columns, and below them what decides them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from amr_cli.terminal import shown, styled, table
from amr_cli.ui import console, write_line

if TYPE_CHECKING:
    from amr_train.report.pivot import Line, Section

WIDEST_NAME, NARROWEST_NAME = 34, 20
GFLOPS = "GFLOPs"


def print_rows(rows: Sequence[dict[str, Any]], title: str = "") -> None:
    """Print the rows of `amr_train.report.rows_of`, a table for each dataset and split. Tables that are too
    wide for the terminal go on below with further figures."""
    from amr_train.report.pivot import all_marks, sections_of

    marks = "".join(f" [{mark.upper()}]" for mark in all_marks(rows))
    if title:
        console.pause()
        write_line(console, (title + marks, "bold"))
    for section in sections_of(rows):
        console.pause()
        write_line(console, (section.heading, "bold"))
        for part in _tables(section, console.width):
            console.print(part)
        console.pause()
        console.print(_below(section))
    console.pause()


def _tables(section: Section, width: int) -> list[RenderableType]:
    texts = {line.label: _cells(section, line) for line in section.lines}
    widths = {
        column: max(len(word) for word in (*_heading(column).split("\n"), *_of(texts, column)))
        for column in section.columns
    }
    name = min(WIDEST_NAME, max(len(line.name) for line in section.lines))
    costs = max(len(text) for text in (GFLOPS, *section.gflops.values()))
    blocks: list[list[str]] = [[]]
    for column in section.columns:
        used = len("seeds") + 1 + costs + 1 + sum(widths[c] + 1 for c in blocks[-1])
        if blocks[-1] and min(name, NARROWEST_NAME) + 1 + used + widths[column] > width:
            blocks.append([])
        blocks[-1].append(column)
    made: list[RenderableType] = []
    for number, columns in enumerate(blocks):
        if number:
            made += [Text(), Text("further figures", style="bold")]
        left = width - len("seeds") - 2 - costs - 1 - sum(widths[c] + 1 for c in columns)
        lines = table(padding=(0, 1, 0, 0))
        lines.add_column("experiment", width=max(1, min(name, left)), overflow="fold", vertical="bottom")
        lines.add_column("seeds", justify="right", no_wrap=True)
        lines.add_column(GFLOPS, justify="right", no_wrap=True, vertical="bottom")
        for column in columns:
            lines.add_column(Text(_heading(column), justify="right"), justify="right", no_wrap=True)
        named = [line for line in section.lines if set(columns) & set(line.cells)]
        for line, after in zip(named, [*named[1:], None], strict=True):
            cells = [texts[line.label].get(column, "") for column in columns]
            ends = after is not None and line.kind != "encoder" == after.kind
            lines.add_row(line.name, str(line.seeds), section.gflops[line.label], *cells, end_section=ends)
        made.append(lines)
    return made


def _cells(section: Section, line: Line) -> dict[str, Text]:
    from amr_train.report.pivot import cell

    return {
        column: Text(
            cell(row, line.seeds),
            style=_style(section, line, column),
        )
        for column, row in line.cells.items()
    }


def _style(section: Section, line: Line, column: str) -> str:
    if line.label in section.best.get(column, ()):
        return "bold"
    return "italic" if line.label in section.highest.get(column, ()) else ""


def _of(texts: dict[str, dict[str, Text]], column: str) -> list[str]:
    return [cells[column].plain for cells in texts.values() if column in cells]


def _heading(column: str) -> str:
    """A figure on two lines, `linear` over `mean`."""
    protocol, _, pooling = column.partition(" ")
    return f"{shown(protocol)}\n{shown(pooling)}"


def _below(section: Section) -> Table:
    """What decides the figures, a point each."""
    lines = Table.grid(padding=(0, 1, 0, 0))
    for line in (*section.notes, *section.published, *section.differs, *section.others):
        lines.add_row(styled(("·", "dim")), styled((line, "dim")))
    return lines
