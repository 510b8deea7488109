"""Errors that a user can act on. A `Reject` is not an exception that ends a run: it is one source that could
not become a clip."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


class AmrError(Exception):
    """Work failed for a reason outside this code; the message says what was found, where, and what to do.
    `said`: another of several processes tells the user."""

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
class Reject:
    """A source that did not become a clip: its name, the reason code and what was found."""

    source: str
    reason: str
    detail: str


def unknown(kind: str, name: str, known: Iterable[str], where: str = "") -> str:
    """The message for a name that does not exist: the nearest one that does, and all of them."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean '{near[0]}'? " if near else ""
    return f"there is no {kind} '{name}'{where}: {hint}known: {', '.join(names)}"


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
    "bad_number": "a coordinate is not a number",
    "non_finite": "a coordinate is NaN or infinite",
    "out_of_range": "a coordinate is too large for a position in metres",
    "label_mismatch": "the label inside the file contradicts its name",
    "label_syntax": "a label row does not read action,start,end,confidence",
    "interval": "a label row's frames are not an interval inside the video",
    "no_label": "a video without a label file",
    "no_skeleton": "a label row without a skeleton file",
    "no_body": "no frame holds a body",
    "no_body_frame": "spine or shoulders are degenerate, so the clip cannot be rotated or scaled",
    "unsafe_name": "an archive member that leads out of its folder, or a link",
    "no_body_left": "the clean-up dropped every body",
}
