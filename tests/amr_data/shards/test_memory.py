"""HDF5 files that are laid out in memory."""

from __future__ import annotations

import hashlib

import h5py
import numpy as np

from amr_data.shards.memory import FileImage


def test_a_saved_image_is_what_was_written_with_the_named_arrays_uncopied(tmp_path):
    named, other = np.arange(60_000, dtype=np.float32).reshape(-1, 25, 3), np.arange(40_000)
    image = FileImage([named, np.zeros((0, 3))])
    with h5py.File(image, "w", libver="latest") as file:
        file.attrs["about"] = "x" * 500
        file["named"], file["other"], file["part"] = named, other, named[:7]
        file.create_dataset("packed", data=other, compression="gzip")
        file.create_dataset("texts", data=["é", "b" * 999], dtype=h5py.string_dtype())
        assert file["texts"][0].decode() == "é"
    assert sum(np.shares_memory(np.frombuffer(p, np.uint8), named) for p in image.parts() if len(p)) == 1
    sha256 = image.save(tmp_path / "x.h5")
    assert sha256 == hashlib.sha256((tmp_path / "x.h5").read_bytes()).hexdigest()
    with h5py.File(tmp_path / "x.h5") as file:
        assert (file["named"][:] == named).all()
        assert (file["part"][:] == named[:7]).all()
        for key in ("other", "packed"):
            assert (file[key][:] == other).all()
        assert [t.decode() for t in file["texts"][:]] == ["é", "b" * 999]


def test_an_image_reads_back_what_it_holds():
    image = FileImage()
    image.write(b"abcdef")
    image.seek(2)
    image.write(b"XY")
    image.seek(1)
    room = bytearray(9)
    assert image.readinto(room) == 5
    assert room == b"bXYef\0\0\0\0"
    image.truncate(3)
    assert b"".join(image.parts()) == b"abX"
    assert image.seek(0, 2) == 3
