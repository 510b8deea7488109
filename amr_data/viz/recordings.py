"""A whole recording for the viewer, with what is true and what was found as tracks above its time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from amr_data.clip import BodyTrack
from amr_data.interval_files import FoundInterval
from amr_data.looking.recordings import HIT, best
from amr_data.looking.timeline import clock
from amr_data.looking.units import length_unit
from amr_data.recording import Interval as Frames
from amr_data.shards.reader import ShardDataset
from amr_data.viz.scene import Layer, Panel, Scene, robust_top
from amr_data.viz.tracks import Interval, Track

MOST_FRAMES = 20_000
"""Of a page: eleven minutes at 30 frames a second, 10 MB for two Kinect bodies. Of a longer recording every
second, third, ... frame is shown."""
READ_FRAMES = 1 << 14


def recording_scene(
    dataset: ShardDataset, index: int, found: Sequence[FoundInterval] | None = None, most: int = MOST_FRAMES
) -> Scene:
    """A recording as it stands in the shards, with its motion energy, and its intervals as a track.

    Args:
        found: what was found in it, as a second track.
        most: frames that are shown; more are thinned out evenly, and read piece by piece.
    """
    whole, unit = dataset.recordings.part(index, 0, 0), length_unit(dataset)
    step = -(-whole.frames // most)
    shown = -(-whole.frames // step)
    bodies, joints = dataset.spec.max_bodies, len(dataset.spec.skeleton.joints)
    middle = len(dataset.windows) // 2
    places = np.full((bodies, shown, joints, 3), np.nan, np.float32)
    energy = np.full((bodies, shown, joints), np.nan, np.float32)
    for track in _pieces(dataset, index, whole.frames):
        rows = track.frames % step == 0
        at = track.frames[rows] // step
        places[track.slot, at] = track.joints[rows]
        assert track.energy is not None
        energy[track.slot, at] = np.sqrt(track.energy[rows, :, middle]) * unit.per
    there = max((t for t in range(bodies) if np.isfinite(places[t]).any()), default=0) + 1
    if dataset.spec.dimensions == 2:
        places[..., 0] *= -1
    tracks = [Track("true", [_labelled(dataset, i, step, shown, _met(i, found)) for i in whole.intervals])]
    if found is not None:
        said = ((i, f"score {i.score:.3g}, overlap {best(i, whole.intervals):.0%}") for i in found)
        tracks.append(Track("found", [_labelled(dataset, i, step, shown, note) for i, note in said]))
    count = len(whole.intervals)
    about = f"{whole.frames:,} frames, {clock(whole.frames / whole.fps)} · {count:,} intervals"
    thinned = f" · one frame of {step}" if step > 1 else ""
    layer = Layer(f"energy, {dataset.windows[middle]} frames", energy[:there], robust_top(energy), unit.fine)
    return Scene(
        whole.name,
        f"{whole.name} · {about}{thinned}",
        dataset.spec.skeleton,
        whole.fps / step,
        [Panel("recording", places[:there])],
        [layer],
        dataset.up,
        dataset.synthetic,
        unit,
        tracks,
    )


def _pieces(dataset: ShardDataset, index: int, frames: int) -> Iterator[BodyTrack]:
    for first in range(0, frames, READ_FRAMES):
        yield from dataset.recordings.part(index, first, first + READ_FRAMES).tracks


def _met(interval: Frames, found: Sequence[FoundInterval] | None) -> str:
    if found is None:
        return ""
    overlap = best(interval, found)
    return f"found, overlap {overlap:.0%}" if overlap >= HIT else f"missed, best overlap {overlap:.0%}"


def _labelled(dataset: ShardDataset, interval: Frames, step: int, shown: int, note: str) -> Interval:
    first = min(interval.first // step, shown - 1)
    end = min(max(-(-interval.end // step), first + 1), shown)
    return Interval(dataset.spec.class_title(interval.label), first, end, note)
