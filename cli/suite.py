"""amr-train run suite/NAME: the plan, the stages in order, the table at the end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape
from rich.table import Table

from amr_cli.ui import console, errors, progress_bar

if TYPE_CHECKING:
    from amr_train.experiments.running import Listener
    from amr_train.experiments.suites import Stage


def run_suite(
    name: str,
    overrides: Sequence[str],
    data: Sequence[Path],
    out: Path,
    only_plan: bool,
    as_json: bool,
    listener: Listener,
) -> None:
    """Plan or run a suite, to its report. Stages whose dataset was not given are left out, and said to be."""
    from amr_data import UsageError
    from amr_train.experiments.planning import plan
    from amr_train.experiments.suites import datasets_by_name, load_suite, run_stage, stages_of
    from amr_train.report import write_report
    from amr_train.report.tables import suite_rows

    suite = load_suite(name)
    wanted = {stage.dataset for stage in stages_of(suite, {}, out, overrides)}
    if len(wanted) == 1 and not only_plan:
        data = _as_shards(data, wanted.pop(), out, as_json)
    stages = stages_of(suite, datasets_by_name(data), out, overrides)
    if only_plan:
        planned = [asdict(p) for p in plan(stages)]
        click.echo(json.dumps(planned)) if as_json else _print_plan(name, planned)
        return
    runnable = [stage for stage in stages if stage.data]
    if not runnable:
        names = ", ".join(sorted({stage.dataset for stage in stages}))
        raise UsageError(
            f"{name} needs one or more of {names}: give each with --data DIR, made by `amr-data convert`"
        )
    missing = sorted({stage.dataset for stage in stages if not stage.data})
    if missing:
        errors.print(
            f"[bold yellow]left out:[/] stages on {', '.join(missing)}, for want of --data", soft_wrap=True
        )
    found: list[tuple[Stage, dict[str, Any]]] = []
    for number, stage in enumerate(runnable, 1):
        if not as_json:
            errors.print(
                f"[bold]{number}/{len(runnable)}[/] {stage.name}, seed {stage.seed} → {stage.folder}",
                soft_wrap=True,
            )
        found.append((stage, run_stage(stage, listener)))
    rows = suite_rows(found)
    report = out / f"{name.removeprefix('suite/')}.html"
    notes: list[str] = []
    write_report([stage.folder for stage in runnable], report, note=notes.append)
    if as_json:
        click.echo(json.dumps(rows))
        return
    table = Table(title=f"{name}, top-1 in percent", title_justify="left")
    compared = any(row["published"] is not None for row in rows)
    headings = [
        "experiment",
        "protocol",
        "ours",
        *(["published", "difference"] if compared else []),
        "seconds of pre-training",
    ]
    for heading in headings:
        table.add_column(
            heading,
            justify="left" if heading in ("experiment", "protocol") else "right",
            no_wrap=heading in headings[:3],
        )
    for row in rows:
        ours = f"{row['mean']:.1f}" + (f" ± {row['std']:.1f}" if len(row["values"]) > 1 else "")
        published = row["published"]
        difference = f"{row['mean'] - published:+.1f}" if published is not None else ""
        known = ["" if published is None else f"{published:.1f}", difference] if compared else []
        table.add_row(
            row["experiment"],
            row["protocol"],
            ours,
            *known,
            "" if row["seconds"] is None else f"{row['seconds']:.0f}",
        )
    console.print(table)
    console.print(f"runs → {out}\nreport → {report}", soft_wrap=True)
    for note in notes:
        errors.print(f"[bold yellow]the report leaves out:[/] {escape(note)}", soft_wrap=True)


def _as_shards(data: Sequence[Path], dataset: str, out: Path, quiet: bool) -> list[Path]:
    """Converted folders as they are; raw files of the one dataset of a suite are converted to a folder beside
    its runs."""
    from amr_data import convert

    raw = [path for path in data if path.exists() and not (path / "manifest.json").is_file()]
    shards = [path for path in data if path not in raw]
    if not raw:
        return shards
    folder = out / "data" / dataset
    with progress_bar("converting", quiet=quiet) as update:
        found = convert(
            raw, folder, dataset, progress=lambda done, total, record: update(done, total, "")
        ).as_dict()
    if not quiet:
        errors.print(f"{found['clips']:,} clips, {found['rejects']:,} rejects → {folder}", soft_wrap=True)
    return [*shards, folder]


def _print_plan(name: str, planned: list[dict[str, Any]]) -> None:
    table = Table(
        title=f"{name}: {len(planned)} stages", title_justify="left", box=None, padding=(0, 2, 0, 0)
    )
    for heading in ("stage", "seed", "state", "clips", "steps", "minutes"):
        table.add_column(
            heading, justify="left" if heading in ("stage", "state") else "right", no_wrap=heading == "stage"
        )
    for p in planned:
        numbers = ["" if p[k] is None else f"{p[k]:,}" for k in ("clips", "steps")]
        minutes = "" if p["minutes"] is None else f"{p['minutes']:,.1f}"
        table.add_row(p["name"], str(p["seed"]), p["state"], *numbers, minutes)
    console.print(table)
    known = [p["minutes"] for p in planned if p["minutes"] is not None]
    console.print(
        f"pre-training that is left: about {sum(known):,.0f} minutes here, from a few measured steps; "
        f"evaluation comes on top"
    )
