"""What runs of a suite and their folders are called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def point_name(values: Mapping[str, Any]) -> str:
    """A grid point's values as a part of a file's name: `target_ratio=2-lr=0.001`. A key is short where its
    last word tells it from the others."""
    lasts = [key.rsplit(".", 1)[-1] for key in values]
    keys = [last if lasts.count(last) == 1 else key for key, last in zip(values, lasts, strict=True)]
    return safe_name(
        "-".join(f"{key}={_spelt(value)}" for key, value in zip(keys, values.values(), strict=True))
    )


def safe_name(text: str) -> str:
    """A name that is one file's on any system."""
    return "".join(c if c.isalnum() or c in "-_.=+" else "_" for c in text)


def is_split(key: str) -> bool:
    """Whether a setting says by which split a dataset is parted: runs that differ in it alone are one
    experiment, its folds."""
    return key == "data.split" or key.startswith("data.splits.")


def _spelt(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "+".join(map(_spelt, value))
    if isinstance(value, str):
        try:  # YAML 1.1 reads 1e-3 as text
            return _spelt(float(value))
        except ValueError:
            return value
    return str(value).lower() if isinstance(value, bool) else str(value)
