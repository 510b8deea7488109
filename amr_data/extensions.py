"""Classes of other packages that take part here: by an entry point's name, or as `package.module:Class`."""

from __future__ import annotations

import re
import sys
from functools import lru_cache
from importlib import import_module
from importlib.metadata import EntryPoints, entry_points
from pathlib import Path
from typing import Any, TypeVar

from amr_data.errors import UsageError

T = TypeVar("T")
_PATH = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def load_extension(group: str, name: str, kind: type[T]) -> type[T] | None:
    """The class that `name` names, None where it names neither an entry point of the group nor a module's
    class.

    A module is looked for where Python looks, and in the working directory.
    Raises: UsageError where it cannot be imported, or is no subclass of `kind`.
    """
    if name in extension_names(group):
        (point,) = _points(group, tuple(sys.path)).select(name=name)
        found: Any = _imported(name, point.load)
    elif _PATH.fullmatch(name):
        module, _, attribute = name.partition(":")
        here = str(Path.cwd())
        if here not in sys.path:
            sys.path.append(here)
        found = getattr(_imported(name, lambda: import_module(module)), attribute, None)
    else:
        return None
    if not (isinstance(found, type) and issubclass(found, kind)):
        what = "nothing of that name" if found is None else f"{found!r}"
        raise UsageError(f"{name} must name a subclass of {kind.__module__}.{kind.__name__}; found {what}")
    return found


def extension_names(group: str) -> list[str]:
    """Names of the installed entry points of a group."""
    return sorted(_points(group, tuple(sys.path)).names)


@lru_cache(maxsize=16)
def _points(group: str, path: tuple[str, ...]) -> EntryPoints:
    """path : where Python looks; the metadata of all packages are read there, which takes a while."""
    return entry_points(group=group)


def _imported(name: str, load: Any) -> Any:
    try:
        return load()
    except Exception as error:  # whatever a module of somebody's own raises
        raise UsageError(f"{name} cannot be imported: {type(error).__name__}: {error}") from error
