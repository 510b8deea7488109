"""The report as one HTML file: no script, nothing loaded from elsewhere, for screen, phone and paper."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from jinja2 import Environment, PackageLoader, select_autoescape
from markupsafe import Markup

from amr_data import load_spec
from amr_train.report import figures
from amr_train.report.collect import Run, table

Note = Callable[[str], None]


def page(runs: list[Run], note: Note, notes: list[str]) -> str:
    """Render runs. `note` is told what has to be left out; `notes`, all that was, stands on the page."""
    rows = table(runs)
    own = [run for run in runs if not run.transfer]
    firsts = list({run.name: run for run in reversed(own)}.values())[::-1]
    environment = Environment(loader=PackageLoader("amr_train.report"), autoescape=select_autoescape())
    return environment.get_template("report.html").render(
        rows=rows,
        published=any(row["published"] is not None for row in rows),
        curves=_drawn(figures.curves(own)),
        costs=[Markup(svg) for svg in figures.costs(rows, own)],
        details=[_detail(run, note) for run in firsts],
        provenance=[_provenance(run) for run in runs],
        notes=notes,
    )


def _detail(run: Run, note: Note) -> dict[str, Any]:
    linear = run.results["protocols"]["linear"]
    try:
        classes = load_spec(run.results["dataset"]).class_names
    except Exception:  # a dataset of somebody's own
        classes = [str(i) for i in range(len(linear["confusion"]))]
    per_class = [
        (name, value) for name, value in zip(classes, linear["per_class"], strict=True) if value is not None
    ]
    worst = sorted(per_class, key=lambda pair: pair[1])[:8]
    drawn = {"confusion": _drawn(figures.confusion(run, classes)), "plane": _drawn(figures.plane(run, note))}
    return {"name": run.name, "seed": run.seed, "top5": linear["top5"], "worst": worst, **drawn}


def _provenance(run: Run) -> dict[str, Any]:
    record = run.record
    git = record.get("git") or {}
    facts = {
        "data": record.get("data_fingerprint", "")[:16],
        "started": record.get("started", ""),
        "commit": git.get("commit", "")[:12] + (" (changed)" if git.get("changed") else ""),
        **(record.get("versions") or {}),
        **{name: value for name, value in (record.get("hardware") or {}).items() if value is not None},
    }
    settings = json.dumps(record.get("experiment", record.get("evaluation")), indent=1)
    return {"name": run.name, "seed": run.seed, "path": str(run.path), "facts": facts, "settings": settings}


def _drawn(svg: str | None) -> Markup | None:
    return None if svg is None else Markup(svg)
