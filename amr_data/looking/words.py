"""What `inspection` and `faults` know, as people read it: rows of a name and a text, the same in the terminal
and on pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from amr_data.errors import Record
from amr_data.looking.units import UNITS, LengthUnit

INVENTED = "invented motion, never to be shown as real data"
Values = Mapping[str, Any]


def summary_rows(summary: Values) -> dict[str, str]:
    """The facts of `dataset_summary`."""
    facts, unit = summary["facts"], UNITS[summary["length_unit"]]
    classes, lengths = facts["classes"], facts["frames_in_a_clip"]
    energies = (
        f"{_energy(of_window[f'energy_{unit.key}_squared'], unit)} over {of_window['window_frames']} frames"
        for of_window in facts["mean_energy"]
    )
    return {
        **({"synthetic": INVENTED} if summary["synthetic"] else {}),
        "clips": f"{facts['clips']:,}",
        "source files": f"{facts['source_files']:,}",
        "rejects": f"{facts['rejects']:,}",
        "frames": f"{facts['frames']:,}",
        "frames in a clip": "{least:,} / {median:,} / {most:,} (least, median, most)".format(**lengths),
        "recipe": recipe_in_words(facts["recipe"]),
        "lengths in": unit.title,
        "classes seen": f"{classes['seen']:,} of {classes['known']:,}" if classes["known"] else "no labels",
        "still frames": _percent(facts["still_share"]),
        "mean energy": ", ".join(energies),
        "shards": f"{facts['shards']:,}",
        **(_recordings(summary["recordings"]) if "recordings" in summary else {}),
    }


def _recordings(kept: Values) -> dict[str, str]:
    """The facts of `recordings_summary`."""
    background = _percent(kept["background_share"])
    return {
        "recordings": f"{kept['recordings']:,}, {kept['frames']:,} frames, {kept['seconds'] / 3600:.2f} h",
        "frames in a recording": _least_to_most(kept["frames_in_a_recording"]),
        "intervals": f"{kept['intervals']:,}, {kept['overlapping_intervals']:,} overlap with another",
        "intervals in a recording": _least_to_most(kept["intervals_in_a_recording"]),
        "frames in an interval": _least_to_most(kept["frames_in_an_interval"]),
        "frames between intervals": f"{_least_to_most(kept['frames_in_a_gap'])}; {background} of all in none",
    }


def recording_rows(facts: Values) -> dict[str, str]:
    """The facts of `recording_facts` that stand in a row."""
    numbers = {k: str(facts[k]) for k in ("subject", "camera", "setup", "replication") if k in facts}
    intervals = facts["intervals"]
    found = {}
    if "found" in facts:
        hits = sum(i["found"] for i in intervals)
        found["found"] = f"{hits:,} of {len(intervals):,} intervals, {len(facts['found']):,} proposals"
    bodies = (f"{b['body']}: {b['frames']:,} frames in {b['stretches']:,} stretches" for b in facts["bodies"])
    return {
        **({"synthetic": INVENTED} if facts["synthetic"] else {}),
        "source": facts["source"],
        "frames": f"{facts['frames']:,}",
        "seconds": f"{facts['seconds']:,.1f} at {facts['fps']:g} frames a second",
        **numbers,
        "bodies": "; ".join(bodies),
        "clips": f"{facts['clips']:,}",
        "intervals": f"{len(intervals):,}",
        **found,
    }


def _least_to_most(spread: Values | None) -> str:
    return (
        "none"
        if spread is None
        else "{least:,} / {median:,} / {most:,} (least, median, most)".format(**spread)
    )


def summary_charts(summary: Values) -> dict[str, dict[str, float]]:
    """Named numbers of `dataset_summary` that are drawn as bars, by the chart's title."""
    unit = UNITS[summary["length_unit"]]
    energies = unit.of(summary, "class_energy_root")
    return {
        "clip lengths (frames)": _lengths(summary["lengths"]),
        "bodies in a clip": dict(summary["bodies"]),
        "clips by class": dict(summary["classes"]),
        f"motion energy by class (root, {unit.fine})": _fine(energies, unit),
    }


MOST_BARS = 20
"""Of a histogram."""


def _lengths(bars: Sequence[Values]) -> dict[str, float]:
    """The histogram of lengths with `MOST_BARS` bars at most: bars of equal width, those without a clip
    too."""
    if not bars:
        return {}
    first = int(bars[0]["first_frames"])
    width = int(bars[0]["last_frames"]) - first + 1
    wide = width * -(-((int(bars[-1]["last_frames"]) - first + 1) // width) // MOST_BARS)
    found: dict[int, float] = {}
    for bar in bars:
        start = first + (int(bar["first_frames"]) - first) // wide * wide
        found[start] = found.get(start, 0) + bar["clips"]
    return {
        f"{start}-{start + wide - 1}": found.get(start, 0) for start in range(first, max(found) + 1, wide)
    }


def clip_rows(facts: Values) -> dict[str, str]:
    """The facts of `clip_facts` that stand in a row."""
    unit = UNITS[facts["length_unit"]]
    frames = facts["source_frames"]
    numbers = {k: str(facts[k]) for k in ("subject", "camera", "setup", "replication", "video") if k in facts}
    return {
        **({"synthetic": INVENTED} if facts["synthetic"] else {}),
        "class": facts["class"],
        "source": facts["source"],
        "frames": f"{facts['frames']:,}",
        "source frames": f"{frames['first']} to {frames['last']}" if frames else "closed up",
        "seconds": f"{facts['seconds']:.2f}",
        **numbers,
        "bodies": "; ".join(map(_body, facts["bodies"])),
        "inferred joints": _percent(facts["inferred_share"], "not recorded by this format"),
        "still frames": _percent(facts["still_share"]),
        "path of a joint": f"{unit.of(facts, 'path_length'):.2f} {unit.title}",
        "splits": ", ".join(f"{name}: {side}" for name, side in facts["splits"].items()) or "none",
    }


def joint_chart(facts: Values) -> tuple[str, dict[str, float]]:
    """Title and bars of the motion energy by joint."""
    unit = UNITS[facts["length_unit"]]
    return f"motion energy by joint (root, {unit.fine})", _fine(unit.of(facts, "joint_energy_root"), unit)


def recipe_in_words(recipe: Values) -> str:
    """How clips were cleaned and normalised."""
    return ", ".join([str(recipe.get("name", "unknown")), *(k for k in ("rotate", "scale") if recipe.get(k))])


def fault_in_words(fault: Record) -> str:
    """What was measured, in a few words."""
    return FAULTS[fault.kind].format(**fault.values)


FAULTS = {
    "swapped bodies": "exchanged, they would move {gain_m:.1f} m less",
    "body jump": "body {body} at {speed_m_per_second:.0f} m/s",
    "joint jump": "{joint} at {speed_m_per_second:.0f} m/s",
    "bone length": "{joint} to {parent} varies by {spread_share:.0%} around {mean_cm:.0f} cm",
    "frozen": "body {body} does not move for {still_frames} frames",
    "upside down": "body {body} in {frames_share:.0%} of its frames",
    "mirrored": "body {body}, feet against facing {cosine:+.2f}",
    "side flip": "body {body}, shoulders turn by {turn_degrees:.0f}° in one frame",
    "flicker": "body {body}: {stretches} stretches, {missing_share:.0%} of the frames between missing",
}
"""For each kind of fault, what its values say."""


def _body(body: Values) -> str:
    tracks = (f"{t['sensor_id']} in frames {t['first_frame']}-{t['last_frame']}" for t in body["tracks"])
    return f"{body['body']}: {', '.join(tracks)}"


def _percent(share: float | None, unknown: str = "not known") -> str:
    return unknown if share is None else f"{share:.1%}"


def _energy(value: float, unit: LengthUnit) -> str:
    return f"{value * 1e4:.2f} cm²" if unit.key == "m" else f"{value:.2g} {unit.title}²"


def _fine(values: Mapping[str, float], unit: LengthUnit) -> dict[str, float]:
    return {name: round(value * unit.per, 1) for name, value in values.items()}
