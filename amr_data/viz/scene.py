"""What every picture is drawn from: bodies side by side over time, and layers of values per joint and
frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from amr_data.clip import Clip, FloatArray
from amr_data.errors import Reject, UsageError
from amr_data.looking.faults import find_faults
from amr_data.looking.units import UNITS, LengthUnit, length_unit
from amr_data.readers import family_for, family_options, open_sources
from amr_data.recipes.motion import WINDOWS, focal_weights, segments
from amr_data.shards.reader import ShardDataset
from amr_data.specs import DatasetSpec, Skeleton, unknown
from amr_data.viz.tracks import Track, fault_track

MAX_SHOWN = 24
"""Clips of a page or a contact sheet where no number was asked for; `amr-data serve` shows all."""
MAX_DRAWN = 500
"""Clips of a page that were asked for by their number."""
MAX_MOVING = 12
"""Clips in one animation."""

F32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Panel:
    """Bodies that are drawn together.

    joints : (M, T, V, 3) float32, NaN where a body is absent.
    marked : (M, T, V) bool, joints that stand out; None where none is to.
    ghost : may be laid over the first panel, of which it is another version.
    own_time : is another clip than the first panel.
    """

    title: str
    joints: F32
    marked: npt.NDArray[np.bool_] | None = None
    ghost: bool = False
    own_time: bool = False


@dataclass(frozen=True)
class Layer:
    """Values of the first panel's bodies. values : (M, T, V) float32, NaN where there is none; `top` is the
    end of the colour scale.
    `printed`: belongs on a contact sheet. `states`: what 0 and 1 mean, of a layer that has no other
    values."""

    title: str
    values: F32
    top: float
    unit: str = ""
    colours: str = "plasma"
    printed: bool = False
    states: tuple[str, str] | None = None


@dataclass(frozen=True)
class Scene:
    """One clip to be looked at; `up` is the axis that points upwards, 1 (y) or 2 (z, after `--rotate`);
    `synthetic` where its motion is invented, which every picture of it says; `unit` of the joints."""

    name: str
    title: str
    skeleton: Skeleton
    frame_rate: float
    panels: list[Panel]
    layers: list[Layer] = field(default_factory=list)
    up: int = 1
    synthetic: bool = False
    unit: LengthUnit = UNITS["m"]
    tracks: list[Track] = field(default_factory=list)

    @property
    def heading(self) -> str:
        """What stands above a picture of it."""
        return f"{self.title} · synthetic" if self.synthetic else self.title

    @property
    def frames(self) -> int:
        return max(int(p.joints.shape[1]) for p in self.panels)

    def layer(self, title: str | None) -> Layer | None:
        """A layer by the beginning of its title; the first for None. Raises: UsageError."""
        if title is None:
            return self.layers[0] if self.layers else None
        for layer in self.layers:
            if layer.title.lower().startswith(title.lower()):
                return layer
        titles = [layer.title for layer in self.layers]
        raise UsageError(unknown("layer", title, titles, f" of {self.name}"))


def clip_scene(dataset: ShardDataset, index: int, k: float = 0.01) -> Scene:
    """A clip as it stands in the shards, with its motion energy and the focal weights of strength `k`, at
    every scale and fused, and a track of what looks wrong with it."""
    unit = length_unit(dataset)
    scene = scene_of(dataset.clip(index), dataset.spec, dataset.windows, dataset.up, k, unit)
    faults = find_faults(dataset, clips=[index])
    tracks = [fault_track(faults, scene.frames)] if faults else []
    return replace(scene, synthetic=dataset.synthetic, tracks=tracks)


def scene_of(
    clip: Clip,
    spec: DatasetSpec,
    windows: Sequence[int] = WINDOWS,
    up: int = 1,
    k: float = 0.01,
    unit: LengthUnit = UNITS["m"],
) -> Scene:
    """The same for a clip in memory."""
    panel = Panel("clip", with_gaps(clip, spec.dimensions == 2))
    layers = []
    if all(t.energy is not None for t in clip.tracks):
        scales = range(len(windows))
        shape = panel.joints.shape[:3]
        energy = np.full((len(windows), *shape), np.nan, np.float32)
        weights = np.full((len(windows) + 1, *shape), np.nan, np.float32)
        for track in clip.tracks:
            assert track.energy is not None
            energy[:, track.slot, track.frames] = np.moveaxis(np.sqrt(track.energy) * unit.per, 2, 0)
            for a, b in segments(track.frames):
                part, at = track.energy[a:b], track.frames[a:b]
                weights[-1, track.slot, at] = focal_weights(part, windows, k)
                for s in scales:
                    weights[s, track.slot, at] = focal_weights(part[..., s : s + 1], windows[s : s + 1], k)
        middle = len(windows) // 2
        layers = [
            Layer(
                f"energy, {windows[s]} frames",
                energy[s],
                robust_top(energy[s]),
                unit.fine,
                printed=s == middle,
            )
            for s in sorted(scales, key=lambda s: s != middle)
        ]
        layers.append(Layer(f"focal weight, fused, k = {k:g}", weights[-1], 1.0, "", "viridis", printed=True))
        layers += [
            Layer(f"focal weight, {windows[s]} frames, k = {k:g}", weights[s], 1.0, "", "viridis")
            for s in scales
        ]
    seconds = f"{clip.frames / spec.frame_rate:.1f} s"
    title = f"{clip.name} · {spec.class_title(clip.label)} · {clip.frames} frames, {seconds}"
    return Scene(clip.name, title, spec.skeleton, spec.frame_rate, [panel], layers, up, unit=unit)


def with_gaps(clip: Clip, flat: bool = False) -> F32:
    """(M, T, V, 3) with NaN where a body is absent; x to the sensor's left, as Kinect has it, also of points
    of an image (`flat`), whose x grows to the right."""
    slots = max((t.slot for t in clip.tracks), default=0) + 1
    joints = clip.tracks[0].joints.shape[1] if clip.tracks else 0
    out = np.full((slots, clip.frames, joints, 3), np.nan, np.float32)
    for track in clip.tracks:
        out[track.slot, track.frames] = track.joints
    if flat:
        out[..., 0] *= -1
    return out


def with_raw(scenes: Sequence[Scene], dataset: ShardDataset, sources: Sequence[Path]) -> list[Scene]:
    """Scenes of clips, each with its raw bodies, all of them, as a second panel: what the clean-up was given.

    Raises: UsageError where a clip is not in the sources.
    """
    raw = _raw_clips(dataset, [dataset.index(scene.name) for scene in scenes], sources)
    return [_beside(scene, dataset, raw[scene.name]) for scene in scenes]


def _beside(scene: Scene, dataset: ShardDataset, raw: Clip) -> Scene:
    raw, recipe, cleaned = _one_slot_each(raw), dataset.manifest["recipe"], dataset.clip(scene.name)
    joints = with_gaps(raw, dataset.spec.dimensions == 2) / np.float32(cleaned.scale)
    if recipe["name"] != "ctrgcn":  # which closes frames up; the others say where the clip begins
        joints = joints[:, cleaned.start - raw.start :]
    if recipe.get("rotate"):
        joints = joints[..., [0, 2, 1]] * np.array([-1, 1, 1], np.float32)
    if recipe.get("centred"):
        main = min((t for t in cleaned.tracks if t.slot == 0), key=lambda t: int(t.frames[0]))
        bodies = {t.slot: t.body_id for t in raw.tracks}
        body = next((slot for slot, body_id in bodies.items() if body_id == main.body_id), 0)
        origin = joints[
            body,
            min(int(main.frames[0]), joints.shape[1] - 1),
            dataset.spec.skeleton.index(dataset.spec.skeleton.centre),
        ]
        joints = joints - np.nan_to_num(origin)
    title = f"raw: {len(joints)} {'body' if len(joints) == 1 else 'bodies'}"
    panels = [replace(scene.panels[0], title="cleaned"), Panel(title, joints, ghost=True)]
    return replace(scene, title=f"{scene.title} · beside the raw bodies", panels=panels)


def side_by_side(scenes: Sequence[Scene]) -> Scene:
    """Several clips of one skeleton as the panels of one scene, without layers. Raises: UsageError."""
    if len({s.skeleton.name for s in scenes}) != 1:
        raise UsageError("clips of different skeletons cannot be drawn side by side")
    first = scenes[0]
    panels = [Panel(s.title, s.panels[0].joints, own_time=True) for s in scenes]
    return replace(
        first,
        name=", ".join(s.name for s in scenes),
        title=f"{len(scenes)} clips",
        panels=panels,
        layers=[],
        tracks=[],
        synthetic=any(s.synthetic for s in scenes),
    )


def front_view(joints: FloatArray, up: int) -> tuple[FloatArray, FloatArray]:
    """(..., 3) to what somebody at the sensor sees: rightwards and upwards, each (...). Kinect's x grows to
    the sensor's left; after `--rotate`, x grows to the actor's left, who is seen from the front."""
    return (-joints[..., 0] if up == 1 else joints[..., 0]), joints[..., up]


def robust_top(values: FloatArray) -> float:
    """The 99.5th percentile, a colour scale's end that single outliers do not move."""
    finite = values[np.isfinite(values)]
    return (float(np.quantile(finite, 0.995)) if finite.size else 1.0) or 1.0


def _raw_clips(dataset: ShardDataset, indices: Sequence[int], sources: Sequence[Path]) -> dict[str, Clip]:
    """Clips by name as they stand in the sources, which are searched once."""
    names = {dataset.names[i] for i in indices}
    wanted = names | {dataset.clips["video"][i].decode() for i in indices}
    with open_sources(list(sources), dataset.path, [dataset.path]) as source:
        family = family_for(source, dataset.spec)
        recipe = dataset.manifest["recipe"]
        mine = {k: recipe[k] for k in family.options.model_fields if k in recipe}
        options = family_options(family, mine)
        units = [u for u in family.discover(source, dataset.spec, options).units if u.name in wanted]
        read = family.read(source, units, dataset.spec, options)
        found = {item.name: item for item in read if not isinstance(item, Reject) and item.name in names}
    missing = sorted(names - set(found))
    if missing:
        raise UsageError(
            f"{missing[0]} is not in {', '.join(map(str, sources))}; give the sources that {dataset.path} "
            f"was made from"
        )
    return found


def _one_slot_each(clip: Clip) -> Clip:
    """Raw bodies, each in a slot of its own."""
    ids: dict[Any, int] = {}
    tracks = [replace(t, slot=ids.setdefault((t.body_id, t.slot), len(ids))) for t in clip.tracks]
    return replace(clip, tracks=tracks)
