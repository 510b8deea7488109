"""A suite's rows as experiments: the settings that lie over each other, and the datasets that they name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from amr_data import UsageError
from amr_train.config import Experiment
from amr_train.experiments.loading import resolve
from amr_train.experiments.naming import is_split, point_name
from amr_train.experiments.settings import Settings, nested, over
from amr_train.experiments.suites import ELSEWHERE, Row, Suite


@dataclass(frozen=True)
class Entry:
    """One experiment of a row, of a grid point where there is a grid.

    `name`: of its run, the seed apart.  `base`: without the grid point.  `experiment`: its own name has the
    grid point's values, but for splits.  `together`: the datasets that it is trained on at once, by their
    names; empty for one alone.  `judged`: of these, those that its encoder is judged on.  `origins`: where
    each setting came from.
    """

    name: str
    base: str
    experiment: Experiment
    origins: Mapping[str, str]
    together: tuple[str, ...] = ()
    judged: tuple[str, ...] = ()


def experiments_of(suite: Suite, seed: int, overrides: Sequence[str] = ()) -> list[Entry]:
    """Of every row, in order. Raises: UsageError."""
    changed = [word.partition("=")[0].strip() for word in overrides]
    found = []
    for row in suite.experiments:
        for name, method in _named(row):
            for point in _points(suite, row):
                _check_changes(suite, changed, point)
                found.append(_experiment(suite, row, name, method, point, seed, overrides))
    return found


def _named(row: Row) -> list[tuple[str, str]]:
    """The experiments of a row by name, each with the method that the row names, '' where it names none."""
    if row.experiment is not None:
        return [(row.experiment, "")]
    return [(f"{row.data}-{method}", method) for method in row.methods]


def _points(suite: Suite, row: Row) -> list[dict[str, Any]]:
    """Every combination of the values of a row's and the suite's grid; one without values where there is
    none."""
    grid = {**suite.grid, **row.grid}
    return [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]


def _check_changes(suite: Suite, changed: Sequence[str], point: Mapping[str, Any]) -> None:
    for key in changed:
        if key in point or key in (*ELSEWHERE, "name"):
            why = ELSEWHERE.get(
                key, "it is in the grid" if key in point else "its runs have names of their own"
            )
            raise UsageError(f"{key} cannot be changed for all of {suite.name}: {why}")


def _experiment(
    suite: Suite,
    row: Row,
    name: str,
    method: str,
    point: Mapping[str, Any],
    seed: int,
    overrides: Sequence[str],
) -> Entry:
    method = str(point.get("method", method))
    settings: Settings = {}
    if row.together:
        settings["data"] = {"dataset": None}
    if row.together and method:
        settings["name"] = "-".join(["+".join(row.together), method])
    for layer in (suite.settings, suite.methods.get(method, {}), row.settings, {"seed": seed}):
        settings = over(settings, layer)
    if row.protocols is not None:
        settings = over(settings, {"evaluation": {"protocols": row.protocols}})
    grid: Settings = {}
    for key, value in point.items():
        grid = over(grid, nested(key, value))
    found = resolve(name, overrides, settings, grid)
    judged = row.together if row.judged is None else row.judged
    names = (found.experiment.name, found.experiment.name)
    entry = Entry(*names, found.experiment, found.origins, tuple(row.together), tuple(judged))
    return _with_point(entry, point)


def _with_point(entry: Entry, point: Mapping[str, Any]) -> Entry:
    """Under the names of a grid point. A split's name is no part of the experiment's: folds are told by
    it."""
    base = entry.base
    if not point:
        return entry
    own = {key: value for key, value in point.items() if not is_split(key)}
    called = f"{base}-{point_name(own)}" if own else base
    experiment = entry.experiment.model_copy(update={"name": called})
    return replace(entry, name=f"{base}-{point_name(point)}", experiment=experiment)
