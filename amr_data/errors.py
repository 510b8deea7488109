"""Errors that a user can act on. A `Record` is not an exception that ends a run: it is one thing that is
wrong with data, a reject of a conversion, a finding of `verify` or a fault of a clip."""

from __future__ import annotations

import difflib
import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import takewhile
from typing import Any

MOST_NAMED, MOST_COMPARED = 12, 200
"""Names in a message about one that does not exist, and names among which the nearest is looked for."""


class AmrError(Exception):
    """Work failed for a reason outside this code; the message says what was found, where, and what to do.
    `said`: the user is told already, or by another of several processes."""

    said = False


class UsageError(AmrError):
    """The request itself is wrong: an unknown name, a missing folder, a setting that does not exist."""


class RejectError(AmrError):
    """One source file or label row cannot become a clip.

    Args:
        reason: one of the short codes in `REASONS`.
        detail: what was found, and on which line or frame.
    """

    def __init__(self, reason: str, detail: str) -> None:
        assert reason in REASONS, reason
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True)
class Record:
    """One thing that is wrong with data.

    where : what it is about: a source, as its archive or folder calls it; a file of the dataset; a clip.
    kind : what is wrong, one of a few words: of rejects a key of `REASONS`, of faults one of `KINDS`.
    detail : what that means, or what was found, for people.
    severity : how many times its limit the worst value reaches, None where there is no limit.
    frame : the clip's frame, 0-based, None where it is about all of them.
    values : what was measured; keys end in the unit, as docs/json.md says.
    """

    where: str
    kind: str
    detail: str
    severity: float | None = None
    frame: int | None = None
    values: Mapping[str, float | str] = field(default_factory=dict, hash=False)

    def as_dict(self) -> dict[str, Any]:
        """What `--json` prints of it."""
        return asdict(self)

    def as_stored(self) -> dict[str, str]:
        """A reject as it lies in shards and in rejects.jsonl."""
        return {"source": self.where, "reason": self.kind, "detail": self.detail}

    @classmethod
    def from_stored(cls, stored: Any) -> Record:
        """A reject of a dataset. Raises: ValueError where it is none."""
        try:
            return cls(str(stored["source"]), str(stored["reason"]), str(stored["detail"]))
        except (KeyError, TypeError):
            raise ValueError("not a reject: it has source, reason and detail") from None


Reject = Record
"""A source that did not become a clip."""


def unknown(kind: str, name: str, known: Iterable[str], where: str = "", near: str | None = None) -> str:
    """The message for a name that does not exist: the nearest one that does, and the first of them all.

    near : the name that was meant, where the caller knows it better than by its spelling.
    """
    names = list(map(str, known))
    near = near or nearest(name, names)
    hint = f"did you mean '{near}'? " if near else ""
    if not names:
        return f"there is no {kind} '{name}'{where}: there is none at all"
    more = f", ... ({len(names):,} in all)" if len(names) > MOST_NAMED else ""
    return f"there is no {kind} '{name}'{where}: {hint}known: {', '.join(names[:MOST_NAMED])}{more}"


def nearest(name: str, known: Sequence[str], cutoff: float = 0.6) -> str | None:
    """The name that is spelt most alike, None where none is alike. Of very many, only those are compared in
    full that agree most at both ends."""
    if len(known) > MOST_COMPARED:
        known = heapq.nlargest(
            MOST_COMPARED,
            known,
            key=lambda other: _agreeing(name, other) + _agreeing(name[::-1], other[::-1]),
        )
    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=cutoff)), None)


def _agreeing(one: str, other: str) -> int:
    """How many signs are alike before the first that is not."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


REASONS = {
    "listed_unusable": "the dataset's own list names it as lacking a usable skeleton",
    "name": "the file name does not follow the dataset's naming",
    "duplicate": "another file of the same name was already taken",
    "unknown_class": "its action is not one of the dataset's classes",
    "empty": "the file is empty",
    "too_large": "the file is larger than any skeleton file can be",
    "unreadable": "the file could not be read",
    "not_skeleton": "the content is not a skeleton file",
    "frame_count": "the frame count in the header does not match the content",
    "truncated": "the file ends in the middle of a frame",
    "body_count": "the number of bodies in a frame is not a plausible number",
    "joint_count": "the number of joints is not the skeleton's",
    "dimensions": "the coordinates are two-dimensional and the dataset's three-dimensional, or the reverse",
    "frame_time": "the time from frame to frame is not that of a recording, or does not fit the dataset",
    "joint_name": "a joint of the skeleton has none of the names that it may have, or is there twice",
    "height": "the body is not 0.5 to 2.5 m tall in the unit that is stated, or in any",
    "bad_number": "a coordinate is not a number",
    "non_finite": "a coordinate is NaN or infinite",
    "out_of_range": "a coordinate is too large for a position in metres",
    "label_mismatch": "the label inside the file contradicts its name",
    "label_syntax": "a label row does not read action,start,end,confidence",
    "interval": "a label row's frames are not an interval inside the video",
    "overlap": "more label rows than a recording keeps name the same frame",
    "moved": "the clean-up moves the clip's frames, so that it is no part of its recording",
    "no_label": "a video without a label file",
    "no_skeleton": "a label row without a skeleton file",
    "no_body": "no frame holds a body",
    "no_body_frame": "spine or shoulders are degenerate, so the clip cannot be rotated or scaled",
    "unsafe_name": "an archive member that leads out of its folder, or a link",
    "no_body_left": "the clean-up dropped every body",
}
