"""Compiled, in two gloo processes and with as many parameters as the paper's, a model has the losses of one
process that compiles nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch._dynamo
import torch.distributed as dist

from amr_train import Experiment, load_experiment
from amr_train.data.feed import Feed
from amr_train.evaluation.finetuning import Setting, train_classifier
from amr_train.listening import Listener
from amr_train.models.encoder import SkeletonEncoder
from amr_train.models.registry import make_method
from amr_train.parallel.processes import Processes
from amr_train.training import compiling
from amr_train.training.loop import prepare, train_step
from amr_train.training.optimizers import make_optimizer
from tests.amr_train.tracing import JOINTS_OF, clips

pytestmark = pytest.mark.long

CPU = torch.device("cpu")
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
    feed = Feed(clips(STEPS * 6), CPU, 24)
    optimizer = make_optimizer(method, experiment.pretrain)
    trained = prepare(method, experiment, processes, feed.device)
    where, chance = (processes.rank, processes.size), torch.Generator().manual_seed(0)
    how_shared = {"batches": batches, "whole_clips": method.whole_clips}
    views = feed.train_views(6, experiment.augment, chance, *where, **how_shared)
    return [
        processes.total(train_step(trained, batch, optimizer, experiment, step, processes)[0])
        for step, batch in enumerate(feed.batches(views))
    ]


class _Losses(Listener):
    def advance(self, done: int, total: int, metrics: dict[str, float]) -> None:
        self.found = metrics["loss"]


def finetuned(how: str, batches: str, processes: Processes) -> float:
    """The mean loss of an epoch of fine-tuning, without the chance that differs between processes."""
    experiment = experiment_of(how, batches)
    changed = {"batches": batches, "batch_size": 6, "epochs": 1, "warmup_epochs": 0}
    without_chance = {"drop_path": 0.0, "head_dropout": 0.0}
    config = experiment.evaluation.finetune.model_copy(update={**changed, **without_chance})
    torch.manual_seed(0)
    encoder, feed = SkeletonEncoder(experiment.model, JOINTS_OF), Feed(clips(STEPS * 6), CPU, 24)
    told = _Losses()
    setting = Setting(config, experiment.augment, processes=processes, listener=told, compile=how)
    model = train_classifier(encoder, feed, 3, setting)
    assert sum(p.numel() for p in model.parameters()) > PAPERS_PARAMETERS
    return told.found


COMPARED = ((losses, MODES[0]), (losses, MODES[1]), (finetuned, MODES[0]))


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
    for part, (how, batches) in COMPARED:
        graphs.clear()
        torch._dynamo.reset()
        found.append({"losses": part(how, batches, Processes(rank, 2)), "graphs": len(graphs)})
    torch.save(found, f"{out}/{rank}.pt")
    dist.destroy_process_group()


def test_two_compiled_processes_have_the_losses_of_one(tmp_path):
    torch.multiprocessing.spawn(_one_of_two, (str(tmp_path / "store"), str(tmp_path)), nprocs=2)
    alone = [part("none", batches, Processes()) for part, (_, batches) in COMPARED]
    for rank in range(2):
        both = torch.load(tmp_path / f"{rank}.pt")
        for found, wanted in zip(both, alone, strict=True):
            torch.testing.assert_close(found["losses"], wanted, atol=1e-5, rtol=1e-5)  # losses of some 80
            assert found["graphs"] >= BUCKETS
