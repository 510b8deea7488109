"""The whole data side on small folders: round trip, rejects, the same result for any number of workers,
taking up a stopped run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from amr_data import AmrError, UsageError, convert, open_dataset
from amr_data.plan import cut_shards
from amr_data.readers import Member, Unit
from amr_data.recipes.motion import windowed_energy
from amr_data.shards.layout import content_checksum
from amr_data.shards.reader import read_rejects


def checksums(path: Path) -> list[str]:
    return [s["checksum"] for s in json.loads((path / "manifest.json").read_text())["shards"]]


def body(first: float) -> np.ndarray:
    """A body half as wide as it is high."""
    return (first + np.arange(75) / 8).reshape(25, 3) * (0.5, 1, 1)


@pytest.fixture
def raw(tmp_path: Path, ntu_file) -> Path:
    folder = tmp_path / "raw"
    folder.mkdir()
    good = ntu_file([[("72057594037931101", body(t / 4))] for t in range(6)])
    (folder / "S001C001P001R001A001.skeleton").write_bytes(good)
    (folder / "S001C002P003R001A058.skeleton").write_bytes(ntu_file([[("5", body(1)), ("6", body(2))]] * 15))
    for action, data in enumerate(
        (b"", b"\0" * 99, good[:500], good.replace(b"\r\n25\r\n", b"\r\n20\r\n")), 2
    ):
        (folder / f"S001C001P001R001A{action:03d}.skeleton").write_bytes(data)
    (folder / "S001C002P005R002A008.skeleton").write_bytes(good)  # on the list of unusable samples
    (folder / "notes.skeleton").write_bytes(good)
    return folder


def test_round_trip_accounts_for_every_file(raw, tmp_path):
    report = convert(raw, tmp_path / "out", "ntu60", workers=1)
    summary = report.as_dict()
    assert (summary["sources"], summary["clips"], summary["rejects"], summary["bodies"]) == (8, 2, 6, 3)
    assert {Path(r.where).name: r.kind for r in read_rejects(tmp_path / "out")} == {
        "S001C001P001R001A002.skeleton": "empty",
        "S001C001P001R001A003.skeleton": "not_skeleton",
        "S001C001P001R001A004.skeleton": "truncated",
        "S001C001P001R001A005.skeleton": "joint_count",
        "S001C002P005R002A008.skeleton": "listed_unusable",
        "notes.skeleton": "name",
    }
    dataset = open_dataset(tmp_path / "out")
    clip = dataset.clip("S001C001P001R001A001")
    assert (clip.label, clip.subject, clip.camera, clip.frames) == (0, 1, 1, 6)
    assert clip.tracks[0].body_id == "72057594037931101"
    expected = np.stack([body(t / 4) - body(0)[1] for t in range(6)])
    np.testing.assert_allclose(clip.tracks[0].joints, expected, atol=1e-6)
    np.testing.assert_allclose(clip.tracks[0].energy, windowed_energy(expected), rtol=1e-4, atol=1e-9)
    assert dataset.names[dataset.split("xsub", "test")[0]] == "S001C002P003R001A058"
    assert dataset.split("xview", "train").tolist() == [1]


def test_flat_arrays_hold_the_very_frames_of_the_clips(ntu_shards):
    dataset = open_dataset(ntu_shards)
    chosen = dataset.split("xsub", "test")
    arrays = dataset.arrays(chosen)
    assert arrays.names == [dataset.names[i] for i in chosen]
    assert (np.diff(arrays.clip) >= 0).all()
    for q in range(len(arrays.rows)):
        clip = dataset.clip(int(chosen[arrays.clip[q]]))
        slot = int((arrays.clip[:q] == arrays.clip[q]).sum())
        joints = np.concatenate([t.joints for t in clip.tracks if t.slot == slot])
        rows = slice(arrays.first_row[q], arrays.first_row[q] + arrays.rows[q])
        np.testing.assert_array_equal(arrays.joints[rows], joints)
        np.testing.assert_array_equal(
            arrays.energy[rows], np.concatenate([t.energy for t in clip.tracks if t.slot == slot])
        )
        assert arrays.labels[arrays.clip[q]] == clip.label
    assert arrays.rows.sum() == len(arrays.joints)


@pytest.mark.parametrize(("workers", "compression"), [(2, "none"), (1, "lzf"), (1, "gzip")])
def test_workers_and_compression_do_not_change_the_content(
    ntu_raw, ntu_shards, tmp_path, workers, compression
):
    convert(ntu_raw, tmp_path / "out", "ntu60", workers=workers, compression=compression)
    assert checksums(tmp_path / "out") == checksums(ntu_shards)
    assert open_dataset(tmp_path / "out").fingerprint == open_dataset(ntu_shards).fingerprint
    assert len(checksums(ntu_shards)) > 1


def test_a_stopped_run_goes_on_and_gives_the_same(ntu_raw, ntu_shards, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(ntu_shards, out)
    (out / "manifest.json").unlink()
    (out / "shard-00001.h5").write_bytes(
        (ntu_shards / "shard-00001.h5").read_bytes()[:1000]
    )  # as a full disk would leave it
    (out / ".shard-00001.h5.123.tmp").write_bytes(b"half")
    with pytest.raises(UsageError, match="unfinished"):
        open_dataset(out)
    before = (out / "shard-00000.h5").stat().st_mtime_ns
    report = convert(ntu_raw, out, "ntu60", workers=1)
    assert report.kept_shards == len(checksums(ntu_shards)) - 1
    assert (out / "shard-00000.h5").stat().st_mtime_ns == before
    assert checksums(out) == checksums(ntu_shards)
    assert not list(out.glob(".*.tmp"))


def test_other_settings_or_sources_are_refused_unless_overwritten(raw, tmp_path):
    out = tmp_path / "out"
    convert(raw, out, "ntu60", workers=1)
    with pytest.raises(UsageError, match="--overwrite"):
        convert(raw, out, "ntu60", recipe="ctrgcn", workers=1)
    (raw / "S001C001P001R001A005.skeleton").unlink()
    with pytest.raises(UsageError, match="--overwrite"):
        convert(raw, out, "ntu60", workers=1)
    assert convert(raw, out, "ntu60", workers=1, overwrite=True).as_dict()["rejects"] == 5


def test_a_folder_with_other_things_in_it_is_left_alone(raw, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("x")
    with pytest.raises(UsageError, match="not empty"):
        convert(raw, tmp_path / "thesis", "ntu60", overwrite=True)
    with pytest.raises(UsageError, match="is a file"):
        convert(raw, tmp_path / "thesis" / "chapter1.tex", "ntu60")
    assert [p.name for p in (tmp_path / "thesis").iterdir()] == ["chapter1.tex"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"recipe": "ctr-gcn"}, "did you mean 'ctrgcn'"),
        ({"compression": "zip"}, "gzip"),
        ({"backend": "spark"}, "known: processes, dask"),
        ({"backend": "dask"}, "--scheduler"),
        ({"workers": -3}, "workers"),
        ({"options": {"frame_base": 1}}, "frame-base is no option of NTU"),
        ({"options": {"frame_base": 2}, "dataset": "pku-mmd-1"}, "frame_base"),
        ({"dataset": "ntu61"}, "did you mean 'ntu60'"),
    ],
)
def test_wrong_settings_are_named(raw, tmp_path, options, says):
    with pytest.raises(UsageError, match=says):
        convert(raw, tmp_path / "out", **{"dataset": "ntu60", **options})
    assert not (tmp_path / "out").exists()


def test_a_source_without_a_fitting_file_is_wrong_use(raw, tmp_path):
    with pytest.raises(UsageError, match="no Northwestern-UCLA file"):
        convert(raw, tmp_path / "out", "nw-ucla")


def test_shards_depend_on_names_and_sizes_alone():
    units = [Unit(f"u{i:03d}", (Member(0, f"u{i:03d}", 10_000_000 + i, 0),)) for i in range(100)]
    shards = cut_shards(units)
    assert [u for shard in shards for u in shard] == units
    assert cut_shards(units[::-1]) == shards
    sizes = [sum(u.size for u in s) for s in shards]
    assert max(sizes) < 2 * sizes[0]


def test_reading_a_damaged_dataset_says_which_file(ntu_shards, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(ntu_shards, out)
    (out / "shard-00001.h5").write_bytes(b"not hdf5")
    with pytest.raises(AmrError, match="shard-00001"):
        open_dataset(out)
    (out / "manifest.json").write_text("{")
    with pytest.raises(AmrError, match=r"manifest\.json"):
        open_dataset(out)


def test_the_checksum_sees_every_value(ntu_shards):
    with h5py.File(ntu_shards / "shard-00000.h5") as file:
        arrays = [file[k][()] for k in ("frames/joints", "frames/energy", "tracks", "clips")]
        notes = [n.decode() for n in file["notes"][()]]
    recorded = json.loads((ntu_shards / "manifest.json").read_text())["shards"][0]["checksum"]
    assert content_checksum(arrays, notes) == recorded
    arrays[0][3, 4, 1] = np.nextafter(arrays[0][3, 4, 1], np.float32(9))
    assert content_checksum(arrays, notes) != recorded


def test_statistics_in_the_manifest(ntu_shards):
    dataset = open_dataset(ntu_shards)
    everything = dataset.arrays(np.arange(len(dataset)))
    statistics = dataset.manifest["statistics"]
    np.testing.assert_allclose(
        statistics["position_mean"], everything.joints.mean(axis=(0, 1), dtype=float), rtol=1e-6
    )
    np.testing.assert_allclose(
        statistics["position_std"], everything.joints.std(axis=(0, 1), dtype=float), rtol=1e-6
    )
    np.testing.assert_allclose(
        statistics["energy_mean"], everything.energy.mean(axis=(0, 1), dtype=float), rtol=1e-6
    )
    assert sum(statistics["length_histogram"].values()) == len(dataset)


def test_the_genuine_clips(genuine, tmp_path):
    for recipe in ("amr", "ctrgcn"):
        convert(genuine("ntu-rgbd"), tmp_path / recipe, "ntu60", recipe=recipe, workers=1)
        dataset = open_dataset(tmp_path / recipe)
        clip = dataset.clip("S001C003P008R002A058")
        assert [(t.slot, len(t.frames)) for t in clip.tracks] == [(0, 70), (1, 70)]
        assert dataset.clip("S001C001P001R001A001").frames == 103


def test_all_of_nw_ucla(genuine, tmp_path):
    report = convert(genuine("nw-ucla/all_sqe.zip"), tmp_path / "out", "nw-ucla", workers=2)
    summary = report.as_dict()
    assert summary["sources"] == 1484
    assert summary["clips"] + summary["rejects"] == 1484
    assert all(r.kind and r.detail for r in read_rejects(tmp_path / "out"))
    dataset = open_dataset(tmp_path / "out")
    assert [len(dataset.split("xview", p)) for p in ("train", "test")] == [1020, 464]
