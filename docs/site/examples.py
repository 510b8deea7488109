"""Examples in the help texts of commands as blocks of code. sphinx-click makes lines of prose of them, which
no one could copy."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from sphinx.application import Sphinx

BAR = "| "


def as_code(lines: list[str]) -> list[str]:
    """Lines of reStructuredText in which lines that are kept as they stand (`| `) are a block of code."""
    made: list[str] = []
    for kept, group in groupby(lines, lambda line: line.startswith(BAR)):
        if kept:
            made += [".. code-block:: text", "", *(f"   {line.removeprefix(BAR)}" for line in group), ""]
        else:
            made += group
    return made


def _described(app: Sphinx, context: Any, lines: list[str]) -> None:
    lines[:] = as_code(lines)


def setup(app: Sphinx) -> dict[str, bool]:
    app.setup_extension("sphinx_click")
    app.connect("sphinx-click-process-description", _described)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
