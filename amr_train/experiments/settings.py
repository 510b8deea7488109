"""Settings as mappings: read from YAML files and from `key=value` words, laid over each other, and refused
by name, with the nearest valid key, where there is no such setting."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from amr_data import UsageError
from amr_data.errors import nearest, unknown
from amr_train.config import Experiment

Settings = dict[str, Any]
RENAMED = {
    "data.protocol": "data.split",
    "evaluation.semi.seeds": "evaluation.semi.draws",
    "evaluation.knn.neighbours": "evaluation.knn_neighbours",
}


def parse_overrides(overrides: Sequence[str], prefix: str = "") -> Settings:
    """`key=value` words as settings. Raises: UsageError."""
    changes: Settings = {}
    for override in overrides:
        _apply(changes, prefix + override)
    return changes


def over(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> Settings:
    """`upper` laid over `lower`, section by section."""
    merged = dict(lower)
    for key, value in upper.items():
        below = merged.get(key)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        merged[key] = over(below, value) if both else value  # type: ignore[arg-type]
    return merged


def said(settings: Mapping[str, Any], prefix: str = "") -> Settings:
    """The settings without sections in which nothing is: these say nothing."""
    found: Settings = {}
    for key, value in settings.items():
        if _within(f"{prefix}{key}"):
            value = said(value, f"{prefix}{key}.") if isinstance(value, Mapping) else value
            if value is None or value == {}:
                continue
        found[key] = value
    return found


def flat(settings: Mapping[str, Any], prefix: str = "") -> Settings:
    """Settings by their dotted keys."""
    found: Settings = {}
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value  # a key of YAML may be a number
    return found


def nested(key: str, value: Any) -> Settings:
    """One setting by its dotted key, as sections. Raises: UsageError for a key that does not exist."""
    _check_key(key)
    for part in reversed(key.split(".")):
        value = {part: value}
    return dict(value)


def valid_keys() -> list[str]:
    """Every key that an experiment may set, dotted."""
    return list(_kinds())


def shipped_names(folder: str) -> list[str]:
    """Names of the YAML files in a folder of this package."""
    return sorted(p.name[:-5] for p in (files("amr_train") / folder).iterdir() if p.name.endswith(".yaml"))


def read_shipped(path: str) -> Settings:
    """A YAML file of this package, by its path in it."""
    return deepcopy(_read_shipped(path))


@cache
def _read_shipped(path: str) -> Settings:
    """Read once: a suite asks for the same few files hundreds of times."""
    content = _yaml((files("amr_train") / path).read_text(encoding="utf-8"), path)
    assert isinstance(content, dict)
    return content


def read_file(path: str | Path) -> Settings:
    """A YAML file of settings. Raises: UsageError."""
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UsageError(f"no experiment file {path}; `amr-train list` shows what is shipped") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {type(error).__name__}") from None
    data = _yaml(text, str(path))
    if not isinstance(data, dict):
        raise UsageError(f"{path}: expected a mapping of settings, found {type(data).__name__}")
    return data


def _apply(data: Settings, override: str) -> None:
    key, equals, text = override.partition("=")
    key = key.strip()
    if not equals or not key:
        raise UsageError(f"override '{override}' does not read key=value, for example pretrain.epochs=10")
    _check_key(key)
    *sections, last = key.split(".")
    for section in sections:
        inner = data.setdefault(section, {})
        if not isinstance(inner, dict):
            raise UsageError(f"'{section}' holds {inner!r}, not settings of its own")
        data = inner
    data[last] = _yaml(text, override)


def _check_key(key: str) -> None:
    if key not in _kinds() and not _is_free(key):
        raise UsageError(_unknown_key(key))


def _within(section: str) -> list[str]:
    return [known for known in _kinds() if known.startswith(f"{section}.")]


def _sections() -> list[str]:
    """Every section, dotted, also those in others."""
    return sorted({key[:at] for key in _kinds() for at, sign in enumerate(key) if sign == "."})


def _is_free(key: str) -> bool:
    """Whether a key lies in one that holds whatever a method or a protocol of one's own understands."""
    free = (known for known, kind in _kinds().items() if get_origin(kind) is dict)
    return any(key.startswith(f"{known}.") for known in free)


@cache
def _kinds() -> dict[str, Any]:
    """The type of every setting by its dotted key, walked through once."""
    return dict(_fields(Experiment))


def _fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every key of a section and of those in it, dotted, with its type."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _fields(kind, f"{prefix}{name}.")
        else:
            yield prefix + name, kind


def _yaml(text: str, where: str) -> Any:
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"{where} is not YAML: {str(error).splitlines()[0]}") from None
    if isinstance(value, str) and not text.lstrip().startswith(("'", '"')):  # what is quoted is meant as text
        try:  # YAML 1.1 reads 1e-3 as text
            return float(value)
        except ValueError:
            return value
    return value


def _unknown_key(key: str) -> str:
    if key in RENAMED:
        return f"there is no setting '{key}': it is now '{RENAMED[key]}'"
    if inside := _within(key):
        return (
            f"'{key}' is a section and no setting: name one of those in it, such as {', '.join(inside[:3])}"
        )
    if key in _kinds() or _is_free(key):
        *sections, last = key.split(".")
        closing = "}" * len(sections)
        shown = "".join(f"{section}: {{" for section in sections)
        return f"'{key}' has to be written by sections here: {shown}{last}: ...{closing}"
    keys, sections = valid_keys(), _sections()
    if (near := nearest(key, [*keys, *sections], cutoff=0.7)) in sections:
        return f"there is no setting '{key}': did you mean the section '{near}'?"
    last = key.rsplit(".", 1)[-1]
    ends = {k.rsplit(".", 1)[-1]: k for k in keys}
    near = near or ends.get(nearest(last, list(ends)) or "")
    return unknown("setting", key, keys, near=near)


def explain(error: ValidationError) -> str:
    """The first thing that a validation found, in one line."""
    first = error.errors()[0]
    key = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden" or (first["type"] == "model_type" and _within(key)):
        return _unknown_key(key)
    shown = f", found {first['input']!r}" if not isinstance(first["input"], dict) else ""
    return f"{key + ': ' if key else ''}{first['msg'].removeprefix('Value error, ')}{shown}"
