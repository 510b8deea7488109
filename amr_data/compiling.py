"""Finds the compiled forms of loops that numpy has no fast form for, where numba is installed (the extra
`fast`).

Each lies in a module that imports numba and keeps what it compiled in a cache on disk. Every compiled loop
has a counterpart in numpy or pyarrow with the same results, which serves where numba is missing or fails, or
where no folder takes its cache: without one, each process would compile for seconds.
"""

from __future__ import annotations

import functools
import importlib
import os
import sys
from types import ModuleType

SWITCH = "AMR_COMPILED"
"""Environment variable; 0 leaves the compiled loops out."""


def compiled(name: str) -> ModuleType | None:
    """The module of compiled loops of this name, or None where they cannot be had."""
    return None if os.environ.get(SWITCH) == "0" else _load(name)


@functools.cache
def _load(name: str) -> ModuleType | None:
    if sys.byteorder != "little":  # the scanner takes eight bytes as one number
        return None
    try:
        module = importlib.import_module(name)
        module.try_out()
    except Exception:  # numba is missing, or does not get on with this machine: it may fail in any way
        return None
    return module
