"""The encoder that every method shares: patches of one joint x l frames, position embeddings, pre-norm
transformer blocks."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from amr_data import UsageError
from amr_train.config import ModelConfig
from amr_train.models.layers import Block, PositionEmbedding, Rotary, initialize, name_joints
from amr_train.models.targets import patchify


class SkeletonEncoder(nn.Module):
    """Maps one body's motion (S, T, V, 3) to tokens (S, N, D); given `visible`, only those tokens ever enter.

    N = T / l * V tokens in time-major order: token n is joint n % V in segment n // V. Registers stand before
    them in the blocks, always attended to, and are not given out.
    """

    def __init__(self, config: ModelConfig, joints: int) -> None:
        super().__init__()
        if config.joints == "name" and not config.names:
            raise ValueError(
                "model.joints=name: the names are filled in from the data, and are not there yet"
            )
        self.config = config
        self.segment = config.segment
        self.joints = joints
        self.frames = config.frames
        self.width = config.width
        self.steps = config.frames // config.segment
        self.embed = nn.Linear(config.segment * 3, config.width)
        rotary = config.time == "rotary"
        self.position = PositionEmbedding(self.steps, joints, config.width, rotary, len(config.names))
        self.rotary = rotary_of(config, joints, 1, config.registers)
        self.blocks = nn.ModuleList(
            Block(config.width, config.heads, config.mlp_ratio) for _ in range(config.encoder_layers)
        )
        self.norm = nn.LayerNorm(config.width)
        self.apply(initialize)
        self.registers = None
        if config.registers:  # drawn last, so that all else begins as it does without them
            drawn = nn.init.trunc_normal_(torch.empty(1, config.registers, config.width), std=0.02)
            self.registers = nn.Parameter(drawn)

    @property
    def tokens(self) -> int:
        return self.steps * self.joints

    def forward(
        self,
        joints: Tensor,
        visible: Tensor | None = None,
        present: Tensor | None = None,
        naming: Tensor | None = None,
    ) -> Tensor:
        """joints : (S, T, V, 3).  visible : (S, N_v) int64 token numbers, or None for all.  present : (S, T)
        bool, the frames in which the body is there; without `visible`, tokens of other frames are not
        attended to.  naming : (V, names), of a skeleton that is not the encoder's own, see
        `PositionEmbedding`. Returns (S, N_v or N, D)."""
        x, turn, seen = self._entered(joints, visible, present, naming)
        for block in self.blocks:
            x = block(x, seen=seen, turn=turn)
        return self.norm(self._left(x))  # type: ignore[no-any-return]

    def deep(
        self, joints: Tensor, present: Tensor | None, layers: int, naming: Tensor | None = None
    ) -> Tensor:
        """The mean of what the last blocks give, each normalised over its values, of all tokens (S, N, D):
        what a student of this encoder predicts (data2vec, arXiv 2202.03555).

        joints, present, naming : as in `forward`.  layers : of how many blocks.
        """
        x, turn, seen = self._entered(joints, None, present, naming)
        total, first = torch.zeros_like(x), len(self.blocks) - layers
        for number, block in enumerate(self.blocks):
            x = block(x, seen=seen, turn=turn)
            if number >= first:
                total = total + layer_norm(x, (self.width,))
        return self._left(total) / layers

    def _entered(
        self, joints: Tensor, visible: Tensor | None, present: Tensor | None, naming: Tensor | None
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """What the blocks begin with, registers included; by what it turns, and what may be attended to."""
        told = self.joints if naming is None else naming.shape[0]
        if joints.shape[2] != told:
            raise UsageError(
                f"{joints.shape[2]} joints, and the encoder is told of {told}; of a batch of several "
                "datasets it is told by naming=batch.naming"
            )
        seen = None
        if present is not None and visible is None:
            seen = attended(steps_present(present, self.segment), joints.shape[2])
        patches = patchify(joints, self.segment)  # (S, N, l * 3)
        if visible is not None:
            patches = take_tokens(patches, visible)  # (S, N_v, l * 3)
        x = self.embed(patches) + self.position(visible, naming)
        turn = None if self.rotary is None else self.rotary(visible, joints.shape[2])
        if self.registers is not None:
            x = torch.cat([self.registers.to(x.dtype).expand(x.shape[0], -1, -1), x], dim=1)
            if seen is not None:
                always = seen.new_ones(*seen.shape[:3], self.registers.shape[1])
                seen = torch.cat([always, seen], dim=3)
        return x, turn, seen

    def _left(self, x: Tensor) -> Tensor:
        """Tokens without the registers before them."""
        return x if self.registers is None else x[:, self.registers.shape[1] :]


def rotary_of(config: ModelConfig, joints: int, ratio: int, still: int = 0) -> Rotary | None:
    """The rotation of patches of `ratio` segments of each joint, in time-major order, by their middle; None
    where time is learnt."""
    if config.time != "rotary":
        return None
    middle = torch.arange(config.frames // config.segment).view(-1, ratio).double().mean(dim=1)
    return Rotary(middle, config.width // config.heads, still, joints)


def for_joints(encoder: SkeletonEncoder, naming: Tensor) -> SkeletonEncoder:
    """The same weights for the joints of another skeleton: naming (V, names)."""
    other = SkeletonEncoder(encoder.config, len(naming)).to(naming.device)
    other.load_state_dict(encoder.state_dict())
    name_joints(other, naming)
    return other.to(encoder.norm.weight.device).train(encoder.training)


def steps_present(present: Tensor, segment: int) -> Tensor:
    """present : (S, T) bool of frames. Returns (S, T / l) bool: segments in which the body is there at
    all."""
    steps: Tensor = present.unflatten(1, (-1, segment))
    return steps.any(dim=2)


def attended(steps: Tensor, joints: int) -> Tensor:
    """The attention mask (S, 1, 1, T / l * V) of segments (S, T / l); all of a body that is never there,
    since attention to nothing is not a number."""
    seen = steps | ~steps.any(dim=1, keepdim=True)
    return seen.repeat_interleave(joints, dim=1)[:, None, None]


def take_tokens(tokens: Tensor, index: Tensor) -> Tensor:
    """tokens : (S, N, D), index : (S, K). Returns (S, K, D)."""
    return tokens.gather(1, index[..., None].expand(-1, -1, tokens.shape[-1]))
