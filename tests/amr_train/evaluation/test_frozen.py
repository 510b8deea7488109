"""Protocols on frozen features, where the right answer is known: by hand, by loops, against another
library."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from amr_data import AmrError, UsageError, open_dataset
from amr_train import evaluate
from amr_train.config import EvaluationConfig, LinearConfig, LogisticConfig, ModelConfig
from amr_train.evaluation.about import about_task
from amr_train.evaluation.features import Features, standardised
from amr_train.evaluation.labels import draw_labelled
from amr_train.evaluation.protocols import PROTOCOLS
from amr_train.evaluation.protocols.knn import votes
from amr_train.evaluation.protocols.linear import LinearProbe
from amr_train.evaluation.protocols.logistic import chosen_strength, fit, folds_of, logits, row_space
from amr_train.evaluation.protocols.retrieval import ranked
from amr_train.evaluation.records import records_in
from amr_train.evaluation.scores import score, spread
from amr_train.evaluation.subjects import coordinates, untrained
from amr_train.evaluation.task import Task
from amr_train.models.files import EncoderConfig

CPU = torch.device("cpu")


def features_of(train: Any, train_labels: Any, test: Any, test_labels: Any, classes: int) -> Features:
    return Features({"mean": train}, train_labels, {"mean": test}, test_labels, classes)


def clusters(shuffled: bool = False) -> Features:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(400) % 4
    features = torch.eye(4)[labels] * 6 + torch.randn(400, 4, generator=generator) * 0.3
    if shuffled:
        labels = labels[torch.randperm(400, generator=generator)]
    return features_of(features[:300], labels[:300], features[300:], labels[300:], 4)


def top1(found: torch.Tensor, features: Features) -> float:
    return score(found, features.test_labels).top1


def probed(features: Features, config: LinearConfig) -> list[float]:
    """Top-1 after each epoch."""
    probe = LinearProbe(features, "mean", config, 0)
    return [top1(probe.epoch(features.train["mean"]), features) for _ in range(config.epochs)]


@pytest.mark.parametrize("batch_norm", [True, False])
def test_separable_features_reach_100_and_shuffled_labels_stay_at_chance(batch_norm):
    config = LinearConfig(epochs=60, lr=0.1, batch_size=64, batch_norm=batch_norm)
    right, shuffled = clusters(), clusters(shuffled=True)
    assert probed(right, config)[-1] == 100
    assert top1(votes(right, "mean", 3), right) == 100
    assert ranked(right, "mean") == {"mAP": 100, "recall@1": 100, "recall@5": 100, "recall@10": 100}
    assert probed(shuffled, config)[-1] < 45
    assert top1(votes(shuffled, "mean", 1), shuffled) < 45
    assert ranked(shuffled, "mean")["mAP"] < 35


def task_of(shards: Path, empty_bodies: str = "skip", **settings: Any) -> Task:
    """An untrained encoder on the synthetic clips."""
    dataset = open_dataset(shards)
    model = ModelConfig(frames=24, width=16, heads=2, encoder_layers=1, target_ratio=1)
    config = EncoderConfig(
        model=model,
        joints=25,
        skeleton="kinect_v2",
        joint_names=dataset.spec.skeleton.common_names,
        empty_bodies=empty_bodies,
    )
    subject = untrained(config, 0, dataset, CPU)
    return Task(subject, dataset, "xsub", EvaluationConfig.model_validate(settings), CPU)


def test_both_linear_protocols_from_their_definition(ntu_shards):
    """Features pooled with loops, then the probe with numpy: BatchNorm without parameters by batch
    statistics, its running ones for the test clips, cross-entropy's gradient, momentum, a cosine by the step
    to 0."""
    linear = {"epochs": 3, "lr": 0.1, "batch_size": 8}
    task = task_of(ntu_shards, crop=1.0, linear=linear)
    result = PROTOCOLS["linear"].run(task)
    encoder = task.encoder
    for name in ("mean", "joints"):
        parts = []
        for part in ("train", "test"):
            rows = []
            for index in task.indices[part]:
                clip = task.dataset.clip(int(index))
                bodies = []
                for slot in sorted({t.slot for t in clip.tracks}):
                    joints, there = task.subject.encoder, [t for t in clip.tracks if t.slot == slot]
                    dense = np.zeros((1, 1, clip.frames, 25, 3), np.float32)
                    for track in there:
                        dense[0, 0, track.frames] = track.joints
                    bodies.append(joints.joint_features(torch.from_numpy(dense))[0].detach().numpy())
                kept = np.mean(bodies, axis=0)  # (V, D)
                rows.append(kept.mean(axis=0) if name == "mean" else kept.reshape(-1))
            parts.append(np.array(rows, np.float64))
        train, test = parts
        labels = task.labels("train").numpy()
        classes, steps = task.classes, len(train) // 8
        generator = torch.Generator().manual_seed(0)
        weight = torch.randn((classes, train.shape[1]), generator=generator).numpy().astype(np.float64) * 0.01
        bias, moved, moved_bias = np.zeros(classes), np.zeros_like(weight), np.zeros(classes)
        running, spread_ = np.zeros(train.shape[1]), np.ones(train.shape[1])
        step = 0
        for _ in range(3):
            order = torch.randperm(len(train), generator=generator).numpy()
            for rows in order[: steps * 8].reshape(steps, 8):
                batch = train[rows]
                mean, variance = batch.mean(0), batch.var(0)
                running, spread_ = running * 0.9 + mean * 0.1, spread_ * 0.9 + variance * 8 / 7 * 0.1
                x = (batch - mean) / np.sqrt(variance + 1e-6)
                z = x @ weight.T + bias
                p = np.exp(z - z.max(1, keepdims=True))
                p /= p.sum(1, keepdims=True)
                p[np.arange(8), labels[rows]] -= 1
                moved = 0.9 * moved + p.T @ x / 8
                moved_bias = 0.9 * moved_bias + p.mean(0)
                rate = 0.1 * (1 + math.cos(math.pi * step / (3 * steps))) / 2
                weight, bias = weight - rate * moved, bias - rate * moved_bias
                step += 1
        found = ((test - running) / np.sqrt(spread_ + 1e-6)) @ weight.T + bias
        right = 100 * (found.argmax(1) == task.labels("test").numpy()).mean()
        assert result.figures[f"linear {name}"] == pytest.approx(right, abs=1e-4)
        assert encoder.joints == 25


def test_augmented_views_are_drawn_anew_every_epoch(ntu_shards):
    linear = {"epochs": 4, "lr": 0.1, "batch_size": 8, "views": "augmented"}
    task = task_of(ntu_shards, linear=linear)
    found = PROTOCOLS["linear"].run(task)
    assert found.figures == PROTOCOLS["linear"].run(task_of(ntu_shards, linear=linear)).figures
    assert PROTOCOLS["linear"].collective(task.settings)
    centre = PROTOCOLS["linear"].settings(EvaluationConfig(), task.augment)
    assert centre != PROTOCOLS["linear"].settings(task.settings, task.augment)
    from amr_train.evaluation.protocols.linear import _augmented

    first, second = _augmented(task, 0), _augmented(task, 1)
    assert not torch.allclose(first["mean"], second["mean"], atol=1e-3)
    assert torch.equal(first["mean"], _augmented(task, 0)["mean"])


def test_the_headline_is_the_last_epoch():
    found = probed(clusters(shuffled=True), LinearConfig(epochs=30, lr=0.5))
    assert found[-1] < max(found)


def test_a_converged_probe_is_scikit_learns():
    linear_model = pytest.importorskip("sklearn.linear_model")
    generator = torch.Generator().manual_seed(0)
    train, test = torch.randn(90, 12, generator=generator), torch.randn(50, 12, generator=generator)
    labels = (train[:, 0] + 0.5 * torch.randn(90, generator=generator) > 0).long() + (
        train[:, 1] > 0.5
    ).long()
    for strength in (1e-2, 1e-1, 1.0):
        ours = logits(fit(train, labels, 3, strength, 500), test).softmax(1)
        theirs = linear_model.LogisticRegression(C=1 / (strength * 90), tol=1e-8, max_iter=2000)
        theirs.fit(train.numpy(), labels.numpy())
        np.testing.assert_allclose(ours, theirs.predict_proba(test.numpy()), atol=2e-3)


def test_more_values_than_clips_lose_nothing_in_the_clips_own_space():
    generator = torch.Generator().manual_seed(0)
    train, test = torch.randn(30, 80, generator=generator), torch.randn(20, 80, generator=generator)
    labels = torch.arange(30) % 3
    basis = row_space(train)
    assert basis.shape == (80, 30)
    small = logits(fit(train @ basis, labels, 3, 0.1, 500), test @ basis)
    whole = logits(fit(train, labels, 3, 0.1, 500), test)
    torch.testing.assert_close(small, whole, atol=2e-3, rtol=1e-3)


def test_the_strength_is_chosen_on_training_clips_alone():
    """By the accuracy on held-out folds, the stronger one of equals; every class is in every fold."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(120) % 2
    train = torch.randn(120, 60, generator=generator)
    train[:, 0] += labels * 1.5
    fold = folds_of(labels, 5)
    assert [torch.bincount(labels[fold == f]).tolist() for f in range(5)] == [[12, 12]] * 5
    config = LogisticConfig(strengths=[1e-3, 1.0])
    strength, accuracies = chosen_strength(train, labels, 2, config)
    for value, accuracy in zip(config.strengths, accuracies, strict=True):
        right = 0
        for f in range(5):
            weights = fit(train[fold != f], labels[fold != f], 2, value, 500)
            right += int((logits(weights, train[fold == f]).argmax(1) == labels[fold == f]).sum())
        assert accuracy == pytest.approx(
            100 * right / 120, abs=1.7
        )  # two clips, where it has not quite converged
    assert strength == config.strengths[int(np.argmax(accuracies))]
    train[:, 0] += labels * 100
    assert chosen_strength(train, labels, 2, config) == (1.0, [100, 100])


def by_hand(test_labels: list[int], metric: str = "cosine") -> Features:
    train = torch.tensor([[1.0, 0], [0, 1], [-1, 0.1]])
    test = torch.tensor([[5.0, 1], [0.1, 9], [-3, 3.5]])
    labels = torch.tensor(test_labels)
    return Features({"mean": train}, torch.tensor([0, 1, 2]), {"mean": test}, labels, 3, metric)


def test_knn_by_hand():
    two, three = by_hand([0, 1, 2]), by_hand([0, 1, 1])
    assert top1(votes(two, "mean", 1), two) == pytest.approx(
        200 / 3
    )  # the third is nearer to class 1 by angle
    assert top1(votes(three, "mean", 1), three) == pytest.approx(100)
    near = by_hand([0, 1, 1], "euclidean")
    assert votes(near, "mean", 1).argmax(1).tolist() == [0, 1, 1]  # distances 2.5 to (0, 1), 3.4 to (-1, 0.1)


def test_a_nearest_neighbour_has_no_top_5(ntu_shards):
    """Its other four classes would be whichever come first in the list of classes."""
    found = PROTOCOLS["knn"].run(task_of(ntu_shards))
    assert set(found.figures) == {"kNN mean", "kNN joints"}
    assert "top5" not in found.details["mean"]


def test_retrieval_by_hand(ntu_shards):
    """Gallery at 0, 30, 60 and 90 degrees with classes a b a b. A query at 0 for a finds it at ranks 1 and 3:
    (1 + 2/3) / 2; one at 90 for a at ranks 2 and 4: (1/2 + 2/4) / 2."""
    angles = torch.tensor([0.0, 30, 60, 90]).deg2rad()
    gallery, labels = torch.stack([angles.cos(), angles.sin()], 1), torch.tensor([0, 1, 0, 1])
    queries = torch.tensor([[2.0, 0], [0, 3.0]])
    found = ranked(features_of(gallery, labels, queries, torch.tensor([0, 0]), 3), "mean")
    assert found["mAP"] == pytest.approx(100 * ((1 + 2 / 3) / 2 + 0.5) / 2)
    assert (found["recall@1"], found["recall@5"]) == (50, 100)
    unasked = features_of(gallery, labels, torch.ones(2, 2), torch.tensor([2, 2]), 3)
    assert ranked(unasked, "mean")["mAP"] == 0  # nobody of that class to be found
    task = task_of(ntu_shards)
    figures = PROTOCOLS["retrieval"].run(task).figures
    assert figures["1-NN mean"] == PROTOCOLS["knn"].run(task).figures["kNN mean"]


def test_coordinates_are_resampled_standardised_and_compared_by_distance(ntu_shards):
    """Against a loop over the test clips: every body's positions in the centre crop, zeros for a second body
    that is not there."""
    dataset = open_dataset(ntu_shards)
    task = Task(coordinates(16, dataset), dataset, "xsub", EvaluationConfig(crop=1.0), CPU)
    found = PROTOCOLS["knn"].run(task)
    feed = task.feed("train")
    assert (feed.frames, feed.bodies) == (16, 2)
    raw = {}
    for part in ("train", "test"):
        batches = task.feed(part).batches(task.feed(part).centre_views(64, 1.0))
        raw[part] = (
            torch.cat([b.joints.reshape(len(b.clips), 2 * 16 * 25 * 3) for b in batches]).double().numpy()
        )
    mean, deviation = raw["train"].mean(0), raw["train"].std(0)
    keep = deviation > 1e-6
    train, test = ((raw[p][:, keep] - mean[keep]) / deviation[keep] for p in ("train", "test"))
    labels = task.labels("train").numpy()
    nearest = [labels[np.square(train - query).sum(1).argmin()] for query in test]
    right = 100 * np.mean(np.array(nearest) == task.labels("test").numpy())
    assert found.figures["kNN positions"] == pytest.approx(right)
    assert set(found.figures) == {"kNN positions", "kNN motion"}
    with pytest.raises(UsageError, match="coordinates have no encoder"):
        PROTOCOLS["finetune"].run(task)


def test_values_that_never_change_are_left_out():
    train = torch.tensor([[1.0, 5.0], [3.0, 5.0]])
    ours, test = standardised(train, torch.tensor([[2.0, 9.0]]))
    assert ours.tolist() == [[-1, 0], [1, 0]]
    assert test.tolist() == [[0, 0]]


def test_features_are_made_once_and_kept(ntu_shards, tmp_path, monkeypatch):
    from amr_train.evaluation import task as module

    task = task_of(ntu_shards)
    encoder, calls = task.subject.encoder, []
    encode = module.encode
    monkeypatch.setattr(module, "encode", lambda *a, **k: calls.append(1) or encode(*a, **k))
    first = evaluate(encoder, ntu_shards, "xsub", "knn", folder=tmp_path)
    second = evaluate(encoder, ntu_shards, "xview", "knn", folder=tmp_path)  # another split of the same clips
    assert len(calls) == 1
    assert first["figures"] != {} != second["figures"]
    (kept,) = (tmp_path / "features").iterdir()
    kept.write_bytes(kept.read_bytes()[:100])
    (tmp_path / "evaluations").rename(tmp_path / "elsewhere")
    again = evaluate(encoder, ntu_shards, "xsub", "knn", folder=tmp_path)
    assert len(calls) == 2  # what was damaged is made anew
    assert again["figures"] == first["figures"]


def test_scores_by_hand():
    found = torch.tensor([[9.0, 1, 0, 0, 0, 0], [5, 6, 0, 0, 0, 0], [1, 2, 3, 4, 5, 0], [0, 0, 0, 0, 0, 1]])
    result = score(found, torch.tensor([0, 0, 5, 5]))
    assert (result.top1, result.top5) == (50, 75)
    assert result.per_class == [50, None, None, None, None, 50]
    assert result.confusion[0] == [1, 1, 0, 0, 0, 0]
    assert result.confusion[5] == [0, 0, 0, 0, 1, 1]


def test_drawn_labels_keep_every_class_and_depend_on_the_seed_alone():
    labels = torch.cat([torch.full((n,), c) for c, n in enumerate([300, 40, 3, 1])])[torch.randperm(344)]
    chosen = draw_labelled(labels, 1, seed=0)
    assert torch.bincount(labels[chosen]).tolist() == [3, 1, 1, 1]
    assert chosen.unique().tolist() == chosen.tolist()
    assert torch.equal(chosen, draw_labelled(labels, 1, seed=0))
    assert not torch.equal(chosen, draw_labelled(labels, 1, seed=1))
    assert torch.bincount(labels[draw_labelled(labels, 10, seed=0)]).tolist() == [30, 4, 1, 1]
    assert len(draw_labelled(labels, 100, seed=3)) == len(labels)


def test_a_draw_from_its_definition():
    """Class by class in their order: the first so many of a random order of its clips."""
    labels = torch.tensor([2, 0, 0, 2, 0, 2, 2, 0, 0, 0])
    generator, expected = torch.Generator().manual_seed(7), []
    for label in (0, 2):
        mine = [i for i, value in enumerate(labels.tolist()) if value == label]
        order = torch.randperm(len(mine), generator=generator).tolist()
        expected += [mine[i] for i in order[: max(1, round(len(mine) * 0.5))]]
    assert draw_labelled(labels, 50, seed=7).tolist() == sorted(expected)


def test_spread():
    assert spread([1.0, 3.0]) == {"mean": 2, "std": pytest.approx(2**0.5)}
    assert spread([4.0]) == {"mean": 4, "std": 0}


def test_scores_that_are_no_numbers_become_no_result(ntu_shards, tmp_path):
    linear = {"epochs": 3, "lr": 1e38, "batch_size": 8}
    task = task_of(ntu_shards, linear=linear)
    with pytest.raises(AmrError, match="are not numbers: its training diverged"):
        evaluate(task.subject.encoder, ntu_shards, "xsub", "linear", task.settings, folder=tmp_path)
    assert not list(tmp_path.glob("evaluations/*.json"))


def test_features_that_were_changed_are_made_anew(ntu_shards, tmp_path):
    encoder = task_of(ntu_shards).subject.encoder
    first = evaluate(encoder, ntu_shards, "xsub", "knn", folder=tmp_path)
    (kept,) = (tmp_path / "features").iterdir()
    with safe_open(kept, "pt") as file:
        about, values = file.metadata(), file.get_tensor("joints")
    save_file({"joints": torch.randn_like(values)}, kept, about)
    three = EvaluationConfig(knn_neighbours=3)
    again = evaluate(encoder, ntu_shards, "xsub", "knn", three, folder=tmp_path)
    kept.unlink()
    (tmp_path / "evaluations").rename(tmp_path / "gone")
    assert evaluate(encoder, ntu_shards, "xsub", "knn", three, folder=tmp_path)["figures"] == again["figures"]
    assert first["figures"] != {}


def test_labels_that_were_changed_are_not_judged_by_though_features_and_results_are_kept(
    ntu_shards, tmp_path
):
    """Features and results are kept by the fingerprint in the manifest, which such a change leaves alone."""
    there = shutil.copytree(ntu_shards, tmp_path / "data")
    encoder = task_of(ntu_shards).subject.encoder
    first = evaluate(encoder, there, "xsub", "knn", folder=tmp_path / "run")
    file = there / "shard-00000.h5"
    with h5py.File(file, "r+") as shard:
        clips = shard["clips"][()]
        clips["label"] = clips["label"][::-1]
        shard["clips"][...] = clips
    for protocol in ("knn", "linear"):
        with pytest.raises(AmrError, match=r"shard-00000\.h5: it was changed after its conversion"):
            evaluate(encoder, there, "xsub", protocol, folder=tmp_path / "run")
    shutil.copyfile(ntu_shards / file.name, file)
    assert evaluate(encoder, there, "xsub", "knn", folder=tmp_path / "run")["figures"] == first["figures"]


@pytest.mark.parametrize("damage", ["clips", "figures", "spoken"])
def test_a_record_that_lacks_a_part_is_made_anew(ntu_shards, tmp_path, damage):
    encoder = task_of(ntu_shards).subject.encoder
    record = evaluate(encoder, ntu_shards, "xsub", "knn", folder=tmp_path)
    (file,) = (tmp_path / "evaluations").glob("*.json")
    changed = {**record, damage: {"figures": {"x": float("nan")}, "spoken": None}.get(damage)}
    file.write_text(json.dumps({k: v for k, v in changed.items() if v is not None}))
    assert list(records_in(tmp_path)) == []
    assert evaluate(encoder, ntu_shards, "xsub", "knn", folder=tmp_path)["figures"] == record["figures"]
    assert len(list(records_in(tmp_path))) == 1


def test_a_batch_of_one_clip_has_nothing_to_norm_over(ntu_shards):
    with pytest.raises(UsageError, match="BatchNorm has nothing to norm over"):
        PROTOCOLS["linear"].run(task_of(ntu_shards, linear={"batch_size": 1}))


@pytest.mark.parametrize(
    "settings",
    [
        {"semi": {"percent": [200]}},
        {"semi": {"percent": [float("nan")]}},
        {"semi": {"draws": [0, 0]}},
        {"logistic": {"strengths": [-1]}},
        {"linear": {"lr": float("inf")}},
    ],
)
def test_settings_out_of_bounds_are_refused(settings):
    with pytest.raises(ValueError, match="validation error"):
        EvaluationConfig.model_validate(settings)


def test_a_record_names_the_folds_that_its_split_is_one_of(ntu_shards):
    dataset = open_dataset(ntu_shards)
    folds = {"by": "subject", "folds": [[1, 2], [3, 4]]}
    dataset.spec = dataset.spec.changed(protocols={"fold": folds, **dataset.spec.protocols})
    subject = coordinates(16, dataset)
    tasks = [Task(subject, dataset, split, EvaluationConfig(), CPU) for split in ("fold2", "xsub")]
    of_fold, of_xsub = (about_task(task, PROTOCOLS["knn"]) for task in tasks)
    assert of_fold["folds"] == ["fold1", "fold2"]
    assert "folds" not in of_xsub


def test_bodies_kept_apart_from_their_definition(ntu_shards, tmp_path):
    """Each body of each clip by itself, in the order of its slots."""
    task = task_of(ntu_shards, crop=1.0, bodies="apart")
    found = task.clip_features
    assert task.bodies == 2
    several = 0
    for index in range(len(task.dataset)):
        clip, each = task.dataset.clip(index), []
        for slot in sorted({t.slot for t in clip.tracks}):
            dense = np.zeros((1, 1, clip.frames, 25, 3), np.float32)
            for track in (t for t in clip.tracks if t.slot == slot):
                dense[0, 0, track.frames] = track.joints
            each.append(task.subject.encoder.joint_features(torch.from_numpy(dense))[0].detach().flatten())
        several += len(each) > 1
        wanted = torch.cat([*each, torch.zeros_like(each[0])][:2])
        torch.testing.assert_close(found["bodies"][index], wanted, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(found["joints"][index], torch.stack(each).mean(0), atol=1e-5, rtol=1e-4)
    assert several > 2
    plain = task_of(ntu_shards, crop=1.0)
    assert set(plain.clip_features) == {"mean", "joints"}
    kept = [replace(one, folder=tmp_path) for one in (task, plain)]
    for one in [*kept, *kept]:  # made, then read
        again = replace(one).clip_features
        assert all(torch.equal(again[name], one.clip_features[name]) for name in again)
    assert kept[0].features_file != kept[1].features_file


def test_bodies_kept_apart_have_figures_and_settings_of_their_own(ntu_shards):
    apart, plain = task_of(ntu_shards, bodies="apart"), task_of(ntu_shards)
    for name in ("knn", "logistic"):
        figures = PROTOCOLS[name].run(apart).figures
        assert {figure.rpartition(" ")[2] for figure in figures} == {"mean", "joints", "bodies"}
        mine, theirs = (about_task(one, PROTOCOLS[name])["settings"] for one in (apart, plain))
        assert mine == {**theirs, "bodies": "apart"}
    assert "bodies" not in about_task(apart, PROTOCOLS["finetune"])["settings"]


@pytest.mark.parametrize("empty", ["skip", "keep"])
def test_one_body_a_clip_is_not_kept_apart(ntu_shards, empty):
    """Where no clip holds more than one body there is nothing to keep apart, however many the spec allows:
    the figures of joints kept are not given twice, and a result is that of the mean."""
    apart, plain = (task_of(ntu_shards, empty, bodies=bodies) for bodies in ("apart", "mean"))
    assert (apart.bodies, plain.bodies) == (2, 1)
    assert apart.clip_features["bodies"].shape == (len(apart.dataset), 2 * 25 * 16)
    for task in (apart, plain):
        assert task.dataset.spec.max_bodies == 2
        task.dataset.clips = task.dataset.clips.copy()
        task.dataset.clips["bodies"] = 1
    mine, theirs = (about_task(one, PROTOCOLS["knn"])["settings"] for one in (apart, plain))
    assert (apart.bodies, mine) == (1, theirs)
