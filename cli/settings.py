"""amr-train: show and list; the settings that one can see, and what is shipped."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from amr_cli.terminal import styled, table
from amr_cli.ui import console, guarded, say

if TYPE_CHECKING:
    from amr_train.experiments.stages import Stage

Shown = dict[str, dict[str, Any]]
PLACES = ("name", "description", "seed", "data.path")
"""Settings in which a suite's stages differ because they are stages."""


@click.command("show", short_help="Print the settings of an experiment, and where each came from.")
@click.argument("experiment")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--json", "as_json", is_flag=True, help="Print {key: {value, origin}} as JSON.")
@guarded
def show_command(experiment: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """Print the settings of EXPERIMENT, and where each came from: its data set, method, scale, file, an
    override, or the default. Of a suite: its stages, and in what they differ.

    \b
    amr-train show ntu60-xsub-amr
    amr-train show nw-ucla-mamp mask.tau=0.7 --json
    amr-train show suite/nw-ucla
    """
    from amr_train.experiments.loading import resolve
    from amr_train.experiments.settings import flat
    from amr_train.experiments.stages import stages_of
    from amr_train.experiments.suites import is_suite, load_suite

    if is_suite(experiment):
        suite = load_suite(experiment)
        stages = stages_of(suite, {}, Path("runs"), overrides)
        _show_suite(suite.name, suite.description, stages, as_json)
        return
    found = resolve(experiment, overrides)
    values = flat(found.experiment.model_dump(mode="json"))
    shown = {key: {"value": value, "origin": found.origins[key]} for key, value in values.items()}
    if as_json:
        click.echo(json.dumps(shown))
        return
    lines = table(header=False)
    for style in ("", "", "dim"):
        lines.add_column(style=style, overflow="fold")
    section = ""
    for key, setting in sorted(shown.items(), key=lambda item: "." in item[0]):
        *sections, last = key.split(".")
        if ".".join(sections) != section:
            section = ".".join(sections)
            lines.add_row()
            lines.add_row(styled((section, "bold")))
        style = "dim" if setting["origin"] == "default" else ""
        lines.add_row(f"  {last}", _spelt(setting["value"]), setting["origin"], style=style)
    console.print(lines)


@click.command("list", short_help="List experiments, suites, scales, methods and protocols.")
@click.option("--json", "as_json", is_flag=True, help="Print the lists as JSON.")
@guarded
def list_command(as_json: bool) -> None:
    """List what is shipped: experiments (every data set with every method), suites, scales, methods and
    protocols.

    \b
    amr-train list
    amr-train list --json
    """
    from amr_data.extensions import extension_names
    from amr_train import experiment_names, load_experiment
    from amr_train.evaluation.protocols import protocol_names
    from amr_train.experiments.loading import method_names, scale_names
    from amr_train.experiments.suites import load_suite, suite_names
    from amr_train.models.registry import GROUP

    experiments = [load_experiment(name) for name in experiment_names()]
    suites = [load_suite(name) for name in suite_names()]
    lists: dict[str, Any] = {
        "experiments": [
            {
                "experiment": e.name,
                "dataset": e.data.dataset or "any",
                "split": e.data.split,
                "encoder_layers": e.model.encoder_layers,
                "decoder_layers": e.model.decoder_layers,
                "width": e.model.width,
                "epochs": e.pretrain.epochs,
            }
            for e in experiments
        ],
        "suites": [{"suite": s.name, "seeds": s.seeds, "description": s.description} for s in suites],
        "scales": ["full", *scale_names()],
        "methods": [
            {
                "method": e.method,
                "decoder": e.model.decoder,
                "mask": e.mask.by,
                "target": e.target.kind,
                "normalize": e.target.normalize,
                "focal": e.guidance.focal,
            }
            for e in (load_experiment("demo", [f"method={name}"]) for name in method_names())
        ]
        + [{"method": name} for name in extension_names(GROUP)],
        "protocols": protocol_names(),
    }
    if as_json:
        click.echo(json.dumps(lists))
        return
    for name, rows in lists.items():
        say((name, "bold"))
        if isinstance(rows[0], str):
            say("  " + ", ".join(rows))
        else:
            _print_rows(rows)
        console.print()


def _print_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    lines = table(header_style="dim")
    rows = [_in_words(row) for row in rows]
    for place, heading in enumerate(rows[0]):
        lines.add_column(f"  {heading}" if not place else heading, no_wrap=heading != "description")
    for row in rows:
        first, *others = (_spelt(value) for value in row.values())
        lines.add_row(f"  {first}", *others)
    console.print(lines)


def _in_words(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of a list for people, who read layers in one column, and what is predicted in one."""
    joined = dict(row)
    if "encoder_layers" in row:
        joined["encoder_layers"] = f"{row['encoder_layers']}+{joined.pop('decoder_layers')}"
    if "normalize" in row:
        joined["target"] = f"{row['target']}, {joined.pop('normalize')}"
    return {key.replace("encoder_layers", "layers"): value for key, value in joined.items()}


def _show_suite(name: str, description: str, stages: Sequence[Stage], as_json: bool) -> None:
    from amr_train.experiments.settings import flat

    runs = [stage for stage in stages if not stage.transfer]
    values = [flat(run.experiment.model_dump(mode="json")) for run in runs]
    keys = [k for k in values[0] if k not in PLACES and any(v.get(k) != values[0][k] for v in values)]
    rows: list[dict[str, Any]] = [
        {
            "stage": run.name,
            "seed": run.seed,
            "folder": str(run.folder),
            "settings": {key: {"value": v.get(key), "origin": run.origins.get(key, "")} for key in keys},
        }
        for run, v in zip(runs, values, strict=True)
    ]
    seeds = list(dict.fromkeys(run.seed for run in runs))
    moved = {s.name: list(s.transfer.protocols) for s in stages if s.transfer}
    if as_json:
        click.echo(json.dumps({"suite": name, "seeds": seeds, "stages": rows, "transfers": moved}))
        return
    say((name, "bold"), f": {len(stages)} stages, seeds {', '.join(map(str, seeds))}")
    if description:
        console.print(" ".join(description.split()))
    for row in {row["stage"]: row for row in rows}.values():
        console.print()
        say((row["stage"], "bold"))
        lines = table(header=False)
        for style in ("", "", "dim"):
            lines.add_column(style=style, overflow="fold")
        for key, setting in row["settings"].items():
            lines.add_row(f"  {key}", _spelt(setting["value"]), setting["origin"])
        console.print(lines)
    for transfer, protocols in moved.items():
        console.print()
        say((transfer, "bold"), f": {', '.join(protocols)}")


def _spelt(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_spelt, value)) or "none"
    return "none" if value in (None, {}, "") else " ".join(str(value).split())
