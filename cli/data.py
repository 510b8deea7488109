"""amr-data: convert, inspect, synth."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.markup import escape
from rich.table import Table

from amr_cli.ui import console, facts, guarded, progress_bar
from amr_data import __version__, convert, open_dataset, spec_names
from amr_data.errors import REASONS, UsageError
from amr_data.inspection import clip_facts, dataset_summary, find_clip
from amr_data.normalize import RECIPES
from amr_data.shards.writer import COMPRESSIONS
from amr_data.synth import synthesize
from amr_data.viz import clip_figure

DATASETS = ", ".join(spec_names())


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="amr-data")
def main() -> None:
    """Raw skeleton files to normalised shards with motion statistics, and a look at them.

    \b
    amr-data convert nturgbd_skeletons_s001_to_s017.zip ntu60/ --dataset ntu60
    amr-data inspect ntu60/
    amr-data inspect ntu60/ --clip S001C001P001R001A001 --png clip.png
    """


def _spec(dataset: str | None, spec: Path | None) -> str:
    if (dataset is None) == (spec is None):
        raise UsageError(f"give --dataset NAME ({DATASETS}) or --spec FILE.yaml, one of them")
    return str(spec) if spec else str(dataset)


@main.command("convert")
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--dataset", help=f"Built-in dataset: {DATASETS}.")
@click.option("--spec", type=click.Path(path_type=Path), help="Your own dataset spec in YAML, in place of --dataset.")
@click.option("--recipe", default="amr", show_default=True, help=f"Clean-up and normalisation: {', '.join(RECIPES)}.")
@click.option(
    "--frame-base",
    default=0,
    show_default=True,
    help="PKU-MMD label rows: 0 reads [start, end), 1 reads [start-1, end).",
)
@click.option("--workers", type=int, help="Processes; all cores by default.")
@click.option("--compression", default="none", show_default=True, help=f"Of the shards: {', '.join(COMPRESSIONS)}.")
@click.option("--overwrite", is_flag=True, help="Replace a dataset made from other sources or settings.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@guarded
def convert_command(
    sources: tuple[Path, ...],
    out: Path,
    dataset: str | None,
    spec: Path | None,
    recipe: str,
    frame_base: int,
    workers: int | None,
    compression: str,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Convert raw files (folders, or .zip files as they are distributed) to a dataset folder OUT.

    Interrupted, the same command goes on where it stopped.

    \b
    amr-data convert raw/ ntu60/ --dataset ntu60
    amr-data convert s001_to_s017.zip s018_to_s032.zip ntu120/ --dataset ntu120
    amr-data convert PKU/ pku2/ --dataset pku-mmd-2 --recipe ctrgcn
    """
    clips = 0
    with progress_bar("converting", quiet=as_json) as bar:

        def progress(done: int, total: int, record: dict[str, Any]) -> None:
            nonlocal clips
            clips += record["clips"]
            bar(done, total, f"{clips:,} clips")

        report = convert(
            sources,
            out,
            _spec(dataset, spec),
            recipe=recipe,
            frame_base=frame_base,
            workers=workers,
            compression=compression,
            overwrite=overwrite,
            progress=progress,
        )
    summary = report.as_dict()
    if as_json:
        click.echo(json.dumps(summary))
        return
    kept = f" ({report.kept_shards} were finished before)" if report.kept_shards else ""
    speed = f", {summary['megabytes_per_second']:,.0f} MB/s" if summary["megabytes_per_second"] else ""
    facts(
        f"{summary['dataset']} → {out}",
        {
            "recipe": recipe,
            "source files": summary["sources"],
            "clips": summary["clips"],
            "bodies": summary["bodies"],
            "frames": f"{summary['clip_frames']:,} of clips, {summary['frames']:,} of bodies",
            "classes seen": summary["classes"],
            "rejects": summary["rejects"],
            "shards": f"{summary['shards']:,}{kept}",
            "time": f"{report.seconds:.1f} s for {summary['source_megabytes']:,.0f} MB{speed}",
        },
    )
    _print_rejects(report.manifest)


def _print_rejects(manifest: Mapping[str, Any], examples: int = 1) -> None:
    if not manifest["rejects"]:
        return
    table = Table(title="rejects by reason (all of them in manifest.json)", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for column in ("reason", "files or rows", "meaning", "for example"):
        table.add_column(column, overflow="fold")
    for reason, count in manifest["rejects_by_reason"].items():
        shown = [r for r in manifest["rejects"] if r["reason"] == reason][:examples]
        example = "\n".join(f"{r['source']}: {r['detail']}" for r in shown)
        table.add_row(reason, f"{count:,}", REASONS[reason], escape(example))
    console.print(table)


@main.command("inspect")
@click.argument("dataset_dir", type=click.Path(path_type=Path))
@click.option("--clip", "clip_name", help="One clip: its name, a glob such as 'S001*A058', or its index.")
@click.option("--png", type=click.Path(path_type=Path), help="Write the clip's picture here.")
@click.option("--json", "as_json", is_flag=True, help="Print what is shown as JSON.")
@guarded
def inspect_command(dataset_dir: Path, clip_name: str | None, png: Path | None, as_json: bool) -> None:
    """Show a converted dataset, or one clip of it.

    \b
    amr-data inspect ntu60/
    amr-data inspect ntu60/ --clip 'S001C001*A058' --png clip.png
    """
    dataset = open_dataset(dataset_dir)
    if clip_name is None:
        if png:
            raise UsageError("--png draws one clip: name it with --clip")
        summary = dataset_summary(dataset)
        if as_json:
            click.echo(json.dumps(summary))
        else:
            _print_dataset(summary, dataset.manifest)
        return
    index = find_clip(dataset, clip_name)
    clip = dataset.clip(index)
    shown = clip_facts(dataset, index)
    if png:
        if png.suffix.lower() not in (".png", ".pdf", ".svg"):
            raise UsageError(f"{png}: the picture's name ends in .png, .pdf or .svg")
        png.parent.mkdir(parents=True, exist_ok=True)
        clip_figure(clip, dataset.spec).savefig(png, dpi=130)
        shown["picture"] = str(png)
    if as_json:
        click.echo(json.dumps(shown))
        return
    dropped = shown.pop("dropped")
    energy = shown.pop("joint_energy")
    facts(clip.name, {k.replace("_", " "): v for k, v in shown.items()})
    if dropped:
        facts("left out by the clean-up", {str(i): line for i, line in enumerate(dropped, 1)})
    _print_bars("motion energy by joint (root, mm)", energy)


def _print_dataset(summary: Mapping[str, Any], manifest: Mapping[str, Any]) -> None:
    facts(summary["title"], {k.replace("_", " "): v for k, v in summary["facts"].items()})
    table = Table(title="splits", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for column in ("protocol", "train", "test", "unassigned"):
        table.add_column(column, justify="left" if column == "protocol" else "right")
    for name, counts in summary["protocols"].items():
        table.add_row(name, *(f"{counts[k]:,}" for k in ("train", "test", "unassigned")))
    console.print(table)
    _print_bars("clip lengths (frames)", summary["lengths"])
    _print_bars("bodies in a clip", summary["bodies"])
    _print_bars("classes", summary["classes"])
    _print_rejects(manifest)


def _print_bars(title: str, values: Mapping[str, float], width: int = 40) -> None:
    table = Table(title=title, title_justify="left", box=None, show_header=False, padding=(0, 2, 0, 0))
    top = max([*values.values(), 1e-9])
    for key, value in values.items():
        bar = "█" * int(np.ceil(width * value / top)) if value else ""
        table.add_row(escape(key), f"{value:,}", f"[cyan]{bar}[/]")
    console.print(table)


@main.command("synth")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--dataset", help=f"Whose raw layout: {', '.join(n for n in spec_names() if n != 'nw-ucla')}.")
@click.option("--spec", type=click.Path(path_type=Path), help="Your own dataset spec in YAML, in place of --dataset.")
@click.option("--classes", type=int, help="How many of its classes; all by default.")
@click.option("--subjects", default=8, show_default=True, help="People, half from each side of xsub.")
@click.option("--replications", default=2, show_default=True, help="How often each does each action.")
@click.option("--broken", default=6, show_default=True, help="Damaged files beside the good ones.")
@click.option("--seed", default=0, show_default=True)
@click.option("--workers", type=int, help="Processes; all cores by default.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@guarded
def synth_command(out: Path, dataset: str | None, spec: Path | None, as_json: bool, **options: Any) -> None:
    """Write synthetic raw files into the folder OUT. Invented motion, for trying things out, never to be shown as real data.

    \b
    amr-data synth raw/ --dataset ntu60 --classes 12
    amr-data synth raw2/ --dataset pku-mmd-2 --subjects 4
    """
    with progress_bar("synthesising", quiet=as_json, counted=True) as bar:
        report = synthesize(out, _spec(dataset, spec), progress=lambda done, total: bar(done, total, ""), **options)
    if as_json:
        click.echo(json.dumps({**vars(report), "path": str(out)}))
        return
    facts(
        f"synthetic raw files → {out}",
        {
            "files": report.files,
            "labelled clips": report.clips,
            "damaged on purpose": ", ".join(report.broken) or "none",
        },
    )
