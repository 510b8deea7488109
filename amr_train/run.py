"""One experiment from shards to results: evaluate the untrained encoder, pre-train, evaluate again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch

from amr_data import ShardDataset, UsageError, open_dataset
from amr_train.config import Experiment
from amr_train.feed import Feed
from amr_train.models.amr import AMR
from amr_train.pretrain import pretrain, save_encoder
from amr_train.probe import evaluate
from amr_train.tracking import RunFolder


class Listener(Protocol):
    """Who wants to follow a run: `stage` names what runs now, `advance` says how far it is, `warn` tells what a user should know."""

    def stage(self, title: str) -> None: ...

    def advance(self, done: int, total: int, metrics: dict[str, float]) -> None: ...

    def warn(self, line: str) -> None: ...


def run_experiment(experiment: Experiment, out: str | Path, listener: Listener | None = None) -> dict[str, Any]:
    """Run or take up an experiment.

    Args:
        experiment: with `data.path` set to a converted dataset.
        out: the run's folder; a finished run is not run again, an unfinished one goes on from its last checkpoint.
    Returns: the content of results.json: `untrained` and `pretrained` accuracies in percent, pre-training seconds, sizes.
    Raises: UsageError, AmrError.
    """
    dataset, train_clips, test_clips = _open(experiment)
    device = choose_device(experiment.device)
    run = RunFolder(Path(out), experiment, dataset, device)
    try:
        finished = run.results()
        return finished if finished is not None else _run(experiment, dataset, train_clips, test_clips, device, run, listener)
    finally:
        run.close()


def _run(
    experiment: Experiment,
    dataset: ShardDataset,
    train_clips: Any,
    test_clips: Any,
    device: torch.device,
    run: RunFolder,
    listener: Listener | None,
) -> dict[str, Any]:
    torch.manual_seed(experiment.seed)
    model = AMR(experiment, len(dataset.spec.skeleton.joints), dataset.windows).to(device)
    frames = experiment.model.frames
    train = Feed(dataset.arrays(train_clips), device, frames, with_energy=bool(model.scales))
    test = Feed(dataset.arrays(test_clips), device, frames)

    def probe(title: str) -> dict[str, float]:
        if listener:
            listener.stage(title)
        follow: Callable[[int, int], None] | None = (lambda a, b: listener.advance(a, b, {})) if listener else None
        result = evaluate(
            model.encoder, train, test, len(dataset.spec.classes), experiment.evaluation, experiment.seed, follow
        ).as_dict()
        run.log(title.replace(" ", "_"), 0, result)
        return result

    untrained = probe("probing the untrained encoder")
    if listener:
        listener.stage("pre-training")
    training = pretrain(
        model, train, experiment, run, listener.advance if listener else None, listener.warn if listener else None
    )
    save_encoder(model, experiment, dataset.spec.skeleton.name, run.path / "encoder.pt")
    pretrained = probe("probing the pre-trained encoder")
    results = {
        "experiment": experiment.name,
        "dataset": dataset.spec.name,
        "protocol": experiment.data.protocol,
        "clips": {"train": len(train), "test": len(test)},
        "parameters": {
            "encoder": sum(p.numel() for p in model.encoder.parameters()),
            "decoder": sum(p.numel() for p in model.decoder.parameters()),
        },
        "probe": "BatchNorm without affine, linear layer, SGD"
        if experiment.evaluation.linear.batch_norm
        else "linear layer, SGD",
        "untrained": untrained,
        "pretrained": pretrained,
        "pretraining": training,
    }
    run.finish(results)
    return results


def choose_device(name: str) -> torch.device:
    """'auto' takes a CUDA GPU where there is one. Raises UsageError where 'cuda' is asked for and absent."""
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("device=cuda, but torch sees no CUDA GPU here; use device=cpu or device=auto")
    return torch.device("cuda" if name == "cuda" or (name == "auto" and torch.cuda.is_available()) else "cpu")


def _open(experiment: Experiment) -> tuple[ShardDataset, Any, Any]:
    """The dataset and its train and test clips, once everything fits together."""
    if not experiment.data.path:
        raise UsageError("no dataset: give --data DIR, a folder made by `amr-data convert`")
    dataset = open_dataset(experiment.data.path)
    meant, found = experiment.data.dataset, dataset.spec.name
    if meant and meant != found:
        raise UsageError(
            f"{experiment.name} is meant for {meant}, but {dataset.path} holds {found}; data.dataset={found} runs it all the same"
        )
    guidance = experiment.guidance
    if guidance.focal and guidance.source == "shard":
        missing = [n for n in guidance.windows if n not in dataset.windows]
        if missing:
            raise UsageError(
                f"guidance.source=shard needs windows among {list(dataset.windows)}, not {missing[0]}; or use source=online"
            )
    train, test = (dataset.split(experiment.data.protocol, part) for part in ("train", "test"))
    for part, clips in (("train", train), ("test", test)):
        if not len(clips):
            raise UsageError(f"{dataset.path} has no {part} clip for protocol {experiment.data.protocol}")
    return dataset, train, test
