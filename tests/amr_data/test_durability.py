"""Kills, locks, full disks, planted damage: nothing finished is lost, nothing broken passes."""

from __future__ import annotations

import gc
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest

from amr_data import AmrError, UsageError, convert, plan
from amr_data import workers as making
from amr_data.conversion import locked
from amr_data.files import sha256_of
from amr_data.repairing import repair
from amr_data.shards.verification import verify

pytestmark = pytest.mark.long

KILLS = 20
SILENT = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def content(path: Path) -> list[tuple[str, str]]:
    manifest = json.loads((path / "manifest.json").read_text())
    return [(s["file"], s["checksum"]) for s in manifest["shards"]]


def run_convert(raw: Path, out: Path, *extra: str, **options) -> subprocess.Popen:
    code = "import sys; from amr_cli.data import main; main(sys.argv[1:])"
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    command = [sys.executable, "-c", code, "convert", str(raw), str(out), "--dataset", "ntu60", *extra]
    return subprocess.Popen(command, text=True, start_new_session=True, **options)


def test_killed_at_random_moments_the_content_is_that_of_a_run_left_alone(ntu_raw, ntu_shards, tmp_path):
    """kill -9 of the whole process group, of the parent alone, with one worker and with two; the same command
    goes on each time."""
    chance = random.Random(7)
    began = time.monotonic()
    run_convert(ntu_raw, tmp_path / "calm", "--workers", "2", **SILENT).wait(60)
    whole = time.monotonic() - began
    out, kills = tmp_path / "out", 0
    while kills < KILLS:
        process = run_convert(ntu_raw, out, "--workers", str(chance.choice([1, 2])), **SILENT)
        try:
            process.wait(chance.uniform(0.3, 1.05) * whole)
        except subprocess.TimeoutExpired:
            if chance.random() < 0.5:
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
            process.wait(10)
            kills += 1
            assert all(h5py.is_hdf5(p) for p in out.glob("shard-*.h5"))
            continue
        assert process.returncode == 0
        assert content(out) == content(ntu_shards)
        shutil.rmtree(out)
    _wait_for_lock(out)
    process = run_convert(ntu_raw, out, "--workers", "2")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert content(out) == content(ntu_shards)
    assert verify(out) == []
    assert not list(out.glob(".*.tmp"))


def _wait_for_lock(out: Path) -> None:
    """Workers of a parent that was killed alone end by themselves within a second or two."""
    with locked(out):
        time.sleep(2)


def test_a_second_convert_on_the_same_folder_is_refused(ntu_raw, tmp_path):
    with locked(tmp_path / "out"):
        process = run_convert(ntu_raw, tmp_path / "out")
        _, errors = process.communicate()
    assert process.returncode == 2
    assert "another conversion is writing" in errors


@pytest.mark.parametrize("workers", [1, 2])
def test_when_a_conversion_was_stopped_none_of_its_threads_writes_any_more(
    ntu_raw, ntu_shards, tmp_path, monkeypatch, workers
):
    monkeypatch.setattr(plan, "MIN_SHARD_BYTES", 1 << 20)  # more shards than are made at once
    whole, out = tmp_path / "whole", tmp_path / "out"
    convert(ntu_raw, whole, "ntu60", workers=1)
    write = making.write_shard

    def slowly(*args):
        time.sleep(0.3)
        return write(*args)

    def stop(*args) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(making, "write_shard", slowly)
    with pytest.raises(KeyboardInterrupt):
        convert(ntu_raw, out, "ntu60", workers=workers, progress=stop)
    kept = sorted(p.name for p in out.iterdir())
    time.sleep(1)
    assert sorted(p.name for p in out.iterdir()) == kept
    assert not list(out.glob(".*.tmp"))
    finished = sum(name.startswith("shard-") for name in kept)
    assert 0 < finished < len(content(whole))
    assert convert(ntu_raw, out, "ntu60", workers=2).kept_shards == finished
    assert content(out) == content(whole)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_ctrl_c_is_not_lost_in_a_destructor(ntu_raw, ntu_shards, tmp_path, workers):
    """Python prints what is raised in one and goes on; to load what numba compiled runs thousands of them."""
    code = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background jobs ignore
import amr_data.workers as making
from amr_cli.data import main

class Thing:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000):
            pass

def want(wanted, before=making.want_compiled, things=[Thing()]):
    things.clear()
    before(wanted)

making.want_compiled = want
main(sys.argv[1:])
"""
    out = tmp_path / "out"
    words = ["convert", str(ntu_raw), str(out), "--dataset", "ntu60", "--workers", workers]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 130, done.stderr
    assert done.stderr.startswith("stopped: finished shards are kept; the same command goes on from there")
    assert not (out / "manifest.json").exists()
    assert not list(out.glob(".*.tmp"))
    convert(ntu_raw, out, "ntu60", workers=1)
    assert content(out) == content(ntu_shards)


def test_a_conversion_killed_while_it_wrote_its_plan_goes_on(ntu_raw, ntu_shards, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / ".lock").touch()
    (out / ".plan.json.4711.tmp").write_text("{")
    convert(ntu_raw, out, "ntu60", workers=1)
    assert content(out) == content(ntu_shards)
    assert not list(out.glob(".*.tmp"))


def test_an_archive_is_closed_when_its_conversion_has_ended(ntu_raw, tmp_path):
    with zipfile.ZipFile(tmp_path / "raw.zip", "w") as archive:
        for path in sorted(ntu_raw.iterdir()):
            archive.write(path, path.name)
    convert(tmp_path / "raw.zip", tmp_path / "out", "ntu60", workers=1)
    gc.collect()
    opened = {os.path.realpath(p) for p in Path("/proc/self/fd").iterdir() if p.exists()}
    assert str((tmp_path / "raw.zip").resolve()) not in opened


def test_shards_of_one_name_are_written_at_the_same_time(ntu_raw, ntu_shards, tmp_path):
    """Conversions in several threads of one process, to folders of their own."""
    outs = [tmp_path / str(i) for i in range(3)]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda out: convert(ntu_raw, out, "ntu60", workers=1), outs))
    assert [content(out) for out in outs] == [content(ntu_shards)] * 3


def test_a_shard_may_have_the_name_of_a_file_that_is_open_in_memory(ntu_raw, ntu_shards, tmp_path):
    with h5py.File("shard-00000.h5", "w", driver="core", backing_store=False):
        convert(ntu_raw, tmp_path / "out", "ntu60", workers=1)
    assert content(tmp_path / "out") == content(ntu_shards)


def test_a_full_disk_is_a_clear_error_and_loses_nothing(ntu_raw, ntu_shards, tmp_path):
    """A limit on the size of files stands in for the disk: the small shards fit, the large ones fail in the
    middle of writing."""
    sizes = sorted(p.stat().st_size for p in ntu_shards.glob("shard-*.h5"))
    limit = (sizes[0] + sizes[-1]) // 2
    assert sizes[0] < limit < sizes[-1]

    def shrink() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    process = run_convert(ntu_raw, tmp_path / "out", "--workers", "1", preexec_fn=shrink)
    _, errors = process.communicate()
    assert process.returncode == 1, errors
    assert "writing to" in errors
    assert "Traceback" not in errors
    assert not (tmp_path / "out" / "manifest.json").exists()
    for shard in (tmp_path / "out").glob("shard-*.h5"):
        assert sha256_of(shard) == sha256_of(ntu_shards / shard.name)
    convert(ntu_raw, tmp_path / "out", "ntu60", workers=1)
    assert content(tmp_path / "out") == content(ntu_shards)


def edit_manifest(path: Path, change) -> None:
    manifest = json.loads((path / "manifest.json").read_text())
    change(manifest)
    (path / "manifest.json").write_text(json.dumps(manifest))


def edit_shard(path: Path, change) -> None:
    """Change values inside a shard and hide it from the file hash, as a faulty program would."""
    shard = path / "shard-00001.h5"
    with h5py.File(shard, "r+") as file:
        change(file)
    edit_manifest(path, lambda m: m["shards"][1].update(sha256=sha256_of(shard)))


def set_joint(value: float):
    def change(file: h5py.File) -> None:
        file["frames/joints"][5, 3, 1] = value

    return change


def flip(path: Path) -> None:
    data = bytearray((path / "shard-00001.h5").read_bytes())
    data[len(data) // 2] ^= 1
    (path / "shard-00001.h5").write_bytes(data)


def shift_track(file: h5py.File) -> None:
    tracks = file["tracks"][()]
    tracks["first_row"][-1] += 10**6
    file["tracks"][...] = tracks


DAMAGE = {
    "flipped byte": (flip, "shard-00001.h5", "changed_file"),
    "truncated shard": (lambda p: os.truncate(p / "shard-00001.h5", 3000), "shard-00001.h5", "changed_file"),
    "empty shard": (lambda p: os.truncate(p / "shard-00001.h5", 0), "shard-00001.h5", "changed_file"),
    "missing shard": (lambda p: (p / "shard-00001.h5").unlink(), "shard-00001.h5", "missing_shard"),
    "another shard's content": (
        lambda p: shutil.copy(p / "shard-00000.h5", p / "shard-00001.h5"),
        "shard-00001.h5",
        "changed_file",
    ),
    "one value off by a hair": (lambda p: edit_shard(p, set_joint(0.123)), "shard-00001.h5", "checksum"),
    "a value that is not finite": (
        lambda p: edit_shard(p, set_joint(np.nan)),
        "shard-00001.h5",
        "non_finite",
    ),
    "a value out of range": (lambda p: edit_shard(p, set_joint(1e6)), "shard-00001.h5", "range"),
    "a track that points nowhere": (lambda p: edit_shard(p, shift_track), "shard-00001.h5", "structure"),
    "a table that is gone": (
        lambda p: edit_shard(p, lambda f: f.__delitem__("clips")),
        "shard-00001.h5",
        "unreadable",
    ),
    "a shard of another conversion": (
        lambda p: edit_shard(p, lambda f: f.attrs.__setitem__("fingerprint", "x")),
        "shard-00001.h5",
        "fingerprint",
    ),
    "a shard too many": (
        lambda p: shutil.copy(p / "shard-00000.h5", p / "shard-00099.h5"),
        "shard-00099.h5",
        "extra_shard",
    ),
    "wrong totals": (
        lambda p: edit_manifest(p, lambda m: m["totals"].update(clips=7)),
        "manifest.json",
        "totals",
    ),
    "wrong checksum in the manifest": (
        lambda p: edit_manifest(p, lambda m: m["shards"][1].update(checksum="0")),
        "shard-00001.h5",
        "checksum",
    ),
    "wrong protocol counts": (
        lambda p: edit_manifest(p, lambda m: m["protocol_counts"]["xsub"].update(train=1)),
        "manifest.json",
        "protocol_counts",
    ),
    "lost rejects": (lambda p: (p / "rejects.jsonl").write_text(""), "rejects.jsonl", "rejects"),
    "damaged manifest": (lambda p: (p / "manifest.json").write_text("{"), "manifest.json", "unreadable"),
    "missing manifest": (lambda p: (p / "manifest.json").unlink(), "manifest.json", "missing_manifest"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_planted_damage_is_found_named_and_repaired(ntu_raw, ntu_shards, tmp_path, kind):
    damage, file, finding = DAMAGE[kind]
    out = tmp_path / "out"
    shutil.copytree(ntu_shards, out)
    assert verify(out) == []
    damage(out)
    findings = verify(out)
    assert (file, finding) in {(f.where, f.kind) for f in findings}, findings
    untouched = (out / "shard-00002.h5").stat().st_mtime_ns
    if kind == "wrong checksum in the manifest":
        with pytest.raises(AmrError, match="other content than before"):
            repair(out, [ntu_raw], workers=1)
        assert [(f.where, f.kind) for f in verify(out)] == [("shard-00001.h5", "missing_shard")]
        return
    repair(out, [ntu_raw], workers=1)
    assert verify(out) == []
    assert content(out) == content(ntu_shards)
    assert (out / "shard-00002.h5").stat().st_mtime_ns == untouched


def test_repair_refuses_other_sources(ntu_raw, ntu_shards, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(ntu_shards, out)
    (out / "shard-00001.h5").unlink()
    fewer = tmp_path / "fewer"
    shutil.copytree(ntu_raw, fewer)
    sorted(fewer.iterdir())[0].unlink()
    with pytest.raises(UsageError, match="not the files"):
        repair(out, [fewer])
    same_size = tmp_path / "same_size"
    shutil.copytree(ntu_raw, same_size)
    for path in same_size.iterdir():
        path.write_bytes(path.read_bytes().replace(b"0.1", b"0.2"))
    with pytest.raises(AmrError, match="other content than before"):
        repair(out, [same_size], workers=1)
    assert [(f.where, f.kind) for f in verify(out)] == [
        ("shard-00001.h5", "missing_shard")
    ]  # as before, nothing slipped in
    repair(out, [ntu_raw], workers=1)
    assert content(out) == content(ntu_shards)


def test_repair_works_from_the_manifest_where_the_plan_is_lost(ntu_raw, ntu_shards, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(ntu_shards, out)
    (out / "plan.json").write_text("{")
    flip(out)
    repair(out, [ntu_raw], workers=1)
    assert verify(out) == []
    (out / "plan.json").unlink()
    (out / "manifest.json").unlink()
    with pytest.raises(AmrError, match="both damaged"):
        repair(out, [ntu_raw])


def test_changed_sources_of_the_same_size_are_noticed(ntu_raw, tmp_path):
    raw = tmp_path / "raw"
    shutil.copytree(ntu_raw, raw)
    convert(raw, tmp_path / "out", "ntu60", workers=1)
    path = sorted(raw.iterdir())[0]
    path.write_bytes(path.read_bytes().replace(b"0.1", b"0.2"))
    with pytest.raises(UsageError, match="other sources"):
        convert(raw, tmp_path / "out", "ntu60", workers=1)
