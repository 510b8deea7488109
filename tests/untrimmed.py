"""Untrimmed recordings strung together from the real clips of NW-UCLA, as files of PKU-MMD's form with a spec
of their own.

    python -m tests.untrimmed all_sqe.zip strings/ --clips 10

Each recording is one person in one view: so many clips, each used once, with idle gaps before, between and
after. The clips are as recorded, but moved on the floor so that each begins where the one before ended. An
idle gap of one to three seconds is made: from the last pose in a third of a second to the person's mean first
pose, which is held, sways by two centimetres and trembles as a sensor does, then to the next first pose. What
is detected is therefore real motion among made-up rest: the figures say how methods compare, not how well
people are watched.

Clips of fewer than 12 frames are left out: they show no action. Subjects 8, 9 and 10 test, the others train:
the split `xsub`. Names are `S03V1R02`: subject, view, number.
"""

from __future__ import annotations

import argparse
import json
import zipfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import yaml

CLASSES = {
    1: "pick up with one hand",
    2: "pick up with two hands",
    3: "drop trash",
    4: "walk around",
    5: "sit down",
    6: "stand up",
    8: "donning",
    9: "doffing",
    11: "throw",
    12: "carry",
}
LEAST, RATE = 12, 30
TURN = 10  # frames from a pose to another
TREMBLE, SWAY = 0.003, 0.02  # metres
TEST = [8, 9, 10]
HIP = 0
Clip = tuple[int, np.ndarray]  # class as the dataset numbers it, (F, 20, 3) metres


def read_clips(archive: Path, subjects: set[int] | None = None) -> dict[tuple[int, int], list[Clip]]:
    """Real clips by subject and view."""
    found: dict[tuple[int, int], list[Clip]] = defaultdict(list)
    with zipfile.ZipFile(archive) as content:
        for name in sorted(n for n in content.namelist() if n.endswith(".json")):
            action, subject, _, view = (int(part[1:]) for part in Path(name).stem.split("_"))
            if subjects is None or subject in subjects:
                joints = np.array(json.loads(content.read(name))["skeletons"])
                if len(joints) >= LEAST:
                    found[subject, view].append((action, joints))
    return dict(found)


def string(clips: list[Clip], rest: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, list]:
    """One recording (F, 20, 3) and its rows (class, first, end). rest : (20, 3), the pose of gaps, about its
    hip."""
    frames: list[np.ndarray] = []
    rows, at, where = [], 0, clips[0][1][0, HIP] * [1, 0, 1]
    last = rest + clips[0][1][0, HIP]
    for action, joints in [*clips, (0, np.zeros((0, 20, 3)))]:
        moved = joints
        if len(joints):
            moved = joints - joints[0, HIP] * [1, 0, 1] + where
        gap = idle(last, rest, moved[0] if len(moved) else None, int(generator.integers(30, 91)), generator)
        frames += [gap, moved]
        if len(moved):
            rows.append((action, at + len(gap), at + len(gap) + len(moved)))
            last, where = moved[-1], moved[-1, HIP] * [1, 0, 1]
        at += len(gap) + len(moved)
    return np.concatenate(frames), rows


def idle(
    begin: np.ndarray, rest: np.ndarray, end: np.ndarray | None, frames: int, generator: np.random.Generator
) -> np.ndarray:
    """A gap (frames, 20, 3) from a pose to the next; rest stands where the person is."""
    held = rest + begin[HIP] * [1, 0, 1] + [0, (begin if end is None else end)[HIP, 1], 0]
    time = np.arange(frames)
    phase, speed = generator.uniform(0, 2 * np.pi, 3), generator.uniform(0.2, 0.5, 3)
    sway = SWAY * np.sin(2 * np.pi * speed * time[:, None] / RATE + phase)
    made = held + sway[:, None] + generator.normal(0, TREMBLE, (frames, 20, 3))
    ease = 0.5 - 0.5 * np.cos(np.pi * np.clip((time + 1) / TURN, 0, 1))
    made = begin + ease[:, None, None] * (made - begin)
    if end is not None:
        made = end + ease[::-1, None, None] * (made - end)
    return made


def strings(
    archive: Path, clips: int = 10, seed: int = 0, subjects: set[int] | None = None, most: int | None = None
) -> dict[str, tuple[np.ndarray, list]]:
    """Recordings by their names. most : of each subject and view."""
    found = {}
    for (subject, view), mine in sorted(read_clips(archive, subjects).items()):
        generator = np.random.default_rng([seed, subject, view])
        rest = np.mean([joints[0] - joints[0, HIP] for _, joints in mine], axis=0)
        order = generator.permutation(len(mine))
        for number, start in enumerate(range(0, len(order), clips)):
            if number == most:
                break
            chosen = [mine[i] for i in order[start : start + clips]]
            found[f"S{subject:02}V{view}R{number:02}"] = string(chosen, rest, generator)
    return found


def spec() -> dict[str, object]:
    return {
        "name": "untrimmed-nw-ucla",
        "title": "NW-UCLA, strung together",
        "raw": "pku-mmd",
        "skeleton": "kinect_v1",
        "frame_rate": RATE,
        "max_bodies": 1,
        "handed": False,
        "naming": "S(?P<subject>[0-9]{2})V(?P<camera>[0-9])R(?P<replication>[0-9]{2})",
        "protocols": {
            "xsub": {"by": "subject", "train": [n for n in range(1, 11) if n not in TEST], "test": TEST}
        },
        "classes": CLASSES,
    }


def write(found: dict[str, tuple[np.ndarray, list]], out: Path) -> Path:
    """Skeleton and label files, and the spec. Returns the spec's path."""
    for folder in ("skeleton", "label"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    for name, (joints, rows) in found.items():
        both = np.concatenate([joints, np.zeros_like(joints)], axis=1).reshape(len(joints), -1)
        np.savetxt(out / "skeleton" / f"{name}.txt", both, "%.5f")
        lines = "".join(f"{action},{first},{end},2\n" for action, first, end in rows)
        (out / "label" / f"{name}.txt").write_text(lines)
    path = out / "untrimmed.yaml"
    path.write_text(yaml.safe_dump(spec(), sort_keys=False))
    return path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Untrimmed recordings from the clips of NW-UCLA.")
    parser.add_argument("archive", type=Path, help="all_sqe.zip, as it is distributed")
    parser.add_argument("out", type=Path, help="folder for skeleton/, label/ and untrimmed.yaml")
    parser.add_argument("--clips", type=int, default=10, help="of a recording (10)")
    parser.add_argument("--seed", type=int, default=0, help="of orders and gaps (0)")
    asked = parser.parse_args()
    made = strings(asked.archive, asked.clips, asked.seed)
    write(made, asked.out)
    total = sum(len(joints) for joints, _ in made.values())
    print(
        f"{len(made)} recordings, {total:,} frames, {sum(len(rows) for _, rows in made.values()):,} actions"
    )
