"""How long an experiment's work takes here, from a few measured steps."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from amr_data import ShardDataset
from amr_train.config import Experiment, FinetuneConfig
from amr_train.data.batching import Batch
from amr_train.data.mixing import apportioned
from amr_train.evaluation.finetuning import Classifier, layer_groups
from amr_train.evaluation.parts import SUBJECTS
from amr_train.evaluation.protocols import Protocol
from amr_train.evaluation.protocols.finetune import Finetune
from amr_train.evaluation.protocols.semi import Semi
from amr_train.experiments.sources import Clips, Sources
from amr_train.models.encoder import SkeletonEncoder
from amr_train.models.layers import name_joints
from amr_train.models.pooling import clip_features
from amr_train.models.registry import make_method
from amr_train.parallel.precision import arithmetic
from amr_train.parallel.processes import Processes
from amr_train.training.loop import prepare, train_step
from amr_train.training.optimizers import make_optimizer

M = TypeVar("M", bound=nn.Module)
CPU_CLIPS = 4
"""Measured first where there is no GPU: a batch of a large model may take minutes."""
SHORT_SECONDS = 2.0
"""Of a step that is measured with its own batch: what a step costs however few its clips are is counted many
times over otherwise."""


def seconds_of_step(experiment: Experiment, sources: Sources, device: torch.device) -> float:
    """Of one optimiser step of an experiment on its datasets."""
    size = min(experiment.pretrain.batch_size, sources.clips)
    each = apportioned([len(source.clips) for source in sources.every], size, experiment.pretrain.mixing)
    times = [Times(experiment, source.dataset, device) for source in sources.every]
    return sum(
        clips * time.bodies(source.clips) * time.pretraining(sources.windows)
        for clips, time, source in zip(each, times, sources.every, strict=True)
    )


@dataclass(frozen=True)
class Times:
    """Seconds of one experiment's work on a dataset, from measured steps."""

    experiment: Experiment
    dataset: ShardDataset
    device: torch.device

    def bodies(self, clips: Clips) -> float:
        """Sequences of a clip."""
        if self.experiment.data.empty_bodies == "keep":
            return float(self.dataset.spec.max_bodies)
        return float(self.dataset.clips["bodies"][clips].mean())

    def pretraining(self, windows: tuple[int, ...]) -> float:
        """Of a step, by sequence. `windows` : lengths of the energies that the training has."""
        joints = len(self.dataset.spec.skeleton.joints)
        return _pretraining(_speed(self.experiment), joints, windows, str(self.device))

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
            if settings.part == SUBJECTS:  # each clip is shown for every subject but its own
                views *= len(np.unique(self.dataset.clips["subject"][test])) - 1
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
    steps = itertools.count()

    def step_of(clips: int) -> Callable[[], object]:
        batch = _batch(clips, experiment.model.frames, joints, device, windows if method.needs_energy else ())
        batch.others = (batch,) * (method.views - 1)
        return lambda: train_step(trained, batch, optimizer, experiment, next(steps), Processes())

    return _measured(step_of, experiment.pretrain.batch_size, device)


@lru_cache
def _forward(settings: str, joints: int, where: str) -> float:
    experiment, device = Experiment(name="plan", **json.loads(settings)), torch.device(where)
    encoder = _named(SkeletonEncoder(experiment.model, joints), experiment, joints).to(device).eval()

    def step_of(clips: int) -> Callable[[], object]:
        batch = _batch(clips, experiment.model.frames, joints, device)
        return lambda: clip_features(encoder, batch.joints, None, batch.clip, clips)

    with torch.no_grad():
        return _measured(step_of, 64, device)


@lru_cache
def _finetuning(settings: str, joints: int, classes: int, training: str, where: str) -> float:
    experiment, device = Experiment(name="plan", **json.loads(settings)), torch.device(where)
    config = FinetuneConfig.model_validate_json(training)
    encoder = _named(SkeletonEncoder(experiment.model, joints), experiment, joints)
    model = Classifier(encoder, classes, config).to(device).train()
    optimizer = torch.optim.AdamW(layer_groups(model, config), lr=config.lr, fused=True)

    def step_of(clips: int) -> Callable[[], object]:
        batch = _batch(clips, experiment.model.frames, joints, device)
        labels = torch.zeros(clips, dtype=torch.int64, device=device)

        def step() -> None:
            with arithmetic(experiment.precision, device):
                logits = model(batch.joints, None, batch.clip, clips)
            optimizer.zero_grad(set_to_none=True)
            cross_entropy(logits.float(), labels).backward()
            optimizer.step()

        return step

    return _measured(step_of, config.batch_size, device)


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


def _measured(step_of: Callable[[int], Callable[[], object]], clips: int, device: torch.device) -> float:
    """Seconds by sequence of steps of so many clips. Without a GPU few clips are measured first, and all of
    them where that is soon done."""
    if device.type == "cuda":
        return _best(step_of(clips), device) / clips
    few = min(CPU_CLIPS, clips)
    each = _best(step_of(few), device) / few
    return _best(step_of(clips), device) / clips if few < clips and each * clips < SHORT_SECONDS else each


def _best(step: Callable[[], object], device: torch.device) -> float:
    """Seconds of the better of two steps after one to warm up."""
    times = []
    for _ in range(3):
        began = time.perf_counter()
        step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return min(times[1:])
