"""What a suite would do, before it does it: stages, sizes, how far each is, and time estimated from a few
measured steps."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch

from amr_data import open_dataset
from amr_data.recipes.motion import WINDOWS
from amr_train.config import Experiment
from amr_train.data.feed import Batch
from amr_train.experiments.suites import Stage
from amr_train.models.masked import MaskedModel
from amr_train.parallel.processes import Processes, choose_device
from amr_train.training.checkpoints import list_checkpoints
from amr_train.training.loop import make_optimizer, prepare, train_step

CPU_CLIPS = 4


@dataclass(frozen=True)
class Planned:
    """state : 'finished', 'step N', 'not begun' or 'no data'.  clips : of the training part.  steps : of the
    pre-training, 0 where there is
    none.  minutes : that the rest of the pre-training will take on this machine; None where it is not
        known."""

    name: str
    seed: int
    state: str
    clips: int | None
    steps: int | None
    minutes: float | None


def plan(stages: Sequence[Stage], measure: bool = True) -> list[Planned]:
    """Look at every stage's data and folder; with `measure`, time a few steps of every kind of model."""
    return [_planned(stage, measure) for stage in stages]


def _planned(stage: Stage, measure: bool) -> Planned:
    if stage.data is None:
        return Planned(stage.name, stage.seed, "no data", None, None, None)
    dataset = open_dataset(stage.data)
    split = stage.transfer.split if stage.transfer else stage.experiment.data.protocol
    clips = dataset.split(split, "train")
    finished = (stage.folder / "results.json").is_file()
    if stage.transfer:
        return Planned(
            stage.name,
            stage.seed,
            "finished" if finished else "not begun",
            len(clips),
            0,
            0.0 if finished else None,
        )
    config = stage.experiment.pretrain
    size = max(1, min(config.batch_size, len(clips)))
    steps = config.epochs * (len(clips) // size)
    kept = list_checkpoints(stage.folder / "checkpoints")
    done = steps if finished else int(kept[-1].name.split("-")[1]) if kept else 0
    state = "finished" if finished else f"step {done:,}" if done else "not begun"
    minutes = None
    if measure and len(clips):
        arrays = dataset.arrays(clips[: min(len(clips), 200)])
        bodies = (
            dataset.spec.max_bodies
            if stage.experiment.data.empty_bodies == "keep"
            else len(arrays.clip) / len(arrays.names)
        )
        each = _seconds_per_sequence(_without_place(stage.experiment), len(dataset.spec.skeleton.joints))
        minutes = (steps - done) * size * bodies * each / 60
    return Planned(stage.name, stage.seed, state, len(clips), steps, minutes)


def _without_place(experiment: Experiment) -> str:
    """What decides the speed of a step."""
    return json.dumps(
        experiment.model_dump(mode="json", exclude={"data", "seed", "name", "description", "evaluation"})
    )


@lru_cache
def _seconds_per_sequence(settings: str, joints: int) -> float:
    """Time of a training step by sequence, the better of two after one to warm up."""
    experiment = Experiment(name="plan", **json.loads(settings))
    device = choose_device(experiment.device)
    model = MaskedModel(experiment, joints, WINDOWS).to(device)
    trained, optimizer = (
        prepare(model, experiment, Processes(), device),
        make_optimizer(model, experiment.pretrain),
    )
    clips = experiment.pretrain.batch_size if device.type == "cuda" else CPU_CLIPS
    views = torch.randn(clips, experiment.model.frames, joints, 3, device=device)
    energy = views.new_ones(*views.shape[:3], len(WINDOWS)) if model.scales else None
    index = torch.arange(clips)
    batch = Batch(views, energy, index.to(device), index, 0, clips)
    times = []
    for step in range(3):
        began = time.perf_counter()
        train_step(trained, batch, optimizer, experiment, step, Processes())
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return min(times[1:]) / clips
