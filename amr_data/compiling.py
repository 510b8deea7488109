"""Finds the compiled forms of loops that numpy has no fast form for, where numba is installed (the extra
`fast`).

Each lies in a module that imports numba and keeps what it compiled in a cache on disk. Every compiled loop
has a counterpart in numpy or pyarrow with the same results, which serves where numba is missing or fails, or
where no folder takes its cache: without one, each process would compile for seconds.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import os
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

SWITCH = "AMR_COMPILED"
"""Environment variable; 0 leaves the compiled loops out, 1 takes them for the smallest conversion too."""
_wanted = False


def want_compiled(wanted: bool) -> None:
    """Say whether the work to come is worth the half second that numba takes to load. Nothing but time
    depends on it."""
    global _wanted
    _wanted = wanted


def compiled(name: str) -> ModuleType | None:
    """The module of compiled loops of this name, or None where they are not wanted or cannot be had."""
    wanted = {"0": False, "1": True}.get(os.environ.get(SWITCH, ""), _wanted)
    return _load(name) if wanted else None


@functools.cache
def _load(name: str) -> ModuleType | None:
    if sys.byteorder != "little":  # the scanner takes eight bytes as one number
        return None
    try:
        with _quick_start():
            module = importlib.import_module(name)
            module.try_out()
    except Exception:  # numba is missing, or does not get on with this machine: it may fail in any way
        return None
    return module


@contextlib.contextmanager
def _quick_start() -> Iterator[None]:
    """Load numba in two thirds of the time: without looking for garbage among what stays, and without
    scipy.linalg, a third of it all. numba imports that while it starts, only to see whether it is there;
    without, convolutions and the like take numba's own loops, and matrix products look for it again."""
    collects = gc.isenabled()
    gc.disable()
    try:
        if "scipy.linalg" not in sys.modules and "numba.np.arraymath" not in sys.modules:
            linalg: Any = importlib.import_module("numba.np.linalg")
            look = getattr(linalg, "ensure_blas", None)
            linalg.ensure_blas = _no_blas
            try:
                importlib.import_module("numba.np.arraymath")
            finally:
                linalg.ensure_blas = look
        yield
    finally:
        if collects:
            gc.enable()


def _no_blas() -> None:
    raise ImportError
