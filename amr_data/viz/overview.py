"""A dataset as one HTML page without script: splits, classes, lengths, motion, rejects, suspicious clips."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, select_autoescape

from amr_data.looking.faults import KINDS

MOST = 200


def overview_page(summary: Mapping[str, Any], faults: Sequence[Mapping[str, Any]] | None) -> str:
    """Render what `inspection.dataset_summary` says and, where they were looked for, the faults
    (`faults.find_faults`, as dictionaries)."""
    charts = [
        ("Clip lengths (frames)", summary["lengths"]),
        ("Bodies in a clip", summary["bodies"]),
        ("Clips by class", summary["classes"]),
        ("Motion energy by class (root, mm)", summary["class_energy"]),
    ]
    if faults is not None:
        charts.insert(0, ("Clips by fault", dict(Counter(f["kind"] for f in faults).most_common())))
    environment = Environment(loader=PackageLoader("amr_data.viz"), autoescape=select_autoescape())
    return environment.get_template("overview.html").render(
        summary=summary,
        charts=[(title, values, max([*values.values(), 1e-9])) for title, values in charts if values],
        faults=None if faults is None else list(faults)[:MOST],
        doubtful=len({f["clip"] for f in faults or ()}),
        found=len(faults or ()),
        kinds=KINDS,
    )
