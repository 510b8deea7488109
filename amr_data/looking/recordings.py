"""What `amr-data inspect` knows about recordings that were kept whole: all of a dataset, or one beside what
was found in it, as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from amr_data.errors import UsageError
from amr_data.interval_files import FoundInterval, IntervalsOf
from amr_data.looking.searching import is_index
from amr_data.recording import Interval
from amr_data.shards.reader import ShardDataset
from amr_data.shards.recordings import Recordings

HIT = 0.5
"""Overlap from which an interval counts as found."""


def recordings_summary(dataset: ShardDataset) -> dict[str, Any]:
    """Recordings, their lengths, intervals, gaps and overlaps; docs/json.md explains the keys."""
    recordings = dataset.recordings
    lengths = recordings.frames
    table = recordings.intervals
    gaps, covered, overlapping = _between(recordings)
    of = np.bincount(table["recording"], minlength=len(lengths))
    return {
        "recordings": len(recordings),
        "frames": int(lengths.sum()),
        "seconds": float(lengths.sum() / dataset.spec.frame_rate),
        "frames_in_a_recording": _spread(lengths),
        "intervals": len(table),
        "intervals_in_a_recording": _spread(of),
        "frames_in_an_interval": _spread(table["end"] - table["first"]),
        "frames_in_a_gap": _spread(gaps),
        "overlapping_intervals": overlapping,
        "background_share": float(1 - covered / lengths.sum()) if len(lengths) else None,
        "clips": len(dataset),
    }


def _between(recordings: Recordings) -> tuple[npt.NDArray[np.int64], int, int]:
    """Lengths of the gaps between intervals (neither before the first nor after the last), frames that lie in
    any interval, and intervals that share a frame with another."""
    gaps: list[int] = []
    covered = overlapping = 0
    table = recordings.intervals
    edges = np.searchsorted(table["recording"], np.arange(len(recordings) + 1))
    for low, high in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        rows = table[low:high]
        if not len(rows):
            continue
        first, end = rows["first"].astype(np.int64), rows["end"].astype(np.int64)
        reached = np.maximum.accumulate(end)
        step = first[1:] - reached[:-1]
        gaps += step[step > 0].tolist()
        covered += int(reached[-1] - first[0]) - int(step[step > 0].sum())
        # with one that began before, or with one that begins before it ends
        before = np.concatenate([[False], step < 0])
        overlapping += int((before | np.concatenate([first[1:] < end[:-1], [False]])).sum())
    return np.array(gaps, np.int64), covered, overlapping


def _spread(values: npt.NDArray[Any]) -> dict[str, int] | None:
    """Least, median and most; None where there is nothing."""
    if not len(values):
        return None
    found = np.quantile(values, (0, 0.5, 1)).astype(int).tolist()
    return dict(zip(("least", "median", "most"), found, strict=True))


def find_recording(dataset: ShardDataset, name: str) -> int:
    """A recording by its name, or by its number where none is called so. Raises: UsageError."""
    recordings = dataset.recordings
    if not dataset.keeps_recordings:
        raise UsageError(
            f"{dataset.path} keeps no recordings; convert it again with --keep recordings to look at them"
        )
    if is_index(name) and name not in recordings.names:
        if int(name) >= len(recordings):
            raise UsageError(
                f"recording {name}: {dataset.path} has the recordings 0 to {len(recordings) - 1}"
            )
        return int(name)
    return recordings.index(name)


def found_in(dataset: ShardDataset, index: int, found: Sequence[IntervalsOf]) -> tuple[FoundInterval, ...]:
    """What a file of intervals says of one recording. Raises: UsageError where it says nothing of it, or
    means other classes or other frames."""
    name = dataset.recordings.names[index]
    for one in found:
        if one.recording == name:
            break
    else:
        raise UsageError(f"nothing was found in '{name}': the file is about {_listed(found)}")
    frames, titles = int(dataset.recordings.frames[index]), dataset.spec.class_names
    if one.frames not in (0, frames):
        raise UsageError(f"'{name}' has {frames:,} frames, in the file it has {one.frames:,}")
    for interval in one.intervals:
        if interval.end > frames:
            raise UsageError(
                f"'{name}' has {frames:,} frames, the file has an interval up to {interval.end:,}"
            )
        if interval.label >= len(titles):
            raise UsageError(f"{dataset.spec.title} has no label {interval.label}, as the file has")
        if interval.title not in ("", titles[interval.label]):
            raise UsageError(
                f"label {interval.label} is '{titles[interval.label]}' in {dataset.spec.title}, "
                f"'{interval.title[:60]}' in the file"
            )
    return one.intervals


def _listed(found: Sequence[IntervalsOf]) -> str:
    names = [f"'{one.recording[:60]}'" for one in found[:6]]
    return ", ".join(names) + (" and others" if len(found) > 6 else "") if names else "no recording"


def recording_facts(
    dataset: ShardDataset, index: int, found: Sequence[FoundInterval] | None = None
) -> dict[str, Any]:
    """What is known about one recording, and how what was found in it agrees with its labels."""
    whole = dataset.recordings.part(index, 0, 0)
    rows = dataset.recordings.stretches
    mine = rows[rows["recording"] == index]
    fps = whole.fps
    numbers = {k: getattr(whole, k) for k in ("subject", "camera", "setup", "replication")}
    facts: dict[str, Any] = {
        "name": whole.name,
        "source": whole.source,
        "synthetic": dataset.synthetic,
        "frames": whole.frames,
        "seconds": whole.frames / fps,
        "fps": fps,
        **{k: v for k, v in numbers.items() if v >= 0},
        "bodies": [
            {
                "body": int(slot) + 1,
                "frames": int(mine["frames"][mine["slot"] == slot].sum()),
                "stretches": int((mine["slot"] == slot).sum()),
            }
            for slot in np.unique(mine["slot"])
        ],
        "clips": int((dataset.recording_of == index).sum()),
        "dropped": list(whole.dropped),
        "intervals": [
            {**_interval(dataset, i, fps), **({"found": best(i, found) >= HIT} if found is not None else {})}
            for i in whole.intervals
        ],
    }
    if found is not None:
        facts["found"] = [
            {**_interval(dataset, i, fps), "score": i.score, "overlap_share": best(i, whole.intervals)}
            for i in found
        ]
    return facts


def _interval(dataset: ShardDataset, interval: Interval, fps: float) -> dict[str, Any]:
    return {
        "label": interval.label,
        "class": dataset.spec.class_title(interval.label),
        "first": interval.first,
        "end": interval.end,
        "start_s": interval.first / fps,
        "end_s": interval.end / fps,
    }


def best(interval: Interval, others: Sequence[Interval] | None) -> float:
    """The largest overlap with one of the same class: frames that both have over frames that either has."""
    shared = [
        max(0, min(interval.end, o.end) - max(interval.first, o.first))
        / (max(interval.end, o.end) - min(interval.first, o.first))
        for o in others or ()
        if o.label == interval.label
    ]
    return max(shared, default=0.0)
