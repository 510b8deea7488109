"""Features of every step of a window: an encoder's tokens, or the coordinates themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from amr_train.config import InputConfig
from amr_train.data.augment import gather_resampled
from amr_train.data.dense import dense_input
from amr_train.data.landmarks import Anatomy
from amr_train.models.encoder import steps_present
from amr_train.models.files import ClipEncoder, as_sequences

MEAN, JOINTS = "mean", "joints"


@dataclass(frozen=True)
class Placing:
    """How clips of a dataset lie, so that a window of a recording is laid like one. `shown` : centre, heading
    and unit of the conversion.  `names` : of all joints of the dataset.  `kept` : the joints that are seen,
    None for all."""

    shown: InputConfig
    anatomy: Anatomy
    names: tuple[str, ...]
    kept: tuple[int, ...] | None = None

    def __call__(self, joints: Tensor, rate: float) -> Tensor:
        """joints : (B, M, W, V, 3), zeros where a body is absent."""
        placed = dense_input(joints, self.shown, self.anatomy, self.names, rate)
        return placed if self.kept is None else placed[:, :, :, list(self.kept)]


class Dense(Protocol):
    """What gives features of windows. `tokens` : time steps of one.  `width` : D."""

    tokens: int
    width: int

    def __call__(self, joints: Tensor, rate: float) -> tuple[Tensor, Tensor]:
        """joints : (B, M, W, V, 3), as recorded.  rate : frames a second. Returns features (B, steps, D) and
        whether anybody is there (B, steps)."""
        ...


class DenseEncoder(nn.Module):
    """An encoder's tokens of every step: the mean over the joints, or the joints kept; over the bodies that
    are there the mean."""

    def __init__(self, encoder: ClipEncoder, placing: Placing, pooling: str) -> None:
        super().__init__()
        self.encoder, self.placing, self.pooling = encoder, placing, pooling
        self.tokens = encoder.encoder.steps
        self.width = encoder.encoder.width * (encoder.config.joints if pooling == JOINTS else 1)

    def forward(self, joints: Tensor, rate: float) -> tuple[Tensor, Tensor]:
        module, shape = self.encoder.encoder, joints.shape[:2]
        config = self.encoder.config.model_copy(update={"frame_rate": rate})
        flat, present, _, weight = as_sequences(self.placing(joints, rate), config, module.frames)
        there = torch.ones(len(flat), self.tokens, dtype=torch.bool, device=joints.device)
        seen = _recorded(joints, self.tokens).flatten(0, 1) if present is None else None
        if present is not None:
            there = steps_present(present, module.segment)
        found = flat.new_zeros(len(flat), self.tokens, self.width)
        rows = torch.arange(len(flat), device=flat.device) if weight is None else weight.nonzero()[:, 0]
        if len(rows):
            # a mask that masks nothing costs time
            masked = present is not None and not bool(present[rows].all())
            values = module(flat[rows], present=present[rows] if masked and present is not None else None)
            values = values.float().unflatten(1, (self.tokens, module.joints))  # (S, T / l, V, D)
            found[rows] = values.flatten(2) if self.pooling == JOINTS else values.mean(dim=2)
        anybody = there if seen is None else seen
        counted = there.view(*shape, self.tokens).to(found.dtype)  # (B, M, T / l)
        total = (found.view(*shape, self.tokens, self.width) * counted[..., None]).sum(dim=1)
        mean = total / counted.sum(dim=1).clamp(min=1)[..., None]
        return mean, anybody.view(*shape, self.tokens).any(dim=1)


class DenseCoordinates(nn.Module):
    """Positions of every body in the frames of a step, as they are shown (the main actor's centre in the
    origin of each frame), and how they move from frame to frame: what needs no learning. A body that is not
    there is zeros."""

    def __init__(
        self,
        frames: int,
        segment: int,
        bodies: int,
        placing: Placing,
        shown: InputConfig = InputConfig(centre="every"),  # noqa: B008
    ) -> None:
        super().__init__()
        self.frames, self.segment, self.placing, self.shown = frames, segment, placing, shown
        self.tokens = frames // segment
        self.width = 2 * bodies * segment * len(placing.names) * 3

    def forward(self, joints: Tensor, rate: float) -> tuple[Tensor, Tensor]:
        placed = self.placing(joints, rate)
        shown = dense_input(placed, self.shown, self.placing.anatomy, self.placing.names, rate)
        there = (joints.flatten(3) != 0).any(dim=3)  # (B, M, W)
        joined = (there[:, :, 1:] & there[:, :, :-1])[..., None, None]
        step = torch.where(joined, placed.diff(dim=2), 0)
        motion = torch.cat([step, torch.zeros_like(placed[:, :, :1])], dim=2)
        both = torch.stack([shown, motion], dim=1).flatten(0, 2)  # (B * 2 * M, W, V, 3)
        first = torch.arange(len(both), device=both.device) * both.shape[1]
        whole = torch.full_like(first, both.shape[1])
        if both.shape[1] != self.frames:
            both = gather_resampled(both.flatten(0, 1), first, whole, self.frames)
        both = both.view(len(joints), -1, self.tokens, self.segment, *both.shape[2:])
        values: Tensor = both.transpose(1, 2).flatten(2)
        return values, _recorded(joints, self.tokens).any(dim=1)


def _recorded(joints: Tensor, tokens: int) -> Tensor:
    """Whether each body of windows (B, M, W, V, 3) is there in each of so many steps, (B, M, steps)."""
    there: Tensor = (joints.flatten(3) != 0).any(dim=3)
    steps: Tensor = there.unflatten(2, (tokens, -1))
    return steps.any(dim=3)
