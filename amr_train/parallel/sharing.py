"""Memory that the processes on one machine have in common, by a file that has lost its name before it holds
anything: whichever process is killed, nothing is left behind."""

from __future__ import annotations

import mmap
import os
import shutil
import tempfile
from pathlib import Path

from amr_train.parallel.processes import Processes

PLACES = ("/dev/shm", tempfile.gettempdir())
SPARE = 1.05
"""A place is taken where so many times the memory is free."""


def shared_memory(size: int, processes: Processes) -> mmap.mmap | None:
    """So many bytes of zeros, the same ones for all processes of a machine; all of them call it. It is memory
    in /dev/shm, otherwise a file that the system keeps in memory as far as it can.

    Returns: None, in all processes of all machines, where a machine has no room for it, a process cannot
        reach it, or files keep their names while they are open (Windows).
    """
    if os.name != "posix":
        return None
    first = processes.local_rank == 0
    file = _made(size) if first else None
    memory: mmap.mmap | None = None
    try:
        path = processes.gathered(None if file is None else file[1])[processes.rank - processes.local_rank]
        if file is not None:
            memory = mmap.mmap(file[0], size)
        elif path is not None and not first:
            memory = _mapped(path, size)
        there = not processes.any(memory is None)
        if file is not None:
            os.unlink(file[1])
            # taken now: a page that is missing later ends a process without a word
            there = there and _reserved(file[0], size)
        return memory if not processes.any(not there) else None
    finally:
        if file is not None:
            os.close(file[0])
            Path(file[1]).unlink(missing_ok=True)


def _made(size: int) -> tuple[int, str] | None:
    """A file of this size that takes no room yet, open, in the first place that has room."""
    for place in PLACES:
        try:
            if shutil.disk_usage(place).free < SPARE * size:
                continue
            descriptor, path = tempfile.mkstemp(prefix="amr-split-", dir=place)
        except OSError:
            continue
        os.ftruncate(descriptor, size)
        return descriptor, path
    return None


def _mapped(path: str, size: int) -> mmap.mmap | None:
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        return None
    try:
        return mmap.mmap(descriptor, size)
    finally:
        os.close(descriptor)


def _reserved(descriptor: int, size: int) -> bool:
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(descriptor, 0, size)
    except OSError:
        return False
    return True
