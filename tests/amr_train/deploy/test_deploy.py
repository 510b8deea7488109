"""Features as files, labels for raw files, models for other runtimes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from pyarrow import parquet

from amr_cli.train import main
from amr_data import AmrError, SplitArrays, UsageError, convert, open_dataset
from amr_train import embed, evaluate, load_encoder, predict, run_experiment
from amr_train.config import EvaluationConfig, FinetuneConfig
from amr_train.data.feed import Feed
from amr_train.deploy.export import export_model
from amr_train.evaluation.classifier import load_classifier
from amr_train.evaluation.features import encode
from tests.amr_train.runs import small


def call(*words: object) -> Result:
    return CliRunner().invoke(main, [str(w) for w in words])


@pytest.fixture(scope="module")
def run(ntu_shards, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("deploy") / "run"
    run_experiment(small(ntu_shards, "pretrain.epochs=2"), out)
    return out


@pytest.fixture(scope="module")
def classifier(run, ntu_shards) -> Path:
    finetune = FinetuneConfig(epochs=15, warmup_epochs=1, batch_size=8, lr=3e-3, hidden=32, drop_path=0)
    out = run.parent / "finetuned"
    evaluate(run, ntu_shards, "xsub", "finetune", EvaluationConfig(finetune=finetune), folder=out)
    (file,) = out.glob("evaluations/finetune-*/classifier.safetensors")
    return file


@pytest.mark.parametrize("ending", ["h5", "parquet"])
def test_features_of_every_clip_with_names_and_labels(run, ntu_shards, tmp_path, ending):
    out = tmp_path / f"features.{ending}"
    done = call("embed", run, ntu_shards, "-o", out, "--json")
    assert done.exit_code == 0, done.output
    dataset = open_dataset(ntu_shards)
    assert json.loads(done.stdout) == {"file": str(out), "clips": len(dataset), "width": 16}
    if ending == "h5":
        with h5py.File(out) as file:
            features, labels = file["features"][:], file["labels"][:].tolist()
            names = [n.decode() for n in file["names"][:]]
            assert file.attrs["dataset"] == "ntu60"
            assert json.loads(file.attrs["classes"])[0] == dataset.spec.class_names[0]
    else:
        table = parquet.read_table(out)
        names, labels = table["name"].to_pylist(), table["label"].to_pylist()
        features = np.stack(table["features"].to_pylist())
        assert json.loads(table.schema.metadata[b"about"])["dataset"] == "ntu60"
    assert names == dataset.names
    expected, _ = embed(run, ntu_shards)
    np.testing.assert_array_equal(features, expected)
    clip = dataset.clip(names[5])
    assert labels[5] == clip.label
    whole = load_encoder(run)(torch.from_numpy(clip.dense())[None]).detach()
    uncropped, _ = embed(run, ntu_shards, crop=1.0)
    np.testing.assert_allclose(uncropped[5], whole[0], atol=1e-5)
    assert call("embed", run, ntu_shards, "-o", tmp_path / "x.csv").exit_code == 2


def test_raw_files_are_labelled_like_the_converted_ones(classifier, ntu_raw, ntu_shards, tmp_path):
    expected = predict(classifier, ntu_shards)
    dataset = open_dataset(ntu_shards)
    names = dataset.names[:3]
    files = [next(ntu_raw.rglob(f"{name}.skeleton")) for name in names]
    one = json.loads(call("predict", classifier, files[0], "--json").stdout)["clips"]
    assert [clip["name"] for clip in one] == names[:1]
    for top in one[0]["classes"]:
        assert top["probability"] == pytest.approx(float(expected[names[0]][top["label"]]), abs=1e-6)
        assert top["class"] == dataset.spec.class_names[top["label"]]
    folder = tmp_path / "raw"
    folder.mkdir()
    for file in files:
        shutil.copy(file, folder)
    (folder / "S001C001P001R001A001.skeleton").write_text("not a skeleton")
    several = call("predict", classifier, folder)
    assert several.exit_code == 0, several.output
    for name in names:
        assert f"{name}.skeleton" in several.stdout
    assert "S001C001P001R001A001.skeleton: not_skeleton" in several.stderr
    right = sum(int(expected[n].argmax()) == dataset.clip(n).label for n in dataset.names) / len(dataset)
    assert right > 0.5  # of four classes; it was trained on most of them
    shards = call("predict", classifier, ntu_shards, "--top", 1, "--json")
    assert len(json.loads(shards.stdout)["clips"]) == len(dataset)


def test_files_of_any_name_ending_and_place_are_predicted(classifier, ntu_raw, ntu_shards, tmp_path):
    expected = predict(classifier, ntu_shards)
    names = open_dataset(ntu_shards).names[:2]
    places = [tmp_path / "a" / "my take.skeleton", tmp_path / "b" / "my take.skeleton", tmp_path / "x.txt"]
    for place, name in zip(places, [*names, names[0]], strict=True):
        place.parent.mkdir(exist_ok=True)
        shutil.copy(next(ntu_raw.rglob(f"{name}.skeleton")), place)
    for words in (places, [tmp_path]):  # as files, and as the folder that holds them
        said = call("predict", classifier, *words, "--json")
        assert said.exit_code == 0, said.output
        rows = {row["path"]: row for row in json.loads(said.stdout)["clips"]}
        assert set(rows) == {str(p) for p in places}
        for place, name in zip(places, [*names, names[0]], strict=True):
            row = rows[str(place)]
            assert row["probability"] == pytest.approx(float(expected[name].max()), abs=1e-6)
            assert row["label"] == int(expected[name].argmax())
            assert len(row["classes"]) == 3
            assert row["stop_frame"] / 30 == pytest.approx(row["stop_s"], abs=1e-3)
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path / "a")
    (row,) = json.loads(call("predict", classifier, archive, "--json").stdout)["clips"]
    assert row["path"] == f"{archive}/my take.skeleton"
    said = call("predict", classifier, archive)
    assert said.stderr.splitlines() == ["reading packed.zip", "classes"]


def test_options_of_a_raw_family_reach_the_conversion(classifier, tmp_path):
    people = [{"pose_keypoints_2d": [400.0, 300.0, 0.9] * 25}]
    for frame in range(3):
        (tmp_path / f"a_{frame:012d}_keypoints.json").write_text(json.dumps({"people": people}))
    told = call("predict", classifier, tmp_path)
    assert "--image 1920x1080" in " ".join(told.stderr.split())
    said = call("predict", classifier, tmp_path, "--image", "1280x720")
    assert said.exit_code == 2
    assert "knows the joints of kinect_v2, and OpenPose keypoints is in openpose_25" in said.stderr


def test_nothing_to_predict_is_a_failure(classifier, tmp_path):
    (tmp_path / "x.skeleton").write_text("not a skeleton")
    said = call("predict", classifier, tmp_path / "x.skeleton")
    told = " ".join(said.stderr.split())
    assert (said.exit_code, "no clip came out" in told) == (1, True)
    assert "have another layout, say which: --dataset NAME or --spec FILE.yaml" in told
    (tmp_path / "x.skeleton").rename(tmp_path / "x.docx")
    said = call("predict", classifier, tmp_path / "x.docx")
    told = " ".join(said.stderr.split())
    assert (said.exit_code, "--spec FILE.yaml" in told) == (2, True)
    said = call("predict", classifier, tmp_path / "x.docx", "--dataset", "ntu60")
    assert (said.exit_code, "--spec FILE.yaml" in said.stderr) == (2, False)


def test_clips_that_were_cleaned_otherwise_are_refused(classifier, ntu_raw, tmp_path):
    convert(ntu_raw, tmp_path / "shards", "ntu60", recipe="none", scale=True, workers=1)
    said = call("predict", classifier, tmp_path / "shards")
    assert said.exit_code == 2
    assert "name none, scale True" in said.stderr
    assert "name amr, scale False" in said.stderr


def test_clips_without_labels_train_embed_and_predict(run, classifier, ntu_raw, tmp_path):
    convert(ntu_raw, tmp_path / "shards", "ntu60", unlabelled=True, workers=1)
    settings = [
        "data.dataset=ntu60",
        "pretrain.epochs=1",
        "pretrain.warmup_epochs=0",
        "data.split=all",
        "evaluation.protocols=[]",
    ]
    words = ["run", "demo", "--data", tmp_path / "shards", "--out", tmp_path / "run"]
    words += [w for setting in settings for w in ("--set", setting)]
    judged = call(*words[:-2])
    assert (judged.exit_code, "no labelled train clip in the split all" in judged.stderr) == (2, True), (
        judged.output
    )
    trained = call(*words)
    assert trained.exit_code == 0, trained.output
    assert load_encoder(tmp_path / "run").config.split == "all"
    embedded = call("embed", tmp_path / "run", tmp_path / "shards", "-o", tmp_path / "f.parquet", "--json")
    assert json.loads(embedded.stdout)["clips"] == 48
    predicted = json.loads(call("predict", classifier, tmp_path / "shards", "--json").stdout)["clips"]
    assert len(predicted) == 48


@pytest.mark.parametrize("kind", ["encoder", "classifier"])
def test_onnx_gives_what_torch_gives_for_any_number_of_clips(run, classifier, tmp_path, kind):
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    source = run if kind == "encoder" else classifier
    done = call("export", source, "-o", tmp_path / "model.onnx", "--json")
    assert done.exit_code == 0, done.output
    made = json.loads(done.stdout)
    assert made["input"] == ["batch", 2, 24, 25, 3]
    assert made["difference"] <= 1e-4
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    model = load_encoder(run) if kind == "encoder" else load_classifier(classifier)
    for count in (1, 2, 7):
        clips = torch.randn(count, 2, 24, 25, 3)
        clips[0, 1] = 0
        clips[-1, 0, 15:] = 0  # leaves before the end
        (ours,) = session.run(None, {"joints": clips.numpy()})
        np.testing.assert_allclose(ours, model(clips).detach(), atol=1e-4)


def test_bodies_of_unequal_length_are_seen_alike_by_feed_module_and_onnx(run, ntu_shards, tmp_path):
    """Clips of as many frames as the encoder takes, the second body there in a part of them, with a gap."""
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    arrays = random_arrays(24, [[24], [24, 9], [15, 24], [24, 6, 3]], [[0], [0, 7], [4, 0], [0, 2, 20]])
    encoder = load_encoder(run)
    feed = Feed(arrays, torch.device("cpu"), 24)
    expected = encode(encoder.encoder, feed, feed.centre_views(8, 1.0))["mean"]
    dense = torch.from_numpy(dense_of(arrays, 2))
    torch.testing.assert_close(encoder(dense), expected, atol=1e-5, rtol=1e-5)
    assert call("export", run, "-o", tmp_path / "e.onnx").exit_code == 0
    session = onnxruntime.InferenceSession(str(tmp_path / "e.onnx"), providers=["CPUExecutionProvider"])
    (theirs,) = session.run(None, {"joints": dense.numpy()})
    np.testing.assert_allclose(theirs, expected, atol=1e-5)


def random_arrays(frames: int, lengths: list[list[int]], begins: list[list[int]]) -> SplitArrays:
    """Random clips; a third stretch belongs to the second body, after a gap."""
    flat = [n for clip in lengths for n in clip]
    starts = [b for clip in begins for b in clip]
    frame = np.concatenate([np.arange(n) + b for n, b in zip(flat, starts, strict=True)])
    bodies = [[clip[0], *([sum(clip[1:])] if clip[1:] else [])] for clip in lengths]
    rows = np.array([n for clip in bodies for n in clip])
    joints = np.random.default_rng(0).normal(size=(len(frame), 25, 3)).astype(np.float32)
    owner = np.repeat(np.arange(len(bodies)), [len(b) for b in bodies])
    energy = np.zeros((len(frame), 25, 3), np.float32)
    names = [f"c{i}" for i in range(len(bodies))]
    whole = np.full(len(bodies), frames)
    return SplitArrays(
        joints,
        energy,
        frame,
        np.cumsum(rows) - rows,
        rows,
        owner,
        np.zeros(len(bodies), np.int64),
        names,
        whole,
    )


def dense_of(arrays: SplitArrays, bodies: int) -> np.ndarray:
    out = np.zeros((len(arrays.names), bodies, int(arrays.clip_frames[0]), 25, 3), np.float32)
    slot = 0
    for q, (first, rows, clip) in enumerate(zip(arrays.first_row, arrays.rows, arrays.clip, strict=True)):
        slot = slot + 1 if q and arrays.clip[q - 1] == clip else 0
        here = slice(first, first + rows)
        out[clip, slot, arrays.frame[here]] = arrays.joints[here]
    return out


def test_torch_export_is_checked_too(run, tmp_path):
    made = export_model(run / "encoder.safetensors", tmp_path / "encoder.pt2", bodies=1)
    assert made["input"] == ["batch", 1, 24, 25, 3]
    program = torch.export.load(tmp_path / "encoder.pt2").module()
    clips = torch.randn(5, 1, 24, 25, 3)
    torch.testing.assert_close(program(clips), load_encoder(run)(clips), atol=1e-4, rtol=0)


def test_a_model_that_differs_is_not_written(run, tmp_path, monkeypatch):
    from amr_train.deploy import export as deploy

    monkeypatch.setattr(deploy, "_exported", lambda path, clips: torch.full((len(clips), 16), 9.0))
    with pytest.raises(AmrError, match="differs from the original"):
        export_model(run, tmp_path / "encoder.pt2")
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_classifier_is_refused(run, classifier, tmp_path, ntu_shards):
    with pytest.raises(UsageError, match="no classifier at"):
        load_classifier(tmp_path / "x.safetensors")
    with pytest.raises(UsageError, match="is no classifier"):
        load_classifier(run / "encoder.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(classifier.read_bytes()[:400])
    with pytest.raises(AmrError, match="not a classifier that can be read"):
        load_classifier(tmp_path / "cut.safetensors")
    with pytest.raises(UsageError, match=r"\.onnx or \.pt2"):
        export_model(run, tmp_path / "model.bin")
    assert call("predict", classifier, tmp_path / "nothing").exit_code == 2
