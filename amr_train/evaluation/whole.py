"""What a result has to hold, so that a file which somebody changed, or another program wrote, ends no table
or report. More keys than these may be there, and what is optional here came with later releases."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

Whole = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Count = Annotated[int, Field(ge=0, lt=2**63)]
Number = Annotated[float, Field(ge=-1e300, le=1e300)]


def _shown(name: str) -> str:
    if not name.isprintable():
        raise ValueError("a name that cannot be shown")
    return name


Name = Annotated[str, Field(min_length=1), AfterValidator(_shown)]
Figures = Annotated[dict[Name, Number], Field(min_length=1)]
"""As a table can show them: finite numbers by name, one or more."""
_FIGURES: TypeAdapter[Figures] = TypeAdapter(Figures, config=ConfigDict(strict=True, allow_inf_nan=False))


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)


class _Seen(_Part):
    """A dataset that an encoder of several was trained on."""

    fingerprint: str
    split: str | None


class _Subject(_Part):
    digest: str
    model: dict[str, Any] | None = None
    input: dict[str, Any] = Field({})
    parameters: Count | None = None
    frames: Count | None = None
    seed: Whole = 0
    synthetic: bool | None = None


class _Beside(_Subject):
    kind: Literal["coordinates", "untrained"]


class _Encoder(_Subject):
    kind: Literal["encoder"]
    experiment: str
    training: str
    seed: Whole
    epoch: Number
    epochs: Number
    method: str | None = None
    dataset: str | None = None
    recipe: dict[str, Any] | None = None
    datasets: list[_Seen] | None = None


class _Fused(_Subject):
    kind: Literal["fused"]
    name: str
    seed: Whole
    of: list[_Encoder] = Field(min_length=1)


class _Data(_Part):
    dataset: str
    fingerprint: str
    recipe: dict[str, Any]
    synthetic: bool = False


class _Result(_Part):
    protocol: str
    subject: Annotated[_Beside | _Encoder | _Fused, Field(discriminator="kind")]
    data: _Data
    split: str
    part: Literal["test", "validation", "subjects"] = "test"
    clips: dict[str, Count]
    body_gflops: Number | None = None
    clip_gflops: Number | None = None
    seed: Whole
    precision: str
    settings: dict[str, Any]
    figures: Figures
    details: dict[str, Any]
    spoken: str
    made: str = ""

    @model_validator(mode="after")
    def _counted(self) -> _Result:
        if set(self.clips) != {"train", self.part}:
            raise ValueError(f"clips of {', '.join(self.clips)}")
        return self


def is_whole(record: object) -> bool:
    """Whether a result, as `read_json` gives it, has all that tables and later sittings need of it, in the
    types that they expect."""
    try:
        _Result.model_validate(record)
        return True
    except (ValidationError, ValueError, OverflowError, RecursionError):
        return False


def figures_in(found: object) -> dict[str, float] | None:
    """A protocol's figures as a result keeps them, numbers of arrays and tensors as floats; None where a
    result could not hold them."""
    try:
        return _FIGURES.validate_python(found)
    except ValidationError:
        return None
