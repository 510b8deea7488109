"""Late fusion: from kept scores and features by a second way, and what may not be fused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from amr_cli.train import main
from amr_data import UsageError, open_dataset
from amr_train import embed, run_experiment
from amr_train.evaluation.kept import keep_scores, kept_scores, scores_file
from amr_train.evaluation.records import records_in
from amr_train.experiments.fusing import fuse
from amr_train.report.collect import find_runs
from amr_train.report.pivot import sections_of
from amr_train.report.tables import rows_of
from tests.amr_train.runs import Listener, small


@pytest.fixture(scope="module")
def runs(ntu_shards, tmp_path_factory) -> dict[str, Path]:
    """One of joints and one of bones, with two seeds of each."""
    out = tmp_path_factory.mktemp("streams")
    found = {}
    for stream in ("joint", "bone"):
        for seed in (0, 1):
            words = [f"input.stream={stream}", "guidance.source=online", f"seed={seed}"]
            found[f"{stream}{seed}"] = out / f"{stream}-{seed}"
            run_experiment(small(ntu_shards, *words), found[f"{stream}{seed}"])
    return found


def scores_of(run: Path, pooling: str) -> np.ndarray:
    """The linear probe's softmax scores of a run's encoder, as its file has them."""
    (record,) = [r for r in records_in(run) if (r["protocol"], r["subject"]["kind"]) == ("linear", "encoder")]
    for path in (run / "evaluations").glob("linear-*.npz"):
        made = json.loads(path.with_suffix(".json").read_text())
        if made["subject"]["digest"] == record["subject"]["digest"]:
            logits = np.load(path, allow_pickle=False)[pooling].astype(np.float64)
            assert len(logits) == record["clips"]["test"]
            right = 100 * (logits.argmax(1) == labels_of(record)).mean()
            assert right == pytest.approx(record["figures"][f"linear {pooling}"])
            weights = np.exp(logits - logits.max(1, keepdims=True))
            return weights / weights.sum(1, keepdims=True)
    raise AssertionError("no scores")


def labels_of(record: dict) -> np.ndarray:
    dataset = open_dataset(record["data"]["path"])
    return dataset.clips["label"][dataset.split("xsub", "test")]


def test_scores_are_summed_and_features_stand_side_by_side(runs, ntu_shards, tmp_path):
    linear, knn = fuse([runs["joint0"], runs["bone0"]], out=tmp_path / "both")[0]
    dataset = open_dataset(ntu_shards)
    train, test = (dataset.split("xsub", part) for part in ("train", "test"))
    labels = dataset.clips["label"]
    for pooling in ("mean", "joints"):
        summed = scores_of(runs["joint0"], pooling) + scores_of(runs["bone0"], pooling)
        assert linear["figures"][f"linear {pooling}"] == pytest.approx(
            100 * (summed.argmax(1) == labels[test]).mean()
        )
        made = [
            embed(runs[name], ntu_shards, device="cpu", pooling=pooling)[0] for name in ("joint0", "bone0")
        ]
        both = np.hstack([one / np.linalg.norm(one, axis=1, keepdims=True) for one in made])
        nearest = train[(both[test] @ both[train].T).argmax(1)]
        assert knn["figures"][f"kNN {pooling}"] == pytest.approx(
            100 * (labels[nearest] == labels[test]).mean()
        )
    assert linear["subject"]["name"] == "joint + bone"
    alone = [r for r in records_in(runs["joint0"]) if r["subject"]["kind"] == "encoder"]
    assert alone[0]["clip_gflops"] == 2 * alone[0]["body_gflops"]  # NTU's clips have up to two bodies
    assert linear["body_gflops"] == alone[0]["clip_gflops"]  # two encoders
    assert len(list(records_in(tmp_path / "both"))) == 2  # read again as results


def test_seeds_of_a_fusion_share_a_row(runs):
    folder = runs["joint0"].parent
    for seed in (0, 1):
        words = ["fuse", str(runs[f"joint{seed}"]), str(runs[f"bone{seed}"]), "--protocol", "knn"]
        done = CliRunner().invoke(main, words)
        assert done.exit_code == 0, done.output
        assert "joint + bone" in done.output
    assert (folder / "joint+bone-0" / "evaluations").is_dir()
    rows = [row for row in rows_of(find_runs([folder], print)) if row["experiment"] == "joint + bone"]
    assert [(row["figure"], row["seeds"]) for row in rows] == [("kNN mean", [0, 1]), ("kNN joints", [0, 1])]
    (section,) = sections_of(rows_of(find_runs([folder], print)))
    assert section.lines[-1].label == "joint + bone"


def test_what_was_not_judged_alike_is_refused(runs, ntu_shards, tmp_path):
    with pytest.raises(UsageError, match="seed 1 instead of 0"):
        fuse([runs["joint0"], runs["bone1"]], out=tmp_path)
    with pytest.raises(UsageError, match="two runs or more"):
        fuse([runs["joint0"], runs["joint0"]], out=tmp_path)
    with pytest.raises(UsageError, match="finetune cannot be fused"):
        fuse([runs["joint0"], runs["bone0"]], ["finetune"], out=tmp_path)
    held = tmp_path / "held"
    words = ("evaluation.part=validation", "guidance.source=online", "input.stream=bone")
    run_experiment(small(ntu_shards, *words, "evaluation.protocols=[]"), held)
    with pytest.raises(UsageError, match="part validation instead of test"):
        fuse([runs["joint0"], held], ["knn"], out=tmp_path / "out")
    lost = tmp_path / "lost"
    shutil.copytree(runs["bone0"], lost)
    for file in (lost / "evaluations").glob("*.npz"):
        file.write_bytes(b"PK")
    with pytest.raises(UsageError, match=r"no scores are kept beside .*remove it"):
        fuse([runs["joint0"], lost], ["linear"], out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_of_subjects_each_has_the_scores_and_neighbours_of_the_others(runs, ntu_shards, tmp_path):
    """Were the neighbours of a clip not those of other people alone, each clip would be its own."""
    for name in ("joint0", "bone0"):
        shutil.copytree(runs[name], tmp_path / name)
        record = json.loads((tmp_path / name / "run.json").read_text())
        record["experiment"]["evaluation"]["part"] = "subjects"
        (tmp_path / name / "run.json").write_text(json.dumps(record))
    found, _ = fuse([tmp_path / "joint0", tmp_path / "bone0"], ["knn", "logistic"], tmp_path / "both")
    dataset = open_dataset(ntu_shards)
    train = dataset.split("xsub", "train")
    labels, people = dataset.clips["label"][train], dataset.clips["subject"][train]
    made = [embed(runs[name], ntu_shards, device="cpu")[0][train] for name in ("joint0", "bone0")]
    both = np.hstack([one / np.linalg.norm(one, axis=1, keepdims=True) for one in made])
    near = np.where(people[:, None] == people, -np.inf, both @ both.T)
    nearest = 100 * (labels[near.argmax(1)] == labels).mean()
    assert [record["part"] for record in found] == ["subjects"] * 2
    assert found[0]["figures"]["kNN mean"] == pytest.approx(nearest)
    summed = 0.0
    for name in ("joint0", "bone0"):
        (record,) = [
            r
            for r in records_in(tmp_path / name)
            if (r["protocol"], r["subject"]["kind"], r["part"]) == ("logistic", "encoder", "subjects")
        ]
        names = [dataset.names[i] for i in train]
        scores = kept_scores(scores_file(tmp_path / name, record), names, len(dataset.spec.classes))
        right = 100 * (scores["mean"].argmax(1).numpy() == labels).mean()
        assert record["figures"]["logistic mean"] == pytest.approx(right)
        summed = summed + scores["mean"].softmax(1).numpy()
    assert found[1]["figures"]["logistic mean"] == pytest.approx(100 * (summed.argmax(1) == labels).mean())


def test_one_encoder_by_two_paths_is_no_fusion(runs, tmp_path):
    shutil.copytree(runs["joint0"], tmp_path / "copy")
    for other in (tmp_path / "copy", runs["joint0"] / "encoder.safetensors"):
        with pytest.raises(UsageError, match="are the same encoder: give each once"):
            fuse([runs["joint0"], runs["bone0"], other], ["knn"], out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_encoder_files_alone_have_no_scores_to_fuse(runs, ntu_shards, tmp_path):
    for name in ("joint", "bone"):
        shutil.copy(runs[f"{name}0"] / "encoder.safetensors", tmp_path / f"{name}.safetensors")
    files = [tmp_path / "joint.safetensors", tmp_path / "bone.safetensors"]
    with pytest.raises(UsageError, match=r"joint.safetensors lies in no run's folder.*--protocol knn"):
        fuse(files, ["knn", "linear"], data=ntu_shards, split="xsub")
    (record,), folder = fuse(files, ["knn"], data=ntu_shards, split="xsub")
    assert folder == tmp_path / "joint+bone-0"
    (of_runs,), _ = fuse([runs["joint0"], runs["bone0"]], ["knn"], out=tmp_path / "out")
    assert record["figures"] == of_runs["figures"]


def test_results_lie_beside_the_first_run_however_it_is_spelt(runs, tmp_path, monkeypatch):
    for name in ("joint0", "bone0"):
        shutil.copytree(runs[name], tmp_path / name)
    monkeypatch.chdir(tmp_path / "joint0")
    checkpoint = next((tmp_path / "joint0" / "checkpoints").iterdir())
    for first in (".", "../joint0", checkpoint):
        assert fuse([first, "../bone0"], ["knn"])[1].resolve() == tmp_path / "joint+bone-0"
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file" / "beneath"):
        with pytest.raises(UsageError, match=r"file is a file: results are kept in a folder"):
            fuse([".", "../bone0"], ["knn"], out=out)


def test_a_fusion_with_an_unfinished_encoder_says_so(ntu_shards, runs, tmp_path):
    words = ("input.stream=bone", "guidance.source=online", "monitor.milestone_epochs=1")
    run_experiment(small(ntu_shards, *words, "evaluation.protocols=[]"), tmp_path / "bone")
    listener, milestone = Listener(), min((tmp_path / "bone" / "milestones").iterdir())
    fuse([runs["joint0"], milestone], ["knn"], tmp_path / "early", listener)
    assert listener.lines == [f"{milestone}: epoch 1 of 4"]
    rows = rows_of(find_runs([tmp_path / "early"], print))
    assert {(row["experiment"], row["epoch"]) for row in rows} == {
        ("joint + bone (epoch 1 of 4)", "epoch 1 of 4")
    }


@pytest.mark.parametrize("how", ["of another pooling", "infinite", "of another training"])
def test_scores_that_are_not_those_of_their_result_are_refused(runs, tmp_path, how):
    odd = tmp_path / "odd"
    shutil.copytree(runs["bone0"], odd)
    for file in (odd / "evaluations").glob("linear-*.npz"):
        with np.load(file, allow_pickle=False) as kept:
            arrays = {name: kept[name] for name in kept.files}
        if "mean" not in arrays:  # of the coordinates
            continue
        if how == "of another pooling":
            arrays["means"] = arrays.pop("mean")
        else:
            arrays["mean"] = np.full_like(arrays["mean"], np.inf) if how == "infinite" else -arrays["mean"]
        np.savez(file, **arrays)
    with pytest.raises(UsageError, match=r"not those of its linear mean: remove it"):
        fuse([runs["joint0"], odd], ["linear"], out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_scores_are_believed_of_their_own_clips_alone(tmp_path):
    import torch

    scores, names, file = {"mean": torch.rand(3, 2)}, ["a", "b", "c"], tmp_path / "s.npz"
    keep_scores(file, scores, names)
    found = kept_scores(file, names, 2)
    assert found is not None
    assert torch.equal(found["mean"], scores["mean"])
    assert kept_scores(file, ["a", "c", "b"], 2) is None
    assert kept_scores(file, names, 3) is None
    np.savez(file, clips=np.array(["x"], object), mean=np.zeros((3, 2), np.float32))  # a pickle inside
    assert kept_scores(file, names, 2) is None
    assert kept_scores(tmp_path / "none.npz", names, 2) is None
    np.save(tmp_path / "alone.npy", np.zeros((3, 2), np.float32))  # an array, and no archive of some
    assert kept_scores(tmp_path / "alone.npy", names, 2) is None
