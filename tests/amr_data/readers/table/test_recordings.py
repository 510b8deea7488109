"""Recordings of tables kept whole: one file a recording and one label file, through a spec alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from amr_data import UsageError, convert, open_dataset, verify
from amr_data.recording import Interval
from amr_data.shards.reader import read_rejects
from tests.amr_data.readers.table.people import PERSON, moving, read, stick, text

CLASSES = {1: "walk", 2: "sitDown", 6: "carry"}
UT_KINECT = {
    "files": "joints_*.txt",
    "frame": 0,
    "repeated_frames": "first",
    "labels": {
        "file": "actionLabel.txt",
        "recording": "joints_{recording}",
        "heading": r"(?P<recording>s\d+_e\d+)",
        "rows": r"(?P<label>\w+):\s*(?P<start>\S+)\s+(?P<end>\S+)",
    },
}


def converted(spec, folder: Path, out: Path, **settings):
    convert(folder, out, spec, workers=1, **settings)
    return open_dataset(out)


def same_clips(spec, folder: Path, out: Path):
    """The dataset with recordings; its clips are those of a conversion without them."""
    cut = converted(spec, folder, out / "cut")
    kept = converted(spec, folder, out / "kept", keep="recordings")
    assert cut.clips.tobytes() == kept.clips.tobytes()
    for a, b in zip(cut, kept, strict=True):
        assert (a.name, a.start, a.dropped) == (b.name, b.start, b.dropped)
        for t, u in zip(a.tracks, b.tracks, strict=True):
            assert (t.slot, t.body_id, t.frames.tolist()) == (u.slot, u.body_id, u.frames.tolist())
            np.testing.assert_allclose(u.joints, t.joints, atol=2e-6)
    assert verify(out / "kept") == []
    assert [str(r) for r in read_rejects(out / "cut")] == [str(r) for r in read_rejects(out / "kept")]
    return kept


def test_ut_kinect_comes_through_a_spec_alone(tmp_path):
    raw = tmp_path / "raw"
    (raw / "joints").mkdir(parents=True)
    numbers = np.array([252, 254, 254, 256, 300, 302])
    rows = np.c_[numbers, moving(6).reshape(6, -1)]
    (raw / "joints" / "joints_s01_e01.txt").write_text(text(rows, "  "))
    (raw / "joints" / "joints_s02_e01.txt").write_text(text(rows[[0, 4]], "  "))
    (raw / "actionLabel.txt").write_text(
        "s01_e01\nwalk: 252 256\nsitDown: 300 302\n\ns02_e01\nwalk: 252 260\ncarry: NaN NaN\n"
    )
    naming = "joints_s(?P<subject>[0-9]+)_e(?P<replication>[0-9]+)"
    dataset = same_clips(stick(UT_KINECT, naming=naming, classes=CLASSES), raw, tmp_path)
    first, second = dataset.recordings
    assert [(r.name, r.subject, r.replication, r.start, r.frames) for r in (first, second)] == [
        ("joints_s01_e01", 1, 1, 252, 51),
        ("joints_s02_e01", 2, 1, 252, 49),
    ]
    assert first.intervals == (Interval(0, 0, 5), Interval(1, 48, 51))
    assert [f for t in first.tracks for f in t.frames] == [0, 2, 4, 48, 50]
    assert second.intervals == (Interval(0, 0, 9),)
    assert [r.kind for r in read_rejects(tmp_path / "kept")] == ["interval"]


LINES = {
    "file": "labels.txt",
    "rows": r"(?P<recording>\w+): (?P<label>\w+) (?P<start>\S+) (?P<end>\S+)",
}


@pytest.mark.parametrize(("unit", "times"), [("seconds", 1), ("milliseconds", 1000)])
def test_labels_in_seconds_mean_the_frames_whose_time_lies_in_them(tmp_path, unit, times):
    # ten frames a second: frame i is at i / 10 s
    said = [(0, 0.5), (0.41, 0.7), (0.7, 9), (1.05, 1.09), (2.0, 1.0), (5.0, 6.0)]
    rows = [f"a: walk {start * times:g} {end * times:g}" for start, end in said]
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.csv").write_text(text(moving(12).reshape(12, -1)))
    (tmp_path / "raw" / "labels.txt").write_text("\n".join([*rows, "a: walk soon later", "a: walk -1 2"]))
    spec = stick({"labels": {**LINES, "unit": unit}}, classes=CLASSES)
    dataset = same_clips(spec, tmp_path / "raw", tmp_path)
    assert [(i.first, i.end) for i in dataset.recordings[0].intervals] == [(0, 5), (5, 7), (7, 12)]
    assert dataset.clip("a_003").dropped == ["78 frames that the label names lie past the recording's end"]
    assert [r.detail for r in read_rejects(tmp_path / "kept")] == [
        f"start is 'soon', not a time in {unit}",
        f"start is '-1', not a time in {unit}",
        "seconds 1.05 to 1.09: no frame lies between them",
        "seconds 2 to 1: no frame lies between them",
        "seconds 5 to 6 lie outside the recording, which has 0 to 1.1",
    ]


def test_times_need_intervals_and_no_numbers_of_frames():
    for labels, told in (
        (
            {"file": "l.txt", "rows": r"(?P<recording>\w+) (?P<label>\w+)", "unit": "seconds"},
            "is about start",
        ),
        ({**LINES, "unit": "seconds", "first": 1}, "need neither"),
        ({**LINES, "unit": "hours"}, "unit"),
    ):
        with pytest.raises((ValidationError, UsageError, ValueError), match=told):
            read(stick({"labels": labels}, classes=CLASSES), Path())


def test_people_who_come_and_go_share_places(tmp_path):
    # body 7 in frames 0 to 9, 8 in 5 to 14, 9 in 10 to 19, 12 in 12 to 13
    (tmp_path / "raw").mkdir()
    there = {7: range(10), 8: range(5, 15), 9: range(10, 20), 12: range(12, 14)}
    rows = [
        [frame, body, *np.add(PERSON, [0.01 * frame, 0, body / 10]).ravel()]
        for frame in range(20)
        for body in there
        if frame in there[body]
    ]
    (tmp_path / "raw" / "a.csv").write_text(text(np.array(rows)))
    (tmp_path / "raw" / "labels.txt").write_text("a: walk 6 8\na: sitDown 11 13\na: carry 16 19\n")
    spec = stick({"frame": 0, "body": 1, "labels": LINES}, classes=CLASSES)
    dataset = same_clips(spec, tmp_path / "raw", tmp_path)
    (recording,) = dataset.recordings
    # the third at once has a place of its own, which a dataset of two bodies does not show
    assert [(t.body_id, t.slot) for t in recording.tracks] == [("7", 0), ("9", 0), ("8", 1)]
    assert [[t.body_id for t in clip.tracks] for clip in dataset] == [["7", "8"], ["8", "9"], ["9"]]


def test_joints_that_are_absent_are_filled_from_the_whole_recording(tmp_path):
    frames = moving(12)
    frames[4:6, 3] = np.nan  # the right hand, at a clip's beginning
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.csv").write_text(text(frames.reshape(12, -1)))
    (tmp_path / "raw" / "labels.txt").write_text("a: walk 4 9\n")
    spec = stick({"absent": ["nan"], "labels": LINES}, classes=CLASSES)
    kept = converted(spec, tmp_path / "raw", tmp_path / "kept", keep="recordings")
    hand = kept.clip(0).tracks[0].joints[:, 3, 1]
    np.testing.assert_allclose(np.diff(hand), 0.01, atol=1e-5)  # along the line from frame 3 to frame 6
    assert "absent" in kept.recordings[0].dropped[0]


def test_a_table_of_whole_files_has_no_recordings(tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "walk.csv").write_text(text(moving().reshape(5, -1)))
    with pytest.raises(UsageError, match="labels are of whole files"):
        converted(stick({}), tmp_path / "raw", tmp_path / "out", keep="recordings")
