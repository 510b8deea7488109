"""The JSON files of a dataset folder as they are believed: bounded in size before they are parsed, checked
field by field. Fields that no code reads may be missing or more, so that datasets of other releases open
too."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import from_json

from amr_data.errors import AmrError, Record
from amr_data.shards.layout import (
    FORMAT_VERSION,
    MANIFEST,
    MAX_JSON_BYTES,
    MAX_LINE_BYTES,
    REJECTS,
    WITH_RECORDINGS,
    shard_name,
)
from amr_data.specs import DatasetSpec, first_problem, spec_from_json

Count = Annotated[int, Field(ge=0, le=2**53)]
Number = Annotated[float, Field(allow_inf_nan=False)]
LabelKey = Annotated[str, Field(pattern=r"^(-1|[0-9]{1,9})$")]
Counts = dict[LabelKey, Count]
Text = Annotated[str, Field(max_length=4096)]


class DamageError(AmrError):
    """A file of a dataset that cannot be believed. `file` : its name.  `kind` : what is wrong in a word.
    `detail` : what was found."""

    def __init__(self, path: Path, kind: str, detail: str) -> None:
        if path.name.startswith("shard-"):
            remedy = f"rebuild it with `amr-data verify {path.parent} --repair SOURCE`"
        else:
            remedy = "rebuild it with `amr-data verify --repair`, or convert again with --overwrite"
        super().__init__(f"{path}: {detail}; {remedy}")
        self.path, self.file, self.kind, self.detail = path, path.name, kind, detail

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path, self.kind, self.detail)


class _Believed(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class RejectLine(_Believed):
    source: str
    reason: str
    detail: str


class Note(BaseModel):
    """What a shard notes of a clip beside the tables."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)
    source: str
    start: Annotated[int, Field(ge=-(2**53), le=2**53)]
    dropped: list[str]
    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0


class KeptCounts(_Believed):
    """What is counted where recordings are kept. rows : body frames of all recordings, each counted once.
    frames : of the recordings, whoever is in them."""

    recordings: Count
    rows: Count
    frames: Count
    intervals: Count


class ShardRecord(_Believed):
    """What a shard says of itself; `sources` : the XXH3 of each unit's bytes, in the order of the
    plan, "" for one that could not be read (shards of earlier releases have none).  kept : where it keeps
    recordings; all else counts clips."""

    clips: Count
    frames: Count
    clip_frames: Count
    bodies: Count
    class_counts: Counts
    body_counts: Counts
    length_histogram: Counts
    position_sum: list[Number]
    position_square_sum: list[Number]
    energy_sum: list[Number]
    rejects: list[RejectLine]
    checksum: Text
    sources: list[Text] = []
    kept: KeptCounts | None = None

    def stored(self) -> dict[str, Any]:
        """As the shard holds it."""
        return self.model_dump(exclude={"kept"} if self.kept is None else set())


class ShardEntry(_Believed):
    file: Text
    clips: Count
    frames: Count
    checksum: Text
    sha256: Text
    sources: Text = ""
    kept: KeptCounts | None = None


class SourceEntry(_Believed):
    paths: list[Text]
    files: Count
    bytes: Count
    fingerprint: Text
    synthetic: bool = False


class RecipeEntry(_Believed):
    name: Text
    rotate: bool = False
    scale: bool = False


class Totals(_Believed):
    sources: Count
    clips: Count
    frames: Count
    clip_frames: Count
    bodies: Count
    rejects: Count


class Statistics(_Believed):
    position_mean: list[Number]
    position_std: list[Number]
    energy_mean: list[Number]
    length_bin: Annotated[int, Field(ge=1, le=2**20)]
    length_histogram: Counts


class Manifest(_Believed):
    spec: dict[str, Any]
    recipe: RecipeEntry
    windows: Annotated[list[Annotated[int, Field(ge=1, le=2**20)]], Field(min_length=1, max_length=64)]
    source: SourceEntry
    totals: Totals
    statistics: Statistics
    class_counts: Counts
    body_counts: Counts
    protocol_counts: dict[Text, dict[Text, Count]]
    recordings: KeptCounts | None = None
    shards: list[ShardEntry]
    rejects_by_reason: dict[Text, Count]


class PlanRecord(_Believed):
    """plan.json. `names` : what the sources were called when they were first read (earlier releases did not
    say)."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True)
    fingerprint: Text
    stamps: Text
    spec: dict[str, Any]
    recipe: dict[Text, Any]
    compression: Text
    options: dict[Text, Any] = {}
    synthetic: bool = False
    names: list[Text] | None = None
    keep: Text | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_earlier_releases(cls, data: Any) -> Any:
        """They kept PKU-MMD's option with the recipe, of every dataset."""
        recipe = data.get("recipe") if isinstance(data, dict) else None
        if not isinstance(recipe, dict) or "frame_base" not in recipe:
            return data
        base = recipe["frame_base"]
        recipe = {key: value for key, value in recipe.items() if key != "frame_base"}
        return {**data, "recipe": recipe, "options": {"frame_base": base} if base else {}}


M = TypeVar("M", bound=BaseModel)


def read_manifest(folder: Path) -> tuple[dict[str, Any], DatasetSpec]:
    """The manifest of a dataset folder and its spec. Raises: DamageError, FileNotFoundError."""
    path = folder / MANIFEST
    data = read_object(path)
    version = data.get("format_version")
    known = FORMAT_VERSION, WITH_RECORDINGS
    if version not in known:
        found = version if isinstance(version, int) else "none"
        reads = " and ".join(map(str, known))
        raise DamageError(path, "version", f"format version {found}, this release reads {reads}")
    manifest = believed(path, Manifest, data)
    if (manifest.recordings is not None) != (version == WITH_RECORDINGS):
        says = "says" if manifest.recordings else "does not say"
        raise DamageError(
            path, "version", f"format version {version}, but it {says} which recordings it keeps"
        )
    try:
        spec = spec_from_json(manifest.spec)
    except ValidationError as error:
        raise DamageError(path, "unreadable", f"spec: {first_problem(error)}") from None
    if not math.isfinite(spec.frame_rate):
        raise DamageError(path, "unreadable", "spec: frame_rate is not a finite number")
    if [s.file for s in manifest.shards] != [shard_name(i) for i in range(len(manifest.shards))]:
        raise DamageError(path, "structure", "the list of shards has a gap, or a name that no shard has")
    return data, spec


def read_rejects(folder: Path) -> list[Record]:
    """All rejects of a dataset. Raises: DamageError."""
    path = folder / REJECTS
    rejects: list[Record] = []
    try:
        check_place(path)
        with open(path, "rb") as file:
            while line := file.readline(MAX_LINE_BYTES):
                rejects.append(Record.from_stored(RejectLine.model_validate_json(line).model_dump()))
    except FileNotFoundError:
        return []
    except ValidationError as error:
        raise DamageError(path, "unreadable", f"line {len(rejects) + 1}: {first_problem(error)}") from None
    except OSError as error:
        raise DamageError(path, "unreadable", error.strerror or str(error)) from None
    return rejects


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object. Raises: DamageError, FileNotFoundError."""
    try:
        data = from_json(read_bounded(path), allow_inf_nan=False)
    except (ValueError, RecursionError, MemoryError) as error:
        raise DamageError(path, "unreadable", f"it is no JSON: {str(error)[:120]}") from None
    if not isinstance(data, dict):
        raise DamageError(path, "unreadable", "it is no JSON object")
    return data


def believed(path: Path, model: type[M], data: Any) -> M:
    """Parsed JSON as a model. Raises: DamageError with the first field that is wrong."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise DamageError(path, "unreadable", first_problem(error)) from None


def read_bounded(path: Path) -> bytes:
    """A small file of the folder, whole. Raises: DamageError, FileNotFoundError."""
    try:
        check_place(path)
        with open(path, "rb") as file:
            data = file.read(MAX_JSON_BYTES + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DamageError(path, "unreadable", error.strerror or str(error)) from None
    if len(data) > MAX_JSON_BYTES:
        raise DamageError(path, "too_large", f"more than {MAX_JSON_BYTES >> 20} MiB")
    return data


def check_place(path: Path) -> None:
    """Refuse what is no regular file, and a link that leads out of the folder. Raises: DamageError,
    OSError."""
    if path.is_symlink() and path.resolve(strict=True).parent != path.parent.resolve():
        raise DamageError(path, "link", "it is a link that leads out of the dataset's folder")
    path.stat()
    if not path.is_file():
        raise DamageError(path, "unreadable", "it is no regular file")
