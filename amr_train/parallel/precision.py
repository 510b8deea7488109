"""In which arithmetic a network computes on a device, and what a device cannot do.

float32   as it is
tf32      products of float32 matrices on TensorFloat-32 units, with 10 bits of mantissa
bfloat16  autocast; weights, losses and optimiser stay float32
auto      bfloat16 on a GPU that has it in hardware, otherwise float32; on a CPU always float32, since what
          bfloat16 gains there depends on the model

The feed's crops and rotations are exact in all of them: a coordinate in TF32 would be off by millimetres,
which is as much as joints move between two frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from amr_train.config import Experiment

AMPERE = (8, 0)
"""The first CUDA compute capability with bfloat16 and TF32 in hardware."""


def precision_on(wanted: str, device: torch.device) -> tuple[str, str | None]:
    """The precision that a device computes in where `wanted` is asked for, one of those above but `auto`, and
    a line of warning where it is not that one. A CPU takes bfloat16, in software if need be."""
    if wanted == "auto":
        return ("bfloat16" if _has_bfloat16(device) else "float32"), None
    able = {
        "float32": True,
        "tf32": _has_tf32(device),
        "bfloat16": device.type == "cpu" or _has_bfloat16(device) or _metal_has_bfloat16(device),
    }
    if able[wanted]:
        return wanted, None
    return "float32", f"precision={wanted}: {_name(device)} does not have it; computed in float32"


def precise(experiment: Experiment, device: torch.device) -> tuple[Experiment, list[str]]:
    """The experiment with the precisions that the device computes in, which a run records, and lines of
    warning."""
    precision, said = precision_on(experiment.precision, device)
    features, also = precision_on(experiment.evaluation.feature_precision, device)
    evaluation = experiment.evaluation.model_copy(update={"feature_precision": features})
    fitted = experiment.model_copy(update={"precision": precision, "evaluation": evaluation})
    return fitted, list(dict.fromkeys(line for line in (said, also) if line))


@contextmanager
def arithmetic(precision: str, device: torch.device) -> Iterator[None]:
    """Compute forwards in a precision that `precision_on` gave."""
    with products(precision), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        yield


@contextmanager
def products(precision: str) -> Iterator[None]:
    """The part of `arithmetic` that backward passes need too: they follow autocast by themselves."""
    if precision != "tf32":
        yield
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _has_bfloat16(device: torch.device) -> bool:
    if device.type != "cuda":
        return False
    if torch.version.hip:
        return bool(torch.cuda.is_bf16_supported())
    return torch.cuda.get_device_capability(device) >= AMPERE


def _metal_has_bfloat16(device: torch.device) -> bool:
    """In software on its first chips, so `auto` does not take it."""
    return device.type == "mps" and torch.backends.mps.is_macos_or_newer(14, 0)


def _has_tf32(device: torch.device) -> bool:
    return device.type == "cuda" and not torch.version.hip and _has_bfloat16(device)


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"a {device.type} device"
