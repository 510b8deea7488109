"""Pickles that hold numpy arrays and plain containers, and nothing else.

Python's own unpickler is not asked: a small machine runs the opcodes that plain data needs (those of protocol
2 and later, as `pickletools` in the standard library describes them) and knows no others. It imports nothing,
calls nothing but the constructors in `plain_arrays`, and sets no attribute. The bytes of arrays are not
copied: arrays are views of the mapped file, so that a file larger than the memory can be read.
"""

from __future__ import annotations

import mmap
import pickletools
import struct
from collections.abc import Callable, Sized
from pathlib import Path
from typing import Any

from amr_data.readers.plain_arrays import (
    CONSTRUCTORS,
    ArrayToBe,
    Constructor,
    Inner,
    Kind,
    Payload,
    UnsafePickle,
    key,
    plain,
    tuple_of,
    within_bounds,
)

MAX_OPCODES = 50_000_000
"""An annotation is about 40 of them; the largest file of annotations there is has a few million."""
MAX_INTEGER_BYTES = 1024
MAX_GLOBAL_BYTES = 256
COPIES = 4
"""What calls are given, all together, in lengths of the file: a large value may be named again and again in
few bytes, and each call with it may make another copy."""

__all__ = ["UnsafePickle", "load_plain"]


def load_plain(path_or_bytes: Path | bytes) -> Any:
    """Unpickle numpy arrays, dicts, lists, tuples, sets, text, bytes and numbers. Arrays are read-only views
    of the file. Time and memory are bounded by the file's size.

    Raises: UnsafePickle, for anything else in the file and for a file that is damaged.
    """
    try:
        if isinstance(path_or_bytes, bytes):
            return _Machine(path_or_bytes).run()
        with open(path_or_bytes, "rb") as file:
            if not path_or_bytes.stat().st_size:
                raise UnsafePickle("it is empty")
            # never closed by name: the arrays are views of it, and the last of them lets go of it
            return _Machine(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)).run()
    except UnsafePickle:
        raise
    except OSError as error:
        raise UnsafePickle(f"it cannot be read ({error.strerror})") from None
    except Exception as error:  # a damaged pickle can fail in any way
        raise UnsafePickle(f"it is damaged ({type(error).__name__}: {str(error)[:100]})") from None


class _Machine:
    """A stack, a memo, and a place in the file; `_STEPS` says what each opcode does to them."""

    def __init__(self, data: bytes | mmap.mmap) -> None:
        self.data = data
        self.view = memoryview(data)
        self.size = len(data)
        self.at = 0
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.allowance = COPIES * self.size + 10_000

    def run(self) -> Any:
        if bytes(self.view[:1]) != b"\x80":
            raise UnsafePickle("it is no pickle of protocol 2 or later")
        steps = [_STEPS.get(code) for code in range(256)]
        for _ in range(MAX_OPCODES):
            code = self.view[self.at]
            self.at += 1
            if code == ord("."):
                return within_bounds(plain(self.stack[-1]), self.size)
            step = steps[code]
            if step is None:
                raise UnsafePickle(f"it uses the opcode {_opcode_name(code)}, which no plain data needs")
            step(self)
        raise UnsafePickle(f"it has more than {MAX_OPCODES:,} opcodes")

    def take(self, count: int) -> memoryview:
        """The next bytes, without a copy."""
        end = self.at + count
        if end > self.size:
            raise UnsafePickle(
                f"it is cut off: {count:,} bytes are announced, {self.size - self.at:,} follow"
            )
        part = self.view[self.at : end]
        self.at = end
        return part

    def number(self, width: int) -> int:
        return int.from_bytes(self.take(width), "little")

    def line(self) -> str:
        end = self.data.find(b"\n", self.at, self.at + MAX_GLOBAL_BYTES)
        if end < 0:
            raise UnsafePickle("it is damaged (a name without an end)")
        text = bytes(self.view[self.at : end]).decode("utf-8")
        self.at = end + 1
        return text

    def marked(self) -> list[Any]:
        """What was pushed since the last mark."""
        items = self.stack
        self.stack = self.below.pop()
        return items

    # numbers, text and bytes

    def integer(self, width: int, signed: bool = False) -> None:
        self.stack.append(int.from_bytes(self.take(width), "little", signed=signed))

    def long(self, width: int) -> None:
        count = self.number(width)
        if count > MAX_INTEGER_BYTES:
            raise UnsafePickle(f"it holds an integer of {count:,} bytes")
        self.integer(count, signed=True)

    def real(self) -> None:
        self.stack.append(struct.unpack(">d", self.take(8))[0])

    def text(self, width: int) -> None:
        self.stack.append(str(self.take(self.number(width)), "utf-8", "surrogatepass"))

    def payload(self, width: int) -> None:
        self.stack.append(Payload.of(self.take(self.number(width))))

    def old_text(self, width: int) -> None:
        """What Python 2 called str: text, or an array's bytes."""
        part = self.take(self.number(width))
        self.stack.append(str(part, "ascii") if part.tobytes().isascii() else Payload.of(part))

    # containers

    def append(self) -> None:
        item = self.stack.pop()
        self.extend([item])

    def appends(self) -> None:
        self.extend(self.marked())

    def extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is list:
            target.extend([plain(item) for item in items])
        elif type(target) is set:
            target.update([key(item) for item in items])
        else:
            raise UnsafePickle(f"it adds elements to a {_what(target)}")

    def set_item(self) -> None:
        value, name = self.stack.pop(), self.stack.pop()
        self.assign([name, value])

    def set_items(self) -> None:
        self.assign(self.marked())

    def assign(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict or len(items) % 2:
            raise UnsafePickle(f"it sets keys of a {_what(target)}")
        for name, value in zip(items[::2], items[1::2], strict=True):
            target[key(name)] = plain(value)

    def tuple_of_last(self, count: int) -> None:
        items = self.stack[-count:]
        if len(items) != count:
            raise UnsafePickle("it is damaged (a tuple of what is not there)")
        self.stack[-count:] = [tuple_of(items)]

    def frozen_set(self) -> None:
        items = self.marked()
        self.stack.append(frozenset([key(item) for item in items]))

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def mark(self) -> None:
        self.below.append(self.stack)
        self.stack = []

    # the memo

    def put(self, index: int) -> None:
        top = self.stack[-1]
        if type(top) is ArrayToBe:
            top.memo.append(index)
        self.memo[index] = top

    def get(self, index: int) -> None:
        self.stack.append(self.memo[index])

    # names, calls and states: numpy's arrays, types and scalars, and what older protocols carry by calls

    def name(self, module: str, name: str) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise UnsafePickle("it is damaged (a name that is no text)")
        found = CONSTRUCTORS.get((module, name))
        if found is None:
            shown = f"{module[:60]}.{name[:60]}"
            raise UnsafePickle(f"it names {shown}; only numpy arrays and plain containers are allowed")
        self.stack.append(found)

    def global_name(self) -> None:
        module, name = self.line(), self.line()
        self.name(module, name)

    def stack_name(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.name(module, name)

    def reduce(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if type(function) is not Constructor or not isinstance(arguments, tuple):
            raise UnsafePickle(f"it calls a {_what(function)}")
        self.charge(arguments)
        self.stack.append(function.make(*arguments))

    def build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if type(target) is Kind:
            target.take_state(state)
        elif type(target) is ArrayToBe and isinstance(state, tuple):
            self.charge(state)
            array = target.built(state)
            self.stack[-1] = array
            noted, target.memo = target.memo, []  # once: a second state must not walk them again
            for index in noted:
                if self.memo[index] is target:
                    self.memo[index] = array
        else:
            raise UnsafePickle(f"it sets the state of a {_what(target)}")

    def charge(self, values: tuple[Any, ...]) -> None:
        self.allowance -= sum(len(value) for value in values if isinstance(value, Sized))
        if self.allowance < 0:
            raise UnsafePickle("it copies its content again and again")

    def frame(self) -> None:
        length = self.number(8)
        if length > self.size - self.at:
            raise UnsafePickle(f"it is cut off: a frame of {length:,} bytes is announced")


_STEPS: dict[int, Callable[[_Machine], Any]] = {
    ord(code): step
    for code, step in {
        "\x80": lambda m: m.take(1),  # PROTO
        "\x95": _Machine.frame,
        "(": _Machine.mark,
        "0": lambda m: m.stack.pop() if m.stack else m.marked(),  # POP, of a value or of a mark
        "1": _Machine.marked,  # POP_MARK
        "2": lambda m: m.push(m.stack[-1]),  # DUP
        "N": lambda m: m.push(None),
        "\x88": lambda m: m.push(True),
        "\x89": lambda m: m.push(False),
        "J": lambda m: m.integer(4, True),
        "K": lambda m: m.integer(1),
        "M": lambda m: m.integer(2),
        "\x8a": lambda m: m.long(1),
        "\x8b": lambda m: m.long(4),
        "G": _Machine.real,
        "\x8c": lambda m: m.text(1),
        "X": lambda m: m.text(4),
        "\x8d": lambda m: m.text(8),
        "C": lambda m: m.payload(1),
        "B": lambda m: m.payload(4),
        "\x8e": lambda m: m.payload(8),
        "\x96": lambda m: m.payload(8),  # BYTEARRAY8
        "U": lambda m: m.old_text(1),
        "T": lambda m: m.old_text(4),
        ")": lambda m: m.push(()),
        "\x85": lambda m: m.tuple_of_last(1),
        "\x86": lambda m: m.tuple_of_last(2),
        "\x87": lambda m: m.tuple_of_last(3),
        "t": lambda m: m.push(tuple_of(m.marked())),
        "]": lambda m: m.push([]),
        "a": _Machine.append,
        "e": _Machine.appends,
        "}": lambda m: m.push({}),
        "s": _Machine.set_item,
        "u": _Machine.set_items,
        "\x8f": lambda m: m.push(set()),
        "\x90": _Machine.appends,  # ADDITEMS
        "\x91": _Machine.frozen_set,
        "q": lambda m: m.put(m.number(1)),
        "r": lambda m: m.put(m.number(4)),
        "\x94": lambda m: m.put(len(m.memo)),  # MEMOIZE
        "h": lambda m: m.get(m.number(1)),
        "j": lambda m: m.get(m.number(4)),
        "c": _Machine.global_name,
        "\x93": _Machine.stack_name,
        "R": _Machine.reduce,
        "b": _Machine.build,
    }.items()
}


def _what(value: Any) -> str:
    return "piece of an array" if isinstance(value, Inner | Payload) else type(value).__name__


def _opcode_name(code: int) -> str:
    return next((op.name for op in pickletools.opcodes if ord(op.code) == code), f"{code:#04x}")
