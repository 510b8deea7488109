"""What makes two runs the same: the resolved settings that decide a result, under a schema's number.

Settings are compared after they were read by today's classes, so a key that a later release adds has its
default in an older record and refuses nothing. Name, description, device and where things lie decide nothing;
the seed is kept apart, so that seeds of the same settings are found together.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from amr_data import UsageError
from amr_train.config import AgreementConfig, AugmentConfig, Experiment, InputConfig

SCHEMA = 2
"""Rises where the same settings no longer mean the same training or evaluation."""
UNDECIDED: Any = {
    "name": True,
    "description": True,
    "device": True,
    "seed": True,
    "scale": True,
    "compile": True,
    "deterministic": True,
    "evaluation": True,
    "monitor": True,
    "data": {"path", "paths", "dataset", "resident", "exclude"},
    "pretrain": {"checkpoint_epochs", "checkpoint_minutes", "keep_checkpoints", "check_steps", "min_steps"},
}
"""Settings that decide nothing of a pre-training; `scale` is in the sizes that it sets, `min_steps` in the
epochs."""
ADDED: dict[str, dict[str, Any]] = {
    "data": {"splits": {}, "excluded": {}},
    "model": {"registers": 0, "time": "learnt", "joints": "index", "names": []},
    "pretrain": {"batches": "drawn", "mixing": 0.5, "optimizer": "adamw"},
    "evaluation": {"part": "test"},
    "agreement": AgreementConfig().model_dump(mode="json"),
    "input": InputConfig().model_dump(mode="json"),
    "augment": AugmentConfig().model_dump(mode="json", exclude=set(AugmentConfig().judged)),
}
"""Settings from after the first runs of this schema, as those runs had them: so they are no part of a
digest."""
SHOWN = 4


def training_settings(experiment: Experiment) -> dict[str, Any]:
    """Every setting that decides a pre-training, besides its seed and its data's content."""
    held_out = experiment.evaluation.part == "validation"  # a training without these clips
    part = {"evaluation": {"part": "validation" if held_out else "test"}}
    return {**experiment.model_dump(mode="json", exclude=UNDECIDED), **part}


def training_digest(experiment: Experiment) -> str:
    """Equal for equal `training_settings`, in whichever release."""
    settings = training_settings(experiment)
    for section in ADDED:
        settings[section] = without_added(section, settings[section])
        if not settings[section]:
            del settings[section]
    return digest_of(settings)


def without_added(section: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """A section's settings without those of `ADDED` that have the value of then."""
    added = ADDED.get(section, {})
    return {key: value for key, value in settings.items() if key not in added or added[key] != value}


def digest_of(content: Mapping[str, Any]) -> str:
    """Twelve hexadecimal digits of the SHA-256 of settings and schema."""
    text = json.dumps({"schema": SCHEMA, **content}, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def differences(
    ours: Mapping[str, Any], theirs: Mapping[str, Any], prefix: str = ""
) -> dict[str, tuple[Any, Any]]:
    """The dotted keys whose values differ, with our value and theirs; None where a side has no such key."""
    found: dict[str, tuple[Any, Any]] = {}
    for key in dict.fromkeys([*ours, *theirs]):
        a, b = ours.get(key), theirs.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found |= differences(a, b, f"{prefix}{key}.")
        elif a != b:
            found[prefix + key] = (a, b)
    return found


def in_words(found: Mapping[str, tuple[Any, Any]]) -> str:
    """Differences in one line: `pretrain.epochs 60 instead of 400`."""
    lines = [f"{key} {_shown(a)} instead of {_shown(b)}" for key, (a, b) in found.items()]
    more = f" and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
    return ", ".join(lines[:SHOWN]) + more


def record_of(experiment: Experiment) -> dict[str, Any]:
    """What a run's folder keeps of its settings."""
    digest = training_digest(experiment)
    return {"schema": SCHEMA, "digest": digest, "experiment": experiment.model_dump(mode="json")}


def recorded_experiment(record: Mapping[str, Any], where: object) -> Experiment:
    """The experiment that `record_of` wrote. `where` : the file, for the message. Raises: UsageError."""
    schema = record.get("schema", 1) if isinstance(record, Mapping) else None
    if schema != SCHEMA:
        raise UsageError(
            f"{where} was written by another release (schema {schema}, this one has {SCHEMA}); its settings "
            "do not mean the same here: choose another --out"
        )
    try:
        return Experiment.model_validate(record["experiment"])
    except (KeyError, ValidationError) as error:
        what = error.errors()[0]["loc"] if isinstance(error, ValidationError) else error.args
        raise UsageError(
            f"{where} cannot be read: {'.'.join(map(str, what))} is not as this release has it"
        ) from None


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list) and len(value) > SHOWN:
        return f"{value[:SHOWN]} and {len(value) - SHOWN:,} more"
    return "none" if value is None else str(value)
