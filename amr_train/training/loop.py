"""The pre-training loop: warm-up and cosine, checkpoints at any step, no host synchronisation between
checks.

All randomness of an epoch's views follows from (seed, epoch) and that of a step from (seed, step), so a run
that is taken up from a checkpoint, or spread over more processes, sees the very batches and masks that
another would have seen.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from amr_data import UsageError
from amr_train.config import Experiment
from amr_train.data.batching import Batch, Views
from amr_train.data.feed import Feed
from amr_train.data.mixing import Mixed, MixedFeed, MixedViews, batches_of
from amr_train.data.views import chance_on
from amr_train.listening import Listener
from amr_train.models.method import Method
from amr_train.parallel.precision import arithmetic, products
from amr_train.parallel.processes import Processes
from amr_train.training.checkpoints import load_latest, save_checkpoint
from amr_train.training.compiling import check_compiler, compiled, next_step
from amr_train.training.divergence import LossWatch, weights_are_finite
from amr_train.training.optimizers import Optimizer, make_optimizer
from amr_train.training.schedule import learning_rate, seed_of
from amr_train.training.stopping import Stopped, stop_signals

AfterEpoch = Callable[[int], dict[str, float]]


@dataclass
class Progress:
    """Where a training stands. `spent`: seconds of earlier sittings; `metrics`: the last."""

    step: int = 0
    spent: float = 0.0
    metrics: dict[str, float] | None = None


def pretrain(
    method: Method,
    feed: Feed | MixedFeed,
    experiment: Experiment,
    checkpoints: Path,
    processes: Processes | None = None,
    listener: Listener | None = None,
    after_epoch: AfterEpoch = lambda epoch: {},
    detect_anomaly: bool = False,
) -> dict[str, Any]:
    """Train to the last epoch, from the newest whole checkpoint in the folder if there is one.

    Args:
        after_epoch: called with the number of epochs done, in every process; what it gives is added to the
            figures of the moment, and the time it takes is not counted.
        detect_anomaly: name the operation whose gradient is no longer finite; several times slower.
    Returns: seconds of pre-training over all sittings, steps, the last epoch's metrics.
    Raises: DivergenceError where the loss or the weights are no longer finite; Stopped after SIGINT or
        SIGTERM, with a checkpoint of the last step.
    """
    return _Loop(
        method, feed, experiment, checkpoints, processes, listener, after_epoch, detect_anomaly
    ).run()


class _Loop:
    def __init__(
        self,
        method: Method,
        feed: Feed | MixedFeed,
        experiment: Experiment,
        checkpoints: Path,
        processes: Processes | None,
        listener: Listener | None,
        after_epoch: AfterEpoch,
        detect_anomaly: bool,
    ) -> None:
        self.method, self.feed, self.experiment, self.checkpoints = method, feed, experiment, checkpoints
        self.processes, self.listener = processes or Processes(), listener or Listener()
        self.after_epoch, self.detect_anomaly = after_epoch, detect_anomaly
        self.config = experiment.pretrain
        self.size = min(self.config.batch_size, len(feed))
        self.per_epoch = len(feed) // self.size
        self.last = self.config.epochs * self.per_epoch
        self.optimizer = make_optimizer(method, self.config)
        self.watch = LossWatch(feed.device, self.per_epoch)
        alone = feed.device.type == "cpu" and self.processes.size == 1
        self.every = 1 if alone or detect_anomaly else self.config.check_steps

    def run(self) -> dict[str, Any]:
        at = self._restore()
        self.listener.rewind(at.step // self.per_epoch)
        trained = prepare(self.method, self.experiment, self.processes, self.feed.device)
        step, metrics = at.step, dict(at.metrics or {})
        begun = saved_at = time.perf_counter()
        self.started, counted = begun - at.spent, 0
        seconds, seen = at.spent, dict[str, float]()
        with stop_signals() as stop:
            for epoch in range(step // self.per_epoch, self.config.epochs):
                self.method.train()
                views = self._views(epoch, self.processes)
                for batch in batches_of(self.feed, views, step % self.per_epoch):
                    loss, logged = self._step(trained, batch, step)
                    step += 1
                    counted += 1
                    self.watch.add(step, loss, logged)
                    ended = step % self.per_epoch == 0
                    asked = stop.signal if self.processes.size == 1 else 0
                    if step % self.every and not ended and not asked:
                        continue
                    metrics |= self.watch.check(self.processes, self._clips_of, self.checkpoints)
                    metrics["lr"] = self.optimizer.param_groups[0]["lr"]
                    metrics["clips_per_second"] = counted * self.size / (time.perf_counter() - begun)
                    if ended:
                        seen |= self._end_of(epoch + 1, metrics)
                        begun, counted = time.perf_counter(), 0
                    # asked only now, so that a signal while the method was watched is heard too
                    asked = asked or self.processes.most(stop.signal)
                    if asked or self._due(step, saved_at):
                        seconds = self._save(step, metrics)
                        saved_at = time.perf_counter()
                    shown = {"epoch": step // self.per_epoch, "epochs": self.config.epochs, **metrics, **seen}
                    self.listener.advance(step, self.last, shown)
                    if asked:
                        raise Stopped(f"at step {step:,} of {self.last:,}; its checkpoint is kept", asked)
        return {"seconds": seconds, "steps": self.last, **metrics}

    def _step(self, trained: nn.Module, batch: Batch | Mixed, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(step, self.per_epoch, self.config)
        naming = self.watch.naming(step + 1, self._clips_of, self.checkpoints)
        with torch.autograd.set_detect_anomaly(self.detect_anomaly), naming:
            found = train_step(trained, batch, self.optimizer, self.experiment, step, self.processes)
        self.method.after_step(step + 1, self.last)
        return found

    def _end_of(self, epoch: int, metrics: dict[str, float]) -> dict[str, float]:
        """Log an epoch and let others look at the method; the clock stands still meanwhile."""
        self.listener.log("pretrain", epoch, metrics)
        self.watch.reset()
        paused = time.perf_counter()
        found = self.after_epoch(epoch)
        self.started += time.perf_counter() - paused
        return found

    def _due(self, step: int, saved_at: float) -> bool:
        """Whether a checkpoint is due after `step` steps."""
        late = time.perf_counter() - saved_at > 60 * self.config.checkpoint_minutes
        return late or step == self.last or step % (self.config.checkpoint_epochs * self.per_epoch) == 0

    def _save(self, step: int, metrics: dict[str, float]) -> float:
        weights_are_finite(self.method, step, self._clips_of, self.checkpoints)
        seconds = time.perf_counter() - self.started
        if self.processes.main:
            state = {
                "model": self.method.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "watch": self.watch.state(),
                "seconds": seconds,
                "metrics": metrics,
            }
            save_checkpoint(self.checkpoints, step, state, self.config.keep_checkpoints)
        return seconds

    def _restore(self) -> Progress:
        """Take up the newest whole checkpoint."""
        state, problems = load_latest(self.checkpoints, self.feed.device)
        for line in problems:
            self.listener.warn(line)
        if state is None:
            return Progress()
        self.method.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.watch.load(state["watch"], self.processes)
        return Progress(int(state["step"]), float(state["seconds"]), dict(state["metrics"]))

    def _views(self, epoch: int, processes: Processes) -> Views | MixedViews:
        generator = torch.Generator().manual_seed(seed_of(self.experiment.seed, "views", epoch))
        augment, count = self.experiment.augment, self.method.views
        how = (processes.rank, processes.size, count, self.config.batches)
        whole_clips = self.method.whole_clips or count > 1
        return self.feed.train_views(self.size, augment, generator, *how, whole_clips)

    def _clips_of(self, number: int) -> list[str]:
        """Names of the clips of a step, counted from 1."""
        views = self._views((number - 1) // self.per_epoch, Processes())
        return [self.feed.names[i] for i in views.clips[(number - 1) % self.per_epoch].tolist()]


def train_step(
    trained: nn.Module,
    batch: Batch | Mixed,
    optimizer: Optimizer,
    experiment: Experiment,
    step: int,
    processes: Processes,
) -> tuple[Tensor, dict[str, Tensor]]:
    """One optimiser step of what `prepare` made. Returns this process's part of the mean loss over the
    batch's sequences, and of what the method logs; of several datasets also the mean loss of each."""
    parts = batch.parts if isinstance(batch, Mixed) else (batch,)
    device = parts[0].joints.device
    generator = chance_on(device, seed_of(experiment.seed, "mask", step))
    next_step(experiment.compile)
    with arithmetic(experiment.precision, device):
        found = trained(parts, generator)
    loss, logged = weighted(found, parts)
    optimizer.zero_grad(set_to_none=True)
    with products(experiment.precision):
        (loss * processes.size).backward()  # gradients are averaged over the processes
    if experiment.pretrain.clip_grad is not None:
        nn.utils.clip_grad_norm_(trained.parameters(), experiment.pretrain.clip_grad)
    optimizer.step()
    if isinstance(batch, Mixed):
        for name, (own, _), part in zip(batch.names, found, parts, strict=True):
            logged[f"loss_{name}"] = _share(own.detach(), part, part.total)
    return loss.detach(), logged


Losses = list[tuple[Tensor, dict[str, Tensor]]]


def weighted(found: Losses, parts: Sequence[Batch]) -> tuple[Tensor, dict[str, Tensor]]:
    """This process's part of the mean over the sequences of all parts, of the loss and of what is logged;
    `found` : what the method's loss gave of each part. Raises: UsageError where its shape is another."""
    total = sum(part.total for part in parts)
    sums: dict[str, Tensor] = {}
    loss: Tensor | None = None
    for (value, logged), part in zip(found, parts, strict=True):
        sequences = len(part.joints)
        if value.ndim and value.shape != (sequences,):
            raise UsageError(
                f"the method's loss has the shape {tuple(value.shape)}; one value a sequence, "
                f"({sequences},), or one for the batch is expected"
            )
        mine = _share(value, part, total)
        loss = mine if loss is None else loss + mine
        for name, also in logged.items():
            share = _share(also.detach(), part, total)
            sums[name] = sums[name] + share if name in sums else share
    assert loss is not None
    return loss, sums


def _share(value: Tensor, part: Batch, total: int) -> Tensor:
    """What a value, one a sequence or one for the part, adds to the mean over `total` sequences."""
    return (value.sum() if value.ndim else value * len(part.joints)) / total


class _Loss(nn.Module):
    """A method whose call is its loss of each part of a batch, for what wraps a module's forward."""

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method

    def forward(self, parts: Sequence[Batch], generator: torch.Generator) -> Losses:
        return [self.method.loss(part, generator) for part in parts]


def prepare(method: Method, experiment: Experiment, processes: Processes, device: torch.device) -> nn.Module:
    """The loss of a method as it is trained: its forward compiled where the experiment asks for it, gradients
    averaged over the processes.

    Raises: UsageError, see `check_compiler`.
    """
    check_compiler(experiment.compile, device)
    if experiment.compile != "none":
        method.forward = compiled(method.forward, experiment.compile)
    return processes.wrap(_Loss(method), device)
