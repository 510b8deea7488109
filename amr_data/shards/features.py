"""Features of clips as a file for everybody: HDF5 or Parquet, with the clips' names and labels."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import parquet

from amr_data.errors import UsageError
from amr_data.files import whole_file
from amr_data.shards.memory import FileImage

FORMS = (".h5", ".hdf5", ".parquet")
MAX_WIDTH = 1 << 16
AT_ONCE = 1024
"""Rows that are read together."""
BUFFER = 1 << 20
"""Bytes of a file that are read at once; without it, a whole column of a row group is."""
Values = npt.NDArray[np.float32]


def write_features(
    out: str | Path,
    features: npt.NDArray[np.float32],
    names: Sequence[str],
    labels: npt.NDArray[np.int64],
    about: Mapping[str, Any],
) -> None:
    """Write features (N, D) with the clips' names and labels, whole or not at all.

    HDF5: `/features`, `/names`, `/labels`, and `about` as the file's attributes. Parquet: columns `name`,
    `label`, `features` (a list of D numbers), and `about` as JSON in the schema's metadata.
    Raises: UsageError for another ending, WriteError.
    """
    out = Path(out)
    if out.suffix not in FORMS:
        raise UsageError(f"features are written to {', '.join(FORMS)}, not {out.suffix or out.name}")
    with whole_file(out) as temporary:
        if out.suffix == ".parquet":
            flat = pa.FixedSizeListArray.from_arrays(
                pa.array(features.ravel(), pa.float32()), features.shape[1]
            )
            table = pa.table({"name": pa.array(list(names)), "label": pa.array(labels), "features": flat})
            parquet.write_table(table.replace_schema_metadata({"about": json.dumps(dict(about))}), temporary)
            return
        image = FileImage()
        with h5py.File(image, "w") as file:
            file["features"], file["labels"] = features, labels
            file.create_dataset("names", data=list(names), dtype=h5py.string_dtype())
            for key, value in about.items():
                file.attrs[key] = value if isinstance(value, str | int | float) else json.dumps(value)
        image.save(temporary)


def read_features(
    path: str | Path, seen: Callable[[Values], Values] = lambda rows: rows
) -> tuple[list[str], Values]:
    """The names and features of a Parquet file as `write_features` makes it, read a piece at a time.

    seen : is given rows (K, D) and says what is kept of them (K, W), so that wide features need not be in
        memory as a whole.
    Returns: names (N) and features (N, W).  Raises: UsageError for what is no such file.
    """
    path = Path(path)
    if path.suffix != ".parquet":
        raise UsageError(
            f"{path}: features in Parquet are read, as `amr-train embed ... -o x.parquet` writes them"
        )
    names: list[str] = []
    parts: list[Values] = []
    try:
        with parquet.ParquetFile(path, memory_map=False, buffer_size=BUFFER, pre_buffer=False) as file:
            kind = file.schema_arrow.field("features").type
            if not pa.types.is_fixed_size_list(kind) or not 0 < kind.list_size <= MAX_WIDTH:
                raise UsageError(f"{path}: the column features is {kind}, expected lists of one length")
            for batch in file.iter_batches(AT_ONCE, columns=["name", "features"]):
                names += map(str, batch.column("name").to_pylist())
                values = batch.column("features").cast(pa.list_(pa.float32(), kind.list_size)).flatten()
                rows = values.to_numpy(zero_copy_only=False).astype(np.float32, copy=False)
                if len(rows) != batch.num_rows * kind.list_size or not np.isfinite(rows).all():
                    raise UsageError(f"{path}: a feature is missing or is not a finite number")
                parts.append(seen(rows.reshape(batch.num_rows, kind.list_size)))
    except (OSError, KeyError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise UsageError(f"{path} holds no features: {reason}") from None
    if not names:
        raise UsageError(f"{path} holds the features of no clip")
    pa.default_memory_pool().release_unused()  # it keeps more than the features take
    return names, _joined(parts)


def _joined(parts: list[Values]) -> Values:
    """Rows of all parts, which are given up one by one, so that nothing stands in memory twice."""
    whole = np.empty((sum(map(len, parts)), parts[0].shape[1]), np.float32)
    end = len(whole)
    while parts:
        part = parts.pop()
        whole[end - len(part) : end] = part
        end -= len(part)
    return whole
