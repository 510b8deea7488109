"""When what happens in a long recording, as text: a row for each class, what is true above what was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

TRUE, FOUND, BOTH = "▀", "▄", "█"
STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400)
"""Seconds from mark to mark of a time axis."""
NAME_WIDTH, TICK_WIDTH = 32, 10
Rows = list[tuple[str, list[Mapping[str, Any]], list[Mapping[str, Any]]]]
"""Of each class its name, its true intervals and those that were found."""


def class_rows(facts: Mapping[str, Any]) -> Rows:
    """Classes of `looking.recordings.recording_facts` in the order in which they first occur."""
    found = facts.get("found", ())
    both = sorted([*facts["intervals"], *found], key=lambda i: (i["first"], i["end"]))
    titles = {i["label"]: i["class"] for i in both}
    return [
        (
            title,
            [i for i in facts["intervals"] if i["label"] == label],
            [i for i in found if i["label"] == label],
        )
        for label, title in titles.items()
    ]


def clock(seconds: float) -> str:
    """1:05 or 2:01:05."""
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


def ticks(seconds: float, most: int) -> list[int]:
    """Seconds at which a time axis has marks, at most about `most` of them."""
    step = next((s for s in STEPS_S if seconds / s <= most), STEPS_S[-1])
    return list(range(0, int(seconds) + 1, step))


def timeline_lines(facts: Mapping[str, Any], width: int) -> list[tuple[str, str]]:
    """What a class is called, and when it is true or was found, one line each; the time axis comes first.

    width : columns of the second text.
    """
    frames, seconds = facts["frames"], facts["seconds"]
    axis = [" "] * width
    for at in ticks(seconds, max(width // TICK_WIDTH, 1)):
        text, place = clock(at), int(at / max(seconds, 1e-9) * width)
        if place + len(text) <= width:
            axis[place : place + len(text)] = text
    lines = [("", "".join(axis).rstrip())]
    compared = "found" in facts
    for title, true, found in class_rows(facts):
        above = _columns(true, frames, width)
        below = _columns(found, frames, width) if compared else above
        kind = above + 2 * below
        lines.append((title[:NAME_WIDTH], "".join(f"·{TRUE}{FOUND}{BOTH}"[k] for k in kind.tolist())))
    return lines


def _columns(intervals: Sequence[Mapping[str, Any]], frames: int, width: int) -> npt.NDArray[np.int64]:
    """(width,) 1 where an interval lies, at least one column each."""
    out = np.zeros(width, np.int64)
    for interval in intervals:
        low = min(int(interval["first"] * width / frames), width - 1)
        out[low : max(low + 1, int(np.ceil(interval["end"] * width / frames)))] = 1
    return out


def heading(facts: Mapping[str, Any]) -> str:
    """A recording's name, its length and its number of intervals."""
    count = len(facts["intervals"])
    said = f"{facts['name']} · {facts['frames']:,} frames, {clock(facts['seconds'])} · {count:,} intervals"
    if "found" in facts:
        said += f", {sum(i['found'] for i in facts['intervals']):,} found; {len(facts['found']):,} proposals"
    return said + (" · synthetic: invented motion" if facts["synthetic"] else "")
