"""A BVH file (Biovision Hierarchy): its tree of joints, its rows of channel values, and forward kinematics.

A parser of our own, because the packages that read BVH refuse position channels beyond the root, read frame
by frame in Python, or wait for ever at the end of a file that is cut off. A joint's rotation channels are
applied in the order in which they are listed, each about the axes that the ones before it have turned.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from amr_data.errors import RejectError
from amr_data.readers.text import parse_columns, parse_lines

MAX_JOINTS = 1024
"""A body with face and fingers has about 300."""
MAX_DEPTH = 128
MAX_VALUE = 1e6
"""A thousand metres in millimetres; no angle in degrees means anything beyond it."""
RATES = (1, 1000)
"""Frames a second that a motion capture system can have."""
BLOCK_FRAMES = 1024
"""Frames that are put together at a time, which bounds memory by the file's size whatever its tree."""

_CHANNEL = re.compile(r"([xyz])(position|rotation)", re.IGNORECASE)
_FRAMES = re.compile(rb"\s*frames\s*:\s*(\S+)\s*", re.IGNORECASE)
_FRAME_TIME = re.compile(rb"\s*frame\s*time\s*:\s*(\S+)\s*", re.IGNORECASE)


@dataclass
class BvhJoint:
    """One joint.

    parent : its row, -1 for the root; parents stand before their children.
    offset : (3,) from the parent, in the file's unit.
    rotation, turns : the axes in the order in which they are applied, and the columns of their angles in
        degrees.
    shift : axis to the column of its position channel.
    """

    name: str
    parent: int
    offset: npt.NDArray[np.float64] | None = None
    rotation: str = ""
    turns: list[int] = field(default_factory=list)
    shift: dict[int, int] = field(default_factory=dict)
    has_channels: bool = False


@dataclass
class BvhFile:
    """joints : in file order, End Sites as `<parent>_end`.  values : (T, channels) as they stand in the file.
    frame_time : seconds."""

    joints: list[BvhJoint]
    values: npt.NDArray[np.float64]
    frame_time: float


def parse_bvh(data: bytes) -> BvhFile:
    """Parse one file. Raises RejectError with the line for whatever is not as it should be."""
    text = data.removeprefix(b"\xef\xbb\xbf")
    if not text.strip():
        raise RejectError("empty", f"{len(data)} bytes, nothing but white space")
    lines = text.splitlines()
    joints, columns, at = _parse_hierarchy(lines)
    frames, at = _header_field(lines, at, _FRAMES, "Frames: and a number")
    count = int(frames) if frames.isdigit() and len(frames) < 10 else None
    if count is None:
        raise RejectError("not_skeleton", f"line {at} does not say a number of frames: {_shown(frames)}")
    seconds, at = _header_field(lines, at, _FRAME_TIME, "Frame Time: and seconds")
    frame_time = _number(seconds, at)
    if not 1 / RATES[1] <= frame_time <= 1 / RATES[0]:
        raise RejectError(
            "frame_time",
            f"line {at} says {_shown(seconds)} s a frame, not {RATES[0]} to {RATES[1]:,} frames a second",
        )
    return BvhFile(joints, _parse_motion(lines, at, count, columns), frame_time)


def positions(
    file: BvhFile, wanted: Sequence[int], rows: npt.NDArray[np.int64], added: bool = False
) -> npt.NDArray[np.float64]:
    """Where joints are, by forward kinematics.

    Args:
        wanted: rows of `file.joints`.
        rows: frames.
        added: whether position channels are added to a joint's offset rather than take its place.
    Returns: (len(rows), len(wanted), 3) float64 in the file's unit and axes.
    """
    needed: set[int] = set()
    for joint in wanted:
        while joint >= 0 and joint not in needed:
            needed.add(joint)
            joint = file.joints[joint].parent
    out = np.empty((len(rows), len(wanted), 3))
    for start in range(0, len(rows), BLOCK_FRAMES):
        block = slice(start, start + BLOCK_FRAMES)
        out[block] = _block_positions(file, wanted, sorted(needed), file.values[rows[block]], added)
    return out


def _block_positions(
    file: BvhFile, wanted: Sequence[int], needed: Sequence[int], values: npt.NDArray[np.float64], added: bool
) -> npt.NDArray[np.float64]:
    turned: dict[int, npt.NDArray[np.float64]] = {-1: np.broadcast_to(np.eye(3), (len(values), 3, 3))}
    placed: dict[int, npt.NDArray[np.float64]] = {-1: np.zeros((len(values), 3))}
    for index in needed:
        joint = file.joints[index]
        assert joint.offset is not None  # or its brace would not have closed
        step = np.tile(joint.offset, (len(values), 1))  # (T, 3)
        for axis, column in joint.shift.items():
            step[:, axis] = values[:, column] + (step[:, axis] if added else 0)
        above = turned[joint.parent]  # (T, 3, 3)
        placed[index] = placed[joint.parent] + np.einsum("tij,tj->ti", above, step)
        if joint.rotation:
            # capital letters: about the turned axes, the first listed outermost
            own = Rotation.from_euler(joint.rotation, values[:, joint.turns], degrees=True).as_matrix()
            turned[index] = above @ own
        else:
            turned[index] = above
    return np.stack([placed[index] for index in wanted], axis=1)


def _parse_hierarchy(lines: Sequence[bytes]) -> tuple[list[BvhJoint], int, int]:
    """Joints, how many channels they have together, and the number of lines up to and with MOTION."""
    tree = _Tree()
    begun = False
    for number, line in enumerate(lines, 1):
        # braces may stand on lines of their own or beside what they enclose
        for piece in re.split(rb"([{}])", line):
            words = piece.split()
            if not words:
                continue
            keyword = words[0].upper()
            if not begun:
                if keyword != b"HIERARCHY":
                    raise RejectError("not_skeleton", f"line {number} is not HIERARCHY: {_shown(line)}")
                begun = True
            elif keyword == b"MOTION":
                return tree.finished(number), tree.columns, number
            else:
                tree.take(keyword, words[1:], number)
    raise RejectError("truncated", f"the file ends after {len(lines)} lines, before MOTION")


class _Tree:
    """The joints read so far, and those whose braces are open."""

    def __init__(self) -> None:
        self.joints: list[BvhJoint] = []
        self.columns = 0
        self._open: list[int] = []
        self._announced = False  # a joint's name was read, its brace was not
        self._ends: set[int] = set()

    def take(self, keyword: bytes, words: Sequence[bytes], number: int) -> None:
        """One statement of the hierarchy."""
        if self._announced != (keyword == b"{"):
            place = "a brace should open" if self._announced else "no joint's name came before"
            raise RejectError("not_skeleton", f"line {number}: {_shown(keyword)} where {place}")
        if keyword == b"{":
            self._announced = False
            self._open.append(len(self.joints) - 1)
            if len(self._open) > MAX_DEPTH:
                raise RejectError("not_skeleton", f"line {number}: joints lie more than {MAX_DEPTH} deep")
        elif keyword == b"}":
            if self.joint(number).offset is None:
                raise RejectError("not_skeleton", f"line {number} closes a joint that has no OFFSET")
            self._open.pop()
        elif keyword in (b"ROOT", b"JOINT", b"END"):
            self._announce(keyword, words, number)
        elif keyword == b"OFFSET":
            joint = self.joint(number)
            if len(words) != 3 or joint.offset is not None:
                raise RejectError("not_skeleton", f"line {number} is not the one OFFSET of three numbers")
            joint.offset = np.array([_number(word, number) for word in words])
        elif keyword == b"CHANNELS":
            self._channels(self.joint(number), words, number)
        else:
            raise RejectError("not_skeleton", f"line {number}: {_shown(keyword)} is no word of a BVH file")

    def joint(self, number: int) -> BvhJoint:
        if not self._open:
            raise RejectError("not_skeleton", f"line {number} stands outside of the ROOT's braces")
        return self.joints[self._open[-1]]

    def finished(self, number: int) -> list[BvhJoint]:
        if self._open or self._announced:
            left = len(self._open)
            raise RejectError("not_skeleton", f"line {number} is MOTION, but {left} braces are open")
        if not self.columns:
            raise RejectError("not_skeleton", f"no joint with channels before MOTION on line {number}")
        return self.joints

    def _announce(self, keyword: bytes, words: Sequence[bytes], number: int) -> None:
        if keyword == b"ROOT" and self.joints:
            raise RejectError("body_count", f"line {number} begins a second ROOT; one body a file is read")
        parent = -1
        if keyword != b"ROOT":
            self.joint(number)
            parent = self._open[-1]
            if parent in self._ends:
                raise RejectError("not_skeleton", f"line {number} puts a joint into an End Site")
        name = b" ".join(words).decode("utf-8", "replace")
        if keyword == b"END":
            name = f"{self.joints[parent].name}_end"
            self._ends.add(len(self.joints))
        elif not name:
            raise RejectError("not_skeleton", f"line {number} gives a joint no name")
        if len(self.joints) >= MAX_JOINTS:
            raise RejectError("joint_count", f"line {number} begins joint {MAX_JOINTS + 1:,}")
        self.joints.append(BvhJoint(name, parent))
        self._announced = True

    def _channels(self, joint: BvhJoint, words: Sequence[bytes], number: int) -> None:
        names = [word.decode("ascii", "replace") for word in words[1:]]
        if joint.has_channels or not words or words[0] != str(len(names)).encode():
            raise RejectError(
                "not_skeleton", f"line {number} is not the one CHANNELS: a number and as many names"
            )
        if self._open[-1] in self._ends and names:
            raise RejectError("not_skeleton", f"line {number} gives an End Site channels")
        joint.has_channels = True
        for name in names:
            match = _CHANNEL.fullmatch(name)
            axis = "xyz".index(match[1].lower()) if match else -1
            turns = match is not None and match[2].lower() == "rotation"
            if match is None or ("XYZ"[axis] in joint.rotation if turns else axis in joint.shift):
                raise RejectError(
                    "not_skeleton", f"line {number}: channel {name[:24]!r} is unknown or there twice"
                )
            if turns:
                joint.rotation += "XYZ"[axis]
                joint.turns.append(self.columns)
            else:
                joint.shift[axis] = self.columns
            self.columns += 1


def _parse_motion(lines: Sequence[bytes], at: int, count: int, columns: int) -> npt.NDArray[np.float64]:
    """The rows after the first `at` lines. Returns (count, columns) float64, all finite."""
    numbers = [i for i in range(at, len(lines)) if lines[i].strip()]
    if len(numbers) != count:
        raise RejectError(
            "truncated" if len(numbers) < count else "frame_count",
            f"{count:,} frames are announced before line {at + 1}, {len(numbers):,} rows follow",
        )
    if not count:
        raise RejectError("no_body", f"line {at - 1} announces no frame")
    rows = [lines[i].strip() for i in numbers]
    text = b"\n".join(rows)
    if b"\t" in text or b"  " in text:
        text = re.sub(rb"[ \t]+", b" ", text)
    values = parse_columns(text, count, columns, range(columns))
    if values is None:
        values = parse_lines(rows, numbers, columns, range(columns))
    usable = np.abs(values) <= MAX_VALUE  # False for NaN too
    if not usable.all():
        row, column = (int(i) for i in np.argwhere(~usable)[0])
        value = values[row, column]
        raise RejectError(
            "out_of_range" if math.isfinite(value) else "non_finite",
            f"line {numbers[row] + 1} has {value:.4g} as its value {column + 1}",
        )
    return values


def _header_field(
    lines: Sequence[bytes], at: int, pattern: re.Pattern[bytes], wanted: str
) -> tuple[bytes, int]:
    """What a line of the MOTION section says, and the number of lines up to and with it."""
    while at < len(lines) and not lines[at].strip():
        at += 1
    if at == len(lines):
        raise RejectError("truncated", f"the file ends after {at} lines, before {wanted}")
    match = pattern.fullmatch(lines[at]) if len(lines[at]) <= 128 else None
    if match is None:
        raise RejectError("not_skeleton", f"line {at + 1} is not {wanted}: {_shown(lines[at])}")
    return match[1], at + 1


def _number(word: bytes, number: int) -> float:
    """A finite number of a reasonable size on line `number`."""
    try:
        value = float(word) if len(word) <= 64 and b"_" not in word else math.nan
    except ValueError:
        value = math.nan
    if not abs(value) <= MAX_VALUE:
        raise RejectError("bad_number", f"line {number} has {_shown(word)} where a number belongs")
    return value


def _shown(text: bytes) -> str:
    return repr(text.strip()[:32].decode("utf-8", "replace"))
