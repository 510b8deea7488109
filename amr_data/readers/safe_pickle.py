"""Pickles that hold numpy arrays and plain containers, and nothing else: every other global is refused before
anything of it runs.

Arrays and dtypes are rebuilt by stand-ins that check shape, type and length themselves, so that numpy never
sees a state that the file made up.
"""

from __future__ import annotations

import io
import math
import mmap
import pickle
import pickletools
import re
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

_FORBIDDEN = {
    "INST",
    "OBJ",
    "NEWOBJ",
    "NEWOBJ_EX",
    "PERSID",
    "BINPERSID",
    "EXT1",
    "EXT2",
    "EXT4",
    "NEXT_BUFFER",
    "READONLY_BUFFER",
}
_TYPE_CODE = re.compile(r"[?bBhHiIlLqQefdg]|[biufc][0-9]{1,2}|[SU][0-9]{1,6}")


class UnsafePickle(Exception):
    """The pickle names something that is neither an array nor a plain container, or it is damaged."""


class _Dtype:
    """In place of numpy.dtype: a plain number or text type and its byte order."""

    def __init__(self, code: Any, align: Any = False, copy: Any = True) -> None:
        if not isinstance(code, str) or not _TYPE_CODE.fullmatch(code):
            raise pickle.UnpicklingError(f"it holds an array of {str(code)[:20]!r}, not of plain numbers")
        self.code, self.order = code, "="

    def __setstate__(self, state: Any) -> None:
        if (
            not isinstance(state, tuple)
            or len(state) < 5
            or state[1] not in ("<", ">", "=", "|")
            or any(state[2:5])
        ):
            raise pickle.UnpicklingError("it holds an array of records or of a damaged type")
        self.order = state[1]

    def numpy(self) -> np.dtype[Any]:
        return np.dtype(self.code if self.order in "=|" else self.order + self.code)


class _Array:
    """In place of an array under construction."""

    value: Any = None

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, data = state
        self.value = _array(data, dtype, shape, "F" if fortran else "C")


def _array(data: Any, dtype: Any, shape: Any, order: Any = "C") -> Any:
    if not isinstance(dtype, _Dtype) or not isinstance(shape, tuple) or order not in ("C", "F"):
        raise pickle.UnpicklingError("it holds a damaged array")
    kind = dtype.numpy()
    if not isinstance(data, bytes | bytearray) or any(type(n) is not int or n < 0 for n in shape):
        raise pickle.UnpicklingError("it holds an array of objects")
    if math.prod(shape) * kind.itemsize != len(data):
        raise pickle.UnpicklingError(f"it holds an array {shape} of {kind} in {len(data)} bytes")
    return np.frombuffer(data, kind).reshape(shape, order=order) if len(data) else np.zeros(shape, kind)


def _scalar(dtype: Any, data: Any) -> Any:
    return _array(data, dtype, ())[()]


def _encode(text: str, encoding: str = "utf-8") -> bytes:
    """How protocol 2 carries bytes."""
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"encoding {str(encoding)[:20]!r}")
    return text.encode("latin1")


class _NoArray:
    """numpy.ndarray itself: a name that _reconstruct is given; it has no content of its own."""


_ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("numpy", "ndarray"): _NoArray,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,
}
for _builtins in ("builtins", "__builtin__"):
    _ALLOWED[_builtins, "set"], _ALLOWED[_builtins, "frozenset"] = set, frozenset
for _core in ("numpy.core", "numpy._core"):
    _ALLOWED[f"{_core}.multiarray", "_reconstruct"] = lambda *_: _Array()
    _ALLOWED[f"{_core}.multiarray", "scalar"] = _scalar
    _ALLOWED[f"{_core}.numeric", "_frombuffer"] = _array


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
            _scan(io.BytesIO(path_or_bytes), len(path_or_bytes))
            return _finished(_Unpickler(io.BytesIO(path_or_bytes)).load(), 0)
        with open(path_or_bytes, "rb") as file:
            with mmap.mmap(
                file.fileno(), 0, access=mmap.ACCESS_READ
            ) as mapped:  # reads past the end give what is there
                _scan(mapped, len(mapped))
            return _finished(_Unpickler(file).load(), 0)
    except (pickle.UnpicklingError, UnsafePickle) as error:
        raise UnsafePickle(str(error)) from None
    except OSError as error:
        raise UnsafePickle(f"it cannot be read ({error.strerror})") from None
    except Exception as error:  # a damaged pickle can fail in any way
        raise UnsafePickle(f"it is damaged ({type(error).__name__}: {str(error)[:100]})") from None


def _scan(file: Any, size: int) -> None:
    """Refuse opcodes by which a few bytes make the unpickler take gigabytes, and those that no plain data
    needs."""
    for number, (opcode, argument, _) in enumerate(pickletools.genops(file)):
        if opcode.name in _FORBIDDEN:
            raise UnsafePickle(f"it uses the opcode {opcode.name}")
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and int(str(argument)) > number:
            raise UnsafePickle(f"it is damaged (memo {argument} after {number} opcodes)")
        if opcode.name == "FRAME" and int(str(argument)) > size:
            raise UnsafePickle(f"it is damaged (a frame of {argument} bytes)")


def _finished(value: Any, depth: int) -> Any:
    """Stand-ins replaced by what they stand for; anything that is not plain is refused."""
    if depth > 50:
        raise UnsafePickle("its containers are nested without end")
    if isinstance(value, _Array):
        if value.value is None:
            raise UnsafePickle("it holds an array without content")
        return value.value
    if isinstance(value, dict):
        return {_finished(k, depth + 1): _finished(v, depth + 1) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return type(value)(_finished(v, depth + 1) for v in value)
    if value is None or isinstance(
        value, bool | int | float | complex | str | bytes | bytearray | np.ndarray | np.generic
    ):
        return value
    raise UnsafePickle(f"it holds a {type(value).__name__.strip('_')}, which is no data")
