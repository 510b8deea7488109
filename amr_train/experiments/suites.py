"""Suites: experiments by data set, method, seed and grid, and transfers between them, run as a queue of jobs
(`queue`); what is finished is not run again.

A suite is a YAML file with the key `experiments`, shipped (`experiments/suites/`) or one's own. Its rows name
a data set's split with methods, or an experiment, and the datasets that it is trained on `together` where
these are several; `settings` and, for a method, `methods` lie over them, and `grid` makes one run of every
combination of values. `transfers` evaluate a run's encoder on another dataset, and keep the results in that
run's folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from amr_data import UsageError
from amr_data.errors import unknown
from amr_train.experiments.settings import (
    Settings,
    explain,
    flat,
    nested,
    over,
    read_file,
    read_shipped,
    said,
    shipped_names,
)

PREFIX = "suite/"
ELSEWHERE = {
    "seed": "a suite has `seeds`",
    "data.path": "a suite's datasets are given with --data",
    "data.paths": "a row's datasets are named by `together`, and given with --data",
}
"""Settings that a suite says in another way."""


def _checked(settings: Any) -> Any:
    """Settings as sections, whether they are written so or with dotted keys."""
    if not isinstance(settings, Mapping):
        return {} if settings is None else settings
    found: Settings = {}
    for key, value in flat(said(settings)).items():
        found = over(found, _one(key, value))
    return found


def _checked_grid(grid: Any) -> Any:
    for key in grid if isinstance(grid, Mapping) else ():
        if key == "name":
            raise ValueError("grid: the name of a grid point says its values, and is none of them")
        _one(str(key), None)
    return {} if grid is None else grid


def _one(key: str, value: Any) -> Settings:
    if key in ELSEWHERE:
        raise ValueError(f"{key}: {ELSEWHERE[key]}")
    if key == "method" and value is not None:
        raise ValueError("method: a row has `methods`, and a grid may have it")
    try:
        return nested(key, value)
    except UsageError as error:
        raise ValueError(str(error)) from None


Values = Annotated[list[Any], Field(min_length=1)]
Laid = Annotated[Settings, BeforeValidator(_checked)]
Grid = Annotated[dict[str, Values], BeforeValidator(_checked_grid)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Row(_Part):
    """Methods on one split of a dataset, or one experiment, by its name or its file. `protocols`: how their
    encoders are judged, as the experiments say where it is None.

    `together`: names of datasets that the experiment is trained on at once, by the splits that
    `data.splits` names where they have several; its encoder is judged on each of them, or on those of
    `judged` alone. With `methods` the run is named after the datasets.
    """

    data: str | None = None
    methods: list[str] = []
    experiment: str | None = None
    together: list[str] = []
    judged: list[str] | None = None
    protocols: list[str] | None = None
    settings: Laid = {}
    grid: Grid = {}

    @model_validator(mode="after")
    def _check(self) -> Row:
        if (self.data is None) == (self.experiment is None) or bool(self.methods) != bool(self.data):
            raise ValueError("a row has either `data` and `methods`, or `experiment`")
        if len(self.together) == 1 or len(set(self.together)) < len(self.together):
            raise ValueError("together: name two or more different datasets")
        for name in self.judged or ():
            if name not in self.together:
                raise ValueError(f"judged: {unknown('dataset', name, self.together, ' in `together`')}")
        return self


class Transfer(_Part):
    """Encoders of the suite, all those of an experiment or that of one grid point, on another dataset.
    `split`: None for its only one."""

    encoder: str
    dataset: str
    split: str | None = None
    protocols: list[str] = ["finetune"]


class Suite(_Part):
    """What a suite's file says. `methods`: settings over `settings`, for some methods."""

    name: str
    description: str = ""
    seeds: list[int] = Field([0], min_length=1)
    settings: Laid = {}
    methods: dict[str, Laid] = {}
    grid: Grid = {}
    experiments: list[Row] = Field(min_length=1)
    transfers: list[Transfer] = []

    @model_validator(mode="after")
    def _check(self) -> Suite:
        grids = [self.grid, *(row.grid for row in self.experiments)]
        used = [name for row in self.experiments for name in row.methods]
        used += [str(name) for grid in grids for name in grid.get("method", ())]
        for name in self.methods:
            if name not in used:
                raise ValueError(f"methods: {unknown('method', name, sorted(set(used)), ' in any row')}")
        return self


def suite_names() -> list[str]:
    """Names of the shipped suites, with their prefix."""
    return [PREFIX + name for name in shipped_names("experiments/suites")]


def is_suite(name_or_path: str) -> bool:
    """Whether it names a suite: by its prefix, or a file with the key `experiments`. Raises: UsageError where
    there is no such file."""
    if name_or_path.startswith(PREFIX):
        return True
    return name_or_path.endswith((".yaml", ".yml")) and "experiments" in read_file(name_or_path)


def load_suite(name_or_path: str) -> Suite:
    """A shipped suite by its name, `suite/NAME`, or a YAML file. Raises: UsageError."""
    if name_or_path.endswith((".yaml", ".yml")):
        content = {"name": Path(name_or_path).stem, **read_file(name_or_path)}
    elif name_or_path in suite_names():
        content = read_shipped(f"experiments/{name_or_path.replace(PREFIX, 'suites/')}.yaml")
        content = {**content, "name": name_or_path}
    else:
        raise UsageError(unknown("suite", name_or_path, suite_names()))
    try:
        suite = Suite.model_validate(content)
    except ValidationError as error:
        raise UsageError(f"{name_or_path}: {_explained(error)}") from None
    rows = [_placed(row, Path(name_or_path).parent) for row in suite.experiments]
    return suite.model_copy(update={"experiments": rows})


def _placed(row: Row, folder: Path) -> Row:
    """A row whose experiment's file is looked for beside the suite's."""
    own = row.experiment is not None and row.experiment.endswith((".yaml", ".yml"))
    return row.model_copy(update={"experiment": str(folder / str(row.experiment))}) if own else row


def _explained(error: ValidationError) -> str:
    """The first thing that was found in a suite's file, in one line."""
    first = error.errors()[0]
    if first["type"] != "extra_forbidden":
        return explain(error)
    *place, key = first["loc"]
    parts: dict[str, type[_Part]] = {"experiments": Row, "transfers": Transfer}
    part = parts.get(str(place[0]), Suite) if place else Suite
    names = list(part.model_fields)
    where = f" in {place[0]}, row {int(place[1]) + 1}" if place else ""
    return unknown("key", str(key), names, where)
