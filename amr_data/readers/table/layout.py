"""How tables, arrays and JSON files hold skeletons: the `layout` of a spec of family `table`, as validated
data. docs/own-data.md explains every field with an example."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from amr_data.specs import Strict

Format = Literal["csv", "text", "npy", "npz", "mat", "bin", "json", "parquet"]
FORMATS: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "text",
    ".npy": "npy",
    ".npz": "npz",
    ".mat": "mat",
    ".bin": "bin",
    ".json": "json",
    ".parquet": "parquet",
}
"""Formats by the ending of a file."""
UNITS = {"m": 1.0, "cm": 0.01, "mm": 0.001, "pixel": 1.0, "fraction": 1.0}
MAX_BODIES = 64
LABEL_FIELDS = ("recording", "label", "start", "end", "subject")


def _column(value: Any) -> str | int:
    if isinstance(value, bool) or not isinstance(value, str | int) or (isinstance(value, int) and value < 0):
        raise ValueError(f"a column is a name, or a position counted from 0, not {value!r}")
    return value


def _columns(value: Any) -> str | list[str | int]:
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise ValueError(f"a pattern such as '{{joint}}_{{value}}', or a list of columns, not {value!r}")
    return [_column(v) for v in value]


def _names(value: Any) -> list[str | None] | dict[str, str]:
    """What the file calls things: names in its order, or our name to the file's."""
    if isinstance(value, list) and all(v is None or isinstance(v, str) for v in value):
        return value
    if isinstance(value, dict) and all(isinstance(v, str) for pair in value.items() for v in pair):
        return value
    raise ValueError("a list of names in the file's order, or a mapping from our names to the file's")


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Column = Annotated[str | int, BeforeValidator(_column)]
"""A column by its name, or by its position from 0 on; in JSON the path of a value."""
Names = Annotated[list[str | None] | dict[str, str], BeforeValidator(_names)]
LabelField = Literal["recording", "label", "start", "end", "subject"]
Axis = Literal["x", "y", "z"]


class Time(Strict):
    """A column of time stamps in place of frame numbers; the spec's frame rate turns them into frames."""

    column: Column
    unit: Literal["s", "ms", "us"] = "s"


class Labels(Strict):
    """Labels in files of their own.

    file : the name of one table, or a name with `{recording}` for a label file beside each recording.
    recording : how the file is called (without its ending) that the table calls R: `joints_{recording}`.
    columns : what stands where; with `start` and `end` a row is an interval, without them a whole file.
    rows, heading : for text that is no table, regular expressions with groups of the same names; what a
        heading says holds for the rows below it.
    unit : what start and end count: frames, or the time since the recording's first frame.
    first : the number of a recording's first row, where recordings have no frame column.
    end : whether the frame `end` still belongs to the interval.
    """

    file: str = Field(min_length=1)
    recording: str = "{recording}"
    columns: dict[LabelField, Column] = {}
    rows: str = ""
    heading: str = ""
    delimiter: str = Field(default="", max_length=1)
    skip: int = Field(default=0, ge=0)
    header: bool = False
    comment: str = ""
    unit: Literal["frames", "seconds", "milliseconds"] = "frames"
    first: Literal[0, 1] = 0
    end: Literal["inclusive", "exclusive"] = "inclusive"

    @property
    def names(self) -> set[str]:
        """What a row and its heading say."""
        if not self.rows:
            return set(self.columns)
        return set(re.compile(self.rows).groupindex) | set(re.compile(self.heading).groupindex)

    @property
    def beside(self) -> bool:
        """Whether every recording has a label file of its own."""
        return "{recording}" in self.file

    @property
    def intervals(self) -> bool:
        return "start" in self.names

    @model_validator(mode="after")
    def _check(self) -> Labels:
        if bool(self.rows) == bool(self.columns):
            raise ValueError("give either columns (of a table) or rows (a regular expression)")
        if self.heading and not self.rows:
            raise ValueError("heading goes with rows")
        for field, pattern in (("rows", self.rows), ("heading", self.heading)):
            check_groups(field, pattern, LABEL_FIELDS)
        if "label" not in self.names:
            raise ValueError("nothing says where the label stands")
        if ("start" in self.names) != ("end" in self.names):
            raise ValueError("start and end go together")
        if self.unit != "frames" and "start" not in self.names:
            raise ValueError(f"unit: {self.unit} is about start and end: say where they stand")
        if self.unit != "frames" and {"first", "end"} & self.model_fields_set:
            raise ValueError(f"first and end are about numbers of frames; times in {self.unit} need neither")
        if not self.beside and "recording" not in self.names:
            raise ValueError(
                "nothing says where the name of the recording stands; if each recording has a label file of "
                "its own, write its name with {recording}"
            )
        if self.recording.count("{recording}") != 1 or "/" in self.recording:
            raise ValueError("recording is a file's name without its ending, with {recording} in it")
        if self.file.count("{recording}") > 1:
            raise ValueError("file holds {recording} once")
        if any(isinstance(c, str) for c in self.columns.values()) and not self.header:
            raise ValueError("columns by name need header: true")
        return self


class Layout(Strict):
    """Everything about the files of one dataset; see docs/own-data.md for each field."""

    # which files
    format: Format | None = None
    files: str = ""
    frame_files: str = ""
    # where in a file
    key: str = ""
    dtype: Literal["float16", "float32", "float64", "int16", "int32"] = "float32"
    endian: Literal["little", "big"] = "little"
    delimiter: str = Field(default="", max_length=1)
    skip: int = Field(default=0, ge=0)
    header: bool = False
    comment: str = ""
    columns: Annotated[str | list[str | int], BeforeValidator(_columns)] = []
    shape: str = ""
    bodies: int | None = Field(default=None, ge=1, le=MAX_BODIES)
    # what the numbers are
    joints: Names = []
    derived: dict[str, list[str]] = {}
    values: Names = ["x", "y", "z"]
    axes: list[str] = []
    unit: Literal["m", "cm", "mm", "pixel", "fraction"] = "m"
    scale: dict[Axis, float] = {}
    offset: dict[Axis, float] = {}
    image: tuple[int, int] | None = None
    height: tuple[float, float] = (0.5, 2.5)
    absent: Annotated[list[Literal["zeros", "nan", "negative"]], BeforeValidator(_listed)] = []
    absent_below: dict[str, float] = {}
    inferred_below: dict[str, float] = {}
    min_joints: int = Field(default=1, ge=1)
    # what the rows say besides
    frame: Column | None = None
    frame_step: int = Field(default=1, ge=1, le=1000)
    time: Time | None = None
    repeated_frames: Literal["refuse", "first", "last"] = "refuse"
    body: Column | None = None
    joint: Column | None = None
    clip: Column | None = None
    label: Column | None = None
    subject: Column | None = None
    labels: Labels | None = None

    @property
    def of_images(self) -> bool:
        """Whether coordinates are those of an image, whose size turns them into image heights."""
        return self.unit in ("pixel", "fraction")

    @property
    def special(self) -> dict[str, Column]:
        """Columns that hold no coordinate, by what they hold."""
        named = {f: getattr(self, f) for f in ("frame", "body", "joint", "clip", "label", "subject")}
        if self.time is not None:
            named["time"] = self.time.column
        return {field: column for field, column in named.items() if column is not None}

    @property
    def is_grid(self) -> bool | None:
        """Whether the file is rows and columns; None where the format decides."""
        return True if self.columns or {"body", "joint", "clip"} & set(self.special) else None

    @property
    def endings(self) -> tuple[str, ...]:
        """Endings of the files that hold skeletons."""
        return tuple(ending for ending, kind in FORMATS.items() if self.format in (None, kind))

    @model_validator(mode="after")
    def _check(self) -> Layout:
        check_groups("frame_files", self.frame_files, ("clip", "frame"))
        if self.frame_files and "frame" not in re.compile(self.frame_files).groupindex:
            raise ValueError("frame_files needs the group 'frame', the frame's number in a file's name")
        if self.frame_files and (self.frame is not None or self.time is not None or self.clip is not None):
            raise ValueError(
                "with frame_files the file's name says frame and clip; drop frame, time and clip"
            )
        if self.frame_step > 1 and self.frame is None:
            raise ValueError("frame_step is about the numbers of a frame column: give frame too")
        if self.frame is not None and self.time is not None:
            raise ValueError("give frame or time, not both")
        if self.joint is not None and self.frame is None and self.time is None:
            raise ValueError("rows of single joints (joint) need a frame column")
        if self.labels is not None and (self.clip is not None or self.label is not None):
            raise ValueError("labels are in files of their own (labels) or in a column (label), not both")
        if self.format == "bin" and (self.special or self.columns):
            raise ValueError("a .bin file has no columns; its whole content is described by shape")
        if self.format == "bin" and not self.shape:
            raise ValueError("a .bin file needs a shape, such as 'T V C'")
        if self.image is not None and not self.of_images:
            raise ValueError("image: [width, height] goes with unit pixel and fraction, and only with these")
        if self.image is not None and min(self.image) < 1:
            raise ValueError("an image is at least one pixel wide and high")
        if not 0 <= self.height[0] < self.height[1]:
            raise ValueError("height is [least, most] in metres")
        if self.is_grid and self.shape and len(re.findall(r"\([^)]*\)|[A-Z]", self.shape)) != 2:
            raise ValueError("a table's shape has two parts, rows and columns, such as 'T (M V C)'")
        return self


def check_groups(field: str, pattern: str, known: tuple[str, ...]) -> None:
    """Raises ValueError for what is no regular expression, or has groups of other names."""
    try:
        groups = set(re.compile(pattern).groupindex)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"{field} is not a regular expression: {error}") from None
    if other := sorted(groups - set(known)):
        raise ValueError(f"{field} has the group '{other[0]}'; groups are {', '.join(known)}")
