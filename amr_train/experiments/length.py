"""How long a pre-training is."""

from __future__ import annotations

import math

from amr_train.config import Experiment


def long_enough(experiment: Experiment, clips: int) -> tuple[Experiment, list[str]]:
    """The experiment with as many epochs as `pretrain.min_steps` needs on so many training clips, and all
    that is counted in epochs as much longer; and a word about it where that changes anything."""
    config = experiment.pretrain
    each = steps_in_epoch(experiment, clips)
    if not each or config.epochs * each >= config.min_steps:
        return experiment, []
    epochs = math.ceil(config.min_steps / each)
    longer = epochs / config.epochs
    counted = {"warmup_epochs": config.warmup_epochs, "checkpoint_epochs": config.checkpoint_epochs}
    update = {"epochs": epochs, **{key: math.floor(value * longer) for key, value in counted.items()}}
    watched = {
        key: math.ceil(getattr(experiment.monitor, key) * longer)
        for key in ("every_epochs", "milestone_epochs")
    }
    changed = {
        "pretrain": config.model_copy(update=update),
        "monitor": experiment.monitor.model_copy(update=watched),
    }
    word = (
        f"{clips:,} training clips are few: {epochs:,} epochs in place of {config.epochs:,}, which are "
        f"{epochs * each:,} steps (pretrain.min_steps={config.min_steps}; pretrain.epochs=N says otherwise)"
    )
    return experiment.model_copy(update=changed), [word]


def steps_in_epoch(experiment: Experiment, clips: int) -> int:
    """Optimiser steps of an epoch on so many training clips."""
    return clips // max(1, min(experiment.pretrain.batch_size, clips))


def steps_of(experiment: Experiment, clips: int) -> int:
    """Optimiser steps of the whole pre-training on so many training clips."""
    return experiment.pretrain.epochs * steps_in_epoch(experiment, clips)
