"""Progress bars: bar, percentage and the time that is left in one line of 80 columns, what is noted of the
moment in a line below."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from rich.console import RenderableType
from rich.constrain import Constrain
from rich.progress import BarColumn, Progress, ProgressColumn, Task
from rich.table import Column
from rich.text import Text

from amr_cli.terminal import Terminal, column

SPARE = 3
"""Columns that stay free at the right: the `^C` of a pressed key would break a full line, and the bar would
be drawn once more below it."""
WIDEST, BAR = 34, 30


class Bars(Progress):
    """Bars on a terminal. Tasks have a field `note`; with `columns` of one's own, these show it."""

    def __init__(
        self, *columns: ProgressColumn, console: Terminal, disable: bool, expand: bool = False
    ) -> None:
        title = Column(no_wrap=True, overflow="ellipsis", max_width=WIDEST)
        usual = (
            column("{task.description}", title),
            BarColumn(BAR),
            column("{task.percentage:>3.0f} %"),
            Times(),
        )
        self.noted, self.terminal = not columns, console
        super().__init__(*(columns or usual), console=console, disable=disable, expand=expand)

    def get_renderables(self) -> Iterable[RenderableType]:
        """What is drawn: the bars, and a line for each note."""
        width = self.terminal.width - SPARE
        yield Constrain(self.make_tasks_table(self.tasks), width)
        for task in self.tasks:
            if self.noted and task.fields.get("note"):
                note = Text(f"  {task.fields['note']}", style="dim", no_wrap=True, overflow="ellipsis")
                yield Constrain(note, width)


class Times(ProgressColumn):
    """`0:00:33, ETA 0:00:20`: the time so far, and what is left."""

    max_refresh = 0.5

    def __init__(self) -> None:
        super().__init__(Column(no_wrap=True))

    def render(self, task: Task) -> Text:
        """The times of a task, one alone when it is finished."""
        spent = _clock(task.finished_time if task.finished else task.elapsed)
        if task.finished or not task.total:
            return Text(spent, style="progress.elapsed")
        return Text.assemble(
            (f"{spent}, ", "progress.elapsed"), (f"ETA {_clock(task.time_remaining)}", "progress.remaining")
        )


def _clock(seconds: float | None) -> str:
    return "-:--:--" if seconds is None else str(timedelta(seconds=int(seconds)))
