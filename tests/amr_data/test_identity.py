"""What a conversion is known again by: the files and what decides the clips; not the release, not what a
folder is called, not a title. And what a folder must hold before any of it is replaced."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import xxhash

import amr_data.conversion
import amr_data.repairing
from amr_data import AmrError, UsageError, convert, open_dataset
from amr_data.conversion import locked
from amr_data.files import sha256_of
from amr_data.readers import RawSource
from amr_data.repairing import repair
from amr_data.shards.verification import verify
from amr_data.specs import load_spec


def content(path: Path) -> list[tuple[str, str]]:
    manifest = json.loads((path / "manifest.json").read_text())
    return [(s["file"], s["checksum"]) for s in manifest["shards"]]


@pytest.fixture
def out(ntu_shards, tmp_path) -> Path:
    return Path(shutil.copytree(ntu_shards, tmp_path / "out"))


@pytest.fixture
def raw(ntu_raw, tmp_path) -> Path:
    """A copy with the times of the original."""
    return Path(shutil.copytree(ntu_raw, tmp_path / "raw", copy_function=shutil.copy2))


def lose(out: Path, *names: str) -> None:
    for name in names or ("shard-00001.h5",):
        (out / name).unlink()


def change_a_digit(raw: Path, which: int) -> str:
    """Another coordinate in one file, which keeps its size. Returns the clip's name."""
    path = sorted(raw.glob("*.skeleton"))[which]
    lines = path.read_bytes().split(b"\r\n")
    row = next(i for i, line in enumerate(lines) if len(line.split()) == 12)
    number = lines[row].split(b" ", 1)[0]
    lines[row] = number[:-1] + (b"1" if number[-1:] != b"1" else b"2") + lines[row][len(number) :]
    path.write_bytes(b"\r\n".join(lines))
    return path.stem


def another_release(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: "9.9.9")
    for module in ("manifest", "plan", "identity"):
        monkeypatch.setattr(f"amr_data.{module}.version", lambda name: "9.9.9", raising=False)


def test_repair_works_after_an_upgrade(ntu_raw, ntu_shards, out, monkeypatch):
    another_release(monkeypatch)
    lose(out)
    repair(out, [ntu_raw], workers=1)
    assert content(out) == content(ntu_shards)
    assert verify(out) == []
    assert json.loads((out / "manifest.json").read_text())["versions"]["amr-skeleton"] == "9.9.9"


def test_a_conversion_goes_on_after_an_upgrade(ntu_raw, ntu_shards, out, monkeypatch):
    another_release(monkeypatch)
    lose(out, "shard-00001.h5", "manifest.json")
    assert convert(ntu_raw, out, "ntu60", workers=1).kept_shards == len(content(ntu_shards)) - 1
    assert content(out) == content(ntu_shards)


def test_repair_works_after_the_folder_was_renamed(raw, ntu_shards, out):
    raw = raw.rename(raw.with_name("nturgb+d"))
    lose(out)
    repair(out, [raw], workers=1)
    assert content(out) == content(ntu_shards)  # the clips' own notes of their source included
    assert (out / "rejects.jsonl").read_bytes() == (ntu_shards / "rejects.jsonl").read_bytes()
    assert open_dataset(out).clip(0).source.startswith("raw/")


def zipped(raw: Path, name: str, part: slice) -> Path:
    with zipfile.ZipFile(raw.parent / name, "w") as archive:
        for path in sorted(raw.glob("*.skeleton"))[part]:
            archive.write(path, path.name)
    return raw.parent / name


def test_repair_works_after_archives_were_renamed_and_asks_for_their_order(raw, tmp_path):
    archives = [zipped(raw, "a.zip", slice(0, 30)), zipped(raw, "b.zip", slice(30, None))]
    convert(archives, tmp_path / "zips", "ntu60", workers=1)
    before = content(tmp_path / "zips")
    archives = [path.rename(path.with_name(f"renamed-{path.name}")) for path in archives]
    lose(tmp_path / "zips")
    with pytest.raises(UsageError, match=r"renamed-b\.zip, renamed-a\.zip: not the files .*: a\.zip, b\.zip"):
        repair(tmp_path / "zips", archives[::-1], workers=1)
    repair(tmp_path / "zips", archives, workers=1)
    assert content(tmp_path / "zips") == before


def test_a_conversion_goes_on_after_the_folder_was_renamed(raw, ntu_shards, out):
    lose(out, "shard-00000.h5", "shard-00002.h5", "manifest.json")
    raw = raw.rename(raw.with_name("elsewhere"))
    assert convert(raw, out, "ntu60", workers=1).kept_shards == len(content(ntu_shards)) - 2
    assert content(out) == content(ntu_shards)
    assert (out / "rejects.jsonl").read_bytes() == (ntu_shards / "rejects.jsonl").read_bytes()


def test_a_copy_with_new_times_is_proved_once_by_its_content(raw, ntu_shards, out, monkeypatch):
    for path in raw.iterdir():
        os.utime(path, (1, 1))
    kept = len(content(ntu_shards))
    assert convert(raw, out, "ntu60", workers=1).kept_shards == kept
    monkeypatch.setattr(RawSource, "read", lambda self, member: pytest.fail("read again"))
    assert convert(raw, out, "ntu60", workers=1).kept_shards == kept


def test_other_content_of_the_same_size_is_named(raw, out):
    name = change_a_digit(raw, 20)
    with pytest.raises(UsageError, match=f"other sources or settings: {name} may have changed"):
        convert(raw, out, "ntu60", workers=1)
    assert verify(out) == []


def test_without_a_manifest_repair_proves_the_sources_by_what_is_left(raw, ntu_raw, ntu_shards, out):
    """Nothing says what the lost shard held, so the files of the others must be those that they were."""
    dataset = open_dataset(ntu_shards)
    name = dataset.names[int(np.flatnonzero(dataset.shard_of == 1)[0])]
    change_a_digit(raw, [p.stem for p in sorted(raw.glob("*.skeleton"))].index(name))
    lose(out, "shard-00000.h5", "manifest.json")
    with pytest.raises(UsageError, match=f"raw: not the files .*: {name} may have changed"):
        repair(out, [raw], workers=1)
    assert not (out / "shard-00000.h5").exists()
    repair(out, [ntu_raw], workers=1)
    assert content(out) == content(ntu_shards)


def test_repair_names_the_sources_that_it_refuses(raw, out):
    sorted(raw.iterdir())[0].unlink()
    with pytest.raises(UsageError, match=r"^raw: not the files"):
        repair(out, [raw])


def test_a_release_that_makes_other_clips_is_told_from_other_sources(ntu_raw, out, monkeypatch):
    lose(out)
    real = amr_data.workers.add_energy

    def otherwise(track):
        track.joints = track.joints + np.float32(1)
        real(track)

    monkeypatch.setattr(amr_data.workers, "add_energy", otherwise)
    with pytest.raises(AmrError, match=r"other content than before: .*this release makes other clips"):
        repair(out, [ntu_raw], workers=1)
    assert not (out / "shard-00001.h5").exists()


def test_a_shard_keeps_the_hash_of_each_file(ntu_raw, ntu_shards):
    plan = json.loads((ntu_shards / "plan.json").read_text())
    assert plan["names"] == ["raw"]
    with h5py.File(ntu_shards / "shard-00000.h5") as file:
        known = json.loads(file["record"][()])["sources"]
        name = file["clips"]["name"][0].decode()
    digest = xxhash.xxh3_128((ntu_raw / f"{name}.skeleton").read_bytes()).hexdigest()
    assert xxhash.xxh3_128(digest.encode()).hexdigest() in known


def test_what_is_only_shown_or_split_by_is_no_other_dataset(ntu_raw, ntu_shards, out):
    rule = {"by": "camera", "train": [1], "test": [2]}
    spec = load_spec("ntu60").changed(
        title="Another title", licence="none", homepage="", protocols={"own": rule}, mutual=[], handed=True
    )
    assert convert(ntu_raw, out, spec, workers=1).kept_shards == len(content(ntu_shards))
    dataset = open_dataset(out)
    assert (dataset.spec.title, list(dataset.spec.protocols)) == ("Another title", ["own"])
    assert (dataset.spec.handed, dataset.spec.licence) == (True, "none")
    assert verify(out) == []


@pytest.mark.parametrize(
    "change",
    [
        {"frame_rate": 25},
        {"max_bodies": 1},
        {"classes": dict(reversed(load_spec("ntu60").classes.items()))},
        {"naming": f"(?:x|){load_spec('ntu60').naming}"},
    ],
)
def test_what_decides_the_clips_is_another_dataset(ntu_raw, out, change):
    with pytest.raises(UsageError, match="other sources or settings; --overwrite"):
        convert(ntu_raw, out, load_spec("ntu60").changed(**change), workers=1)


def make_old(out: Path) -> None:
    """The dataset as release 0.1.0 left it: another fingerprint in every file, no hashes, PKU-MMD's option in
    the recipe."""
    manifest = json.loads((out / "manifest.json").read_text())
    plan = json.loads((out / "plan.json").read_text())
    plan["recipe"]["frame_base"] = 0
    for key in ("names", "options", "synthetic"):
        plan.pop(key)
    plan["fingerprint"] = manifest["source"]["fingerprint"] = "0" * 64
    for spec in (plan["spec"], manifest["spec"]):
        for key in ("layout", "dimensions", "codes", "example"):
            spec.pop(key)
    for shard in manifest["shards"]:
        shard.pop("sources")
        with h5py.File(out / shard["file"], "r+") as file:
            file.attrs["fingerprint"] = "0" * 64
            record = json.loads(file["record"][()])
            record.pop("sources")
            file["record"][()] = json.dumps(record)
        shard["sha256"] = sha256_of(out / shard["file"])
    (out / "manifest.json").write_text(json.dumps(manifest))
    (out / "plan.json").write_text(json.dumps(plan))


@pytest.mark.parametrize("lost", [["shard-00001.h5"], ["manifest.json"], ["shard-00001.h5", "plan.json"]])
def test_datasets_of_earlier_releases_are_repaired(ntu_raw, ntu_shards, out, lost):
    make_old(out)
    assert verify(out) == []
    lose(out, *lost)
    for _ in range(2):  # and stay what they are
        repair(out, [ntu_raw], workers=1)
        assert verify(out) == []
        assert content(out) == content(ntu_shards)
        lose(out)


def test_datasets_of_earlier_releases_are_not_repaired_from_other_files(raw, out):
    make_old(out)
    lose(out)
    sorted(raw.iterdir())[0].unlink()
    with pytest.raises(UsageError, match="not the files"):
        repair(out, [raw], workers=1)


def test_repair_takes_the_lock_before_it_looks(ntu_raw, out, monkeypatch):
    monkeypatch.setattr(amr_data.repairing, "verify", lambda path: pytest.fail("looked without the lock"))
    with locked(out), pytest.raises(UsageError, match="another conversion is writing"):
        repair(out, [ntu_raw])


def test_repair_makes_no_folder(ntu_raw, tmp_path):
    with pytest.raises(UsageError, match="not a folder"):
        repair(tmp_path / "none", [ntu_raw])
    assert not (tmp_path / "none").exists()


FOREIGN = {
    "a web app's manifest": {"manifest.json": '{"name": "My app", "icons": []}'},
    "somebody's plan": {"plan.json": '{"monday": "rest"}'},
    "both, and a file that is called like a shard": {
        "manifest.json": "[]",
        "plan.json": "{}",
        "shard-00000.h5": "not HDF5",
    },
    "a manifest that is no JSON": {"manifest.json": "name: app"},
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_overwrite_replaces_nothing_that_is_not_ours(ntu_raw, tmp_path, kind):
    folder = tmp_path / "app"
    folder.mkdir()
    for name, text in FOREIGN[kind].items():
        (folder / name).write_text(text)
    for overwrite in (False, True):
        with pytest.raises(UsageError, match="holds no dataset; name a new folder"):
            convert(ntu_raw, folder, "ntu60", workers=1, overwrite=overwrite)
    assert {p.name: p.read_text() for p in folder.iterdir() if p.name != ".lock"} == FOREIGN[kind]


def test_overwrite_replaces_a_dataset_of_ours_however_damaged_and_nothing_beside_it(ntu_raw, ntu_shards, out):
    for name in ("manifest.json", "plan.json"):
        (out / name).write_text("{")
    beside = ("notes.txt", ".draft.7.tmp", "shard-of-pottery.h5")
    for name in beside:
        (out / name).write_text("mine")
    (out / ".shard-00000.h5.123.tmp").write_text("left by a killed conversion")
    with pytest.raises(UsageError, match="--overwrite replaces it"):
        convert(ntu_raw, out, "ntu60", workers=1)
    convert(ntu_raw, out, "ntu60", workers=1, recipe="none", overwrite=True)
    assert verify(out) == []
    assert content(out) != content(ntu_shards)
    assert all((out / name).read_text() == "mine" for name in beside)
    assert not (out / ".shard-00000.h5.123.tmp").exists()
