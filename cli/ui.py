"""What both commands share: progress bars, errors in one or two lines with the right exit code, tables."""

from __future__ import annotations

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
F = TypeVar("F", bound=Callable[..., Any])


def guarded(command: F) -> F:
    """Turn errors into one or two lines and an exit code: 2 for wrong use, 1 for failed work; --debug shows
    the traceback."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        debug = bool(kwargs.pop("debug", False))
        try:
            return command(*args, **kwargs)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt:
            _say("stopped", "what was finished is kept; the same command goes on from there")
            sys.exit(EXIT_STOPPED)
        except UsageError as error:
            if debug:
                raise
            if not error.said:
                _say("error", str(error))
            sys.exit(EXIT_USAGE)
        except AmrError as error:
            if debug:
                raise
            if not error.said:
                _say("error", str(error))
            sys.exit(EXIT_FAILED)
        except Exception as error:
            if debug:
                raise
            _say(
                "unexpected error",
                f"{type(error).__name__}: {str(error)[:300]}\nrun again with --debug for the traceback and "
                f"report it",
            )
            sys.exit(EXIT_FAILED)

    return click.option("--debug", is_flag=True, help="Show the traceback of an error.")(run)  # type: ignore[return-value]


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
    """A table of two columns."""
    table = Table(title=title, title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for key, value in rows.items():
        table.add_row(key, escape(f"{value:,}" if isinstance(value, int) else str(value)))
    console.print(table)


def _say(kind: str, text: str) -> None:
    errors.print(f"[bold red]{kind}:[/] {escape(text)}", soft_wrap=True)
