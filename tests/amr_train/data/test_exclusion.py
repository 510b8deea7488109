"""`data.exclude`: the clips of a list train nothing, and every result says so."""

from __future__ import annotations

import json

import numpy as np
import pytest

from amr_data import UsageError, open_dataset
from amr_data.looking.decisions import decide, decisions_file
from amr_train import evaluate, load_encoder, run_experiment
from amr_train.evaluation.parts import parts_of
from amr_train.experiments.sources import settled
from amr_train.identity import training_digest
from tests.amr_train.runs import Listener, small


@pytest.fixture(scope="module")
def training(ntu_shards):
    dataset = open_dataset(ntu_shards)
    return [dataset.names[i] for i in parts_of(dataset, "xsub")[0]]


def listed(path, *names, decision="exclude"):
    for name in names:
        decide(path, name, decision)
    return f"data.exclude={path}"


def test_a_list_changes_what_a_training_is(ntu_shards, training, tmp_path):
    plain = settled(small(ntu_shards)).experiment
    empty = settled(small(ntu_shards, listed(tmp_path / "k.csv", training[0], decision="keep"))).experiment
    one = settled(small(ntu_shards, listed(tmp_path / "one.csv", training[0]))).experiment
    two = settled(small(ntu_shards, listed(tmp_path / "two.csv", *training[:2]))).experiment
    other_place = settled(small(ntu_shards, listed(tmp_path / "again.csv", *training[1::-1]))).experiment
    assert (
        training_digest(plain)
        == training_digest(empty)
        == training_digest(small(ntu_shards, "data.split=xsub"))
    )
    assert len({training_digest(e) for e in (plain, one, two)}) == 3
    assert training_digest(two) == training_digest(other_place)  # the same clips, whatever the list is called
    assert two.data.excluded == {"ntu60": sorted(training[:2])}


def test_excluded_clips_train_nothing_and_all_results_say_so(ntu_shards, training, tmp_path):
    gone = training[:4]
    experiment = small(ntu_shards, listed(tmp_path / "x.csv", *gone), "pretrain.epochs=2")
    listener = Listener()
    results = run_experiment(experiment, tmp_path / "run", listener)
    rest = len(training) - 4
    assert f"4 of the {len(training)} training clips of ntu60 are excluded" in listener.lines
    assert results["pretraining"]["excluded_clips"] == 4
    config = load_encoder(tmp_path / "run").config
    assert config.excluded == {"ntu60": sorted(gone)}
    dataset = open_dataset(ntu_shards)
    judging = len(parts_of(dataset, "xsub")[1])
    for record in results["evaluations"]:  # the baselines beside it too
        assert record["clips"] == {"train": rest, "test": judging}
        assert record["settings"]["excluded"]["clips"] == 4
        assert record["spoken"].endswith("4 clips excluded")
    alone = evaluate(tmp_path / "run", ntu_shards, "xsub", "knn")
    assert alone["clips"]["train"] == rest

    # a list that has changed is another training
    with pytest.raises(UsageError, match=r"other settings: data\.excluded"):
        run_experiment(small(ntu_shards, "pretrain.epochs=2"), tmp_path / "run")
    (tmp_path / "x.csv").unlink()
    kept = json.loads((tmp_path / "run" / "run.json").read_text())["experiment"]["data"]
    assert kept["excluded"] == {"ntu60": sorted(gone)}
    frozen = small(ntu_shards, f"data.excluded={json.dumps(kept['excluded'])}", "pretrain.epochs=2")
    assert len(run_experiment(frozen, tmp_path / "run")["evaluations"]) == len(results["evaluations"])


def test_clips_that_judge_are_never_taken_away(ntu_shards, tmp_path):
    dataset = open_dataset(ntu_shards)
    train, test = parts_of(dataset, "xsub")
    names = [dataset.names[test[0]]]
    found = parts_of(dataset, "xsub", "test", names)
    assert np.array_equal(found[0], train)
    assert np.array_equal(found[1], test)
    (source,) = settled(small(ntu_shards, listed(tmp_path / "x.csv", *names))).every
    assert source.left_out == 0


def test_the_list_beside_the_dataset(ntu_shards, training, tmp_path):
    place = tmp_path / "mine"
    place.symlink_to(ntu_shards)
    with pytest.raises(UsageError, match=r"there is no .*mine\.decisions\.csv; `amr-data serve` writes it"):
        settled(small(place, "data.exclude=beside"))
    listed(decisions_file(place), training[3])
    assert settled(small(place, "data.exclude=beside")).every[0].left_out == 1


def test_what_does_not_fit_is_said_by_name(ntu_shards, training, tmp_path):
    wrong = listed(tmp_path / "x.csv", training[0], "S001C001P001R001A999")
    with pytest.raises(UsageError, match=r"x\.csv: there is no clip 'S001C001P001R001A999'.*did you mean"):
        settled(small(ntu_shards, wrong))
    with pytest.raises(UsageError, match="cannot be read"):
        settled(small(ntu_shards, f"data.exclude={tmp_path / 'none.csv'}"))
    with pytest.raises(UsageError, match="leaves no train clip"):
        settled(small(ntu_shards, listed(tmp_path / "all.csv", *training)))
    with pytest.raises(UsageError, match="there is no dataset 'other'"):
        settled(small(ntu_shards, 'data.excluded={"other": ["a"]}'))
    with pytest.raises(UsageError, match=r"data\.excluded follows from"):
        settled(small(ntu_shards, listed(tmp_path / "y.csv", training[0]), 'data.excluded={"ntu60": ["a"]}'))
