"""Intervals in files of their own: read as they were written, refused by name where they are wrong."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from amr_data import UsageError
from amr_data.interval_files import FoundInterval, IntervalsOf, read_intervals, write_intervals

NAMES = ["bow", 'wave, "twice"']
FOUND = [
    IntervalsOf(
        "a/ü.csv", 30.0, 900, (FoundInterval(1, 0, 45, 0.25, NAMES[1]), FoundInterval(0, 30, 31, -2.0, "bow"))
    ),
    IntervalsOf("b", 25.0, 10, ()),
    IntervalsOf("c", 25.0, 50, (FoundInterval(0, 5, 50, 1.0, "bow"),)),
]


def test_json_is_read_as_it_was_written(tmp_path: Path):
    assert write_intervals(tmp_path / "found.json", FOUND, NAMES) == 3
    assert read_intervals(tmp_path / "found.json") == FOUND
    content = json.loads((tmp_path / "found.json").read_text())
    assert content[2] == {
        "recording": "c",
        "fps": 25.0,
        "frames": 50,
        "intervals": [{"label": 0, "class": "bow", "first": 5, "end": 50, "score": 1.0}],
    }
    (tmp_path / "one.json").write_text(json.dumps(content[0]))  # a single recording need not be in a list
    assert read_intervals(tmp_path / "one.json") == FOUND[:1]
    assert write_intervals(tmp_path / "none.json", [], NAMES) == 0
    assert read_intervals(tmp_path / "none.json") == []


def test_csv_says_seconds_too(tmp_path: Path):
    assert write_intervals(tmp_path / "found.csv", FOUND, NAMES) == 3
    assert (tmp_path / "found.csv").read_text() == (
        "recording,label,class,first,end,start_s,end_s,score\n"
        'a/ü.csv,1,"wave, ""twice""",0,45,0.000,1.500,0.25\n'
        "a/ü.csv,0,bow,30,31,1.000,1.033,-2.0\n"
        "c,0,bow,5,50,0.200,2.000,1.0\n"
    )
    back = read_intervals(tmp_path / "found.csv")
    assert [(r.recording, r.intervals) for r in back] == [
        (f.recording, f.intervals) for f in FOUND if f.intervals
    ]
    (tmp_path / "few.csv").write_text("end,first,label,recording\r\n9,3,1,x\r\n4,2,0,x\r\n")
    (few,) = read_intervals(tmp_path / "few.csv")
    assert few.intervals == (FoundInterval(0, 2, 4), FoundInterval(1, 3, 9))


@pytest.mark.parametrize(
    "name", ["=1+1", "-S001", "@SUM(A1)", "+x", "'=1", "''", "\tx", "a\rb", "a\nb", '"', " x"]
)
def test_no_spreadsheet_computes_a_name_and_it_is_read_as_it_was(name, tmp_path):
    found = [IntervalsOf(name, 30.0, 0, (FoundInterval(0, 5, 50, 1.0, name),))]
    write_intervals(tmp_path / "found.csv", found, [name])
    (_, cells) = csv.reader(io.StringIO((tmp_path / "found.csv").read_bytes().decode(), newline=""))
    assert not {cells[0][0], cells[2][0]} & set("=+-@\t\r")
    assert read_intervals(tmp_path / "found.csv") == found


TWICE = '[{"recording": "x", "intervals": []}, {"recording": "x", "intervals": []}]'
BROKEN = {
    "a.txt": ("", "are read from .json or .csv"),
    "a.json": ("{", "is no JSON"),
    "b.json": ("[" * 100_000, "is no JSON"),
    "c.json": ('{"intervals": []}', r"0.recording: Field required"),
    "d.json": (
        '{"recording": "x", "intervals": [{"label": 1, "first": 4, "end": 4}]}',
        "not after its first",
    ),
    "e.json": ('{"recording": "x", "intervals": [{"label": -1, "first": 2, "end": 4}]}', "intervals.0.label"),
    "f.json": ('{"recording": "x", "fps": NaN, "intervals": []}', "is no JSON"),
    "g.json": (
        '[{"recording": "x", "intervals": []}, {"recording": "x", "intervals": []}]',
        "'x' stands in it twice",
    ),
    "h.json": (
        '{"recording": "x", "intervals": [{"label": 1, "first": 2, "end": 4, "score": -1e308}]}',
        "intervals.0.score",
    ),
    "a.csv": ("recording,label,first\nx,1,2\n", "no column 'end'"),
    "b.csv": ("recording,label,first,end\nx,1,2,3\nx,1,two,3\n", "line 3: first: "),
    "c.csv": ("recording,label,first,end\nx,1\n", "line 2: first: Field required"),
    "d.csv": ("", "no column 'recording'"),
    "f.csv": ("x" * 200_000, "line 1: field larger than"),
    "e.csv": ("recording,label,first,end,score\nx,1,2,3,nan\n", "line 2: score: "),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_wrong_is_told_with_its_place(name, tmp_path):
    text, told = BROKEN[name]
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=told):
        read_intervals(tmp_path / name)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        read_intervals(tmp_path / "found.json")
    with pytest.raises(UsageError, match="are written to"):
        write_intervals(tmp_path / "found.xml", [], NAMES)
