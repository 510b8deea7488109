"""Reports of finished runs: numbers beside published ones, one page that loads nothing, opened in a real
browser where there is one."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from amr_cli.train import main
from amr_data import UsageError
from amr_train import evaluate_encoder, load_experiment, run_experiment
from amr_train.config import EvaluationConfig, FinetuneConfig
from amr_train.report import write_report
from tests.amr_train.runs import Listener, Stop, small

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
BROWSER = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync"
QUIET = "--disable-background-networking --disable-component-update"


@pytest.fixture(scope="module")
def runs(ntu_shards, tmp_path_factory) -> Path:
    """Two methods, two seeds of one, an evaluation of its own, and a run that was stopped."""
    out = tmp_path_factory.mktemp("report")
    for name, seed in (("amr", 0), ("amr", 1), ("mamp", 0)):
        settings = ["scale=tiny", f"seed={seed}", f"data.path={ntu_shards}"]
        run_experiment(load_experiment(f"ntu60-xsub-{name}", settings), out / f"ntu60-xsub-{name}-{seed}")
    settings = EvaluationConfig(finetune=FinetuneConfig(epochs=1, warmup_epochs=0, hidden=8))
    evaluate_encoder(
        out / "ntu60-xsub-amr-0", ntu_shards, "xview", ["finetune"], settings, folder=out / "elsewhere"
    )
    with pytest.raises(Stop):
        run_experiment(small(ntu_shards), out / "stopped", Listener(stop_after=2))
    (out / "unrelated").mkdir()
    return out


def test_the_table_holds_means_of_the_runs_own_numbers(runs):
    notes = []
    report = json.loads(write_report([runs], form="json", note=notes.append))
    rows = {(r["experiment"], r["protocol"]): r for r in report["table"]}
    found = [
        json.loads((runs / f"ntu60-xsub-amr-{seed}" / "results.json").read_text())["pretrained"]["knn"]
        for seed in (0, 1)
    ]
    assert rows["ntu60-xsub-amr", "knn"]["values"] == found
    assert rows["ntu60-xsub-amr", "knn"]["mean"] == pytest.approx(sum(found) / 2)
    assert ("ntu60-xsub-amr", "transfer ntu60-xview finetune") in rows
    assert len(notes) == 1
    assert "stopped is not finished" in notes[0]
    lines = list(csv.DictReader(io.StringIO(write_report([runs], form="csv"))))
    assert (
        float(
            next(r for r in lines if r["experiment"] == "ntu60-xsub-mamp" and r["protocol"] == "knn")["mean"]
        )
        >= 0
    )
    assert "| ntu60-xsub-amr | knn | 2 |" in write_report(
        [runs / "ntu60-xsub-amr-0", runs / "ntu60-xsub-amr-1"], form="md"
    )


def test_published_values_stand_beside_ours_at_full_scale(runs, tmp_path):
    full = tmp_path / "run"
    shutil.copytree(runs / "ntu60-xsub-amr-0", full)
    record = json.loads((full / "run.json").read_text())
    record["experiment"]["scale"] = "full"
    (full / "run.json").write_text(json.dumps(record))
    (row,) = [
        r
        for r in json.loads(write_report([full], form="json"))["table"]
        if r["protocol"] == "linear" and r["seconds"] is not None
    ]
    assert row["published"] == 87.4
    page = write_report([full])
    assert "87.4" in page
    assert f"{row['mean'] - 87.4:+.1f}" in page


def test_the_page_is_whole_and_loads_nothing(runs, tmp_path):
    done = CliRunner().invoke(main, ["report", str(runs), "-o", str(tmp_path / "report.html")])
    assert done.exit_code == 0, done.output
    page = (tmp_path / "report.html").read_text()
    assert page.count("<svg") == 2 + 1 + 2 * 2  # costs, curves, and for each method confusion and t-SNE
    for text in (
        "ntu60-xsub-mamp",
        "Provenance",
        "t-SNE",
        "transfer ntu60-xview finetune",
        "data_fingerprint"[:4],
        "is not finished",
    ):
        assert text in page
    assert not re.findall(r"<script|<iframe|src=|@import", page)
    outside = [
        u
        for u in re.findall(r'(?:href|url)\s*[=(]\s*["\']?([^"\')>\s]+)', page)
        if not u.startswith(("#", "data:"))
    ]
    assert outside == []
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))


@pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium here: install Debian's chromium to open the report in a browser"
)
def test_the_page_opens_in_a_browser_without_complaints(runs, tmp_path):
    write_report([runs], tmp_path / "report.html")
    options = [
        *BROWSER.split(),
        *QUIET.split(),
        f"--user-data-dir={tmp_path / 'profile'}",
        "--enable-logging=stderr",
        "--v=0",
    ]
    for width in (390, 1200):
        command = [
            CHROMIUM,
            *options,
            f"--window-size={width},900",
            "--dump-dom",
            (tmp_path / "report.html").as_uri(),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        assert "CONSOLE" not in done.stderr
        assert 'id="results"' in done.stdout


def test_wrong_use(runs, tmp_path):
    with pytest.raises(UsageError, match="no run at"):
        write_report([tmp_path / "none"])
    with pytest.raises(UsageError, match="no finished run in"):
        write_report([runs / "unrelated"])
    with pytest.raises(UsageError, match="there is no format 'pdf'"):
        write_report([runs], form="pdf")


def test_a_report_is_printed_where_no_file_is_given(runs):
    done = CliRunner().invoke(main, ["report", str(runs)])
    assert done.stdout.startswith("| experiment | protocol |")
