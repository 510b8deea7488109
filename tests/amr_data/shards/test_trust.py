"""The trust boundary: whatever a dataset folder holds, opening and reading end in an error that names the
file, in bounded time and memory, and nothing outside the folder is read."""

from __future__ import annotations

import json
import os
import resource
import shutil
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest

from amr_data import AmrError, UsageError, open_dataset
from amr_data.looking.inspection import dataset_summary
from amr_data.plan import read_plan
from amr_data.shards.heaps import heaps_are_sound
from amr_data.shards.model import DamageError
from amr_data.shards.opening import Shard
from amr_data.shards.reader import read_rejects
from amr_data.shards.verification import verify
from amr_data.shards.writer import build_tables, read_record, write_shard
from amr_data.specs import load_spec
from tests.amr_data.shards import doctored

SECONDS, MEGABYTES = 5, 150


@pytest.fixture
def folder(ntu_shards, tmp_path) -> Path:
    return Path(shutil.copytree(ntu_shards, tmp_path / "dataset"))


@contextmanager
def bounded() -> Iterator[None]:
    """No number in a file decides how long it takes or how much memory: numpy's is counted by tracemalloc
    even where it is never touched, that of HDF5 by the process's peak."""
    began, peak = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < MEGABYTES << 20
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < MEGABYTES << 10
        assert time.process_time() - began < SECONDS
    finally:
        tracemalloc.stop()


def check_verify(folder: Path, file: str) -> None:
    findings = verify(folder)
    assert file in {f.where for f in findings}
    assert doctored.SECRET.strip() not in str(findings)


def resume(folder: Path) -> object:
    fingerprint = json.loads((folder / "plan.json").read_text())["fingerprint"]
    return read_record(folder / doctored.SHARD, fingerprint, load_spec("ntu60"), 3)


def test_the_undoctored_dataset_is_sound(folder):
    doctored.seal(folder)
    assert verify(folder) == []
    assert resume(folder) is not None


@pytest.mark.parametrize("kind", doctored.SHARDS)
def test_doctored_shards_are_refused_when_opened(folder, kind):
    doctor, word = doctored.SHARDS[kind]
    doctor(folder)
    with bounded():
        with pytest.raises(AmrError, match=word) as caught:
            open_dataset(folder)
        assert str(folder / doctored.SHARD) in str(caught.value)
        assert doctored.SECRET.strip() not in str(caught.value)
        check_verify(folder, doctored.SHARD)
        assert resume(folder) is None


@pytest.mark.parametrize("kind", doctored.READ)
def test_doctored_values_are_refused_when_read(folder, kind):
    doctor, word = doctored.READ[kind]
    doctor(folder)
    with bounded():
        dataset = open_dataset(folder)
        first = int(np.searchsorted(dataset.shard_of, 1))
        for read in (lambda: dataset.clip(first), lambda: list(dataset)):
            with pytest.raises(AmrError, match=word) as caught:
                read()
            assert str(folder / doctored.SHARD) in str(caught.value)
        if word == "not finite":
            with pytest.raises(AmrError, match=word):
                dataset.arrays(np.arange(len(dataset)))
        check_verify(folder, doctored.SHARD)


@pytest.mark.parametrize("kind", doctored.RECORDS)
def test_doctored_records_are_findings_and_not_gone_on_with(folder, kind):
    doctor, _ = doctored.RECORDS[kind]
    doctor(folder)
    with bounded():
        check_verify(folder, doctored.SHARD)
        assert resume(folder) is None


@pytest.mark.parametrize("kind", doctored.MANIFESTS)
def test_doctored_manifests_are_refused(folder, kind):
    doctor, word = doctored.MANIFESTS[kind]
    doctor(folder)
    with bounded():
        with pytest.raises(AmrError, match=word) as caught:
            open_dataset(folder)
        assert str(folder) in str(caught.value)
        assert "\n" not in str(caught.value)
        assert verify(folder) != []


def test_a_table_in_a_private_file_is_not_shown(folder):
    """HDF5 itself follows such a table: without the boundary the private file's text becomes a clip's
    name."""
    import h5py

    doctored.external("clips")(folder)
    with h5py.File(folder / doctored.SHARD, "r") as file:
        assert file["clips"]["name"][0].decode() in doctored.SECRET
    with pytest.raises(DamageError, match="other files"):
        open_dataset(folder)


@pytest.mark.parametrize(
    "content", [b"{", b'{"source": "a", "reason": 1, "detail": ""}\n', b'{"source": "a"}\n', b"\xff\n"]
)
def test_a_damaged_list_of_rejects_is_named_with_its_line(folder, content):
    good = b'{"source": "a", "reason": "name", "detail": "b"}\n'
    (folder / "rejects.jsonl").write_bytes(good + content)
    with pytest.raises(DamageError, match="line 2"):
        read_rejects(folder)
    assert ("rejects.jsonl", "rejects") in {(f.where, f.kind) for f in verify(folder)}


def test_rejects_are_read_line_by_line_up_to_a_limit(folder):
    os.truncate(folder / "rejects.jsonl", 600 << 20)  # sparse: takes no space
    with bounded(), pytest.raises(DamageError, match="line"):
        read_rejects(folder)


@pytest.mark.parametrize(
    "content",
    ["{", "[]", '{"fingerprint": 3}', '{"fingerprint": "a", "stamps": "b", "spec": {}, "recipe": {}}'],
)
def test_a_damaged_plan_is_no_plan(folder, content):
    assert read_plan(folder) is not None
    (folder / "plan.json").write_text(content)
    assert read_plan(folder) is None


def test_links_within_the_folder_are_followed(folder):
    (folder / doctored.SHARD).rename(folder / "elsewhere.h5")
    (folder / doctored.SHARD).symlink_to("elsewhere.h5")
    assert verify(folder) == []


def test_manifests_of_earlier_releases_open(folder):
    """They lack what is provenance and what no code needs, and say more than later ones."""
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["source"]["synthetic"], manifest["versions"]
    for shard in manifest["shards"]:
        del shard["sources"]
    for key in ("layout", "dimensions", "codes", "example"):
        del manifest["spec"][key]
    manifest["note"] = "kept by hand"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    dataset = open_dataset(folder)
    assert (len(dataset), dataset.synthetic) == (48, False)
    assert dataset_summary(dataset)
    assert verify(folder) == []


def test_a_folder_that_is_none(tmp_path):
    with pytest.raises(UsageError, match="not a folder"):
        verify(tmp_path / "none")
    with pytest.raises(UsageError, match="not a converted dataset"):
        open_dataset(tmp_path)


def test_texts_whose_entries_take_no_place_end(tmp_path):
    """A collection of texts with free space of no size: HDF5 would walk it for ever."""
    tables = build_tables([], 25, 30)
    write_shard(tmp_path / "shard-00000.h5", tables, [], "f", "none")
    data = bytearray((tmp_path / "shard-00000.h5").read_bytes())
    found = [i for i in range(len(data) - 4) if data[i : i + 4] == b"GCOL"]
    assert found
    sizes = [int.from_bytes(data[i + 8 : i + 16], "little") for i in found]
    assert heaps_are_sound(tmp_path / "shard-00000.h5", found, len(data))
    for start, size in zip(found, sizes, strict=True):
        at = start + 16
        while data[at : at + 2] != b"\0\0":  # the entries before the free space
            at += 16 + -(-int.from_bytes(data[at + 8 : at + 16], "little") // 8) * 8
        assert at < start + size
        data[at + 8 : at + 16] = bytes(8)
    (tmp_path / "shard-00000.h5").write_bytes(data)
    assert not heaps_are_sound(tmp_path / "shard-00000.h5", found, len(data))
    with (
        pytest.raises(DamageError, match="texts of /record"),
        Shard(tmp_path / "shard-00000.h5", 25, 3) as shard,
    ):
        shard.record()
    with h5py.File(tmp_path / "shard-00000.h5") as file:
        at = file["record"].id.get_offset()
    data[at : at + 4] = bytes(4)  # a text of no length, for which HDF5 walks all the same
    (tmp_path / "shard-00000.h5").write_bytes(data)
    with (
        pytest.raises(DamageError, match="texts of /record"),
        Shard(tmp_path / "shard-00000.h5", 25, 3) as shard,
    ):
        shard.record()


@pytest.mark.parametrize("address", [-1, 10**12, 0])
def test_texts_that_lie_nowhere(tmp_path, address):
    (tmp_path / "x").write_bytes(bytes(4096))
    assert not heaps_are_sound(tmp_path / "x", [address], 4096)
