"""What a run took clips for is what its figures were made of."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from amr_data import UsageError, open_dataset
from amr_train import run_experiment
from amr_train.deploy.mistakes import _title, kept_predictions
from tests.amr_train.runs import small


@pytest.fixture(scope="module")
def run(ntu_shards, tmp_path_factory):
    out = tmp_path_factory.mktemp("mistakes") / "run"
    settings = ["pretrain.epochs=2", "evaluation.protocols=[linear]", "evaluation.baselines=[]"]
    return out, run_experiment(small(ntu_shards, *settings), out)


def test_predictions_give_the_figures_again(run, ntu_shards):
    folder, results = run
    dataset = open_dataset(ntu_shards)
    (record,) = results["evaluations"]
    found = {one.name: one.predicted for one in kept_predictions(folder, dataset)}
    test = dataset.split("xsub", "test")
    labels = dataset.clips["label"]
    assert len(found) == len(record["details"])
    for pooling, details in record["details"].items():
        predicted = found[f"linear {pooling}, xsub"]
        assert np.flatnonzero(predicted >= 0).tolist() == test.tolist()
        assert 100 * np.mean(predicted[test] == labels[test]) == pytest.approx(details["top1"])
        confusion = np.array(details["confusion"])
        for a, b in ((0, 0), (0, 59), (59, 0)):
            assert confusion[a, b] == np.count_nonzero((labels[test] == a) & (predicted[test] == b))


def test_a_run_without_scores_of_this_data_is_told(run, ntu_shards, tmp_path):
    folder, _ = run
    dataset = open_dataset(ntu_shards)
    with pytest.raises(UsageError, match="is no run's folder"):
        kept_predictions(tmp_path, dataset)
    shutil.copytree(folder, tmp_path / "run")
    for path in (tmp_path / "run" / "evaluations").glob("*.npz"):
        path.write_bytes(b"nonsense")
    with pytest.raises(UsageError, match=r"keeps no scores of the clips .* --protocol linear` makes some"):
        kept_predictions(tmp_path / "run", dataset)
    other = open_dataset(ntu_shards)
    other.__dict__["fingerprint"] = "0" * 64
    with pytest.raises(UsageError, match="1 of its results are of other data"):
        kept_predictions(folder, other)


def test_a_name_says_which_part_was_judged():
    record = {"protocol": "linear", "split": "xsub"}
    assert [
        _title({**record, **part}, "mean") for part in ({}, {"part": "validation"}, {"part": "subjects"})
    ] == [
        "linear mean, xsub",
        "linear mean, xsub, validation part",
        "linear mean, xsub, each subject by the others",
    ]
