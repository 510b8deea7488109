"""A dataset as one HTML page without script: splits, classes, lengths, motion, rejects, suspicious clips."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, select_autoescape

from amr_data.errors import Record
from amr_data.looking.faults import KINDS
from amr_data.looking.inspection import SIDES
from amr_data.looking.words import fault_in_words, summary_charts, summary_rows

FIRST, MOST = 10, 200
"""Faults that stand open on the page, after the charts, and those that can be opened below them."""


def overview_page(summary: Mapping[str, Any], faults: Sequence[Record] | None) -> str:
    """Render what `inspection.dataset_summary` gives and, where they were looked for, the faults of
    `faults.find_faults`."""
    charts = list(summary_charts(summary).items())
    if faults is not None:
        charts.insert(0, ("clips by fault", dict(Counter(f.kind for f in faults).most_common())))
    environment = Environment(loader=PackageLoader("amr_data.viz"), autoescape=select_autoescape())
    return environment.get_template("overview.html").render(
        summary=summary,
        rows=summary_rows(summary),
        sides=[s for s in SIDES.values() if any(s in counts for counts in summary["protocols"].values())],
        charts=[(title, values, max([*values.values(), 1e-9])) for title, values in charts if values],
        left_out=[kind for kind in KINDS if kind not in summary["fault_kinds"]],
        in_words=fault_in_words,
        first=FIRST,
        faults=None if faults is None else list(faults)[:MOST],
        doubtful=len({f.where for f in faults or ()}),
        found=len(faults or ()),
        kinds=KINDS,
    )
