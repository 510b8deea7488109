"""Folds as one row: the mean over the folds of each seed, then over seeds; what lacks folds is never among
them."""

from __future__ import annotations

import csv
import io
import json

import pytest

import amr_cli.table
from amr_cli.terminal import Terminal
from amr_data import load_spec
from amr_train import load_experiment
from amr_train.report import find_runs, rows_of, write_report
from amr_train.report.folds import mean_over
from amr_train.report.pivot import cell, sections_of
from amr_train.report.tables import row_as_values
from tests.amr_train.report.folders import data_of, judge, write_run

FOLDS = load_spec("sbu").folds_with("fold1")
SBU = {"data": data_of("sbu", fingerprint="s"), "clips": {"train": 226, "test": 56}}


def linear(folder):
    return [row for row in rows_of(find_runs([folder], print)) if row["figure"].endswith("linear mean")]


def run_folds(folder, name, seed, shifts, *overrides):
    """A run a fold, judged where it was trained."""
    for fold, shift in shifts.items():
        where = folder / f"{name}-{fold}-{seed}"
        settings = [f"data.split={fold}", *overrides]
        experiment = write_run(where, name, *settings, seed=seed, fingerprint="s", seconds=10.0 + seed)
        judge(where, experiment, shift=shift, **SBU)


def test_the_mean_over_folds_then_over_seeds():
    figures = {
        0: {"a": [80.0], "b": [70.0]},
        1: {"a": [90.0], "b": [60.0, 64.0]},  # judged twice: 62
        2: {"b": [99.0]},
    }
    found = mean_over(figures, ("a", "b"))
    assert (found.folds, found.missing, found.seeds) == (("a", "b"), (), [0, 1])
    assert found.values == [[80, 70], [90, 62]]
    assert found.means == [75, 76]
    assert found.left_out == {2: ("a",)}


@pytest.mark.parametrize(
    ("judged", "folds", "seeds"),
    [
        ({0: "a", 1: "ab", 2: "bc", 3: "bc"}, "bc", [2, 3]),  # of equally many, those of most seeds
        ({0: "c", 1: "a"}, "c", [0]),  # then the first seed's
        ({0: "a", 1: "abc"}, "abc", [1]),
    ],
)
def test_where_folds_lack_all_that_counts_lacks_the_same(judged, folds, seeds):
    found = mean_over({seed: {fold: [1.0] for fold in of} for seed, of in judged.items()}, tuple("abc"))
    assert ("".join(found.folds), found.seeds) == (folds, seeds)
    assert set(found.missing) == set("abc") - set(folds)
    assert {*found.left_out, *found.seeds} == set(judged)


def test_the_folds_of_a_training_share_a_row(tmp_path):
    """Two seeds of five trainings each; the figure is 80 and the shift."""
    run_folds(tmp_path, "sbu-amr", 0, dict(zip(FOLDS, (0, 5, -5, 10, 0), strict=True)))  # 82 on average
    run_folds(tmp_path, "sbu-amr", 1, dict.fromkeys(FOLDS, -2))
    run_folds(tmp_path, "sbu-mae", 0, dict.fromkeys(FOLDS, 1))
    amr, mae = linear(tmp_path)
    assert (amr["experiment"], amr["split"], amr["folds"]) == ("sbu-amr", "fold", list(FOLDS))
    assert (amr["values"], amr["seeds"], amr["mean"]) == ([82, 78], [0, 1], 80)
    assert amr["std"] == pytest.approx(8**0.5)
    assert amr["fold_values"] == [[80, 85, 75, 90, 80], [78] * 5]
    assert (amr["seconds"], amr["clips"]) == (10, {"train": 226, "test": 56})
    assert (mae["experiment"], mae["values"]) == ("sbu-mae", [81])
    told = row_as_values(amr)
    assert told["fold_values_percent"] == amr["fold_values"]
    assert not {"fold_values", "values"} & set(told)
    (section,) = sections_of(rows_of(find_runs([tmp_path], print)))
    assert section.title == "sbu, mean over 5 folds: about 226 training and 56 test clips in each"
    assert [line.seeds for line in section.lines] == [2, 1]
    assert section.highest["linear mean"] == {"sbu-mae"}
    lines = list(csv.DictReader(io.StringIO(write_report([tmp_path], form="csv"))))
    assert {line["folds"] for line in lines} == {" ".join(FOLDS)}
    page = write_report([tmp_path])
    assert "sbu, mean over 5 folds" in page
    assert "80.0 ± 2.8" in page
    assert "data.split" not in page[: page.index("Provenance")]


def test_settings_other_than_the_fold_still_tell_rows_apart(tmp_path):
    run_folds(tmp_path / "a", "sbu-amr", 0, {"fold1": 0, "fold2": 0})
    run_folds(tmp_path / "b", "sbu-amr", 0, {"fold2": 4, "fold1": 2}, "mask.ratio=0.7")
    found = rows_of(find_runs([tmp_path / "a", tmp_path / "b"], print))
    named = {row["experiment"]: row["values"] for row in found if row["figure"] == "linear mean"}
    assert named == {"sbu-amr": [80], "sbu-amr (mask.ratio 0.7)": [83]}


def test_folds_that_lack_are_named_and_win_nothing(tmp_path):
    run_folds(tmp_path, "sbu-amr", 0, dict.fromkeys(FOLDS, 0))
    run_folds(tmp_path, "sbu-amr", 1, {"fold1": 9, "fold3": 9})  # would lift the mean
    run_folds(tmp_path, "sbu-mae", 0, {"fold2": 10, "fold4": 14})
    run_folds(tmp_path, "sbu-mamp", 0, dict.fromkeys(FOLDS, -3))
    rows = linear(tmp_path)
    assert [(row["values"], row["seeds"]) for row in rows] == [([80], [0]), ([92], [0]), ([77], [0])]
    assert rows[0]["left_out"] == {"1": ["fold2", "fold4", "fold5"]}
    assert rows[1]["missing_folds"] == ["fold1", "fold3", "fold5"]
    assert [cell(row, 1) for row in rows] == ["80.0", "92.0 (2 of 5 folds)", "77.0"]
    (section,) = sections_of(rows)
    assert section.highest["linear mean"] == {"sbu-amr"}
    assert "sbu-amr, linear mean: seed 1 is left out, for it lacks fold2, fold4, fold5" in section.notes
    assert "sbu-mae, linear mean: fold2, fold4 alone, without fold1, fold3, fold5" in section.notes


def test_one_fold_alone_stays_the_split_that_it_is(tmp_path):
    run_folds(tmp_path, "sbu-amr", 0, {"fold2": 0})
    (row,) = linear(tmp_path)
    assert (row["split"], row["folds"], row["missing_folds"], row["fold_values"]) == ("fold2", [], [], [])
    (section,) = sections_of([row])
    assert section.title == "sbu, fold2: 226 training and 56 test clips"


def test_an_encoder_that_never_saw_the_dataset_is_judged_on_all_folds(tmp_path):
    experiment = write_run(tmp_path / "run", "nw-ucla-amr", fingerprint="u")
    for shift, fold in enumerate(FOLDS):
        judge(tmp_path / "run", experiment, shift=shift, split=fold, **SBU)
        judge(tmp_path / "base", experiment, kind="coordinates", split=fold, shift=shift, **SBU)
    (row,) = linear(tmp_path)
    assert (row["figure"], row["values"]) == ("transfer sbu-fold linear mean", [82])
    (section,) = sections_of(rows_of(find_runs([tmp_path], print)))
    assert {line.label: line.cells["linear joints"]["values"] for line in section.lines} == {
        "coordinates, positions": [68],
        "coordinates, motion": [57],
        "nw-ucla-amr, transferred": [84],
    }


def test_a_fold_that_an_encoder_was_trained_on_otherwise_is_no_part_of_the_mean(tmp_path):
    """It has seen the test clips of every other fold."""
    run_folds(tmp_path, "sbu-amr", 0, dict.fromkeys(FOLDS, 0))
    run = tmp_path / "sbu-amr-fold1-0"
    experiment = load_experiment("sbu-amr", ["data.split=fold1"])
    judge(run, experiment, shift=15, split="fold2", **SBU)
    ours, seen = linear(tmp_path)
    assert ours["values"] == [80]
    assert (seen["split"], seen["values"], seen["folds"]) == ("fold2", [95], [])
    assert seen["figure"] == "transfer sbu-fold2 linear mean"


def test_encoders_of_several_folds_are_no_seeds_of_each_other_elsewhere(tmp_path):
    """Trained on folds of one set, judged on another: each is a row of its own."""
    run_folds(tmp_path, "sbu-amr", 0, {"fold1": 0, "fold2": 0})
    there = {"data": data_of("nw-ucla", fingerprint="u"), "split": "xview"}
    for fold, shift in (("fold1", 0), ("fold2", 6)):
        judge(tmp_path / f"sbu-amr-{fold}-0", load_experiment("sbu-amr"), shift=shift, **there)
    found = {row["experiment"]: row["values"] for row in linear(tmp_path) if row["dataset"] == "nw-ucla"}
    assert found == {"sbu-amr": [80], "sbu-amr (trained on split fold2)": [86]}


def test_several_datasets_in_one_training_are_judged_by_their_folds(tmp_path):
    sets = [{"name": "sbu", "fingerprint": "s"}, {"name": "nw-ucla", "fingerprint": "u"}]
    for fold, shift in (("fold1", 1), ("fold2", 3)):
        run = tmp_path / f"all-{fold}"
        splits = [f"data.splits.sbu={fold}", "data.splits.nw-ucla=xview"]
        experiment = write_run(
            run, "any-skeleton-small-amr", *splits, dataset="sbu+nw-ucla", fingerprint="both"
        )
        record = json.loads((run / "run.json").read_text())
        record["data"]["sets"] = sets
        (run / "run.json").write_text(json.dumps(record))
        seen = [{"fingerprint": "s", "split": fold}, {"fingerprint": "u", "split": "xview"}]
        subject = {**record["encoder"], "kind": "encoder", "digest": fold, "datasets": seen}
        judge(run, experiment, subject=subject, shift=shift, split=fold, **SBU)
    (row,) = linear(tmp_path)
    assert (row["experiment"], row["values"]) == ("any-skeleton-small-amr", [82])
    assert (row["transfer"], row["folds"], len(row["missing_folds"])) == (False, ["fold1", "fold2"], 3)


def test_what_a_record_says_of_folds_goes_before_the_shipped_spec(tmp_path):
    mine = {"data": data_of("mine", fingerprint="m"), "folds": ["v1", "v2"]}
    experiment = load_experiment("sbu-amr")
    for shift, split in ((0, "v1"), (2, "v2")):
        judge(tmp_path / "a", experiment, kind="untrained", split=split, shift=shift, **mine)
    (row,) = linear(tmp_path)
    assert (row["split"], row["values"], row["folds"]) == ("v", [81], ["v1", "v2"])
    for damaged in ("v1", ["v2"], [1, "v1"], {"v1": 1}):
        judge(tmp_path / "a", experiment, kind="untrained", split="v1", **{**mine, "folds": damaged})
        assert {row["split"] for row in linear(tmp_path)} == {"v1", "v2"}


def test_what_others_published_stands_below_in_every_form(tmp_path, monkeypatch):
    run = tmp_path / "runs" / "a"
    experiment = write_run(run, "nw-ucla-amr", fingerprint="u")
    judge(run, experiment, train=1020)
    judge(run, experiment, "knn", train=1020)
    rows = rows_of(find_runs([run], print))
    others = {row["protocol"]: row["others"] for row in rows}
    assert others["knn"] == []
    assert [(one["name"], one["top1_percent"]) for one in others["linear"]] == [
        ("LongT-GAN", 74.3),
        ("SeBiReNet", 80.3),
        ("P&C", 84.9),
        ("MCAE-MP", 84.9),
        ("GL-Transformer", 90.4),
        ("Colorization", 91.1),
        ("Masked-Color", 92.0),
        ("SOfA", 92.9),
    ]
    assert {one["protocol"] for one in others["linear"]} == {
        "linear layer on the frozen encoder, joints, train views 1 and 2, test view 3"
    }
    (line,) = sections_of(rows)[0].others
    assert line.endswith("Masked-Color 92.0 (arXiv 2304.08799), SOfA 92.9 (arXiv 2609.07078)")
    assert "P&amp;C 84.9 (CVPR 2020)" in write_report([run])
    assert "SOfA 92.9 (arXiv 2609.07078)" in write_report([run], form="md")
    told = json.loads(write_report([run], form="json"))["table"]
    assert [row["others"] for row in told] == [row["others"] for row in rows]
    out = io.StringIO()
    monkeypatch.setattr(amr_cli.table, "console", Terminal(file=out, width=400))
    amr_cli.table.print_rows(rows)
    assert line in out.getvalue()


def test_others_stand_below_the_mean_over_folds_and_the_test_part_alone(tmp_path):
    run_folds(tmp_path / "all", "sbu-amr", 0, dict.fromkeys(FOLDS, 0))
    (row,) = linear(tmp_path / "all")
    assert [(one["name"], one["top1_percent"]) for one in row["others"]] == [
        ("SkeletonMAE", 73.1),
        ("MAMP", 80.2),
        ("SOfA", 97.0),
    ]
    run_folds(tmp_path / "one", "sbu-amr", 0, {"fold1": 0})
    assert linear(tmp_path / "one")[0]["others"] == []
    experiment = write_run(tmp_path / "held" / "run", "nw-ucla-amr", "evaluation.part=validation")
    held = {"part": "validation", "clips": {"train": 800, "validation": 200}}
    judge(tmp_path / "held" / "run", experiment, **held)
    assert linear(tmp_path / "held")[0]["others"] == []
    experiment = write_run(tmp_path / "made" / "run", "nw-ucla-amr", synthetic=True)
    judge(tmp_path / "made" / "run", experiment)
    assert linear(tmp_path / "made")[0]["others"] == []
