"""What is said and drawn of recordings, against numbers counted by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from amr_cli.data import main
from amr_data import UsageError, convert, open_dataset
from amr_data.interval_files import FoundInterval, IntervalsOf, read_intervals, write_intervals
from amr_data.looking.inspection import dataset_summary
from amr_data.looking.recordings import best, find_recording, found_in, recording_facts
from amr_data.looking.timeline import BOTH, FOUND, TRUE, clock, ticks, timeline_lines
from amr_data.looking.words import summary_rows
from amr_data.recording import Interval
from amr_data.shards.exchange import export_dataset
from amr_data.viz.page import packed
from amr_data.viz.recordings import recording_scene
from tests.amr_data.pku import small_pku, walking, write_video


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One recording of 60 frames with bow in 0-10 and 5-15, wave in 20-30, bow in 50-60; one of 40 without
    a label."""
    folder = tmp_path_factory.mktemp("kept")
    second = walking(60, 1)
    second[:30] = 0
    rows = ["1,0,10,2", "1,5,15,2", "13,20,30,2", "1,50,60,2"]
    write_video(folder / "raw", "0002-L", [walking(60), second], rows)
    write_video(folder / "raw", "0003-L", [walking(40)], [])
    convert(folder / "raw", folder / "data", small_pku(), workers=1, keep="recordings")
    return folder / "data"


FOUND_IN = (
    FoundInterval(0, 0, 9, 0.9, "bow"),
    FoundInterval(0, 40, 48, 0.2, "bow"),
    FoundInterval(12, 22, 36, 0.5, "hand waving"),
)


def test_gaps_overlaps_and_lengths_are_counted(kept):
    found = dataset_summary(open_dataset(kept))["recordings"]
    assert found == {
        "recordings": 2,
        "frames": 100,
        "seconds": pytest.approx(100 / 30),
        "frames_in_a_recording": {"least": 40, "median": 50, "most": 60},
        "intervals": 4,
        "intervals_in_a_recording": {"least": 0, "median": 2, "most": 4},
        "frames_in_an_interval": {"least": 10, "median": 10, "most": 10},
        "frames_in_a_gap": {"least": 5, "median": 12, "most": 20},
        "overlapping_intervals": 2,
        "background_share": pytest.approx(1 - 35 / 100),
        "clips": 4,
    }
    rows = summary_rows(dataset_summary(open_dataset(kept)))
    assert rows["intervals"] == "4, 2 overlap with another"
    assert rows["frames between intervals"] == "5 / 12 / 20 (least, median, most); 65.0% of all in none"


def test_found_intervals_are_held_against_the_true_ones(kept):
    facts = recording_facts(open_dataset(kept), 0, FOUND_IN)
    assert [(i["class"], i["found"]) for i in facts["intervals"]] == [
        ("1 bow", True),
        ("1 bow", False),
        ("13 hand waving", True),
        ("1 bow", False),
    ]
    assert [i["overlap_share"] for i in facts["found"]] == [0.9, 0.0, 8 / 16]
    assert (facts["frames"], facts["seconds"], facts["camera"], facts["clips"]) == (60, 2.0, 1, 4)
    assert facts["bodies"] == [
        {"body": 1, "frames": 60, "stretches": 1},
        {"body": 2, "frames": 30, "stretches": 1},
    ]
    assert best(Interval(0, 0, 10), [Interval(1, 0, 10), Interval(0, 10, 20)]) == 0


def test_a_timeline_has_a_row_for_each_class(kept):
    facts = recording_facts(open_dataset(kept), 0, FOUND_IN)
    (_, axis), bow, wave = timeline_lines(facts, 60)
    assert axis == "0:00" + " " * 26 + "0:01"
    assert bow == (
        "1 bow",
        BOTH * 9 + TRUE * 6 + "·" * 25 + FOUND * 8 + "·" * 2 + TRUE * 10,
    )
    assert wave == ("13 hand waving", "·" * 20 + TRUE * 2 + BOTH * 8 + FOUND * 6 + "·" * 24)
    alone = timeline_lines(recording_facts(open_dataset(kept), 0), 6)
    assert alone[1:] == [("1 bow", BOTH * 2 + "···" + BOTH), ("13 hand waving", "··" + BOTH + "···")]
    assert timeline_lines(recording_facts(open_dataset(kept), 1), 30) == [("", "0:00" + " " * 18 + "0:01")]


def test_time_is_told_in_hours_where_there_are_any():
    assert [clock(s) for s in (0, 65.4, 3599.6, 36000)] == ["0:00", "1:05", "1:00:00", "10:00:00"]
    assert ticks(36000, 10) == [i * 3600 for i in range(11)]
    assert ticks(0.5, 10) == [0]


def test_the_viewer_gets_true_and_found_as_tracks(kept):
    dataset = open_dataset(kept)
    scene = recording_scene(dataset, 0, FOUND_IN)
    true, found = packed(scene)["tracks"]
    assert [(i["label"], i["first"], i["end"], i["note"]) for i in true["intervals"]] == [
        ("1 bow", 0, 10, "found, overlap 90%"),
        ("1 bow", 5, 15, "missed, best overlap 27%"),
        ("13 hand waving", 20, 30, "found, overlap 50%"),
        ("1 bow", 50, 60, "missed, best overlap 0%"),
    ]
    assert [(i["first"], i["end"], i["note"]) for i in found["intervals"]][:1] == [
        (0, 9, "score 0.9, overlap 90%")
    ]
    whole = dataset.recordings[0]
    np.testing.assert_array_equal(scene.panels[0].joints[0], whole.tracks[0].joints)
    assert np.isnan(scene.panels[0].joints[1, :30]).all()
    thin = recording_scene(dataset, 0, most=25)  # every third frame
    assert (thin.frames, thin.frame_rate) == (20, 10)
    np.testing.assert_array_equal(thin.panels[0].joints[0], whole.tracks[0].joints[::3])
    assert [(i.first, i.end) for i in thin.tracks[0].intervals] == [(0, 4), (1, 5), (6, 10), (16, 20)]
    assert len(thin.tracks) == 1


def test_export_writes_recordings_and_what_their_labels_say(kept, tmp_path):
    dataset = open_dataset(kept)
    assert export_dataset(dataset, tmp_path / "true.json", "intervals") == 4
    first, second = read_intervals(tmp_path / "true.json")
    assert [(i.label, i.first, i.end) for i in first.intervals] == [
        (i.label, i.first, i.end) for i in dataset.recordings[0].intervals
    ]
    assert (first.frames, first.fps, second.recording, second.intervals) == (60, 30, "0003-L", ())
    assert export_dataset(dataset, tmp_path / "frames.csv", "recordings") == 2
    lines = (tmp_path / "frames.csv").read_text().splitlines()
    assert lines[0].startswith('"recording","body","frame","hip_x","hip_y"')
    assert len(lines) == 1 + 60 + 30 + 40
    row = [float(v) for v in lines[1 + 59].split(",")[1:]]
    np.testing.assert_allclose(row[:2], [0, 59])
    np.testing.assert_allclose(row[2:], dataset.recordings[0].tracks[0].joints[59].ravel(), atol=1e-6)


def test_the_command_shows_a_recording(kept, tmp_path):
    def run(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(main, ["inspect", str(kept), *arguments])
        return result.exit_code, result.output

    found = tmp_path / "found.csv"
    write_intervals(found, [IntervalsOf("0002-L", 30, 60, FOUND_IN)], open_dataset(kept).spec.class_names)
    pictures = tmp_path / "t.png", tmp_path / "v.html"
    drawn = "--png", str(pictures[0]), "--html", str(pictures[1])
    code, said = run("--recording", "0002-L", "--timeline", "--found", str(found), *drawn)
    assert (code, all(p.stat().st_size > 10_000 for p in pictures)) == (0, True)
    assert "2 of 4 intervals, 3 proposals" in said
    assert f"{TRUE} true" in said
    code, said = run("--recording", "1", "--json")
    assert (code, json.loads(said)["name"], "found" in json.loads(said)) == (0, "0003-L", False)
    for arguments, told in (
        (("--recording", "0002-M"), "did you mean '0002-L'"),
        (("--recording", "7"), "has the recordings 0 to 1"),
        (("--recording", "²"), "no recording '²'"),  # a digit to str.isdigit, no number to int
        (("--recording", "1" * 5000), "no recording '1"),
        (("--clip", "²"), "no clip '²'"),
        (("--class", "²"), "no class '²'"),
        (("--recording", "0", "--random", "0"), "--random is for clips"),
        (("--timeline",), "--timeline is of a recording"),
        (("--recording", "0", "--clip", "0"), "--clip is for clips"),
        (("--recording", "1", "--found", str(found)), "nothing was found in '0003-L'"),
        (("--recording", "1", "--found", "no.json"), "cannot be read"),
        (("--recording", "0", "--png", "a.gif"), "ends in .png"),
    ):
        code, said = run(*arguments)
        assert (code, told in said) == (2, True), said


def test_intervals_of_other_data_are_refused(kept):
    dataset = open_dataset(kept)
    for of_it, told in (
        (IntervalsOf("0002-L", 30, 61, ()), "in the file it has 61"),
        (IntervalsOf("0002-L", 30, 0, (FoundInterval(0, 1, 61),)), "an interval up to 61"),
        (IntervalsOf("0002-L", 30, 60, (FoundInterval(51, 1, 6),)), "no label 51"),
        (IntervalsOf("0002-L", 30, 60, (FoundInterval(1, 1, 6, 1, "bow"),)), "label 1 is 'brushing hair'"),
        (IntervalsOf("other", 30, 60, ()), "the file is about 'other'"),
    ):
        with pytest.raises(UsageError, match=told):
            found_in(dataset, 0, [of_it])
    assert find_recording(dataset, "1") == find_recording(dataset, "0003-L") == 1


def test_a_dataset_of_clips_has_none(ntu_shards, tmp_path):
    dataset = open_dataset(ntu_shards)
    assert "recordings" not in dataset_summary(dataset)
    for ask in (
        lambda: find_recording(dataset, "0"),
        lambda: export_dataset(dataset, tmp_path / "a.csv", "intervals"),
    ):
        with pytest.raises(UsageError, match="--keep recordings"):
            ask()
