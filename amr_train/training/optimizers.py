"""What takes the steps of pre-training: AdamW for all, or Muon for the matrices of transformer blocks and
AdamW for the rest.

Muon (Jordan et al. 2024) steps along the nearest orthogonal matrix to a matrix's momentum, found by five
Newton-Schulz iterations. Its steps are made as large as AdamW's (Liu et al. 2025, arXiv 2502.16982), so that
learning rate and weight decay mean the same. It is written here and not torch.optim.Muon, since that iterates
in bfloat16, which takes many times as long as float32 on a CPU that has no bfloat16, and one matrix after the
other; here all of one shape go together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from amr_data import UsageError
from amr_train.config import PretrainConfig
from amr_train.models.layers import Attention, Block

MOMENTUM = 0.95
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the iteration a X + (b G + c G^2) X, G = X X^T: singular values go to between 0.7 and 1.2, small ones
fast (Jordan et al.)."""
ITERATIONS = 5
EPS = 1e-7
RMS = 0.2
"""Root mean square of AdamW's steps, in learning rates, as Liu et al. have measured it."""


class Optimizer(Protocol):
    """What the loop asks of one."""

    @property
    def param_groups(self) -> list[dict[str, Any]]: ...

    def zero_grad(self, set_to_none: bool = True) -> None: ...

    def step(self) -> Any: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> None: ...


def make_optimizer(model: nn.Module, config: PretrainConfig) -> Optimizer:
    """Fused AdamW with weight decay on matrices and embeddings, none on biases and norms; with
    `optimizer=muon` the matrices of blocks are Muon's. What needs no gradient, such as a teacher, is left
    out. Raises: UsageError where there are no such matrices."""
    trained = [p for p in model.parameters() if p.requires_grad]
    if config.optimizer == "adamw":
        return _adamw(trained, config)
    parts: dict[Tensor, int] = {p: n for p, n in block_matrices(model).items() if p.requires_grad}
    if not parts:
        raise UsageError(
            "pretrain.optimizer=muon is for the matrices of transformer blocks "
            "(amr_train.models.layers.Block), and the method has none; take adamw"
        )
    rest = [p for p in trained if p not in parts]
    muon = Muon(list(parts), list(parts.values()), config.lr, config.weight_decay)
    return Together([_adamw(rest, config), muon])


def block_matrices(model: nn.Module) -> dict[Tensor, int]:
    """The weight matrices of a model's blocks, and how many maps lie in each one on top of each other:
    queries, keys and values of attention do."""
    found: dict[Tensor, int] = {}
    for block in model.modules():
        if not isinstance(block, Block):
            continue
        for module in block.modules():
            for layer in module.children():
                if isinstance(layer, nn.Linear):
                    stacked = isinstance(module, Attention)
                    found[layer.weight] = layer.out_features // layer.in_features if stacked else 1
    return found


def _adamw(trained: Iterable[Tensor], config: PretrainConfig) -> torch.optim.AdamW:
    trained = list(trained)
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, fused=True)


class Muon(torch.optim.Optimizer):
    """Args:
    matrices: parameters (A, B).
    parts: how many maps (A / parts, B) lie in each.
    """

    def __init__(
        self, matrices: Sequence[Tensor], parts: Sequence[int], lr: float, weight_decay: float
    ) -> None:
        group = {"params": list(matrices), "parts": list(parts)}
        super().__init__([group], {"lr": lr, "weight_decay": weight_decay, "momentum": MOMENTUM})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            alike: dict[tuple[int, int], list[tuple[Tensor, int]]] = {}
            for matrix, parts in zip(group["params"], group["parts"], strict=True):
                if matrix.grad is not None:
                    shape = (matrix.shape[0] // parts, matrix.shape[1])
                    alike.setdefault(shape, []).append((matrix, parts))
            for shape, some in alike.items():
                self._step([matrix for matrix, _ in some], [parts for _, parts in some], shape, group)

    def _step(
        self,
        matrices: list[Tensor],
        parts: list[int],
        shape: tuple[int, int],
        group: Mapping[str, Any],
    ) -> None:
        grads = [matrix.grad for matrix in matrices if matrix.grad is not None]
        for matrix in matrices:
            if "momentum" not in self.state[matrix]:
                self.state[matrix]["momentum"] = torch.zeros_like(matrix)
        held = [self.state[matrix]["momentum"] for matrix in matrices]
        torch._foreach_lerp_(held, grads, 1 - group["momentum"])
        ahead = torch._foreach_lerp(grads, held, group["momentum"])  # Nesterov
        stacked = torch.cat([one.view(-1, *shape) for one in ahead])  # (K, A, B)
        steps = [one.flatten(0, 1) for one in orthogonal(stacked).split(parts)]
        lr = group["lr"]
        torch._foreach_mul_(matrices, 1 - lr * group["weight_decay"])
        torch._foreach_add_(matrices, steps, alpha=-lr * RMS * max(shape) ** 0.5)


def orthogonal(matrices: Tensor) -> Tensor:
    """matrices : (K, A, B). Returns about U V^T of each, U S V^T its singular value decomposition."""
    a, b, c = COEFFICIENTS
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=EPS)
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


class Together:
    """Several optimisers as one, each with parameters of its own."""

    def __init__(self, parts: Sequence[torch.optim.Optimizer]) -> None:
        self.parts = parts

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return [group for part in self.parts for group in part.param_groups]

    def zero_grad(self, set_to_none: bool = True) -> None:
        for part in self.parts:
            part.zero_grad(set_to_none)

    def step(self) -> None:
        for part in self.parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
