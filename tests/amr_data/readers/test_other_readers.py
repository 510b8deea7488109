"""PKU-MMD and NW-UCLA readers, folders and zip files alike."""

from __future__ import annotations

import json
import os
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest

from amr_data.clip import Clip
from amr_data.errors import Reject, RejectError, UsageError
from amr_data.readers import RawSource, load_family, pku_mmd
from amr_data.readers.nw_ucla import parse_nw_ucla
from amr_data.readers.pku_mmd import parse_label_row, parse_split_file, parse_video
from amr_data.specs import load_spec

PKU1 = load_spec("pku-mmd-1")


def video_text(frames: int, second_from: int = 10**9) -> str:
    """Joint j of body 1 in frame t stands at (t, j, 1); body 2, from its first frame on, at (t, j, 2)."""
    rows = []
    for t in range(frames):
        first = [v for j in range(25) for v in (t, j, 1)]
        second = [v for j in range(25) for v in (t, j, 2)] if t >= second_from else [0] * 75
        rows.append(" ".join(f"{v:.6f}" for v in first + second))
    return "\n".join(rows) + "\n"


def pku_folder(tmp_path, labels: str, video: str | None):
    for folder, text in (("label", labels), ("skeleton", video)):
        if text is not None:
            (tmp_path / folder).mkdir(parents=True)
            (tmp_path / folder / "0002-L.txt").write_text(text)
    return tmp_path


def read_all(path, spec, frame_base=0):
    source = RawSource([path])
    family = load_family(spec.raw)
    options = family.options(**({"frame_base": frame_base} if frame_base else {}))
    found = family.discover(source, spec, options)
    return found.rejects + list(family.read(source, found.units, spec, options))


def discover(paths, spec):
    family = load_family(spec.raw)
    return family.discover(RawSource(paths), spec, family.options())


def test_a_video_is_cut_by_its_labels(tmp_path):
    (clip,) = read_all(pku_folder(tmp_path, "9,3,8,2\n", video_text(10, second_from=6)), PKU1)
    assert (clip.name, clip.label, clip.frames, clip.camera, clip.video) == ("0002-L_001", 8, 5, 1, "0002-L")
    assert [t.frames.tolist() for t in clip.tracks] == [[0, 1, 2, 3, 4], [3, 4]]
    np.testing.assert_array_equal(clip.tracks[0].joints[:, 0, 0], [3, 4, 5, 6, 7])
    np.testing.assert_array_equal(clip.tracks[1].joints[0, 7], [6, 7, 2])


def test_frame_base_1_reads_start_minus_1_to_end(tmp_path):
    (clip,) = read_all(pku_folder(tmp_path, "9,3,8,2\n", video_text(10)), PKU1, frame_base=1)
    np.testing.assert_array_equal(clip.tracks[0].joints[:, 0, 0], [2, 3, 4, 5, 6, 7])


def test_every_label_row_is_a_clip_or_a_reject_with_its_line(tmp_path):
    rows = ["1,0,5,2", "1,4925,4036,2", "99,0,5,2", "1,x,5,2", "", "1,2,3", "1,20,30,1", "1,8,12,2"]
    items = read_all(pku_folder(tmp_path, "\n".join(rows), video_text(10)), PKU1)
    clips = [i for i in items if isinstance(i, Clip)]
    rejects = {i.where.rsplit(":", 1)[1]: i.kind for i in items if isinstance(i, Reject)}
    assert [c.name for c in clips] == ["0002-L_001", "0002-L_006", "0002-L_008"]
    assert rejects == {"2": "interval", "3": "unknown_class", "4": "label_syntax", "7": "interval"}
    assert clips[-1].frames == 2
    assert "2 frames" in clips[-1].dropped[0]


def test_only_the_clips_that_a_nan_touches_are_lost(tmp_path):
    lines = video_text(10).splitlines()
    lines[7] = "nan " + lines[7].split(" ", 1)[1]
    items = read_all(pku_folder(tmp_path, "1,0,5,2\n2,5,10,2\n", "\n".join(lines)), PKU1)
    assert isinstance(items[0], Clip)
    assert items[1].kind == "non_finite"
    assert "frame 7" in items[1].detail


def test_labels_without_skeleton_and_skeleton_without_labels(tmp_path):
    (reject,) = read_all(pku_folder(tmp_path / "a", "1,0,5,2\n", None), PKU1)
    assert reject.kind == "no_skeleton"
    (tmp_path / "b" / "skeleton").mkdir(parents=True)
    (tmp_path / "b" / "skeleton" / "0002-L.txt").write_text(video_text(2))
    (reject,) = read_all(tmp_path / "b", PKU1)
    assert reject.kind == "no_label"


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"", "empty"), (b"\x00\xff\n", "not_skeleton"), (b"1 2 3\n", "joint_count"), (b"1 2\n", "joint_count")],
)
def test_damaged_videos(data, reason):
    with pytest.raises(RejectError) as caught:
        parse_video(data, 25)
    assert caught.value.reason == reason


def test_label_rows_of_absurd_size_are_syntax_errors():
    with pytest.raises(RejectError, match="label_syntax"):
        parse_label_row(b"1," + b"9" * 400 + b",5,2", PKU1)


def test_split_files_as_they_come():
    text = "Training videos: \nA01N01-L, A01N01-M,A01N04-R,\nValidataion videos:A01N02-L ,\n A01N02-M"
    assert parse_split_file(text) == (["A01N01-L", "A01N01-M", "A01N04-R"], ["A01N02-L", "A01N02-M"])


def test_a_split_file_in_the_folder_replaces_the_rule(tmp_path):
    pku_folder(tmp_path, "1,0,5,2\n", video_text(10))
    (tmp_path / "cross-subject.txt").write_text("Training videos:\n0400-L\nValidation videos:\n0002-L\n")
    found = discover([tmp_path], PKU1)
    assert found.protocols["xsub"].assign(["0002-L", "0400-L", "0500-L"]).tolist() == [1, 0, -1]
    (tmp_path / "cross-subject.txt").write_text("nothing of the kind")
    with pytest.raises(UsageError, match=r"cross-subject\.txt"):
        discover([tmp_path], PKU1)


def test_the_genuine_split_files(genuine):
    train, test = parse_split_file(genuine("pku-mmd/cross-subject.txt").read_text())
    assert (len(train), len(test)) == (944, 132)
    assert set(train) == set(PKU1.protocols["xsub"].train)
    pku2 = load_spec("pku-mmd-2")
    for name, rule, counts in (
        ("cross-subject_v2.txt", "xsub", (775, 234)),
        ("cross-view_v2.txt", "xview", (671, 338)),
    ):
        train, test = parse_split_file(genuine(f"pku-mmd/{name}").read_text())
        assert (len(train), len(test)) == counts
        protocol = pku2.protocols[rule]
        sides = protocol.assign([pku2.parse_name(n)[protocol.by] for n in train + test])
        assert sides.tolist() == [0] * counts[0] + [1] * counts[1]


def test_every_genuine_label_row_is_accounted_for(genuine):
    items = read_all(genuine("pku-mmd/Label_PKUMMD.zip"), PKU1)
    reasons = [i.kind for i in items]
    assert len(items) == 21_545
    assert reasons.count("interval") == 1  # 0043-L: 1,4925,4036,2
    assert reasons.count("no_skeleton") == 21_544


def test_genuine_pku_video(genuine):
    assert parse_video(genuine("pku-mmd/A10N08-L.txt").read_bytes(), 25).shape == (1040, 2, 25, 3)


def ucla_json(frames=3, joints=20, label=1, **changes) -> bytes:
    skeletons = [[[t + 0.5, j, 1.0] for j in range(joints)] for t in range(frames)]
    return json.dumps(
        {"file_name": "a01_s01_e00_v01", "skeletons": skeletons, "label": label, **changes}
    ).encode()


def test_nw_ucla_clip():
    track, label = parse_nw_ucla(ucla_json(), 20)
    assert label == 1
    assert track.frames.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(track.joints[2, 5], [2.5, 5, 1])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"{", "not_skeleton"),
        (b"[" * 100_000, "not_skeleton"),
        (b"\xff\xfe\x00", "not_skeleton"),
        (b'{"skeletons": 5}', "not_skeleton"),
        (ucla_json(frames=0), "no_body"),
        (ucla_json(joints=19), "joint_count"),
        (ucla_json().replace(b"0.5", b"NaN", 1), "non_finite"),
        (ucla_json().replace(b"0.5", b"null", 1), "bad_number"),
        (ucla_json().replace(b"0.5", b'"1"', 1), "bad_number"),
        (ucla_json().replace(b"0.5", b"9" * 5000, 1), "not_skeleton"),
        (ucla_json().replace(b"0.5", b"9" * 400, 1), "bad_number"),
        (ucla_json(label="one"), "label_mismatch"),
    ],
)
def test_damaged_nw_ucla_clips(data, reason):
    with pytest.raises(RejectError) as caught:
        parse_nw_ucla(data, 20)
    assert caught.value.reason == reason


def test_folder_and_zip_give_the_same_and_names_are_checked(tmp_path):
    spec = load_spec("nw-ucla")
    folder = tmp_path / "all"
    folder.mkdir()
    names = ["a01_s01_e00_v01", "a02_s01_e00_v01", "a07_s01_e00_v01", "readme_like"]
    for name in names:
        (folder / f"{name}.json").write_bytes(ucla_json(label=1))
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for name in names:
            archive.write(folder / f"{name}.json", f"all/{name}.json")
    for path in (folder, tmp_path / "all.zip"):
        items = read_all(path, spec)
        clips = [i for i in items if isinstance(i, Clip)]
        reasons = sorted(i.kind for i in items if isinstance(i, Reject))
        assert [c.name for c in clips] == ["a01_s01_e00_v01"]
        assert reasons == ["label_mismatch", "name", "unknown_class"]


def test_the_same_name_in_two_sources_is_a_duplicate(tmp_path):
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "a01_s01_e00_v01.json").write_bytes(ucla_json())
    found = discover([tmp_path / "a", tmp_path / "b"], load_spec("nw-ucla"))
    assert (len(found.units), [r.kind for r in found.rejects]) == (1, ["duplicate"])


def test_a_damaged_zip_member_is_a_reject(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a01_s01_e00_v01.json", ucla_json(frames=40))
    data = bytearray((tmp_path / "x.zip").read_bytes())
    data[60:90] = bytes(30)
    (tmp_path / "x.zip").write_bytes(data)
    (reject,) = read_all(tmp_path / "x.zip", load_spec("nw-ucla"))
    assert reject.kind == "unreadable"


@pytest.mark.parametrize("path", ["missing", "pipe"])
def test_a_source_that_is_none_is_wrong_use(tmp_path, path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match=path):
        RawSource([tmp_path / path])


def test_pipes_dangling_links_and_odd_names_are_rejects(tmp_path):
    os.mkfifo(tmp_path / "a01_s01_e00_v01.json")
    (tmp_path / "a01_s01_e00_v02.json").symlink_to(tmp_path / "nowhere")
    (tmp_path / os.fsdecode(b"\xff\xfe.json")).write_bytes(b"{}")
    rejects = read_all(tmp_path, load_spec("nw-ucla"))
    assert sorted(r.kind for r in rejects) == ["name", "unreadable", "unreadable"]
    json.dumps([r.where for r in rejects], ensure_ascii=False).encode("utf-8")


def test_a_video_that_the_scanner_takes_is_not_read_again(monkeypatch):
    numbers, asked = np.arange(36.0).reshape(3, 12), []

    def scan_rows(data, columns):
        asked.append((data, columns))
        return numbers if data == b"plain" else None

    scanner = SimpleNamespace(scan_rows=scan_rows)
    found = {"amr_data.readers.scanning": scanner}
    monkeypatch.setattr(pku_mmd, "compiled", found.get)
    assert parse_video(b"plain", 2).tolist() == numbers.reshape(3, 2, 2, 3).tolist()
    with pytest.raises(RejectError) as error:
        parse_video(b"", 2)
    assert error.value.reason == "empty"
    assert asked == [(b"plain", 12), (b"", 12)]
