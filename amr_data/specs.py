"""Datasets and skeletons as validated data, read from `data_specs/` (installed as `amr_specs`) or from a
user's own YAML file."""

from __future__ import annotations

import difflib
import re
import sys
from functools import cached_property, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from amr_data.errors import UsageError

if sys.version_info >= (3, 11):
    from importlib.resources.abc import Traversable
else:
    from importlib.abc import Traversable

FIELDS = ("subject", "camera", "setup", "replication", "action")
UNASSIGNED, TRAIN, TEST = -1, 0, 1


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Skeleton(_Model):
    """Joint names in file order; bones as (joint, the joint it hangs on) by name. Recipes move `centre` to
    the origin; `spine` (low, high) and `shoulders` (right, left) give a body its length and its axes.
    `counterparts`: joints that other skeletons call differently."""

    name: str
    joints: list[str] = Field(min_length=2)
    bones: list[tuple[str, str]]
    symmetric: list[tuple[str, str]] = []
    parts: dict[str, list[str]]
    centre: str
    spine: tuple[str, str]
    shoulders: tuple[str, str]
    counterparts: dict[str, str] = {}

    @property
    def common_names(self) -> list[str]:
        """The joints by the names that skeletons share."""
        return [self.counterparts.get(joint, joint) for joint in self.joints]

    @model_validator(mode="after")
    def _check(self) -> Skeleton:
        if len(set(self.joints)) != len(self.joints):
            raise ValueError("a joint name occurs twice")
        named = [j for pair in (*self.bones, *self.symmetric) for j in pair] + [
            j for p in self.parts.values() for j in p
        ]
        for joint in [*named, self.centre, *self.spine, *self.shoulders, *self.counterparts]:
            if joint not in self.joints:
                raise ValueError(f"'{joint}' is not one of the joints")
        if sorted(j for p in self.parts.values() for j in p) != sorted(self.joints):
            raise ValueError("parts must hold every joint exactly once")
        children = [child for child, _ in self.bones]
        if len(set(children)) != len(children) or len(children) != len(self.joints) - 1:
            raise ValueError("bones must form a tree: every joint but the root hangs on exactly one other")
        parent = dict(self.bones)
        for start in children:
            joint, steps = start, 0
            while joint in parent:
                joint, steps = parent[joint], steps + 1
                if steps > len(children):
                    raise ValueError(f"bones form a ring through '{start}'")
        return self

    def index(self, joint: str) -> int:
        """Row of a joint in the (V, 3) arrays, 0-based."""
        return self.joints.index(joint)

    @cached_property
    def bone_indices(self) -> npt.NDArray[np.int64]:
        """(V - 1, 2) int64: joint and the joint it hangs on, 0-based."""
        return np.array([[self.index(a), self.index(b)] for a, b in self.bones], np.int64)


class Protocol(_Model):
    """A train/test rule, for people a split: the values of one clip field (or the video names) that train and
    that test; any other value is unassigned."""

    by: Literal["subject", "camera", "setup", "video"]
    train: list[int] | list[str]
    test: list[int] | list[str]
    split_files: list[str] = []

    @model_validator(mode="after")
    def _check(self) -> Protocol:
        both = set(map(str, self.train)) & set(map(str, self.test))
        if both:
            raise ValueError(f"{sorted(both)[0]} is in train and in test")
        for value in [*self.train, *self.test]:
            if isinstance(value, str) != (self.by == "video"):
                raise ValueError(f"by {self.by} cannot list {value!r}")
        return self

    def assign(self, values: npt.ArrayLike) -> npt.NDArray[np.int8]:
        """TRAIN, TEST or UNASSIGNED for each value of the field `by`."""
        values = np.asarray(values)
        train, test = np.isin(values, self.train), np.isin(values, self.test)
        return np.where(train, TRAIN, np.where(test, TEST, UNASSIGNED)).astype(np.int8)


class DatasetSpec(_Model):
    """Everything the code needs to know about a dataset; see docs/adding-a-dataset.md for the fields."""

    name: str
    title: str
    raw: Literal["ntu", "pku-mmd", "nw-ucla"]
    skeleton: Skeleton
    frame_rate: float = Field(gt=0)
    max_bodies: int = Field(ge=1, le=8)
    naming: str
    camera_codes: dict[str, int] = {}
    classes: dict[int, str] = Field(min_length=1)
    mutual: list[int] = []
    protocols: dict[str, Protocol] = Field(min_length=1)
    unusable: list[str] = []

    @model_validator(mode="after")
    def _check(self) -> DatasetSpec:
        try:
            groups = set(re.compile(self.naming).groupindex)
        except re.error as error:
            raise ValueError(f"naming is not a regular expression: {error}") from None
        unknown = groups - set(FIELDS)
        if unknown:
            raise ValueError(f"naming has the group '{sorted(unknown)[0]}'; groups are {', '.join(FIELDS)}")
        if self.raw != "pku-mmd" and "action" not in groups:
            raise ValueError("naming needs the group 'action'")
        for action in self.mutual:
            if action not in self.classes:
                raise ValueError(f"mutual names class {action}, which is not in classes")
        for name, protocol in self.protocols.items():
            if protocol.by != "video" and protocol.by not in groups:
                raise ValueError(f"split {name} goes by {protocol.by}, which naming does not capture")
        return self

    @cached_property
    def class_ids(self) -> list[int]:
        """The dataset's own action numbers in label order."""
        return list(self.classes)

    @cached_property
    def class_names(self) -> list[str]:
        return list(self.classes.values())

    def class_title(self, label: int) -> str:
        """A class as people read it: the dataset's own number and the name."""
        return f"{self.class_ids[label]} {self.class_names[label]}"

    def label(self, action: int) -> int | None:
        """0-based label of an action number, None where the dataset has no such class."""
        return self.class_ids.index(action) if action in self.classes else None

    def parse_name(self, stem: str) -> dict[str, int] | None:
        """The numbers in a file name (without its ending), or None where it does not follow the naming."""
        match = re.fullmatch(self.naming, stem)
        if match is None:
            return None
        return {
            k: self.camera_codes[v] if v in self.camera_codes else int(v)
            for k, v in match.groupdict().items()
        }

    def protocol(self, name: str) -> Protocol:
        """A train/test rule by its name. Raises UsageError."""
        if name not in self.protocols:
            raise UsageError(unknown("split", name, self.protocols, f" of {self.name}"))
        return self.protocols[name]


def unknown(kind: str, name: str, known: Any, where: str = "") -> str:
    """The message for a name that does not exist: the nearest one that does, and all of them."""
    near = difflib.get_close_matches(name, list(known), n=1)
    hint = f"did you mean '{near[0]}'? " if near else ""
    return f"there is no {kind} '{name}'{where}: {hint}known: {', '.join(known)}"


def spec_names() -> list[str]:
    """Names of the built-in datasets."""
    return sorted(
        p.name[:-5] for p in (files("amr_specs") / "datasets").iterdir() if p.name.endswith(".yaml")
    )


@lru_cache(maxsize=32)
def load_spec(name_or_path: str) -> DatasetSpec:
    """A built-in dataset by name, or a user's YAML file by path (anything that ends in .yaml or .yml).

    A user's file names a built-in skeleton or gives its own inline; name lists are read relative to the file.
    Raises: UsageError with the file and the offending field.
    """
    path: Traversable
    if name_or_path.endswith((".yaml", ".yml")):
        path = Path(name_or_path)
        if not path.is_file():
            raise UsageError(f"no spec file {name_or_path}")
        folder: Traversable = Path(name_or_path).resolve().parent
    else:
        if name_or_path not in spec_names():
            raise UsageError(
                unknown("dataset", name_or_path, spec_names()) + ", or the path of a .yaml file of your own"
            )
        folder = files("amr_specs") / "datasets"
        path = folder / f"{name_or_path}.yaml"
    data = _read_yaml(path, name_or_path)
    try:
        if isinstance(data.get("skeleton"), str):
            data["skeleton"] = _builtin_skeleton(data["skeleton"])
        if isinstance(data.get("unusable"), str):
            data["unusable"] = _read_list(folder, data["unusable"])
        for protocol in (data.get("protocols") or {}).values():
            for part in ("train", "test"):
                if isinstance(protocol, dict) and isinstance(protocol.get(part), str):
                    protocol[part] = _read_list(folder, protocol[part])
        return DatasetSpec.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "spec"
        raise UsageError(f"{name_or_path}: {where}: {first['msg'].removeprefix('Value error, ')}") from None
    except (OSError, UnicodeDecodeError, AttributeError) as error:
        raise UsageError(f"{name_or_path}: {error}") from None


def spec_from_json(data: dict[str, Any]) -> DatasetSpec:
    """A spec as it stands in a manifest, where everything is resolved."""
    return DatasetSpec.model_validate(data)


def load_skeleton(name: str) -> Skeleton:
    """A built-in skeleton by name."""
    return Skeleton.model_validate(_builtin_skeleton(name))


def _builtin_skeleton(name: str) -> dict[str, Any]:
    folder = files("amr_specs") / "skeletons"
    names = sorted(p.name[:-5] for p in folder.iterdir() if p.name.endswith(".yaml"))
    if name not in names:
        raise UsageError(unknown("skeleton", name, names))
    return _read_yaml(folder / f"{name}.yaml", name)


def _read_yaml(path: Traversable, shown: str) -> dict[str, Any]:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{shown} is not YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(data, dict):
        raise UsageError(f"{shown}: expected a mapping of fields, found {type(data).__name__}")
    return data


def _read_list(folder: Traversable, relative: str) -> list[str]:
    # joinpath by parts, so that '..' works for package resources too
    path = folder
    for part in relative.split("/"):
        path = Path(str(path)).parent if part == ".." else path / part
    return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
