"""A method and a protocol in a user's own file, as the documents show them whole: they train, resume, are
judged and refused like the shipped ones."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from amr_cli.train import main
from amr_data import UsageError
from amr_train import evaluate, load_encoder, load_experiment, run_experiment
from tests.amr_train.runs import Listener, Stop, small

DOCS = Path(__file__).resolve().parents[1] / "docs"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working directory with the files that the documents show."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for document in ("adding-a-method.md", "adding-a-protocol.md"):
        text = (DOCS / document).read_text(encoding="utf-8")
        for name, block in re.findall(r"```(?:python|yaml)\n# (\w+\.\w+)\n(.*?)```", text, re.S):
            (tmp_path / name).write_text(block, encoding="utf-8")
    yield tmp_path
    for name in ("my_method", "my_protocol"):
        sys.modules.pop(name, None)


def test_a_method_of_ones_own_trains_resumes_and_is_judged(here, ntu_shards):
    settings = [f"data.path={ntu_shards}", "pretrain.checkpoint_minutes=1e-9", "evaluation.baselines=[]"]
    experiment = load_experiment("slow.yaml", settings)
    assert (experiment.method, experiment.options) == ("my_method:SlowTeacher", {"momentum": 0.98})
    whole = run_experiment(experiment, "whole")
    assert {r["protocol"] for r in whole["evaluations"]} == {"linear", "knn"}
    lines = [json.loads(x) for x in Path("whole/metrics.jsonl").read_text().splitlines()]
    assert all(line["spread"] > 0 for line in lines if line["stage"] == "pretrain")
    with pytest.raises(Stop):
        run_experiment(experiment, "parts", Listener(stop_after=1))
    run_experiment(experiment, "parts")
    pairs = zip(load_encoder("whole").parameters(), load_encoder("parts").parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    changed = load_experiment("slow.yaml", [*settings, "options.momentum=0.5"])
    with pytest.raises(UsageError, match=r"options\.momentum 0\.5 instead of 0\.98"):
        run_experiment(changed, "whole")


def test_a_teacher_follows_its_student(here, ntu_shards):
    from amr_train.models.registry import make_method

    experiment = load_experiment("slow.yaml", [f"data.path={ntu_shards}"])
    method = make_method(experiment, 25, (4, 8, 12))
    with torch.no_grad():
        method.encoder.norm.bias.add_(1.0)
    method.after_step(1, 10)
    torch.testing.assert_close(method.teacher.norm.bias, torch.full((16,), 0.02))


def test_a_protocol_of_ones_own_is_kept_and_shown_like_the_others(here, ntu_shards):
    run_experiment(small(ntu_shards, "pretrain.epochs=2", "evaluation.protocols=[knn]"), "run")
    record = evaluate("run", ntu_shards, "xsub", "my_protocol:ClassMeans", folder="run")
    assert set(record["figures"]) == {"class means mean", "class means joints"}
    assert record["protocol"] == "class-means"
    words = ["eval", "run", "--protocol", "my_protocol:ClassMeans"]
    shown = CliRunner().invoke(main, words)
    assert shown.exit_code == 0, shown.output
    assert f"{record['figures']['class means mean']:.1f}" in shown.stdout
    assert "nearest mean, Euclidean" in shown.stdout


@pytest.mark.parametrize(
    ("method", "says"),
    [
        (
            "my_method:Nothing",
            "must name a subclass of amr_train.models.method.Method; found nothing of that name",
        ),
        ("my_method:copy", "must name a subclass"),
        ("no_such_module:X", "cannot be imported: ModuleNotFoundError"),
        ("broken:X", "cannot be imported: ZeroDivisionError"),
        ("amrr", "there is no method 'amrr': did you mean 'amr'"),
    ],
)
def test_what_is_no_method_is_refused_by_name(here, ntu_shards, method, says):
    (here / "broken.py").write_text("1 / 0\n")
    with pytest.raises(UsageError, match=re.escape(says)):
        run_experiment(load_experiment("slow.yaml", [f"method={method}", f"data.path={ntu_shards}"]), "run")
