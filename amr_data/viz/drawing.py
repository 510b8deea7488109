"""One moment of a scene as a picture in pixels: its panels in rows, their titles above them, below the frame
and what the colours mean, so that no text lies on another or on a body."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from amr_data.viz.colours import LIGHT, bone_colours, scale
from amr_data.viz.scene import Layer, Panel, Scene, front_view

SMOOTH = 2
"""How many times larger it is drawn than it is in the end."""
IN_A_ROW = 4
PALE = "#d3d7de"
INK, FAINT = "#1d2126", "#5d6570"
Colour = str | tuple[int, ...]


class Drawing:
    """A scene's pictures, all at the same scale. `layer` colours the joints of the first panel."""

    def __init__(self, scene: Scene, layer: Layer | None, height: int) -> None:
        self.scene, self.layer = scene, layer
        count = len(scene.panels)
        self.rows = 1 if count <= IN_A_ROW else int(np.ceil(count / IN_A_ROW))
        columns = int(np.ceil(count / self.rows))
        self.height = height - height % 2
        size = self.height * SMOOTH
        self.letter = size * (0.036 if self.rows == 1 else 0.022)
        self.font: Any = ImageFont.load_default(self.letter)
        self.foot = round(1.7 * self.letter)
        cell = (size - self.foot) // self.rows
        places = [
            _Place(p, p if p.own_time else scene.panels[0], scene, cell - 2.9 * self.letter)
            for p in scene.panels
        ]
        self.wide = max(p.width for p in places)
        # a clip's name and the line at the foot need room too
        self.wide = max(self.wide, round(11 * self.letter), round((1 if layer else 0.8) * size) // columns)
        self.wide += self.wide % 2
        self.size = (self.wide * columns - self.wide * columns % (2 * SMOOTH), size)
        self.cells = [
            (place, (i % columns) * self.wide, (i // columns) * cell) for i, place in enumerate(places)
        ]

    def picture(self, t: int) -> Image.Image:
        """The frame t."""
        image = Image.new("RGB", self.size, LIGHT.ground)
        draw = ImageDraw.Draw(image)
        for i, (place, left, top) in enumerate(self.cells):
            title = place.panel.title if len(self.cells) > 1 else self.scene.heading
            lines = fitted(title, self.font, self.wide - self.letter)
            for n, line in enumerate(lines):
                at = (left + self.letter / 2, top + self.letter * (0.35 + 1.2 * n))
                draw.text(at, line, fill=INK if n == 0 else FAINT, font=self.font)
            place.draw(
                draw,
                t,
                left + self.wide / 2,
                top + 2.9 * self.letter,
                self.layer if i == 0 else None,
                self.font,
            )
        self._foot(draw, t)
        width, height = self.size
        return image.resize((width // SMOOTH, height // SMOOTH), Image.Resampling.BOX)

    def _foot(self, draw: ImageDraw.ImageDraw, t: int) -> None:
        """The moment on the left, what the colours mean on the right."""
        width, height = self.size
        top = height - self.foot + 0.2 * self.letter
        right = width - self.letter / 2
        for word, colours in reversed(self._meaning()):
            right -= draw.textlength(word, self.font)
            draw.text((right, top), word, fill=FAINT, font=self.font)
            for colour in reversed(colours):
                side = 0.8 * self.letter / len(colours) * (6 if len(colours) > 2 else 1)
                right -= side
                draw.rectangle([right, top + 0.3 * self.letter, right + side, top + self.letter], fill=colour)
            right -= 0.7 * self.letter
        said = f"frame {t} · {t / self.scene.frame_rate:.2f} s"
        if self.scene.synthetic:
            said = f"synthetic · {said}"  # first: a narrow picture cuts the line's end off
        line = fitted(said, self.font, right - self.letter / 2, 1)
        draw.text((self.letter / 2, top), line[0], fill=FAINT, font=self.font)

    def _meaning(self) -> list[tuple[str, list[Colour]]]:
        if self.layer is None:
            parts = LIGHT.parts
            sided = any(name.startswith("left") for name in self.scene.skeleton.parts)
            sides: list[tuple[str, list[Colour]]] = [
                (f" {side}", [parts[f"{side}_arm"], parts[f"{side}_leg"]]) for side in ("left", "right")
            ]
            marked = any(p.marked is not None for p in self.scene.panels)
            return (sides if sided else []) + ([(" visible", [LIGHT.mark])] if marked else [])
        if self.layer.states:
            return [
                (f" {state}", [colour]) for state, colour in zip(self.layer.states, LIGHT.states, strict=True)
            ]
        steps = scale(self.layer.colours, LIGHT.ground)[::8]
        colours: list[Colour] = [tuple(round(255 * v) for v in c) for c in steps.tolist()]
        return [(f" {self.layer.title}, to {self.layer.top:.3g} {self.layer.unit}".rstrip(), colours)]


class _Place:
    """A panel's scale and window, the same for all its frames and for all panels of a clip, whose first
    stands palely behind the others."""

    def __init__(self, panel: Panel, base: Panel, scene: Scene, room: float) -> None:
        self.panel, self.scene = panel, scene
        self.base = None if base is panel else base
        self.bones, self.colours = scene.skeleton.bone_indices, bone_colours(scene.skeleton)
        right, up = front_view(base.joints, scene.up)
        ends = [[0.0, 1.0], [0.0, 1.0]]
        if np.isfinite(up).any():
            ends = [np.nanquantile(v, (0.002, 0.998)).tolist() for v in (right, up)]
        (left, end), (low, high) = ends
        self.scale = 0.9 * room / max(high - low, 0.5)
        self.width = int(np.clip((end - left + 0.25) * self.scale, 0.45 * room, 1.8 * room))
        self.scale *= min(1.0, self.width / ((end - left + 0.25) * self.scale))
        self.middle, self.up = ((left + end) / 2, (low + high) / 2), room / 2
        self.line = max(2, round(room * 0.011))

    def _pixels(self, joints: npt.NDArray[np.float32], x: float, y: float) -> npt.NDArray[np.float64]:
        right, up = front_view(joints, self.scene.up)
        return np.stack(
            [
                (right - self.middle[0]) * self.scale + x,
                y + self.up * 1.06 - (up - self.middle[1]) * self.scale,
            ],
            axis=-1,
        ).astype(np.float64)

    def draw(
        self, draw: ImageDraw.ImageDraw, t: int, x: float, y: float, layer: Layer | None, font: Any
    ) -> None:
        """The frame t, its middle at x, its top at y; a clip that is over stands still."""
        if self.base is not None:
            for joints in self.base.joints[:, min(t, self.base.joints.shape[1] - 1)]:
                self._lines(draw, self._pixels(joints, x, y), [PALE] * len(self.bones), self.line * 0.7)
        t = min(t, self.panel.joints.shape[1] - 1)
        for body, joints in enumerate(self.panel.joints[:, t]):
            points = self._pixels(joints, x, y)
            there = np.isfinite(points[:, 0])
            if not there.any():
                continue
            bones = self.colours if layer is None else [LIGHT.neutral] * len(self.bones)
            self._lines(draw, points, bones, self.line * (1 if body == 0 else 0.6))
            for j in np.flatnonzero(there).tolist():
                colour, radius = self._joint(body, t, j, layer)
                px, py = points[j]
                draw.ellipse([px - radius, py - radius, px + radius, py + radius], fill=colour)
            if len(self.panel.joints) > 1:
                whole = self._whole(points, body, t, x, y)
                px, py = whole[whole[:, 1].argmin()]
                own = LIGHT.bodies[body % len(LIGHT.bodies)]
                draw.text((px, py - 0.3 * font.size), str(body + 1), fill=own, font=font, anchor="mb")

    def _whole(
        self, points: npt.NDArray[np.float64], body: int, t: int, x: float, y: float
    ) -> npt.NDArray[np.float64]:
        """The joints of a body that are there, or, where most of them are hidden, those of the first panel:
        its number stands over its head."""
        if self.base is not None and body < len(self.base.joints) and t < self.base.joints.shape[1]:
            behind = self._pixels(self.base.joints[body, t], x, y)
            if np.isfinite(behind[:, 0]).sum() > np.isfinite(points[:, 0]).sum():
                points = behind
        return points[np.isfinite(points[:, 0])]

    def _lines(
        self, draw: ImageDraw.ImageDraw, points: npt.NDArray[np.float64], colours: list[str], width: float
    ) -> None:
        for (a, b), colour in zip(self.bones, colours, strict=True):
            if np.isfinite(points[[a, b]]).all():
                draw.line([*points[a], *points[b]], fill=colour, width=max(1, round(width)))

    def _joint(self, body: int, t: int, joint: int, layer: Layer | None) -> tuple[Colour, float]:
        """Its colour and its radius."""
        marked = self.panel.marked
        if layer is None:
            if marked is not None and marked[body, t, joint]:
                return LIGHT.mark, self.line * 1.5
            return LIGHT.bodies[body % len(LIGHT.bodies)], self.line * (0.75 if marked is None else 0.4)
        value = layer.values[body, t, joint] if t < layer.values.shape[1] else np.nan
        if not np.isfinite(value):
            return LIGHT.neutral, self.line * 0.8
        share = float(np.clip(value / layer.top, 0, 1))
        if layer.states:
            return LIGHT.states[int(share > 0.5)], self.line * 1.4
        steps = scale(layer.colours, LIGHT.ground)
        colour = steps[min(int(share * len(steps)), len(steps) - 1)]
        return tuple(round(255 * v) for v in colour.tolist()), self.line * (1 + share)


def fitted(title: str, font: Any, width: float, lines: int = 2) -> list[str]:
    """A title in at most so many lines of at most so many pixels, broken where its parts end; what is too
    much is left out, and three dots say so."""
    parts, out = title.split(" · "), [""]
    for part in parts:
        longer = f"{out[-1]} · {part}" if out[-1] else part
        if out[-1] and font.getlength(longer) > width and len(out) < lines:
            out.append(part)
        else:
            out[-1] = longer
    return [_cut(line, font, width) for line in out]


def _cut(line: str, font: Any, width: float) -> str:
    if font.getlength(line) <= width:
        return line
    while line and font.getlength(line + "…") > width:
        line = line[:-1]
    return line.rstrip(" ·") + "…"
