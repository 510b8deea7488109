"""Experiments by name or by file: a data set's settings, a method's, and `key=value` overrides on top.

`nw-ucla-mamp` is experiments/data/nw-ucla.yaml with experiments/methods/mamp.yaml over it. In a file of one's
own, `method: mamp` puts the method's settings under the file's. `scale=tiny` puts
experiments/scales/tiny.yaml over all but the overrides. Unknown keys are refused by name, with the nearest
valid key.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from amr_data.errors import UsageError
from amr_train.config import Experiment

Settings = dict[str, Any]


def method_names() -> list[str]:
    """Names of the methods and of the ablations' rows."""
    return shipped_names("experiments/methods")


def experiment_names() -> list[str]:
    """Names of the shipped experiments: the demo, and every data set with every method."""
    return sorted(["demo", *(f"{base}-{method}" for base in data_names() for method in method_names())])


def data_names() -> list[str]:
    """Names of the data sets' splits that experiments are shipped for."""
    return shipped_names("experiments/data")


def load_experiment(
    name_or_path: str, overrides: Sequence[str] = (), suite: Settings | None = None
) -> Experiment:
    """A shipped experiment by name or a YAML file by path, with overrides such as `pretrain.epochs=10`
    applied. `suite`: settings that lie between the file and the overrides.

    Raises: UsageError for a name, key or value that does not exist or does not fit.
    """
    changes: Settings = {}
    for override in overrides:
        _apply(changes, override)
    data = (
        _own_file(name_or_path, changes)
        if name_or_path.endswith((".yaml", ".yml"))
        else _shipped(name_or_path, changes)
    )
    data = _over(data, suite or {})
    if changes.get("scale", "full") != "full":
        data = _over(data, _scale(changes["scale"]))
    try:
        return Experiment.model_validate(_over(data, changes))
    except ValidationError as error:
        raise UsageError(f"{name_or_path}: {explain(error)}") from None


def load_section(section: str, overrides: Sequence[str]) -> Any:
    """One section of an experiment with its defaults and overrides such as `linear.lr=0.1`.

    Raises: UsageError.
    """
    changes: Settings = {}
    for override in overrides:
        _apply(changes, f"{section}.{override}")
    try:
        return getattr(Experiment.model_validate({"name": section, **changes}), section)
    except ValidationError as error:
        raise UsageError(explain(error)) from None


def valid_keys(model: type[BaseModel] = Experiment, prefix: str = "") -> list[str]:
    """Every key that an experiment may set, dotted."""
    keys: list[str] = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            keys += valid_keys(kind, f"{prefix}{name}.")
        else:
            keys.append(prefix + name)
    return keys


def _shipped(name: str, changes: Settings) -> Settings:
    if name not in experiment_names():
        near = difflib.get_close_matches(name, experiment_names(), n=1)
        hint = f"did you mean '{near[0]}'? " if near else ""
        raise UsageError(
            f"there is no experiment '{name}': {hint}`amr-train list` shows all; or give the path of a "
            f".yaml file"
        )
    base, method = name, "amr"
    for candidate in sorted(method_names(), key=len):  # the longest that fits: nw-ucla-amr-no-focal
        if name.endswith(f"-{candidate}"):
            base, method = name.removesuffix(f"-{candidate}"), candidate
    method = changes.get("method", method)
    data = _over(
        read_shipped("experiments/demo.yaml") if base == "demo" else _data_set(base), _method(method)
    )
    return {**data, "method": method, "name": name if base == name else f"{base}-{method}"}


def _own_file(path: str, changes: Settings) -> Settings:
    file = Path(path)
    if not file.is_file():
        raise UsageError(f"no experiment file {path}")
    data = _yaml(file.read_text(encoding="utf-8"), path)
    if not isinstance(data, dict):
        raise UsageError(f"{path}: expected a mapping of settings, found {type(data).__name__}")
    method = changes.get("method", data.get("method", "amr"))
    return {"name": file.stem, **_over(_method(method), data), "method": method}


def _method(name: object) -> Settings:
    if name not in method_names():
        near = difflib.get_close_matches(str(name), method_names(), n=1)
        raise UsageError(
            f"there is no method '{name}'"
            + (f": did you mean '{near[0]}'?" if near else f"; methods: {', '.join(method_names())}")
        )
    return read_shipped(f"experiments/methods/{name}.yaml")


def _data_set(name: str) -> Settings:
    data = read_shipped(f"experiments/data/{name}.yaml")
    like = data.pop("like", None)
    return _over(_data_set(like), data) if like else data


def _scale(name: object) -> Settings:
    names = shipped_names("experiments/scales")
    if name not in names:
        raise UsageError(f"there is no scale '{name}'; scales: full, {', '.join(names)}")
    return read_shipped(f"experiments/scales/{name}.yaml")


def _over(lower: Settings, upper: Settings) -> Settings:
    """`upper` laid over `lower`, section by section."""
    merged = dict(lower)
    for key, value in upper.items():
        below = merged.get(key)
        merged[key] = _over(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def shipped_names(folder: str) -> list[str]:
    """Names of the YAML files in a folder of this package."""
    return sorted(p.name[:-5] for p in (files("amr_train") / folder).iterdir() if p.name.endswith(".yaml"))


def read_shipped(path: str) -> Settings:
    """A YAML file of this package, by its path in it."""
    content = _yaml((files("amr_train") / path).read_text(encoding="utf-8"), path)
    assert isinstance(content, dict)
    return content


def _apply(data: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    key = key.strip()
    if not equals or not key:
        raise UsageError(f"override '{override}' does not read key=value, for example pretrain.epochs=10")
    if key not in valid_keys():
        raise UsageError(_unknown_key(key))
    *sections, last = key.split(".")
    for section in sections:
        inner = data.setdefault(section, {})
        if not isinstance(inner, dict):
            raise UsageError(f"'{section}' holds {inner!r}, not settings of its own")
        data = inner
    data[last] = _yaml(text, override)


def _yaml(text: str, where: str) -> Any:
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"{where} is not YAML: {str(error).splitlines()[0]}") from None
    if isinstance(value, str):
        try:  # YAML 1.1 reads 1e-3 as text
            return float(value)
        except ValueError:
            return value
    return value


def _unknown_key(key: str) -> str:
    keys = valid_keys()
    last = key.rsplit(".", 1)[-1]
    ends = {k.rsplit(".", 1)[-1]: k for k in keys}
    near = difflib.get_close_matches(key, keys, n=1, cutoff=0.7)
    near = near or [ends[e] for e in difflib.get_close_matches(last, list(ends), n=1)]
    return f"there is no setting '{key}'" + (
        f": did you mean '{near[0]}'?" if near else f"; settings: {', '.join(keys)}"
    )


def explain(error: ValidationError) -> str:
    """The first thing that a validation found, in one line."""
    first = error.errors()[0]
    key = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        return _unknown_key(key)
    shown = f", found {first['input']!r}" if not isinstance(first["input"], dict) else ""
    return f"{key + ': ' if key else ''}{first['msg'].removeprefix('Value error, ')}{shown}"
