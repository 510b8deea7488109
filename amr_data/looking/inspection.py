"""What `amr-data inspect` knows about a dataset and about a clip, as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import numpy.typing as npt

from amr_data.clip import Clip
from amr_data.errors import UsageError
from amr_data.looking.faults import kinds_for
from amr_data.looking.recordings import recordings_summary
from amr_data.looking.searching import is_index
from amr_data.looking.units import length_unit
from amr_data.shards.reader import ShardDataset
from amr_data.shards.tables import side_counts
from amr_data.specs import NO_LABEL, TEST, TRAIN, UNASSIGNED, VALIDATION, Skeleton, unknown

SIDES = {TRAIN: "train", TEST: "test", VALIDATION: "validation", UNASSIGNED: "unassigned"}


def dataset_summary(dataset: ShardDataset) -> dict[str, Any]:
    """Facts, sizes of the splits, class and body counts, length histogram, rejects by kind: numbers whose
    keys end in their units, `amr_data.looking.words` says them to people. docs/json.md explains the keys."""
    manifest, spec, unit = dataset.manifest, dataset.spec, length_unit(dataset)
    statistics = manifest["statistics"]
    protocols = {name: side_counts(dataset.membership(name), rule) for name, rule in spec.protocols.items()}
    width = statistics["length_bin"]
    classes = _clips_by_label(dataset)
    windows = zip(dataset.windows, statistics["energy_mean"], strict=True)
    return {
        "title": dataset.title,
        "path": str(dataset.path),
        "synthetic": dataset.synthetic,
        "length_unit": unit.key,
        "facts": {
            "clips": len(dataset),
            "source_files": manifest["totals"]["sources"],
            "rejects": manifest["totals"]["rejects"],
            "frames": manifest["totals"]["clip_frames"],
            "frames_in_a_clip": _quantiles(dataset),
            "recipe": manifest["recipe"],
            "classes": {
                "seen": len(set(classes) - {NO_LABEL}),
                "known": len(spec.classes),
            },
            "still_share": _share(dataset.clips["still_share"]),
            "mean_energy": [
                {"window_frames": int(n), f"energy_{unit.key}_squared": float(e)} for n, e in windows
            ],
            "shards": len(manifest["shards"]),
        },
        **({"recordings": recordings_summary(dataset)} if dataset.keeps_recordings else {}),
        "fault_kinds": list(kinds_for(dataset)),
        "protocols": protocols,
        "lengths": [
            {"first_frames": int(k), "last_frames": int(k) + width - 1, "clips": v}
            for k, v in statistics["length_histogram"].items()
        ],
        "bodies": manifest["body_counts"],
        "classes": {spec.class_title(label): n for label, n in classes.items()},
        f"class_energy_root_{unit.key}": class_energy(dataset),
        "rejects_by_reason": manifest["rejects_by_reason"],
    }


def class_energy(dataset: ShardDataset) -> dict[str, float]:
    """Mean over the clips of each class of the motion energy in the middle window, as a root in the dataset's
    unit of length; the liveliest class first."""
    middle = dataset.clips["mean_energy"][:, len(dataset.windows) // 2].astype(np.float64)
    labels, of_clip = np.unique(dataset.clips["label"], return_inverse=True)  # -1 is no label
    mean = np.bincount(of_clip, weights=middle) / np.maximum(np.bincount(of_clip), 1)
    order = np.argsort(-mean, kind="stable").tolist()
    return {dataset.spec.class_title(int(labels[i])): float(np.sqrt(mean[i])) for i in order}


def _clips_by_label(dataset: ShardDataset) -> dict[int, int]:
    """Clips of every label that occurs; those without one last."""
    labels, counts = np.unique(dataset.clips["label"], return_counts=True)
    found = dict(zip(labels.tolist(), counts.tolist(), strict=True))
    unlabelled = found.pop(NO_LABEL, 0)
    return {**found, **({NO_LABEL: unlabelled} if unlabelled else {})}


def _quantiles(dataset: ShardDataset) -> dict[str, int]:
    lengths = dataset.clips["frames"]
    values = np.quantile(lengths, (0, 0.5, 1)).astype(int).tolist() if len(lengths) else [0, 0, 0]
    return dict(zip(("least", "median", "most"), values, strict=True))


def _share(shares: npt.NDArray[np.float32]) -> float | None:
    """The mean of those that are known, None where none is."""
    known = shares[np.isfinite(shares)]
    return float(known.mean(dtype=np.float64)) if known.size else None


def find_clips(
    dataset: ShardDataset,
    patterns: Sequence[str] = (),
    class_name: str | None = None,
    random: int | None = None,
    seed: int = 0,
) -> list[int]:
    """Indices of clips, in the order of the patterns and of the dataset, or in that in which they are drawn.

    Args:
        patterns: names, globs or indices; all clips where there is none.
        class_name: keeps the clips of one class, by its number in the dataset or by a part of its name;
            'no label' those without one.
        random: draws so many of them.
        seed: of the draw.
    Raises: UsageError where a pattern matches nothing, or nothing is left.
    """
    found: list[int] = []
    for pattern in patterns:
        found += _matching(dataset, pattern)
    indices = list(dict.fromkeys(found)) if patterns else list(range(len(dataset)))
    if class_name is not None:
        wanted = find_class(dataset, class_name)
        indices = [i for i in indices if int(dataset.clips["label"][i]) in wanted]
    if not indices:
        raise UsageError(
            f"{dataset.path} has no such clip" if len(dataset) else f"{dataset.path} has no clip"
        )
    if random is not None:
        if random < 1:
            raise UsageError(f"--random is {random}; give 1 or more")
        drawn = np.random.default_rng(seed).choice(
            len(indices), size=min(random, len(indices)), replace=False
        )
        indices = [indices[i] for i in drawn.tolist()]
    return indices


def find_class(dataset: ShardDataset, name: str) -> list[int]:
    """Labels of the classes that a number or a part of a name means. Raises: UsageError."""
    spec = dataset.spec
    if is_index(name):
        label = spec.label(int(name))
        found = [] if label is None else [label]
    else:
        found = [i for i, known in enumerate(spec.class_names) if name.lower() in known.lower()]
        if name.lower() == spec.class_title(NO_LABEL):
            found.append(NO_LABEL)
    if not found:
        raise UsageError(unknown("class", name, spec.class_names, f" of {spec.title}"))
    return found


def _matching(dataset: ShardDataset, pattern: str) -> list[int]:
    if is_index(pattern):
        if int(pattern) >= len(dataset):
            raise UsageError(f"clip {pattern}: {dataset.path} has the clips 0 to {len(dataset) - 1}")
        return [int(pattern)]
    if any(c in pattern for c in "*?["):
        found = [i for i, name in enumerate(dataset.names) if fnmatchcase(name, pattern)]
        if not found:
            example = dataset.names[0] if len(dataset) else "-"
            raise UsageError(f"no clip in {dataset.path} matches '{pattern}'; names look like {example}")
        return found
    return [dataset.index(pattern)]


def clip_facts(dataset: ShardDataset, index: int) -> dict[str, Any]:
    """What is known about a clip: its numbers, its bodies, its motion, and what the clean-up left out;
    numbers whose keys end in their units. `path_length` is the way of a joint, the mean of all joints; of
    several bodies the sum."""
    clip, row, spec = dataset.clip(index), dataset.clips[index], dataset.spec
    unit = length_unit(dataset).key
    middle = len(dataset.windows) // 2
    energy = [t.energy[..., middle] for t in clip.tracks if t.energy is not None]
    joint_energy = np.concatenate(energy).mean(axis=0, dtype=np.float64)
    numbers = {k: getattr(clip, k) for k in ("subject", "camera", "setup", "replication")}
    closed = dataset.manifest["recipe"]["name"] == "ctrgcn"  # closes gaps up: no frame keeps its place
    path = row["path_length"].astype(np.float64)
    return {
        "class": spec.class_title(clip.label),
        "label": clip.label if clip.label >= 0 else None,
        "synthetic": dataset.synthetic,
        "source": clip.source,
        "frames": clip.frames,
        "source_frames": None if closed else {"first": clip.start, "last": clip.start + clip.frames - 1},
        "seconds": clip.frames / spec.frame_rate,
        **{k: v for k, v in numbers.items() if v >= 0},
        **({"video": clip.video} if clip.video else {}),
        "bodies": [_body(clip, slot) for slot in sorted({t.slot for t in clip.tracks})],
        "inferred_share": _share(row["inferred_share"][None]),
        "still_share": _share(row["still_share"][None]),
        "length_unit": unit,
        f"path_length_{unit}": float(path.mean()),
        "splits": {name: SIDES[int(dataset.membership(name)[index])] for name in spec.protocols},
        "dropped": clip.dropped,
        f"joint_path_length_{unit}": _by_joint(spec.skeleton, path),
        f"joint_energy_root_{unit}": _by_joint(spec.skeleton, np.sqrt(joint_energy)),
    }


def _body(clip: Clip, slot: int) -> dict[str, Any]:
    """A body and the stretches of frames in which the sensor followed it, each under an id of its own."""
    tracks = [t for t in clip.tracks if t.slot == slot]
    return {
        "body": slot + 1,
        "tracks": [
            {"sensor_id": t.body_id, "first_frame": int(t.frames[0]), "last_frame": int(t.frames[-1])}
            for t in tracks
        ],
    }


def _by_joint(skeleton: Skeleton, values: npt.NDArray[np.float64]) -> dict[str, float]:
    return dict(zip(skeleton.joints, values.tolist(), strict=True))
