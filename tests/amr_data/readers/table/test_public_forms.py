"""The forms of three public sets, hand-made, read by specs as docs/own-data.md teaches to write them."""

from __future__ import annotations

import numpy as np

from tests.amr_data.readers.table.people import PERSON, moving, read, stick, text


def test_ut_kinect_numbers_its_frames_and_labels_them_in_blocks(tmp_path):
    # joints_s01_e01.txt: frame number, then the joints; numbers are missing and repeated. actionLabel.txt
    # holds blocks of intervals in these numbers, one of them NaN
    (tmp_path / "joints").mkdir()
    numbers = np.array([252, 254, 254, 256, 300, 302])
    rows = np.c_[numbers, moving(6).reshape(6, -1)]
    (tmp_path / "joints" / "joints_s01_e01.txt").write_text(text(rows, "  "))
    (tmp_path / "joints" / "joints_s02_e01.txt").write_text(text(rows[[0, 4]], "  "))
    (tmp_path / "actionLabel.txt").write_text(
        "s01_e01\r\nwalk: 252 256 \r\nsitDown: 300 302\r\n\r\ns02_e01\r\nwalk: 252 260\r\ncarry: NaN NaN\r\n"
    )
    spec = stick(
        {
            "files": "joints_*.txt",
            "frame": 0,
            "repeated_frames": "first",
            "labels": {
                "file": "actionLabel.txt",
                "recording": "joints_{recording}",
                "heading": r"(?P<recording>s\d+_e\d+)",
                "rows": r"(?P<label>\w+):\s*(?P<start>\S+)\s+(?P<end>\S+)",
            },
        },
        naming="joints_s(?P<subject>[0-9]+)_e(?P<replication>[0-9]+)",
        classes={1: "walk", 2: "sitDown", 6: "carry"},
    )
    clips, (reject,) = read(spec, tmp_path)
    told = [(c.name, c.label, c.subject, c.start, c.frames, c.tracks[0].frames.tolist()) for c in clips]
    assert told == [
        ("joints_s01_e01_001", 0, 1, 252, 5, [0, 2, 4]),
        ("joints_s01_e01_002", 1, 1, 300, 3, [0, 2]),
        ("joints_s02_e01_001", 0, 2, 252, 9, [0]),
    ]
    assert (reject.kind, reject.where.rpartition("/")[2]) == ("interval", "actionLabel.txt:7")


def test_msr_action3d_writes_a_row_a_joint(tmp_path):
    # a01_s01_e01_skeleton3D.txt: x y z confidence, a row for each joint of each frame; files may be empty
    frames = np.concatenate([moving(3), np.full((3, 6, 1), 0.99)], axis=-1)
    frames[1] = 0
    (tmp_path / "a03_s01_e02_skeleton3D.txt").write_text(text(frames.reshape(-1, 4), " "))
    (tmp_path / "a03_s01_e03_skeleton3D.txt").write_text("")
    (tmp_path / "a03_s02_e02_skeleton3D.txt").write_text(text(np.zeros((12, 4)), " "))
    (tmp_path / "a03_s02_e03_skeleton3D.txt").write_text(text(frames.reshape(-1, 4)[:-1], " "))
    spec = stick(
        {"shape": "(T V) C", "values": ["x", "y", "z", "confidence"]},
        naming="a(?P<action>[0-9]+)_s(?P<subject>[0-9]+)_e(?P<replication>[0-9]+)_skeleton3D",
        classes={1: "high arm wave", 3: "hammer"},
    )
    (clip,), rejects = read(spec, tmp_path)
    assert (clip.label, clip.subject, clip.replication, clip.frames) == (1, 1, 2, 3)
    assert clip.tracks[0].frames.tolist() == [0, 2]
    np.testing.assert_allclose(clip.tracks[0].joints[0], PERSON, atol=1e-6)
    assert [r.kind for r in rejects] == ["empty", "no_body", "joint_count"]
    assert "17 entries" in rejects[2].detail


def test_florence_is_one_table_with_a_clip_column(tmp_path):
    # idvideo idactor idcategory, then the joints, in millimetres
    rows = np.c_[[1, 1, 2, 2, 2], [1, 1, 3, 3, 3], [1, 1, 2, 2, 2], moving(5).reshape(5, -1) * 1000]
    (tmp_path / "Florence_dataset_WorldCoordinates.txt").write_text(text(rows, " "))
    spec = stick(
        {"clip": 0, "subject": 1, "label": 2, "unit": "mm"},
        classes={1: "wave", 2: "drink from a bottle"},
        protocols={"cross": {"by": "subject", "train": [1], "test": [3]}},
    )
    clips, rejects = read(spec, tmp_path)
    assert rejects == []
    assert [(c.name.rpartition("_")[2], c.label, c.subject, c.frames) for c in clips] == [
        ("1", 0, 1, 2),
        ("2", 1, 3, 3),
    ]
    np.testing.assert_allclose(clips[1].tracks[0].joints, moving(5)[2:], atol=1e-5)
