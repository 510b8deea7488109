"""What shares a row and what does not, and beside which rows a published value stands."""

from __future__ import annotations

import json

import pytest

from amr_data import UsageError
from amr_train import load_experiment
from amr_train.report import find_runs, rows_of, write_report
from amr_train.report.pivot import sections_of
from tests.amr_train.report.folders import CTRGCN, data_of, judge, run_with, write_run


def rows(*paths, notes=None):
    return rows_of(find_runs(list(paths), (notes if notes is not None else []).append))


def of(found, figure):
    return [row for row in found if row["figure"] == figure]


def test_seeds_of_the_same_settings_share_a_row(tmp_path):
    for seed, (shift, seconds) in enumerate([(0.0, 30.0), (2.0, 20.0), (7.0, 40.0)]):
        run_with(tmp_path / f"run-{seed}", shift=shift, seed=seed, seconds=seconds)
    (row,) = of(rows(tmp_path), "linear mean")
    assert row["values"] == [80, 82, 87]
    assert row["seeds"] == [0, 1, 2]
    assert row["mean"] == 83
    assert row["std"] == pytest.approx(13**0.5)  # deviations -3, -1, 4: 26 over n - 1
    assert row["seconds"] == 20


def test_settings_of_the_training_never_share_a_row(tmp_path):
    run_with(tmp_path / "a-r2", "model.target_ratio=2", shift=1)
    run_with(tmp_path / "b-shipped")
    run_with(tmp_path / "c-r2", "model.target_ratio=2", shift=3, seed=1)
    found = of(rows(tmp_path), "linear mean")
    assert [(row["experiment"], row["values"]) for row in found] == [
        ("ntu60-xsub-amr", [80]),
        ("ntu60-xsub-amr (model.target_ratio 2)", [81, 83]),
    ]


def test_settings_of_the_evaluation_never_share_a_row(tmp_path):
    experiment = write_run(tmp_path / "run")
    judge(tmp_path / "run", experiment)
    high = load_experiment("ntu60-xsub-amr", ["evaluation.linear.lr=0.1"])
    judge(tmp_path / "run", experiment, shift=5, judged_by=high)
    found = of(rows(tmp_path), "linear mean")
    assert [(row["experiment"], row["values"]) for row in found] == [
        ("ntu60-xsub-amr", [80]),
        ("ntu60-xsub-amr (linear.lr 0.1)", [85]),
    ]


def test_other_shares_of_labels_decide_nothing_of_one(tmp_path):
    judge(tmp_path / "a", write_run(tmp_path / "a"), "semi")
    few = write_run(tmp_path / "b", "ntu60-xsub-amr", "evaluation.semi.percent=[1]", seed=1)
    judge(tmp_path / "b", few, "semi", figures={"semi 1 %": 52.0})
    (row,) = of(rows(tmp_path), "semi 1 %")
    assert row["values"] == [50, 52]
    assert row["published"] == 72.2


def test_names_decide_nothing_and_data_do(tmp_path):
    """The shipped settings for NTU-60 and NTU-120 are the same; what they were trained on is not."""
    run_with(tmp_path / "a")
    run_with(tmp_path / "b", called="mine", seed=1, shift=2)
    experiment = write_run(tmp_path / "c", "ntu120-xsub-amr", fingerprint="f2")
    judge(tmp_path / "c", experiment)
    run_with(tmp_path / "d", fingerprint="f3", recipe={**CTRGCN, "name": "amr"})
    found = of(rows(tmp_path), "linear mean")
    assert [(row["experiment"], row["dataset"], row["values"]) for row in found] == [
        ("ntu60-xsub-amr (also named mine)", "ntu60 (recipe ctrgcn)", [80, 82]),
        ("ntu120-xsub-amr", "ntu120", [80]),
        ("ntu60-xsub-amr (trained on.recipe amr)", "ntu60 (recipe amr)", [80]),
    ]


def test_a_seed_of_the_evaluation_alone_is_another_row(tmp_path):
    """Two probes of one encoder are no two seeds, and never averaged into one figure."""
    experiment = write_run(tmp_path / "run")
    judge(tmp_path / "run", experiment)
    judge(tmp_path / "run", experiment, shift=4, seed=7)
    found = {row["experiment"]: (row["values"], row["seeds"]) for row in of(rows(tmp_path), "linear mean")}
    assert found == {"ntu60-xsub-amr": ([80], [0]), "ntu60-xsub-amr (seed 7)": ([84], [0])}


def test_a_published_value_stands_where_all_is_as_shipped(tmp_path):
    experiment = write_run(tmp_path / "run")
    for protocol in ("linear", "semi", "knn"):
        judge(tmp_path / "run", experiment, protocol)
    found = {row["figure"]: (row["published"], row["differs"]) for row in rows(tmp_path / "run")}
    assert found["linear mean"] == (87.4, "")
    assert found["semi 10 %"] == (89.0, "")
    assert found["linear joints"] == found["kNN mean"] == (None, "")


@pytest.mark.parametrize(
    ("overrides", "made", "why"),
    [
        (["pretrain.epochs=60"], {}, "pretrain.epochs 60 instead of 400"),
        (["evaluation.linear.lr=0.1"], {}, "linear.lr 0.1 instead of 0.01"),
        (["precision=float32"], {}, "precision float32 instead of bfloat16"),
        (["scale=tiny"], {}, "scale tiny: precision float32 instead of bfloat16, model.frames 24"),
        ([], {"recipe": {**CTRGCN, "name": "amr"}}, "recipe amr instead of ctrgcn"),
        ([], {"recipe": {**CTRGCN, "rotate": True}}, "recipe ctrgcn, rotate instead of ctrgcn"),
        ([], {"synthetic": True}, "synthetic clips"),
        ([], {"dataset": "mine"}, "trained on mine instead of ntu60"),
    ],
)
def test_otherwise_the_row_says_what_differs(tmp_path, overrides, made, why):
    run_with(tmp_path / "run", *overrides, **made)
    (row,) = of(rows(tmp_path), "linear mean")
    assert row["published"] is None
    assert row["in_print"] == 87.4
    assert row["differs"].startswith(why)


def test_the_precision_of_fine_tuning_has_to_be_the_shipped_one(tmp_path):
    experiment = write_run(tmp_path / "run", "ntu60-xsub-mamp")
    judge(tmp_path / "run", experiment, "finetune")
    judge(tmp_path / "run", experiment, "finetune", shift=1, precision="float32")
    first, second = of(rows(tmp_path), "finetune")
    assert (first["published"], second["published"]) == (93.0, None)
    assert second["differs"] == "precision float32 instead of bfloat16"


def test_a_transfer_is_named_and_has_a_published_value_of_its_own(tmp_path):
    experiment = write_run(tmp_path / "run")
    pku = {"data": data_of("pku-mmd-2", fingerprint="f2"), "split": "xsub"}
    judge(tmp_path / "run", experiment, "finetune", **pku)
    judge(tmp_path / "run", experiment, "linear", split="xview")
    found = {row["figure"]: row for row in rows(tmp_path)}
    assert found["transfer pku-mmd-2-xsub finetune"]["published"] == 70.9
    assert found["transfer ntu60-xview linear mean"]["published"] is None
    assert found["transfer pku-mmd-2-xsub finetune"]["dataset"] == "pku-mmd-2"


def test_an_unfinished_run_is_noted_and_its_checkpoints_results_say_so(tmp_path):
    run_with(tmp_path / "a")
    write_run(tmp_path / "b", seed=1, seconds=None)
    experiment = write_run(tmp_path / "c", seed=2, seconds=None)
    judge(tmp_path / "c", experiment, epoch=20)
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "run.json").write_text('{"schema": 1}')
    (tmp_path / "e" / "evaluations").mkdir(parents=True)
    (tmp_path / "e" / "evaluations" / "linear-0123.json").write_text("{")
    (tmp_path / "e" / "evaluations" / "linear-0124.json").write_text("[" * 100_000)
    judge(tmp_path / "e", experiment, figures={"linear mean": 10**400})
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "run.json").write_text("[" * 100_000)
    (tmp_path / "c" / "metrics.jsonl").write_text("[" * 100_000 + '\n{"stage": "pretrain", "step": 1e999}\n')
    notes = []
    found = of(rows(tmp_path, notes=notes), "linear mean")
    assert [(row["experiment"], row["epoch"], row["published"]) for row in found] == [
        ("ntu60-xsub-amr", "", 87.4),
        ("ntu60-xsub-amr (epoch 20 of 400)", "epoch 20 of 400", None),
    ]
    assert found[1]["differs"] == "epoch 20 of 400"
    assert "b is not finished" in notes[0]
    assert "another release (schema 1" in notes[1]
    assert "3 files in" in notes[2]
    assert "hold no result" in notes[2]
    assert "f is left out" in notes[-1]
    with pytest.raises(UsageError, match="no finished run in"):
        rows(tmp_path / "b")
    with pytest.raises(UsageError, match="no run at"):
        rows(tmp_path / "none")


@pytest.mark.parametrize("odd", ["half a character \ud800", float("nan"), float("inf")])
def test_a_run_that_no_report_could_write_is_left_out(tmp_path, odd):
    run_with(tmp_path / "a")
    run_with(tmp_path / "b", seed=1)
    for file, key in (("a/pretraining.json", "loss"), ("b/run.json", "seed")):
        content = json.loads((tmp_path / file).read_text())
        (tmp_path / file).write_text(json.dumps({**content, key: odd}))
    notes = []
    (found,) = of(rows(tmp_path, notes=notes), "linear mean")
    assert (found["seeds"], found["seconds"]) == ([0], None)
    (note,) = notes
    assert "b is left out" in note
    assert "b/run.json cannot be read" in note
    assert "put a copy of it back" in note
    write_report([tmp_path])
    json.dumps(found, allow_nan=False, ensure_ascii=False).encode()


def test_baselines_come_first_also_from_beside_a_single_run(tmp_path):
    experiment = write_run(tmp_path / "run")
    judge(tmp_path / "run", experiment)
    other = load_experiment("nw-ucla-amr")
    for by, kind in ((experiment, "untrained"), (experiment, "coordinates"), (other, "untrained")):
        judge(tmp_path / "baselines", by, kind=kind, judged_by=experiment, split="xsub")
    every = [(row["kind"], row["experiment"], row["figure"]) for row in rows(tmp_path)]
    assert every[:2] == [
        ("coordinates", "coordinates", "linear positions"),
        ("coordinates", "coordinates", "linear motion"),
    ]
    names = [name for kind, name, _ in every if kind == "untrained"]
    assert names[0] == "untrained"
    assert names[-1].startswith("untrained (model.frames")
    single = rows(tmp_path / "run")
    assert [row["kind"] for row in single] == ["coordinates"] * 2 + ["untrained"] * 2 + ["encoder"] * 2
    assert single[2]["seconds"] is None


def test_what_runs_do_not_tell_keeps_results_apart(tmp_path):
    """Evaluations in a folder of their own: a run's encoder is found again by its weights, an imported one
    has no settings to be told by."""
    experiment = write_run(tmp_path / "run")
    record = judge(tmp_path / "run", experiment)
    judge(tmp_path / "elsewhere", experiment, "knn", subject=record["subject"])
    unknown = {"experiment": "", "training": "", "method": "mamp", "seed": 0, "epoch": 0, "epochs": 0}
    for digest in ("abcdef", "123456"):
        imported = {**record["subject"], **unknown, "digest": digest, "dataset": ""}
        judge(tmp_path / f"imported-{digest}", experiment, subject=imported)
    found = rows(tmp_path)
    assert {row["experiment"] for row in found} == {"ntu60-xsub-amr", "mamp abcdef", "mamp 123456"}
    assert all(not row["transfer"] for row in found)


def test_a_digest_of_an_earlier_release_is_the_same_training(tmp_path):
    """A later release adds a setting: the digests that older folders keep are no longer today's."""
    run_with(tmp_path / "a")
    experiment = write_run(tmp_path / "b", seed=1)
    record = json.loads((tmp_path / "b" / "run.json").read_text())
    (tmp_path / "b" / "run.json").write_text(json.dumps({**record, "digest": "0123456789ab"}))
    made = judge(tmp_path / "b", experiment)
    for file in (tmp_path / "b" / "evaluations").glob("*.json"):
        subject = {**made["subject"], "training": "0123456789ab"}
        file.write_text(json.dumps({**made, "subject": subject}))
    (row,) = of(rows(tmp_path), "linear mean")
    assert row["seeds"] == [0, 1]
    assert row["published"] == 87.4


def test_baselines_that_are_shown_another_form_have_rows_of_their_own(tmp_path):
    experiment = write_run(tmp_path / "a")
    judge(tmp_path / "a", experiment)
    for kind in ("coordinates", "untrained"):
        judge(tmp_path / "a", experiment, kind=kind)
        record = judge(tmp_path / "a", experiment, kind=kind)
        shown = {**record["subject"], "digest": f"{kind}-turned", "input": {"frame": "first"}}
        judge(tmp_path / "a", experiment, kind=kind, subject=shown, shift=5.0)
    rows = rows_of(find_runs([tmp_path], lambda line: None))
    names = [row["experiment"] for row in rows if row["figure"] in ("linear mean", "linear positions")]
    assert names == [
        "coordinates",
        "coordinates (input.frame first)",
        "untrained",
        "untrained (input.frame first)",
        "ntu60-xsub-amr",
    ]
    (section,) = sections_of(rows)
    assert (
        "input: frame first (coordinates (input.frame first), untrained (input.frame first))" in section.notes
    )
