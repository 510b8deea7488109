"""The report as one HTML file: tables that stand without a script, and pictures that its own script draws
with Observable Plot; nothing is loaded from elsewhere, for screen, phone and paper.

Of the libraries that draw such charts, Plot is the smallest that needs no code made from text, so that the
page's own rules can forbid that: 250 kB with what it takes of D3.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, select_autoescape
from markupsafe import Markup

from amr_train.report.charts import Labelled, compared, curve_values, section_values
from amr_train.report.classes import Classes, judged_classes
from amr_train.report.collect import Run
from amr_train.report.detections import detections_of
from amr_train.report.folds import Families
from amr_train.report.grouping import Groups
from amr_train.report.pivot import CHOOSING, Section, all_marks, cell, sections_of

Note = Callable[[str], None]
SCRIPTS = ("plot.min.js", "charts.js", "report.js")
STYLE_OF_PLOT = "sha256-jSYQUrW7J0b3jPqhZP9C2Xh1PyJKHKXd4s0fpGGKrww="
"""Of the style element that Plot puts into each of its pictures."""
VIEWER = "http://127.0.0.1:8000"
"""Where `amr-data serve` answers unless it is told otherwise."""


def page(runs: Sequence[Run], rows: Sequence[dict[str, Any]], note: Note, notes: list[str]) -> str:
    """Render runs. `note` is told what has to be left out; `notes`, all that was, stands on the page."""
    groups = Groups(runs)
    labelled, firsts = _by_label(groups, runs)
    environment = Environment(
        loader=PackageLoader("amr_train.report"), autoescape=select_autoescape(), trim_blocks=True
    )
    details = [found for name, run in firsts.items() if (found := _detail(name, run, groups.families, note))]
    sections = sections_of(rows)
    by_group = _by_group(groups, runs)
    data = {
        "sections": [section_values(section, by_group) for section in sections],
        "curves": curve_values(labelled),
        "details": [{"name": d["name"], "confusion": d["confusion"], "plane": d["plane"]} for d in details],
        "viewer": VIEWER,
    }
    script = "\n".join(asset(name) for name in SCRIPTS)
    style = asset("report.css")
    return environment.get_template("report.html").render(
        policy=f"default-src 'none'; script-src '{_digest(script)}'; "
        f"style-src '{_digest(style)}' '{STYLE_OF_PLOT}'; img-src data:",
        style=Markup(style),
        script=Markup(script),
        # no "<" survives, so that no name can end the script element
        data=Markup(json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")),
        marks=all_marks(rows),
        held=CHOOSING,
        sections=[
            {"table": section, "heads": _heads(section), "drawn": values, "compared": compared(section)}
            for section, values in zip(sections, data["sections"], strict=True)
        ],
        cell=cell,
        curves=data["curves"],
        details=details,
        detections=detections_of(runs),
        viewer=VIEWER,
        provenance=[_provenance(run, groups) for run in runs],
        notes=notes,
    )


@cache
def asset(name: str) -> str:
    """A file of `report/assets`."""
    return (files("amr_train.report") / "assets" / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    """As a page's rules name what may run."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _heads(section: Section) -> list[dict[str, Any]]:
    """Protocols over their figures, for the two lines of a table's head."""
    found: list[dict[str, Any]] = []
    for column in section.columns:
        row = next(line.cells[column] for line in section.lines if column in line.cells)
        protocol = str(row["protocol"])
        first, _, rest = column.partition(" ")
        if not found or found[-1]["protocol"] != protocol:
            found.append({"protocol": protocol, "name": first, "figures": []})
        found[-1]["figures"].append(rest or "top-1")
    return [{**head, "size": len(head["figures"])} for head in found]


def _by_label(groups: Groups, runs: Sequence[Run]) -> tuple[Labelled, Mapping[str, Run]]:
    """Runs by what their experiment is called in the table, and the first of each that was finished."""
    labelled: dict[str, list[Run]] = {}
    for run in runs:
        if run.subject is not None:
            labelled.setdefault(groups.label(groups.completed(run.subject, run)), []).append(run)
    finished = {name: [run for run in found if run.pretraining] for name, found in labelled.items()}
    return labelled, {name: found[0] for name, found in finished.items() if found}


def _by_group(groups: Groups, runs: Sequence[Run]) -> dict[str, Run]:
    return {
        groups.group(groups.completed(run.subject, run)): run
        for run in reversed(runs)
        if run.subject is not None
    }


def _detail(name: str, run: Run, families: Families, note: Note) -> dict[str, Any] | None:
    """What a run's encoder takes for what, and its features; None where it was not judged on its own data."""
    judged = judged_classes(run)
    if judged is None:
        return None
    split = str(run.experiment.data.split) if run.experiment else ""
    fold = split if families.of(run.record["data"]["fingerprint"], split) else ""
    classes = Classes(run, judged, note)
    confusion = classes.confusion()
    return {
        "name": name,
        "seed": run.seed,
        "fold": fold,
        "figure": judged.figure,
        "part": "test" if run.experiment is None else run.experiment.evaluation.part,
        "marks": _marks(run),
        "top5": judged.scores.get("top5"),
        "worst": sorted(classes.right.items(), key=lambda pair: pair[1])[:8],
        "confusion": confusion,
        "clips": any(clips for *_, clips in confusion["cells"]),
        "plane": classes.plane(),
        "serve": shlex.join(
            ["amr-data", "serve", str(run.record["data"].get("path", "")), "--run", str(run.path)]
        ),
    }


def _marks(run: Run) -> list[str]:
    """What stands across the pictures of one run."""
    scale = run.experiment.scale if run.experiment else "full"
    synthetic = ["synthetic"] if run.record["data"].get("synthetic") else []
    return [*synthetic, *([f"scale {scale}"] if scale != "full" else [])]


def _provenance(run: Run, groups: Groups) -> dict[str, Any]:
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
    label = "" if run.subject is None else groups.label(groups.completed(run.subject, run))
    return {"name": name, "label": label, "path": str(run.path), "facts": facts, "settings": settings}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
