"""Output of pose estimators, in the form that OpenPose and MediaPipe give it, by the built-in specs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from amr_data import convert
from amr_data.errors import UsageError
from amr_data.readers import RawSource
from amr_data.readers.recognising import recognise
from amr_data.readers.stature import odd_axes
from amr_data.shards.reader import ShardDataset
from amr_data.specs import load_skeleton, load_spec
from tests.amr_data.readers.table.people import read

# a person who faces the camera, in metres: x to the person's right, y up, z away from the camera
STANDING = {
    "nose": (0, 1.6, 2.85),
    "shoulder": (0.18, 1.4, 3),
    "elbow": (0.25, 1.1, 3),
    "wrist": (0.25, 0.85, 2.95),
    "hip": (0.1, 0.9, 3),
    "knee": (0.1, 0.5, 3),
    "ankle": (0.1, 0.1, 3),
    "heel": (0.1, 0.05, 3.05),
    "foot_index": (0.1, 0.02, 2.8),
}


def standing(skeleton) -> np.ndarray:
    """(V, 3), every joint of which STANDING does not speak at the nose."""
    out = []
    for joint in skeleton.joints:
        part = next((p for p in STANDING if joint.endswith(p)), "nose")
        x, y, z = STANDING[part]
        out.append((-x if joint.startswith("left") else x, y, z))
    return np.array(out, float)


def write_mediapipe(folder: Path, frames: int = 4) -> np.ndarray:
    """Frames as the pose landmarker's result turns into JSON; returns what should come out, hips at 0."""
    person = standing(load_skeleton("mediapipe_33"))
    person -= person[[23, 24]].mean(axis=0)
    for frame in range(frames):
        landmarks = [
            {"x": -x, "y": -y, "z": z, "visibility": 0.2 if i == 15 else 0.99, "presence": 0.9}
            for i, (x, y, z) in enumerate(person.tolist())
        ]
        result = {"pose_landmarks": [landmarks], "pose_world_landmarks": [] if frame == 1 else [landmarks]}
        (folder / f"wave_{frame:04d}.json").write_text(json.dumps(result))
    return person


def write_openpose(folder: Path, frames: int = 3) -> None:
    for frame in range(frames):
        points = np.stack([np.arange(25) * 10 + 100, np.arange(25) * 20 + 50, np.full(25, 0.8)], axis=1)
        points[3] = 0
        people = [
            {
                "person_id": [-1],
                "pose_keypoints_2d": points.reshape(-1).tolist(),
                "hand_left_keypoints_2d": [],
            }
        ]
        file = {"version": 1.3, "people": people if frame != 1 else []}
        (folder / f"cam1_{frame:012d}_keypoints.json").write_text(json.dumps(file))


def test_mediapipe_world_landmarks_come_out_upright_with_left_on_the_left(tmp_path):
    person = write_mediapipe(tmp_path)
    spec = load_spec("mediapipe")
    (clip,), rejects = read(spec, tmp_path)
    assert rejects == []
    track = clip.tracks[0]
    assert (clip.name, clip.frames, track.frames.tolist()) == ("wave", 4, [0, 2, 3])
    np.testing.assert_allclose(track.joints[0], person, atol=1e-6)
    assert np.argwhere(track.inferred[0]).tolist() == [[15]]  # the left wrist, hardly visible
    assert odd_axes([clip], spec.skeleton) == []


def test_exchanged_sides_and_axes_are_noticed(tmp_path):
    write_mediapipe(tmp_path)
    spec = load_spec("mediapipe")
    for axes, told in ((["x", "-y", "z"], "toes point backwards"), (["-x", "y", "z"], "axis that points up")):
        (clip,), _ = read(spec.changed(layout={**spec.layout, "axes": axes}), tmp_path)
        assert any(told in line for line in odd_axes([clip], spec.skeleton))


def test_openpose_needs_the_size_of_the_images(tmp_path):
    write_openpose(tmp_path)
    with pytest.raises(UsageError, match="--image 1920x1080"):
        convert(tmp_path, tmp_path.parent / "out", "openpose", workers=1)
    report = convert(
        tmp_path, tmp_path.parent / "out", "openpose", recipe="none", workers=1, options={"image": "640x480"}
    )
    assert report.manifest["totals"]["clips"] == 1
    clip = ShardDataset(tmp_path.parent / "out").clip(0)
    assert [t.frames.tolist() for t in clip.tracks] == [[0], [2]]  # a shard cuts a track at its gaps
    track = clip.tracks[0]
    # x 100 of 640, y 50 of 480: from the middle, in image heights, y up
    np.testing.assert_allclose(track.joints[0, 0], [(100 - 320) / 480, (240 - 50) / 480, 0], atol=1e-6)
    # the right elbow was never found, so it stands at the nearest joint, and says so
    skeleton = load_skeleton("openpose_25")
    np.testing.assert_allclose(track.joints[0, 3], track.joints[0, skeleton.index("right_shoulder")])
    spec = load_spec("openpose")
    (clip,), _ = read(spec.changed(layout={**spec.layout, "image": [640, 480]}), tmp_path)
    assert np.argwhere(clip.tracks[0].inferred[0]).tolist() == [[3]]


@pytest.mark.parametrize(("write", "name"), [(write_mediapipe, "mediapipe"), (write_openpose, "openpose")])
def test_estimators_are_recognised_by_names_and_content(tmp_path, write, name):
    write(tmp_path)
    assert recognise(RawSource([tmp_path])).spec.name == name


def test_an_option_for_images_does_not_go_with_metres(tmp_path):
    write_mediapipe(tmp_path)
    with pytest.raises(UsageError, match="not in pixels"):
        convert(tmp_path, tmp_path.parent / "out2", "mediapipe", workers=1, options={"image": "640x480"})
    with pytest.raises(UsageError, match="image"):
        convert(tmp_path, tmp_path.parent / "out2", "openpose", workers=1, options={"image": "640 by 480"})
