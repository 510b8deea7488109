"""The colours of bodies, on light ground and on dark: left is cool, right is warm, and every one stands
out from its ground by `LEAST`, which a test computes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.colors import to_rgb

from amr_data.specs import Skeleton

LEAST = 3.0
"""Contrast that graphics need to be seen (WCAG 2.2, success criterion 1.4.11)."""
SPARE = 1.15
"""How much more than that the ends of colour scales have, since the light in the viewer shades bodies."""
SCALES = ("plasma", "viridis")
STEPS = 64
RGB = tuple[float, float, float]


@dataclass(frozen=True)
class Theme:
    """What a page or picture is drawn in.

    ground : what bodies stand on. parts, other : of bones, by the part of the body that they end in.
    bodies : of joints, by person. neutral : of what has no value. states : of a layer that has two.
    ghost : of bodies laid over others. mark : of joints that stand out. labels, alarm : of intervals.
    """

    ground: str
    parts: dict[str, str]
    other: str
    bodies: tuple[str, ...]
    states: tuple[str, str]
    neutral: str
    ghost: str
    mark: str
    alarm: str
    labels: tuple[str, ...]


LIGHT = Theme(
    ground="#ffffff",
    parts={
        "torso": "#5d6570",
        "left_arm": "#1c64c8",
        "left_leg": "#0b7f93",
        "right_arm": "#cf2e2e",
        "right_leg": "#b3650a",
    },
    other="#7d4fb0",
    bodies=("#30343a", "#8a2be2", "#0a7d3c", "#9c1458"),
    states=("#1c64c8", "#8a8f98"),
    neutral="#7b828c",
    ghost="#b5179e",
    mark="#0a7d3c",
    alarm="#c81e4a",
    labels=("#2563c9", "#a35200", "#0a7d3c", "#8a2be2", "#0b7f93", "#b5179e", "#5b6b00", "#7a4a2b"),
)
DARK = Theme(
    ground="#14171b",
    parts={
        "torso": "#b4bcc7",
        "left_arm": "#6aa9ff",
        "left_leg": "#45cfd6",
        "right_arm": "#ff7468",
        "right_leg": "#ffb24a",
    },
    other="#c59bf0",
    bodies=("#eef1f5", "#c79bff", "#6ee7a0", "#ff9ccf"),
    states=("#6aa9ff", "#767d87"),
    neutral="#8b929c",
    ghost="#e879f9",
    mark="#5ee08a",
    alarm="#ff5d7e",
    labels=("#6aa9ff", "#ffb24a", "#5ee08a", "#c79bff", "#45cfd6", "#e879f9", "#c3d04f", "#d9a98a"),
)
THEMES = {"light": LIGHT, "dark": DARK}


def bone_colours(skeleton: Skeleton, theme: Theme = LIGHT) -> list[str]:
    """A colour for each bone, by the part of the joint that it ends in."""
    part_of = {joint: part for part, joints in skeleton.parts.items() for joint in joints}
    return [theme.parts.get(part_of[joint], theme.other) for joint, _ in skeleton.bones]


@cache
def scale(name: str, ground: str) -> npt.NDArray[np.float64]:
    """(STEPS, 3) of 0 to 1, from the least value to the largest: one of matplotlib's scales, whose lightness
    grows evenly; on dark ground its dark end is lightened until it stands out, on light ground the stretch
    is taken that does."""
    colours = colormaps[name](np.linspace(0, 1, 1024))[:, :3]
    least = LEAST * SPARE
    if luminance(ground) < 0.5:
        light = np.array([luminance(tuple(c)) for c in colours])
        wanted = least * (luminance(ground) + 0.05) - 0.05
        white = np.maximum(wanted - light, 0) / (1 - light)  # how much of it, in light, makes up what lacks
        colours = _encoded(_linear(colours) * (1 - white[:, None]) + white[:, None])
        seen = np.arange(len(colours))
    else:
        seen = np.flatnonzero([contrast(tuple(c), ground) >= least for c in colours])
    places = np.linspace(seen[0], seen[-1], STEPS).round().astype(int)
    return np.asarray(colours[places])


def contrast(one: str | RGB, other: str | RGB) -> float:
    """Contrast of two colours, 1 to 21, as WCAG defines it."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str | RGB) -> float:
    """Relative luminance of an sRGB colour, 0 to 1."""
    return float(_linear(np.array(to_rgb(colour), float)) @ (0.2126, 0.7152, 0.0722))


def _linear(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def _encoded(light: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
