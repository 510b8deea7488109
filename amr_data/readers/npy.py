"""Headers of .npy arrays, wherever these lie."""

from __future__ import annotations

from typing import IO, Any, Literal

import numpy as np


def read_header(file: IO[bytes]) -> tuple[tuple[int, ...], Literal["C", "F"], np.dtype[Any]]:
    """Shape, order and type of the array whose bytes follow; none of it is checked. May raise anything: the
    header is a Python literal, which can be wrong in any way."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, kind = read(file)
    return shape, "F" if fortran else "C", kind
