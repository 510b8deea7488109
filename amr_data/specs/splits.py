"""Train/test rules as validated data: which values of one clip field train, which test, which are held out
for choosing settings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, StringConstraints, model_validator

from amr_data.specs.strict import Strict

UNASSIGNED, TRAIN, TEST, VALIDATION = -1, 0, 1, 2
NAMED = ("video", "name")
"""Fields that hold text: the recording (the clip itself where there is none), and the clip."""

MOST_FOLDS, MOST_VALUES = 100, 2_000_000
"""Of one split, and values in all parts of its folds together: a small file must not become gigabytes."""

Number = Annotated[int, Field(strict=True)]
Name = Annotated[str, StringConstraints(strict=True, min_length=1)]
Values = list[Number] | list[Name]


class Protocol(Strict):
    """A train/test rule, for people a split: the values of one clip field that train, that test and, where
    there is such a part, that validate; any other value is unassigned.

    by : the field; `video` and `name` are lists of names, the others of numbers.
    folds : in place of train and test: lists of values, each of which is tested on once while the others
        train; or a number of folds, over which the values that occur are dealt out in order.
    split_files : names of files beside the raw data that replace the rule (PKU-MMD).
    """

    by: Literal["subject", "camera", "setup", "replication", "video", "name"]
    train: Values = []
    test: Values = []
    validation: Values = []
    folds: Annotated[int, Field(strict=True, ge=2, le=MOST_FOLDS)] | list[Values] | None = None
    split_files: list[str] = []

    @model_validator(mode="after")
    def _check(self) -> Protocol:
        parts = {"train": self.train, "test": self.test, "validation": self.validation}
        if self.folds is not None:
            if any(parts.values()):
                raise ValueError("folds take the place of train, test and validation")
            if isinstance(self.folds, int):
                return self
            if len(self.folds) < 2:
                raise ValueError("one fold leaves nothing to train on; give two or more")
            most = min(MOST_FOLDS, MOST_VALUES // max(sum(map(len, self.folds)), 1))
            if len(self.folds) > most:
                raise ValueError(f"{len(self.folds):,} folds of these values; at most {most:,} are made")
            parts = {f"fold {i}": values for i, values in enumerate(self.folds, 1)}
        seen: dict[str, str] = {}
        for part, values in parts.items():
            for value in values:
                if isinstance(value, str) != (self.by in NAMED):
                    raise ValueError(f"by {self.by} cannot list {value!r}")
                if seen.setdefault(str(value), part) != part:
                    raise ValueError(f"{value} is in {seen[str(value)]} and in {part}")
        return self

    def assign(self, values: npt.ArrayLike) -> npt.NDArray[np.int8]:
        """TRAIN, TEST, VALIDATION or UNASSIGNED for each value of the field `by`."""
        values = np.asarray(values)
        sides = np.full(values.shape, UNASSIGNED, np.int8)
        for part, side in ((self.validation, VALIDATION), (self.test, TEST), (self.train, TRAIN)):
            if part and values.size:
                sides[np.isin(values, part)] = side
        return sides


def unfolded(rules: Mapping[str, Protocol], values: Mapping[str, Iterable[int | str]]) -> dict[str, Protocol]:
    """Rules with folds as one rule a fold: `fold` with five folds becomes fold1 to fold5.

    Args:
        values: the values of each field that occur; -1 (none) takes part in no fold. A number of folds stays
            as it is where its field is not among them.
    Raises: ValueError where two rules come out with the same name, or fewer values occur than folds are
        asked for.
    """
    out: dict[str, Protocol] = {}
    for name, rule in rules.items():
        folds = rule.folds
        if isinstance(folds, int) and rule.by in values:
            there: list[Any] = sorted({v for v in values[rule.by] if v not in (-1, "")})
            if len(there) < folds:
                raise ValueError(f"split {name}: {len(there)} {rule.by} values for {folds} folds")
            folds = [there[i::folds] for i in range(folds)]
        if not isinstance(folds, list):
            made = {name: rule}
        else:
            made = {}
            for i, test in enumerate(folds):
                train = [v for other in folds[:i] + folds[i + 1 :] for v in other]
                made[f"{name}{i + 1}"] = Protocol.model_validate(
                    {"by": rule.by, "train": train, "test": test}
                )
        for key in made:
            if key in out or (key in rules and key != name):
                raise ValueError(f"the folds of split {name} make a split {key}, which exists")
        out.update(made)
    return out


def folds_with(rules: Mapping[str, Protocol], name: str) -> tuple[str, ...]:
    """The names of the folds that a split is one of, in order; () where it is none.

    Folds are told by what they do, since `unfolded` leaves no other trace: splits with one name and the
    numbers from 1, by one field, each of which trains on exactly what the others test, and tests on nothing
    that they test.
    """
    digits = re.search(r"[0-9]*\Z", name)
    for start in range(digits.start() if digits else 0, len(name)):  # `f11` is fold 11 of f, or fold 1 of f1
        stem = name[:start]
        names: list[str] = []
        while f"{stem}{len(names) + 1}" in rules:
            names.append(f"{stem}{len(names) + 1}")
        if name in names and len(names) > 1 and _are_folds([rules[key] for key in names]):
            return tuple(names)
    return ()


def _are_folds(rules: list[Protocol]) -> bool:
    tests = [set(rule.test) for rule in rules]
    every = set().union(*tests)
    return (
        len({rule.by for rule in rules}) == 1
        and sum(map(len, tests)) == len(every) > 0
        and not any(rule.validation or rule.split_files or rule.folds for rule in rules)
        and all(set(rule.train) == every - test for rule, test in zip(rules, tests, strict=True))
    )
