"""What a run or a suite would do, before it does it: stages, sizes, how far each is, and time estimated from
a few measured steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import torch

from amr_data import ShardDataset, UsageError, open_dataset
from amr_train.evaluation.about import about_task
from amr_train.evaluation.parts import only_split, parts_of, training_clips
from amr_train.evaluation.protocols import protocol_named
from amr_train.evaluation.records import read_record_of
from amr_train.evaluation.subjects import trained
from amr_train.evaluation.task import Task
from amr_train.experiments.length import steps_of
from amr_train.experiments.sources import Clips, Opening, Sources, settled
from amr_train.experiments.stages import Stage
from amr_train.experiments.timing import Times, seconds_of_step
from amr_train.identity import differences, recorded_experiment, training_settings
from amr_train.models.files import ENCODER
from amr_train.parallel.precision import precise
from amr_train.parallel.processes import choose_device
from amr_train.training.checkpoints import list_checkpoints
from amr_train.training.folder import PRETRAINING, RUN, read_record

FINISHED, NO_DATA, OTHER = "finished", "no data", "another run"


@dataclass(frozen=True)
class Planned:
    """state : of the pre-training: 'finished', 'begun', 'not begun', 'another run' where the folder holds one
    with other settings, or 'no data'.  clips : of the training part.  steps : of the pre-training.
    steps_done : of them, kept in a checkpoint of a pre-training that has begun.
    protocols : by which the encoder is judged.  judged : how many of them are there already.
    pretraining_minutes, evaluation_minutes : that the rest will take on this machine; None where nothing was
        measured.
    part : by which the encoder is judged.
    judging_minutes : of what is left of the evaluation, by protocol; the features count with the first that
        needs them."""

    name: str
    seed: int
    state: str
    clips: int | None = None
    steps: int | None = None
    steps_done: int = 0
    protocols: tuple[str, ...] = ()
    judged: int = 0
    pretraining_minutes: float | None = None
    evaluation_minutes: float | None = None
    judging_minutes: dict[str, float] = field(default_factory=dict)
    part: str = "test"

    @property
    def left(self) -> bool:
        """Whether there is something to do that could be measured."""
        begun = self.state not in (FINISHED, NO_DATA, OTHER)
        return begun or (self.state == FINISHED and self.judged < len(self.protocols))


def plan(stages: Sequence[Stage]) -> list[Planned]:
    """Look at every stage's data and folder, and time a few steps of every kind of model that has something
    left to do. Raises: UsageError, AmrError."""
    opening = cache(open_dataset)
    known: dict[Path, Sources] = {}  # of each run, however many stages judge it
    return [_planned(stage, known, opening) for stage in stages]


def is_of_another_run(stage: Stage) -> bool:
    """Whether a stage's folder holds a run with other settings, whose results are not the stage's, or one
    that cannot be read."""
    try:
        experiment = settled(precise(stage.experiment, choose_device(stage.experiment.device))[0]).experiment
        return _state(replace(stage, experiment=experiment))[0] == OTHER
    except UsageError:
        return True


def in_words(planned: Sequence[Planned]) -> str:
    """What is left to do, in one line, and whether anything was measured."""
    training = [p.pretraining_minutes for p in planned if p.pretraining_minutes is not None]
    judging = [p.evaluation_minutes for p in planned if p.evaluation_minutes is not None]
    if not any(p.left for p in planned):
        states = {p.state for p in planned}
        why = "everything is finished" if states == {FINISHED} else "no dataset was given"
        if OTHER in states:
            why = "no stage is left that could run: another run is in the way, or a dataset was not given"
        elif len(states) > 1:
            why = "what is not finished has no dataset"
        return f"nothing was measured: {why}"
    times = f"{spelt(sum(training))} of pre-training, {spelt(sum(judging))} of evaluation"
    return f"left: {times} here, from a few measured steps"


def spelt(minutes: float) -> str:
    if minutes < 1:
        return "less than a minute" if minutes else "nothing"
    if minutes < 1.5:
        return "about a minute"
    return f"about {minutes:,.0f} minutes" if minutes < 120 else f"about {minutes / 60:,.1f} hours"


def _planned(stage: Stage, known: dict[Path, Sources], opening: Opening) -> Planned:
    if stage.missing:
        return Planned(stage.name, stage.seed, NO_DATA, protocols=stage.protocols)
    device, part = choose_device(stage.experiment.device), stage.experiment.evaluation.part
    if stage.folder not in known:
        known[stage.folder] = settled(precise(stage.experiment, device)[0], opening)
    sources = known[stage.folder]
    stage = replace(stage, experiment=sources.experiment)
    state, done = _state(stage)
    clips, steps, training = sources.clips, None, None
    if stage.transfer is None:
        steps = steps_of(stage.experiment, clips)
        if state not in (FINISHED, OTHER):
            training = (steps - done) * seconds_of_step(stage.experiment, sources, device) / 60
    judging: dict[str, float] = {}
    left: Sequence[str] = ()
    if stage.data is not None:
        dataset = opening(stage.data)
        split = only_split(dataset, stage.split)
        excluded = stage.experiment.data.excluded.get(dataset.spec.name, ())
        clips = len(training_clips(dataset, split, part, excluded))
        left = _left(stage, dataset, split, device) if state == FINISHED else stage.protocols
        if left and state != OTHER:
            judging = _judging(stage, dataset, parts_of(dataset, split, part, excluded), left, device)
    there = len(stage.protocols) - len(left)
    sizes = (clips, steps, done, stage.protocols, there)
    total = sum(judging.values()) if judging else None
    return Planned(stage.name, stage.seed, state, *sizes, training, total, judging, part)


def _judging(
    stage: Stage, dataset: ShardDataset, parts: Sequence[Clips], left: Sequence[str], device: torch.device
) -> dict[str, float]:
    """Minutes of what is left of an evaluation, by protocol. `parts` : the clips that train and that
    judge."""
    times = Times(stage.experiment, dataset, device)
    judging = {name: times.evaluation(protocol_named(name), *parts) / 60 for name in left}
    for name in [name for name in left if protocol_named(name).frozen][:1]:
        judging[name] += times.features(len(left) < len(stage.protocols)) / 60
    return judging


def _state(stage: Stage) -> tuple[str, int]:
    """How far the pre-training is, in words and in steps."""
    file = stage.folder / RUN
    if not file.is_file():
        return "not begun", 0
    old, new = recorded_experiment(read_record(file), file), stage.experiment
    if differences(training_settings(new), training_settings(old)) or old.seed != new.seed:
        return OTHER, 0
    if (stage.folder / ENCODER).is_file() and (stage.folder / PRETRAINING).is_file():
        return FINISHED, 0
    kept = list_checkpoints(stage.folder / "checkpoints")
    done = int(kept[-1].name.split("-")[1]) if kept else 0
    return ("begun" if done else "not begun"), done


def _left(stage: Stage, dataset: ShardDataset, split: str, device: torch.device) -> tuple[str, ...]:
    """The protocols whose result of the finished encoder is not there yet."""
    experiment = stage.experiment
    subject = trained(stage.folder, dataset, device)
    what = (subject, dataset, split, experiment.evaluation, device, experiment.seed, experiment.precision)
    task = Task(*what)
    return tuple(
        name
        for name in stage.protocols
        if read_record_of(stage.folder, about_task(task, protocol_named(name))) is None
    )
