"""Shared fixtures: where the genuine data lies (skipped where absent), tiny synthetic data sets, hand-made
NTU text."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

# The models here are so small that a second thread costs more than it gives, above all beside other work.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A console takes its width from here once and for all when it is made; pytest-xdist sets it.
os.environ.pop("COLUMNS", None)

import numpy as np
import pytest

from amr_data import convert
from amr_data.synth import synthesize

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first: one that begins last leaves the other cores idle."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(scope="session")
def genuine() -> Callable[[str], Path]:
    """Path of a genuine file or folder by its name under the shared data; skips the test where it is
    absent."""

    def find(name: str) -> Path:
        path = SHARED / name
        if not path.exists():
            pytest.skip(f"the genuine data {name} is not on this machine")
        return path

    return find


@pytest.fixture(scope="session")
def ntu_raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Synthetic NTU files: 4 classes, 4 subjects, 48 clips and 6 damaged files."""
    out = tmp_path_factory.mktemp("ntu") / "raw"
    synthesize(out, "ntu60", classes=4, subjects=4, replications=1, workers=1)
    return out


@pytest.fixture(scope="session")
def ntu_shards(ntu_raw: Path) -> Path:
    out = ntu_raw.parent / "shards"
    convert(ntu_raw, out, "ntu60", workers=1)
    return out


Body = tuple[str, "np.ndarray"]


@pytest.fixture(scope="session")
def ntu_file() -> Callable[[Sequence[Sequence[Body]]], bytes]:
    """Make a .skeleton file by hand: for each frame a list of (body id, (25, 3) positions); every joint is
    tracked."""

    def make(frames: Sequence[Sequence[Body]]) -> bytes:
        lines = [str(len(frames))]
        for bodies in frames:
            lines.append(str(len(bodies)))
            for body_id, joints in bodies:
                lines += [f"{body_id} 0 1 1 1 1 0 0.1 -0.2 2", str(len(joints))]
                lines += [f"{x!r} {y!r} {z!r} 1 2 3 4 0 0 0 0 2" for x, y, z in np.asarray(joints).tolist()]
        return ("\r\n".join(lines) + "\r\n").encode()

    return make


@pytest.fixture
def own_spec() -> dict[str, Any]:
    """A user's own spec in the NTU family: names such as P1A3, two classes, one protocol."""
    return {
        "name": "mine",
        "title": "My clips",
        "raw": "ntu",
        "skeleton": "kinect_v2",
        "frame_rate": 25,
        "max_bodies": 2,
        "naming": "P(?P<subject>[0-9]+)A(?P<action>[0-9]+)",
        "classes": {3: "wave", 8: "bow"},
        "protocols": {"xsub": {"by": "subject", "train": [1], "test": [2]}},
    }


@pytest.fixture(autouse=True)
def _quiet_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "COLUMNS", "160")
