"""`suite/small-sets` and what it is made of: rows on several datasets, folds, raw files of several."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import yaml

from amr_data import UsageError
from amr_train.experiments.stages import Stage, stages_of
from amr_train.experiments.suites import load_suite

ALL = "nw-ucla+utd-mhad+sbu+wmft-agreement"


@pytest.fixture(scope="module")
def stages() -> list[Stage]:
    return stages_of(load_suite("suite/small-sets"), {}, Path("runs"))


def test_every_encoder_of_the_table_is_trained_once_and_judged_where_it_belongs(stages):
    """Alone: four methods on three sets and on five folds of the fourth, 32 runs, and one more on the set
    that several cameras saw. On all sets: one for each fold, the first of which is judged on the other three
    sets too. On three sets: four. By three seeds."""
    runs = [stage for stage in stages if not stage.transfer]
    assert len(runs) == 3 * (4 * (3 + 5) + 1 + 5 + 4)
    assert len({run.folder for run in runs}) == len(runs)
    assert {stage.protocols for stage in stages if not stage.together or stage.transfer} == {
        ("linear", "logistic", "knn", "finetune")
    }
    judged = Counter(
        (stage.experiment.name, stage.dataset) for stage in stages if stage.transfer and stage.seed == 1
    )
    assert judged == {
        (ALL, "nw-ucla"): 1,
        (ALL, "utd-mhad"): 1,
        (ALL, "wmft"): 1,
        (ALL, "sbu"): 5,
        ("utd-mhad+sbu+wmft-agreement", "nw-ucla"): 1,
        ("nw-ucla+sbu+wmft-agreement", "utd-mhad"): 1,
        ("nw-ucla+utd-mhad+sbu-agreement", "wmft"): 1,
        ("nw-ucla+utd-mhad+wmft-agreement", "sbu"): 5,
    }
    unseen = [s for s in stages if s.transfer and s.dataset not in s.together]
    assert {stage.dataset for stage in unseen} == {"nw-ucla", "utd-mhad", "sbu", "wmft"}


def test_every_encoder_sees_the_same_form_by_the_same_sizes(stages):
    """What differs between rows of the table is the method and the data; and what makes several sensors
    comparable, for encoders of several."""
    experiments = [stage.experiment for stage in stages]
    alone = [stage.experiment for stage in stages if not stage.together]
    several = [stage.experiment for stage in stages if stage.together]
    sizes = {
        (e.model.frames, e.model.segment, e.model.width, e.model.encoder_layers, e.model.registers)
        for e in experiments
    }
    assert len(sizes) == 1
    for group in (alone, several):
        assert len({str(e.input) for e in group}) == 1
        assert len({str(e.augment) for e in group}) == 1
    (form,) = {str(e.input.model_copy(update={"centre": "path", "landmarks": "limbs"})) for e in several}
    assert form == str(several[0].input)
    (moved,) = {e.augment.shift for e in several}
    assert {str(e.augment.model_copy(update={"shift": moved})) for e in alone} == {str(several[0].augment)}
    assert len({str(e.evaluation.model_copy(update={"baselines": []})) for e in experiments}) == 1
    assert {e.pretrain.batch_size for e in experiments} == {32}


def test_the_judge_of_a_fold_was_never_shown_its_test_clips(stages):
    for stage in stages:
        if stage.transfer and stage.dataset in stage.together and stage.dataset == "sbu":
            assert stage.split == stage.experiment.data.splits["sbu"]
    folds = {s.folder.name: s.experiment for s in stages if s.experiment.name == "sbu-amr" and s.seed == 0}
    assert {name: e.data.split for name, e in folds.items()} == {
        f"sbu-amr-split=fold{n}-0": f"fold{n}" for n in range(1, 6)
    }


def test_the_whole_suite_shrinks_to_seconds(stages):
    tiny = stages_of(load_suite("suite/small-sets"), {}, Path("runs"), ["scale=tiny"])
    assert {stage.experiment.pretrain.epochs for stage in tiny} == {2}
    assert [stage.name for stage in tiny] == [stage.name for stage in stages]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"together": ["a"]}, "two or more different"),
        ({"together": ["a", "a"]}, "two or more different"),
        ({"together": ["a", "b"], "judged": ["ab"]}, "no dataset 'ab' in `together`"),
        ({"settings": {"data.paths": ["x"]}}, "named by `together`"),
    ],
)
def test_what_a_row_on_several_datasets_may_not_say(tmp_path, content, says):
    row = {"data": "any-skeleton-small", "methods": ["amr"], **content}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"experiments": [row]}))
    with pytest.raises(UsageError, match=f"(?s).*{says}"):
        load_suite(str(tmp_path / "mine.yaml"))


def test_settings_of_a_method_lie_between_those_of_the_suite_and_of_a_row(tmp_path):
    row = {"data": "nw-ucla", "methods": ["amr", "mae"]}
    methods = {"mae": {"mask": {"ratio": 0.5}, "pretrain.lr": 0.1}}
    own = {"experiments": [row, {**row, "data": "wmft", "settings": {"mask.ratio": 0.6}}], "methods": methods}
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({**own, "settings": {"mask.ratio": 0.4}}))
    found = [s.experiment for s in stages_of(load_suite(str(file)), {}, Path("runs"))]
    assert [e.mask.ratio for e in found] == [0.4, 0.5, 0.6, 0.6]
    assert [e.pretrain.lr for e in found] == [0.001, 0.1, 0.001, 0.1]
    file.write_text(yaml.safe_dump({**own, "methods": {"mea": {}}}))
    with pytest.raises(UsageError, match="no method 'mea' in any row: did you mean 'mae'"):
        load_suite(str(file))
