"""Rows and columns: CSV, text with any white space, Parquet, a plain two-dimensional array, and JSON lists of
flat objects, behind one interface that hands out columns by name or position."""

from __future__ import annotations

import csv as python_csv
import io
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

from amr_data.errors import RejectError
from amr_data.readers.sources import bomb
from amr_data.readers.table.layout import Column, Layout
from amr_data.readers.table.shapes import MAX_VALUES

MAX_COLUMNS = 20_000
MAX_ROWS = 8_000_000
FLOAT = re.compile(r"[0-9]{1,10}\.0*|[0-9](\.[0-9]+)?[eE]\+?[0-9]{1,2}")
MISSING = ["", "nan", "NaN", "NAN", "NA", "na", "null", "NULL", "None", "none"]
"""What stands for a number that is not there."""


class Grid(ABC):
    """names : of the columns; their positions as text where the file names none."""

    names: list[str]

    @abstractmethod
    def numbers(self, positions: Sequence[int]) -> npt.NDArray[np.float64]:
        """(rows, columns) of the given columns, NaN where nothing stands. Raises RejectError."""

    @abstractmethod
    def texts(self, position: int) -> list[str]:
        """A column as text. Raises RejectError."""

    def position(self, column: Column) -> int:
        """Where a column stands. Raises RejectError for one that is not there."""
        if isinstance(column, int):
            if 0 <= column < len(self.names):
                return column
            raise RejectError("joint_count", f"no column {column}: the file has {len(self.names)} columns")
        if column in self.names:
            return self.names.index(column)
        shown = ", ".join(name[:32] for name in self.names[:6])
        more = f" and {len(self.names) - 6} more" if len(self.names) > 6 else ""
        raise RejectError("not_skeleton", f"no column '{column[:64]}': the file has {shown}{more}")


class ArrowGrid(Grid):
    """Columns of an Arrow table."""

    def __init__(self, table: pa.Table) -> None:
        self.table, self.names = table, list(table.column_names)

    def numbers(self, positions: Sequence[int]) -> npt.NDArray[np.float64]:
        out = np.empty((self.table.num_rows, len(positions)))
        for i, position in enumerate(positions):
            try:
                out[:, i] = self.table.column(position).cast(pa.float64()).to_numpy()
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                raise RejectError(
                    "bad_number", f"column '{self.names[position][:40]}': {_first(error)}"
                ) from None
        return out

    def texts(self, position: int) -> list[str]:
        try:
            return [v or "" for v in self.table.column(position).cast(pa.string()).to_pylist()]
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError) as error:
            raise RejectError(
                "not_skeleton", f"column '{self.names[position][:40]}': {_first(error)}"
            ) from None


class TextGrid(Grid):
    """Lines of text, parsed by pyarrow for the columns that are asked for."""

    def __init__(self, data: bytes, layout: Layout, delimiter: str) -> None:
        lines = text_lines(data, layout.skip, layout.comment)
        if not lines:
            raise RejectError("empty", "no line in the file")
        if delimiter:
            # a delimiter at the end of every line makes no column
            end = delimiter.encode()
            if all(line.endswith(end) for line in lines):
                lines = [line.removesuffix(end) for line in lines]
        else:
            lines, delimiter = [b" ".join(line.split()) for line in lines], " "
        self.delimiter = delimiter
        first = next(python_csv.reader([lines[0][: 1 << 20].decode("utf-8", "replace")], delimiter=delimiter))
        if len(first) > MAX_COLUMNS:
            raise RejectError(
                "joint_count", f"line 1 has {len(first):,} columns, at most {MAX_COLUMNS:,} are read"
            )
        self.names = [n.strip() for n in first] if layout.header else [str(i) for i in range(len(first))]
        self.lines = lines[1:] if layout.header else lines
        if not self.lines:
            raise RejectError("empty", "nothing below the header")

    def numbers(self, positions: Sequence[int]) -> npt.NDArray[np.float64]:
        table = self._parse(dict.fromkeys(positions, pa.float64()))
        out = np.empty((table.num_rows, len(positions)))
        for i, position in enumerate(positions):
            out[:, i] = table.column(str(position)).to_numpy()
        return out

    def texts(self, position: int) -> list[str]:
        column = self._parse({position: pa.string()}).column(str(position))
        return [str(value).strip() for value in column.to_pylist()]

    def _parse(self, kinds: dict[int, Any]) -> pa.Table:
        data = b"\n".join(self.lines) + b"\n"
        kept = [str(position) for position in dict.fromkeys(kinds)]
        try:
            return csv.read_csv(
                pa.BufferReader(data),
                read_options=csv.ReadOptions(
                    column_names=[str(i) for i in range(len(self.names))],
                    use_threads=False,
                    block_size=max(len(data), 1 << 16),
                ),
                parse_options=csv.ParseOptions(
                    delimiter=self.delimiter, quote_char='"', ignore_empty_lines=False
                ),
                convert_options=csv.ConvertOptions(
                    include_columns=kept,
                    column_types={str(p): kind for p, kind in kinds.items()},
                    null_values=MISSING,
                    strings_can_be_null=False,
                ),
            )
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise RejectError("bad_number", _first(error)) from None


class ArrayGrid(Grid):
    """A two-dimensional array of numbers."""

    def __init__(self, array: npt.NDArray[Any]) -> None:
        if array.ndim != 2:
            raise RejectError("joint_count", f"an array of {array.ndim} axes has no columns")
        if array.dtype.kind not in "fiu":
            raise RejectError("bad_number", f"the array holds {array.dtype}, not numbers")
        if array.shape[1] > MAX_COLUMNS:
            raise RejectError("joint_count", f"{array.shape[1]:,} columns, at most {MAX_COLUMNS:,} are read")
        self.array, self.names = array, [str(i) for i in range(array.shape[1])]

    def numbers(self, positions: Sequence[int]) -> npt.NDArray[np.float64]:
        return self.array[:, list(positions)].astype(np.float64)

    def texts(self, position: int) -> list[str]:
        return [f"{value:.15g}" for value in self.array[:, position].tolist()]


class RecordGrid(Grid):
    """A JSON list of flat objects, a row each."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows = rows
        self.names = list(dict.fromkeys(name for row in rows[:100] for name in row))[:MAX_COLUMNS]
        if len(rows) * len(self.names) > MAX_VALUES:
            raise RejectError("too_large", f"{len(rows):,} rows of {len(self.names):,} values")

    def numbers(self, positions: Sequence[int]) -> npt.NDArray[np.float64]:
        out = np.full((len(self.rows), len(positions)), np.nan)
        for row, record in enumerate(self.rows):
            for i, position in enumerate(positions):
                value = record.get(self.names[position])
                if value is not None:
                    out[row, i] = plain_number(value, f"row {row + 1}, '{self.names[position][:40]}'")
        return out

    def texts(self, position: int) -> list[str]:
        return [plain_text(record.get(self.names[position])) for record in self.rows]


def read_parquet(data: bytes) -> ArrowGrid:
    """A Parquet file. What its footer says about sizes is held against the file's. Raises RejectError."""
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        meta = file.metadata
        groups = [meta.row_group(i) for i in range(meta.num_row_groups)]
        grown = sum(max(g.total_byte_size, 0) for g in groups)
        if meta.num_columns > MAX_COLUMNS or meta.num_rows > MAX_ROWS or bomb(grown, len(data)):
            raise RejectError(
                "too_large",
                f"says {meta.num_rows:,} rows of {meta.num_columns:,} columns in {len(data):,} bytes",
            )
        batches, rows = [], 0
        for batch in file.iter_batches(batch_size=1 << 16, use_threads=False):
            rows += batch.num_rows
            if rows * max(batch.num_columns, 1) > MAX_VALUES:
                raise RejectError("too_large", f"more than {MAX_VALUES:,} numbers")
            batches.append(batch)
        return ArrowGrid(pa.Table.from_batches(batches, file.schema_arrow))
    except RejectError:
        raise
    except Exception as error:  # a damaged file can fail in any way
        raise RejectError("not_skeleton", f"not Parquet: {_first(error)}") from None


def text_lines(data: bytes, skip: int, comment: str) -> list[bytes]:
    """The lines that hold something, without those that are skipped or comments."""
    if b"\0" in data[:4096]:
        raise RejectError("not_skeleton", "the file is not text")
    lines = data.removeprefix(b"\xef\xbb\xbf").splitlines()[skip:]
    mark = comment.encode()
    lines = [line.strip(b" \r") for line in lines]
    return [line for line in lines if line.strip() and not (mark and line.startswith(mark))]


def plain_number(value: Any, where: str) -> float:
    """A number out of JSON. Raises RejectError."""
    if isinstance(value, str):
        try:
            value = float(value) if "_" not in value else None
        except ValueError:
            value = None
    if type(value) not in (int, float) or abs(value) > 1e300:
        raise RejectError("bad_number", f"{where} is {str(value)[:24]!r}, not a number")
    return float(value)


def plain(text: str) -> str:
    """A label, subject or clip as it is meant: `3.0` and `3.000e+00`, as programs write numbers, are 3."""
    if FLOAT.fullmatch(text) and float(text).is_integer():
        return str(int(float(text)))
    return text.strip()


def plain_text(value: Any) -> str:
    """A word or number out of JSON as text, nothing where there is none. Raises RejectError."""
    if value is None:
        return ""
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise RejectError("not_skeleton", f"{str(value)[:40]!r} where a word or a number belongs")
    return f"{value:.15g}" if isinstance(value, float) else str(value)[:1000]


def _first(error: Exception) -> str:
    return str(error).splitlines()[0][:160] if str(error) else type(error).__name__


def text_records(data: bytes, delimiter: str) -> list[list[str]]:
    """All lines of a small table as fields of text."""
    text = data.decode("utf-8-sig", "replace")
    if not delimiter:
        return [line.split() for line in text.splitlines()]
    try:
        return [[f.strip() for f in row] for row in python_csv.reader(io.StringIO(text), delimiter=delimiter)]
    except python_csv.Error as error:
        raise RejectError("label_syntax", str(error)) from None
