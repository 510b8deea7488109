"""Options that the installed raw families bring along, as options of a command."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import click

from amr_data.errors import UsageError
from amr_data.readers import family_names, load_family


def dataset_or_spec(dataset: str | None, spec: Path | None) -> str | Path | None:
    """What --dataset or --spec says, None where neither is given. Raises UsageError for both."""
    if dataset is not None and spec is not None:
        raise UsageError("give --dataset NAME or --spec FILE.yaml, not both")
    return spec or dataset


class FamilyCommand(click.Command):
    """A command that also takes the own options of every installed family. They arrive together as `options`,
    those that were given."""

    @cached_property
    def _family_options(self) -> list[click.Parameter]:
        made: dict[str, click.Parameter] = {}
        for name in family_names():
            try:
                family = load_family(name)
            except UsageError:  # a package that cannot be imported; said when its family is asked for
                continue
            for field, info in family.options.model_fields.items():
                kind = info.annotation if info.annotation in (int, float, bool, str) else str
                default = "" if info.default == "" else f" Default: {info.default}."
                made.setdefault(
                    field,
                    click.Option(
                        [f"--{field.replace('_', '-')}"], type=kind, help=f"{info.description}{default}"
                    ),
                )
        return list(made.values())

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        return [*super().get_params(ctx), *self._family_options]

    def invoke(self, ctx: click.Context) -> Any:
        names = [str(option.name) for option in self._family_options]
        given = {name: ctx.params.pop(name, None) for name in names}
        ctx.params["options"] = {name: value for name, value in given.items() if value is not None}
        return super().invoke(ctx)
