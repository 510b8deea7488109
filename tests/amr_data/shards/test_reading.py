"""Clips one after another: in order, a shard opened once, names of any script, exports that hold one
clip at a time."""

from __future__ import annotations

import errno
import os
import pickle
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from amr_cli.data import main
from amr_data import Clip, UsageError, convert, open_dataset
from amr_data.clip import BodyTrack
from amr_data.files import WriteError, whole_file, write_json
from amr_data.readers.safe_pickle import load_plain
from amr_data.shards.exchange import export_dataset
from amr_data.shards.features import write_features
from amr_data.shards.layout import MAX_CLIP_FRAMES
from amr_data.shards.reader import read_rejects
from amr_data.shards.verification import verify
from amr_data.shards.writer import check_storable

JOINTS = 25


def pyskl_file(path: Path, clips: list[tuple[str, int, int]], split: dict[str, list[str]]) -> Path:
    """An annotation pickle: (name, label, frames) of each clip, one body of random motion."""
    rng = np.random.default_rng(0)
    annotations = [
        {
            "frame_dir": name,
            "label": label,
            "keypoint": rng.normal(0, 1, (1, frames, JOINTS, 3)).astype(np.float32),
            "total_frames": frames,
        }
        for name, label, frames in clips
    ]
    path.write_bytes(pickle.dumps({"split": split, "annotations": annotations}))
    return path


@pytest.fixture
def opens(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each shard is opened."""
    count: Counter[str] = Counter()
    real = h5py.File.__init__

    def counted(self: h5py.File, name: Any, *args: Any, **kwargs: Any) -> None:
        count[Path(name).name] += 1
        real(self, name, *args, **kwargs)

    monkeypatch.setattr(h5py.File, "__init__", counted)
    return count


def test_a_dataset_is_its_clips_and_opens_each_shard_once(ntu_shards, opens):
    dataset = open_dataset(ntu_shards)
    shards = {s["file"] for s in dataset.manifest["shards"] if s["clips"]}
    assert len(shards) > 2
    opens.clear()
    clips = list(dataset)
    assert opens == dict.fromkeys(shards, 1)
    assert [c.name for c in clips] == dataset.names
    for index in (0, 17, len(dataset) - 1):
        alone = dataset.clip(index)
        np.testing.assert_array_equal(clips[index].dense(), alone.dense())
        for a, b in zip(clips[index].tracks, alone.tracks, strict=True):
            np.testing.assert_array_equal(a.frames, b.frames)
            np.testing.assert_array_equal(a.energy, b.energy)
            assert (a.slot, a.body_id) == (b.slot, b.body_id)
        assert (clips[index].source, clips[index].dropped) == (alone.source, alone.dropped)


def test_any_clips_come_in_the_order_that_is_asked_for(ntu_shards, monkeypatch):
    dataset = open_dataset(ntu_shards)
    for rows in (1 << 14, 1):  # read in pieces of many clips, and clip by clip
        monkeypatch.setattr("amr_data.shards.reader.PIECE_ROWS", rows)
        for order in ([5, 4, 3], [47, 0, 0, 1], list(range(10, 40, 3)), []):
            found = list(dataset.stream(order))
            assert [c.name for c in found] == [dataset.names[i] for i in order]
            for clip, index in zip(found, order, strict=True):
                start = np.searchsorted(dataset.tracks["clip"], index)
                first = dataset.tracks[start]
                with h5py.File(ntu_shards / f"shard-{dataset.shard_of[index]:05d}.h5") as file:
                    row = file["frames/joints"][int(first["first_row"])]
                np.testing.assert_array_equal(clip.tracks[0].joints[0], row)


def test_a_clip_that_is_kept_does_not_keep_its_neighbours(ntu_shards):
    first = next(iter(open_dataset(ntu_shards)))
    assert all(t.joints.base is None and t.energy.base is None for t in first.tracks)


@pytest.mark.parametrize("form", ["pyskl", "npz", "csv"])
def test_exports_open_each_shard_once(ntu_shards, tmp_path, opens, form):
    dataset = open_dataset(ntu_shards)
    opens.clear()
    export_dataset(dataset, tmp_path / "x", form, **({"split": "xsub"} if form == "npz" else {}))
    sides = 2 if form == "npz" else 1  # train, then test
    assert max(opens.values()) == sides


def test_clips_print_in_a_line():
    joints = np.zeros((300, JOINTS, 3))
    tracks = [BodyTrack(np.arange(300), joints, "72057594037931101", slot) for slot in (0, 1)]
    clip = Clip("S001C001P001R001A001", 3, 300, tracks, dropped=["x" * 500])
    assert repr(clip) == "Clip('S001C001P001R001A001', label=3, 300 frames, 2 bodies)"
    assert repr(tracks[1]) == "BodyTrack('72057594037931101', slot=1, 300 frames, 0 to 299)"


ABROAD = "Mädchen 女の子 🏃"


@pytest.fixture
def abroad(tmp_path) -> Path:
    """A dataset whose clips and split have names beyond ASCII, from another project's pickle."""
    names = [f"{ABROAD}{i}" for i in range(4)] + ["plain"]
    split = {"größe_train": names[:2], "größe_val": names[2:]}
    source = pyskl_file(tmp_path / "öffentlich.pkl", [(n, i, 7) for i, n in enumerate(names)], split)
    convert(source, tmp_path / "daten", "ntu60")
    return tmp_path / "daten"


def test_names_beyond_ascii_go_the_whole_way(abroad, tmp_path):
    dataset = open_dataset(abroad)
    assert dataset.names[:4] == [f"{ABROAD}{i}" for i in range(4)]
    assert dataset.split("größe", "train").tolist() == [0, 1]
    assert dataset.split("größe", "test").tolist() == [2, 3, 4]
    assert dataset.clip(f"{ABROAD}3").label == 3
    assert verify(abroad) == []
    for form in ("pyskl", "npz", "csv"):
        export_dataset(dataset, tmp_path / f"x.{form}", form)
    assert load_plain(tmp_path / "x.pyskl")["split"]["größe_train"] == dataset.names[:2]
    assert ABROAD in (tmp_path / "x.csv").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "command", ["inspect DIR", "inspect DIR --clip NAME", "verify DIR", "verify DIR --json"]
)
def test_names_beyond_ascii_at_the_command_line(abroad, command):
    arguments = [{"DIR": str(abroad), "NAME": f"{ABROAD}1"}.get(a, a) for a in command.split(" ")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output


def test_names_that_no_file_system_spells_are_kept_spelt_out(tmp_path):
    """Bytes of a file's name that are no UTF-8 come as surrogates; they do not stop the work."""
    raw = b"caf\xe9.txt"
    clip = Clip(os.fsdecode(raw), -1, 1, [])
    check_storable(clip)
    from amr_data.shards.writer import utf8

    assert utf8(clip.name) == b"caf\\udce9.txt"


@pytest.mark.parametrize(
    ("name", "frames", "reason"),
    [("x" * 1025, 5, "name"), ("ü" * 513, 5, "name"), ("fine", MAX_CLIP_FRAMES + 1, "too_large")],
)
def test_what_no_shard_may_hold_is_a_reject(name, frames, reason):
    from amr_data.errors import RejectError

    with pytest.raises(RejectError) as caught:
        check_storable(Clip(name, 0, frames, []))
    assert caught.value.reason == reason
    check_storable(Clip("x" * 1024, 0, MAX_CLIP_FRAMES, []))


def test_a_name_too_long_for_a_shard_is_rejected_by_the_conversion(tmp_path):
    names = ["x" * 1025, "fine"]
    split = {"a_train": names, "a_val": []}
    convert(pyskl_file(tmp_path / "x.pkl", [(n, 1, 5) for n in names], split), tmp_path / "out", "ntu60")
    assert open_dataset(tmp_path / "out").names == ["fine"]
    (reject,) = read_rejects(tmp_path / "out")
    assert reject.kind == "name"
    assert "1,025 bytes" in reject.detail


def test_an_empty_side_is_an_empty_array(tmp_path):
    split = {"a_train": ["c", "d"], "a_val": []}
    source = pyskl_file(tmp_path / "x.pkl", [("c", 0, 5), ("d", 1, 5)], split)
    convert(source, tmp_path / "out", "ntu60")
    export_dataset(open_dataset(tmp_path / "out"), tmp_path / "x.npz", "npz", frames=8)
    with np.load(tmp_path / "x.npz") as file:
        shapes = {k: file[k].shape for k in file.files}
    assert shapes == {
        "x_train": (2, 8, 150),
        "y_train": (2, 60),
        "x_test": (0, 8, 150),
        "y_test": (0, 60),
    }


def grown(tmp_path: Path, form: str, clips: int) -> int:
    """Peak of Python's and numpy's memory while so many clips of 100 frames are exported, in bytes."""
    names = [f"c{i:05d}" for i in range(clips)]
    split = {"a_train": names, "a_val": []}
    source = pyskl_file(tmp_path / f"{clips}.pkl", [(n, 0, 100) for n in names], split)
    convert(source, tmp_path / f"{clips}", "ntu60", workers=1)
    dataset = open_dataset(tmp_path / f"{clips}")
    assert dataset.names == names
    tracemalloc.start()
    try:
        options = {"frames": 100} if form == "npz" else {}
        export_dataset(dataset, tmp_path / f"{clips}.{form}", form, **options)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("form", ["pyskl", "npz", "csv"])
def test_the_memory_of_an_export_does_not_grow_with_the_clips(tmp_path, form):
    """800 clips more hold 24 MB of joints in a pickle, 48 MB in an .npz; the names alone may stay."""
    grown(tmp_path, form, 10)  # what is imported and kept at the first call
    few, many = grown(tmp_path, form, 200), grown(tmp_path, form, 1000)
    assert many - few < 2 << 20, (few, many)
    assert (tmp_path / f"1000.{form}").stat().st_size > 20 << 20


def test_streamed_exports_are_what_numpy_and_pickle_write(ntu_shards, tmp_path):
    """Against the plain way: everything in memory, then np.savez and pickle.dump."""
    dataset = open_dataset(ntu_shards)
    export_dataset(dataset, tmp_path / "x.pkl", "pyskl")
    with open(tmp_path / "x.pkl", "rb") as file:
        found = pickle.load(file)
    assert list(found) == ["split", "synthetic", "annotations"]
    assert [a["frame_dir"] for a in found["annotations"]] == dataset.names
    for clip, annotation in zip(dataset, found["annotations"], strict=True):
        assert annotation["keypoint"].dtype == np.float32
        assert (annotation["label"], annotation["total_frames"]) == (clip.label, clip.frames)
        np.testing.assert_array_equal(annotation["keypoint"], clip.dense())
    assert load_plain(tmp_path / "x.pkl")["annotations"][3]["frame_dir"] == dataset.names[3]

    export_dataset(dataset, tmp_path / "x.npz", "npz", split="xview", frames=280)
    arrays = {}
    for part in ("train", "test"):
        clips = dataset.split("xview", part)
        x, y = np.zeros((len(clips), 280, 2, JOINTS, 3), np.float32), np.zeros((len(clips), 60), np.float32)
        for row, index in enumerate(clips):
            clip = dataset.clip(int(index))
            x[row, : clip.frames] = clip.dense(2).transpose(1, 0, 2, 3)
            y[row, clip.label] = 1
        arrays[f"x_{part}"], arrays[f"y_{part}"] = x.reshape(len(clips), 280, -1), y
    with np.load(tmp_path / "x.npz") as file:
        assert sorted(file.files) == sorted(arrays)
        for name, expected in arrays.items():
            assert file[name].dtype == expected.dtype
            np.testing.assert_array_equal(file[name], expected)


def full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_names_the_file_and_what_to_do(tmp_path, monkeypatch):
    def writes(folder: Path) -> None:
        write_json(folder / "plan.json", {"a": 1})

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(WriteError, match=r"plan\.json cannot be written: No space left.*free some space"):
        writes(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_by_a_user(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(WriteError, match="Permission denied; name a place"):
            write_json(tmp_path / "x.json", {})
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize("form", ["pyskl", "npz", "csv"])
def test_exports_to_a_place_that_is_none(ntu_shards, tmp_path, form):
    (tmp_path / "file").write_text("x")
    options = {"split": "xsub"} if form == "npz" else {}
    with pytest.raises(WriteError, match=r"file/x cannot be written: .*; name a place"):
        export_dataset(open_dataset(ntu_shards), tmp_path / "file" / "x", form, **options)


@pytest.mark.parametrize("ending", [".h5", ".parquet"])
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_features_on_a_full_disk(tmp_path, ending, monkeypatch):
    """/dev/full takes no byte, as a disk without space."""
    features = np.zeros((50_000, 8), np.float32)
    monkeypatch.setattr("amr_data.files.os.getpid", lambda: 7)
    (tmp_path / f".x{ending}.7.tmp").symlink_to("/dev/full")
    with pytest.raises(WriteError, match=r"No space left.*free some space"):
        write_features(
            tmp_path / f"x{ending}", features, ["a"] * 50_000, np.zeros(50_000, np.int64), {"a": 1}
        )
    assert not list(tmp_path.iterdir())


def test_a_write_error_comes_whole_out_of_a_worker():
    error = WriteError(Path("/x/y"), OSError(errno.EACCES, "Permission denied"))
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.reason) == (str(error), "Permission denied")


def test_a_folder_is_made_where_there_is_none(tmp_path):
    with whole_file(tmp_path / "a" / "b" / "x.txt") as temporary:
        temporary.write_text("x")
    assert (tmp_path / "a" / "b" / "x.txt").read_text() == "x"


def test_a_validation_part_is_a_part_like_the_others(ntu_raw, tmp_path):
    """One person trains, one validates, one is tested on, the fourth takes no part."""
    from amr_data.specs import load_spec

    spec = load_spec("ntu60")
    first = open_dataset(convert(ntu_raw, tmp_path / "a", "ntu60", workers=1).path)
    people = sorted(set(first.clips["subject"].tolist()))
    rule = {"by": "subject", "train": people[:1], "validation": people[1:2], "test": people[2:3]}
    out = convert(ntu_raw, tmp_path / "b", spec.changed(protocols={"own": rule}), workers=1).path
    dataset = open_dataset(out)
    for part, who in (("train", people[0]), ("validation", people[1]), ("test", people[2])):
        there = dataset.split("own", part)
        assert len(there)
        assert set(dataset.clips["subject"][there].tolist()) == {who}
    sides = dataset.membership("own")
    assert sides.dtype == np.int8
    assert Counter(sides.tolist()) == Counter(
        {people[0]: 0, people[1]: 2, people[2]: 1}.get(s, -1) for s in dataset.clips["subject"].tolist()
    )
    assert verify(out) == []
    with pytest.raises(UsageError, match="known: train, test, validation"):
        dataset.split("own", "val")
    export_dataset(dataset, tmp_path / "x.pkl", "pyskl")
    split = load_plain(tmp_path / "x.pkl")["split"]
    assert {k: len(v) for k, v in split.items()} == {
        "own_train": len(dataset.split("own", "train")),
        "own_val": len(dataset.split("own", "validation")),
        "own_test": len(dataset.split("own", "test")),
    }
    export_dataset(dataset, tmp_path / "x.npz", "npz")
    with np.load(tmp_path / "x.npz") as file:
        assert len(file["x_val"]) == len(split["own_val"])
        assert len(file["x_test"]) == len(split["own_test"])
