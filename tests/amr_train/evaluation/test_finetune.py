"""Training the encoder too: layer decay and drop path by their formulas, learning, resuming, few labels,
other skeletons."""

from __future__ import annotations

import json
import re

import pytest
import torch

from amr_data import UsageError, open_dataset
from amr_train import evaluate_encoder, load_encoder, run_experiment
from amr_train.config import AugmentConfig, EvaluationConfig, FinetuneConfig, ModelConfig
from amr_train.data.feed import Feed
from amr_train.evaluation.finetuning import (
    Classifier,
    Setting,
    finetune,
    layer_groups,
    set_drop_path,
    train_classifier,
)
from amr_train.evaluation.joints import encoder_for
from amr_train.models.encoder import SkeletonEncoder
from amr_train.models.layers import Block
from tests.amr_train.data.test_feed import arrays_of
from tests.amr_train.runs import Listener, small

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
    assert plain == {n for n in scales if n.endswith("bias") or "norm" in n}


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
    return Setting(config, AugmentConfig(min_frames=8), **more)


def test_fine_tuning_learns_what_can_be_learnt_and_nothing_else():
    torch.manual_seed(0)
    encoder = SkeletonEncoder(MODEL, 4)
    before = {k: v.clone() for k, v in encoder.state_dict().items()}
    assert finetune(encoder, *labelled(), 2, setting(quick()))[0].top1 == 100
    assert all(torch.equal(v, before[k]) for k, v in encoder.state_dict().items())  # a copy was trained
    assert finetune(encoder, *labelled(shuffled=True), 2, setting(quick()))[0].top1 < 90


def test_a_fine_tuning_that_was_stopped_ends_the_same(tmp_path):
    torch.manual_seed(0)
    encoder = SkeletonEncoder(MODEL, 4)
    train, _ = labelled()
    config = quick(epochs=4)

    def stop(done: int, total: int, metrics: dict[str, float]) -> None:
        if done == 2:
            raise KeyboardInterrupt

    whole = train_classifier(encoder, train, 2, setting(config, checkpoints=tmp_path / "a"))
    with pytest.raises(KeyboardInterrupt):
        train_classifier(encoder, train, 2, setting(config, checkpoints=tmp_path / "b", report=stop))
    seen = []
    parts = train_classifier(
        encoder, train, 2, setting(config, checkpoints=tmp_path / "b", report=lambda d, *_: seen.append(d))
    )
    assert seen == [3, 4]
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
        "evaluation.semi.seeds=[0, 5]",
    ]
    fast = [
        f"evaluation.finetune.{k}={v}" for k, v in {"epochs": 2, "warmup_epochs": 1, "hidden": 16}.items()
    ]
    return out, run_experiment(small(ntu_shards, "pretrain.epochs=2", *settings, *fast), out)


def test_protocols_are_stages_of_a_run(run):
    out, results = run
    assert list(results["protocols"]) == ["linear", "knn", "retrieval", "finetune", "semi"]
    assert results["protocols"]["linear"]["top1"] == results["pretrained"]["linear"]
    semi = results["protocols"]["semi"]["10"]
    assert (len(semi["top1"]), semi["clips"], semi["seeds"]) == (2, 4, [0, 5])
    drawn = [
        json.loads(next(out.glob(f"evaluation-*/semi-10-{seed}.json")).read_text())["clips"]
        for seed in (0, 5)
    ]
    assert [len({name[-4:] for name in names}) for names in drawn] == [
        4,
        4,
    ]  # one clip of each of four classes
    assert drawn[0] != drawn[1]
    assert len(results["protocols"]["finetune"]["confusion"]) == 60


def test_another_evaluation_shares_the_pre_training(run, ntu_shards):
    out, results = run
    weights = (out / "encoder.safetensors").read_bytes()
    listener = Listener()
    again = run_experiment(small(ntu_shards, "pretrain.epochs=2", "evaluation.linear.lr=0.2"), out, listener)
    assert listener.steps == []
    assert (out / "encoder.safetensors").read_bytes() == weights
    assert list(again["protocols"]) == ["linear", "knn"]
    assert again["pretraining"] == results["pretraining"]
    assert again["pretrained"]["knn"] == results["pretrained"]["knn"]


def test_an_evaluation_of_its_own_is_kept_and_not_mixed_with_another(run, ntu_shards, tmp_path):
    out = tmp_path / "eval"
    first = evaluate_encoder(run[0], ntu_shards, "xsub", ["finetune"], quick(epochs=2), folder=out)
    listener = Listener()
    again = evaluate_encoder(
        run[0], ntu_shards, "xsub", ["finetune"], quick(epochs=2), folder=out, listener=listener
    )
    assert again["protocols"] == first["protocols"]
    with pytest.raises(UsageError, match="other settings, encoder or data"):
        evaluate_encoder(run[0], ntu_shards, "xsub", ["finetune"], quick(epochs=3), folder=out)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x")
    with pytest.raises(UsageError, match="holds no evaluation"):
        evaluate_encoder(run[0], ntu_shards, "xsub", folder=tmp_path / "full")
    with pytest.raises(UsageError, match="there is no protocol 'lienar'"):
        evaluate_encoder(run[0], ntu_shards, "xsub", ["lienar"])


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
    found = evaluate_encoder(run[0], tmp_path / "ucla", "xview", settings=settings)
    assert (found["joints"], found["clips"]["train"]) == (20, 1020)
    assert found["protocols"]["knn"]["top1"] > 20


def test_an_encoder_of_strange_joints_is_refused(run, ntu_shards):
    from amr_train.evaluation.joints import shared_joints
    from amr_train.models.files import ClipEncoder

    loaded = load_encoder(run[0])
    strange = ClipEncoder(
        loaded.encoder, loaded.config.model_copy(update={"joint_names": ["a", "head", "c"], "joints": 3})
    )
    with pytest.raises(UsageError, match="1 of them are among the 25 of kinect_v2"):
        shared_joints(strange, open_dataset(ntu_shards))
