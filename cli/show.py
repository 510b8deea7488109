"""How amr-data shows what its functions return."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.markup import escape
from rich.table import Table

from amr_cli.ui import console, facts
from amr_data import ShardDataset
from amr_data.conversion import ConvertReport
from amr_data.errors import REASONS
from amr_data.shards.reader import read_rejects

INVENTED = "invented motion, never to be shown as real data"


def print_report(report: ConvertReport, as_json: bool) -> None:
    """The closing summary of a conversion or, as JSON, all of it."""
    summary = report.as_dict()
    if as_json:
        click.echo(json.dumps(summary))
        return
    kept = f" ({report.kept_shards} were finished before)" if report.kept_shards else ""
    speed = f", {summary['megabytes_per_second']:,.0f} MB/s" if summary["megabytes_per_second"] else ""
    recipe = summary["recipe"]
    facts(
        f"{summary['dataset']} → {report.path}",
        {
            **({"taken for": report.recognised.told} if report.recognised else {}),
            **({"synthetic": INVENTED} if summary["synthetic"] else {}),
            "recipe": ", ".join([recipe["name"], *(k for k in ("rotate", "scale") if recipe[k])]),
            "source files": summary["sources"],
            "clips": summary["clips"],
            "bodies": summary["bodies"],
            "frames": f"{summary['clip_frames']:,} of clips, {summary['frames']:,} of bodies",
            "classes seen": summary["classes"],
            **({"without a label": summary["unlabelled"]} if summary["unlabelled"] else {}),
            "rejects": summary["rejects"],
            "shards": f"{summary['shards']:,}{kept}",
            "time": f"{report.seconds:.1f} s for {summary['source_megabytes']:,.0f} MB{speed}",
        },
    )
    print_splits(report.manifest["protocol_counts"])
    print_rejects(report.path, report.manifest)


def print_splits(splits: Mapping[str, Mapping[str, int]]) -> None:
    """The number of clips in each part of each split."""
    if not splits:
        return
    parts = [p for p in ("train", "test", "validation", "unassigned") if any(p in s for s in splits.values())]
    table = Table(title="splits", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for column in ("split", *parts):
        table.add_column(column, justify="left" if column == "split" else "right")
    for name, counts in splits.items():
        table.add_row(escape(name), *(f"{counts[k]:,}" if k in counts else "" for k in parts))
    console.print(table)


def print_rejects(path: Path, manifest: Mapping[str, Any]) -> None:
    """Each reason with its number, its meaning and one example."""
    if not manifest["rejects_by_reason"]:
        return
    examples: dict[str, str] = {}
    for reject in read_rejects(path):
        examples.setdefault(reject["reason"], f"{reject['source']}: {reject['detail']}")
    table = Table(
        title="rejects by reason (all of them in rejects.jsonl)",
        title_justify="left",
        box=None,
        padding=(0, 2, 0, 0),
    )
    for column in ("reason", "files or rows", "meaning", "for example"):
        table.add_column(column, overflow="fold")
    for reason, count in manifest["rejects_by_reason"].items():
        table.add_row(reason, f"{count:,}", REASONS[reason], escape(examples.get(reason, "")))
    console.print(table)


def print_dataset(summary: Mapping[str, Any], dataset: ShardDataset) -> None:
    """Facts, splits, lengths, bodies, classes and rejects."""
    facts(summary["title"], {k.replace("_", " "): v for k, v in summary["facts"].items()})
    print_splits(summary["protocols"])
    print_bars("clip lengths (frames)", summary["lengths"])
    print_bars("bodies in a clip", summary["bodies"])
    print_bars("classes", summary["classes"])
    print_bars("motion energy by class (root, mm)", summary["class_energy"])
    print_rejects(dataset.path, dataset.manifest)


def print_bars(title: str, values: Mapping[str, float], width: int = 40) -> None:
    """Named numbers as bars."""
    table = Table(title=title, title_justify="left", box=None, show_header=False, padding=(0, 2, 0, 0))
    top = max([*values.values(), 1e-9])
    for key, value in values.items():
        bar = "█" * int(np.ceil(width * value / top)) if value else ""
        table.add_row(escape(key), f"{value:,}", f"[cyan]{bar}[/]")
    console.print(table)


def print_faults(faults: Sequence[Mapping[str, Any]], clips: int, most: int = 20) -> None:
    """Suspicious clips, the worst first."""
    if not faults:
        console.print("suspicious clips: none")
        return
    count = len({fault["clip"] for fault in faults})
    title = f"suspicious clips: {count:,} of {clips:,}" + (
        f", the worst {most} reasons" if len(faults) > most else ""
    )
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for column in ("clip", "fault", "times the limit", "frame", "what was found"):
        table.add_column(
            column, justify="right" if column in ("times the limit", "frame") else "left", overflow="fold"
        )
    for fault in faults[:most]:
        frame = "" if fault["frame"] < 0 else str(fault["frame"])
        table.add_row(
            escape(fault["clip"]), fault["kind"], f"{fault['severity']:.1f}", frame, escape(fault["detail"])
        )
    console.print(table)
    kinds = Counter(fault["kind"] for fault in faults)
    print_bars("clips by fault", dict(kinds.most_common()))
