"""Results for the terminal: what a run or an evaluation found, with what must stand beside every figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from amr_cli.terminal import shown, styled, table
from amr_cli.ui import console, facts

SUBJECTS = {
    "untrained": "untrained",
    "coordinates": "coordinates",
    "encoder": "pre-trained",
    "fused": "fused",
}
WIDEST = 6
"""Columns of figures that fit 80 characters."""


def print_subjects(records: Sequence[Mapping[str, Any]], title: str) -> None:
    """A row for each subject, a column for each figure of the encoder. Where a baseline has figures of its
    own, such as positions and motion in place of mean and joints, the cell says which."""
    for number, columns in enumerate(_tables(records)):
        lines = _lines(title if number == 0 else "", "encoder")
        for name in columns:
            lines.add_column(Text("\n".join(map(shown, name.split(" ", 1)))), justify="right")
        for kind, called in SUBJECTS.items():
            mine = {r["protocol"]: r for r in records if r["subject"]["kind"] == kind}
            if mine:
                cells = (
                    _cell(mine.get(protocol), name, place) for name, (protocol, place) in columns.items()
                )
                lines.add_row(called, *cells)
        console.print(lines)


def print_figures(records: Sequence[Mapping[str, Any]], title: str) -> None:
    """A row for each figure of each subject, with what its features cost and the settings that matter beside
    it."""
    lines = _lines(title, "subject", "figure")
    for heading in ("%", "GFLOPs"):
        lines.add_column(heading, justify="right", no_wrap=True)
    lines.add_column("settings", style="dim", overflow="fold")
    before = None
    for kind, subject in SUBJECTS.items():
        for record in (r for r in records if r["subject"]["kind"] == kind):
            name = "encoder" if kind == "encoder" else subject
            cost = _gflops(record)
            for number, (figure, value) in enumerate(record["figures"].items()):
                beside = (cost, record["spoken"]) if number == 0 else ("", "")
                lines.add_row("" if before == kind else name, figure, f"{value:.1f}", *beside)
                before = kind
    console.print(lines)


def as_values(record: Mapping[str, Any]) -> dict[str, Any]:
    """A result for scripts: figures under a key with their unit, settings as values and not in words."""
    kept = {key: value for key, value in record.items() if key not in ("figures", "spoken")}
    return {**kept, "figures_percent": dict(record["figures"])}


def data_in_words(record: Mapping[str, Any]) -> str:
    """Dataset and split of a result, and whether its clips are real."""
    data = record["data"]
    place = f"{data['dataset']} {record['split']}{held_out_in_words(record)}"
    return place + (", synthetic" if data["synthetic"] else "")


def held_out_in_words(record: Mapping[str, Any]) -> str:
    """Whether a figure is of held-out training clips, to be put behind what it was judged on."""
    part = record.get("part", "test")
    if part == "test":
        return ""
    which = "each training subject by the others" if part == "subjects" else "validation part"
    return f", {which}" + (" (seen without labels in pre-training)" if record.get("seen") else "")


def clips_in_words(record: Mapping[str, Any]) -> str:
    """How many clips a result stands on."""
    part = record.get("part", "test")
    if part == "subjects":
        return f"{record['clips'][part]:,} train"
    return f"{record['clips']['train']:,} train, {record['clips'][part]:,} {part}"


def print_run(results: Mapping[str, Any], folder: object) -> None:
    """What a run found, in one table, and the facts that belong to it."""
    records: Sequence[Mapping[str, Any]] = results["evaluations"]
    notes = [f"scale {results['scale']}"] if results["scale"] != "full" else []
    for place, found in _by_place(records).items():
        said = ["synthetic", *notes] if found[0]["data"]["synthetic"] else notes
        title = f"{results['experiment']}: top-1 on {place}{held_out_in_words(found[0])}, %"
        print_subjects(found, title + "".join(f", {note}" for note in said))
    rows: dict[str, Any] = {}
    mine = [record for record in records if record["subject"]["kind"] == "encoder"]
    training = results["pretraining"] or {}
    if mine:
        clips = {place: clips_in_words(found[0]) for place, found in _by_place(mine).items()}
        several = len(clips) > 1
        rows |= {f"clips of {p}" if several else "clips": words for p, words in clips.items()}
        decoder = training.get("decoder_parameters", 0)
        rows["parameters"] = f"{mine[0]['subject']['parameters']:,} encoder, {decoder:,} decoder"
    rows["features"] = cost_in_words(results)
    if training:
        loss = f", last loss {training['loss']:.4f}" if "loss" in training else ""
        rows["pre-training"] = f"{training['seconds']:.0f} s, {training['steps']:,} steps{loss}"
    rows |= {record["protocol"]: record["spoken"] for record in mine if record["spoken"]}
    facts(f"run → {folder}", rows)


def _by_place(records: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Results by the dataset and the split that they are of."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for record in records:
        found.setdefault(f"{record['data']['dataset']} {record['split']}", []).append(record)
    return found


def cost_in_words(results: Mapping[str, Any]) -> str:
    """`28.1 GFLOPs a clip, 14.0 a body`."""
    from amr_train.models.flops import gflops_in_words

    body, clip = results["body_gflops"], results["clip_gflops"]
    if clip in (None, body):
        return f"{gflops_in_words(body)} GFLOPs a body"
    return f"{gflops_in_words(clip)} GFLOPs a clip, {gflops_in_words(body)} a body"


def _gflops(record: Mapping[str, Any]) -> str:
    """Those of a clip, as the tables of reports have them; of one body where nobody knows how many a clip
    has."""
    from amr_train.models.flops import gflops_in_words
    from amr_train.report.costs import bodies_of, gflops_of

    kept = dict(record)
    body, bodies = gflops_of(kept), bodies_of([kept])
    return gflops_in_words(body if body is None or bodies is None else body * bodies)


def _tables(records: Sequence[Mapping[str, Any]]) -> list[dict[str, tuple[str, int]]]:
    """The figures of the encoder by name, with their protocol and their place in it, as many as fit in each
    table; a protocol's stand together."""
    tables: list[dict[str, tuple[str, int]]] = [{}]
    for record in records:
        if record["subject"]["kind"] == "encoder":
            mine = {name: (record["protocol"], i) for i, name in enumerate(record["figures"])}
            if tables[-1] and len(tables[-1]) + len(mine) > WIDEST:
                tables.append({})
            tables[-1].update(mine)
    return tables


def _cell(record: Mapping[str, Any] | None, name: str, place: int) -> Text:
    figures = list(record["figures"].items()) if record else []
    if place >= len(figures):
        return Text()
    own, value = figures[place]
    number = Text(f"{value:.1f}")
    return number if own == name else number.append("\n").append(styled((own.rsplit(" ", 1)[-1], "dim")))


def _lines(title: str, *headings: str) -> Table:
    lines = table(title)
    for heading in headings:
        lines.add_column(heading, no_wrap=True)
    return lines
