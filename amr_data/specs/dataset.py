"""A dataset as validated data: what its files are called and hold, its skeleton, classes and splits."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, ValidationInfo, field_validator, model_validator

from amr_data.errors import UsageError, unknown
from amr_data.specs.skeleton import Skeleton
from amr_data.specs.splits import NAMED, Protocol, folds_with, unfolded
from amr_data.specs.strict import Strict

FIELDS = ("subject", "camera", "setup", "replication", "action")
NO_LABEL = -1
FOREIGN = {"foreign": True}
"""Context of the validation of a spec that anybody may have written."""
MOST = 2**31 - 1
"""The largest number that a clip's row can hold."""

Text = Annotated[str, StringConstraints(min_length=1, max_length=500)]
Line = Annotated[str, StringConstraints(max_length=500, pattern=r"^[^\x00-\x1f\x7f]*$")]


class DatasetSpec(Strict):
    """Everything the code needs to know about a dataset; see docs/adding-a-dataset.md for the fields.
    `handed`: whether classes tell left from right, None where that is not known.
    `licence`, `homepage`: the terms that the data come with, in a line, and where they are to be had; ""
        where that is not known."""

    name: Text
    title: Text
    licence: Line = ""
    homepage: Line = ""
    raw: str
    layout: dict[str, Any] = {}
    skeleton: Skeleton
    frame_rate: float = Field(gt=0, le=10_000)
    max_bodies: int = Field(ge=1, le=8)
    dimensions: Literal[2, 3] = 3
    naming: str | None = None
    example: str = ""
    codes: dict[str, dict[str, int]] = {}
    camera_codes: dict[str, int] = {}
    classes: dict[Annotated[int, Field(ge=0, le=MOST)], Text] = {}
    mutual: list[int] = []
    handed: bool | None = None
    protocols: dict[Text, Protocol] = {}
    unusable: list[str] = []

    @field_validator("classes", mode="before")
    @classmethod
    def _numbered(cls, classes: Any) -> Any:
        """A plain list of names is numbered from 1."""
        return dict(enumerate(classes, 1)) if isinstance(classes, list) else classes

    @model_validator(mode="after")
    def _check(self, info: ValidationInfo) -> DatasetSpec:
        groups = self._groups()
        for kind, fields in (("naming has the group", groups), ("codes has the field", set(self.codes))):
            if other := sorted(fields - set(FIELDS)):
                raise ValueError(f"{kind} '{other[0]}'; there are {', '.join(FIELDS)}")
        for action in self.mutual:
            if action not in self.classes:
                raise ValueError(f"mutual names class {action}, which is not in classes")
        folded = Counter(name.casefold() for name in self.classes.values())
        if twice := sorted(name for name, times in folded.items() if times > 1):
            raise ValueError(f"two classes are called '{twice[0]}'")
        # an expression and a name of somebody's manifest may take for ever together
        if self.example and info.context is not FOREIGN and self.parse_name(self.example) is None:
            raise ValueError(f"the example '{self.example}' does not follow naming")
        object.__setattr__(self, "protocols", unfolded(self.protocols, {}))
        return self

    def _groups(self) -> set[str]:
        try:
            return set(re.compile(self.naming or "").groupindex)
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"naming is not a regular expression: {error}") from None

    def need_names(self, action: bool = True) -> None:
        """What families ask of a spec whose clips are told by their file names. Raises ValueError."""
        groups = self._groups()
        if action and self.classes and "action" not in groups:
            raise ValueError("naming needs the group 'action'")
        for name, protocol in self.protocols.items():
            if protocol.by not in (*NAMED, *groups):
                raise ValueError(f"split {name} goes by {protocol.by}, which naming does not capture")

    @cached_property
    def class_ids(self) -> list[int]:
        """The dataset's own action numbers in label order."""
        return list(self.classes)

    @cached_property
    def class_names(self) -> list[str]:
        return list(self.classes.values())

    def class_title(self, label: int) -> str:
        """A class as people read it: the dataset's own number and the name."""
        return "no label" if label == NO_LABEL else f"{self.class_ids[label]} {self.class_names[label]}"

    def label(self, action: int) -> int | None:
        """0-based label of an action number, None where the dataset has no such class."""
        return self._labels.get(action)

    @cached_property
    def _labels(self) -> dict[int, int]:
        return {action: label for label, action in enumerate(self.classes)}

    @cached_property
    def _actions(self) -> dict[str, int]:
        """Numbers of classes by their names as they stand, and by their plain names where these tell."""
        exact = {name.strip(): action for action, name in self.classes.items()}
        alike = Counter(plain_name(name) for name in self.classes.values())
        plain = {plain_name(n): action for n, action in exact.items() if alike[plain_name(n)] == 1}
        return {**plain, **exact}

    def action(self, text: str) -> int | None:
        """A class's number from its name or its number as text, None where it is neither. A name comes first,
        since classes may be called by numbers that are not theirs."""
        found = self._actions.get(text.strip())
        number = _number(text) if found is None else found
        return self._actions.get(plain_name(text)) if number is None else number

    def name_of(self, path: str) -> str:
        """The part of a path that `naming` is about: the file's name without its ending, with as many folders
        before it as `naming` has slashes; the whole path where there is no naming."""
        stem = re.sub(r"\.[^./]*\Z", "", path) or path
        if self.naming is None:
            return stem
        return "/".join(stem.split("/")[-1 - self.naming.count("/") :])

    def parse_name(self, name: str) -> dict[str, int] | None:
        """The numbers in a name (see `name_of`), or None where it does not follow the naming. A group that is
        optional and absent says nothing."""
        if self.naming is None:
            return {}
        match = self._pattern.fullmatch(name)
        if match is None:
            return None
        numbers: dict[str, int] = {}
        for field, text in match.groupdict().items():
            if text is None:
                continue
            codes = self.codes.get(field) or (self.camera_codes if field == "camera" else {})
            if text in codes:
                number: int | None = codes[text]
            else:
                number = self.action(text) if field == "action" else _number(text)
            if number is None:
                return None
            numbers[field] = number
        return numbers

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile(self.naming or "")

    @property
    def named_like(self) -> str:
        """How names look, for people: an example where the spec gives one."""
        return f"a name like {self.example}" if self.example else f"a name that matches {self.naming}"

    @property
    def unit(self) -> str:
        """The unit of coordinates before any scaling."""
        return "metres" if self.dimensions == 3 else "image heights"

    def changed(self, **fields: Any) -> DatasetSpec:
        """The spec with other values in some fields; checked anew, and nothing derived is carried over."""
        return DatasetSpec.model_validate({**self.model_dump(), **fields})

    def unlabelled(self) -> DatasetSpec:
        """The same files without anything that their names or labels say: any name will do."""
        none: dict[str, Any] = {"classes": {}, "protocols": {}, "codes": {}, "camera_codes": {}}
        return self.changed(naming=None, example="", mutual=[], unusable=[], **none)

    def with_folds(self, values: Mapping[str, Iterable[int | str]]) -> DatasetSpec:
        """The spec with every number of folds dealt out over the values that occur in the clips. Raises
        ValueError."""
        return self.changed(protocols=unfolded(self.protocols, values))

    def folds_with(self, split: str) -> tuple[str, ...]:
        """The names of the folds that a split is one of, in order; () where it is none."""
        return folds_with(self.protocols, split)

    def protocol(self, name: str) -> Protocol:
        """A train/test rule by its name. Raises UsageError."""
        if name not in self.protocols:
            known = [*self.protocols, "all (every clip trains)"]
            raise UsageError(unknown("split", name, known, f" of {self.name}"))
        return self.protocols[name]


def _number(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,10}", text) and int(text) <= MOST else None


def plain_name(text: str) -> str:
    """A class name as names are compared: without regard to case, and to what stands for a space."""
    return re.sub(r"[\s_-]+", " ", text).strip().casefold()
