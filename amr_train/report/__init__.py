"""Finished runs side by side: a page, Markdown, JSON or CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from amr_data import UsageError
from amr_data.files import whole_file
from amr_train.report.collect import Run, find_runs, table
from amr_train.report.page import page

FORMATS = ("html", "md", "json", "csv")


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
    text = {
        "html": lambda: page(runs, keep, notes),
        "md": lambda: _markdown(runs),
        "json": lambda: _json(runs),
        "csv": lambda: _csv(runs),
    }[form]()
    if out is not None:
        out = Path(out)
        out.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(out) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return text


def _markdown(runs: list[Run]) -> str:
    lines = [
        "| experiment | protocol | seeds | ours | published | difference | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in table(runs):
        ours = f"{row['mean']:.1f}" + (f" ± {row['std']:.1f}" if len(row["values"]) > 1 else "")
        known = row["published"]
        other = ["", ""] if known is None else [f"{known:.1f}", f"{row['mean'] - known:+.1f}"]
        seconds = "" if row["seconds"] is None else f"{row['seconds']:.0f}"
        lines.append(
            "| "
            + " | ".join([row["experiment"], row["protocol"], str(len(row["values"])), ours, *other, seconds])
            + " |"
        )
    return "\n".join(lines) + "\n"


def _json(runs: list[Run]) -> str:
    provenance = [{"path": str(run.path), **run.record} for run in runs]
    return json.dumps({"table": table(runs), "runs": provenance}, indent=1) + "\n"


def _csv(runs: list[Run]) -> str:
    out = io.StringIO()
    columns = ["experiment", "protocol", "mean", "std", "published", "seconds", "values"]
    writer = csv.DictWriter(out, columns, extrasaction="ignore")
    writer.writeheader()
    writer.writerows({**row, "values": " ".join(f"{v:.4f}" for v in row["values"])} for row in table(runs))
    return out.getvalue()
