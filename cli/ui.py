"""What both commands share: progress bars, errors in one or two lines with the right exit code, tables."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar

import click

from amr_cli.bars import Bars
from amr_cli.terminal import Terminal, shown, styled, table
from amr_data.errors import AmrError, UsageError

console = Terminal()
errors = Terminal(stderr=True)
EXIT_FAILED, EXIT_USAGE, EXIT_STOPPED = 1, 2, 130
GOES_ON = "the same command goes on from there"
ANEW = "the same command starts anew"
F = TypeVar("F", bound=Callable[..., Any])


class Within(click.FloatRange):
    """A number in a range. `nan` compares with no limit and would pass any, `inf` where there is none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{number} is not a finite number.", param, ctx)
        return number


def guarded_saying(kept: str) -> Callable[[F], F]:
    """Turn errors into one or two lines and an exit code: 2 for wrong use, 1 for failed work, 128 and the
    signal's number for a training that was stopped; --debug shows the traceback.

    kept : what Ctrl-C leaves, in words.
    """

    def guard(command: F) -> F:
        @wraps(command)
        def run(*args: Any, **kwargs: Any) -> Any:
            debug = bool(kwargs.pop("debug", False))
            try:
                return command(*args, **kwargs)
            except (click.ClickException, click.exceptions.Exit, click.Abort):
                raise
            except KeyboardInterrupt:
                complain("stopped", kept)
                sys.exit(EXIT_STOPPED)
            except Exception as error:
                if debug:
                    raise
                sys.exit(_told(error))

        option = click.option("--debug", is_flag=True, help="Show the traceback of an error.")
        return option(run)  # type: ignore[return-value]

    return guard


guarded = guarded_saying(f"what it was writing is not kept; {ANEW}")


def _told(error: Exception) -> int:
    """Say an error. Returns the exit code."""
    number = getattr(error, "signal", 0)  # of amr_train's Stopped, whose import takes torch
    if isinstance(error, AmrError) and number:
        if os.environ.get("RANK", "0") == "0":  # every process of a run was asked to stop
            complain("stopped", f"{error}; {GOES_ON}" if getattr(error, "kept", False) else str(error))
        return 128 + int(number)
    if isinstance(error, AmrError):
        if not error.said:
            complain("error", str(error))
        return EXIT_USAGE if isinstance(error, UsageError) else EXIT_FAILED
    if isinstance(error, OSError) and error.strerror:  # a full disk, a folder without permission
        complain("error", f"{error.filename}: {error.strerror}" if error.filename else error.strerror)
        return EXIT_FAILED
    what = f"{type(error).__name__}: {str(error)[:300]}"
    complain("unexpected error", what)
    tell("run again with --debug for the traceback and report it")
    return EXIT_FAILED


@contextmanager
def progress_bar(
    title: str, quiet: bool = False, counted: bool = False
) -> Iterator[Callable[[int, int, str], None]]:
    """A bar on stderr; call it as (done, total, note). `counted` : the note says how many of how many."""
    with Bars(console=errors, disable=quiet or not errors.is_terminal) as bar:
        task = bar.add_task(shown(title), total=None, note="")

        def update(done: int, total: int, note: str) -> None:
            words = f"{done:,} of {total:,} {note}" if counted else note
            bar.update(task, completed=done, total=total, note=shown(words).strip())

        yield update


def facts(title: str, rows: Mapping[str, Any]) -> None:
    """A table of two columns under a title, which may hold a long path."""
    console.pause()
    if title:
        say((title, "bold"))
    lines = table(header=False)
    lines.add_column(style="bold", no_wrap=True)
    lines.add_column(overflow="fold")
    for key, value in rows.items():
        lines.add_row(key, f"{value:,}" if isinstance(value, int) else str(value))
    console.print(lines)


def say(*parts: str | tuple[object, str]) -> None:
    """A line on stdout, of texts and of (text, style), see `write_line`."""
    write_line(console, *parts)


def tell(*parts: str | tuple[object, str]) -> None:
    """The same on stderr."""
    write_line(errors, *parts)


def write_line(stream: Terminal, *parts: str | tuple[object, str]) -> None:
    """A terminal has it broken between words, unless a word such as a path is longer than a line; files have
    it whole, unless COLUMNS says how wide they are."""
    text = styled(*parts)
    longest = max((len(word) for word in text.plain.split(" ")), default=0)
    wide = not stream.is_terminal and "COLUMNS" not in os.environ
    stream.print(text, soft_wrap=wide or longest > stream.width)


def warn(text: str) -> None:
    """A warning on stderr."""
    note("warning", text)


def note(kind: str, text: str) -> None:
    """What one should know, on stderr, under a word of its own."""
    tell((f"{kind}:", "bold yellow"), f" {text}")


def renamed(old: str, new: str) -> Callable[[F], F]:
    """An option's former name, which answers with the one that it has now."""

    def refuse(context: click.Context, parameter: click.Parameter, value: object) -> None:
        if value:
            raise click.UsageError(f"{old} is now {new}", context)

    return click.option(old, hidden=True, expose_value=False, callback=refuse)


def complain(kind: str, text: str) -> None:
    tell((f"{kind}:", "bold red"), f" {text}")
