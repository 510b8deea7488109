"""A split in memory: what each process has of it, and that the machine holds it once."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import signal
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
import torch.distributed as dist

from amr_data import AmrError, convert, open_dataset, plan
from amr_data.shards.opening import Shard
from amr_train import listening
from amr_train.data.feed import Feed
from amr_train.data.reading import read_split
from amr_train.listening import Listener
from amr_train.parallel import sharing
from amr_train.parallel.processes import Processes

CPU = torch.device("cpu")


@pytest.mark.parametrize("energy", [False, True])
def test_alone_a_split_is_what_the_dataset_gives(ntu_shards, energy):
    dataset = open_dataset(ntu_shards)
    clips = dataset.split("xsub", "train")
    wanted = dataset.arrays(clips, energy)
    assert wanted.energy.shape == (len(wanted.joints), 25, len(dataset.windows) if energy else 0)
    plain = read_split(dataset, clips, Processes(), energy)
    more = read_split(dataset, clips, Processes(), energy, zero_frame=True)
    for name in ("joints", "energy"):
        values = getattr(wanted, name)
        np.testing.assert_array_equal(getattr(plain, name), values)
        np.testing.assert_array_equal(getattr(more, name)[:-1], values)
        assert not getattr(more, name)[-1].any()
    for name in ("frame", "first_row", "rows", "clip", "labels", "clip_frames"):
        np.testing.assert_array_equal(getattr(more, name), getattr(wanted, name))
    kept = [Feed(arrays, CPU, 24, energy, bodies=2) for arrays in (wanted, more)]
    batches = [feed.batch(feed.centre_views(5, 1.0), 0) for feed in kept]
    assert torch.equal(batches[0].joints, batches[1].joints)
    assert kept[1].joints.data_ptr() == more.joints.ctypes.data  # no second copy


def test_energies_that_nobody_wants_are_not_read(ntu_shards, monkeypatch):
    read = []
    frames = Shard.frames
    monkeypatch.setattr(Shard, "frames", lambda *given: (read.append(given[3]), frames(*given))[1])
    dataset = open_dataset(ntu_shards)
    read_split(dataset, np.arange(3), Processes())
    assert not any(read)
    read_split(dataset, np.arange(3), Processes(), energy=True)
    assert read[-1] is True


def _one_of_two(rank: int, shards: Path, folder: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    dataset, processes = open_dataset(shards), Processes(rank, 2, rank, CPU, 2)
    clips, found = dataset.split("xsub", "train"), {}
    wanted, refuse = dataset.arrays(clips), AmrError("this shard is damaged")
    place = folder / "place"
    sharing.PLACES = (folder / "not there", place)
    with mock.patch.object(Shard, "frames", Shard.frames if rank == 0 else None):  # the second cannot read
        shared = read_split(dataset, clips, processes, energy=True, zero_frame=True)
        found["equal"] = bool(np.array_equal(shared.joints[:-1], wanted.joints))
        found["energies"] = bool(np.array_equal(shared.energy[:-1], wanted.energy))
        found["zeros"] = not shared.joints[-1].any() and not shared.energy[-1].any()
        found["files"] = len(list(place.iterdir()))
        dist.barrier()  # both have looked
        if rank == 0:
            shared.joints[0, 0, 0] = 7
        dist.barrier()
        found["same memory"] = float(shared.joints[0, 0, 0])
    with mock.patch.object(Shard, "frames", mock.Mock(side_effect=refuse) if rank == 0 else None):
        try:
            read_split(dataset, clips, processes)
        except AmrError as error:
            found["error"] = [str(error), error.said]
    sharing.PLACES = () if rank == 0 else sharing.PLACES
    found["own"] = bool(np.array_equal(read_split(dataset, clips, processes).joints, wanted.joints))
    (folder / f"{rank}.json").write_text(json.dumps(found))
    sharing.PLACES = (place,)
    killed = mock.Mock(side_effect=lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    with mock.patch.object(Shard, "frames", killed):
        read_split(dataset, clips, processes)  # the first is killed, the second learns of it


@pytest.mark.skipif(os.name != "posix", reason="files that are open keep their names")
def test_two_processes_of_a_machine_hold_a_split_once(ntu_shards, tmp_path):
    """The second maps what the first has read; an error of the first is that of both; without room each reads
    its own; and a first that is killed while it reads leaves nothing behind."""
    (tmp_path / "place").mkdir()
    context = multiprocessing.get_context("spawn")
    both = [context.Process(target=_one_of_two, args=(rank, ntu_shards, tmp_path)) for rank in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(120)
    assert both[0].exitcode == -signal.SIGKILL
    assert both[1].exitcode == 1  # by gloo: the other is gone
    for rank in range(2):
        found = json.loads((tmp_path / f"{rank}.json").read_text())
        assert found.pop("error") == ["this shard is damaged", rank == 1]
        assert found.pop("files") == 0
        assert found.pop("same memory") == 7
        assert found == {"equal": True, "energies": True, "zeros": True, "own": True}
    assert not list((tmp_path / "place").iterdir())


class _Heard(Listener):
    def __init__(self) -> None:
        self.said: list[tuple[str, int, int]] = []

    def stage(self, title: str) -> None:
        self.title = title

    def advance(self, done: int, total: int, metrics: dict[str, float]) -> None:
        self.said.append((self.title, done, total))


def test_how_far_comparing_and_reading_are_is_told_where_it_takes_long(ntu_raw, tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "MIN_SHARD_BYTES", 1 << 19)
    convert(ntu_raw, tmp_path / "data", "ntu60", workers=1)
    dataset = open_dataset(tmp_path / "data")
    shards = len(np.unique(dataset.shard_of))  # one of damaged files alone is not read
    assert shards > 2
    expected = [
        (title, k, shards) for title in ("comparing files", "reading clips") for k in range(1, shards + 1)
    ]
    heard = _Heard()
    monkeypatch.setattr(listening, "PATIENCE", math.inf)
    read_split(dataset, np.arange(len(dataset)), Processes(), listener=heard)
    assert heard.said == []
    monkeypatch.setattr(listening, "PATIENCE", 0.0)
    dataset = open_dataset(tmp_path / "data")
    read_split(dataset, np.arange(len(dataset)), Processes(), listener=heard)
    assert heard.said == expected
    heard = _Heard()
    read_split(dataset, np.arange(len(dataset)), Processes(), listener=heard)
    assert heard.said == expected[shards:]  # compared once

    read_split(dataset, np.arange(1), Processes(), listener=heard)
    assert heard.said == expected[shards:]  # one part is no progress
