"""Pre-norm transformer blocks, self- and cross-attention alike, on torch's fused attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, scaled_dot_product_attention


class Attention(nn.Module):
    """Multi-head attention of queries (S, N, D) over a context (S, K, D); without a context the queries
    attend to themselves. `seen` : (S, 1, 1, K) bool, what may be attended to; None for all."""

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

    def forward(self, x: Tensor, context: Tensor | None = None, seen: Tensor | None = None) -> Tensor:
        if self.cross:
            assert context is not None
            query = self._split(self.query(x), 1)[0]
            key, value = self._split(self.key_value(context), 2)
        else:
            query, key, value = self._split(self.qkv(x), 3)
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

    def forward(self, x: Tensor, context: Tensor | None = None, seen: Tensor | None = None) -> Tensor:
        if self.attn_among is not None and self.norm_among is not None:
            x = x + self.attn_among(self.norm_among(x))
        x = x + self._kept(self.attn(self.norm1(x), context, seen))
        return x + self._kept(self.mlp(self.norm2(x)))

    def _kept(self, branch: Tensor) -> Tensor:
        """In training, leave out the branch of a share `drop_path` of the sequences, and scale the others
        up."""
        if not self.training or not self.drop_path:
            return branch
        keep = 1 - self.drop_path
        return branch * (torch.rand(len(branch), 1, 1, device=branch.device) < keep) / keep


class PositionEmbedding(nn.Module):
    """A learnable vector for each time step plus one for each joint: `forward()` gives (1, T * V, D) in
    time-major order, `forward(index)` those of the tokens (S, K) as (S, K, D)."""

    def __init__(self, steps: int, joints: int, width: int) -> None:
        super().__init__()
        self.time = nn.Parameter(torch.empty(1, steps, 1, width))
        self.joint = nn.Parameter(torch.empty(1, 1, joints, width))
        nn.init.trunc_normal_(self.time, std=0.02)
        nn.init.trunc_normal_(self.joint, std=0.02)

    def forward(self, index: Tensor | None = None) -> Tensor:
        table = (self.time + self.joint).flatten(1, 2)
        return table if index is None else embedding(index, table[0])


def initialize(module: nn.Module) -> None:
    """Xavier-uniform weights and zero biases for every linear layer, as masked autoencoders use."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
