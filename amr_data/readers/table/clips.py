"""From recordings to clips: whole, or cut by the rows of a label file."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from amr_data.clip import Clip
from amr_data.errors import Reject, RejectError
from amr_data.readers.base import name_fields
from amr_data.readers.table.bodies import tracks
from amr_data.readers.table.grids import plain
from amr_data.readers.table.labels import Row
from amr_data.readers.table.resolved import Resolved
from amr_data.readers.table.takes import Take
from amr_data.readers.untrimmed import Cut, Untrimmed, side_by_side
from amr_data.recording import Interval
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
    start, end, notes = frames_of(row, take, spec, resolved)
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


def untrimmed(
    name: str, take: Take, rows: Sequence[Row], shown: str, spec: DatasetSpec, resolved: Resolved
) -> Untrimmed:
    """A recording whole, with what its rows of labels say. Raises RejectError.

    shown : the recording's file.
    """
    found, notes = tracks(take.bodies, resolved, take.first, take.last + 1)
    if not found:
        raise RejectError("no_body", f"no body in frames {take.first} to {take.last}")
    free = resolved.layout.body is not None
    whole = Clip(
        name,
        NO_LABEL,
        take.last - take.first + 1,
        side_by_side(found) if free else found,
        source=shown,
        start=take.first,
        dropped=take.notes + notes,
        **name_fields(spec, name),
    )
    kept = Untrimmed(whole, [], free=free)
    for number, row in enumerate(rows, 1):
        where = f"{shown}:label row {row.line}"
        try:
            start, end, said = frames_of(row, take, spec, resolved)
            label = _label(spec, name, row.label)
            subject = _subject(spec, row.subject or take.subject)
        except RejectError as error:
            kept.cuts.append(Reject(where, error.reason, error.detail))
            continue
        first, last = start - take.first, end - take.first
        if label != NO_LABEL:
            kept.intervals.append(Interval(label, first, last))
        dropped = (*said, *take.notes)
        kept.cuts.append(Cut(f"{name}_{number:03d}", label, first, last, where, subject, dropped))
    people = {c.subject for c in kept.cuts if isinstance(c, Cut)} - {None}
    if len(people) == 1:
        whole.subject = int(people.pop() or 0)
    return kept


def frames_of(row: Row, take: Take, spec: DatasetSpec, resolved: Resolved) -> tuple[int, int, list[str]]:
    """The numbers of a recording's frames that a row of labels means, the last one excluded, and notes about
    them. Raises RejectError."""
    labels = resolved.layout.labels
    assert labels is not None
    assert row.start is not None
    assert row.end is not None
    counted = resolved.layout.frame is None
    number = labels.first if counted else 0
    if labels.unit == "frames":
        said = f"frames {row.start} to {row.end}"
        step = resolved.layout.frame_step
        start = int(row.start) - number
        end = int(row.end) - number + (labels.end == "inclusive")
        if end <= start:
            raise RejectError("interval", f"{said}: the end is not after the start")
        start, end = start // step, -(-end // step)
        known = f"{take.first * step + number} to {take.last * step + number}"
    else:
        # frames whose time lies in it; as near a frame's time as a number with a few decimals can be is at it
        said = f"seconds {row.start:g} to {row.end:g}"
        known = f"0 to {(take.last - take.first) / spec.frame_rate:g}"
        start, end = (
            take.first + math.ceil(round(seconds * spec.frame_rate, 3)) for seconds in (row.start, row.end)
        )
        if end <= start:
            raise RejectError("interval", f"{said}: no frame lies between them")
    if start > take.last or end <= take.first or (counted and start < 0):
        raise RejectError("interval", f"{said} lie outside the recording, which has {known}")
    notes = [
        f"{before} frames that the label names lie before the recording"
        for before in [take.first - start]
        if before > 0
    ]
    start = max(start, take.first)
    if end > take.last + 1:
        notes.append(f"{end - take.last - 1} frames that the label names lie past the recording's end")
        end = take.last + 1
    return start, end, notes


def _filled(
    clip: Clip, take: Take, start: int, end: int, subject: str, spec: DatasetSpec, resolved: Resolved
) -> Clip:
    if (number := _subject(spec, subject)) is not None:
        clip.subject = number
    clip.tracks, notes = tracks(take.bodies, resolved, start, end)
    clip.dropped += notes
    if not clip.tracks:
        raise RejectError("no_body", f"no body in frames {start} to {end - 1}")
    return clip


def _subject(spec: DatasetSpec, said: str) -> int | None:
    """The subject that a file or a label says, None where it says none. Raises RejectError."""
    return _number(spec, "subject", plain(said)) if said else None


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
