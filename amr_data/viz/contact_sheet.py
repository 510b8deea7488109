"""One clip on paper: poses over time, above joint x time maps of motion energy and of the focal weights that
AMR makes of it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from amr_data.viz.colours import bone_colours
from amr_data.viz.scene import Layer, Panel, Scene, front_view


class Sheet(Figure):
    """A matplotlib figure that notebooks show without pyplot."""

    def _repr_png_(self) -> bytes:
        out = io.BytesIO()
        self.savefig(out, format="png", dpi=80)
        return out.getvalue()


def contact_sheet(scene: Scene, poses: int = 8, layers: Sequence[Layer] | None = None) -> Sheet:
    """Draw a scene.

    Args:
        scene: of `clip_scene`, or several clips `side_by_side`.
        poses: how many moments to draw.
        layers: the maps below the poses; the scene's printed ones by default.
    Returns: a matplotlib figure that needs no display; `figure.savefig(path)` writes it, a notebook shows it.
    """
    if layers is None:
        layers = [layer for layer in scene.layers if layer.printed]
    maps = [(layer, body) for body in range(len(scene.panels[0].joints)) for layer in layers]
    heights = [2.6] * len(scene.panels) + [2.5] * len(maps)
    figure = Sheet(figsize=(13, 0.6 + sum(heights)), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(len(heights), 1, height_ratios=heights)
    figure.suptitle(scene.heading, x=0.01, ha="left", fontsize=12, parse_math=False)
    for row, panel in enumerate(scene.panels):
        axes = figure.add_subplot(grid[row])
        _draw_poses(axes, panel, scene, poses)
        if len(scene.panels) > 1:
            axes.set_title(panel.title, loc="left", fontsize=10, parse_math=False)
    for row, (layer, body) in enumerate(maps, len(scene.panels)):
        _draw_map(figure, grid[row], layer, body, scene)
    return figure


def moments(joints: Any, poses: int) -> list[int]:
    """Frames spread evenly over those with a body."""
    there = np.flatnonzero(np.isfinite(joints).any(axis=(0, 2, 3)))
    return [
        int(t)
        for t in there[np.unique(np.linspace(0, len(there) - 1, min(poses, len(there))).round().astype(int))]
    ]


def _draw_poses(axes: Any, panel: Panel, scene: Scene, poses: int) -> None:
    shown = moments(panel.joints, poses)
    right, height = front_view(panel.joints, scene.up)  # (M, T, V) each
    whole = [front_view(p.joints, scene.up) for p in scene.panels]  # one scale and place for all panels
    wide, high = (np.concatenate([np.ravel(w[i]) for w in whole]) for i in (0, 1))
    left, end = (float(np.nanmin(wide)), float(np.nanmax(wide))) if np.isfinite(wide).any() else (0.0, 1.0)
    low, top = (float(np.nanmin(high)), float(np.nanmax(high))) if np.isfinite(high).any() else (0.0, 1.0)
    right, width = right - (left + end) / 2, 1.15 * max(end - left, 0.6)
    partial = bool((np.isfinite(right).any(axis=2) & ~np.isfinite(right).all(axis=2)).any())
    colours = bone_colours(scene.skeleton)
    for place, t in enumerate(shown):
        for body in range(len(right)):
            x, y = right[body, t] + place * width, height[body, t]
            for colour, (a, b) in zip(colours, scene.skeleton.bone_indices, strict=True):
                style: Any = "-" if body == 0 else (0, (2, 1))
                axes.plot(x[[a, b]], y[[a, b]], color=colour, lw=2, ls=style, solid_capstyle="round")
            if partial:
                axes.plot(x, y, ls="", marker="o", ms=3.5, color="#30343a")
    axes.set_xticks(np.arange(len(shown)) * width, [f"frame {t}" for t in shown])
    axes.set_xlim(-width / 2, (max(len(shown), 1) - 0.5) * width)
    axes.set_ylim(low - 0.08, top + 0.08)
    axes.set_ylabel(f"height ({scene.unit.title})")
    axes.set_aspect("equal")
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.tick_params(axis="x", length=0)


def _draw_map(figure: Figure, cell: Any, layer: Layer, body: int, scene: Scene) -> None:
    axes = figure.add_subplot(cell)
    skeleton, bodies = scene.skeleton, len(layer.values)
    order = [skeleton.index(j) for joints in skeleton.parts.values() for j in joints]
    values = layer.values[body]
    colours = colormaps[layer.colours].with_extremes(bad="#dddddd")
    image = axes.imshow(
        values.T[order], aspect="auto", cmap=colours, vmin=0, vmax=layer.top, interpolation="nearest"
    )
    joints = [skeleton.joints[i] for i in order]
    axes.set_yticks(range(len(order)), joints, fontsize=5.5, parse_math=False)
    edges = np.cumsum([len(j) for j in skeleton.parts.values()])[:-1]
    axes.hlines(edges - 0.5, -0.5, len(values) - 0.5, color="white", lw=0.8)
    axes.set_xlabel("frame")
    label = (
        layer.title
        + (f", body {body + 1}" if bodies > 1 else "")
        + (f" ({layer.unit})" if layer.unit else "")
    )
    axes.set_title(label, loc="left", fontsize=10, parse_math=False)
    figure.colorbar(image, ax=axes, pad=0.01)
