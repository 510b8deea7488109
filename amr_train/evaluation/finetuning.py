"""Training the encoder too, with labels: AdamW with layer-wise learning rates, drop path, label smoothing, as
the published settings have them; the accuracy is the last epoch's."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from amr_data import AmrError
from amr_train.config import AugmentConfig, FinetuneConfig
from amr_train.data.batching import Batch, filled_up
from amr_train.data.feed import Feed
from amr_train.listening import Listener
from amr_train.models.encoder import SkeletonEncoder
from amr_train.models.layers import Block
from amr_train.models.pooling import body_features, mean_over_bodies
from amr_train.parallel.precision import arithmetic, products
from amr_train.parallel.processes import Processes
from amr_train.training.checkpoints import load_latest, save_checkpoint
from amr_train.training.compiling import check_compiler, compiled, next_step
from amr_train.training.schedule import learning_rate, seed_of
from amr_train.training.stopping import Stopped, stop_signals


@dataclass(frozen=True)
class Setting:
    """What decides a fine-tuning besides encoder and clips. `precision`: one that the device has. `compile`:
    of the training step; CUDA graphs only where batches are even. `checkpoints`: where it is saved and taken
    up; None keeps nothing."""

    config: FinetuneConfig
    augment: AugmentConfig
    precision: str = "float32"
    seed: int = 0
    processes: Processes = Processes()  # noqa: RUF009
    checkpoints: Path | None = None
    listener: Listener = field(default_factory=Listener)
    compile: str = "none"

    @property
    def compiles(self) -> str:
        """How the step is compiled."""
        graphs = self.compile == "cuda-graphs"
        return "default" if graphs and self.config.batches != "even" else self.compile


class SharedBatchNorm(nn.BatchNorm1d):
    """BatchNorm whose statistics are those of the clips of all processes, so that their number changes no
    result; a batch of a single clip is seen with the running ones, since it has no spread.

    `clips`: of all processes in a batch of training, known when it is planned; None for this process's.
    """

    clips: int | None = None

    def forward(self, values: Tensor) -> Tensor:
        """values : (B, D). Returns (B, D) float32."""
        values = values.float()  # sums of squares want more than bfloat16 has
        if not self.training:
            return super().forward(values)
        count = float(len(values) if self.clips is None else self.clips)
        sums = torch.cat([values.sum(dim=0), values.square().sum(dim=0)])
        if dist.is_initialized() and dist.get_world_size() > 1:
            from torch.distributed.nn.functional import all_reduce

            sums = all_reduce(sums)  # its gradient is summed over the processes likewise
        if count < 2:
            mean, variance = self.running_mean, self.running_var
            assert mean is not None
            assert variance is not None
        else:
            mean, square = (sums / count).chunk(2)
            variance = (square - mean.square()).clamp(min=0)
            self._follow(mean.detach(), variance.detach() * count / (count - 1))
        return (values - mean) * (variance + self.eps).rsqrt() * self.weight + self.bias

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        momentum = 0.1 if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(variance, momentum)
        self.num_batches_tracked += 1


class Classifier(nn.Module):
    """Encoder and head, as MAMP publishes it: dropout on the tokens, the mean over time and bodies with
    joints kept, a linear layer to `hidden`, BatchNorm, ReLU, a linear layer to the classes."""

    def __init__(self, encoder: SkeletonEncoder, classes: int, config: FinetuneConfig) -> None:
        super().__init__()
        self.encoder = encoder
        self.hidden, self.classes = config.hidden, classes
        self.dropout = nn.Dropout(config.head_dropout)
        first = nn.Linear(encoder.joints * encoder.width, config.hidden)
        last = nn.Linear(config.hidden, classes)
        for layer in (first, last):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.head = nn.Sequential(first, SharedBatchNorm(config.hidden), nn.ReLU(), last)

    def forward(
        self,
        joints: Tensor,
        present: Tensor | None,
        clip: Tensor,
        clips: int,
        weight: Tensor | None = None,
        room: int | None = None,
    ) -> Tensor:
        """Logits (B, classes). The arguments are those of `clip_features`. `room`: sequences that a batch is
        filled up to, which do not count."""
        if room is None:
            bodies = self.bodies(joints, present)
        else:
            there = None if present is None else filled_up(present, room, True)
            bodies = self.bodies(filled_up(joints, room), there)[: len(joints)]
        features = mean_over_bodies(bodies, clip, clips, weight)
        return self.head(features.flatten(1))  # type: ignore[no-any-return]

    def normed_over(self, clips: int) -> None:
        """Say how many clips of all processes a batch of training has."""
        for module in self.head:
            if isinstance(module, SharedBatchNorm):
                module.clips = clips

    def bodies(self, joints: Tensor, present: Tensor | None) -> Tensor:
        """The features of each body (S, V, D): nearly all of the work, and what is compiled."""
        return body_features(self.encoder, joints, present, self.dropout)


def train_classifier(encoder: SkeletonEncoder, train: Feed, classes: int, setting: Setting) -> Classifier:
    """Train a copy of an encoder with a new head, from the last checkpoint in `setting.checkpoints` if there
    is one.

    Raises: Stopped after SIGINT or SIGTERM, with a checkpoint of the last step; AmrError where the loss is no
        longer finite; UsageError, see `check_compiler`.
    """
    config, processes, device = setting.config, setting.processes, train.device
    check_compiler(setting.compiles, device)
    torch.manual_seed(seed_of(setting.seed, "head", 0))
    model = Classifier(copy.deepcopy(encoder), classes, config).to(device).train()
    set_drop_path(model.encoder, config.drop_path)
    optimizer = torch.optim.AdamW(layer_groups(model, config), lr=config.lr, betas=config.betas, fused=True)
    scales = [group["scale"] for group in optimizer.param_groups]
    size = min(config.batch_size, len(train))
    per_epoch = len(train) // size
    last = config.epochs * per_epoch
    step = _take_up(model, optimizer, setting, device)
    model.normed_over(size)
    if setting.compiles != "none":
        model.bodies = compiled(model.bodies, setting.compiles)  # type: ignore[method-assign]
    wrapped = processes.wrap(model, device)
    with stop_signals() as stop:
        for epoch in range(step // per_epoch, config.epochs):
            generator = torch.Generator().manual_seed(seed_of(setting.seed, "finetune views", epoch))
            where = (processes.rank, processes.size)
            views = train.train_views(size, setting.augment, generator, *where, batches=config.batches)
            total, counted = torch.zeros((), device=device), 0
            for batch in train.batches(views, step % per_epoch):
                for group, scale in zip(optimizer.param_groups, scales, strict=True):
                    group["lr"] = learning_rate(step, per_epoch, config) * scale
                torch.manual_seed(seed_of(setting.seed, f"drop {processes.rank}", step))
                total += _step(wrapped, batch, train.labels, optimizer, setting, size)
                step, counted = step + 1, counted + 1
                ended = step % per_epoch == 0
                loss = float(processes.total(total)) / counted if ended else 0.0
                if not math.isfinite(loss):
                    raise AmrError(
                        f"the loss of fine-tuning is not finite in epoch {epoch + 1}; lower finetune.lr"
                    )
                asked = processes.most(stop.signal) if ended or processes.size == 1 else 0
                if asked or (ended and (epoch + 1) % config.checkpoint_epochs == 0):
                    _save(model, optimizer, setting, step)
                if asked:
                    at = f"in fine-tuning, at step {step:,} of {last:,}; {_kept(setting)}"
                    raise Stopped(at, asked, setting.checkpoints is not None)
            setting.listener.advance(epoch + 1, config.epochs, {"loss": loss})
    vars(model).pop("bodies", None)  # batches of an evaluation have other shapes
    return model.eval()


@torch.no_grad()
def classify(model: Classifier, feed: Feed, batch_size: int, crop: float, setting: Setting) -> Tensor:
    """Logits of every clip's centre crop (N, C); each process does its part, each clip is seen once."""
    processes = setting.processes
    views = feed.centre_views(batch_size, crop, processes.rank, processes.size, setting.augment.rounding)
    out = torch.zeros(len(feed), model.classes, device=feed.device)
    for batch in feed.batches(views):
        if len(batch.clips):
            with arithmetic(setting.precision, feed.device):
                logits = model(batch.joints, batch.present, batch.clip, len(batch.clips)).float()
            out[batch.clips] = logits
    return processes.total(out)


def layer_groups(model: Classifier, config: FinetuneConfig) -> list[dict[str, object]]:
    """Parameter groups with the learning rate scaled by layer_decay^(layers + 1 - i): i = 0 for the
    embeddings, 1 for the first block, layers + 1 for the final norm and the head. No weight decay on biases
    and norms."""
    layers = len(model.encoder.blocks)
    groups: dict[tuple[int, bool], list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        groups.setdefault((_depth(name, layers), parameter.ndim > 1), []).append(parameter)
    return [
        {
            "params": parameters,
            "scale": config.layer_decay ** (layers + 1 - depth),
            "weight_decay": config.weight_decay if decays else 0.0,
        }
        for (depth, decays), parameters in sorted(groups.items(), key=lambda item: item[0])
    ]


def set_drop_path(encoder: SkeletonEncoder, rate: float) -> None:
    """Skip a block's branches in training more often the deeper it lies: from 0 in the first to `rate` in the
    last."""
    blocks: Iterable[nn.Module] = encoder.blocks
    last = max(1, len(encoder.blocks) - 1)
    for depth, block in enumerate(blocks):
        assert isinstance(block, Block)
        block.drop_path = rate * depth / last


def _depth(name: str, layers: int) -> int:
    if name.startswith(("encoder.embed", "encoder.position", "encoder.registers")):
        return 0
    return int(name.split(".")[2]) + 1 if name.startswith("encoder.blocks") else layers + 1


def _step(
    model: nn.Module,
    batch: Batch,
    labels: Tensor,
    optimizer: torch.optim.Optimizer,
    setting: Setting,
    size: int,
) -> Tensor:
    """One optimiser step; returns this process's part of the batch's mean loss."""
    room = batch.room if setting.compiles == "cuda-graphs" else None
    next_step(setting.compiles)
    with arithmetic(setting.precision, batch.joints.device):
        logits = model(batch.joints, batch.present, batch.clip, len(batch.clips), None, room)
    smoothing = setting.config.label_smoothing
    wanted = labels[batch.clips]
    loss = cross_entropy(logits.float(), wanted, label_smoothing=smoothing, reduction="sum") / size
    optimizer.zero_grad(set_to_none=True)
    with products(setting.precision):
        (loss * setting.processes.size).backward()
    optimizer.step()
    return loss.detach()


def _save(model: Classifier, optimizer: torch.optim.Optimizer, setting: Setting, step: int) -> None:
    if setting.checkpoints and setting.processes.main:
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
        save_checkpoint(setting.checkpoints, step, state, keep=1)


def _kept(setting: Setting) -> str:
    return "its checkpoint is kept" if setting.checkpoints else "nothing is kept, for want of a folder"


def _take_up(
    model: Classifier, optimizer: torch.optim.Optimizer, setting: Setting, device: torch.device
) -> int:
    """Steps done by an earlier sitting."""
    state = load_latest(setting.checkpoints, device)[0] if setting.checkpoints else None
    if state is None:
        return 0
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])
