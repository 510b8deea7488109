"""Suites: stages in order, finished ones not run again, transfers, plans, the table beside published
values."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from amr_cli.train import main
from amr_data import UsageError, convert
from amr_data.synth import synthesize
from amr_train.experiments.loading import experiment_names
from amr_train.experiments.suites import datasets_by_name, load_suite, run_stage, stages_of, suite_names
from amr_train.report.tables import published, suite_rows

TINY = ["scale=tiny"]


@pytest.fixture(scope="module")
def two_datasets(ntu_shards, tmp_path_factory) -> dict[str, Path]:
    """Synthetic NTU-60 and NTU-120 files."""
    folder = tmp_path_factory.mktemp("ntu120")
    synthesize(folder / "raw", "ntu120", classes=4, subjects=4, replications=1, workers=1)
    convert(folder / "raw", folder / "shards", "ntu120", workers=1)
    return {"ntu60": ntu_shards, "ntu120": folder / "shards"}


def run(*words: object):
    return CliRunner().invoke(main, ["run", *map(str, words)])


def test_every_suite_names_experiments_that_exist():
    expected = {"suite/table-main", "suite/ablation-core", "suite/semi", "suite/transfer", "suite/nw-ucla"}
    assert set(suite_names()) == expected
    for name in suite_names():
        suite = load_suite(name)
        stages = stages_of(suite, {}, Path("runs"))
        assert {s.name for s in stages if not s.transfer} <= set(experiment_names())
        assert len({s.folder for s in stages}) == len(stages)
        assert all(stages_of(suite, {}, Path("runs"), TINY))
    assert len(stages_of(load_suite("suite/nw-ucla"), {}, Path("runs"))) == 12
    with pytest.raises(UsageError, match="did you mean 'suite/semi'"):
        load_suite("suite/semmi")


def test_published_values_belong_to_shipped_experiments():
    assert set(published()) <= set(experiment_names())
    assert published()["ntu60-xsub-amr"]["linear"] == 87.4


def test_stages_run_once_and_a_suite_that_was_stopped_goes_on(ntu_shards, tmp_path):
    data = datasets_by_name([ntu_shards])
    stages = [s for s in stages_of(load_suite("suite/table-main"), data, tmp_path, TINY) if s.data]
    assert [s.name for s in stages] == [
        f"ntu60-{split}-{m}" for split in ("xsub", "xview") for m in ("mae", "mamp", "amr")
    ]
    first = run_stage(stages[0])
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("results.json")}
    done = run("suite/table-main", "--data", ntu_shards, "--out", tmp_path, "--set", "scale=tiny", "--json")
    assert done.exit_code == 0, done.output
    assert all(p.stat().st_mtime_ns == t for p, t in before.items())
    rows = {(r["experiment"], r["protocol"]): r for r in json.loads(done.stdout)}
    row = rows["ntu60-xsub-mae", "linear"]
    assert row["values"] == [first["pretrained"]["linear"]]
    assert row["published"] is None  # not at this scale
    assert rows["ntu60-xsub, untrained", "knn"]["values"] == [first["untrained"]["knn"]]
    full = [(stage, first) for stage in stages_of(load_suite("suite/table-main"), data, tmp_path)[:1]]
    assert next(r for r in suite_rows(full) if r["experiment"] == "ntu60-xsub-mae")["published"] == 74.8
    assert "left out: stages on ntu120, pku-mmd-1, pku-mmd-2" in done.stderr
    shown = run("suite/table-main", "--data", ntu_shards, "--out", tmp_path, "scale=tiny")
    for text in ("ntu60-xview-mamp", "untrained", "runs →", "report →"):
        assert text in shown.stdout


def test_from_raw_files_to_the_report(tmp_path):
    (tmp_path / "raw").mkdir()
    rng = np.random.default_rng(0)
    for action, view, take in itertools.product((1, 5, 12), (1, 2, 3), range(3)):
        name = f"a{action:02d}_s01_e{take:02d}_v{view:02d}"
        joints = rng.normal(size=(20, 3)) + rng.normal(0, 0.05, (12, 20, 3)).cumsum(axis=0)
        content = {"file_name": name, "skeletons": joints.tolist(), "label": action}
        (tmp_path / "raw" / f"{name}.json").write_text(json.dumps(content))
    words = ["suite/nw-ucla", "--data", tmp_path / "raw", "--out", tmp_path / "runs", "scale=tiny"]
    done = run(*words)
    assert done.exit_code == 0, done.output
    assert "12/12 nw-ucla-amr, seed 2" in done.stderr
    page = tmp_path / "runs" / "nw-ucla.html"
    assert str(page) in done.stdout
    assert "nw-ucla-mamp" in page.read_text(encoding="utf-8")
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("results.json")}
    assert len(before) == 12
    assert run(*words).exit_code == 0
    assert {p: p.stat().st_mtime_ns for p in before} == before


def test_a_plan_runs_nothing(ntu_shards, tmp_path):
    out = tmp_path / "runs"
    stages = stages_of(load_suite("suite/nw-ucla"), {}, out, TINY)
    with pytest.raises(UsageError, match="nw-ucla-mae needs nw-ucla"):
        run_stage(stages[0])
    planned = run(
        "suite/table-main", "--data", ntu_shards, "--out", out, "--set", "scale=tiny", "--plan", "--json"
    )
    assert planned.exit_code == 0, planned.output
    assert not out.exists()
    rows = json.loads(planned.stdout)
    assert {r["state"] for r in rows if r["name"].startswith("ntu120")} == {"no data"}
    first = rows[0]
    assert (first["name"], first["state"], first["steps"]) == (
        "ntu60-xsub-mae",
        "not begun",
        2,
    )  # two epochs of one batch
    assert first["minutes"] > 0
    shown = run("suite/table-main", "--data", ntu_shards, "--out", out, "--set", "scale=tiny", "--plan")
    for text in ("15 stages", "no data", "ntu60-xsub-mae", "minutes here"):
        assert text in shown.stdout


def test_transfers_and_few_labels_share_pre_trainings(two_datasets, tmp_path, monkeypatch):
    """suite/transfer with NTU-120 standing in for PKU-MMD."""
    from amr_train.experiments.suites import Transfer

    suite = load_suite("suite/transfer")
    transfer = Transfer(
        encoder="ntu60-xsub-amr", dataset="ntu120", split="xset", protocols=["finetune", "knn"]
    )
    suite = suite.model_copy(update={"transfers": [transfer], "experiments": suite.experiments[:1]})
    found = [(s, run_stage(s)) for s in stages_of(suite, two_datasets, tmp_path, TINY)]
    assert [s.name for s, _ in found] == ["ntu60-xsub-amr", "ntu60-xsub-amr to ntu120-xset"]
    assert found[1][1]["dataset"] == "ntu120"
    rows = {(r["experiment"], r["protocol"]): r for r in suite_rows(found)}
    assert set(found[1][1]["protocols"]) == {"finetune", "knn"}
    assert rows["ntu60-xsub-amr", "transfer ntu120-xset finetune"]["seconds"] is None
    again = run_stage(found[1][0])
    assert again == json.loads(json.dumps(found[1][1]))
    semi = load_suite("suite/semi")
    semi = semi.model_copy(
        update={"experiments": [semi.experiments[0].model_copy(update={"methods": ["amr"]})]}
    )
    (stage,) = stages_of(semi, two_datasets, tmp_path, TINY)
    weights = (stage.folder / "encoder.safetensors").read_bytes()
    results = run_stage(stage)
    assert list(results["protocols"]["semi"]) == ["1", "10"]
    assert (stage.folder / "encoder.safetensors").read_bytes() == weights


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["suite/nwucla"], "did you mean 'suite/nw-ucla'"),
        (["suite/nw-ucla"], "needs one or more of nw-ucla"),
        (["suite/nw-ucla", "--nproc", "2"], "--nproc goes with a single experiment"),
        (["demo", "--plan"], "--plan is for suites"),
        (["demo", "--data", "a", "--data", "b"], "takes one --data, not 2"),
        (["suite/nw-ucla", "pretrain.epoch=1"], "did you mean 'pretrain.epochs'"),
    ],
)
def test_wrong_use(words, says):
    done = run(*words)
    assert done.exit_code == 2, done.output
    assert says in done.stderr.replace("\n", " ")
