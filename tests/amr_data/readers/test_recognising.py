"""Which dataset is it? From names and content, said aloud; and files of any name, without labels."""

from __future__ import annotations

import json
import pickle
import shutil

import numpy as np
import pytest
from click.testing import CliRunner

from amr_cli.data import main
from amr_data import convert, open_dataset
from amr_data.errors import UsageError
from amr_data.readers import RawSource
from amr_data.readers.recognising import recognise
from amr_data.synth import synthesize


@pytest.mark.parametrize("dataset", ["ntu60", "ntu120", "pku-mmd-1", "pku-mmd-2"])
def test_each_dataset_is_known_by_its_files(tmp_path, dataset):
    synthesize(tmp_path / "raw", dataset, classes=3, subjects=1, replications=1, broken=2, workers=1)
    found = recognise(RawSource([tmp_path / "raw"]))
    assert (found.spec.name, found.labelled) == (dataset, True)


def ntu_folder(tmp_path, *names):
    """One synthetic NTU clip under several names."""
    synthesize(tmp_path / "made", "ntu60", classes=1, subjects=1, replications=1, broken=0, workers=1)
    clip = sorted((tmp_path / "made").glob("*.skeleton"))[0]
    for name in names:
        (tmp_path / "raw" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(clip, tmp_path / "raw" / name)
    return tmp_path / "raw"


def test_names_that_fit_no_dataset_give_clips_without_labels(tmp_path):
    raw = ntu_folder(tmp_path, "my recording.skeleton", "b/take.skeleton", "c/take.skeleton")
    report = convert(raw, tmp_path / "out", workers=1)
    assert report.recognised is not None
    assert not report.recognised.labelled
    dataset = open_dataset(tmp_path / "out")
    assert sorted(dataset.names) == ["b/take", "c/take", "my recording"]
    assert dataset.clips["label"].tolist() == [-1, -1, -1]
    assert dataset.manifest["totals"]["unlabelled"] == 3
    assert dataset.manifest["class_counts"] == {}
    assert dataset.clip(0).label == -1


def test_unlabelled_takes_any_name_and_ending(tmp_path):
    raw = ntu_folder(tmp_path, "S001C001P001R001A001.skeleton", "take.txt", "a/b.dat", "a/b.skel")
    (raw / "notes.md").write_text("# notes")
    report = convert(raw, tmp_path / "out", "ntu60", unlabelled=True, workers=1)
    names = sorted(open_dataset(report.path).names)
    assert names == ["S001C001P001R001A001.skeleton", "a/b.dat", "a/b.skel", "take.txt"]
    assert report.manifest["totals"]["rejects"] == 0


def test_a_pku_video_without_labels_is_one_clip(tmp_path):
    synthesize(tmp_path / "raw", "pku-mmd-2", classes=2, subjects=1, replications=1, broken=0, workers=1)
    shutil.rmtree(tmp_path / "raw" / "label")
    report = convert(tmp_path / "raw", tmp_path / "out", "pku-mmd-2", unlabelled=True, workers=1)
    dataset = open_dataset(report.path)
    assert len(dataset) == 3
    lines = [len(p.read_text().splitlines()) for p in sorted((tmp_path / "raw/skeleton").glob("*.txt"))]
    assert dataset.clips["frames"].tolist() == lines


def test_pyskl_files_are_known_by_the_names_in_them(tmp_path):
    joints = np.random.default_rng(0).normal(size=(1, 20, 25, 3)).astype(np.float32)
    names = ["S001C001P001R001A003", "S001C002P003R001A004"]
    annotations = [
        {"frame_dir": n, "label": int(n[-3:]) - 1, "keypoint": joints, "total_frames": 20} for n in names
    ]
    split = {"xsub_train": names[:1], "xsub_val": names[1:]}
    (tmp_path / "clips.pkl").write_bytes(pickle.dumps({"split": split, "annotations": annotations}))
    report = convert(tmp_path / "clips.pkl", tmp_path / "out")
    assert report.manifest["spec"]["name"] == "ntu60"
    assert report.manifest["recipe"]["name"] == "none"
    assert report.manifest["totals"]["clips"] == 2


def test_what_nobody_knows_is_said(tmp_path):
    (tmp_path / "raw").mkdir()
    with pytest.raises(UsageError, match="no file in it"):
        recognise(RawSource([tmp_path / "raw"]))
    (tmp_path / "raw" / "song.mp3").write_bytes(b"ID3" * 100)
    with pytest.raises(UsageError, match=r"1 with \.mp3 ending; the first is song\.mp3.*--spec"):
        recognise(RawSource([tmp_path / "raw"]))


def test_convert_says_what_it_took_and_how_the_splits_come_out(tmp_path):
    raw = tmp_path / "raw"
    synthesize(raw, "ntu60", classes=2, subjects=2, replications=1, broken=0, workers=1)
    said = CliRunner().invoke(main, ["convert", str(raw), str(tmp_path / "out"), "--workers", "1"])
    assert said.exit_code == 0, said.output
    words = " ".join(said.output.split())
    assert "12 of 12 file names fit" in words
    assert "xsub 6 6 0" in words
    told = CliRunner().invoke(main, ["convert", str(raw), str(tmp_path / "out"), "--json"])
    assert json.loads(told.stdout)["splits"]["xsub"] == {"train": 6, "test": 6, "unassigned": 0}


def test_a_wrong_name_is_answered_with_an_example(tmp_path):
    raw = ntu_folder(tmp_path, "walk.skeleton")
    said = CliRunner().invoke(main, ["convert", str(raw), str(tmp_path / "out"), "--dataset", "ntu60"])
    assert said.exit_code == 1
    assert "a name like S001C001P001R001A001" in " ".join(said.output.split())
    assert "(?P" not in said.output
    assert "--unlabelled" in said.stderr


def test_frame_base_belongs_to_pku(tmp_path):
    raw = ntu_folder(tmp_path, "S001C001P001R001A001.skeleton")
    words = ["convert", str(raw), str(tmp_path / "out"), "--frame-base", "1"]
    said = CliRunner().invoke(main, words)
    assert (said.exit_code, "frame-base is no option of NTU" in said.stderr) == (2, True)


def test_another_projects_file_of_nobodys_names_is_not_taken_for_anybodys(tmp_path):
    for joints in (17, 25):
        keypoint = np.random.default_rng(0).normal(size=(1, 20, joints, 3)).astype(np.float32)
        annotations = [{"frame_dir": "mine", "label": 0, "keypoint": keypoint}]
        (tmp_path / "mine.pkl").write_bytes(pickle.dumps({"annotations": annotations}))
        with pytest.raises(UsageError, match="whose skeleton it is; say it with --dataset"):
            convert(tmp_path / "mine.pkl", tmp_path / "out")
    np.savez(tmp_path / "mine.npz", x_train=np.ones((2, 5, 150), np.float32))
    with pytest.raises(UsageError, match="whose skeleton it is"):
        convert(tmp_path / "mine.npz", tmp_path / "out")


def test_a_stray_file_does_not_make_another_dataset(tmp_path):
    names = [f"S001C001P001R00{r}A0{a:02d}.skeleton" for r in range(1, 5) for a in range(1, 51)]
    raw = ntu_folder(tmp_path, *names, "S001C001P001R001A119.skeleton")
    assert recognise(RawSource([raw])).spec.name == "ntu60"
    for a in range(61, 70):
        shutil.copy(raw / names[0], raw / f"S001C001P001R001A0{a}.skeleton")
    assert recognise(RawSource([raw])).spec.name == "ntu120"


def test_a_pickle_of_another_skeleton_is_not_taken_for_a_dataset_of_its_names(tmp_path):
    joints = np.ones((1, 5, 17, 2), np.float16)
    clip = {"frame_dir": "S001C001P001R001A003", "label": 2, "keypoint": joints, "total_frames": 5}
    (tmp_path / "hrnet.pkl").write_bytes(pickle.dumps({"annotations": [clip]}))
    with pytest.raises(UsageError, match="say it with --dataset NAME"):
        recognise(RawSource([tmp_path / "hrnet.pkl"]))
