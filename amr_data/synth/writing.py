"""What a writer of synthetic raw files offers: one class for each raw family, the layout it writes, and how
its files break."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

import numpy as np

from amr_data.specs import DatasetSpec
from amr_data.synth.motion import F64, Subject, perform

BROKEN = ("truncated", "empty", "binary", "joint_count", "nan", "header")


class RawWriter(ABC):
    """Writes one person's performances in the true layout of a raw family. `folders` are made beforehand."""

    folders: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def write(
        self, out: Path, spec: DatasetSpec, actions: list[int], person: int, replication: int, seed: int
    ) -> tuple[int, int]:
        """Returns how many files and how many labelled clips were written."""

    def finish(self, out: Path, spec: DatasetSpec) -> None:  # noqa: B027 - most families have nothing
        """Write what comes beside the clips, once all are there."""

    @abstractmethod
    def break_file(self, out: Path, spec: DatasetSpec, kind: str, index: int, actions: list[int]) -> str:
        """Damage a copy of a good file under a new name, in one of the ways of `BROKEN`. Returns the name."""


def performances(
    spec: DatasetSpec, action: int, person: int, replication: int, seed: int
) -> tuple[list[F64], float, np.random.Generator]:
    """One or two people's motion in the performer's space, and the heading; the same for every camera."""
    rng = np.random.default_rng([seed, 2, action, person, replication])
    first = perform(spec.skeleton, action, 0, Subject.draw(person, seed), rng)
    bodies = [first + np.array([0, 0, 0.02]) * np.arange(len(first))[:, None, None] * 0.05]
    if action in spec.mutual:
        second = perform(spec.skeleton, action, 1, Subject.draw(person + 500, seed), rng)
        frames = min(len(first), len(second))
        facing = second[:frames] * (-1, 1, -1) + (0, 0, -0.9)
        bodies = [bodies[0][:frames], facing]
    return bodies, float(rng.normal(0, 0.25)), rng


def damaged(data: bytes, kind: str, short: bytes, header: bytes) -> bytes:
    """A good text file's bytes, damaged; `short` has a joint less, `header` says absurd numbers."""
    lines = data.split(b"\n")
    at = next(
        i for i, line in enumerate(lines) if i >= 20 and line.count(b" ") >= 11
    )  # a line of coordinates
    with_nan = b"\n".join([*lines[:at], b"nan " + lines[at].split(b" ", 1)[1], *lines[at + 1 :]])
    return {
        "truncated": data[: len(data) * 2 // 3 + 7],
        "empty": b"",
        "binary": bytes(range(256)) * 16,
        "joint_count": short,
        "nan": with_nan,
        "header": header,
    }[kind]
