"""SIGINT and SIGTERM end a training between two steps, with a checkpoint: Ctrl-C, and what Slurm sends before
it requeues a job."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from amr_data import AmrError


class Stopped(AmrError):
    """Training was asked to stop. `signal` : the number that asked.  `kept` : whether everything up to the
    last step is kept, so that the same work goes on from there."""

    def __init__(self, message: str, number: int, kept: bool = True) -> None:
        super().__init__(message)
        self.signal, self.kept = number, kept


class StopRequest:
    """`signal` : the number of the signal that asked to stop, 0 for none so far."""

    signal = 0


_trainings: list[StopRequest] = []


def stopping() -> bool:
    """Whether a training of this process was asked to stop, and is on its way to do so."""
    return any(request.signal for request in _trainings)


@contextmanager
def stop_signals() -> Iterator[StopRequest]:
    """Take SIGINT and SIGTERM for a request to stop; a second one acts as it would without this. Outside the
    main thread signals cannot be taken, and nothing changes."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}

    def ask(number: int, frame: FrameType | None) -> None:
        request.signal = number
        restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in numbers:
        signal.signal(number, ask)
    _trainings.append(request)
    try:
        yield request
    finally:
        _trainings.remove(request)
        restore()
