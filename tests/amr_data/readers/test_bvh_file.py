"""BVH text and forward kinematics: known answers worked out by hand, damage, and trees against a slow version
that walks them with written-out matrices."""

from __future__ import annotations

import math

import numpy as np
import pytest

from amr_data.errors import RejectError
from amr_data.readers import bvh_file
from amr_data.readers.bvh_file import BLOCK_FRAMES, MAX_DEPTH, MAX_JOINTS, parse_bvh, positions

ARM = """HIERARCHY
ROOT Hips
{{
  OFFSET 0 0 0
  CHANNELS {channels}
  JOINT Arm
  {{
    OFFSET 1 0 0
    CHANNELS 3 Zrotation Xrotation Yrotation
    End Site
    {{
      OFFSET 0 2 0
    }}
  }}
}}
MOTION
Frames: {frames}
Frame Time: 0.0333333
{rows}
"""
ROOT = "6 Xposition Yposition Zposition Zrotation Xrotation Yrotation"


def arm(*rows: str, channels: str = ROOT) -> bytes:
    return ARM.format(channels=channels, frames=len(rows), rows="\n".join(rows)).encode()


def places(data: bytes, added: bool = False) -> np.ndarray:
    file = parse_bvh(data)
    return positions(file, range(len(file.joints)), np.arange(len(file.values)), added)


def about(axis: str, degrees: float) -> np.ndarray:
    """Rotation matrices as they stand in every textbook."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return {
        "X": np.array([[1, 0, 0], [0, c, -s], [0, s, c]]),
        "Y": np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]),
        "Z": np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]),
    }[axis]


def test_the_tree_and_what_its_joints_are_called():
    file = parse_bvh(arm("1 2 3 4 5 6 7 8 9"))
    assert [(j.name, j.parent) for j in file.joints] == [("Hips", -1), ("Arm", 0), ("Arm_end", 1)]
    assert file.joints[0].shift == {0: 0, 1: 1, 2: 2}
    assert (file.joints[1].rotation, file.joints[1].turns) == ("ZXY", [6, 7, 8])
    assert file.values.tolist() == [[1, 2, 3, 4, 5, 6, 7, 8, 9]]
    assert file.frame_time == pytest.approx(1 / 30, rel=1e-5)


@pytest.mark.parametrize(
    ("row", "hand"),
    [
        ("0 0 0 0 0 0 0 0 0", (1, 2, 0)),
        ("5 6 7 0 0 0 0 0 0", (6, 8, 7)),
        ("0 0 0 0 0 0 90 0 0", (-1, 0, 0)),  # the elbow about z: (0, 2, 0) goes to (-2, 0, 0)
        ("0 0 0 0 0 0 0 90 0", (1, 0, 2)),  # about x: y goes to z
        ("0 0 0 0 0 0 0 0 90", (1, 2, 0)),  # about y, along which the hand lies
        ("0 0 0 90 0 0 0 0 0", (-2, 1, 0)),  # the root about z turns the whole arm: x to y, y to -x
        ("0 0 0 0 90 0 0 0 0", (1, 0, 2)),
        ("0 0 0 0 0 90 0 0 0", (0, 2, -1)),  # about y: x goes to -z
        (
            "1 0 0 0 0 90 90 0 0",
            (1, 0, 1),
        ),  # elbow first in its own axes, hand at (1 - 2, 0, 0); x to -z, 1 along
    ],
)
def test_quarter_turns_by_hand(row, hand):
    np.testing.assert_allclose(places(arm(row))[0, 2], hand, atol=1e-12)


@pytest.mark.parametrize("order", ["XYZ", "XZY", "YXZ", "YZX", "ZXY", "ZYX"])
def test_the_listed_order_is_the_order_of_rotation(order):
    channels = "3 " + " ".join(f"{axis}rotation" for axis in order)
    degrees = (30.0, -50.0, 110.0)
    data = arm(" ".join(map(str, degrees)) + " 0 0 0", channels=channels)
    a, b, c = (about(axis, angle) for axis, angle in zip(order, degrees, strict=True))
    np.testing.assert_allclose(places(data)[0, 2], a @ b @ c @ (1, 2, 0), atol=1e-12)


def test_position_channels_stand_in_place_of_an_offset_or_are_added_to_it():
    data = arm("4 0 0 0 0 0").replace(
        b"CHANNELS 3 Zrotation Xrotation Yrotation", b"CHANNELS 3 Yposition Xposition Zrotation"
    )
    data = data.replace(
        b"CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation", b"CHANNELS 1 Xposition"
    )
    data = data.replace(b"4 0 0 0 0 0", b"4 7 3 90")
    assert places(data)[0, 1].tolist() == [7, 7, 0]
    np.testing.assert_allclose(places(data)[0, 2], (5, 7, 0), atol=1e-12)
    assert places(data, added=True)[0, 1].tolist() == [8, 7, 0]
    assert positions(parse_bvh(data), [1], np.array([0])).tolist() == [[[7, 7, 0]]]


def test_blocks_of_frames_do_not_show():
    rows = [f"{t} 0 0 {t % 360} 0 0 0 0 0" for t in range(BLOCK_FRAMES + 3)]
    hands = places(arm(*rows))[:, 2]
    for t in (0, 1, BLOCK_FRAMES - 1, BLOCK_FRAMES, BLOCK_FRAMES + 2):
        np.testing.assert_allclose(hands[t], (t, 0, 0) + about("Z", t % 360) @ (1, 2, 0), atol=1e-9)


@pytest.mark.parametrize(("rows", "sizes"), [(7, [2, 2, 2, 1]), (2, [2]), (0, [])])
def test_frames_are_put_together_in_blocks(rows, sizes, monkeypatch: pytest.MonkeyPatch):
    seen: list[int] = []
    real = bvh_file._block_positions

    def block(*given):
        seen.append(len(given[3]))
        return real(*given)

    monkeypatch.setattr(bvh_file, "BLOCK_FRAMES", 2)
    monkeypatch.setattr(bvh_file, "_block_positions", block)
    file = parse_bvh(arm(*(f"{t} 0 0 0 0 0 0 0 0" for t in range(7))))
    found = positions(file, [0], np.arange(rows)[::-1])
    assert found[:, 0, 0].tolist() == list(range(rows))[::-1]
    assert seen == sizes


@pytest.mark.parametrize("row", ["1 2 3 4 5 6 7 8 9", "1\t2\t3 4 5 6 7 8 9\t", "1 2  3 4 5 6 7   8 9 "])
def test_rows_are_parsed_the_fast_way_whatever_the_blanks(row, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bvh_file, "parse_lines", None)
    assert parse_bvh(arm(row, "9 8 7 6 5 4 3 2 1")).values.tolist() == [[*range(1, 10)], [*range(9, 0, -1)]]


def test_empty_lines_in_the_motion_section():
    data = GOOD.replace(b"MOTION\n", b"MOTION\n\n").replace(b"\nFrame Time", b"\n \n\t\nFrame Time")
    np.testing.assert_array_equal(parse_bvh(data).values, parse_bvh(GOOD).values)
    data = GOOD.replace(b"\nFrame Time", b"\n \nFrame Time").replace(b"MOTION\n", b"MOTION\n\n\n\n")
    np.testing.assert_array_equal(parse_bvh(data).values, parse_bvh(GOOD).values)


@pytest.mark.parametrize(
    ("old", "new", "sound"),
    [
        ("0.0333333", "0.001", True),
        ("0.0333333", "0.00099", False),
        ("0.0333333", "1", True),
        ("0.0333333", "1.001", False),
        ("0.0333333", "0.033" + "0" * 59, True),
        ("0.0333333", "0.033" + "0" * 60, False),
        ("Frames: 2", "Frames: 2".ljust(128), True),
        ("Frames: 2", "Frames: 2".ljust(129), False),
        ("OFFSET 1 0 0", "OFFSET 1000000 -1e6 0", True),
        ("OFFSET 1 0 0", "OFFSET 1000000.1 0 0", False),
        ("1 1 1 1 1 1 1 1 1", "1000000 -1e6 1 1 1 1 1 1 1", True),
        ("1 1 1 1 1 1 1 1 1", "1000000.1 1 1 1 1 1 1 1 1", False),
    ],
)
def test_limits_are_kept_with_their_ends(old, new, sound):
    data = GOOD.decode().replace(old, new).encode()
    assert data != GOOD
    if sound:
        parse_bvh(data)
        return
    with pytest.raises(RejectError):
        parse_bvh(data)


def test_what_is_shown_of_a_line_is_its_beginning():
    for line, shown in ((b" " + b"x" * 40, "x" * 32), (b"a\xff", "a\ufffd")):
        with pytest.raises(RejectError) as error:
            parse_bvh(line)
        assert error.value.detail == f"line 1 is not HIERARCHY: '{shown}'"
    with pytest.raises(RejectError) as error:
        parse_bvh(GOOD.replace(b"0.0333333", b"2"))
    assert error.value.detail == "line 18 says '2' s a frame, not 1 to 1,000 frames a second"
    for mark in (b"", b"\xef\xbb\xbf"):
        with pytest.raises(RejectError) as error:
            parse_bvh(mark + b" \n")
        assert (error.value.reason, error.value.detail[1:]) == ("empty", " bytes, nothing but white space")


def test_names_that_are_no_utf_8_are_names():
    assert [j.name for j in parse_bvh(GOOD.replace(b"JOINT Arm", b"JOINT My A\xffm")).joints] == [
        "Hips",
        "My A\ufffdm",
        "My A\ufffdm_end",
    ]


def test_what_programs_write_differently_reads_the_same():
    plain = places(arm("1 2 3 4 5 6 7 8 9", "9 8 7 6 5 4 3 2 1"))
    written = arm("1\t2 3  4 5 6 7 8 9 ", "", "9 8 7 6 5 4 3 2 1\t")
    written = b"\xef\xbb\xbf" + written.replace(b"Frames: 3", b"Frames:\t2").replace(b"\n", b"\r\n")
    written = written.replace(b"ROOT Hips\r\n{", b"root Hips {").replace(b"End Site", b"END SITE")
    np.testing.assert_array_equal(places(written), plain)


GOOD = arm("0 0 0 0 0 0 0 0 0", "1 1 1 1 1 1 1 1 1")
ROW = b"1 1 1 1 1 1 1 1 1"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b" \n ", "empty: 3 bytes"),
        (b"solid teapot\n", "not_skeleton: line 1 is not HIERARCHY: 'solid teapot'"),
        (GOOD[: GOOD.index(b"JOINT")], "truncated: the file ends after 6 lines, before MOTION"),
        (GOOD[: GOOD.index(b"Frames")], "truncated: the file ends after 16 lines, before Frames:"),
        (GOOD[: GOOD.index(b"Frame Time")], "truncated: the file ends after 17 lines, before Frame Time:"),
        (GOOD[: GOOD.index(ROW)], "truncated: 2 frames are announced before line 19, 1 rows follow"),
        (GOOD + ROW, "frame_count: 2 frames are announced before line 19, 3 rows follow"),
        (arm(), "no_body: line 17 announces no frame"),
        (b"HIERARCHY\nMOTION\nFrames: 1\n", "not_skeleton: no joint with channels before MOTION on line 2"),
        (
            b"HIERARCHY\nROOT a\n{\nOFFSET 0 0 0\n" + b"JOINT b\n{\nOFFSET 1 0 0\n" * MAX_DEPTH,
            f"not_skeleton: line {3 * MAX_DEPTH + 3}: joints lie more than {MAX_DEPTH} deep",
        ),
        (
            b"HIERARCHY\nROOT a\n{\nOFFSET 0 0 0\n" + b"JOINT b\n{\nOFFSET 0 0 0\n}\n" * MAX_JOINTS,
            f"joint_count: line {4 * MAX_JOINTS + 1} begins joint 1,025",
        ),
    ],
)
def test_damage_is_named_with_its_line(data, message):
    with pytest.raises(RejectError, match=message):
        parse_bvh(data)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Frames: 2", "Frames: 999999999", "truncated: 999,999,999 frames"),
        ("Frames: 2", "Frames: -2", "not_skeleton: line 17 does not say a number of frames: '-2'"),
        ("Frames: 2", "Frames: 9999999999", "not_skeleton: line 17 does not say"),
        ("Frames: 2", "Frame count 2", "not_skeleton: line 17 is not Frames: and a number"),
        ("Frames: 2", "Frames: 2" + " " * 200, "not_skeleton: line 17 is not Frames: and a number"),
        ("0.0333333", "0", "frame_time: line 18 says '0' s a frame"),
        ("0.0333333", "-0.03", "frame_time: line 18 says '-0.03' s a frame"),
        ("0.0333333", "1.5", "frame_time: line 18 says '1.5' s a frame"),
        ("0.0333333", "nan", "bad_number: line 18 has 'nan' where a number belongs"),
        ("0.0333333", "fast", "bad_number: line 18 has 'fast' where a number belongs"),
        ("OFFSET 1 0 0", "OFFSET 1 0", "not_skeleton: line 8 is not the one OFFSET of three"),
        ("OFFSET 1 0 0", "OFFSET 1 0 inf", "bad_number: line 8 has 'inf'"),
        ("OFFSET 1 0 0", "OFFSET 1 0 1_0", "bad_number: line 8 has '1_0'"),
        ("OFFSET 1 0 0", "OFFSET 1 0 0\nOFFSET 1 0 0", "not_skeleton: line 9 is not the one OFFSET"),
        ("OFFSET 1 0 0\n", "", "not_skeleton: line 13 closes a joint that has no OFFSET"),
        ("CHANNELS 3", "CHANNELS 4", "not_skeleton: line 9 is not the one CHANNELS"),
        ("CHANNELS 3 Z", "CHANNELS Z", "not_skeleton: line 9 is not the one CHANNELS"),
        (
            "CHANNELS 3 Zrotation Xrotation Yrotation",
            "CHANNELS",
            "not_skeleton: line 9 is not the one CHANNELS",
        ),
        ("CHANNELS 3 Z", "CHANNELS 1 Xposition\nCHANNELS 3 Z", "line 10 is not the one CHANNELS"),
        ("3 Zrot", "3 Z\u00e9rot", "line 9: channel 'Z\ufffd\ufffdrotation' is unknown or there twice"),
        ("MOTION", "OFFSET 0 0 0\nMOTION", "not_skeleton: line 16 stands outside of the ROOT's braces"),
        ("MOTION", "CHANNELS 1 Xposition\nMOTION", "not_skeleton: line 16 stands outside of the ROOT's"),
        ("3 Zrot", "3 Wrot", "not_skeleton: line 9: channel 'Wrotation' is unknown or there twice"),
        ("3 Zrot", "3 Xrot", "not_skeleton: line 9: channel 'Xrotation' is unknown or there twice"),
        ("6 Xpos", "6 Ypos", "not_skeleton: line 5: channel 'Yposition' is unknown or there twice"),
        ("0 2 0", "0 2 0\nCHANNELS 1 Xrotation", "not_skeleton: line 13 gives an End Site channels"),
        ("0 2 0", "0 2 0\nJOINT x", "not_skeleton: line 13 puts a joint into an End Site"),
        ("JOINT Arm", "JOINT", "not_skeleton: line 6 gives a joint no name"),
        ("Arm\n  {", "Arm\n", "not_skeleton: line 8: 'OFFSET' where a brace should open"),
        ("Hips\n{", "Hips\n{\n{", "not_skeleton: line 4: '{' where no joint's name came before"),
        ("ROOT Hips", "JOINT Hips", "not_skeleton: line 2 stands outside of the ROOT's braces"),
        ("MOTION", "}\nMOTION", "not_skeleton: line 16 stands outside of the ROOT's braces"),
        ("}\nMOTION", "MOTION", "not_skeleton: line 15 is MOTION, but 1 braces are open"),
        ("MOTION", "ROOT Second\n{\n", "body_count: line 16 begins a second ROOT"),
        ("OFFSET 0 0 0", "SCALE 1 1 1", "not_skeleton: line 4: 'SCALE' is no word of a BVH"),
        ("1 1 1 1 1 1 1 1 1", "1 1 1 1 1 1 1 1", "joint_count: line 20 has 8 numbers, expected 9"),
        ("1 1 1 1 1 1 1 1 1", "1 1 1 1 1 1 1 1 1 1", "joint_count: line 20 has 10 numbers, expected 9"),
        ("1 1 1 1 1 1 1 1 1", "1 1 x 1 1 1 1 1 1", "bad_number: line 20 has 'x'"),
        ("1 1 1 1 1 1 1 1 1", "1 1 nan 1 1 1 1 1 1", "non_finite: line 20 has nan as its value 3"),
        ("1 1 1 1 1 1 1 1 1", "1 1 1 -1e7 1 1 1 1 1", r"out_of_range: line 20 has -1e\+07 as its value 4"),
    ],
)
def test_one_wrong_place_is_named_with_its_line(old, new, message):
    damaged = GOOD.decode().replace(old, new).encode()
    assert damaged != GOOD
    with pytest.raises(RejectError, match=message):
        parse_bvh(damaged)


def in_file_order(joints: list[dict], at: int = 0) -> list[int]:
    children = [i for i, j in enumerate(joints) if j["parent"] == at]
    return [at] + [k for child in children for k in in_file_order(joints, child)]


def written(joints: list[dict], rows: list[list[float]]) -> bytes:
    def block(at: int) -> str:
        joint = joints[at]
        inner = "".join(block(i) for i, j in enumerate(joints) if j["parent"] == at) or (
            "End Site\n{\nOFFSET 0 1 0\n}\n"
        )
        channels = " ".join([str(len(joint["channels"])), *joint["channels"]])
        kind = "JOINT" if at else "ROOT"
        offset = " ".join(map(str, joint["offset"]))
        return f"{kind} j{at}\n{{\nOFFSET {offset}\nCHANNELS {channels}\n{inner}}}\n"

    motion = "\n".join(" ".join(map(str, row)) for row in rows)
    return f"HIERARCHY\n{block(0)}MOTION\nFrames: {len(rows)}\nFrame Time: 0.01\n{motion}\n".encode()


def slow_positions(joints: list[dict], row: list[float], added: bool) -> dict[str, np.ndarray]:
    values = iter(row)
    turned: dict[int, np.ndarray] = {-1: np.eye(3)}
    placed: dict[int, np.ndarray] = {-1: np.zeros(3)}
    out = {}
    for at in in_file_order(joints):
        joint = joints[at]
        step, own = np.array(joint["offset"], float), np.eye(3)
        for channel in joint["channels"]:
            value, axis = next(values), "XYZ".index(channel[0])
            if channel.endswith("position"):
                step[axis] = joint["offset"][axis] + value if added else value
            else:
                own = own @ about(channel[0], value)
        placed[at] = placed[joint["parent"]] + turned[joint["parent"]] @ step
        turned[at] = turned[joint["parent"]] @ own
        out[f"j{at}"] = placed[at]
        out[f"j{at}_end"] = placed[at] + turned[at] @ (0, 1, 0)
    return out


def check_tree(joints: list[dict], rows: list[list[float]], added: bool) -> None:
    """Every joint in every frame, against the slow version."""
    file = parse_bvh(written(joints, rows))
    found = positions(file, range(len(file.joints)), np.arange(len(rows)), added)
    for t, row in enumerate(rows):
        expected = slow_positions(joints, row, added)
        for index, joint in enumerate(file.joints):
            np.testing.assert_allclose(found[t, index], expected[joint.name], atol=1e-7)


@pytest.mark.parametrize("seed", range(4))
def test_some_trees_equal_the_slow_version(seed):
    """`test_bvh_trees` tries any."""
    draw = np.random.default_rng(seed)
    joints: list[dict] = []
    for index in range(5):
        channels = draw.permutation([f"{axis}{kind}" for axis in "XYZ" for kind in ("position", "rotation")])
        joints.append(
            {
                "parent": int(draw.integers(index)) if index else -1,
                "offset": tuple(draw.integers(-9, 10, 3).tolist()),
                "channels": channels[: 6 if not index else int(draw.integers(7))].tolist(),
            }
        )
    rows = draw.normal(0, 90, (3, sum(len(j["channels"]) for j in joints))).round(3).tolist()
    for added in (False, True):
        check_tree(joints, rows, added)


def test_only_the_asked_frames_and_joints_are_put_together():
    file = parse_bvh(arm("1 0 0 0 0 0 0 0 0", "2 0 0 0 0 0 0 0 0", "3 0 0 0 0 0 0 0 0"))
    np.testing.assert_allclose(positions(file, [2], np.array([2, 0])), [[[4, 2, 0]], [[2, 2, 0]]], atol=1e-12)
