"""An experiment as a validated configuration: a YAML file, shipped or the user's, with `key=value` overrides. Unknown keys are refused by
name, with the nearest valid key."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from amr_data.errors import UsageError


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataConfig(Section):
    """Which converted dataset, and which of its protocols. `dataset` is the name the experiment is meant for; None takes any."""

    path: str | None = None
    dataset: str | None = None
    protocol: str = "xsub"


class ModelConfig(Section):
    """The network. `frames` T, `segment` l frames of one joint per encoder token, `target_ratio` r: a target patch spans r * l frames."""

    frames: int = Field(120, ge=4)
    segment: int = Field(4, ge=1)
    width: int = Field(256, ge=8)
    heads: int = Field(8, ge=1)
    mlp_ratio: float = Field(4.0, gt=0)
    encoder_layers: int = Field(8, ge=1)
    decoder_layers: int = Field(5, ge=1)
    target_ratio: int = Field(6, ge=1)
    mask_ratio: float = Field(0.9, gt=0, lt=1)

    @model_validator(mode="after")
    def _check(self) -> ModelConfig:
        if self.frames % self.segment:
            raise ValueError(f"frames ({self.frames}) must be a multiple of segment ({self.segment})")
        if (self.frames // self.segment) % self.target_ratio:
            raise ValueError(f"target_ratio ({self.target_ratio}) must divide frames / segment ({self.frames // self.segment})")
        if self.width % self.heads:
            raise ValueError(f"width ({self.width}) must be a multiple of heads ({self.heads})")
        return self


class TargetConfig(Section):
    """What is reconstructed: coordinates or frame differences; normalised not at all, per patch, or per axis over the clip's frames."""

    kind: Literal["joints", "motion"] = "motion"
    normalize: Literal["none", "patch", "clip"] = "patch"


class GuidanceConfig(Section):
    """Focal reconstruction. `source`: energies of the augmented input (online, as the paper does), or read from the shard."""

    focal: bool = True
    k: float = Field(0.01, gt=0)
    windows: list[int] = Field([4, 8, 12], min_length=1)
    source: Literal["online", "shard"] = "online"


class AugmentConfig(Section):
    """Pre-training views: share of the clip that a crop keeps at least, frames it keeps at least, rotation about each axis in radians."""

    min_crop: float = Field(0.5, gt=0, le=1)
    min_frames: int = Field(64, ge=1)
    rotation: float = Field(0.3, ge=0)


class PretrainConfig(Section):
    """AdamW with linear warm-up and a cosine to `min_lr`; a checkpoint at an epoch's end, every so many epochs or minutes."""

    epochs: int = Field(400, ge=1)
    warmup_epochs: int = Field(20, ge=0)
    batch_size: int = Field(128, ge=1)
    lr: float = Field(1e-3, gt=0)
    min_lr: float = Field(5e-4, ge=0)
    weight_decay: float = Field(0.05, ge=0)
    betas: tuple[float, float] = (0.9, 0.95)
    checkpoint_epochs: int = Field(20, ge=1)
    checkpoint_minutes: float = Field(10, gt=0)
    keep_checkpoints: int = Field(2, ge=1)


class LinearConfig(Section):
    """The linear probe. `batch_norm` puts a BatchNorm without affine parameters before the layer, as MAMP's probe does."""

    epochs: int = Field(100, ge=1)
    batch_size: int = Field(256, ge=1)
    lr: float = Field(0.01, gt=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(0.0, ge=0)
    batch_norm: bool = True


class EvaluationConfig(Section):
    """Frozen-encoder evaluation on features of a centre crop."""

    crop: float = Field(0.95, gt=0, le=1)
    batch_size: int = Field(64, ge=1)
    linear: LinearConfig = LinearConfig()
    knn_neighbours: int = Field(1, ge=1)


class Experiment(Section):
    """Everything that decides a run, besides the machine."""

    name: str
    description: str = ""
    seed: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["float32", "bfloat16"] = "float32"
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    target: TargetConfig = TargetConfig()
    guidance: GuidanceConfig = GuidanceConfig()
    augment: AugmentConfig = AugmentConfig()
    pretrain: PretrainConfig = PretrainConfig()
    evaluation: EvaluationConfig = EvaluationConfig()

    @model_validator(mode="after")
    def _check(self) -> Experiment:
        for length in self.guidance.windows:
            if length < 2 or self.model.frames % length:
                raise ValueError(
                    f"guidance.windows: {length} does not divide model.frames ({self.model.frames}) into windows of 2 or more"
                )
        if self.pretrain.warmup_epochs >= self.pretrain.epochs:
            raise ValueError(
                f"pretrain.warmup_epochs ({self.pretrain.warmup_epochs}) must be below pretrain.epochs ({self.pretrain.epochs})"
            )
        return self


def experiment_names() -> list[str]:
    """Names of the shipped experiments."""
    folder = files("amr_train") / "experiments"
    return sorted(p.name[:-5] for p in folder.iterdir() if p.name.endswith(".yaml"))


def load_experiment(name_or_path: str, overrides: Sequence[str] = ()) -> Experiment:
    """A shipped experiment by name or a YAML file by path, with overrides such as `pretrain.epochs=10` applied.

    Raises: UsageError for a name, key or value that does not exist or does not fit.
    """
    if name_or_path.endswith((".yaml", ".yml")):
        path = Path(name_or_path)
        if not path.is_file():
            raise UsageError(f"no experiment file {name_or_path}")
        text = path.read_text(encoding="utf-8")
    else:
        if name_or_path not in experiment_names():
            near = difflib.get_close_matches(name_or_path, experiment_names(), n=1)
            hint = f"did you mean '{near[0]}'? " if near else ""
            raise UsageError(
                f"there is no experiment '{name_or_path}': {hint}shipped: {', '.join(experiment_names())}; or give the path of a .yaml file"
            )
        text = (files("amr_train") / "experiments" / f"{name_or_path}.yaml").read_text(encoding="utf-8")
    data = _yaml(text, name_or_path)
    if not isinstance(data, dict):
        raise UsageError(f"{name_or_path}: expected a mapping of settings, found {type(data).__name__}")
    data.setdefault("name", Path(name_or_path).stem)
    for override in overrides:
        _apply(data, override)
    try:
        return Experiment.model_validate(data)
    except ValidationError as error:
        raise UsageError(f"{name_or_path}: {_explain(error)}") from None


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
    return f"there is no setting '{key}'" + (f": did you mean '{near[0]}'?" if near else f"; settings: {', '.join(keys)}")


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    key = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        return _unknown_key(key)
    shown = f", found {first['input']!r}" if not isinstance(first["input"], dict) else ""
    return f"{key + ': ' if key else ''}{first['msg'].removeprefix('Value error, ')}{shown}"
