"""Training, resuming, checkpoints, probes, configuration."""

from __future__ import annotations

import re
import shutil

import pytest
import torch
import yaml

from amr_data import UsageError
from amr_train import experiment_names, load_experiment, run_experiment
from amr_train.config import PretrainConfig
from amr_train.experiments.loading import valid_keys
from amr_train.parallel.processes import choose_device
from amr_train.training.loop import make_optimizer
from amr_train.training.schedule import learning_rate
from tests.amr_train.runs import Listener, Stop, small

CPU = torch.device("cpu")


@pytest.mark.parametrize("source", ["online", "shard"])
def test_a_run_leaves_everything_behind(ntu_shards, tmp_path, source):
    results = run_experiment(small(ntu_shards, f"guidance.source={source}"), tmp_path / "run")
    assert set(results["untrained"]) == set(results["pretrained"]) == {"linear", "linear_best_epoch", "knn"}
    assert results["clips"]["train"] + results["clips"]["test"] <= 48
    for name in ("run.json", "results.json", "metrics.jsonl", "encoder.safetensors"):
        assert (tmp_path / "run" / name).stat().st_size > 0
    assert list((tmp_path / "run" / "tensorboard").iterdir())
    record = yaml.safe_load((tmp_path / "run" / "run.json").read_text())
    assert record["experiment"]["guidance"]["source"] == source
    assert {"torch", "python"} <= set(record["versions"])
    assert len(record["data_fingerprint"]) == 64
    assert (
        run_experiment(small(ntu_shards, f"guidance.source={source}"), tmp_path / "run") == results
    )  # finished: not run again


def test_a_folder_of_another_run_is_refused(ntu_shards, tmp_path):
    with pytest.raises(Stop):
        run_experiment(small(ntu_shards), tmp_path / "run", Listener(stop_after=1))
    with pytest.raises(UsageError, match="other settings"):
        run_experiment(small(ntu_shards, "seed=5"), tmp_path / "run")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x.txt").write_text("x")
    with pytest.raises(UsageError, match="not empty"):
        run_experiment(small(ntu_shards), tmp_path / "other")


def test_pre_training_lowers_the_loss(ntu_shards, tmp_path):
    losses = []

    class Curve(Listener):
        def advance(self, done: int, total: int, metrics: dict[str, float]) -> None:
            if "epoch" in metrics and done % (total // 25) == 0:
                losses.append(metrics["loss_without_weights"])

    run_experiment(
        small(ntu_shards, "pretrain.epochs=25", "pretrain.min_lr=0.001"), tmp_path / "run", Curve()
    )
    assert sum(losses[-3:]) / 3 < 0.9 * losses[0]


def test_bfloat16_runs_on_the_cpu(ntu_shards, tmp_path):
    results = run_experiment(small(ntu_shards, "precision=bfloat16", "pretrain.epochs=2"), tmp_path / "run")
    assert results["pretraining"]["loss"] > 0


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["data.path=null"], "--data"),
        (["data.protocol=xset"], "there is no protocol 'xset' of ntu60"),
        (["data.dataset=ntu120"], "meant for ntu120"),
        (["guidance.source=shard", "guidance.windows=[6]"], "not 6"),
        (["device=cuda"], "no CUDA GPU"),
    ],
)
def test_what_does_not_fit_is_wrong_use(ntu_shards, tmp_path, overrides, says):
    if overrides == ["device=cuda"] and torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(UsageError, match=says):
        run_experiment(small(ntu_shards, *overrides), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_choose_device():
    assert choose_device("cpu") == CPU


def test_learning_rate_by_hand():
    config = PretrainConfig(epochs=10, warmup_epochs=2, lr=1.0, min_lr=0.5)
    rates = [learning_rate(s, 5, config) for s in range(50)]
    assert rates[:10] == pytest.approx([0.1 * i for i in range(1, 11)])
    assert rates[10] == pytest.approx(1.0)
    assert rates[-1] == pytest.approx(0.5)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    # half way down the cosine, between the 40 steps from 10 to 49
    assert (rates[29] + rates[30]) / 2 == pytest.approx(0.75)


def test_no_weight_decay_on_biases_and_norms():
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.LayerNorm(3))
    optimizer = make_optimizer(model, PretrainConfig())
    decayed = {p for g in optimizer.param_groups if g["weight_decay"] for p in g["params"]}
    assert decayed == {model[0].weight}


def test_shipped_experiments_load():
    assert {"demo", "nw-ucla-amr", "ntu60-xsub-amr"} <= set(experiment_names())
    paper = load_experiment("ntu60-xsub-amr")
    assert (paper.model.frames, paper.model.target_ratio, paper.mask.ratio) == (120, 6, 0.9)
    assert (paper.pretrain.epochs, paper.pretrain.lr, paper.pretrain.min_lr, paper.pretrain.betas) == (
        400,
        1e-3,
        5e-4,
        (0.9, 0.95),
    )
    for name in experiment_names():
        load_experiment(name)


def test_overrides_are_typed():
    experiment = load_experiment(
        "demo", ["pretrain.lr=2e-3", "guidance.focal=false", "guidance.windows=[4, 8]", "name=mine"]
    )
    assert (
        experiment.pretrain.lr,
        experiment.guidance.focal,
        experiment.guidance.windows,
        experiment.name,
    ) == (
        0.002,
        False,
        [4, 8],
        "mine",
    )


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("pretrain.epoch=5", "there is no setting 'pretrain.epoch': did you mean 'pretrain.epochs'?"),
        ("mask_rato=0.5", "did you mean 'mask.ratio'?"),
        ("guidance.focl=1", "did you mean 'guidance.focal'?"),
        ("pretrain=5", "there is no setting 'pretrain'"),
        ("pretrain.epochs", "does not read key=value"),
        ("pretrain.epochs=many", "pretrain.epochs"),
        ("pretrain.epochs=0", "greater than or equal to 1"),
        ("target.kind=pose", "'joints' or 'motion'"),
        ("model.target_ratio=7", "must divide"),
        ("model.frames=50", "multiple of segment"),
        ("guidance.windows=[5]", "5 does not divide"),
        ("pretrain.warmup_epochs=1000", "must be below"),
        ("pretrain.epochs=[", "is not YAML"),
    ],
)
def test_typos_in_overrides_are_named(override, says):
    with pytest.raises(UsageError, match=re.escape(says)):
        load_experiment("demo", [override])


def test_an_unknown_key_in_a_file_is_named(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("model: {widht: 64}\n")
    with pytest.raises(
        UsageError, match=re.escape("there is no setting 'model.widht': did you mean 'model.width'?")
    ):
        load_experiment(str(path))
    path.write_text("model: {width: 64}\n")
    assert load_experiment(str(path)).name == "mine"
    for text in ("- 1", "a: [", "model: 5"):
        path.write_text(text)
        with pytest.raises(UsageError, match=r"mine\.yaml"):
            load_experiment(str(path))
    with pytest.raises(UsageError, match="did you mean 'nw-ucla-amr'"):
        load_experiment("nw-ucla-arm")
    with pytest.raises(UsageError, match="no experiment file"):
        load_experiment(str(tmp_path / "none.yaml"))


def test_every_key_has_a_home():
    assert "evaluation.linear.lr" in valid_keys()
    assert "evaluation.linear" not in valid_keys()


def test_sequences_that_fill_up_a_batch_for_cuda_graphs_do_not_count(ntu_shards):
    """The same step with the batch filled up to the next multiple of 32 sequences, on the CPU without
    compiling."""
    from amr_data import open_dataset
    from amr_train.data.feed import Feed
    from amr_train.models.masked import MaskedModel
    from amr_train.parallel.processes import Processes
    from amr_train.training.loop import train_step

    dataset = open_dataset(ntu_shards)
    after = []
    for overrides in (["compile=none"], ["compile=cuda-graphs"]):
        experiment = small(ntu_shards, "guidance.source=shard", *overrides)
        torch.manual_seed(0)
        model = MaskedModel(experiment, 25, dataset.windows)
        feed = Feed(dataset.arrays(dataset.split("xsub", "train")), CPU, 24, with_energy=True)
        batch = feed.batch(feed.train_views(8, experiment.augment, torch.Generator().manual_seed(0)), 0)
        assert len(batch.joints) % 32
        loss, plain = train_step(
            model, batch, make_optimizer(model, experiment.pretrain), experiment, 0, Processes()
        )
        after.append([loss, plain, *(p.grad for p in model.parameters())])
    for a, b in zip(*after, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def test_compiling_needs_a_compiler(ntu_shards, tmp_path, monkeypatch):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(UsageError, match="compile=default needs a C\\+\\+ compiler on the CPU"):
        run_experiment(small(ntu_shards, "compile=default"), tmp_path / "run")


@pytest.mark.skipif(
    shutil.which("g++") is None,
    reason="torch.compile needs a C++ compiler on the CPU, and there is none here",
)
def test_a_compiled_model_trains_alike(ntu_shards, tmp_path):
    runs = {}
    for mode in ("none", "default"):
        experiment = small(ntu_shards, f"compile={mode}", "pretrain.epochs=2", "pretrain.min_lr=0.001")
        runs[mode] = run_experiment(experiment, tmp_path / mode)["pretraining"]["loss"]
    assert runs["default"] == pytest.approx(runs["none"], rel=1e-4)
