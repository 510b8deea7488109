"""amr-train run of a suite: the plan, the stages in order, the table and the report at the end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.markup import escape
from rich.table import Table

from amr_cli.ui import console, errors, progress_bar
from amr_data import UsageError, convert

if TYPE_CHECKING:
    from amr_cli.panel import Panel
    from amr_train.experiments.stages import Stage


def run_suite(
    name: str,
    overrides: Sequence[str],
    data: Sequence[Path],
    out: Path,
    only_plan: bool,
    as_json: bool,
    panel: Panel,
) -> None:
    """Plan or run a suite, to its report. Stages whose dataset was not given are left out, and said to be."""
    from amr_train.experiments.stages import datasets_by_name, run_stage, stages_of
    from amr_train.experiments.suites import load_suite

    suite = load_suite(name)
    wanted = {stage.dataset for stage in stages_of(suite, {}, out, overrides)}
    if len(wanted) == 1 and not only_plan:
        data = _as_shards(data, wanted.pop(), out, as_json)
    stages = stages_of(suite, datasets_by_name(data), out, overrides)
    if only_plan:
        print_plan(suite.name, stages, as_json)
        return
    runnable = [stage for stage in stages if stage.data]
    if not runnable:
        names = ", ".join(sorted({stage.dataset for stage in stages}))
        raise UsageError(
            f"{suite.name} needs one or more of {names}: give each with --data DIR, made by "
            "`amr-data convert`"
        )
    missing = sorted({stage.dataset for stage in stages if not stage.data})
    if missing:
        errors.print(
            f"[bold yellow]left out:[/] stages on {', '.join(missing)}, for want of --data", soft_wrap=True
        )
    with panel.bar:
        for number, stage in enumerate(runnable, 1):
            if not as_json:
                errors.print(
                    f"[bold]{number}/{len(runnable)}[/] {stage.name}, seed {stage.seed} → {stage.folder}",
                    soft_wrap=True,
                )
            run_stage(stage, panel)
    _report(suite.name, list(dict.fromkeys(stage.folder for stage in runnable)), out, as_json)


def print_plan(name: str, stages: Sequence[Stage], as_json: bool) -> None:
    """What would be done, how far it is, and about how long the rest takes here."""
    from amr_train.experiments.planning import in_words, plan

    planned = plan(stages)
    if as_json:
        click.echo(json.dumps([asdict(p) for p in planned]))
        return
    count = f"{len(planned)} stages" if len(planned) > 1 else "1 stage"
    table = Table(title=f"{name}: {count}", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for heading in ("stage", "state", "judged"):
        table.add_column(heading, overflow="fold")
    for heading in ("seed", "clips", "steps", "train\nmin", "judge\nmin"):
        table.add_column(heading, justify="right", no_wrap=True)
    for p in planned:
        sizes = ("" if value is None else f"{value:,}" for value in (p.clips, p.steps))
        times = (
            "" if value is None else f"{value:,.1f}"
            for value in (p.pretraining_minutes, p.evaluation_minutes)
        )
        judged = f"{p.judged} of {len(p.protocols)}"
        table.add_row(p.name, p.state, judged, str(p.seed), *sizes, *times)
    console.print(table)
    console.print(in_words(planned))


def _report(name: str, folders: Sequence[Path], out: Path, as_json: bool) -> None:
    """The table of all runs, and their page."""
    from amr_cli.table import print_rows
    from amr_train.report import write_report
    from amr_train.report.collect import find_runs
    from amr_train.report.tables import rows_of

    notes: list[str] = []
    rows = rows_of(find_runs(folders, notes.append))
    page = out / f"{name.removeprefix('suite/')}.html"
    write_report(folders, page)
    if as_json:
        click.echo(json.dumps(rows))
        return
    print_rows(rows, f"{name}, top-1 in percent")
    console.print(f"runs → {out}\nreport → {page}", soft_wrap=True)
    for note in notes:
        errors.print(f"[bold yellow]the report leaves out:[/] {escape(note)}", soft_wrap=True)


def _as_shards(data: Sequence[Path], dataset: str, out: Path, quiet: bool) -> list[Path]:
    """Converted folders as they are; raw files of the one dataset of a suite are converted to a folder beside
    its runs."""
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
