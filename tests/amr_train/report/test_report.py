"""Reports of finished runs: the same numbers in every form, one page that loads nothing (`tests/browser`
opens it)."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import re
import shutil
import sys
from pathlib import Path

import pytest

import amr_cli.table
from amr_cli.terminal import Terminal
from amr_data import UsageError
from amr_train import evaluate_encoder, load_experiment, run_experiment
from amr_train.config import EvaluationConfig, FinetuneConfig
from amr_train.report import find_runs, rows_of, write_report
from amr_train.report.pivot import sections_of
from tests.amr_train.report.folders import FIGURES, judge, run_with, write_run

EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def runs(ntu_shards, tmp_path_factory) -> Path:
    """Two methods and a transfer, really trained on synthetic clips, and a run that was stopped."""
    out, shards = tmp_path_factory.mktemp("report"), tmp_path_factory.mktemp("data") / "shards"
    shutil.copytree(ntu_shards, shards)
    manifest = json.loads((shards / "manifest.json").read_text())
    manifest["source"]["synthetic"] = True
    (shards / "manifest.json").write_text(json.dumps(manifest))
    short = ["evaluation.linear.epochs=3", "evaluation.protocols=[linear,knn]"]
    for name in ("amr", "mamp"):
        settings = ["scale=tiny", *short, "monitor.every_epochs=1", f"data.path={shards}"]
        run_experiment(load_experiment(f"ntu60-xsub-{name}", settings), out / f"ntu60-xsub-{name}")
    settings = EvaluationConfig(finetune=FinetuneConfig(epochs=1, warmup_epochs=0, hidden=8), baselines=[])
    folder = out / "ntu60-xsub-amr"
    evaluate_encoder(folder, shards, "xview", ["finetune"], settings, folder=folder)
    write_run(out / "stopped", seconds=None)
    (out / "unrelated").mkdir()
    return out


@pytest.fixture(scope="module")
def page(runs) -> str:
    return write_report([runs])


def table_of(paths, width=100, title="results", monkeypatch=None):
    out = io.StringIO()
    monkeypatch.setattr(amr_cli.table, "console", Terminal(file=out, width=width))
    amr_cli.table.print_rows(rows_of(find_runs(paths, lambda line: None)), title)
    return out.getvalue()


def test_every_form_has_the_numbers_of_the_records(runs, page):
    notes: list[str] = []
    rows = rows_of(find_runs([runs], notes.append))
    (row,) = [r for r in rows if r["name"] == "ntu60-xsub-amr" and r["figure"] == "kNN mean"]
    records = [
        json.loads(file.read_text()) for file in (runs / "ntu60-xsub-amr/evaluations").glob("knn-*.json")
    ]
    (found,) = [r for r in records if r["subject"]["kind"] == "encoder"]
    assert row["values"] == [found["figures"]["kNN mean"]]
    told = json.loads(write_report([runs], form="json"))["table"]
    assert [(r["experiment"], r["figure"], r["values_percent"], r["mean_percent"]) for r in told] == [
        (r["experiment"], r["figure"], r["values"], r["mean"]) for r in rows
    ]
    assert all(
        "spoken" not in r and r["settings"] == record["settings"]
        for r in told
        for record in [found]
        if r["figure"] == "kNN mean" and r["name"] == row["name"]
    )
    lines = list(csv.DictReader(io.StringIO(write_report([runs], form="csv"))))
    assert [(r["experiment"], r["figure"], float(r["mean"])) for r in lines] == [
        (r["experiment"], r["figure"], r["mean"]) for r in rows
    ]
    markdown = write_report([runs], form="md")
    for row in rows:
        assert f"{row['mean']:.1f}" in markdown
        assert f"{row['mean']:.1f}" in page
    assert "stopped is not finished" in notes[0]
    assert "stopped is not finished" in page


def test_synthetic_data_and_small_scales_are_said_in_titles(runs, page, tmp_path, monkeypatch):
    assert "[SYNTHETIC, SCALE TINY]" in write_report([runs], form="md").splitlines()[0]
    assert '<p class="banner">SYNTHETIC, SCALE TINY' in page
    assert "[SYNTHETIC] [SCALE TINY]" in table_of([runs], monkeypatch=monkeypatch).splitlines()[0]
    run_with(tmp_path / "real")
    assert "SYNTHETIC" not in write_report([tmp_path / "real"], form="md")
    assert "banner" not in re.sub(
        r"<style>.*?</style>", "", write_report([tmp_path / "real"]), flags=re.DOTALL
    )


def test_a_mark_of_some_lines_stands_beside_these(tmp_path):
    run_with(tmp_path / "a")
    judge(tmp_path / "b", write_run(tmp_path / "b", "ntu60-xsub-mamp", "scale=tiny"))
    (section,) = sections_of(rows_of(find_runs([tmp_path], lambda line: None)))
    assert section.marks == []
    assert [line.name for line in section.lines] == ["ntu60-xsub-amr", "ntu60-xsub-mamp [scale tiny]"]


def test_the_page_is_whole_and_loads_nothing(page):
    data = json.loads(re.findall(r'<script type="application/json" id="data">(.*?)</script>', page)[0])
    costs = [chart["name"] for section in data["sections"] for chart in section["costs"]]
    assert costs == ["seconds of pre-training", "MFLOPs of a forward pass, one body"]
    assert len(data["curves"]) == 2  # loss and monitor
    assert [(bool(d["confusion"]["cells"]), bool(d["plane"])) for d in data["details"]] == [(True, True)] * 2
    for text in (
        "ntu60-xsub-mamp",
        "Provenance",
        "t-SNE",
        "transferred",
        "coordinates, positions",
        "held-out",
    ):
        assert text in page
    assert page.count("<script") == 2
    script = re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL)[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'sha256-" in page
    outside = page.replace(script, "")
    assert not re.findall(r"<iframe|src=|@import| style=", outside)
    links = re.findall(r'(?:href|url)\s*[=(]\s*["\']?([^"\')>\s]+)', outside)
    assert [link for link in links if not link.startswith(("#", "data:"))] == []
    ids = re.findall(r'\bid="([^"]+)"', outside)
    assert len(ids) == len(set(ids))


def test_kept_features_are_used_and_methods_of_ones_own_are_not_run(runs, tmp_path, monkeypatch):
    """A run.json from elsewhere names a module: making a report of it must not import that."""
    run = tmp_path / "run"
    shutil.copytree(runs / "ntu60-xsub-amr", run)
    record = json.loads((run / "run.json").read_text())
    record["experiment"]["method"] = "evil_module:Evil"
    (run / "run.json").write_text(json.dumps(record))
    (run / "encoder.safetensors").unlink()  # so the features cannot be made anew
    (tmp_path / "evil_module.py").write_text("raise SystemExit('imported')")
    monkeypatch.chdir(tmp_path)
    notes: list[str] = []
    page = write_report([run], note=notes.append)
    assert "evil_module" not in sys.modules
    assert notes == []
    assert "t-SNE" in page


def test_a_report_of_one_run_and_none_of_its_data(tmp_path):
    run_with(tmp_path / "run")
    page = write_report([tmp_path / "run"])
    assert "published 87.4" in page
    assert "-7.4" in page
    assert "(published 87.4, -7.4)" in write_report([tmp_path / "run"], form="md")


def test_a_part_of_a_benchmark_is_not_the_benchmark(tmp_path):
    judge(tmp_path / "run", write_run(tmp_path / "run"), train=12_000)
    row = rows_of(find_runs([tmp_path / "run"], lambda line: None))[0]
    assert row["published"] is None
    assert "12,000 / 60,000 clips instead of 40,091 / 16,487" in row["differs"]


def test_names_are_shown_as_they_are(tmp_path, monkeypatch):
    for number, name in enumerate((EVIL, "[red]a|b[/] $x_1$", "_hidden")):
        overrides = [f"pretrain.epochs={100 + number}"]
        run_with(tmp_path / str(number), *overrides, called=name, seed=number)
    page = write_report([tmp_path])
    assert "<img" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    markdown = write_report([tmp_path], form="md")
    assert "<img" not in markdown
    assert r"\[red\]a\|b\[/\]" in markdown
    assert "[red]a|b[/]" in table_of([tmp_path], title="[bold]t[/]", monkeypatch=monkeypatch)


def test_what_the_columns_mean_is_said_and_the_headline_of_small_sets(tmp_path):
    experiment = write_run(tmp_path / "run")
    for protocol in ("linear", "logistic"):
        judge(tmp_path / "run", experiment, protocol, train=4999)
    judge(tmp_path / "run", experiment, kind="coordinates", train=4999)
    text = write_report([tmp_path / "run"], form="md")
    assert "With 4,999 training clips" in text
    assert "logistic, a converged probe, is the headline" in text
    assert "mean: features averaged over time, joints and bodies" in text
    assert "coordinates: no encoder at all" in text
    run_with(tmp_path / "large")
    assert "headline" not in write_report([tmp_path / "large"], form="md")


def test_the_terminals_table_fits_and_folds(tmp_path, monkeypatch):
    for seed in range(2):
        for name in ("ntu60-xsub-amr", "ntu60-xsub-mamp"):
            folder = tmp_path / f"{name}-{seed}"
            experiment = write_run(folder, name, seed=seed)
            for protocol in ("linear", "knn", "logistic"):
                judge(folder, experiment, protocol, shift=seed + (name == "ntu60-xsub-amr"))
    wide = table_of([tmp_path], 100, monkeypatch=monkeypatch)
    assert "further figures" not in wide
    assert re.search(r"ntu60-xsub-amr +2 +28\.1 +81\.5 ± 0\.7", wide)
    assert "published 87.4, here -5.9" in wide
    assert re.search(r"linear: .*lr 0\.01.*\(ntu60-xsub-amr\)", wide)
    narrow = table_of([tmp_path], 80, monkeypatch=monkeypatch)
    assert "further figures" in narrow
    assert max(map(len, narrow.splitlines()[1:])) <= 80
    for text in (wide, narrow):
        for protocol in ("linear", "knn", "logistic"):
            for figure, value in FIGURES[protocol].items():
                assert f"{value + 1.5:.1f} ± 0.7" in text, figure
    (section,) = sections_of(rows_of(find_runs([tmp_path], lambda line: None)))
    assert all(names == {"ntu60-xsub-amr"} for names in section.best.values())


def test_wrong_use(runs, tmp_path):
    with pytest.raises(UsageError, match="no run at"):
        write_report([tmp_path / "none"])
    with pytest.raises(UsageError, match="no finished run in"):
        write_report([runs / "unrelated"])
    with pytest.raises(UsageError, match="there is no format 'pdf'"):
        write_report([runs], form="pdf")
