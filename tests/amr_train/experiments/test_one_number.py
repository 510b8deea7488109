"""Every protocol through a run, `eval`, a suite and the report finds one number, and keeps what others
found."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from amr_cli.train import main
from amr_data import UsageError
from amr_train import run_experiment
from amr_train.evaluation.protocols import PROTOCOLS
from amr_train.evaluation.records import records_in
from amr_train.experiments.judging import judge, judging_of
from amr_train.experiments.stages import datasets_by_name, run_stage, stages_of
from amr_train.experiments.suites import load_suite
from amr_train.report.collect import find_runs
from amr_train.report.tables import rows_of
from tests.amr_train.runs import FAST_FINETUNING, OFTEN, SMALL, Listener, Stop, small

FIGURES = {
    "linear": ["linear mean", "linear joints"],
    "logistic": ["logistic mean", "logistic joints"],
    "knn": ["kNN mean", "kNN joints"],
    "retrieval": ["mAP mean", "1-NN mean", "mAP joints", "1-NN joints"],
    "finetune": ["finetune"],
    "supervised": ["supervised"],
    "semi": ["semi 50 %"],
}

CLIPS = [name for name in PROTOCOLS if name != "detect"]
"""Those that judge clips; these need no recordings."""


def figures(records: list[dict[str, Any]], kind: str = "encoder") -> dict[str, float]:
    """Figures of one kind of subject by name."""
    mine = [r for r in records if r["subject"]["kind"] == kind]  # as kept in the run, or as printed
    return {k: v for r in mine for k, v in r.get("figures", r.get("figures_percent")).items()}


@pytest.fixture(scope="module")
def by_run(ntu_shards, tmp_path_factory) -> tuple[Path, list[dict[str, Any]]]:
    """A run that is judged by every protocol, and its records."""
    out = tmp_path_factory.mktemp("one") / "run"
    every = f"evaluation.protocols=[{','.join(CLIPS)}]"
    found = run_experiment(small(ntu_shards, *FAST_FINETUNING, every), out)
    return out, found["evaluations"]


def test_run_eval_and_suite_find_one_number(ntu_shards, tmp_path, by_run):
    run, records = by_run
    known = figures(records)
    assert list(known) == [name for protocol in CLIPS for name in FIGURES[protocol]]
    assert list(figures(records, "coordinates"))[:2] == ["linear positions", "linear motion"]

    words = [word for protocol in CLIPS for word in ("--protocol", protocol)]
    done = CliRunner().invoke(main, ["eval", str(run), "-o", str(tmp_path / "apart"), *words, "--json"])
    assert done.exit_code == 0, done.output
    printed = json.loads(done.stdout)["evaluations"]
    assert figures(printed) == known
    assert figures(printed, "untrained") == figures(records, "untrained")

    settings = {k: yaml.safe_load(v) for k, v in (w.split("=") for w in [*SMALL, *OFTEN, *FAST_FINETUNING])}
    settings["pretrain.checkpoint_minutes"] = 1e-9
    rows = [{"experiment": "demo", "settings": settings, "protocols": list(CLIPS)}]
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"experiments": rows}))
    suite = load_suite(str(tmp_path / "mine.yaml"))
    (stage,) = stages_of(suite, datasets_by_name([ntu_shards]), tmp_path / "runs")
    assert figures(run_stage(stage)["evaluations"]) == known


def test_the_report_shows_the_number_of_the_run(by_run):
    run, records = by_run
    done = CliRunner().invoke(main, ["report", str(run), "--format", "json"])
    assert done.exit_code == 0, done.output
    printed = json.loads(done.stdout)["table"]
    for rows in (rows_of(find_runs([run], print)), printed):
        for kind in ("encoder", "untrained", "coordinates"):
            shown = {
                row["figure"]: row.get("mean", row.get("mean_percent")) for row in rows if row["kind"] == kind
            }
            assert shown == figures(records, kind)


def test_results_of_an_earlier_protocol_survive_a_later_one(ntu_shards, tmp_path):
    run = tmp_path / "run"
    run_experiment(small(ntu_shards, "evaluation.protocols=[linear]"), run)
    first = {path: path.read_bytes() for path in (run / "evaluations").glob("*.json")}
    assert len(first) == 3  # untrained, coordinates, the encoder
    run_experiment(small(ntu_shards, "evaluation.protocols=[knn]"), run)
    judge(judging_of(run, protocols=["retrieval"]))
    judge(judging_of(run, protocols=["linear"], overrides=["linear.lr=0.3"]))
    assert {path: path.read_bytes() for path in first} == first
    kept = {r["protocol"] for r in json.loads((run / "results.json").read_text())["evaluations"]}
    assert kept == {"linear", "knn", "retrieval"}
    rates = {r["settings"]["linear"]["lr"] for r in records_in(run) if r["protocol"] == "linear"}
    assert rates == {0.1, 0.3}


def test_a_finished_run_without_checkpoints_is_not_trained_again(ntu_shards, tmp_path):
    run = tmp_path / "run"
    run_experiment(small(ntu_shards), run)
    weights = (run / "encoder.safetensors").read_bytes()
    shutil.rmtree(run / "checkpoints")
    listener = Listener()
    again = run_experiment(small(ntu_shards), run, listener)
    assert listener.steps == listener.stages == []
    assert (run / "encoder.safetensors").read_bytes() == weights
    assert again["pretraining"]["steps"] == 12


def test_a_refusal_to_go_on_names_the_settings_that_differ(ntu_shards, tmp_path):
    with pytest.raises(Stop):
        run_experiment(small(ntu_shards), tmp_path / "run", Listener(stop_after=3))
    other = small(ntu_shards, "pretrain.lr=0.002", "mask.ratio=0.8", "seed=4", "evaluation.linear.lr=5")
    with pytest.raises(UsageError) as refused:
        run_experiment(other, tmp_path / "run")
    said = str(refused.value)
    for words in (
        "mask.ratio 0.8 instead of 0.9",
        "pretrain.lr 0.002 instead of 0.001",
        "seed 4 instead of 0",
    ):
        assert words in said
    assert "linear" not in said  # judging decides nothing of the training
