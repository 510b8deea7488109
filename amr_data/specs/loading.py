"""Specs from YAML: the built-in ones of `data_specs/` (installed as `amr_specs`) and a user's own files.

Numbers and truth values are read as YAML 1.2 has them, so that `010` is ten and `no` is a word; a key that
occurs twice is refused, and so are aliases that make a small file large.
"""

from __future__ import annotations

import re
import sys
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from amr_data.errors import UsageError, unknown
from amr_data.specs.dataset import FOREIGN, DatasetSpec
from amr_data.specs.skeleton import Skeleton
from amr_data.specs.splits import NAMED

if sys.version_info >= (3, 11):
    from importlib.resources.abc import Traversable
else:
    from importlib.abc import Traversable

MOST_BYTES, MOST_NODES = 8 << 20, 1_000_000
ENDINGS = (".yaml", ".yml")


class _Loader(yaml.SafeLoader):
    def get_single_node(self) -> Any:
        node = super().get_single_node()
        if node is not None and _expanded(node, {}) > MOST_NODES:
            raise yaml.YAMLError("aliases make it grow without end")
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str | int | float | bool | None):
                raise yaml.YAMLError(f"line {key_node.start_mark.line + 1} has a key that is no plain value")
            if key in seen:
                raise yaml.YAMLError(f"line {key_node.start_mark.line + 1} gives '{key}' a second time")
            seen.add(key)
        return super().construct_mapping(node, deep)


def _expanded(node: Any, known: dict[int, int]) -> int:
    """Nodes of a tree with every alias written out; one that lies in itself is endless."""
    if id(node) not in known:
        known[id(node)] = MOST_NODES + 1  # until it is counted
        parts = [] if isinstance(node, yaml.ScalarNode) else node.value
        below = [part for pair in parts for part in (pair if isinstance(pair, tuple) else (pair,))]
        known[id(node)] = min(1 + sum(_expanded(part, known) for part in below), MOST_NODES + 1)
    return known[id(node)]


def _whole(loader: _Loader, node: Any) -> int:
    return int(loader.construct_scalar(node))


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]{1,18}", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+0123456789.",
    ),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z"), list(_first))
_Loader.add_constructor("tag:yaml.org,2002:int", _whole)


def spec_names() -> list[str]:
    """Names of the built-in datasets."""
    return sorted(
        p.name[:-5] for p in (files("amr_specs") / "datasets").iterdir() if p.name.endswith(".yaml")
    )


def skeleton_names() -> list[str]:
    """Names of the built-in skeletons."""
    return sorted(
        p.name[:-5] for p in (files("amr_specs") / "skeletons").iterdir() if p.name.endswith(".yaml")
    )


def load_spec(name_or_path: str | Path) -> DatasetSpec:
    """A built-in dataset by name, or a user's YAML file by path (anything that ends in .yaml or .yml).

    A user's file names a built-in skeleton or gives its own inline; name lists are read relative to the file.
    Raises: UsageError with the file and the offending field.
    """
    shown = str(name_or_path)
    if not shown.endswith(ENDINGS):
        return _builtin(shown)
    path = Path(shown)
    if not path.is_file():
        raise UsageError(f"no spec file {shown}")
    return _load(path, path.resolve().parent, shown)


@lru_cache(maxsize=64)
def _builtin(name: str) -> DatasetSpec:
    if name not in spec_names():
        raise UsageError(unknown("dataset", name, spec_names()) + ", or the path of a .yaml file of your own")
    folder = files("amr_specs") / "datasets"
    return _load(folder / f"{name}.yaml", folder, name)


def spec_text(name: str, folder: str = "datasets") -> str:
    """The YAML of a built-in dataset, or of one of the `skeletons`, as it stands, to begin one's own from.
    Raises UsageError."""
    if folder == "skeletons":
        _builtin_skeleton(name)
    else:
        _builtin(name)
    return (files("amr_specs") / folder / f"{name}.yaml").read_text(encoding="utf-8")


def _load(path: Traversable, folder: Traversable, shown: str) -> DatasetSpec:
    data = _read_yaml(path, shown)
    try:
        if isinstance(data.get("skeleton"), str):
            data["skeleton"] = _builtin_skeleton(data["skeleton"])
        if isinstance(data.get("unusable"), str):
            data["unusable"] = _read_list(folder, data["unusable"])
        protocols = data.get("protocols")
        for protocol in protocols.values() if isinstance(protocols, dict) else ():
            if isinstance(protocol, dict):
                _read_lists(folder, protocol)
        return DatasetSpec.model_validate(data)
    except ValidationError as error:
        raise UsageError(f"{shown}: {first_problem(error, 'spec')}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{shown}: {error}") from None


def first_problem(error: ValidationError, whole: str = "") -> str:
    """The first thing that a model refused, as `field: what is wrong with it`, in one line and never with the
    value itself; `whole` names the model."""
    first, *others = error.errors(include_url=False, include_input=False, include_context=False)
    # of a value that may be of several kinds, the kind that it nearly is
    if first["type"].endswith("_type"):
        beside = [one for one in others if one["loc"][:-1] == first["loc"][:-1]]
        first = next((one for one in beside if one["type"] == "value_error"), first)
    where = ".".join(map(str, first["loc"]))[:120] or whole
    what = first["msg"].removeprefix("Value error, ")
    return f"{where}: {what}" if where else what


def spec_from_json(data: dict[str, Any]) -> DatasetSpec:
    """A spec as it stands in a manifest, where everything is resolved."""
    return DatasetSpec.model_validate(data, context=FOREIGN)


def load_skeleton(name: str) -> Skeleton:
    """A built-in skeleton by name."""
    return Skeleton.model_validate(_builtin_skeleton(name))


def _builtin_skeleton(name: str) -> dict[str, Any]:
    if name not in skeleton_names():
        raise UsageError(unknown("skeleton", name, skeleton_names()))
    return _read_yaml(files("amr_specs") / "skeletons" / f"{name}.yaml", name)


def _read_yaml(path: Traversable, shown: str) -> dict[str, Any]:
    try:
        text = _read_text(path)
        data = yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where else ""
        what = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise UsageError(f"{shown} is not YAML{line}: {what}") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{shown}: {error}") from None
    if not isinstance(data, dict):
        raise UsageError(f"{shown}: expected a mapping of fields, found {type(data).__name__}")
    return data


def _read_text(path: Traversable) -> str:
    """A text file of bearable size, without the mark that some editors put at its beginning."""
    with path.open("rb") as file:
        data: bytes = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise ValueError(f"larger than {MOST_BYTES:,} bytes")
    return data.decode("utf-8-sig")


def _read_lists(folder: Traversable, protocol: dict[str, Any]) -> None:
    """Lists that are given as files, in place: a value a line."""
    numbers = protocol.get("by") not in NAMED

    def read(value: Any) -> Any:
        return _numbers(_read_list(folder, value), value) if numbers else _read_list(folder, value)

    for part in ("train", "test", "validation"):
        if isinstance(protocol.get(part), str):
            protocol[part] = read(protocol[part])
    if isinstance(protocol.get("folds"), list):
        protocol["folds"] = [read(v) if isinstance(v, str) else v for v in protocol["folds"]]


def _numbers(lines: list[str], shown: str) -> list[int]:
    for line in lines:
        if not re.fullmatch(r"[0-9]{1,10}", line):
            raise UsageError(f"{shown}: '{line[:40]}' is not a number; this split lists numbers")
    return [int(line) for line in lines]


def _read_list(folder: Traversable, relative: str) -> list[str]:
    try:
        text = _read_text(Path(str(folder), relative))  # which takes '..' in package resources, too
    except ValueError as error:
        raise UsageError(f"{relative}: {error}") from None
    return [line.strip() for line in text.splitlines() if line.strip()]
