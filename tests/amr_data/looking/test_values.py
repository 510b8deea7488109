"""What inspect knows, by hand: numbers in the dataset's unit, whatever the recipe, and bodies by their
number."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from amr_cli.data import main
from amr_data import Recipe, UsageError, convert, load_spec, open_dataset
from amr_data.looking.faults import find_faults, kinds_for
from amr_data.looking.inspection import clip_facts, dataset_summary, find_clips
from amr_data.looking.words import clip_rows, summary_charts, summary_rows
from amr_data.viz.scene import clip_scene, front_view
from amr_data.viz.server import make_app
from amr_data.viz.workbench import Workbench

SPINE = 0.5
"""Metres, of the person below."""


def person(x: float) -> np.ndarray:
    """A standing body: every joint at x, the joints of the spine half a metre above each other."""
    joints = np.zeros((25, 3))
    joints[:, 0] = x
    joints[:, 1] = np.linspace(0.1, 0.7, 25)
    joints[:, 2] = 3 + np.linspace(0, 0.2, 25)
    joints[0, 1:] = joints[20, 1:] = 3.0
    joints[20, 1] = joints[0, 1] + SPINE  # spine of kinect_v2: joints 1 and 21 in file order
    return joints


@pytest.fixture(scope="module")
def converted(ntu_file, tmp_path_factory):
    """The same walk as two datasets: 0.3 m in 30 steps of 0.01 m at 30 frames a second, which is 0.3 m/s,
    then 10 steps at rest."""
    folder = tmp_path_factory.mktemp("walk")
    (folder / "raw").mkdir()
    places = [*np.arange(0, 31) * 0.01, *[0.3] * 10]
    frames = [[("1", person(x))] for x in places]
    (folder / "raw" / "S001C001P001R001A001.skeleton").write_bytes(ntu_file(frames))
    convert(folder / "raw", folder / "m", "ntu60", workers=1)
    convert(folder / "raw", folder / "spines", "ntu60", recipe=Recipe("amr", scale=True), workers=1)
    return open_dataset(folder / "m"), open_dataset(folder / "spines")


def test_still_share_and_path_are_those_of_the_walk(converted):
    metres, spines = converted
    assert metres.clips["still_share"][0] == pytest.approx(10 / 40)
    assert spines.clips["still_share"][0] == pytest.approx(10 / 40)
    np.testing.assert_allclose(metres.clips["path_length"][0], 0.3, rtol=1e-4)
    np.testing.assert_allclose(spines.clips["path_length"][0], 0.3 / SPINE, rtol=1e-4)
    assert metres.clip(0).scale == 1
    assert spines.clip(0).scale == pytest.approx(SPINE)


def test_a_joint_s_path_is_not_the_sum_over_joints(converted):
    metres, spines = (clip_facts(dataset, 0) for dataset in converted)
    assert metres["path_length_m"] == pytest.approx(0.3, rel=1e-4)
    assert spines["path_length_spine_lengths"] == pytest.approx(0.6, rel=1e-4)
    assert clip_rows(metres)["path of a joint"] == "0.30 m"
    assert clip_rows(spines)["path of a joint"] == "0.60 spine lengths"
    assert set(metres["joint_path_length_m"]) == set(converted[0].spec.skeleton.joints)


def test_energies_are_in_the_dataset_s_own_unit(converted):
    metres, spines = (dataset_summary(dataset) for dataset in converted)
    assert (metres["length_unit"], spines["length_unit"]) == ("m", "spine_lengths")
    for of_metres, of_spines in zip(
        metres["facts"]["mean_energy"], spines["facts"]["mean_energy"], strict=True
    ):
        assert of_metres["window_frames"] == of_spines["window_frames"]
        larger = of_spines["energy_spine_lengths_squared"] / of_metres["energy_m_squared"]
        assert larger == pytest.approx(1 / SPINE**2, rel=1e-3)
    assert "cm²" in summary_rows(metres)["mean energy"]
    assert "m²" not in summary_rows(spines)["mean energy"]
    assert "spine lengths²" in summary_rows(spines)["mean energy"]
    root = metres["class_energy_root_m"]["1 drink water"]
    assert summary_charts(metres)["motion energy by class (root, mm)"]["1 drink water"] == round(
        root * 1000, 1
    )
    assert spines["class_energy_root_spine_lengths"]["1 drink water"] == pytest.approx(root / SPINE, rel=1e-3)


def test_the_text_says_which_unit_it_is_in(converted):
    for dataset, unit in zip(converted, ("mm", "thousandths of a spine length"), strict=True):
        shown = CliRunner().invoke(main, ["inspect", str(dataset.path), "--clip", "0"])
        assert f"motion energy by joint (root, {unit})" in shown.stdout
    assert " m " not in shown.stdout.replace("frames m ", "")


def sentences(values: object, path: str = "") -> list[str]:
    """Texts that hold a number beside words, apart from names and what is said of a reject."""
    if isinstance(values, dict):
        return [s for k, v in values.items() for s in sentences(v, f"{path}.{k}")]
    if isinstance(values, list):
        return [s for v in values for s in sentences(v, path)]
    named = path.rsplit(".", 1)[-1] in ("name", "class", "source", "path", "title", "dropped", "detail")
    spoken = isinstance(values, str) and " " in values and any(c.isdigit() for c in values)
    return [f"{path}: {values}"] if spoken and not named else []


def test_json_holds_numbers_and_not_sentences(ntu_shards):
    for words in ([], ["--clip", "0"], ["--random", "3"], ["--no-faults"]):
        shown = CliRunner().invoke(main, ["inspect", str(ntu_shards), *words, "--json"])
        assert sentences(json.loads(shown.stdout)) == []


def test_the_share_of_inferred_joints_by_hand(ntu_file, tmp_path):
    """Five of 25 joints of one of four frames are inferred (state 1): 5 of 100."""
    frames = [[("1", person(0.01 * t))] for t in range(4)]
    lines = ntu_file(frames).split(b"\r\n")
    marked = 0
    for number, line in enumerate(lines):
        if line.endswith(b" 0 0 0 0 2") and marked < 5:
            lines[number], marked = line[:-1] + b"1", marked + 1
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "S001C001P001R001A001.skeleton").write_bytes(b"\r\n".join(lines))
    convert(tmp_path / "raw", tmp_path / "out", "ntu60", workers=1)
    dataset = open_dataset(tmp_path / "out")
    assert dataset.clips["inferred_share"][0] == pytest.approx(0.05)
    assert clip_rows(clip_facts(dataset, 0))["inferred joints"] == "5.0%"


@pytest.mark.parametrize("most", [1, 2])
def test_no_more_bodies_than_the_spec_says(ntu_file, tmp_path, most, own_spec):
    """Three people beside each other, the middle one moving most: `max_bodies` of them are kept, she
    first."""
    speeds = {"1": 0.01, "2": 0.03, "3": 0.02}
    frames = [
        [(name, person(place + speed * t)) for place, (name, speed) in enumerate(speeds.items())]
        for t in range(20)
    ]
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "P1A3.skeleton").write_bytes(ntu_file(frames))
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({**own_spec, "max_bodies": most}))
    convert(tmp_path / "raw", tmp_path / "out", str(tmp_path / "mine.yaml"), workers=1)
    dataset = open_dataset(tmp_path / "out")
    clip = dataset.clip(0)
    assert (int(dataset.clips["bodies"][0]), [t.body_id for t in clip.tracks]) == (most, ["2", "3"][:most])
    assert dataset.manifest["body_counts"] == {str(most): 1}


@pytest.fixture(scope="module")
def flat(tmp_path_factory):
    """A person of an image of 100 by 200 pixels: the right hand on the image's left, moving 10 pixels to the
    right in each of 9 steps; one other body is missing in every second stretch of five frames."""
    folder = tmp_path_factory.mktemp("flat")
    joints = load_spec("nw-ucla").skeleton.joints
    keypoint = np.zeros((2, 40, len(joints), 2))
    keypoint[..., 0] = 100
    keypoint[..., 1] = np.linspace(20, 90, len(joints))
    keypoint[:, :10, joints.index("right_hand"), 0] = 40 + 10 * np.arange(10)
    keypoint[:, 10:, joints.index("right_hand"), 0] = 130
    keypoint[1, np.arange(40) // 5 % 2 == 1] = 0
    annotation = {"frame_dir": "a", "label": 0, "keypoint": keypoint, "total_frames": 40}
    with (folder / "flat.pkl").open("wb") as file:
        pickle.dump({"split": {}, "annotations": [{**annotation, "img_shape": (100, 200)}]}, file)
    spec = load_spec("nw-ucla").unlabelled().changed(dimensions=2, max_bodies=2)
    convert(folder / "flat.pkl", folder / "shards", spec, workers=1)
    return open_dataset(folder / "shards")


def test_two_dimensions_are_in_image_heights(flat):
    summary, facts = dataset_summary(flat), clip_facts(flat, 0)
    assert (summary["length_unit"], facts["length_unit"]) == ("image_heights",) * 2
    # 90 pixels of an image of 100, and of the second body the steps within its stretches: 4 of 10 pixels
    assert facts["joint_path_length_image_heights"]["right_hand"] == pytest.approx(0.9 + 0.4)
    assert facts["still_share"] is None
    assert clip_rows(facts)["still frames"] == "not known"
    assert facts["class"] == "no label"
    assert "image heights" in clip_rows(facts)["path of a joint"]


def test_of_two_dimensions_only_what_needs_no_metres_is_looked_for(flat):
    assert set(kinds_for(flat)) == {"upside down", "flicker"}
    assert {fault.kind for fault in find_faults(flat)} <= {"upside down", "flicker"}
    assert "flicker" in {fault.kind for fault in find_faults(flat)}
    with pytest.raises(UsageError, match="'body jump' is not to be seen in two dimensions"):
        find_faults(flat, ("body jump",))
    shown = CliRunner().invoke(main, ["inspect", str(flat.path)])
    assert shown.exit_code == 0, shown.output
    assert "not looked for in two dimensions: swapped bodies, body jump" in shown.stdout


def test_two_dimensions_are_drawn_as_the_image_has_them(flat):
    scene = clip_scene(flat, 0)
    right, _ = front_view(scene.panels[0].joints, scene.up)
    hand, head = (scene.skeleton.index(name) for name in ("right_hand", "head"))
    assert right[0, 0, hand] < right[0, 0, head]  # 40 of 200 pixels, and 100


def test_clips_without_a_label_are_shown_everywhere(ntu_file, tmp_path):
    (tmp_path / "raw").mkdir()
    for name in ("one", "two"):
        frames = [[("1", person(0.01 * t))] for t in range(20)]
        (tmp_path / "raw" / f"{name}.skeleton").write_bytes(ntu_file(frames))
    convert(tmp_path / "raw", tmp_path / "out", load_spec("ntu60").unlabelled(), workers=1)
    dataset = open_dataset(tmp_path / "out")
    assert dataset.clips["label"].tolist() == [-1, -1]
    summary = dataset_summary(dataset)
    assert summary["classes"] == {"no label": 2}
    assert list(summary["class_energy_root_m"]) == ["no label"]
    assert summary_rows(summary)["classes seen"] == "no labels"
    assert clip_facts(dataset, 0)["label"] is None
    assert find_clips(dataset, class_name="no label") == [0, 1]
    for words in ([], ["--html", tmp_path / "all.html"], ["--clip", "one", "--html", tmp_path / "one.html"]):
        shown = CliRunner().invoke(main, ["inspect", str(dataset.path), *map(str, words)])
        assert shown.exit_code == 0, shown.output
        assert "no label" in shown.stdout
    assert "no label" in (tmp_path / "one.html").read_text()
    client = make_app(Workbench(dataset)).test_client()
    found = client.get('/api/rows?q=class:"no label"').get_json()["rows"]
    assert [(row["name"], row["class"]) for row in found] == [("one", "no label"), ("two", "no label")]
    assert client.get("/api/overview").get_json()["classes"] == ["no label"]


def test_clips_are_told_in_a_line(ntu_shards):
    clip = open_dataset(ntu_shards).clip("S002C001P001R001A001")
    assert repr(clip) == f"Clip('S002C001P001R001A001', label=0, {clip.frames} frames, 1 body)"
    track = clip.tracks[0]
    assert len(repr(track)) < 80
    assert f"{len(track.frames)} frames" in repr(track)
