"""The encoder that every method shares: patches of one joint x l frames, position embeddings, pre-norm
transformer blocks."""

from __future__ import annotations

from torch import Tensor, nn

from amr_train.config import ModelConfig
from amr_train.models.layers import Block, PositionEmbedding, initialize
from amr_train.models.targets import patchify


class SkeletonEncoder(nn.Module):
    """Maps one body's motion (S, T, V, 3) to tokens (S, N, D); given `visible`, only those tokens ever enter.

    N = T / l * V tokens in time-major order: token n is joint n % V in segment n // V.
    """

    def __init__(self, config: ModelConfig, joints: int) -> None:
        super().__init__()
        self.config = config
        self.segment = config.segment
        self.joints = joints
        self.frames = config.frames
        self.width = config.width
        self.steps = config.frames // config.segment
        self.embed = nn.Linear(config.segment * 3, config.width)
        self.position = PositionEmbedding(self.steps, joints, config.width)
        self.blocks = nn.ModuleList(
            Block(config.width, config.heads, config.mlp_ratio) for _ in range(config.encoder_layers)
        )
        self.norm = nn.LayerNorm(config.width)
        self.apply(initialize)

    @property
    def tokens(self) -> int:
        return self.steps * self.joints

    def forward(self, joints: Tensor, visible: Tensor | None = None) -> Tensor:
        """joints : (S, T, V, 3).  visible : (S, N_v) int64 token numbers, or None for all.  Returns (S, N_v
        or N, D)."""
        patches = patchify(joints, self.segment)  # (S, N, l * 3)
        if visible is not None:
            patches = take_tokens(patches, visible)  # (S, N_v, l * 3)
        x = self.embed(patches) + self.position(visible)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)  # type: ignore[no-any-return]


def take_tokens(tokens: Tensor, index: Tensor) -> Tensor:
    """tokens : (S, N, D), index : (S, K). Returns (S, K, D)."""
    return tokens.gather(1, index[..., None].expand(-1, -1, tokens.shape[-1]))
