"""From recordings to clips: whole, or cut by the rows of a label file."""

from __future__ import annotations

import re

from amr_data.clip import Clip
from amr_data.errors import RejectError
from amr_data.readers.base import name_fields
from amr_data.readers.table.bodies import tracks
from amr_data.readers.table.grids import plain
from amr_data.readers.table.labels import Row
from amr_data.readers.table.resolved import Resolved
from amr_data.readers.table.takes import Take
from amr_data.specs import NO_LABEL, DatasetSpec


def whole(name: str, take: Take, row: Row | None, spec: DatasetSpec, resolved: Resolved) -> Clip:
    """A recording as one clip. Raises RejectError."""
    value = take.clip
    naming = value if resolved.layout.clip is not None else name
    clip = Clip(
        f"{name}_{value}" if value else name,
        _label(spec, naming, row.label if row else take.label),
        take.last - take.first + 1,
        [],
        start=max(take.first, 0),
        dropped=list(take.notes),
        **name_fields(spec, naming),
    )
    return _filled(
        clip, take, take.first, take.last + 1, row.subject if row else take.subject, spec, resolved
    )


def interval(name: str, take: Take, row: Row, number: int, spec: DatasetSpec, resolved: Resolved) -> Clip:
    """What a row of labels says of a recording. Raises RejectError."""
    labels = resolved.layout.labels
    assert labels is not None
    assert row.start is not None
    assert row.end is not None
    counted = resolved.layout.frame is None
    start = row.start - (labels.first if counted else 0)
    end = row.end - (labels.first if counted else 0) + (labels.end == "inclusive")
    if end <= start:
        raise RejectError("interval", f"frames {row.start} to {row.end}: the end is not after the start")
    step = resolved.layout.frame_step
    start, end = start // step, -(-end // step)
    if start > take.last or end <= take.first or (counted and start < 0):
        first, last = (n + (labels.first if counted else 0) for n in (take.first, take.last))
        raise RejectError(
            "interval",
            f"frames {row.start} to {row.end} lie outside the recording, which has {first} to {last}",
        )
    notes = [
        f"{before} frames that the label names lie before the recording"
        for before in [take.first - start]
        if before > 0
    ]
    start = max(start, take.first)
    if end > take.last + 1:
        notes.append(f"{end - take.last - 1} frames that the label names lie past the recording's end")
        end = take.last + 1
    clip = Clip(
        f"{name}_{number:03d}",
        _label(spec, name, row.label),
        end - start,
        [],
        video=name,
        start=max(start, 0),
        dropped=notes + take.notes,
        **name_fields(spec, name),
    )
    return _filled(clip, take, start, end, row.subject or take.subject, spec, resolved)


def _filled(
    clip: Clip, take: Take, start: int, end: int, subject: str, spec: DatasetSpec, resolved: Resolved
) -> Clip:
    if subject:
        clip.subject = _number(spec, "subject", plain(subject))
    clip.tracks, notes = tracks(take.bodies, resolved, start, end)
    clip.dropped += notes
    if not clip.tracks:
        raise RejectError("no_body", f"no body in frames {start} to {end - 1}")
    return clip


def _label(spec: DatasetSpec, name: str, said: str) -> int:
    """The label that a file or its name says, 0-based. Raises RejectError for one that is no class."""
    named = spec.parse_name(name)
    if named is None:
        raise RejectError("name", f"expected {spec.named_like}, found '{name[:80]}'")
    if not spec.classes:
        return NO_LABEL
    action = named.get("action")
    if said:
        told = spec.action(plain(said))
        if told is None:
            raise RejectError("unknown_class", f"label '{said[:40]}' is not in {spec.name}")
        if action is not None and action != told:
            raise RejectError("label_mismatch", f"the file says class {told}, its name says {action}")
        action = told
    if action is None:
        raise RejectError("no_label", "nothing says its label")
    label = spec.label(action)
    if label is None:
        raise RejectError("unknown_class", f"action {action} is not in {spec.name}")
    return label


def _number(spec: DatasetSpec, field: str, text: str) -> int:
    codes = spec.codes.get(field, {})
    if text in codes:
        return codes[text]
    if not re.fullmatch(r"[0-9]{1,9}", text):
        if not codes and not any(rule.by == field for rule in spec.protocols.values()):
            return -1  # a word, and nothing that asks for a number
        raise RejectError(
            "name", f"{field} '{text[:40]}' is no number; give it one: codes: {{{field}: {{{text[:40]}: 1}}}}"
        )
    return int(text)
