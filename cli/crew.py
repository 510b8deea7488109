"""What a terminal shows of the jobs of a suite: those of this process in order, or a line for each worker."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType

from rich.progress import BarColumn, TaskID, TimeElapsedColumn
from rich.table import Column

from amr_cli.bars import Bars
from amr_cli.panel import Panel, note_of
from amr_cli.terminal import column, shown
from amr_cli.ui import errors, tell, warn
from amr_train.experiments.jobs import Job
from amr_train.experiments.queue import Told
from amr_train.experiments.stages import Stage


class InOrder(Told):
    """One process does everything: its panel, and a heading for each stage."""

    def __init__(self, panel: Panel, stages: Sequence[Stage], quiet: bool) -> None:
        self.panel, self.stages, self.quiet = panel, stages, quiet
        self.headed = 0

    def took(self, worker: int, job: Job) -> None:
        self._head(job)

    def stage(self, worker: int, title: str) -> None:
        self.panel.stage(title)

    def advance(self, worker: int, done: int, total: int, metrics: dict[str, float]) -> None:
        self.panel.advance(done, total, metrics)

    def warn(self, worker: int, line: str) -> None:
        self.panel.warn(line)

    def ended(self, worker: int, job: Job, done: int, count: int, error: str | None) -> None:
        self._head(job)

    def waits(self, worker: int) -> None:
        self.panel.stage("waiting for what other processes are at")

    def _head(self, job: Job) -> None:
        """The heading of a job's stage, and of those before it that were finished earlier."""
        place = next(number for number, stage in enumerate(self.stages) if stage is job.stage)
        while self.headed <= place:
            stage = self.stages[self.headed]
            self.headed += 1
            if not self.quiet:
                count = f"{self.headed}/{len(self.stages)}"
                tell((count, "bold"), f" {stage.name}, seed {stage.seed} → {stage.folder}")


class Crew(Told):
    """A line for each worker; where stderr is no terminal, a line for each job that begins and ends.
    `workers` : 0 where a cluster has them.  `failures` : what was said, by the titles of the jobs that
    failed."""

    def __init__(self, workers: int, quiet: bool) -> None:
        self.live, self.quiet = errors.is_terminal and not quiet, quiet
        self.failures: dict[str, str] = {}
        self.bar = Bars(
            column("{task.fields[who]}"),
            column("{task.description}", _cut(2)),
            BarColumn(bar_width=10),
            column("{task.fields[note]}", _cut(1)),
            TimeElapsedColumn(),
            console=errors,
            disable=not self.live,
            expand=True,
        )
        self.tasks: dict[int, TaskID] = {}
        self.titles: dict[int, str] = {}
        self.began: dict[int, float] = {}
        for worker in range(workers):
            self._task(worker)

    def __enter__(self) -> Crew:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def say(self, line: str) -> None:
        if not self.quiet:
            tell(line)

    def took(self, worker: int, job: Job) -> None:
        self.titles[worker], self.began[worker] = job.title, time.monotonic()
        self._task(worker, job.title)
        if not self.live:
            self.say(f"worker {worker + 1}: {job.title}")

    def stage(self, worker: int, title: str) -> None:
        self._task(worker, self.titles[worker], "" if title in self.titles[worker] else title)

    def advance(self, worker: int, done: int, total: int, metrics: dict[str, float]) -> None:
        note = note_of({key: value for key, value in metrics.items() if key != "epoch"})
        self.bar.update(self.tasks[worker], completed=done, total=total, note=note)

    def warn(self, worker: int, line: str) -> None:
        warn(line)

    def ended(self, worker: int, job: Job, done: int, count: int, error: str | None) -> None:
        began = self.began.pop(worker, None)
        if error is not None:
            self.failures[job.title] = error
            warn(f"{job.title} failed: {error}")
        elif began is not None:
            self.say(f"{done}/{count} {job.title}, {time.monotonic() - began:,.0f} s")
        elif not self.tasks:
            self.say(f"{done}/{count} {job.title}")
        if self.tasks:
            self._task(worker, "free")

    def waits(self, worker: int) -> None:
        self._task(worker, "waiting for what others are at")

    def left(self, worker: int, job: Job | None) -> None:
        at = f"; {job.title} is free for the others" if job else ""
        warn(f"worker {worker + 1} has died{at}")
        self._task(worker, "dead")

    def _task(self, worker: int, title: str = "starting", note: str = "") -> None:
        """The worker's line, with something else on it."""
        who, title, note = f"worker {worker + 1}", shown(title), shown(note)
        if worker not in self.tasks:
            self.tasks[worker] = self.bar.add_task(title, total=None, note=note, who=who)
        else:  # which forgets the fields that it is not given
            self.bar.reset(self.tasks[worker], description=title, total=None, note=note, who=who)


def _cut(ratio: int) -> Column:
    """A column that takes its share of what is left of the line."""
    return Column(ratio=ratio, no_wrap=True, overflow="ellipsis")
