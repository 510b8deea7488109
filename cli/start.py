"""Where the installed commands begin. Nothing is imported before Ctrl-C is looked after: in the second that
imports take, numpy would make an ImportError of it, and h5py nothing at all."""

from __future__ import annotations

import signal
import sys
from importlib import import_module


def data() -> None:
    """The command amr-data."""
    _begin("amr_cli.data")


def train() -> None:
    """The command amr-train."""
    _begin("amr_cli.train")


def _begin(module: str) -> None:
    """Run a command. A Ctrl-C that comes while it is imported counts when that is done."""
    came: list[int] = []
    heeds = (
        signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )  # not so in the background of a shell
    if heeds:
        signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    try:
        main = import_module(module).main
    finally:
        if heeds:
            signal.signal(signal.SIGINT, signal.default_int_handler)
    if came:
        sys.stderr.write("stopped: nothing was begun\n")
        sys.exit(128 + came[0])
    main()
