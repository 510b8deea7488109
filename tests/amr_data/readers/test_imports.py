"""Pickles and .npz files of other projects: labels, splits, two dimensions, and what they cost in memory."""

from __future__ import annotations

import io
import json
import os
import pickle
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from amr_data import AmrError, UsageError, convert, open_dataset
from amr_data.readers import unpacking
from amr_data.readers.imported_clips import imported_clip
from amr_data.readers.npz_arrays import load_npz
from amr_data.readers.split_lists import paired
from amr_data.shards.reader import read_rejects
from amr_data.specs import NO_LABEL, DatasetSpec, load_spec

NTU = load_spec("ntu60")
BODY = np.random.default_rng(0).normal(0, 1, (1, 6, 25, 3)).astype(np.float32)


def pickled(path: Path, annotations: list[dict], split: object = None, **more: object) -> Path:
    content = {"annotations": annotations, **more}
    if split is not None:
        content["split"] = split
    path.write_bytes(pickle.dumps(content))
    return path


def converted(source: Path, out: Path, spec=NTU, **options) -> tuple[dict[str, int], dict[str, str]]:
    """Label by clip name, and reason by what was rejected."""
    convert(source, out, spec, workers=1, **options)
    dataset = open_dataset(out)
    labels = {n: int(dataset.clips["label"][i]) for i, n in enumerate(dataset.names)}
    return labels, {r.where: r.kind for r in read_rejects(out)}


def laughs() -> list:
    value: list = ["ha"]
    for _ in range(8):
        value = [value, value, value]
    return value


LABELS = [
    (3, 3),
    (3.0, 3),
    (np.float32(3), 3),
    (np.uint8(59), 59),
    (np.array(3), 3),
    (-1, NO_LABEL),
    (None, NO_LABEL),
    (0.7, "unknown_class"),
    (float("nan"), "unknown_class"),
    (float("inf"), "unknown_class"),
    (-2, "unknown_class"),
    (60, "unknown_class"),
    (10**30, "unknown_class"),
    (True, "unknown_class"),
    ("3", "unknown_class"),
    ([3], "unknown_class"),
    (np.array([3, 4]), "unknown_class"),
    (laughs(), "unknown_class"),
]


def test_a_label_is_a_whole_number_of_a_class_or_none(tmp_path):
    annotations = [
        {"frame_dir": f"{i:02d}", "keypoint": BODY, "label": label} for i, (label, _) in enumerate(LABELS)
    ]
    annotations.append({"frame_dir": "absent", "keypoint": BODY})
    source = pickled(tmp_path / "x.pkl", annotations)
    labels, rejects = converted(source, tmp_path / "out")
    expected = {f"{i:02d}": want for i, (_, want) in enumerate(LABELS)}
    assert labels == {n: w for n, w in expected.items() if isinstance(w, int)} | {"absent": NO_LABEL}
    assert sorted(rejects.values()) == sorted(w for w in expected.values() if isinstance(w, str))
    details = [r.detail for r in read_rejects(tmp_path / "out")]
    assert max(map(len, details)) < 100


def npz(path: Path, save=np.savez, **arrays: np.ndarray) -> Path:
    save(path, **arrays)
    return path


X = np.random.default_rng(1).normal(0, 1, (6, 7, 150)).astype(np.float32)


def test_labels_of_npz_files_are_whole_numbers_or_one_hot_or_none(tmp_path):
    numbers = np.array([3.0, 0.7, np.nan, -1, 60, np.inf], np.float32)
    rows = np.eye(60, dtype=np.float32)[:6]
    rows[1, 5], rows[2], rows[3, 3], rows[4, 4], rows[5, 5] = 1, 0, 0.5, np.nan, -1
    for name, y, want in (
        ("numbers", numbers, {"train_000000": 3, "train_000003": NO_LABEL}),
        ("rows", rows, {"train_000000": 0, "train_000002": NO_LABEL}),
    ):
        labels, rejects = converted(npz(tmp_path / f"{name}.npz", x_train=X, y_train=y), tmp_path / name)
        assert labels == want
        assert set(rejects) == {f"{name}.npz:x_train[{i}]" for i in range(6)} - {
            f"{name}.npz:x_train[{int(n[-1])}]" for n in want
        }
    labels, rejects = converted(npz(tmp_path / "none.npz", x_test=X), tmp_path / "none")
    assert (set(labels.values()), len(labels), rejects) == ({NO_LABEL}, 6, {})


def test_unusable_clips_of_other_projects_files_are_left_out(tmp_path):
    spec = NTU.model_copy(update={"unusable": ["b", "train_000002"]})
    source = pickled(tmp_path / "x.pkl", [{"frame_dir": n, "keypoint": BODY, "label": 1} for n in "abc"])
    assert converted(source, tmp_path / "a", spec) == ({"a": 1, "c": 1}, {"x.pkl:1": "listed_unusable"})
    labels, rejects = converted(npz(tmp_path / "x.npz", x_train=X), tmp_path / "b", spec)
    assert ("train_000002" in labels, rejects) == (False, {"x.npz:x_train[2]": "listed_unusable"})


@pytest.mark.parametrize(
    ("lists", "rules"),
    [
        (["train", "val"], {"split": ("train", "val", None)}),
        (["train", "test"], {"split": ("train", "test", None)}),
        (["test", "train", "val"], {"split": ("train", "test", "val")}),
        (["xsub_train", "xsub_val"], {"xsub": ("xsub_train", "xsub_val", None)}),
        (["xsub_train", "xsub_test", "xsub_val"], {"xsub": ("xsub_train", "xsub_test", "xsub_val")}),
        (
            ["train1", "test1", "train2", "test2"],
            {"split1": ("train1", "test1", None), "split2": ("train2", "test2", None)},
        ),
        (["train_xview", "valid_xview"], {"xview": ("train_xview", "valid_xview", None)}),
        (["fold-1 Training", "fold-1 Testing"], {"fold-1": ("fold-1 Training", "fold-1 Testing", None)}),
        ([], {}),
    ],
)
def test_lists_are_paired_by_what_they_are_called(lists, rules):
    content = {name: [f"clip of {name}", f"another of {name}"] for name in lists}
    found = paired(content)
    assert list(found) == list(rules)
    for name, (train, test, validation) in rules.items():
        assert found[name].by == "name"
        assert found[name].train == content[train]
        assert found[name].test == content[test]
        assert found[name].validation == (content[validation] if validation else [])


@pytest.mark.parametrize(
    ("lists", "says"),
    [
        (["a", "b"], "list a "),
        (["xsub_train"], "xsub_train"),
        (["xsub_train", "xview_val"], r"xsub_train, xview_val"),
        (["test", "val"], "test, val"),
        (["train", "training", "val"], "train and training"),
        (["trainer", "val"], "list trainer"),
    ],
)
def test_lists_that_cannot_be_paired_are_named(tmp_path, lists, says):
    split = {name: [name] for name in lists}
    with pytest.raises(ValueError, match=says):
        paired(split)
    source = pickled(tmp_path / "x.pkl", [{"frame_dir": "a", "keypoint": BODY, "label": 1}], split)
    with pytest.raises(AmrError, match=rf"x\.pkl.*{says}"):
        convert(source, tmp_path / "out", NTU)


@pytest.mark.parametrize(
    "split", [5, {"train": 5}, {"train": [1], "val": [2]}, {3: ["a"]}, {"train": ["a"], "val": ["b", "a"]}]
)
def test_a_split_that_is_none_or_that_contradicts_itself_is_refused(tmp_path, split):
    source = pickled(tmp_path / "x.pkl", [{"frame_dir": "a", "keypoint": BODY, "label": 1}], split)
    with pytest.raises(AmrError, match="split"):
        convert(source, tmp_path / "out", NTU)


def test_three_lists_are_train_test_and_validation_of_a_dataset(tmp_path):
    split = {"train": ["a", "b"], "test": ["c"], "val": ["d"]}
    annotations = [{"frame_dir": n, "keypoint": BODY, "label": 1} for n in "abcde"]
    convert(pickled(tmp_path / "x.pkl", annotations, split), tmp_path / "out", NTU)
    dataset = open_dataset(tmp_path / "out")
    parts = {
        p: [dataset.names[i] for i in dataset.split("split", p)] for p in ("train", "test", "validation")
    }
    assert parts == {"train": ["a", "b"], "test": ["c"], "validation": ["d"]}
    convert(npz(tmp_path / "x.npz", x_train=X[:2], x_test=X[2:3], x_val=X[3:4]), tmp_path / "npz", NTU)
    dataset = open_dataset(tmp_path / "npz")
    assert [dataset.names[i] for i in dataset.split("split", "validation")] == ["val_000000"]


PLANAR = {
    "name": "planar",
    "title": "Three joints in pixels",
    "raw": "pyskl",
    "dimensions": 2,
    "skeleton": {
        "name": "three",
        "joints": ["low", "high", "side"],
        "bones": [["high", "low"], ["side", "high"]],
        "parts": {"torso": ["low", "high", "side"]},
        "centre": "low",
        "spine": ["low", "high"],
        "shoulders": ["side", "high"],
    },
    "frame_rate": 30,
    "max_bodies": 2,
    "classes": {1: "one", 2: "two"},
}


def test_two_dimensional_keypoints_are_counted_in_image_heights_from_the_centre(tmp_path):
    keypoint = np.zeros((2, 2, 3, 2), np.float16)
    keypoint[0, 0] = [[960, 540], [0, 0], [1920, 1080]]  # the centre, top left, bottom right
    keypoint[0, 1] = [[960, 0], [420, 540], [960, 270]]
    keypoint[1, 1] = [[10, 20], [30, 40], [50, 60]]  # absent in the first frame
    score = np.full((2, 2, 3), 0.9, np.float16)
    score[0, 1] = [0.1, 0.19, np.nan]
    annotation = {"frame_dir": "a", "label": 1, "keypoint": keypoint, "keypoint_score": score}
    annotation["img_shape"] = (1080, 1920)
    spec = DatasetSpec.model_validate(PLANAR)
    convert(pickled(tmp_path / "x.pkl", [annotation]), tmp_path / "out", spec)
    dataset = open_dataset(tmp_path / "out")
    first, second = dataset.clip("a").tracks
    wide = 960 / 1080
    expected = [
        [[0, 0, 0], [-wide, 0.5, 0], [wide, -0.5, 0]],
        [[0, 0.5, 0], [-0.5, 0, 0], [0, 0.25, 0]],
    ]
    np.testing.assert_allclose(first.joints, expected, atol=1e-6)
    assert second.frames.tolist() == [1]
    assert dataset.clips["inferred_share"][0] == np.float32(3 / 9)
    raw = imported_clip("a", 1, keypoint, "x", spec, score=score, img_shape=(1080, 1920))
    np.testing.assert_array_equal(raw.tracks[0].inferred, [[False] * 3, [True] * 3])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"img_shape": None}, "not_skeleton"),
        ({"img_shape": (0, 1920)}, "not_skeleton"),
        ({"img_shape": (1080, 10**9)}, "not_skeleton"),
        ({"img_shape": (1080.5, 1920)}, "not_skeleton"),
        ({"keypoint_score": np.ones((1, 2, 4), np.float32)}, "joint_count"),
        ({"keypoint_score": 5}, "joint_count"),
        ({"keypoint": np.ones((1, 2, 3, 3), np.float32)}, "dimensions"),
        ({"keypoint": np.ones((1, 2, 4, 2), np.float32)}, "joint_count"),
        ({"keypoint": np.ones((1, 2, 3, 4), np.float32)}, "joint_count"),
        ({"keypoint": np.zeros((1, 2, 3, 2), np.float32)}, "no_body"),
        ({"keypoint": np.zeros((10**9, 0, 3, 2), np.float32)}, "no_body"),
        ({"keypoint": np.full((1, 2, 3, 2), np.inf, np.float32)}, "non_finite"),
    ],
)
def test_two_dimensional_keypoints_that_do_not_fit_are_rejects(tmp_path, change, reason):
    sound = {"frame_dir": "a", "label": 1, "keypoint": np.ones((1, 2, 3, 2), np.float32)}
    sound |= {"img_shape": (1080, 1920), "keypoint_score": np.ones((1, 2, 3), np.float32)}
    source = pickled(tmp_path / "x.pkl", [sound | {"frame_dir": "b"}, sound | change])
    labels, rejects = converted(source, tmp_path / "out", DatasetSpec.model_validate(PLANAR))
    assert (labels, rejects) == ({"b": 1}, {"x.pkl:1": reason})


def test_both_kinds_of_dimensions_say_what_the_spec_lacks(tmp_path):
    flat = {"frame_dir": "a", "label": 1, "keypoint": BODY[..., :2], "img_shape": (1080, 1920)}
    assert converted(pickled(tmp_path / "x.pkl", [flat]), tmp_path / "out") == ({}, {"x.pkl:0": "dimensions"})
    (reject,) = read_rejects(tmp_path / "out")
    assert "dimensions: 2" in reject.detail


def test_the_clean_up_may_be_asked_for_in_a_spec_of_imported_files(tmp_path):
    spec = NTU.model_copy(update={"raw": "pyskl"})
    far = np.concatenate([BODY] * 3, axis=1) + 5
    source = pickled(tmp_path / "x.pkl", [{"frame_dir": "a", "label": 1, "keypoint": far}])
    convert(source, tmp_path / "out", spec, recipe="amr")
    clip = open_dataset(tmp_path / "out").clip("a")
    np.testing.assert_array_equal(clip.tracks[0].joints[0, spec.skeleton.index(spec.skeleton.centre)], 0)


def test_a_third_coordinate_of_zeros_is_two_dimensions_already_normalised(tmp_path):
    keypoint = np.array([[[[0.5, -0.25, 0], [0, 0.1, 0], [0.3, 0, 0]]]], np.float32)
    source = pickled(tmp_path / "x.pkl", [{"frame_dir": "a", "label": 1, "keypoint": keypoint}])
    convert(source, tmp_path / "out", DatasetSpec.model_validate(PLANAR))
    np.testing.assert_array_equal(open_dataset(tmp_path / "out").clip("a").dense(), keypoint)


def checksums(path: Path) -> list[str]:
    return [s["checksum"] for s in json.loads((path / "manifest.json").read_text())["shards"]]


def test_several_processes_give_the_same(tmp_path):
    rng = np.random.default_rng(2)
    big = rng.normal(0, 1, (2, 400, 25, 3)).astype(np.float32)
    annotations = [{"frame_dir": f"{i:04d}", "keypoint": big + i % 3, "label": i % 60} for i in range(60)]
    x = rng.normal(0, 1, (60, 300, 150)).astype(np.float32)
    for source in (
        pickled(tmp_path / "x.pkl", annotations),
        npz(tmp_path / "x.npz", x_train=x, y_train=np.eye(60, dtype=np.float32)),
    ):
        one, two = tmp_path / f"{source.suffix}1", tmp_path / f"{source.suffix}2"
        convert(source, one, NTU, workers=1)
        convert(source, two, NTU, workers=2)
        assert len(checksums(one)) > 1
        assert checksums(one) == checksums(two)


def test_stored_arrays_are_mapped_wherever_they_lie_in_the_archive(tmp_path):
    x = np.random.default_rng(3).normal(0, 1, (40, 300, 150)).astype(np.float32)  # 7 MB
    y = np.arange(40)
    for number, prefix in enumerate(("", "x", "xyz")):  # members at odd places
        path = tmp_path / f"{number}.npz"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("comment", prefix)
            for name, array in (("x_train", np.asfortranarray(x) if number else x), ("y_train", y)):
                buffer = io.BytesIO()
                np.save(buffer, array)
                archive.writestr(f"{name}.npy", buffer.getvalue())
        tracemalloc.start()
        try:
            content = load_npz(path)
            assert tracemalloc.get_traced_memory()[1] < 3 << 20  # blocks for the checksum, not 7 MB
        finally:
            tracemalloc.stop()
        np.testing.assert_array_equal(content["x_train"], x)
        np.testing.assert_array_equal(content["y_train"], y)


def test_compressed_arrays_give_the_same_and_large_ones_are_unpacked_beside_the_dataset(
    tmp_path, monkeypatch
):
    arrays = {"x_train": X, "y_train": np.arange(6)}
    (tmp_path / "a").mkdir()
    stored = npz(tmp_path / "x.npz", **arrays)
    packed = npz(tmp_path / "a" / "x.npz", np.savez_compressed, **arrays)
    convert(stored, tmp_path / "stored", NTU)
    convert(packed, tmp_path / "packed", NTU)
    monkeypatch.setattr(unpacking, "MAX_MEMBER_BYTES", 1000)
    seen = []
    store = unpacking._store
    monkeypatch.setattr(unpacking, "_store", lambda *a: (store(*a), seen.append(load_npz(a[1]))))
    convert(packed, tmp_path / "unpacked", NTU)
    assert (
        checksums(tmp_path / "stored") == checksums(tmp_path / "packed") == checksums(tmp_path / "unpacked")
    )
    assert len(seen) == 1
    assert not list(tmp_path.glob(".amr-unpacked-*"))
    assert convert(packed, tmp_path / "unpacked", NTU).kept_shards == 1


def npy(array: np.ndarray, shape: tuple[int, ...] | None = None) -> bytes:
    buffer = io.BytesIO()
    header = np.lib.format.header_data_from_array_1_0(array)
    np.lib.format.write_array_header_1_0(buffer, header | ({"shape": shape} if shape else {}))
    return buffer.getvalue() + array.tobytes()


@pytest.mark.parametrize(
    "x",
    [
        npy(np.zeros((0, 5, 150), np.float32), (10**9, 0, 150)),
        npy(np.zeros((0, 5, 150), np.float32), (10**9, 5, 150)),
        npy(np.zeros((6, 5, 150), np.float32), (-6, -5, 150)),
        npy(np.zeros((6, 5, 150), np.float32))[:-1],
        npy(np.zeros((6, 5, 150), np.int32)),
        npy(np.zeros((6, 5, 150), "S4")),
        npy(np.zeros((6, 5, 76), np.float32)),
        npy(np.zeros((6, 750), np.float32)),
        npy(np.zeros((5, 5, 150), np.float32)),
        b"no array",
        b"",
    ],
)
def test_arrays_whose_headers_lie_are_failed_work(tmp_path, x):
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("x_train.npy", x)
        archive.writestr("y_train.npy", npy(np.zeros(6, np.int64)))
    with pytest.raises(AmrError, match=r"x\.npz"):
        convert(tmp_path / "x.npz", tmp_path / "out", NTU)


def test_a_flipped_bit_and_a_name_given_twice_are_failed_work(tmp_path):
    data = bytearray(npz(tmp_path / "x.npz", x_train=X, y_train=np.arange(6)).read_bytes())
    data[5000] ^= 1
    (tmp_path / "flipped.npz").write_bytes(data)
    with zipfile.ZipFile(tmp_path / "twice.npz", "w") as archive:
        archive.writestr("x_train.npy", npy(X))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("x_train.npy", npy(X[:2]))
    for name, says in (("flipped", "CRC"), ("twice", "2 times")):
        with pytest.raises(AmrError, match=says):
            convert(tmp_path / f"{name}.npz", tmp_path / "out", NTU)


@pytest.mark.parametrize("kind", ["pkl", "npz"])
def test_a_copy_of_another_projects_file_goes_on_and_a_changed_one_does_not(tmp_path, kind):
    def write(label: int, shift: float) -> Path:
        path = tmp_path / f"a.{kind}"
        if kind == "npz":
            np.savez(path, x_train=np.tile(BODY[0].reshape(6, 75) + shift, (2, 1, 1)), y_train=[3, label])
        else:
            two = ((f"S001C001P00{i}R001A001", y) for i, y in ((1, 3), (2, label)))
            pickled(path, [{"frame_dir": n, "label": y, "keypoint": BODY + shift} for n, y in two])
        os.utime(path, ns=(next(times), next(times)))
        return path

    times = iter(range(10**18, 10**19, 10**12))
    out = tmp_path / "out"
    convert(write(4, 0), out, NTU, workers=1)
    assert convert(write(4, 0), out, NTU, workers=1).kept_shards == 1
    for changed in ((5, 0), (4, 1)):
        with pytest.raises(UsageError, match="may have changed"):
            convert(write(*changed), out, NTU, workers=1)


def test_splits_of_a_pickle_that_no_spec_may_have_are_refused_in_words(tmp_path):
    annotations = [{"frame_dir": "a", "label": 0, "keypoint": BODY}]
    file = pickled(tmp_path / "a.pkl", annotations, {f"{'x' * 600}_{p}": [p] for p in ("train", "val")})
    with pytest.raises(UsageError, match=r"a\.pkl: protocols\.xxx"):
        convert(file, tmp_path / "out", NTU, workers=1)
