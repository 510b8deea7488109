"""What a spec makes of files, before a conversion: what was read from the first of them, in numbers that a
person can hold against what they know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from amr_data.clip import Clip
from amr_data.errors import Reject, UsageError
from amr_data.looking.units import raw_unit
from amr_data.readers import RawSource, Unit, family_for, family_options
from amr_data.readers.stature import heights, measured, odd_axes
from amr_data.readers.table.takes import FALLEN
from amr_data.shards.tables import side_counts
from amr_data.specs import NO_LABEL, DatasetSpec, Protocol

MIN_UNITS, MAX_BYTES = 8, 64 << 20
"""Read are as many files as make up `MAX_BYTES`, and never fewer than `MIN_UNITS`."""
SHOWN = 10


def describe(
    spec: DatasetSpec, source: RawSource, options: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """What the spec makes of a source, as plain values.

    Returns:
        dataset, family, unit; files, units : how many there are;
        units_read, clips_read, complete : what the rest was learnt from, and whether that is everything;
        clips : the first clips with name, label, frames, bodies, first_frame, notes;
        height_m : least, median and most over the bodies, and what was measured (not of images);
        joints_m or joints_image_heights : for each joint its mean position relative to the skeleton's
            centre joint;
        classes, subjects, cameras : how many clips each has;
        splits : sizes of each part;
        rejects : by reason, and the first of each;
        warnings : what looks wrong, in words.
    Raises: UsageError where nothing of the source fits the spec, or people come out as giants or ants.
    """
    family = family_for(source, spec)
    chosen = family_options(family, options or {})
    found = family.discover(source, spec, chosen)
    if not found.units and not found.rejects:
        raise UsageError(f"{', '.join(source.names)}: no {spec.title} file in it")
    spec = found.applied_to(spec)
    units = _first(found.units)
    complete = len(units) == len(found.units)
    clips: list[Clip] = []
    rejects = list(found.rejects)
    for item in family.read(source, units, spec, chosen):
        if isinstance(item, Clip):
            clips.append(item)
        else:
            rejects.append(item)
    values: dict[str, list[Any]] = {
        "video": [c.video or c.name for c in clips],
        "name": [c.name for c in clips],
    }
    values |= {f: [getattr(c, f) for c in clips] for f in ("subject", "camera", "setup", "replication")}
    warnings = (odd_axes(clips, spec.skeleton) if spec.dimensions == 3 else []) + _scattered(clips)
    warnings += _fallen(clips)
    try:
        spec = spec.with_folds(values) if clips else spec
    except ValueError as error:
        read = "" if complete else f" in the first {len(units)} of {len(found.units)} files"
        warnings.append(f"{error}{read}")
    labels = Counter(c.label for c in clips)
    splits = {name: _sides(rule, values[rule.by]) for name, rule in spec.protocols.items()}
    if clips and complete:
        warnings += _empty_sides(
            {name: splits[name] for name, rule in spec.protocols.items() if not rule.folds}
        )
    return {
        "dataset": spec.name,
        "family": family.name,
        "unit": spec.unit,
        "files": found.sources,
        "units": len(found.units),
        "units_read": len(units),
        "clips_read": len(clips),
        "complete": complete,
        "clips": [_clip(c, spec) for c in clips[:SHOWN]],
        "height_m": _height(clips, spec),
        f"joints_{raw_unit(spec).key}": _joints(clips, spec),
        "classes": {
            spec.class_title(label): labels[label]
            for label in [*range(len(spec.classes)), NO_LABEL]
            if labels[label] or label != NO_LABEL
        },
        "subjects": _counted(values["subject"]),
        "cameras": _counted(values["camera"]),
        "splits": splits,
        "rejects": _rejects(rejects),
        "warnings": warnings,
    }


def _first(units: list[Unit]) -> list[Unit]:
    """The first units, up to a bearable number of bytes."""
    kept: list[Unit] = []
    size = 0
    for unit in units:
        size += unit.size
        if size > MAX_BYTES and len(kept) >= MIN_UNITS:
            break
        kept.append(unit)
    return kept


def _clip(clip: Clip, spec: DatasetSpec) -> dict[str, Any]:
    return {
        "name": clip.name,
        "label": None if clip.label == NO_LABEL else spec.class_title(clip.label),
        "frames": clip.frames,
        "bodies": len({t.slot for t in clip.tracks}),
        "frames_with_a_body": len(np.unique(np.concatenate([t.frames for t in clip.tracks])))
        if clip.tracks
        else 0,
        "first_frame": clip.start,
        "notes": list(clip.dropped),
    }


def _height(clips: list[Clip], spec: DatasetSpec) -> dict[str, Any] | None:
    """Metres; None in two dimensions, or where there is no body."""
    found = [
        float(np.median(heights(t.joints, spec.skeleton))) for c in clips for t in c.tracks if len(t.joints)
    ]
    if not found or spec.dimensions != 3:
        return None
    least, median, most = np.quantile(found, (0, 0.5, 1)).tolist()
    return {"least": least, "median": median, "most": most, "measured": measured(spec.skeleton)}


def _joints(clips: list[Clip], spec: DatasetSpec) -> dict[str, list[float]]:
    """Mean of each joint less the centre joint of the same frame, [x, y, z] in the coordinates' unit."""
    tracks = [t.joints for c in clips for t in c.tracks if len(t.joints)]
    if not tracks:
        return {}
    centre = spec.skeleton.index(spec.skeleton.centre)
    total = sum((t - t[:, centre : centre + 1]).sum(axis=0) for t in tracks)
    mean = np.asarray(total) / sum(len(t) for t in tracks)
    return {
        name: [round(float(v), 4) for v in at] for name, at in zip(spec.skeleton.joints, mean, strict=True)
    }


def _scattered(clips: list[Clip]) -> list[str]:
    """Whether frames are mostly numbered with a space between them, which makes gaps of what is none."""
    steps = [np.diff(t.frames) for c in clips for t in c.tracks]
    step = float(np.median(np.concatenate(steps))) if sum(map(len, steps)) else 1.0
    if step <= 1:
        return []
    return [
        f"most frames are {step:g} after the one before, so that a clip is mostly gaps, across which no "
        "motion is measured: look at frame, frame_step, time and frame_rate"
    ]


def _fallen(clips: list[Clip]) -> list[str]:
    """Whether frames are left out because `frame_step` gives several of them one place."""
    among = sum(any(FALLEN in note for note in clip.dropped) for clip in clips)
    if not among:
        return []
    return [
        f"in {among} of {len(clips)} clips {FALLEN} and are left out: is frame_step more than "
        "numbers are apart?"
    ]


def _empty_sides(splits: dict[str, dict[str, int]]) -> list[str]:
    """The splits by which nothing could be trained or judged."""
    return [
        f"the split {name} has no {part} clip: look at its rule and at what names and files say of clips"
        for name, counts in splits.items()
        for part in ("train", "test")
        if not counts.get(part)
    ]


def _counted(values: list[int]) -> dict[int, int]:
    return dict(sorted(Counter(v for v in values if v != -1).items()))


def _sides(rule: Protocol, values: list[Any]) -> dict[str, int]:
    """Clips in each part; a validation part only where one of the few clips is in it."""
    counts = side_counts(rule.assign(values), rule)
    return {part: n for part, n in counts.items() if n or part != "validation"}


def _rejects(rejects: list[Reject]) -> dict[str, dict[str, Any]]:
    """How many of each reason, and the first of them."""
    out: dict[str, dict[str, Any]] = {}
    for reject in rejects:
        entry = out.setdefault(reject.kind, {"count": 0, "first": reject.as_dict()})
        entry["count"] += 1
    return out
