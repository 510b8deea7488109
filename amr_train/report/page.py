"""The report as one HTML file: no script, nothing loaded from elsewhere, for screen, phone and paper."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, select_autoescape
from markupsafe import Markup

from amr_data import AmrError, load_spec
from amr_train.evaluation.records import part_of
from amr_train.report import figures
from amr_train.report.collect import Run
from amr_train.report.folds import Families
from amr_train.report.grouping import Groups
from amr_train.report.pivot import SEEN, SMALL, VALIDATION, all_marks, cell, sections_of

Note = Callable[[str], None]
SHOWN = ("linear mean", "logistic mean", "kNN mean", "finetune", "supervised")
"""Figures whose confusion is drawn: the first of these that a run has; of a small set the converged
probe's."""


def page(runs: Sequence[Run], rows: Sequence[dict[str, Any]], note: Note, notes: list[str]) -> str:
    """Render runs. `note` is told what has to be left out; `notes`, all that was, stands on the page."""
    labelled, firsts = _by_label(runs)
    environment = Environment(
        loader=PackageLoader("amr_train.report"), autoescape=select_autoescape(), trim_blocks=True
    )
    drawn = [figures.losses(labelled), figures.monitored(labelled)]
    families = Families(record for run in runs for record in run.records)
    details = [found for name, run in firsts.items() if (found := _detail(name, run, families, note))]
    return environment.get_template("report.html").render(
        marks=all_marks(rows),
        held=(VALIDATION, SEEN),
        sections=sections_of(rows),
        cell=cell,
        curves=[Markup(svg) for svg in drawn if svg],
        costs=[Markup(svg) for svg in figures.costs(rows, _by_group(runs))],
        details=details,
        provenance=[_provenance(run) for run in runs],
        notes=notes,
    )


def _by_label(runs: Sequence[Run]) -> tuple[Mapping[str, Sequence[Run]], Mapping[str, Run]]:
    """Runs by what their experiment is called in the table, and the first of each that was finished."""
    groups = Groups(runs)
    labelled: dict[str, list[Run]] = {}
    for run in runs:
        if run.subject is not None:
            labelled.setdefault(groups.label(groups.completed(run.subject, run)), []).append(run)
    finished = {name: [run for run in found if run.pretraining] for name, found in labelled.items()}
    return labelled, {name: found[0] for name, found in finished.items() if found}


def _by_group(runs: Sequence[Run]) -> dict[str, Run]:
    groups = Groups(runs)
    return {
        groups.group(groups.completed(run.subject, run)): run
        for run in reversed(runs)
        if run.subject is not None
    }


def _detail(name: str, run: Run, families: Families, note: Note) -> dict[str, Any] | None:
    """What a run's encoder takes for what, and its features; None where it was not judged on its own data."""
    found = judged_classes(run)
    if found is None:
        return None
    figure, scores = found
    split = str(run.experiment.data.split) if run.experiment else ""
    fold = split if families.of(run.record["data"]["fingerprint"], split) else ""
    counts = np.array(scores["confusion"], dtype=np.float64)
    try:
        classes = load_spec(run.record["data"]["name"]).class_names
    except (AmrError, KeyError):  # a dataset of somebody's own
        classes = []
    if len(classes) != len(counts):
        classes = [str(number) for number in range(len(counts))]
    total = counts.sum(axis=1)
    right = {
        name: 100 * float(n / of)
        for name, n, of in zip(classes, counts.diagonal(), total, strict=True)
        if of > 0
    }
    return {
        "name": name,
        "seed": run.seed,
        "fold": fold,
        "figure": figure,
        "part": "test" if run.experiment is None else run.experiment.evaluation.part,
        "top5": scores.get("top5"),
        "worst": sorted(right.items(), key=lambda pair: pair[1])[:8],
        "confusion": _drawn(figures.confusion(counts, classes)),
        "plane": _drawn(figures.plane(run, note)),
    }


def judged_classes(run: Run) -> tuple[str, Mapping[str, Any]] | None:
    """The figure whose confusion is shown of a run, and its details: of the encoder as it was trained to the
    end, on the data and the split that it was trained on, and on the part that its settings name."""
    weights = figures.own_weights(run)
    found: dict[str, Mapping[str, Any]] = {}
    order = list(SHOWN)
    for record in run.records:
        here = record["data"]["fingerprint"] == run.record["data"]["fingerprint"]
        split = run.experiment is not None and record["split"] == run.experiment.data.split
        asked = run.experiment is not None and part_of(record) == run.experiment.evaluation.part
        if not (here and split and asked and record["subject"]["digest"] in weights):
            continue
        if record["clips"]["train"] < SMALL:
            order.sort(key=lambda figure: figure != figures.ACCURACY[True])
        for figure in record["figures"]:
            details = record.get("details") or {}
            scores = details.get(figure.rpartition(" ")[2], details)
            if isinstance(scores, Mapping) and _is_confusion(scores.get("confusion")):
                found.setdefault(figure, scores)
    return next(((figure, found[figure]) for figure in order if figure in found), None)


def _is_confusion(counts: object) -> bool:
    rows = counts if isinstance(counts, list) else []
    return bool(rows) and all(
        isinstance(row, list) and len(row) == len(rows) and all(isinstance(n, int) and n >= 0 for n in row)
        for row in rows
    )


def _provenance(run: Run) -> dict[str, Any]:
    record = run.record or {**run.records[0], "data": run.records[0]["data"]}
    git, data = _mapping(record.get("git")), _mapping(record.get("data"))
    facts = {
        "data": f"{data.get('name') or data.get('dataset')}, {str(data.get('fingerprint', ''))[:16]}",
        "recipe": ", ".join(f"{key} {value}" for key, value in _mapping(data.get("recipe")).items()),
        "settings": record.get("digest", ""),
        "started": record.get("started") or record.get("made", ""),
        "commit": str(git.get("commit", ""))[:12] + (" (changed)" if git.get("changed") else ""),
        **_mapping(record.get("versions")),
        **{name: value for name, value in _mapping(record.get("hardware")).items() if value is not None},
        "results": len(run.records),
    }
    settings = json.dumps(record.get("experiment") or record.get("settings"), indent=1)
    name = run.path.name if run.experiment is None else f"{run.experiment.name}, seed {run.seed}"
    return {"name": name, "path": str(run.path), "facts": facts, "settings": settings}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _drawn(svg: str | None) -> Markup | None:
    return None if svg is None else Markup(svg)
