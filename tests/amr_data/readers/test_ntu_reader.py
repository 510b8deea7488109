"""The NTU parser on files with known numbers, and on files that are not what they claim."""

from __future__ import annotations

import time
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amr_data.errors import RejectError
from amr_data.readers import ntu
from amr_data.readers.ntu import parse_ntu

# Two ids that are equal once they pass through a float.
ID_A, ID_B = "72057594037931100", "72057594037931101"


def body(first: float) -> np.ndarray:
    return (first + np.arange(75) / 8).reshape(25, 3)


def test_positions_ids_and_frames_are_what_the_file_says(ntu_file):
    assert float(ID_A) == float(ID_B)
    data = ntu_file([[(ID_A, body(1))], [(ID_A, body(2)), (ID_B, body(3))], [], [(ID_B, body(4))]])
    frames, tracks, notes = parse_ntu(data, 25)
    assert frames == 4
    assert [t.body_id for t in tracks] == [ID_A, ID_B]
    assert [t.frames.tolist() for t in tracks] == [[0, 1], [1, 3]]
    np.testing.assert_array_equal(tracks[0].joints, [body(1), body(2)])
    np.testing.assert_array_equal(tracks[1].joints, [body(3), body(4)])
    assert notes == []


def test_tracking_states_become_inferred_flags(ntu_file):
    data = ntu_file([[(ID_A, body(1))]]).replace(b" 0 0 0 0 2\r\n", b" 0 0 0 0 1\r\n", 3)
    _, tracks, _ = parse_ntu(data, 25)
    assert tracks[0].inferred is not None
    assert tracks[0].inferred.sum() == 3


def test_an_id_twice_in_a_frame_counts_once_and_is_noted(ntu_file):
    _, tracks, notes = parse_ntu(ntu_file([[(ID_A, body(1)), (ID_A, body(2))]]), 25)
    np.testing.assert_array_equal(tracks[0].joints, [body(1)])
    assert "second sightings" in notes[0]


def test_line_ends_and_odd_spacing_do_not_matter(ntu_file):
    data = ntu_file([[(ID_A, body(1))]])
    expected = parse_ntu(data, 25)[1][0].joints
    for variant in (
        data.replace(b"\r\n", b"\n"),
        data.replace(b" ", b"  "),
        data + b"\r\n\r\n",
        data.rstrip(),
    ):
        np.testing.assert_array_equal(parse_ntu(variant, 25)[1][0].joints, expected)


def swap(data: bytes, line: int, text: bytes) -> bytes:
    lines = data.split(b"\r\n")
    lines[line] = text
    return b"\r\n".join(lines)


@pytest.mark.parametrize(
    ("damage", "reason", "says"),
    [
        (lambda d: b"", "empty", "0 bytes"),
        (lambda d: b" \r\n ", "empty", "white space"),
        (lambda d: bytes(range(256)) * 50, "not_skeleton", "line 1"),
        (lambda d: d[: len(d) // 2], "truncated", "cut off"),
        (lambda d: d.split(b"\r\n", 29)[0] + b"", "frame_count", "2 frames"),
        (lambda d: b"\r\n".join(d.split(b"\r\n")[:29]), "truncated", "ends after 1"),
        (lambda d: swap(d, 0, b"1000000000"), "frame_count", "1,000,000,000"),
        (lambda d: swap(d, 0, b"9" * 5000), "not_skeleton", "line 1"),
        (lambda d: swap(d, 0, b"1"), "frame_count", "follow the last"),
        (lambda d: swap(d, 1, b"-1"), "body_count", "line 2"),
        (lambda d: swap(d, 1, b"1000000"), "body_count", "line 2"),
        (lambda d: swap(d, 2, b"1.5 0 1 1 1 1 0 0.1 -0.2 2"), "not_skeleton", "line 3"),
        (lambda d: swap(d, 3, b"24"), "joint_count", "line 4 says '24'"),
        (lambda d: swap(d, 10, b"1 2 3 4 5 6 7 8 9 10 11"), "joint_count", "line 11 has 11"),
        (lambda d: swap(d, 10, b"1 x 3 4 5 6 7 8 9 10 11 2"), "bad_number", "line 11 has 'x'"),
        (lambda d: swap(d, 10, b"1 nan 3 4 5 6 7 8 9 10 11 2"), "non_finite", "joint 7"),
        (lambda d: swap(d, 10, b"1 -inf 3 4 5 6 7 8 9 10 11 2"), "non_finite", "joint 7"),
        (lambda d: swap(d, 10, b"1 1e400 3 4 5 6 7 8 9 10 11 2"), "non_finite", "joint 7"),
        (lambda d: swap(d, 10, b"1 5000 3 4 5 6 7 8 9 10 11 2"), "out_of_range", "5000 m"),
    ],
)
def test_damaged_files_are_rejected_by_reason(ntu_file, damage, reason, says):
    good = ntu_file([[(ID_A, body(1))], [(ID_A, body(2))]])
    with pytest.raises(RejectError) as caught:
        parse_ntu(damage(good), 25)
    assert caught.value.reason == reason
    assert says in caught.value.detail


def test_no_body_in_any_frame_is_rejected(ntu_file):
    with pytest.raises(RejectError, match="no_body"):
        parse_ntu(ntu_file([[], [], []]), 25)


def test_absurd_numbers_cost_neither_time_nor_memory(ntu_file):
    data = swap(ntu_file([[(ID_A, body(1))]]), 0, b"1000000000")
    tracemalloc.start()
    began = time.monotonic()
    with pytest.raises(RejectError):
        parse_ntu(data, 25)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * len(data) + 100_000
    assert time.monotonic() - began < 5


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 80),
            st.sampled_from([b"", b"nan", b"-3", b"25", b"1 2 3", b"\xff\x00", b"9" * 40, b"2"]),
        ),
        max_size=5,
    ),
    st.integers(0, 4000),
)
def test_any_damage_gives_tracks_or_a_reject(ntu_file, changes, cut):
    data = ntu_file([[(ID_A, body(1))], [(ID_A, body(2)), (ID_B, body(3))]])
    for line, text in changes:
        data = swap(data, line, text)
    try:
        frames, tracks, _ = parse_ntu(data[cut:] if cut < 300 else data[:cut], 25)
    except RejectError:
        return
    assert all(np.isfinite(t.joints).all() and (t.frames < frames).all() for t in tracks)


def test_the_genuine_files(genuine):
    folder: Path = genuine("ntu-rgbd")
    frames, tracks, _ = parse_ntu((folder / "S001C001P001R001A001.skeleton").read_bytes(), 25)
    assert (frames, len(tracks), tracks[0].body_id) == (103, 1, "72057594037931101")
    assert tracks[0].joints.shape == (103, 25, 3)
    frames, tracks, _ = parse_ntu((folder / "S001C003P008R002A058.skeleton").read_bytes(), 25)
    assert (frames, len(tracks)) == (70, 2)
    # every number once more, read by the plainest possible reader
    tokens = (folder / "S001C003P008R002A058.skeleton").read_text().split()
    at, seen = 1, {t.body_id: [] for t in tracks}
    for _ in range(frames):
        bodies = int(tokens[at])
        at += 1
        for _ in range(bodies):
            name = tokens[at]
            at += 11
            seen[name].append([[float(v) for v in tokens[at + 12 * j : at + 12 * j + 3]] for j in range(25)])
            at += 12 * 25
    for t in tracks:
        np.testing.assert_array_equal(t.joints, seen[t.body_id])


def test_what_the_scanner_takes_is_not_read_again(monkeypatch):
    positions, inferred = np.arange(18.0).reshape(3, 2, 3), np.eye(3, 2, dtype=bool)
    asked, answers = [], {}

    def scan_ntu(texts, joints):
        asked.append((texts, joints))
        return [answers.get(text) for text in texts]

    scanner = SimpleNamespace(scan_ntu=scan_ntu)
    monkeypatch.setattr(
        ntu, "compiled", lambda name: scanner if name == "amr_data.readers.scanning" else None
    )
    where = np.array([0, 0, 1]), np.array([0, 1, 0])
    answers[b"one"] = 9, ["7"], np.arange(3), np.zeros(3, int), positions, inferred
    answers[b"two"] = 5, ["7", "8"], *where, positions, inferred
    refused = RejectError("too_large", "so large")
    one, error, two, other = ntu.parse_many([b"one", refused, b"two", b"other"], 2)
    assert asked == [([b"one", b"two", b"other"], 2)]
    assert error is refused
    assert other.reason == "not_skeleton"
    frames, (track,), notes = one
    assert (frames, track.body_id, track.slot, notes) == (9, "7", 0, [])
    assert (track.frames.tolist(), track.joints.tolist()) == ([0, 1, 2], positions.tolist())
    assert track.inferred.tolist() == inferred.tolist()
    frames, tracks, notes = two
    assert (frames, notes) == (5, [])
    told = [(t.body_id, t.slot, t.frames.tolist(), t.joints[:, 0, 0].tolist()) for t in tracks]
    assert told == [("7", 0, [0, 1], [0, 12]), ("8", 1, [0], [6])]
    assert [t.inferred.tolist() for t in tracks] == [[[True, False], [False, False]], [[False, True]]]
