"""Recordings kept whole: the clips are those of a conversion without them, no frame is stored twice, and what
is broken is told by name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from amr_data import UsageError, convert, open_dataset, repair, verify
from amr_data.clip import BodyTrack
from amr_data.errors import RejectError
from amr_data.readers import pku_mmd
from amr_data.readers.pku_mmd import parse_video
from amr_data.recipes.motion import WINDOWS, add_energy, add_energy_in_blocks, windowed_energy
from amr_data.recording import Interval
from amr_data.shards.reader import read_rejects
from tests.amr_data.pku import small_pku, walking, write_video

SPEC = small_pku()


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """0002-L: two bodies, the second in frames 30 to 69 and 80 to 99; intervals that overlap, are out of
    order and end past the video. 0003-M: only the second body, away in frames 10 to 14. 0004-R: no label."""
    folder = tmp_path_factory.mktemp("pku") / "raw"
    second = walking(120, 1)
    second[:30] = second[70:80] = second[100:] = 0
    rows = ["9,60,95,2", "3,10,40,2", "51,35,64,1", "1,110,130,2", "7,0,1,2"]
    write_video(folder, "0002-L", [walking(120), second], rows)
    alone = walking(50, 2)
    alone[10:15] = 0
    write_video(folder, "0003-M", [np.zeros((50, 4, 3)), alone], ["4,5,30,2", "4,11,13,2", "2,40,41,2"])
    write_video(folder, "0004-R", [walking(20, 3)], [])
    return folder


@pytest.fixture(scope="module")
def kept(raw: Path) -> Path:
    out = raw.parent / "kept"
    convert(raw, out, SPEC, workers=1, keep="recordings")
    return out


@pytest.mark.parametrize(
    "recipe",
    [{}, {"rotate": True, "scale": True}, {"recipe": "ctrgcn"}, {"recipe": "none"}],
    ids=["amr", "amr turned and scaled", "ctrgcn", "none"],
)
def test_views_are_the_clips_of_a_conversion_without_recordings(raw, tmp_path, recipe):
    cut = convert(raw, tmp_path / "cut", SPEC, workers=1, **recipe)
    kept = convert(raw, tmp_path / "kept", SPEC, workers=1, keep="recordings", **recipe)
    clips, views = open_dataset(tmp_path / "cut"), open_dataset(tmp_path / "kept")
    assert len(clips) == 7
    assert clips.clips.tobytes() == views.clips.tobytes()  # every number, the motion too
    assert cut.manifest["totals"] == kept.manifest["totals"]
    for a, b in zip(clips, views, strict=True):
        assert (a.name, a.label, a.start, a.frames, a.video, a.source, a.dropped, a.scale) == (
            b.name,
            b.label,
            b.start,
            b.frames,
            b.video,
            b.source,
            b.dropped,
            b.scale,
        )
        for t, u in zip(a.tracks, b.tracks, strict=True):
            assert (t.slot, t.body_id, t.frames.tolist()) == (u.slot, u.body_id, u.frames.tolist())
            np.testing.assert_allclose(u.joints, t.joints, atol=2e-6)
            # at a clip's end no window may look into the rest of its recording
            np.testing.assert_allclose(u.energy, t.energy, rtol=1e-3, atol=1e-9)
    one, other = (d.arrays(np.array([0, 2, 3, 6])) for d in (clips, views))
    np.testing.assert_allclose(other.joints, one.joints, atol=2e-6)
    np.testing.assert_allclose(other.energy, one.energy, rtol=1e-3, atol=1e-9)
    assert other.frame.tolist() == one.frame.tolist()
    assert verify(tmp_path / "kept") == []
    for key, value in cut.manifest["statistics"].items():
        found = kept.manifest["statistics"][key]
        assert found == (value if isinstance(value, dict) else pytest.approx(value, rel=1e-6, abs=1e-12))


def test_frames_are_stored_once(kept, raw):
    counts = open_dataset(kept).manifest["recordings"]
    assert counts == {"recordings": 3, "rows": 120 + 60 + 45 + 20, "frames": 190, "intervals": 8}


def test_recordings_know_their_intervals_and_clips_their_place(kept):
    dataset = open_dataset(kept)
    first, second, third = dataset.recordings
    assert [(r.name, r.camera, r.fps, r.frames, r.start) for r in (first, second, third)] == [
        ("0002-L", 1, 30.0, 120, 0),
        ("0003-M", 2, 30.0, 50, 0),
        ("0004-R", 3, 30.0, 20, 0),
    ]
    assert first.source == "raw/skeleton/0002-L.txt"
    assert first.intervals == (
        Interval(6, 0, 1),
        Interval(2, 10, 40),
        Interval(50, 35, 64),
        Interval(8, 60, 95),
        Interval(0, 110, 120),
    )
    # one whose frames hold nobody is an interval, though no clip comes of it
    assert second.intervals == (Interval(3, 5, 30), Interval(3, 11, 13), Interval(1, 40, 41))
    assert third.intervals == ()
    assert [(t.slot, t.body_id, t.frames[0], t.frames[-1]) for t in first.tracks] == [
        (0, "1", 0, 119),
        (1, "2", 30, 69),
        (1, "2", 80, 99),
    ]
    assert [(t.slot, t.frames[0], t.frames[-1]) for t in second.tracks] == [(0, 0, 9), (0, 15, 49)]
    assert dataset.recording_of.tolist() == [0, 0, 0, 0, 0, 1, 1]
    assert dataset.first_frame.tolist() == [60, 10, 35, 110, 0, 5, 40]
    assert {r.kind for r in read_rejects(kept)} == {"no_body", "empty"}


def test_a_part_is_read_alone(kept):
    recordings = open_dataset(kept).recordings
    whole, part = recordings[0], recordings.part(0, 65, 85)
    assert [(t.frames[0], t.frames[-1]) for t in part.tracks] == [(65, 84), (65, 69), (80, 84)]
    np.testing.assert_array_equal(part.tracks[0].joints, whole.tracks[0].joints[65:85])
    np.testing.assert_array_equal(part.tracks[0].energy, whole.tracks[0].energy[65:85])
    assert (part.frames, part.intervals) == (whole.frames, whole.intervals)
    assert recordings.part(2, 5, 10**9).tracks[0].frames.tolist() == list(range(5, 20))
    assert [r.name for r in recordings[1:]] == ["0003-M", "0004-R"]
    assert recordings.index("0003-M") == 1
    with pytest.raises(UsageError, match="did you mean '0003-M'"):
        recordings.index("0003-N")
    with pytest.raises(IndexError):
        recordings[3]


def test_a_split_tells_recordings_apart_as_it_does_clips(raw, tmp_path):
    splits = {
        "view": {"by": "camera", "train": [1, 3], "test": [2]},
        "films": {"by": "video", "train": ["0002-L"], "test": ["0004-R"]},
        "clips": {"by": "name", "train": ["0002-L_001"], "test": ["0003-M_001", "0003-M_003"]},
    }
    convert(raw, tmp_path / "out", small_pku(protocols=splits), workers=1, keep="recordings")
    dataset = open_dataset(tmp_path / "out")
    told = {s: [dataset.recordings_of(s, p).tolist() for p in ("train", "test")] for s in (*splits, "all")}
    assert told == {
        "view": [[0, 2], [1]],
        "films": [[0], [2]],
        "clips": [[], [1]],  # not all clips of 0002-L are in train, and 0004-R has none
        "all": [[0, 1, 2], []],
    }
    with pytest.raises(UsageError, match="part"):
        dataset.recordings_of("view", "tset")


def test_without_them_nothing_changes(raw, tmp_path):
    convert(raw, tmp_path / "out", SPEC, workers=1)
    dataset = open_dataset(tmp_path / "out")
    assert (len(dataset.recordings), dataset.keeps_recordings) == (0, False)
    assert dataset.recordings_of("xview", "train").tolist() == []
    assert (dataset.recording_of == -1).all()
    plan = json.loads((tmp_path / "out" / "plan.json").read_text())
    shard = dataset.manifest["shards"][0]
    assert (dataset.manifest["format_version"], "keep" in plan, "kept" in shard) == (1, False, False)
    with pytest.raises(UsageError, match="--overwrite"):
        convert(raw, tmp_path / "out", SPEC, workers=1, keep="recordings")


def test_whole_files_have_no_recordings_to_keep(ntu_raw, tmp_path):
    with pytest.raises(UsageError, match="labels are of whole files"):
        convert(ntu_raw, tmp_path / "out", "ntu60", workers=1, keep="recordings")
    with pytest.raises(UsageError, match="no thing to keep 'clips'"):
        convert(ntu_raw, tmp_path / "out", "ntu60", workers=1, keep="clips")


def test_a_lost_shard_is_made_again(kept, raw, tmp_path):
    convert(raw, tmp_path / "out", SPEC, workers=1, keep="recordings", compression="gzip")
    before = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert [s["checksum"] for s in before["shards"]] == [
        s["checksum"] for s in open_dataset(kept).manifest["shards"]
    ]
    for lost in ("shard-00000.h5", "plan.json"):
        (tmp_path / "out" / lost).unlink()
    repair(tmp_path / "out", [raw], workers=1)
    assert json.loads((tmp_path / "out" / "manifest.json").read_text()) == before
    (tmp_path / "out" / "manifest.json").unlink()
    assert convert(
        raw, tmp_path / "out", SPEC, workers=1, keep="recordings", compression="gzip"
    ).kept_shards == len(before["shards"])


def test_unlabelled_videos_are_recordings_without_intervals(raw, tmp_path):
    convert(raw, tmp_path / "out", SPEC, workers=1, keep="recordings", unlabelled=True)
    dataset = open_dataset(tmp_path / "out")
    assert [(r.frames, r.intervals) for r in dataset.recordings] == [(120, ()), (50, ()), (20, ())]
    assert dataset.clips["frames"].tolist() == [120, 50, 20]


def test_broken_recordings_are_told_by_name(tmp_path):
    folder = tmp_path / "raw"
    write_video(folder, "0001-L", [walking(1)], ["1,0,1,2"])  # one frame
    write_video(folder, "0002-L", [np.zeros((9, 4, 3))], ["1,0,4,2", "2,4,9,2"])  # nobody
    far = walking(40)
    far[20] = 2000
    write_video(folder, "0003-L", [far], ["1,0,20,2", "2,15,25,2"])
    write_video(folder, "0004-L", [walking(12)], ["1,0,12,2"] * 70)
    for name, data in (("0005-L", b""), ("0006-L", b"\0" * 99), ("0007-L", b"1 2 3\n")):
        write_video(folder, name, [walking(5)], ["1,0,4,2"])
        (folder / "skeleton" / f"{name}.txt").write_bytes(data)
    convert(folder, tmp_path / "out", SPEC, workers=1, keep="recordings")
    dataset = open_dataset(tmp_path / "out")
    assert verify(tmp_path / "out") == []
    assert [(r.name, r.frames, len(r.intervals)) for r in dataset.recordings] == [
        ("0001-L", 1, 1),
        ("0003-L", 40, 2),
        ("0004-L", 12, 70),
    ]
    assert dataset.recordings[0].tracks[0].energy.tolist() == np.zeros((1, 4, 3)).tolist()
    # the frame is a gap, the clip that has it is none
    assert [t.frames.tolist() for t in dataset.recordings[1].tracks] == [list(range(20)), list(range(21, 40))]
    assert dataset.recordings[1].dropped == ("frame 20: positions that no sensor gives",)
    told = [(r.where.rpartition("/")[2], r.kind) for r in read_rejects(tmp_path / "out")]
    assert told == [
        ("0002-L.txt:1", "no_body"),
        ("0002-L.txt:2", "no_body"),
        ("0003-L.txt:2", "out_of_range"),
        *((f"0004-L.txt:{row}", "overlap") for row in range(65, 71)),
        ("0005-L.txt:1", "empty"),
        ("0006-L.txt:1", "not_skeleton"),
        ("0007-L.txt:1", "joint_count"),
    ]


def test_a_long_video_is_read_piece_by_piece(raw, monkeypatch):
    data = (raw / "skeleton" / "0002-L.txt").read_bytes()
    whole = parse_video(data, 4)
    monkeypatch.setattr(pku_mmd, "PIECE_BYTES", 3000)
    calls = []
    monkeypatch.setattr(pku_mmd, "parse_video", lambda *given: calls.append(given) or parse_video(*given))
    np.testing.assert_array_equal(pku_mmd.parse_long_video(data + b"\n\n", 4), whole)
    assert len(calls) > 5
    ends = [i for i, byte in enumerate(data) if byte == ord("\n")]
    for at, told in ((ends[70], "counted from line"), (ends[3], "line 5 has 0 numbers")):
        with pytest.raises(RejectError, match=told):
            pku_mmd.parse_long_video(data[:at] + b"\n" + data[at:], 4)
    first = len(calls[0][0])  # an empty line where a piece ends
    monkeypatch.setattr(pku_mmd, "PIECE_BYTES", first + 1)
    with pytest.raises(RejectError, match="the line before is empty"):
        pku_mmd.parse_long_video(data[:first] + b"\n" + data[first:], 4)
    with pytest.raises(RejectError, match="no frame"):
        pku_mmd.parse_long_video(b"", 4)


def test_energies_in_blocks_are_those_of_the_whole(monkeypatch):
    monkeypatch.setattr("amr_data.recipes.motion.BLOCK", 16)
    frames = np.array([*range(50), *range(60, 61), *range(70, 103)])
    whole, blocks = (BodyTrack(frames, walking(len(frames)).astype(np.float32)) for _ in range(2))
    add_energy(whole)
    add_energy_in_blocks(blocks)
    np.testing.assert_allclose(blocks.energy, whole.energy, rtol=1e-4, atol=1e-10)
    np.testing.assert_allclose(
        blocks.energy[:50], windowed_energy(blocks.joints[:50], WINDOWS), rtol=1e-4, atol=1e-10
    )
