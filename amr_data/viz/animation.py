"""Scenes that move: GIF with Pillow, MP4 with the ffmpeg of imageio-ffmpeg, both drawn at twice the size and
scaled down."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from PIL import Image, ImageDraw, ImageFont

from amr_data.errors import UsageError
from amr_data.files import whole_file
from amr_data.viz.colours import bone_colours
from amr_data.viz.scene import Layer, Panel, Scene, front_view

FORMS = (".gif", ".mp4")
SMOOTH = 2
GIF_RATE = 25
"""Frames a second that players of GIFs show reliably; clips with more are thinned out."""


def write_animation(
    scene: Scene,
    out: str | Path,
    layer: Layer | None = None,
    height: int = 360,
    speed: float = 1.0,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Write a scene as .gif or .mp4, its panels side by side.

    Args:
        layer: colours the joints of the first panel; the bones are then grey.
        height: of the picture in pixels.
        speed: 1 is real time.
    Returns: the number of pictures. Raises: UsageError for another ending, or .mp4 without imageio-ffmpeg.
    """
    out = Path(out)
    if out.suffix.lower() not in FORMS:
        raise UsageError(f"{out}: an animation's name ends in {' or '.join(FORMS)}")
    if not 64 <= height <= 2160:
        raise UsageError(f"height is {height} pixels; give 64 to 2160")
    if not 0.05 <= speed <= 20:
        raise UsageError(f"speed is {speed}; give 0.05 to 20")
    rate = scene.frame_rate * speed
    gif = out.suffix.lower() == ".gif"
    step = max(1, int(np.ceil(rate / GIF_RATE))) if gif else 1
    shown = range(0, scene.frames, step)
    pictures = _pictures(scene, layer, height, shown, progress or (lambda done, total: None))
    out.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(out) as temporary:
        if gif:
            first, *rest = (p.quantize(96) for p in pictures)
            first.save(
                temporary,
                format="GIF",
                save_all=True,
                append_images=rest,
                duration=round(1000 * step / rate),
                loop=0,
            )
        else:
            _write_mp4(temporary, pictures, rate)
    return len(shown)


def _write_mp4(path: Path, pictures: Iterator[Image.Image], rate: float) -> None:
    try:
        import imageio_ffmpeg
    except ImportError:
        raise UsageError(
            "MP4 needs imageio-ffmpeg: pip install 'amr-skeleton[video]', or write a .gif"
        ) from None
    first = next(pictures)
    options: dict[str, Any] = {"fps": rate, "macro_block_size": 2, "output_params": ["-f", "mp4"]}
    writer = imageio_ffmpeg.write_frames(str(path), first.size, **options)
    writer.send(None)
    writer.send(np.asarray(first).tobytes())
    for picture in pictures:
        writer.send(np.asarray(picture).tobytes())
    writer.close()


def _pictures(
    scene: Scene, layer: Layer | None, height: int, shown: range, progress: Callable[[int, int], None]
) -> Iterator[Image.Image]:
    size = height * SMOOTH
    frames = [_Frame(panel, scene, size) for panel in scene.panels]
    width = sum(f.width for f in frames)
    width += width % (2 * SMOOTH)
    top = colormaps[layer.colours] if layer else None
    font = ImageFont.load_default(size * 0.035)
    for count, t in enumerate(shown, 1):
        picture = Image.new("RGB", (width, size), "white")
        draw = ImageDraw.Draw(picture)
        at = 0
        for i, frame in enumerate(frames):
            colours = None
            if layer is not None and top is not None and i == 0 and t < layer.values.shape[1]:
                colours = (
                    255 * top(np.clip(np.nan_to_num(layer.values[:, t]) / layer.top, 0, 1))[..., :3]
                ).astype(int)
            frame.draw(draw, t, at, colours)
            if len(frames) > 1:
                draw.text((at + size * 0.02, size * 0.015), frame.title, fill="#333333", font=font)
            at += frame.width
        label = f"frame {t}" + (f" · {layer.title}" if layer else "")
        if scene.synthetic:
            label = f"synthetic · {label}"  # first: a narrow picture cuts the line's end off
        draw.text((size * 0.02, size * 0.95), label, fill="#777777", font=font)
        yield picture.resize((width // SMOOTH, height), Image.Resampling.BOX)
        progress(count, len(shown))


class _Frame:
    """A panel's place in the picture: the same scale and window for all its frames."""

    def __init__(self, panel: Panel, scene: Scene, size: int) -> None:
        self.title, self.bones = panel.title, scene.skeleton.bone_indices
        self.colours = bone_colours(scene.skeleton)
        right, up = front_view(panel.joints, scene.up)
        low, high = (np.nanquantile(up, q) if np.isfinite(up).any() else q for q in (0.001, 0.999))
        left, end = (np.nanquantile(right, q) if np.isfinite(right).any() else q for q in (0.001, 0.999))
        self.scale = 0.8 * size / max(high - low, 0.5)
        self.width = int(np.clip((end - left) * self.scale + 0.16 * size, 0.6 * size, 1.8 * size))
        self.x = (right - (left + end) / 2) * self.scale + self.width / 2
        self.y = size / 2 - (up - (low + high) / 2) * self.scale
        self.line = max(2, round(size * 0.008))

    def draw(self, draw: ImageDraw.ImageDraw, t: int, at: int, colours: npt.NDArray[np.int64] | None) -> None:
        if t >= self.x.shape[1]:
            return
        for body in range(len(self.x)):
            x, y = self.x[body, t] + at, self.y[body, t]
            there = np.isfinite(x)
            for (a, b), colour in zip(self.bones, self.colours, strict=True):
                if there[a] and there[b]:
                    shade = "#b9bec6" if colours is not None else colour
                    draw.line(
                        [x[a], y[a], x[b], y[b]],
                        fill=shade,
                        width=self.line if body == 0 else max(1, self.line // 2),
                    )
            radius = self.line * (1.6 if colours is not None else 0.9)
            for j in np.flatnonzero(there):
                px, py = x[j], y[j]
                fill = tuple(colours[body, j]) if colours is not None else "#30343a"
                draw.ellipse([px - radius, py - radius, px + radius, py + radius], fill=fill)
