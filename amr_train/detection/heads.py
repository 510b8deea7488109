"""From features of steps to classes: one linear layer, or a small stack of dilated convolutions over time.

The stack is that of a stage of MS-TCN (Farha and Gall, CVPR 2019) with a bounded view of what comes: its
first layers see as far ahead as the bound allows, the others look back alone.
"""

from __future__ import annotations

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn.functional import pad

from amr_train.detection.windows import B8, F32

LEAST_STD = 1e-6


class HeadConfig(BaseModel):
    """`inputs` : values of a step.  `classes` : with the background, the last one.  `layers` : dilated ones,
    0 for one linear layer alone.  `ahead` : steps that may be seen ahead."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    inputs: int = Field(ge=1, le=1 << 20)
    classes: int = Field(ge=2, le=1 << 16)
    layers: int = Field(0, ge=0, le=12)
    width: int = Field(64, ge=1, le=4096)
    ahead: int = Field(0, ge=0, le=1 << 16)

    @property
    def weights(self) -> int:
        """In its matrices."""
        if not self.layers:
            return self.inputs * self.classes
        return self.width * (self.inputs + 4 * self.layers * self.width + self.classes)


class Head(nn.Module):
    """Features of steps (B, L, D) to logits (B, L, C + 1). `left`, `right` : steps before and behind one that
    its logits depend on."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: HeadConfig, dropout: float = 0.0) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("mean", torch.zeros(config.inputs))
        self.register_buffer("std", torch.ones(config.inputs))
        self.left, self.right = 0, 0
        self.drop = nn.Dropout(dropout)
        self.layers = nn.ModuleList()
        if not config.layers:
            self.last: nn.Module = nn.Linear(config.inputs, config.classes)
            return
        self.first = nn.Linear(config.inputs, config.width)
        for number in range(config.layers):
            reach = 1 << number
            ahead = self.right + reach <= config.ahead
            self.layers.append(_Dilated(config.width, reach, ahead, dropout))
            self.right += reach if ahead else 0
            self.left += reach if ahead else 2 * reach
        self.last = nn.Linear(config.width, config.classes)

    def standardise(self, features: Tensor) -> None:
        """Take mean and deviation of each value from (N, D); one that never changes becomes 0."""
        self.mean.copy_(features.mean(dim=0))
        std = features.std(dim=0, correction=0)
        self.std.copy_(torch.where(std > LEAST_STD, std, torch.inf))

    def forward(self, features: Tensor) -> Tensor:
        values = self.drop((features - self.mean) / self.std)
        if self.layers:
            values = self.first(values).transpose(1, 2)  # (B, H, L)
            for layer in self.layers:
                values = layer(values)
            values = values.transpose(1, 2)
        logits: Tensor = self.last(values)
        return logits

    def background(self) -> int:
        return self.config.classes - 1

    @torch.no_grad()
    def probabilities(self, features: F32, there: B8) -> F32:
        """Of steps that lie end to end (L, D), anybody there (L,): (L, C + 1), background alone where nobody
        is."""
        device = self.mean.device
        logits = self(torch.from_numpy(features).to(device)[None])[0]
        found: F32 = logits.softmax(dim=1).cpu().numpy()
        found[~there] = 0
        found[~there, self.background()] = 1
        return found


class _Dilated(nn.Module):
    """A residual layer of three taps `reach` steps apart."""

    def __init__(self, width: int, reach: int, ahead: bool, dropout: float) -> None:
        super().__init__()
        self.margins = (reach, reach) if ahead else (2 * reach, 0)
        self.taps = nn.Conv1d(width, width, 3, dilation=reach)
        self.mix = nn.Conv1d(width, width, 1)
        self.drop = nn.Dropout(dropout)

    def forward(self, values: Tensor) -> Tensor:
        inside = self.taps(pad(values, self.margins)).relu()
        mixed: Tensor = values + self.drop(self.mix(inside))
        return mixed


class HeadStream:
    """The same probabilities, of steps that come bit by bit: those of a step are there once `right` more have
    come."""

    def __init__(self, head: Head) -> None:
        self.head = head
        self._done = self._begin = 0  # steps given out; the first that is kept
        self._features: F32 = np.zeros((0, head.config.inputs), np.float32)
        self._there: B8 = np.zeros(0, bool)

    def push(self, features: F32, there: B8, last: bool = False) -> F32:
        """Further steps (L, D). Returns probabilities (K, C + 1) of the next steps; with `last` of all."""
        self._features = np.concatenate([self._features, features])
        self._there = np.append(self._there, there)
        end = self._begin + len(self._features)
        ready = end if last else end - self.head.right
        if ready <= self._done:
            return np.zeros((0, self.head.config.classes), np.float32)
        found = self.head.probabilities(self._features, self._there)[
            self._done - self._begin : ready - self._begin
        ]
        self._done = ready
        forget = max(0, ready - self.head.left - self._begin)
        self._features, self._there = self._features[forget:].copy(), self._there[forget:].copy()
        self._begin += forget
        return found
