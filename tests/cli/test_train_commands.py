"""amr-train from the outside: what it shows, what it takes from a run, what it refuses."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result
from rich.console import Console

from amr_cli import panel as panel_module
from amr_cli.train import main
from amr_train import experiment_names, load_experiment, run_experiment
from amr_train.experiments.settings import flat
from amr_train.experiments.suites import suite_names
from amr_train.models.files import ENCODER, read_encoder, save_encoder
from amr_train.training.checkpoints import list_checkpoints
from tests.amr_train.runs import FAST_FINETUNING, OFTEN, SMALL, Listener, Stop, small


def call(*words: object, **environment: str) -> Result:
    return CliRunner().invoke(main, [str(w) for w in words], env=environment)


def narrow(text: str) -> bool:
    return all(len(line) <= 80 for line in text.splitlines())


@pytest.fixture(scope="module")
def finished(ntu_shards, tmp_path_factory) -> Path:
    """A small run with a linear learning rate and a seed of its own."""
    out = tmp_path_factory.mktemp("finished") / "run"
    own = ["evaluation.linear.lr=0.2", "seed=3", "monitor.milestone_epochs=2"]
    run_experiment(small(ntu_shards, *own), out)
    return out


@pytest.fixture
def begun(ntu_shards, tmp_path) -> Path:
    """A run that was stopped in its third epoch of four."""
    with pytest.raises(Stop):
        run_experiment(small(ntu_shards), tmp_path / "begun", Listener(stop_after=7))
    return tmp_path / "begun"


def test_run_shows_one_table_with_the_baselines_and_then_facts(ntu_shards, tmp_path):
    words = ["demo", "--data", ntu_shards, "-o", tmp_path / "run", *SMALL, *OFTEN]
    shown = call("run", *words, "--protocol", "linear", "--protocol", "knn", COLUMNS="80")
    assert shown.exit_code == 0, shown.output
    assert "demo: top-1 on ntu60 xsub, %, synthetic" in shown.stdout
    first = [line.split()[0] for line in shown.stdout.splitlines() if line.strip()]
    begins = first.index("untrained")
    assert first[begins : begins + 4] == ["untrained", "coordinates", "positions", "pre-trained"]
    for text in (
        "24 train, 24 test",
        "12 steps, last loss",
        "lr 0.1, batch 256",
        "1 neighbour",
    ):
        assert text in shown.stdout
    assert narrow(shown.stdout.replace(str(tmp_path), "PATH"))
    found = json.loads(call("run", *words, "--protocol", "knn", "--json").stdout)
    assert {r["protocol"] for r in found["evaluations"]} == {"knn"}


def test_show_says_where_each_setting_came_from(tmp_path):
    (tmp_path / "mine.yaml").write_text("method: mamp\npretrain: {epochs: 30}\n")
    own = json.loads(call("show", tmp_path / "mine.yaml", "pretrain.lr=0.5", "scale=tiny", "--json").stdout)
    assert own["pretrain.lr"] == {"value": 0.5, "origin": "override"}
    assert own["pretrain.epochs"] == {"value": 2, "origin": "scale tiny"}
    assert own["mask.tau"] == {"value": 0.8, "origin": "method mamp"}
    assert own["method"]["origin"] == "file"
    assert own["augment.rounding"] == {"value": "up", "origin": "default"}
    shipped = json.loads(call("show", "ntu60-xsub-amr", "--json").stdout)
    assert shipped["evaluation.linear.lr"] == {"value": 0.01, "origin": "data ntu60-xsub, for amr"}
    assert shipped["model.width"] == {"value": 256, "origin": "data ntu60-xsub"}
    wanted = flat(load_experiment("ntu60-xsub-amr").model_dump(mode="json"))
    assert {key: setting["value"] for key, setting in shipped.items()} == wanted
    shown = call("show", "ntu60-xsub-amr", COLUMNS="80").stdout
    assert narrow(shown)
    assert "\nevaluation.finetune" in shown
    assert call("show", "ntu60-xsub-amr", "pretrain.epoch=1").exit_code == 2


def test_show_of_a_suite_says_what_differs():
    found = json.loads(call("show", "suite/nw-ucla", "--json").stdout)
    assert (found["suite"], found["seeds"], len(found["stages"])) == ("suite/nw-ucla", [0, 1, 2], 12)
    mamp = found["stages"][1]
    assert (mamp["stage"], mamp["folder"]) == ("nw-ucla-mamp", "runs/nw-ucla-mamp-0")
    assert mamp["settings"]["mask.by"] == {"value": "motion", "origin": "method mamp"}
    assert not {"pretrain.epochs", "seed", "name", "data.path"} & set(mamp["settings"])
    shown = call("show", "suite/transfer", COLUMNS="80").stdout
    assert "ntu60-xsub-amr to pku-mmd-2-xsub: finetune" in shown
    assert narrow(shown)


def test_list_shows_everything_that_is_shipped_in_80_columns():
    shown = call("list", COLUMNS="80").stdout
    for name in (*experiment_names(), *suite_names(), "tiny", "amr-self-attention", "logistic"):
        assert name in shown
    assert narrow(shown)
    lists = json.loads(call("list", "--json").stdout)
    assert [row["experiment"] for row in lists["experiments"]] == experiment_names()
    assert lists["scales"] == ["full", "compact", "tiny"]
    mamp = next(row for row in lists["methods"] if row["method"] == "mamp")
    assert mamp == {
        "method": "mamp",
        "decoder": "grid",
        "mask": "motion",
        "target": "motion",
        "normalize": "patch",
        "focal": False,
    }
    suites = {row["suite"]: row for row in lists["suites"]}
    assert suites["suite/nw-ucla"]["seeds"] == [0, 1, 2]
    assert "NW-UCLA" in suites["suite/nw-ucla"]["description"]


def test_a_plan_of_one_run_counts_and_measures_what_is_left(ntu_shards, tmp_path, begun):
    words = [*SMALL, *OFTEN, *FAST_FINETUNING, "--plan"]
    protocols = ["--protocol", "linear", "--protocol", "finetune", "--protocol", "semi"]

    def planned(run: Path, *more: object) -> dict:
        done = call("run", "demo", "--data", ntu_shards, "-o", run, *words, *protocols, *more, "--json")
        assert done.exit_code == 0, done.output
        (row,) = json.loads(done.stdout)
        return row

    row = planned(tmp_path / "new")
    assert (row["state"], row["clips"], row["steps"], row["judged"]) == ("not begun", 24, 12, 0)
    assert row["protocols"] == ["linear", "finetune", "semi"]
    assert row["pretraining_minutes"] > 0
    assert row["evaluation_minutes"] > 0
    assert not (tmp_path / "new").exists()
    half = planned(begun)
    assert (half["state"], half["steps_done"], half["steps"]) == ("begun", 7, 12)
    assert planned(begun, "mask.ratio=0.8")["state"] == "another run"
    # an augmented probe sees every clip anew in each of its epochs
    more = ["evaluation.linear.views=augmented", "evaluation.linear.epochs=400"]
    assert planned(tmp_path / "new", *more)["evaluation_minutes"] > 3 * row["evaluation_minutes"]


def test_a_plan_says_in_words_that_it_measured_nothing(finished, ntu_shards, tmp_path):
    words = ["demo", *SMALL, *OFTEN, "seed=3", "evaluation.linear.lr=0.2", "--plan"]
    shown = call("run", *words, "--data", ntu_shards, "-o", finished, COLUMNS="80")
    assert "finished" in shown.stdout
    assert "2 of 2" in shown.stdout
    assert "nothing was measured: everything is finished" in shown.stdout
    assert narrow(shown.stdout)
    nothing = call("run", *words, "-o", tmp_path / "x")
    assert "nothing was measured: no dataset was given" in nothing.stdout
    left = call("run", *words, "--protocol", "retrieval", "--data", ntu_shards, "-o", finished)
    assert "0 of 1" in left.stdout
    assert "left: nothing of pre-training, less than a minute of evaluation here" in left.stdout


def test_a_plan_of_a_suite(ntu_shards, tmp_path):
    out = tmp_path / "runs"
    words = ["suite/table-main", "--data", ntu_shards, "-o", out, "scale=tiny", "--plan"]
    planned = call("run", *words, "--json")
    assert planned.exit_code == 0, planned.output
    assert not out.exists()
    rows = json.loads(planned.stdout)
    assert {r["state"] for r in rows if r["name"].startswith("ntu120")} == {"no data"}
    assert (rows[0]["name"], rows[0]["state"], rows[0]["steps"]) == ("ntu60-xsub-mae", "not begun", 2)
    shown = call("run", *words, COLUMNS="80").stdout
    for text in ("15 stages", "no data", "ntu60-xsub-mae", "a few measured steps"):
        assert text in shown.replace("\n", " ")
    assert narrow(shown)


def test_eval_takes_what_it_is_not_told_from_the_run(finished, ntu_shards):
    wanted = json.loads((finished / "results.json").read_text())["evaluations"]
    listened = call("eval", finished, "--json")
    assert listened.exit_code == 0, listened.output
    found = json.loads(listened.stdout)["evaluations"]
    assert {r["protocol"] for r in found} == {"linear", "knn"}
    for record in found:
        assert record["seed"] == 3
        assert record["split"] == "xsub"
        assert "spoken" not in record  # the settings are there as values
        kept = {k: v for k, v in record.items() if k in wanted[0]}
        same = [{k: r[k] for k in kept} for r in wanted if r["figures"] == record["figures_percent"]]
        assert kept in same  # taken as it is kept, not made again
    assert {r["settings"]["linear"]["lr"] for r in found if r["protocol"] == "linear"} == {0.2}


def test_eval_shows_the_settings_beside_the_figures_and_warns(finished):
    shown = call("eval", finished, "--protocol", "linear", "linear.lr=0.4", "evaluation.linear.batch_size=7")
    assert shown.exit_code == 0, shown.output
    for text in ("ntu60 xsub, synthetic", "lr 0.4, batch 7", "coordinates", "linear positions", "recipe amr"):
        assert text in shown.stdout
    assert "these clips are synthetic" in shown.stderr
    assert narrow(call("eval", finished, COLUMNS="80").stdout)


def test_eval_of_what_is_not_finished(begun, finished):
    shown = call("eval", begun, "--protocol", "knn")
    assert shown.exit_code == 0, shown.output
    assert "epoch 2.33 of 4, not finished" in shown.stdout
    assert len(list((begun / "evaluations").glob("knn-*.json"))) == 3
    checkpoint = list_checkpoints(begun / "checkpoints")[0]
    assert "epoch 2 of 4" in call("eval", checkpoint, "--protocol", "knn").stdout
    milestone = finished / "milestones" / "epoch-0002.safetensors"
    by_milestone = call("eval", milestone, "--protocol", "knn")
    assert "epoch 2 of 4" in by_milestone.stdout
    assert "not finished" not in by_milestone.stdout


def test_an_encoder_file_alone_keeps_nothing_unless_it_is_told_where(finished, ntu_shards, tmp_path):
    alone = tmp_path / "alone.safetensors"
    shutil.copy(finished / ENCODER, alone)
    shown = call("eval", alone, "--data", ntu_shards, "--split", "xview", "--protocol", "knn")
    assert shown.exit_code == 0, shown.output
    assert "results are not kept; --out keeps them" in shown.stdout
    assert [p.name for p in tmp_path.iterdir()] == [alone.name]
    kept = call(
        "eval", alone, "--data", ntu_shards, "--split", "xview", "--protocol", "knn", "-o", tmp_path / "o"
    )
    assert kept.exit_code == 0, kept.output
    assert list((tmp_path / "o" / "evaluations").glob("knn-*.json"))
    behind = call("eval", alone, "--data", f"{ntu_shards}:xview", "--protocol", "knn", "--json")
    assert json.loads(behind.stdout)["evaluations"][-1]["split"] == "xview"
    twice = call("eval", alone, "--data", f"{ntu_shards}:xview", "--split", "xsub")
    assert twice.exit_code == 2
    assert "and --split xsub say two things" in twice.output.replace("\n", " ")
    refused = call("eval", finished, "--protocol", "knn", "-o", alone)
    assert refused.exit_code == 2
    assert "alone.safetensors is a file: results are kept in a folder" in refused.output.replace("\n", " ")


def test_eval_warns_where_the_encoder_knows_other_clips(finished, ntu_shards, tmp_path):
    encoder = read_encoder(finished / ENCODER, "cpu")
    other = encoder.config.model_copy(update={"recipe": {"name": "ctrgcn", "rotate": True}})
    save_encoder(encoder.encoder, other, tmp_path / "other.safetensors")
    words = ["--data", ntu_shards, "--split", "xsub", "--protocol", "knn"]
    warned = call("eval", tmp_path / "other.safetensors", *words)
    assert "trained on clips of another recipe (ctrgcn, rotate) than these (amr)" in warned.stderr


def test_eval_uses_the_baselines_that_a_suite_keeps(finished, ntu_shards, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "evaluations")
    (tmp_path / "baselines").mkdir()
    assert call("eval", tmp_path / "run", "--protocol", "knn").exit_code == 0
    assert len(list((tmp_path / "baselines" / "evaluations").iterdir())) == 2
    assert len(list((tmp_path / "run" / "evaluations").iterdir())) == 1


def test_two_processes_judge_as_one(finished, tmp_path):
    words = ["eval", str(finished), "--protocol", "knn", "--nproc", "2", "-o", str(tmp_path / "o"), "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "amr_cli.train", *words], capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["evaluations"]
    kept = json.loads((finished / "results.json").read_text())["evaluations"]
    for record in found:
        (same,) = (r for r in kept if r["protocol"] == "knn" and r["subject"] == record["subject"])
        assert record["figures_percent"] == pytest.approx(same["figures"], abs=1e-6)


def test_embed_pools_as_it_is_told(finished, ntu_shards, tmp_path):
    widths = {}
    for pooling in ("mean", "joints"):
        words = ["--pooling", pooling, "-o", tmp_path / f"{pooling}.h5", "--json"]
        done = call("embed", finished, ntu_shards, *words)
        assert done.exit_code == 0, done.output
        widths[pooling] = json.loads(done.stdout)["width"]
    assert widths == {"mean": 16, "joints": 16 * 25}


def test_the_panel_keeps_bar_and_time_readable_at_80_columns(monkeypatch):
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=80, legacy_windows=False)
    monkeypatch.setattr(panel_module, "errors", console)
    panel = panel_module.Panel(quiet=False)
    metrics = {"epoch": 30, "epochs": 120, "loss": 0.1234, "knn": 71.3, "rank": 9.2, "lr": 1e-3}
    with panel.bar:
        panel.stage("pre-training")
        panel.advance(300, 1200, {**metrics, "clips_per_second": 12345.0})
        lines = console.render_lines(panel.bar.get_renderable(), console.options)
    shown = ["".join(segment.text for segment in line).rstrip() for line in lines]
    assert " 25 %" in shown[0]
    assert shown[0].count(":") >= 2  # time so far, time left
    assert shown[0].count("━") >= 28  # with room for the ^C of a pressed key
    assert shown[1].strip().startswith("epoch 30/120  loss 0.1234  kNN 71.3 %  rank 9.2")
    assert narrow("\n".join(shown))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["run", "dmeo"], "did you mean 'demo'"),
        (["run", "demo"], "--data"),
        (["run", "demo", "--data", "nowhere"], "not a converted dataset"),
        (["run", "demo", "pretrain.epoch=3"], "did you mean 'pretrain.epochs'"),
        (["run", "demo", "method=mampp"], "did you mean 'mamp'"),
        (["run", "demo", "data.protocol=xview"], "it is now 'data.split'"),
        (["run", "demo", "--protocol", "linaer", "--data", "DATA"], "did you mean 'linear'"),
        (["run", "demo", "--dataset", "x"], "--dataset is now --data"),
        (["eval", "nowhere", "--dataset", "x"], "--dataset is now --data"),
        (["eval", "nowhere", "--data", "x"], "no encoder at nowhere"),
        (["eval", "nowhere", "--data", "x", "linear.lrr=1"], "did you mean 'evaluation.linear.lr'"),
        (["eval", "nowhere", "semi.seeds=[1]"], "it is now 'evaluation.semi.draws'"),
        (["eval", "nowhere", "pretrain.lr=1"], "pretrain.lr decides a training"),
        (["eval", "nowhere", "seed=1"], "--seed 1"),
        (["eval", "RUN", "--protocol", "linaer"], "did you mean 'linear'"),
        (["eval", "RUN", "--split", "xset"], "no split 'xset'"),
        (["eval", "RUN/encoder.safetensors", "linear.epochs=0"], "linear.epochs"),
        (["eval", "ALONE"], "does not say on which clips to judge it: give --data DIR"),
        (["eval", "ALONE", "--data", "DATA"], "several train/test splits: xsub, xview; say which, as in"),
        (["show", "dmeo"], "did you mean 'demo'"),
        (["show", "suite/nw-uclaa"], "did you mean 'suite/nw-ucla'"),
        (["import-mamp", "nowhere.pth"], "no checkpoint at nowhere.pth"),
    ],
)
def test_wrong_use(tmp_path, monkeypatch, finished, ntu_shards, words, says):
    monkeypatch.chdir(tmp_path)
    shutil.copy(finished / ENCODER, tmp_path / "alone.safetensors")
    names = {"RUN": finished, "DATA": ntu_shards, "ALONE": "alone.safetensors"}
    given = [str(names.get(word, word)).replace("RUN/", f"{finished}/") for word in words]
    result = call(*given)
    assert result.exit_code == 2, result.output
    assert says in result.stderr.replace("\n", " ")
    assert "Traceback" not in result.output
    assert not (tmp_path / "runs").exists()


def test_a_run_whose_data_moved_away_says_so(ntu_shards, tmp_path):
    shutil.copytree(ntu_shards, tmp_path / "data")
    run_experiment(small(tmp_path / "data", "evaluation.protocols=[]"), tmp_path / "run")
    shutil.move(tmp_path / "data", tmp_path / "moved")
    gone = call("eval", tmp_path / "run", "--protocol", "knn")
    assert (gone.exit_code, "which is not there now: give --data DIR" in gone.stderr) == (2, True)
    found = call("eval", tmp_path / "run", "--protocol", "knn", "--data", tmp_path / "moved", "--json")
    assert json.loads(found.stdout)["evaluations"][-1]["split"] == "xsub"


def test_a_suite_of_ones_own_on_the_command_line(ntu_shards, tmp_path):
    rows = [
        {"data": "ntu60-xsub", "methods": ["amr"], "grid": {"mask.ratio": [0.8, 0.9]}, "protocols": ["knn"]}
    ]
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"experiments": rows}))
    words = ["run", tmp_path / "mine.yaml", "--data", ntu_shards, "-o", tmp_path / "runs", "scale=tiny"]
    done = call(*words)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "runs" / "ntu60-xsub-amr-ratio=0.8-0" / "results.json").is_file()
    assert (tmp_path / "runs" / "mine.html").is_file()
    assert "2/2 ntu60-xsub-amr-ratio=0.9, seed 0" in done.stderr
