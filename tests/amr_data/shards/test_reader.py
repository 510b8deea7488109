"""A dataset of a handful of clips, read in every way, against the arrays that it was made of."""

from __future__ import annotations

import hashlib
import json
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from amr_data import convert, open_dataset, plan
from amr_data.clip import Clip
from amr_data.errors import AmrError, UsageError
from amr_data.files import sha256_of
from amr_data.recipes.motion import WINDOWS
from amr_data.shards import reader
from amr_data.shards.model import DamageError
from amr_data.shards.opening import Shard
from amr_data.shards.reader import PARTS, ShardDataset, SplitArrays
from tests.amr_data.shards.test_tables import TWO

SIZES = {"a": (2, 6), "bé": (1, 5), "c": (1, 9), "d": (2, 4), "e": (1, 3)}
"""Bodies and frames of each clip: shards of a; of bé and c; of d and e."""
LABELS = {"a": 1, "bé": -1, "c": 0, "d": 1, "e": 59}


def keypoints() -> dict[str, np.ndarray]:
    """(M, T, 2, 3) by clip; the second body of a is away in frames 2 and 3."""
    rng = np.random.default_rng(0)
    made = {n: rng.normal(0, 1, (m, t, 2, 3)).astype(np.float32) for n, (m, t) in SIZES.items()}
    made["a"][1, 2:4] = 0
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Only read by the tests."""
    annotations = [
        {"frame_dir": name, "label": LABELS[name], "keypoint": joints} for name, joints in keypoints().items()
    ]
    split = {"own_train": ["a", "c"], "own_test": ["bé", "e"], "own_val": ["d"]}
    at = tmp_path_factory.mktemp("reader")
    (at / "x.pkl").write_bytes(pickle.dumps({"annotations": annotations, "split": split}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "MIN_SHARD_BYTES", 250)  # a frame of a body has 24
        convert(at / "x.pkl", at / "out", TWO, recipe="none", workers=1)
    return at / "out"


@pytest.fixture
def change(folder: Path, tmp_path: Path) -> Callable[[Callable[[dict[str, Any]], object]], ShardDataset]:
    """Change the manifest of a copy and open it."""

    def changed(how: Callable[[dict[str, Any]], object]) -> ShardDataset:
        copy = shutil.copytree(folder, tmp_path / "copy", dirs_exist_ok=True)
        manifest = json.loads((copy / "manifest.json").read_text(encoding="utf-8"))
        how(manifest)
        (copy / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
        return open_dataset(copy)

    return changed


def told(clip: Clip) -> list[tuple[int, str, list[int], list]]:
    return [(t.slot, t.body_id, t.frames.tolist(), t.joints.tolist()) for t in clip.tracks]


def expected(name: str) -> list[tuple[int, str, list[int], list]]:
    joints = keypoints()[name]
    stretches = {"a": [(0, 0, 6), (1, 0, 2), (1, 4, 6)]}.get(
        name, [(slot, 0, SIZES[name][1]) for slot in range(SIZES[name][0])]
    )
    return [(s, str(s + 1), list(range(a, b)), joints[s, a:b].tolist()) for s, a, b in stretches]


def test_what_a_dataset_knows_of_itself(folder: Path):
    dataset = open_dataset(folder)
    assert isinstance(dataset, ShardDataset)
    assert (dataset.path, dataset.spec.name, dataset.windows) == (folder, "ntu60", (4, 8, 12))
    assert (len(dataset), dataset.names) == (5, list(SIZES))
    assert dataset.shard_of.tolist() == [0, 1, 1, 2, 2]
    assert dataset.shard_of.dtype == np.int64
    assert dataset.clips["label"].tolist() == list(LABELS.values())
    assert dataset.tracks["clip"].tolist() == [0, 0, 0, 1, 2, 3, 3, 4]
    assert dataset.tracks["first_row"].tolist() == [0, 6, 8, 0, 5, 0, 4, 8]
    assert repr(dataset) == f"ShardDataset({TWO.title}, 5 clips, {folder})"
    assert (dataset.title, dataset.synthetic, dataset.up) == (TWO.title, False, 1)
    assert str(open_dataset(str(folder)).path) == str(folder)


def test_the_fingerprint_is_made_of_the_checksums(folder: Path):
    checksums = [s["checksum"] for s in json.loads((folder / "manifest.json").read_text())["shards"]]
    assert len(set(checksums)) == 3
    assert open_dataset(folder).fingerprint == hashlib.sha256("".join(checksums).encode()).hexdigest()


def test_marks_of_invented_motion_and_of_turned_clips(change):
    dataset = change(lambda m: m["source"].update(synthetic=True))
    assert (dataset.synthetic, dataset.title) == (True, f"{TWO.title} · synthetic: invented motion")
    dataset = change(lambda m: (m["source"].pop("synthetic"), m["recipe"].update(rotate=True)))
    assert (dataset.synthetic, dataset.up) == (False, 2)
    dataset = change(lambda m: m["recipe"].pop("rotate"))
    assert dataset.up == 1


def test_a_clip_is_what_it_was_made_of(folder: Path):
    dataset = open_dataset(folder)
    for index, name in enumerate(SIZES):
        for asked in (index, index - 5, name):
            clip = dataset.clip(asked)
            assert (clip.name, clip.label, clip.frames) == (name, LABELS[name], SIZES[name][1])
            assert told(clip) == expected(name)
            assert all(t.joints.dtype == t.energy.dtype == np.float32 for t in clip.tracks)
        assert (clip.source, clip.scale, clip.start, clip.dropped) == (f"x.pkl:{index}", 1, 0, [])
        assert (clip.subject, clip.camera, clip.setup, clip.replication, clip.video) == (-1, -1, -1, -1, "")
    with pytest.raises(IndexError):
        dataset.clip(5)
    with pytest.raises(
        UsageError, match=re.escape(f"there is no clip 'f' in {folder}: known: a, bé, c, d, e")
    ):
        dataset.clip("f")
    assert dataset.index("d") == 3


def test_numbers_of_a_clip_come_back_each_in_its_place(tmp_path: Path):
    lines = "\n".join(" ".join(["1"] * 75 + ["0"] * 75) for _ in range(9))
    for where, text in (("skeleton", lines), ("label", "3,2,5,1\n4,4,20,1\n")):
        (tmp_path / "raw" / where).mkdir(parents=True)
        (tmp_path / "raw" / where / "A03N07-M.txt").write_text(text)
    convert(tmp_path / "raw", tmp_path / "out", "pku-mmd-2", recipe="none", workers=1)
    dataset = open_dataset(tmp_path / "out")
    one, two = dataset
    assert (one.label, two.label, one.start, two.start, one.video) == (2, 3, 2, 4, "A03N07-M")
    assert (one.setup, one.subject, one.camera, one.replication) == (3, 7, 2, -1)
    assert (one.dropped, len(two.dropped)) == ([], 1)
    assert dataset.values("video").tolist() == ["A03N07-M"] * 2


def test_energies_are_those_of_each_stretch(folder: Path):
    for clip in open_dataset(folder):
        for track in clip.tracks:
            assert track.energy is not None
            assert track.energy.shape == (len(track.frames), 2, len(WINDOWS))
            for scale, length in enumerate(WINDOWS):
                for t in range(len(track.frames)):
                    window = track.joints[t : t + length].astype(np.float64)
                    want = ((window - window.mean(axis=0)) ** 2).sum(axis=2).mean(axis=0)
                    np.testing.assert_allclose(track.energy[t, :, scale], want, rtol=1e-5, atol=1e-9)


def test_splits_go_by_their_rules_and_all_is_one_of_them(folder: Path, change):
    dataset = open_dataset(folder)
    assert dataset.membership("own").tolist() == [0, 1, 0, 2, 1]
    assert {p: dataset.split("own", p).tolist() for p in PARTS} == {
        "train": [0, 2],
        "test": [1, 4],
        "validation": [3],
    }
    assert dataset.membership("all").tolist() == [0] * 5
    assert dataset.membership("all").dtype == np.int8
    assert dataset.values("name").tolist() == dataset.values("video").tolist() == list(SIZES)
    assert dataset.values("label").tolist() == list(LABELS.values())
    says = r"there is no part 'tes': did you mean 'test'\? known: train, test, validation"
    with pytest.raises(UsageError, match=says):
        dataset.split("own", "tes")
    with pytest.raises(UsageError, match="there is no split 'xsub'"):
        dataset.split("xsub", "test")
    rule = {"by": "name", "train": ["e"], "test": ["a"]}
    assert change(lambda m: m["spec"].update(protocols={"all": rule})).membership("all").tolist() == [
        1, -1, -1, -1, 0,
    ]  # fmt: skip


@pytest.mark.parametrize("rows", [1, 8, 9, 13, 14, 1 << 14])
def test_clips_come_in_the_order_asked_for_whatever_is_read_at_once(folder: Path, monkeypatch, rows):
    monkeypatch.setattr(reader, "PIECE_ROWS", rows)
    dataset = open_dataset(folder)
    names = list(SIZES)
    for order in ([0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 1, 1, 2], [3, 4, 3, 4], [4], [], [2, 0, 2]):
        found = list(dataset.stream(np.array(order)))
        assert [(c.name, c.label, c.source) for c in found] == [
            (names[i], LABELS[names[i]], f"x.pkl:{i}") for i in order
        ]
        assert [told(c) for c in found] == [expected(names[i]) for i in order]
    assert [told(c) for c in dataset] == [expected(n) for n in names]


@pytest.mark.parametrize(
    ("rows", "order", "pieces"),
    [
        (14, [1, 2], [(0, 14)]),
        (13, [1, 2], [(0, 5), (5, 14)]),
        (1, [1, 2], [(0, 5), (5, 14)]),
        (14, [2, 1], [(5, 14), (0, 5)]),
        (14, [2, 2], [(5, 14), (5, 14)]),
        (14, [0, 1, 2, 3, 4], [(0, 10), (0, 14), (0, 11)]),
    ],
)
def test_clips_that_follow_each_other_are_read_together_up_to_a_size(
    folder: Path, monkeypatch, rows, order, pieces
):
    monkeypatch.setattr(reader, "PIECE_ROWS", rows)
    read: list[tuple[int, int]] = []
    real = Shard.frames
    monkeypatch.setattr(Shard, "frames", lambda self, a, b: (read.append((a, b)), real(self, a, b))[1])
    list(open_dataset(folder).stream(order))
    assert read == pieces


@pytest.mark.parametrize(
    ("order", "pieces", "notes"),
    [
        ([1, 2], [(2, 9)], [(1, 3)]),  # seven rows, wherever they begin
        ([0, 2], [(0, 2), (5, 9)], [(0, 1), (2, 3)]),
        ([0, 1, 2], [(0, 5), (5, 9)], [(0, 2), (2, 3)]),
    ],
)
def test_a_piece_is_as_long_as_its_rows_and_has_the_notes_of_its_clips(
    tmp_path: Path, monkeypatch, order, pieces, notes
):
    made = [
        {"frame_dir": f"c{i}", "label": i, "keypoint": np.full((1, i + 2, 2, 3), i + 1, np.float32)}
        for i in range(3)
    ]
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"annotations": made}))
    convert(tmp_path / "x.pkl", tmp_path / "out", TWO, recipe="none", workers=1)
    monkeypatch.setattr(reader, "PIECE_ROWS", 7)
    read: dict[str, list[tuple[int, int]]] = {"frames": [], "notes": []}
    for method, calls in read.items():
        real = getattr(Shard, method)
        monkeypatch.setattr(
            Shard,
            method,
            lambda self, a, b, real=real, calls=calls: (calls.append((a, b)), real(self, a, b))[1],
        )
    found = list(open_dataset(tmp_path / "out").stream(order))
    assert [(c.label, c.source, c.tracks[0].joints.ravel().tolist()) for c in found] == [
        (i, f"x.pkl:{i}", [i + 1] * 6 * (i + 2)) for i in order
    ]
    assert read == {"frames": pieces, "notes": notes}


def slow_arrays(dataset: ShardDataset, clips: list[int]) -> dict[str, list]:
    """Sequences one by one, a body of a clip each."""
    out: dict[str, list] = {k: [] for k in SplitArrays.__annotations__}
    for number, index in enumerate(clips):
        clip = dataset.clip(index)
        out["labels"].append(clip.label)
        out["names"].append(clip.name)
        out["clip_frames"].append(clip.frames)
        for slot in sorted({t.slot for t in clip.tracks}):
            out["first_row"].append(len(out["frame"]))
            out["clip"].append(number)
            for track in [t for t in clip.tracks if t.slot == slot]:
                out["frame"] += track.frames.tolist()
                out["joints"] += track.joints.tolist()
                out["energy"] += track.energy.tolist()
            out["rows"].append(len(out["frame"]) - out["first_row"][-1])
    return out


@pytest.mark.parametrize("clips", [[0, 1, 2, 3, 4], [0], [2], [0, 2, 4], [1, 3], [3, 4], []])
def test_a_part_laid_end_to_end(folder: Path, clips):
    dataset = open_dataset(folder)
    found, wanted = vars(dataset.arrays(np.array(clips, np.int64))), slow_arrays(dataset, clips)
    assert {k: v if isinstance(v, list) else v.tolist() for k, v in found.items()} == wanted
    kinds = {k: v.dtype for k, v in found.items() if k != "names"}
    assert kinds == {k: np.float32 if k in ("joints", "energy") else np.int64 for k in kinds}
    assert (found["joints"].shape[1:], found["energy"].shape[1:]) == ((2, 3), (2, 3))
    if clips == [0]:
        assert found["frame"].tolist() == [0, 1, 2, 3, 4, 5, 0, 1, 4, 5]
        assert (found["first_row"].tolist(), found["rows"].tolist()) == ([0, 6], [6, 4])


def test_arrays_of_a_shard_read_only_what_lies_between_its_first_and_last_row(folder: Path, monkeypatch):
    read: list[tuple[int, int]] = []
    real = Shard.frames
    monkeypatch.setattr(
        Shard, "frames", lambda self, a, b, energy: (read.append((a, b)), real(self, a, b, energy))[1]
    )
    open_dataset(folder).arrays(np.array([2, 3]))
    assert read == [(5, 14), (0, 8)]


def test_a_shard_that_is_replaced_under_an_open_dataset_is_refused(folder: Path, tmp_path: Path):
    """Its rows would be taken for clips that they are not."""
    there = shutil.copytree(folder, tmp_path / "data")
    dataset = ShardDataset(there)
    file = there / dataset.manifest["shards"][0]["file"]
    whole = file.read_bytes()
    before = dataset.clip(0).tracks[0].joints
    file.unlink()
    file.write_bytes(whole)  # as a repair does
    assert np.array_equal(dataset.clip(0).tracks[0].joints, before)
    with h5py.File(file, "r+") as other:
        record = json.loads(other["record"][()])
        other["record"][()] = json.dumps({**record, "checksum": "0" * 64})
    with pytest.raises(AmrError, match="was replaced while it was in use"):
        dataset.clip(0)
    file.write_bytes(whole)
    assert np.array_equal(dataset.clip(0).tracks[0].joints, before)


def test_frames_for_training_are_not_read_from_a_file_that_was_changed_within_the_rules(
    folder: Path, tmp_path: Path
):
    there = shutil.copytree(folder, tmp_path / "data")
    dataset, every = ShardDataset(there), np.arange(4)
    whole = dataset.arrays(every).joints
    file = there / dataset.manifest["shards"][0]["file"]
    with h5py.File(file, "r+") as other:
        other["frames/joints"][0, 0, 0] += 0.25
    changed = ShardDataset(there)
    for read in (lambda: changed.arrays(every), changed.check_unchanged):
        with pytest.raises(DamageError, match="was changed after its conversion") as raised:
            read()
        assert (raised.value.file, raised.value.kind) == (file.name, "changed_file")
    # it can still be looked at
    assert changed.clip(0).tracks[0].joints[0, 0, 0] != whole[0, 0, 0]
    assert changed.arrays(every, check=False).joints[0, 0, 0] != whole[0, 0, 0]

    shutil.copyfile(folder / file.name, file)
    assert np.array_equal(ShardDataset(there).arrays(every).joints, whole)


def test_a_file_that_changes_after_it_was_compared_is_compared_again(folder: Path, tmp_path: Path):
    there = shutil.copytree(folder, tmp_path / "data")
    dataset = ShardDataset(there)
    dataset.check_unchanged()
    file = there / dataset.manifest["shards"][0]["file"]
    with h5py.File(file, "r+") as other:
        other["frames/joints"][0, 0, 0] += 0.25
    with pytest.raises(DamageError, match="was changed after its conversion"):
        dataset.arrays(np.arange(4))
    (there / "manifest.json").unlink()
    with pytest.raises(DamageError, match="was changed after its conversion"):
        dataset.check_unchanged()
    file.unlink()
    with pytest.raises(DamageError, match="the file is not there"):
        dataset.check_unchanged()


def test_a_shard_that_was_written_anew_with_the_same_content_is_read_on(folder: Path, tmp_path: Path):
    """As a repair by another release of HDF5 does."""
    there = shutil.copytree(folder, tmp_path / "data")
    dataset = ShardDataset(there)
    whole = ShardDataset(folder).arrays(np.arange(4)).joints
    entry = dataset.manifest["shards"][0]
    with (there / entry["file"]).open("ab") as file:
        file.write(b"\0" * 8)
    manifest = json.loads((there / "manifest.json").read_text())
    manifest["shards"][0]["sha256"] = sha256_of(there / entry["file"])
    (there / "manifest.json").write_text(json.dumps(manifest))
    assert np.array_equal(dataset.arrays(np.arange(4)).joints, whole)


def test_what_is_no_dataset(tmp_path: Path):
    says = "is not a converted dataset: no manifest.json in it; "
    make, again = "make one with `amr-data convert`", "an unfinished conversion: run the same convert command"
    (tmp_path / "empty").mkdir()
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "shard-00000.h5").write_text("")
    for name, hint in (("gone", make), ("empty", make), ("begun", again)):
        with pytest.raises(UsageError, match=re.escape(f"{tmp_path / name} {says}{hint}")):
            open_dataset(tmp_path / name)


@pytest.mark.parametrize("field", ["clips", "frames"])
def test_a_shard_that_holds_other_numbers_than_the_manifest_says(tmp_path: Path, change, field):
    sizes = {"clips": 2, "frames": 14}

    def more(manifest: dict[str, Any]) -> None:
        manifest["shards"][1][field] += 1

    with pytest.raises(DamageError) as error:
        change(more)
    counts = tuple((sizes | {field: sizes[field] + 1}).values())
    says = f"(2, 14) clips and frames, the manifest says {counts}"
    assert str(error.value).startswith(f"{tmp_path / 'copy' / 'shard-00001.h5'}: ")
    assert says in str(error.value)
    assert error.value.kind == "structure"


def test_what_a_clip_was_divided_by_comes_back(tmp_path: Path):
    lengths = (2.0, 1.0, 0.25)
    made = []
    for name, length in zip("abc", lengths, strict=True):
        keypoint = np.zeros((1, 3, 2, 3), np.float32)
        keypoint[0, :, 1, 1] = length  # the spine of two joints
        made.append({"frame_dir": name, "label": 0, "keypoint": keypoint})
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"annotations": made}))
    convert(tmp_path / "x.pkl", tmp_path / "out", TWO, recipe="none", scale=True, workers=1)
    for clip, length in zip(open_dataset(tmp_path / "out"), lengths, strict=True):
        assert clip.scale == length
        assert clip.tracks[0].joints[0, 1].tolist() == [0, 1, 0]


def test_a_dataset_without_a_shard(tmp_path: Path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "x.json").write_text("{}")
    convert(tmp_path / "raw", tmp_path / "out", "nw-ucla", workers=1)
    dataset = open_dataset(tmp_path / "out")
    assert dataset.manifest["shards"] == []
    assert (len(dataset), len(dataset.tracks), list(dataset), dataset.shard_of.tolist()) == (0, 0, [], [])
    assert set(dataset.clips.dtype.names) >= {"name", "label", "frames"}


def test_a_dataset_without_a_clip(tmp_path: Path):
    nobody = {"frame_dir": "a", "label": 1, "keypoint": np.zeros((1, 4, 2, 3), np.float32)}
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"annotations": [nobody]}))
    convert(tmp_path / "x.pkl", tmp_path / "out", TWO, workers=1)
    dataset = open_dataset(tmp_path / "out")
    assert (len(dataset), list(dataset), dataset.names, len(dataset.tracks)) == (0, [], [], 0)
    found = dataset.arrays(np.zeros(0, np.int64))
    assert (found.joints.shape, found.names, dataset.membership("all").tolist()) == ((0, 2, 3), [], [])


def test_room_for_energies_is_made_where_they_are_asked_for(folder):
    dataset, clips = open_dataset(folder), np.arange(2)
    rows = len(dataset.arrays(clips).joints)
    assert dataset.frame_shapes(clips) == ((rows, 2, 3), (rows, 2, 3))
    assert dataset.frame_shapes(clips, False) == ((rows, 2, 3), (rows, 2, 0))
    assert dataset.arrays(clips).energy.shape == (rows, 2, 3)
    assert dataset.arrays(clips, energy=False).energy.shape == (rows, 2, 0)
