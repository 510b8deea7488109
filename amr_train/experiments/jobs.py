"""The jobs that a suite consists of, each of which one process does at a time: a run's pre-training, its
frozen protocols together, each protocol that trains, each transfer and each baseline.

What is finished is known by its files, and what is being done by its lock, so that processes which know
nothing of each other agree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal

from amr_data import ShardDataset, open_dataset
from amr_train.evaluation.evaluating import judge_beside
from amr_train.evaluation.parts import only_split
from amr_train.evaluation.protocols import protocol_named
from amr_train.evaluation.subjects import encoder_settings
from amr_train.experiments.naming import safe_name
from amr_train.experiments.running import determinism, run_experiment
from amr_train.experiments.sources import Opening, settled
from amr_train.experiments.stages import Stage, judge_stage
from amr_train.identity import digest_of
from amr_train.listening import Listener
from amr_train.models.files import EncoderConfig, encoder_config
from amr_train.training.locks import LOCK, Held, hold, is_held

Kind = Literal["pre-training", "untrained", "coordinates", "evaluation"]


@dataclass(frozen=True)
class Job:
    """Something that one process does at a time.

    `title`: for people.  `stage`: of which it is a part.  `lock`: the file that is held while it is done.
    `needs`: numbers of the jobs that must be done before.  `protocols`: of an evaluation.
    `others`: of a baseline, further stages beside which it stands.
    """

    kind: Kind
    title: str
    stage: Stage
    lock: Path
    needs: tuple[int, ...] = ()
    protocols: tuple[str, ...] = ()
    others: tuple[Stage, ...] = ()


def jobs_of(stages: Sequence[Stage]) -> list[Job]:
    """The jobs of stages whose data are given, in the order in which one process does them: each run's
    pre-training, what stands beside it and is not there from an earlier run, its evaluations."""
    opened = cache(open_dataset)  # each once, however many stages use it
    jobs: list[Job] = []
    trainings: dict[Path, int] = {}
    baselines: dict[tuple[Path, str], int] = {}
    for stage in stages:
        if stage.transfer is None:
            trainings[stage.folder] = len(jobs)
            jobs.append(Job("pre-training", _title(stage, "pre-training"), stage, stage.folder / LOCK))
        frozen, training = _parted(stage.protocols)
        beside: list[int] = []
        for kind in stage.experiment.evaluation.baselines if frozen else ():
            key = (stage.baselines or stage.folder, _baseline_key(stage, kind, opened))
            number = baselines.setdefault(key, len(jobs))
            if number < len(jobs):
                known = jobs[number]
                jobs[number] = replace(known, others=(*known.others, stage))
            else:
                title = f"{kind}, beside {stage.name}, seed {stage.seed}"
                jobs.append(Job(kind, title, stage, key[0] / f".{key[1]}.lock"))
            beside.append(number)
        for protocols in ([frozen] if frozen else []) + [(name,) for name in training]:
            lock = stage.folder / f".{safe_name('-'.join((stage.dataset, *protocols)))}.lock"
            needs = (trainings[stage.folder], *(beside if protocols == frozen else ()))
            title = _title(stage, ", ".join(protocols))
            jobs.append(Job("evaluation", title, stage, lock, needs, protocols))
    return jobs


def work(job: Job, listener: Listener | None = None) -> None:
    """Do a job, or what is left of it; one that is finished takes a moment and tells the listener of no
    stage. Raises: Held where another process is at it; UsageError, AmrError; Stopped."""
    if is_held(job.lock):  # before anything is read
        raise Held(f"another process is at work on {job.title}")
    if job.kind == "pre-training":
        run_experiment(job.stage.experiment, job.stage.folder, listener, judged=False)
        return
    job.lock.parent.mkdir(parents=True, exist_ok=True)
    lock = hold(job.lock, job.lock.parent)
    try:
        if job.kind == "evaluation":
            judge_stage(job.stage, job.protocols, listener)
        else:
            for stage in (job.stage, *job.others):
                _judge_beside(stage, job.kind, listener)
    finally:
        lock.release()


def _judge_beside(stage: Stage, kind: str, listener: Listener | None) -> None:
    experiment = stage.experiment
    assert stage.data is not None
    dataset = open_dataset(stage.data)
    with determinism(experiment.deterministic):
        judge_beside(
            kind,
            _encoder_of(stage, lambda path: dataset if path == stage.data else open_dataset(path)),
            dataset,
            only_split(dataset, stage.split),
            stage.protocols,
            experiment.evaluation,
            stage.baselines or stage.folder,
            seed=stage.seed,
            precision=experiment.precision,
            device=experiment.device,
            listener=listener,
        )


def _parted(protocols: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Those that judge frozen features, and those that train."""
    frozen = tuple(name for name in protocols if protocol_named(name).frozen)
    return frozen, tuple(name for name in protocols if name not in frozen)


def _baseline_key(stage: Stage, kind: str, opened: Callable[[Path], ShardDataset]) -> str:
    """Equal for stages beside which the very same baseline stands, whose features are made once. `opened`
    opens a dataset."""
    assert stage.data is not None
    fingerprint = opened(stage.data).fingerprint[:12]
    shown = stage.experiment.input.changes
    if kind == "coordinates":
        return "-".join([kind, *([digest_of(shown)] if shown else []), fingerprint])
    config = _encoder_of(stage, opened)
    named = [config.shares] if config.shares else []
    what = {
        "model": encoder_settings(config),
        "sees": [config.joints, config.joint_names, config.empty_bodies, config.augment.rounding, *named],
        "seed": config.seed,
        **({"input": shown} if shown else {}),
    }
    return f"{kind}-{digest_of(what)}-{fingerprint}"


def _encoder_of(stage: Stage, opening: Opening) -> EncoderConfig:
    """The settings of the encoder that a stage trains, or judges."""
    sources = settled(stage.experiment, opening)
    return encoder_config(sources.experiment, *sources.datasets)


def _title(stage: Stage, what: str) -> str:
    return f"{stage.name}, seed {stage.seed}: {what}"
