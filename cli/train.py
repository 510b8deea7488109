"""amr-train: run."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from amr_cli.ui import console, errors, facts, guarded
from amr_data import __version__


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="amr-train")
def main() -> None:
    """Pre-train AMR on converted datasets and say how good the encoder is.

    \b
    amr-train run nw-ucla-amr --data nw-ucla/
    amr-train run ntu60-xsub-amr --data ntu60/ pretrain.epochs=100
    """


class _Panel:
    """Live progress of a run on stderr; plain lines where stderr is not a terminal."""

    def __init__(self, quiet: bool) -> None:
        columns = [
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        ]
        self.live = errors.is_terminal and not quiet
        self.quiet = quiet
        self.bar = Progress(*columns, TextColumn("{task.fields[note]}"), console=errors, disable=not self.live)
        self.task = self.bar.add_task("starting", total=None, note="")
        self.title, self.said = "starting", 0.0

    def stage(self, title: str) -> None:
        self.title = title
        self.bar.update(self.task, completed=self.bar.tasks[0].total or 0)
        self.bar.reset(self.task, description=title, total=None, note="")
        if not self.live and not self.quiet:
            errors.print(title)

    def advance(self, done: int, total: int, metrics: dict[str, float]) -> None:
        names = {"loss": "loss {:.4f}", "lr": "lr {:.1e}", "clips_per_second": "{:,.0f} clips/s"}
        note = "  ".join(form.format(metrics[k]) for k, form in names.items() if k in metrics)
        self.bar.update(self.task, completed=done, total=total, note=note)
        if not self.live and not self.quiet and metrics and (time.monotonic() - self.said > 15 or done == total):
            self.said = time.monotonic()
            errors.print(f"{self.title} {done}/{total}  {note}")

    def warn(self, line: str) -> None:
        errors.print(f"[bold yellow]warning:[/] {line}", soft_wrap=True)


@main.command("run")
@click.argument("experiment")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--data", type=click.Path(path_type=Path), help="The converted dataset; the same as data.path=DIR.")
@click.option("--out", type=click.Path(path_type=Path), help="The run's folder; runs/NAME-SEED by default.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
@guarded
def run_command(experiment: str, overrides: tuple[str, ...], data: Path | None, out: Path | None, as_json: bool) -> None:
    """Pre-train and evaluate EXPERIMENT: a shipped name (demo, nw-ucla-amr, ntu60-xsub-amr) or the path of a YAML file.

    The same command takes an interrupted run up from its last checkpoint.

    \b
    amr-train run demo --data shards/ --out run/
    amr-train run nw-ucla-amr --data nw-ucla/ seed=1 guidance.focal=false
    amr-train run mine.yaml --data ntu60/ pretrain.batch_size=256
    """
    from amr_train import load_experiment, run_experiment  # torch takes a second; --help should not

    settings = load_experiment(experiment, [*overrides, *([f"data.path={json.dumps(str(data))}"] if data else [])])
    folder = out or Path("runs") / f"{settings.name}-{settings.seed}"
    panel = _Panel(quiet=as_json)
    with panel.bar:
        results = run_experiment(settings, folder, panel)
    if as_json:
        click.echo(json.dumps(results))
        return
    _print_results(results, folder)


def _print_results(results: dict[str, Any], folder: Path) -> None:
    table = Table(title=f"{results['experiment']}: top-1 on {results['dataset']} {results['protocol']}, %", title_justify="left")
    table.add_column("encoder")
    table.add_column("linear", justify="right")
    table.add_column("kNN", justify="right")
    before, after = results["untrained"], results["pretrained"]
    for name, row in (("untrained", before), ("pre-trained", after)):
        table.add_row(name, f"{row['linear']:.1f}", f"{row['knn']:.1f}")
    table.add_section()
    table.add_row("difference", *(f"{after[k] - before[k]:+.1f}" for k in ("linear", "knn")))
    console.print(table)
    training, clips = results["pretraining"], results["clips"]
    facts(
        f"run → {folder}",
        {
            "clips": f"{clips['train']:,} train, {clips['test']:,} test",
            "parameters": f"{results['parameters']['encoder']:,} encoder, {results['parameters']['decoder']:,} decoder",
            "pre-training": f"{training['seconds']:.0f} s, {training['steps']:,} steps, last loss {training['loss']:.4f}",
            "linear probe": f"{results['probe']}; last epoch shown (best epoch {after['linear_best_epoch']:.1f})",
        },
    )
