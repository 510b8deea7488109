"""amr-train run of a suite: the plan, the stages in order, the table and the report at the end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.text import Text

from amr_cli.terminal import table
from amr_cli.ui import console, note, progress_bar, say, tell
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
        note("left out", f"stages on {', '.join(missing)}, for want of --data")
    with panel.bar:
        for number, stage in enumerate(runnable, 1):
            if not as_json:
                count = f"{number}/{len(runnable)}"
                tell((count, "bold"), f" {stage.name}, seed {stage.seed} → {stage.folder}")
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
    lines = table(f"{name}: {count}")
    for heading in ("stage", "state", "judged"):
        lines.add_column(heading, overflow="fold")
    for heading in ("seed", "clips", "steps", "train\nmin", "judge\nmin"):
        lines.add_column(Text(heading), justify="right", no_wrap=True)
    for p in planned:
        sizes = ("" if value is None else f"{value:,}" for value in (p.clips, p.steps))
        times = (
            "" if value is None else f"{value:,.1f}"
            for value in (p.pretraining_minutes, p.evaluation_minutes)
        )
        judged = f"{p.judged} of {len(p.protocols)}"
        state = f"step {p.steps_done:,}" if p.state == "begun" else p.state
        lines.add_row(p.name, state, judged, str(p.seed), *sizes, *times)
    console.print(lines)
    console.print(in_words(planned))


def _report(name: str, folders: Sequence[Path], out: Path, as_json: bool) -> None:
    """The table of all runs, and their page."""
    from amr_cli.table import print_rows
    from amr_train.report import write_report
    from amr_train.report.collect import find_runs
    from amr_train.report.tables import row_as_values, rows_of

    notes: list[str] = []
    rows = rows_of(find_runs(folders, notes.append))
    page = out / f"{name.removeprefix('suite/')}.html"
    write_report(folders, page)
    if as_json:
        click.echo(json.dumps([row_as_values(row) for row in rows]))
        return
    print_rows(rows, f"{name}, top-1 in percent")
    say(f"runs → {out}")
    say(f"report → {page}")
    for line in notes:
        note("the report leaves out", line)


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
        tell(f"{found['clips']:,} clips, {found['rejects']:,} rejects → {folder}")
    return [*shards, folder]
