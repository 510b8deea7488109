"""Folders, links, archives and single files as sources: nothing vanishes, nothing is read twice, nothing
damaged is taken for sound."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import socket
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from amr_data import AmrError, UsageError, convert, open_dataset, plan
from amr_data.errors import RejectError
from amr_data.readers import archives, unpacking
from amr_data.readers.sources import RawSource, open_sources
from amr_data.shards.reader import read_rejects

archive_of = zipfile.ZipFile


def write(path: Path, text: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def listed(*paths: Path, **options) -> tuple[list[str], list[tuple[str, str]]]:
    source = RawSource(paths, **options)
    return [m.path for m in source.members()], [(r.where, r.kind) for r in source.rejects]


def clip_json(label: int = 1) -> str:
    skeletons = [[[t + 0.5, j, 1.0] for j in range(20)] for t in range(5)]
    return json.dumps({"file_name": "x", "skeletons": skeletons, "label": label})


def test_linked_folders_are_followed(tmp_path):
    write(tmp_path / "disk" / "deep" / "b.txt")
    write(tmp_path / "raw" / "a.txt")
    (tmp_path / "raw" / "linked").symlink_to(tmp_path / "disk")
    assert listed(tmp_path / "raw") == (["a.txt", "linked/deep/b.txt"], [])
    source = RawSource([tmp_path / "raw"])
    assert source.read(source.members()[1]) == b"x"


def test_links_that_lead_back_are_named_and_end(tmp_path):
    write(tmp_path / "raw" / "in" / "a.txt")
    (tmp_path / "raw" / "in" / "up").symlink_to(tmp_path / "raw")
    (tmp_path / "raw" / "in" / "here").symlink_to(".")
    (tmp_path / "raw" / "in" / "above").symlink_to("../..")
    (tmp_path / "raw" / "in" / "itself").symlink_to("itself")
    found, rejects = listed(tmp_path / "raw")
    assert found == ["in/a.txt"]
    assert rejects == [(f"raw/in/{n}", "unreadable") for n in ("above", "here", "itself", "up")]


def test_two_folders_that_link_to_each_other_are_each_read_once(tmp_path):
    write(tmp_path / "a" / "a.txt")
    write(tmp_path / "b" / "b.txt")
    (tmp_path / "a" / "b").symlink_to(tmp_path / "b")
    (tmp_path / "b" / "a").symlink_to(tmp_path / "a")
    assert listed(tmp_path / "a") == (["a.txt", "b/b.txt"], [("a/b/a", "duplicate")])
    assert listed(tmp_path / "a", tmp_path / "b") == (
        ["a.txt", "b/b.txt"],
        [("a/b/a", "duplicate"), ("b", "duplicate")],
    )


def test_a_folder_that_is_reached_twice_is_read_where_it_lies_and_named(tmp_path):
    write(tmp_path / "raw" / "z" / "a.txt")
    (tmp_path / "raw" / "b").symlink_to("z")
    (tmp_path / "raw" / "a").symlink_to("z")
    found, rejects = listed(tmp_path / "raw")
    assert found == ["z/a.txt"]
    assert rejects == [("raw/a", "duplicate"), ("raw/b", "duplicate")]
    assert "raw/z" in RawSource([tmp_path / "raw"]).rejects[0].detail


def test_links_to_nowhere_and_folders_without_permission_are_named(tmp_path, monkeypatch):
    write(tmp_path / "raw" / "closed" / "a.txt")
    (tmp_path / "raw" / "part2").symlink_to("/mnt/not-there")
    scandir = os.scandir

    def refuse(path):
        if str(path).rstrip("/").endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert listed(tmp_path / "raw") == (
        [],
        [("raw/closed", "unreadable"), ("raw/part2", "unreadable")],
    )


def test_what_a_source_could_not_look_into_is_among_the_rejects(tmp_path):
    write(tmp_path / "raw" / "a01_s01_e00_v01.json", clip_json())
    (tmp_path / "raw" / "loop").symlink_to(tmp_path / "raw")
    report = convert(tmp_path / "raw", tmp_path / "out", "nw-ucla", workers=1)
    assert report.damaged == 1
    assert [(r.where, r.kind) for r in read_rejects(tmp_path / "out")] == [("raw/loop", "unreadable")]


def test_a_dataset_inside_its_own_source_is_no_source(tmp_path):
    raw = tmp_path / "raw"
    write(raw / "a01_s01_e00_v01.json", clip_json())
    assert convert(raw, raw / "out", "nw-ucla", workers=1).kept_shards == 0
    assert convert(raw, raw / "out", "nw-ucla", workers=1).kept_shards == 1
    convert(raw, raw / "other", "nw-ucla", workers=1, recipe="none")
    assert convert(raw, raw / "out", "nw-ucla", workers=1).kept_shards == 1
    assert not list(read_rejects(raw / "other"))


def test_of_two_equal_names_in_a_zip_the_first_is_read_and_the_second_is_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a01_s01_e00_v01.json", clip_json(1))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a01_s01_e00_v01.json", clip_json(7))
    source = pickle.loads(pickle.dumps(RawSource([tmp_path / "x.zip"])))  # as a worker gets it
    first, second = source.members()
    assert json.loads(source.read(first))["label"] == 1
    with pytest.raises(RejectError, match="duplicate"):
        source.read(second)
    report = convert(tmp_path / "x.zip", tmp_path / "out", "nw-ucla", workers=1)
    assert (report.manifest["totals"]["clips"], report.manifest["rejects_by_reason"]) == (1, {"duplicate": 1})


def test_a_member_without_a_name_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a.txt", "x")
    (tmp_path / "x.zip").write_bytes((tmp_path / "x.zip").read_bytes().replace(b"a.txt", b"\0.txt"))
    source = RawSource([tmp_path / "x.zip"])
    (member,) = source.members()
    with pytest.raises(RejectError, match="unsafe_name: it has no name"):
        source.read(member)


def test_the_fast_decompressor_gives_the_same_bytes_and_the_same_complaints(tmp_path, monkeypatch):
    pytest.importorskip("isal")
    text = "".join(f"{k * k} {k}\n" for k in range(9_000))
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", text)
    sound = (tmp_path / "x.zip").read_bytes()

    def read(data: bytes) -> tuple[bytes, bytes] | str:
        (tmp_path / "x.zip").write_bytes(data)
        source = RawSource([tmp_path / "x.zip"])
        try:
            return source.read(source.members()[0]), source.head(source.members()[0], 20)
        except RejectError as error:
            return error.detail

    places = [None, *range(35), *range(60, len(sound) - 200, len(sound) // 25)]
    damaged = [sound if k is None else sound[:k] + bytes([sound[k] ^ 0x55]) + sound[k + 1 :] for k in places]
    fast = [read(data) for data in damaged]
    used = []
    inflated = archives._inflated
    monkeypatch.setattr(archives, "_inflated", lambda *a: used.append(1) or inflated(*a))
    assert read(sound) == fast[0] == (text.encode(), text.encode()[:20])
    assert used
    monkeypatch.setattr(archives, "isal_zlib", None)
    assert [read(data) for data in damaged] == fast
    assert sum(isinstance(found, str) for found in fast) > 20


def test_a_worker_reads_the_list_of_an_archive_once(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for label in range(1, 7):
            archive.writestr(f"a{label:02d}_s01_e00_v01.json", clip_json(label))
    monkeypatch.setattr(plan, "MIN_SHARD_BYTES", 1)
    opened = []
    monkeypatch.setattr(archives.zipfile, "ZipFile", lambda *a: opened.append(a) or archive_of(*a))
    report = convert(tmp_path / "x.zip", tmp_path / "out", "nw-ucla", workers=1)
    assert len(report.manifest["shards"]) == 6
    assert len(opened) == 2  # to look at it, and to make the shards
    sources = [record["sources"] for record in report.manifest["shards"]]
    assert len(set(sources)) == 6
    again = convert(tmp_path / "x.zip", tmp_path / "again", "nw-ucla", workers=2)
    assert [record["sources"] for record in again.manifest["shards"]] == sources


def test_a_zip_that_was_cut_off_is_called_that(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a.txt", "x" * 1000)
    (tmp_path / "cut.zip").write_bytes((tmp_path / "x.zip").read_bytes()[:600])
    (tmp_path / "page.zip").write_text("<html>not found</html>")
    for name, says in (("cut.zip", "cut off"), ("page.zip", "no zip archive")):
        with pytest.raises(AmrError, match=rf"{name}.*{says}") as caught:
            RawSource([tmp_path / name])
        assert not isinstance(caught.value, UsageError)


@pytest.mark.parametrize("name", ["x.csv", "x", "x.skeleton", "x.npz", "x.bvh"])
def test_a_single_file_of_any_ending_is_a_source_of_one_member(tmp_path, name):
    write(tmp_path / name, "abc")
    source = RawSource([tmp_path / name])
    (member,) = source.members()
    assert (member.path, source.shown(member), source.read(member)) == (name, name, b"abc")
    assert source.head(member, 2) == b"ab"


def test_heads_of_members_are_read_alike(tmp_path):
    write(tmp_path / "raw" / "a.txt", "0123456789")
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(tmp_path / "raw" / "a.txt", "a.txt")
    tar_of(tmp_path / "x.tar", {"a.txt": b"0123456789", "b.txt": b"beyond"})
    for path in (tmp_path / "raw", tmp_path / "x.zip", tmp_path / "x.tar"):
        source = RawSource([path])
        assert [source.head(source.members()[0], n) for n in (0, 4, 99)] == [b"", b"0123", b"0123456789"]


def tar_of(path: Path, files: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.parametrize(("name", "mode"), [("x.tar", "w"), ("x.tar.gz", "w:gz"), ("x.tgz", "w:gz")])
def test_tar_archives_give_what_the_folder_gives(tmp_path, name, mode):
    names = ["a01_s01_e00_v01", "a02_s01_e00_v02", "a03_s02_e00_v03"]
    files = {f"all/{n}.json": clip_json(int(n[1:3])).encode() for n in names}
    for path, data in files.items():
        write(tmp_path / "raw" / path, data.decode())
    tar_of(tmp_path / name, files, mode)
    convert(tmp_path / "raw", tmp_path / "a", "nw-ucla", workers=1)
    report = convert(tmp_path / name, tmp_path / "b", "nw-ucla", workers=2)
    first, second = (open_dataset(tmp_path / x) for x in "ab")
    assert first.names == second.names == names
    for index in range(3):
        np.testing.assert_array_equal(first.clip(index).dense(), second.clip(index).dense())
    assert open_dataset(tmp_path / "b").clip(0).source == f"{name}/all/a01_s01_e00_v01.json"
    assert not list(tmp_path.glob(".amr-unpacked-*"))
    assert report.manifest["source"]["paths"] == [name]
    assert convert(tmp_path / name, tmp_path / "b", "nw-ucla", workers=1).kept_shards == 1


def test_unsafe_tar_members_are_refused_and_the_rest_is_read(tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for name, kind in (("good.txt", tarfile.REGTYPE), ("../out.txt", tarfile.REGTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.size = kind, 3
            archive.addfile(info, io.BytesIO(b"abc"))
        for name, kind in (("link.txt", tarfile.SYMTYPE), ("hard.txt", tarfile.LNKTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        pipe = tarfile.TarInfo("pipe.txt")
        pipe.type = tarfile.FIFOTYPE
        archive.addfile(pipe)
        again = tarfile.TarInfo("good.txt")
        again.size = 3
        archive.addfile(again, io.BytesIO(b"def"))
    source = RawSource([tmp_path / "x.tar"])
    read = []
    for member in source.members():
        try:
            read.append((member.path, source.read(member)))
        except RejectError as error:
            read.append((member.path, error.reason))
    assert read == [
        ("../out.txt", "unsafe_name"),
        ("good.txt", b"abc"),
        ("good.txt", "duplicate"),
        ("hard.txt", "unsafe_name"),
        ("link.txt", "unsafe_name"),
        ("pipe.txt", "unsafe_name"),
    ]


def test_damaged_tar_archives_are_failed_work_and_end(tmp_path):
    good = tar_of(tmp_path / "good.tar", {"a.txt": b"x" * 2000, "b.txt": b"y"}).read_bytes()
    backwards = tarfile.TarInfo("a.txt")
    backwards.size = -512
    block = bytearray(backwards.tobuf(tarfile.GNU_FORMAT))
    for name, data in (
        ("cut", good[:1500]),
        ("text", b"hello, this is no archive"),
        ("backwards", bytes(block) * 3),
    ):
        (tmp_path / f"{name}.tar").write_bytes(data)
        started = time.perf_counter()
        with pytest.raises(AmrError, match=rf"{name}\.tar"):
            RawSource([tmp_path / f"{name}.tar"]).members()
        assert time.perf_counter() - started < 5
    packed = tar_of(tmp_path / "x.tgz", {"a.txt": os.urandom(5000)}, "w:gz").read_bytes()
    (tmp_path / "cut.tgz").write_bytes(packed[:3000])
    tar_of(tmp_path / "bomb.tgz", {"a.txt": bytes(40 << 20)}, "w:gz")
    with gzip.open(tmp_path / "text.tgz", "w") as file:
        file.write(b"hello, this is no archive")
    with (
        pytest.raises(AmrError, match=rf"{tmp_path}/text\.tgz is no tar"),
        open_sources([tmp_path / "text.tgz"], tmp_path) as source,
    ):
        source.members()
    for name, says in (("cut.tgz", "cut off"), ("bomb.tgz", "bomb")):
        with pytest.raises(AmrError, match=says), open_sources([tmp_path / name], tmp_path):
            pass
    assert not list(tmp_path.glob(".amr-unpacked-*"))


HOLD = """
import sys, time
from pathlib import Path
from amr_data.readers.unpacking import temporary_folder
with temporary_folder(Path(sys.argv[1])) as folder:
    print(folder, flush=True)
    time.sleep(60)
"""


def test_folders_of_killed_processes_go_and_those_of_living_ones_stay(tmp_path):
    other_host = tmp_path / ".amr-unpacked-elsewhere-abc"
    other_host.mkdir()
    write(tmp_path / ".amr-unpacked-elsewhere-abc.lock", "")
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        theirs = Path(holder.stdout.readline().strip())
        with unpacking.temporary_folder(tmp_path) as mine:
            assert theirs.is_dir()
            with unpacking.temporary_folder(tmp_path):
                assert mine.is_dir()
        assert not mine.exists()
        assert theirs.is_dir()
    finally:
        holder.kill()
        holder.wait()
    assert theirs.is_dir()  # it had no time to clean up
    with unpacking.temporary_folder(tmp_path):
        assert not theirs.exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == [other_host.name, f"{other_host.name}.lock"]
    assert socket.gethostname() != "elsewhere"


def test_folders_where_archives_are_unpacked_are_no_source(tmp_path):
    write(tmp_path / "a.txt")
    with unpacking.temporary_folder(tmp_path) as folder:
        write(folder / "b.txt")
        assert listed(tmp_path)[0] == ["a.txt"]
        assert listed(folder)[0] == ["b.txt"]


def test_a_member_that_is_refused_takes_no_name_from_one_that_is_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("../a01_s01_e00_v01.json", clip_json(7))
        archive.writestr("a01_s01_e00_v01.json", clip_json(1))
    report = convert(tmp_path / "x.zip", tmp_path / "out", "nw-ucla", workers=1)
    assert (report.manifest["totals"]["clips"], report.manifest["rejects_by_reason"]) == (
        1,
        {"unsafe_name": 1},
    )
    report = convert(tmp_path / "x.zip", tmp_path / "any", "nw-ucla", workers=1, unlabelled=True)
    assert open_dataset(tmp_path / "any").names == ["a01_s01_e00_v01"]
