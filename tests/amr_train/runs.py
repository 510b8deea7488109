"""Small runs and a listener that can stop them."""

from __future__ import annotations

from pathlib import Path

import amr_train
from amr_train import Experiment, load_experiment

SMALL = [
    "model.frames=24",
    "model.width=16",
    "model.encoder_layers=1",
    "model.decoder_layers=1",
    "pretrain.warmup_epochs=1",
    "pretrain.batch_size=8",
    "evaluation.linear.epochs=3",
    "evaluation.protocols=[linear, knn]",
    "monitor.every_epochs=0",
]
UNJUDGED = "evaluation.protocols=[]"
FAST_FINETUNING = [
    "evaluation.finetune.epochs=1",
    "evaluation.finetune.warmup_epochs=0",
    "evaluation.finetune.hidden=16",
    "evaluation.semi.percent=[50]",
    "evaluation.semi.draws=[0]",
]
OFTEN = ["pretrain.epochs=4", "pretrain.checkpoint_epochs=1", "pretrain.checkpoint_minutes=1e-9"]


class Stop(Exception):
    pass


class Listener(amr_train.Listener):
    """Stops the run after some steps, as a kill would; keeps what it was told."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.stop_after, self.steps, self.lines, self.stages = stop_after, [], [], []

    def stage(self, title: str) -> None:
        self.title = title
        self.stages.append(title)

    def advance(self, done: int, total: int, metrics: dict[str, float]) -> None:
        if self.title == "pre-training":
            self.steps.append(done)
            if done == self.stop_after:
                raise Stop

    def warn(self, line: str) -> None:
        self.lines.append(line)


def small(shards: Path, *overrides: str) -> Experiment:
    """Four epochs, three steps each on the synthetic clips, with a checkpoint after every step."""
    return load_experiment("demo", [*SMALL, *OFTEN, f"data.path={shards}", *overrides])
