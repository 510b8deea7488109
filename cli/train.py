"""amr-train: run, list, eval, import-mamp; embed, predict, export and report are in deploy.py."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from amr_cli.deploy import embed_command, export_command, predict_command, report_command
from amr_cli.panel import Panel
from amr_cli.suite import run_suite
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


@main.command("run")
@click.argument("experiment")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="The same as KEY=VALUE after the name."
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    multiple=True,
    help="The converted dataset; a suite takes several, or raw files if it needs one dataset.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The run's folder; runs/NAME-SEED by default, runs/ for suites.",
)
@click.option(
    "--plan", is_flag=True, help="Of a suite: print stages, sizes and estimated time, and run nothing."
)
@click.option(
    "--nproc", type=click.IntRange(min=1), help="Processes on this machine, one GPU each; short for torchrun."
)
@click.option(
    "--track",
    multiple=True,
    metavar="wandb|mlflow",
    help="Send metrics there too, beside TensorBoard and JSONL.",
)
@click.option(
    "--detect-anomaly",
    is_flag=True,
    help="Name the operation whose gradient is not finite; several times slower.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
@guarded
def run_command(
    experiment: str,
    overrides: tuple[str, ...],
    settings: tuple[str, ...],
    data: tuple[Path, ...],
    out: Path | None,
    plan: bool,
    nproc: int | None,
    track: tuple[str, ...],
    detect_anomaly: bool,
    as_json: bool,
) -> None:
    """Pre-train and evaluate EXPERIMENT: a shipped name (`amr-train list`), a suite of them, or the path of a
    YAML file.

    The same command takes an interrupted run up from its last checkpoint.

    \b
    amr-train run demo --data shards/ --out run/
    amr-train run nw-ucla-mamp --data nw-ucla/ seed=1 mask.tau=0.7
    amr-train run ntu60-xsub-amr --data ntu60/ --nproc 8
    amr-train run suite/table-main --data ntu60/ --data ntu120/ --data pku2/ --plan
    amr-train run suite/nw-ucla --data all_sqe.zip
    """
    from amr_data import UsageError
    from amr_train import load_experiment, run_experiment  # torch takes a second; --help should not
    from amr_train.parallel.launch import started_by_torchrun, with_processes

    changes = [*overrides, *settings]
    panel = Panel(quiet=as_json)
    if experiment.startswith("suite/"):
        for option, given in (("--nproc", nproc), ("--track", track), ("--detect-anomaly", detect_anomaly)):
            if given:
                raise UsageError(f"{option} goes with a single experiment, not with a suite")
        with panel.bar:
            run_suite(experiment, changes, data, out or Path("runs"), plan, as_json, panel)
        return
    if plan:
        raise UsageError("--plan is for suites, such as suite/nw-ucla")
    if len(data) > 1:
        raise UsageError(f"{experiment} takes one --data, not {len(data)}")
    found = load_experiment(experiment, [*changes, *(f"data.path={json.dumps(str(path))}" for path in data)])
    folder = out or Path("runs") / f"{found.name}-{found.seed}"
    if nproc and nproc > 1 and not started_by_torchrun():
        sys.exit(with_processes(nproc, sys.argv[1:]))
    with panel.bar:
        results = run_experiment(found, folder, panel, track, detect_anomaly)
    if not results:  # another process has them
        return
    if as_json:
        click.echo(json.dumps(results))
        return
    _print_results(results, folder)


@main.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
@guarded
def list_command(as_json: bool) -> None:
    """List the shipped experiments: every data set with every method.

    \b
    amr-train list
    amr-train list --json
    """
    from amr_train import experiment_names, load_experiment

    rows: list[dict[str, Any]] = []
    for name in experiment_names():
        e = load_experiment(name)
        row = {
            "experiment": name,
            "dataset": e.data.dataset or "any",
            "decoder": e.model.decoder,
            "mask": e.mask.by,
        }
        target = f"{e.target.kind}, {e.target.normalize}, {e.model.patch_frames} frames"
        rows.append({**row, "target": target, "focal": e.guidance.focal})
    if as_json:
        click.echo(json.dumps(rows))
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in rows[0]:
        table.add_column(heading, no_wrap=heading == "experiment")
    for row in rows:
        table.add_row(*(str(v) if not isinstance(v, bool) else "yes" if v else "no" for v in row.values()))
    console.print(table)


@main.command("eval")
@click.argument("encoder", type=click.Path(path_type=Path))
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option(
    "--protocol",
    "protocols",
    multiple=True,
    help="linear, knn, retrieval, finetune, supervised, semi; linear and knn by default.",
)
@click.option("--dataset", required=True, type=click.Path(path_type=Path), help="A converted dataset.")
@click.option("--split", default="xsub", show_default=True, help="The dataset's protocol.")
@click.option("--seed", default=0, show_default=True, help="Of heads, views and probes.")
@click.option(
    "--precision",
    default="float32",
    show_default=True,
    type=click.Choice(["float32", "bfloat16"]),
    help="Of fine-tuning.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Keeps results.json, drawn labels and checkpoints; the same command goes on.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
@guarded
def eval_command(
    encoder: Path,
    overrides: tuple[str, ...],
    protocols: tuple[str, ...],
    dataset: Path,
    split: str,
    seed: int,
    precision: str,
    out: Path | None,
    as_json: bool,
) -> None:
    """Say how good an ENCODER is: a run's folder, or an encoder.safetensors of a run or of `import-mamp`.

    The dataset may be another than it was trained on (transfer), also of another skeleton.

    \b
    amr-train eval runs/nw-ucla-amr-0 --dataset nw-ucla/ --split xview linear.lr=0.1
    amr-train eval runs/ntu60-xsub-amr-0 --protocol finetune --dataset pku2/ --split xsub --out runs/transfer
    amr-train eval mamp.safetensors --protocol semi --dataset ntu60/ semi.percent=[1] --json
    """
    from amr_train.evaluation.evaluate_old import evaluate_encoder
    from amr_train.experiments.loading import load_section

    settings = load_section("evaluation", overrides)
    panel = Panel(quiet=as_json)
    with panel.bar:
        what = (encoder, dataset, split, protocols or ("linear", "knn"), settings, seed)
        found = evaluate_encoder(*what, precision=precision, folder=out, listener=panel)
    if as_json:
        click.echo(json.dumps(found))
        return
    clips = f"{found['clips']['train']:,} train, {found['clips']['test']:,} test"
    rows = {name: protocol_line(result) for name, result in found["protocols"].items()}
    facts(f"{encoder} on {found['dataset']} {split}", {**rows, "clips": clips, "joints": found["joints"]})
    if found["recipes_differ"]:
        errors.print(
            "[bold yellow]warning:[/] the encoder was trained on clips of another recipe than these",
            soft_wrap=True,
        )


def protocol_line(found: dict[str, Any]) -> str:
    """A protocol's result in one line."""
    if "mAP" in found:
        return ", ".join(f"{name} {value:.1f} %" for name, value in found.items())
    if "top1" not in found:  # shares of labels
        return "; ".join(
            f"{share} % of labels: {r['mean']:.1f} ± {r['std']:.1f} % ({r['clips']} clips)"
            for share, r in found.items()
        )
    notes = [f"top-5 {found['top5']:.1f} %"]
    if "best_epoch" in found:
        notes += [f"last epoch; best epoch {found['best_epoch']:.1f}", found["probe"]]
    return f"{found['top1']:.1f} %  ({'; '.join(notes)})"


@main.command("import-mamp")
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option(
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
@guarded
def import_mamp_command(checkpoint: Path, out: Path | None, heads: int) -> None:
    """Make an encoder file of a published MAMP CHECKPOINT, to be evaluated here.

    \b
    amr-train import-mamp ntu60_xsub.pth --out mamp.safetensors
    amr-train eval mamp.safetensors --dataset ntu60/ --split xsub
    """
    from amr_train.deploy.mamp import import_mamp

    target = out or checkpoint.with_suffix(".safetensors")
    encoder = import_mamp(checkpoint, target, heads)
    model = encoder.config.model
    rows = {
        "sizes": f"{model.encoder_layers} layers, width {model.width}, {model.heads} heads",
        "input": f"{encoder.config.joints} joints, {model.frames} frames",
        "parameters": sum(p.numel() for p in encoder.parameters()),
        "left behind": "decoder and heads, where there were any",
    }
    facts(f"encoder → {target}", rows)


def _print_results(results: dict[str, Any], folder: Path) -> None:
    table = Table(
        title=f"{results['experiment']}: top-1 on {results['dataset']} {results['protocol']}, %",
        title_justify="left",
    )
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
            "parameters": f"{results['parameters']['encoder']:,} encoder, "
            f"{results['parameters']['decoder']:,} decoder",
            "pre-training": f"{training['seconds']:.0f} s, {training['steps']:,} steps, last loss "
            f"{training['loss']:.4f}",
            "linear probe": f"{results['probe']}; last epoch shown (best epoch "
            f"{after['linear_best_epoch']:.1f})",
        },
    )


for command in (embed_command, predict_command, export_command, report_command):
    main.add_command(command)

if __name__ == "__main__":
    main()
