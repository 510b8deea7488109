"""amr-train: run, list, eval, import-mamp."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import click
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from amr_cli.ui import console, errors, facts, guarded
from amr_data import __version__
from amr_data.files import write_json


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
        due = time.monotonic() - self.said > (0.2 if self.live else 15) or done == total
        if not due or (self.quiet and not self.live):
            return
        self.said = time.monotonic()
        names = {"loss": "loss {:.4f}", "lr": "lr {:.1e}", "clips_per_second": "{:,.0f} clips/s"}
        parts = [form.format(metrics[k]) for k, form in names.items() if k in metrics]
        if "epoch" in metrics:
            parts = [f"epoch {metrics['epoch']:.0f}/{metrics['epochs']:.0f}", *parts, memory_used()]
        note = "  ".join(parts)
        self.bar.update(self.task, completed=done, total=total, note=note)
        if not self.live and metrics:
            errors.print(f"{self.title} {done}/{total}  {note}")

    def warn(self, line: str) -> None:
        errors.print(f"[bold yellow]warning:[/] {escape(line)}", soft_wrap=True)


def memory_used() -> str:
    """Memory of this process, or the largest that its GPU held."""
    import psutil
    import torch

    on_gpu = torch.cuda.is_initialized()
    used = torch.cuda.max_memory_allocated() if on_gpu else psutil.Process().memory_info().rss
    return f"{used / 2**30:.1f} GiB"


@main.command("run")
@click.argument("experiment")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--data", type=click.Path(path_type=Path), help="The converted dataset; the same as data.path=DIR.")
@click.option("--out", type=click.Path(path_type=Path), help="The run's folder; runs/NAME-SEED by default.")
@click.option("--nproc", type=click.IntRange(min=1), help="Processes on this machine, one GPU each; short for torchrun.")
@click.option("--track", multiple=True, metavar="wandb|mlflow", help="Send metrics there too, beside TensorBoard and JSONL.")
@click.option("--detect-anomaly", is_flag=True, help="Name the operation whose gradient is not finite; several times slower.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
@guarded
def run_command(
    experiment: str,
    overrides: tuple[str, ...],
    data: Path | None,
    out: Path | None,
    nproc: int | None,
    track: tuple[str, ...],
    detect_anomaly: bool,
    as_json: bool,
) -> None:
    """Pre-train and evaluate EXPERIMENT: a shipped name (`amr-train list`) or the path of a YAML file.

    The same command takes an interrupted run up from its last checkpoint.

    \b
    amr-train run demo --data shards/ --out run/
    amr-train run nw-ucla-mamp --data nw-ucla/ seed=1 mask.tau=0.7
    amr-train run mine.yaml --data ntu60/ pretrain.batch_size=256
    amr-train run ntu60-xsub-amr --data ntu60/ --nproc 8
    """
    from amr_train import load_experiment, run_experiment  # torch takes a second; --help should not
    from amr_train.launch import started_by_torchrun, with_processes

    settings = load_experiment(experiment, [*overrides, *([f"data.path={json.dumps(str(data))}"] if data else [])])
    folder = out or Path("runs") / f"{settings.name}-{settings.seed}"
    if nproc and nproc > 1 and not started_by_torchrun():
        sys.exit(with_processes(nproc, sys.argv[1:]))
    panel = _Panel(quiet=as_json)
    with panel.bar:
        results = run_experiment(settings, folder, panel, track, detect_anomaly)
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
        row = {"experiment": name, "dataset": e.data.dataset or "any", "decoder": e.model.decoder, "mask": e.mask.by}
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
    "--out", type=click.Path(path_type=Path), help="Keeps results.json, drawn labels and checkpoints; the same command goes on."
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
    from amr_train.evaluation import evaluate_encoder
    from amr_train.loading import load_section

    settings = load_section("evaluation", overrides)
    panel = _Panel(quiet=as_json)
    with panel.bar:
        chosen = protocols or ("linear", "knn")
        found = evaluate_encoder(encoder, dataset, split, chosen, settings, seed, folder=out, listener=panel)
    if out:
        write_json(out / "results.json", found)
    if as_json:
        click.echo(json.dumps(found))
        return
    clips = f"{found['clips']['train']:,} train, {found['clips']['test']:,} test"
    rows = {name: protocol_line(result) for name, result in found["protocols"].items()}
    facts(f"{encoder} on {found['dataset']} {split}", {**rows, "clips": clips, "joints": found["joints"]})
    if found["recipes_differ"]:
        errors.print("[bold yellow]warning:[/] the encoder was trained on clips of another recipe than these", soft_wrap=True)


def protocol_line(found: dict[str, Any]) -> str:
    """A protocol's result in one line."""
    if "mAP" in found:
        return ", ".join(f"{name} {value:.1f} %" for name, value in found.items())
    if "top1" not in found:  # shares of labels
        return "; ".join(
            f"{share} % of labels: {r['mean']:.1f} ± {r['std']:.1f} % ({r['clips']} clips)" for share, r in found.items()
        )
    notes = [f"top-5 {found['top5']:.1f} %"]
    if "best_epoch" in found:
        notes += [f"last epoch; best epoch {found['best_epoch']:.1f}", found["probe"]]
    return f"{found['top1']:.1f} %  ({'; '.join(notes)})"


@main.command("import-mamp")
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="The file to write; CHECKPOINT's name with .safetensors by default.")
@click.option(
    "--heads", default=8, show_default=True, type=click.IntRange(min=1), help="Attention heads; the weights do not tell."
)
@guarded
def import_mamp_command(checkpoint: Path, out: Path | None, heads: int) -> None:
    """Make an encoder file of a published MAMP CHECKPOINT, to be evaluated here.

    \b
    amr-train import-mamp ntu60_xsub.pth --out mamp.safetensors
    amr-train eval mamp.safetensors --dataset ntu60/ --split xsub
    """
    from amr_train.mamp_import import import_mamp

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


if __name__ == "__main__":
    main()
