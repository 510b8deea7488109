"""torch.compile of what is heavy in a training step. Sizes are fixed but for the first axis, which counts the
sequences of a batch; for CUDA graphs that is fixed too."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

from amr_data import UsageError
from amr_train.parallel.processes import check_graphs

T = TypeVar("T")
BACKEND = "inductor"


def compiled(function: Callable[..., T], how: str) -> Callable[..., T]:
    """A function compiled as the setting `compile` has it. The first axis of each tensor among its arguments
    by position may have any size. Other sizes, those of tensors by keyword too, are built in: another graph
    is made for others, such as the joints of another skeleton. With `cuda-graphs` all are."""
    if how == "none":
        return function
    if how == "cuda-graphs":
        mode = "reduce-overhead" if BACKEND == "inductor" else None  # which only that one knows
        return torch.compile(function, backend=BACKEND, dynamic=False, mode=mode)
    fast = torch.compile(function, backend=BACKEND)

    def marked(*arguments: Any, **named: Any) -> T:
        for argument in arguments:
            if isinstance(argument, Tensor) and argument.ndim:
                torch._dynamo.maybe_mark_dynamic(argument, 0)
                torch._dynamo.mark_static(argument, list(range(1, argument.ndim)))
        for argument in named.values():
            if isinstance(argument, Tensor):
                torch._dynamo.mark_static(argument)
        return fast(*arguments, **named)

    return marked


def next_step(how: str) -> None:
    """To be called before each step: what CUDA graphs gave in the one before may then be written over."""
    if how == "cuda-graphs":
        torch.compiler.cudagraph_mark_step_begin()


def check_compiler(how: str, device: torch.device) -> None:
    """Raises UsageError where something is to be compiled for a CPU without a C++ compiler, or with CUDA
    graphs for a GPU that has none."""
    check_graphs(how, device)
    wanted = how != "none" and device.type == "cpu"
    if wanted and not (os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")):
        raise UsageError(
            f"compile={how} needs a C++ compiler on the CPU, and there is no g++ here: "
            "install one, or set compile=none"
        )
