"""What a page shows of actions found in whole recordings: precision and recall as a picture that needs no
script, and where the detector is most wrong. Records are read from files, so that nothing in them is
believed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from amr_train.evaluation.records import part_of
from amr_train.report.collect import Run

HEADS = ("linear", "temporal")
LEFT, TOP, WIDE, HIGH = 44, 10, 300, 220
"""Where the picture's square lies in it, in its own units."""
MOST_POINTS, MOST_MISSES = 500, 20
Values = dict[str, Any]


def detections_of(runs: Sequence[Run]) -> list[Values]:
    """For every encoder whose detections are kept: `name`, `seed`, `place`, its `heads` (`kind`, `figure` in
    percent, the `line` of the curve as points of an SVG) and, of the best head, the `misses`."""
    found = []
    for run in runs:
        for record in run.records:
            details = record.get("details") or {}
            if record["protocol"] != "detect" or record["subject"]["kind"] != "encoder":
                continue
            heads = [head for kind in HEADS if (head := _head(kind, details.get(kind)))]
            if not heads:
                continue
            best = max(heads, key=lambda head: float(head["figure"]))
            data = record["data"]
            found.append(
                {
                    "name": str(record["subject"].get("experiment", "")) or run.path.name,
                    "seed": record["seed"],
                    "place": f"{data['dataset']} {record['split']}, {part_of(record)} part",
                    "synthetic": bool(data.get("synthetic")),
                    "heads": heads,
                    "best": best["kind"],
                    "misses": _misses(details[best["kind"]].get("misses")),
                }
            )
    return found


def _head(kind: str, detail: object) -> Values | None:
    """None where a head was not judged, or what is kept of it is no curve."""
    if not isinstance(detail, Mapping):
        return None
    curve, scores = detail.get("curve"), detail.get("map_action")
    if not isinstance(curve, Mapping) or not isinstance(scores, Mapping):
        return None
    recall, precision = (_percents(curve.get(axis)) for axis in ("recall", "precision"))
    figure = _percents([scores.get("0.5")])
    if not figure or not recall or len(recall) != len(precision):
        return None
    points = " ".join(
        f"{LEFT + WIDE * r / 100:.1f},{TOP + HIGH * (1 - p / 100):.1f}"
        for r, p in zip(recall, precision, strict=True)
    )
    return {"kind": kind, "figure": figure[0], "line": points}


def _percents(values: object) -> list[float]:
    """Numbers from 0 to 100; empty where one is none."""
    if not isinstance(values, list) or len(values) > MOST_POINTS:
        return []
    numbers = [float(v) for v in values if isinstance(v, int | float) and 0 <= v <= 100]
    return numbers if len(numbers) == len(values) else []


def _misses(rows: object) -> list[Values]:
    """In words, those that can be read."""
    found = []
    for row in rows[:MOST_MISSES] if isinstance(rows, list) else []:
        try:
            first, end = int(row["first"]), int(row["end"])
            score = row["score"]
            found.append(
                {
                    "kind": "not there" if row["kind"] == "false" else "not found",
                    "class": str(row["class"]),
                    "recording": str(row["recording"]),
                    "frames": f"{first:,} to {end:,}",
                    "score": "" if score is None else f"{float(score):.2f}",
                    "other": "" if row["other"] is None else str(row["other"]),
                }
            )
        except (KeyError, TypeError, ValueError, OverflowError):
            continue
    return found
