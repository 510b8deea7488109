"""Synthetic NTU RGB+D .skeleton files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from amr_data.specs import DatasetSpec
from amr_data.synth.motion import F64, ghost, sense, to_camera
from amr_data.synth.writing import RawWriter, damaged, performances

_ORIENTATION = np.array([[3.0, 1, 4, 1], [5, 9, 2, 6], [5, 3, 5, 8]])
_JOINT_LINE = " ".join(["%.7g"] * 11) + " %d\r\n"


class NtuWriter(RawWriter):
    def write(
        self, out: Path, spec: DatasetSpec, actions: list[int], person: int, replication: int, seed: int
    ) -> tuple[int, int]:
        for action in actions:
            bodies, heading, rng = performances(spec, action, person, replication, seed)
            for camera in (1, 2, 3):
                seen = [
                    to_camera(b, camera, heading, (rng.normal(0, 0.2), -0.1, 3.0 + rng.normal(0, 0.2)))
                    for b in bodies
                ]
                name = f"S{1 + person % 17:03d}C{camera:03d}P{person:03d}R{replication:03d}A{action:03d}"
                (out / f"{name}.skeleton").write_text(
                    ntu_text(list(_ntu_frames(spec, seen, rng))), encoding="ascii", newline=""
                )
        return 3 * len(actions), 3 * len(actions)

    def break_file(self, out: Path, spec: DatasetSpec, kind: str, index: int, actions: list[int]) -> str:
        data = sorted(out.glob("*.skeleton"))[0].read_bytes()
        path = (
            out / f"S017C001P{40 - index % 40:03d}R{90 + index // 40:03d}"
            f"A{actions[index % len(actions)]:03d}.skeleton"
        )
        header = b"1000000000\r\n" + data.split(b"\n", 1)[1]
        path.write_bytes(damaged(data, kind, data.replace(b"\n25\r", b"\n24\r"), header))
        return path.name


def ntu_text(bodies: list[list[tuple[str, F64, npt.NDArray[np.int64]]]]) -> str:
    """A .skeleton file from its frames: for each a list of (body id, (V, 3) metres, (V,) tracking states)."""
    out = [f"{len(bodies)}\r\n"]
    for frame in bodies:
        out.append(f"{len(frame)}\r\n")
        for body_id, joints, states in frame:
            out.append(f"{body_id} 0 1 1 1 1 0 0.01 -0.02 2\r\n{len(joints)}\r\n")
            depth = np.maximum(joints[:, 2], 0.1)
            image = joints[:, :2] / depth[:, None] * (1, -1)
            columns = [joints, 256 + 365 * image[:, :1], 212 + 365 * image[:, 1:], 960 + 1060 * image[:, :1]]
            turn = np.sin(
                joints @ _ORIENTATION
            )  # as many digits as real orientations have; nothing reads them
            turn /= np.linalg.norm(turn, axis=1, keepdims=True)
            columns += [540 + 1060 * image[:, 1:], turn, states[:, None].astype(np.float64)]
            rows = np.concatenate(columns, axis=1).tolist()
            out += [_JOINT_LINE % tuple(r) for r in rows]
    return "".join(out)


def _ntu_frames(
    spec: DatasetSpec, bodies: list[F64], rng: np.random.Generator
) -> Iterator[list[tuple[str, F64, npt.NDArray[np.int64]]]]:
    """Add what real files have: empty frames, an id that changes midway, ghosts, short visitors."""
    frames = len(bodies[0])
    base = 72057594037900000 + int(rng.integers(90000))
    tracks = []
    for index, body in enumerate(bodies):
        joints, states = sense(body, rng)
        ids = np.full(frames, base + index)
        if rng.random() < 0.08:
            ids[int(rng.integers(frames // 3, 2 * frames // 3)) :] = base + 10 + index
        tracks.append((ids, joints, states, np.ones(frames, bool)))
    if rng.random() < 0.12:
        there = np.zeros(frames, bool)
        start, length = int(rng.integers(frames // 2)), int(rng.choice([6, frames // 2]))
        there[start : start + length] = True
        joints, states = sense(ghost(spec.skeleton, frames, rng), rng)
        tracks.append((np.full(frames, base + 50), joints, states, there))
    empty = int(rng.integers(1, 4)) if rng.random() < 0.08 else 0
    for _ in range(empty):
        yield []
    for t in range(frames):
        yield [(str(ids[t]), joints[t], states[t]) for ids, joints, states, there in tracks if there[t]]
