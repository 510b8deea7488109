"""Recipe `ctrgcn` against the literal reference: any number of bodies, with gaps, flicker, ghosts, zeros and
overlapping intervals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from amr_data.clip import Clip
from amr_data.errors import RejectError
from amr_data.readers.ntu import NtuFamily, parse_ntu
from amr_data.readers.pku_mmd import PkuMmdFamily
from amr_data.readers.sources import RawSource
from amr_data.recipes.normalize import Recipe, apply_recipe
from amr_data.specs import load_spec
from tests.amr_data.recipes import literal_reference as reference

NTU, PKU = load_spec("ntu60"), load_spec("pku-mmd-1")


@st.composite
def recordings(draw: st.DrawFn) -> list[list[tuple[str, np.ndarray]]]:
    """Frames of (body id, joints): bodies come, flicker, leave and return; some are too wide, some are all
    zeros for a while."""
    frames = draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    out: list[list[tuple[str, np.ndarray]]] = [[] for _ in range(frames)]
    for number in range(draw(st.integers(1, 5))):
        start = draw(st.integers(0, frames - 1))
        end = draw(st.integers(start, frames - 1))
        flicker = draw(st.sampled_from([0.0, 0.0, 0.2, 0.6]))
        wide = draw(st.sampled_from([0.0, 0.0, 0.3, 0.69754, 1.0]))
        zeros = draw(st.sampled_from([0.0, 0.0, 0.0, 0.2]))
        swing = draw(st.sampled_from([0.0, 0.05, 0.4]))
        base = rng.normal(0, 0.1, (25, 3))
        base[0, 1], base[3, 1] = -0.8, 0.8
        for t in range(start, end + 1):
            if rng.random() < flicker:
                continue
            joints = base + rng.normal(0, swing, 3) + (0.3 * number, 0.1, 3)
            if rng.random() < wide:
                joints[5, 0] += 3
            if rng.random() < zeros:
                joints = np.zeros((25, 3))
            out[t].append((f"7205759403793110{number}", joints.round(6)))
    for frame in out:
        rng.shuffle(frame)
    return out


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(frames=recordings())
def test_ntu_clips_equal_the_reference(ntu_file, frames):
    try:
        expected = reference.clean(frames)
    except reference.NothingLeft:
        expected = None
    try:
        count, tracks, _ = parse_ntu(ntu_file(frames), 25)
        clip = apply_recipe(Clip("x", 0, count, tracks, source="x"), NTU, Recipe("ctrgcn"), NtuFamily())
    except RejectError:
        clip = None
    assert (clip is None) == (expected is None)
    if clip is None or expected is None:
        return
    assert clip.frames == len(expected)
    ours = clip.dense(expected.shape[1]).transpose(1, 0, 2, 3)
    np.testing.assert_allclose(ours, expected, atol=2e-6, rtol=2e-6)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(frames=recordings())
def test_recipe_amr_keeps_true_frames_and_loses_no_clip_with_a_body(ntu_file, frames):
    try:
        count, tracks, _ = parse_ntu(ntu_file(frames), 25)
        clip = apply_recipe(Clip("x", 0, count, tracks, source="x"), NTU, Recipe("amr"), NtuFamily())
    except RejectError:
        assert not any(joints.any() for frame in frames for _, joints in frame)
        return
    seen = {(t, body) for t, frame in enumerate(frames) for body, joints in frame if joints.any()}
    shifts = {t - int(track.frames[0]) for track in clip.tracks for t, body in seen if body == track.body_id}
    assert any(all((int(f) + s, k.body_id) in seen for k in clip.tracks for f in k.frames) for s in shifts)
    assert min(int(t.frames[0]) for t in clip.tracks) == 0
    for slot in {t.slot for t in clip.tracks}:
        rows = np.concatenate([t.frames for t in clip.tracks if t.slot == slot])
        assert len(set(rows.tolist())) == len(rows)
    assert np.abs(clip.dense()).max() < 20


@pytest.mark.parametrize("frame_base", [0, 1])
def test_pku_clips_equal_the_reference(tmp_path, frame_base):
    rng = np.random.default_rng(3)
    video = rng.normal(0, 1, (60, 2, 25, 3)).round(6)
    video[20:40, 1] = 0
    video[45:50] = 0
    rows = [(1, 5, 15), (2, 10, 30), (3, 18, 47), (4, 46, 50), (5, 30, 60), (6, 1, 2)]
    (tmp_path / "label").mkdir()
    (tmp_path / "skeleton").mkdir()
    (tmp_path / "label" / "0002-L.txt").write_text("".join(f"{a},{s},{e},2\n" for a, s, e in rows))
    text = "\n".join(" ".join(f"{v:.6f}" for v in frame.ravel()) for frame in video)
    (tmp_path / "skeleton" / "0002-L.txt").write_text(text)
    source, family = RawSource([tmp_path]), PkuMmdFamily()
    options = family.options(frame_base=frame_base)
    (unit,) = family.discover(source, PKU, options).units
    items = list(family.read(source, [unit], PKU, options))
    for (action, start, end), item in zip(rows, items, strict=True):
        expected = reference.cut_pku(video, start, end, frame_base)
        if expected is None:
            assert item.kind == "no_body"
            continue
        clip = apply_recipe(item, PKU, Recipe("ctrgcn"), family)
        assert clip.label == action - 1
        np.testing.assert_allclose(clip.dense(2).transpose(1, 0, 2, 3), expected, atol=1e-6)
