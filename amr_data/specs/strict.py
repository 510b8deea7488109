"""What every part of a spec is: nothing unknown in it, and nothing changes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

from amr_data.errors import unknown

MOST_SHOWN = 120


class Strict(BaseModel):
    """A model that refuses a field that it does not have, with the name of the nearest one that it has."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _only_known(cls, data: Any) -> Any:
        for name in data if isinstance(data, Mapping) else ():
            if name not in cls.model_fields:
                shown = str(name)[:MOST_SHOWN].encode("utf-8", "backslashreplace").decode()
                raise ValueError(unknown("field", shown, cls.model_fields))
        return data
