"""A split's frames in host memory: once on a machine, however many of its processes look at them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from mmap import mmap

import numpy as np
import numpy.typing as npt

from amr_data import ShardDataset, SplitArrays
from amr_train.config import InputConfig
from amr_train.data.input import apply_input, check_input
from amr_train.listening import Listener
from amr_train.parallel.processes import Processes
from amr_train.parallel.sharing import shared_memory


def read_split(
    dataset: ShardDataset,
    clips: npt.NDArray[np.int64],
    processes: Processes,
    energy: bool = False,
    zero_frame: bool = False,
    shown: InputConfig = InputConfig(),  # noqa: B008
    listener: Listener | None = None,
) -> SplitArrays:
    """The given clips (sorted indices) as `ShardDataset.arrays` gives them, in the form that is shown; all
    processes call it. Of those on one machine the first reads, and the frames of the others are the very same
    memory, which nobody writes to. Where it cannot be had, each reads its own.

    Args:
        energy: whether the motion energies are read too.
        zero_frame: whether a frame of zeros follows those of the clips.
        shown: what of the clips, see `apply_input`.
        listener: is told how far comparing and reading are, where they take long.
    Raises: UsageError where the dataset has no such form; AmrError, in all processes where one has met it.
    """
    check_input(shown, dataset)
    more = int(zero_frame)
    shapes = [(frames + more, *each) for frames, *each in dataset.frame_shapes(clips, energy)]
    size = np.dtype(np.float32).itemsize * sum(map(prod, shapes))
    memory = shared_memory(size, processes) if processes.local_size > 1 and size else None
    reads = memory is None or processes.local_rank == 0
    whole = _split(np.empty(size, np.uint8) if memory is None else memory, shapes)
    told = listener or Listener()

    def read() -> SplitArrays:
        frames = [values[: len(values) - more] for values in whole]
        if reads:
            for values in whole:
                values[len(values) - more :] = 0
            dataset.check_unchanged(told.following("comparing files"), clips)
        of_reading = told.following("reading clips")
        found = dataset.arrays(clips, energy, (frames[0], frames[1]), fill=reads, progress=of_reading)
        if reads:
            apply_input(found, dataset, shown)
        return found

    return replace(processes.everywhere(read), joints=whole[0], energy=whole[1])


def _split(
    memory: npt.NDArray[np.uint8] | mmap, shapes: Sequence[tuple[int, ...]]
) -> list[npt.NDArray[np.float32]]:
    """Arrays end to end in a memory of just their size."""
    flat = np.frombuffer(memory, np.float32)
    ends = np.cumsum([prod(shape) for shape in shapes])
    return [part.reshape(shape) for part, shape in zip(np.split(flat, ends[:-1]), shapes, strict=True)]
