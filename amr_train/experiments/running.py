"""One experiment from shards to results: pre-train, then judge the encoder and what stands beside it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from amr_data import AmrError, ShardDataset, UsageError, open_dataset
from amr_data.files import write_json
from amr_train.config import Experiment
from amr_train.data.feed import Feed
from amr_train.data.input import check_input, count_bridged, energies_fit
from amr_train.data.reading import read_split
from amr_train.evaluation.evaluating import judged_all
from amr_train.evaluation.monitor import Monitor
from amr_train.evaluation.parts import only_split, parts_of, training_clips
from amr_train.evaluation.protocols import protocol_named
from amr_train.evaluation.records import Record
from amr_train.evaluation.subjects import trained
from amr_train.evaluation.task import Task
from amr_train.experiments.results import results_of, write_results
from amr_train.listening import Listener, Listeners
from amr_train.models.files import ENCODER, encoder_config, read_encoder, save_encoder
from amr_train.models.method import Method
from amr_train.models.registry import make_method
from amr_train.parallel.precision import precise
from amr_train.parallel.processes import Processes, choose_device, joined
from amr_train.training.checkpoints import list_checkpoints
from amr_train.training.compiling import check_compiler
from amr_train.training.folder import PRETRAINING, RunFolder
from amr_train.training.loop import pretrain

MILESTONES = "milestones"
NO_ENERGIES = (
    "the shard's energies are those of its joints: with input.stream=bone, a frame or centre of every frame, "
    "or bridged jumps take {}"
)
Clips = npt.NDArray[np.int64]


def run_experiment(
    experiment: Experiment,
    out: str | Path,
    listener: Listener | None = None,
    trackers: Sequence[str] = (),
    detect_anomaly: bool = False,
    baselines: Path | None = None,
    judged: bool = True,
) -> dict[str, Any]:
    """Run or take up an experiment, alone or as one of the processes that torchrun started.

    Args:
        experiment: with `data.path` set to a converted dataset.
        out: the run's folder. A finished pre-training is not trained again, an unfinished one goes on from
            its last checkpoint; of its evaluations, those that are not there yet are made. Several machines
            share it.
        trackers: 'wandb' or 'mlflow', beside TensorBoard and JSONL.
        detect_anomaly: see `pretrain`.
        baselines: the folder that keeps the results of untrained encoders and coordinates; the run's own
            where it is None.
        judged: whether the evaluations are made too; without, the pre-training alone.
    Returns: what results.json says, with the results of the evaluations that the experiment names in
        `evaluations`. Only the main process has it; others return {}.
    Raises: UsageError, AmrError; Stopped after SIGINT or SIGTERM in a training.
    """
    with (
        joined(choose_device(experiment.device)) as (processes, device),
        determinism(experiment.deterministic),
    ):
        if processes.size > 1:
            processes.from_main(partial(opened, experiment, processes, device))  # what is wrong is said once
        experiment, lines = precise(experiment, device)
        experiment, dataset, train_clips = opened(experiment, processes, device)
        steps = steps_of(experiment, len(train_clips))
        make = partial(RunFolder, Path(out), experiment, dataset, device, steps, processes.size, trackers)
        folder = processes.from_main(make)
        told = [told for told in (listener if processes.main else None, folder) if told is not None]
        run = _Run(experiment, dataset, processes, device, Path(out), Listeners(told))
        for line in lines:
            run.listener.warn(line)
        try:
            run.pretrain(train_clips, detect_anomaly)
            records = run.evaluate(baselines) if judged else []
        finally:
            if folder:
                folder.close()
        if not processes.main:
            return {}
        write_results(Path(out))
        return results_of(Path(out), records)


class _Run:
    """What the stages of a run share."""

    def __init__(
        self,
        experiment: Experiment,
        dataset: ShardDataset,
        processes: Processes,
        device: torch.device,
        out: Path,
        listener: Listener,
    ) -> None:
        self.experiment, self.dataset, self.processes = experiment, dataset, processes
        self.device, self.out, self.listener = device, out, listener

    def pretrain(self, train_clips: Clips, detect_anomaly: bool) -> None:
        """Make the encoder file, if it is not there; checkpoints may have gone."""
        experiment, out = self.experiment, self.out
        if self.processes.shared(self._finished):
            return
        torch.manual_seed(experiment.seed)
        skeleton = self.dataset.spec.skeleton
        method = make_method(experiment, len(skeleton.joints), self.dataset.windows).to(self.device)
        if method.needs_energy and not energies_fit(experiment.input):
            raise UsageError(NO_ENERGIES.format("a method that takes none of the shard's energies"))
        keep = experiment.data.empty_bodies == "keep"
        what = (train_clips, self.processes, method.needs_energy, keep, experiment.input)
        feed = Feed(
            read_split(self.dataset, *what),
            self.device,
            experiment.model.frames,
            with_energy=method.needs_energy,
            bodies=self.dataset.spec.max_bodies if keep else None,
            resident=experiment.data.resident,
        )
        self.listener.stage("pre-training")
        watch = self._watch(method, feed)
        told = (self.processes, self.listener, watch, detect_anomaly)
        found = pretrain(method, feed, experiment, out / "checkpoints", *told)

        def write() -> None:
            decoder = sum(p.numel() for n, p in method.named_parameters() if not n.startswith("encoder."))
            save_encoder(method.encoder, encoder_config(experiment, self.dataset), out / ENCODER)
            more: dict[str, Any] = {"decoder_parameters": decoder}
            if experiment.input.jumps == "bridge":
                more["bridged"] = count_bridged(self.dataset, train_clips)
            write_json(out / PRETRAINING, {**found, **more})

        self.processes.from_main(write)  # the others wait for the file that they read next

    def _finished(self) -> bool:
        """Whether the encoder is there. Raises: AmrError where a part of a finished run is lost and no
        checkpoint could bring it back: it would be trained again from the beginning."""
        encoder, ended = self.out / ENCODER, self.out / PRETRAINING
        lost = ""
        if encoder.is_file():
            try:
                read_encoder(encoder, "cpu")
            except AmrError as error:
                lost = str(error)
        if encoder.is_file() and not lost and not ended.is_file():
            lost = f"{self.out} has an encoder, but {PRETRAINING} is lost"
        if lost and not list_checkpoints(self.out / "checkpoints"):
            raise AmrError(f"{lost}, and there is no checkpoint; remove {encoder.name} to train it again")
        if lost:
            self.listener.warn(f"{lost}; it is made again from the last checkpoint")
        return encoder.is_file() and ended.is_file() and not lost

    def evaluate(self, baselines: Path | None) -> list[Record]:
        """Judge the encoder by the protocols that the experiment names."""
        experiment = self.experiment
        split = experiment.data.split
        assert split is not None
        if not experiment.evaluation.protocols:
            return []
        task = Task(
            trained(self.out, self.dataset, self.device),
            self.dataset,
            split,
            experiment.evaluation,
            self.device,
            experiment.seed,
            experiment.precision,
            self.processes,
            self.listener,
            self.out,
            compile=experiment.compile,
        )
        return judged_all(task, experiment.evaluation.protocols, baselines)

    def _watch(self, method: Method, feed: Feed) -> Any:
        """What happens after an epoch: milestones, and a look at the features."""
        experiment, config = self.experiment, self.experiment.monitor
        about = encoder_config(experiment, self.dataset)
        monitor = None
        if config.every_epochs and len(feed) >= 2:
            classes = len(self.dataset.spec.classes)
            what = (feed, config.clips, classes, experiment.seed, experiment.evaluation)
            monitor = Monitor(*what, self.processes)

        def after_epoch(epoch: int) -> dict[str, float]:
            last = epoch == experiment.pretrain.epochs
            if config.milestone_epochs and epoch % config.milestone_epochs == 0 and self.processes.main:
                at = about.model_copy(update={"epoch": epoch})
                save_encoder(method.encoder, at, self.out / MILESTONES / f"epoch-{epoch:04d}.safetensors")
            if monitor is None or (epoch % config.every_epochs and not last):
                return {}
            found = monitor.look(method.encoder)
            self.listener.log("monitor", epoch, found)
            return found

        return after_epoch


def opened(
    experiment: Experiment, processes: Processes, device: torch.device
) -> tuple[Experiment, ShardDataset, Clips]:
    """The experiment with its split resolved, the dataset and its training clips, once everything fits
    together.

    Raises: UsageError.
    """
    check_compiler(experiment.compile, device)
    even = experiment.pretrain.batches == "even" or experiment.data.empty_bodies == "keep"
    if experiment.compile == "cuda-graphs" and not even:
        raise UsageError(
            "compile=cuda-graphs needs batches of one size: add pretrain.batches=even (which clips meet in a "
            "batch decides results, so a run that was begun without it goes on with compile=default)"
        )
    for name in experiment.evaluation.protocols:
        protocol_named(name)
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
        if not energies_fit(experiment.input):
            raise UsageError(NO_ENERGIES.format("guidance.source=online"))
        missing = [n for n in guidance.windows if n not in dataset.windows]
        if missing:
            raise UsageError(
                f"guidance.source=shard needs windows among {list(dataset.windows)}, not {missing[0]}; "
                "or use source=online"
            )
    check_input(experiment.input, dataset)
    split = only_split(dataset, experiment.data.split)
    experiment = experiment.model_copy(update={"data": experiment.data.model_copy(update={"split": split})})
    part = experiment.evaluation.part
    if experiment.evaluation.protocols:
        parts_of(dataset, split, part)
    train = training_clips(dataset, split, part)
    if min(experiment.pretrain.batch_size, len(train)) < processes.size:
        size = experiment.pretrain.batch_size
        raise UsageError(f"a batch of {size} clips cannot be shared by {processes.size} processes")
    return experiment, dataset, train


def steps_of(experiment: Experiment, clips: int) -> int:
    """Optimiser steps of the whole pre-training on so many training clips."""
    size = max(1, min(experiment.pretrain.batch_size, clips))
    return experiment.pretrain.epochs * (clips // size)


@contextmanager
def determinism(wanted: bool) -> Iterator[None]:
    before = torch.are_deterministic_algorithms_enabled()
    if wanted:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
        torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
