"""Suites, shipped and one's own: stages in order, grids, transfers, finished work not done again."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from amr_cli.train import main
from amr_data import UsageError, convert
from amr_data.synth import synthesize
from amr_train.evaluation.records import BASELINES, records_in
from amr_train.experiments.loading import experiment_names
from amr_train.experiments.naming import point_name
from amr_train.experiments.stages import datasets_by_name, run_stage, stages_of
from amr_train.experiments.suites import Suite, Transfer, is_suite, load_suite, suite_names
from tests.amr_train.runs import Listener

TINY = ["scale=tiny", "monitor.every_epochs=0"]


@pytest.fixture(scope="module")
def two_datasets(ntu_shards, tmp_path_factory) -> dict[str, Path]:
    """Synthetic NTU-60 and NTU-120 files."""
    folder = tmp_path_factory.mktemp("ntu120")
    synthesize(folder / "raw", "ntu120", classes=4, subjects=4, replications=1, workers=1)
    convert(folder / "raw", folder / "shards", "ntu120", workers=1)
    return {"ntu60": ntu_shards, "ntu120": folder / "shards"}


@pytest.fixture
def own(tmp_path):
    """Make a suite of one's own from what its file says."""

    def make(**content: object) -> Suite:
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content))
        return load_suite(str(tmp_path / "mine.yaml"))

    return make


def run(*words: object):
    return CliRunner().invoke(main, ["run", *map(str, words)])


def names(suite: Suite) -> list[str]:
    return [stage.folder.name for stage in stages_of(suite, {}, Path("runs"))]


def test_every_shipped_suite_names_experiments_that_exist():
    expected = {"suite/table-main", "suite/ablation-core", "suite/semi", "suite/transfer", "suite/nw-ucla"}
    assert set(suite_names()) == {*expected, "suite/small-sets"}
    for name in expected:
        suite = load_suite(name)
        stages = [stage for stage in stages_of(suite, {}, Path("runs"), TINY) if not stage.transfer]
        assert {stage.name for stage in stages} <= set(experiment_names())
        assert {stage.folder for stage in stages} == {Path("runs") / f"{s.name}-{s.seed}" for s in stages}
    ucla = stages_of(load_suite("suite/nw-ucla"), {}, Path("runs"))
    assert len(ucla) == 12
    assert ucla[3].folder == Path("runs/nw-ucla-amr-0")
    assert ucla[3].experiment.evaluation.protocols == ["linear", "logistic", "knn"]
    with pytest.raises(UsageError, match="did you mean 'suite/semi'"):
        load_suite("suite/semmi")


def test_a_grid_is_a_run_for_every_combination_and_its_name_says_the_values(own):
    grid = {"model.target_ratio": [2, 3], "pretrain.lr": ["1e-3", 5e-4]}  # YAML reads 1e-3 as text
    suite = own(experiments=[{"data": "nw-ucla", "methods": ["amr"], "grid": grid}], seeds=[0, 7])
    stages = stages_of(suite, {}, Path("runs"))
    assert [stage.folder.name for stage in stages] == [
        f"nw-ucla-amr-target_ratio={ratio}-lr={lr}-{seed}"
        for seed in (0, 7)
        for ratio in (2, 3)
        for lr in ("0.001", "0.0005")
    ]
    last = stages[-1]
    assert (last.experiment.model.target_ratio, last.experiment.pretrain.lr, last.seed) == (3, 0.0005, 7)
    assert (last.name, last.base) == ("nw-ucla-amr-target_ratio=3-lr=0.0005", "nw-ucla-amr")
    assert last.origins["pretrain.lr"] == "grid"
    assert last.origins["model.width"] == "data nw-ucla"


def test_a_grid_lies_over_a_scale_and_the_suites_settings_under_it(own):
    """Otherwise `scale=tiny` would make one run of all grid points, under names that say otherwise."""
    rows = [{"data": "nw-ucla", "methods": ["amr"]}]
    suite = own(
        experiments=rows, grid={"model.width": [8, 24]}, settings={"pretrain": {"lr": 0.5, "epochs": 9}}
    )
    widths = [s.experiment.model.width for s in stages_of(suite, {}, Path("runs"), [*TINY, "model.heads=1"])]
    assert widths == [8, 24]
    found = stages_of(suite, {}, Path("runs"), TINY)[0].experiment.pretrain
    assert (found.lr, found.epochs) == (0.5, 2)


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"mask.ratio": 0.9, "mask.by": "random"}, "ratio=0.9-by=random"),
        (
            {"pretrain.epochs": 3, "evaluation.finetune.epochs": 4},
            "pretrain.epochs=3-evaluation.finetune.epochs=4",
        ),
        ({"guidance.windows": [4, 8], "guidance.focal": True}, "windows=4+8-focal=true"),
        ({"method": "mine.methods:Mine"}, "method=mine.methods_Mine"),
        ({"pretrain.clip_grad": None}, "clip_grad=None"),
    ],
)
def test_names_of_grid_points(values, name):
    assert point_name(values) == name


def test_rows_have_settings_protocols_and_files_of_their_own(own, tmp_path):
    (tmp_path / "my.yaml").write_text("method: mamp\npretrain: {epochs: 30}\n")
    suite = own(
        experiments=[
            {"data": "nw-ucla", "methods": ["amr"], "protocols": ["semi"], "settings": {"mask.ratio": 0.8}},
            {"experiment": "my.yaml", "settings": {"name": "other", "pretrain": {"lr": 0.01}}},
            {"experiment": "demo"},
        ],
        settings={"evaluation": {"crop": 0.5}},
    )
    first, second, third = (stage.experiment for stage in stages_of(suite, {}, Path("runs")))
    assert (first.evaluation.protocols, first.mask.ratio) == (["semi"], 0.8)
    assert (second.name, second.method, second.pretrain.epochs, second.pretrain.lr) == (
        "other",
        "mamp",
        30,
        0.01,
    )
    assert second.evaluation.protocols == ["linear", "knn"]
    assert {e.evaluation.crop for e in (first, second, third)} == {0.5}
    assert is_suite(str(tmp_path / "mine.yaml"))
    assert not is_suite(str(tmp_path / "my.yaml"))


ROW = {"data": "nw-ucla", "methods": ["amr"]}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"experiments": [ROW], "seed": [1]}, "no key 'seed': did you mean 'seeds'"),
        (
            {"experiments": [{**ROW, "protocol": ["knn"]}]},
            "'protocol' in experiments, row 1: did you mean 'protocols'",
        ),
        ({"experiments": [{"data": "nw-ucla"}]}, "either `data` and `methods`, or `experiment`"),
        ({"experiments": [ROW], "settings": {"pretrain": {"epoch": 1}}}, "did you mean 'pretrain.epochs'"),
        ({"experiments": [{**ROW, "grid": {"pretrain.epoch": [1]}}]}, "did you mean 'pretrain.epochs'"),
        ({"experiments": [{**ROW, "grid": {"seed": [1]}}]}, "seed: a suite has `seeds`"),
        ({"experiments": [{**ROW, "grid": {"pretrain": [{}]}}]}, "'pretrain' is a section and no setting"),
        ({"experiments": [{**ROW, "grid": {1: [2]}}]}, "there is no setting '1'"),
        ({"experiments": [ROW], "settings": {5: {}}}, "there is no setting '5'"),
        ({"experiments": [ROW], "settings": {"model": 3}}, "'model' is a section and no setting"),
        ({"experiments": [ROW], "agreement": None}, "no key 'agreement'"),
        ({"experiments": [{**ROW, "grid": {"mask.ratio": 0.5}}]}, "grid.mask.ratio"),
        ({"experiments": [{**ROW, "settings": {"data": {"protocol": "x"}}}]}, "it is now 'data.split'"),
        ({"experiments": [ROW, ROW]}, "two runs named nw-ucla-amr"),
        ({"experiments": [{"experiment": "none.yaml"}]}, "no experiment file"),
        (
            {"experiments": [ROW], "transfers": [{"encoder": "x", "dataset": "y", "split": "z"}]},
            "the suite has nw-ucla-amr",
        ),
        ({"experiments": []}, "at least 1 item"),
    ],
)
def test_what_a_suites_file_may_not_say(own, content, says):
    with pytest.raises(UsageError, match=f"(?s).*{says}"):
        names(own(**content))


def test_a_section_with_nothing_in_it_says_nothing_in_a_suite(own):
    empty = {"agreement": {}, "augment": None, "evaluation": {"finetune": None}, "data": {}}
    plain, same = own(experiments=[ROW]), own(experiments=[{**ROW, "settings": empty}], settings=empty)
    row = {**ROW, "settings": None, "grid": None}
    nothing = own(experiments=[row], settings=None, methods={"amr": None}, grid=None)
    experiments = [
        [stage.experiment for stage in stages_of(suite, {}, Path("runs"))] for suite in (plain, same, nothing)
    ]
    assert experiments[0] == experiments[1] == experiments[2]


def test_overrides_that_would_make_one_run_of_all_are_refused(own):
    suite = own(experiments=[ROW], grid={"pretrain.lr": [1, 2]})
    for word, says in (
        ("pretrain.lr=3", "in the grid"),
        ("seed=1", "has `seeds`"),
        ("name=x", "names of their own"),
    ):
        with pytest.raises(UsageError, match=says):
            stages_of(suite, {}, Path("runs"), [word])


def test_stages_run_once_and_share_their_baselines(own, ntu_shards, tmp_path):
    rows = [{"data": "ntu60-xsub", "methods": ["mae", "amr"], "protocols": ["knn"]}]
    suite, data = own(experiments=rows, seeds=[0, 1]), datasets_by_name([ntu_shards])
    stages = stages_of(suite, data, tmp_path / "runs", TINY)
    assert [(s.name, s.seed) for s in stages] == [
        (f"ntu60-xsub-{method}", seed) for seed in (0, 1) for method in ("mae", "amr")
    ]
    first = [run_stage(stage) for stage in stages]
    kinds = [r["subject"]["kind"] for r in records_in(tmp_path / "runs" / BASELINES)]
    assert sorted(kinds) == ["coordinates"] * 2 + ["untrained"] * 2  # one a seed, for both methods
    assert all([r["subject"]["kind"] for r in records_in(s.folder)] == ["encoder"] for s in stages)
    listener = Listener()
    again = [run_stage(stage, listener) for stage in stages]
    assert again == first
    assert listener.stages == []


def test_a_transfers_results_lie_in_the_run_whose_encoder_it_judges(two_datasets, tmp_path):
    """suite/transfer with NTU-120 standing in for PKU-MMD."""
    suite = load_suite("suite/transfer")
    transfer = Transfer(
        encoder="ntu60-xsub-amr", dataset="ntu120", split="xset", protocols=["finetune", "knn"]
    )
    suite = suite.model_copy(update={"transfers": [transfer], "experiments": suite.experiments[:1]})
    stages = stages_of(suite, two_datasets, tmp_path, TINY)
    assert [stage.name for stage in stages] == ["ntu60-xsub-amr", "ntu60-xsub-amr to ntu120-xset"]
    assert stages[0].folder == stages[1].folder
    found = [run_stage(stage) for stage in stages]
    moved = [r for r in found[1]["evaluations"] if r["subject"]["kind"] == "encoder"]
    assert [(r["protocol"], r["data"]["dataset"], r["split"]) for r in moved] == [
        ("finetune", "ntu120", "xset"),
        ("knn", "ntu120", "xset"),
    ]
    kept = {(r["protocol"], r["data"]["dataset"]) for r in records_in(stages[0].folder)}
    assert kept == {("knn", "ntu60"), ("finetune", "ntu120"), ("knn", "ntu120")}
    listener = Listener()
    assert run_stage(stages[1], listener) == found[1]
    assert listener.stages == []


def test_stages_without_data_say_what_they_need(own, two_datasets, tmp_path):
    (stage, *_) = stages_of(load_suite("suite/nw-ucla"), {}, tmp_path, TINY)
    with pytest.raises(UsageError, match="nw-ucla-mae needs nw-ucla: give --data DIR"):
        run_stage(stage)
    with pytest.raises(UsageError, match=r"say which with data\.dataset"):
        stages_of(own(experiments=[{"experiment": "demo"}]), two_datasets, tmp_path)


def test_a_suite_may_name_the_splits_of_all_its_datasets(own, two_datasets, tmp_path):
    splits = {"ntu60": "xview", "ntu120": "xset", "nowhere": "all"}
    row = {"experiment": "demo", "settings": {"data": {"dataset": "ntu60", "splits": splits}}}
    (alone, *_) = stages_of(own(experiments=[row]), {"ntu60": two_datasets["ntu60"]}, tmp_path)
    assert alone.experiment.data.splits == splits  # of what is not given a line tells
    (beside, *_) = stages_of(own(experiments=[row]), two_datasets, tmp_path)
    assert beside.experiment.data.splits == {"ntu60": "xview", "nowhere": "all"}
    assert alone.split == beside.split == "xview"
    splits["ntu60"] = "xset"
    with pytest.raises(UsageError, match="no split 'xset'"):  # checked before anything is trained
        stages_of(own(experiments=[row]), two_datasets, tmp_path)


def test_from_raw_files_to_the_report(tmp_path):
    (tmp_path / "raw").mkdir()
    rng = np.random.default_rng(0)
    for action, view, take in itertools.product((1, 5, 12), (1, 2, 3), range(3)):
        name = f"a{action:02d}_s01_e{take:02d}_v{view:02d}"
        joints = rng.normal(size=(20, 3)) + rng.normal(0, 0.05, (12, 20, 3)).cumsum(axis=0)
        content = {"file_name": name, "skeletons": joints.tolist(), "label": action}
        (tmp_path / "raw" / f"{name}.json").write_text(json.dumps(content))
    words = ["suite/nw-ucla", "--data", tmp_path / "raw", "-o", tmp_path / "runs", *TINY, "--protocol", "knn"]
    done = run(*words)
    assert done.exit_code == 0, done.output
    assert "12/12 nw-ucla-amr, seed 2" in done.stderr
    page = tmp_path / "runs" / "nw-ucla.html"
    assert str(page) in done.stdout.replace("\n", "")
    assert "nw-ucla-mamp" in page.read_text(encoding="utf-8")
    assert (tmp_path / "runs" / "data" / "nw-ucla" / "manifest.json").is_file()
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("evaluations/*.json")}
    assert len(before) == 12 + 6  # twelve encoders; coordinates and the untrained encoder of each seed
    assert run(*words).exit_code == 0
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("evaluations/*.json")} == before


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["suite/nwucla"], "did you mean 'suite/nw-ucla'"),
        (["suite/nw-ucla"], "needs one or more of nw-ucla"),
        (["suite/nw-ucla", "--nproc", "2"], "--nproc goes with a single experiment"),
        (["demo", "--data", "a", "--data", "b"], "a is not a converted dataset"),
        (["suite/nw-ucla", "pretrain.epoch=1"], "did you mean 'pretrain.epochs'"),
        (["nowhere.yaml"], "no experiment file nowhere.yaml"),
    ],
)
def test_wrong_use(words, says):
    done = run(*words)
    assert done.exit_code == 2, done.output
    assert says in done.stderr.replace("\n", " ")


def test_what_could_not_be_judged_is_said_before_anything_is_trained(two_datasets, tmp_path):
    suite = load_suite("suite/transfer")
    rows = [suite.experiments[0].model_copy(update={"protocols": ["knnn"]})]
    wrong = suite.model_copy(update={"experiments": rows, "transfers": []})
    with pytest.raises(UsageError, match="no protocol 'knnn': did you mean 'knn'"):
        stages_of(wrong, two_datasets, tmp_path, TINY)
    moved = [
        suite.transfers[1].model_copy(
            update={"encoder": "ntu60-xsub-amr", "dataset": "ntu120", "split": "xsubb"}
        )
    ]
    wrong = suite.model_copy(update={"experiments": suite.experiments[:1], "transfers": moved})
    with pytest.raises(UsageError, match="no split 'xsubb'"):
        stages_of(wrong, two_datasets, tmp_path, TINY)
    assert list(tmp_path.iterdir()) == []
