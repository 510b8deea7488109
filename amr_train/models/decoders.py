"""What stands between the visible features and the reconstruction. A decoder says what it predicts and which
targets these are."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from amr_train.config import ModelConfig
from amr_train.models.encoder import rotary_of
from amr_train.models.layers import Block, PositionEmbedding, initialize


class Decoder(nn.Module):
    """`forward(visible, order)` maps the encoder's output (S, N_v, D), of the tokens that come first in
    `order` (S, N), to predictions (S, P, values) and the numbers (S, P) of the target patches they are of, or
    None for all of them in time-major order. `naming` (V, names): of a skeleton that is not the decoder's
    own, see `PositionEmbedding`."""

    def __init__(
        self, config: ModelConfig, joints: int, steps: int, values: int, blocks: list[Block]
    ) -> None:
        super().__init__()
        self.joints = joints
        self.position = PositionEmbedding(steps, joints, config.width, names=len(config.names))
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, values)

    def count(self, naming: Tensor | None) -> int:
        """V, of the skeleton at hand."""
        return self.joints if naming is None else naming.shape[0]

    def predict(self, x: Tensor) -> Tensor:
        return self.head(self.norm(x))  # type: ignore[no-any-return]


class DecoupledDecoder(Decoder):
    """N / r learnable queries, one a target patch, that ask the visible features by cross-attention (AMR).

    H_q <- MCA(H_q, H_v) + H_q, then H_q <- FFN(H_q) + H_q in every layer; a linear head gives the r * l * 3
    values of each patch. With `among`, self-attention among the queries comes first in every layer (the
    paper's ablation).

    Where the encoder's time is rotary, its features do not say when they are, and no position is added to
    them here as in the other decoders: so the cross-attention is rotary too, of queries by the middle of
    their patch.
    """

    def __init__(self, config: ModelConfig, joints: int, channels: int = 3, among: bool = False) -> None:
        self._built(config, joints, config.target_ratio, config.patch_frames * channels, among)

    def _built(self, config: ModelConfig, joints: int, ratio: int, values: int, among: bool = False) -> None:
        """A query for each `ratio` segments of a joint, which gives so many values."""
        blocks = [
            Block(config.width, config.heads, config.mlp_ratio, cross=True, among=among)
            for _ in range(config.decoder_layers)
        ]
        super().__init__(config, joints, config.frames // config.segment // ratio, values, blocks)
        self.asking = rotary_of(config, joints, ratio)
        self.asked = rotary_of(config, joints, 1)
        self.apply(initialize)

    def forward(
        self, visible: Tensor, order: Tensor, naming: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        return self._answered(visible, order, None, naming), None

    def _answered(
        self, visible: Tensor, order: Tensor, which: Tensor | None, naming: Tensor | None
    ) -> Tensor:
        """What the queries `which` (S, K), or all, give: (S, K, values)."""
        x = self.position(which, naming).expand(len(visible), -1, -1)  # (S, N / r, D)
        turns = {}
        if self.asking is not None and self.asked is not None:
            joints, seen = self.count(naming), order[:, : visible.shape[1]]
            turns = {"turn": self.asking(which, joints), "context_turn": self.asked(seen, joints)}
        for block in self.blocks:
            x = block(x, visible, **turns)
        return self.predict(x)


class FeatureDecoder(DecoupledDecoder):
    """A query for each masked token, which gives the D values of a teacher's feature."""

    def __init__(self, config: ModelConfig, joints: int) -> None:
        self._built(config, joints, 1, config.width)

    def forward(self, visible: Tensor, order: Tensor, naming: Tensor | None = None) -> tuple[Tensor, Tensor]:
        which = order[:, visible.shape[1] :]
        return self._answered(visible, order, which, naming), which


class GridDecoder(Decoder):
    """Visible and mask tokens attend to each other (MAE, MAMP); masked tokens are predicted, or so many of
    them for each joint as `targets` says.

    Tokens stay in the mask's order: attention does not mind, and the predicted ones then lie together.
    """

    def __init__(
        self, config: ModelConfig, joints: int, channels: int = 3, targets: int | None = None
    ) -> None:
        super().__init__(
            config, joints, config.frames // config.segment, config.segment * channels, _self_blocks(config)
        )
        self.targets = targets
        self.embed = nn.Linear(config.width, config.width)
        self.mask_token = _mask_token(config.width)
        self.apply(initialize)

    def forward(self, visible: Tensor, order: Tensor, naming: Tensor | None = None) -> tuple[Tensor, Tensor]:
        kept = visible.shape[1]
        if self.targets is not None:
            order = order[:, : kept + self.targets * self.count(naming)]
        hidden = self.mask_token.expand(len(visible), order.shape[1] - kept, -1)
        x = torch.cat([self.embed(visible), hidden.to(visible.dtype)], dim=1) + self.position(
            order, naming
        )  # (S, N or N_v + targets, D)
        for block in self.blocks:
            x = block(x)
        return self.predict(x[:, kept:]), order[:, kept:]


class PooledDecoder(Decoder):
    """The grid of visible and mask tokens, averaged over r segments of a joint: N / r tokens attend to each
    other and predict r * l frames."""

    def __init__(self, config: ModelConfig, joints: int, channels: int = 3) -> None:
        super().__init__(
            config,
            joints,
            config.frames // config.segment,
            config.patch_frames * channels,
            _self_blocks(config),
        )
        self.ratio = config.target_ratio
        self.embed = nn.Linear(config.width, config.width)
        self.mask_token = _mask_token(config.width)
        self.apply(initialize)

    def forward(self, visible: Tensor, order: Tensor, naming: Tensor | None = None) -> tuple[Tensor, None]:
        shown = self.embed(visible)
        grid = self.mask_token.to(shown.dtype).expand(*order.shape, -1)
        where = order[:, : visible.shape[1], None].expand(-1, -1, shown.shape[-1])
        x = grid.scatter(1, where, shown) + self.position(naming=naming)  # (S, N, D)
        x = x.unflatten(1, (-1, self.ratio, self.count(naming))).mean(dim=2).flatten(1, 2)  # (S, N / r, D)
        for block in self.blocks:
            x = block(x)
        return self.predict(x), None


def make_decoder(config: ModelConfig, joints: int, channels: int = 3) -> Decoder:
    """The decoder that the settings name. `channels` : values of a joint in one frame of the target."""
    if config.decoder == "grid":
        return GridDecoder(config, joints, channels)
    if config.decoder == "subset":
        return GridDecoder(config, joints, channels, config.frames // config.segment // config.target_ratio)
    if config.decoder == "pooled":
        return PooledDecoder(config, joints, channels)
    return DecoupledDecoder(config, joints, channels, among=config.decoder == "self-attention")


def _self_blocks(config: ModelConfig) -> list[Block]:
    return [Block(config.width, config.heads, config.mlp_ratio) for _ in range(config.decoder_layers)]


def _mask_token(width: int) -> nn.Parameter:
    return nn.Parameter(torch.nn.init.trunc_normal_(torch.empty(1, 1, width), std=0.02))
