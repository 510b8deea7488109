"""Live progress of a run: stage, steps, loss, learning rate, clips a second, memory."""

from __future__ import annotations

import time

from amr_cli.bars import Bars
from amr_cli.terminal import shown
from amr_cli.ui import errors, tell, warn
from amr_train.listening import Listener

NOTE = {
    "loss": "loss {:.4f}",
    "knn": "kNN {:.1f} %",
    "rank": "rank {:.1f}",
    "lr": "lr {:.1e}",
    "clips_per_second": "{:,.0f} clips/s",
}
"""Figures of the moment, in the order in which a narrow terminal cuts them off last."""


class Panel(Listener):
    """Live progress of a run on stderr; plain lines where stderr is not a terminal."""

    def __init__(self, quiet: bool) -> None:
        self.live = errors.is_terminal and not quiet
        self.quiet = quiet
        self.bar = Bars(console=errors, disable=not self.live)
        self.task = self.bar.add_task("starting", total=None, note="")
        self.title, self.said = "starting", 0.0

    def stage(self, title: str) -> None:
        self.title = title = shown(title)
        self.bar.update(self.task, completed=self.bar.tasks[0].total or 0)
        self.bar.reset(self.task, description=title, total=None, note="")
        if not self.live and not self.quiet:
            tell(title)

    def advance(self, done: int, total: int, metrics: dict[str, float]) -> None:
        due = time.monotonic() - self.said > (0.2 if self.live else 15) or done == total
        if not due or (self.quiet and not self.live):
            return
        self.said = time.monotonic()
        note = note_of(metrics)
        self.bar.update(self.task, completed=done, total=total, note=note)
        if not self.live and metrics:
            tell(f"{self.title} {done}/{total}  {note}")

    def warn(self, line: str) -> None:
        warn(line)


def note_of(metrics: dict[str, float]) -> str:
    """The figures of the moment in one line."""
    parts = [form.format(metrics[key]) for key, form in NOTE.items() if key in metrics]
    if "epoch" in metrics:
        parts = [f"epoch {metrics['epoch']:.0f}/{metrics['epochs']:.0f}", *parts, memory_used()]
    return "  ".join(parts)


def memory_used() -> str:
    """Memory of this process, or the largest that its GPU held."""
    import psutil
    import torch

    on_gpu = torch.cuda.is_initialized()
    used = torch.cuda.max_memory_allocated() if on_gpu else psutil.Process().memory_info().rss
    return f"{used / 2**30:.1f} GiB"
