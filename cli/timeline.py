"""amr-train predict with a detector: what happens when, of files and of streams."""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click
from rich.text import Text

from amr_cli.terminal import shown, table
from amr_cli.ui import console, note, say
from amr_data.errors import AmrError, UsageError

if TYPE_CHECKING:
    from amr_train.deploy.following import Event
    from amr_train.deploy.timelines import Timeline

STRIP = 40
"""Signs that a recording's whole length takes."""
STDIN = Path("-")


def predict_timelines(
    model: Path,
    sources: Sequence[Path],
    dataset: Any,
    options: Mapping[str, Any],
    least: float | None,
    out: Sequence[Path],
    as_json: bool,
) -> None:
    """Print what a detector finds in recordings, and write it to files."""
    from amr_cli.panel import Panel
    from amr_train.deploy.anything import other_layout
    from amr_train.deploy.tiers import check_place, write_timelines
    from amr_train.deploy.timelines import timelines
    from amr_train.detection.files import load_detector

    for place in out:
        check_place(place)
    loaded = load_detector(model)
    classes = loaded.about.classes
    panel = Panel(quiet=as_json)
    with panel.bar:
        given = {"options": options, "least": least, "listener": panel}
        found, rejects = timelines(loaded, sources, dataset, **given)  # type: ignore[arg-type]
    written = [file for place in out for file in write_timelines(found, classes, place)] if found else []
    if as_json:
        values = {
            "recordings": [{"path": one.path, **one.as_dict(classes)} for one in found],
            "rejects": [reject.as_dict() for reject in rejects],
            "files": [str(file) for file in written],
        }
        click.echo(json.dumps(values))
    else:
        for one in found:
            _print(one, classes)
        for reject in rejects:
            note("rejected", f"{reject.where}: {reject.kind}: {reject.detail}")
        for place in out if written else ():
            say(f"intervals → {place}")
    if not found:
        raise AmrError(
            "no recording came out of these sources, so there is nothing to find actions in"
            + other_layout(dataset, rejects)
        )


def _print(one: Timeline, classes: Sequence[str]) -> None:
    """A row an action, with its place in the recording."""
    count = len(one.found)
    said = f"{one.frames:,} frames, {clock(one.frames / one.fps)}: {count} action{'s' * (count != 1)}"
    say((one.recording, "bold"), f"  {said}")
    if not count:
        return
    lines = table()
    for heading in ("from", "to"):
        lines.add_column(heading, justify="right", no_wrap=True)
    lines.add_column("class", overflow="fold")
    lines.add_column("score", justify="right", no_wrap=True)
    lines.add_column("", no_wrap=True)
    for row in one.as_dict(classes)["intervals"]:
        start, end = row["first"] / one.fps, row["end"] / one.fps
        strip = Text(_strip(row["first"], row["end"], one.frames), style="cyan")
        lines.add_row(clock(start), clock(end), Text(shown(row["class"])), f"{row['score']:.2f}", strip)
    console.print(lines)


def _strip(first: int, end: int, frames: int) -> str:
    """Where in the recording an interval is."""
    low = min(STRIP - 1, first * STRIP // max(1, frames))
    high = max(low + 1, min(STRIP, -(-end * STRIP // max(1, frames))))
    return "·" * low + "█" * (high - low) + "·" * (STRIP - high)


def clock(seconds: float) -> str:
    """`3.4`, `1:03.4`, `2:01:03.4`."""
    tenths = round(10 * seconds)
    whole, rest = divmod(tenths, 10)
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minute:02}:{second:02}.{rest}"
    return f"{minutes}:{second:02}.{rest}" if minutes else f"{second}.{rest}"


def predict_following(
    model: Path,
    sources: Sequence[Path],
    fps: float | None,
    least: float | None,
    idle: float | None,
    as_json: bool,
) -> None:
    """Print labels as they are certain, of frames from standard input or a growing file."""
    from amr_train.deploy.following import Ended, follow, growing_lines, lines_of
    from amr_train.detection.files import load_detector

    if len(sources) > 1:
        raise UsageError(f"--follow takes one file, or - for standard input, not {len(sources)}")
    source = sources[0] if sources else STDIN
    if source != STDIN and not source.is_file():
        raise UsageError(f"--follow takes a file with a line a frame; {source} is none")
    if source == STDIN and idle is not None:
        raise UsageError("--idle is of a file that grows; standard input ends by itself")
    loaded = load_detector(model)
    rate = fps or loaded.about.frame_rate
    lines: Iterator[bytes] = lines_of(sys.stdin.buffer) if source == STDIN else growing_lines(source, idle)
    for event in follow(loaded, _until_stopped(lines), rate, least):
        if as_json:
            click.echo(json.dumps(_values(event, loaded.about.classes)))
        else:
            _tell(event, loaded.about.classes, rate)
        sys.stdout.flush()
        if isinstance(event, Ended) and not event.frames:
            raise AmrError("no frame came, so there is nothing to label")


def _until_stopped(lines: Iterator[bytes]) -> Iterator[bytes]:
    """Ctrl-C ends a stream between two frames, whatever is being done: what is not yet certain is still told.
    A second one stops at once."""
    waiting = asked = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if waiting or asked:
            signal.default_int_handler(number, frame)
        asked = True

    mine = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, stop) if mine else None
    try:
        while not asked:
            waiting = True
            line = next(lines, None)
            waiting = False
            if line is None:
                return
            yield line
    except KeyboardInterrupt:
        return
    finally:
        if mine:
            signal.signal(signal.SIGINT, before)


def _tell(event: Event, classes: Sequence[str], fps: float) -> None:
    from amr_train.deploy.following import Ended, Found, Now, Refused

    if isinstance(event, Now):
        name = "nothing" if event.label is None else classes[event.label]
        say((f"{clock(event.frame / fps):>10}", "dim"), "  ", (name, "dim" if event.label is None else ""))
    elif isinstance(event, Found):
        span = f"{clock(event.first / fps)} to {clock(event.end / fps)}"
        say(f"{'':>10}  {span}: ", (classes[event.label], "bold"), f" {event.score:.2f}")
    elif isinstance(event, Refused):
        note("rejected", f"line {event.line}: {event.reason}")
    elif isinstance(event, Ended):
        say(f"{event.frames:,} frames, {event.refused:,} rejected")


def _values(event: Event, classes: Sequence[str]) -> dict[str, Any]:
    """An event as one JSON object."""
    from amr_train.deploy.following import Found, Now, Refused

    if isinstance(event, Now):
        name = None if event.label is None else classes[event.label]
        return {"event": "now", "frame": event.frame, "label": event.label, "class": name}
    if isinstance(event, Found):
        about = {"label": event.label, "class": classes[event.label]}
        return {"event": "found", **about, **{k: getattr(event, k) for k in ("first", "end", "score")}}
    if isinstance(event, Refused):
        return {"event": "rejected", "line": event.line, "reason": event.reason}
    return {"event": "ended", "frames": event.frames, "rejected": event.refused}
