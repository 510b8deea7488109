"""One file's numbers as (rows, bodies, joints, values), and what its rows say besides: frame, body, clip,
label."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from amr_data.errors import RejectError
from amr_data.readers.table.arrays import EMPTY, read_arrays
from amr_data.readers.table.grids import (
    ArrayGrid,
    Grid,
    RecordGrid,
    TextGrid,
    plain_text,
    read_parquet,
)
from amr_data.readers.table.layout import FORMATS, Column, Format, Layout
from amr_data.readers.table.resolved import SKIPPED, Resolved
from amr_data.readers.table.shapes import arrange, parse_shape
from amr_data.readers.table.trees import follow, load_json, tree_values

NUMERIC = ("frame", "time")
RANGE = re.compile(r"([0-9]{1,5})-([0-9]{1,5})")


@dataclass
class Content:
    """values : (R, M, V, C) float64, joints and values in the file's order.
    extras : for each special column of the layout a value a row, or one for all: numbers for frame and time,
        text for the others.
    """

    values: npt.NDArray[np.float64]
    extras: dict[str, Any] = field(default_factory=dict)


def format_of(layout: Layout, filename: str) -> Format:
    """A file's format, by the layout or by its ending. Raises RejectError."""
    ending = "." + filename.rpartition(".")[2].lower()
    found = layout.format or FORMATS.get(ending)
    if found is None:
        ending = ending if "." in filename else "of no kind"
        raise RejectError("name", f"the ending {ending} says no format; give the layout a format")
    return found


def read_content(data: bytes, filename: str, resolved: Resolved) -> Content:
    """One file. Raises RejectError."""
    layout = resolved.layout
    kind = format_of(layout, filename)
    if not data:
        raise RejectError("empty", EMPTY)
    if kind == "json":
        return _json(load_json(data), resolved)
    if kind in ("csv", "text", "parquet"):
        return grid_content(_grid(kind, data, filename, layout), resolved)
    names = {f: c for f, c in layout.special.items() if isinstance(c, str)}
    if kind == "npy" and names:
        raise RejectError(
            "not_skeleton", f"an .npy is one array; the column '{next(iter(names.values()))}' is not in it"
        )
    columns = layout.is_grid or len(names) < len(layout.special)
    if columns:
        array = read_arrays(kind, data, [layout.key], layout)[layout.key]
        return grid_content(ArrayGrid(array), resolved)
    found = read_arrays(kind, data, [layout.key, *names.values()], layout)
    groups = resolved.shape or parse_shape("T V C")
    array = found[layout.key]
    if kind == "mat" and array.ndim < len(groups):
        array = array.reshape(
            array.shape + (1,) * (len(groups) - array.ndim)
        )  # MATLAB drops last axes of one
    if kind == "bin":
        groups = [[letter for group in groups for letter in group]]
    values = arrange(array, groups, resolved.sizes)
    extras = {f: _vector(f, found[c], len(values)) for f, c in names.items()}
    return Content(values, extras)


def _grid(kind: Format, data: bytes, filename: str, layout: Layout) -> Grid:
    if kind == "parquet":
        return read_parquet(data)
    delimiter = layout.delimiter
    if not delimiter and kind == "csv":
        delimiter = "\t" if filename.lower().endswith(".tsv") else ","
    return TextGrid(data, layout, delimiter)


def grid_content(grid: Grid, resolved: Resolved) -> Content:
    """Rows and columns as content. Raises RejectError."""
    layout = resolved.layout
    special = {field: grid.position(column) for field, column in layout.special.items()}
    numbers = grid.numbers(_coordinates(grid, resolved, set(special.values())))
    extras: dict[str, Any] = {
        f: grid.numbers([p])[:, 0] if f in NUMERIC else grid.texts(p) for f, p in special.items()
    }
    rows = len(numbers)
    if layout.joint is not None:
        return _unmelted(numbers, extras, resolved)
    sizes, groups = resolved.sizes, resolved.shape
    if groups is None:
        groups = [[], ["V", "C"]] if layout.frame_files else [["T"], ["V", "C"]]
        if layout.body is None and sizes["M"] != 1:
            groups[1].insert(0, "M")
    if not groups[0]:
        numbers, groups = numbers.reshape(-1), [groups[1]]
    try:
        values = arrange(numbers, groups, sizes)
    except RejectError as error:
        each = (
            f"{len(resolved.joints)} joints of {len(resolved.values)} values ({', '.join(resolved.values)})"
        )
        raise RejectError(
            error.reason, f"{error.detail} ({numbers.shape[-1]} columns of coordinates; {each})"
        ) from None
    step = rows // len(values) if len(values) else 1
    if step > 1:  # several rows make a frame: what they say must agree
        extras = {f: _agreed(f, column, step) for f, column in extras.items()}
    return Content(values, extras)


def _agreed(name: str, column: Any, step: int) -> Any:
    for row, value in enumerate(column):
        if value != column[row - row % step]:
            raise RejectError(
                "frame_count", f"row {row + 1} has another {name} than the first row of its frame"
            )
    return column[::step]


def _coordinates(grid: Grid, resolved: Resolved, special: set[int]) -> list[int]:
    """Where the coordinates stand: by pattern, by list, or all columns that say nothing else."""
    columns: str | list[Column] = resolved.layout.columns
    if isinstance(columns, str):
        return [
            grid.position(columns.replace("{joint}", joint).replace("{value}", value))
            for joint in resolved.joints
            for value in resolved.values
        ]
    if not columns:
        return [i for i in range(len(grid.names)) if i not in special]
    found: list[int] = []
    for column in columns:
        match = RANGE.fullmatch(column) if isinstance(column, str) and column not in grid.names else None
        if match:
            first, last = int(match[1]), int(match[2])
            found += [grid.position(i) for i in range(first, last + 1)]
        else:
            found.append(grid.position(column))
    return found


def _unmelted(numbers: npt.NDArray[np.float64], extras: dict[str, Any], resolved: Resolved) -> Content:
    """Rows of one joint each, gathered: those of one frame, body and clip are one row of all joints."""
    if numbers.shape[1] != len(resolved.values):
        raise RejectError(
            "joint_count",
            f"{numbers.shape[1]} columns of coordinates; values are {', '.join(resolved.values)}",
        )
    joints = {name: i for i, name in enumerate(resolved.joints) if name != SKIPPED}
    others = [f for f in extras if f != "joint"]
    rows: dict[tuple[Any, ...], int] = {}
    where = np.empty((len(numbers), 2), np.int64)
    keys = list(zip(*(extras[f] for f in others if f in ("frame", "time", "clip", "body")), strict=True))
    kept: list[int] = []
    for i, (key, name) in enumerate(zip(keys, extras["joint"], strict=True)):
        if key not in rows:
            rows[key] = len(rows)
            kept.append(i)
        where[i] = rows[key], joints.get(name, -1)
    there = where[:, 1] >= 0
    if not there.any():
        seen = ", ".join(dict.fromkeys(str(n)[:24] for n in extras["joint"][:8]))
        raise RejectError("joint_count", f"no row names a joint of the layout; rows name {seen}")
    flat = where[there, 0] * len(resolved.joints) + where[there, 1]
    if len(np.unique(flat)) < len(flat):
        raise RejectError("frame_count", "a joint stands twice in one frame of one body")
    values = np.full((len(rows) * len(resolved.joints), len(resolved.values)), np.nan)
    values[flat] = numbers[there]
    picked = {f: [extras[f][i] for i in kept] for f in others}
    return Content(values.reshape(len(rows), 1, len(resolved.joints), -1), picked)


def _json(content: Any, resolved: Resolved) -> Content:
    layout = resolved.layout
    node = follow(content, layout.key)
    if layout.is_grid:
        if not isinstance(node, list) or not all(isinstance(row, dict) for row in node) or not node:
            raise RejectError(
                "not_skeleton", "columns need a list of objects, a row each; give its path as key"
            )
        return grid_content(RecordGrid(node), resolved)
    default = "V C" if layout.frame_files else "T V C"
    values = tree_values(node, resolved, resolved.shape or parse_shape(default))
    extras = {}
    for name, path in layout.special.items():
        found = follow(content, str(path))
        extras[name] = _vector(name, found if isinstance(found, list) else [found], len(values))
    return Content(values, extras)


def _vector(name: str, found: Any, rows: int) -> Any:
    """A value a row, or one for all rows."""
    if name in NUMERIC:
        try:
            vector = np.asarray(found, np.float64).reshape(-1)
        except (ValueError, TypeError):
            raise RejectError("bad_number", f"{name} holds something that is no number") from None
        if len(vector) != rows:
            raise RejectError("frame_count", f"{name} has {len(vector)} values for {rows} frames")
        return vector
    items = found.reshape(-1).tolist() if isinstance(found, np.ndarray) else list(found)
    texts = [plain_text(item) for item in items]
    if len(texts) not in (1, rows):
        raise RejectError("frame_count", f"{name} has {len(texts)} values for {rows} frames")
    return texts * rows if len(texts) == 1 else texts
