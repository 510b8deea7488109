"""The directive `settings`: every setting of an experiment, its type, default and bounds, out of the classes
that check them, with what these say of themselves."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MinLen
from docutils import nodes
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_id

from amr_train.config import Experiment

SIGNS = {
    Ge: ("at least", "ge"),
    Gt: ("above", "gt"),
    Le: ("at most", "le"),
    Lt: ("below", "lt"),
    MinLen: ("at least", "min_length"),
}


def sections(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """The model, and every section in it, with its dotted name."""
    yield prefix.rstrip("."), model
    for name, info in model.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from sections(info.annotation, f"{prefix}{name}.")


def settings(model: type[BaseModel]) -> list[tuple[str, str, str, str]]:
    """Of each setting of a section its name, what it takes, its default and its bounds."""
    return [
        (name, takes(info.annotation), default(info), ", ".join(bounds(info.metadata)))
        for name, info in model.model_fields.items()
        if not (isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel))
    ]


def takes(kind: Any) -> str:
    """A type in words."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Literal:
        return " | ".join(map(str, parts))
    if origin in (Union, UnionType):
        return " or ".join("null" if part is NoneType else takes(part) for part in parts)
    if origin is Annotated:
        return " ".join([takes(parts[0]), *(f"({bound})" for bound in bounds(parts[1:]))])
    if origin is list:
        return f"list of {takes(parts[0])}"
    if origin is tuple:
        return " and ".join(map(takes, parts))
    if origin is dict:
        return "mapping"
    return {bool: "true or false", int: "whole number", float: "number", str: "text"}.get(kind, str(kind))


def default(info: FieldInfo) -> str:
    if info.is_required():
        return "none: it must be given"
    value = info.get_default(call_default_factory=True)
    return (
        {None: "null", True: "true", False: "false", "": '""'}.get(value, str(value))
        if not isinstance(value, list | dict | int | float) or isinstance(value, bool)
        else str(value)
    )


def bounds(metadata: Any) -> Iterator[str]:
    for bound in metadata:
        if isinstance(bound, FieldInfo):
            yield from bounds(bound.metadata)
        elif type(bound) in SIGNS:
            word, key = SIGNS[type(bound)]
            yield f"{word} {_written(getattr(bound, key))}" + (" of them" if key == "min_length" else "")


def _written(number: float) -> str:
    whole = int(number)
    return f"2^{whole.bit_length() - 1}" if whole > 2**32 and whole.bit_count() == 1 else f"{number:g}"


def told(model: type[BaseModel]) -> list[nodes.Node]:
    """A docstring as paragraphs; indented lines as they stand."""
    found: list[nodes.Node] = []
    for block in re.split(r"\n(?:[ \t]*\n)+", textwrap.dedent("    " + (model.__doc__ or ""))):
        lines = block.split("\n")
        if len(lines) > 1 and all(line.startswith(" " * 4) for line in lines[1:]) and lines[0].endswith(":"):
            found += [_paragraph(lines[0]), nodes.literal_block(text=textwrap.dedent("\n".join(lines[1:])))]
        else:
            found.append(_paragraph(" ".join(line.strip() for line in lines)))
    return found


def _paragraph(text: str) -> nodes.paragraph:
    paragraph = nodes.paragraph()
    for place, part in enumerate(re.split(r"`([^`]+)`", text.strip())):
        paragraph += nodes.literal(text=part) if place % 2 else nodes.Text(part)
    return paragraph


class Settings(SphinxDirective):
    def run(self) -> list[nodes.Node]:
        return [self._section(name, model) for name, model in sections(Experiment)]

    def _section(self, name: str, model: type[BaseModel]) -> nodes.section:
        title = name or "experiment"
        section = nodes.section(ids=[make_id(self.env, self.state.document, "", title)], names=[title])
        self.state.document.note_explicit_target(section)
        section += nodes.title(text=title)
        section += told(model)
        rows = [(f"{name}.{key}" if name else key, *rest) for key, *rest in settings(model)]
        section += _table(("setting", "takes", "default", "bounds"), rows)
        return section


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> nodes.table:
    table = nodes.table()
    group = nodes.tgroup(cols=len(heads))
    table += group
    group += [nodes.colspec(colwidth=1) for _ in heads]
    head, body = nodes.thead(), nodes.tbody()
    head += _row([nodes.Text(text) for text in heads])
    for name, *rest in rows:
        body += _row([nodes.literal(text=name), *(nodes.Text(text) for text in rest)])
    group += [head, body]
    return table


def _row(cells: list[nodes.Node]) -> nodes.row:
    row = nodes.row()
    for cell in cells:
        entry, paragraph = nodes.entry(), nodes.paragraph()
        paragraph += cell
        entry += paragraph
        row += entry
    return row


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("settings", Settings)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
