"""`make fuzz`: coverage-guided fuzzing of every reader with atheris.
A reader may reject; it may not crash, hang, or take memory by a number's word.

python -m benchmarks.fuzz ntu -max_total_time=150
"""

from __future__ import annotations

import pickle
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

READERS = ("ntu", "pku-video", "pku-label", "pku-split", "nw-ucla", "pickle", "npz")


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
        from amr_data.readers.imports import NpzFamily
        from amr_data.readers.ntu import parse_ntu
        from amr_data.readers.nw_ucla import parse_nw_ucla
        from amr_data.readers.pku_mmd import parse_label_row, parse_split_file, parse_video
        from amr_data.readers.safe_pickle import UnsafePickle, load_plain
        from amr_data.specs import load_spec
    spec = load_spec("pku-mmd-1")
    scratch = Path(tempfile.mkdtemp()) / "x.npz"

    def npz(data: bytes) -> object:
        scratch.write_bytes(data)
        return NpzFamily().load(scratch)

    targets = {
        "ntu": lambda data: parse_ntu(data, 3),
        "pku-video": lambda data: parse_video(data, 2),
        "pku-label": lambda data: parse_label_row(data, spec),
        "pku-split": lambda data: parse_split_file(data.decode("utf-8", "replace")),
        "nw-ucla": lambda data: parse_nw_ucla(data, 3),
        "pickle": load_plain,
        "npz": npz,
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
    joint = "0.1 0.2 3.0 1 2 3 4 0 0 0 0 2\r\n"
    ntu = "2\r\n" + ("1\r\n72057594037931101 0 1 1 1 1 0 0.1 -0.2 2\r\n3\r\n" + joint * 3) * 2
    np.savez(
        folder / "array.npz", x_train=np.ones((1, 2, 6), np.float32), y_train=np.eye(2, dtype=np.float32)[:1]
    )
    npz = (folder / "array.npz").read_bytes()
    (folder / "array.npz").unlink()
    plain = {
        "split": {"xsub_train": ["a"]},
        "annotations": [{"frame_dir": "a", "keypoint": np.ones((1, 2, 3, 3), np.float16), "label": 1}],
    }
    seeds = {
        "ntu": [ntu.encode()],
        "pku-video": [(" ".join(["0.5"] * 12) + "\n").encode() * 3],
        "pku-label": [b"9,3,8,2"],
        "pku-split": [b"Training videos: \n0002-L, 0003-M,\nValidataion videos:\n0004-R"],
        "nw-ucla": [b'{"file_name": "a", "skeletons": [[[1, 2, 3.5], [1, 2, 3], [0, 0, 0]]], "label": 1}'],
        "pickle": [pickle.dumps(plain, protocol=p) for p in (2, 4, 5)],
        "npz": [npz],
    }
    for number, seed in enumerate(seeds[name]):
        (folder / str(number)).write_bytes(seed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
