"""Ctrl-C that is not lost. Python raises KeyboardInterrupt wherever the main thread happens to be. What a
destructor raises, or Python that compiled code has called, goes no further: it is printed or dropped, and the
work goes on as if nobody had asked. To load what numba has compiled runs thousands of destructors."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


@contextmanager
def heeding_interrupts() -> Iterator[Callable[[], None]]:
    """Remember each Ctrl-C. Outside the main thread, or where somebody else has taken the signal, nothing is
    changed.

    Yields: to be called between two steps of the work; raises KeyboardInterrupt where one has come before.
    """
    came = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal came
        came = True
        signal.default_int_handler(number, frame)

    def lost(what: Any) -> None:
        if not issubclass(what.exc_type, KeyboardInterrupt):
            said(what)

    def check() -> None:
        if came:
            raise KeyboardInterrupt

    mine = threading.current_thread() is threading.main_thread()
    if not mine or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield check
        return
    said = sys.unraisablehook
    sys.unraisablehook = lost
    signal.signal(signal.SIGINT, note)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.unraisablehook = said
