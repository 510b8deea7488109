"""One clip on paper, or several below each other: poses over time, and below a clip's poses the joint x time
maps of its motion energy and of the focal weights that AMR makes of it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from amr_data.viz.colours import LIGHT, bone_colours
from amr_data.viz.scene import Layer, Panel, Scene, front_view

WIDE = 13.0
LEFT, RIGHT = 1.05, 0.95
"""Inches of the sheet and of its margins: joints' names and heights on the left, colour bars on the right."""
TALL, LOW = 3.3, 1.8
"""Inches of a row of poses at most: of a clip, and of one among many."""
MAP, TITLE, TICKS = 2.3, 0.34, 0.42
PALE = "#cfd4db"
SIGNS = 118
"""Characters of a title that fit on the sheet."""


class Sheet(Figure):
    """A matplotlib figure that notebooks show without pyplot."""

    def _repr_png_(self) -> bytes:
        out = io.BytesIO()
        self.savefig(out, format="png", dpi=80)
        return out.getvalue()


class _Row:
    """The poses of a panel: which frames, where each stands on the row, and how large.

    base : the first panel of the clip, which stands palely behind the others, so that all rows of a clip show
    the same frames at the same places.
    """

    def __init__(self, panel: Panel, base: Panel, scene: Scene, poses: int, tall: float) -> None:
        self.panel, self.base = panel, base
        self.frames = moments(base.joints, poses)
        shown = [f for f in self.frames if f < panel.joints.shape[1]]
        right, up = front_view(base.joints[:, self.frames], scene.up)
        other, above = front_view(panel.joints[:, shown], scene.up)
        self.middle = np.array([_middle(right[:, i]) for i in range(len(self.frames))])  # (poses,) of each
        there = np.isfinite(right)
        spread = np.abs(right - self.middle[:, None])[there]
        beside = np.abs(other - self.middle[: len(shown), None])[np.isfinite(other)]
        reach = max(float(spread.max(initial=0.3)), min(float(beside.max(initial=0)), 2.5))
        self.low, self.top = (float(up[there].min()), float(up[there].max())) if there.any() else (0.0, 1.0)
        if np.isfinite(above).any():  # a reconstruction may fly off; it is not to make everybody small
            self.low = min(self.low, max(float(np.nanmin(above)), self.low - 0.25))
            self.top = max(self.top, min(float(np.nanmax(above)), self.top + 0.25))
        self.low, self.top = self.low - 0.06, self.top + 0.16  # room for the names over the heads
        room, count = WIDE - LEFT - RIGHT, max(len(self.frames), 1)
        self.scale = min(room / (count * 2.15 * reach), tall / (self.top - self.low))  # inches a metre
        self.step = room / count / self.scale
        self.height = self.scale * (self.top - self.low)


def contact_sheet(scene: Scene, poses: int = 8, layers: Sequence[Layer] | None = None) -> Sheet:
    """Draw a scene, its people as large as the row of their poses allows.

    Args:
        scene: of `clip_scene`, or several clips `side_by_side`.
        poses: how many moments to draw; all panels of one clip show the same.
        layers: the maps below the poses; the scene's printed ones by default.
    Returns: a matplotlib figure that needs no display; `figure.savefig(path)` writes it, a notebook shows it.
    """
    if layers is None:
        layers = [layer for layer in scene.layers if layer.printed]
    maps = [(layer, body) for body in range(len(scene.panels[0].joints)) for layer in layers]
    tall = TALL if len(scene.panels) <= 4 else LOW
    rows = [_Row(p, p if p.own_time else scene.panels[0], scene, poses, tall) for p in scene.panels]
    heights = [TITLE + row.height + TICKS for row in rows] + [TITLE + MAP for _ in maps]
    high = 0.5 + sum(heights) + (0.5 if maps else 0.1)
    figure = Sheet(figsize=(WIDE, high))
    FigureCanvasAgg(figure)
    heading = {"x": 0.15 / WIDE, "y": 1 - 0.12 / high, "ha": "left", "va": "top", "fontsize": 13}
    figure.suptitle(_short(scene.heading, SIGNS - 18), parse_math=False, **heading)
    top = high - 0.5
    for row in rows:
        top -= TITLE + row.height
        axes = figure.add_axes((LEFT / WIDE, top / high, 1 - (LEFT + RIGHT) / WIDE, row.height / high))
        _draw_poses(axes, row, scene)
        if len(rows) > 1:
            axes.set_title(_short(row.panel.title, SIGNS), loc="left", fontsize=10.5, parse_math=False)
        top -= TICKS
    for layer, body in maps:
        top -= TITLE + MAP
        place = (LEFT / WIDE, top / high, 1 - (LEFT + RIGHT) / WIDE, (MAP - 0.2) / high)
        _draw_map(figure, place, layer, body, scene)
    return figure


def moments(joints: Any, poses: int) -> list[int]:
    """Frames spread evenly over those with a body."""
    there = np.flatnonzero(np.isfinite(joints).any(axis=(0, 2, 3)))
    return [
        int(t)
        for t in there[np.unique(np.linspace(0, len(there) - 1, min(poses, len(there))).round().astype(int))]
    ]


def _middle(right: npt.NDArray[np.floating[Any]]) -> float:
    """Where the bodies of one moment have their middle, from left to right."""
    there = right[np.isfinite(right)]
    return float((there.min() + there.max()) / 2) if there.size else 0.0


def _short(title: str, signs: int) -> str:
    return title if len(title) <= signs else title[: signs - 1].rstrip(" ·") + "…"


def _draw_poses(axes: Any, row: _Row, scene: Scene) -> None:
    colours, bones = bone_colours(scene.skeleton), scene.skeleton.bone_indices
    panel = row.panel
    for place, (t, middle) in enumerate(zip(row.frames, row.middle, strict=True)):
        if row.base is not panel:
            for body in row.base.joints[:, t]:
                points = _on_row(body, scene, middle, place, row)
                axes.add_collection(
                    LineCollection(list(points[bones]), colors=PALE, linewidths=1.6, zorder=1)
                )
        for body, joints in enumerate(panel.joints[:, t] if t < panel.joints.shape[1] else ()):
            points = _on_row(joints, scene, middle, place, row)
            lines = list(points[bones])
            width = (2.6 if body == 0 else 1.5) * min(1.0, row.scale / 1.2)
            axes.add_collection(
                LineCollection(lines, colors=colours, linewidths=width, capstyle="round", zorder=2)
            )
            there = np.isfinite(points[:, 0])
            if not there.any():
                continue
            own = LIGHT.bodies[body % len(LIGHT.bodies)]
            if panel.marked is not None:
                seen = there & panel.marked[body, t]
                axes.scatter(*points[seen].T, s=34, color=LIGHT.mark, zorder=3, linewidths=0)
            elif body or not there.all():
                axes.scatter(*points[there].T, s=9, color=own, zorder=3, linewidths=0)
            if len(panel.joints) > 1:
                if row.base is not panel and body < len(row.base.joints):  # over the head, were it hidden
                    behind = _on_row(row.base.joints[body, t], scene, middle, place, row)
                    points = behind if np.isfinite(behind[:, 0]).sum() > there.sum() else points
                points = points[np.isfinite(points[:, 0])]
                x, y = points[points[:, 1].argmax()]
                label = {"ha": "center", "va": "bottom", "fontsize": 9, "fontweight": "bold"}
                axes.text(x, y + 0.03, str(body + 1), color=own, zorder=4, **label)
    axes.set_xlim(-row.step / 2, (max(len(row.frames), 1) - 0.5) * row.step)
    axes.set_ylim(row.low, row.top)
    seconds = [f"frame {t}\n{t / scene.frame_rate:.2f} s" for t in row.frames]
    axes.set_xticks(np.arange(len(row.frames)) * row.step, seconds, fontsize=9)
    axes.set_ylabel(f"height ({scene.unit.title})", fontsize=9)
    axes.tick_params(axis="y", labelsize=8)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.tick_params(axis="x", length=0)


def _on_row(
    joints: npt.NDArray[np.float32], scene: Scene, middle: float, place: int, row: _Row
) -> npt.NDArray[np.floating[Any]]:
    """(V, 3) to (V, 2): where the joints of one moment are drawn."""
    right, up = front_view(joints, scene.up)
    return np.column_stack([right - middle + place * row.step, up])


def _draw_map(figure: Figure, place: Any, layer: Layer, body: int, scene: Scene) -> None:
    axes = figure.add_axes(place)
    skeleton, bodies = scene.skeleton, len(layer.values)
    order = [skeleton.index(j) for joints in skeleton.parts.values() for j in joints]
    values = layer.values[body]
    colours = ListedColormap(LIGHT.states) if layer.states else colormaps[layer.colours]
    image = axes.imshow(
        values.T[order],
        aspect="auto",
        cmap=colours.with_extremes(bad="#dddddd"),
        vmin=0,
        vmax=layer.top,
        interpolation="nearest",
    )
    joints = [skeleton.joints[i] for i in order]
    axes.set_yticks(range(len(order)), joints, fontsize=min(6.5, 150 / len(order)), parse_math=False)
    axes.tick_params(axis="y", length=2)
    axes.tick_params(axis="x", labelsize=8)
    edges = np.cumsum([len(j) for j in skeleton.parts.values()])[:-1]
    axes.hlines(edges - 0.5, -0.5, len(values) - 0.5, color="white", lw=0.8)
    axes.text(1.005, -0.02, "frame", transform=axes.transAxes, fontsize=8, va="top")
    label = (
        layer.title
        + (f", body {body + 1}" if bodies > 1 else "")
        + (f" ({layer.unit})" if layer.unit else "")
    )
    axes.set_title(label, loc="left", fontsize=10, parse_math=False)
    left, low, width, high = place
    if layer.states:
        for i, (state, colour) in enumerate(zip(layer.states, LIGHT.states, strict=True)):
            at: Any = {"transform": axes.transAxes, "va": "center", "parse_math": False}
            axes.text(1.01, 0.95 - 0.13 * i, "■", color=colour, fontsize=12, **at)
            axes.text(1.03, 0.95 - 0.13 * i, state, fontsize=8.5, **at)
        return
    bar = figure.add_axes((left + width + 0.1 / WIDE, low, 0.14 / WIDE, high), label="<colorbar>")
    figure.colorbar(image, cax=bar)
    bar.tick_params(labelsize=8)
