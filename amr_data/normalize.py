"""Recipes: which clean-up a raw family gets, and where the origin lies. No recipe rotates or scales; augmentation and models come later."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from amr_data.cleaning import clean_ntu, clean_slots
from amr_data.clip import Clip
from amr_data.errors import RejectError
from amr_data.specs import DatasetSpec

RECIPES = ("amr", "ctrgcn")


def apply_recipe(clip: Clip, spec: DatasetSpec, recipe: str) -> Clip:
    """Clean and centre one raw clip.

    Returns: a clip whose tracks hold float32 metres around the origin, slots 0 and up, gaps kept.
    Raises: RejectError where the clean-up leaves nothing.
    """
    clip = clean_ntu(clip, recipe) if spec.raw == "ntu" else clean_slots(clip, recipe)
    clip = replace(clip, tracks=[t for t in clip.tracks if t.slot < spec.max_bodies])
    if is_centred(spec, recipe):
        clip = centre(clip, spec.skeleton.index(spec.skeleton.centre))
    return replace(clip, tracks=[replace(t, joints=t.joints.astype(np.float32)) for t in clip.tracks])


def is_centred(spec: DatasetSpec, recipe: str) -> bool:
    """The reference takes PKU-MMD clips where they stand; everything else moves to the origin."""
    return not (spec.raw == "pku-mmd" and recipe == "ctrgcn")


def centre(clip: Clip, joint: int) -> Clip:
    """Shift all bodies so that `joint` of the main actor's first frame with data is the origin.

    Raises: RejectError("no_body_left") where the main actor has none.
    """
    main = min((t for t in clip.tracks if t.slot == 0 and t.joints.any()), key=lambda t: int(t.frames[0]), default=None)
    if main is None:
        raise RejectError("no_body_left", "the main actor is all zeros")
    origin = main.joints[int(np.flatnonzero(main.joints.any(axis=(1, 2)))[0]), joint].copy()
    return replace(clip, tracks=[replace(t, joints=t.joints - origin) for t in clip.tracks])
