"""Synthetic bodies keep their bones, synthetic folders convert, and the pictures show what they should."""

from __future__ import annotations

import numpy as np
import pytest

from amr_data import UsageError, convert, open_dataset
from amr_data.looking.inspection import clip_facts, dataset_summary, find_clips
from amr_data.specs import load_spec
from amr_data.synth.files import BROKEN, synthesize
from amr_data.synth.motion import Subject, perform

NTU = load_spec("ntu60")


def test_bone_lengths_are_fixed_and_differ_between_subjects():
    lengths = []
    for person in (1, 2):
        joints = perform(NTU.skeleton, 7, 0, Subject.draw(person, 0), np.random.default_rng(0))
        bones = np.linalg.norm(np.diff(joints[:, NTU.skeleton.bone_indices], axis=2)[:, :, 0], axis=-1)
        np.testing.assert_allclose(bones, bones[:1].repeat(len(bones), 0), atol=1e-9)
        lengths.append(bones[0])
    assert np.abs(lengths[0] - lengths[1]).max() > 0.005


def test_a_folder_is_found_from_wherever_one_is(tmp_path, monkeypatch):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        synthesize("raw", "ntu60", classes=1, subjects=2, replications=1, broken=0, workers=2)
        assert len(list((tmp_path / name / "raw").glob("*.skeleton"))) == 6


def test_classes_move_different_joints():
    rng = np.random.default_rng(0)
    motion = []
    for action in (1, 2, 3, 4):
        joints = perform(NTU.skeleton, action, 0, Subject.draw(1, 0), rng)
        motion.append(joints.std(axis=0).sum(axis=-1))
    shares = np.array(motion) / np.sum(motion, axis=1, keepdims=True)
    assert np.abs(shares[:, None] - shares[None]).sum(-1)[np.triu_indices(4, 1)].min() > 0.05


def test_ntu_folder(ntu_shards):
    dataset = open_dataset(ntu_shards)
    reasons = dataset.manifest["rejects_by_reason"]
    assert sum(reasons.values()) - reasons.get("listed_unusable", 0) == len(BROKEN)
    assert set(reasons) >= {"truncated", "empty", "not_skeleton", "joint_count", "non_finite", "frame_count"}
    assert len(dataset) + sum(reasons.values()) == 48 + len(BROKEN)
    mutual = np.isin(np.array(dataset.spec.class_ids)[dataset.clips["label"]], dataset.spec.mutual)
    assert (dataset.clips["bodies"][mutual] == 2).all()
    assert {len(dataset.split("xsub", p)) > 10 for p in ("train", "test")} == {True}


@pytest.mark.parametrize("dataset", ["pku-mmd-1", "pku-mmd-2"])
def test_pku_folder(tmp_path, dataset):
    report = synthesize(tmp_path / "raw", dataset, classes=5, subjects=3, replications=1, workers=1)
    assert report.clips == 3 * 5 * 3
    out = convert(tmp_path / "raw", tmp_path / "out", dataset, workers=1)
    assert out.manifest["totals"]["clips"] >= report.clips
    assert sum(out.manifest["rejects_by_reason"].values()) >= len(BROKEN) - 1
    converted = open_dataset(tmp_path / "out")
    assert converted.spec.protocols["xsub"].by == "video"  # the split file in the folder was taken
    assert all(len(converted.split(p, part)) for p in ("xsub", "xview") for part in ("train", "test"))


def test_a_seed_decides_everything(tmp_path):
    texts = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        synthesize(
            tmp_path / name, "ntu60", classes=1, subjects=1, replications=1, broken=0, seed=seed, workers=1
        )
        texts.append([p.read_text() for p in sorted((tmp_path / name).iterdir())])
    assert texts[0] == texts[1]
    assert texts[0] != texts[2]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"dataset": "nw-ucla"}, "nw-ucla"),
        ({"classes": 61}, "1 to 60"),
        ({"subjects": 0}, "subjects"),
        ({"replications": 0}, "replications"),
    ],
)
def test_wrong_settings(tmp_path, options, says):
    with pytest.raises(UsageError, match=says):
        synthesize(tmp_path / "x", **{"dataset": "ntu60", **options})


def test_summary_and_clip_facts(ntu_shards):
    dataset = open_dataset(ntu_shards)
    summary = dataset_summary(dataset)
    assert sum(summary["classes"].values()) == len(dataset)
    assert sum(summary["protocols"]["xsub"].values()) == len(dataset)
    index = find_clips(dataset, ["S*A060"])[0]
    facts = clip_facts(dataset, index)
    assert facts["class"] == "60 walking apart"
    assert list(facts["joint_energy_root_m"]) == dataset.spec.skeleton.joints
    assert find_clips(dataset, [dataset.names[7]]) == find_clips(dataset, ["7"]) == [7]
    for pattern in ("S9*", "100000", "S001C001P001R001A0X1"):
        with pytest.raises(UsageError):
            find_clips(dataset, [pattern])


def test_clips_are_chosen_by_pattern_class_and_chance(ntu_shards):
    dataset = open_dataset(ntu_shards)
    assert find_clips(dataset) == list(range(len(dataset)))
    walking = find_clips(dataset, class_name="walking apart")
    assert walking == find_clips(dataset, class_name="60") == find_clips(dataset, ["*A060"])
    assert find_clips(dataset, ["3", "1", "3"]) == [3, 1]
    drawn = find_clips(dataset, class_name="60", random=5, seed=1)
    assert len(set(drawn)) == 5
    assert set(drawn) <= set(walking)
    assert (
        drawn
        == find_clips(dataset, class_name="60", random=5, seed=1)
        != find_clips(dataset, class_name="60", random=5)
    )
    assert len(find_clips(dataset, random=10_000)) == len(dataset)
    with pytest.raises(UsageError, match="there is no class 'swimming' of NTU RGB\\+D 60"):
        find_clips(dataset, class_name="swimming")
    with pytest.raises(UsageError, match="no such clip"):
        find_clips(dataset, ["*A001"], class_name="60")
    with pytest.raises(UsageError, match="--random is 0"):
        find_clips(dataset, random=0)
