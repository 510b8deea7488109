"""What `amr-data inspect` says about a dataset and about a clip, as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from amr_data.errors import UsageError
from amr_data.shards.reader import ShardDataset
from amr_data.specs import TEST, TRAIN, UNASSIGNED, VALIDATION

SIDES = {TRAIN: "train", TEST: "test", VALIDATION: "validation", UNASSIGNED: "unassigned"}


def dataset_summary(dataset: ShardDataset) -> dict[str, Any]:
    """Facts, sizes of the splits, class and body counts, length histogram, rejects by reason."""
    manifest, spec = dataset.manifest, dataset.spec
    lengths = dataset.clips["frames"]
    statistics = manifest["statistics"]
    protocols = {}
    for name in spec.protocols:
        member = dataset.membership(name)
        sides = {"train": TRAIN, "test": TEST, "unassigned": UNASSIGNED}
        if spec.protocols[name].validation:
            sides["validation"] = VALIDATION
        protocols[name] = {part: int((member == side).sum()) for part, side in sides.items()}
    width = statistics["length_bin"]
    quantiles = np.quantile(lengths, (0, 0.5, 1)).astype(int).tolist() if len(lengths) else [0, 0, 0]
    return {
        "title": f"{dataset.title} ({dataset.path})",
        "synthetic": dataset.synthetic,
        "facts": {
            "clips": len(dataset),
            "source_files": manifest["totals"]["sources"],
            "rejects": manifest["totals"]["rejects"],
            "frames": manifest["totals"]["clip_frames"],
            "frames_in_a_clip": "{} / {} / {} (least, median, most)".format(*quantiles),
            "recipe": manifest["recipe"]["name"],
            "classes_seen": f"{len(manifest['class_counts'])} of {len(spec.classes)}",
            "still_frames": f"{float(np.nanmean(dataset.clips['still_share'])):.1%}"
            if len(dataset)
            else "none",
            "mean_energy": ", ".join(
                f"{e * 1e4:.2f} cm² over {n} frames"
                for e, n in zip(statistics["energy_mean"], dataset.windows, strict=True)
            ),
            "shards": len(manifest["shards"]),
        },
        "protocols": protocols,
        "lengths": {f"{int(k)}-{int(k) + width - 1}": v for k, v in statistics["length_histogram"].items()},
        "bodies": manifest["body_counts"],
        "classes": {spec.class_title(int(k)): v for k, v in manifest["class_counts"].items()},
        "class_energy": class_energy(dataset),
        "rejects_by_reason": manifest["rejects_by_reason"],
    }


def class_energy(dataset: ShardDataset) -> dict[str, float]:
    """Mean over the clips of each class of the motion energy in the middle window, as a root in millimetres;
    the liveliest class first."""
    spec, labels = dataset.spec, dataset.clips["label"]
    middle = dataset.clips["mean_energy"][:, len(dataset.windows) // 2].astype(np.float64)
    count = np.bincount(labels, minlength=len(spec.class_names))
    mean = np.bincount(labels, weights=middle, minlength=len(spec.class_names)) / np.maximum(count, 1)
    order = [i for i in np.argsort(-mean, kind="stable").tolist() if count[i]]
    return {spec.class_title(i): round(float(np.sqrt(mean[i])) * 1000, 1) for i in order}


def find_clips(
    dataset: ShardDataset,
    patterns: Sequence[str] = (),
    class_name: str | None = None,
    random: int | None = None,
    seed: int = 0,
) -> list[int]:
    """Indices of clips, in the order of the patterns and of the dataset.

    Args:
        patterns: names, globs or indices; all clips where there is none.
        class_name: keeps the clips of one class, by its number in the dataset or by a part of its name.
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
        indices = [indices[i] for i in sorted(drawn.tolist())]
    return indices


def find_class(dataset: ShardDataset, name: str) -> list[int]:
    """Labels of the classes that a number or a part of a name means. Raises: UsageError."""
    spec = dataset.spec
    if name.isdigit():
        label = spec.label(int(name))
        found = [] if label is None else [label]
    else:
        found = [i for i, known in enumerate(spec.class_names) if name.lower() in known.lower()]
    if not found:
        raise UsageError(
            f"no class of {spec.title} is called '{name}'; classes: {', '.join(spec.class_names[:8])}, ..."
        )
    return found


def _matching(dataset: ShardDataset, pattern: str) -> list[int]:
    if pattern.isdigit():
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
    """What is known about a clip: its numbers, its bodies, its motion, and what the clean-up left out."""
    clip, row, spec = dataset.clip(index), dataset.clips[index], dataset.spec
    joint_energy = np.concatenate([t.energy[..., 1] for t in clip.tracks if t.energy is not None]).mean(
        axis=0
    )
    bodies: dict[int, list[str]] = {}
    for t in clip.tracks:
        bodies.setdefault(t.slot, []).append(f"{t.body_id} in frames {t.frames[0]}-{t.frames[-1]}")
    inferred = float(row["inferred_share"])
    return {
        "class": spec.class_title(clip.label),
        "synthetic": dataset.synthetic,
        "source": clip.source,
        "frames": clip.frames,
        "source_frames": f"{clip.start} to {clip.start + clip.frames - 1}"
        if dataset.manifest["recipe"]["name"] != "ctrgcn"
        else "closed up",
        "seconds": round(clip.frames / spec.frame_rate, 2),
        **{
            k: getattr(clip, k)
            for k in ("subject", "camera", "setup", "replication")
            if getattr(clip, k) >= 0
        },
        **({"video": clip.video} if clip.video else {}),
        "bodies": "; ".join(f"{slot + 1}: {', '.join(parts)}" for slot, parts in bodies.items()),
        "inferred_joints": "not recorded by this format" if np.isnan(inferred) else f"{inferred:.1%}",
        "still_frames": f"{float(row['still_share']):.1%}",
        "path_length_m": round(float(row["path_length"].sum()), 2),
        "splits": ", ".join(
            f"{name}: {SIDES[int(dataset.membership(name)[index])]}" for name in spec.protocols
        ),
        "dropped": clip.dropped,
        "joint_energy": {
            joint: round(float(np.sqrt(e)) * 1000, 1)
            for joint, e in zip(spec.skeleton.joints, joint_energy, strict=True)
        },
    }
