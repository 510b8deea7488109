"""Label files line by line: which files are label files, what they call a recording, and what a row says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from amr_data.errors import Reject
from amr_data.readers.sources import RawSource
from amr_data.readers.table import labels as module
from amr_data.readers.table.labels import (
    Row,
    called_alike,
    is_label_file,
    label_file_of,
    label_files,
    label_rows,
    recording_names,
)
from amr_data.readers.table.layout import Labels

COLUMNS = {"recording": 0, "label": 1}
WHOLE = Labels(file="labels.csv", columns=COLUMNS)


def made(**fields: Any) -> Labels:
    return Labels.model_validate({"file": "labels.csv", "columns": COLUMNS, **fields})


def rows(data: bytes | str, labels: Labels = WHOLE, name: str = "labels.csv") -> list[tuple]:
    """Rows as tuples, rejects as (place, reason, detail)."""
    raw = data.encode() if isinstance(data, str) else data
    return [
        (i.where, i.kind, i.detail)
        if isinstance(i, Reject)
        else (i.line, i.recording, i.label, i.subject, i.start, i.end)
        for i in label_rows(raw, name, f"raw/{name}", labels)
    ]


@pytest.mark.parametrize(
    ("file", "path", "is_one", "recording"),
    [
        ("labels.csv", "labels.csv", True, ""),
        ("labels.csv", "a/b/labels.csv", True, ""),
        ("labels.csv", "xlabels.csv", False, ""),
        ("all/labels.csv", "a/all/labels.csv", True, ""),
        ("all/labels.csv", "labels.csv", False, ""),
        ("all/labels.csv", "other/labels.csv", False, ""),
        ("{recording}.lab", "a/r1.lab", True, "r1"),
        ("{recording}.lab", "a/.lab", False, ""),
        ("{recording}.lab", "a/r1.txt", False, ""),
        ("label/{recording}_x.txt", "a/label/r1_x.txt", True, "r1"),
        ("label/{recording}_x.txt", "r1_x.txt", False, ""),
        ("pre_{recording}", "pre_r", True, "r"),
        ("pre_{recording}", "re_r", False, ""),
        ("aba{recording}aba", "ababa", False, ""),
        ("{recording}/labels.csv", "x/r1/labels.csv", True, "r1"),
    ],
)
def test_which_files_hold_labels(file, path, is_one, recording):
    labels = Labels(file=file, columns={"label": 1} if "{" in file else COLUMNS)
    assert is_label_file(labels, path) is is_one
    if labels.beside:
        assert label_file_of(labels, path) == recording
    assert is_label_file(None, path) is False


def test_the_label_files_of_a_source(tmp_path: Path):
    for name in ("a/labels.csv", "labels.csv", "__MACOSX/labels.csv", "other.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    source = RawSource([tmp_path])
    assert [m.path for m in label_files(source, WHOLE)] == ["a/labels.csv", "labels.csv"]


@pytest.mark.parametrize(
    ("recording", "path", "names"),
    [
        ("{recording}", "r1.npy", ["r1"]),
        ("{recording}", "a/b/r1.x.npy", ["r1.x", "b/r1.x", "a/b/r1.x"]),
        ("rec_{recording}", "a/rec_7.csv", ["7", "a/7"]),
        ("rec_{recording}_v", "rec_7_v.csv", ["7"]),
        ("rec_{recording}", "a/other.csv", ["other", "a/other"]),
        ("{recording}", "a.b/r1", ["r1", "a.b/r1"]),
    ],
)
def test_what_label_files_may_call_a_recording(recording, path, names):
    assert recording_names(made(recording=recording), path) == names


@pytest.mark.parametrize(
    ("name", "alike"),
    [
        ("x/one.NPY", "x/one"),
        ("one.csv", "one"),
        ("one.v2", "one.v2"),
        ("one", "one"),
        ("a.csv/b", "a.csv/b"),
    ],
)
def test_a_recording_is_called_without_the_ending_of_a_file(name, alike):
    assert called_alike(name) == alike


def test_rows_of_a_table_by_position():
    text = " a.npy , bow \n\nb,wave hand,more\n , ,\nc\nd,\n"
    assert rows(text) == [
        (1, "a", "bow", "", None, None),
        (3, "b", "wave hand", "", None, None),
        ("raw/labels.csv:5", "label_syntax", "1 columns, expected 2"),
        ("raw/labels.csv:6", "label_syntax", "the label is empty"),
    ]


def test_rows_of_a_table_by_name_below_what_is_skipped():
    labels = made(columns={"recording": "file", "label": "what", "subject": "who"}, header=True, skip=1)
    text = "\ufeffa title,file\nwho,what,file\n5,bow,a\n 6 , 7 , b \n9,bow\n"
    assert rows(text, labels) == [
        (3, "a", "bow", "5", None, None),
        (4, "b", "7", "6", None, None),
        ("raw/labels.csv:5", "label_syntax", "2 columns, expected 3"),
    ]
    assert rows("x\nwho," + "what" * 7 + ",file\n", labels) == [
        (
            "raw/labels.csv",
            "label_syntax",
            f"no column 'what': the first line has who, {('what' * 7)[:24]}, file",
        )
    ]
    many = ",".join(f"c{i}" for i in range(9))
    labels = made(columns={"recording": "n" * 41, "label": "what"}, header=True)
    assert rows(many, labels) == [
        (
            "raw/labels.csv",
            "label_syntax",
            f"no column '{'n' * 40}': the first line has c0, c1, c2, c3, c4, c5, c6, c7",
        )
    ]


def test_a_heading_of_a_table_without_names_is_passed_over():
    text = "recording,label\na,bow\n"
    assert rows(text, made(header=True)) == [(2, "a", "bow", "", None, None)]
    assert rows(text) == [
        (1, "recording", "label", "", None, None),
        (2, "a", "bow", "", None, None),
    ]


def test_comments_and_lines_that_are_skipped_are_counted():
    text = "#a,b\nx,y\n# c,d\nb,bow\nc#,7\n"
    assert rows(text, made(comment="#", skip=2)) == [
        (4, "b", "bow", "", None, None),
        (5, "c#", "7", "", None, None),
    ]


@pytest.mark.parametrize(
    ("name", "delimiter", "text", "recording"),
    [
        ("l.csv", "", "a b,bow", "a b"),
        ("l.CSV", "", 'a b,"bow"', "a b"),
        ("l.tsv", "", "a b\tbow", "a b"),
        ("l.v2.csv", "", "a b,bow", "a b"),
        ("l.txt", "", "a   bow", "a"),
        ("l", "", "a bow", "a"),
        ("l.csv", ";", "a b;bow", "a b"),
        ("l.txt", "\t", "a b\tbow", "a b"),
    ],
)
def test_what_stands_between_the_columns(name, delimiter, text, recording):
    assert rows(text, made(delimiter=delimiter), name) == [(1, recording, "bow", "", None, None)]


def test_intervals_are_whole_numbers():
    labels = made(columns={"label": 0, "start": 1, "end": 2}, file="{recording}.csv")
    text = "bow,3,8\nbow, -3 ,8.0\nbow,3.,123456789012\nbow,3.5,8\nbow,3,x\nbow,1234567890123,8\n,3,8\n"
    assert rows(text, labels) == [
        (1, "", "bow", "", 3, 8),
        (2, "", "bow", "", -3, 8),
        (3, "", "bow", "", 3, 123456789012),
        ("raw/labels.csv:4", "interval", "start is '3.5', not a frame number"),
        ("raw/labels.csv:5", "interval", "end is 'x', not a frame number"),
        ("raw/labels.csv:6", "interval", "start is '1234567890123', not a frame number"),
        ("raw/labels.csv:7", "label_syntax", "the label is empty"),
    ]
    (long,) = rows(f"bow,{'1' * 30},8\n", labels)
    assert long[2] == f"start is '{'1' * 24}', not a frame number"


def test_rows_by_expression_take_what_the_heading_above_says():
    labels = Labels(
        file="all.txt",
        rows=r"(?P<start>[0-9]+)-(?P<end>[0-9]+) (?P<label>\w+)( by (?P<subject>\w+))?",
        heading=r"= (?P<recording>\w+)( of (?P<subject>\w+))?",
        comment="#",
        skip=1,
    )
    lines = [
        "\ufeff= skipped",
        "# none",
        " 1-2 bow ",
        "",
        "= r1 of anna",
        "3-4 wave",
        "5-6 bow by bob",
        "= r2",
    ]
    text = "\n".join([*lines, "7-8 bow", "so "]).encode() + b"\xff\n"
    assert rows(text, labels, "all.txt") == [
        (3, "", "bow", "", 1, 2),
        (6, "r1", "wave", "anna", 3, 4),
        (7, "r1", "bow", "bob", 5, 6),
        (9, "r2", "bow", "", 7, 8),
        ("raw/all.txt:10", "label_syntax", "'so \ufffd' is neither a row nor a heading"),
    ]
    optional = Labels(file="{recording}.txt", rows=r"is( (?P<label>.+))?")
    assert rows("is\nis bow", optional) == [
        ("raw/labels.csv:1", "label_syntax", "the label is empty"),
        (2, "", "bow", "", None, None),
    ]
    plain = Labels(file="{recording}.txt", rows=r"is (?P<label>.+)")
    assert rows("is bow\n" + "x" * 60, plain) == [
        (1, "", "bow", "", None, None),
        ("raw/labels.csv:2", "label_syntax", f"'{'x' * 48}' is neither a row nor a heading"),
    ]


def test_lines_are_tried_on_an_expression_up_to_a_length():
    labels = Labels(file="{recording}.txt", rows=r"(?P<label>x+)")
    assert rows("x" * 2001 + "\n" + "x" * 2000, labels) == [
        ("raw/labels.csv:1", "label_syntax", "a line of 2,001 characters"),
        (2, "", "x" * 2000, "", None, None),
    ]


def test_files_that_are_too_large_or_no_text(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "MAX_LABEL_BYTES", 1005)
    assert rows(b"a,bow\n" + b"\n" * 999) == [(1, "a", "bow", "", None, None)]
    assert rows(b"a,bow\n" + b"\n" * 1000) == [
        ("raw/labels.csv", "too_large", "1,006 bytes of labels, at most 1,005 are read")
    ]
    assert rows(b"a,bow\0\n") == [("raw/labels.csv", "not_skeleton", "the file is not text")]


def test_a_row_says_nothing_that_is_not_there():
    assert Row(1, "a", "b") == Row(1, "a", "b", "", None, None)
