"""Numbers from text: what the fast parser takes and what it leaves to the patient one, and which positions no
sensor gives."""

from __future__ import annotations

import numpy as np
import pytest

from amr_data.errors import RejectError
from amr_data.readers.text import check_positions, parse_columns, parse_count, parse_lines, within_range


@pytest.mark.parametrize("data", [b"1 -2.5 3e2\n4 5 6", b"1 -2.5 3e2\r\n4 5 6\r\n"])
def test_wanted_columns_come_in_the_order_asked_for(data):
    found = parse_columns(data, 2, 3, [2, 0])
    assert found is not None
    assert found.dtype == np.float64
    assert found.tolist() == [[300, 1], [6, 4]]


@pytest.mark.parametrize(
    "data",
    [
        b"1 2\n3 4\n5 6",  # a line too many
        b"1 2",  # one too few
        b"1 2 3\n4 5 6",
        b"1\n2",
        b"1 \n3 4",
        b"1  2\n3 4",
        b"nan 2\n3 4",
        b"x 2\n3 4",
        b"true 2\nfalse 4",
        b'"1" 2\n3 4',
        b'"1\n2" 3\n4 5',
        b"",
    ],
)
def test_lines_that_are_not_plain_numbers_are_left_to_patience(data):
    assert parse_columns(data, 2, 2, range(2)) is None


def test_what_is_not_asked_for_is_not_looked_at():
    found = parse_columns(b"1 x\n2 y", 2, 2, [0])
    assert found is not None
    assert found.tolist() == [[1], [2]]


def test_a_line_may_be_longer_than_a_block():
    row = np.arange(20_000.0)  # 109 kB of text
    found = parse_columns(" ".join(map(str, row.astype(int))).encode(), 1, 20_000, range(20_000))
    np.testing.assert_array_equal(found, row[None])


def test_lines_are_read_with_patience():
    found = parse_lines([b" 1\t2   x ", b"nan inf 3"], [4, 9], 3, [1, 0])
    np.testing.assert_array_equal(found, [[2, 1], [np.inf, np.nan]])


@pytest.mark.parametrize(
    ("line", "kind", "detail"),
    [
        (b"1 2", "joint_count", "line 10 has 2 numbers, expected 3"),
        (b"1 2 3 4", "joint_count", "line 10 has 4 numbers, expected 3"),
        (b"1 1_0 3", "bad_number", "line 10 has '1_0' where a number belongs"),
        (b"1 " + b"y" * 25 + b" 3", "bad_number", f"line 10 has '{'y' * 24}' where a number belongs"),
        (b"1 \xff 3", "bad_number", "line 10 has '\ufffd' where a number belongs"),
    ],
)
def test_a_wrong_line_is_named_as_it_is_counted_in_the_file(line, kind, detail):
    with pytest.raises(RejectError) as error:
        parse_lines([b"1 2 3", line], [4, 9], 3, [0, 1])
    assert (error.value.reason, error.value.detail) == (kind, detail)


@pytest.mark.parametrize(
    ("line", "value"),
    [
        (b" 7\r", 7),
        (b"2", 2),
        (b"9", 9),
        (b"1", None),
        (b"10", None),
        (b"-3", None),
        (b"3.0", None),
        (b"3 4", None),
        (b"x", None),
        (b"", None),
        (b"0" * 31 + b"5", 5),
        (b"0" * 32 + b"5", None),
    ],
)
def test_a_count_is_a_whole_number_within_bounds(line, value):
    assert parse_count(line, 2, 9) == value


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_positions_that_are_no_numbers_are_rejected_by_frame_and_joint(value):
    joints = np.zeros((4, 3, 3))
    joints[1, 2, 1] = joints[3, 0] = joints[3, 1, 0] = value
    for frames in (range(5, 9), np.array([5, 6, 7, 8])):
        with pytest.raises(RejectError) as error:
            check_positions(joints, frames)
        assert error.value.reason == "non_finite"
        assert error.value.detail == "frame 6, joint 3 (1-based), in 3 joints in all"


@pytest.mark.parametrize(("value", "shown"), [(1000.4, "1000"), (-23456.0, "-2.346e+04")])
def test_positions_beyond_a_kilometre_are_rejected(value, shown):
    joints = np.zeros((4, 3, 3))
    joints[2, 1, 2] = value
    joints[2, 1, 0] = 1000
    joints[3] = value
    with pytest.raises(RejectError) as error:
        check_positions(joints, range(10, 14))
    assert error.value.reason == "out_of_range"
    assert error.value.detail == f"frame 12, joint 2 (1-based) is at {shown} m"


@pytest.mark.parametrize(
    ("values", "within"),
    [([], True), ([0, -1000, 1000], True), ([1000.1], False), ([0, -1000.1], False), ([0, np.nan, 1], False)],
)
def test_a_range_is_kept_with_its_ends(values, within):
    array = np.array(values, np.float64).reshape(-1, 1, 1)
    assert within_range(array) is within
    if within:
        check_positions(array, range(len(array)))
