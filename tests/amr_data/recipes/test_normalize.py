"""Origin, scale and body frame, on bodies whose answer is seen by looking."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from amr_data.clip import BodyTrack, Clip
from amr_data.errors import RejectError, UsageError
from amr_data.recipes.normalize import (
    MIN_SPINE,
    RECIPES,
    Recipe,
    apply_recipe,
    body_frame,
    centre,
    spine_length,
)
from amr_data.specs import load_spec

SPEC = load_spec("ntu60")
LOW, HIGH = (SPEC.skeleton.index(j) for j in SPEC.skeleton.spine)
RIGHT, LEFT = (SPEC.skeleton.index(j) for j in SPEC.skeleton.shoulders)
CENTRE = SPEC.skeleton.index(SPEC.skeleton.centre)


class Family:
    """Cleans by leaving out what is called a ghost; centres as it is told to."""

    def __init__(self, centred: bool = False) -> None:
        self.centred = centred
        self.asked: list[str] = []

    def clean(self, clip: Clip, recipe: str, spec: Any) -> Clip:
        assert spec is SPEC
        self.asked.append(recipe)
        clip.tracks = [t for t in clip.tracks if t.body_id != "ghost"]
        return clip

    def centres(self, recipe: str, spec: Any) -> bool:
        assert spec is SPEC
        assert recipe in RECIPES
        return self.centred


def body(spine=(0.0, 2.0, 0.0), across=(0.0, 0.5, -1.0), rows: int = 1, at=(0.0, 0.0, 0.0)) -> np.ndarray:
    """(rows, V, 3): a spine from `at` on, shoulders `across` from right to left, all other joints at `at`."""
    joints = np.zeros((rows, len(SPEC.skeleton.joints), 3)) + at
    joints[:, HIGH] += spine
    joints[:, RIGHT] += spine
    joints[:, LEFT] += np.add(spine, across)
    return joints


def clip_of(*tracks: tuple[np.ndarray, int, int]) -> Clip:
    """Each track: joints, slot, first frame."""
    made = [
        BodyTrack(np.arange(first, first + len(j)), j, f"b{i}", slot)
        for i, (j, slot, first) in enumerate(tracks)
    ]
    return Clip("x", 0, 20, made, dropped=["seen before"])


def test_the_body_frame_by_hand():
    # the spine is y, so it becomes z; across the shoulders, without what goes along the spine, is -z, so this
    # becomes x; y is z cross x, (0, 1, 0) x (0, 0, -1) = (-1, 0, 0)
    frame = body_frame(clip_of((body(), 0, 0)), SPEC)
    np.testing.assert_allclose(frame, [[0, 0, -1], [-1, 0, 0], [0, 1, 0]], atol=1e-12)
    # a spine along x + z and shoulders along y: z = (1, 0, 1) / sqrt 2, x = (0, 1, 0), y = z cross x
    frame = body_frame(clip_of((body((3, 0, 3), (1, 5, 1), at=(1, 2, 3)), 0, 0)), SPEC)
    half = np.sqrt(0.5)
    np.testing.assert_allclose(frame, [[0, 1, 0], [-half, 0, half], [half, 0, half]], atol=1e-12)


def test_rotation_turns_every_body_and_every_joint():
    first, second = body(rows=2), body(at=(3, 4, 5))
    clip = apply_recipe(clip_of((first, 0, 0), (second, 1, 0)), SPEC, Recipe("none", rotate=True), Family())
    np.testing.assert_allclose(clip.tracks[0].joints[:, HIGH], [(0, 0, 2)] * 2, atol=1e-6)
    np.testing.assert_allclose(clip.tracks[0].joints[:, LEFT], [(1, 0, 2.5)] * 2, atol=1e-6)
    np.testing.assert_allclose(clip.tracks[1].joints[0, LOW], (-5, -3, 4), atol=1e-6)


def test_the_body_frame_is_that_of_the_main_actor_s_first_frame_with_data():
    nothing = np.zeros((1, len(SPEC.skeleton.joints), 3))
    turned = body((2, 0, 0), (0, 1, 0))
    late = (np.concatenate([nothing, body(), turned]), 0, 4)
    clip = clip_of((turned, 1, 0), (turned, 0, 9), late)  # tracks in no order of time
    np.testing.assert_allclose(body_frame(clip, SPEC), [[0, 0, -1], [-1, 0, 0], [0, 1, 0]], atol=1e-12)


@pytest.mark.parametrize(
    ("spine", "across", "fits"),
    [
        ((0, MIN_SPINE, 0), (1, 0, 0), False),
        ((0, 1.01 * MIN_SPINE, 0), (1, 0, 0), True),
        ((0, 1, 0), (MIN_SPINE, 3, 0), False),
        ((0, 1, 0), (1.01 * MIN_SPINE, 3, 0), True),
        ((0, 1, 0), (0, 1, 0), False),
    ],
)
def test_spine_and_shoulders_of_more_than_a_millimetre_make_a_body_frame(spine, across, fits):
    clip = clip_of((body(spine, across), 0, 0))
    if fits:
        np.testing.assert_allclose(body_frame(clip, SPEC), [[1, 0, 0], [0, 0, -1], [0, 1, 0]], atol=1e-9)
        return
    with pytest.raises(RejectError) as error:
        body_frame(clip, SPEC)
    assert error.value.reason == "no_body_frame"
    assert error.value.detail == "spine and shoulders of the main actor's first frame do not span a plane"


def test_the_spine_s_length_is_the_main_actor_s_mean_without_frames_that_have_none():
    long, short = body((0, 0.6, 0), rows=3, at=(1, 2, 3)), body((0.4, 0, 0), at=(-2, 0, 0))
    flat, millimetre = body((0, 0, 0)), body((0, MIN_SPINE, 0))
    other = body((0, 0, 9), rows=7)
    clip = clip_of((other, 1, 0), (np.concatenate([long, flat]), 0, 0), (short, 0, 9), (millimetre, 0, 12))
    assert spine_length(clip, SPEC) == pytest.approx((3 * 0.6 + 0.4) / 4)


@pytest.mark.parametrize("tracks", [[(body((0, MIN_SPINE, 0)), 0, 0)], [(body(), 1, 0)]])
def test_a_spine_of_no_length_cannot_scale(tracks):
    with pytest.raises(RejectError) as error:
        spine_length(clip_of(*tracks), SPEC)
    assert error.value.reason == "no_body_frame"
    assert error.value.detail == "the main actor's spine has no length to scale by"


def test_scale_divides_every_body_by_the_main_actor_s_spine():
    clip = clip_of((body(), 0, 0), (body((0, 3, 0), at=(3, 4, 5)), 1, 0))
    clip = apply_recipe(clip, SPEC, Recipe("none", scale=True), Family())
    assert clip.scale == 2
    np.testing.assert_allclose(clip.tracks[0].joints[0, HIGH], (0, 1, 0))
    np.testing.assert_allclose(clip.tracks[1].joints[0, [LOW, HIGH]], [(1.5, 2, 2.5), (1.5, 3.5, 2.5)])


def test_the_origin_is_the_main_actor_s_first_place():
    early, late = body(rows=2, at=(1, 2, 3)), body(rows=2, at=(9, 9, 9))
    early[1] += 0.5
    other = body(at=(4, 4, 4))
    clip = centre(clip_of((late, 0, 8), (other, 1, 0), (early, 0, 3)), CENTRE)
    at = [t.joints[:, CENTRE].tolist() for t in clip.tracks]
    assert at == [[[8, 7, 6]] * 2, [[3, 2, 1]], [[0, 0, 0], [0.5, 0.5, 0.5]]]


def test_a_clip_is_cleaned_then_centred_scaled_and_turned():
    clip = clip_of((body(at=(1, 2, 3)), 0, 0), (body(), 1, 0))
    clip.tracks[1].body_id = "ghost"
    family = Family(centred=True)
    clip = apply_recipe(clip, SPEC, Recipe("amr", rotate=True, scale=True), family)
    assert family.asked == ["amr"]
    assert [t.body_id for t in clip.tracks] == ["b0"]
    assert clip.tracks[0].joints.dtype == np.float32
    np.testing.assert_allclose(clip.tracks[0].joints[0, [CENTRE, HIGH]], [(0, 0, 0), (0, 0, 1)], atol=1e-6)
    assert clip.dropped == ["seen before"]


def test_the_recipe_none_asks_no_family_to_clean():
    family = Family()
    joints = body(at=(1, 2, 3))
    clip = apply_recipe(clip_of((joints, 0, 0)), SPEC, Recipe("none"), family)
    assert (family.asked, clip.scale) == ([], 1)
    np.testing.assert_allclose(clip.tracks[0].joints, joints)


def test_bodies_past_the_dataset_s_number_are_left_out_with_a_note():
    spec_bodies = SPEC.max_bodies
    assert spec_bodies == 2
    clip = clip_of((body(), 0, 0), (body(), 1, 0), (body(rows=4), 2, 3), (body(rows=2), 5, 11))
    clip = apply_recipe(clip, SPEC, Recipe("none"), Family())
    assert [t.slot for t in clip.tracks] == [0, 1]
    assert clip.dropped == [
        "seen before",
        "body b2: one more than 2 bodies, in frames 3-6",
        "body b3: one more than 2 bodies, in frames 11-12",
    ]
    with pytest.raises(RejectError) as error:
        apply_recipe(clip_of((body(), 2, 0)), SPEC, Recipe("none"), Family())
    assert (error.value.reason, error.value.detail) == ("no_body_left", "no body in the first 2 slots")


def test_a_main_actor_of_zeros_is_no_origin():
    clip = clip_of((np.zeros((3, len(SPEC.skeleton.joints), 3)), 0, 0), (body(), 1, 0))
    with pytest.raises(RejectError) as error:
        centre(clip, CENTRE)
    assert (error.value.reason, error.value.detail) == ("no_body_left", "the main actor is all zeros")


def test_what_the_manifest_keeps_of_a_recipe():
    assert Recipe("ctrgcn", rotate=True).record(SPEC, Family(centred=True)) == {
        "name": "ctrgcn",
        "rotate": True,
        "scale": False,
        "centred": True,
        "unit": "metres",
    }
    assert Recipe("none", scale=True).record(SPEC, Family())["unit"] == "spine lengths"
    assert Recipe() == Recipe("amr", rotate=False, scale=False)


def test_an_unknown_recipe_and_a_body_frame_in_a_plane_are_refused():
    with pytest.raises(UsageError, match="there is no recipe 'arm': did you mean 'amr'"):
        Recipe("arm")
    flat = SPEC.model_copy(update={"dimensions": 2, "title": "Flat clips"})
    with pytest.raises(UsageError, match="Flat clips is two-dimensional: there is no body frame"):
        Recipe(rotate=True).check(flat)
    Recipe(scale=True).check(flat)
    Recipe(rotate=True).check(SPEC)
