"""NTU files from folder to clip: what each clip, each track and each reject says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from amr_data.clip import Clip
from amr_data.errors import RejectError
from amr_data.readers import ntu
from amr_data.readers.ntu import parse_many, parse_ntu
from amr_data.specs import load_spec
from tests.amr_data.readers.reading import joints, read, rejects

NTU = load_spec("ntu60")
BODY = "7 0 1 1 1 1 0 0.1 -0.2 2"


def test_ntu_clips_and_rejects_in_order(ntu_file, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    good = ntu_file([[("7", joints(1))], [("7", joints(2))]])
    for number, data in ((1, good), (2, b"no file"), (3, good), (4, b""), (5, good)):
        (tmp_path / f"S002C003P004R001A{number:03d}.skeleton").write_bytes(data)
    (tmp_path / "S002C003P004R001A099.skeleton").write_bytes(good)
    (tmp_path / "mine.skeleton").write_bytes(good)
    gone = tmp_path / "S002C003P004R001A004.skeleton"
    gone.unlink()
    gone.symlink_to("nowhere")
    (tmp_path / "S002C003P004R001A001.txt").write_bytes(good)
    for group_bytes in (1, len(good), 2 << 20):
        monkeypatch.setattr(ntu, "GROUP_BYTES", group_bytes)
        items = read(tmp_path, NTU)
        clips = [i for i in items if isinstance(i, Clip)]
        told = [(c.name, c.label, c.setup, c.camera, c.subject, c.replication, c.frames) for c in clips]
        assert told == [(f"S002C003P004R001A{n:03d}", n - 1, 2, 3, 4, 1, 2) for n in (1, 3, 5)]
        at = f"{tmp_path.name}/S002C003P004R001A"
        assert [c.source for c in clips] == [f"{at}{n:03d}.skeleton" for n in (1, 3, 5)]
        for clip in clips:
            np.testing.assert_array_equal(clip.tracks[0].joints, [joints(1), joints(2)])
        assert rejects(items) == [
            (f"{at}099.skeleton", "unknown_class", "action 99 is not in ntu60"),
            (f"{tmp_path.name}/mine.skeleton", "name", f"expected {NTU.named_like}"),
            (f"{at}002.skeleton", "not_skeleton", "line 1 is not a number of frames"),
            (f"{at}004.skeleton", "unreadable", f"[Errno 2] No such file or directory: '{gone}'"),
        ]


def test_ntu_files_of_any_name_are_known_by_content(ntu_file, tmp_path: Path):
    good = ntu_file([[("7", joints(1))]])
    (tmp_path / "wave.txt").write_bytes(good)
    (tmp_path / "bow.skeleton").write_bytes(b"no file")
    (tmp_path / "notes.txt").write_bytes(b"to do")
    items = read(tmp_path, NTU.unlabelled())
    assert [(i.name, i.label) for i in items if isinstance(i, Clip)] == [("wave", -1)]
    assert [r[:2] for r in rejects(items)] == [(f"{tmp_path.name}/bow.skeleton", "not_skeleton")]


def test_one_body_and_several_make_tracks_with_slots_and_flags(ntu_file):
    def inferred(data: bytes, line: int) -> bytes:
        lines = data.split(b"\r\n")
        lines[line] = lines[line][:-1] + b"1"
        return b"\r\n".join(lines)

    # one body, seen in frames 0, 1 and 3; its first joint stands on the fifth line
    data = ntu_file([[("9", joints(1))], [("9", joints(2))], [], [("9", joints(3))]])
    frames, (track,), notes = parse_ntu(inferred(data, 4), 25)
    assert (frames, track.body_id, track.slot, notes) == (4, "9", 0, [])
    assert track.frames.tolist() == [0, 1, 3]
    assert track.frames.dtype == np.int64
    np.testing.assert_array_equal(track.joints, [joints(1), joints(2), joints(3)])
    assert track.inferred is not None
    assert np.argwhere(track.inferred).tolist() == [[0, 0]]
    # two bodies, the second twice in frame 0: the first sighting counts, and no other body is lost for it
    data = ntu_file(
        [[("9", joints(1)), ("8", joints(2)), ("8", joints(3)), ("8", joints(4))], [("6", joints(5))]]
    )
    _, tracks, notes = parse_ntu(inferred(data, 4 + 27 + 1), 25)
    assert [(t.body_id, t.slot, t.frames.tolist()) for t in tracks] == [
        ("9", 0, [0]),
        ("8", 1, [0]),
        ("6", 2, [1]),
    ]
    np.testing.assert_array_equal(tracks[1].joints, [joints(2)])
    assert [np.argwhere(t.inferred).tolist() for t in tracks] == [[], [[0, 1]], []]
    assert [t.joints.shape for t in tracks] == [(1, 25, 3)] * 3
    assert notes == ["body 8: 2 second sightings in the same frame"]


def test_a_tracking_state_is_no_position(ntu_file):
    # a number that no state has is not tracked, and no place beyond a kilometre
    lines = ntu_file([[("9", joints(1, 2))]]).split(b"\r\n")
    lines[4] = lines[4][:-1] + b"5000"
    _, (track,), _ = parse_ntu(b"\r\n".join(lines), 2)
    assert track.inferred is not None
    assert track.inferred.tolist() == [[True, False]]


def test_files_that_go_to_the_parser_together_stay_apart(ntu_file):
    error = RejectError("unreadable", "gone")
    first, second = ntu_file([[("1", joints(1))]]), ntu_file([[("2", joints(2))], [("2", joints(3))]])
    far = ntu_file([[("3", joints(5000))]])
    out = parse_many([first, error, b"x", far, second], 25)
    assert out[1] is error
    assert [o.reason for o in out if isinstance(o, RejectError)] == [
        "unreadable",
        "not_skeleton",
        "out_of_range",
    ]
    np.testing.assert_array_equal(out[0][1][0].joints, [joints(1)])
    np.testing.assert_array_equal(out[4][1][0].joints, [joints(2), joints(3)])
    spaced = first.replace(b" ", b"  ")  # the fast way is lost to all of a group, and nobody's content
    slow = parse_many([spaced, second], 25)
    np.testing.assert_array_equal(slow[0][1][0].joints, [joints(1)])
    np.testing.assert_array_equal(slow[1][1][0].joints, [joints(2), joints(3)])


def test_plain_files_are_parsed_the_fast_way_and_odd_ones_line_by_line(
    ntu_file, monkeypatch: pytest.MonkeyPatch
):
    plain = ntu_file([[("1", joints(1)), ("2", joints(2))], [("1", joints(3))]])
    lines = plain.replace(b"\r\n", b"\n")
    for odd in (lines.replace(b" ", b"  "), lines + b"\n\n"):
        _, (first, second), _ = parse_ntu(odd, 25)
        np.testing.assert_array_equal(first.joints, [joints(1), joints(3)])
        np.testing.assert_array_equal(second.joints, [joints(2)])

    def never(*_: object) -> None:
        raise AssertionError("line by line")

    monkeypatch.setattr(ntu, "parse_lines", never)
    assert len(parse_many([plain, lines], 25)[1][1]) == 2


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("5\n0\n", "frame_count: line 1 says 5 frames, but only 1 lines follow"),
        ("1000000001\n0\n", "not_skeleton: line 1 is not a number of frames"),
        ("0\n", "no_body: 0 frames, none holds a body"),
        ("2\n0\n0\n", "no_body: 2 frames, none holds a body"),
        (f"1\n2\n{BODY}\n2\n", "truncated: frame 0 of 1 is cut off: 2 of 8 lines are there"),
        ("1\n0\n0\n0\n", "frame_count: line 1 says 1 frames, but 2 lines follow the last of them"),
        ("2\n65\n0\n", "body_count: line 2 .frame 0. is not a number of bodies up to 64"),
        (f"1\n1\n{'1' * 25}{BODY[1:]}\n2\n0\n0\n", "not_skeleton: line 3 is not a body line of 10 fields"),
        (
            f"1\n1\n{BODY}\n20 joints of many\n0\n0\n",
            "joint_count: line 4 says '20 joints of man' joints, the",
        ),
        (f"1\n1\n{BODY}\n\xff\n0\n0\n", "joint_count: line 4 says '\ufffd+' joints, the skeleton has 2"),
    ],
)
def test_what_is_wrong_with_an_ntu_file(data, says):
    with pytest.raises(RejectError, match=says):
        parse_ntu(data.encode(), 2)


def test_an_id_of_24_digits_is_one():
    line = "0 0 0 " + "0 " * 8 + "2\n"
    _, (track,), _ = parse_ntu(f"1\n1\n{'1' * 24}{BODY[1:]}\n2\n{line}{line}".encode(), 2)
    assert track.body_id == "1" * 24
