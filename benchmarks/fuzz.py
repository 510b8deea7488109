"""`make fuzz`: coverage-guided fuzzing of every reader with atheris.
A reader may reject; it may not crash, hang, or take memory by a number's word.

python -m benchmarks.fuzz ntu -max_total_time=150
"""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet
from scipy.io import savemat

READERS = (
    "ntu",
    "pku-video",
    "pku-label",
    "pku-split",
    "nw-ucla",
    "pickle",
    "pyskl",
    "npz",
    "zip",
    "tar",
    "shard",
    "manifest",
    "spec",
    "bvh",
    "csv",
    "json",
    "npy",
    "mat",
    "parquet",
)
TABLES = {"csv": "x.csv", "json": "x.json", "npy": "x.npy", "mat": "x.mat", "parquet": "x.parquet"}
"""Formats of the family `table`, each with the name of a file."""


def main(arguments: list[str]) -> int:
    if not arguments or arguments[0] not in READERS:
        seconds = int(arguments[0]) if arguments else 600
        print(f"{seconds} s over {len(READERS)} readers", flush=True)
        failed = []
        for name in READERS:
            command = [
                sys.executable,
                "-m",
                "benchmarks.fuzz",
                name,
                f"-max_total_time={seconds // len(READERS)}",
            ]
            with tempfile.TemporaryDirectory() as corpus:
                seed_corpus(name, Path(corpus))
                limits = [
                    "-rss_limit_mb=2048",
                    "-timeout=10",
                    "-print_final_stats=1",
                    "-max_len=20000",
                    f"-artifact_prefix={name}-",
                ]
                done = subprocess.run([*command, *limits, corpus], capture_output=True, text=True)
            executed = [line for line in done.stderr.splitlines() if "number_of_executed_units" in line]
            units = executed[-1].split()[-1] if executed else "?"
            print(f"{name:10} {'ok' if done.returncode == 0 else 'FAILED':6} {units} inputs", flush=True)
            if done.returncode:
                print(done.stderr[-3000:])
                failed.append(name)
        return 1 if failed else 0
    return fuzz(arguments[0], arguments)


def fuzz(name: str, arguments: list[str]) -> int:
    import atheris

    with atheris.instrument_imports(include=["amr_data"]):
        from amr_data.errors import AmrError, RejectError
        from amr_data.readers.bvh_file import parse_bvh
        from amr_data.readers.family import FamilyOptions, check_spec
        from amr_data.readers.imports import NpzFamily, PysklFamily
        from amr_data.readers.ntu import parse_ntu
        from amr_data.readers.nw_ucla import parse_nw_ucla
        from amr_data.readers.pku_mmd import parse_label_row, parse_split_file, parse_video
        from amr_data.readers.safe_pickle import UnsafePickle, load_plain
        from amr_data.readers.sources import RawSource
        from amr_data.readers.table.content import read_content
        from amr_data.readers.table.layout import Layout
        from amr_data.readers.table.resolved import resolve
        from amr_data.specs import load_spec
        from benchmarks.fuzz_shards import manifest_target, shard_target
    spec, ntu = load_spec("pku-mmd-1"), load_spec("ntu60")
    scratch = Path(tempfile.mkdtemp())

    def source(data: bytes, ending: str) -> RawSource:
        path = scratch / f"x.{ending}"
        path.unlink(missing_ok=True)  # a new file each time: the last one may still be mapped
        path.write_bytes(data)
        return RawSource([path])

    def imported(data: bytes, family: NpzFamily | PysklFamily) -> None:
        opened = source(data, family.endings[0][1:])
        units = family.discover(opened, ntu, FamilyOptions()).units
        for _ in family.read(opened, units, ntu, FamilyOptions()):
            pass

    def members(data: bytes, ending: str) -> None:
        opened = source(data, ending)
        for member in opened.members():
            with contextlib.suppress(RejectError):
                opened.read(member)

    def own_spec(data: bytes) -> object:
        (scratch / "x.yaml").write_bytes(data)
        return check_spec(load_spec(scratch / "x.yaml"))

    described = load_spec("wmft")

    def table(form: str, data: bytes) -> object:
        layout = Layout.model_validate({"format": form, "unit": "m"})
        return read_content(data, TABLES[form], resolve(layout, described))

    targets = {
        # of these two only what is asked for makes its dataset
        **({"shard": shard_target(scratch)} if name == "shard" else {}),
        **({"manifest": manifest_target(scratch)} if name == "manifest" else {}),
        "ntu": lambda data: parse_ntu(data, 3),
        "pku-video": lambda data: parse_video(data, 2),
        "pku-label": lambda data: parse_label_row(data, spec),
        "pku-split": lambda data: parse_split_file(data.decode("utf-8", "replace")),
        "nw-ucla": lambda data: parse_nw_ucla(data, 3),
        "pickle": load_plain,
        "pyskl": lambda data: imported(data, PysklFamily()),
        "npz": lambda data: imported(data, NpzFamily()),
        "zip": lambda data: members(data, "zip"),
        "tar": lambda data: members(data, "tar"),
        "spec": own_spec,
        "bvh": parse_bvh,
        **{form: partial(table, form) for form in TABLES},
    }

    def one(data: bytes) -> None:
        try:
            targets[name](data)
        except (RejectError, UnsafePickle, AmrError):
            return

    atheris.Setup(["fuzz", *arguments[1:]], one)
    atheris.Fuzz()
    return 0


def seed_corpus(name: str, folder: Path) -> None:
    """One sound input of each kind, small."""
    from amr_data.specs import spec_text

    joint = "0.1 0.2 3.0 1 2 3 4 0 0 0 0 2\r\n"
    ntu = "2\r\n" + ("1\r\n72057594037931101 0 1 1 1 1 0 0.1 -0.2 2\r\n3\r\n" + joint * 3) * 2
    np.savez(
        folder / "array.npz",
        x_train=np.ones((1, 2, 75), np.float32),
        y_train=np.eye(2, dtype=np.float32)[:1],
    )
    npz = (folder / "array.npz").read_bytes()
    (folder / "array.npz").unlink()
    plain = {
        "split": {"xsub_train": ["a"]},
        "annotations": [{"frame_dir": "a", "keypoint": np.ones((1, 2, 25, 3), np.float16), "label": 1}],
    }
    pickles = [pickle.dumps(plain, protocol=p) for p in (2, 4, 5)]
    packed, taken = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/b.txt", "text " * 20)
    with tarfile.open(fileobj=taken, mode="w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("long/" * 30 + "ü.txt")
        info.size = 4
        tar.addfile(info, io.BytesIO(b"text"))
    seeds = {
        "ntu": [ntu.encode()],
        "pku-video": [(" ".join(["0.5"] * 12) + "\n").encode() * 3],
        "pku-label": [b"9,3,8,2"],
        "pku-split": [b"Training videos: \n0002-L, 0003-M,\nValidataion videos:\n0004-R"],
        "nw-ucla": [b'{"file_name": "a", "skeletons": [[[1, 2, 3.5], [1, 2, 3], [0, 0, 0]]], "label": 1}'],
        "pickle": pickles,
        "pyskl": pickles,
        "npz": [npz],
        "zip": [packed.getvalue()],
        "tar": [taken.getvalue()],
        "shard": [bytes(241), b"\x01" + bytes(240)],
        "manifest": [_manifest()] if name == "manifest" else [],
        "spec": [spec_text(n).encode() for n in ("sbu", "pku-mmd-2", "bvh")],
        "bvh": [BVH],
        **{form: [_table(form)] for form in TABLES},
    }
    for number, seed in enumerate(seeds[name]):
        (folder / str(number)).write_bytes(seed)


BVH = b"""HIERARCHY
ROOT Hips
{
  OFFSET 0 0 0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
  JOINT Neck
  {
    OFFSET 0 50 0
    CHANNELS 3 Zrotation Xrotation Yrotation
    End Site
    {
      OFFSET 0 20 0
    }
  }
}
MOTION
Frames: 2
Frame Time: 0.033333
0 90 0 0 0 0 0 0 0
0 91 0 1 2 3 4 5 6
"""


def _table(form: str) -> bytes:
    """Two frames of 25 joints."""
    values, out = np.arange(150.0).reshape(2, 75) / 100, io.BytesIO()
    if form == "csv":
        np.savetxt(out, values, delimiter=",")
    elif form == "json":
        out.write(json.dumps(values.reshape(2, 25, 3).tolist()).encode())
    elif form == "npy":
        np.save(out, values.astype(np.float32))
    elif form == "mat":
        savemat(out, {"joints": values}, do_compression=True)
    else:
        parquet.write_table(pa.table({f"c{i}": values[:, i] for i in range(75)}), out)
    return out.getvalue()


def _manifest() -> bytes:
    from benchmarks.fuzz_shards import manifest_seed

    with tempfile.TemporaryDirectory() as scratch:
        return manifest_seed(Path(scratch))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
