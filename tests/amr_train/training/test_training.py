"""Training, resuming, checkpoints, probes, configuration."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal

import pytest
import torch
import yaml

from amr_data import AmrError, UsageError
from amr_train import evaluate, experiment_names, load_encoder, load_experiment, run_experiment
from amr_train.config import PretrainConfig
from amr_train.evaluation.monitor import Monitor, effective_rank, spread_of
from amr_train.evaluation.protocols import PROTOCOLS
from amr_train.experiments.loading import resolve
from amr_train.experiments.settings import valid_keys
from amr_train.identity import training_digest
from amr_train.models.masked import MaskedReconstruction
from amr_train.parallel.processes import Processes, check_graphs, choose_device, exact
from amr_train.training.loop import prepare
from amr_train.training.optimizers import make_optimizer
from amr_train.training.schedule import learning_rate
from amr_train.training.stopping import Stopped
from tests.amr_train.runs import UNJUDGED, Listener, Stop, small

pytestmark = pytest.mark.long

CPU = torch.device("cpu")


@pytest.mark.parametrize("source", ["online", "shard"])
def test_a_run_leaves_everything_behind(ntu_shards, tmp_path, source):
    results = run_experiment(small(ntu_shards, f"guidance.source={source}"), tmp_path / "run")
    figures = {(r["subject"]["kind"], name) for r in results["evaluations"] for name in r["figures"]}
    poolings = {"encoder": ("mean", "joints"), "untrained": ("mean", "joints")}
    poolings["coordinates"] = ("positions", "motion")
    wanted = {(k, f"{p} {name}") for k in poolings for name in poolings[k] for p in ("linear", "kNN")}
    assert figures == wanted
    assert all(sum(r["clips"].values()) <= 48 for r in results["evaluations"])
    for name in ("run.json", "results.json", "pretraining.json", "metrics.jsonl", "encoder.safetensors"):
        assert (tmp_path / "run" / name).stat().st_size > 0
    assert list((tmp_path / "run" / "tensorboard").iterdir())
    record = yaml.safe_load((tmp_path / "run" / "run.json").read_text())
    assert record["experiment"]["guidance"]["source"] == source
    assert {"torch", "python"} <= set(record["versions"])
    assert len(record["data"]["fingerprint"]) == 64
    assert record["schema"] == 2
    assert (
        run_experiment(small(ntu_shards, f"guidance.source={source}"), tmp_path / "run") == results
    )  # finished: not run again


def test_a_folder_of_another_run_is_refused(ntu_shards, tmp_path):
    with pytest.raises(Stop):
        run_experiment(small(ntu_shards), tmp_path / "run", Listener(stop_after=1))
    with pytest.raises(UsageError, match="other settings: seed 5 instead of 0; choose another --out"):
        run_experiment(small(ntu_shards, "seed=5"), tmp_path / "run")
    with pytest.raises(
        UsageError, match=r"other settings: mask\.ratio 0\.8 instead of 0\.9, pretrain\.lr 0\.1"
    ):
        run_experiment(small(ntu_shards, "mask.ratio=0.8", "pretrain.lr=0.1"), tmp_path / "run")
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

    settings = ["pretrain.epochs=25", "pretrain.min_lr=0.001", "pretrain.checkpoint_minutes=60", UNJUDGED]
    run_experiment(small(ntu_shards, *settings), tmp_path / "run", Curve())
    assert sum(losses[-3:]) / 3 < 0.9 * losses[0]


def test_bfloat16_runs_on_the_cpu(ntu_shards, tmp_path):
    results = run_experiment(small(ntu_shards, "precision=bfloat16", "pretrain.epochs=2"), tmp_path / "run")
    assert results["pretraining"]["loss"] > 0


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["data.path=null"], "--data"),
        (["data.split=xset"], "there is no split 'xset' of ntu60"),
        (["data.dataset=ntu120"], "meant for ntu120"),
        (["guidance.source=shard", "guidance.windows=[6]"], "not 6"),
        (["device=cuda"], "no CUDA GPU"),
        (["device=mps"], "no GPU of Apple's"),
    ],
)
def test_what_does_not_fit_is_wrong_use(ntu_shards, tmp_path, overrides, says):
    there = {"device=cuda": torch.cuda.is_available(), "device=mps": torch.backends.mps.is_available()}
    if there.get(overrides[0]):
        pytest.skip("there is a GPU here")
    with pytest.raises(UsageError, match=says):
        run_experiment(small(ntu_shards, *overrides), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_choose_device(monkeypatch):
    assert choose_device("cpu") == CPU
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: True)
    assert choose_device("mps") == torch.device("mps")
    assert choose_device("auto") == CPU  # an Apple GPU only where it is asked for
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert choose_device("auto") == torch.device("cuda")


def test_cuda_graphs_are_refused_on_the_gpus_of_others(monkeypatch):
    check_graphs("cuda-graphs", torch.device("cuda"))
    check_graphs("default", torch.device("mps"))
    with pytest.raises(UsageError, match="this GPU is Apple's; use compile=default"):
        check_graphs("cuda-graphs", torch.device("mps"))
    monkeypatch.setattr("torch.version.hip", "6.4")
    with pytest.raises(UsageError, match="this GPU is AMD's"):
        prepare(torch.nn.Identity(), small("x", "compile=cuda-graphs"), Processes(), torch.device("cuda"))
    check_graphs("default", torch.device("cuda"))


def test_sums_are_exact_where_the_device_has_float64():
    assert exact(CPU) == exact(torch.device("cuda")) == torch.float64
    assert exact(torch.device("mps")) == torch.float32


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
        ("pretrain=5", "'pretrain' is a section and no setting: name one of those in it, such as pretrain."),
        ("pretrain.epochs", "does not read key=value"),
        ("pretrain.epochs=many", "pretrain.epochs"),
        ("augment.bias=yes", "augment.bias: a number is wanted, found True"),
        ("seed=on", "seed: a number is wanted, found True"),
        ("pretrain.epochs=0", "greater than or equal to 1"),
        ("target.kind=pose", "'joints', 'motion' or 'both'"),
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


def test_a_section_with_nothing_in_it_says_nothing(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("pretrain: {epochs: 30}\n")
    plain = load_experiment(str(path))
    path.write_text("model: {}\nmask:\npretrain: {epochs: 30}\nevaluation: {finetune: }\n")
    assert load_experiment(str(path)) == plain
    assert resolve(str(path)).origins["model.width"] == "default"
    with pytest.raises(UsageError, match="'model' is a section and no setting"):
        load_experiment("demo", ["model="])
    path.write_text("pretrain: 5\n")
    with pytest.raises(UsageError, match=r"mine\.yaml: 'pretrain' is a section and no setting"):
        load_experiment(str(path))


def test_an_unknown_key_in_a_file_is_named(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("model: {widht: 64}\n")
    with pytest.raises(
        UsageError, match=re.escape("there is no setting 'model.widht': did you mean 'model.width'?")
    ):
        load_experiment(str(path))
    path.write_text("model: {width: 64}\n")
    assert load_experiment(str(path)).name == "mine"
    for text, says in (
        ("pretrian: {epochs: 3}", "there is no setting 'pretrian': did you mean the section 'pretrain'?"),
        ("evaluation: {finetun: {epochs: 3}}", "did you mean the section 'evaluation.finetune'?"),
        (
            "pretrain.epochs: 3",
            "'pretrain.epochs' has to be written by sections here: pretrain: {epochs: ...}",
        ),
        ("options.mine.size: 3", "options.mine.size' has to be written by sections here"),
    ):
        path.write_text(text + "\n")
        with pytest.raises(UsageError, match=re.escape(says)):
            load_experiment(str(path))
    for text in ("- 1", "a: [", "model: 5"):
        path.write_text(text)
        with pytest.raises(UsageError, match=r"mine\.yaml"):
            load_experiment(str(path))
    with pytest.raises(UsageError, match="did you mean 'nw-ucla-amr'"):
        load_experiment("nw-ucla-arm")
    with pytest.raises(UsageError, match="no experiment file"):
        load_experiment(str(tmp_path / "none.yaml"))


def test_a_file_of_ones_own_can_lie_over_a_data_sets_settings(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("like: nw-ucla\nmethod: mamp\nmask: {ratio: 0.8}\n")
    mine, shipped = load_experiment(str(path)), load_experiment("nw-ucla-mamp")
    assert mine.evaluation == shipped.evaluation
    assert (mine.mask.ratio, mine.mask.tau, mine.augment.min_frames) == (0.8, 0.8, 16)
    path.write_text("like: nwucla\n")
    with pytest.raises(UsageError, match="there is no data set 'nwucla': did you mean 'nw-ucla'"):
        load_experiment(str(path))


def test_every_key_has_a_home():
    assert "evaluation.linear.lr" in valid_keys()
    assert "evaluation.linear" not in valid_keys()


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
        settings = ["pretrain.epochs=2", "pretrain.min_lr=0.001", UNJUDGED]
        experiment = small(ntu_shards, f"compile={mode}", *settings)
        runs[mode] = run_experiment(experiment, tmp_path / mode)["pretraining"]["loss"]
    assert runs["default"] == pytest.approx(runs["none"], rel=1e-4)


def test_a_finished_run_without_checkpoints_is_not_trained_again(ntu_shards, tmp_path):
    results = run_experiment(small(ntu_shards), tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    before = (tmp_path / "run" / "encoder.safetensors").read_bytes()
    listener = Listener()
    again = run_experiment(small(ntu_shards), tmp_path / "run", listener)
    assert listener.steps == []
    assert again == results
    assert (tmp_path / "run" / "encoder.safetensors").read_bytes() == before


def test_settings_of_a_later_release_have_their_defaults_in_an_older_record(ntu_shards, tmp_path):
    """A record without some of today's keys, with their default values, is the same run."""
    results = run_experiment(small(ntu_shards), tmp_path / "run")
    file = tmp_path / "run" / "run.json"
    record = json.loads(file.read_text())
    del record["experiment"]["augment"]["rounding"], record["experiment"]["monitor"]
    file.write_text(json.dumps(record))
    assert run_experiment(small(ntu_shards), tmp_path / "run")["evaluations"] == results["evaluations"]
    record["schema"] = 1
    file.write_text(json.dumps(record))
    with pytest.raises(UsageError, match="another release \\(schema 1"):
        run_experiment(small(ntu_shards), tmp_path / "run")


def test_what_decides_nothing_is_no_part_of_a_runs_identity(ntu_shards):
    base = training_digest(small(ntu_shards))
    for same in (
        "name=x",
        "seed=4",
        "device=cpu",
        "monitor.clips=20",
        "evaluation.linear.lr=1",
        "scale=full",
    ):
        assert training_digest(small(ntu_shards, same)) == base, same
    for other in (
        "pretrain.lr=0.1",
        "model.width=32",
        "mask.ratio=0.5",
        "data.empty_bodies=keep",
        "options.x=1",
    ):
        assert training_digest(small(ntu_shards, other)) != base, other


def test_settings_of_a_later_release_do_not_change_a_digest():
    """Digests of runs that were made before the settings `batches` and `feature_precision` came."""
    known = {"ntu60-xsub-amr": "d00ebba2b029", "nw-ucla-mamp": "6d711277d732", "demo": "0fe6c6314dd3"}
    assert {name: training_digest(load_experiment(name)) for name in known} == known
    even = load_experiment("demo", ["pretrain.batches=even"])
    assert training_digest(even) != known["demo"]
    before, after = load_experiment("demo").evaluation, even.evaluation
    assert "batches" not in PROTOCOLS["finetune"].settings(before, even.augment)["finetune"]
    tuned = after.model_copy(update={"finetune": after.finetune.model_copy(update={"batches": "even"})})
    assert PROTOCOLS["finetune"].settings(tuned, even.augment)["finetune"]["batches"] == "even"


def test_the_monitor_looks_at_training_clips_and_changes_nothing(ntu_shards, tmp_path):
    quiet = run_experiment(small(ntu_shards, UNJUDGED), tmp_path / "quiet")
    settings = ["monitor.every_epochs=2", "monitor.milestone_epochs=2", UNJUDGED]
    watched = run_experiment(small(ntu_shards, *settings), tmp_path / "watched")
    assert watched["pretraining"]["loss"] == quiet["pretraining"]["loss"]
    lines = [json.loads(x) for x in (tmp_path / "watched" / "metrics.jsonl").read_text().splitlines()]
    seen = [line for line in lines if line["stage"] == "monitor"]
    assert [line["step"] for line in seen] == [2, 4]
    assert all(0 <= line["knn"] <= 100 and 1 <= line["rank"] <= 16 and line["spread"] > 0 for line in seen)
    kept = sorted(p.name for p in (tmp_path / "watched" / "milestones").iterdir())
    assert kept == ["epoch-0002.safetensors", "epoch-0004.safetensors"]
    last = load_encoder(tmp_path / "watched" / "milestones" / kept[1])
    assert (last.config.epoch, last.config.epochs) == (4, 4)
    final = load_encoder(tmp_path / "watched")
    assert all(torch.equal(a, b) for a, b in zip(last.parameters(), final.parameters(), strict=True))


def test_the_collapse_meter_by_hand():
    assert effective_rank(torch.eye(8).repeat(4, 1) - 1 / 8) == pytest.approx(
        7
    )  # eight corners span seven axes
    line = torch.linspace(-1, 1, 50)[:, None] * torch.tensor([[1.0, 2.0, 3.0]])
    assert effective_rank(line) == pytest.approx(1, abs=1e-3)
    assert spread_of(torch.ones(20, 4)) == pytest.approx(0, abs=1e-6)
    generator = torch.Generator().manual_seed(0)
    assert spread_of(torch.randn(20_000, 16, generator=generator)) == pytest.approx(1, abs=0.02)


def test_an_unfinished_run_and_its_checkpoints_can_be_evaluated(ntu_shards, tmp_path):
    with pytest.raises(Stop):
        run_experiment(small(ntu_shards), tmp_path / "run", Listener(stop_after=6))
    encoder = load_encoder(tmp_path / "run")
    assert (encoder.config.epoch, encoder.config.epochs) == (2, 4)
    checkpoint = sorted((tmp_path / "run" / "checkpoints").glob("*.pt"))[0]
    assert load_encoder(checkpoint).config.epoch == pytest.approx(1.67)
    record = evaluate(checkpoint, ntu_shards, "xsub", "knn")
    assert record["subject"]["epoch"] == pytest.approx(1.67)
    (tmp_path / "run" / "run.json").unlink()
    with pytest.raises(UsageError, match="does not lie in a run's folder"):
        load_encoder(checkpoint)


def test_a_part_of_a_finished_run_that_is_lost_is_not_trained_again_in_silence(ntu_shards, tmp_path):
    out, experiment = tmp_path / "run", small(ntu_shards, UNJUDGED)
    run_experiment(experiment, out)
    before = (out / "encoder.safetensors").read_bytes()
    (out / "encoder.safetensors").write_bytes(before[:400])
    listener = Listener()
    run_experiment(experiment, out, listener)
    assert "made again from the last checkpoint" in listener.lines[0]
    assert listener.steps == []
    assert (out / "encoder.safetensors").read_bytes() == before
    ended = json.loads((out / "pretraining.json").read_text())
    for damage in ("{", "[]", '{"seconds": NaN}'):
        (out / "pretraining.json").write_text(damage)
        run_experiment(experiment, out, listener := Listener())
        assert "pretraining.json cannot be read; it is made again" in listener.lines[0]
        assert json.loads((out / "pretraining.json").read_text())["steps"] == ended["steps"]
        assert (out / "encoder.safetensors").read_bytes() == before
    shutil.rmtree(out / "checkpoints")
    (out / "pretraining.json").write_text("{")
    run_experiment(experiment, out, listener := Listener())  # the encoder is there, and is judged
    assert "pretraining.json cannot be read: tables" in listener.lines[0]
    (out / "pretraining.json").unlink()
    with pytest.raises(AmrError, match=r"remove encoder\.safetensors to train it again"):
        run_experiment(experiment, out)
    assert (out / "encoder.safetensors").read_bytes() == before


def test_a_methods_figure_that_is_not_finite_costs_no_other(ntu_shards, tmp_path, monkeypatch):
    loss, odd = MaskedReconstruction.loss, {"empty": torch.tensor(float("nan"))}
    monkeypatch.setattr(MaskedReconstruction, "loss", lambda self, *a: (loss(self, *a)[0], odd))
    experiment, out = small(ntu_shards, UNJUDGED), tmp_path / "run"
    with pytest.raises(Stop):
        run_experiment(experiment, out, Listener(stop_after=7))
    found = run_experiment(experiment, out)["pretraining"]
    assert (found["steps"], "loss" in found, "empty" in found) == (12, True, False)
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4]  # those of before the stop as well


def test_a_request_to_stop_while_the_method_is_watched_is_heard(ntu_shards, tmp_path, monkeypatch):
    def look(self, encoder):
        os.kill(os.getpid(), signal.SIGTERM)
        return {}

    monkeypatch.setattr(Monitor, "look", look)
    with pytest.raises(Stopped, match="at step 12 of 12"):
        run_experiment(small(ntu_shards, "monitor.every_epochs=4"), tmp_path / "run")


def test_a_loss_of_the_wrong_shape_is_refused(ntu_shards, tmp_path, monkeypatch):
    loss = MaskedReconstruction.loss
    monkeypatch.setattr(MaskedReconstruction, "loss", lambda self, *a: (loss(self, *a)[0][:-1], {}))
    with pytest.raises(UsageError, match="the method's loss has the shape"):
        run_experiment(small(ntu_shards), tmp_path / "run")
