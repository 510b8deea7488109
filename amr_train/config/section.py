"""What all parts of an experiment's settings have in common."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Batches = Literal["drawn", "even"]
Precision = Literal["auto", "float32", "tf32", "bfloat16"]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
