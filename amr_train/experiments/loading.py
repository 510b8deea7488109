"""Experiments by name or by file: a data set's settings, a method's, and `key=value` overrides on top, and
where each setting came from.

`nw-ucla-mamp` is experiments/data/nw-ucla.yaml with experiments/methods/mamp.yaml over it, and over both what
the data set's file says of that method. In a file of one's own, `like: nw-ucla` and
`method: mamp` put a data set's and a method's settings under the file's. `scale=tiny` puts
experiments/scales/tiny.yaml over all but the overrides, with what that says of the method. Unknown keys are
refused by name, with the nearest valid key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from amr_data import UsageError
from amr_data.errors import unknown
from amr_data.extensions import extension_names
from amr_train.config import Experiment
from amr_train.experiments.settings import (
    Settings,
    explain,
    flat,
    over,
    parse_overrides,
    read_file,
    read_shipped,
    said,
    shipped_names,
)
from amr_train.models.registry import GROUP


@dataclass(frozen=True)
class Layer:
    """Settings that lie over those below them. `origin` : where they come from, in words."""

    origin: str
    settings: Settings


@dataclass(frozen=True)
class Resolved:
    """An experiment, and for each of its dotted keys where the value came from."""

    experiment: Experiment
    origins: dict[str, str]


def method_names() -> list[str]:
    """Names of the shipped methods and of the ablations' rows."""
    return shipped_names("experiments/methods")


def experiment_names() -> list[str]:
    """Names of the shipped experiments: the demo, and every data set with every method."""
    return sorted(["demo", *(f"{base}-{method}" for base in data_names() for method in method_names())])


def data_names() -> list[str]:
    """Names of the data sets' splits that experiments are shipped for."""
    return shipped_names("experiments/data")


def scale_names() -> list[str]:
    """Names of the shipped scales; `full` is none of them laid over."""
    return shipped_names("experiments/scales")


def load_experiment(
    name_or_path: str, overrides: Sequence[str] = (), last: Settings | None = None
) -> Experiment:
    """A shipped experiment by name or a YAML file by path, with overrides such as `pretrain.epochs=10`
    applied. `last` : settings over all of these, as they are: no text that YAML would read.

    Raises: UsageError for a name, key or value that does not exist or does not fit.
    """
    return resolve(name_or_path, overrides, last=last).experiment


def resolve(
    name_or_path: str,
    overrides: Sequence[str] = (),
    suite: Settings | None = None,
    grid: Settings | None = None,
    last: Settings | None = None,
) -> Resolved:
    """The same as `load_experiment`, and where each setting came from.

    suite : settings that lie over the file and under the scale.  grid : those of a suite's grid point, over
        the scale and under the overrides.  last : settings over all.
    """
    changes = over(grid or {}, parse_overrides(overrides))
    own = name_or_path.endswith((".yaml", ".yml"))
    layers = _own_file(name_or_path, changes) if own else _shipped(name_or_path, changes)
    if suite:
        layers.append(Layer("suite", suite))
    data: Settings = {}
    for layer in layers:
        data = _laid(data, layer.settings)
    above = [Layer("grid", grid or {}), Layer("override", parse_overrides(overrides))]
    above.append(Layer("override", last or {}))
    scale = changes.get("scale", data.get("scale", "full"))
    if scale != "full":
        above = [*_scale(scale, changes.get("method", data.get("method"))), *above]
    for layer in above:
        data = _laid(data, layer.settings)
    layers += above
    try:
        experiment = Experiment.model_validate(data)
    except ValidationError as error:
        raise UsageError(f"{name_or_path}: {explain(error)}") from None
    origins = dict.fromkeys(flat(experiment.model_dump(mode="json")), "default")
    for layer in layers:
        said = flat(layer.settings)
        if _says_how_long(layer.settings) and origins["pretrain.min_steps"] != "default":
            said["pretrain.min_steps"] = 0
        if gone := _otherwise_split(layer.settings):
            origins |= {key: "default" for key in origins if key == f"data.{gone}"}
        for key in said:
            for known in origins:
                if known == key or known.startswith(f"{key}."):
                    origins[known] = layer.origin
    return Resolved(experiment, origins)


def _laid(lower: Settings, upper: Settings) -> Settings:
    """A layer over those below it. Who says how many epochs has said how long, so no `min_steps` from below
    holds any more; and who says by which split, of one dataset or of each by its name, has said it in place
    of what is said otherwise below."""
    merged = over(lower, upper)
    if gone := _otherwise_split(upper):
        merged["data"] = {key: value for key, value in merged["data"].items() if key != gone}
    if _says_how_long(upper) and "min_steps" in merged["pretrain"]:
        merged["pretrain"]["min_steps"] = 0
    return merged


def _says_how_long(layer: Settings) -> bool:
    said = layer.get("pretrain")
    return isinstance(said, Mapping) and "epochs" in said and "min_steps" not in said


def _otherwise_split(layer: Settings) -> str:
    """Of `split` and `splits` the one that a layer does not say, where it says the other."""
    said = layer.get("data")
    split, splits = (said.get("split"), said.get("splits")) if isinstance(said, Mapping) else (None, None)
    return "" if bool(split) == bool(splits) else "splits" if split else "split"


def _shipped(name: str, changes: Settings) -> list[Layer]:
    if name not in experiment_names():
        known = unknown("experiment", name, experiment_names())
        raise UsageError(f"{known}; `amr-train list` shows all; or give the path of a .yaml file")
    base, method = name, "amr"
    for candidate in sorted(method_names(), key=len):  # the longest that fits: nw-ucla-amr-no-focal
        if name.endswith(f"-{candidate}"):
            base, method = name.removesuffix(f"-{candidate}"), candidate
    method = changes.get("method", method)
    data = read_shipped("experiments/demo.yaml") if base == "demo" else _data_set(base)
    named = {"method": method, "name": name if base == name else f"{base}-{method}"}
    origin = "demo" if base == "demo" else f"data {base}"
    return [*_under(origin, data, method), Layer("experiment's name", named)]


def _under(origin: str, data: Settings, method: object) -> list[Layer]:
    """A data set's settings, a method's over them, and over both what the data set's say of that method."""
    of_methods = data.pop("methods", {})
    return [
        Layer(origin, data),
        Layer(f"method {method}", _method(method)),
        Layer(f"{origin}, for {method}", of_methods.get(method, {})),
    ]


def _own_file(path: str, changes: Settings) -> list[Layer]:
    data = said(read_file(path))
    method = changes.get("method", data.get("method", "amr"))
    like = data.pop("like", None)
    if like is not None and like not in data_names():
        raise UsageError(f"{path}: like: {unknown('data set', str(like), data_names())}")
    base = {} if like is None else _data_set(like)
    own = {"name": Path(path).stem, **data, "method": method}
    return [*_under(f"data {like}", base, method), Layer("file", own)]


def _method(name: object) -> Settings:
    """A shipped method's settings; none of a method of somebody's own."""
    if name in method_names():
        return read_shipped(f"experiments/methods/{name}.yaml")
    if name in extension_names(GROUP) or ":" in str(name):
        return {}
    known = unknown("method", str(name), method_names())
    raise UsageError(f"{known}, or package.module:Class for one of your own")


def _data_set(name: str) -> Settings:
    data = read_shipped(f"experiments/data/{name}.yaml")
    like = data.pop("like", None)
    return over(_data_set(like), data) if like else data


def _scale(name: object, method: object) -> list[Layer]:
    """A scale's settings, and over them what it says of a method."""
    if name not in scale_names():
        raise UsageError(unknown("scale", str(name), ["full", *scale_names()]))
    data = read_shipped(f"experiments/scales/{name}.yaml")
    of_methods = data.pop("methods", {})
    return [
        Layer(f"scale {name}", data),
        Layer(f"scale {name}, for {method}", of_methods.get(method, {})),
    ]
