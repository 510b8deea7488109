"""Learning rates over a run, and the seeds of its parts."""

from __future__ import annotations

import hashlib
import math
from typing import Protocol


class Schedule(Protocol):
    """The settings of a learning rate: epochs, warm-up, the highest rate and the last."""

    @property
    def epochs(self) -> int: ...

    @property
    def warmup_epochs(self) -> int: ...

    @property
    def lr(self) -> float: ...

    @property
    def min_lr(self) -> float: ...


def learning_rate(step: int, steps_per_epoch: int, config: Schedule) -> float:
    """Linear warm-up from 0, then a cosine from `lr` to `min_lr` at the last step."""
    warmup, total = config.warmup_epochs * steps_per_epoch, config.epochs * steps_per_epoch
    if step < warmup:
        return config.lr * (step + 1) / warmup
    progress = (step - warmup) / max(1, total - 1 - warmup)
    return config.min_lr + (config.lr - config.min_lr) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


def seed_of(seed: int, purpose: str, number: int) -> int:
    """A seed for one purpose and one step or epoch of a run, unlike all the others."""
    digest = hashlib.blake2b(f"{seed}/{purpose}/{number}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
