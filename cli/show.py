"""How amr-data shows what its functions return."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.text import Text

from amr_cli.terminal import shown, styled, table
from amr_cli.ui import console, facts, say
from amr_data import Record, ShardDataset
from amr_data.conversion import ConvertReport
from amr_data.errors import REASONS
from amr_data.looking.faults import KINDS
from amr_data.looking.inspection import SIDES
from amr_data.looking.timeline import BOTH, FOUND, NAME_WIDTH, TRUE, timeline_lines
from amr_data.looking.words import (
    INVENTED,
    clip_rows,
    fault_in_words,
    joint_chart,
    recipe_in_words,
    recording_rows,
    summary_charts,
    summary_rows,
)
from amr_data.shards.reader import read_rejects


def print_report(report: ConvertReport, as_json: bool) -> None:
    """The closing summary of a conversion or, as JSON, all of it."""
    summary = report.as_dict()
    if as_json:
        click.echo(json.dumps(summary))
        return
    kept = f" ({report.kept_shards} were finished before)" if report.kept_shards else ""
    speed = f", {summary['megabytes_per_second']:,.0f} MB/s" if summary["megabytes_per_second"] else ""
    facts(
        f"{summary['dataset']} → {report.path}",
        {
            **({"taken for": report.recognised.told} if report.recognised else {}),
            **({"synthetic": INVENTED} if summary["synthetic"] else {}),
            "recipe": recipe_in_words(summary["recipe"]),
            "source files": summary["sources"],
            "clips": summary["clips"],
            "bodies": summary["bodies"],
            "frames": f"{summary['clip_frames']:,} of clips, {summary['frames']:,} of bodies",
            "classes seen": summary["classes"],
            **({"without a label": summary["unlabelled"]} if summary["unlabelled"] else {}),
            **(_kept(summary["recordings"]) if "recordings" in summary else {}),
            "rejects": summary["rejects"],
            "shards": f"{summary['shards']:,}{kept}",
            "time": f"{report.seconds:.1f} s for {summary['source_megabytes']:,.0f} MB{speed}",
        },
    )
    print_splits(report.manifest["protocol_counts"])
    print_rejects(report.path, report.manifest)


def _kept(counts: Mapping[str, int]) -> dict[str, str]:
    """What a conversion says of the recordings that it kept."""
    stored = f"{counts['frames']:,} frames, {counts['rows']:,} of bodies"
    return {"recordings": f"{counts['recordings']:,} of {stored}; {counts['intervals']:,} intervals"}


def print_recording(facts_of: Mapping[str, Any], timeline: bool) -> None:
    """Facts of one recording and, if asked for, its timeline."""
    facts(facts_of["name"], recording_rows(facts_of))
    if facts_of["dropped"]:
        facts("left out", {str(i): line for i, line in enumerate(facts_of["dropped"], 1)})
    if timeline:
        print_timeline(facts_of)


def print_timeline(facts_of: Mapping[str, Any]) -> None:
    """A row for each class: when it is true, and when it was found."""
    named = max((len(i["class"]) for i in (*facts_of["intervals"], *facts_of.get("found", ()))), default=0)
    left = min(named, NAME_WIDTH)
    for name, row in timeline_lines(facts_of, max(console.width - left - 3, 20)):
        console.print(Text(f"{shown(name):<{left}}  {row}"), no_wrap=True, overflow="crop")
    if "found" in facts_of:
        say(f"{TRUE} true   {FOUND} found   {BOTH} both")


def print_rejects(path: Path, manifest: Mapping[str, Any]) -> None:
    """Each reason with its number, its meaning and one example."""
    if not manifest["rejects_by_reason"]:
        return
    examples: dict[str, Record] = {}
    for reject in read_rejects(path):
        examples.setdefault(reject.kind, reject)
    lines = table("rejects by reason (all of them in rejects.jsonl)")
    lines.add_column("reason", no_wrap=True)
    lines.add_column("number", justify="right")
    lines.add_column("meaning, and an example", overflow="fold")
    for reason, count in manifest["rejects_by_reason"].items():
        lines.add_row(reason, f"{count:,}", REASONS.get(reason, ""))
        if reason in examples:
            lines.add_row("", "", styled((f"{examples[reason].where}: {examples[reason].detail}", "dim")))
    console.print(lines)


def print_findings(path: Path, findings: Sequence[Record]) -> None:
    """What `verify` found, and what to do about it."""
    if not findings:
        say(f"{path} is sound")
        return
    count = f"{len(findings):,} findings" if len(findings) > 1 else "1 finding"
    lines = table(f"{path}: {count}")
    for heading in ("file", "kind"):
        lines.add_column(heading, overflow="fold", min_width=len(heading))
    lines.add_column("what was found", overflow="fold")
    for finding in findings:
        lines.add_row(finding.where, finding.kind, finding.detail)
    console.print(lines)
    say("rebuild what is broken from the sources it was made from: `amr-data verify DIR --repair SOURCE`")


def print_dataset(summary: Mapping[str, Any], dataset: ShardDataset) -> None:
    """Facts, splits, lengths, bodies, classes and rejects."""
    facts(f"{summary['title']} ({summary['path']})", summary_rows(summary))
    print_splits(summary["protocols"])
    for title, values in summary_charts(summary).items():
        print_bars(title, values)
    print_rejects(dataset.path, dataset.manifest)


def print_splits(splits: Mapping[str, Mapping[str, int]]) -> None:
    """The number of clips in each part of each split."""
    if not splits:
        return
    lines = table("splits")
    lines.add_column("split", overflow="fold")
    parts = [p for p in SIDES.values() if any(p in counts for counts in splits.values())]
    for part in parts:
        lines.add_column(part, justify="right", no_wrap=True)
    for name, counts in splits.items():
        lines.add_row(name, *(f"{counts[part]:,}" if part in counts else "" for part in parts))
    console.print(lines)


MANY, AT_EACH_END = 30, 10
"""Bars beyond which the largest and the smallest are shown alone, so many of each."""


def print_bars(title: str, values: Mapping[str, float], width: int = 40) -> None:
    """Named numbers as bars; of many, the largest and the smallest."""
    if not values:
        return
    lines = table(title, header=False)
    lines.add_column(overflow="fold")
    lines.add_column(justify="right", no_wrap=True)
    lines.add_column(style="cyan", no_wrap=True)
    top = max([*values.values(), 1e-9])
    shown = list(values.items())
    if len(shown) > MANY:
        shown.sort(key=lambda pair: -pair[1])
    between = len(shown) - 2 * AT_EACH_END if len(shown) > MANY else 0
    for number, (key, value) in enumerate(shown):
        if between and number == AT_EACH_END:
            lines.add_row(styled((f"{between:,} between", "dim")), "", "")
        if not between or not AT_EACH_END <= number < AT_EACH_END + between:
            lines.add_row(key, f"{value:,}", "█" * int(np.ceil(width * value / top)) if value else "")
    console.print(lines)


def print_clip(shown: Mapping[str, Any]) -> None:
    """Facts of one clip and its motion by joint."""
    facts(shown["name"], clip_rows(shown))
    if shown["dropped"]:
        facts("left out by the clean-up", {str(i): line for i, line in enumerate(shown["dropped"], 1)})
    print_bars(*joint_chart(shown))


def print_clips(shown: Sequence[Mapping[str, Any]]) -> None:
    """A row for each clip."""
    lines = table(f"synthetic: {INVENTED}" if any(row["synthetic"] for row in shown) else "")
    lines.add_column("clip", overflow="fold")
    lines.add_column("class", overflow="fold")
    lines.add_column("frames", justify="right", no_wrap=True)
    lines.add_column("path of a joint", justify="right")
    lines.add_column("suspicious" if any("suspicious" in row for row in shown) else "", overflow="fold")
    for row in shown:
        rows = clip_rows(row)
        doubts = doubts_in_words([Record(**fault) for fault in row.get("suspicious", ())])
        lines.add_row(row["name"], rows["class"], rows["frames"], rows["path of a joint"], doubts)
    console.print(lines)


def print_faults(summary: Mapping[str, Any], faults: Sequence[Record], most: int = 20) -> None:
    """Suspicious clips, the worst first, and what was not looked for."""
    left_out = [kind for kind in KINDS if kind not in summary["fault_kinds"]]
    if left_out:
        say(f"not looked for in two dimensions: {', '.join(left_out)}")
    if not faults:
        say("suspicious clips: none")
        return
    count, clips = len({fault.where for fault in faults}), summary["facts"]["clips"]
    title = f"suspicious clips: {count:,} of {clips:,}" + (
        f", the worst {most} faults" if len(faults) > most else ""
    )
    lines = table(title)
    lines.add_column("clip", overflow="fold")
    lines.add_column("fault", overflow="fold")
    lines.add_column(Text("times the\nlimit"), justify="right", no_wrap=True)
    lines.add_column("frame", justify="right", no_wrap=True)
    lines.add_column("what was found", overflow="fold")
    for fault in faults[:most]:
        frame = "" if fault.frame is None else str(fault.frame)
        lines.add_row(fault.where, fault.kind, f"{fault.severity:.1f}", frame, fault_in_words(fault))
    console.print(lines)
    kinds = Counter(fault.kind for fault in faults)
    print_bars("clips by fault", dict(kinds.most_common()))


def doubts_in_words(faults: Sequence[Record]) -> str:
    """Faults as a remark on their clip."""
    places = ("" if fault.frame is None else f" at frame {fault.frame}" for fault in faults)
    return "; ".join(f"{f.kind}{place}: {fault_in_words(f)}" for f, place in zip(faults, places, strict=True))
