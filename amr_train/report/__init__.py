"""Finished runs side by side: a page, Markdown, JSON or CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from amr_data import UsageError
from amr_data.files import whole_file
from amr_train.report.charts import compared, compared_values, reference
from amr_train.report.collect import Run, find_runs
from amr_train.report.page import page
from amr_train.report.pivot import Section, all_marks, cell, sections_of
from amr_train.report.tables import row_as_values, rows_of

FORMATS = ("html", "md", "json", "csv")
COLUMNS = (
    *("experiment", "method", "kind", "dataset", "split", "folds", "part", "protocol", "figure"),
    *("mean", "std", "values", "seeds", "published", "differs", "seconds"),
    *("body_gflops", "clip_gflops"),
    *("epoch", "spoken", "synthetic", "scale", "group"),
)

__all__ = ["FORMATS", "find_runs", "rows_of", "write_report"]


def write_report(
    paths: Sequence[str | Path],
    out: str | Path | None = None,
    form: str = "html",
    note: Callable[[str], None] = lambda line: None,
) -> str:
    """Make a report of runs and, with `out`, write it.

    Args:
        paths: run folders, or folders of them.
        form: 'html' (one file, nothing loaded from elsewhere), 'md', 'json' or 'csv'.
        note: called with what the report had to leave out.
    Returns: the text. Raises: UsageError where no finished run is found.
    """
    if form not in FORMATS:
        raise UsageError(f"there is no format '{form}'; formats: {', '.join(FORMATS)}")
    notes: list[str] = []

    def keep(line: str) -> None:
        notes.append(line)
        note(line)

    runs = find_runs([Path(p) for p in paths], keep)
    rows = rows_of(runs)
    text = {
        "html": lambda: page(runs, rows, keep, notes),
        "md": lambda: _markdown(rows),
        "json": lambda: _json(runs, rows),
        "csv": lambda: _csv(rows),
    }[form]()
    if out is not None:
        out = Path(out)
        out.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(out) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return text


def _markdown(rows: Sequence[dict[str, Any]]) -> str:
    marks = [mark.upper() for mark in all_marks(rows)]
    title = f"# AMR report [{', '.join(marks)}]" if marks else "# AMR report"
    return "\n\n".join([title, *(_markdown_section(section) for section in sections_of(rows))]) + "\n"


def _markdown_section(section: Section) -> str:
    lines = [f"## {_plain(section.heading)}", ""]
    lines.append(_line(["experiment", "seeds", *section.columns, "GFLOPs", "seconds of pre-training"]))
    lines.append("|---" * (len(section.columns) + 4) + "|")
    for line in section.lines:
        cells = []
        for column in section.columns:
            row = line.cells.get(column)
            text = "" if row is None else cell(row, line.seeds)
            if row is not None and row["published"] is not None:
                text += f" (published {row['published']:.1f}, {row['mean'] - row['published']:+.1f})"
            best, highest = (line.label in of.get(column, ()) for of in (section.best, section.highest))
            cells.append(f"**{text}**" if best else f"*{text}*" if highest else text)
        seconds = "" if line.seconds is None else f"{line.seconds:.0f}"
        lines.append(_line([_plain(line.name), str(line.seeds), *cells, section.gflops[line.label], seconds]))
    below = [f"- {_plain(text)}" for text in (*section.notes, *section.differs, *section.others)]
    return "\n".join([*lines, "", *below, *_markdown_differences(section)])


def _markdown_differences(section: Section) -> list[str]:
    """Every experiment's to the highest, paired by seed; none where nothing can be compared."""
    found = compared(section)
    if not found:
        return []
    lines = ["", f"Less {_plain(reference(section))}, paired by seed, with 95 % intervals:", ""]
    lines += [_line(["experiment", *section.columns]), "|---" * (len(section.columns) + 1) + "|"]
    for label, columns in found.items():
        cells = (columns.get(column) for column in section.columns)
        words = ("" if one is None else _plain(f"{one.mean:+.1f} {one.between}") for one in cells)
        lines.append(_line([_plain(label), *words]))
    return lines


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _plain(text: str) -> str:
    """Text that Markdown shows as it is, in one line of a table."""
    for sign in "\\`*_[]<>|":
        text = text.replace(sign, f"\\{sign}" if sign not in "<>" else {"<": "&lt;", ">": "&gt;"}[sign])
    return " ".join(text.split())


def _json(runs: Sequence[Run], rows: Sequence[dict[str, Any]]) -> str:
    provenance = [{"path": str(run.path), **run.record} for run in runs]
    differences = [one for section in sections_of(rows) for one in compared_values(section)]
    table = [row_as_values(row) for row in rows]
    return json.dumps({"table": table, "differences": differences, "runs": provenance}, indent=1) + "\n"


def _csv(rows: Sequence[dict[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, extrasaction="ignore")
    writer.writeheader()
    for row in rows:
        values, seeds = " ".join(f"{v:.4f}" for v in row["values"]), " ".join(map(str, row["seeds"]))
        writer.writerow({**row, "values": values, "seeds": seeds, "folds": " ".join(row["folds"])})
    return out.getvalue()
