"""A suite as a queue that any number of processes share, on one machine or on many. There is no scheduler:
whoever is free takes the first job whose needs are met and whose lock nobody holds."""

from __future__ import annotations

import time
from collections.abc import MutableSequence, Sequence

import torch

from amr_data import AmrError
from amr_train.experiments.jobs import Job, work
from amr_train.listening import Listener
from amr_train.training.locks import Held
from amr_train.training.stopping import Stopped

PAUSE = 0.5
"""Seconds until a process that found no free job looks again."""
OPEN, DONE, FAILED = 0, 1, 2


class Told:
    """Is told what the workers of a queue do; each method does nothing here. `worker` : counted from 0."""

    def took(self, worker: int, job: Job) -> None:
        """A worker has begun with a job; one that was finished before is not taken."""

    def stage(self, worker: int, title: str) -> None:
        """What a worker's job does now."""

    def advance(self, worker: int, done: int, total: int, metrics: dict[str, float]) -> None:
        """How far a worker's job is."""

    def warn(self, worker: int, line: str) -> None:
        """What a user should know."""

    def ended(self, worker: int, job: Job, done: int, count: int, error: str | None) -> None:
        """A worker has done with a job: `done` of `count` are; or the job has failed, with what was said."""

    def waits(self, worker: int) -> None:
        """A worker finds no job that is free; those that are left are held, or need one that is."""

    def left(self, worker: int, job: Job | None) -> None:
        """A worker has died, at a job or at none."""


class Queue:
    """What a process knows of the jobs; the workers of one command share `states` and `deaths`."""

    def __init__(
        self,
        jobs: Sequence[Job],
        states: MutableSequence[int] | None = None,
        deaths: MutableSequence[int] | None = None,
    ) -> None:
        self.jobs = jobs
        self.states = [OPEN] * len(jobs) if states is None else states
        self.deaths = [0] * len(jobs) if deaths is None else deaths

    @property
    def done(self) -> int:
        return sum(state == DONE for state in self.states)

    def ready(self) -> list[int]:
        """Numbers of the jobs that could be done now, in order; those at which a worker has died last, so
        that they do not end the others too."""
        found = [
            number
            for number, job in enumerate(self.jobs)
            if self.states[number] == OPEN and all(self.states[need] == DONE for need in job.needs)
        ]
        return sorted(found, key=lambda number: self.deaths[number])

    def blocked(self) -> list[int]:
        """Numbers of open jobs that need one that has failed, directly or not."""
        lost = {number for number, state in enumerate(self.states) if state == FAILED}
        found = []
        for number, job in enumerate(self.jobs):  # a job comes after what it needs
            if self.states[number] == OPEN and lost & set(job.needs):
                lost.add(number)
                found.append(number)
        return found

    def over(self) -> bool:
        """Whether nothing is left that could be done, now or later."""
        return sum(state == OPEN for state in self.states) == len(self.blocked())


def work_through(queue: Queue, told: Told, worker: int = 0, wait: bool = True, strict: bool = False) -> None:
    """Take job after job until none is left.

    Args:
        wait: for jobs that other processes hold, to see them finished or to take them up; otherwise return
            when nothing is free.
        strict: let an error end it; otherwise the job has failed, and others go on.
    Raises: Stopped after SIGINT or SIGTERM in a training; KeyboardInterrupt; torch.AcceleratorError where the
        device is lost; what `strict` lets through.
    """
    waiting = False
    while not queue.over():
        taken = any(_tried(queue, number, told, worker, strict) for number in queue.ready())
        if taken:
            waiting = False
            continue
        if not wait:
            return
        if not waiting:
            told.waits(worker)
        waiting = True
        time.sleep(PAUSE)


def _tried(queue: Queue, number: int, told: Told, worker: int, strict: bool) -> bool:
    """Whether a job was done now, well or badly; not where another process holds it, or has done it since."""
    if queue.states[number] != OPEN:
        return False
    job, said = queue.jobs[number], None
    teller = _Teller(told, worker, job)
    try:
        work(job, teller)
    except Held:
        return False
    except (Stopped, torch.AcceleratorError):  # after the latter a process cannot use its device any more
        raise
    except Exception as error:
        if strict:
            raise
        said = said_of(error)
    queue.states[number] = DONE if said is None else FAILED
    told.ended(worker, job, queue.done, len(queue.jobs), said)
    return True


def said_of(error: BaseException) -> str:
    """What is said of a job's error."""
    return str(error) if isinstance(error, AmrError) else f"{type(error).__name__}: {str(error)[:300]}"


class _Teller(Listener):
    """A job's listener, which says at its first sign of work that the job was taken."""

    def __init__(self, told: Told, worker: int, job: Job) -> None:
        self.told, self.worker, self.job, self.begun = told, worker, job, False

    def stage(self, title: str) -> None:
        if not self.begun:
            self.told.took(self.worker, self.job)
        self.begun = True
        self.told.stage(self.worker, title)

    def advance(self, done: int, total: int, metrics: dict[str, float]) -> None:
        self.told.advance(self.worker, done, total, metrics)

    def warn(self, line: str) -> None:
        self.told.warn(self.worker, line)
