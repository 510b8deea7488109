"""One encoder for every skeleton: trained on several datasets at once, taken up, and judged on others."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner, Result

from amr_cli.train import main
from amr_data import UsageError, open_dataset
from amr_train import embed, evaluate_encoder, load_encoder, load_experiment, predict, run_experiment
from amr_train.config import EvaluationConfig, Experiment, FinetuneConfig
from amr_train.deploy.export import export_model
from amr_train.deploy.overlays import model_scenes
from amr_train.evaluation.records import records_in
from amr_train.experiments.jobs import jobs_of
from amr_train.experiments.loading import resolve
from amr_train.experiments.places import places_as_settings
from amr_train.experiments.planning import plan
from amr_train.experiments.queue import Queue, Told, work_through
from amr_train.experiments.sources import settled
from amr_train.experiments.stages import datasets_by_name, stages_of
from amr_train.experiments.suites import load_suite
from amr_train.identity import training_digest
from amr_train.report import write_report
from amr_train.report.collect import find_runs
from amr_train.report.tables import rows_of
from amr_train.training.checkpoints import list_checkpoints
from tests.amr_train.runs import OFTEN, SMALL, Listener, Stop
from tests.amr_train.sensors import TAILED, sensor

SETTINGS = [*SMALL, *OFTEN, "evaluation.protocols=[knn]", "monitor.every_epochs=4", "guidance.source=shard"]


@pytest.fixture(scope="module")
def sensors(tmp_path_factory) -> dict[str, Path]:
    """Kinect v1, OpenNI and one of its own."""
    out = tmp_path_factory.mktemp("sensors")
    skeletons = {"ucla": "kinect_v1", "sbu": "openni_15", "own": TAILED}
    return {name: sensor(out / name, name, skeletons[name], seed) for seed, name in enumerate(skeletons)}


def several(paths: object, *overrides: str) -> Experiment:
    places = json.dumps([str(path) for path in paths])
    return load_experiment("demo", [*SETTINGS, f"data.paths={places}", "data.split=null", *overrides])


@pytest.fixture(scope="module")
def run(sensors, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("several") / "run"
    listener = Listener()
    run_experiment(several([sensors["ucla"], sensors["sbu"]]), out, listener)
    assert listener.lines == ["several skeletons: joints are told by their names (model.joints=name)"]
    return out


def test_a_run_records_every_dataset_and_judges_each_with_its_own_split(run, sensors):
    record = json.loads((run / "run.json").read_text())
    assert record["data"]["name"] == "sbu + ucla"
    fingerprints = [open_dataset(sensors[name]).fingerprint for name in ("sbu", "ucla")]
    assert [one["fingerprint"] for one in record["data"]["sets"]] == fingerprints
    assert record["experiment"]["data"]["splits"] == {"sbu": "xsub", "ucla": "xsub"}
    config = load_encoder(run).config
    assert config.model.joints == "name"
    assert len(config.model.names) == 20  # OpenNI's 15 joints lie at names of Kinect's 20
    assert [(one.dataset, one.skeleton, one.split) for one in config.datasets] == [
        ("sbu", "openni_15", "xsub"),
        ("ucla", "kinect_v1", "xsub"),
    ]
    judged = [r for r in records_in(run) if r["subject"]["kind"] == "encoder"]
    assert {(r["data"]["dataset"], r["joints"], r["clips"]["test"]) for r in judged} == {
        ("sbu", 15, 6),
        ("ucla", 20, 6),
    }
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert {"loss", "loss_sbu", "loss_ucla"} <= lines[0].keys()
    watched = [line for line in lines if line["stage"] == "monitor"]
    assert {"knn_sbu", "knn_ucla", "rank_sbu"} <= watched[0].keys()


def test_the_order_of_the_datasets_changes_nothing(run, sensors, tmp_path):
    settings = [sensors["sbu"], sensors["ucla"]]
    run_experiment(several(settings, "evaluation.protocols=[]", "monitor.every_epochs=0"), tmp_path / "run")
    assert _weights(tmp_path / "run") == _weights(run)


def test_taken_up_at_any_step_the_weights_are_those_of_a_run_left_alone(run, sensors, tmp_path):
    experiment = several([sensors["ucla"], f"{sensors['sbu']}:xsub"])
    for stop in (1, 6, 11):
        with pytest.raises(Stop):
            run_experiment(experiment, tmp_path / "run", Listener(stop_after=stop))
    listener = Listener()
    run_experiment(experiment, tmp_path / "run", listener)
    assert listener.steps[0] == 12
    assert (tmp_path / "run" / "encoder.safetensors").read_bytes() == (
        run / "encoder.safetensors"
    ).read_bytes()
    with pytest.raises(UsageError, match="holds a run"):
        run_experiment(several([sensors["ucla"], sensors["own"]]), tmp_path / "run")


def _weights(run: Path) -> list[bytes]:
    return [value.numpy().tobytes() for value in load_encoder(run).state_dict().values()]


def test_judged_on_a_sensor_that_it_never_saw_by_the_joints_that_it_can_name(run, sensors):
    listener = Listener()
    records = evaluate_encoder(run, sensors["own"], protocols=["knn"], listener=listener)
    assert {record["joints"] for record in records if record["subject"]["kind"] != "coordinates"} == {7}
    (line,) = listener.lines
    assert line.startswith("1 of the 8 joints of tailed_8 are ignored")
    assert line.endswith("tail")
    listener = Listener()
    listener.stage("features")
    features, _ = embed(run, sensors["own"], device="cpu", listener=listener, pooling="joints")
    assert features.shape == (24, 7 * 16)
    assert listener.lines == [line]
    assert np.isfinite(features).all()
    ours = load_encoder(run, skeleton=open_dataset(sensors["own"]).spec.skeleton)
    assert ours.config.joint_names[:2] == ["spine_at_shoulders", "head"]


def test_a_classifier_of_names_makes_its_joints_of_those_that_a_clip_has(run, sensors, tmp_path):
    """Trained on OpenNI's hands, which Kinect's clips have between wrist and hand."""
    finetune = FinetuneConfig(epochs=1, warmup_epochs=0, hidden=8)
    settings = EvaluationConfig(finetune=finetune)
    protocols = ["finetune", "supervised"]
    evaluate_encoder(run, sensors["sbu"], protocols=protocols, settings=settings, folder=tmp_path)
    (file,) = tmp_path.glob("evaluations/finetune-*/classifier.safetensors")
    listener = Listener()
    found = predict(file, sensors["ucla"], device="cpu", listener=listener)
    assert len(found) == 24
    assert listener.lines == [
        "3 of the 20 joints of kinect_v1 are ignored, since the classifier was trained without them: "
        "hip_centre, left_foot, right_foot"
    ]
    with pytest.raises(UsageError, match=r"own is in tailed_8, which lacks spine_at_shoulders|lacks "):
        predict(file, sensors["own"], device="cpu")


def test_exported_for_a_skeleton_that_is_named(run, tmp_path):
    with pytest.raises(UsageError, match="trained on several skeletons: say whose clips"):
        export_model(run, tmp_path / "x.pt2")
    made = export_model(run, tmp_path / "x.pt2", bodies=1, skeleton="h36m_17")
    assert made["input"] == ["batch", 1, 24, 16, 3]  # all but the neck
    assert made["joints"][0] == "base_of_spine"


def test_what_a_run_of_several_sees_can_be_shown(run, sensors):
    (scene,) = model_scenes(run, open_dataset(sensors["sbu"]), [0])
    assert len(scene.panels) == 3


def call(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def test_from_the_command_line(sensors, tmp_path):
    data = ["--data", f"{sensors['ucla']}:xsub", "--data", sensors["sbu"]]
    done = call("run", "demo", *data, "-o", tmp_path / "run", *SETTINGS, "data.split=null")
    assert done.exit_code == 0, done.output
    assert "top-1 on sbu xsub" in done.output
    assert "top-1 on ucla xsub" in done.output
    done = call("eval", tmp_path / "run", "--protocol", "knn")
    assert done.exit_code == 2
    assert "was trained on several datasets: say which with --data DIR (sbu in " in done.output
    done = call("eval", tmp_path / "run", "--protocol", "knn", "--data", sensors["own"], "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["evaluations"][-1]["joints"] == 7


def test_encoders_of_several_datasets_are_fused_on_the_one_that_is_named(run, sensors, tmp_path):
    bones = ("input.stream=bone", "guidance.source=online", "evaluation.protocols=[]")
    run_experiment(several([sensors["ucla"], sensors["sbu"]], *bones), tmp_path / "bones")
    both = ["fuse", run, tmp_path / "bones", "--protocol", "knn", "-o", tmp_path / "both"]
    done = call(*both)
    assert done.exit_code == 2
    assert "say which with --data DIR" in done.output.replace("\n", " ")
    for name, joints in (("sbu", 15), ("own", 7)):
        done = call(*both, "--data", sensors[name], "--json")
        assert done.exit_code == 0, done.output
        (made,) = json.loads(done.stdout)["evaluations"]
        assert (made["data"]["dataset"], made["joints"], made["split"]) == (name, joints, "xsub")
    assert (
        "there is no split 'nowhere' of sbu"
        in call(*both, "--data", sensors["sbu"], "--split", "nowhere").output
    )


@pytest.mark.parametrize(
    "said", ["data.split=other", "data.path=elsewhere", "data.paths=[here, there]", "data.splits.ucla=other"]
)
def test_a_place_that_the_settings_contradict_is_refused(sensors, tmp_path, said):
    one = ["--data", f"{sensors['ucla']}:xsub"]
    done = call("run", "demo", *one, "-o", tmp_path / "run", *SETTINGS, said)
    assert done.exit_code == 2
    assert f"{sensors['ucla']}:xsub and {said.partition('=')[0]}=" in done.output.replace("\n", "")
    assert not (tmp_path / "run").exists()
    same = [f"data.path={sensors['ucla']}/", "data.split=xsub", "data.paths=[]", "data.splits.ucla=xsub"]
    done = call("run", "demo", *one, "-o", tmp_path / "run", *SETTINGS, *same, "--plan")
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("name", ["2024", "1e3", "nan", "cl\u00eds \U0001f57a"])
def test_a_place_is_taken_as_it_is_spelt(sensors, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(sensors["ucla"], name)
    done = call("run", "demo", "--data", name, *SETTINGS, "--plan", "--json")
    assert done.exit_code == 0, done.output
    assert load_experiment("demo", [f"data.path='{name}'"]).data.path == name


def test_who_says_by_which_split_has_said_it_in_place_of_those_below(tmp_path):
    """Of the settings that name a split the upper ones hold, whichever of the two ways they are said in; both
    at once are a split for all and exceptions from it, which one dataset alone cannot have."""
    (tmp_path / "sensor").mkdir()
    path = sensor(tmp_path / "sensor" / "raw", "two", "openni_15", splits=("one", "other"))

    def chosen(*words: str, base: str = "demo", below: str = "data: {split: one}") -> str | None:
        file = tmp_path / "own.yaml"
        file.write_text(f"{below}\n")
        name = str(file) if base == "own" else base
        said = load_experiment(name, [f"data.path={path}", *words])
        return settled(said).experiment.data.split

    assert chosen("data.splits.two=other", base="own") == "other"  # not that of the file
    assert chosen(base="own") == "one"
    assert chosen("data.split=other", base="own", below="data: {splits: {two: one}}") == "other"
    assert chosen("data.splits.two=other", base="own", below="data: {splits: {two: one, x: y}}") == "other"
    assert chosen("data.split=one", "data.splits.two=one") == "one"
    assert chosen("data.split=one", "data.splits.third=other") == "one"
    with pytest.raises(UsageError, match=r"data\.split=one and data\.splits\.two=other say two things"):
        chosen("data.split=one", "data.splits.two=other")
    found = resolve("nw-ucla-amr", ["data.splits.nw-ucla=xview"])
    assert (found.experiment.data.split, found.origins["data.split"]) == (None, "default")
    assert found.origins["data.splits.nw-ucla"] == "override"
    kept = load_experiment("any-skeleton-amr", ["data.split=null", "data.splits.mine=xsub"]).data.splits
    assert (kept["mine"], kept["sbu"]) == ("xsub", "fold1")


def test_a_split_of_a_dataset_that_is_not_here_is_told(sensors):
    places = json.dumps([str(sensors["ucla"]), str(sensors["sbu"])])
    words = [f"data.paths={places}", "data.split=null", "data.splits.sbuu=xsub", "data.splits.ntu60=xsub"]
    told = [line for line in settled(load_experiment("demo", words)).lines if "left aside" in line]
    assert len(told) == 1
    assert told[0].startswith(
        "data.splits.sbuu is left aside: there is no dataset 'sbuu': did you mean 'sbu'?"
    )


def test_a_form_that_places_no_body_says_not_how(sensors):
    """Landmarks and bodies say how bodies are placed, which no setting asks for here."""
    for said in ("landmarks=limbs", "bodies=each"):
        with pytest.raises(UsageError, match=rf"input\.{said} says how .*: set one of these, or leave input"):
            several([sensors["ucla"]], f"input.{said}")
        for placed in ("frame=first", "centre=every", "lengths=spine"):
            assert several([sensors["ucla"]], f"input.{said}", f"input.{placed}").input.places


def test_given_places_take_those_of_a_file_away(sensors, tmp_path):
    file, suite = tmp_path / "two.yaml", tmp_path / "suite.yaml"
    both = [str(sensors[name]) for name in ("ucla", "own")]
    file.write_text(yaml.safe_dump({"data": {"paths": both}}))
    suite.write_text(yaml.safe_dump({"experiments": [{"experiment": "two.yaml"}]}))
    assert load_experiment(str(file)).data.paths == both
    found = load_experiment(str(file), [], {"data": places_as_settings([f"{sensors['sbu']}:xsub"])}).data
    assert (found.path, found.paths, found.split) == (str(sensors["sbu"]), [], "xsub")
    done = call("run", file, "--data", sensors["sbu"], *SETTINGS, "--plan", "--json")
    assert [stage["clips"] for stage in json.loads(done.stdout)] == [18]  # not those of both as well
    done = call("run", suite, "--data", sensors["sbu"], "--plan")
    assert done.exit_code == 2
    assert "datasets are named by `together`" in done.output.replace("\n", " ")
    with pytest.raises(UsageError, match=f"splits; give --data {sensors['sbu']}$"):
        datasets_by_name([Path(f"{sensors['sbu']}:xsub")])


def test_what_does_not_go_together_is_refused_by_name(sensors, tmp_path):
    def refused(*paths: object, **settings: str) -> str:
        words = [f"{key.replace('__', '.')}={value}" for key, value in settings.items()]
        with pytest.raises(UsageError) as error:
            run_experiment(several(paths, *words), tmp_path / "refused")
        return str(error.value)

    ucla, sbu = sensors["ucla"], sensors["sbu"]
    assert "both hold ucla" in refused(ucla, ucla)
    assert "is meant for ntu60 alone; data.dataset=null" in refused(ucla, sbu, data__dataset="ntu60")
    flat = sensor(tmp_path / "flat", "flat", "coco_17", dimensions=2)
    assert f"{flat} is two-dimensional and {ucla} is not" in refused(ucla, flat)
    both = sensor(tmp_path / "both", "both", "openni_15", splits=("first", "second"))
    said = refused(ucla, both)
    assert f"{both} has several train/test splits: first, second; say which with --data {both}:first" in said
    assert "data.splits.both=first" in said
    lacking = refused(ucla, both, data__split="third")
    assert f"{both} has no split 'third' but several train/test splits: first, second" in lacking
    assert "a batch of 1 clips cannot hold one of each of 2" in refused(ucla, sbu, pretrain__batch_size="1")
    named = {**TAILED["counterparts"], "foot_r": "left_ankle"}
    twice = sensor(tmp_path / "twice", "twice", {**TAILED, "counterparts": named})
    assert "foot_l and foot_r of tailed_8 have the same name" in refused(ucla, twice)
    unknown = sensor(tmp_path / "unknown", "unknown", {**TAILED, "counterparts": {}})
    run_experiment(several([ucla], "evaluation.protocols=[]", "model.joints=name"), tmp_path / "one")
    with pytest.raises(
        UsageError, match=r"0 of them are among the 8 of tailed_8 .* what chest, crown, arm_l"
    ):
        evaluate_encoder(tmp_path / "one", unknown, protocols=["knn"])


def test_bodies_placed_by_other_joints_are_warned_of(sensors, tmp_path):
    """OpenNI's spine begins at the navel, Kinect's at the hips."""

    mp = sensor(tmp_path / "mp", "mp", "mediapipe_33")
    own, ucla, sbu = (sensors[name] for name in ("own", "ucla", "sbu"))

    def said(*places: Path, **shown: str) -> list[str]:
        words = [f"input.{key}={value}" for key, value in shown.items()]
        lines = settled(several(places, "guidance.source=online", *words)).lines
        return [line for line in lines if "placed by" in line]

    (line,) = said(ucla, sbu, frame="first")
    assert "(sbu: spine from middle_of_spine; ucla: spine from base_of_spine): input.landmarks=limbs" in line
    assert said(ucla, sbu, frame="first", landmarks="limbs", centre="path") == []
    assert said(ucla, sbu) == said(ucla, sbu, centre="every") == []  # the middle of the spine in both
    (line,) = said(ucla, mp, lengths="spine", landmarks="limbs", centre="path")
    assert "(mp: path left_hip; ucla: path middle_of_spine): input.centre=every shows no path" in line
    (line,) = said(ucla, own, lengths="spine", landmarks="limbs")
    assert line.endswith(
        "(own: spine from waist, spine to arm_r and arm_l; ucla: spine from base_of_spine, "
        "spine to right_shoulder and left_shoulder)"
    )


def test_what_cannot_be_judged_trains_all_the_same_and_is_said(sensors, tmp_path):
    listener = Listener()
    places = [sensors["ucla"], f"{sensors['sbu']}:all"]
    run_experiment(several(places, "pretrain.epochs=2"), tmp_path / "run", listener)
    assert any(line.startswith("sbu trains and is not judged: ") for line in listener.lines)
    assert {record["data"]["dataset"] for record in records_in(tmp_path / "run")} == {"ucla"}
    assert json.loads((tmp_path / "run" / "pretraining.json").read_text())["steps"] == 2 * ((18 + 24) // 8)


def test_held_out_clips_of_each_are_neither_trained_on_nor_the_test_part_read(sensors, tmp_path):
    experiment = several([sensors["ucla"], sensors["sbu"]], "evaluation.part=validation", "pretrain.epochs=2")
    found = run_experiment(experiment, tmp_path / "run")
    assert found["pretraining"]["steps"] == 2 * (24 // 8)  # two subjects of each
    assert {(r["part"], r["seen"]) for r in found["evaluations"]} == {("validation", False)}


def test_one_skeleton_in_several_datasets_may_be_told_by_place(sensors, tmp_path):
    more = sensor(tmp_path / "more", "more", "kinect_v1", 7)
    run_experiment(several([sensors["ucla"], more], "pretrain.epochs=2"), tmp_path / "run")
    config = load_encoder(tmp_path / "run").config
    assert config.model.joints == "index"
    assert (config.joints, config.skeleton, config.model.names) == (20, "kinect_v1", [])


def test_told_by_name_a_single_dataset_has_the_encoder_that_others_understand(sensors, tmp_path):
    run_experiment(several([sensors["ucla"]], "model.joints=name"), tmp_path / "run")
    encoder = load_encoder(tmp_path / "run")
    assert encoder.config.joints == 20
    clips = torch.randn(2, 1, 24, 20, 3)
    assert encoder(clips).shape == (2, 16)
    swapped = load_encoder(tmp_path / "run", skeleton="kinect_v2")  # the same joints in another order
    order = [encoder.config.joint_names.index(name) for name in swapped.config.joint_names]
    torch.testing.assert_close(swapped(clips[:, :, :, order]), encoder(clips), atol=1e-5, rtol=1e-5)


def test_new_settings_leave_the_digest_of_an_experiment_as_it_was():
    """Worked out before joints had names."""
    assert training_digest(load_experiment("demo")) == training_digest(
        load_experiment("demo", ["model.joints=index", "pretrain.mixing=0.5", "data.splits={}"])
    )
    changed = ["model.joints=name", "pretrain.mixing=1", "data.splits.ntu60=xsub"]
    digests = {training_digest(load_experiment("demo", [one])) for one in changed}
    assert len(digests | {training_digest(load_experiment("demo"))}) == 4


def test_checkpoints_of_several_hold_a_vector_a_name(run):
    state = torch.load(list_checkpoints(run / "checkpoints")[-1], weights_only=True)
    shapes = {
        key: tuple(value.shape) for key, value in state["model"].items() if key.endswith("position.joint")
    }
    assert shapes == {"encoder.position.joint": (1, 1, 20, 16), "decoder.position.joint": (1, 1, 20, 16)}
    assert not any("naming" in key for key in state["model"])


def test_a_suite_trains_on_several_together_and_judges_on_each_and_elsewhere(sensors, tmp_path):
    settings = {
        "pretrain.epochs": 2,
        "pretrain.warmup_epochs": 1,
        "pretrain.batch_size": 8,
        "model.width": 16,
    }
    settings |= {"model.encoder_layers": 1, "model.decoder_layers": 1, "data.split": None, "name": "both"}
    row = {"experiment": "demo", "together": ["ucla", "sbu"], "protocols": ["knn"], "settings": settings}
    elsewhere = {"encoder": "both", "dataset": "own", "split": "xsub", "protocols": ["knn"]}
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({"experiments": [row], "transfers": [elsewhere]}))
    suite = load_suite(str(file))
    data = datasets_by_name(list(sensors.values()))
    stages = stages_of(suite, data, tmp_path / "runs")
    names = ["both", "both on ucla-xsub", "both on sbu-xsub", "both to own-xsub"]
    assert [stage.name for stage in stages] == names
    assert [stage.dataset for stage in stages] == ["ucla + sbu", "ucla", "sbu", "own"]
    planned = plan(stages)
    assert [(one.clips, one.steps) for one in planned] == [(36, 8), (18, None), (18, None), (18, None)]
    work_through(Queue(jobs_of(stages)), Told())
    records = list(records_in(tmp_path / "runs" / "both-0"))
    judged = [(r["data"]["dataset"], r["protocol"]) for r in records if r["subject"]["kind"] == "encoder"]
    assert sorted(judged) == [("own", "knn"), ("sbu", "knn"), ("ucla", "knn")]
    assert [one.judged for one in plan(stages)[1:]] == [1, 1, 1]
    rows = rows_of(find_runs([tmp_path / "runs"], print))
    assert {row["dataset"] for row in rows if row["figure"].startswith("transfer")} == {"own"}
    write_report([tmp_path / "runs"], tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert all(name in page for name in ("own, xsub", "sbu, xsub", "ucla, xsub"))
    missing = stages_of(suite, {"ucla": data["ucla"]}, tmp_path / "runs")
    assert [stage.data for stage in missing] == [None] * 4
    assert plan(missing)[0].state == "no data"


@pytest.mark.parametrize(
    ("name", "optimizer"),
    [
        ("any-skeleton-small-agreement", "muon"),
        ("any-skeleton-small-agreement-cameras", "muon"),
        ("any-skeleton-small-amr", "adamw"),
        ("any-skeleton-agreement", "adamw"),
        ("nw-ucla-agreement", "adamw"),
    ],
)
def test_which_experiments_step_by_muon(name, optimizer):
    assert load_experiment(name, []).pretrain.optimizer == optimizer
    other = {"muon": "adamw", "adamw": "muon"}[optimizer]
    assert load_experiment(name, [f"pretrain.optimizer={other}"]).pretrain.optimizer == other


def test_a_data_sets_word_on_a_method_adds_to_that_of_the_one_that_it_is_like():
    assert load_experiment("any-skeleton-small-agreement", []).guidance.windows == [4, 8, 16]
