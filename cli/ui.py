"""What both commands share: progress bars, errors in one or two lines with the right exit code, tables."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from amr_data.errors import AmrError, UsageError

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)
EXIT_FAILED, EXIT_USAGE, EXIT_STOPPED = 1, 2, 130
GOES_ON = "the same command goes on from there"
F = TypeVar("F", bound=Callable[..., Any])


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
                _say("stopped", kept)
                sys.exit(EXIT_STOPPED)
            except Exception as error:
                if debug:
                    raise
                sys.exit(_told(error))

        option = click.option("--debug", is_flag=True, help="Show the traceback of an error.")
        return option(run)  # type: ignore[return-value]

    return guard


guarded = guarded_saying("nothing of it is kept; the same command starts anew")


def _told(error: Exception) -> int:
    """Say an error. Returns the exit code."""
    number = getattr(error, "signal", 0)  # of amr_train's Stopped, whose import takes torch
    if isinstance(error, AmrError) and number:
        if os.environ.get("RANK", "0") == "0":  # every process of a run was asked to stop
            _say("stopped", f"{error}; {GOES_ON}" if getattr(error, "kept", False) else str(error))
        return 128 + int(number)
    if isinstance(error, AmrError):
        if not error.said:
            _say("error", str(error))
        return EXIT_USAGE if isinstance(error, UsageError) else EXIT_FAILED
    if isinstance(error, OSError) and error.strerror:  # a full disk, a folder without permission
        _say("error", f"{error.filename}: {error.strerror}" if error.filename else error.strerror)
        return EXIT_FAILED
    what = f"{type(error).__name__}: {str(error)[:300]}"
    _say("unexpected error", f"{what}\nrun again with --debug for the traceback and report it")
    return EXIT_FAILED


@contextmanager
def progress_bar(
    title: str, quiet: bool = False, counted: bool = False
) -> Iterator[Callable[[int, int, str], None]]:
    """A bar on stderr; call it as (done, total, note)."""
    count = [MofNCompleteColumn()] if counted else [TextColumn("{task.percentage:>3.0f} %")]
    columns = [
        TextColumn("{task.description}"),
        BarColumn(),
        *count,
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    ]
    with Progress(
        *columns, TextColumn("{task.fields[note]}"), console=errors, disable=quiet or not errors.is_terminal
    ) as bar:
        task = bar.add_task(title, total=None, note="")

        def update(done: int, total: int, note: str) -> None:
            bar.update(task, completed=done, total=total, note=note)

        yield update


def facts(title: str, rows: Mapping[str, Any]) -> None:
    """A table of two columns under a title, which may hold a long path."""
    if title:
        console.print(f"[italic]{escape(title)}[/]", soft_wrap=True)
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for key, value in rows.items():
        table.add_row(key, escape(f"{value:,}" if isinstance(value, int) else str(value)))
    console.print(table)


def warn(text: str) -> None:
    """A warning on stderr."""
    errors.print(f"[bold yellow]warning:[/] {escape(text)}", soft_wrap=True)


def renamed(old: str, new: str) -> Callable[[F], F]:
    """An option's former name, which answers with the one that it has now."""

    def refuse(context: click.Context, parameter: click.Parameter, value: object) -> None:
        if value:
            raise click.UsageError(f"{old} is now {new}", context)

    return click.option(old, hidden=True, expose_value=False, callback=refuse)


def _say(kind: str, text: str) -> None:
    errors.print(f"[bold red]{kind}:[/] {escape(text)}", soft_wrap=True)
