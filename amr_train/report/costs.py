"""What an encoder costs where it is used, for the tables: GFLOPs of one body and of a clip with the dataset's
bodies. Records from before these were kept are counted from the settings that they hold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

from pydantic import ValidationError

from amr_data import load_spec, spec_names
from amr_train.config import ModelConfig
from amr_train.evaluation.records import Record
from amr_train.models.flops import encoder_flops


def gflops_of(record: Record) -> float | None:
    """Of one body, of several encoders together; None where there is none or its sizes are not known."""
    kept = _number(record.get("body_gflops"))
    if kept is not None:
        return kept
    subject, joints = record["subject"], record.get("joints")
    if not isinstance(joints, int):
        return None
    encoders = subject["of"] if subject["kind"] == "fused" else [subject]
    each = [_counted(one.get("model"), joints) for one in encoders]
    known = [value for value in each if value is not None]
    return sum(known) if len(known) == len(each) else None


def bodies_of(records: Sequence[Record]) -> int | None:
    """The bodies of a clip of the dataset that all these records are of; None where no record says so and the
    dataset is none that is shipped."""
    for record in records:
        body, clip = (_number(record.get(key)) for key in ("body_gflops", "clip_gflops"))
        if body is not None and clip is not None and math.isfinite(clip / body):
            return round(clip / body)
    return _shipped_bodies(str(records[0]["data"]["dataset"]))


def _number(value: object) -> float | None:
    usable = isinstance(value, int | float) and math.isfinite(value) and value > 0
    return float(value) if usable else None  # type: ignore[arg-type]


def _counted(model: Any, joints: int) -> float | None:
    """GFLOPs of one body by the sizes that a record keeps; those of the decoder are not needed."""
    if not isinstance(model, dict):
        return None
    try:
        config = ModelConfig.model_validate({**model, "decoder": "decoupled", "target_ratio": 1})
        return encoder_flops(config, joints) / 1e9
    except (ValidationError, OverflowError):
        return None


@cache
def _shipped_bodies(name: str) -> int | None:
    return load_spec(name).max_bodies if name in spec_names() else None
