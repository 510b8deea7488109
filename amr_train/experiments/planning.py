"""What a run or a suite would do, before it does it: stages, sizes, how far each is, and time estimated from
a few measured steps."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from amr_data import ShardDataset, open_dataset
from amr_train.config import Experiment, FinetuneConfig
from amr_train.data.batching import Batch
from amr_train.data.mixing import apportioned
from amr_train.evaluation.evaluating import about_task
from amr_train.evaluation.finetuning import Classifier, layer_groups
from amr_train.evaluation.parts import only_split, parts_of, training_clips
from amr_train.evaluation.protocols import Protocol, protocol_named
from amr_train.evaluation.protocols.finetune import Finetune
from amr_train.evaluation.protocols.semi import Semi
from amr_train.evaluation.records import read_record_of
from amr_train.evaluation.subjects import trained
from amr_train.evaluation.task import Task
from amr_train.experiments.running import steps_of
from amr_train.experiments.sources import Clips, Sources, place_of, settled
from amr_train.experiments.stages import Stage
from amr_train.identity import differences, recorded_experiment, training_settings
from amr_train.models.encoder import SkeletonEncoder
from amr_train.models.files import ENCODER
from amr_train.models.layers import name_joints
from amr_train.models.pooling import clip_features
from amr_train.models.registry import make_method
from amr_train.parallel.precision import arithmetic, precise
from amr_train.parallel.processes import Processes, choose_device
from amr_train.training.checkpoints import list_checkpoints
from amr_train.training.folder import PRETRAINING, RUN, read_record
from amr_train.training.loop import prepare, train_step
from amr_train.training.optimizers import make_optimizer

M = TypeVar("M", bound=nn.Module)
CPU_CLIPS = 4
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
    return [_planned(stage) for stage in stages]


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


def _planned(stage: Stage) -> Planned:
    experiment, transfer = stage.experiment, stage.transfer
    protocols = tuple(dict.fromkeys((transfer or experiment.evaluation).protocols))
    if stage.data is None:
        return Planned(stage.name, stage.seed, NO_DATA, protocols=protocols)
    path, sources = stage.data, settled(experiment)
    device = choose_device(experiment.device)
    experiment, _ = precise(sources.experiment, device)
    stage = replace(stage, experiment=experiment)
    part = experiment.evaluation.part
    judged = [(source.dataset, source.split) for source in sources.every if not source.unjudged]
    if transfer is not None:
        dataset = open_dataset(path)
        judged = [(dataset, only_split(dataset, transfer.split))]
    state, done = _state(stage)
    steps, clips, training = steps_of(experiment, sources.clips), sources.clips, None
    if transfer is not None:
        clips = len(training_clips(*judged[0], part))
    elif state not in (FINISHED, OTHER):
        training = (steps - done) * _step_seconds(experiment, sources, device) / 60
    judging: dict[str, float] = {}
    for dataset, split in judged if protocols else ():
        left = _left(stage, dataset, split, protocols, device) if state == FINISHED else protocols
        if not left or state == OTHER:
            continue
        times, parts = _Times(experiment, dataset, device), parts_of(dataset, split, part)
        of = {name: times.evaluation(protocol_named(name), *parts) / 60 for name in left}
        for name in [name for name in left if protocol_named(name).frozen][:1]:
            of[name] += times.features(len(left) < len(protocols)) / 60
        judging = {name: judging.get(name, 0) + of.get(name, 0) for name in {**judging, **of}}
    there = len(protocols) - len(judging) if state == FINISHED else 0
    sizes = (clips, None if transfer else steps, done, protocols, there)
    total = sum(judging.values()) if judging else None
    return Planned(stage.name, stage.seed, state, *sizes, training, total, judging, part)


def _step_seconds(experiment: Experiment, sources: Sources, device: torch.device) -> float:
    """Of a step of the pre-training, all its parts."""
    size = min(experiment.pretrain.batch_size, sources.clips)
    shares = apportioned([len(source.clips) for source in sources.every], size, experiment.pretrain.mixing)
    seconds = 0.0
    for source, share in zip(sources.every, shares, strict=True):
        times = _Times(experiment, source.dataset, device)
        seconds += share * times.bodies(source.clips) * times.pretraining()
    return seconds


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


def _left(
    stage: Stage, dataset: ShardDataset, split: str, protocols: Sequence[str], device: torch.device
) -> tuple[str, ...]:
    """The protocols whose result of the finished encoder is not there yet."""
    experiment = stage.experiment
    subject = trained(stage.folder, dataset, device)
    what = (subject, dataset, split, experiment.evaluation, device, experiment.seed, experiment.precision)
    task = Task(*what)
    return tuple(
        name
        for name in protocols
        if read_record_of(stage.folder, about_task(task, protocol_named(name))) is None
    )


@dataclass(frozen=True)
class _Times:
    """Seconds of one experiment's work on a dataset, from measured steps."""

    experiment: Experiment
    dataset: ShardDataset
    device: torch.device

    def bodies(self, clips: Clips) -> float:
        """Sequences of a clip."""
        if self.experiment.data.empty_bodies == "keep":
            return float(self.dataset.spec.max_bodies)
        return float(self.dataset.clips["bodies"][clips].mean())

    def pretraining(self) -> float:
        """Of a step, by sequence."""
        joints = len(self.dataset.spec.skeleton.joints)
        return _pretraining(_speed(self.experiment), joints, self.dataset.windows, str(self.device))

    def forward(self) -> float:
        """Of the encoder alone, by sequence."""
        joints = len(self.dataset.spec.skeleton.joints)
        return _forward(_speed(self.experiment), joints, str(self.device))

    def features(self, known: bool) -> float:
        """Of the features of all clips: the untrained encoder's, and the encoder's where not known."""
        times = ("untrained" in self.experiment.evaluation.baselines) + (not known)
        return times * float(self.dataset.clips["bodies"].sum()) * self.forward()

    def evaluation(self, protocol: Protocol, train: Clips, test: Clips) -> float:
        """Of a protocol without its frozen features; a protocol of one's own counts nothing."""
        settings = self.experiment.evaluation
        if protocol.name == "linear" and settings.linear.views == "augmented":
            views = settings.linear.epochs * len(train) * self.bodies(train)
            return views * self.forward() * (1 + ("untrained" in settings.baselines))
        if not isinstance(protocol, Finetune | Semi):
            return 0.0
        training = protocol.training(settings) if isinstance(protocol, Finetune) else settings.finetune
        shares = [100.0]
        if isinstance(protocol, Semi):
            shares = [percent for percent in settings.semi.percent for _ in settings.semi.draws]
        joints, classes = len(self.dataset.spec.skeleton.joints), len(self.dataset.spec.classes)
        what = (_speed(self.experiment), joints, classes, training.model_dump_json(), str(self.device))
        each, tested = _finetuning(*what), len(test) * self.bodies(test) * self.forward()
        return sum(
            training.epochs * len(train) * share / 100 * self.bodies(train) * each + tested
            for share in shares
        )


def _speed(experiment: Experiment) -> str:
    """What decides the speed of a step."""
    left_out = {"data", "seed", "name", "description", "evaluation", "monitor"}
    return json.dumps(experiment.model_dump(mode="json", exclude=left_out))


@lru_cache
def _pretraining(settings: str, joints: int, windows: tuple[int, ...], where: str) -> float:
    experiment, device = Experiment(name="plan", **json.loads(settings)), torch.device(where)
    method = _named(make_method(experiment, joints, windows), experiment, joints).to(device)
    trained = prepare(method, experiment, Processes(), device)
    optimizer = make_optimizer(method, experiment.pretrain)
    clips = experiment.pretrain.batch_size if device.type == "cuda" else CPU_CLIPS
    batch = _batch(clips, experiment.model.frames, joints, device, windows if method.needs_energy else ())
    batch.others = (batch,) * (method.views - 1)
    steps = iter(range(3))
    return _measured(
        lambda: train_step(trained, batch, optimizer, experiment, next(steps), Processes()), clips, device
    )


@lru_cache
def _forward(settings: str, joints: int, where: str) -> float:
    experiment, device = Experiment(name="plan", **json.loads(settings)), torch.device(where)
    encoder = _named(SkeletonEncoder(experiment.model, joints), experiment, joints).to(device).eval()
    clips = 64 if device.type == "cuda" else CPU_CLIPS
    batch = _batch(clips, experiment.model.frames, joints, device)
    with torch.no_grad():
        return _measured(lambda: clip_features(encoder, batch.joints, None, batch.clip, clips), clips, device)


@lru_cache
def _finetuning(settings: str, joints: int, classes: int, training: str, where: str) -> float:
    experiment, device = Experiment(name="plan", **json.loads(settings)), torch.device(where)
    config = FinetuneConfig.model_validate_json(training)
    encoder = _named(SkeletonEncoder(experiment.model, joints), experiment, joints)
    model = Classifier(encoder, classes, config).to(device).train()
    optimizer = torch.optim.AdamW(layer_groups(model, config), lr=config.lr, fused=True)
    clips = config.batch_size if device.type == "cuda" else CPU_CLIPS
    batch = _batch(clips, experiment.model.frames, joints, device)
    labels = torch.zeros(clips, dtype=torch.int64, device=device)

    def step() -> None:
        with arithmetic(experiment.precision, device):
            logits = model(batch.joints, None, batch.clip, clips)
        optimizer.zero_grad(set_to_none=True)
        cross_entropy(logits.float(), labels).backward()
        optimizer.step()

    return _measured(step, clips, device)


def _named(module: M, experiment: Experiment, joints: int) -> M:
    """With joints of some name, where they are told by name."""
    if names := len(experiment.model.names):
        name_joints(module, torch.full((joints, names), 1 / names))
    return module


def _batch(clips: int, frames: int, joints: int, device: torch.device, windows: Sequence[int] = ()) -> Batch:
    """Clips of one body each, of chance."""
    views = torch.randn(clips, frames, joints, 3, device=device)
    energy = views.new_ones(*views.shape[:3], len(windows)) if windows else None
    index = torch.arange(clips)
    return Batch(views, energy, None, index.to(device), index, 0, clips, (0, clips))


def _measured(step: Callable[[], object], sequences: int, device: torch.device) -> float:
    """Seconds by sequence, the better of two steps after one to warm up."""
    times = []
    for _ in range(3):
        began = time.perf_counter()
        step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return min(times[1:]) / sequences


def stage_of(experiment: Experiment, folder: Path) -> Stage:
    """A single experiment as the one stage of its plan."""
    place = experiment.data.path or next(iter(experiment.data.paths), None)
    data = place_of(place)[0] if place else None
    return Stage(experiment.name, experiment.seed, experiment, folder, data, experiment.name)
