"""Losses gathered on the device and read back rarely; a run whose loss is no longer finite stops and says
where."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from amr_data import AmrError
from amr_data.files import write_json
from amr_train.parallel.processes import Processes
from amr_train.training.checkpoints import list_checkpoints

NEVER = 2**62
SHOWN = 5
ClipsOf = Callable[[int], list[str]]


class DivergenceError(AmrError):
    """Training cannot go on: loss, gradient or weights are not finite."""


class LossWatch:
    """Sums of an epoch's losses, and of what is logged beside them, and the first step whose loss was not
    finite."""

    def __init__(self, device: torch.device, steps_per_epoch: int) -> None:
        self.device, self.steps_per_epoch = device, steps_per_epoch
        self._bad = torch.full((), NEVER, dtype=torch.int64, device=device)
        self.reset()

    def reset(self) -> None:
        self._sums: Tensor | None = None
        self._names: list[str] = []
        self._steps = 0

    def add(self, step: int, loss: Tensor, logged: dict[str, Tensor]) -> None:
        """loss, logged : this process's part of a step's loss and of what is logged, on the device; `step`
        counts from 1."""
        values = torch.stack([loss, *logged.values()])
        self._sums, self._names = values if self._sums is None else self._sums + values, ["loss", *logged]
        self._steps += 1
        self._bad = torch.minimum(self._bad, torch.where(loss.isfinite(), NEVER, step))

    def check(self, processes: Processes, clips_of: ClipsOf, checkpoints: Path) -> dict[str, float]:
        """Means over the epoch so far and over all processes. Raises: DivergenceError."""
        assert self._sums is not None
        self._totals = processes.total(self._sums)
        bad = int(processes.least(self._bad))
        if bad != NEVER:
            raise diverged("the loss is not finite", bad, clips_of, checkpoints, write=processes.main)
        return dict(zip(self._names, (self._totals / self._steps).tolist(), strict=True))

    def state(self) -> dict[str, Any]:
        """For a checkpoint right after `check` or `reset`."""
        return {"sums": self._totals if self._steps else None, "names": self._names, "steps": self._steps}

    def load(self, state: dict[str, Any], processes: Processes) -> None:
        self._names, self._steps = list(state["names"]), int(state["steps"])
        if state["sums"] is not None:
            sums = torch.as_tensor(state["sums"], device=self.device)
            self._sums = sums.clone() if processes.main else torch.zeros_like(sums)

    @contextmanager
    def naming(self, step: int, clips_of: ClipsOf, checkpoints: Path) -> Iterator[None]:
        """Turn what anomaly detection raises into an error that names step and clips."""
        try:
            yield
        except RuntimeError as error:
            if "returned nan values" not in str(error):
                raise
            raise diverged(str(error).rstrip("."), step, clips_of, checkpoints, write=True) from error


def weights_are_finite(model: nn.Module, step: int, clips_of: ClipsOf, checkpoints: Path) -> None:
    """Raises: DivergenceError. A finite loss can have a gradient that is not; such weights must not become a
    checkpoint."""
    largest = torch.stack([p.detach().abs().max() for p in model.parameters()]).max()
    if not bool(largest.isfinite()):
        raise diverged("the weights are not finite", step, clips_of, checkpoints, write=True)


def diverged(what: str, step: int, clips_of: ClipsOf, checkpoints: Path, write: bool) -> DivergenceError:
    """The error, and in the run's folder divergence.json with every clip of the batch."""
    names = clips_of(step)
    if write:
        checkpoints.parent.mkdir(parents=True, exist_ok=True)
        write_json(checkpoints.parent / "divergence.json", {"what": what, "step": step, "clips": names})
    shown = ", ".join(names[:SHOWN]) + (
        f" and {len(names) - SHOWN} more in divergence.json" if len(names) > SHOWN else ""
    )
    kept = list_checkpoints(checkpoints)
    last = f"the last good checkpoint is {kept[-1]}" if kept else "no checkpoint was written yet"
    return DivergenceError(
        f"{what} at step {step}, clips {shown}; {last}\n"
        "lower pretrain.lr, lengthen the warm-up, set pretrain.clip_grad=1, or see --detect-anomaly"
    )
