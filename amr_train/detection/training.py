"""Training of heads on features of steps, and of an encoder on windows, with soft targets: where two actions
overlap, each has its share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from amr_data import AmrError, Interval
from amr_train.config import DetectConfig
from amr_train.detection.detector import dense_of
from amr_train.detection.heads import Head, HeadConfig
from amr_train.detection.windows import B8, F32, Bodies, Grid
from amr_train.listening import Listener
from amr_train.training.schedule import seed_of

U8 = npt.NDArray[np.uint8]
Span = tuple[int, int]
"""Frames of a recording, the end exclusive."""
STEPS, CROP, CROPS = 2048, 256, 8
"""Steps of an update of a linear head; of a temporal one so many in each of so many crops."""
WINDOWS = 32
"""Of an update of an encoder."""
TOLD = 20
"""Updates from one report of progress to the next."""


@dataclass(frozen=True)
class Example:
    """A recording to learn from. `features` : (J, D) of its steps.  `there` : (J,) whether anybody is.
    `targets` : (J, C + 1), 1 for each class of a step, the last for none.  `teaches` : (J,) whether a step
    trains: where somebody is, but for what is excluded."""

    features: F32
    there: B8
    targets: U8
    teaches: B8


def targets_of(intervals: Sequence[Interval], frames: npt.NDArray[np.int64], classes: int) -> U8:
    """What is done in some frames of a recording: (K, C + 1), 1 for each class, the last where there is
    none."""
    found = np.zeros((len(frames), classes + 1), np.uint8)
    for one in intervals:
        found[(frames >= one.first) & (frames < one.end), one.label] = 1
    found[:, classes] = ~found.any(axis=1)
    return found


def middles(frames: int, grid: Grid) -> npt.NDArray[np.int64]:
    """(J,) the middle frame of every step of a recording."""
    middle = np.arange(grid.steps(frames)) * grid.step + grid.step // 2
    return np.minimum(middle, max(0, frames - 1))


def outside(spans: Sequence[Span], frames: npt.NDArray[np.int64]) -> B8:
    """(K,) which frames lie in none of the spans."""
    found = np.ones(len(frames), bool)
    for first, end in spans:
        found &= (frames < first) | (frames >= end)
    return found


def head_config(
    kind: str, inputs: int, classes: int, grid: Grid, rate: float, how: DetectConfig
) -> HeadConfig:
    """Of a linear or a temporal head for so many classes, without the background."""
    if kind == "linear":
        return HeadConfig(inputs=inputs, classes=classes + 1)
    ahead = int(how.ahead_s * rate / grid.step)
    return HeadConfig(inputs=inputs, classes=classes + 1, layers=how.layers, width=how.width, ahead=ahead)


def train_head(
    examples: Sequence[Example],
    config: HeadConfig,
    how: DetectConfig,
    seed: int,
    device: torch.device,
    listener: Listener,
) -> Head:
    """A head trained on these recordings. Raises: AmrError where its loss is no longer finite."""
    torch.manual_seed(seed_of(seed, f"detection head {config.layers}", 0))
    head = Head(config, how.dropout).to(device).train()
    features = np.concatenate([one.features for one in examples])
    head.standardise(torch.from_numpy(features).to(device))
    targets = np.concatenate([one.targets for one in examples])
    teaches = np.concatenate([one.teaches for one in examples])
    ends = np.cumsum([len(one.features) for one in examples])
    optimizer = torch.optim.AdamW(head.parameters(), lr=how.lr, weight_decay=how.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, how.updates)
    generator = np.random.default_rng(seed_of(seed, "detection crops", 0))
    for update in range(how.updates):
        rows, real = _steps(ends, config, generator)
        wanted, counted = targets[rows], real & teaches[rows]
        values = torch.from_numpy(features[rows] * real[..., None].astype(np.float32)).to(device)
        loss = _loss(head(values), wanted, counted)
        _descend(loss, optimizer, schedule)
        _tell(loss, update + 1, how.updates, listener, "a detection head", "detect.lr")
    return head.eval()


def _descend(
    loss: Tensor, optimizer: torch.optim.Optimizer, schedule: torch.optim.lr_scheduler.LRScheduler
) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    schedule.step()


def _tell(loss: Tensor, done: int, updates: int, listener: Listener, what: str, setting: str) -> None:
    """The loss of every so many updates. Raises: AmrError where it is not finite."""
    if done % TOLD and done != updates:
        return
    value = float(loss.detach())
    if not np.isfinite(value):
        raise AmrError(f"the loss of {what} is {value}; lower {setting}")
    listener.advance(done, updates, {"loss": value})


def _steps(
    ends: npt.NDArray[np.int64], config: HeadConfig, generator: np.random.Generator
) -> tuple[npt.NDArray[np.int64], B8]:
    """Rows of all steps (B, L), and which of them are real: a crop may reach past its recording."""
    total = int(ends[-1])
    if not config.layers:
        rows = generator.integers(0, total, (min(STEPS, total), 1))
        return rows, np.ones(rows.shape, bool)
    centre = generator.integers(0, total, CROPS)  # longer recordings more often
    of = np.searchsorted(ends, centre, "right")
    first = np.where(of > 0, ends[of - 1], 0)
    start = np.clip(centre - CROP // 2, first, np.maximum(first, ends[of] - CROP))
    rows = start[:, None] + np.arange(CROP)
    real = rows < ends[of][:, None]
    return np.minimum(rows, total - 1), real


def _loss(logits: Tensor, targets: U8, counted: B8) -> Tensor:
    """The mean over the steps that count; a step's classes share it."""
    shares = torch.from_numpy(targets).to(logits.device).float()
    shares = shares / shares.sum(dim=-1, keepdim=True)
    each = cross_entropy(logits.flatten(0, 1), shares.flatten(0, 1), reduction="none")
    weight = torch.from_numpy(counted).to(logits.device).flatten().float()
    return (each * weight).sum() / weight.sum().clamp(min=1)


def train_encoder(
    dense: nn.Module,
    recordings: Sequence[tuple[Bodies, Sequence[Interval], Sequence[Span]]],
    grid: Grid,
    classes: int,
    rate: float,
    how: DetectConfig,
    seed: int,
    device: torch.device,
    listener: Listener,
) -> None:
    """Train an encoder in place, with a linear layer that is thrown away, on windows of recordings by chance.

    recordings : of each its bodies, its intervals, and the spans of it that train nothing.
    Raises: AmrError where the loss is no longer finite."""
    torch.manual_seed(seed_of(seed, "detection encoder", 0))
    width, tokens = dense_of(dense).width, dense_of(dense).tokens
    norm, layer = nn.LayerNorm(width).to(device), nn.Linear(width, classes + 1).to(device)
    dense.train()
    parameters = [*dense.parameters(), *norm.parameters(), *layer.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=how.encoder_lr, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, how.encoder_lr, how.encoder_updates)
    generator = np.random.default_rng(seed_of(seed, "detection windows", 0))
    frames = np.array([bodies.frames for bodies, *_ in recordings], np.float64)
    for update in range(how.encoder_updates):
        scale = grid.scales[update % len(grid.scales)]
        chosen = generator.choice(len(recordings), WINDOWS, p=frames / frames.sum())
        bodies = recordings[0][0]
        cut = np.zeros((WINDOWS, bodies.bodies, scale.frames, bodies.joints, 3), np.float32)
        targets = np.zeros((WINDOWS, tokens, classes + 1), np.uint8)
        teaches = np.zeros((WINDOWS, tokens), bool)
        for k, number in enumerate(chosen.tolist()):
            bodies, intervals, without = recordings[number]
            start = int(generator.integers(0, max(1, bodies.frames - scale.frames + 1)))
            bodies.window(start, cut[k])
            middle = start + np.arange(tokens) * scale.token + scale.token // 2
            targets[k] = targets_of(intervals, middle, classes)
            teaches[k] = outside(without, middle)
        values, there = dense(torch.from_numpy(cut).to(device), rate)
        loss = _loss(layer(norm(values)), targets, there.cpu().numpy() & teaches)
        _descend(loss, optimizer, schedule)
        _tell(loss, update + 1, how.encoder_updates, listener, "the encoder", "detect.encoder_lr")
    dense.eval()
