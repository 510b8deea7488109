"""amr-train: embed, predict, export, report."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import click

from amr_cli.families import FamilyCommand, dataset_or_spec
from amr_cli.terminal import shown_lines, table
from amr_cli.ui import Within, console, facts, guarded, note, say
from amr_data.errors import AmrError, UsageError


@click.command("embed", short_help="Write the features of every clip of a dataset.")
@click.argument("encoder", type=click.Path(path_type=Path))
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option(
    "-o", "--out", required=True, type=click.Path(path_type=Path), help="The file to write: .h5 or .parquet."
)
@click.option(
    "--crop",
    default=0.95,
    show_default=True,
    type=Within(0, 1, min_open=True),
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


@click.command("predict", cls=FamilyCommand, short_help="Say what is done in files, folders or archives.")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("sources", nargs=-1, type=click.Path(path_type=Path, exists=True, allow_dash=True))
@click.option("--dataset", help="The dataset whose raw files these are; recognised by default.")
@click.option(
    "--spec", type=click.Path(path_type=Path), help="Your own dataset spec in YAML, in place of --dataset."
)
@click.option(
    "--top", default=3, show_default=True, type=click.IntRange(min=1), help="Classes shown for each clip."
)
@click.option(
    "-o",
    "--out",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Of a detector: write the actions to a .csv, .json or .eaf (ELAN) file, or all three into a folder; "
    "may be repeated.",
)
@click.option(
    "--least",
    type=Within(0, 1),
    help="Of a detector: the lowest score that is told; chosen on held-out recordings by default.",
)
@click.option(
    "--follow",
    is_flag=True,
    help="Of a detector: read frames, one JSON or CSV line each, from standard input or a growing file.",
)
@click.option("--fps", type=Within(0.1, 1000), help="With --follow: frames a second.")
@click.option(
    "--idle",
    type=Within(0),
    help="With --follow: end when a file has not grown for so many seconds; by default it is awaited.",
)
@click.option("--json", "as_json", is_flag=True, help="Print all as JSON; with --follow a line an event.")
@guarded
def predict_command(
    model: Path,
    sources: tuple[Path, ...],
    dataset: str | None,
    spec: Path | None,
    top: int,
    out: tuple[Path, ...],
    least: float | None,
    follow: bool,
    fps: float | None,
    idle: float | None,
    as_json: bool,
    options: dict[str, Any],
) -> None:
    """Say what is done in SOURCES: raw files of any name, folders, archives, or converted datasets.

    MODEL is a classifier, which `amr-train eval RUN --protocol finetune` leaves in RUN/evaluations, for clips
    of one action each; or a detector, which `--protocol detect` leaves there, for recordings of any length:
    then a timeline says what is done when. Raw files are cleaned and normalised as its training clips were.

    \b
    amr-train predict runs/a/evaluations/finetune-1234/classifier.safetensors "my recording.skeleton"
    amr-train predict classifier.safetensors new-recordings/ more.zip --top 1 --json
    amr-train predict runs/a/evaluations/detect-1234/detector.safetensors hour.skeleton -o hour.eaf
    sensor | amr-train predict detector.safetensors --follow
    """
    from amr_cli.timeline import predict_following, predict_timelines
    from amr_train.detection.files import is_detector

    if follow:
        if out or dataset or spec or options:
            raise UsageError("--follow prints frames as they come: leave --out and options of files out")
        predict_following(model, sources, fps, least, idle, as_json)
        return
    if not sources:
        raise UsageError("say which files are to be labelled; frames from a pipe with --follow")
    if fps is not None or idle is not None:
        raise UsageError("--fps and --idle are of --follow: a file's dataset says its frame rate")
    if is_detector(model):
        predict_timelines(model, sources, dataset_or_spec(dataset, spec), options, least, out, as_json)
        return
    if out or least is not None:
        raise UsageError(f"--out and --least are of a detector, and {model} is none")
    _predict_clips(model, sources, dataset_or_spec(dataset, spec), top, as_json, options)


def _predict_clips(
    classifier: Path,
    sources: tuple[Path, ...],
    what: Any,
    top: int,
    as_json: bool,
    options: dict[str, Any],
) -> None:
    """Print what a classifier says of clips."""
    from amr_cli.panel import Panel
    from amr_train.deploy.anything import other_layout, predict_anything
    from amr_train.evaluation.classifier import load_classifier

    loaded = load_classifier(classifier)
    panel = Panel(quiet=as_json)
    with panel.bar:
        found, rejects = predict_anything(loaded, sources, what, options=options, listener=panel)
    rows = [prediction.as_dict(loaded.config.classes, top) for prediction in found]
    if as_json:
        click.echo(json.dumps({"clips": rows, "rejects": [reject.as_dict() for reject in rejects]}))
    else:
        _print_predictions(rows, sources[0] if len(sources) == 1 else None)
        for reject in rejects:
            note("rejected", f"{reject.where}: {reject.kind}: {reject.detail}")
    if not rows:
        raise AmrError(
            f"no clip came out of these sources, so there is nothing to predict{other_layout(what, rejects)}"
        )


def _print_predictions(rows: list[dict[str, Any]], folder: Path | None) -> None:
    """A row a clip: where it lies (in the only source), which seconds of it, and the likeliest classes."""
    lines = table()
    lines.add_column("path", overflow="fold", ratio=3)
    for heading in ("seconds", "class"):
        lines.add_column(heading, no_wrap=True)
    lines.add_column("", justify="right", no_wrap=True)
    lines.add_column("then", overflow="fold", ratio=2)
    several = Counter(row["path"] for row in rows)
    for row in rows:
        path = row["path"]
        if folder is not None and path != str(folder):
            path = str(Path(path).relative_to(folder))
        if several[row["path"]] > 1:
            path = row["name"] if folder is not None else f"{path} {row['name']}"
        then = ", ".join(f"{c['class']} {c['probability']:.0%}" for c in row["classes"][1:])
        seconds = f"{row['start_s']:.1f}-{row['stop_s']:.1f}"
        lines.add_row(path, seconds, row["class"], f"{row['probability']:.0%}", then)
    console.print(lines)


@click.command("export", short_help="Write an encoder or a classifier for use elsewhere.")
@click.argument("source", type=click.Path(path_type=Path))
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), help="The file to write: .onnx or .pt2 (torch.export)."
)
@click.option(
    "--hub-folder",
    type=click.Path(path_type=Path),
    help="In place of --out: a folder for the Hugging Face hub, with the encoder, its settings and its model "
    "card.",
)
@click.option(
    "--licence",
    metavar="ID",
    help="Licence of the weights in --hub-folder, in the hub's spelling: apache-2.0; unknown by default.",
)
@click.option(
    "--bodies",
    default=2,
    show_default=True,
    type=click.IntRange(min=1),
    help="Bodies in each clip that the exported model takes; zeros for absent ones.",
)
@click.option(
    "--skeleton",
    help="Skeleton of the clips that an exported encoder takes; that of its training by default.",
)
@click.option(
    "--data", type=click.Path(path_type=Path), help="The same, as a converted dataset with that skeleton."
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@guarded
def export_command(
    source: Path,
    out: Path | None,
    hub_folder: Path | None,
    licence: str | None,
    bodies: int,
    skeleton: str | None,
    data: Path | None,
    as_json: bool,
) -> None:
    """Write an encoder or a classifier for use without this package, checked against the original; or an
    encoder as a folder that can be uploaded to the Hugging Face hub as it is.

    SOURCE is a run's folder, an encoder.safetensors or a classifier.safetensors. Any number of clips goes in,
    each of the model's own frames.

    \b
    amr-train export runs/nw-ucla-amr-0 -o encoder.onnx
    amr-train export runs/any-skeleton-small-amr-0 -o encoder.onnx --skeleton kinect_azure_32
    amr-train export runs/a/evaluations/finetune-1234/classifier.safetensors -o classifier.pt2
    amr-train export runs/nw-ucla-amr-0 --hub-folder nw-ucla-amr --licence cc-by-nc-4.0
    """
    from amr_data import open_dataset
    from amr_train.deploy.export import export_model

    if hub_folder is not None and out is None:
        if skeleton is not None or data is not None:
            raise UsageError("--skeleton and --data go with --out; --hub-folder keeps all that was trained")
        _export_to_hub(source, hub_folder, licence, as_json)
        return
    if out is None or hub_folder is not None:
        raise UsageError("give --out FILE or --hub-folder FOLDER, one of the two")
    if licence is not None:
        raise UsageError("--licence goes with --hub-folder")
    if skeleton is not None and data is not None:
        raise UsageError("give --skeleton or --data, not both")
    made = export_model(source, out, bodies, open_dataset(data).spec.skeleton if data else skeleton)
    if as_json:
        click.echo(json.dumps({"file": str(out), **made}))
        return
    shapes = {key: " x ".join(map(str, made[key])) for key in ("input", "output")}
    joints = {"joints": ", ".join(made["joints"])} if made["joints"] else {}
    facts(f"model → {out}", {**shapes, **joints, "largest difference": f"{made['difference']:.1e}"})


def _export_to_hub(source: Path, folder: Path, licence: str | None, as_json: bool) -> None:
    from amr_train.deploy.hub import UNKNOWN, export_to_hub_folder

    made = export_to_hub_folder(source, folder, licence or UNKNOWN)
    if as_json:
        click.echo(json.dumps(made))
        return
    files = ", ".join(f"{name} ({size / 1e3:,.0f} kB)" for name, size in made["files"].items())
    seeds = ", ".join(map(str, made["seeds"]))
    shown = f"{made['results']} results, seeds {seeds}" if made["results"] else "no results yet"
    facts(f"hub folder → {folder}", {"files": files, "model card": shown, "licence": licence or UNKNOWN})


@click.command("report", short_help="Put finished runs side by side, on one page.")
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
    text = write_report(runs, out, chosen, lambda line: note("note", line))
    if out is None:
        click.echo(shown_lines(text), nl=False)
    else:
        say(f"report → {out}")
