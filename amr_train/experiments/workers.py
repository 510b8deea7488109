"""Workers of a queue on this machine: each a process with a device of its own. The parent watches and tells;
it hands out nothing, so that a worker's death costs no more than the job it was at, which others take up."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, MutableSequence, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import FrameType
from typing import Any

import torch

from amr_data import UsageError
from amr_train.experiments.jobs import Job
from amr_train.experiments.queue import FAILED, OPEN, Queue, Told, work_through
from amr_train.parallel.processes import choose_device
from amr_train.training.stopping import Stopped, stopping

MOST_DEATHS = 2
"""A job at which so many workers have died is given up."""
OFTEN = 0.2
"""Seconds between two words on how far a job is."""
THREADS, VISIBLE = "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"
SPAWN = multiprocessing.get_context("spawn")


def places(workers: int | str, devices: Sequence[str]) -> list[dict[str, str]]:
    """The environment of each worker.

    Args:
        workers: how many, or 'auto': one a GPU, a single one where there is none.
        devices: those that the stages ask for.
    Returns: for each worker the GPU that it sees, in turn where there are more workers than GPUs; and on
        every machine the threads that it takes, an equal share of the cores unless OMP_NUM_THREADS says how
        many.
    Raises: UsageError where a device is not there.
    """
    kinds = {choose_device(name).type for name in devices}
    gpus = visible_gpus() if "cuda" in kinds else []
    count = max(1, len(gpus)) if workers == "auto" else int(workers)
    if "mps" in kinds and count > 1:
        raise UsageError(f"{count} workers, but one GPU of Apple's: device=mps takes --workers 1")
    threads = os.environ.get(THREADS) or str(max(1, cores() // count))
    shares = [{VISIBLE: gpus[number % len(gpus)]} if gpus else {} for number in range(count)]
    return [{THREADS: threads, **share} for share in shares]


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def visible_gpus() -> list[str]:
    """The GPUs that this process sees, as CUDA_VISIBLE_DEVICES names them."""
    count = torch.cuda.device_count()
    named = [name.strip() for name in os.environ.get(VISIBLE, "").split(",") if name.strip()]
    return named[:count] if len(named) >= count else [str(number) for number in range(count)]


def run_workers(
    jobs: Sequence[Job], environments: Sequence[dict[str, str]], told: Told, wait_for: bool = True
) -> Queue:
    """Do the jobs in processes, one for each environment. A worker that dies is not replaced: its device may
    be what is wrong.

    Args:
        wait_for: for jobs that other commands hold, see `work_through`.
    Returns: the queue as it was left.
    Raises: Stopped after SIGINT or SIGTERM, once every worker has ended its step and kept it; a second signal
        kills them.
    """
    states, deaths = SPAWN.RawArray("b", len(jobs)), SPAWN.RawArray("b", len(jobs))
    queue = Queue(jobs, states, deaths)
    workers: list[_Worker] = []
    with _asked(workers) as asked:
        try:
            for number, environment in enumerate(environments):
                workers.append(_Worker(number, jobs, environment, states, deaths, wait_for))
            while any(worker.open for worker in workers):
                _listen(workers, queue, told, bool(asked))
        finally:
            for worker in workers:
                worker.process.kill()
                worker.process.join()
    if asked:
        raise Stopped(
            f"{len(workers)} workers, with {queue.done} of {len(jobs)} jobs done; what they did is kept",
            asked[0],
        )
    return queue


class _Worker:
    """A process as its parent sees it. `job` : the number of the one that it is at."""

    def __init__(
        self,
        number: int,
        jobs: Sequence[Job],
        environment: dict[str, str],
        states: MutableSequence[int],
        deaths: MutableSequence[int],
        wait_for: bool,
    ) -> None:
        self.number, self.job, self.open = number, -1, True
        self.events, theirs = SPAWN.Pipe(duplex=False)
        what = (theirs, number, jobs, states, deaths, wait_for)
        self.process: SpawnProcess = SPAWN.Process(target=_serve, args=what, name=f"worker {number + 1}")
        with _environment(environment), _deaf():
            self.process.start()
        theirs.close()  # so that its end is seen when the worker has ended


def _listen(workers: Sequence[_Worker], queue: Queue, told: Told, asked: bool) -> None:
    """Pass on what workers say, as soon as one does."""
    by_events: dict[Any, _Worker] = {worker.events: worker for worker in workers if worker.open}
    for events in wait(list(by_events), timeout=0.2):
        worker = by_events[events]
        try:
            name, *values = worker.events.recv()
        except (EOFError, OSError):
            _ended(worker, queue, told, asked)
            continue
        if name in ("took", "ended"):
            number = values[0]
            worker.job = number if name == "took" else -1
            values[0] = queue.jobs[number]
        getattr(told, name)(worker.number, *values)


def _ended(worker: _Worker, queue: Queue, told: Told, asked: bool) -> None:
    worker.open = False
    worker.process.join()
    if asked or worker.process.exitcode == 0:
        return
    job = queue.jobs[worker.job] if worker.job >= 0 else None
    told.left(worker.number, job)
    if job is not None and queue.states[worker.job] == OPEN:
        queue.deaths[worker.job] += 1
        if queue.deaths[worker.job] >= MOST_DEATHS:
            queue.states[worker.job] = FAILED
            told.ended(worker.number, job, queue.done, len(queue.jobs), "two workers died at it")


@contextmanager
def _asked(workers: Sequence[_Worker]) -> Iterator[list[int]]:
    """The numbers of the signals that asked to stop. The first is passed on to the workers, a second kills
    them."""
    asked: list[int] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        asked.append(number)
        for worker in workers:
            if worker.process.is_alive():
                worker.process.terminate() if len(asked) == 1 else worker.process.kill()

    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """These variables for what is started meanwhile."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _deaf() -> Iterator[None]:
    """A process that is started meanwhile does not hear Ctrl-C while it is still importing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _serve(
    events: Connection,
    number: int,
    jobs: Sequence[Job],
    states: MutableSequence[int],
    deaths: MutableSequence[int],
    wait_for: bool,
) -> None:
    """A worker's whole life."""
    if hasattr(os, "setsid"):
        os.setsid()  # Ctrl-C in a terminal goes to the parent, which passes it on
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, _stop)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    teller = _Teller(events, jobs)
    try:
        work_through(Queue(jobs, states, deaths), teller, number, wait_for)
    except (Stopped, KeyboardInterrupt):
        sys.exit(0)
    except torch.AcceleratorError as error:
        teller.warn(number, f"worker {number + 1}: {str(error).splitlines()[0]}")
        sys.exit(1)
    except ConnectionError:  # the parent was killed
        sys.exit(1)


def _stop(number: int, frame: FrameType | None) -> None:
    """A signal that no training takes. Schedulers send theirs to every process, the parent passes its own on:
    the second is the same request."""
    if not stopping():
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, signal.SIG_IGN)
        raise KeyboardInterrupt


def _end_with_parent() -> None:
    """Stop as after SIGTERM when the parent has ended, however it ended."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


class _Teller(Told):
    """Tells the parent."""

    def __init__(self, events: Connection, jobs: Sequence[Job]) -> None:
        self.events, self.said = events, 0.0
        self.numbers = {id(job): number for number, job in enumerate(jobs)}

    def took(self, worker: int, job: Job) -> None:
        self.events.send(("took", self.numbers[id(job)]))

    def stage(self, worker: int, title: str) -> None:
        self.events.send(("stage", title))

    def advance(self, worker: int, done: int, total: int, metrics: dict[str, float]) -> None:
        if time.monotonic() - self.said > OFTEN or done == total:
            self.said = time.monotonic()
            self.events.send(("advance", done, total, metrics))

    def warn(self, worker: int, line: str) -> None:
        self.events.send(("warn", line))

    def ended(self, worker: int, job: Job, done: int, count: int, error: str | None) -> None:
        self.events.send(("ended", self.numbers[id(job)], done, count, error))

    def waits(self, worker: int) -> None:
        self.events.send(("waits",))
