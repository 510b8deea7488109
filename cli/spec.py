"""amr-data spec: built-in descriptions of datasets to begin from, and what a description makes of files."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from amr_cli.families import FamilyCommand
from amr_cli.show import print_splits
from amr_cli.terminal import table
from amr_cli.ui import EXIT_FAILED, complain, console, facts, guarded, note
from amr_data.errors import UsageError
from amr_data.looking.understanding import describe
from amr_data.looking.units import UNITS
from amr_data.readers import open_sources
from amr_data.specs import load_skeleton, load_spec, skeleton_names, spec_names, spec_text


@click.command(
    "spec", cls=FamilyCommand, short_help="Print a built-in dataset or skeleton, or check a spec of yours."
)
@click.argument("words", nargs=-1, metavar="[NAME] | --check SPEC SOURCES...")
@click.option(
    "--check", metavar="SPEC", help="Say what SPEC, a YAML file or a built-in name, makes of the SOURCES."
)
@click.option("--unlabelled", is_flag=True, help="--check: take files of any name, without labels.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@guarded
def spec_command(
    words: tuple[str, ...], check: str | None, unlabelled: bool, as_json: bool, options: dict[str, Any]
) -> None:
    """Print a built-in dataset or skeleton to begin a spec of your own from, list them all, or check one.

    A check reads the first files and says what was understood: shapes, unit, height of the people, joints by
    name, classes, sizes of the splits, and names that do not match. Nothing is written.

    \b
    amr-data spec
    amr-data spec utd-mhad > mine.yaml
    amr-data spec --check mine.yaml recordings/
    """
    if check is None:
        if options:
            raise UsageError(f"--{next(iter(options)).replace('_', '-')} belongs to --check SPEC SOURCES")
        if len(words) > 1:
            raise UsageError("name one dataset or skeleton, or give --check SPEC SOURCES")
        _print_text(words[0], as_json) if words else _list(as_json)
        return
    if not words:
        raise UsageError("--check SPEC needs the files: amr-data spec --check mine.yaml recordings/")
    spec = load_spec(check)
    spec = spec.unlabelled() if unlabelled else spec
    with TemporaryDirectory() as scratch, open_sources([Path(w) for w in words], Path(scratch)) as source:
        found = describe(spec, source, options)
    if as_json:
        click.echo(json.dumps(found))
    else:
        _print_check(f"{spec.title} in {', '.join(words)}", found)
    if not found["clips_read"]:
        complain("error", "none of the files that were read became a clip")
        sys.exit(EXIT_FAILED)


def _print_text(name: str, as_json: bool) -> None:
    if name in skeleton_names():
        text, value = spec_text(name, "skeletons"), load_skeleton(name).model_dump(mode="json")
    else:
        text, value = spec_text(name), load_spec(name).model_dump(mode="json")
    click.echo(json.dumps(value) if as_json else text, nl=as_json)


def _list(as_json: bool) -> None:
    specs = [load_spec(name) for name in spec_names()]
    skeletons = [load_skeleton(name) for name in skeleton_names()]
    if as_json:
        datasets = [
            {
                "name": s.name,
                "title": s.title,
                "raw": s.raw,
                "skeleton": s.skeleton.name,
                "classes": len(s.classes),
                "splits": list(s.protocols),
            }
            for s in specs
        ]
        bodies = [{"name": s.name, "joints": len(s.joints)} for s in skeletons]
        click.echo(json.dumps({"datasets": datasets, "skeletons": bodies}))
        return
    lines = table("datasets")
    for column in ("name", "title", "family", "skeleton", "classes", "splits"):
        lines.add_column(column, justify="right" if column == "classes" else "left", overflow="fold")
    for s in specs:
        lines.add_row(
            s.name, s.title, s.raw, s.skeleton.name, str(len(s.classes)), ", ".join(s.protocols) or "none"
        )
    console.print(lines)
    bodies_table = table("skeletons")
    for column in ("name", "joints"):
        bodies_table.add_column(column, justify="right" if column == "joints" else "left")
    for body in skeletons:
        bodies_table.add_row(body.name, str(len(body.joints)))
    console.print(bodies_table)


def _print_check(title: str, found: Mapping[str, Any]) -> None:
    height = found["height_m"]
    read = "" if found["complete"] else f", the first {found['units_read']:,} were read"
    facts(
        title,
        {
            "files": f"{found['files']:,}{read}",
            "clips read": found["clips_read"],
            "unit": found["unit"],
            **(
                {
                    "height": f"{height['least']:.2f} / {height['median']:.2f} / {height['most']:.2f} m "
                    f"(least, median, most; {height['measured']})"
                }
                if height
                else {}
            ),
            "subjects": ", ".join(f"{k} ({n:,})" for k, n in found["subjects"].items()) or "not said",
            "cameras": ", ".join(f"{k} ({n:,})" for k, n in found["cameras"].items()) or "not said",
        },
    )
    _table(
        "clips",
        ("name", "label", "frames", "bodies"),
        [(c["name"], c["label"] or "no label", c["frames"], c["bodies"]) for c in found["clips"]],
    )
    axes = ("joint", "x", "y", "z")
    joints = next(found[f"joints_{unit}"] for unit in UNITS if f"joints_{unit}" in found)
    rows = [(name, *(f"{v:+.2f}" for v in at)) for name, at in joints.items()]
    _table("joints, mean position from the centre joint (x to the side, y up, z away)", axes, rows)
    _table("classes", ("class", "clips"), list(found["classes"].items()))
    print_splits(found["splits"])
    rejects = [
        (k, r["count"], f"{r['first']['where']}: {r['first']['detail']}") for k, r in found["rejects"].items()
    ]
    _table("rejected", ("reason", "files or rows", "for example"), rejects)
    for warning in found["warnings"]:
        note("look", warning)


def _table(title: str, columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    if not rows:
        return
    lines = table(title)
    for number, column in enumerate(columns):
        right = all(isinstance(row[number], int) or str(row[number])[:1] in "+-" for row in rows)
        lines.add_column(column, justify="right" if right else "left", overflow="fold")
    for row in rows:
        lines.add_row(*(f"{v:,}" if isinstance(v, int) else str(v) for v in row))
    console.print(lines)
