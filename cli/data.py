"""amr-data: convert, spec, verify, inspect, export, synth."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from amr_cli.families import FamilyCommand, dataset_or_spec
from amr_cli.look import inspect_command, serve_command
from amr_cli.show import print_findings, print_report
from amr_cli.spec import spec_command
from amr_cli.terminal import Commands
from amr_cli.ui import (
    ANEW,
    EXIT_FAILED,
    GOES_ON,
    complain,
    facts,
    guarded,
    guarded_saying,
    progress_bar,
    say,
    tell,
)
from amr_data import __version__, convert, open_dataset, spec_names
from amr_data.conversion import Progress
from amr_data.errors import UsageError
from amr_data.recipes.normalize import RECIPES
from amr_data.repairing import repair
from amr_data.shards.exchange import export_dataset
from amr_data.shards.verification import verify
from amr_data.shards.writer import COMPRESSIONS
from amr_data.synth import synthesize
from amr_data.workers import BACKENDS

NAMES = {"name", "no_label", "unknown_class"}
"""Reasons that concern names and labels alone."""
UNLABELLED_HINT = "--unlabelled takes files of any name, as clips without a label"
DATASETS = ", ".join(spec_names())
SYNTHESISED = ("ntu60", "ntu120", "pku-mmd-1", "pku-mmd-2")
"""Built-in datasets whose raw layout `synth` writes."""


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="amr-data")
def main() -> None:
    """Raw skeleton files to normalised shards with motion statistics, and a look at them.

    \b
    amr-data convert nturgbd_skeletons_s001_to_s017.zip ntu60/
    amr-data inspect ntu60/
    amr-data inspect ntu60/ --clip S001C001P001R001A001 --png clip.png
    """


def _spec(dataset: str | None, spec: Path | None) -> str:
    if (dataset is None) == (spec is None):
        raise UsageError(f"give --dataset NAME ({', '.join(SYNTHESISED)}) or --spec FILE.yaml, one of them")
    return str(spec) if spec else str(dataset)


@main.command("convert", cls=FamilyCommand, short_help="Convert raw files to a dataset folder.")
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--dataset", help=f"Built-in dataset: {DATASETS}; recognised from the files by default.")
@click.option(
    "--spec", type=click.Path(path_type=Path), help="Your own dataset spec in YAML, in place of --dataset."
)
@click.option(
    "--recipe", help=f"Clean-up: {', '.join(RECIPES)}; amr by default, none for other projects' files."
)
@click.option(
    "--rotate",
    is_flag=True,
    help="Turn each clip into the main actor's body frame (spine along z, shoulders along x).",
)
@click.option("--scale", is_flag=True, help="Scale each clip by the main actor's spine length.")
@click.option(
    "--unlabelled",
    is_flag=True,
    help="Take files of any name, as clips without a label.",
)
@click.option(
    "--keep",
    help="What to keep besides the clips: recordings, whole, with the intervals that their labels name.",
)
@click.option("--workers", type=int, help="Number of worker processes; all cores by default.")
@click.option(
    "--backend",
    default="processes",
    show_default=True,
    help=f"Where the work is done: {', '.join(BACKENDS)}.",
)
@click.option(
    "--scheduler", help="Address of a running Dask scheduler, tcp://HOST:PORT, with --backend dask."
)
@click.option(
    "--compression",
    default="none",
    show_default=True,
    help=f"Compression of the shards: {', '.join(COMPRESSIONS)}.",
)
@click.option("--overwrite", is_flag=True, help="Replace a dataset made from other sources or settings.")
@click.option(
    "--strict",
    is_flag=True,
    help="Fail (exit code 1) if any file is rejected that the dataset does not list as unusable.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@guarded_saying(f"finished shards are kept; {GOES_ON}")
def convert_command(
    sources: tuple[Path, ...],
    out: Path,
    dataset: str | None,
    spec: Path | None,
    recipe: str | None,
    rotate: bool,
    scale: bool,
    strict: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Convert raw files to a dataset folder OUT: folders, .zip or .7z files as they are distributed, single
    files, PYSKL pickles, or .npz files.

    The dataset is recognised from the files' names and content. If a conversion is stopped, the same command
    continues it.

    \b
    amr-data convert nturgbd_skeletons_s001_to_s017.zip ntu60/
    amr-data convert s001_to_s017.zip s018_to_s032.zip ntu120/ --dataset ntu120
    amr-data convert Skeleton.7z Label_PKUMMD.7z pku1/ --recipe ctrgcn
    amr-data convert Skeleton.7z Label_PKUMMD.7z pku1/ --keep recordings
    amr-data convert ntu60_3danno.pkl ntu60/ --dataset ntu60
    amr-data convert my-recordings/ mine/ --spec mine.yaml
    """
    what = dataset_or_spec(dataset, spec)
    with _counted_bar("converting", as_json) as progress:
        report = convert(
            sources,
            out,
            what,
            recipe=recipe,
            rotate=rotate,
            scale=scale,
            progress=progress,
            **settings,
        )
    print_report(report, as_json)
    if not report.manifest["totals"]["clips"]:
        rows = f"{report.manifest['totals']['sources']:,} files or rows"
        complain("error", f"no clip came out of {rows}; see {out}/rejects.jsonl")
        if NAMES & set(report.manifest["rejects_by_reason"]):
            tell(UNLABELLED_HINT)
        sys.exit(EXIT_FAILED)
    if strict and report.damaged:
        complain(
            "error", f"--strict: {report.damaged:,} files or rows were rejected; see {out}/rejects.jsonl"
        )
        sys.exit(EXIT_FAILED)


@contextmanager
def _counted_bar(title: str, quiet: bool) -> Iterator[Progress]:
    clips = 0
    with progress_bar(title, quiet=quiet) as bar:

        def progress(done: int, total: int, record: dict[str, Any]) -> None:
            nonlocal clips
            clips += record["clips"]
            bar(done, total, f"{clips:,} clips")

        yield progress


@main.command("verify")
@click.argument("dataset_dir", type=click.Path(path_type=Path))
@click.option(
    "--repair",
    "sources",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Raw source to rebuild broken shards from; may be repeated.",
)
@click.option("--workers", type=int, help="Processes for the repair; all cores by default.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@guarded_saying(f"shards that --repair has rebuilt are kept; {ANEW}, and rebuilds only the others")
def verify_command(dataset_dir: Path, sources: tuple[Path, ...], workers: int | None, as_json: bool) -> None:
    """Check a dataset: files, structure, checksums, ranges, counts. Exit code 1 if anything is wrong.

    \b
    amr-data verify ntu60/
    amr-data verify ntu60/ --repair nturgbd_skeletons_s001_to_s017.zip
    """
    if workers is not None and not sources:
        raise UsageError("--workers belongs to --repair")
    if sources:
        with _counted_bar("repairing", as_json) as progress:
            report = repair(dataset_dir, sources, workers, progress)
        rebuilt = len(report.manifest["shards"]) - report.kept_shards
        if not as_json:
            say(f"rebuilt {rebuilt:,} of {len(report.manifest['shards']):,} shards")
    with progress_bar("verifying", quiet=as_json, counted=True) as bar:
        findings = verify(dataset_dir, lambda done, total: bar(done, total, ""))
    if as_json:
        done = {"rebuilt_shards": rebuilt} if sources else {}
        found = [finding.as_dict() for finding in findings]
        click.echo(json.dumps({"path": str(dataset_dir), **done, "sound": not findings, "findings": found}))
    else:
        print_findings(dataset_dir, findings)
    if findings:
        sys.exit(EXIT_FAILED)


def _renamed_to_split(context: click.Context, option: click.Parameter, value: str | None) -> None:
    if value is not None:
        raise click.UsageError(
            "--protocol is now --split: --protocol is how an encoder is judged, see amr-train eval", context
        )


@main.command("export")
@click.argument("dataset_dir", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    required=True,
    help="pyskl (annotation pickle), npz (CTR-GCN, MAMP) or csv; of kept recordings: recordings (.csv) or "
    "intervals (.csv, .json).",
)
@click.option("--split", help="npz: whose train and test parts.")
@click.option("--protocol", hidden=True, expose_value=False, callback=_renamed_to_split)
@click.option("--frames", type=int, help="npz: frames of every clip; 300 by default.")
@click.option(
    "--copy-single-body",
    is_flag=True,
    help="npz: fill the second body of one-person clips with the first, as NTU-120 files do.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@guarded
def export_command(dataset_dir: Path, out: Path, form: str, as_json: bool, **options: Any) -> None:
    """Write a dataset as a file that other projects load.

    \b
    amr-data export ntu60/ ntu60_3danno.pkl --format pyskl
    amr-data export ntu60/ NTU60_CS.npz --format npz --split xsub
    amr-data export pku1/ true.json --format intervals
    """
    with progress_bar("exporting", quiet=as_json, counted=True) as bar:
        clips = export_dataset(
            open_dataset(dataset_dir), out, form, progress=lambda done, total: bar(done, total, ""), **options
        )
    size = out.stat().st_size
    what = form if form in ("recordings", "intervals") else "clips"
    if as_json:
        click.echo(json.dumps({"file": str(out), "format": form, what: clips, "bytes": size}))
        return
    facts(f"{dataset_dir} → {out}", {"format": form, what: clips, "size": f"{size / 1e6:,.1f} MB"})


@main.command("synth")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--dataset", help=f"Whose raw layout: {', '.join(SYNTHESISED)}.")
@click.option(
    "--spec", type=click.Path(path_type=Path), help="Your own dataset spec in YAML, in place of --dataset."
)
@click.option("--classes", type=int, help="How many of its classes; all by default.")
@click.option("--subjects", default=8, show_default=True, help="People, half from each side of xsub.")
@click.option("--replications", default=2, show_default=True, help="How often each does each action.")
@click.option("--broken", default=6, show_default=True, help="Damaged files beside the good ones.")
@click.option("--seed", default=0, show_default=True)
@click.option("--workers", type=int, help="Number of worker processes; all cores by default.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@guarded_saying("files that were written stay in OUT: remove the folder, then the same command starts anew")
def synth_command(out: Path, dataset: str | None, spec: Path | None, as_json: bool, **options: Any) -> None:
    """Write synthetic raw files into the folder OUT. Invented motion, for trying things out, never to be
    shown as real data.

    \b
    amr-data synth raw/ --dataset ntu60 --classes 12
    amr-data synth raw2/ --dataset pku-mmd-2 --subjects 4
    """
    with progress_bar("synthesising", quiet=as_json, counted=True) as bar:
        report = synthesize(
            out, _spec(dataset, spec), progress=lambda done, total: bar(done, total, ""), **options
        )
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


main.add_command(spec_command)
main.add_command(inspect_command)
main.add_command(serve_command)
