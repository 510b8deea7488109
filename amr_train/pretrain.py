"""The pre-training loop: AdamW, warm-up and cosine, checkpoints at epoch ends, no host synchronisation inside an epoch.

All randomness of an epoch follows from (seed, epoch), so a run that is taken up from a checkpoint sees the very batches and masks that the
uninterrupted one would have seen.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from amr_data import AmrError
from amr_data.files import whole_file
from amr_train.checkpoint import load_latest, save_checkpoint
from amr_train.config import Experiment, PretrainConfig
from amr_train.feed import Feed
from amr_train.models.amr import AMR
from amr_train.tracking import RunFolder

Report = Callable[[int, int, dict[str, float]], None]


def pretrain(
    model: AMR,
    feed: Feed,
    experiment: Experiment,
    run: RunFolder,
    report: Report | None = None,
    warn: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Train to the last epoch, from the run's newest readable checkpoint if it has one.

    Args:
        report: called after each epoch as (epochs done, epochs in all, metrics).
        warn: called with a line about each damaged checkpoint.
    Returns: seconds of pre-training over all sittings, steps, the last epoch's metrics.
    Raises: AmrError where the loss is no longer finite.
    """
    config = experiment.pretrain
    optimizer = make_optimizer(model, config, feed.device)
    steps_per_epoch = max(1, len(feed) // config.batch_size)
    folder = run.path / "checkpoints"
    state, problems = load_latest(folder, feed.device)
    for line in problems:
        if warn:
            warn(line)
    done, spent, metrics = 0, 0.0, {}
    if state is not None:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        done, spent, metrics = int(state["epoch"]), float(state["seconds"]), dict(state["metrics"])
    saved_at = started = time.perf_counter()
    model.train()
    for epoch in range(done, config.epochs):
        begun = time.perf_counter()
        metrics = _epoch(model, feed, experiment, optimizer, epoch, steps_per_epoch)
        if not math.isfinite(metrics["loss"]):
            last = f"the last good checkpoint is in {folder}" if any(folder.glob("*.pt")) else "no checkpoint was written yet"
            raise AmrError(
                f"the loss is {metrics['loss']} in epoch {epoch + 1}: lower pretrain.lr or lengthen the warm-up; {last}"
            )
        metrics["clips_per_second"] = steps_per_epoch * min(config.batch_size, len(feed)) / (time.perf_counter() - begun)
        run.log("pretrain", epoch + 1, metrics)
        finished = epoch + 1
        due = time.perf_counter() - saved_at > 60 * config.checkpoint_minutes
        if due or finished % config.checkpoint_epochs == 0 or finished == config.epochs:
            seconds = spent + time.perf_counter() - started
            content = {
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "seconds": seconds,
                "metrics": metrics,
            }
            save_checkpoint(folder, finished, content, config.keep_checkpoints)
            saved_at = time.perf_counter()
        if report:
            report(finished, config.epochs, metrics)
    seconds = spent + (time.perf_counter() - started if done < config.epochs else 0)
    return {"seconds": seconds, "steps": config.epochs * steps_per_epoch, **metrics}


def _epoch(
    model: AMR, feed: Feed, experiment: Experiment, optimizer: torch.optim.Optimizer, epoch: int, steps: int
) -> dict[str, float]:
    config = experiment.pretrain
    views = torch.Generator().manual_seed(experiment.seed * 1_000_003 + epoch)
    masks = torch.Generator(feed.device).manual_seed(experiment.seed * 1_000_003 + epoch + 500_000)
    losses, plain = torch.zeros((), device=feed.device), torch.zeros((), device=feed.device)
    lr = 0.0
    for step, batch in enumerate(feed.train_batches(config.batch_size, experiment.augment, views)):
        lr = learning_rate(epoch * steps + step, steps, config)
        for group in optimizer.param_groups:
            group["lr"] = lr
        with torch.autocast(feed.device.type, torch.bfloat16, enabled=experiment.precision == "bfloat16"):
            result = model(batch, masks)
        optimizer.zero_grad(set_to_none=True)
        result.loss.backward()
        optimizer.step()
        losses += result.loss.detach()
        plain += result.plain
    return {"loss": float(losses) / steps, "loss_without_weights": float(plain) / steps, "lr": lr}


def learning_rate(step: int, steps_per_epoch: int, config: PretrainConfig) -> float:
    """Linear warm-up from 0, then a cosine from `lr` to `min_lr` at the last step."""
    warmup, total = config.warmup_epochs * steps_per_epoch, config.epochs * steps_per_epoch
    if step < warmup:
        return config.lr * (step + 1) / warmup
    progress = (step - warmup) / max(1, total - 1 - warmup)
    return config.min_lr + (config.lr - config.min_lr) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


def make_optimizer(model: nn.Module, config: PretrainConfig, device: torch.device) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices and embeddings, none on biases and norms."""
    decay = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decay, "weight_decay": config.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, fused=device.type == "cuda")


def save_encoder(model: AMR, experiment: Experiment, skeleton: str, path: Path) -> None:
    """The encoder alone, with what is needed to build it again."""
    content = {
        "encoder": model.encoder.state_dict(),
        "model": experiment.model.model_dump(),
        "joints": model.encoder.joints,
        "skeleton": skeleton,
    }
    with whole_file(path) as temporary:
        torch.save(content, temporary)
