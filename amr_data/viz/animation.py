"""Scenes that move, at the speed of life: GIF with Pillow, MP4 with the ffmpeg of imageio-ffmpeg."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from amr_data.errors import UsageError
from amr_data.files import whole_file
from amr_data.viz.drawing import Drawing
from amr_data.viz.scene import Layer, Scene

FORMS = (".gif", ".mp4")
HEIGHTS = {".gif": 360, ".mp4": 720}
GIF_RATE = 25
"""Pictures a second that players of GIFs show reliably; clips with more are thinned out."""
GIF_LEAST = 2
"""Hundredths of a second: what is to be shown for less, players show for ten."""


def write_animation(
    scene: Scene,
    out: str | Path,
    layer: Layer | None = None,
    height: int | None = None,
    speed: float = 1.0,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Write a scene as .gif or .mp4, its panels side by side, many of them in rows.

    Args:
        layer: colours the joints of the first panel; the bones are then grey.
        height: of the picture in pixels; `HEIGHTS` by default.
        speed: 1 is real time, which a GIF keeps to a hundredth of a second over the clip.
    Returns: the number of pictures. Raises: UsageError for another ending, or .mp4 without imageio-ffmpeg.
    """
    out = Path(out)
    form = out.suffix.lower()
    if form not in FORMS:
        raise UsageError(f"{out}: give an animation a name that ends in {' or '.join(FORMS)}")
    height = HEIGHTS[form] if height is None else height
    if not 64 <= height <= 2160:
        raise UsageError(f"height is {height} pixels; give 64 to 2160")
    if not 0.05 <= speed <= 20:
        raise UsageError(f"speed is {speed}; give 0.05 to 20")
    rate = scene.frame_rate * speed
    shown, durations = list(range(scene.frames)), [0]
    if form == ".gif":
        shown, durations = gif_times(scene.frames, rate)
    pictures = _pictures(scene, layer, height, shown, progress or (lambda done, total: None))
    out.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(out) as temporary:
        if form == ".gif":
            first, *rest = (p.quantize(96) for p in pictures)
            options: dict[str, Any] = {"format": "GIF", "save_all": True, "append_images": rest, "loop": 0}
            first.save(temporary, duration=[10 * d for d in durations], **options)
        else:
            _write_mp4(temporary, pictures, rate)
    return len(shown)


def gif_times(frames: int, rate: float) -> tuple[list[int], list[int]]:
    """Which frames a GIF shows, and for how many hundredths of a second each: those that one frame's time is
    short of or over are made up for by the next, so that together they last as long as the clip."""
    step = max(1, int(np.ceil(rate / GIF_RATE)))
    shown = list(range(0, frames, step))
    ends = np.round([100 * min(t + step, frames) / rate for t in shown]).astype(int)
    if len(shown) > 1 and ends[-1] - ends[-2] < GIF_LEAST:  # what is left at the end stays with the last
        shown, ends = shown[:-1], np.append(ends[:-2], ends[-1])
    return shown, np.maximum(np.diff(ends, prepend=0), GIF_LEAST).tolist()


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
    scene: Scene,
    layer: Layer | None,
    height: int,
    shown: list[int],
    progress: Callable[[int, int], None],
) -> Iterator[Image.Image]:
    drawing = Drawing(scene, layer, height)
    for count, t in enumerate(shown, 1):
        yield drawing.picture(t)
        progress(count, len(shown))
