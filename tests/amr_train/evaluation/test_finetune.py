"""Training the encoder too: layer decay and drop path by their formulas, learning, resuming, few labels,
other skeletons."""

from __future__ import annotations

import json
import os
import re
import signal

import numpy as np
import pytest
import torch
from torch import nn

from amr_data import UsageError, open_dataset
from amr_train import evaluate, evaluate_encoder, load_encoder, load_experiment, run_experiment
from amr_train.config import AugmentConfig, EvaluationConfig, FinetuneConfig, ModelConfig
from amr_train.data.feed import Feed
from amr_train.evaluation.features import MEAN, encode
from amr_train.evaluation.finetuning import (
    Classifier,
    Setting,
    SharedBatchNorm,
    _step,
    classify,
    layer_groups,
    set_drop_path,
    train_classifier,
)
from amr_train.evaluation.joints import encoder_for
from amr_train.evaluation.protocols import PROTOCOLS
from amr_train.evaluation.scores import score
from amr_train.listening import Listener
from amr_train.models.encoder import SkeletonEncoder
from amr_train.models.layers import Block
from amr_train.parallel.processes import Processes
from amr_train.training.checkpoints import list_checkpoints
from amr_train.training.stopping import Stopped
from tests.amr_train.data.test_feed import arrays_of
from tests.amr_train.runs import Listener as Stops
from tests.amr_train.runs import small
from tests.amr_train.tracing import JOINTS_OF, clips
from tests.amr_train.tracing import SETTINGS as TRACED

CPU = torch.device("cpu")
MODEL = ModelConfig(frames=16, width=16, heads=2, encoder_layers=3, target_ratio=1)


def quick(**changes) -> EvaluationConfig:
    settings = {
        "epochs": 12,
        "warmup_epochs": 1,
        "batch_size": 8,
        "lr": 3e-3,
        "hidden": 32,
        "checkpoint_epochs": 1,
        **changes,
    }
    return EvaluationConfig(finetune=FinetuneConfig(**settings))


def test_layer_decay_by_its_formula():
    """Three blocks and a decay of 0.5: embeddings 1/16, blocks 1/8, 1/4, 1/2, final norm and head 1."""
    model = Classifier(SkeletonEncoder(MODEL, 5), 4, FinetuneConfig(layer_decay=0.5))
    groups = layer_groups(model, FinetuneConfig(layer_decay=0.5))
    names = {p: n for n, p in model.named_parameters()}
    scales = {names[p]: g["scale"] for g in groups for p in g["params"]}
    assert set(scales) == set(names.values())
    for pattern, scale in {
        r"encoder\.(embed|position)": 1 / 16,
        r"encoder\.blocks\.0\.": 1 / 8,
        r"encoder\.blocks\.1\.": 1 / 4,
        r"encoder\.blocks\.2\.": 1 / 2,
        r"encoder\.norm|head": 1,
    }.items():
        found = {s for n, s in scales.items() if re.match(pattern, n)}
        assert found == {scale}, pattern
    plain = {names[p] for g in groups if not g["weight_decay"] for p in g["params"]}
    assert plain == {n for n in scales if n.endswith("bias") or "norm" in n or n == "head.1.weight"}


def test_drop_path_leaves_out_whole_branches_and_keeps_the_mean():
    encoder = SkeletonEncoder(MODEL, 5)
    set_drop_path(encoder, 0.3)
    assert [b.drop_path for b in encoder.blocks] == pytest.approx([0, 0.15, 0.3])
    block = Block(8, 2, 2.0)
    block.drop_path = 0.25
    kept = block._kept(torch.ones(20_000, 3, 8))
    assert kept.unique().tolist() == pytest.approx([0, 4 / 3])
    assert (kept == kept[:, :1, :1]).all()
    assert kept.mean().item() == pytest.approx(1, abs=0.02)
    assert torch.equal(block.eval()._kept(torch.ones(2, 3, 8)), torch.ones(2, 3, 8))


def labelled(shuffled: bool = False) -> tuple[Feed, Feed]:
    """Two classes that anybody can tell: the first three joints wave, or the last two."""
    arrays = arrays_of([[20]] * 48)
    arrays.labels = torch.arange(48).numpy() % 2
    time = torch.arange(20.0)
    for sequence, first in enumerate(arrays.first_row.tolist()):
        joints = torch.zeros(20, 4, 3)
        joints[:, : 2 if arrays.labels[sequence] else 4, 1] = torch.sin(time + sequence)[:, None]
        arrays.joints[first : first + 20] = joints
    if shuffled:
        arrays.labels = arrays.labels[torch.randperm(48, generator=torch.Generator().manual_seed(0)).numpy()]
    feed = Feed(arrays, CPU, 16)
    return feed.subset(torch.arange(32)), feed.subset(torch.arange(32, 48))


def setting(config: EvaluationConfig, **more) -> Setting:
    return Setting(config.finetune, AugmentConfig(min_frames=8), **more)


def finetuned(encoder: SkeletonEncoder, train: Feed, test: Feed) -> float:
    """Top-1 of a copy of the encoder trained on two classes."""
    how = setting(quick())
    logits = classify(train_classifier(encoder, train, 2, how), test, 64, 0.95, how)
    return score(logits, test.labels).top1


def test_the_head_from_its_definition():
    """Dropout on tokens, mean over time and bodies with joints kept, linear, BatchNorm, ReLU, linear: worked
    out with numpy for a batch of two clips, one of two bodies, one of which is there in half of the time."""
    torch.manual_seed(0)
    model = Classifier(SkeletonEncoder(MODEL, 5), 4, FinetuneConfig(hidden=6, head_dropout=0)).train()
    joints, clip = torch.randn(3, 16, 5, 3), torch.tensor([0, 0, 1])
    present = torch.ones(3, 16, dtype=torch.bool)
    present[1, 8:] = False
    logits = model(joints, present, clip, 2).detach().numpy()
    tokens = model.encoder(joints, present=present).detach().numpy().reshape(3, 4, 5, 16)
    bodies = np.stack([tokens[0].mean(0), tokens[1, :2].mean(0), tokens[2].mean(0)]).reshape(3, 80)
    x = np.stack([bodies[:2].mean(0), bodies[2]]).astype(np.float64)
    first, norm, _, last = model.head
    x = x @ first.weight.detach().numpy().T + first.bias.detach().numpy()
    x = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5) * norm.weight.detach().numpy() + norm.bias.detach().numpy()
    expected = np.maximum(x, 0) @ last.weight.detach().numpy().T + last.bias.detach().numpy()
    np.testing.assert_allclose(logits, expected, atol=1e-4)
    heavy = Classifier(SkeletonEncoder(MODEL, 5), 4, FinetuneConfig(head_dropout=0.9)).train()
    assert heavy.dropout(torch.ones(1000)).unique().tolist() == pytest.approx([0, 10])


def test_batch_norm_takes_bfloat16_and_sums_in_float32():
    values = (torch.randn(64, 4, generator=torch.Generator().manual_seed(0)) + 3).bfloat16().requires_grad_()
    norm, exact = SharedBatchNorm(4), nn.BatchNorm1d(4)
    with torch.autocast("cpu", torch.bfloat16):
        out = norm(values)
    torch.testing.assert_close(out, exact(values.detach().float()), atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(norm.running_var, exact.running_var, atol=1e-3, rtol=1e-3)
    out.square().sum().backward()
    assert values.grad is not None


def test_batch_norm_is_torchs_and_a_single_clip_is_seen_with_the_running_statistics():
    ours, theirs = SharedBatchNorm(5), nn.BatchNorm1d(5)
    for seed in range(3):
        values = torch.randn(8, 5, generator=torch.Generator().manual_seed(seed)) * 3 + 1
        torch.testing.assert_close(ours(values), theirs(values), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours.running_var, theirs.running_var)
    torch.testing.assert_close(ours.eval()(values), theirs.eval()(values))
    single = values[:1]
    torch.testing.assert_close(ours.train()(single), theirs(single))


def test_from_scratch_there_is_no_layer_decay():
    config = quick()
    assert PROTOCOLS["supervised"].training(config) == config.finetune.model_copy(update={"layer_decay": 1.0})


def test_fine_tuning_learns_what_can_be_learnt_and_nothing_else():
    torch.manual_seed(0)
    encoder = SkeletonEncoder(MODEL, 4)
    before = {k: v.clone() for k, v in encoder.state_dict().items()}
    assert finetuned(encoder, *labelled()) == 100
    assert all(torch.equal(v, before[k]) for k, v in encoder.state_dict().items())  # a copy was trained
    assert finetuned(encoder, *labelled(shuffled=True)) < 90


def test_a_fine_tuning_that_was_stopped_ends_the_same(tmp_path):
    torch.manual_seed(0)
    encoder = SkeletonEncoder(MODEL, 4)
    train, _ = labelled()
    config = quick(epochs=4)

    class Stopping(Listener):
        def advance(self, done: int, total: int, metrics: dict[str, float]) -> None:
            if done == 2:
                os.kill(os.getpid(), signal.SIGTERM)

    whole = train_classifier(encoder, train, 2, setting(config, checkpoints=tmp_path / "a"))
    with pytest.raises(Stopped, match=r"in fine-tuning, at step 9 of 16; its checkpoint is kept") as stopped:
        train_classifier(encoder, train, 2, setting(config, checkpoints=tmp_path / "b", listener=Stopping()))
    assert stopped.value.signal == signal.SIGTERM
    (kept,) = list_checkpoints(tmp_path / "b")
    assert kept.name.startswith("step-000000009")  # in the middle of the third epoch of four steps
    parts = train_classifier(encoder, train, 2, setting(config, checkpoints=tmp_path / "b"))
    assert all(
        torch.equal(a, b)
        for a, b in zip(whole.state_dict().values(), parts.state_dict().values(), strict=True)
    )


@pytest.fixture(scope="module")
def run(ntu_shards, tmp_path_factory):
    out = tmp_path_factory.mktemp("protocols") / "run"
    settings = [
        "evaluation.protocols=[linear, retrieval, finetune, semi]",
        "evaluation.semi.percent=[10]",
        "evaluation.semi.draws=[0, 5]",
    ]
    fast = [
        f"evaluation.finetune.{k}={v}" for k, v in {"epochs": 2, "warmup_epochs": 1, "hidden": 16}.items()
    ]
    return out, run_experiment(small(ntu_shards, "pretrain.epochs=2", *settings, *fast), out)


def figures(results: dict, kind: str = "encoder") -> dict[str, float]:
    records = [r for r in results["evaluations"] if r["subject"]["kind"] == kind]
    return {name: value for record in records for name, value in record["figures"].items()}


def test_protocols_are_stages_of_a_run(run):
    out, results = run
    protocols = [r["protocol"] for r in results["evaluations"] if r["subject"]["kind"] == "encoder"]
    assert protocols == ["linear", "retrieval", "finetune", "semi"]
    assert "finetune" in figures(results)
    assert "linear mean" in figures(results, "untrained")
    assert "finetune" not in figures(results, "untrained")
    semi = results["evaluations"][-1]["details"]["10"]
    assert (len(semi["top1"]), semi["clips"], semi["draws"]) == (2, 4, [0, 5])
    assert figures(results)["semi 10 %"] == pytest.approx(sum(semi["top1"]) / 2)
    drawn = [
        json.loads(next(out.glob(f"evaluations/semi-*/10-{d}.json")).read_text())["clips"] for d in (0, 5)
    ]
    assert [len({name[-4:] for name in names}) for names in drawn] == [
        4,
        4,
    ]  # one clip of each of four classes
    assert drawn[0] != drawn[1]
    finetuned = next(r for r in results["evaluations"] if r["protocol"] == "finetune")
    assert len(finetuned["details"]["confusion"]) == 60
    assert list(out.glob("evaluations/finetune-*/classifier.safetensors"))


def test_the_draw_has_a_seed_of_its_own(run, ntu_shards):
    """Another seed of the training sees the same drawn clips."""
    out, _ = run
    few = quick(epochs=1, hidden=8)
    settings = few.model_copy(update={"semi": few.semi.model_copy(update={"percent": [10.0], "draws": [5]})})
    evaluate(out, ntu_shards, "xsub", "semi", settings, seed=3, folder=out)
    files = list(out.glob("evaluations/semi-*/10-5.json"))
    assert len(files) == 2
    assert files[0].read_text() == files[1].read_text()


def test_results_of_an_earlier_protocol_survive_a_later_one(run, ntu_shards):
    out, results = run
    weights = (out / "encoder.safetensors").read_bytes()
    listener = Stops()
    settings = ["evaluation.linear.lr=0.2", "evaluation.protocols=[linear, knn]"]
    again = run_experiment(small(ntu_shards, "pretrain.epochs=2", *settings), out, listener)
    assert listener.steps == []
    assert (out / "encoder.safetensors").read_bytes() == weights
    assert set(figures(again)) == {"linear mean", "linear joints", "kNN mean", "kNN joints"}
    assert again["pretraining"] == results["pretraining"]
    kept = json.loads((out / "results.json").read_text())["evaluations"]
    for record in results["evaluations"] + again["evaluations"]:
        brief = {key: value for key, value in record.items() if key != "details"}
        assert brief in kept
    rates = {r["settings"]["linear"]["lr"] for r in kept if r["protocol"] == "linear"}
    assert len(rates) == 2


def test_a_result_is_made_once(run, ntu_shards, tmp_path):
    out = tmp_path / "eval"
    first = evaluate(run[0], ntu_shards, "xsub", "finetune", quick(epochs=2), folder=out)
    again = evaluate(run[0], ntu_shards, "xsub", "finetune", quick(epochs=2), folder=out)
    assert again == first
    other = evaluate(run[0], ntu_shards, "xsub", "finetune", quick(epochs=1), folder=out)
    assert other["settings"] != first["settings"]
    assert len(list((out / "evaluations").glob("finetune-*.json"))) == 2
    with pytest.raises(UsageError, match="there is no protocol 'lienar': did you mean 'linear'"):
        evaluate(run[0], ntu_shards, "xsub", "lienar")


def test_a_dataset_with_one_split_needs_none_to_be_named(run, ntu_shards, tmp_path, own_spec):
    with pytest.raises(
        UsageError, match=r"several train/test splits: xsub, xview; say which, as in --data .*:xsub"
    ):
        evaluate(run[0], ntu_shards)


def test_transfer_to_a_skeleton_of_fewer_joints_uses_the_shared_ones(run, genuine, tmp_path):
    """NTU's 25 joints and NW-UCLA's 20: all 20 have a counterpart. The restricted encoder is the full one
    that sees these joints alone."""
    from amr_data import convert

    archive = genuine("nw-ucla/all_sqe.zip")
    convert(archive, tmp_path / "ucla", "nw-ucla", workers=1)
    dataset = open_dataset(tmp_path / "ucla")
    loaded = load_encoder(run[0])
    shared = list(range(20))
    ours = encoder_for(loaded, dataset, shared)
    rows = [loaded.config.joint_names.index(n) for n in dataset.spec.skeleton.common_names]
    assert [loaded.config.joint_names[r] for r in rows[:3]] == [
        "base_of_spine",
        "middle_of_spine",
        "spine_at_shoulders",
    ]
    joints = torch.randn(2, 24, 20, 3)
    wide = torch.zeros(2, 24, 25, 3)
    wide[:, :, rows] = joints
    visible = torch.tensor([[step * 25 + row for step in range(6) for row in rows]] * 2)
    torch.testing.assert_close(ours(joints), loaded.encoder(wide, visible), atol=1e-5, rtol=1e-5)
    settings = EvaluationConfig.model_validate({"linear": {"epochs": 2}})
    found = evaluate_encoder(run[0], tmp_path / "ucla", settings=settings)  # whose only split is xview
    assert {(r["joints"], r["clips"]["train"], r["split"]) for r in found} == {(20, 1020, "xview")}
    knn = next(r for r in found if r["protocol"] == "knn" and r["subject"]["kind"] == "encoder")
    assert knn["figures"]["kNN mean"] > 20


def test_an_encoder_of_strange_joints_is_refused(run, ntu_shards):
    from amr_train.evaluation.joints import shared_joints
    from amr_train.models.files import ClipEncoder

    loaded = load_encoder(run[0])
    strange = ClipEncoder(
        loaded.encoder, loaded.config.model_copy(update={"joint_names": ["a", "head", "c"], "joints": 3})
    )
    with pytest.raises(UsageError, match="1 of them are among the 25 of kinect_v2"):
        shared_joints(strange, open_dataset(ntu_shards))


def test_a_process_without_a_clip_of_the_last_batch_takes_part():
    """In features, in classification and in a step of training, as happens with fewer clips than
    processes."""
    experiment = load_experiment("ntu60-xsub-amr", TRACED)
    encoder, feed = SkeletonEncoder(experiment.model, JOINTS_OF), Feed(clips(5), torch.device("cpu"), 24)
    model = Classifier(encoder, 3, experiment.evaluation.finetune)
    alone = encode(encoder, feed, feed.centre_views(2, 1.0))[MEAN]
    logits = classify(model.eval(), feed, 2, 1.0, Setting(experiment.evaluation.finetune, experiment.augment))
    features, seen = torch.zeros_like(alone), torch.zeros_like(logits)
    for rank in range(4):
        part = _Part(rank, 4)
        views = feed.centre_views(2, 1.0, rank, 4)
        features += encode(encoder, feed, views, part)[MEAN]
        setting = Setting(experiment.evaluation.finetune, experiment.augment, processes=part)
        seen += classify(model, feed, 2, 1.0, setting)
    torch.testing.assert_close(features, alone, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(seen, logits, atol=1e-5, rtol=1e-5)

    setting = Setting(experiment.evaluation.finetune, experiment.augment, processes=_Part(0, 2))
    views = feed.train_views(1, experiment.augment, torch.Generator().manual_seed(0), 0, 2)
    (batch, *_) = feed.batches(views)
    assert len(batch.clips) == 0
    model.train().normed_over(1)
    loss = _step(model, batch, feed.labels, torch.optim.SGD(model.parameters(), 0.1), setting, 1)
    assert float(loss) == 0
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())


class _Part(Processes):
    """One of several processes whose sums are made by the test."""

    def total(self, values: torch.Tensor) -> torch.Tensor:
        return values
