"""Protocols on features, where the right answer is known."""

from __future__ import annotations

import pytest
import torch

from amr_train.config import LinearConfig
from amr_train.evaluation.features import Features
from amr_train.evaluation.frozen import knn, linear_probe, retrieval
from amr_train.evaluation.labels import draw_labelled
from amr_train.evaluation.protocols_old import spread
from amr_train.evaluation.scores import score


def clusters(shuffled: bool = False) -> Features:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(400) % 4
    features = torch.eye(4)[labels] * 6 + torch.randn(400, 4, generator=generator) * 0.3
    if shuffled:
        labels = labels[torch.randperm(400, generator=generator)]
    return Features(features[:300], labels[:300], features[300:], labels[300:], 4)


@pytest.mark.parametrize("batch_norm", [True, False])
def test_separable_features_reach_100_and_shuffled_labels_stay_at_chance(batch_norm):
    config = LinearConfig(epochs=60, lr=0.1, batch_size=64, batch_norm=batch_norm)
    right = linear_probe(clusters(), config, 0)
    assert (right.scores.top1, right.best_epoch) == (100, 100)
    assert right.scores.per_class == [100, 100, 100, 100]
    assert knn(clusters(), 3).top1 == 100
    assert retrieval(clusters()) == {"mAP": 100, "recall@1": 100, "recall@5": 100, "recall@10": 100}
    shuffled = clusters(shuffled=True)
    assert linear_probe(shuffled, config, 0).scores.top1 < 45
    assert knn(shuffled, 1).top1 < 45
    assert retrieval(shuffled)["mAP"] < 35


def test_the_headline_is_the_last_epoch():
    probe = linear_probe(clusters(shuffled=True), LinearConfig(epochs=30, lr=0.5), 0)
    assert probe.scores.top1 < probe.best_epoch


def by_hand(test_labels: list[int]) -> Features:
    train = torch.tensor([[1.0, 0], [0, 1], [-1, 0.1]])
    test = torch.tensor([[5.0, 1], [0.1, 9], [-3, 3.5]])
    return Features(train, torch.tensor([0, 1, 2]), test, torch.tensor(test_labels), 3)


def test_knn_by_hand():
    assert knn(by_hand([0, 1, 2]), 1).top1 == pytest.approx(200 / 3)  # the third is nearer to class 1
    assert knn(by_hand([0, 1, 1]), 1).top1 == pytest.approx(100)


def test_retrieval_by_hand():
    """Gallery at 0, 30, 60 and 90 degrees with classes a b a b. A query at 0 for a finds it at ranks 1 and 3:
    (1 + 2/3) / 2; one at 90 for a at
    ranks 2 and 4: (1/2 + 2/4) / 2."""
    angles = torch.tensor([0.0, 30, 60, 90]).deg2rad()
    gallery = torch.stack([angles.cos(), angles.sin()], 1)
    features = Features(
        gallery, torch.tensor([0, 1, 0, 1]), torch.tensor([[2.0, 0], [0, 3.0]]), torch.tensor([0, 0]), 3
    )
    found = retrieval(features)
    assert found["mAP"] == pytest.approx(100 * ((1 + 2 / 3) / 2 + 0.5) / 2)
    assert (found["recall@1"], found["recall@5"]) == (50, 100)
    unasked = Features(gallery, torch.tensor([0, 1, 0, 1]), torch.ones(2, 2), torch.tensor([2, 2]), 3)
    assert retrieval(unasked)["mAP"] == 0  # nobody of that class to be found


def test_scores_by_hand():
    said = torch.tensor([[9.0, 1, 0, 0, 0, 0], [5, 6, 0, 0, 0, 0], [1, 2, 3, 4, 5, 0], [0, 0, 0, 0, 0, 1]])
    found = score(said, torch.tensor([0, 0, 5, 5]))
    assert (found.top1, found.top5) == (50, 75)
    assert found.per_class == [50, None, None, None, None, 50]
    assert found.confusion[0] == [1, 1, 0, 0, 0, 0]
    assert found.confusion[5] == [0, 0, 0, 0, 1, 1]


def test_drawn_labels_keep_every_class_and_depend_on_the_seed_alone():
    labels = torch.cat([torch.full((n,), c) for c, n in enumerate([300, 40, 3, 1])])[torch.randperm(344)]
    chosen = draw_labelled(labels, 1, seed=0)
    assert torch.bincount(labels[chosen]).tolist() == [3, 1, 1, 1]
    assert chosen.unique().tolist() == chosen.tolist()
    assert torch.equal(chosen, draw_labelled(labels, 1, seed=0))
    assert not torch.equal(chosen, draw_labelled(labels, 1, seed=1))
    assert torch.bincount(labels[draw_labelled(labels, 10, seed=0)]).tolist() == [30, 4, 1, 1]
    assert len(draw_labelled(labels, 100, seed=3)) == len(labels)


def test_spread():
    assert spread([1.0, 3.0]) == {"mean": 2, "std": pytest.approx(2**0.5)}
    assert spread([4.0]) == {"mean": 4, "std": 0}
