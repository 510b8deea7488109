"""What the tests of the families share: a folder read to its end, and what its rejects say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from amr_data.clip import Clip
from amr_data.errors import Reject
from amr_data.readers import RawSource, load_family
from amr_data.specs import DatasetSpec


def read(path: Path, spec: DatasetSpec, **options: Any) -> list[Clip | Reject]:
    source, family = RawSource([path]), load_family(spec.raw)
    given = family.options(**options)
    found = family.discover(source, spec, given)
    return [*found.rejects, *family.read(source, found.units, spec, given)]


def rejects(items: list[Clip | Reject]) -> list[tuple[str, str, str]]:
    return [(i.where, i.kind, i.detail) for i in items if isinstance(i, Reject)]


def joints(at: float, count: int = 25) -> np.ndarray:
    return at + np.arange(count * 3).reshape(count, 3) / 8
