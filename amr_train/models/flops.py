"""What a forward pass costs, counted: matrix products of the layers, and those inside fused attention, which
counters pass over."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from amr_train.config import ModelConfig
from amr_train.models.masked import MaskedReconstruction


def encoder_flops(config: ModelConfig, joints: int) -> int:
    """FLOPs of an encoder's features of one body, with every token shown: both numbers of `count_flops`
    together, so two for a multiply-add, in the products of the layers and in those inside attention."""
    tokens = config.frames // config.segment * joints
    width, hidden, within = config.width, int(config.width * config.mlp_ratio), tokens + config.registers
    embedding = tokens * config.segment * 3 * width
    layers = within * width * (4 * width + 2 * hidden)
    attention = 2 * within * within * width
    return 2 * (embedding + config.encoder_layers * (layers + attention))


def gflops_in_words(value: float | None) -> str:
    """Three digits: `28.1`, `0.809`, `-` where it is not known."""
    return "-" if value is None else f"{value:#.3g}".rstrip(".")


def count_flops(model: MaskedReconstruction, bodies: int = 2) -> tuple[int, int]:
    """FLOPs of a forward pass of a clip on the CPU: in matrix products of the layers, and in those inside
    attention."""

    def attention(
        query: torch.Size, key: torch.Size, value: torch.Size, *args: object, **kwargs: object
    ) -> int:
        return int(sdpa_flop_count(query, key, value))

    fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    with torch.no_grad(), FlopCounterMode(display=False, custom_mapping={fused: attention}) as counter:
        frames = model.config.model.frames
        model(torch.randn(bodies, frames, model.encoder.joints, 3), torch.rand(bodies, model.encoder.tokens))
    counts = counter.get_flop_counts()["Global"]
    inside = sum(n for operation, n in counts.items() if "attention" in str(operation))
    return counter.get_total_flops() - inside, inside
