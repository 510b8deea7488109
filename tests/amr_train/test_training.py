"""Training, resuming, checkpoints, probes, configuration."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import pytest
import torch
import yaml

from amr_data import AmrError, UsageError
from amr_train import experiment_names, load_experiment, run_experiment
from amr_train.checkpoint import list_checkpoints, load_latest, save_checkpoint
from amr_train.config import LinearConfig, PretrainConfig, valid_keys
from amr_train.pretrain import learning_rate, make_optimizer
from amr_train.probe import knn_accuracy, linear_probe
from amr_train.run import choose_device

CPU = torch.device("cpu")
TINY = [
    "model.frames=24",
    "model.width=16",
    "model.encoder_layers=1",
    "model.decoder_layers=1",
    "pretrain.epochs=4",
    "pretrain.warmup_epochs=1",
    "pretrain.batch_size=8",
    "pretrain.checkpoint_epochs=1",
    "evaluation.linear.epochs=3",
]


class Stop(Exception):
    pass


class Listener:
    """Stops the run after some epochs, as a kill would; keeps what it was told."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.stop_after, self.epochs, self.lines = stop_after, [], []

    def stage(self, title: str) -> None:
        self.title = title

    def advance(self, done: int, total: int, metrics: dict[str, float]) -> None:
        if self.title == "pre-training":
            self.epochs.append(done)
            if done == self.stop_after:
                raise Stop

    def warn(self, line: str) -> None:
        self.lines.append(line)


def tiny(shards: Path, *overrides: str):
    return load_experiment("demo", [*TINY, f"data.path={shards}", *overrides])


@pytest.mark.parametrize("source", ["online", "shard"])
def test_a_run_leaves_everything_behind(ntu_shards, tmp_path, source):
    results = run_experiment(tiny(ntu_shards, f"guidance.source={source}"), tmp_path / "run")
    assert set(results["untrained"]) == set(results["pretrained"]) == {"linear", "linear_best_epoch", "knn"}
    assert results["clips"]["train"] + results["clips"]["test"] <= 48
    for name in ("run.json", "results.json", "metrics.jsonl", "encoder.pt"):
        assert (tmp_path / "run" / name).stat().st_size > 0
    assert list((tmp_path / "run" / "tensorboard").iterdir())
    record = yaml.safe_load((tmp_path / "run" / "run.json").read_text())
    assert record["experiment"]["guidance"]["source"] == source
    assert {"torch", "python"} <= set(record["versions"])
    assert len(record["data_fingerprint"]) == 64
    assert run_experiment(tiny(ntu_shards, f"guidance.source={source}"), tmp_path / "run") == results  # finished: not run again


def test_a_run_taken_up_ends_with_the_very_weights_of_one_that_was_not_stopped(ntu_shards, tmp_path):
    run_experiment(tiny(ntu_shards), tmp_path / "whole")
    for stop in (1, 3):
        with pytest.raises(Stop):
            run_experiment(tiny(ntu_shards), tmp_path / "parts", Listener(stop_after=stop))
    listener = Listener()
    run_experiment(tiny(ntu_shards), tmp_path / "parts", listener)
    assert listener.epochs == [4]
    whole, parts = (torch.load(tmp_path / n / "checkpoints" / "epoch-000004.pt", weights_only=True) for n in ("whole", "parts"))
    assert all(torch.equal(whole["model"][k], parts["model"][k]) for k in whole["model"])
    encoders = [torch.load(tmp_path / n / "encoder.pt", weights_only=True)["encoder"] for n in ("whole", "parts")]
    assert all(torch.equal(encoders[0][k], encoders[1][k]) for k in encoders[0])


def test_a_damaged_checkpoint_gives_way_to_the_one_before(ntu_shards, tmp_path):
    with pytest.raises(Stop):
        run_experiment(tiny(ntu_shards), tmp_path / "run", Listener(stop_after=3))
    newest = list_checkpoints(tmp_path / "run" / "checkpoints")[-1]
    newest.write_bytes(newest.read_bytes()[:500])
    listener = Listener()
    run_experiment(tiny(ntu_shards), tmp_path / "run", listener)
    assert listener.epochs == [3, 4]
    assert "epoch-000003" in listener.lines[0]


def test_a_folder_of_another_run_is_refused(ntu_shards, tmp_path):
    with pytest.raises(Stop):
        run_experiment(tiny(ntu_shards), tmp_path / "run", Listener(stop_after=1))
    with pytest.raises(UsageError, match="other settings"):
        run_experiment(tiny(ntu_shards, "seed=5"), tmp_path / "run")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x.txt").write_text("x")
    with pytest.raises(UsageError, match="not empty"):
        run_experiment(tiny(ntu_shards), tmp_path / "other")


def test_pre_training_lowers_the_loss(ntu_shards, tmp_path):
    losses = []

    class Curve(Listener):
        def advance(self, done: int, total: int, metrics: dict[str, float]) -> None:
            if "loss_without_weights" in metrics:
                losses.append(metrics["loss_without_weights"])

    run_experiment(tiny(ntu_shards, "pretrain.epochs=25", "pretrain.min_lr=0.001"), tmp_path / "run", Curve())
    assert sum(losses[-3:]) / 3 < 0.9 * losses[0]


def test_a_loss_that_is_not_finite_stops_the_run(ntu_shards, tmp_path):
    with pytest.raises(AmrError, match=r"loss is (nan|inf).*pretrain\.lr"):
        run_experiment(
            tiny(ntu_shards, "pretrain.lr=1e30", "pretrain.warmup_epochs=0", "target.normalize=none"), tmp_path / "run"
        )


def test_bfloat16_runs_on_the_cpu(ntu_shards, tmp_path):
    results = run_experiment(tiny(ntu_shards, "precision=bfloat16", "pretrain.epochs=2"), tmp_path / "run")
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
        run_experiment(tiny(ntu_shards, *overrides), tmp_path / "run")
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
    optimizer = make_optimizer(model, PretrainConfig(), CPU)
    decayed = {p for g in optimizer.param_groups if g["weight_decay"] for p in g["params"]}
    assert decayed == {model[0].weight}


def test_checkpoints_are_kept_to_the_last_few(tmp_path):
    for epoch in range(1, 6):
        save_checkpoint(tmp_path, epoch, {"x": torch.ones(2)}, keep=2)
    assert [p.name for p in list_checkpoints(tmp_path)] == ["epoch-000004.pt", "epoch-000005.pt"]


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "touched",))

    save_checkpoint(tmp_path, 1, {"x": 1}, keep=5)
    torch.save({"epoch": 2, "x": Evil()}, tmp_path / "epoch-000002.pt")
    (tmp_path / "epoch-000003.pt").write_bytes(pickle.dumps({"epoch": 3, "x": Evil()}))
    state, problems = load_latest(tmp_path, CPU)
    assert state is not None
    assert state["epoch"] == 1
    assert len(problems) == 2
    assert not (tmp_path / "touched").exists()


def clusters(shuffled: bool = False):
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(400) % 4
    features = torch.eye(4)[labels] * 6 + torch.randn(400, 4, generator=generator) * 0.3
    if shuffled:
        labels = labels[torch.randperm(400, generator=generator)]
    return features[:300], labels[:300], features[300:], labels[300:]


@pytest.mark.parametrize("batch_norm", [True, False])
def test_separable_features_reach_100_and_shuffled_labels_stay_at_chance(batch_norm):
    config = LinearConfig(epochs=60, lr=0.1, batch_size=64, batch_norm=batch_norm)
    train, train_labels, test, test_labels = clusters()
    assert linear_probe(train, train_labels, test, test_labels, 4, config, 0)[0] == 100
    assert knn_accuracy(train, train_labels, test, test_labels, 3) == 100
    train, train_labels, test, test_labels = clusters(shuffled=True)
    assert linear_probe(train, train_labels, test, test_labels, 4, config, 0)[0] < 45
    assert knn_accuracy(train, train_labels, test, test_labels, 1) < 45


def test_the_headline_is_the_last_epoch():
    train, train_labels, test, test_labels = clusters(shuffled=True)
    last, best = linear_probe(train, train_labels, test, test_labels, 4, LinearConfig(epochs=30, lr=0.5), 0)
    assert last < best


def test_knn_by_hand():
    train = torch.tensor([[1.0, 0], [0, 1], [-1, 0.1]])
    labels = torch.tensor([0, 1, 2])
    test = torch.tensor([[5.0, 1], [0.1, 9], [-3, 3.5]])
    assert knn_accuracy(train, labels, test, torch.tensor([0, 1, 2]), 1) == pytest.approx(
        200 / 3
    )  # the third is nearer to class 1
    assert knn_accuracy(train, labels, test, torch.tensor([0, 1, 1]), 1) == pytest.approx(100)


def test_shipped_experiments_load():
    assert {"demo", "nw-ucla-amr", "ntu60-xsub-amr"} <= set(experiment_names())
    paper = load_experiment("ntu60-xsub-amr")
    assert (paper.model.frames, paper.model.target_ratio, paper.model.mask_ratio) == (120, 6, 0.9)
    assert (paper.pretrain.epochs, paper.pretrain.lr, paper.pretrain.min_lr, paper.pretrain.betas) == (
        400,
        1e-3,
        5e-4,
        (0.9, 0.95),
    )
    for name in experiment_names():
        load_experiment(name)


def test_overrides_are_typed():
    experiment = load_experiment("demo", ["pretrain.lr=2e-3", "guidance.focal=false", "guidance.windows=[4, 8]", "name=mine"])
    assert (experiment.pretrain.lr, experiment.guidance.focal, experiment.guidance.windows, experiment.name) == (
        0.002,
        False,
        [4, 8],
        "mine",
    )


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("pretrain.epoch=5", "there is no setting 'pretrain.epoch': did you mean 'pretrain.epochs'?"),
        ("mask_ratio=0.5", "did you mean 'model.mask_ratio'?"),
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
    with pytest.raises(UsageError, match=re.escape("there is no setting 'model.widht': did you mean 'model.width'?")):
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
