"""When each job of a suite would begin and end with so many workers: what the queue would do if every job
took just the time that the plan estimates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from amr_train.experiments.jobs import Job, jobs_of
from amr_train.experiments.planning import Planned
from amr_train.experiments.stages import Stage

COUNTS = (1, 2, 8)
"""Workers for which a plan says the time."""


@dataclass(frozen=True)
class Slot:
    """A job's place. `worker` : counted from 1.  `begins`, `ends` : in minutes."""

    title: str
    worker: int
    begins: float
    ends: float


def estimated(stages: Sequence[Stage], planned: Sequence[Planned]) -> list[tuple[Job, float]]:
    """The jobs of the stages whose data are given, each with the minutes that are left of it. What stands
    beside an encoder counts with its evaluation."""
    known = {id(stage): plan for stage, plan in zip(stages, planned, strict=True)}
    found = []
    for job in jobs_of([stage for stage in stages if not stage.missing]):
        plan, minutes = known[id(job.stage)], 0.0
        if job.kind == "pre-training":
            minutes = plan.pretraining_minutes or 0.0
        elif job.kind == "evaluation":
            minutes = sum(plan.judging_minutes.get(name, 0.0) for name in job.protocols)
        found.append((job, minutes))
    return found


def schedule(jobs: Sequence[tuple[Job, float]], workers: int) -> list[Slot]:
    """Each worker, as soon as it is free, takes the first job whose needs are done. Jobs without time left
    are not shown."""
    ends: dict[int, float] = {}
    free = [0.0] * workers
    left = dict(enumerate(jobs))
    found = []
    while left:
        starts = {
            number: max((ends[need] for need in job.needs), default=0.0)
            for number, (job, _) in left.items()
            if all(need in ends for need in job.needs)
        }
        worker = min(range(workers), key=lambda k: free[k])
        now = max(free[worker], min(starts.values()))
        number = next(number for number, start in starts.items() if start <= now)
        job, minutes = left.pop(number)
        ends[number] = now + minutes
        if minutes > 0:
            free[worker] = ends[number]
            found.append(Slot(job.title, worker + 1, now, ends[number]))
    return found


def whole(slots: Sequence[Slot]) -> float:
    """Minutes until all is done."""
    return max((slot.ends for slot in slots), default=0.0)
