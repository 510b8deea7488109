"""Features of clips as a file for everybody: HDF5 or Parquet, with the clips' names and labels."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
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
