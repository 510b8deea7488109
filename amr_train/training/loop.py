"""The pre-training loop: AdamW, warm-up and cosine, checkpoints at any step, no host synchronisation between
checks.

All randomness of an epoch's views follows from (seed, epoch) and that of a step's mask from (seed, step), so
a run that is taken up from a checkpoint, or spread over more processes, sees the very batches and masks that
another would have seen.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from amr_data import UsageError
from amr_train.config import Experiment, PretrainConfig
from amr_train.data.feed import Batch, Feed, Views
from amr_train.models.masked import MaskedModel
from amr_train.parallel.processes import Processes
from amr_train.training.checkpoints import load_latest, save_checkpoint
from amr_train.training.divergence import LossWatch, weights_are_finite
from amr_train.training.schedule import learning_rate, seed_of

GRAPH_SEQUENCES = 32
"""CUDA graphs need few shapes: batches are filled up to a multiple of so many sequences with zeros that do
not count."""


@dataclass
class Hooks:
    """What happens beside the training. report : (steps done, steps in all, metrics), at each check.  log :
    (epochs done, metrics).
    warn : a line about each damaged checkpoint.  rewind : how many epochs' logs stay valid when a run is
        taken up."""

    report: Callable[[int, int, dict[str, float]], None] = lambda done, total, metrics: None
    log: Callable[[int, dict[str, float]], None] = lambda epoch, metrics: None
    warn: Callable[[str], None] = lambda line: None
    rewind: Callable[[int], None] = lambda epoch: None


def pretrain(
    model: MaskedModel,
    feed: Feed,
    experiment: Experiment,
    checkpoints: Path,
    processes: Processes | None = None,
    hooks: Hooks | None = None,
    detect_anomaly: bool = False,
) -> dict[str, Any]:
    """Train to the last epoch, from the newest whole checkpoint in the folder if there is one.

    Args:
        detect_anomaly: name the operation whose gradient is no longer finite; several times slower.
    Returns: seconds of pre-training over all sittings, steps, the last epoch's metrics.
    Raises: DivergenceError where the loss or the weights are no longer finite.
    """
    processes, hooks = processes or Processes(), hooks or Hooks()
    config, device = experiment.pretrain, feed.device
    size = min(config.batch_size, len(feed))
    per_epoch = len(feed) // size
    last = config.epochs * per_epoch
    optimizer = make_optimizer(model, config)
    watch = LossWatch(device, per_epoch)
    step, spent, metrics = _restore(model, optimizer, watch, checkpoints, processes, hooks)
    hooks.rewind(step // per_epoch)
    trained = prepare(model, experiment, processes, device)
    every = 1 if (device.type == "cpu" and processes.size == 1) or detect_anomaly else config.check_steps
    saved_at = started = time.perf_counter()
    begun, counted, seconds = started, 0, spent
    model.train()

    def clips_of(number: int) -> list[str]:
        views = _views(feed, experiment, size, (number - 1) // per_epoch, Processes())
        return [feed.names[i] for i in views.clips[(number - 1) % per_epoch].tolist()]

    for epoch in range(step // per_epoch, config.epochs):
        views = _views(feed, experiment, size, epoch, processes)
        for batch in feed.batches(views, step % per_epoch):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, per_epoch, config)
            with (
                torch.autograd.set_detect_anomaly(detect_anomaly),
                watch.naming(step + 1, clips_of, checkpoints),
            ):
                loss, plain = train_step(trained, batch, optimizer, experiment, step, processes)
            step += 1
            counted += 1
            watch.add(step, loss, plain)
            if step % every and step % per_epoch:
                continue
            metrics = {**watch.check(processes, clips_of, checkpoints), "lr": optimizer.param_groups[0]["lr"]}
            now = time.perf_counter()
            metrics["clips_per_second"] = counted * size / (now - begun)
            if step % per_epoch == 0:
                hooks.log(epoch + 1, metrics)
                watch.reset()
                begun, counted = now, 0
            due = now - saved_at > 60 * config.checkpoint_minutes or step == last
            if due or step % (config.checkpoint_epochs * per_epoch) == 0:
                weights_are_finite(model, step, clips_of, checkpoints)
                seconds = spent + time.perf_counter() - started
                if processes.main:
                    state = {
                        "model": model.state_dict(),
                        "optimizer": optimizer.state_dict(),
                        "watch": watch.state(),
                    }
                    save_checkpoint(
                        checkpoints,
                        step,
                        {**state, "seconds": seconds, "metrics": metrics},
                        config.keep_checkpoints,
                    )
                saved_at = time.perf_counter()
            hooks.report(step, last, {"epoch": step // per_epoch, "epochs": config.epochs, **metrics})
    return {"seconds": seconds, "steps": last, **metrics}


def train_step(
    model: nn.Module,
    batch: Batch,
    optimizer: torch.optim.Optimizer,
    experiment: Experiment,
    step: int,
    processes: Processes,
) -> tuple[Tensor, Tensor]:
    """One optimiser step. Returns this process's part of the mean loss over the batch's sequences, and of
    that without focal weights."""
    device = batch.joints.device
    inner = model_of(model)
    generator = torch.Generator(device).manual_seed(seed_of(experiment.seed, "mask", step))
    noise = torch.rand(batch.total, inner.encoder.tokens, generator=generator, device=device)
    sequences = len(batch.joints)
    joints, noise, energy = batch.joints, noise[batch.first : batch.first + sequences], batch.energy
    if experiment.compile == "cuda-graphs":
        torch.compiler.cudagraph_mark_step_begin()
        missing = -sequences % GRAPH_SEQUENCES
        joints, noise = pad(joints, (0, 0) * 3 + (0, missing)), pad(noise, (0, 0, 0, missing))
        energy = None if energy is None else pad(energy, (0, 0) * 3 + (0, missing))
    with torch.autocast(device.type, torch.bfloat16, enabled=experiment.precision == "bfloat16"):
        loss, plain = model(joints, noise, energy)  # (S,)
    loss, plain = loss[:sequences].sum() / batch.total, plain[:sequences].sum() / batch.total
    optimizer.zero_grad(set_to_none=True)
    (loss * processes.size).backward()  # gradients are averaged over the processes
    if experiment.pretrain.clip_grad is not None:
        nn.utils.clip_grad_norm_(inner.parameters(), experiment.pretrain.clip_grad)
    optimizer.step()
    return loss.detach(), plain


def prepare(
    model: MaskedModel, experiment: Experiment, processes: Processes, device: torch.device
) -> nn.Module:
    """The model as it is trained: compiled where the experiment asks for it, gradients averaged over the
    processes.

    Raises: UsageError, see `check_compiler`.
    """
    check_compiler(experiment, device)
    trained: nn.Module = model
    if experiment.compile == "default":
        trained = torch.compile(model, dynamic=True)  # type: ignore[assignment]
    elif experiment.compile == "cuda-graphs":
        trained = torch.compile(model, mode="reduce-overhead", dynamic=False)  # type: ignore[assignment]
    return processes.wrap(trained, device)


def check_compiler(experiment: Experiment, device: torch.device) -> None:
    """Raises UsageError where a model is to be compiled for a CPU without a C++ compiler."""
    wanted = experiment.compile != "none" and device.type == "cpu"
    if wanted and not (os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")):
        raise UsageError(
            f"compile={experiment.compile} needs a C++ compiler on the CPU, and there is no g++ here: "
            f"install one, or set compile=none"
        )


def model_of(model: nn.Module) -> MaskedModel:
    """The model itself, without what `prepare` put around it."""
    if isinstance(model, nn.parallel.DistributedDataParallel):
        model = model.module
    inner = getattr(model, "_orig_mod", model)
    assert isinstance(inner, MaskedModel)
    return inner


def make_optimizer(model: nn.Module, config: PretrainConfig) -> torch.optim.AdamW:
    """Fused AdamW with weight decay on matrices and embeddings, none on biases and norms."""
    decay = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decay, "weight_decay": config.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, fused=True)


def _views(feed: Feed, experiment: Experiment, size: int, epoch: int, processes: Processes) -> Views:
    generator = torch.Generator().manual_seed(seed_of(experiment.seed, "views", epoch))
    return feed.train_views(size, experiment.augment, generator, processes.rank, processes.size)


def _restore(
    model: MaskedModel,
    optimizer: torch.optim.Optimizer,
    watch: LossWatch,
    checkpoints: Path,
    processes: Processes,
    hooks: Hooks,
) -> tuple[int, float, dict[str, float]]:
    """Take up the newest whole checkpoint. Returns steps done, seconds spent, the last metrics."""
    state, problems = load_latest(checkpoints, watch.device)
    for line in problems:
        hooks.warn(line)
    if state is None:
        return 0, 0.0, {}
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    watch.load(state["watch"], processes)
    return int(state["step"]), float(state["seconds"]), dict(state["metrics"])
