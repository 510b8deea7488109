"""Space-separated numbers to arrays. pyarrow's CSV parser does the bulk (several times as fast as
numpy.fromstring, and it skips the columns nobody asks for); lines it refuses are read once more by hand, so
that odd spacing passes and an error names its line."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import csv

from amr_data.errors import RejectError

MAX_METRES = 1000.0


def parse_columns(
    data: bytes, rows: int, columns: int, keep: Sequence[int]
) -> npt.NDArray[np.float64] | None:
    """Parse lines of exactly `columns` numbers each, separated by single spaces.

    Args:
        data: the lines; LF or CRLF ends.
        rows: how many lines there are.
        keep: the columns wanted.
    Returns: (rows, len(keep)) float64, or None where a line is not of this form; `parse_lines` then reads
        them with patience.
    """
    names = [str(i) for i in range(columns)]
    try:
        table = csv.read_csv(
            pa.BufferReader(data),
            read_options=csv.ReadOptions(
                column_names=names, use_threads=False, block_size=max(len(data), 1 << 16)
            ),
            parse_options=csv.ParseOptions(delimiter=" ", quote_char=False),
            convert_options=csv.ConvertOptions(
                include_columns=[names[k] for k in keep], column_types={names[k]: pa.float64() for k in keep}
            ),
        )
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None
    if table.num_rows != rows:
        return None
    chunks = [table.column(i) for i in range(len(keep))]
    if any(c.null_count for c in chunks):
        return None
    out = np.empty((rows, len(keep)))
    for i, chunk in enumerate(chunks):
        out[:, i] = chunk.to_numpy()
    return out


def parse_lines(
    lines: Sequence[bytes], numbers: Sequence[int], columns: int, keep: Sequence[int]
) -> npt.NDArray[np.float64]:
    """The slow way: any white space between the numbers, NaN allowed, and an error that names the line.

    Args:
        numbers: each line's 0-based number in the file, for messages.
    Returns: (lines, len(keep)) float64.
    Raises: RejectError("joint_count") for a wrong number of columns, RejectError("bad_number") for what is
        not a number.
    """
    out = np.empty((len(lines), len(keep)))
    for row, line in enumerate(lines):
        fields = line.split()
        if len(fields) != columns:
            raise RejectError(
                "joint_count", f"line {numbers[row] + 1} has {len(fields)} numbers, expected {columns}"
            )
        for column, k in enumerate(keep):
            try:
                if b"_" in fields[k]:
                    raise ValueError
                out[row, column] = float(fields[k])
            except ValueError:
                shown = fields[k][:24].decode("ascii", "replace")
                raise RejectError(
                    "bad_number", f"line {numbers[row] + 1} has {shown!r} where a number belongs"
                ) from None
    return out


def parse_count(line: bytes, low: int, high: int) -> int | None:
    """A whole number between low and high, or None; looks at no more than the first 32 bytes."""
    text = line.strip() if len(line) <= 32 else b""
    if not text.isdigit():
        return None
    value = int(text)
    return value if low <= value <= high else None


def check_positions(joints: npt.NDArray[np.float64], frames: npt.NDArray[np.int64] | range) -> None:
    """Reject NaN, infinity and positions no sensor gives. joints : (K, V, 3) metres; frames : (K,) frame
    numbers for the message."""
    if within_range(joints):
        return
    bad = ~np.isfinite(joints)
    if bad.any():
        row, joint, _ = (int(i) for i in np.argwhere(bad)[0])
        raise RejectError(
            "non_finite",
            f"frame {frames[row]}, joint {joint + 1} (1-based), in {int(bad.any(-1).sum())} joints in all",
        )
    far = np.abs(joints) > MAX_METRES
    if far.any():
        row, joint, axis = (int(i) for i in np.argwhere(far)[0])
        raise RejectError(
            "out_of_range",
            f"frame {frames[row]}, joint {joint + 1} (1-based) is at {joints[row, joint, axis]:.4g} m",
        )


def within_range(values: npt.NDArray[np.float64]) -> bool:
    """Whether all values are finite and at most `MAX_METRES` away from 0; NaN fails every comparison."""
    return not values.size or bool(values.max() <= MAX_METRES and values.min() >= -MAX_METRES)
