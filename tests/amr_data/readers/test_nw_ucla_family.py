"""NW-UCLA files from folder to clip: what each clip and each reject says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from amr_data.clip import Clip
from amr_data.errors import RejectError
from amr_data.readers.nw_ucla import parse_nw_ucla
from amr_data.specs import load_spec
from tests.amr_data.readers.reading import joints, read, rejects

UCLA = load_spec("nw-ucla")


def test_nw_ucla_clips_and_rejects_in_order(tmp_path: Path):
    def write(name: str, frames: int, **more: object) -> None:
        content = {"skeletons": [joints(t, 20).tolist() for t in range(frames)], **more}
        (tmp_path / f"{name}.json").write_text(json.dumps(content))

    write("a01_s02_e03_v01", 2, label=1)
    write("a08_s02_e03_v02", 3, label=7)
    write("a09_s02_e03_v02", 3, label=9)
    write("a11_s02_e03_v02", 3, label="9")
    write("a12_s05_e00_v03", 1)
    items = read(tmp_path, UCLA)
    clips = [i for i in items if isinstance(i, Clip)]
    told = [(c.name, c.label, c.subject, c.replication, c.camera, c.frames, c.source) for c in clips]
    assert told == [
        ("a01_s02_e03_v01", 0, 2, 3, 1, 2, f"{tmp_path.name}/a01_s02_e03_v01.json"),
        ("a08_s02_e03_v02", 6, 2, 3, 2, 3, f"{tmp_path.name}/a08_s02_e03_v02.json"),
        ("a12_s05_e00_v03", 9, 5, 0, 3, 1, f"{tmp_path.name}/a12_s05_e00_v03.json"),
    ]
    assert rejects(items) == [
        (f"{tmp_path.name}/a09_s02_e03_v02.json", "label_mismatch", "the file says class 9, its name says 8"),
        (f"{tmp_path.name}/a11_s02_e03_v02.json", "label_mismatch", "label is '9', not a number"),
    ]
    unlabelled = read(tmp_path, UCLA.unlabelled())
    assert [(i.name, i.label) for i in unlabelled if isinstance(i, Clip)][1] == ("a08_s02_e03_v02", -1)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("  ", "empty: 2 bytes, nothing but white space"),
        ("{", "not_skeleton: not JSON: Expecting"),
        ("[" * 100_000, "not_skeleton: not JSON"),
        ("[]", "not_skeleton: expected an object with a list 'skeletons'"),
        ('{"skeletons": 5}', "not_skeleton: expected an object with a list 'skeletons'"),
        ('{"skeletons": []}', "no_body: 'skeletons' holds no frame"),
        ('{"skeletons": [[[0,0,1],[0,0,1]], 5]}', "joint_count: frame 1 has int joints, the skeleton has 2"),
        ('{"skeletons": [[[0,0,1]]]}', "joint_count: frame 0 has 1 joints, the skeleton has 2"),
        ('{"skeletons": [[[0,0,1],[0,0]]]}', "joint_count: frame 0, joint 2 is not a point of three numbers"),
        ('{"skeletons": [[[0,0,1],0]]}', "joint_count: frame 0, joint 2 is not a point of three numbers"),
        (
            '{"skeletons": [[[0,0,1],[0,0,true]]]}',
            r"bad_number: frame 0, joint 2 \(1-based\) is \[0, 0, True\]",
        ),
        ('{"skeletons": [[[0,0,1],[0,"0",0]]]}', r"bad_number: frame 0, joint 2 \(1-based\)"),
        ('{"skeletons": [[[0,0,1],[0,0,1' + "0" * 400 + "]]]}", "bad_number: int too large"),
        ('{"skeletons": [[[0,0,1],[0,0,NaN]]]}', "non_finite: frame 0, joint 2"),
        ('{"skeletons": [[[0,0,0],[0,0,0]], [[0,0,0],[0,0,0]]]}', "no_body: 2 frames, all zeros"),
    ],
)
def test_what_is_wrong_with_an_nw_ucla_file(content, says):
    with pytest.raises(RejectError, match=says):
        parse_nw_ucla(content.encode(), 2)


def test_frames_of_zeros_are_gaps_in_nw_ucla():
    nothing, here = [[0, 0, 0], [0, 0, 0]], [[0, 0, 0], [0, 1, 2.5]]
    track, label = parse_nw_ucla(
        json.dumps({"skeletons": [nothing, here, nothing, here], "label": 4}).encode(), 2
    )
    assert (track.frames.tolist(), label) == ([1, 3], 4)
    np.testing.assert_array_equal(track.joints, [here, here])
