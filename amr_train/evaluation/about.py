"""What a result is of: everything that decides it, by which it is found again, and how that is said."""

from __future__ import annotations

from typing import Any

from amr_train.evaluation.parts import TEST
from amr_train.evaluation.protocols import Protocol
from amr_train.evaluation.records import Record
from amr_train.evaluation.task import Task
from amr_train.identity import SCHEMA


def about_task(task: Task, protocol: Protocol) -> Record:
    """Everything that decides a result, and what says whose it is."""
    dataset = task.dataset
    folds = list(dataset.spec.folds_with(task.split))
    return {
        "schema": SCHEMA,
        "protocol": protocol.name,
        "subject": task.subject.about(),
        "data": {
            "dataset": dataset.spec.name,
            "fingerprint": dataset.fingerprint,
            "recipe": dict(dataset.manifest["recipe"]),
            "synthetic": dataset.synthetic,
            "path": str(dataset.path.resolve()),
        },
        "split": task.split,
        **({"folds": folds} if folds else {}),  # that it is one of
        "part": task.part,
        "clips": {"train": len(task.indices["train"]), task.part: len(task.indices["test"])},
        **({"seen": task.seen} if task.part != TEST else {}),
        "joints": task.joints,
        **task.gflops,
        "seed": task.seed,
        "precision": task.settings.feature_precision if protocol.frozen else task.precision,
        "settings": {
            **protocol.settings(task.settings, task.augment),
            **task.left_out,
            **(task.apart if protocol.frozen and protocol.of_clips else {}),
        },
    }


def spoken_of(protocol: Protocol, settings: dict[str, Any]) -> str:
    """The settings that matter, in a few words beside a figure."""
    spoken = [protocol.spoken(settings)]
    if "excluded" in settings:
        spoken.append(f"{settings['excluded']['clips']:,} clips excluded")
    return "; ".join(filter(None, spoken))
