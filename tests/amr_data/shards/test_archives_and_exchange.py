"""Archives straight from the download, other projects' files in and out, a Dask cluster, composed recipes."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import shutil
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amr_data import AmrError, Clip, UsageError, convert, open_dataset
from amr_data.clip import BodyTrack
from amr_data.readers.ntu import NtuFamily
from amr_data.readers.safe_pickle import UnsafePickle, load_plain
from amr_data.recipes.normalize import Recipe, apply_recipe
from amr_data.shards.exchange import export_dataset
from amr_data.shards.reader import read_rejects
from amr_data.shards.verification import verify
from amr_data.specs import load_spec


def content(path: Path) -> list[str]:
    return [s["checksum"] for s in json.loads((path / "manifest.json").read_text())["shards"]]


def clips_of(path: Path) -> dict[str, np.ndarray]:
    dataset = open_dataset(path)
    return {dataset.names[i]: dataset.clip(i).dense(2) for i in range(len(dataset))}


def assert_same_clips(a: Path, b: Path) -> None:
    first, second = clips_of(a), clips_of(b)
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


@pytest.mark.parametrize("workers", [1, 2])
def test_two_zips_give_what_the_folder_gives(ntu_raw, ntu_shards, tmp_path, workers):
    files = sorted(ntu_raw.glob("*.skeleton"))
    for name, part in (("s001.zip", files[::2]), ("s018.zip", files[1::2])):
        with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in part:
                archive.write(path, f"nturgb+d_skeletons/{path.name}")
    report = convert(
        [tmp_path / "s001.zip", tmp_path / "s018.zip"], tmp_path / "out", "ntu60", workers=workers
    )
    assert report.as_dict()["sources"] == len(files)
    assert_same_clips(tmp_path / "out", ntu_shards)


def test_unsafe_zip_members_are_rejected_and_the_rest_converts(ntu_file, tmp_path):
    good = ntu_file([[("1", np.arange(75).reshape(25, 3) / 40)]] * 3)
    link = zipfile.ZipInfo("S001C001P001R001A003.skeleton")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("S001C001P001R001A001.skeleton", good)
        archive.writestr("../../S001C001P001R001A002.skeleton", good)
        archive.writestr(link, "/etc/passwd")
        archive.writestr("S001C001P001R001A004.skeleton", b"0" * (40 << 20))
    convert(tmp_path / "x.zip", tmp_path / "out", "ntu60", workers=1)
    rejects = {r.where[-13:-9]: (r.kind, r.detail) for r in read_rejects(tmp_path / "out")}
    assert {k: v[0] for k, v in rejects.items()} == {
        "A002": "unsafe_name",
        "A003": "unsafe_name",
        "A004": "unsafe_name",
    }
    assert "zip bomb" in rejects["A004"][1]
    assert open_dataset(tmp_path / "out").names == ["S001C001P001R001A001"]


def test_7z_archives_of_pku_are_unpacked_read_and_gone(tmp_path):
    py7zr = pytest.importorskip("py7zr")
    frames = "\n".join(" ".join(f"{(t + j) / 100:.6f}" for j in range(150)) for t in range(20))
    for name, inner, text in (
        ("Skeleton", "PKU/0002-L.txt", frames),
        ("Label_PKUMMD", "Train_Label_PKU_final/0002-L.txt", "3,2,12,2\n"),
    ):
        with py7zr.SevenZipFile(tmp_path / f"{name}.7z", "w") as archive:
            archive.writestr(text, inner)
    sources = [tmp_path / "Skeleton.7z", tmp_path / "Label_PKUMMD.7z"]
    convert(sources, tmp_path / "out", "pku-mmd-1", workers=2)
    dataset = open_dataset(tmp_path / "out")
    assert dataset.names == ["0002-L_001"]
    assert dataset.manifest["source"]["paths"] == ["Skeleton.7z", "Label_PKUMMD.7z"]
    assert dataset.clip(0).source == "Label_PKUMMD.7z/Train_Label_PKU_final/0002-L.txt:1"
    assert not list(tmp_path.glob(".amr-unpacked-*"))
    assert convert(sources, tmp_path / "out", "pku-mmd-1").kept_shards == 1


def test_7z_archives_that_are_unsafe_or_broken_are_refused(tmp_path):
    py7zr = pytest.importorskip("py7zr")
    (tmp_path / "target").write_text("x")
    os.symlink(tmp_path / "target", tmp_path / "link.txt")
    with py7zr.SevenZipFile(tmp_path / "link.7z", "w") as archive:
        archive.write(tmp_path / "link.txt", "0002-L.txt")
    with py7zr.SevenZipFile(tmp_path / "bomb.7z", "w") as archive:
        archive.writestr("0" * (40 << 20), "0002-L.txt")
    (tmp_path / "broken.7z").write_bytes((tmp_path / "bomb.7z").read_bytes()[:200])
    for name, says in (("link", "link"), ("bomb", "refused"), ("broken", "cannot be unpacked")):
        with pytest.raises(AmrError, match=says):
            convert(tmp_path / f"{name}.7z", tmp_path / "out", "pku-mmd-1")
    assert not list(tmp_path.glob(".amr-unpacked-*"))


def test_pyskl_round_trip_is_exact(ntu_shards, tmp_path):
    dataset = open_dataset(ntu_shards)
    assert export_dataset(dataset, tmp_path / "ntu60_3danno.pkl", "pyskl") == len(dataset)
    with open(tmp_path / "ntu60_3danno.pkl", "rb") as file:
        plain = pickle.load(file)  # as PYSKL itself loads it
    assert set(plain["split"]) == {"xsub_train", "xsub_val", "xview_train", "xview_val"}
    annotation = plain["annotations"][0]
    assert annotation["keypoint"].shape == (dataset.clips["bodies"][0], annotation["total_frames"], 25, 3)
    convert(tmp_path / "ntu60_3danno.pkl", tmp_path / "back", "ntu60")
    back = open_dataset(tmp_path / "back")
    assert_same_clips(tmp_path / "back", ntu_shards)
    assert back.manifest["recipe"]["name"] == "none"
    for protocol in ("xsub", "xview"):
        for part in ("train", "test"):
            names = {dataset.names[i] for i in dataset.split(protocol, part)}
            assert {back.names[i] for i in back.split(protocol, part)} == names
    assert [back.clips["subject"][i] for i in range(3)] == [dataset.clips["subject"][i] for i in range(3)]
    export_dataset(back, tmp_path / "again.pkl", "pyskl")
    again = load_plain(tmp_path / "again.pkl")
    by_name = {a["frame_dir"]: a for a in again["annotations"]}
    for a in plain["annotations"]:
        np.testing.assert_array_equal(by_name[a["frame_dir"]]["keypoint"], a["keypoint"])


def test_half_precision_pickles_come_through(tmp_path):
    keypoint = np.random.default_rng(0).normal(0, 1, (1, 9, 25, 3)).astype(np.float16)
    file = {"split": {"xsub_train": ["a"], "xsub_val": ["b"]}, "annotations": []}
    file["annotations"] = [
        {"frame_dir": "a", "label": 3, "keypoint": keypoint, "total_frames": 9},
        {"frame_dir": "b", "label": np.int64(4), "keypoint": keypoint, "total_frames": 9},
        {"frame_dir": "c", "label": 60, "keypoint": keypoint, "total_frames": 9},
        {"frame_dir": "d", "label": 1, "keypoint": keypoint * np.nan, "total_frames": 9},
        {"frame_dir": "e", "label": 1, "keypoint": keypoint[..., :2], "total_frames": 9},
        {"frame_dir": "f", "label": 1, "keypoint": None},
        {"frame_dir": "a", "label": 1, "keypoint": keypoint},
        5,
    ]
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(file))
    convert(tmp_path / "x.pkl", tmp_path / "out", "ntu60")
    np.testing.assert_array_equal(
        open_dataset(tmp_path / "out").clip("a").dense(), keypoint.astype(np.float32)
    )
    reasons = sorted(r.kind for r in read_rejects(tmp_path / "out"))
    assert reasons == ["dimensions", "duplicate", "name", "non_finite", "not_skeleton", "unknown_class"]


class Evil:
    def __reduce__(self):
        return (os.system, ("touch /tmp/amr-evil",))


@pytest.mark.parametrize(
    "content",
    [
        Evil(),
        {"split": {}, "annotations": [Evil()]},
        {"a": np.array([Evil()], dtype=object)},
        {"a": np.array([1, "x"], dtype=object)},
        {"a": Path("/x")},
    ],
)
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_pickles_that_hold_more_than_data_are_refused(content, protocol):
    with pytest.raises(UnsafePickle):
        load_plain(pickle.dumps(content, protocol=protocol))
    assert not Path("/tmp/amr-evil").exists()


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_plain_pickles_of_every_protocol_load(protocol):
    value = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3),
        "b": [np.float64(2.5), np.int64(3)],
        "c": (1, "x", b"\xff", None, {2}),
    }
    back = load_plain(pickle.dumps(value, protocol=protocol))
    np.testing.assert_array_equal(back["a"], value["a"])
    assert (back["b"], back["c"]) == (value["b"], value["c"])


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 400), st.integers(0, 255))
def test_damaged_pickles_never_do_harm(noise, place, byte):
    good = bytearray(
        pickle.dumps({"annotations": [{"keypoint": np.zeros((1, 2, 3, 3))}], "split": {}}, protocol=4)
    )
    good[place % len(good)] = byte
    for data in (bytes(good), noise):
        with contextlib.suppress(UnsafePickle):
            load_plain(data)


def test_npz_round_trip_is_exact(ntu_shards, tmp_path):
    dataset = open_dataset(ntu_shards)
    export_dataset(dataset, tmp_path / "NTU60_CS.npz", "npz", split="xsub")
    with np.load(tmp_path / "NTU60_CS.npz") as file:
        arrays = {k: file[k] for k in file.files}
    train = dataset.split("xsub", "train")
    assert arrays["x_train"].shape == (len(train), 300, 150)
    assert arrays["y_test"].shape == (len(dataset.split("xsub", "test")), 60)
    assert (arrays["y_train"].argmax(1) == dataset.clips["label"][train]).all()
    convert(tmp_path / "NTU60_CS.npz", tmp_path / "back", "ntu60")
    back = open_dataset(tmp_path / "back")
    for row in range(len(train)):
        clip = back.clip(f"train_{row:06d}")
        ours = clip.dense(2).transpose(1, 0, 2, 3).reshape(clip.frames, 150)
        np.testing.assert_array_equal(ours, arrays["x_train"][row, : clip.frames])
        assert not arrays["x_train"][row, clip.frames :].any()
    export_dataset(back, tmp_path / "again.npz", "npz")
    with np.load(tmp_path / "again.npz") as file:
        for key, value in arrays.items():
            np.testing.assert_array_equal(file[key], value)


def test_single_bodies_are_copied_on_request(ntu_shards, tmp_path):
    dataset = open_dataset(ntu_shards)
    export_dataset(dataset, tmp_path / "x.npz", "npz", split="xsub", frames=260, copy_single_body=True)
    with np.load(tmp_path / "x.npz") as file:
        x = file["x_train"].reshape(-1, 260, 2, 25, 3)
    single = dataset.clips["bodies"][dataset.split("xsub", "train")] == 1
    assert (x[single, :, 0] == x[single, :, 1]).all()
    assert not (x[~single, :, 0] == x[~single, :, 1]).all()


def test_csv_holds_every_value(ntu_shards, tmp_path):
    from pyarrow import csv

    dataset = open_dataset(ntu_shards)
    export_dataset(dataset, tmp_path / "x.csv", "csv")
    table = csv.read_csv(tmp_path / "x.csv")
    assert table.num_rows == dataset.manifest["totals"]["frames"]
    assert table.column_names[:5] == ["clip", "label", "body", "frame", "base_of_spine_x"]
    clip = dataset.clip(0)
    rows = table.slice(0, len(clip.tracks[0].frames))
    values = np.stack([rows.column(c).to_numpy() for c in table.column_names[4:]], axis=1).astype(np.float32)
    np.testing.assert_array_equal(values.reshape(-1, 25, 3), clip.tracks[0].joints)


@pytest.mark.parametrize(
    ("form", "options", "says"),
    [
        ("pickle", {}, "known: pyskl, npz, csv"),
        ("npz", {}, "choose one"),
        ("npz", {"split": "xsub", "frames": 10}, "raise frames"),
        ("npz", {"split": "xset"}, "there is no split 'xset'"),
        ("npz", {"protocol": "xsub"}, r"protocol is now split: export_dataset\(..., split='xsub'\)"),
        ("csv", {"frames": 10}, "format npz"),
    ],
)
def test_wrong_exports(ntu_shards, tmp_path, form, options, says):
    with pytest.raises(UsageError, match=says):
        export_dataset(open_dataset(ntu_shards), tmp_path / "x", form, **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("form", ["pyskl", "npz", "csv"])
def test_what_was_changed_is_not_handed_on(ntu_shards, tmp_path, form):
    """What is written has no checksum of ours any more."""
    there = shutil.copytree(ntu_shards, tmp_path / "data")
    with h5py.File(there / "shard-00000.h5", "r+") as file:
        file["frames/joints"][0, 0, 0] += 0.25
    with pytest.raises(AmrError, match="was changed after its conversion"):
        export_dataset(open_dataset(there), tmp_path / "x", form, split="xsub" if form == "npz" else None)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04broken", b"\x80\x04N."])
@pytest.mark.parametrize("name", ["x.npz", "x.pkl"])
def test_broken_files_of_other_projects_are_failed_work(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(AmrError, match="x"):
        convert(tmp_path / name, tmp_path / "out", "ntu60")


def test_npz_with_objects_or_odd_shapes_is_refused(tmp_path):
    for number, arrays in enumerate(
        [
            {"x_train": np.array([Evil()], dtype=object), "y_train": np.zeros(1)},
            {"x_train": np.zeros((2, 5)), "y_train": np.zeros(2)},
            {"x_train": np.zeros((2, 5, 150)), "y_train": np.zeros(3)},
            {"z": np.zeros(3)},
        ]
    ):
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        (tmp_path / f"{number}.npz").write_bytes(buffer.getvalue())
        with pytest.raises(AmrError, match=f"{number}.npz"):
            convert(tmp_path / f"{number}.npz", tmp_path / "out", "ntu60")


@pytest.mark.parametrize("workers", [2, 4])
def test_any_number_of_workers_gives_the_same(ntu_raw, ntu_shards, tmp_path, workers):
    convert(ntu_raw, tmp_path / "out", "ntu60", workers=workers)
    assert content(tmp_path / "out") == content(ntu_shards)


def test_a_dask_cluster_gives_the_same(ntu_raw, ntu_shards, tmp_path):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, host="127.0.0.1"
    ) as cluster:
        convert(ntu_raw, tmp_path / "out", "ntu60", backend="dask", scheduler=cluster.scheduler_address)
    assert content(tmp_path / "out") == content(ntu_shards)
    assert verify(tmp_path / "out") == []


def test_a_scheduler_that_does_not_answer_is_named(ntu_raw, tmp_path):
    pytest.importorskip("distributed")
    with pytest.raises(AmrError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"):
        convert(ntu_raw, tmp_path / "out", "ntu60", backend="dask", scheduler="tcp://127.0.0.1:9")


NTU = load_spec("ntu60")


def leaning(seed: int) -> Clip:
    rng = np.random.default_rng(seed)
    joints, frames = rng.normal(0, 0.4, (14, 25, 3)) + np.array([1, 0.5, 3]), np.arange(14)
    joints[:, 3, 1], joints[:, 15, 1] = 6, -6  # high enough to be no ghost
    return Clip(
        "x",
        0,
        14,
        [BodyTrack(frames, joints, "1", 0), BodyTrack(frames, joints[::-1] + 1, "2", 1)],
        source="x",
    )


def spine(joints: np.ndarray) -> np.ndarray:
    return (
        joints[..., NTU.skeleton.index("spine_at_shoulders"), :]
        - joints[..., NTU.skeleton.index("base_of_spine"), :]
    )


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.booleans(), st.sampled_from(["none", "ctrgcn", "amr"]))
def test_rotation_and_scale_compose_with_any_recipe(seed, scale, name):
    raw = leaning(seed)
    plain = apply_recipe(raw, NTU, Recipe(name), NtuFamily())
    turned = apply_recipe(raw, NTU, Recipe(name, rotate=True, scale=scale), NtuFamily())
    first = turned.tracks[0].joints[0].astype(float)
    up = spine(first)
    np.testing.assert_allclose(up[:2], 0, atol=1e-5)
    assert up[2] > 0
    across = first[NTU.skeleton.index("left_shoulder")] - first[NTU.skeleton.index("right_shoulder")]
    assert abs(across[1]) < 1e-5
    assert across[0] > 0
    length = np.linalg.norm(spine(plain.tracks[0].joints.astype(float)), axis=-1).mean() if scale else 1.0
    for before, after in zip(plain.tracks, turned.tracks, strict=True):
        # a rotation keeps every distance, between the bodies too
        a = np.linalg.norm(before.joints[:, :, None] - plain.tracks[0].joints[:, None], axis=-1)
        b = np.linalg.norm(after.joints[:, :, None] - turned.tracks[0].joints[:, None], axis=-1)
        np.testing.assert_allclose(a, b * length, rtol=1e-3, atol=1e-4)


def test_a_rotation_never_mirrors():
    clip = leaning(3)
    turned = apply_recipe(clip, NTU, Recipe("none", rotate=True), NtuFamily())
    a, b = (c.tracks[0].joints[0, [3, 7, 12, 20]].astype(float) for c in (clip, turned))
    handed = [np.linalg.det(p[1:] - p[0]) for p in (a, b)]
    np.testing.assert_allclose(handed[0], handed[1], rtol=1e-3)


def test_clips_without_a_body_frame_are_rejects(ntu_file, tmp_path):
    (tmp_path / "raw").mkdir()
    flat = np.ones((25, 3))
    flat[22] = 2  # a hand, but neither spine nor shoulders
    (tmp_path / "raw" / "S001C001P001R001A001.skeleton").write_bytes(ntu_file([[("1", flat)]] * 3))
    for options in ({"rotate": True}, {"scale": True}):
        convert(
            tmp_path / "raw",
            tmp_path / "out",
            "ntu60",
            recipe=Recipe("amr", **options),
            workers=1,
            overwrite=True,
        )
        assert [r.kind for r in read_rejects(tmp_path / "out")] == ["no_body_frame"]


def test_the_manifest_keeps_the_recipe(ntu_raw, tmp_path):
    convert(ntu_raw, tmp_path / "out", "ntu60", recipe=Recipe("ctrgcn", rotate=True, scale=True), workers=2)
    recipe = open_dataset(tmp_path / "out").manifest["recipe"]
    assert recipe == {
        "name": "ctrgcn",
        "rotate": True,
        "scale": True,
        "centred": True,
        "unit": "spine lengths",
    }


def test_genuine_labels_over_synthetic_skeletons_account_for_every_row(genuine, tmp_path):
    """The real phase I labels; under them synthetic skeletons as long as each label file needs, for a third
    of the videos cut short."""
    labels = zipfile.ZipFile(genuine("pku-mmd/Label_PKUMMD.zip"))
    rng = np.random.default_rng(0)
    motion = rng.normal(0, 0.3, (64, 150)).round(2)
    lines = [" ".join(f"{v:g}" for v in row) for row in motion]
    rows = 0
    with zipfile.ZipFile(tmp_path / "skeleton.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for number, name in enumerate(sorted(n for n in labels.namelist() if n.endswith(".txt"))[::6]):
            found = [line.split(",") for line in labels.read(name).decode().split()]
            rows += len(found)
            frames = max(int(r[2]) for r in found) // (3 if number % 3 == 0 else 1)
            archive.writestr(name.split("/")[-1], "\n".join(lines[t % 64] for t in range(frames)))
    report = convert(
        [tmp_path / "skeleton.zip", genuine("pku-mmd/Label_PKUMMD.zip")],
        tmp_path / "out",
        "pku-mmd-1",
        recipe="ctrgcn",
    )
    totals = report.manifest["totals"]
    assert totals["clips"] + totals["rejects"] == 21_545
    reasons = report.manifest["rejects_by_reason"]
    assert set(reasons) == {"no_skeleton", "interval"}
    assert totals["clips"] + reasons["interval"] >= rows
    assert 0.7 * rows < totals["clips"] <= rows
    assert all(":" in r.where and r.detail for r in read_rejects(tmp_path / "out"))
