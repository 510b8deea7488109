"""Compiled, in two gloo processes and with as many parameters as the paper's, a model has the losses of one
process that compiles nothing."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch._dynamo
import torch.distributed as dist

from amr_train import Experiment, load_experiment
from amr_train.data.feed import Feed
from amr_train.models.registry import make_method
from amr_train.parallel.processes import Processes
from amr_train.training import compiling
from amr_train.training.loop import make_optimizer, prepare, train_step
from tests.amr_train.tracing import JOINTS_OF, clips

MODES = (("default", "drawn"), ("cuda-graphs", "even"))
STEPS = 2
PAPERS_PARAMETERS = 10_200_000
"""41 MB in float32: more than one bucket of DistributedDataParallel, for which Dynamo splits the graph."""
BUCKETS = 2


def experiment_of(how: str, batches: str) -> Experiment:
    """Few wide layers, which compile faster than the paper's many, and short clips."""
    wide = ["model.width=704", "model.encoder_layers=1", "model.decoder_layers=1"]
    short = ["model.frames=24", "augment.min_frames=12", "pretrain.batch_size=6", "precision=float32"]
    modes = [f"compile={how}", f"pretrain.batches={batches}"]
    return load_experiment("ntu60-xsub-amr", [*wide, *short, *modes])


def losses(how: str, batches: str, processes: Processes) -> list[torch.Tensor]:
    experiment = experiment_of(how, batches)
    torch.manual_seed(0)
    method = make_method(experiment, JOINTS_OF, (4, 8, 12))
    assert sum(p.numel() for p in method.parameters()) > PAPERS_PARAMETERS
    feed = Feed(clips(STEPS * 6), torch.device("cpu"), 24)
    optimizer = make_optimizer(method, experiment.pretrain)
    trained = prepare(method, experiment, processes, feed.device)
    where, chance = (processes.rank, processes.size), torch.Generator().manual_seed(0)
    views = feed.train_views(6, experiment.augment, chance, *where, batches=batches)
    return [
        processes.total(train_step(trained, batch, optimizer, experiment, step, processes)[0])
        for step, batch in enumerate(feed.batches(views))
    ]


def _one_of_two(rank: int, store: str, out: str) -> None:
    from torch._dynamo.backends.debugging import aot_eager

    torch.set_num_threads(1)
    graphs = []

    def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable[..., object]:
        graphs.append(graph)
        return aot_eager(graph, inputs)

    compiling.BACKEND = backend
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    found = []
    for how, batches in MODES:
        graphs.clear()
        torch._dynamo.reset()
        found.append({"losses": losses(how, batches, Processes(rank, 2)), "graphs": len(graphs)})
    torch.save(found, f"{out}/{rank}.pt")
    dist.destroy_process_group()


def test_two_compiled_processes_have_the_losses_of_one(tmp_path):
    torch.multiprocessing.spawn(_one_of_two, (str(tmp_path / "store"), str(tmp_path)), nprocs=2)
    for mode, (_, batches) in enumerate(MODES):
        alone = losses("none", batches, Processes())
        for rank in range(2):
            found = torch.load(tmp_path / f"{rank}.pt")[mode]
            torch.testing.assert_close(found["losses"], alone, atol=1e-5, rtol=1e-6)  # losses of some 80
            assert found["graphs"] >= BUCKETS
