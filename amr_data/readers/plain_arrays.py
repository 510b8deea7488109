"""What may stand in a pickle of plain data, and how numpy's arrays, types and scalars are rebuilt from it:
shape, type and length are checked here, and numpy never sees a state that the file made up."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

_TYPE_CODE = re.compile(r"[?bBhHiIlLqQefdg]|[biufc][0-9]{1,2}|[SU][0-9]{1,6}")
_PLAIN = {type(None), bool, int, float, str, bytes, list, dict, tuple, set, frozenset, np.ndarray}
_COPIED_BYTES = 64
MAX_AXES = 32
MAX_DEPTH = 50
UNFOLDED = 10
"""Values for each byte of the file that shared references may unfold to."""


class UnsafePickle(Exception):
    """The pickle names something that is neither an array nor a plain container, or it is damaged."""


class Payload:
    """A stretch of the file's bytes: an array's content, not copied."""

    __slots__ = ("_bytes", "view")

    def __init__(self, view: memoryview) -> None:
        self.view = view
        self._bytes: bytes | None = None

    def __len__(self) -> int:
        return len(self.view)

    @staticmethod
    def of(view: memoryview) -> bytes | Payload:
        return bytes(view) if len(view) <= _COPIED_BYTES else Payload(view)

    def copied(self) -> bytes:
        """The bytes; however often they are asked for, one copy."""
        if self._bytes is None:
            self._bytes = bytes(self.view)
        return self._bytes


class Inner(tuple[Any, ...]):
    """A tuple that holds pieces of arrays: arguments or a state, but no data."""


@dataclass(frozen=True)
class Constructor:
    """A name that pickles of plain data may call, or (`numpy.ndarray`) give as an argument."""

    make: Callable[..., Any]


class Kind:
    """In place of numpy.dtype: a plain number or text type and its byte order."""

    def __init__(self, code: Any, align: Any = False, copy: Any = True) -> None:
        if not isinstance(code, str) or not _TYPE_CODE.fullmatch(code):
            raise UnsafePickle(f"it holds an array of {_shown(code)}, not of plain numbers")
        self.code, self.order = code, "="

    def take_state(self, state: Any) -> None:
        if (
            not isinstance(state, tuple)
            or len(state) < 5
            or state[1] not in ("<", ">", "=", "|")
            or any(part is not None for part in state[2:5])
        ):
            raise UnsafePickle("it holds an array of records or of a damaged type")
        self.order = state[1]

    def numpy(self) -> np.dtype[Any]:
        return np.dtype(self.code if self.order in "=|" else self.order + self.code)


@dataclass
class ArrayToBe:
    """In place of an array whose content is still to come. `memo`: where it was noted down so far."""

    memo: list[int] = field(default_factory=list)

    def built(self, state: tuple[Any, ...]) -> Any:
        if len(state) != 5:
            raise UnsafePickle("it holds a damaged array")
        _, shape, kind, fortran, data = state
        return _array(data, kind, shape, "F" if fortran is True else "C")


def plain(value: Any) -> Any:
    """The value, if it is plain data. Raises UnsafePickle."""
    kind = type(value)
    if kind in _PLAIN or isinstance(value, np.generic):
        return value
    if kind is Payload:
        return value.copied()
    raise UnsafePickle(f"it holds a {_shown(value)}, which is no data")


def key(value: Any) -> Any:
    """The value, if it may be a dict's key or a set's element: what cannot take long to hash, nor collide at
    a file's will. Raises UnsafePickle."""
    kind = type(value)
    if kind is str or kind is bytes or kind is bool or value is None:
        return value
    if kind is int and abs(value) < 1 << 31:
        return value
    raise UnsafePickle(f"it holds a key that is a {_shown(value)}, not text or a number of 31 bits")


def tuple_of(items: Sequence[Any]) -> tuple[Any, ...]:
    if all(type(item) in _PLAIN or isinstance(item, np.generic) for item in items):
        return tuple(items)
    return Inner(items)


def within_bounds(value: Any, file_bytes: int) -> Any:
    """The value, if containers hold each other no deeper than `MAX_DEPTH`, never themselves, and unfold to a
    number of values in proportion to the file: a few shared references can stand for 2^100 of them, and
    whoever printed or compared such a value would never end. Raises UnsafePickle."""
    limit = 10_000 + UNFOLDED * file_bytes
    sizes: dict[int, int] = {}
    opened: set[int] = set()
    work = [value]
    while work:
        item = work[-1]
        if id(item) in sizes:
            work.pop()
            continue
        children = _children(item)
        if id(item) in opened:
            opened.discard(id(item))
            sizes[id(item)] = 1 + _length(item) + sum(sizes[id(child)] for child in children)
            if sizes[id(item)] > limit:
                raise UnsafePickle(f"its shared references unfold to more than {limit:,} values")
            continue
        opened.add(id(item))
        if len(opened) > MAX_DEPTH:
            raise UnsafePickle(f"its containers are nested deeper than {MAX_DEPTH}")
        for child in children:
            if id(child) in opened:
                raise UnsafePickle("it holds a container that holds itself")
            if id(child) not in sizes:
                work.append(child)
    return value


def _children(item: Any) -> list[Any]:
    """The containers in a container; keys and elements of sets are none."""
    values = item.values() if type(item) is dict else item if type(item) in (list, tuple) else ()
    return [v for v in values if type(v) in (list, tuple, dict, set, frozenset)]


def _length(item: Any) -> int:
    return len(item) if type(item) in (list, tuple, dict, set, frozenset) else 0


def _array(data: Any, kind: Any, shape: Any, order: Any = "C") -> Any:
    if type(kind) is not Kind or type(shape) is not tuple or len(shape) > MAX_AXES or order not in ("C", "F"):
        raise UnsafePickle("it holds a damaged array")
    if isinstance(data, str):  # Python 2's str
        data = data.encode("latin1")
    if not isinstance(data, bytes | Payload) or any(type(n) is not int or n < 0 for n in shape):
        raise UnsafePickle("it holds an array of objects")
    content, dtype = data.view if isinstance(data, Payload) else data, kind.numpy()
    if math.prod(shape) * dtype.itemsize != len(content):
        raise UnsafePickle(f"it holds an array {_shape(shape)} of {dtype} in {len(content)} bytes")
    if not len(content):
        return np.zeros(shape, dtype)
    return np.frombuffer(content, dtype).reshape(shape, order=order)


def _scalar(kind: Any, data: Any) -> Any:
    return _array(data, kind, ())[()]


def _encoded(text: Any, encoding: Any = "") -> bytes:
    """How protocol 2 carries bytes."""
    if type(text) is not str or encoding not in ("latin1", "latin-1"):
        raise UnsafePickle("it holds damaged bytes")
    return text.encode("latin1")


def _set(items: Any = ()) -> set[Any]:
    """How protocols below 4 carry sets."""
    if type(items) is not list and items != ():
        raise UnsafePickle("it holds a damaged set")
    return {key(item) for item in items}


def _frozen_set(items: Any = ()) -> frozenset[Any]:
    return frozenset(_set(items))


def _ordered(*arguments: Any) -> dict[Any, Any]:
    if arguments:
        raise UnsafePickle("it holds a damaged dict")
    return {}


def _no_bytes(*arguments: Any) -> bytes:
    if arguments:
        raise UnsafePickle("it holds damaged bytes")
    return b""


def _never(*_: Any) -> Any:
    raise UnsafePickle("it calls numpy.ndarray")


def _shape(shape: tuple[int, ...]) -> str:
    return "(" + ", ".join(str(n) if n < 1 << 62 else "huge" for n in shape) + ")"


def _shown(value: Any) -> str:
    """A value in a message, briefly: never its whole content, which may be without end."""
    return repr(value[:20]) if isinstance(value, str) else type(value).__name__


CONSTRUCTORS: dict[tuple[str, str], Constructor] = {
    ("collections", "OrderedDict"): Constructor(_ordered),
    ("numpy", "ndarray"): Constructor(_never),
    ("numpy", "dtype"): Constructor(Kind),
    ("_codecs", "encode"): Constructor(_encoded),
}
for _module in ("builtins", "__builtin__"):
    CONSTRUCTORS[_module, "set"] = Constructor(_set)
    CONSTRUCTORS[_module, "frozenset"] = Constructor(_frozen_set)
    CONSTRUCTORS[_module, "bytes"] = Constructor(_no_bytes)
for _core in ("numpy.core", "numpy._core"):
    CONSTRUCTORS[f"{_core}.multiarray", "_reconstruct"] = Constructor(lambda *_: ArrayToBe())
    CONSTRUCTORS[f"{_core}.multiarray", "scalar"] = Constructor(_scalar)
    CONSTRUCTORS[f"{_core}.numeric", "_frombuffer"] = Constructor(_array)
