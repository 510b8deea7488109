"""What a source is made of: members, and what all kinds of containers refuse alike."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from amr_data.errors import Reject

MAX_MEMBER_BYTES = 256 * 1024 * 1024
MAX_RECORDING_BYTES = 4 << 30
"""Of the file of a recording that is kept whole: ten hours of two Kinect bodies as text are 1.5 GB."""
"""No skeleton file of any dataset comes near this; the largest PKU-MMD video is under 15 MB."""
MAX_RATIO, RATIO_FROM_BYTES = 400, 16 * 1024 * 1024
"""Skeleton text shrinks to a fourth; a larger member that shrinks to less than a 400th is a zip bomb."""


@dataclass(frozen=True)
class Member:
    """One raw file: which source it lies in, its path there, its size in bytes, a stamp that changes with its
    content, and why it must not be read, if so, with the code of that reason. `entry` is its place in an
    archive, which may hold two members of one path."""

    source: int
    path: str
    size: int
    stamp: int
    refused: str = ""
    reason: str = "unsafe_name"
    entry: int = -1

    @property
    def filename(self) -> str:
        return self.path.rsplit("/", 1)[-1]

    @property
    def stem(self) -> str:
        return self.filename.rsplit(".", 1)[0]


class Container(ABC):
    """A folder, an archive or a single file, which is the source of number `index`. It can be sent to another
    process, where archives are opened anew."""

    def __init__(self, index: int, path: Path) -> None:
        self.index = index
        self.path = path
        self.rejects: list[Reject] = []
        """What `members` could not look into; sources are paths inside the container."""

    @abstractmethod
    def members(self) -> list[Member]:
        """Every file in it, in any order. Raises AmrError where it cannot be listed."""

    @abstractmethod
    def read(self, member: Member, limit: int) -> bytes:
        """A member's first bytes, at most `limit`. May raise whatever the system or an archive's library
        raises."""


def unsafe_name(name: str) -> str:
    """What is wrong with the name of an archive's member, or nothing."""
    if not name:
        return "it has no name"
    parts = re.split(r"[/\\]", name)
    if name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name) or ".." in parts:
        return "its name leads out of the archive's folder"
    return ""


def bomb(size: int, packed: int) -> str:
    """What is wrong with an archive member that grows out of all measure, or nothing."""
    if size > RATIO_FROM_BYTES and size > MAX_RATIO * max(packed, 1):
        return f"a zip bomb: {size:,} bytes packed in {packed:,}"
    return ""
