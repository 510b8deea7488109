"""Docstrings as they are written here, for Sphinx: `names` in backticks, a line of its own for each
argument, lines that are indented below one belong to it, `Args:`, `Returns:` and `Raises:`. Nothing in
them is markup besides.

Napoleon reads Google's and numpy's forms; of ours, `joints : (K, V, 3) metres` and `Returns: features.`
in one line, it would make paragraphs that run into each other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from sphinx.application import Sphinx

HEADS = ("Args:", "Returns:", "Raises:")
ITEM = re.compile(r"`?[A-Za-z_][\w.]*`?(, `?[A-Za-z_][\w.]*`?)* ?: ")


def as_rst(lines: Sequence[str]) -> list[str]:
    """A docstring's lines as reStructuredText."""
    found: list[str] = []
    under = ""
    for indent, text, listing in _blocks(lines):
        if listing:
            found += ["::", "", *(f"    {line}" for line in text.split("\n")), ""]
            continue
        head = next((head for head in HEADS if text.startswith(head)), "")
        if head and not indent:
            under, text = head, text.removeprefix(head).strip()
            found += [f"**{head.rstrip(':')}**" + (f": {_plain(text)}" if text else ""), ""]
        elif ITEM.match(text) and (indent or not under):
            name, _, rest = text.partition(":")
            found += [f"* ``{name.strip(' `')}``: {_plain(rest.strip())}", ""]
        else:
            found += [_plain(text), ""]
    return found


def _blocks(lines: Sequence[str]) -> Iterator[tuple[int, str, bool]]:
    """Each paragraph or item with its indentation, in one line; and listings, which stand after a line with a
    colon at its end that is no head."""
    block: list[str] = []
    listing: list[str] = []
    indent = 0
    for line in [*lines, ""]:
        text, depth = line.strip(), len(line) - len(line.lstrip())
        if listing and (depth > indent or not text):
            listing.append(line)
            continue
        if listing:
            yield indent, _dedented(listing), True
            listing = []
        if block and text and depth > indent and block[-1].endswith(":") and not block[0].startswith(HEADS):
            yield indent, " ".join(block), False
            block, listing = [], [line]
            continue
        begins = (
            not block
            or (depth <= indent and (ITEM.match(text) or text.startswith(HEADS)))
            or block[-1] == "Args:"
        )
        if block and (not text or begins):
            yield indent, " ".join(block), False
            block = []
        if text:
            indent = depth if not block else indent
            block.append(text)
    if listing:
        yield indent, _dedented(listing), True


def _dedented(lines: Sequence[str]) -> str:
    least = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
    return "\n".join(line[least:] for line in lines).rstrip()


def _plain(text: str) -> str:
    """Text without markup but for names in backticks."""
    parts = re.split(r"`+([^`]+)`+", text)
    return "".join(
        f"``{part}``" if place % 2 else re.sub(r"([*|\\]|_(?=\W|$))", r"\\\1", part)
        for place, part in enumerate(parts)
    )


def _process(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    lines[:] = as_rst(lines)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", _process)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
