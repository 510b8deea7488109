"""Pre-norm transformer blocks, self- and cross-attention alike, on torch's fused attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, scaled_dot_product_attention

ROTARY_BASE = 100.0
"""The fastest pair of values turns by a radian a segment, the slowest nearly this much slower: clips have
tens of segments, texts, for which it is 10,000, thousands of words."""


class Attention(nn.Module):
    """Multi-head attention of queries (S, N, D) over a context (S, K, D); without a context the queries
    attend to themselves. `seen` : (S, 1, 1, K) bool, what may be attended to; None for all. `turn`,
    `context_turn` : from `Rotary`, by which queries and keys are turned; without a context the first turns
    both."""

    def __init__(self, width: int, heads: int, cross: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.cross = cross
        if cross:
            self.query = nn.Linear(width, width)
            self.key_value = nn.Linear(width, 2 * width)
        else:
            self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(
        self,
        x: Tensor,
        context: Tensor | None = None,
        seen: Tensor | None = None,
        turn: Tensor | None = None,
        context_turn: Tensor | None = None,
    ) -> Tensor:
        if self.cross:
            assert context is not None
            query = self._split(self.query(x), 1)[0]
            key, value = self._split(self.key_value(context), 2)
        else:
            query, key, value = self._split(self.qkv(x), 3)
            context_turn = turn
        if turn is not None and context_turn is not None:
            query, key = turned(query, turn), turned(key, context_turn)
        mixed = scaled_dot_product_attention(query, key, value, attn_mask=seen)  # (S, H, N, D / H)
        return self.proj(mixed.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def _split(self, x: Tensor, parts: int) -> tuple[Tensor, ...]:
        """(S, N, parts * D) to `parts` tensors (S, H, N, D / H)."""
        split: Tensor = x.unflatten(-1, (parts, self.heads, -1))
        return split.permute(2, 0, 3, 1, 4).unbind(0)


class Block(nn.Module):
    """x + Attention(norm(x)), then x + MLP(norm(x)). With `cross`, the attention's keys and values come from
    a context instead; with `among`, self-attention among the queries comes before it."""

    def __init__(
        self, width: int, heads: int, mlp_ratio: float, cross: bool = False, among: bool = False
    ) -> None:
        super().__init__()
        hidden = int(width * mlp_ratio)
        self.norm_among = nn.LayerNorm(width) if among else None
        self.attn_among = Attention(width, heads) if among else None
        self.norm1 = nn.LayerNorm(width)
        self.attn = Attention(width, heads, cross)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))
        self.drop_path = 0.0

    def forward(
        self,
        x: Tensor,
        context: Tensor | None = None,
        seen: Tensor | None = None,
        turn: Tensor | None = None,
        context_turn: Tensor | None = None,
    ) -> Tensor:
        if self.attn_among is not None and self.norm_among is not None:
            x = x + self.attn_among(self.norm_among(x))
        x = x + self._kept(self.attn(self.norm1(x), context, seen, turn, context_turn))
        return x + self._kept(self.mlp(self.norm2(x)))

    def _kept(self, branch: Tensor) -> Tensor:
        """In training, leave out the branch of a share `drop_path` of the sequences, and scale the others
        up."""
        if not self.training or not self.drop_path:
            return branch
        keep = 1 - self.drop_path
        return branch * (torch.rand(len(branch), 1, 1, device=branch.device) < keep) / keep


class PositionEmbedding(nn.Module):
    """A learnable vector for each time step, unless time is `rotary`, plus one for each joint: `forward()`
    gives (1, T * V, D) in time-major order, `forward(index)` those of the tokens (S, K) as (S, K, D).

    With `names`, so many of them have a vector each, and a joint's is the mean of its names' by their shares:
    `naming` (V, names), those that `name_joints` gave where a call gives none.
    """

    naming: Tensor | None

    def __init__(self, steps: int, joints: int, width: int, rotary: bool = False, names: int = 0) -> None:
        super().__init__()
        self.steps = steps
        self.time = None if rotary else nn.Parameter(torch.empty(1, steps, 1, width))
        self.joint = nn.Parameter(torch.empty(1, 1, names or joints, width))
        self.named = bool(names)
        self.register_buffer("naming", None, persistent=False)
        if self.time is not None:
            nn.init.trunc_normal_(self.time, std=0.02)
        nn.init.trunc_normal_(self.joint, std=0.02)

    def forward(self, index: Tensor | None = None, naming: Tensor | None = None) -> Tensor:
        joint = self._joints(naming)
        both = joint.expand(-1, self.steps, -1, -1) if self.time is None else self.time + joint
        table = both.flatten(1, 2)
        return table if index is None else embedding(index, table[0])

    def _joints(self, naming: Tensor | None) -> Tensor:
        """(1, 1, V, D)."""
        if not self.named:
            return self.joint
        naming = self.naming if naming is None else naming
        if naming is None:
            raise RuntimeError("joints are told by names, and none were given: see name_joints")
        return naming @ self.joint


def name_joints(module: nn.Module, naming: Tensor) -> None:
    """Say which joints a network is about, as long as a call does not say it: naming (V, names)."""
    for part in module.modules():
        if isinstance(part, PositionEmbedding) and part.named:
            part.naming = naming.to(part.joint.device)


class Rotary(nn.Module):
    """Rotary positions (RoFormer, arXiv 2104.09864): pair i of the values of queries and keys turns by
    position * base^(-2i / width) radians, so that their product depends on how far apart two positions are.

    Args:
        positions: (P,) in segments, in time order.
        width: of a head, even.
        still: tokens that stand before all others and are not turned.
        joints: V, tokens at each position, as long as a call does not say it.
    `forward()` gives cosines and sines (1, 1, still + P * V, width) for `turned`, `forward(index)` those of
    the still ones and of the tokens (S, K) as (S, 1, still + K, width).
    """

    table: Tensor

    def __init__(self, positions: Tensor, width: int, still: int = 0, joints: int = 1) -> None:
        super().__init__()
        self.still, self.joints = still, joints
        places = torch.cat([positions.new_zeros(still), positions]).double()
        angles = places[:, None] * ROTARY_BASE ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
        # follows from the settings: no part of a file
        self.register_buffer("table", torch.cat([angles.cos(), angles.sin()], 1).float(), persistent=False)

    def forward(self, index: Tensor | None = None, joints: int | None = None) -> Tensor:
        joints = self.joints if joints is None else joints
        moving = self.table[self.still :].repeat_interleave(joints, dim=0)
        rows = moving[None] if index is None else embedding(index, moving)
        if self.still:
            rows = torch.cat([self.table[: self.still].expand(rows.shape[0], -1, -1), rows], dim=1)
        return rows[:, None]


def turned(values: Tensor, turn: Tensor) -> Tensor:
    """values : (S, H, N, width).  turn : (S or 1, 1, N, width), from `Rotary`. Pair i is the values i and
    width / 2 + i. Returns (S, H, N, width), made in float32."""
    first, second = values.chunk(2, dim=-1)
    cos, sin = turn.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1).to(values.dtype)


def initialize(module: nn.Module) -> None:
    """Xavier-uniform weights and zero biases for every linear layer, as masked autoencoders use."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
