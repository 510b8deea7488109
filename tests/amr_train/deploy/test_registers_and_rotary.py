"""An encoder with registers and rotary time from training to other runtimes: stopped and taken up, judged,
fine-tuned, read back, restricted to shared joints and exported."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from amr_data import open_dataset
from amr_train import load_encoder, predict, run_experiment
from amr_train.data.feed import Feed
from amr_train.deploy.export import export_model
from amr_train.evaluation.features import encode
from tests.amr_train.runs import FAST_FINETUNING, Listener, Stop, small

SETTINGS = ["model.registers=3", "model.time=rotary", "pretrain.epochs=2", *FAST_FINETUNING]
JUDGED = "evaluation.protocols=[knn, finetune]"


@pytest.fixture(scope="module")
def run(ntu_shards, tmp_path_factory) -> Path:
    """Stopped in the middle of an epoch, and taken up."""
    out = tmp_path_factory.mktemp("compact") / "run"
    experiment = small(ntu_shards, *SETTINGS, JUDGED)
    with pytest.raises(Stop):
        run_experiment(experiment, out, Listener(stop_after=2))
    results = run_experiment(experiment, out)
    assert {r["protocol"] for r in results["evaluations"]} == {"knn", "finetune"}
    return out


def test_a_run_that_was_taken_up_ends_the_same(run, ntu_shards, tmp_path):
    whole = small(ntu_shards, *SETTINGS, "evaluation.protocols=[]")
    run_experiment(whole, tmp_path / "run")
    files = [(folder / "encoder.safetensors").read_bytes() for folder in (run, tmp_path / "run")]
    assert files[0] == files[1]


def test_features_of_whole_clips_are_those_of_the_probe(run, ntu_shards):
    encoder = load_encoder(run)
    assert (encoder.config.model.registers, encoder.config.model.time) == (3, "rotary")
    dataset = open_dataset(ntu_shards)
    feed = Feed(dataset.arrays(np.arange(12)), torch.device("cpu"), 24)
    expected = encode(encoder.encoder, feed, feed.centre_views(16, 1.0))
    for index in range(len(feed)):
        joints = torch.from_numpy(dataset.clip(index).dense(2))[None]
        torch.testing.assert_close(encoder(joints)[0], expected["mean"][index], atol=1e-5, rtol=1e-4)
        assert encoder.tokens(joints).shape == (1, 2, 6, 25, 16)


def test_a_record_says_so(run):
    records = [json.loads(file.read_text()) for file in (run / "evaluations").glob("*.json")]
    models = [r["subject"]["model"] for r in records if r["subject"]["kind"] != "coordinates"]
    assert {(model["registers"], model["time"]) for model in models} == {(3, "rotary")}


def test_onnx_gives_what_torch_gives(run, tmp_path):
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    export_model(run, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    model = load_encoder(run)
    for count in (1, 2, 7):
        clips = torch.randn(count, 2, 24, 25, 3)
        clips[0, 1] = 0
        clips[-1, 0, 15:] = 0  # leaves before the end
        (ours,) = session.run(None, {"joints": clips.numpy()})
        np.testing.assert_allclose(ours, model(clips).detach(), atol=1e-4)


def test_a_classifier_predicts_and_is_exported(run, ntu_shards, tmp_path):
    (file,) = run.glob("evaluations/finetune-*/classifier.safetensors")
    assert export_model(file, tmp_path / "model.pt2", bodies=1)["difference"] <= 1e-4
    found = predict(file, ntu_shards)
    assert all(float(p.sum()) == pytest.approx(1, abs=1e-4) for p in found.values())
