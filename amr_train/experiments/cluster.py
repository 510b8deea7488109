"""A suite's jobs on the workers of a running Dask cluster (extra `cluster`), as `amr-data convert` has it.

The cluster hands them out, and sees to a worker's death. Their locks hold all the same, so that such a
command and others share an output folder."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from amr_data import UsageError
from amr_data.cluster import cluster_client
from amr_train.experiments.jobs import Job, work
from amr_train.experiments.queue import DONE, FAILED, PAUSE, Queue, Told, said_of
from amr_train.listening import Listener
from amr_train.training.locks import Held


def run_on_cluster(jobs: Sequence[Job], scheduler: str, told: Told) -> Queue:
    """Do the jobs on a cluster whose workers see data and output under the same paths.

    Args:
        scheduler: its address, tcp://HOST:PORT.
        told: of each job that ends; how far one is, is not known here.
    Returns: the queue as it was left.
    Raises: UsageError where `distributed` is missing; AmrError where no scheduler answers.
    """
    queue = Queue(jobs)
    with cluster_client(scheduler) as client:
        from distributed import as_completed

        futures: list[Any] = []
        for job in jobs:  # a job comes after what it needs
            needs = [futures[need] for need in job.needs]
            futures.append(client.submit(_work, job, needs, pure=False))
        numbers = {future.key: number for number, future in enumerate(futures)}
        for future in as_completed(futures):  # type: ignore[no-untyped-call,unused-ignore]
            number = numbers[future.key]
            raised = future.exception()
            if raised is not None and any(futures[need].status == "error" for need in jobs[number].needs):
                continue  # it was not even tried
            queue.states[number] = FAILED if raised is not None else DONE
            told.ended(0, jobs[number], queue.done, len(jobs), None if raised is None else said_of(raised))
    return queue


def _work(job: Job, needs: Sequence[None]) -> None:
    """On a worker. `needs` : its jobs before, which are done. Raises: what `work` does; UsageError where the
    worker does several things at once, of which each would disturb the others' random numbers."""
    from distributed import get_worker

    threads = get_worker().state.nthreads
    if threads != 1:
        raise UsageError(f"a Dask worker with {threads} threads; start workers with --nthreads 1")
    while True:
        try:
            work(job, Listener())
            return
        except Held:
            time.sleep(PAUSE)
