"""amr-data inspect --recording: one recording that was kept whole."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from amr_cli.show import print_recording
from amr_cli.ui import say
from amr_data import ShardDataset, UsageError

PICTURES = (".png", ".pdf", ".svg")
OF_CLIPS = ("clips", "class_name", "random", "worst", "raw", "run", "layer", "animate")


def check_recording(recording: str | None, options: Mapping[str, Any]) -> None:
    """Refuse options that do not go with what is shown. Raises: UsageError."""
    if recording is None:
        for name in ("timeline", "found"):
            if options[name]:
                raise UsageError(f"--{name} is of a recording: name it with --recording")
        return
    for name in OF_CLIPS:
        if options[name] not in (None, ()):
            said = {"clips": "clip", "class_name": "class"}.get(name, name)
            raise UsageError(f"--{said} is for clips: leave it or --recording out")


def show_recording(
    dataset: ShardDataset,
    recording: str,
    timeline: bool,
    found: Path | None,
    png: Path | None,
    html: Path | None,
    as_json: bool,
) -> None:
    """Facts of a recording, its timeline in the terminal or as a picture, and a page to look at it."""
    from amr_data.interval_files import read_intervals
    from amr_data.looking.recordings import find_recording, found_in, recording_facts

    if png and png.suffix.lower() not in PICTURES:
        raise UsageError(f"--png {png}: give a name that ends in {' or '.join(PICTURES)}")
    index = find_recording(dataset, recording)
    of_it = found_in(dataset, index, read_intervals(found)) if found else None
    facts = recording_facts(dataset, index, of_it)
    written: dict[str, str] = {}
    if png:
        from amr_data.viz.timeline import timeline_figure

        png.parent.mkdir(parents=True, exist_ok=True)
        timeline_figure(facts).savefig(png, dpi=130)
        written["picture"] = str(png)
    if html:
        from amr_data.files import write_text
        from amr_data.viz import viewer_page
        from amr_data.viz.recordings import recording_scene

        write_text(html, viewer_page([recording_scene(dataset, index, of_it)]))
        written["page"] = str(html)
    if as_json:
        click.echo(json.dumps({**facts, **written}))
        return
    print_recording(facts, timeline)
    for name, where in written.items():
        say(f"{name} → {where}")
