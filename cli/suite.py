"""amr-train run of a suite: the plan, its jobs here or by workers, the table and the report at the end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from amr_cli.raw import as_shards
from amr_cli.schedule import print_plan
from amr_cli.ui import complain, note, say, tell, warn
from amr_data import AmrError, UsageError

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
    workers: str = "1",
    wait: bool = True,
    backend: str = "processes",
    scheduler: str | None = None,
) -> None:
    """Plan or run a suite, to its report. Stages whose dataset was not given are left out, and said to be."""
    from amr_train.experiments.planning import is_of_another_run
    from amr_train.experiments.stages import datasets_by_name, stages_of
    from amr_train.experiments.suites import load_suite

    suite = load_suite(name)
    wanted = {name for stage in stages_of(suite, {}, out, overrides) for name in stage.missing}
    data = as_shards(data, wanted, out, as_json, only_plan)
    stages = stages_of(suite, datasets_by_name(data), out, overrides)
    if only_plan:
        print_plan(suite.name, stages, as_json, workers)
        return
    runnable = [stage for stage in stages if not stage.missing]
    if not runnable:
        raise UsageError(
            f"{suite.name} needs one or more of {', '.join(sorted(wanted))}: give each with --data, its raw "
            "files or a folder made by `amr-data convert`"
        )
    left_out = [stage for stage in stages if stage.missing]
    if left_out:
        missing = sorted({name for stage in left_out for name in stage.missing})
        count = f"{len(left_out)} of {len(stages)} stages"
        note("left out", f"{count}, which need {', '.join(missing)}, for want of --data")
    failed, left = _worked(runnable, workers, wait, backend, scheduler, panel, as_json)
    unfinished = [*failed, *left]
    shown = [stage for stage in runnable if not (failed and is_of_another_run(stage))]
    folders = list(dict.fromkeys(stage.folder for stage in shown))
    if any(stage.protocols for stage in runnable):
        _report(suite.name, folders, out, as_json, unfinished)
    elif as_json:  # nothing is judged, as settings may ask for
        click.echo("[]")
    else:
        say(f"runs → {out}, none of which is judged")
    if failed:
        more = f"; {len(left)} more could not be done for want of these" if left else ""
        error = AmrError(f"{_counted(len(failed))} failed{more}")
        complain("error", f"{error}:")
        for title, said in failed.items():
            tell(f"  {title}: {said}")
        error.said = True
        raise error
    if left:
        tell(f"left to others, who are at it: {_counted(len(left))}")


def _worked(
    stages: Sequence[Stage],
    workers: str,
    wait: bool,
    backend: str,
    scheduler: str | None,
    panel: Panel,
    as_json: bool,
) -> tuple[dict[str, str], list[str]]:
    """Do the jobs of stages. Returns what was said of those that failed, by their titles, and the titles of
    those that are left."""
    from amr_cli.crew import Crew, InOrder
    from amr_train.experiments.cluster import run_on_cluster
    from amr_train.experiments.jobs import jobs_of
    from amr_train.experiments.queue import OPEN, Queue, work_through
    from amr_train.experiments.results import write_results
    from amr_train.experiments.workers import places, run_workers

    jobs = jobs_of(stages)
    crew: Crew | None = None
    if backend == "dask":
        with Crew(0, as_json) as crew:
            queue = run_on_cluster(jobs, str(scheduler), crew)
    elif len(environments := places(workers, [stage.experiment.device for stage in stages])) > 1:
        with Crew(len(environments), as_json) as crew:
            crew.say(_said_of(environments))
            queue = run_workers(jobs, environments, crew, wait)
    else:
        queue = Queue(jobs)
        with panel.bar:
            work_through(queue, InOrder(panel, stages, as_json), wait=wait, strict=True)
    for folder in dict.fromkeys(stage.folder for stage in stages):
        write_results(folder)  # once more: workers may have written it side by side
    titles = [job.title for job, state in zip(jobs, queue.states, strict=True) if state == OPEN]
    return (crew.failures if crew else {}), titles


def _said_of(environments: Sequence[dict[str, str]]) -> str:
    """What the workers have, in one line."""
    threads = environments[0]["OMP_NUM_THREADS"]
    gpus = [e["CUDA_VISIBLE_DEVICES"] for e in environments if "CUDA_VISIBLE_DEVICES" in e]
    where = f"on GPU {', '.join(gpus)}, " if gpus else "on the CPU, "
    return f"{len(environments)} workers {where}{threads} {'thread' if threads == '1' else 'threads'} each"


def _counted(jobs: int) -> str:
    return "1 job" if jobs == 1 else f"{jobs} jobs"


def _report(name: str, folders: Sequence[Path], out: Path, as_json: bool, unfinished: Sequence[str]) -> None:
    """The table of all runs, and their page; of what there is where not everything is finished."""
    from amr_cli.table import print_rows
    from amr_train.report import write_report
    from amr_train.report.collect import find_runs
    from amr_train.report.tables import row_as_values, rows_of

    notes: list[str] = []
    folders = [folder for folder in folders if folder.is_dir()] if unfinished else folders
    try:
        rows = rows_of(find_runs(folders, notes.append))
        page = out / f"{name.removeprefix('suite/')}.html"
        write_report(folders, page)
    except UsageError as error:
        if not unfinished:
            raise
        warn(f"there is nothing to report yet: {error}")
        return
    if as_json:
        click.echo(json.dumps([row_as_values(row) for row in rows]))
        return
    print_rows(rows, f"{name}, top-1 in percent")
    say(f"runs → {out}")
    say(f"report → {page}")
    for line in notes:
        note("the report leaves out", line)
