"""Protocols that train the encoder too: fine-tuning, from scratch, with few labels, on another dataset.

AdamW with layer-wise learning rates, drop path, label smoothing, as the published settings have them; the
accuracy is the last epoch's.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from amr_train.config import AugmentConfig, EvaluationConfig, FinetuneConfig
from amr_train.data.feed import Batch, Feed
from amr_train.evaluation.features import mean_over_bodies
from amr_train.evaluation.scores import Scores, score
from amr_train.models.encoder import SkeletonEncoder
from amr_train.models.layers import Block
from amr_train.parallel.processes import Processes
from amr_train.training.checkpoints import load_latest, save_checkpoint
from amr_train.training.schedule import learning_rate, seed_of


@dataclass(frozen=True)
class Setting:
    """What the fine-tuned runs of an evaluation share. `checkpoints`: where epochs are saved and taken up;
    None keeps nothing."""

    config: EvaluationConfig
    augment: AugmentConfig
    precision: str = "float32"
    seed: int = 0
    processes: Processes = Processes()  # noqa: RUF009
    checkpoints: Path | None = None
    report: Callable[[int, int, dict[str, float]], None] = lambda done, total, metrics: None


class Classifier(nn.Module):
    """Encoder and head: features are averaged over time and bodies, joints are kept, then dropout and an
    MLP."""

    def __init__(self, encoder: SkeletonEncoder, classes: int, config: FinetuneConfig) -> None:
        super().__init__()
        self.encoder = encoder
        self.hidden = config.hidden
        wide = encoder.joints * encoder.width
        last = nn.Linear(config.hidden, classes)
        nn.init.trunc_normal_(last.weight, std=0.02)
        nn.init.zeros_(last.bias)
        self.head = nn.Sequential(
            nn.Dropout(config.head_dropout), nn.Linear(wide, config.hidden), nn.GELU(), last
        )

    def forward(self, joints: Tensor, clip: Tensor, clips: int) -> Tensor:
        """joints : (S, T, V, 3), clip : (S,) row of each sequence's clip. Returns scores (B, classes)."""
        tokens = self.encoder(joints).unflatten(
            1, (self.encoder.steps, self.encoder.joints)
        )  # (S, T / l, V, D)
        return self.head(mean_over_bodies(tokens.mean(dim=1).flatten(1), clip, clips))  # type: ignore[no-any-return]


def finetune(
    encoder: SkeletonEncoder, train: Feed, test: Feed, classes: int, setting: Setting
) -> tuple[Scores, Classifier]:
    """Train a copy of an encoder with a new head on the labels of `train`, and score it on `test`."""
    model = train_classifier(encoder, train, classes, setting)
    return score(_scores(model, test, setting), test.labels), model


def train_classifier(encoder: SkeletonEncoder, train: Feed, classes: int, setting: Setting) -> Classifier:
    """Train a copy of an encoder with a new head. Taken up from the last whole epoch in
    `setting.checkpoints`."""
    config, processes, device = setting.config.finetune, setting.processes, train.device
    torch.manual_seed(seed_of(setting.seed, "head", 0))
    model = Classifier(copy.deepcopy(encoder), classes, config).to(device).train()
    set_drop_path(model.encoder, config.drop_path)
    optimizer = torch.optim.AdamW(layer_groups(model, config), lr=config.lr, betas=config.betas, fused=True)
    scales = [group["scale"] for group in optimizer.param_groups]
    size = min(config.batch_size, len(train))
    per_epoch = len(train) // size
    done = _take_up(model, optimizer, setting, device)
    wrapped = processes.wrap(model, device)
    for epoch in range(done, config.epochs):
        generator = torch.Generator().manual_seed(seed_of(setting.seed, "finetune views", epoch))
        views = train.train_views(size, setting.augment, generator, processes.rank, processes.size)
        total = torch.zeros((), device=device)
        for step, batch in enumerate(train.batches(views), start=epoch * per_epoch):
            for group, scale in zip(optimizer.param_groups, scales, strict=True):
                group["lr"] = learning_rate(step, per_epoch, config) * scale
            torch.manual_seed(seed_of(setting.seed, f"drop {processes.rank}", step))
            total += _step(wrapped, batch, train.labels, optimizer, setting, size)
        loss = float(processes.total(total)) / per_epoch
        if setting.checkpoints and processes.main and (epoch + 1) % config.checkpoint_epochs == 0:
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
            save_checkpoint(setting.checkpoints, epoch + 1, state, keep=1)
        setting.report(epoch + 1, config.epochs, {"loss": loss})
    return model.eval()


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
    if name.startswith(("encoder.embed", "encoder.position")):
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
    device = batch.joints.device
    wanted = labels[batch.clips.to(device)]
    with torch.autocast(device.type, torch.bfloat16, enabled=setting.precision == "bfloat16"):
        said = model(batch.joints, batch.clip, len(batch.clips))
    smoothing = setting.config.finetune.label_smoothing
    loss = cross_entropy(said.float(), wanted, label_smoothing=smoothing, reduction="sum") / size
    optimizer.zero_grad(set_to_none=True)
    (loss * setting.processes.size).backward()
    optimizer.step()
    return loss.detach()


@torch.no_grad()
def _scores(model: Classifier, feed: Feed, setting: Setting) -> Tensor:
    """Scores of every clip's centre crop (N, C); each process does its part, each clip is seen once."""
    processes, config = setting.processes, setting.config
    views = feed.centre_views(config.batch_size, config.crop, processes.rank, processes.size)
    out: Tensor | None = None
    for batch in feed.batches(views):
        with torch.autocast(feed.device.type, torch.bfloat16, enabled=setting.precision == "bfloat16"):
            said = model(batch.joints, batch.clip, len(batch.clips)).float()
        out = said.new_zeros(len(feed), said.shape[1]) if out is None else out
        out[batch.clips.to(feed.device)] = said
    assert out is not None
    return processes.total(out)


def _take_up(
    model: Classifier, optimizer: torch.optim.Optimizer, setting: Setting, device: torch.device
) -> int:
    """Epochs done by an earlier sitting."""
    state = load_latest(setting.checkpoints, device)[0] if setting.checkpoints else None
    if state is None:
        return 0
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])
