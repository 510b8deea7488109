"""What files of the published families look like, and what is done to all of them alike."""

from __future__ import annotations

import pytest

from amr_data.readers import load_family
from amr_data.specs import load_spec

NTU, PKU = load_spec("ntu60"), load_spec("pku-mmd-1")
BODY = "7 0 1 1 1 1 0 0.1 -0.2 2"


@pytest.mark.parametrize(
    ("raw", "head", "likely"),
    [
        ("ntu", f"103\n1\n{BODY}\n25\n", True),
        ("ntu", f"103\r\n1\r\n{BODY}\r\n", True),
        ("ntu", f"103\n1\n{BODY}", True),
        ("ntu", "103\n0\n1\n72 0 1", True),
        ("ntu", "103\n0\n0\n", True),
        ("ntu", "3\n0\n", False),
        ("ntu", "3\n0", False),
        ("ntu", f"x\n1\n{BODY}\n", False),
        ("ntu", f"103\nx\n{BODY}\n", False),
        ("ntu", f"103 4\n1\n{BODY}\n", False),
        ("ntu", f"103\n1 2\n{BODY}\n", False),
        ("ntu", "103\n1\n7 0 1 1\n", False),
        ("ntu", "103\n1\nx\n", False),
        ("ntu", "103\n1\n1.5 2\n", False),
        ("pku-mmd", "0.5 " * 149 + "-1e-3\n1 2\nx", True),
        ("pku-mmd", "0.5 " * 149 + "\n1 2", False),
        ("pku-mmd", "x " + "0.5 " * 149 + "\n1 2", False),
        ("pku-mmd", "9,3,8,2\nx\ny", True),
        ("pku-mmd", " 9 , -3 , 8 \r\n", True),
        ("pku-mmd", "9,3\n9,3,8,2", False),
        ("pku-mmd", "9,3,8,2,1", False),
        ("pku-mmd", "a,3,8", False),
        ("nw-ucla", ' {"file_name": "a", "skeletons": [', True),
        ("nw-ucla", '{"file_name": "a"', False),
        ("nw-ucla", '["skeletons"]', False),
    ],
)
def test_how_files_begin(raw, head, likely):
    assert load_family(raw).sniff(head.encode(), "x") == likely


def test_where_the_families_move_the_origin():
    for raw, spec, expected in (("pku-mmd", PKU, [True, False, False]), ("ntu", NTU, [True, True, False])):
        assert [load_family(raw).centres(recipe, spec) for recipe in ("amr", "ctrgcn", "none")] == expected
