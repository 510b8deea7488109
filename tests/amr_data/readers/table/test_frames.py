"""Frame numbers, time stamps, absent joints and gaps."""

from __future__ import annotations

import numpy as np
import pytest

from amr_data.readers.table.bodies import bone_steps, filled
from amr_data.specs import load_skeleton
from tests.amr_data.readers.table.people import JOINTS, PERSON, moving, only, read, stick, text

HAND = JOINTS.index("right_hand")


def numbered(folder, numbers) -> None:
    (folder / "a.csv").write_text(text(np.c_[numbers, moving(len(numbers)).reshape(len(numbers), -1)]))


def test_gaps_in_a_frame_column_stay_gaps(tmp_path):
    numbered(tmp_path, [7, 8, 11])
    clip = only(stick({"frame": 0}), tmp_path)
    assert (clip.start, clip.frames, clip.tracks[0].frames.tolist()) == (7, 5, [0, 1, 4])


@pytest.mark.parametrize(
    ("numbers", "told"),
    [
        ([1, 3, 2], "frame 2 comes after frame 3"),
        ([1, 2, 2], "frame 2 stands twice"),
        ([1, 2.5, 3], "row 2 has 2.5 for a frame number"),
        ([1, 2, 10**9], "over 4,194,304 frames"),
        ([1, 2, 1e30], "for a frame number"),
    ],
)
def test_frame_numbers_that_cannot_be(tmp_path, numbers, told):
    numbered(tmp_path, numbers)
    clips, (reject,) = read(stick({"frame": 0}), tmp_path)
    assert clips == []
    assert told in reject.detail


def test_repeated_frames_are_kept_once_where_the_spec_says_so(tmp_path):
    numbered(tmp_path, [1, 2, 2, 2, 4])
    first = only(stick({"frame": 0, "repeated_frames": "first"}), tmp_path)
    assert first.tracks[0].frames.tolist() == [0, 1, 3]
    assert first.dropped == ["2 repeated frames, the first of each kept"]
    np.testing.assert_allclose(first.tracks[0].joints[:, HAND, 1], [0.9, 0.91, 0.94], atol=1e-6)
    last = only(stick({"frame": 0, "repeated_frames": "last"}), tmp_path)
    np.testing.assert_allclose(last.tracks[0].joints[:, HAND, 1], [0.9, 0.93, 0.94], atol=1e-6)


def test_numbers_in_steps_are_neighbours_and_what_is_left_out_stays_a_gap(tmp_path):
    # every second frame was kept, from 252 on; 258 is missing; 263 falls to 262 and is the second there
    numbered(tmp_path, [252, 254, 256, 260, 262, 263, 264])
    clip = only(stick({"frame": 0, "frame_step": 2}), tmp_path)
    assert (clip.start, clip.frames, clip.tracks[0].frames.tolist()) == (126, 7, [0, 1, 2, 4, 5, 6])
    said = "1 frames with numbers of their own fall onto others by frame_step 2, the first of each kept"
    assert clip.dropped == [said]


@pytest.mark.parametrize(("end", "frames"), [("inclusive", 3), ("exclusive", 2)])
def test_intervals_are_in_the_numbers_of_the_file(tmp_path, end, frames):
    numbered(tmp_path, [252, 254, 256, 258, 260])
    (tmp_path / "labels.csv").write_text("recording,start,end,label\na,254,258,bow\n")
    columns = {name: name for name in ("recording", "start", "end", "label")}
    labels = {"file": "labels.csv", "end": end, "columns": columns, "header": True}
    layout = {"frame": 0, "frame_step": 2, "labels": labels}
    clip = only(stick(layout, classes={1: "bow"}), tmp_path)
    assert (clip.start, clip.frames, clip.tracks[0].frames.tolist()) == (127, frames, list(range(frames)))
    (tmp_path / "labels.csv").write_text("recording,start,end,label\na,254,258,bow\na,900,940,bow\n")
    _, (reject,) = read(stick(layout, classes={1: "bow"}), tmp_path)
    assert reject.detail == "frames 900 to 940 lie outside the recording, which has 252 to 260"


def test_time_stamps_become_frames_of_the_specs_rate(tmp_path):
    # ten frames a second: jitter is rounded away, a pause of 0.3 s is a gap of two frames
    numbered(tmp_path, [5000, 5103, 5196, 5500, 5502])
    clip = only(stick({"time": {"column": 0, "unit": "ms"}}), tmp_path)
    assert (clip.start, clip.frames, clip.tracks[0].frames.tolist()) == (0, 6, [0, 1, 2, 5])
    assert clip.dropped == ["1 repeated frames, the first of each kept"]


def test_absent_joints_are_taken_from_the_frames_around_and_marked(tmp_path):
    # the hand is seen in frames 1 and 4 of numbers 0 1 2 4 5; between them it moves along a line
    body = moving(5)
    body[:, HAND] = 0
    body[1, HAND], body[3, HAND] = [0.5, 1.0, 3.0], [0.8, 1.6, 2.7]
    (tmp_path / "a.csv").write_text(text(np.c_[[0, 1, 2, 4, 5], body.reshape(5, -1)]))
    clip = only(stick({"frame": 0, "absent": ["zeros"]}), tmp_path)
    track = clip.tracks[0]
    expected = [[0.5, 1, 3], [0.5, 1, 3], [0.6, 1.2, 2.9], [0.8, 1.6, 2.7], [0.8, 1.6, 2.7]]
    np.testing.assert_allclose(track.joints[:, HAND], expected, atol=1e-6)
    assert track.inferred[:, HAND].tolist() == [True, False, True, False, True]
    assert track.inferred.sum() == 3
    assert clip.dropped == ["body 1: 10.0% of its joints absent, filled in and marked as inferred"]
    # without the word in the spec a joint at the origin is a joint at the origin
    plain = only(stick({"frame": 0}), tmp_path).tracks[0]
    assert (plain.joints[0, HAND].tolist(), plain.inferred) == ([0, 0, 0], None)


def test_a_joint_that_no_frame_has_stands_at_the_nearest_joint_along_the_bones(tmp_path):
    body = moving(2)
    body[:, [HAND, 5]] = np.nan
    np.save(tmp_path / "a.npy", body)
    track = only(stick({"absent": ["nan"]}), tmp_path).tracks[0]
    np.testing.assert_allclose(track.joints[:, HAND], np.repeat(PERSON[None, 1], 2, axis=0))
    assert track.inferred.all(axis=0).tolist() == [False, False, False, True, False, True]


def test_nearest_along_bones_of_a_real_skeleton():
    kinect = load_skeleton("kinect_v2")
    steps = bone_steps(tuple(map(tuple, kinect.bone_indices.tolist())))
    # hand tip, thumb, hand, wrist; to the other elbow: two, and three more over the shoulders and the spine
    assert steps[kinect.index("left_hand_tip")][kinect.index("left_wrist")] == 3
    assert steps[kinect.index("left_elbow")][kinect.index("right_elbow")] == 4
    joints = np.arange(25 * 3, dtype=float).reshape(1, 25, 3)
    gone = np.zeros((1, 25), bool)
    gone[0, [kinect.index(j) for j in ("left_hand", "left_thumb", "left_hand_tip")]] = True
    out = filled(joints, gone, np.array([0]), kinect)
    assert (out[0, kinect.index("left_hand_tip")] == joints[0, kinect.index("left_wrist")]).all()


def test_nan_that_the_spec_does_not_speak_of_is_refused_with_the_way_out(tmp_path):
    body = moving(3)
    body[1, HAND, 2] = np.nan
    np.save(tmp_path / "a.npy", body)
    _, (reject,) = read(stick({}), tmp_path)
    assert (reject.kind, "'right_hand'" in reject.detail, "absent: [nan]" in reject.detail) == (
        "non_finite",
        True,
        True,
    )


def test_scores_make_joints_absent_or_inferred(tmp_path):
    body = np.concatenate([moving(3), np.ones((3, 6, 1))], axis=-1)
    body[1, HAND, 3], body[2, 0, 3] = 0.05, 0.3
    np.save(tmp_path / "a.npy", body)
    layout = {
        "values": ["x", "y", "z", "score"],
        "absent_below": {"score": 0.1},
        "inferred_below": {"score": 0.5},
    }
    track = only(stick(layout), tmp_path).tracks[0]
    assert np.argwhere(track.inferred).tolist() == [[1, HAND], [2, 0]]
    np.testing.assert_allclose(track.joints[:, HAND, 1], [0.9, 0.91, 0.92])  # from 0.90 and 0.92 around it
    np.testing.assert_allclose(track.joints[2, 0], PERSON[0])


def test_negative_coordinates_as_marks(tmp_path):
    body = moving(3)[..., :2] * 100
    body[..., 0] += 300
    body[1, HAND] = -1
    np.save(tmp_path / "a.npy", body)
    layout = {"values": ["x", "y"], "unit": "pixel", "image": [640, 480], "absent": ["negative"]}
    track = only(stick(layout, dimensions=2), tmp_path).tracks[0]
    assert np.argwhere(track.inferred).tolist() == [[1, HAND]]


def test_a_body_of_too_few_joints_is_a_gap(tmp_path):
    body = moving(3)
    body[1, 2:] = 0
    np.save(tmp_path / "a.npy", body)
    assert only(stick({"absent": ["zeros"], "min_joints": 3}), tmp_path).tracks[0].frames.tolist() == [0, 2]
    assert only(stick({"absent": ["zeros"], "min_joints": 2}), tmp_path).tracks[0].frames.tolist() == [
        0,
        1,
        2,
    ]


def test_people_of_a_body_column_count_anew_in_every_clip(tmp_path):
    # three people one after the other, cut by clip: each clip's person is its first body
    rows = [np.r_[i // 2, i // 2, i, moving(6)[i].reshape(-1)] for i in range(6)]
    (tmp_path / "a.csv").write_text(text(np.array(rows)))
    clips, _ = read(stick({"clip": 0, "body": 1, "frame": 2}), tmp_path)
    assert [[(t.slot, t.body_id) for t in c.tracks] for c in clips] == [[(0, "0")], [(0, "1")], [(0, "2")]]
