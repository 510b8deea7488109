"""Compiled scanner of skeleton text, eight bytes at a time. It takes only what is written plainly (single
spaces, LF or CRLF, numbers that one multiplication or division rounds correctly) and otherwise gives up, for
the patient readers in `amr_data.readers.ntu` and `amr_data.readers.text` to read the file, or to say what is
wrong with it.

Numbers come out as Python's `float` reads them: an integer below 2^53 and a power of ten up to 10^22 are both
exact in double precision, so that their quotient or product is the correctly rounded value (Clinger, "How to
read floating point numbers accurately", 1990).

Imported only through `amr_data.compiling`. All helpers stand in this file, since numba's cache notices no
change of another. A signed and an unsigned integer make a float64 in numba, and a helper that takes an array
counts references in the innermost loop, so that helpers take numbers alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

helper = njit(error_model="numpy")
kernel = njit(cache=True, nogil=True, error_model="numpy")

U64 = np.uint64
NOTHING, ONE, TWO, THREE, SEVEN, EIGHT, TEN = U64(0), U64(1), U64(2), U64(3), U64(7), U64(8), U64(10)
BYTE, TOP_BYTE, TOP_BIT = U64(0xFF), U64(56), U64(63)
ONES, LOW7, HIGH = U64(0x0101010101010101), U64(0x7F7F7F7F7F7F7F7F), U64(0x8080808080808080)
SPACES, ZEROS = U64(0x2020202020202020), U64(0x3030303030303030)
TO_10, TO_21 = U64(0x7676767676767676), U64(0x5F5F5F5F5F5F5F5F)
"""Added to bytes below 0x80, they carry into the high bit from 10 and from 0x21 on."""
AFTER_SPACE = U64(0x80)
EXACT, ROOM = U64(1 << 53), U64(10**17)
TENS = np.array([10.0**k for k in range(23)])
WHOLE_TENS = np.array([10**k for k in range(9)], np.uint64)
SPACE, LF, CR, ZERO, NINE = 32, 10, 13, 48, 57
U_ZERO, U_DOT, U_PLUS, U_MINUS, U_UPPER_E, U_LOWER_E = U64(48), U64(46), U64(43), U64(45), U64(69), U64(101)

PADDING = 32
"""Zero bytes behind a text: no loop goes past the first one, and words may be loaded from there."""
MAX_IDS, MAX_ID_DIGITS, MAX_BODIES = 64, 24, 64
USUAL_LINE, SHORTEST_LINE = 60, 24
TOO_MANY = -2
TOO_SHORT = "the arrays are too short"
BODY_FIELDS, JOINT_FIELDS, TRACKED, MAX_METRES = 10, 12, 2.0, 1000.0


@helper  # type: ignore[untyped-decorator,unused-ignore]
def _ahead(low: Any, high: Any, at: int) -> Any:
    """The eight bytes from `at` on, the first one lowest, out of the two words that hold them."""
    shift = U64(at & 7) * EIGHT
    return (low >> shift) | ((high << ONE) << (TOP_BIT - shift))


@helper  # type: ignore[untyped-decorator,unused-ignore]
def _first(mask: Any) -> Any:
    """Which byte of a mask of high bits is the first one set; 8 where none is."""
    if mask == NOTHING:
        return 8
    below = (mask & (~mask + ONE)) - ONE
    return np.int64(((below & ONES) * ONES) >> TOP_BYTE) - 1


@helper  # type: ignore[untyped-decorator,unused-ignore]
def _marked(mask: Any) -> Any:
    """How many bytes of a mask of high bits are set."""
    return np.int64(((mask >> SEVEN) * ONES) >> TOP_BYTE)


@helper  # type: ignore[untyped-decorator,unused-ignore]
def _digit(low: Any) -> Any:
    return (low & BYTE) - U_ZERO < TEN


@helper  # type: ignore[untyped-decorator,unused-ignore]
def _number(low: Any, high: Any) -> Any:
    """The number at the start of sixteen bytes as `float` reads it, its length, and the byte behind it; a
    length of -1 where it is not of the plain kind. One that does not end within them is cut off, so that
    another byte than white space is seen behind it."""
    refused = (0.0, -1, 0)
    length, value = 0, NOTHING
    negative = low & BYTE == U_MINUS
    if negative:
        low, high, length = (low >> EIGHT) | (high << TOP_BYTE), high >> EIGHT, 1
    digits = 0
    while _digit(low):
        value = value * TEN + ((low & BYTE) - U_ZERO)
        low, high, digits = (low >> EIGHT) | (high << TOP_BYTE), high >> EIGHT, digits + 1
    if digits > 8:
        return refused
    length += digits
    places = 0
    if low & BYTE == U_DOT:
        low, high, length = (low >> EIGHT) | (high << TOP_BYTE), high >> EIGHT, length + 1
        eight = low ^ ZEROS
        places = _first((((eight & LOW7) + TO_10) | eight) & HIGH)
        if places > 0:
            # the digits to the end of the word, zeros before them; then pairs, fours and all eight are summed
            eight <<= U64(8 - places) * EIGHT
            eight = (eight * TEN) + (eight >> EIGHT)
            eight = ((eight & U64(0x00FF00FF00FF00FF)) * U64(6553601)) >> U64(16)
            eight = ((eight & U64(0x0000FFFF0000FFFF)) * U64(42949672960001)) >> U64(32)
            value = value * WHOLE_TENS[places] + eight
        if places == 8:
            low, high = high, NOTHING
            while _digit(low):
                if value >= ROOM:
                    return refused
                value = value * TEN + ((low & BYTE) - U_ZERO)
                low, places = low >> EIGHT, places + 1
        elif places > 0:
            shift = U64(places) * EIGHT
            low, high = (low >> shift) | (high << (U64(64) - shift)), high >> shift
        length += places
    if digits + places == 0:
        return refused
    power = -places
    if low & BYTE == U_LOWER_E or low & BYTE == U_UPPER_E:
        low, high, length = (low >> EIGHT) | (high << TOP_BYTE), high >> EIGHT, length + 1
        falls = low & BYTE == U_MINUS
        if falls or low & BYTE == U_PLUS:
            low, high, length = (low >> EIGHT) | (high << TOP_BYTE), high >> EIGHT, length + 1
        exponent: Any = 0
        digits = 0
        while _digit(low):
            exponent = exponent * 10 + np.int64((low & BYTE) - U_ZERO)
            low, high, digits = (low >> EIGHT) | (high << TOP_BYTE), high >> EIGHT, digits + 1
        if digits == 0 or digits > 4:
            return refused
        length += digits
        power += -exponent if falls else exponent
    if value >= EXACT or power < -22 or power > 22:
        return refused
    number = np.float64(value)
    number = number / TENS[-power] if power < 0 else number * TENS[power]
    return (-number if negative else number), length, np.int64(low & BYTE)


@helper  # type: ignore[untyped-decorator,unused-ignore]
def _fields(eight: Any, before: Any) -> tuple[Any, Any, Any]:
    """Where the spaces are in eight bytes before the end of a line, the first end of a line in them, and
    spaces and ends that stand behind another space. `before` says that one stood before these eight."""
    white = ~(((eight & LOW7) + TO_21) | eight) & HIGH  # bytes up to 0x20
    other = eight ^ SPACES
    space = ~(((other & LOW7) + LOW7) | other) & HIGH
    ends = white ^ space
    end = ends & (~ends + ONE)
    space &= end - ONE  # all where there is no end
    return space, end, (space | end) & ((space << EIGHT) | before)


@helper  # type: ignore[untyped-decorator,unused-ignore]
def _scan_ntu(
    words: Any,
    data: Any,
    size: int,
    positions: Any,
    inferred: Any,
    frame_of: Any,
    body_of: Any,
    ids: Any,
    last_frame: Any,
) -> tuple[int, int, int]:
    """Fill the arrays, whose first axis is that of the bodies in file order; `ids` gets where each id stands.
    Returns frames, bodies in all and ids; -1 frames where the file is not of the plain kind, `TOO_MANY` where
    the arrays are too short."""
    refused = (-1, 0, 0)
    joints = positions.shape[1]
    value: Any = 0
    row = known = at = frame = frames = bodies = 0
    while frame <= frames:
        # a line of one number: frames at first, then the bodies of each frame
        value, start = 0, at
        while at - start < 9 and ZERO <= data[U64(at)] <= NINE:
            value = value * 10 + (np.int64(data[at]) - ZERO)
            at += 1
        if at == start:
            return refused
        if at < size:
            at += data[U64(at)] == CR
            if data[U64(at)] != LF:
                return refused
            at += 1
        if start == 0:
            frames = value
            if frames == 0:
                return refused
            continue
        bodies = value
        if bodies > MAX_BODIES:
            return refused
        if row + bodies > len(positions):
            return TOO_MANY, 0, 0
        for _ in range(bodies):
            # the body's line, which begins with its id
            start = at
            while ZERO <= data[U64(at)] <= NINE and at - start <= MAX_ID_DIGITS:
                at += 1
            if at == start or at - start > MAX_ID_DIGITS or data[U64(at)] != SPACE:
                return refused
            body = 0
            while body < known:
                first, last = ids[body, 0], ids[body, 1]
                k = 0 if last - first == at - start else at - start + 1
                while k < at - start and data[first + k] == data[start + k]:
                    k += 1
                if k == at - start:
                    break
                body += 1
            if body == known:
                if known == MAX_IDS:
                    return refused
                ids[known, 0], ids[known, 1] = start, at
                known += 1
            if last_frame[body] == frame:  # twice in a frame
                return refused
            last_frame[body] = frame
            spaces, doubles, before, end = 0, NOTHING, NOTHING, NOTHING
            while end == NOTHING:
                word = U64(at) >> THREE
                eight = _ahead(words[word], words[word + ONE], at)
                space, end, double = _fields(eight, before)
                spaces, doubles, before = spaces + _marked(space), doubles | double, space >> TOP_BYTE
                at += _first(end)
            if spaces != BODY_FIELDS - 1 or doubles != NOTHING:
                return refused
            at += data[U64(at)] == CR
            if data[U64(at)] != LF:
                return refused
            at += 1
            # the line that says how many joints follow
            value, start = 0, at
            while at - start < 9 and ZERO <= data[U64(at)] <= NINE:
                value = value * 10 + (np.int64(data[at]) - ZERO)
                at += 1
            if value != joints or data[start] == ZERO:
                return refused
            at += data[U64(at)] == CR
            if data[U64(at)] != LF:
                return refused
            at += 1
            for joint in range(joints):
                for axis in range(3):
                    word = U64(at) >> THREE
                    low, middle, high = words[word], words[word + ONE], words[word + TWO]
                    number, length, behind = _number(_ahead(low, middle, at), _ahead(middle, high, at))
                    if length < 0 or behind != SPACE or not abs(number) <= MAX_METRES:
                        return refused
                    positions[row, joint, axis] = number
                    at += length + 1
                spaces, doubles, before, end = 0, NOTHING, AFTER_SPACE, NOTHING
                while end == NOTHING:
                    word = U64(at) >> THREE
                    eight = _ahead(words[word], words[word + ONE], at)
                    space, end, double = _fields(eight, before)
                    spaces, doubles, before = spaces + _marked(space), doubles | double, space >> TOP_BYTE
                    at += _first(end)
                if spaces != JOINT_FIELDS - 4 or doubles != NOTHING:
                    return refused
                start = at - 1
                while data[U64(start - 1)] != SPACE:
                    start -= 1
                word = U64(start) >> THREE
                low, middle, high = words[word], words[word + ONE], words[word + TWO]
                number, length, behind = _number(_ahead(low, middle, start), _ahead(middle, high, start))
                if start + length != at:
                    return refused
                inferred[row, joint] = number != TRACKED
                if at < size:
                    at += data[U64(at)] == CR
                    if data[U64(at)] != LF:
                        return refused
                    at += 1
            frame_of[row], body_of[row] = frame, body
            row += 1
        frame += 1
        if frame == frames:
            break
    while at < size:
        if data[at] != LF and data[at] != CR:
            return refused
        at += 1
    return frames, row, known


@kernel  # type: ignore[untyped-decorator,unused-ignore]
def _scan_many(
    words: Any,
    data: Any,
    starts: Any,
    sizes: Any,
    rows: Any,
    positions: Any,
    inferred: Any,
    frame_of: Any,
    body_of: Any,
    ids: Any,
    found: Any,
) -> None:
    """`_scan_ntu` for texts that begin at `starts`, a multiple of eight each. Text i may fill the arrays from
    rows[i] to rows[i + 1]; `found` (N, 3) gets what comes back."""
    last_frame = np.empty(MAX_IDS, np.int64)
    for text in range(len(starts)):
        last_frame[:] = -1
        start, a, b = starts[text], rows[text], rows[text + 1]
        frames, bodies, known = _scan_ntu(
            words[start // 8 :],
            data[start:],
            sizes[text],
            positions[a:b],
            inferred[a:b],
            frame_of[a:b],
            body_of[a:b],
            ids[text],
            last_frame,
        )
        found[text, 0], found[text, 1], found[text, 2] = frames, bodies, known


@kernel  # type: ignore[untyped-decorator,unused-ignore]
def _scan_rows(words: Any, data: Any, size: int, out: Any) -> int:
    """Lines of as many numbers as `out` has columns; spaces may stand before a line's end. Returns how many
    there are, -1 where one is not of the plain kind."""
    at = row = 0
    while at < size and data[at] != LF and data[at] != CR:
        if row == len(out):
            return -1
        for column in range(out.shape[1]):
            word = U64(at) >> THREE
            low, middle, high = words[word], words[word + ONE], words[word + TWO]
            number, length, behind = _number(_ahead(low, middle, at), _ahead(middle, high, at))
            if length < 0 or (behind != SPACE and column + 1 < out.shape[1]):
                return -1
            out[row, column] = number
            at += length + (column + 1 < out.shape[1])
        while data[at] == SPACE:
            at += 1
        if at < size:
            at += data[U64(at)] == CR
            if data[U64(at)] != LF:
                return -1
            at += 1
        row += 1
    while at < size:
        if data[at] != LF and data[at] != CR:
            return -1
        at += 1
    return row


Text = tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint8], int]
Scanned = tuple[
    int,
    list[str],
    npt.NDArray[np.int64],
    npt.NDArray[np.int64],
    npt.NDArray[np.float64],
    npt.NDArray[np.bool_],
]


def scan_ntu(texts: Sequence[bytes], joints: int) -> list[Scanned | None]:
    """NTU files, where they are written plainly, several in one call: for each call that lets other threads
    run, a thread may have to wait before it goes on.

    Returns: for each file its frames; the bodies' ids in order of appearance; for every body in file order
        its frame (K,), the number of its id (K,), positions (K, V, 3) in metres and joints that were not
        tracked (K, V); or None.
    """
    scanned = _scan_texts(texts, joints, USUAL_LINE)
    for index in [i for i, found in enumerate(scanned) if found is TOO_SHORT]:
        (found,) = _scan_texts(texts[index : index + 1], joints, SHORTEST_LINE)
        scanned[index] = None if found is TOO_SHORT else found
    return scanned


def _scan_texts(texts: Sequence[bytes], joints: int, line: int) -> list[Any]:
    """`line` : the shortest line of a joint, in bytes, which bounds how many bodies there can be; a file with
    more of them comes back as `TOO_SHORT`."""
    if not texts:
        return []
    sizes = np.array([len(text) for text in texts])
    rooms = sizes + PADDING + -sizes % 8
    starts, rows = (np.concatenate([[0], np.cumsum(n)]) for n in (rooms, sizes // (joints * line) + 1))
    data = b"".join(part for text in texts for part in (text, bytes(PADDING + -len(text) % 8)))
    most, count = int(rows[-1]), len(texts)
    positions, inferred = np.empty((most, joints, 3)), np.empty((most, joints), np.bool_)
    frame_of, body_of = np.empty(most, np.int64), np.empty(most, np.int64)
    ids, found = np.empty((count, MAX_IDS, 2), np.int64), np.empty((count, 3), np.int64)
    words, letters = np.frombuffer(data, np.uint64), np.frombuffer(data, np.uint8)
    _scan_many(words, letters, starts[:-1], sizes, rows, positions, inferred, frame_of, body_of, ids, found)
    out: list[Any] = []
    for text, a, (frames, bodies, known), where in zip(
        texts, rows.tolist(), found.tolist(), ids, strict=False
    ):
        if frames == TOO_MANY:
            out.append(TOO_SHORT)
        elif frames < 0 or not bodies:
            out.append(None)
        else:
            names = [text[i:j].decode("ascii") for i, j in where[:known].tolist()]
            mine = slice(a, a + bodies)
            out.append((frames, names, frame_of[mine], body_of[mine], positions[mine], inferred[mine]))
    return out


def scan_rows(data: bytes, columns: int) -> npt.NDArray[np.float64] | None:
    """A file of `columns` numbers a line, where it is written plainly: (rows, columns) float64, or None."""
    # a number and what follows it are two bytes at least: line ends alone make no room
    out = np.empty((min(data.count(b"\n"), len(data) // (2 * columns)) + 1, columns))
    rows = _scan_rows(*_text(data), out)
    return out[:rows] if rows > 0 else None


def _text(data: bytes) -> Text:
    padded = data.ljust(len(data) + PADDING, b"\0")
    return np.frombuffer(padded, np.uint64, len(padded) // 8), np.frombuffer(padded, np.uint8), len(data)


def try_out() -> None:
    """Load both scanners, or compile them, in the forms that `bytes` need."""
    file = b"1\r\n1\r\n7 0 1 1 1 1 0 0.5 -0.5 2\r\n1\r\n0.25 -1 2e0 0 0 0 0 0 0 0 0 2\r\n"
    (found,) = scan_ntu([file], 1)
    assert found is not None
    assert found[4].tolist() == [[[0.25, -1.0, 2.0]]]
    assert scan_rows(b"0.5 1\n", 2) is not None
