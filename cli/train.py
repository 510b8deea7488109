"""amr-train: run and import-mamp; the other commands are in modules of their own."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from amr_cli.deploy import embed_command, export_command, predict_command, report_command
from amr_cli.judge import eval_command, fuse_command
from amr_cli.outcome import as_values, print_run
from amr_cli.schedule import print_plan
from amr_cli.settings import list_command, show_command
from amr_cli.suite import run_suite
from amr_cli.terminal import Commands
from amr_cli.ui import GOES_ON, facts, guarded, guarded_saying, renamed
from amr_data import UsageError, __version__

if TYPE_CHECKING:
    from amr_cli.panel import Panel


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="amr-train")
def main() -> None:
    """Pre-train AMR on converted datasets and say how good the encoder is.

    \b
    amr-train run nw-ucla-amr --data nw-ucla/
    amr-train run ntu60-xsub-amr --data ntu60/ pretrain.epochs=100
    """


def _workers(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None and value != "auto" and not (value.isdecimal() and int(value) > 0):
        raise click.BadParameter(f"{value} is neither 'auto' nor a number of 1 or more", context, parameter)
    return value


@main.command("run", short_help="Pre-train and evaluate an experiment or a suite.")
@click.argument("experiment")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="The same as KEY=VALUE after the name."
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    multiple=True,
    help="The converted dataset; several are trained on at once. DIR:SPLIT says by which train/test split. "
    "A suite takes those that it needs, converted or as raw files.",
)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    help="The run's folder; runs/NAME-SEED by default, runs/ for suites.",
)
@click.option(
    "--protocol",
    "protocols",
    multiple=True,
    help="How the encoder is judged at the end, as in `amr-train eval`; may be repeated.",
)
@click.option(
    "--plan",
    is_flag=True,
    help="Print stages, sizes, what is done already and the estimated time; train nothing.",
)
@click.option(
    "--nproc",
    type=click.IntRange(min=1),
    help="So many processes on this machine, one for each GPU; for several machines use torchrun.",
)
@click.option(
    "--workers",
    metavar="N|auto",
    callback=_workers,
    help="Of a suite: processes that share its stages; auto starts one for each GPU. 1 by default.",
)
@click.option(
    "--no-wait",
    is_flag=True,
    help="Of a suite: do not wait for stages that other commands with the same --out are doing.",
)
@click.option(
    "--backend",
    type=click.Choice(["processes", "dask"]),
    help="Of a suite: where its stages are done. processes by default.",
)
@click.option(
    "--scheduler", help="Address of a running Dask scheduler, tcp://HOST:PORT, with --backend dask."
)
@click.option(
    "--track",
    multiple=True,
    metavar="wandb|mlflow",
    help="Also send metrics to this service; TensorBoard and JSONL files are always written.",
)
@click.option(
    "--detect-anomaly",
    is_flag=True,
    help="If a gradient is not finite, name the operation that made it so; several times slower.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
@renamed("--dataset", "--data")
@guarded_saying(f"what was finished is kept: checkpoints, the encoder, evaluations; {GOES_ON}")
def run_command(
    experiment: str,
    overrides: tuple[str, ...],
    settings: tuple[str, ...],
    data: tuple[Path, ...],
    out: Path | None,
    protocols: tuple[str, ...],
    plan: bool,
    nproc: int | None,
    workers: str | None,
    no_wait: bool,
    backend: str | None,
    scheduler: str | None,
    track: tuple[str, ...],
    detect_anomaly: bool,
    as_json: bool,
) -> None:
    """Pre-train and evaluate EXPERIMENT: a shipped name (`amr-train list`) or the path of a YAML file, of an
    experiment or of a suite of them.

    The same command takes an interrupted run up from its last checkpoint.

    \b
    amr-train run demo --data shards/ -o run/
    amr-train run nw-ucla-mamp --data nw-ucla/ seed=1 mask.tau=0.7 --protocol linear --protocol finetune
    amr-train run ntu60-xsub-amr --data ntu60/ --nproc 8
    amr-train run any-skeleton-small-amr --data nw-ucla/ --data utd-mhad/ --data sbu/:fold1
    amr-train run suite/table-main --data ntu60/ --data ntu120/ --data pku2/ --plan
    amr-train run my-suite.yaml --data nw-ucla/ --workers auto
    """
    from amr_cli.panel import Panel
    from amr_train.experiments.suites import is_suite

    chosen = [f"evaluation.protocols={json.dumps(protocols)}"] if protocols else []
    changes = [*overrides, *settings, *chosen]
    panel = Panel(quiet=as_json)
    if is_suite(experiment):
        for option, given in (("--nproc", nproc), ("--track", track), ("--detect-anomaly", detect_anomaly)):
            if given:
                raise UsageError(f"{option} goes with a single experiment, not with a suite")
        if (backend == "dask") != (scheduler is not None):
            raise UsageError("--backend dask and --scheduler tcp://HOST:PORT go together")
        if backend == "dask" and workers:
            raise UsageError("--workers are processes here; with --backend dask the cluster has them")
        what = (experiment, changes, data, out or Path("runs"), plan, as_json, panel)
        run_suite(*what, workers or "1", not no_wait, backend or "processes", scheduler)
        return
    of_suites = {
        "--workers": workers,
        "--no-wait": no_wait,
        "--backend": backend,
        "--scheduler": scheduler,
    }
    for option in (name for name, value in of_suites.items() if value):
        raise UsageError(f"{option} goes with a suite, not with a single experiment")
    _run_one(experiment, changes, data, out, plan, nproc, track, detect_anomaly, as_json, panel)


def _run_one(
    name: str,
    changes: Sequence[str],
    data: Sequence[Path],
    out: Path | None,
    plan: bool,
    nproc: int | None,
    track: Sequence[str],
    detect_anomaly: bool,
    as_json: bool,
    panel: Panel,
) -> None:
    from amr_train import load_experiment, run_experiment
    from amr_train.experiments.naming import safe_name
    from amr_train.experiments.places import places_as_settings
    from amr_train.parallel.launch import started_by_torchrun, with_processes

    places = places_as_settings(data, changes)
    found = load_experiment(name, changes, {"data": places} if places else None)
    folder = out or Path("runs") / safe_name(f"{found.name}-{found.seed}")
    if plan:
        from amr_train.experiments.stages import stages_alone

        print_plan(found.name, stages_alone(found, folder), as_json)
        return
    if nproc and nproc > 1 and not started_by_torchrun():
        sys.exit(with_processes(nproc, sys.argv[1:]))
    with panel.bar:
        results = run_experiment(found, folder, panel, track, detect_anomaly)
    if not results:  # another process has them
        return
    if as_json:
        records = [as_values(record) for record in results["evaluations"]]
        click.echo(json.dumps({**results, "evaluations": records}))
    else:
        print_run(results, folder)


@main.command("import-mamp", short_help="Make an encoder file of a published MAMP checkpoint.")
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    help="The file to write; CHECKPOINT's name with .safetensors by default.",
)
@click.option(
    "--heads",
    default=8,
    show_default=True,
    type=click.IntRange(min=1),
    help="Attention heads; the weights do not tell.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@guarded
def import_mamp_command(checkpoint: Path, out: Path | None, heads: int, as_json: bool) -> None:
    """Make an encoder file of a published MAMP CHECKPOINT, to be evaluated here.

    \b
    amr-train import-mamp ntu60_xsub.pth -o mamp.safetensors
    amr-train eval mamp.safetensors --data ntu60/ --split xsub
    """
    from amr_train.deploy.mamp import import_mamp

    target = out or checkpoint.with_suffix(".safetensors")
    encoder = import_mamp(checkpoint, target, heads)
    model = encoder.config.model
    parameters = sum(p.numel() for p in encoder.parameters())
    if as_json:
        sizes = {"encoder_layers": model.encoder_layers, "width": model.width, "heads": model.heads}
        seen = {"joints": encoder.config.joints, "frames": model.frames}
        click.echo(json.dumps({"file": str(target), **sizes, **seen, "parameters": parameters}))
        return
    rows = {
        "sizes": f"{model.encoder_layers} layers, width {model.width}, {model.heads} heads",
        "input": f"{encoder.config.joints} joints, {model.frames} frames",
        "parameters": parameters,
        "left behind": "decoder and heads, where there were any",
    }
    facts(f"encoder → {target}", rows)


for command in (
    list_command,
    show_command,
    eval_command,
    fuse_command,
    embed_command,
    predict_command,
    export_command,
    report_command,
):
    main.add_command(command)

if __name__ == "__main__":
    main()
