"""A shard's tables and record, and the manifest that is made of several, in numbers worked out by hand."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
import re
import stat
from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml

from amr_data import convert, files, open_dataset, plan
from amr_data.clip import BodyTrack, Clip
from amr_data.errors import Reject, RejectError, UsageError
from amr_data.manifest import sources_hash
from amr_data.recipes.motion import WINDOWS, add_energy
from amr_data.shards import writer
from amr_data.shards.writer import build_tables, read_record, shard_record, write_shard
from amr_data.specs import load_spec

TWO = load_spec("ntu60").changed(
    skeleton={
        "name": "two",
        "joints": ["low", "high"],
        "bones": [("high", "low")],
        "parts": {"all": ["low", "high"]},
        "centre": "low",
        "spine": ("low", "high"),
        "shoulders": ("low", "high"),
    }
)
"""A dataset whose bodies have two joints."""


def track(
    frames: list[int], at: float, slot: int = 0, body: str = "7", inferred: int | None = None
) -> BodyTrack:
    """Two joints: one at `at`, growing by 1 a frame along x; one at the origin. `inferred`: so many places of
    the first joint."""
    joints = np.zeros((len(frames), 2, 3))
    joints[:, 0] = at
    joints[:, 0, 0] += frames
    made = BodyTrack(np.array(frames), joints, body, slot)
    if inferred is not None:
        made.inferred = np.zeros((len(frames), 2), bool)
        made.inferred[:inferred, 0] = True
    add_energy(made)
    return made


def clips() -> list[Clip]:
    first = Clip("a", 3, 9, [], 1, 2, 4, 5, "film", "raw/a", 30, ["a note"])
    first.tracks = [
        track([5, 6], 30, slot=1, body="late", inferred=1),
        track([6, 7, 8], 20, body="second", inferred=2),
        track([0, 1, 3], 10, body="first"),
    ]
    second = Clip("bé", -1, 60, [track([2], 40)], source="raw/bé")
    third = Clip("c", 3, 49, [track([0, 1], 50, inferred=0)], 1, 3, video="film")
    third.scale = 0.5
    return [first, second, third]


def test_tracks_lie_end_to_end_by_slot_and_time_cut_at_gaps():
    tables = build_tables(clips(), 2, 30)
    assert tables.tracks.tolist() == [
        (0, 0, 0, 0, 2, b"first"),
        (0, 0, 2, 3, 1, b"first"),
        (0, 0, 3, 6, 3, b"second"),
        (0, 1, 6, 5, 2, b"late"),
        (1, 0, 8, 2, 1, b"7"),
        (2, 0, 9, 0, 2, b"7"),
    ]
    assert tables.joints.dtype == tables.energy.dtype == np.float32
    assert tables.joints[:, 0, 0].tolist() == [10, 11, 13, 26, 27, 28, 35, 36, 42, 50, 51]
    assert tables.joints[:, 0, 1].tolist() == [10, 10, 10, 20, 20, 20, 30, 30, 40, 50, 50]
    assert tables.energy.shape == (11, 2, len(WINDOWS))
    # two frames a metre apart: 0.25; three: 2/3; one: 0
    np.testing.assert_allclose(
        tables.energy[:, 0, 0], [0.25, 0, 0, 2 / 3, 0.25, 0, 0.25, 0, 0, 0.25, 0], rtol=1e-6
    )
    assert [json.loads(note) for note in tables.notes] == [
        {"source": "raw/a", "start": 30, "dropped": ["a note"]},
        {"source": "raw/bé", "start": 0, "dropped": []},
        {"source": "", "start": 0, "dropped": [], "scale": 0.5},
    ]
    assert "é" in tables.notes[1]  # as it is, not spelt out


def test_a_clip_s_row_says_what_it_is_and_how_it_moves():
    rows = build_tables(clips(), 2, 30).clips
    assert rows["name"].tolist() == [b"a", "bé".encode(), b"c"]
    assert rows["video"].tolist() == [b"film", b"", b"film"]
    numbers = ("label", "subject", "camera", "setup", "replication", "frames", "bodies")
    assert rows[list(numbers)].tolist() == [
        (3, 1, 2, 4, 5, 9, 2),
        (-1, -1, -1, -1, -1, 60, 1),
        (3, 1, 3, -1, -1, 49, 1),
    ]
    # three of the ten places of the tracks that say; no track says; none of four
    np.testing.assert_allclose(rows["inferred_share"], [0.3, np.nan, 0])
    # steps of a metre of one joint of two, 15 m/s on average; a single frame is still
    assert rows["still_share"].tolist() == [0, 1, 0]
    assert rows["path_length"].tolist() == [[4, 0], [0, 0], [1, 0]]
    # windows of four frames: of (0, 1), (3), (6, 7, 8), (5, 6); of joint 0 and joint 1
    np.testing.assert_allclose(rows["mean_energy"][:, 0], [(0.25 + 2 / 3 + 0.25) / 8, 0, 0.25 / 2], rtol=1e-6)


def test_images_have_no_still_share_but_all_else():
    here, flat = (build_tables(clips(), 2, 30, metric=metric).clips for metric in (True, False))
    assert np.isnan(flat["still_share"]).all()
    np.testing.assert_array_equal(flat["mean_energy"], here["mean_energy"])


@pytest.mark.parametrize(
    ("changes", "reason", "says"),
    [
        (
            {"frames": writer.MAX_CLIP_FRAMES + 1},
            "too_large",
            f"{writer.MAX_CLIP_FRAMES + 1:,} frames, at most",
        ),
        (
            {"name": "n" * (writer.MAX_NAME_BYTES + 1)},
            "name",
            f"its name has {writer.MAX_NAME_BYTES + 1:,} bytes",
        ),
        (
            {"video": "é" * writer.MAX_NAME_BYTES},
            "name",
            f"the recording's name has {2 * writer.MAX_NAME_BYTES:,} bytes",
        ),
        (
            {"body": "7" * (writer.MAX_ID_BYTES + 1)},
            "name",
            f"a body's id has {writer.MAX_ID_BYTES + 1:,} bytes",
        ),
        ({"name": "a\0b"}, "name", "its name holds a NUL"),
        ({"video": "\0"}, "name", "the recording's name holds a NUL"),
        ({"body": "7\0"}, "name", "a body's id holds a NUL"),
        ({"frames": writer.MAX_CLIP_FRAMES, "name": "n" * writer.MAX_NAME_BYTES}, None, ""),
        ({"video": "n" * writer.MAX_NAME_BYTES, "body": "7" * writer.MAX_ID_BYTES}, None, ""),
    ],
)
def test_what_a_shard_cannot_hold_is_a_reject(changes, reason, says):
    clip = Clip("a", 0, changes.get("frames", 1), [track([0], 1, body=changes.get("body", "7"))])
    clip.name, clip.video = changes.get("name", "a"), changes.get("video", "")
    if reason is None:
        writer.check_storable(clip)
        return
    with pytest.raises(RejectError) as error:
        writer.check_storable(clip)
    assert error.value.reason == reason
    assert error.value.detail.startswith(says)


def test_names_that_are_no_utf_8_are_spelt_out():
    assert writer.utf8("é\udcff") == b"\xc3\xa9\\udcff"


def test_no_clip_makes_empty_tables(tmp_path: Path):
    tables = build_tables([], 2, 30)
    assert (len(tables.clips), len(tables.tracks), tables.joints.shape) == (0, 0, (0, 2, 3))
    record = shard_record(tables, [], [])
    assert (record.clips, record.frames, record.class_counts) == (0, 0, {})
    assert record.position_sum == [0, 0, 0]
    write_shard(tmp_path / "s.h5", tables, [], "f", "gzip")
    with h5py.File(tmp_path / "s.h5") as file:
        assert h5py.check_string_dtype(file["notes"].dtype) is not None
        assert file["notes"].shape == (0,)


def test_a_record_counts_and_sums():
    tables = build_tables(clips(), 2, 30)
    record = shard_record(tables, [Reject("raw/x", "empty", "0 bytes")], ["aa", "bb"])
    assert [getattr(record, k) for k in ("clips", "frames", "clip_frames", "bodies")] == [3, 11, 118, 4]
    assert record.class_counts == {"-1": 1, "3": 2}
    assert record.body_counts == {"1": 2, "2": 1}
    assert record.sources == ["aa", "bb"]
    assert sources_hash(record) == hashlib.sha256(b"aa\nbb").hexdigest()
    assert sources_hash(shard_record(tables, [], [])) == ""
    assert record.length_histogram == {"0": 1, "25": 1, "50": 1}
    x, y = [10, 11, 13, 26, 27, 28, 35, 36, 42, 50, 51], [10] * 3 + [20] * 3 + [30] * 2 + [40] + [50] * 2
    assert record.position_sum == [sum(x), sum(y), sum(y)]
    assert record.position_square_sum == [sum(v * v for v in values) for values in (x, y, y)]
    # a window starts at every frame: (0, 1), (1), (3), (6, 7, 8), (7, 8), (8), (5, 6), (6), (2), (0, 1), (1)
    np.testing.assert_allclose(record.energy_sum, [4 * 0.25 + 2 / 3] * 3, rtol=1e-6)
    reject = {"source": "raw/x", "reason": "empty", "detail": "0 bytes"}
    assert [r.model_dump() for r in record.rejects] == [reject]


def test_sums_are_made_in_double_precision():
    # 2^24 + 1 in single precision is 2^24: a sum of ones stops there, and a square loses its last digits
    many = Clip("a", 0, 3, [BodyTrack(np.arange(3), np.full((3, 1, 3), 4097.0))])
    add_energy(many.tracks[0])
    record = shard_record(build_tables([many], 1, 30), [], [])
    assert record.position_square_sum == [3 * 4097**2] * 3
    huge = build_tables([many], 1, 30)
    huge.joints = np.array([2.0**24, 1, 1], np.float32).reshape(3, 1, 1).repeat(3, 2)
    huge.energy = np.array([2.0**24, 1, 1], np.float32).reshape(3, 1, 1).repeat(3, 2)
    record = shard_record(huge, [], [])
    assert record.position_sum == [2**24 + 2] * 3
    assert record.energy_sum == [2**24 + 2] * 3


@pytest.mark.parametrize("compression", ["none", "lzf", "gzip"])
def test_a_shard_holds_its_tables_and_its_record(tmp_path: Path, compression, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    tables, rejects = build_tables(clips(), 2, 30), [Reject("bé", "empty", "0 bytes")]
    record, digest = write_shard(tmp_path / "s.h5", tables, rejects, "finger", compression)
    assert hashlib.sha256((tmp_path / "s.h5").read_bytes()).hexdigest() == digest
    assert record == shard_record(tables, rejects, []) == read_record(tmp_path / "s.h5", "finger", TWO, 3)
    assert read_record(tmp_path / "s.h5", "toe", TWO, 3) is None
    assert read_record(tmp_path / "absent.h5", "finger", TWO, 3) is None
    with h5py.File(tmp_path / "s.h5") as file:
        assert sorted(file) == ["clips", "frames", "notes", "record", "tracks"]
        assert (file.attrs["format_version"], file.attrs["fingerprint"]) == (1, "finger")
        for name, array in (("frames/joints", tables.joints), ("frames/energy", tables.energy)):
            np.testing.assert_array_equal(file[name][()], array)
            assert file[name].compression == (None if compression == "none" else compression)
            assert file[name].shuffle == (compression != "none")
        assert file["clips"][()].tobytes() == tables.clips.tobytes()
        assert file["tracks"][()].tobytes() == tables.tracks.tobytes()
        assert [n.decode() for n in file["notes"][()]] == tables.notes
        assert "bé" in file["record"][()].decode()
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["elsewhere", "s.h5"]
    assert (tmp_path / "s.h5").read_bytes()[8] == 3  # the version of HDF5's superblock: not the oldest


def test_compressed_frames_lie_in_chunks_of_a_mebibyte(tmp_path: Path):
    # two joints of three float32 are 24 bytes: 43,690 rows are the most below 2^20 bytes
    long = BodyTrack(np.arange(50_000), np.zeros((50_000, 2, 3)))
    long.energy = np.zeros((50_000, 2, 3), np.float32)
    write_shard(tmp_path / "s.h5", build_tables([Clip("a", 0, 50_000, [long])], 2, 30), [], "f", "lzf")
    with h5py.File(tmp_path / "s.h5") as file:
        assert file["frames/joints"].chunks == (43_690, 2, 3)
    write_shard(tmp_path / "s.h5", build_tables([Clip("a", 0, 1, [track([0], 1)])], 2, 30), [], "f", "lzf")
    with h5py.File(tmp_path / "s.h5") as file:
        assert file["frames/joints"].chunks == (1, 2, 3)


@pytest.mark.parametrize("content", ["[1]", "not json", None])
def test_a_file_without_a_record_is_no_finished_shard(tmp_path: Path, content):
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file.attrs["fingerprint"] = "finger"
        if content is not None:
            file["record"] = content
    assert read_record(tmp_path / "s.h5", "finger", TWO, 3) is None
    (tmp_path / "s.h5").write_bytes(b"no shard")
    assert read_record(tmp_path / "s.h5", "finger", TWO, 3) is None


LENGTHS = {  # action, subject, camera: frames
    (1, 1, 1): 3,
    (1, 2, 2): 26,
    (2, 1, 3): 1,
    (2, 4, 1): 24,
    (5, 2, 3): 100,
    (5, 4, 2): 25,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Clips of every length in `LENGTHS`, with names as NW-UCLA's, values of a seed."""
    raw = tmp_path / "raw"
    raw.mkdir()
    rng = np.random.default_rng(0)
    for (action, subject, camera), frames in LENGTHS.items():
        joints = rng.normal(0, 0.5, (frames, 20, 3)).round(3)
        name = f"a{action:02d}_s{subject:02d}_e00_v{camera:02d}"
        (raw / f"{name}.json").write_text(json.dumps({"skeletons": joints.tolist()}))
    (raw / "a01_s09_e00_v01.json").write_text("")
    (raw / "a01_s08_e00_v01.json").write_text("{}")
    (raw / "a77_s08_e00_v01.json").write_text("{}")
    (raw / "a01_s07_e00_v01.json").write_text("")
    (raw / "é.json").write_text("{}")
    return raw


def test_a_manifest_adds_up_its_shards(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(plan, "MIN_SHARD_BYTES", 1)
    protocols = {
        "camera": {"by": "camera", "train": [1, 2], "test": [3]},
        "person": {"by": "subject", "train": [1], "test": [2], "validation": [4]},
        "named": {"by": "name", "train": ["a01_s01_e00_v01"], "test": ["a05_s02_e00_v03"]},
        "fold": {"by": "subject", "folds": 3},
    }
    spec = load_spec("nw-ucla").model_dump(mode="json") | {"protocols": protocols}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(spec, sort_keys=False))
    report = convert(folder, tmp_path / "out", tmp_path / "own.yaml", recipe="none", workers=1)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))
    assert json.loads(json.dumps(report.manifest)) == manifest
    shards = manifest["shards"]
    assert len(shards) > 3
    for index, shard in enumerate(shards):
        path = tmp_path / "out" / shard["file"]
        assert shard["file"] == f"shard-{index:05d}.h5"
        assert shard["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        with h5py.File(path) as file:
            sources = json.loads(file["record"][()])["sources"]
        assert shard["sources"] == hashlib.sha256("\n".join(sources).encode()).hexdigest()
    assert sum(s["clips"] for s in shards) == 6
    assert sum(s["frames"] for s in shards) == 179
    totals = manifest["totals"]
    assert {
        k: totals[k] for k in ("sources", "clips", "frames", "clip_frames", "bodies", "unlabelled", "rejects")
    } == {
        "sources": 11,
        "clips": 6,
        "frames": 179,
        "clip_frames": 179,
        "bodies": 6,
        "unlabelled": 0,
        "rejects": 5,
    }
    assert manifest["rejects_by_reason"] == {"empty": 2, "not_skeleton": 1, "unknown_class": 1, "name": 1}
    assert next(iter(manifest["rejects_by_reason"])) == "empty"  # the most frequent first
    lines = (tmp_path / "out" / "rejects.jsonl").read_text(encoding="utf-8").splitlines()
    assert any("raw/é.json" in line for line in lines)
    rejects = [json.loads(line) for line in lines]
    assert Counter(r["reason"] for r in rejects) == manifest["rejects_by_reason"]
    assert sorted(r["source"] for r in rejects)[0] == "raw/a01_s07_e00_v01.json"
    # labels: classes 1, 2 and 5 are the dataset's first, second and fifth
    assert manifest["class_counts"] == {"0": 2, "1": 2, "4": 2}
    assert manifest["body_counts"] == {"1": 6}
    assert manifest["statistics"]["length_bin"] == 25
    assert manifest["statistics"]["length_histogram"] == {"0": 3, "25": 2, "100": 1}
    assert list(manifest["statistics"]["length_histogram"]) == ["0", "25", "100"]
    assert manifest["protocol_counts"] == {
        "camera": {"train": 4, "test": 2, "unassigned": 0},
        "person": {"train": 2, "test": 2, "unassigned": 0, "validation": 2},
        "named": {"train": 1, "test": 1, "unassigned": 4},
        "fold1": {"train": 4, "test": 2, "unassigned": 0},
        "fold2": {"train": 4, "test": 2, "unassigned": 0},
        "fold3": {"train": 4, "test": 2, "unassigned": 0},
    }
    assert list(manifest["spec"]["protocols"]) == ["camera", "person", "named", "fold1", "fold2", "fold3"]
    assert manifest["source"]["paths"] == ["raw"]
    assert manifest["source"]["files"] == 11
    assert manifest["source"]["synthetic"] is False
    written = json.loads((tmp_path / "out" / "plan.json").read_text(encoding="utf-8"))
    assert manifest["source"]["fingerprint"] == written["fingerprint"]
    sizes = {p.name: p.stat().st_size for p in folder.iterdir() if p.name[:3] not in ("a77", "é.j")}
    assert manifest["source"]["bytes"] == sum(sizes.values())
    assert manifest["recipe"] == {
        "name": "none",
        "rotate": False,
        "scale": False,
        "centred": False,
        "unit": "metres",
    }
    assert manifest["windows"] == [4, 8, 12]
    assert manifest["format_version"] == 1
    assert set(manifest["versions"]) == {"amr-skeleton", "numpy", "h5py", "python"}
    assert all(re.match("[0-9]+[.][0-9]", v) for v in manifest["versions"].values())
    assert manifest["compression"] == "none"


def test_dataset_statistics_equal_sums_over_every_number(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(plan, "MIN_SHARD_BYTES", 1)
    statistics = convert(folder, tmp_path / "out", "nw-ucla", recipe="none", workers=1).manifest["statistics"]
    raw = [json.loads(p.read_text() or "{}").get("skeletons", []) for p in sorted(folder.iterdir())]
    for axis in range(3):
        values = [float(np.float32(point[axis])) for clip in raw for frame in clip for point in frame]
        mean = math.fsum(values) / len(values)
        assert len(values) == 179 * 20
        assert statistics["position_mean"][axis] == pytest.approx(mean, rel=1e-9, abs=1e-12)
        variance = math.fsum((v - mean) ** 2 for v in values) / len(values)
        assert statistics["position_std"][axis] == pytest.approx(math.sqrt(variance), rel=1e-9)
    for scale, length in enumerate(WINDOWS):
        energies = []
        for clip, joint in itertools.product(raw, range(20)):
            for start in range(len(clip)):
                window = np.array([frame[joint] for frame in clip[start : start + length]])
                energies.append(float(((window - window.mean(axis=0)) ** 2).sum() / len(window)))
        assert statistics["energy_mean"][scale] == pytest.approx(
            math.fsum(energies) / len(energies), rel=1e-6
        )


@pytest.mark.parametrize("content", ["", None])
def test_nothing_but_rejects_has_no_statistics_but_zeros(folder: Path, tmp_path: Path, content):
    # files that are read in vain, and files of which no name fits, so that there is no shard
    for path in list(folder.iterdir()):
        path.write_text(content or "")
        if content is None:
            path.rename(folder / f"x{path.name}")
    manifest = convert(folder, tmp_path / "out", "nw-ucla", workers=1).manifest
    assert len(manifest["shards"]) == (0 if content is None else 1)
    statistics = manifest["statistics"]
    assert statistics["position_mean"] == statistics["position_std"] == statistics["energy_mean"] == [0, 0, 0]
    assert manifest["protocol_counts"] == {"xview": {"train": 0, "test": 0, "unassigned": 0}}
    plain = convert(folder, tmp_path / "plain", load_spec("nw-ucla").changed(protocols={}), workers=1)
    assert (plain.manifest["protocol_counts"], len(plain.manifest["shards"])) == ({}, len(manifest["shards"]))


def test_clips_without_a_label_are_counted_apart(folder: Path, tmp_path: Path):
    spec = load_spec("nw-ucla").unlabelled().model_dump(mode="json")
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(spec))
    manifest = convert(folder, tmp_path / "out", tmp_path / "own.yaml", workers=1).manifest
    assert (manifest["totals"]["unlabelled"], manifest["class_counts"]) == (6, {})
    assert manifest["protocol_counts"] == {}


def test_more_folds_than_values_are_refused(folder: Path, tmp_path: Path):
    spec = load_spec("nw-ucla").model_dump(mode="json") | {"protocols": {"f": {"by": "subject", "folds": 4}}}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(spec, sort_keys=False))
    with pytest.raises(UsageError, match="split f: 3 subject values for 4 folds"):
        convert(folder, tmp_path / "out", tmp_path / "own.yaml", workers=1)


def test_clips_come_back_as_they_were(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(plan, "MIN_SHARD_BYTES", 1)
    convert(folder, tmp_path / "out", "nw-ucla", recipe="none", workers=1)
    dataset = open_dataset(tmp_path / "out")
    assert dataset.names == [f"a{a:02d}_s{s:02d}_e00_v{c:02d}" for a, s, c in LENGTHS]
    for index, ((action, subject, camera), frames) in enumerate(LENGTHS.items()):
        clip = dataset.clip(index)
        assert (clip.label, clip.subject, clip.camera) == ({1: 0, 2: 1, 5: 4}[action], subject, camera)
        content = json.loads((folder / f"{clip.name}.json").read_text())["skeletons"]
        np.testing.assert_array_equal(clip.tracks[0].joints, np.array(content, np.float32))
        assert clip.frames == frames
    assert dataset.membership("xview").tolist() == [0, 0, 1, 0, 1, 0]
    assert dataset.split("xview", "test").tolist() == [2, 4]
    assert dataset.values("subject").tolist() == [1, 2, 1, 4, 2, 4]


def test_a_shard_leaves_it_to_the_manifest_to_settle_the_folder(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(files.os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_mode))
    write_shard(tmp_path / "s.h5", build_tables([], 25, 30), [], "f", "none")
    assert [stat.S_ISDIR(mode) for mode in synced] == [False]
    files.write_json(tmp_path / "manifest.json", {})
    assert [stat.S_ISDIR(mode) for mode in synced] == [False, False, True]
