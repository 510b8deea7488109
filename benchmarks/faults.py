"""Recall and false alarms of the faults list on planted faults: `python -m benchmarks.faults
[CLIPS_PER_FAULT]`.

Sizes are drawn from below the list's limits to several times above them: jumps of a body by 0.2 to 1.2 m (the
limit is 0.33 m in a frame), of a joint by 0.4 to 1.6 m (0.83), 4 to 18 frames without motion (8), a thigh
stretched to 1.3 to 3 times its length, 2 to 6 stretches (4).
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from amr_data import convert, open_dataset
from amr_data.looking.faults import KINDS, find_faults
from amr_data.shards.reader import ShardDataset
from amr_data.synth import synthesize

FRAMES = 30
"""Least frames of a clip that a fault is planted in."""


def plant(shards: Path, out: Path, each: int, seed: int = 0) -> dict[str, set[str]]:
    """Copy a synthetic dataset and damage `each` clips of it for every kind, each clip once. Returns the
    clips by kind."""
    shutil.copytree(shards, out)
    dataset, rng = open_dataset(out), np.random.default_rng(seed)
    long = np.flatnonzero(_first_stretch(dataset) >= FRAMES)
    free = [int(i) for i in rng.permutation(long)]
    planted: dict[str, set[str]] = {}
    for kind, change in CHANGES.items():  # exchanged bodies first: they need two
        suits = [i for i in free if _two_for_long(dataset, i)] if kind == "swapped bodies" else free
        chosen = suits[:each]
        for index in chosen:
            free.remove(index)
            _edit(dataset, index, change, rng)
        planted[kind] = {dataset.names[i] for i in chosen}
    return planted


def score(dataset: ShardDataset, planted: dict[str, set[str]]) -> list[tuple[str, int, int, int]]:
    """For every kind: planted, of these found, and clips that are named without being planted; a fault
    planted as one kind may be named as others besides (a mirrored clip's feet, an exchange's jump), which is
    no false alarm."""
    found = find_faults(dataset)
    damaged = set().union(*planted.values())
    rows = []
    for kind in KINDS:
        named = {f.where for f in found if f.kind == kind}
        wanted = planted.get(kind, set())
        rows.append((kind, len(wanted), len(named & wanted), len(named - damaged)))
    return rows


def _first_stretch(dataset: ShardDataset) -> Any:
    first = np.searchsorted(dataset.tracks["clip"], np.arange(len(dataset)))
    return dataset.tracks["frames"][first]


def _two_for_long(dataset: ShardDataset, index: int) -> bool:
    tracks = dataset.tracks[dataset.tracks["clip"] == index]
    if tracks["slot"].tolist() != [0, 1]:
        return False
    ends = tracks["first_frame"] + tracks["frames"]
    return bool(ends.min() - tracks["first_frame"].max() >= FRAMES)


def _edit(dataset: ShardDataset, index: int, change: Callable[..., None], rng: np.random.Generator) -> None:
    shard = int(dataset.shard_of[index])
    with h5py.File(dataset.path / dataset.manifest["shards"][shard]["file"], "r+") as file:
        tracks = file["tracks"][()]
        local = index - int(np.searchsorted(dataset.shard_of, shard))
        mine = np.flatnonzero(tracks["clip"] == local)
        if change is _flicker:
            new = _pieces(tracks[mine[0]], rng)
            del file["tracks"]
            file["tracks"] = np.concatenate([tracks[: mine[0]], new, tracks[mine[0] + 1 :]])
            return
        rows = [slice(int(t["first_row"]), int(t["first_row"] + t["frames"])) for t in tracks[mine]]
        bodies = [file["frames/joints"][r] for r in rows]
        change(bodies, dataset.spec.skeleton, rng, [int(t["first_frame"]) for t in tracks[mine]])
        for r, body in zip(rows, bodies, strict=True):
            file["frames/joints"][r] = body


def _swap(bodies: list[Any], skeleton: Any, rng: np.random.Generator, first: list[int]) -> None:
    begin, end = max(first[0], first[1]), min(first[0] + len(bodies[0]), first[1] + len(bodies[1]))
    at = int(rng.integers(begin + 5, end - 5))
    a, b = slice(at - first[0], end - first[0]), slice(at - first[1], end - first[1])
    kept = bodies[0][a].copy()
    bodies[0][a], bodies[1][b] = bodies[1][b], kept


def _body_jump(bodies: list[Any], skeleton: Any, rng: np.random.Generator, first: list[int]) -> None:
    bodies[0][_middle(bodies, rng)] += _direction(rng) * rng.uniform(0.2, 1.2)


def _joint_jump(bodies: list[Any], skeleton: Any, rng: np.random.Generator, first: list[int]) -> None:
    bodies[0][_middle(bodies, rng), rng.integers(len(skeleton.joints))] += _direction(rng) * rng.uniform(
        0.4, 1.6
    )


def _bone(bodies: list[Any], skeleton: Any, rng: np.random.Generator, first: list[int]) -> None:
    child, parent = (skeleton.index(j) for j in ("left_knee", "left_hip"))
    stretch = 1 + rng.uniform(0.3, 2) * (np.arange(len(bodies[0])) % 20 < 8)
    bodies[0][:, child] = (
        bodies[0][:, parent] + (bodies[0][:, child] - bodies[0][:, parent]) * stretch[:, None]
    )


def _freeze(bodies: list[Any], skeleton: Any, rng: np.random.Generator, first: list[int]) -> None:
    frames = int(rng.integers(5, 20))
    at = int(rng.integers(0, len(bodies[0]) - frames))
    bodies[0][at : at + frames] = bodies[0][at]


def _invert(bodies: list[Any], skeleton: Any, rng: np.random.Generator, first: list[int]) -> None:
    for body in bodies:
        body[..., 1] *= -1


def _mirror(bodies: list[Any], skeleton: Any, rng: np.random.Generator, first: list[int]) -> None:
    axis = int(rng.choice([0, 2]))
    for body in bodies:
        body[..., axis] *= -1


def _side_flip(bodies: list[Any], skeleton: Any, rng: np.random.Generator, first: list[int]) -> None:
    order = np.arange(len(skeleton.joints))
    for a, b in skeleton.symmetric:
        i, j = skeleton.index(a), skeleton.index(b)
        order[i], order[j] = j, i
    at = _middle(bodies, rng)
    bodies[0][at:] = bodies[0][at:][:, order]


def _flicker(*_: Any) -> None:
    """Marks the change of tracks that `_pieces` makes."""


def _pieces(track: Any, rng: np.random.Generator) -> Any:
    pieces = int(rng.integers(2, 7))
    cuts = np.linspace(0, int(track["frames"]), pieces + 1).astype(int)
    out = np.repeat(track[None], pieces)
    for row, a, b in zip(out, cuts[:-1], cuts[1:], strict=True):
        keep = max(1, (b - a) // 2)
        row["first_row"], row["first_frame"], row["frames"] = (
            track["first_row"] + a,
            track["first_frame"] + a,
            keep,
        )
    return out


def _middle(bodies: list[Any], rng: np.random.Generator) -> int:
    return int(rng.integers(5, len(bodies[0]) - 5))


def _direction(rng: np.random.Generator) -> Any:
    v = rng.normal(size=3)
    return (v / np.linalg.norm(v)).astype(np.float32)


CHANGES: dict[str, Callable[..., None]] = {
    "swapped bodies": _swap,
    "body jump": _body_jump,
    "joint jump": _joint_jump,
    "bone length": _bone,
    "frozen": _freeze,
    "upside down": _invert,
    "mirrored": _mirror,
    "side flip": _side_flip,
    "flicker": _flicker,
}


def main() -> None:
    each = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        synthesize(folder / "raw", "ntu60", subjects=8, replications=1, broken=0, classes=60)
        convert(folder / "raw", folder / "shards", "ntu60")
        planted = plant(folder / "shards", folder / "damaged", each)
        dataset = open_dataset(folder / "damaged")
        print(f"{len(dataset):,} synthetic clips, {sum(map(len, planted.values()))} of them damaged\n")
        print("| fault | planted | found | false alarms among the undamaged |\n|---|---|---|---|")
        for kind, wanted, found, false in score(dataset, planted):
            print(f"| {kind} | {wanted} | {found} | {false} |")


if __name__ == "__main__":
    main()
