"""Progress bars, bars of numbers and blank lines, as an 80-column terminal has them."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

import amr_cli.show
import amr_cli.ui
from amr_cli.bars import SPARE, Bars
from amr_cli.terminal import Terminal, table
from amr_data.looking.words import summary_charts


def lines_of(bar: Bars, console: Console) -> list[str]:
    rendered = console.render_lines(bar.get_renderable(), console.options, pad=False)
    return ["".join(segment.text for segment in line) for line in rendered]


@pytest.mark.parametrize("title", ["pre-training", "logistic regression of coordinates, fold1, " * 3])
def test_a_line_keeps_bar_percentage_and_what_is_left_and_room_for_a_pressed_key(title):
    console = Terminal(file=io.StringIO(), force_terminal=True, width=80, legacy_windows=False)
    bar = Bars(console=console, disable=False)
    task = bar.add_task(title, total=400, note="x" * 200)
    bar.update(task, completed=100)
    shown = lines_of(bar, console)
    assert len(shown) == 2
    assert max(map(len, shown)) <= 80 - SPARE  # blanks included: the cursor stands behind them
    assert " 25 % 0:00:00, ETA -:--:--" in shown[0]
    assert shown[0].count("━") >= 10
    bar.update(task, completed=400, note="")
    (last,) = lines_of(bar, console)
    assert "100 % 0:00:00" in last
    assert "ETA" not in last


def test_lines_break_between_words_and_paths_stay_whole(monkeypatch):
    screen = io.StringIO()
    terminal = Terminal(file=screen, force_terminal=True, width=20, legacy_windows=False, color_system=None)
    monkeypatch.setattr(amr_cli.ui, "console", terminal)
    amr_cli.ui.say("several words that are longer than a line")
    amr_cli.ui.say("report → ", ("/a/path/longer/than/a/line.html", "bold"))
    said = [line.rstrip() for line in screen.getvalue().splitlines()]
    assert said[:3] == ["several words that", "are longer than a", "line"]
    assert said[3] == "report → /a/path/longer/than/a/line.html"


def test_tables_with_titles_stand_apart(monkeypatch):
    monkeypatch.setattr(Terminal, "begun", False)
    out = io.StringIO()
    console = Terminal(file=out, width=80)
    for title in ("one", "two"):
        lines = table(title, header=False)
        lines.add_row("a row")
        console.print(lines)
    assert [line.strip() for line in out.getvalue().splitlines()] == ["one", "a row", "", "two", "a row"]


@pytest.mark.parametrize(
    ("longest", "shown"),
    [(100, ["0-24", "25-49", "50-74", "75-99"]), (5000, [f"{n}-{n + 249}" for n in range(0, 5000, 250)])],
)
def test_a_histogram_of_lengths_has_twenty_bars_at_most(longest, shown):
    """One clip in every other bin of 25 frames, and in the last."""
    starts = sorted({*range(0, longest, 50), longest - 25})
    bars = [{"first_frames": n, "last_frames": n + 24, "clips": 1} for n in starts]
    summary = {"length_unit": "m", "class_energy_root_m": {}, "lengths": bars, "bodies": {}, "classes": {}}
    found = summary_charts(summary)["clip lengths (frames)"]
    assert list(found) == shown
    assert sum(found.values()) == len(starts)


def test_of_many_classes_the_largest_and_the_smallest_are_shown(monkeypatch):
    out = io.StringIO()
    monkeypatch.setattr(amr_cli.show, "console", Terminal(file=out, width=80))
    amr_cli.show.print_bars("clips by class", {f"class {n}": n for n in range(1, 61)})
    rows = [line.split("█")[0].split() for line in out.getvalue().splitlines()[1:]]
    assert [row[1] for row in rows if row[0] == "class"] == [
        str(n) for n in (*range(60, 50, -1), *range(10, 0, -1))
    ]
    assert rows[10] == ["40", "between"]
