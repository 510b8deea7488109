"""The one way to the terminal: nothing that comes from data can steer it, and nothing that it cannot spell
ends a command.

Names, titles, paths and members of archives may hold anything. Strings are therefore never markup (styles
stand in `styled`), and control signs, line breaks and signs that turn the direction of writing are spelt out,
in strings as they come and, as a second guard, in everything that Rich is about to write. What the terminal's
encoding lacks is written in ASCII by `spell`, the error handler of both streams, so that it also holds for
click and progress bars.
"""

from __future__ import annotations

import codecs
import io
import re
import sys
import warnings
from collections.abc import Iterable
from typing import Any, TextIO

import click
from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import TextColumn
from rich.segment import Segment
from rich.table import Column, Table
from rich.text import Text

_INVISIBLE = (
    r"\x00-\x1f\x7f-\x9f\xad"  # C0, DEL, C1, soft hyphen
    r"\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"  # marks and turns of direction, separators
    r"\u180e\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
    r"\ud800-\udfff"  # half characters: bytes of a file name that are no UTF-8
)
_UNSAFE = re.compile(f"[{_INVISIBLE}]")
_UNSAFE_IN_LINES = re.compile(f"(?!\n)[{_INVISIBLE}]")
_SPELT = {
    "→": "->",
    "←": "<-",
    "·": "-",
    "█": "#",
    "▀": "^",
    "▄": "_",
    "²": "^2",
    "°": " degrees",
    "…": "...",
    "⠀": " ",
}
SPELLING = "amr-spelling"


def shown(value: object) -> str:
    """Text that came from data, as one line that does nothing but be read: signs that steer a terminal, break
    the line or turn the direction of writing are spelt out, such as \\x1b."""
    return _UNSAFE.sub(_spelt_out, str(value))


def shown_lines(text: str) -> str:
    """The same of a text whose line breaks are meant."""
    return _UNSAFE_IN_LINES.sub(_spelt_out, text)


def styled(*parts: str | tuple[object, str]) -> Text:
    """A line of parts, each a text or (text, style)."""
    line = Text()
    for part in parts:
        line.append(*((shown(part), "") if isinstance(part, str) else (shown(part[0]), part[1])))
    return line


def table(title: str = "", header: bool = True, **options: Any) -> Table:
    """A table as all are: no lines, title on the left."""
    heading = Text(shown(title), style="bold") if title else None
    return Table(
        title=heading,
        title_justify="left",
        show_header=header,
        box=None,
        **{"padding": (0, 2, 0, 0), **options},
    )


def column(field: str, layout: Column | None = None) -> TextColumn:
    """A column of a progress bar that shows a task's text as it is."""
    return TextColumn(field, markup=False, table_column=layout)


class Terminal(Console):
    """Rich's console, which takes no string for markup and lets no sign through that would steer the
    terminal."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)
        self._printed = False

    begun = False
    """Whether something was printed on a terminal, here or on the other stream."""

    def print(self, *objects: Any, **options: Any) -> None:
        """As Rich prints; a table with a title stands apart from what is above it."""
        if any(isinstance(one, Table) and one.title for one in objects):
            self.pause()
        super().print(*objects, **options)
        self._printed = True
        Terminal.begun = Terminal.begun or self.is_terminal

    def pause(self) -> None:
        """An empty line, unless nothing is above it."""
        if self._printed or (self.is_terminal and Terminal.begun):
            super().print()

    def render_str(self, text: str, **options: Any) -> Text:
        """A string as it is written: one line."""
        return super().render_str(shown(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """What is about to be written."""
        for segment in super().render(renderable, options):
            text, style, control = segment
            yield segment if control else Segment(shown_lines(text), style)


class Commands(click.Group):
    """A group of commands whose streams write what they can, and whose own messages are spelt out too."""

    def main(self, *words: Any, **options: Any) -> Any:
        """Run a command."""
        codecs.register_error(SPELLING, spell)
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors=SPELLING)
        with warnings.catch_warnings():
            warnings.showwarning = _warned
            return super().main(*words, **options)

    def invoke(self, context: click.Context) -> Any:
        """Run the command that the context names."""
        try:
            return super().invoke(context)
        except click.ClickException as error:
            vars(error)["message"] = shown(error.message)
            raise
        except KeyboardInterrupt:  # before the command's own work, which answers for itself
            click.echo("stopped: nothing was begun", err=True)
            context.exit(130)


def spell(error: UnicodeError) -> tuple[str, int]:
    """What stands for signs that an encoding lacks, in ASCII."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_in_ascii, error.object[error.start : error.end])), error.end


def _warned(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """A library's warning, which may hold the very signs that it is about."""
    click.echo(f"{category.__name__}: {shown(message)}", err=True)


def _in_ascii(sign: str) -> str:
    if sign in _SPELT:
        return _SPELT[sign]
    if "\u2800" < sign <= "\u28ff":  # dots of a drawing
        return "*"
    return "-" if "\u2500" <= sign <= "\u257f" else "?"  # lines of bars and boxes


def _spelt_out(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")
