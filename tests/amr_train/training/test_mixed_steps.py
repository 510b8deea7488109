"""Steps on several skeletons at once: a graph for each, and the same by two processes as by one."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch._dynamo
from torch._dynamo.testing import CompileCounterWithBackend

from amr_train.data.feed import Feed
from amr_train.data.mixing import MixedFeed
from amr_train.parallel.processes import Processes
from amr_train.training import compiling
from amr_train.training.loop import make_optimizer, prepare, train_step
from tests.amr_train.models.test_joint_names import FIVE, THREE, experiment_of, method_of
from tests.amr_train.tracing import clips

CPU = torch.device("cpu")


def mixed() -> MixedFeed:
    """Datasets of 24 and of 40 clips, of five joints and of three."""
    wide, narrow = clips(24), clips(40)
    narrow = replace(narrow, joints=narrow.joints[:, :3].copy(), energy=narrow.energy[:, :3].copy())
    feeds = {"a": Feed(wide, CPU, 24, True, naming=FIVE), "b": Feed(narrow, CPU, 24, True, naming=THREE)}
    return MixedFeed(feeds, 0.5)


def steps(processes: Processes, *settings: str) -> list[torch.Tensor]:
    """Losses of an epoch's eight steps, each of which follows from the weights before it."""
    experiment = experiment_of("amr", *settings)
    method, feed = method_of(experiment, FIVE), mixed()
    optimizer = make_optimizer(method, experiment.pretrain)
    trained = prepare(method, experiment, processes, CPU)
    chance = torch.Generator().manual_seed(0)
    where, batches = (processes.rank, processes.size), experiment.pretrain.batches
    views = feed.train_views(8, experiment.augment, chance, *where, batches=batches, whole_clips=False)
    losses = []
    for step, batch in enumerate(feed.batches(views)):
        loss, _ = train_step(trained, batch, optimizer, experiment, step, processes)
        losses.append(processes.total(loss))
    return losses


@pytest.mark.parametrize(
    "settings",
    [["compile=default"], ["compile=cuda-graphs", "pretrain.batches=even"]],
    ids=["default", "graphs"],
)
def test_every_skeleton_is_one_graph(monkeypatch, settings):
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("eager")
    monkeypatch.setattr(compiling, "BACKEND", counter)
    losses = steps(Processes(), *settings)
    assert len(losses) == 8
    assert counter.frame_count == 2
    plain = steps(Processes(), "compile=none", *settings[1:])
    torch.testing.assert_close(losses, plain, atol=1e-5, rtol=1e-5)


def _one_of_two(rank: int, store: str, out: str) -> None:
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    torch.save(steps(Processes(rank, 2, rank, CPU, 2)), f"{out}/{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_do_what_one_does(tmp_path):
    torch.multiprocessing.spawn(_one_of_two, (str(tmp_path / "store"), str(tmp_path)), nprocs=2)
    losses = steps(Processes())
    for rank in range(2):
        torch.testing.assert_close(torch.load(tmp_path / f"{rank}.pt"), losses, atol=1e-5, rtol=1e-5)
