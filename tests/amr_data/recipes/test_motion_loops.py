"""The compiled loops over frames against numpy: the same bits. Skipped where numba is missing."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amr_data.clip import BodyTrack
from amr_data.compiling import SWITCH, compiled
from amr_data.recipes import cleaning, motion
from amr_data.recipes.cleaning import body_motion, spread_is_good
from amr_data.recipes.motion import add_energy, column_sums

pytest.importorskip("numba")


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    frames=st.integers(1, 90),
    joints=st.integers(2, 25),
    size=st.sampled_from([0.0, 1e-30, 1.0, 900.0]),
)
def test_energies_sums_and_variances_have_the_bits_that_numpy_gives(seed, frames, joints, size):
    rng = np.random.default_rng(seed)
    positions = rng.normal(0, size, (frames, joints, 3)) if size else np.zeros((frames, joints, 3))
    positions[rng.random(frames) < 0.2] = -0.0
    when = np.flatnonzero(rng.random(3 * frames) < 0.6)[:frames]
    when = when if len(when) == frames else np.arange(frames)

    def found() -> list[bytes]:
        track = BodyTrack(when, positions.astype(np.float32))
        add_energy(track)
        flat = track.joints.reshape(frames, -1)
        motion = np.array([body_motion(positions)])
        return [x.tobytes() for x in (track.energy, *column_sums(flat), motion, spread_is_good(positions))]

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(SWITCH, "0")
        patiently = found()
        patch.setenv(SWITCH, "1")
        assert compiled("amr_data.recipes.motion_loops") is not None
        assert found() == patiently


def test_what_has_compiled_loops_takes_what_they_give(monkeypatch):
    def energies(joints, starts, windows, out) -> None:
        out[:] = 7

    def sums(values, first, second) -> None:
        first += 1
        second += 2

    given = {
        "energies": energies,
        "column_sums": sums,
        "variances": lambda points: np.array([1.0, 2.0, points.shape[0]]),
        "spreads": lambda joints: np.array([[0.0, 1.0, 2.0], [1.0, 1.0, 1.0]]),
    }
    joints, asked = np.ones((3, 2, 3)), []
    for module in (cleaning, motion):
        monkeypatch.setattr(module, "compiled", lambda name: asked.append(name) or SimpleNamespace(**given))
    track = BodyTrack(np.arange(3), joints.astype(np.float32))
    motion.add_energy(track)
    assert track.energy.shape == (3, 2, 3)
    assert (track.energy == 7).all()
    first, second = column_sums(joints.reshape(3, 6).astype(np.float32))
    assert first.tolist() == [1] * 6
    assert second.tolist() == [2] * 6
    assert body_motion(joints) == 1 + 2 + 6
    assert spread_is_good(joints).tolist() == [True, False, False]
    assert asked == ["amr_data.recipes.motion_loops"] * 4
