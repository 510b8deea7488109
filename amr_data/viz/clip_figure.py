"""One clip on paper: poses over time above a joint x time map of motion energy, and the focal weights that AMR makes of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from amr_data.clip import Clip, FloatArray
from amr_data.motion import WINDOWS, focal_weights
from amr_data.specs import DatasetSpec

PART_COLOURS = {
    "torso": "#4c4c4c",
    "left_arm": "#1f77b4",
    "right_arm": "#d62728",
    "left_leg": "#17a2b8",
    "right_leg": "#e08e0b",
}
OTHER_COLOUR = "#7f7f7f"


def clip_figure(clip: Clip, spec: DatasetSpec, poses: int = 8) -> Figure:
    """Draw a clip that was read from shards.

    Args:
        clip: with float32 joints in metres and energies.
        spec: for joint names, bones, parts and the class name.
        poses: how many moments to draw.
    Returns: a matplotlib figure that needs no display; `figure.savefig(path)` writes it.
    """
    dense = clip.dense()
    slots = len(dense)
    figure = Figure(figsize=(13, 3.4 + 2 * 2.6 * slots), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(1 + 2 * slots, 1, height_ratios=[1.3, *([1.0] * 2 * slots)])
    seconds = clip.frames / spec.frame_rate
    title = f"{clip.name}   class {spec.class_ids[clip.label]}: {spec.class_names[clip.label]}   {clip.frames} frames, {seconds:.1f} s"
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    _draw_poses(figure.add_subplot(grid[0]), dense, clip, spec, poses)
    for slot in range(slots):
        energy, weights = _maps(clip, slot, len(spec.skeleton.joints))
        body = f", body {slot + 1}" if slots > 1 else ""
        root = np.sqrt(energy) * 1000
        label = f"motion energy{body}\nroot, {WINDOWS[1]} frames (mm)"
        _draw_map(figure, grid[1 + 2 * slot], root, label, "magma", None, clip, spec)
        _draw_map(figure, grid[2 + 2 * slot], weights, f"focal weight{body}\nfused, k = 0.01", "viridis", 1.0, clip, spec)
    return figure


def _maps(clip: Clip, slot: int, joints: int) -> tuple[FloatArray, FloatArray]:
    """(T, V) energy of the middle window and (T, V) fused weights, NaN where the body has no data."""
    energy, weights = np.full((clip.frames, joints), np.nan), np.full((clip.frames, joints), np.nan)
    for track in clip.tracks:
        if track.slot == slot and track.energy is not None:
            energy[track.frames] = track.energy[..., 1]
            weights[track.frames] = focal_weights(track.energy)
    return energy, weights


def _draw_poses(axes: Any, dense: FloatArray, clip: Clip, spec: DatasetSpec, poses: int) -> None:
    present = np.asarray(dense.any(axis=(2, 3)))  # (M, T)
    moments = np.flatnonzero(present.any(axis=0))
    moments = moments[np.unique(np.linspace(0, len(moments) - 1, min(poses, len(moments))).round().astype(int))]
    points = dense[present]
    centre = np.median(points.reshape(-1, 3), axis=0)
    width = 1.25 * max(float(np.ptp(points[..., 0])), 0.6)
    colour_of = {j: PART_COLOURS.get(p, OTHER_COLOUR) for p, js in spec.skeleton.parts.items() for j in js}
    for place, t in enumerate(moments):
        for slot in np.flatnonzero(present[:, t]):
            x = dense[slot, t, :, 0] - centre[0] + place * width
            y = dense[slot, t, :, 1]
            for joint, (a, b) in zip((b[0] for b in spec.skeleton.bones), spec.skeleton.bone_indices, strict=True):
                style = "-" if slot == 0 else (0, (2, 1))
                axes.plot(x[[a, b]], y[[a, b]], color=colour_of[joint], lw=2, ls=style, solid_capstyle="round")
    axes.set_xticks(np.arange(len(moments)) * width, [f"frame {t}" for t in moments])
    axes.set_ylabel("height (m)")
    axes.set_aspect("equal")
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.tick_params(axis="x", length=0)


def _draw_map(
    figure: Figure,
    cell: Any,
    values: FloatArray,
    label: str,
    cmap: str,
    top: float | None,
    clip: Clip,
    spec: DatasetSpec,
) -> None:
    axes = figure.add_subplot(cell)
    order = [spec.skeleton.index(j) for joints in spec.skeleton.parts.values() for j in joints]
    finite = values[np.isfinite(values)]
    high = top or (float(np.quantile(finite, 0.995)) if finite.size else 1.0) or 1.0
    colours = colormaps[cmap].with_extremes(bad="#dddddd")
    image = axes.imshow(values.T[order], aspect="auto", cmap=colours, vmin=0, vmax=high, interpolation="nearest")
    axes.set_yticks(range(len(order)), [spec.skeleton.joints[i] for i in order], fontsize=5.5)
    edges = np.cumsum([len(j) for j in spec.skeleton.parts.values()])[:-1]
    axes.hlines(edges - 0.5, -0.5, clip.frames - 0.5, color="white", lw=0.8)
    axes.set_xlabel("frame")
    figure.colorbar(image, ax=axes, label=label, pad=0.01)
