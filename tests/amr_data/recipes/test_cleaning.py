"""The clean-up on cases worked out by hand; both recipes."""

from __future__ import annotations

import numpy as np
import pytest

from amr_data.clip import BodyTrack, Clip
from amr_data.errors import RejectError
from amr_data.readers.ntu import NtuFamily
from amr_data.readers.pku_mmd import PkuMmdFamily
from amr_data.recipes.cleaning import (
    MAX_BAD_SHARE,
    MIN_FRAMES,
    _meet,
    body_motion,
    clean_ntu,
    spread_is_good,
)
from amr_data.recipes.normalize import Recipe, apply_recipe
from amr_data.specs import load_spec

NTU, PKU = load_spec("ntu60"), load_spec("pku-mmd-1")


def person(frames, swing=0.1, at=2.0, width=0.4, seed=0) -> np.ndarray:
    """A body 1.7 m high and `width` wide whose joints swing; `at` metres to the side."""
    rng = np.random.default_rng(seed)
    shape = rng.uniform(-0.5, 0.5, (25, 3)) * (width, 1.7, 0.3)
    shape[0], shape[2] = (-width / 2, -0.85, 0), (width / 2, 0.85, 0)
    return shape + np.array([at, 0.3, 3]) + swing * np.sin(np.arange(len(frames)))[:, None, None]


def clip_of(frames: int, *bodies: tuple[str, list[int], np.ndarray]) -> Clip:
    return Clip(
        "x",
        0,
        frames,
        [BodyTrack(np.array(f), j, name, i) for i, (name, f, j) in enumerate(bodies)],
        source="x",
    )


def slots(clip: Clip) -> dict[int, list[str]]:
    out: dict[int, list[str]] = {}
    for t in clip.tracks:
        out.setdefault(t.slot, []).append(t.body_id)
    return out


def test_spread_and_motion_by_hand():
    joints = np.zeros((2, 3, 3))
    joints[0, :, 0], joints[0, :, 1] = [0, 0.4, 0.8], [0, 1, 0.5]  # 0.8 wide, 1 high: just good
    joints[1, :, 0], joints[1, :, 1] = [0, 0.4, 0.81], [0, 1, 0.5]
    assert spread_is_good(joints).tolist() == [True, False]
    flat = np.array([[[0, 0, 0], [2, 0, 0]]], float)  # variance 1 on x
    assert body_motion(flat) == 1.0
    assert body_motion(np.zeros((0, 3, 3))) == 0
    # 1.6 wide is just good for 2 high; each frame by its own height, wherever it stands
    joints = np.zeros((3, 2, 3))
    joints[0, 1], joints[1], joints[2, 1] = (1.6, 2, 0), [(0, 10, 0), (0.9, 11, 0)], (0.9, 1, 0)
    assert spread_is_good(joints).tolist() == [True, False, False]


@pytest.mark.parametrize("recipe", ["amr", "ctrgcn"])
def test_one_body_is_only_centred(recipe):
    frames = list(range(5))
    joints = person(frames)
    clip = apply_recipe(clip_of(5, ("7", frames, joints)), NTU, Recipe(recipe), NtuFamily())
    np.testing.assert_allclose(clip.tracks[0].joints, joints - joints[0, 1], atol=1e-6)
    assert clip.tracks[0].joints.dtype == np.float32
    assert not clip.tracks[0].joints[0, 1].any()


def test_gaps_stay_in_amr_and_close_in_ctrgcn():
    frames = [2, 3, 4, 8, 9]
    bodies = ("7", frames, person(frames))
    assert apply_recipe(clip_of(12, bodies), NTU, Recipe("amr"), NtuFamily()).tracks[0].frames.tolist() == [
        0,
        1,
        2,
        6,
        7,
    ]
    closed = apply_recipe(clip_of(12, bodies), NTU, Recipe("ctrgcn"), NtuFamily())
    assert (closed.frames, closed.tracks[0].frames.tolist()) == (5, [0, 1, 2, 3, 4])


@pytest.mark.parametrize("recipe", ["amr", "ctrgcn"])
def test_short_visitors_and_ghosts_go_and_the_one_that_moves_most_comes_first(recipe):
    frames = list(range(30))
    calm, lively = person(frames, 0.05), person(frames, 0.4, at=-1, seed=1)
    visitor, chair = person(frames[:11], 0.9, seed=2), person(frames, 0.0, width=2.5, seed=3)
    raw = clip_of(
        30,
        ("calm", frames, calm),
        ("lively", frames, lively),
        ("visitor", frames[:11], visitor),
        ("chair", frames, chair),
    )
    clip = apply_recipe(raw, NTU, Recipe(recipe), NtuFamily())
    order = sorted((("lively", body_motion(lively)), ("calm", body_motion(calm))), key=lambda p: -p[1])
    assert slots(clip) == {0: [order[0][0]], 1: [order[1][0]]}
    text = " ".join(clip.dropped)
    assert "visitor: seen in 11 frames" in text
    assert "chair: ghost" in text


@pytest.mark.parametrize("recipe", ["amr", "ctrgcn"])
def test_a_body_that_continues_another_joins_its_track(recipe):
    first, second = list(range(15)), list(range(15, 30))
    raw = clip_of(30, ("a", first, person(first, 0.3)), ("b", second, person(second, 0.1)))
    clip = apply_recipe(raw, NTU, Recipe(recipe), NtuFamily())
    assert {k: sorted(v) for k, v in slots(clip).items()} == {0: ["a", "b"]}
    assert clip.dense().shape == (1, 30, 25, 3)
    assert clip.dense().any(axis=(2, 3)).all()


def test_intervals_that_touch_in_one_frame_do_not_overlap_for_the_reference():
    first, second = list(range(15)), list(range(14, 30))
    raw = clip_of(30, ("a", first, person(first, 0.5)), ("b", second, person(second, 0.1, seed=1)))
    assert sorted(slots(apply_recipe(raw, NTU, Recipe("ctrgcn"), NtuFamily()))[0]) == [
        "a",
        "b",
    ]  # min(ends) - max(starts) = 0
    assert sorted(slots(apply_recipe(raw, NTU, Recipe("amr"), NtuFamily()))) == [0, 1]  # they share frame 14


def test_a_third_body_is_dropped_with_a_note():
    frames = list(range(20))
    raw = clip_of(
        20,
        *(
            (n, frames, person(frames, s, seed=i))
            for i, (n, s) in enumerate([("a", 0.5), ("b", 0.4), ("c", 0.3)])
        ),
    )
    clip = apply_recipe(raw, NTU, Recipe("amr"), NtuFamily())
    assert len(clip.tracks) == 2
    assert "a third body" in " ".join(clip.dropped)


def test_frames_that_lose_their_only_body_go_in_ctrgcn_and_stay_as_a_gap_in_amr():
    long, visitor = [*range(14), *range(20, 34)], list(range(14, 20))
    raw = clip_of(34, ("v", visitor, person(visitor)), ("a", long, person(long, 0.3, seed=1)))
    closed, gapped = (
        apply_recipe(raw, NTU, Recipe("ctrgcn"), NtuFamily()),
        apply_recipe(raw, NTU, Recipe("amr"), NtuFamily()),
    )
    assert (
        closed.frames == 28
    )  # the k-th sighting stands at (first frame + k): the last 6 of 34 frames lose their body
    assert gapped.frames == 34
    assert gapped.tracks[0].frames.tolist() == long


def test_only_short_bodies_leave_nothing_in_ctrgcn_and_the_longest_in_amr():
    raw = clip_of(9, ("a", list(range(5)), person(range(5))), ("b", list(range(9)), person(range(9))))
    with pytest.raises(RejectError, match="no_body_left"):
        apply_recipe(raw, NTU, Recipe("ctrgcn"), NtuFamily())
    assert slots(apply_recipe(raw, NTU, Recipe("amr"), NtuFamily())) == {0: ["b"]}


def test_pku_is_taken_as_it_is_in_ctrgcn_and_centred_in_amr():
    joints = person(range(4))
    raw = Clip("x", 0, 6, [BodyTrack(np.arange(2, 6), joints, "2", 1)], source="x")
    same = apply_recipe(raw, PKU, Recipe("ctrgcn"), PkuMmdFamily())
    assert (same.frames, same.tracks[0].slot) == (6, 1)
    np.testing.assert_allclose(same.tracks[0].joints, joints, atol=1e-6)
    ours = apply_recipe(raw, PKU, Recipe("amr"), PkuMmdFamily())
    assert (ours.frames, ours.tracks[0].slot) == (4, 0)
    assert not ours.tracks[0].joints[0, 1].any()


@pytest.mark.parametrize("recipe", ["none", "amr"])
def test_a_body_past_the_most_is_left_out_with_a_note(recipe):
    frames = list(range(20))
    raw = clip_of(20, *((name, frames, person(frames, 0.3, seed=i)) for i, name in enumerate("abc")))
    clip = apply_recipe(raw, NTU, Recipe(recipe), NtuFamily())
    assert sorted(slots(clip)) == [0, 1]
    (note,) = [n for n in clip.dropped if "body c" in n or "third" in n]
    assert "frames 0-19" in note


@pytest.mark.parametrize("recipe", ["amr", "ctrgcn"])
def test_twelve_frames_make_a_body_and_eleven_do_not(recipe):
    assert MIN_FRAMES == 12
    frames = list(range(30))
    bodies = [("long", frames, person(frames, 0.4))]
    bodies += [(f"seen{n}", frames[:n], person(frames[:n], 0.1, seed=n)) for n in (11, 12)]
    raw = clip_of(30, *bodies)
    raw.dropped = ["seen before"]
    clip = clean_ntu(raw, recipe)
    assert slots(clip) == {0: ["long"], 1: ["seen12"]}
    assert clip.dropped == ["seen before", "body seen11: seen in 11 frames, fewer than 12"]


@pytest.mark.parametrize("recipe", ["amr", "ctrgcn"])
def test_the_share_of_wide_frames_that_makes_a_ghost(recipe):
    # 0.69754 are just 34,877 of 50,000 frames
    assert MAX_BAD_SHARE == 0.69754
    high = np.array([[[0, 0, 1], [0, 1, 1.0]]]).repeat(50_000, axis=0)
    for wide, ghosts in (
        (34_877, ["body b: ghost, too wide for its height in 70% of 50000 frames"]),
        (34_876, []),
    ):
        joints = high.copy()
        joints[:wide, 1, 0] = 1
        frames = list(range(50_000))
        clip = clean_ntu(clip_of(50_000, ("a", frames, high), ("b", frames, joints)), recipe)
        assert clip.dropped == ghosts
        assert len(clip.tracks) == 2 - len(ghosts)


@pytest.mark.parametrize("recipe", ["amr", "ctrgcn"])
def test_the_last_body_is_no_ghost(recipe):
    frames = list(range(20))
    chairs = [(n, frames, person(frames, 0.1, width=2.5, seed=i)) for i, n in enumerate("abc")]
    clip = clean_ntu(clip_of(20, *chairs), recipe)
    assert slots(clip) == {0: ["c"]}
    assert clip.dropped == [f"body {n}: ghost, too wide for its height in 100% of 20 frames" for n in "ab"]


@pytest.mark.parametrize("recipe", ["amr", "ctrgcn"])
def test_bodies_of_zeros_are_none(recipe):
    frames, nothing = list(range(20)), np.zeros((20, 25, 3))
    raw = clip_of(20, ("a", frames, nothing), ("b", frames, nothing))
    with pytest.raises(RejectError) as error:
        clean_ntu(raw, recipe)
    assert error.value.reason == "no_body_left"
    assert (
        error.value.detail
        == {
            "amr": "every body is all zeros",
            "ctrgcn": "every body that remains is all zeros",
        }[recipe]
    )


def test_only_short_bodies_are_counted_in_the_reference_s_reject():
    raw = clip_of(9, ("a", list(range(5)), person(range(5))), ("b", list(range(9)), person(range(9))))
    with pytest.raises(RejectError) as error:
        clean_ntu(raw, "ctrgcn")
    assert error.value.detail == "2 bodies, none seen in 12 frames or more"


def test_what_is_left_out_is_noted_in_numbers():
    frames = list(range(3, 20))
    bodies = [(n, frames, person(frames, s, seed=i)) for i, (n, s) in enumerate([("a", 0.5), ("b", 0.4)])]
    third = list(range(5, 18)), person(range(13), 0.1, seed=9)
    for recipe, expected in (
        (
            "amr",
            ["body c: a third body in frames 5-17", "8 frames without a body at the ends"],
        ),
        ("ctrgcn", ["8 frames without a body", "body c: a third body in frames 2-14"]),
    ):
        raw = clip_of(25, *bodies, ("c", *third))
        raw.start = 100
        clip = clean_ntu(raw, recipe)
        assert clip.dropped == expected
        assert clip.frames == 17
        assert clip.start == {"amr": 103, "ctrgcn": 100}[recipe]


@pytest.mark.parametrize("recipe", ["amr", "ctrgcn"])
def test_a_lone_body_of_any_slot_is_the_main_actor(recipe):
    raw = clip_of(6, ("7", [1, 2, 4], person(range(3))))
    raw.tracks[0].slot, raw.dropped = 3, ["seen before"]
    clip = clean_ntu(raw, recipe)
    assert clip.tracks[0].slot == 0
    notes = {"amr": "2 frames without a body at the ends", "ctrgcn": "3 frames without a body"}
    assert clip.dropped == ["seen before", notes[recipe]]
    whole = clean_ntu(clip_of(3, ("7", [0, 1, 2], person(range(3)))), recipe)
    assert whole.dropped == []


def test_frames_that_no_kept_body_has_are_counted_in_the_reference_s_notes():
    long, visitor = [*range(14), *range(20, 34)], list(range(14, 20))
    raw = clip_of(34, ("v", visitor, person(visitor)), ("a", long, person(long, 0.3, seed=1)))
    assert clean_ntu(raw, "ctrgcn").dropped == [
        "body v: seen in 6 frames, fewer than 12",
        "6 frames in which no kept body has data",
    ]


def lively(name: str, first: int, last: int, swing: float) -> tuple[str, list[int], np.ndarray]:
    frames = list(range(first, last + 1))
    return name, frames, person(frames, swing, seed=len(name) + first)


def spans(clip: Clip) -> list[tuple[int, str, int, int]]:
    return [(t.slot, t.body_id, int(t.frames[0]), int(t.frames[-1])) for t in clip.tracks]


def test_intervals_of_the_reference_overlap_by_two_common_frames():
    # two common frames, 13 and 14, are an overlap of one: another actor; from either side
    clip = clean_ntu(clip_of(30, lively("a", 0, 14, 0.5), lively("b", 13, 29, 0.1)), "ctrgcn")
    assert spans(clip) == [(0, "a", 0, 14), (1, "b", 13, 29)]
    clip = clean_ntu(clip_of(30, lively("b", 0, 15, 0.1), lively("a", 14, 29, 0.5)), "ctrgcn")
    assert spans(clip) == [(0, "a", 14, 29), (1, "b", 0, 15)]


def test_of_two_sightings_in_one_frame_the_later_body_s_counts():
    clip = clean_ntu(clip_of(30, lively("a", 0, 14, 0.5), lively("b", 14, 29, 0.1)), "ctrgcn")
    assert spans(clip) == [(0, "a", 0, 13), (0, "b", 14, 29)]


def test_an_actor_s_interval_grows_with_each_body_that_joins():
    bodies = lively("a", 10, 24, 0.9), lively("b", 25, 40, 0.5), lively("c", 0, 15, 0.1)
    clip = clean_ntu(clip_of(41, *bodies), "ctrgcn")
    # c overlaps a, which is no longer the whole of the first actor
    assert spans(clip) == [(0, "a", 10, 24), (0, "b", 25, 40), (1, "c", 0, 15)]
    bodies = lively("a", 20, 34, 0.9), lively("b", 0, 14, 0.5), lively("c", 14, 30, 0.1)
    assert spans(clean_ntu(clip_of(35, *bodies), "ctrgcn"))[-1] == (1, "c", 14, 30)


@pytest.mark.parametrize("recipe", ["amr", "ctrgcn"])
def test_an_actor_s_tracks_are_in_order_of_time(recipe):
    clip = clean_ntu(clip_of(30, lively("early", 0, 14, 0.1), lively("late", 15, 29, 0.5)), recipe)
    assert spans(clip) == [(0, "early", 0, 14), (0, "late", 15, 29)]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ([0, 1, 2], [2, 3], True),
        ([2, 3], [0, 1, 2], True),
        ([0, 1, 2], [3, 4], False),
        ([3, 4], [0, 1, 2], False),
        ([4, 5], [5, 9], True),
        ([5, 9], [4, 5], True),
        ([0, 2, 4], [1, 3, 5], False),  # they take turns
        ([0, 2, 4], [1, 4, 5], True),
        ([5], [5], True),
        ([5], [6], False),
    ],
)
def test_tracks_meet_in_a_frame_that_both_have(one, other, expected):
    assert _meet(np.array(one), np.array(other)) is expected
