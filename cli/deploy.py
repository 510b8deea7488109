"""amr-train: embed, predict, export, report."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
from rich.markup import escape
from rich.table import Table

from amr_cli.ui import console, errors, facts, guarded


@click.command("embed")
@click.argument("encoder", type=click.Path(path_type=Path))
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option(
    "-o", "--out", required=True, type=click.Path(path_type=Path), help="The file to write: .h5 or .parquet."
)
@click.option(
    "--crop",
    default=0.95,
    show_default=True,
    type=click.FloatRange(0, 1, min_open=True),
    help="Share of each clip that is seen.",
)
@click.option(
    "--pooling",
    default="mean",
    show_default=True,
    type=click.Choice(["mean", "joints"]),
    help="Over time, joints and bodies, or joints kept.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@guarded
def embed_command(encoder: Path, dataset: Path, out: Path, crop: float, pooling: str, as_json: bool) -> None:
    """Write the features of every clip of a converted DATASET, with names and labels.

    \b
    amr-train embed runs/nw-ucla-amr-0 nw-ucla/ -o features.parquet
    amr-train embed mamp.safetensors ntu60/ -o features.h5 --pooling joints
    """
    from amr_cli.panel import Panel
    from amr_data.shards.features import FORMS, write_features
    from amr_train.deploy.predicting import embed

    if out.suffix not in FORMS:
        raise click.BadParameter(f"it must end in {', '.join(FORMS)}", param_hint="--out")
    panel = Panel(quiet=as_json)
    with panel.bar:
        panel.stage("features")
        features, data = embed(encoder, dataset, crop=crop, listener=panel, pooling=pooling)
    about = {
        "encoder": str(encoder),
        "dataset": data.spec.name,
        "classes": data.spec.class_names,
        "crop": crop,
        "pooling": pooling,
    }
    write_features(out, features, data.names, data.clips["label"].astype("int64"), about)
    summary = {"file": str(out), "clips": len(data), "width": int(features.shape[1])}
    if as_json:
        click.echo(json.dumps(summary))
        return
    facts(f"features → {out}", {"clips": summary["clips"], "width": summary["width"]})


@click.command("predict")
@click.argument("classifier", type=click.Path(path_type=Path))
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--dataset", help="The dataset whose raw files these are; the classifier's own by default.")
@click.option(
    "--spec", type=click.Path(path_type=Path), help="Your own dataset spec in YAML, in place of --dataset."
)
@click.option(
    "--top", default=3, show_default=True, type=click.IntRange(min=1), help="Classes shown for each clip."
)
@click.option("--json", "as_json", is_flag=True, help="Print all as JSON.")
@guarded
def predict_command(
    classifier: Path,
    sources: tuple[Path, ...],
    dataset: str | None,
    spec: Path | None,
    top: int,
    as_json: bool,
) -> None:
    """Say what is done in raw files: SOURCES are raw files, folders or archives, or one converted dataset.

    CLASSIFIER is what `amr-train eval RUN --protocol finetune` leaves in RUN/evaluations. Raw files are
    cleaned and normalised as its training clips were.

    \b
    amr-train predict runs/a/evaluations/finetune-1234/classifier.safetensors S001C001P001R001A001.skeleton
    amr-train predict classifier.safetensors new-recordings/ --top 1 --json
    """
    from amr_train.deploy.predicting import predict
    from amr_train.evaluation.classifier import load_classifier

    loaded = load_classifier(classifier)
    rejects: list[dict[str, str]] = []
    with TemporaryDirectory() as scratch:
        if len(sources) == 1 and (sources[0] / "manifest.json").is_file():
            shards = sources[0]
        else:
            what = str(spec) if spec else dataset or loaded.config.encoder.dataset
            shards, rejects = _converted(sources, what, loaded.config.encoder.recipe, Path(scratch))
        found = predict(classifier, shards)
    classes = loaded.config.classes
    rows: list[dict[str, Any]] = []
    for name, probabilities in found.items():
        best = probabilities.topk(min(top, len(classes)))
        pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        rows.append(
            {"name": name, "classes": [{"label": i, "class": classes[i], "probability": p} for i, p in pairs]}
        )
    if as_json:
        click.echo(json.dumps({"clips": rows, "rejects": rejects}))
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("clip", no_wrap=True)
    table.add_column("classes", overflow="fold")
    for row in rows:
        table.add_row(row["name"], ", ".join(f"{c['class']} {c['probability']:.0%}" for c in row["classes"]))
    console.print(table)
    for reject in rejects:
        errors.print(f"[bold yellow]rejected:[/] {reject['source']}: {reject['reason']}", soft_wrap=True)


@click.command("export")
@click.argument("source", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="The file to write: .onnx or .pt2 (torch.export).",
)
@click.option(
    "--bodies",
    default=2,
    show_default=True,
    type=click.IntRange(min=1),
    help="Bodies of every clip; zeros for absent ones.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@guarded
def export_command(source: Path, out: Path, bodies: int, as_json: bool) -> None:
    """Write an encoder or a classifier for use without this package, checked against the original.

    SOURCE is a run's folder, an encoder.safetensors or a classifier.safetensors. Any number of clips goes in,
    each of the model's own frames.

    \b
    amr-train export runs/nw-ucla-amr-0 -o encoder.onnx
    amr-train export runs/a/evaluations/finetune-1234/classifier.safetensors -o classifier.pt2
    """
    from amr_train.deploy.export import export_model

    made = export_model(source, out, bodies)
    if as_json:
        click.echo(json.dumps({"file": str(out), **made}))
        return
    shapes = {key: " x ".join(map(str, made[key])) for key in ("input", "output")}
    facts(f"model → {out}", {**shapes, "largest difference": f"{made['difference']:.1e}"})


@click.command("report")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), help="The file to write; printed where none is given."
)
@click.option(
    "--format", "form", type=click.Choice(["html", "md", "json", "csv"]), help="By the file's ending, or md."
)
@guarded
def report_command(runs: tuple[Path, ...], out: Path | None, form: str | None) -> None:
    """Put finished RUNS side by side: folders of runs and evaluations, or folders of such folders.

    The page holds the table beside published values, curves, cost against accuracy, confusion, features in
    the plane and where each run comes from, in one file that loads nothing.

    \b
    amr-train report runs/ -o report.html
    amr-train report runs/nw-ucla-amr-0 runs/nw-ucla-mamp-0 --format md
    """
    from amr_train.report import write_report

    ending = out.suffix.lstrip(".") if out else ""
    chosen = form or (ending if ending in ("html", "md", "json", "csv") else "html" if out else "md")
    text = write_report(
        runs, out, chosen, lambda line: errors.print(f"[bold yellow]note:[/] {escape(line)}", soft_wrap=True)
    )
    if out is None:
        click.echo(text, nl=False)
    else:
        console.print(f"report → {out}")


def _converted(
    sources: tuple[Path, ...], dataset: str, recipe: dict[str, Any], scratch: Path
) -> tuple[Path, list[dict[str, str]]]:
    """Convert raw files as the classifier's training clips were; gives the shards, and what was rejected."""
    from amr_data import Recipe, UsageError, convert

    if not dataset:
        raise UsageError("the classifier does not say which dataset it knows: give --dataset or --spec")
    files = [path for path in sources if path.is_file() and path.suffix == ".skeleton"]
    folders = [path for path in sources if path not in files]
    if files:
        raw = scratch / "raw"
        raw.mkdir()
        for path in files:
            shutil.copy(path, raw / path.name)
        folders.append(raw)
    known = {key: recipe[key] for key in ("name", "rotate", "scale", "frame_base") if key in recipe}
    out = scratch / "shards"
    convert(folders, out, dataset, recipe=Recipe(**known), workers=1)
    lines = (
        (out / "rejects.jsonl").read_text(encoding="utf-8").splitlines()
        if (out / "rejects.jsonl").is_file()
        else []
    )
    return out, [json.loads(line) for line in lines]
