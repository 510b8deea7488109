"""The timeline of a recording as a picture, see `looking.timeline`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba

from amr_data.looking.timeline import class_rows, clock, heading, ticks
from amr_data.viz.contact_sheet import Sheet

COLOURS = {"true": "#0a7d3c", "found": "#2563c9"}


def timeline_figure(facts: Mapping[str, Any]) -> Sheet:
    """Draw what `recording_facts` gives: a matplotlib figure that needs no display. What was found is the
    paler the less sure it is."""
    rows = class_rows(facts)
    figure = Sheet(figsize=(13, 1.5 + 0.34 * max(len(rows), 1)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    compared = "found" in facts
    kinds: tuple[str, ...] = ("true", "found") if compared else ("true",)
    scores = [i["score"] for i in facts.get("found", ())]
    least, most = min(scores, default=0.0), max(scores, default=1.0)
    for row, (_, true, found) in enumerate(rows):
        for lane, (kind, intervals) in enumerate(zip(kinds, (true, found), strict=False)):
            bars = [(i["start_s"], i["end_s"] - i["start_s"]) for i in intervals]
            sure = [0.35 + 0.65 * (i.get("score", most) - least) / ((most - least) or 1) for i in intervals]
            height = 0.8 / len(kinds)
            axes.broken_barh(
                bars,
                (row - 0.4 + lane * height, height * 0.94),
                facecolors=[to_rgba(COLOURS[kind], alpha if kind == "found" else 1) for alpha in sure],
            )
    axes.set_yticks(range(len(rows)), [title for title, *_ in rows], fontsize=9, parse_math=False)
    axes.set_ylim(len(rows) - 0.5 if rows else 0.5, -0.5)
    axes.set_xlim(0, max(facts["seconds"], 1 / facts["fps"]))
    marks = ticks(facts["seconds"], 12)
    axes.set_xticks(marks, [clock(at) for at in marks])
    axes.set_xlabel("time" + (f"; above: {kinds[0]}, below: {kinds[1]}" if compared else ""))
    axes.grid(axis="x", color="#d8dce2", lw=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    figure.suptitle(heading(facts), x=0.01, ha="left", fontsize=12, parse_math=False)
    return figure
