"""HDF5 files that are laid out in memory and written in one piece: on a full disk HDF5 itself fails in ways
that nobody can read."""

from __future__ import annotations

import secrets
from typing import Any

import h5py


def file_in_memory(**options: Any) -> h5py.File:
    """A new file, to be closed by the caller. HDF5 tells those that are open in a process apart by their
    names alone, so that each has one of its own, whichever thread opens it.

    options : more of h5py's.
    """
    return h5py.File(secrets.token_hex(16), "w", driver="core", backing_store=False, **options)


def file_image(file: h5py.File) -> bytes:
    """What the file on disk is to hold."""
    file.flush()
    image: bytes = file.id.get_file_image()
    return image
