"""Labels from names, folders, columns, tables and intervals, or none at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from amr_data import convert
from amr_data.errors import UsageError
from amr_data.readers.table import TableFamily
from tests.amr_data.readers.table.people import discovered, moving, only, read, stick, text

CLASSES = {1: "bow", 7: "wave hand"}


def save(folder: Path, name: str, frames: int = 5) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, moving(frames))


def labels_of(spec, folder) -> dict[str, tuple]:
    clips, rejects = read(spec, folder)
    assert rejects == []
    return {c.name: (c.label, c.subject) for c in clips}


def test_from_the_name(tmp_path):
    save(tmp_path, "s3_a07.npy")
    save(tmp_path, "deep/s4_a01.npy")
    spec = stick({}, naming="s(?P<subject>[0-9]+)_a(?P<action>[0-9]+)", classes=CLASSES)
    assert labels_of(spec, tmp_path) == {"s3_a07": (1, 3), "s4_a01": (0, 4)}


def test_from_the_folder_with_classes_found_there(tmp_path):
    for name in ("wave/1.npy", "bow/1.npy", "bow/2.npy"):
        save(tmp_path, name)
    spec = stick({}, naming="(?P<action>[a-z]+)/(?P<replication>[0-9]+)")
    assert discovered(spec, tmp_path).classes == {1: "bow", 2: "wave"}
    assert {n: label for n, (label, _) in labels_of(spec, tmp_path).items()} == {
        "bow/1": 0,
        "bow/2": 0,
        "wave/1": 1,
    }


def test_none_at_all(tmp_path):
    save(tmp_path, "x/1.npy")
    save(tmp_path, "y/1.npy")
    assert labels_of(stick({}), tmp_path) == {"x/1": (-1, -1), "y/1": (-1, -1)}
    assert discovered(stick({}), tmp_path).classes == {}


def test_a_file_that_is_named_itself_may_be_called_anything(tmp_path):
    save(tmp_path, "x/take.npy")
    (tmp_path / "x" / "take.npy").rename(tmp_path / "x" / "today.dat")
    spec = stick({"format": "npy", "files": "*_skeleton.npy"})
    assert [c.name for c in read(spec, tmp_path / "x" / "today.dat")[0]] == ["today"]
    assert read(spec, tmp_path / "x") == ([], [])


def test_from_a_column_that_agrees(tmp_path):
    rows = moving(2).reshape(2, -1)
    (tmp_path / "a.csv").write_text("".join(f"Wave Hand,2,{line}\n" for line in text(rows).splitlines()))
    (tmp_path / "b.csv").write_text("".join(f"bow,2,{line}\n" for line in text(rows).splitlines()))
    layout = {"label": 0, "subject": 1}
    assert labels_of(stick(layout, classes=CLASSES), tmp_path) == {"a": (1, 2), "b": (0, 2)}
    assert discovered(stick(layout), tmp_path).classes == {1: "Wave Hand", 2: "bow"}
    lines = text(rows).splitlines()
    (tmp_path / "b.csv").write_text(f"bow,2,{lines[0]}\nwave,2,{lines[1]}\n")
    _, (reject,) = read(stick(layout, classes=CLASSES), tmp_path)
    assert (reject.kind, "'bow' and 'wave'" in reject.detail) == ("label_mismatch", True)


def test_a_name_and_a_column_that_contradict_each_other(tmp_path):
    (tmp_path / "a1.csv").write_text("7," + text(moving(1).reshape(1, -1)))
    spec = stick({"label": 0}, naming="a(?P<action>[0-9])", classes=CLASSES)
    _, (reject,) = read(spec, tmp_path)
    assert (reject.kind, reject.detail) == ("label_mismatch", "the file says class 7, its name says 1")


def test_from_a_table_of_files(tmp_path):
    for name in ("x/one.npy", "x/two.npy", "three.npy", "four.npy"):
        save(tmp_path, name)
    (tmp_path / "labels.csv").write_text(
        "who,file,what\n5,x/one.npy,wave hand\n6,two,1\n6,three,sneeze\n9,nobody,bow\n6,two,7\n"
    )
    layout = {
        "labels": {
            "file": "labels.csv",
            "header": True,
            "columns": {"recording": "file", "label": "what", "subject": "who"},
        }
    }
    spec = stick(layout, classes=CLASSES, protocols={"xsub": {"by": "subject", "train": [5], "test": [6]}})
    clips, rejects = read(spec, tmp_path)
    assert {c.name: (c.label, c.subject) for c in clips} == {"x/one": (1, 5), "x/two": (0, 6)}
    assert sorted((r.where.rpartition("/")[2], r.kind) for r in rejects) == [
        ("four.npy", "no_label"),
        ("labels.csv:5", "no_skeleton"),
        ("labels.csv:6", "duplicate"),
        ("three.npy", "unknown_class"),
    ]
    assert discovered(stick(layout), tmp_path).classes == dict(
        enumerate(["1", "7", "bow", "sneeze", "wave hand"], 1)
    )


def test_a_table_row_that_fits_two_files_gives_neither_a_guess(tmp_path):
    save(tmp_path, "x/one.npy")
    save(tmp_path, "y/one.npy")
    (tmp_path / "labels.txt").write_text("one 7\n")
    layout = {"labels": {"file": "labels.txt", "columns": {"recording": 0, "label": 1}}}
    clips, (reject,) = read(stick(layout, classes=CLASSES), tmp_path)
    assert ([c.name for c in clips], reject.kind) == (["x/one"], "no_label")
    (tmp_path / "labels.txt").write_text("x/one 7\ny/one 1\n")
    assert labels_of(stick(layout, classes=CLASSES), tmp_path) == {"x/one": (1, -1), "y/one": (0, -1)}


def test_intervals_of_one_table_in_frame_numbers(tmp_path):
    # the recording's frames are 10 to 19, but for 14; labels speak of these numbers, ends included
    rows = moving(10).reshape(10, -1)
    numbered = np.c_[np.arange(10, 20), rows]
    (tmp_path / "rec_7.csv").write_text(text(np.delete(numbered, 4, axis=0)))
    (tmp_path / "all.csv").write_text(
        "7,12,15,bow\n7,18,25,wave hand\n7,30,40,bow\n7,13,12,bow\n7,NaN,15,bow\n"
    )
    layout = {
        "frame": 0,
        "labels": {
            "file": "all.csv",
            "recording": "rec_{recording}",
            "columns": {"recording": 0, "start": 1, "end": 2, "label": 3},
        },
    }
    clips, rejects = read(stick(layout, classes=CLASSES), tmp_path)
    first, second = clips
    assert (first.name, first.label, first.video, first.start, first.frames) == (
        "rec_7_001",
        0,
        "rec_7",
        12,
        4,
    )
    assert first.tracks[0].frames.tolist() == [0, 1, 3]
    np.testing.assert_allclose(first.tracks[0].joints[:, 3, 1], [0.92, 0.93, 0.95], atol=1e-6)
    assert (second.name, second.start, second.frames) == ("rec_7_002", 18, 2)
    assert second.dropped == ["6 frames that the label names lie past the recording's end"]
    assert [r.kind for r in rejects] == ["interval"] * 3
    assert rejects[0].where.endswith("all.csv:5")
    assert "frames 30 to 40 lie outside the recording, which has 10 to 19" in rejects[1].detail


@pytest.mark.parametrize(
    ("first", "end", "frames"),
    [(0, "exclusive", [2, 3]), (1, "exclusive", [1, 2]), (1, "inclusive", [1, 2, 3])],
)
def test_intervals_beside_each_recording_in_rows(tmp_path, first, end, frames):
    save(tmp_path, "skeletons/r1.npy", 10)
    (tmp_path / "label").mkdir()
    (tmp_path / "label" / "r1.txt").write_text("7,2,4,2\n")
    layout = {
        "files": "*.npy",
        "labels": {
            "file": "label/{recording}.txt",
            "delimiter": ",",
            "columns": {"label": 0, "start": 1, "end": 2},
            "first": first,
            "end": end,
        },
    }
    clip = only(stick(layout, classes=CLASSES), tmp_path)
    assert clip.start == frames[0]
    np.testing.assert_allclose(clip.tracks[0].joints[:, 3, 1], 0.9 + 0.01 * np.array(frames))


def test_a_recording_without_labels_is_told(tmp_path):
    save(tmp_path, "r1.npy")
    layout = {"labels": {"file": "{recording}.lab", "columns": {"label": 0}}}
    _, (reject,) = read(stick(layout, classes=CLASSES), tmp_path)
    assert (reject.kind, reject.detail) == (
        "no_label",
        "no row about it: no file {recording}.lab in the source",
    )
    # without classes nobody asked for labels
    assert only(stick(layout), tmp_path).label == -1


def test_one_table_for_all_with_a_clip_column(tmp_path):
    # clips 3 and 12, written as floats by a numerics program; rows of a clip need not lie together, nor be
    # written alike
    rows = moving(4).reshape(4, -1)
    table = np.c_[[3, 3, 12, 12], [1, 1, 2, 2], [7, 7, 1, 1], rows]
    lines = [" ".join(f"{v:.8e}" for v in row) + "\n" for row in table]
    lines[1] = lines[1].replace("3.00000000e+00", "3.0", 1)
    (tmp_path / "all.txt").write_text(lines[0] + lines[2] + lines[1] + lines[3])
    spec = stick(
        {"clip": 0, "subject": 1, "label": 2},
        classes=CLASSES,
        protocols={"xsub": {"by": "subject", "train": [1], "test": [2]}},
    )
    clips, rejects = read(spec, tmp_path)
    assert rejects == []
    assert [(c.name, c.label, c.subject, c.frames) for c in clips] == [
        ("all_3", 1, 1, 2),
        ("all_12", 0, 2, 2),
    ]
    np.testing.assert_allclose(clips[1].tracks[0].joints, moving(4)[2:], atol=1e-7)


def test_names_in_a_clip_column_follow_naming(tmp_path):
    line = text(moving(1).reshape(1, -1))
    (tmp_path / "all.csv").write_text(f"s1a7,{line}s2a1,{line}other,{line}")
    spec = stick({"clip": 0}, naming="s(?P<subject>[0-9])a(?P<action>[0-9])", classes=CLASSES)
    clips, (reject,) = read(spec, tmp_path)
    assert [(c.label, c.subject) for c in clips] == [(1, 1), (0, 2)]
    assert (reject.kind, reject.where.endswith("all.csv:other")) == ("name", True)


def test_subjects_as_words_need_codes(tmp_path):
    (tmp_path / "a.csv").write_text("anna," + text(moving(1).reshape(1, -1)))
    assert only(stick({"subject": 0}), tmp_path).subject == -1  # nothing asks for its number
    split = {"xsub": {"by": "subject", "train": [1], "test": [4]}}
    _, (reject,) = read(stick({"subject": 0}, protocols=split), tmp_path)
    assert "codes: {subject: {anna: 1}}" in reject.detail
    assert only(stick({"subject": 0}, codes={"subject": {"anna": 4}}), tmp_path).subject == 4


def test_people_of_the_wrong_size_are_refused_with_the_unit_that_fits(tmp_path):
    np.save(tmp_path / "a.npy", moving(3) * 1000)
    with pytest.raises(
        UsageError, match=r"people come out 1\.6\de\+03 m tall with unit: m .*unit: mm would fit"
    ):
        discovered(stick({}), tmp_path)
    assert discovered(stick({"unit": "mm"}), tmp_path).units
    # a hand alone is smaller than any person: its own range says so
    np.save(tmp_path / "a.npy", moving(3) * 0.1)
    with pytest.raises(UsageError, match="look at unit, scale, axes"):
        discovered(stick({"height": [0.5, 0.6]}), tmp_path)
    assert discovered(stick({"height": [0.1, 0.3]}), tmp_path).units


@pytest.mark.parametrize(
    ("layout", "rest", "message"),
    [
        ({"joints": ["head", "spine"]}, {}, "joints lack 'left_hand'"),
        ({"joints": ["head", "spin"]}, {}, "no joint 'spin' of stick: did you mean 'spine'"),
        ({"joints": ["head", "head"]}, {}, "twice"),
        ({"axes": ["x", "x", "z"]}, {}, "each once"),
        ({"values": ["x", "y"]}, {}, "must name z once"),
        ({"shape": "T V"}, {}, "lacks C"),
        ({"shape": "T V V C"}, {}, "axis V twice"),
        ({"shape": "V C"}, {}, "lacks T"),
        ({"shape": "(T M V C)"}, {}, "bodies: 2"),
        ({"format": "bin"}, {}, "needs a shape"),
        ({"unit": "pixel"}, {}, "of images"),
        ({"unit": "m", "image": [640, 480]}, {}, "goes with unit pixel"),
        ({"scale": {"x": 0}}, {}, "no scale 0"),
        ({"absent_below": {"score": 1}}, {}, "no value 'score'"),
        ({"frame": 0, "time": {"column": 0}}, {}, "not both"),
        ({"colour": 1}, {}, "there is no field 'colour': did you mean 'columns'"),
        ({"labels": {"fiel": "a.csv"}}, {}, "there is no field 'fiel': did you mean 'file'"),
        ({"labels": {"file": "a.csv", "columns": {"label": 0}}}, {}, "{recording}"),
        (
            {"labels": {"file": "a.csv", "columns": {"recording": 0, "label": 1, "start": 2}}},
            {},
            "go together",
        ),
        ({"labels": {"file": "a.csv", "rows": "(?P<lable>.*)"}}, {}, "group 'lable'"),
        ({"columns": 5}, {}, "or a list of columns, not 5"),
        ({"frame": 2.5}, {}, "counted from 0, not 2.5"),
        ({"clip": -1}, {}, "counted from 0, not -1"),
        ({"joints": "head"}, {}, "in the file's order, or a mapping"),
        ({"delimiter": ", "}, {}, "at most 1 character"),
        ({"frame_files": "x([0-9]+)"}, {}, "group 'frame'"),
        ({}, {"classes": CLASSES}, "nothing says the label"),
        ({}, {"protocols": {"xsub": {"by": "subject", "train": [1], "test": [2]}}}, "goes by subject"),
    ],
)
def test_layouts_that_cannot_be_are_refused_in_words(layout, rest, message):
    with pytest.raises(ValueError, match="(?s).*" + message.replace("{", r"\{").replace("[", r"\[")):
        TableFamily().check(stick(layout, **rest))


def test_a_class_that_is_called_by_a_number_is_found_by_its_name(tmp_path):
    for name in ("1/a.npy", "10/a.npy", "2/a.npy", "walk/a.npy"):
        save(tmp_path, name)
    spec = stick({}, naming="(?P<action>[a-z0-9]+)/[a-z]")
    assert discovered(spec, tmp_path).classes == {1: "1", 2: "10", 3: "2", 4: "walk"}
    found = {n: label for n, (label, _) in labels_of(spec, tmp_path).items()}
    assert found == {"1/a": 0, "10/a": 1, "2/a": 2, "walk/a": 3}
    assert [spec.changed(classes={1: "10", 10: "x"}).action(t) for t in ("10", "1", "x", "7")] == [
        1,
        1,
        10,
        7,
    ]


def test_spellings_that_are_compared_alike_are_one_class(tmp_path):
    for name in ("Walk/1.npy", "walk/2.npy", "sit_down/1.npy", "sit-down/2.npy"):
        save(tmp_path, name)
    spec = stick({}, naming="(?P<action>[A-Za-z_-]+)/(?P<replication>[0-9]+)")
    assert discovered(spec, tmp_path).classes == {1: "Walk", 2: "sit-down"}
    found = {n: label for n, (label, _) in labels_of(spec, tmp_path).items()}
    assert found == {"Walk/1": 0, "walk/2": 0, "sit_down/1": 1, "sit-down/2": 1}


def test_classes_that_differ_by_their_spelling_alone_are_told_by_it():
    spec = stick({}, classes=["sit_down", "sit-down"])
    assert [spec.action(t) for t in ("sit_down", "sit-down", "sit down")] == [1, 2, None]


def test_labels_that_no_spec_may_have_are_refused_in_words(tmp_path):
    save(tmp_path, "a.npy")
    (tmp_path / "labels.csv").write_text(f"a,{'x' * 600}\n")
    spec = stick({"labels": {"file": "labels.csv", "columns": {"recording": 0, "label": 1}}})
    with pytest.raises(UsageError, match=r"classes\.1: String should have at most 500"):
        convert(tmp_path, tmp_path.parent / "out", spec, workers=1)


def test_a_second_row_about_a_whole_recording_is_no_guess(tmp_path):
    save(tmp_path, "a.npy")
    (tmp_path / "a_labels.csv").write_text("bow\nwave hand\n")
    spec = stick({"labels": {"file": "{recording}_labels.csv", "columns": {"label": 0}}}, classes=CLASSES)
    clips, (reject,) = read(spec, tmp_path)
    assert (clips, reject.kind, reject.where) == ([], "duplicate", f"{tmp_path.name}/a_labels.csv:2")


def test_the_row_that_says_most_of_a_path_counts(tmp_path):
    save(tmp_path, "r1.npy")
    save(tmp_path, "sub/r1.npy")
    (tmp_path / "labels.csv").write_text("r1,bow\nsub/r1,wave hand\n")
    labels = {"file": "labels.csv", "columns": {"recording": 0, "label": 1}}
    spec = stick({"labels": labels}, classes=CLASSES)
    assert {n: label for n, (label, _) in labels_of(spec, tmp_path).items()} == {"r1": 0, "sub/r1": 1}


def test_clips_of_a_column_are_never_called_alike(tmp_path):
    numbers = ",".join(str(v) for v in moving(1)[0].ravel())
    (tmp_path / "x.csv").write_text(f"1_2,{numbers}\nb,{numbers}\n")
    (tmp_path / "x_1.csv").write_text(f"2,{numbers}\n")
    clips, _ = read(stick({"clip": 0}), tmp_path)
    assert [c.name for c in clips] == ["x.csv_1_2", "x.csv_b", "x_1.csv_2"]
