"""What is compiled: one graph, compiled once, that gives what the plain step gives; what fills up a batch
does not count."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch._dynamo
from torch._dynamo.testing import CompileCounterWithBackend

from amr_data import SplitArrays, UsageError
from amr_data.shards.opening import Shard
from amr_train import load_experiment, run_experiment
from amr_train.config import Experiment
from amr_train.data.batching import Batch
from amr_train.data.feed import Feed
from amr_train.evaluation import finetuning
from amr_train.evaluation.finetuning import Classifier, Setting, classify, train_classifier
from amr_train.models.encoder import SkeletonEncoder
from amr_train.models.registry import make_method
from amr_train.parallel.processes import Processes
from amr_train.training import compiling
from amr_train.training.loop import prepare, train_step
from amr_train.training.optimizers import make_optimizer
from tests.amr_train.runs import FAST_FINETUNING, Listener, Stop, small
from tests.amr_train.tracing import COMPACT, METHODS, SETTINGS, TAUGHT, clips

CPU = torch.device("cpu")
JOINTS, WINDOWS = 5, (4, 8, 12)
SPECIAL: list[tuple[str, list[str]]] = [("amr", COMPACT), ("agreement", TAUGHT)]
EVERY = [*((method, []) for method in METHODS), *SPECIAL]


@pytest.fixture
def counter(monkeypatch) -> CompileCounterWithBackend:
    torch._dynamo.reset()
    found = CompileCounterWithBackend("eager")
    monkeypatch.setattr(compiling, "BACKEND", found)
    return found


def experiment_of(method: str, *settings: str) -> Experiment:
    return load_experiment(f"ntu60-xsub-{method}", [*SETTINGS, "guidance.source=shard", *settings])


def steps(
    experiment: Experiment, arrays: SplitArrays, epochs: int = 2
) -> tuple[list[torch.Tensor], list[int]]:
    """Losses and numbers of sequences of some epochs."""
    torch.manual_seed(0)
    method = make_method(experiment, JOINTS, WINDOWS)
    feed = Feed(arrays, CPU, 24, method.needs_energy)
    optimizer = make_optimizer(method, experiment.pretrain)
    trained = prepare(method, experiment, Processes(), CPU)
    losses, sizes = [], []
    for epoch in range(epochs):
        chance, batches = torch.Generator().manual_seed(epoch), experiment.pretrain.batches
        views = feed.train_views(
            experiment.pretrain.batch_size, experiment.augment, chance, count=method.views, batches=batches
        )
        for batch in feed.batches(views):
            losses.append(train_step(trained, batch, optimizer, experiment, len(losses), Processes())[0])
            sizes.append(len(batch.joints))
    return losses, sizes


@pytest.mark.parametrize(("method", "settings"), EVERY)
def test_every_method_is_one_graph(method, settings):
    torch._dynamo.reset()
    experiment = experiment_of(method, *settings)
    model = make_method(experiment, JOINTS, WINDOWS)
    feed = Feed(clips(), CPU, 24, model.needs_energy)
    batch = feed.batch(feed.train_views(8, experiment.augment, torch.Generator().manual_seed(0)), 0)
    assert batch.present is not None
    noise = torch.rand(len(batch.joints), model.encoder.tokens)
    found = torch._dynamo.explain(model)(batch.joints, noise, batch.energy, batch.present)
    assert (found.graph_count, found.graph_break_count) == (1, 0), found.break_reasons


@pytest.mark.parametrize("settings", [[], COMPACT])
def test_fine_tuning_is_one_graph(settings):
    torch._dynamo.reset()
    experiment = experiment_of("amr", *settings)
    model = Classifier(SkeletonEncoder(experiment.model, JOINTS), 3, experiment.evaluation.finetune).train()
    finetuning.set_drop_path(model.encoder, 0.3)
    batch = Feed(clips(), CPU, 24).batch(Feed(clips(), CPU, 24).centre_views(8, 1), 0)
    found = torch._dynamo.explain(model.bodies)(batch.joints, batch.present)
    assert (found.graph_count, found.graph_break_count) == (1, 0), found.break_reasons


@pytest.mark.parametrize(("method", "settings"), [("amr", []), ("mamp", []), *SPECIAL])
def test_batches_of_any_size_are_compiled_once(counter, method, settings):
    arrays = clips(60)
    losses, sizes = steps(experiment_of(method, "compile=default", *settings), arrays)
    assert len(set(sizes)) > 3
    assert counter.frame_count == 1
    plain, _ = steps(experiment_of(method, *settings), arrays)
    torch.testing.assert_close(losses, plain, atol=1e-5, rtol=1e-5)


def test_even_batches_have_one_shape_and_are_compiled_once(counter, monkeypatch):
    """A step for CUDA graphs, on the CPU: every batch is filled up to the same size, which is known
    beforehand."""
    seen = set()
    prepared = torch.compile

    def compile_(function: Callable[..., object], **settings: object) -> Callable[..., object]:
        made = prepared(function, **settings)
        return lambda joints, *rest: (seen.add(len(joints)), made(joints, *rest))[1]

    monkeypatch.setattr(torch, "compile", compile_)
    arrays = clips(60)
    graphs = experiment_of("amr", "compile=cuda-graphs", "pretrain.batches=even")
    losses, sizes = steps(graphs, arrays)
    assert seen == {Feed(arrays, CPU, 24).even(8).room()}
    assert max(sizes) - min(sizes) <= 2  # the second body is not in every crop
    assert counter.frame_count == 1
    plain, _ = steps(graphs.model_copy(update={"compile": "none"}), arrays)
    torch.testing.assert_close(losses, plain, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("compile_", "batches"), [("default", "drawn"), ("cuda-graphs", "drawn"), ("cuda-graphs", "even")]
)
def test_fine_tuning_is_compiled_once_and_alike(counter, compile_, batches):
    experiment = experiment_of("amr")
    update = {"batches": batches, "epochs": 2, "warmup_epochs": 0, "drop_path": 0.0, "head_dropout": 0.0}
    config = experiment.evaluation.finetune.model_copy(update=update)
    encoder, arrays = SkeletonEncoder(experiment.model, JOINTS), clips(60)
    feed, logits = Feed(arrays, CPU, 24), []
    for how in ("none", compile_):
        setting = Setting(config, experiment.augment, compile=how)
        model = train_classifier(encoder, feed, 3, setting)
        logits.append(classify(model, feed, 7, 1.0, setting))
        assert "bodies" not in vars(model)
    assert counter.frame_count == 1
    # a bias before BatchNorm has no gradient but rounding, which Adam makes a step of
    torch.testing.assert_close(*logits, atol=5e-3, rtol=0)


@pytest.mark.parametrize(("method", "settings"), EVERY)
def test_sequences_that_fill_up_a_batch_do_not_count(method, settings):
    """Loss and gradients of a step are those of the batch as it is."""
    found = []
    for compile_ in ("none", "cuda-graphs"):
        experiment = experiment_of(method, "pretrain.batches=even", *settings)
        torch.manual_seed(0)
        model = make_method(experiment.model_copy(update={"compile": compile_}), JOINTS, WINDOWS)
        feed = Feed(clips(), CPU, 24, model.needs_energy)
        chance = torch.Generator().manual_seed(0)
        views = feed.train_views(8, experiment.augment, chance, count=model.views, batches="even")
        batch = feed.batch(views, 0)
        batch.room = max(len(view.joints) for view in (batch, *batch.others)) + 3
        loss, _ = model.loss(batch, torch.Generator().manual_seed(1))
        loss.mean().backward()
        found.append([loss.detach(), *(p.grad for p in model.parameters() if p.requires_grad)])
    assert found[0][0].shape == found[1][0].shape
    for plain, filled in zip(*found, strict=True):
        torch.testing.assert_close(plain, filled, atol=1e-6, rtol=1e-6)


def test_what_fills_up_a_batch_of_fine_tuning_does_not_count():
    experiment = experiment_of("amr")
    config = experiment.evaluation.finetune.model_copy(update={"head_dropout": 0.0})
    model = Classifier(SkeletonEncoder(experiment.model, JOINTS), 3, config)
    feed = Feed(clips(), CPU, 24)
    batch: Batch = feed.batch(feed.centre_views(8, 1), 0)
    shown = (batch.joints, batch.present, batch.clip, len(batch.clips), None)
    torch.testing.assert_close(model(*shown, len(batch.joints) + 5), model(*shown), atol=1e-6, rtol=1e-6)
    with pytest.raises(ValueError, match="do not fit into"):
        model(*shown, len(batch.joints) - 1)


def test_a_run_compiles_its_two_networks_once_each(counter, ntu_shards, tmp_path):
    """However many epochs, looks at the features, batches of other sizes and evaluations it has."""
    settings = [*FAST_FINETUNING, "evaluation.protocols=[linear, finetune]", "monitor.every_epochs=1"]
    more = ["evaluation.finetune.epochs=2", "evaluation.finetune.batch_size=6", "compile=default"]
    experiment = small(ntu_shards, *settings, *more)
    with pytest.raises(Stop):
        run_experiment(experiment, tmp_path / "run", Listener(stop_after=5))
    assert counter.frame_count == 1
    torch._dynamo.reset()
    run_experiment(experiment, tmp_path / "run")
    assert counter.frame_count == 1 + 2


def test_energies_are_not_read_where_guidance_is_online(ntu_shards, tmp_path, monkeypatch):
    read: list[bool] = []
    frames = Shard.frames
    monkeypatch.setattr(Shard, "frames", lambda *given: (read.append(given[3]), frames(*given))[1])
    settings = ["pretrain.epochs=2", "evaluation.protocols=[knn]", "monitor.every_epochs=1"]
    for source, wanted in (("online", {False}), ("shard", {True, False})):
        run_experiment(small(ntu_shards, f"guidance.source={source}", *settings), tmp_path / source)
        assert set(read) == wanted
        read.clear()


def test_cuda_graphs_want_batches_of_one_size(ntu_shards, tmp_path):
    with pytest.raises(UsageError, match=r"add pretrain\.batches=even"):
        run_experiment(small(ntu_shards, "compile=cuda-graphs"), tmp_path / "run")


def test_a_run_of_even_batches_is_taken_up_with_the_same_ones(ntu_shards, tmp_path):
    even = small(ntu_shards, "pretrain.batches=even", "evaluation.protocols=[]")
    whole = run_experiment(even, tmp_path / "whole")
    with pytest.raises(Stop):
        run_experiment(even, tmp_path / "parts", Listener(stop_after=5))
    run_experiment(even, tmp_path / "parts")
    encoders = [(tmp_path / run / "encoder.safetensors").read_bytes() for run in ("whole", "parts")]
    assert encoders[0] == encoders[1]
    assert np.isfinite(whole["pretraining"]["loss"])
