"""The validation part: who is held out, and that nobody looks at what is not theirs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from amr_cli.train import main
from amr_data import ShardDataset, UsageError, open_dataset
from amr_data.specs import Protocol
from amr_train import Listener, Result, evaluate, load_experiment, run_experiment
from amr_train.evaluation.evaluating import _by_subject, _never_taught
from amr_train.evaluation.parts import judging_clips, parts_of, training_clips
from amr_train.evaluation.protocols import Protocol as Judge
from amr_train.evaluation.records import record_digest
from amr_train.evaluation.task import Task
from amr_train.experiments import card
from amr_train.experiments.stages import stages_alone
from amr_train.identity import training_digest
from amr_train.report import write_report
from amr_train.report.collect import find_runs
from amr_train.report.published import _of_part
from amr_train.report.tables import rows_of
from tests.amr_train.runs import small

VALIDATION = "evaluation.part=validation"


def dataset_of(subjects: list[int], rule: Protocol) -> ShardDataset:
    """Two clips of each subject, one of camera 1 and one of camera 2, all labelled."""
    clips = np.zeros(2 * len(subjects), [("subject", int), ("camera", int), ("label", int)])
    clips["subject"], clips["camera"] = np.repeat(subjects, 2), np.tile([1, 2], len(subjects))
    found = SimpleNamespace(path="here", clips=clips, spec=SimpleNamespace(protocols={"rule": rule}))
    sides = rule.assign(clips[rule.by])
    parts = {"train": 0, "test": 1, "validation": 2}
    found.split = lambda split, part: np.flatnonzero(sides == parts[part])
    return found  # type: ignore[return-value]


BY_VIEW = Protocol(by="camera", train=[1], test=[2])


@pytest.mark.parametrize(
    ("subjects", "held"),
    [
        (list(range(1, 11)), {5, 10}),
        ([9, 1, 7, 3, 5, 30], {9}),  # sorted: 1 3 5 7 9 30
        ([4, 2, 8], {8}),
        ([1, 2, 3, 4, 5], {5}),
    ],
)
def test_every_fifth_training_subject_is_held_out_whatever_the_split_goes_by(subjects, held):
    dataset = dataset_of(subjects, BY_VIEW)
    of, view = dataset.clips["subject"], dataset.clips["camera"]
    validation, train = (
        judging_clips(dataset, "rule", "validation"),
        training_clips(dataset, "rule", "validation"),
    )
    assert set(of[validation]) == held
    assert set(of[train]) == set(subjects) - held
    assert set(view[validation]) == set(view[train]) == {1}  # the other view tests
    assert len(training_clips(dataset, "rule")) == len(subjects)  # nobody is held out for the test part
    by_subject = dataset_of([*subjects, 100, 101], Protocol(by="subject", train=subjects, test=[100, 101]))
    assert set(by_subject.clips["subject"][judging_clips(by_subject, "rule", "validation")]) == held


def test_a_validation_list_of_the_split_comes_first():
    rule = Protocol(by="subject", train=[1, 2, 3], test=[4], validation=[6])
    dataset = dataset_of([1, 2, 3, 4, 6], rule)
    of = dataset.clips["subject"]
    train, validation = parts_of(dataset, "rule", "validation")
    assert of[validation].tolist() == [6, 6]
    assert of[train].tolist() == [1, 1, 2, 2, 3, 3]


def test_a_split_in_which_every_clip_trains_names_those_that_judge(ntu_shards):
    said = r"no test clip in the split all.* another split \(xsub, xview\), or .*evaluation.protocols=\[\]"
    with pytest.raises(UsageError, match=said):
        parts_of(open_dataset(ntu_shards), "all", "test")
    with pytest.raises(UsageError, match="judged by it; a run trains without judging"):
        parts_of(dataset_of([1, 2], Protocol(by="camera", train=[1, 2], test=[3])), "rule", "test")


def test_classes_that_no_training_clip_shows_are_told():
    dataset = dataset_of([1, 2], Protocol(by="subject", train=[1], test=[2]))
    dataset.clips["label"][:] = [0, 0, 0, 1]
    dataset.spec.class_title = "class {}".format  # type: ignore[method-assign]

    def task(*test: int) -> Task:
        indices = {"train": np.array([0, 1]), "test": np.array(test)}
        return cast(Task, SimpleNamespace(dataset=dataset, indices=indices))

    assert _never_taught(task(2)) == []
    (line,) = _never_taught(task(2, 3))
    assert line.startswith("1 of the 2 classes that are judged have no training clip in here (class 1)")
    assert line.endswith(": 1 of 2 clips cannot be told")


def test_clips_of_unknown_people_train_only_where_nobody_is_held_out():
    dataset = dataset_of([-1, 1, 2], BY_VIEW)
    assert dataset.clips["subject"][training_clips(dataset, "rule", "validation")].tolist() == [1]
    assert dataset.clips["subject"][training_clips(dataset, "rule")].tolist() == [-1, 1, 2]


@pytest.mark.parametrize(("subjects", "said"), [([3], "the only one is 3"), ([-1], "no clip says whose")])
def test_one_training_subject_cannot_be_held_out(subjects, said):
    with pytest.raises(UsageError, match=said):
        parts_of(dataset_of(subjects, BY_VIEW), "rule", "validation")


def test_the_test_part_is_never_read_and_held_out_people_do_not_train(ntu_shards, tmp_path, monkeypatch):
    dataset = open_dataset(ntu_shards)
    subject = dataset.clips["subject"]
    trained = sorted(set(subject[dataset.split("xsub", "train")].tolist()))
    held, rest = trained[-1], trained[:-1]
    read: list[set[int]] = []
    arrays = ShardDataset.arrays

    def watched(self, clips, *args, **kwargs):
        read.append(set(subject[clips].tolist()))
        return arrays(self, clips, *args, **kwargs)

    monkeypatch.setattr(ShardDataset, "arrays", watched)
    augmented = "evaluation.linear.views=augmented"
    found = run_experiment(small(ntu_shards, VALIDATION, augmented), tmp_path / "run")
    assert read[0] == set(rest)  # pre-training comes first
    assert set().union(*read) == set(trained)
    counts = {
        "train": int(np.isin(subject, rest).sum()),
        "validation": int((subject == held).sum()),
    }
    assert len(found["evaluations"]) == 6
    for record in found["evaluations"]:
        assert (record["part"], record["clips"], record["seen"]) == ("validation", counts, False)
    # the very figures of a probe on the same clips, taken as another dataset's train and test part
    monkeypatch.undo()
    rule = Protocol(by="subject", train=rest, test=[held])
    changed = dataset.spec.model_copy(update={"protocols": {"xsub": rule}})
    dataset.spec = changed
    kept = [r for r in found["evaluations"] if r["protocol"] == "knn" and r["subject"]["kind"] == "encoder"]
    assert evaluate(tmp_path / "run", dataset, protocol="knn")["figures"] == kept[0]["figures"]


def test_each_training_subject_is_judged_by_the_others(ntu_shards, tmp_path, monkeypatch):
    """As one evaluation for each, whose split trains on the others' clips and tests on those of the one."""
    run_experiment(small(ntu_shards, "evaluation.protocols=[]"), tmp_path / "run")
    asked = ["eval", str(tmp_path / "run"), "part=subjects", "--protocol", "knn", "--protocol", "logistic"]
    dataset = open_dataset(ntu_shards)
    subject, trained = dataset.clips["subject"], dataset.split("xsub", "train")
    read: list[set[int]] = []
    arrays = ShardDataset.arrays

    def watched(self, clips, *args, **kwargs):
        read.append(set(clips.tolist()))
        return arrays(self, clips, *args, **kwargs)

    with monkeypatch.context() as watching:
        watching.setattr(ShardDataset, "arrays", watched)
        done = CliRunner().invoke(main, [*asked, "--json"])
    assert done.exit_code == 0, done.output
    assert set().union(*read) <= set(trained.tolist())
    of = {(r["protocol"], r["subject"]["kind"]): r for r in json.loads(done.stdout)["evaluations"]}
    assert {key: r["seen"] for key, r in of.items() if key[0] == "knn"} == {
        ("knn", "encoder"): True,
        ("knn", "untrained"): False,
        ("knn", "coordinates"): False,
    }
    people = sorted(set(subject[trained].tolist()))
    assert len(people) > 1
    for protocol, figure in (("knn", "kNN joints"), ("logistic", "logistic joints")):
        right = 0.0
        for one in people:
            rule = Protocol(by="subject", train=[p for p in people if p != one], test=[one])
            dataset.spec = dataset.spec.model_copy(update={"protocols": {"xsub": rule}})
            found = evaluate(tmp_path / "run", dataset, protocol=protocol)["figures"]
            right += found[figure] * int((subject[trained] == one).sum())
        (figures,) = [r["figures_percent"] for key, r in of.items() if key == (protocol, "encoder")]
        assert figures[figure] == pytest.approx(right / len(trained))
    told = " ".join(CliRunner().invoke(main, asked).output.split())
    assert "each training subject by the others (seen without labels in pre-training)" in told
    text = write_report([tmp_path], form="md")
    assert f"xsub: {len(trained)} training clips" in text
    assert "EACH TRAINING SUBJECT BY THE OTHERS, SEEN WITHOUT LABELS" in text
    refused = CliRunner().invoke(
        main, ["eval", str(tmp_path / "run"), "part=subjects", "--protocol", "finetune"]
    )
    assert refused.exit_code == 2
    assert "judges frozen features of clips, and finetune does not" in " ".join(refused.output.split())


def test_of_subjects_all_known_ones_train_and_judge():
    dataset = dataset_of([-1, 1, 2, 3], BY_VIEW)
    both = parts_of(dataset, "rule", "subjects")
    assert [dataset.clips["subject"][clips].tolist() for clips in both] == [[1, 2, 3]] * 2
    assert dataset.clips["subject"][training_clips(dataset, "rule", "subjects")].tolist() == [-1, 1, 2, 3]
    with pytest.raises(UsageError, match=r"by the others' clips, and here has not two .* one is 3; use"):
        parts_of(dataset_of([3], BY_VIEW), "rule", "subjects")
    with pytest.raises(UsageError, match=r"not two .* no clip says whose it is; use evaluation\.part=test"):
        parts_of(dataset_of([-1, -1], BY_VIEW), "rule", "subjects")


PEOPLE = [7, 5, 5, 0, 7, 0, 0]


def by_subject(run: Callable[[Task], object]) -> Result:
    """What is found of clips of `PEOPLE`, of whom each is judged by the others' as `run` does it."""

    class Own(Judge):
        name = "own"

        def settings(self, config, augment):
            return {}

        def run(self, task):
            return run(task)

    task = Task.__new__(Task)
    task.dataset = SimpleNamespace(clips={"subject": np.array([-1, *PEOPLE])})
    task.indices = {part: np.arange(1, 8) for part in ("train", "test")}
    task.listener, task.subject = Listener(), SimpleNamespace(kind="encoder")
    task.__dict__["clip_features"] = {}  # made already
    return _by_subject(Own(), task)


def test_of_subjects_figures_are_means_over_clips_and_scores_stand_in_their_order():
    def run(task: Task) -> Result:
        mine, others = task.indices["test"], task.indices["train"]
        assert sorted([*mine, *others]) == list(range(1, 8))
        return Result({"right": 100.0 / len(mine)}, {}, {"mean": torch.from_numpy(mine)[:, None]})

    found = by_subject(run)
    assert found.figures == {"right": pytest.approx(300 / 7)}
    assert found.details["subjects"]["0"] == {"right": pytest.approx(100 / 3), "clips": 3}
    assert found.scores["mean"].tolist() == [[clip] for clip in range(1, 8)]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda task: {"right": 1.0}, "own: a Result with finite figures is expected, not {'right': 1.0}"),
        (lambda task: Result({"right": "1"}), "a Result with finite figures is expected, not {'right': '1'}"),
        (lambda task: Result({f"of {len(task.indices['test'])}": 1.0}), "of 0 they are of 3, of 5 of 2"),
    ],
)
def test_what_a_protocol_of_ones_own_gives_of_a_subject_is_checked(given, message):
    with pytest.raises(UsageError, match=message):
        by_subject(given)


def test_what_trains_is_refused_by_a_plan_too():
    words = ["evaluation.part=subjects", "evaluation.protocols=[finetune]", "data.path=anywhere"]
    with pytest.raises(UsageError, match="judges frozen features of clips, and finetune does not"):
        stages_alone(load_experiment("demo", words), Path("runs"))


def test_a_card_says_that_each_subject_is_judged_by_the_others():
    data = {"dataset": "mine", "fingerprint": "f" * 12}
    record = {"data": data, "split": "all", "part": "subjects", "seen": True, "figures": {}}
    record["clips"] = {"train": 1200, "subjects": 1200}
    told = card._results(None, SimpleNamespace(records=[]), [record])
    assert (
        "**mine, split all**, in percent; 1,200 training clips, those of each subject judged by what the "
        "others' teach, which it has seen without labels:"
    ) in told


def test_what_stands_between_a_figure_and_a_published_one_is_said_of_each_part():
    said = [_of_part({"part": part}) for part in ("test", "validation", "subjects")]
    assert said == [
        [],
        ["held-out training clips instead of the test part"],
        ["training clips instead of the test part"],
    ]


def test_a_training_is_the_same_whether_test_clips_or_subjects_judge(ntu_shards):
    assert training_digest(small(ntu_shards, "evaluation.part=subjects")) == training_digest(
        small(ntu_shards)
    )


def test_validation_and_test_never_meet(ntu_shards, tmp_path):
    """One run each, and the run that saw all training clips judged on the validation part as well."""
    held, whole = tmp_path / "runs" / "a", tmp_path / "runs" / "b"
    run_experiment(small(ntu_shards, VALIDATION, "evaluation.protocols=[knn]"), held)
    run_experiment(small(ntu_shards, "evaluation.protocols=[knn]"), whole)
    done = CliRunner().invoke(main, ["eval", str(whole), "part=validation", "--json"])
    assert done.exit_code == 0, done.output
    printed = json.loads(done.stdout)["evaluations"]
    # the encoder has seen these clips and says so; coordinates and chance saw nothing
    seen = {r["subject"]["kind"]: r["seen"] for r in printed}
    assert seen == {"untrained": False, "coordinates": False, "encoder": True}
    done = CliRunner().invoke(main, ["eval", str(whole), "part=validation"])
    assert "validation part (seen without labels in pre-training)" in " ".join(done.output.split())

    rows = rows_of(find_runs([tmp_path / "runs"], print))
    assert {row["part"] for row in rows} == {"test", "validation"}
    for row in rows:
        assert len(row["values"]) == 1
        assert list(row["clips"]) == ["train", row["part"]]
    text = write_report([tmp_path / "runs"], form="md")
    titles = [line for line in text.splitlines() if line.startswith("## ")]
    assert [(" validation clips" in t, " test clips" in t) for t in titles] in (
        [(True, False), (False, True)],
        [(False, True), (True, False)],
    )
    page = write_report([tmp_path / "runs"], form="html")
    assert "training clips, which choices were made on" in page
    assert "Confusion on the validation part:" in page
    assert "Confusion on the test part:" in page
    planned = CliRunner().invoke(
        main, ["run", "demo", "--data", str(ntu_shards), "scale=tiny", VALIDATION, "--plan", "--json"]
    )
    assert json.loads(planned.stdout)[0]["part"] == "validation"


def test_a_record_and_a_training_of_the_validation_part_have_digests_of_their_own(ntu_shards):
    assert training_digest(small(ntu_shards, VALIDATION)) != training_digest(small(ntu_shards))
    about = {"protocol": "knn", "settings": {}, "split": "xsub", "seed": 0, "precision": "float32"}
    about |= {"data": {"fingerprint": "f"}, "subject": {"digest": "s"}, "joints": 25}
    assert record_digest({**about, "part": "test"}) == record_digest(about)  # as earlier records
    assert record_digest({**about, "part": "validation"}) != record_digest(about)
