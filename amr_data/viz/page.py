"""The viewer as one HTML file that loads nothing: three.js for the bodies, a canvas for the maps, every clip
packed into the page."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, select_autoescape
from markupsafe import Markup
from matplotlib.colors import to_rgb

from amr_data.errors import UsageError
from amr_data.specs import Skeleton
from amr_data.viz.colours import SCALES, THEMES, Theme, bone_colours, scale
from amr_data.viz.floor import floor_of
from amr_data.viz.scene import Scene

ABSENT = -32768
NO_VALUE = 255
SCRIPTS = ("viewer.stage.js", "viewer.map.js", "viewer.marks.js", "viewer.js")


class Page(str):
    """A page's text, which notebooks show in a frame."""

    def _repr_html_(self) -> str:
        frame = "width: 100%; height: 640px; border: 1px solid #d9dce1"
        return f'<iframe srcdoc="{escape(str(self))}" style="{frame}" sandbox="allow-scripts"></iframe>'


def viewer_page(scenes: Sequence[Scene], title: str | None = None) -> Page:
    """A page with one clip, or a gallery of several, to turn, play and search; write it to a file, or show it
    in a notebook.

    Raises: UsageError for no clip, or for clips of different skeletons.
    """
    if not scenes:
        raise UsageError("no clip to show")
    if len({s.skeleton.name for s in scenes}) != 1:
        raise UsageError("one page shows clips of one skeleton")
    data = {**shared(scenes[0].skeleton), "clips": [packed(s) for s in scenes]}
    some = f"{len(scenes)} clips" + (" · synthetic" if any(s.synthetic for s in scenes) else "")
    return Page(_render(title or (scenes[0].heading if len(scenes) == 1 else some), data))


def shared(skeleton: Skeleton) -> dict[str, Any]:
    """What all clips of a page have in common: joints, bones, their colours, the order of rows in maps,
    colour scales."""
    order = [skeleton.index(j) for joints in skeleton.parts.values() for j in joints]
    return {
        "joints": skeleton.joints,
        "bones": skeleton.bone_indices.tolist(),
        "boneColours": bone_colours(skeleton),
        "order": order,
        "parts": [[name.replace("_", " "), len(joints)] for name, joints in skeleton.parts.items()],
        "sided": any(name.startswith("left") for name in skeleton.parts),
        "themes": {name: _theme(theme, skeleton) for name, theme in THEMES.items()},
        "absent": ABSENT,
        "noValue": NO_VALUE,
    }


def _theme(theme: Theme, skeleton: Skeleton) -> dict[str, Any]:
    """The colours of a page on light or on dark ground."""
    return {
        "bones": bone_colours(skeleton, theme),
        "bodies": theme.bodies,
        "left": [theme.parts["left_arm"], theme.parts["left_leg"]],
        "right": [theme.parts["right_arm"], theme.parts["right_leg"]],
        "neutral": theme.neutral,
        "ghost": theme.ghost,
        "mark": theme.mark,
        "alarm": theme.alarm,
        "labels": theme.labels,
        "states": [_bytes(to_rgb(colour)) for colour in theme.states],
        "maps": {name: _bytes(scale(name, theme.ground)) for name in SCALES},
    }


def _bytes(colours: Any) -> list[Any]:
    """Colours of 0 to 1 as 0 to 255."""
    return (255 * np.asarray(colours)).round().astype(int).tolist()  # type: ignore[no-any-return]


def packed(scene: Scene) -> dict[str, Any]:
    """A scene for the page: positions as int16 in steps of at most 0.3 mm for bodies within 10 m, values as
    bytes."""
    floor = floor_of(scene.panels[0].joints, scene.up)
    panels = []
    for panel in scene.panels:
        there = np.isfinite(panel.joints)
        reach = max(float(np.abs(panel.joints[there]).max()) if there.any() else 1.0, 1e-3)
        steps = np.where(there, np.nan_to_num(panel.joints) * (32767 / reach), ABSENT).round().astype("<i2")
        bodies, frames = panel.joints.shape[:2]
        panels.append(
            {
                "title": panel.title,
                "bodies": bodies,
                "frames": frames,
                "step": reach / 32767,
                "joints": _text(steps),
                "floor": floor,
                "ghost": panel.ghost,
                "marked": None if panel.marked is None else _text(panel.marked.astype(np.uint8)),
            }
        )
    layers = []
    for layer in scene.layers:
        scaled = np.clip(np.nan_to_num(layer.values) / layer.top, 0, 1) * (NO_VALUE - 1)
        values = np.where(np.isfinite(layer.values), scaled, NO_VALUE).round().astype(np.uint8)
        about = {"title": layer.title, "unit": layer.unit, "top": layer.top, "colours": layer.colours}
        about["states"] = layer.states
        layers.append(
            {**about, "bodies": values.shape[0], "frames": values.shape[1], "values": _text(values)}
        )
    about_scene = {
        "name": scene.name,
        "title": scene.heading,
        "rate": scene.frame_rate,
        "frames": scene.frames,
        "up": scene.up,
    }
    tracks = [
        {"name": track.name, "alarm": track.alarm, "intervals": [asdict(i) for i in track.intervals]}
        for track in scene.tracks
    ]
    return {**about_scene, "panels": panels, "layers": layers, "tracks": tracks}


def _text(values: Any) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode("ascii")


def _render(title: str, data: dict[str, Any]) -> str:
    environment = Environment(loader=PackageLoader("amr_data.viz"), autoescape=select_autoescape())
    return environment.get_template("viewer.html").render(
        title=title,
        style=Markup(asset("viewer.css")),
        three=Markup(asset("three.min.js")),
        scripts=[Markup(asset(name)) for name in SCRIPTS],
        # no "<" survives, so that no name can end the script element
        data=Markup(json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")),
        connect="'self'" if data["clips"] is None else "'none'",
    )


@cache
def asset(name: str) -> str:
    """A file of `viz/assets`."""
    return (files("amr_data.viz") / "assets" / name).read_text(encoding="utf-8")
