"""PKU-MMD videos, label rows and split files from folder to clip."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from amr_data.clip import Clip
from amr_data.errors import RejectError, UsageError
from amr_data.readers import RawSource, load_family, pku_mmd
from amr_data.readers.pku_mmd import parse_label_row, parse_split_file, parse_video
from amr_data.specs import load_spec
from tests.amr_data.readers.reading import read, rejects

PKU = load_spec("pku-mmd-1")


def pku_line(first: float, second: float) -> str:
    return " ".join([f"{first}"] * 75 + [f"{second}"] * 75)


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """Ten frames, the first body at 1 + t, the second from frame 6 on at 20 + t; rows of every kind."""
    (tmp_path / "label").mkdir()
    (tmp_path / "skeleton").mkdir()
    lines = [pku_line(1 + t, 20 + t if t >= 6 else 0) for t in range(10)]
    (tmp_path / "skeleton" / "0002-L.txt").write_text("\n".join(lines) + "\n\n")
    rows = ["9,3,8,2", "", "51,8,12,2", "52,1,2,2", "3,5,5,2", "3,10,12,1", "3;1;2", "1,0,1"]
    (tmp_path / "label" / "0002-L.txt").write_text("\n".join(rows) + "\n")
    (tmp_path / "label" / "0003-R.txt").write_text("7,1,2,2\n")
    (tmp_path / "skeleton" / "0004-M.txt").write_text(lines[0])
    return tmp_path


def test_pku_rows_become_clips_or_rejects_with_their_line(videos: Path):
    items = read(videos, PKU)
    clips = [i for i in items if isinstance(i, Clip)]
    told = [(c.name, c.label, c.video, c.camera, c.subject, c.start, c.frames, c.dropped) for c in clips]
    past = ["2 frames that the label names lie past the video's end"]
    assert told == [
        ("0002-L_001", 8, "0002-L", 1, -1, 3, 5, []),
        ("0002-L_003", 50, "0002-L", 1, -1, 8, 2, past),
        ("0002-L_008", 0, "0002-L", 1, -1, 0, 1, []),
    ]
    at = f"{videos.name}/label/0002-L.txt"
    assert [c.source for c in clips] == [f"{at}:1", f"{at}:3", f"{at}:8"]
    assert [[(t.body_id, t.slot, t.frames.tolist()) for t in c.tracks] for c in clips] == [
        [("1", 0, [0, 1, 2, 3, 4]), ("2", 1, [3, 4])],
        [("1", 0, [0, 1]), ("2", 1, [0, 1])],
        [("1", 0, [0])],
    ]
    assert clips[0].tracks[0].joints[:, 24, 2].tolist() == [4, 5, 6, 7, 8]
    assert clips[0].tracks[1].joints[:, 0, 0].tolist() == [26, 27]
    assert rejects(items) == [
        (
            f"{videos.name}/skeleton/0004-M.txt",
            "no_label",
            "no label file named 0004-M.txt, of rows action,start,end,confidence",
        ),
        (f"{at}:4", "unknown_class", "action 52 is not in pku-mmd-1 (row '52,1,2,2')"),
        (f"{at}:5", "interval", "the end is not after the start (row '3,5,5,2')"),
        (f"{at}:6", "interval", "frames [10, 12) do not begin inside the video of 10 frames"),
        (f"{at}:7", "label_syntax", "expected action,start,end,confidence, found '3;1;2'"),
        (f"{videos.name}/label/0003-R.txt:1", "no_skeleton", "no skeleton file named 0003-R.txt"),
    ]


def test_pku_rows_counted_from_one(videos: Path):
    clips = [i for i in read(videos, PKU, frame_base=1) if isinstance(i, Clip)]
    assert [(c.name, c.start, c.frames) for c in clips] == [
        ("0002-L_001", 2, 6),
        ("0002-L_003", 7, 3),
        ("0002-L_006", 9, 1),
    ]


def test_pku_videos_without_labels_are_whole_clips(videos: Path):
    items = [i for i in read(videos, PKU.unlabelled()) if isinstance(i, Clip)]
    told = {(c.name, c.label, c.video, c.start, c.frames, c.source) for c in items}
    assert told == {
        (f"skeleton/{n}", -1, f"skeleton/{n}", 0, f, f"{videos.name}/skeleton/{n}.txt")
        for n, f in (("0002-L", 10), ("0004-M", 1))
    }


def test_pku_files_without_labels_that_cannot_be_read_are_rejects(videos: Path):
    (videos / "skeleton" / "0005-L.txt").write_text(pku_line(1, 1) + "\n1 2 3\n")
    (videos / "notes.txt").write_text("to do\n" + pku_line(1, 1))
    (videos / "words.txt").write_text("word " * 150)
    (videos / "skeleton" / "gone.txt").symlink_to("nowhere")  # in a folder of labels it would be one of them
    (videos / "skeleton" / "empty.txt").write_text("")
    source, family = RawSource([videos]), load_family("pku-mmd")
    found = family.discover(source, PKU.unlabelled(), family.options())
    assert (found.sources, [u.name for u in found.units]) == (
        7,
        [f"skeleton/000{n}" for n in ("2-L", "4-M", "5-L")],
    )
    said = "0 numbers in its first line, expected 150"
    assert sorted(rejects(found.rejects)) == [
        (f"{videos.name}/{n}.txt", "not_skeleton", said)
        for n in ("notes", "skeleton/empty", "skeleton/gone", "words")
    ]
    items = list(family.read(source, found.units, PKU.unlabelled(), family.options()))
    shown = f"{videos.name}/skeleton/0005-L.txt"
    assert rejects(items) == [(shown, "joint_count", "line 2 has 3 numbers, expected 150")]


def test_a_label_file_that_is_gone_or_empty_is_one_reject(videos: Path):
    gone = videos / "label" / "0005-L.txt"
    gone.symlink_to("nowhere")
    (videos / "label" / "0006-L.txt").write_text(" \n")
    found = [r for r in rejects(read(videos, PKU)) if "0005" in r[0] or "0006" in r[0]]
    assert found == [
        (f"{videos.name}/label/0005-L.txt", "unreadable", f"[Errno 2] No such file or directory: '{gone}'"),
        (f"{videos.name}/label/0006-L.txt", "empty", "the label file has no row"),
    ]


def test_rows_after_an_unusable_one_are_still_read(videos: Path):
    (videos / "label" / "0002-L.txt").write_text("9,3,8,2\n7,1,2,2\n")
    items = read(videos, PKU.model_copy(update={"unusable": ["0002-L_001"]}))
    clips = [i for i in items if isinstance(i, Clip)]
    assert [(c.name, c.label, c.start, c.frames) for c in clips] == [("0002-L_002", 6, 1, 1)]


@pytest.mark.parametrize(
    ("rows", "kept"),
    [("9,3,8\n", "0002-L_001"), ("Action Start End Confidence\n9,3,8,2\n", "0002-L_002")],
)
def test_rows_of_three_numbers_or_below_a_heading_make_a_label_file(tmp_path: Path, rows, kept):
    for folder, text in (("a", "\n".join([pku_line(1, 0)] * 10)), ("b", rows)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "0002-L.txt").write_text(text)
    assert [(i.name, i.label, i.start) for i in read(tmp_path, PKU) if isinstance(i, Clip)] == [(kept, 8, 3)]


@pytest.mark.parametrize(
    ("line", "kinds"),
    [(",".join(["1"] * 150), ["no_label"]), ("9,3,8,2,1", ["label_syntax"]), ("9 3 8 2 1", ["no_label"])],
)
def test_more_than_a_label_row_s_fields_are_no_label_file(tmp_path: Path, line, kinds):
    """Five fields with commas are neither, and the folder's name decides."""
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "0002-L.txt").write_text(line)
    assert [r[1] for r in rejects(read(tmp_path, PKU))] == kinds


def test_what_lies_beside_the_files_is_no_source(videos: Path):
    for name in ("label/._0002-L.txt", "Readme.md", "__MACOSX/0009-L.txt"):
        (videos / name).parent.mkdir(exist_ok=True)
        (videos / name).write_text("1 2 3\n")
    source, family = RawSource([videos]), load_family("pku-mmd")
    found = family.discover(source, PKU, family.options())
    assert (found.sources, [r.kind for r in found.rejects]) == (4, ["no_label"])
    assert [u.name for u in found.units] == ["0002-L", "0003-R"]


def test_files_that_are_left_out_by_their_names(videos: Path):
    (videos / "label" / "notes.txt").write_text("9,3,8,2\n")
    (videos / "more").mkdir()
    (videos / "more" / "0002-L.txt").write_text("9,3,8,2\n")
    spec = PKU.model_copy(update={"unusable": ["0003-R", "0004-M"]})
    source, family = RawSource([videos]), load_family("pku-mmd")
    found = family.discover(source, spec, family.options())
    assert (found.sources, [u.name for u in found.units]) == (6, ["0002-L"])
    at, listed = videos.name, f"listed by {PKU.title} as without a usable skeleton"
    assert rejects(found.rejects) == [
        (f"{at}/label/notes.txt", "name", f"expected {PKU.named_like}"),
        (f"{at}/more/0002-L.txt", "duplicate", "0002-L was already taken from another folder or archive"),
        (f"{at}/label/0003-R.txt", "listed_unusable", listed),
        (f"{at}/skeleton/0004-M.txt", "listed_unusable", listed),
    ]


def test_refused_members_of_an_archive_are_rejects_and_take_nobodys_name(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("../label/0002-L.txt", "9,3,8,2\n")
        archive.writestr("label/0002-L.txt", "9,0,1,2\n")
        archive.writestr("skeleton/0002-L.txt", pku_line(1, 2))
    refused, clip = read(tmp_path / "x.zip", PKU)
    why = "its name leads out of the archive's folder"
    assert rejects([refused]) == [("x.zip/../label/0002-L.txt", "unsafe_name", why)]
    assert isinstance(clip, Clip)
    assert (clip.label, clip.start, clip.frames, clip.source) == (8, 0, 1, "x.zip/label/0002-L.txt:1")


def test_an_interval_up_to_the_video_s_end_is_whole(videos: Path):
    (videos / "label" / "0002-L.txt").write_text("1,8,10,2\n")
    (clip,) = [i for i in read(videos, PKU) if isinstance(i, Clip)]
    assert (clip.frames, clip.dropped) == (2, [])


def test_split_files_are_no_videos(videos: Path):
    (videos / "CROSS-subject.txt").write_bytes(
        b"Training videos:\n0002-L, \xff\nValidation videos:\n0004-M\n"
    )
    source, family = RawSource([videos]), load_family("pku-mmd")
    assert family.matches(source, PKU) == (4, 4)
    found = family.discover(source, PKU, family.options())
    assert (found.sources, [u.name for u in found.units]) == (4, ["0002-L", "0003-R"])
    rule = found.protocols["xsub"]
    assert (rule.train, rule.test) == (["0002-L", "\ufffd"], ["0004-M"])
    assert rule.split_files == PKU.protocols["xsub"].split_files


@pytest.mark.parametrize("text", ["Training videos: a", "Validation videos: a", ""])
def test_a_split_file_without_both_lists_is_refused(videos: Path, text):
    (videos / "cross-subject.txt").write_text(text)
    lists = "no 'Training videos:' and 'Validation videos:' lists in it; mend it"
    with pytest.raises(
        UsageError, match=f"split file {videos.name}/cross-subject.txt: not_skeleton: {lists}"
    ):
        read(videos, PKU)


def test_a_damaged_video_rejects_each_of_its_rows(videos: Path):
    (videos / "skeleton" / "0003-R.txt").write_text("1 2 3\n")
    (videos / "label" / "0003-R.txt").write_text("7,1,2,2\n8,1,2,2\n")
    shown = f"{videos.name}/label/0003-R.txt"
    detail = f"{videos.name}/skeleton/0003-R.txt: line 1 has 3 numbers, 2 bodies of 25 joints need 150"
    assert [r for r in rejects(read(videos, PKU)) if "0003" in r[0]] == [
        (f"{shown}:1", "joint_count", detail),
        (f"{shown}:2", "joint_count", detail),
    ]


def test_an_interval_without_a_body_is_a_reject_and_a_far_one_names_its_frame(videos: Path):
    lines = [pku_line(0, 0), pku_line(1, 0), pku_line(2000, 0)]
    (videos / "skeleton" / "0003-R.txt").write_text("\n".join(lines))
    (videos / "label" / "0003-R.txt").write_text("7,0,1,2\n7,1,3,2\n")
    found = [r[1:] for r in rejects(read(videos, PKU)) if "0003" in r[0]]
    assert found == [
        ("no_body", "frames [0, 1) hold no body"),
        ("out_of_range", "frame 2, joint 1 (1-based) is at 2000 m"),
    ]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("9,3,8,2", (8, 3, 8)),
        (" 9 , 3 , 8 ", (8, 3, 8)),
        ("9,3.0,8.,2", (8, 3, 8)),
        ("9,-1,8,2", (8, -1, 8)),
        ("9,123456789012,223456789012,2", (8, 123456789012, 223456789012)),
        ("9,1234567890123,2234567890123,2", "label_syntax"),
        ("9,3", "label_syntax"),
        ("9,3,8,2,1", "label_syntax"),
        ("9,3.5,8,2", "label_syntax"),
        ("9,3,,2", "label_syntax"),
        ("9,3,8\u00e9", "label_syntax"),
        ("0,3,8,2", "unknown_class"),
        ("9,8,8,2", "interval"),
        ("9,8,7,2", "interval"),
    ],
)
def test_label_rows(row, expected):
    if isinstance(expected, tuple):
        assert parse_label_row(row.encode(), PKU) == expected
        return
    with pytest.raises(RejectError) as error:
        parse_label_row(row.encode(), PKU)
    assert error.value.reason == expected


def test_a_video_is_bodies_of_joints():
    values = np.arange(24.0).reshape(2, 12)
    text = "\n".join(" ".join(map(str, row)) for row in values)
    for variant in (text, text + "\n\n \n", text.replace(" ", "  "), text.replace("\n", " \r\n")):
        np.testing.assert_array_equal(parse_video(variant.encode(), 2), values.reshape(2, 2, 2, 3))
    for damaged, says in (
        ("", "empty: no frame in the file"),
        ("x 1 2", "not_skeleton: line 1 does not begin with a number"),
        ("1 2 3", "joint_count: line 1 has 3 numbers, 2 bodies of 2 joints need 12"),
        (text + "\n1 2 3", "joint_count: line 3 has 3 numbers, expected 12"),
        (text.replace("23.0", "x"), "bad_number: line 2 has 'x'"),
    ):
        with pytest.raises(RejectError, match=says):
            parse_video(damaged.encode(), 2)


def test_plain_videos_are_parsed_the_fast_way(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pku_mmd, "parse_lines", None)
    assert parse_video(b"1 2 3 4 5 6 \n7 8 9 10 11 12\t\r\n", 1).ravel().tolist() == [*range(1, 13)]


def test_split_files_in_any_spacing():
    text = "Training videos: \na, b,\nc\nValidataion videos:d,,e ,\nTEST VIDEO f"
    assert parse_split_file(text) == (["a", "b", "c"], ["d", "e", "f"])
    assert parse_split_file("nothing") == ([], [])
