"""A finished encoder on a converted data set: the frozen-encoder protocols, without a run."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from amr_data import UsageError, open_dataset
from amr_train.config import EvaluationConfig
from amr_train.encoders import load_encoder
from amr_train.feed import Feed
from amr_train.probe import evaluate, probe_name
from amr_train.run import choose_device


def evaluate_encoder(
    encoder: str | Path,
    dataset: str | Path,
    protocol: str,
    settings: EvaluationConfig | None = None,
    seed: int = 0,
    device: str = "auto",
    report: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Linear and kNN accuracy of an encoder file on one protocol of a dataset.

    Args:
        encoder: a run's folder, or the encoder.safetensors of a run or of `import_mamp`.
        dataset: a folder made by `amr-data convert`.
    Returns: `linear`, `linear_best_epoch` and `knn` in percent, and what was evaluated.
    Raises: UsageError where encoder and dataset do not fit together.
    """
    settings = settings or EvaluationConfig()
    where = choose_device(device)
    loaded = load_encoder(encoder, where)
    data = open_dataset(dataset)
    joints = len(data.spec.skeleton.joints)
    if joints != loaded.config.joints:
        raise UsageError(f"the encoder takes {loaded.config.joints} joints, {data.path} has {joints}")
    bodies = data.spec.max_bodies if loaded.config.empty_bodies == "keep" else None
    feed = partial(Feed, device=where, frames=loaded.config.model.frames, bodies=bodies)
    parts = [data.split(protocol, part) for part in ("train", "test")]
    for part, clips in zip(("train", "test"), parts, strict=True):
        if not len(clips):
            raise UsageError(f"{data.path} has no {part} clip for protocol {protocol}")
    train, test = (feed(data.arrays(clips)) for clips in parts)
    found = evaluate(loaded.encoder, train, test, len(data.spec.classes), settings, seed, report)
    recipe = {"encoder": loaded.config.recipe, "dataset": data.manifest["recipe"]}
    return {
        **found.as_dict(),
        "dataset": data.spec.name,
        "protocol": protocol,
        "clips": {"train": len(train), "test": len(test)},
        "probe": probe_name(settings.linear),
        "recipes_differ": bool(recipe["encoder"]) and recipe["encoder"] != recipe["dataset"],
    }
