"""Pickles that hold numpy arrays and plain containers, and nothing else: every other global is refused before anything of it runs."""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

_ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): None,  # filled in below: how protocol 2 carries bytes
}


class UnsafePickle(Exception):
    """The pickle names something that is neither an array nor a plain container, or it is damaged."""


def _encode(text: str, encoding: str = "utf-8") -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"encoding {encoding!r}")
    return text.encode("latin1")


_ALLOWED["_codecs", "encode"] = _encode
for _builtins in ("builtins", "__builtin__"):
    _ALLOWED[_builtins, "set"], _ALLOWED[_builtins, "frozenset"] = set, frozenset
for _core in ("numpy.core", "numpy._core"):
    _ALLOWED[f"{_core}.multiarray", "_reconstruct"] = np.ndarray((0,)).__reduce__()[0]
    _ALLOWED[f"{_core}.multiarray", "scalar"] = np.float64(0).__reduce__()[0]
    _ALLOWED[f"{_core}.numeric", "_frombuffer"] = np.ndarray((0,)).__reduce_ex__(5)[0]


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(
                f"it names {module}.{name}; only numpy arrays and plain containers are allowed"
            ) from None


def load_plain(path_or_bytes: Path | bytes) -> Any:
    """Unpickle numpy arrays, dicts, lists, tuples, sets, text, bytes and numbers.

    Raises: UnsafePickle, for anything else in the file and for a file that is damaged.
    """
    try:
        if isinstance(path_or_bytes, bytes):
            content = _Unpickler(io.BytesIO(path_or_bytes)).load()
        else:
            with open(path_or_bytes, "rb") as file:
                content = _Unpickler(file).load()
    except pickle.UnpicklingError as error:
        raise UnsafePickle(str(error)) from None
    except OSError as error:
        raise UnsafePickle(f"it cannot be read ({error.strerror})") from None
    except Exception as error:  # a damaged pickle can fail in any way
        raise UnsafePickle(f"it is damaged ({type(error).__name__}: {str(error)[:100]})") from None
    _refuse_objects(content)
    return content


def _refuse_objects(value: Any) -> None:
    """Arrays of Python objects are refused too: they are no data."""
    stack = [value]
    seen: set[int] = set()
    while stack:
        item = stack.pop()
        if isinstance(item, np.ndarray | np.dtype) and (item.dtype if isinstance(item, np.ndarray) else item).hasobject:
            raise UnsafePickle("it holds an array of objects")
        if isinstance(item, dict | list | tuple | set | frozenset) and id(item) not in seen:
            seen.add(id(item))
            stack += [*item.keys(), *item.values()] if isinstance(item, dict) else list(item)
