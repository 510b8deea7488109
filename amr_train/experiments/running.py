"""One experiment from shards to results: pre-train, then judge the encoder and what stands beside it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from amr_data import AmrError
from amr_data.files import write_json
from amr_train.config import Experiment
from amr_train.data.feed import Feed
from amr_train.data.input import count_bridged
from amr_train.data.mixing import MixedFeed
from amr_train.data.people import people_of
from amr_train.data.performances import performances_of
from amr_train.data.reading import read_split
from amr_train.data.views import make_changes
from amr_train.evaluation.evaluating import judged_all
from amr_train.evaluation.monitor import Monitor
from amr_train.evaluation.records import Record
from amr_train.evaluation.subjects import trained
from amr_train.evaluation.task import Task
from amr_train.experiments.length import steps_of
from amr_train.experiments.results import read_pretraining, results_of, write_results
from amr_train.experiments.sources import Source, Sources, check_energies, opened
from amr_train.listening import Listener, Listeners
from amr_train.models.encoder import for_joints
from amr_train.models.files import ENCODER, encoder_config, naming_of, read_encoder, save_encoder
from amr_train.models.layers import name_joints
from amr_train.models.method import Method
from amr_train.models.registry import make_method
from amr_train.parallel.precision import precise
from amr_train.parallel.processes import Processes, choose_device, joined
from amr_train.training.checkpoints import list_checkpoints
from amr_train.training.folder import PRETRAINING, RunFolder, finite
from amr_train.training.loop import AfterEpoch, pretrain

MILESTONES = "milestones"


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
        sources = opened(experiment, processes, device)
        experiment = sources.experiment
        steps = steps_of(experiment, sources.clips)
        what = (experiment, sources.datasets, device, steps, processes.size, trackers)
        make = partial(RunFolder, Path(out), *what)
        folder = processes.from_main(make)
        told = [told for told in (listener if processes.main else None, folder) if told is not None]
        run = _Run(sources, processes, device, Path(out), Listeners(told))
        for line in (*lines, *sources.lines):
            run.listener.warn(line)
        try:
            run.pretrain(detect_anomaly)
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
        self, sources: Sources, processes: Processes, device: torch.device, out: Path, listener: Listener
    ) -> None:
        self.sources, self.experiment, self.processes = sources, sources.experiment, processes
        self.device, self.out, self.listener = device, out, listener
        self.about = encoder_config(self.experiment, *sources.datasets)

    def pretrain(self, detect_anomaly: bool) -> None:
        """Make the encoder file, if it is not there; checkpoints may have gone."""
        experiment, out = self.experiment, self.out
        if self.processes.shared(self._finished):
            return
        torch.manual_seed(experiment.seed)
        windows = self.sources.windows
        method = make_method(experiment, self.about.joints, windows).to(self.device)
        if self.about.shares:
            name_joints(method, naming_of(self.about.shares, experiment.model.names))
        if method.needs_energy:
            check_energies(experiment, "a method that takes none of the shard's energies")
        feeds = {source.name: self._feed(source, method.needs_energy) for source in self.sources.every}
        several = len(feeds) > 1
        feed = MixedFeed(feeds, experiment.pretrain.mixing) if several else next(iter(feeds.values()))
        self.listener.stage("pre-training")
        watch = self._watch(method, feeds)
        told = (self.processes, self.listener, watch, detect_anomaly)
        found = pretrain(method, feed, experiment, out / "checkpoints", *told)

        def write() -> None:
            decoder = sum(p.numel() for n, p in method.named_parameters() if not n.startswith("encoder."))
            save_encoder(method.encoder, self.about, out / ENCODER)
            more: dict[str, Any] = {"decoder_parameters": decoder}
            if experiment.data.excluded:
                more["excluded_clips"] = sum(source.left_out for source in self.sources.every)
            if experiment.agreement.cameras:
                seen = [one.performances for one in feeds.values() if one.performances is not None]
                more["clips_of_several_cameras"] = sum(one.clips for one in seen)
            if experiment.input.jumps == "bridge":
                more["bridged"] = self._bridged()
            write_json(out / PRETRAINING, finite({**found, **more}))

        self.processes.from_main(write)  # the others wait for the file that they read next

    def _feed(self, source: Source, energy: bool) -> Feed:
        """The training clips of a dataset; of several skeletons each says which joints it has."""
        experiment, dataset = self.experiment, source.dataset
        keep = experiment.data.empty_bodies == "keep"
        arrays = read_split(
            dataset, source.clips, self.processes, energy, keep, experiment.input, self.listener
        )
        if energy and dataset.windows != self.sources.windows:
            scales = [dataset.windows.index(n) for n in self.sources.windows]
            arrays = replace(arrays, energy=arrays.energy[:, :, scales])
        return Feed(
            arrays,
            self.device,
            experiment.model.frames,
            with_energy=energy,
            bodies=dataset.spec.max_bodies if keep else None,
            resident=experiment.data.resident,
            naming=self._naming(source),
            changes=make_changes(experiment.augment, experiment.input, dataset),
            performances=performances_of(dataset, source.clips, experiment.agreement),
            people=people_of(dataset, source.clips, experiment.agreement),
        )

    def _naming(self, source: Source) -> Tensor | None:
        """The names of a dataset's joints, where the method's own are others."""
        names, shares = self.experiment.model.names, source.dataset.spec.skeleton.shares
        return naming_of(shares, names) if names and shares != self.about.shares else None

    def _bridged(self) -> dict[str, int]:
        counts = [count_bridged(source.dataset, source.clips) for source in self.sources.every]
        return {key: sum(count[key] for count in counts) for key in counts[0]}

    def _finished(self) -> bool:
        """Whether the encoder is there. Raises: AmrError where a part of a finished run is lost and no
        checkpoint could bring it back: it would be trained again from the beginning."""
        encoder, ended = self.out / ENCODER, self.out / PRETRAINING
        lost, damaged = "", ""
        if encoder.is_file():
            try:
                read_encoder(encoder, "cpu")
            except AmrError as error:
                lost = str(error)
        if encoder.is_file() and not lost and not ended.is_file():
            lost = f"{self.out} has an encoder, but {PRETRAINING} is lost"
        elif encoder.is_file() and not lost and read_pretraining(self.out) is None:
            damaged = f"{ended} cannot be read"
            lost = damaged if list_checkpoints(self.out / "checkpoints") else ""
        if lost and not list_checkpoints(self.out / "checkpoints"):
            raise AmrError(f"{lost}, and there is no checkpoint; remove {encoder.name} to train it again")
        if lost:
            self.listener.warn(f"{lost}; it is made again from the last checkpoint")
        elif damaged:  # the encoder is whole, and what was lost decides no figure
            self.listener.warn(f"{damaged}: tables and report lack how long the pre-training took")
        return encoder.is_file() and ended.is_file() and not lost

    def evaluate(self, baselines: Path | None) -> list[Record]:
        """Judge the encoder by the protocols that the experiment names, on every dataset that it was trained
        on."""
        experiment = self.experiment
        if not experiment.evaluation.protocols:
            return []
        records: list[Record] = []
        for source in self.sources.every:
            if source.unjudged:
                continue
            task = Task(
                trained(self.out, source.dataset, self.device),
                source.dataset,
                source.split,
                experiment.evaluation,
                self.device,
                experiment.seed,
                experiment.precision,
                self.processes,
                self.listener,
                self.out,
                compile=experiment.compile,
            )
            records += judged_all(task, experiment.evaluation.protocols, baselines)
        return records

    def _watch(self, method: Method, feeds: Mapping[str, Feed]) -> AfterEpoch:
        """What happens after an epoch: milestones, and a look at the features of each dataset."""
        experiment, config = self.experiment, self.experiment.monitor
        monitors: dict[str, Monitor] = {}
        for source in self.sources.every if config.every_epochs else ():
            feed = feeds[source.name]
            if len(feed) >= 2:
                what = (feed, config.clips, len(source.dataset.spec.classes), experiment.seed)
                monitors[source.name] = Monitor(*what, experiment.evaluation, self.processes)

        def after_epoch(epoch: int) -> dict[str, float]:
            last = epoch == experiment.pretrain.epochs
            if config.milestone_epochs and epoch % config.milestone_epochs == 0 and self.processes.main:
                at = self.about.model_copy(update={"epoch": epoch})
                save_encoder(method.encoder, at, self.out / MILESTONES / f"epoch-{epoch:04d}.safetensors")
            if not monitors or (epoch % config.every_epochs and not last):
                return {}
            found: dict[str, float] = {}
            for name, monitor in monitors.items():
                naming = feeds[name].naming
                seen = monitor.look(method.encoder if naming is None else for_joints(method.encoder, naming))
                found |= {f"{key}_{name}": v for key, v in seen.items()} if len(feeds) > 1 else seen
            self.listener.log("monitor", epoch, found)
            return found

        return after_epoch


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
