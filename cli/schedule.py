"""amr-train run --plan: stages, what is left of each, and when workers would do it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click
from rich.table import Table
from rich.text import Text

from amr_cli.terminal import table
from amr_cli.ui import console, say

if TYPE_CHECKING:
    from amr_train.experiments.planning import Planned
    from amr_train.experiments.schedule import Slot
    from amr_train.experiments.stages import Stage


def print_plan(name: str, stages: Sequence[Stage], as_json: bool, workers: str | None = None) -> None:
    """What would be done, how far it is, and about how long the rest takes here; for a suite also by one,
    two and eight workers. `workers` : of a suite, whose schedule is shown where they are more than one."""
    from amr_train.experiments.planning import in_words, plan
    from amr_train.experiments.schedule import COUNTS, estimated, schedule
    from amr_train.experiments.workers import places

    planned = plan(stages)
    slots: dict[int, list[Slot]] = {}
    if workers is not None:
        count = len(places(workers, [stage.experiment.device for stage in stages]))
        jobs = estimated(stages, planned)
        slots = {number: schedule(jobs, number) for number in sorted({*COUNTS, count})}
    if as_json:
        click.echo(json.dumps([{**asdict(p), **_times(p, slots)} for p in planned]))
        return
    console.print(_table(name, planned))
    console.pause()
    say(in_words(planned))
    if any(slots.values()):
        _print_slots(slots, count)


def _table(name: str, planned: Sequence[Planned]) -> Table:
    count = f"{len(planned)} stages" if len(planned) > 1 else "1 stage"
    lines = table(f"{name}: {count}")
    for heading in ("stage", "state", "judged"):
        lines.add_column(heading, overflow="fold")
    for heading in ("seed", "clips", "steps", "train\nmin", "judge\nmin"):
        lines.add_column(Text(heading), justify="right", no_wrap=True)
    for p in planned:
        sizes = ("" if value is None else f"{value:,}" for value in (p.clips, p.steps))
        times = (
            "" if value is None else f"{value:,.1f}"
            for value in (p.pretraining_minutes, p.evaluation_minutes)
        )
        judged = f"{p.judged} of {len(p.protocols)}" + ("" if p.part == "test" else f", {p.part} part")
        state = f"step {p.steps_done:,}" if p.state == "begun" else p.state
        lines.add_row(p.name, state, judged, str(p.seed), *sizes, *times)
    return lines


def _print_slots(slots: dict[int, list[Slot]], count: int) -> None:
    from amr_train.experiments.planning import spelt
    from amr_train.experiments.schedule import whole

    if count > 1:
        lines = table(f"{count} workers")
        for heading in ("worker", "from\nmin", "to\nmin"):
            lines.add_column(Text(heading), justify="right", no_wrap=True)
        lines.add_column("job", overflow="fold")
        for slot in sorted(slots[count], key=lambda slot: (slot.worker, slot.begins)):
            lines.add_row(str(slot.worker), f"{slot.begins:,.1f}", f"{slot.ends:,.1f}", slot.title)
        console.print(lines)
    times = [f"{number}: {spelt(whole(found))}" for number, found in slots.items()]
    console.pause()
    say(f"workers, each with a device like this one's: {'; '.join(times)}")


def _times(planned: Planned, slots: dict[int, list[Slot]]) -> dict[str, object]:
    """For each number of workers, the minutes at which a stage begins and ends."""
    if not slots:
        return {}
    found: dict[str, dict[str, float] | None] = {}
    for count, of_all in slots.items():
        mine = [slot for slot in of_all if slot.title.startswith(f"{planned.name}, seed {planned.seed}: ")]
        found[str(count)] = (
            {
                "begins_minutes": min(slot.begins for slot in mine),
                "ends_minutes": max(slot.ends for slot in mine),
            }
            if mine
            else None
        )
    return {"schedule": found}
