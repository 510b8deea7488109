"""One experiment from shards to results: evaluate the untrained encoder, pre-train, evaluate again."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from amr_data import ShardDataset, UsageError, open_dataset
from amr_train.config import Experiment
from amr_train.data.feed import Feed
from amr_train.evaluation.classifier import keeper
from amr_train.evaluation.finetuning import Setting
from amr_train.evaluation.protocols_old import Evaluation
from amr_train.models.files import ENCODER, encoder_config, save_encoder
from amr_train.models.masked import MaskedModel
from amr_train.parallel.processes import Processes, choose_device, joined
from amr_train.training.folder import RunFolder
from amr_train.training.loop import Hooks, check_compiler, pretrain


class Listener(Protocol):
    """Who wants to follow a run: `stage` names what runs now, `advance` says how far it is, `warn` tells what
    a user should know."""

    def stage(self, title: str) -> None: ...

    def advance(self, done: int, total: int, metrics: dict[str, float]) -> None: ...

    def warn(self, line: str) -> None: ...


def run_experiment(
    experiment: Experiment,
    out: str | Path,
    listener: Listener | None = None,
    trackers: Sequence[str] = (),
    detect_anomaly: bool = False,
) -> dict[str, Any]:
    """Run or take up an experiment, alone or as one of the processes that torchrun started.

    Args:
        experiment: with `data.path` set to a converted dataset.
        out: the run's folder; a finished run is not run again, an unfinished one goes on from its last
            checkpoint, one that is asked for another evaluation is evaluated again. Several machines share
            it.
        trackers: 'wandb' or 'mlflow', beside TensorBoard and JSONL.
        detect_anomaly: see `pretrain`.
    Returns: the content of results.json: `untrained` and `pretrained` accuracies in percent, pre-training
        seconds, sizes. Only the main process has it; others return {}.
    Raises: UsageError, AmrError.
    """
    with (
        joined(choose_device(experiment.device)) as (processes, device),
        _determinism(experiment.deterministic),
    ):
        if processes.size > 1:
            processes.from_main(
                partial(_open, experiment, processes, device)
            )  # what is wrong with it is said once
        dataset, train_clips, test_clips = _open(experiment, processes, device)
        make = partial(RunFolder, Path(out), experiment, dataset, device, processes.size, trackers)
        run = processes.from_main(make)
        finished = run.results() if run else None
        if finished and finished.get("evaluation") != _evaluation_of(experiment):
            finished = None  # the pre-training is kept, what is asked of it has changed
        if processes.any(finished is not None):
            return finished or {}
        stages = _Stages(
            experiment, dataset, processes, device, Path(out), run, listener if processes.main else None
        )
        try:
            return stages.run_all(train_clips, test_clips, detect_anomaly)
        finally:
            if run:
                run.close()


@dataclass
class _Stages:
    """What the stages of a run share. `run` and `listener` are the main process's."""

    experiment: Experiment
    dataset: ShardDataset
    processes: Processes
    device: torch.device
    out: Path
    run: RunFolder | None
    listener: Listener | None

    def run_all(self, train_clips: Any, test_clips: Any, detect_anomaly: bool) -> dict[str, Any]:
        experiment, dataset = self.experiment, self.dataset
        torch.manual_seed(experiment.seed)
        model = MaskedModel(experiment, len(dataset.spec.skeleton.joints), dataset.windows).to(self.device)
        bodies = dataset.spec.max_bodies if experiment.data.empty_bodies == "keep" else None
        feed = partial(
            Feed,
            device=self.device,
            frames=experiment.model.frames,
            bodies=bodies,
            resident=experiment.data.resident,
        )
        train = feed(dataset.arrays(train_clips), with_energy=bool(model.scales))
        test = feed(dataset.arrays(test_clips))
        untrained = self.evaluate("probing the untrained encoder", model, train, test, ["linear", "knn"])
        training = self.pretrain(model, train, detect_anomaly)
        if self.run:
            save_encoder(model.encoder, encoder_config(experiment, dataset), self.out / ENCODER)
        chosen = list(dict.fromkeys(["linear", "knn", *experiment.evaluation.protocols]))
        pretrained = self.evaluate("probing the pre-trained encoder", model, train, test, chosen)
        if not self.run:
            return {}
        results = {
            "experiment": experiment.name,
            "method": experiment.method,
            "dataset": dataset.spec.name,
            "protocol": experiment.data.protocol,
            "clips": {"train": len(train), "test": len(test)},
            "parameters": {
                "encoder": sum(p.numel() for p in model.encoder.parameters()),
                "decoder": sum(p.numel() for p in model.decoder.parameters()),
            },
            "probe": pretrained["linear"]["probe"],
            "untrained": summary(untrained),
            "pretrained": summary(pretrained),
            "protocols": pretrained,
            "evaluation": _evaluation_of(experiment),
            "pretraining": training,
        }
        self.run.finish(results)
        return results

    def evaluate(
        self, title: str, model: MaskedModel, train: Feed, test: Feed, protocols: Sequence[str]
    ) -> dict[str, Any]:
        experiment, classes = self.experiment, len(self.dataset.spec.classes)
        setting = Setting(
            experiment.evaluation, experiment.augment, experiment.precision, experiment.seed, self.processes
        )
        asked = json.dumps(_evaluation_of(experiment) | {"protocols": None}, sort_keys=True)
        folder = self.out / f"evaluation-{hashlib.sha256(asked.encode()).hexdigest()[:8]}"
        keep = keeper(encoder_config(experiment, self.dataset), self.dataset)
        evaluation = Evaluation(model.encoder, train, test, classes, setting, folder, keep=keep)
        if self.listener:
            listener = self.listener
            evaluation.setting = replace(setting, report=listener.advance)
            evaluation.stage = lambda name: listener.stage(title if name == "features" else name)
        found = evaluation.run(protocols)
        if self.run:
            self.run.log(title.replace(" ", "_"), 0, summary(found))
        return found

    def pretrain(self, model: MaskedModel, train: Feed, detect_anomaly: bool) -> dict[str, Any]:
        hooks = Hooks()
        if self.listener:
            self.listener.stage("pre-training")
            hooks.report, hooks.warn = self.listener.advance, self.listener.warn
        if self.run:
            hooks.log, hooks.rewind = partial(self.run.log, "pretrain"), partial(self.run.rewind, "pretrain")
        return pretrain(
            model, train, self.experiment, self.out / "checkpoints", self.processes, hooks, detect_anomaly
        )


def _evaluation_of(experiment: Experiment) -> dict[str, Any]:
    return experiment.evaluation.model_dump(mode="json")


def summary(found: dict[str, Any]) -> dict[str, float]:
    """The figures to compare by: top-1 of the probes, in percent."""
    linear, knn = found["linear"], found["knn"]
    return {"linear": linear["top1"], "linear_best_epoch": linear["best_epoch"], "knn": knn["top1"]}


def parts_of(dataset: ShardDataset, protocol: str) -> list[npt.NDArray[np.int64]]:
    """Indices of a protocol's train and test clips. Raises: UsageError where either has none."""
    parts = [dataset.split(protocol, part) for part in ("train", "test")]
    for part, clips in zip(("train", "test"), parts, strict=True):
        if not len(clips):
            raise UsageError(f"{dataset.path} has no {part} clip for protocol {protocol}")
    return parts


@contextmanager
def _determinism(wanted: bool) -> Iterator[None]:
    before = torch.are_deterministic_algorithms_enabled()
    if wanted:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
        torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def _open(
    experiment: Experiment, processes: Processes, device: torch.device
) -> tuple[ShardDataset, Any, Any]:
    """The dataset and its train and test clips, once everything fits together."""
    check_compiler(experiment, device)
    if not experiment.data.path:
        raise UsageError("no dataset: give --data DIR, a folder made by `amr-data convert`")
    dataset = open_dataset(experiment.data.path)
    meant, found = experiment.data.dataset, dataset.spec.name
    if meant and meant != found:
        raise UsageError(
            f"{experiment.name} is meant for {meant}, but {dataset.path} holds {found}; "
            f"data.dataset={found} runs it all the same"
        )
    guidance = experiment.guidance
    if guidance.focal and guidance.source == "shard":
        missing = [n for n in guidance.windows if n not in dataset.windows]
        if missing:
            raise UsageError(
                f"guidance.source=shard needs windows among {list(dataset.windows)}, not {missing[0]}; or "
                f"use source=online"
            )
    train, test = parts_of(dataset, experiment.data.protocol)
    if min(experiment.pretrain.batch_size, len(train)) < processes.size:
        raise UsageError(
            f"a batch of {experiment.pretrain.batch_size} clips cannot be shared by {processes.size} "
            f"processes"
        )
    return dataset, train, test
