"""Adaptive Masked Reconstruction: the shared encoder, a decoder decoupled from its token grid, and the focal reconstruction loss."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from amr_train.config import Experiment, ModelConfig
from amr_train.feed import Batch
from amr_train.guidance import online_weights, shard_weights
from amr_train.models.encoder import SkeletonEncoder, random_visible
from amr_train.models.layers import Block, PositionEmbedding, initialize
from amr_train.targets import make_target, patchify


class DecoupledDecoder(nn.Module):
    """N / r learnable queries, one a target patch, that ask the visible features by cross-attention; no self-attention among them.

    H_q <- MCA(H_q, H_v) + H_q, then H_q <- FFN(H_q) + H_q in every layer; a linear head gives the r * l * C values of each patch.
    """

    def __init__(self, config: ModelConfig, joints: int) -> None:
        super().__init__()
        steps = config.frames // config.segment // config.target_ratio
        self.queries = PositionEmbedding(steps, joints, config.width)
        self.blocks = nn.ModuleList(
            Block(config.width, config.heads, config.mlp_ratio, cross=True) for _ in range(config.decoder_layers)
        )
        self.norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, config.target_ratio * config.segment * 3)
        self.apply(initialize)

    def forward(self, visible: Tensor) -> Tensor:
        """visible : (S, N_v, D), the encoder's output. Returns X_p (S, N / r, r * l * 3)."""
        x = self.queries().expand(len(visible), -1, -1)
        for block in self.blocks:
            x = block(x, visible)
        return self.head(self.norm(x))  # type: ignore[no-any-return]


@dataclass
class Losses:
    """loss : the training loss.  plain : the same without focal weights, comparable between settings."""

    loss: Tensor
    plain: Tensor


class AMR(nn.Module):
    """Encoder and decoder with the loss of an experiment. `windows` are the lengths of the dataset's precomputed energies."""

    def __init__(self, experiment: Experiment, joints: int, windows: tuple[int, ...]) -> None:
        super().__init__()
        self.config = experiment
        model = experiment.model
        self.encoder = SkeletonEncoder(model, joints)
        self.decoder = DecoupledDecoder(model, joints)
        self.patch_frames = model.target_ratio * model.segment
        self.scales: list[int] = []
        if experiment.guidance.focal and experiment.guidance.source == "shard":
            self.scales = [windows.index(n) for n in experiment.guidance.windows]

    def forward(self, batch: Batch, generator: torch.Generator | None = None) -> Losses:
        """Mask, encode what is visible, predict every target patch, and weigh the error."""
        joints = batch.joints
        visible = random_visible(len(joints), self.encoder.tokens, self.config.model.mask_ratio, generator, joints.device)
        predicted = self.decoder(self.encoder(joints, visible))
        target = make_target(joints, self.config.target, self.patch_frames)
        error = (predicted.float() - target).square()  # (S, N / r, r * l * 3)
        weights = self.weights(batch)
        plain = reconstruction_loss(error, None, self.encoder.tokens)
        loss = plain if weights is None else reconstruction_loss(error, weights, self.encoder.tokens)
        return Losses(loss, plain.detach())

    def weights(self, batch: Batch) -> Tensor | None:
        """W, shaped like the patches (S, N / r, r * l * 3), or None without focal reconstruction."""
        guidance = self.config.guidance
        if not guidance.focal:
            return None
        if guidance.source == "shard":
            assert batch.energy is not None
            weights = shard_weights(batch.energy, self.scales, guidance.windows, guidance.k)
        else:
            weights = online_weights(batch.joints, guidance.windows, guidance.k)
        return patchify(weights[..., None].expand(-1, -1, -1, 3), self.patch_frames)


def reconstruction_loss(squared_error: Tensor, weights: Tensor | None, tokens: int) -> Tensor:
    """L = (1 / N) * || sqrt(W) * (X_p - X_t) ||_F^2, N the encoder's tokens, averaged over the sequences.

    squared_error, weights : (S, N / r, r * l * C).
    """
    weighted = squared_error if weights is None else squared_error * weights
    return weighted.sum(dim=(1, 2)).mean() / tokens
