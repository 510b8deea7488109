"""Damaged and doctored files end in a reject that names what is wrong, at once and in little memory."""

from __future__ import annotations

import io
import json
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.io

from tests.amr_data.readers.table.people import moving, read, stick, text


def mat_bytes(**arrays: object) -> bytes:
    out = io.BytesIO()
    scipy.io.savemat(out, arrays)
    return out.getvalue()


def compressed(element: bytes) -> bytes:
    """A MATLAB file of one compressed element."""
    packed = zlib.compress(element)
    return mat_bytes()[:128] + struct.pack("<II", 15, len(packed)) + packed


def npy_bytes(shape: tuple[int, ...], data: bytes, kind: str = "<f8") -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"descr": kind, "fortran_order": False, "shape": shape})
    return out.getvalue() + data


def mat_sizes(file: bytes, sizes: tuple[int, ...]) -> bytes:
    """The same plain MATLAB file with other sizes in the array's header."""
    at = file.index(struct.pack("<II", 5, 4 * len(sizes)))
    return file[: at + 8] + struct.pack(f"<{len(sizes)}i", *sizes) + file[at + 8 + 4 * len(sizes) :]


def lying_npz(_: Path) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", npy_bytes((10**9, 6, 3), b"\0" * 144))
    return out.getvalue()


def bomb_npz(_: Path) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", b"\0" * (64 << 20))
    return out.getvalue()


def linked_mat(folder: Path) -> bytes:
    (folder / "secret").write_bytes(moving(2).tobytes())
    with h5py.File(folder / "a.mat", "w") as file:
        file.create_dataset("d", (2, 6, 3), "f8", external=[(str(folder / "secret"), 0, 288)])
    return (folder / "a.mat").read_bytes()


def soft_linked_mat(folder: Path) -> bytes:
    with h5py.File(folder / "a.mat", "w") as file:
        file["d"] = h5py.ExternalLink("/etc/passwd", "/")
    return (folder / "a.mat").read_bytes()


def sparse_mat_73(folder: Path) -> bytes:
    with h5py.File(folder / "a.mat", "w") as file:
        file.create_dataset("d", (1 << 24, 6, 3), "f8", chunks=(1024, 6, 3), compression="gzip")
    return (folder / "a.mat").read_bytes()


def grown_mat_73(folder: Path) -> bytes:
    with h5py.File(folder / "a.mat", "w") as file:
        array = file.create_dataset("d", (3, 6, 2), "f8", chunks=(3, 6, 2), compression="gzip")
        array.id.write_direct_chunk((0, 0, 0), zlib.compress(bytes(256 << 20)))
    return (folder / "a.mat").read_bytes()


def broken_mat_73(folder: Path) -> bytes:
    # HDF5 itself would double its memory until this piece fits, which it never does
    with h5py.File(folder / "a.mat", "w") as file:
        array = file.create_dataset("d", (3, 6, 2), "f8", chunks=(3, 6, 2), compression="gzip")
        array.id.write_direct_chunk((0, 0, 0), zlib.compress(moving(2).tobytes())[:-30])
    return (folder / "a.mat").read_bytes()


def repeated_parquet(_: Path) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({str(i): np.zeros(2_000_000, np.float32) for i in range(100)}), out)
    return out.getvalue()


PLAIN = mat_bytes(d=moving(2))
CASES: dict[str, tuple[str, Callable[[Path], bytes] | bytes, str]] = {
    "empty csv": ("a.csv", b"", "empty"),
    "blank csv": ("a.csv", b"\n \n\t\n", "empty"),
    "binary csv": ("a.csv", b"\x00\x01" * 50, "not_skeleton"),
    "ragged csv": ("a.csv", text(moving(2).reshape(2, -1)).encode() + b"1,2,3\n", "bad_number"),
    "open quote": ("a.csv", b'"' + text(moving(2).reshape(2, -1)).encode(), "bad_number"),
    "wide csv": ("a.csv", b"," * 1_000_000, "joint_count"),
    "infinite csv": ("a.csv", b"inf," * 17 + b"inf\n", "non_finite"),
    "not npy": ("a.npy", b"hello", "not_skeleton"),
    "npy of objects": ("a.npy", npy_bytes((1,), b"", "|O"), "not_skeleton"),
    "lying npy": ("a.npy", npy_bytes((10**9, 6, 3), b"\0" * 144), "truncated"),
    "negative npy": ("a.npy", npy_bytes((-1, -6, 3), b"\0" * 144), "truncated"),
    "npy that is code": ("a.npy", b"\x93NUMPY\x01\x00\x10\x00__import__('os')\n", "not_skeleton"),
    "lying npz": ("a.npz", lying_npz, "truncated"),
    "npz bomb": ("a.npz", bomb_npz, "too_large"),
    "not npz": ("a.npz", b"PK\x03\x04", "unreadable"),
    "not mat": ("a.mat", b"MATLAB" * 40, "not_skeleton"),
    "cut mat": ("a.mat", PLAIN[:-64], "truncated"),
    "mat that says more": ("a.mat", mat_sizes(PLAIN, (10**9, 6, 3)), "truncated"),
    "mat with negative sizes": ("a.mat", mat_sizes(PLAIN, (-2, 6, -3)), "truncated"),
    "complex mat": ("a.mat", mat_bytes(d=moving(2) + 1j), "bad_number"),
    "mat structure": ("a.mat", mat_bytes(d={"joints": moving(2)}), "not_skeleton"),
    "mat cell": ("a.mat", mat_bytes(d=np.array([moving(2), "x"], object)), "not_skeleton"),
    "mat element beyond the end": (
        "a.mat",
        PLAIN[:128] + struct.pack("<II", 14, 2**32 - 1) + PLAIN[136:],
        "truncated",
    ),
    "mat bomb": ("a.mat", compressed(struct.pack("<II", 14, 512 << 20) + b"\0" * (64 << 20)), "too_large"),
    "mat that inflates to less": (
        "a.mat",
        compressed(struct.pack("<II", 14, 1 << 20) + b"\0" * 64),
        "truncated",
    ),
    "mat that is not packed": ("a.mat", PLAIN[:128] + struct.pack("<II", 15, 16) + b"x" * 16, "unreadable"),
    "numbers outside the file": ("a.mat", linked_mat, "unsafe_name"),
    "link outside the file": ("a.mat", soft_linked_mat, "not_skeleton"),
    "mat 7.3 of nothing": ("a.mat", sparse_mat_73, "too_large"),
    "mat 7.3 that grows": ("a.mat", grown_mat_73, "truncated"),
    "mat 7.3 that is broken off": ("a.mat", broken_mat_73, "truncated"),
    "cut mat 7.3": ("a.mat", b"\x89HDF\r\n\x1a\n" + b"\0" * 200, "unreadable"),
    "not json": ("a.json", b"{", "not_skeleton"),
    "deep json": ("a.json", b"[" * 100_000, "not_skeleton"),
    "json of words": ("a.json", json.dumps([[["a"] * 3] * 6]).encode(), "bad_number"),
    "json of truth values": ("a.json", json.dumps([[[True] * 3] * 6]).encode(), "bad_number"),
    "json of huge numbers": ("a.json", b"[[" + b",".join([b"[1e999,1,1]"] * 6) + b"]]", "bad_number"),
    "json of endless digits": ("a.json", b"[[[" + b"9" * 5000 + b"]]]", "not_skeleton"),
    "json of an object": ("a.json", b'{"a": 1}', "not_skeleton"),
    "json of no frame": ("a.json", b"[]", "no_body"),
    "ragged json": ("a.json", json.dumps([[[1, 2, 3]] * 6, [[1, 2, 3]] * 5]).encode(), "joint_count"),
    "not parquet": ("a.parquet", b"PAR1" + b"\xff" * 64 + b"PAR1", "not_skeleton"),
    "parquet of repetition": ("a.parquet", repeated_parquet, "too_large"),
}


@pytest.mark.parametrize("case", list(CASES))
def test_doctored_files_are_rejected(tmp_path, case):
    name, made, reason = CASES[case]
    folder = tmp_path / "raw"
    folder.mkdir()
    data = made if isinstance(made, bytes) else made(tmp_path)
    (folder / name).write_bytes(data)
    tracemalloc.start()
    clips, (reject,) = read(stick({}), folder)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (clips, reject.kind, reject.where.endswith(name)) == ([], reason, True), reject
    assert len(reject.detail) < 400
    # what python-json and the text itself need, and no more than that
    assert peak < 40 << 20


def test_damage_at_any_place_is_a_reject_or_a_clip(tmp_path):
    """Every format with bytes changed or cut: nothing but a reject or a clip comes of it."""
    random = np.random.default_rng(0)
    originals: dict[str, bytes] = {"a.mat": PLAIN, "b.mat": compressed(PLAIN[128:])}
    for name, save in (("a.npy", np.save), ("a.npz", np.savez_compressed)):
        save(tmp_path / name, moving(4))
        originals[name] = (tmp_path / name).read_bytes()
        (tmp_path / name).unlink()
    originals["a.csv"] = text(moving(4).reshape(4, -1)).encode()
    originals["a.json"] = json.dumps(moving(4).tolist()).encode()
    out = io.BytesIO()
    pq.write_table(pa.table({str(i): moving(4).reshape(4, -1)[:, i] for i in range(18)}), out)
    originals["a.parquet"] = out.getvalue()
    spec = stick({"height": [0, 1e300], "bodies": 1})
    for name, data in originals.items():
        for _ in range(60):
            damaged = bytearray(data)
            for at in random.integers(0, len(data), 3):
                damaged[at] = random.integers(0, 256)
            if random.random() < 0.3:
                damaged = damaged[: random.integers(0, len(data))]
            (tmp_path / name).write_bytes(damaged)
            clips, rejects = read(spec, tmp_path)
            assert len(clips) + len(rejects) == 1
        (tmp_path / name).unlink()
