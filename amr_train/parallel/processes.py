"""Several processes, one GPU each, as torchrun starts them; a single process is the same with size 1.

A batch belongs to all processes together: each takes its part of the clips, and the loss is a mean over all
sequences, so the number of processes changes speed and not results.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from amr_data import AmrError, UsageError

T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """This process's place among all. `local_rank` is its place among the `local_size` on its machine, and
    its GPU; `device` is where it works, None where that is still open."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    device: torch.device | None = None
    local_size: int = 1

    @property
    def main(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    def total(self, values: Tensor) -> Tensor:
        """Sum over all processes."""
        return self._reduced(values, dist.ReduceOp.SUM) if self.size > 1 else values

    def least(self, values: Tensor) -> Tensor:
        """Minimum over all processes."""
        return self._reduced(values, dist.ReduceOp.MIN) if self.size > 1 else values

    def most(self, here: int) -> int:
        """The largest of all processes' numbers."""
        return max(self.gathered(here))

    def gathered(self, here: T) -> list[T]:
        """The plain values of all processes, by rank."""
        every = [here] * self.size
        if self.size > 1:
            dist.all_gather_object(every, here)
        return every

    def any(self, here: bool) -> bool:
        """Whether it is so in any process."""
        return bool(self.most(int(here)))

    def _reduced(self, values: Tensor, operation: Any) -> Tensor:
        values = values.clone()
        dist.all_reduce(values, operation)
        return values

    def from_main(self, make: Callable[[], T]) -> T | None:
        """Run `make` in the main process and give its result to it alone; an error that it raises is raised
        in all."""
        result: T | None = None
        error: AmrError | None = None
        if self.main:
            try:
                result = make()
            except AmrError as raised:
                error = raised
        if self.size > 1:
            said = [_told(error)]
            dist.broadcast_object_list(said, 0)
            if said[0] and not self.main:
                error = _heard(said[0])
        if error:
            raise error
        return result

    def everywhere(self, make: Callable[[], T]) -> T:
        """Run `make` in each process; an error that it raises in one is raised in all, once all are done."""
        result: T | None = None
        error: AmrError | None = None
        try:
            result = make()
        except AmrError as raised:
            error = raised
        said = self.gathered(_told(error))
        first = next(((rank, told) for rank, told in enumerate(said) if told), None)
        if first is not None:
            raise error if error is not None and first[0] == self.rank else _heard(first[1])
        return result  # type: ignore[return-value]

    def shared(self, make: Callable[[], T]) -> T:
        """Run `make` in the main process and give its result, of plain values, to all; an error that it
        raises is raised in all."""
        found = [self.from_main(make)]
        if self.size > 1:
            dist.broadcast_object_list(found, 0)
        return found[0]  # type: ignore[return-value]

    def wrap(self, model: nn.Module, device: torch.device) -> nn.Module:
        """The model with its gradients averaged over the processes."""
        if self.size == 1:
            return model
        return nn.parallel.DistributedDataParallel(
            model, device_ids=[device.index] if device.type == "cuda" else None
        )


def _told(error: AmrError | None) -> tuple[bool, str] | None:
    """An error as plain values."""
    return (isinstance(error, UsageError), str(error)) if error else None


def _heard(told: tuple[bool, str]) -> AmrError:
    """The same error in another process, which need not say it again."""
    error = (UsageError if told[0] else AmrError)(told[1])
    error.said = True
    return error


def choose_device(name: str) -> torch.device:
    """'auto' takes a CUDA GPU where there is one; torch built for ROCm calls AMD's GPUs cuda too. Raises:
    UsageError where 'cuda' or 'mps' is asked for and absent."""
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("device=cuda, but torch sees no CUDA GPU here; use device=cpu or device=auto")
    if name == "mps" and not torch.backends.mps.is_available():
        raise UsageError("device=mps, but torch sees no GPU of Apple's here; use device=cpu or device=auto")
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def exact(device: torch.device) -> torch.dtype:
    """For sums that want more than float32, where a device has more: Apple's GPUs have not."""
    return torch.float32 if device.type == "mps" else torch.float64


def check_graphs(compile: str, device: torch.device) -> None:
    """Raises UsageError where CUDA graphs are asked for on a GPU that is not Nvidia's."""
    other = (
        "Apple's" if device.type == "mps" else "AMD's" if device.type == "cuda" and torch.version.hip else ""
    )
    if compile == "cuda-graphs" and other:
        raise UsageError(f"compile=cuda-graphs: this GPU is {other}; use compile=default or compile=none")


@contextmanager
def joined(device: torch.device) -> Iterator[tuple[Processes, torch.device]]:
    """Join the other processes that torchrun started, if it did; gives this process's place and its
    device."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1 or dist.is_initialized():
        yield Processes(), device
        return
    local_rank = int(os.environ["LOCAL_RANK"])
    if device.type == "mps":
        raise UsageError(f"{size} processes, but device=mps is a single GPU; leave --nproc out")
    if device.type == "cuda":
        if local_rank >= torch.cuda.device_count():
            raise UsageError(
                f"{local_rank + 1} processes on this machine, but {torch.cuda.device_count()} "
                f"GPUs; lower --nproc"
            )
        device = torch.device("cuda", local_rank)
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=timedelta(hours=1))
    try:
        local_size = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        yield Processes(int(os.environ["RANK"]), size, local_rank, device, local_size), device
    finally:
        dist.destroy_process_group()
