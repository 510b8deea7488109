"""Pictures of clips: on paper, moving, in the terminal and in the browser; none of them needs a display."""

from amr_data.viz.animation import write_animation
from amr_data.viz.contact_sheet import contact_sheet
from amr_data.viz.page import viewer_page
from amr_data.viz.scene import Layer, Panel, Scene, clip_scene, side_by_side, with_raw
from amr_data.viz.terminal import braille
from amr_data.viz.tracks import Interval, Track, fault_track

__all__ = [
    "Interval",
    "Layer",
    "Panel",
    "Scene",
    "Track",
    "braille",
    "clip_scene",
    "contact_sheet",
    "fault_track",
    "side_by_side",
    "viewer_page",
    "with_raw",
    "write_animation",
]
