"""One process at a time in a folder, by locks of the operating system: they end with the process that holds
them, however it ends, so a killed one leaves its work free for others."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock, Timeout

from amr_data import UsageError

LOCK = ".lock"
"""The file in a folder that its process holds."""


class Held(UsageError):
    """Another process is at work there; whoever shares the work comes back later."""


def hold(file: Path, where: Path) -> FileLock:
    """Hold a lock's file, whose folder exists, until `release`. `where` : the place that it stands for, for
    the message. Raises: Held."""
    lock = FileLock(file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise Held(f"another process is at work in {where}; wait for it, or choose another --out") from None
    return lock


def is_held(file: Path) -> bool:
    """Whether a process holds a lock's file; nothing is made where there is none."""
    if not file.is_file():
        return False
    lock = FileLock(file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False
