"""Family `bvh`: axes, units, frame rates and names, by hand; whole folders through `convert`."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from amr_data import convert
from amr_data.clip import Clip
from amr_data.errors import RejectError, UsageError
from amr_data.readers.bvh import BvhFamily, BvhLayout, fill_clip, find_joints, metres_per_unit, timing
from amr_data.readers.bvh_file import parse_bvh
from amr_data.readers.family import check_spec
from amr_data.shards.reader import ShardDataset
from amr_data.specs import DatasetSpec, load_spec
from tests.amr_data.readers.reading import read as read_folder
from tests.amr_data.readers.reading import rejects


@pytest.mark.parametrize(
    ("layout", "up", "ahead", "left"),
    [
        ({}, (0, 1, 0), (0, 0, -1), (-1, 0, 0)),
        ({"facing": "-z"}, (0, 1, 0), (0, 0, -1), (-1, 0, 0)),
        ({"facing": "+z"}, (0, 1, 0), (0, 0, 1), (1, 0, 0)),
        ({"facing": "+x"}, (0, 1, 0), (1, 0, 0), (0, 0, -1)),
        ({"up": "z"}, (0, 0, 1), (0, 1, 0), (-1, 0, 0)),
        ({"up": "z", "facing": "-y"}, (0, 0, 1), (0, -1, 0), (1, 0, 0)),
        ({"up": "z", "facing": "+x"}, (0, 0, 1), (1, 0, 0), (0, 1, 0)),
    ],
)
def test_axes_become_those_of_a_kinect_that_the_body_faces(layout, up, ahead, left):
    # up is y, the camera stands at -z and sees the left hand at -x; right-handed, so nobody is mirrored
    turn = BvhLayout.model_validate(layout).turn
    np.testing.assert_array_equal(turn @ up, (0, 1, 0))
    np.testing.assert_array_equal(turn @ ahead, (0, 0, -1))
    np.testing.assert_array_equal(turn @ left, (-1, 0, 0))
    assert np.linalg.det(turn) == pytest.approx(1)


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ({"unit": "cm", "scale": 0.01}, "give unit or scale, not both"),
        ({"facing": "+y"}, "a body whose up is y cannot face"),
        ({"unit": "feet"}, "unit"),
        ({"scale": 0}, "scale"),
        ({"upp": "z"}, "upp"),
    ],
)
def test_a_layout_that_contradicts_itself_is_refused(layout, message):
    with pytest.raises(ValueError, match=message):
        BvhLayout.model_validate(layout)


@pytest.mark.parametrize(
    ("rate", "taken", "between"),
    [
        (30.0, [0, 1, 2, 3, 4, 5, 6, 7, 8], None),
        (30.03, [0, 1, 2, 3, 4, 5, 6, 7, 8], None),  # Frame Time: 0.0333
        (120.48, [0, 4, 8], None),  # Frame Time: 0.0083
        (59.94, [0, 2, 4, 6, 8], None),
        (45.0, range(9), [0, 1.5, 3, 4.5, 6, 7.5]),
        (20.0, range(9), [0, 2 / 3, 4 / 3, 2, 8 / 3, 10 / 3, 4, 14 / 3, 16 / 3, 6, 20 / 3, 22 / 3, 8]),
    ],
)
def test_frames_at_thirty_a_second(rate, taken, between):
    rows, at, note = timing(9, rate, 30)
    assert rows.tolist() == list(taken)
    if between is None:
        assert at is None
    else:
        np.testing.assert_allclose(at, between)
    assert bool(note) == (not 29.8 < rate < 30.2)


@pytest.mark.parametrize(
    ("rate", "wanted", "taken", "note"),
    [
        (30.14, 30, range(9), ""),
        (29.86, 30, range(9), ""),
        (90.4, 30, [0, 3, 6], "90.4 frames a second in the file: one of every 3 kept"),
        (30.16, 30, None, "30.16 frames a second in the file: positions between them taken"),
        (29.84, 30, None, "29.84 frames a second in the file: positions between them taken"),
        (123.456, 50, None, "123.5 frames a second in the file: positions between them taken"),
        (0.6, 1, None, "0.6 frames a second in the file: positions between them taken"),
    ],
)
def test_rates_that_are_near_enough(rate, wanted, taken, note):
    rows, at, said = timing(9, rate, wanted)
    assert (rows.tolist(), at is None, said) == (list(taken or range(9)), taken is not None, note)
    if at is not None:
        np.testing.assert_allclose(at, np.arange(len(at)) * rate / wanted)
        assert at[-1] <= 8 < at[-1] + rate / wanted


def test_the_last_frame_is_met_however_the_rate_is_rounded():
    _, at, _ = timing(4, 0.7 * 3, 0.7 * 2)  # frames 0, 1.5 and 3
    assert at.tolist() == pytest.approx([0, 1.5, 3])
    assert timing(1, 20, 30)[1].tolist() == [0]
    assert timing(32, 15.5, 30)[1][-1] == 31  # 60 steps of 15.5 / 30 are a little more


def test_the_limit_of_what_is_near_is_near(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("amr_data.readers.bvh.NEAR_RATE", 0.25)
    assert timing(9, 1.25, 1)[1] is None
    assert timing(9, 1.3, 1)[1] is not None


def test_too_slow_a_file_is_refused_and_half_the_rate_is_not():
    assert len(timing(3, 15, 30)[1]) == 5
    with pytest.raises(RejectError, match=r"frame_time: 14\.9 frames a second are too few for 30"):
        timing(3, 14.9, 30)


SKELETON = load_spec("bvh").skeleton


def body_of(size: float) -> np.ndarray:
    """(5, V, 3): head, and the rest of the body at `size` from it along z, so that no pose decides."""
    joints = np.zeros((5, len(SKELETON.joints), 3))
    joints[:, SKELETON.index("head"), 2] = size
    joints[4] *= 3  # one odd frame decides nothing
    return joints


@pytest.mark.parametrize(
    ("size", "layout", "metres"),
    [
        (1.7, {}, 1),
        (30, {}, 0.0254 / 0.45),
        (170, {}, 0.01),
        (1700, {}, 0.001),
        (67, {"unit": "inch"}, 0.0254),
        (67, {}, 0.01),
        (4, {"scale": 0.25}, 0.25),
    ],
)
def test_the_unit_is_the_one_that_makes_a_person(size, layout, metres):
    assert metres_per_unit(body_of(size), BvhLayout.model_validate(layout), SKELETON) == metres


@pytest.mark.parametrize(
    ("size", "layout", "message"),
    [
        (
            170,
            {"unit": "m"},
            "170 units, 170 m tall .head to ankles along the bones., a person is 0.5 to 2.5 m; unit: cm",
        ),
        (1.7, {"scale": 0.01}, "0.017 m tall .*; unit: m would make it 1.7 m"),
        (5, {}, "5 units tall .*; scale: 0.34 would make it 1.7 m"),
        (0, {}, "all joints are in one place"),
    ],
)
def test_another_size_is_refused_with_the_likely_unit(size, layout, message):
    with pytest.raises(RejectError, match=f"height: the body is .*{message}"):
        metres_per_unit(body_of(size), BvhLayout.model_validate(layout), SKELETON)


PEOPLE = "tall (head to ankles along the bones), a person is 0.5 to 2.5 m"


@pytest.mark.parametrize(
    ("size", "layout", "found", "advice"),
    [
        (
            30,
            {"unit": "m"},
            "30 units, 30 m",
            "unit: inch would make it 0.76 m or unit: cmu would make it 1.7 m",
        ),
        (123456, {}, "1.23e+05 units", "scale: 1.4e-05 would make it 1.7 m"),
        (0, {"scale": 3}, "0 units, 0 m", "all joints are in one place"),
        (2.51, {}, "2.51 units", "scale: 0.68 would make it 1.7 m"),
        (0.49, {}, "0.49 units", "scale: 3.5 would make it 1.7 m"),
    ],
)
def test_what_is_said_of_another_size(size, layout, found, advice):
    with pytest.raises(RejectError) as error:
        metres_per_unit(body_of(size), BvhLayout.model_validate(layout), SKELETON)
    assert error.value.reason == "height"
    assert error.value.detail == f"the body is {found} {PEOPLE}; {advice}"


def test_people_of_half_a_metre_and_of_two_and_a_half_are_people():
    for size, layout in ((0.5, {}), (2.5, {}), (0.5, {"unit": "m"}), (2.5, {"scale": 1})):
        assert metres_per_unit(body_of(size), BvhLayout.model_validate(layout), SKELETON) == 1


def test_the_first_frame_is_measured_too():
    joints = body_of(1)[:2]
    joints[1] *= 4  # 1 and 4 m: half-way they are a person
    assert metres_per_unit(joints, BvhLayout(), SKELETON) == 1


def test_a_body_is_measured_in_64_frames_from_the_first_to_the_last():
    joints = np.repeat(body_of(1000)[:1], 127, axis=0)
    joints[::2] = body_of(1.7)[0]  # every second of 127
    assert metres_per_unit(joints, BvhLayout(), SKELETON) == 1
    joints = np.repeat(body_of(1000)[:1], 63 * 3 + 1, axis=0)
    joints[::3] = body_of(1.7)[0]
    assert metres_per_unit(joints, BvhLayout(), SKELETON) == 1


@pytest.mark.parametrize(
    ("names", "there"),
    [
        (["Hips", *(f"j{i}" for i in range(7))], "Hips, j0, j1, j2, j3, j4, j5, j6"),
        (["Hips", *(f"j{i}" for i in range(8))], "Hips, j0, j1, j2, j3, j4, j5, j6 ..."),
        (["Hips", "LeftEye"], "Hips, LeftEye"),
        (["Hips", "Nose", "nose"], ""),
    ],
)
def test_names_that_are_missing_or_twice(names, there):
    eyes = {"between": ["LeftEye", "RightEye"]}
    places = BvhLayout.model_validate({"joints": {"hip": ["Hips"], "head": ["Nose", eyes]}}).joints
    with pytest.raises(RejectError) as error:
        find_joints(names, places)
    says = f"none for head, called Nose, LeftEye and RightEye; there are {there}; say which one it is in "
    says += "layout.joints"
    assert error.value.reason == "joint_name"
    assert error.value.detail == (says if there else "several joints are called Nose, for head")


def test_the_middle_of_two_of_which_one_is_there_twice():
    places = BvhLayout.model_validate({"joints": {"head": {"between": ["A", "B"]}}}).joints
    assert find_joints(["b", "c", "a"], {"head": [places["head"]]}) == [(2, 0)]
    for names in (["a", "b", "b"], ["a", "a", "b"]):
        with pytest.raises(RejectError, match=r"several joints are called (A or B|B or A), for head"):
            find_joints(names, {"head": [places["head"]]})


def test_a_beginning_that_all_names_share_is_looked_past_where_no_name_is_meant_by_it():
    def row(names: list[str], name: str) -> int:
        return find_joints(names, {"x": [name]})[0][0]

    names = ["ab_hip", "ab_neck"]
    assert [row(names, name) for name in ("hip", "ab_hip", "neck", "abneck")] == [0, 0, 1, 1]
    assert row(["hip", "hiphip"], "hip") == 0  # the whole name goes before what is left of another
    assert row(["one"], "one") == 0
    assert row(["maß", "Mass"], "mass") == 1  # other letters, not another case
    assert row(["a:hip", "b:neck"], "neck") == 1


def test_joints_are_found_by_names_that_differ_in_what_does_not_matter():
    eyes = {"between": ["LeftEye", "RightEye"]}
    wanted = {"hip": ["Hips", "Hip"], "arm": ["Left Arm"], "head": ["Nose", eyes]}
    places = BvhLayout.model_validate({"joints": wanted}).joints
    for names in (
        ["Hips", "LeftArm", "LeftEye", "RightEye"],
        ["mixamorig:Hips", "mixamorig:LeftArm", "mixamorig:LeftEye", "mixamorig:RightEye"],
        ["Character1_Hips", "Character1_LeftArm", "Character1_LeftEye", "Character1_RightEye"],
        ["bip01 hips", "Bip01 left_arm", "Bip01 left.eye", "Bip01 right-eye"],
    ):
        assert find_joints(names, places) == [(0, 0), (1, 1), (2, 3)]
    assert find_joints(["Nose", "Hip", "LeftArm", "Hips"], places) == [(3, 3), (2, 2), (0, 0)]
    with pytest.raises(RejectError, match="joint_name: none for arm, called Left Arm; there are Hips, Nose"):
        find_joints(["Hips", "Nose"], places)
    with pytest.raises(RejectError, match="joint_name: several joints are called Left Arm, for arm"):
        find_joints(["Hips", "LeftArm", "left_arm", "Nose"], places)
    with pytest.raises(RejectError, match="several joints are called Left Arm"):
        find_joints(["M_Hips", "M_LeftArm", "M_left_arm", "M_Nose"], places)


TREE = {
    "Hips": (None, (0, 0.95, 0)),
    "Spine": ("Hips", (0, 0.1, 0)),
    "Spine1": ("Spine", (0, 0.15, 0)),
    "Neck": ("Spine1", (0, 0.25, 0)),
    "Head": ("Neck", (0, 0.1, 0)),
    "LeftShoulder": ("Spine1", (0.03, 0.2, 0)),
    "LeftArm": ("LeftShoulder", (0.14, 0, 0)),
    "LeftForeArm": ("LeftArm", (0.28, 0, 0)),
    "LeftHand": ("LeftForeArm", (0.25, 0, 0)),
    "RightShoulder": ("Spine1", (-0.03, 0.2, 0)),
    "RightArm": ("RightShoulder", (-0.14, 0, 0)),
    "RightForeArm": ("RightArm", (-0.28, 0, 0)),
    "RightHand": ("RightForeArm", (-0.25, 0, 0)),
    "LeftUpLeg": ("Hips", (0.1, -0.05, 0)),
    "LeftLeg": ("LeftUpLeg", (0, -0.42, 0)),
    "LeftFoot": ("LeftLeg", (0, -0.4, 0)),
    "RightUpLeg": ("Hips", (-0.1, -0.05, 0)),
    "RightLeg": ("RightUpLeg", (0, -0.42, 0)),
    "RightFoot": ("RightLeg", (0, -0.4, 0)),
}
"""A person 1.75 m tall in a T-pose, metres; y up, looking along z, the left hand at +x."""
END = (0, 0.2, 0)


def person(rows: int, a_metre: float = 100, frame_time: float = 1 / 30, called=lambda name: name) -> bytes:
    """A BVH file of `TREE`: the root walks 1 cm a frame along x, the left forearm turns by 1 degree a frame
    about y."""

    def block(name: str) -> str:
        parent, offset = TREE[name]
        inside = "".join(block(child) for child, (above, _) in TREE.items() if above == name)
        end = f"End Site\n{{\nOFFSET {' '.join(str(v * a_metre) for v in END)}\n}}\n"
        place = " ".join(str(v * a_metre) for v in offset)
        channels = (
            "3 Zrotation Xrotation Yrotation"
            if parent
            else ("6 Xposition Yposition Zposition Zrotation Xrotation Yrotation")
        )
        kind = "JOINT" if parent else "ROOT"
        return f"{kind} {called(name)}\n{{\nOFFSET {place}\nCHANNELS {channels}\n{inside or end}}}\n"

    text = f"HIERARCHY\n{block('Hips')}MOTION\nFrames: {rows}\nFrame Time: {frame_time}\n"
    bends = 3 + 3 * [*TREE].index("LeftForeArm")  # its first channel
    for t in range(rows):
        row = [0.0] * (3 + 3 * len(TREE))
        row[:3] = 0.01 * t * a_metre, 0.95 * a_metre, 0
        row[bends + 2] = -float(t)
        text += " ".join(map(str, row)) + "\n"
    return text.encode()


def read(data: bytes, **layout: object) -> Clip:
    spec = load_spec("bvh")
    layout = {**spec.layout, **layout}
    return fill_clip(Clip("x", -1, 0, []), parse_bvh(data), spec, BvhLayout.model_validate(layout))


def test_a_person_stands_before_the_camera_in_metres():
    clip = read(person(91))
    spec = load_spec("bvh").skeleton
    at = {joint: clip.tracks[0].joints[:, spec.index(joint)] for joint in spec.joints}
    assert (clip.frames, len(clip.tracks), clip.tracks[0].joints.shape) == (91, 1, (91, 17, 3))
    assert clip.tracks[0].frames.tolist() == list(range(91))
    # x and z change their signs: the person, who looked along z, looks at the camera
    np.testing.assert_allclose(at["pelvis"][0], (0, 0.95, 0), atol=1e-9)
    np.testing.assert_allclose(at["pelvis"][90], (-0.9, 0.95, 0), atol=1e-9)
    np.testing.assert_allclose(at["head"][0], (0, 1.75, 0), atol=1e-9)
    np.testing.assert_allclose(at["left_shoulder"][0], (-0.17, 1.4, 0), atol=1e-9)
    np.testing.assert_allclose(at["left_wrist"][0], (-0.7, 1.4, 0), atol=1e-9)
    np.testing.assert_allclose(at["right_wrist"][0], (0.7, 1.4, 0), atol=1e-9)
    np.testing.assert_allclose(at["left_ankle"][0], (-0.1, 0.08, 0), atol=1e-9)
    # the forearm has turned a right angle about y, forwards: 0.25 towards the camera
    np.testing.assert_allclose(at["left_wrist"][90], (-0.9 - 0.45, 1.4, -0.25), atol=1e-9)
    assert clip.dropped == []


def xsens(name: str) -> str:
    for old, new in (("Spine1", "Chest2"), ("Spine", "Chest"), ("Shoulder", "Collar"), ("ForeArm", "Elbow")):
        name = name.replace(old, new)
    for old, new in (
        ("UpLeg", "Hip"),
        ("Leg", "Knee"),
        ("Foot", "Ankle"),
        ("Arm", "Shoulder"),
        ("Hand", "Wrist"),
    ):
        name = name.replace(old, new)
    return name


@pytest.mark.parametrize(
    ("a_metre", "called"),
    [
        (1, lambda name: f"mixamorig:{name}"),
        (1000, lambda name: f"Character1_{name}"),
        (0.45 / 0.0254, str.lower),
        (100, xsens),
    ],
)
def test_names_and_units_of_other_programs_change_nothing(a_metre, called):
    expected = read(person(5)).tracks[0].joints
    found = read(person(5, a_metre, called=called)).tracks[0].joints
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_z_up_stands_upright():
    # the same file with its y and z changed for z and -y: the person looks along -y
    data = person(5)
    lines = []
    for line in data.decode().splitlines():
        words = line.split()
        if words and words[0] == "OFFSET":
            line = f"OFFSET {words[1]} {-float(words[3])} {words[2]}"
        line = line.replace("Xposition Yposition Zposition", "Xposition Zposition Yposition")
        lines.append(line.replace("Zrotation Xrotation Yrotation", "Yrotation Xrotation Zrotation"))
    found = read("\n".join(lines).encode(), up="z", facing="-y")
    np.testing.assert_allclose(found.tracks[0].joints, read(data).tracks[0].joints, atol=1e-9)


def test_a_file_of_another_rate_is_brought_to_the_dataset_s():
    slow = read(person(9)).tracks[0].joints
    fast = read(person(33, frame_time=0.0083333))
    np.testing.assert_allclose(fast.tracks[0].joints[:3, 0], slow[[0, 4, 8], 0], atol=1e-9)
    assert fast.frames == 9
    assert fast.dropped == ["120 frames a second in the file: one of every 4 kept"]
    film = read(person(9, frame_time=1 / 24))
    assert film.frames == 11
    # 1 cm a frame at 24 frames a second are 0.8 cm a frame at 30
    np.testing.assert_allclose(film.tracks[0].joints[:, 0, 0], -0.008 * np.arange(11), atol=1e-9)


def test_what_is_left_out_of_a_users_own_layout_is_found_by_the_names_in_use():
    own = {"joints": {"spine": "Spine", "head": {"between": ["Neck", "Head"]}}}
    spec = load_spec("bvh").model_copy(update={"layout": own})
    assert check_spec(spec).name == "bvh"
    clip = fill_clip(Clip("x", -1, 0, []), parse_bvh(person(2)), spec, BvhLayout.model_validate(own))
    at = dict(zip(spec.skeleton.joints, clip.tracks[0].joints[0], strict=True))
    np.testing.assert_allclose(at["spine"], (0, 1.05, 0), atol=1e-9)
    np.testing.assert_allclose(at["head"], (0, 1.5, 0), atol=1e-9)
    np.testing.assert_allclose(at["left_wrist"], (0.7, 1.4, 0), atol=1e-9)  # no facing: heading as it is


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layout": {"joints": {"tail": "Tail"}}}, "layout.joints has 'tail', which is no joint of h36m_17"),
        ({"layout": {"joints": {"head": []}}}, "layout: joints.head"),
        (
            {"layout": {"joints": {"head": {"betwen": ["A", "B"]}}}},
            "joints.head.Between: there is no field 'betwen': did you mean 'between'",
        ),
        ({"layout": {"unit": "ell"}}, "layout: unit"),
        ({"dimensions": 2}, "BVH files hold three dimensions"),
        ({"naming": "x(?P<subject>[0-9])", "classes": {1: "wave"}}, "naming needs the group 'action'"),
        (
            {"skeleton": load_spec("nw-ucla").skeleton},
            "layout.joints does not say which BVH joint is 'left_hand'",
        ),
    ],
)
def test_a_spec_that_says_what_cannot_be_is_refused(change, message):
    update = {"layout": {}, **change}
    with pytest.raises(UsageError, match=message):
        check_spec(load_spec("bvh").model_copy(update=update))


def test_a_folder_becomes_a_dataset_and_damage_is_named(tmp_path: Path):
    raw = tmp_path / "raw"
    (raw / "deep").mkdir(parents=True)
    (raw / "walk 1.bvh").write_bytes(person(40, frame_time=0.0083333))
    (raw / "deep" / "walk 2.BVH").write_bytes(person(7, 1))
    (raw / "cut.bvh").write_bytes(person(9)[:-40])
    (raw / "dwarf.bvh").write_bytes(person(9, 4))
    (raw / "notes.txt").write_text("not motion")
    report = convert(raw, tmp_path / "out", workers=1)  # nobody says what it is
    manifest = report.manifest
    assert report.recognised is not None
    assert report.recognised.spec.name == "bvh"
    assert manifest["totals"]["clips"] == 2
    assert manifest["rejects_by_reason"] == {"joint_count": 1, "height": 1}
    dataset = ShardDataset(tmp_path / "out")
    clips = {c.name: c for c in map(dataset.clip, range(len(dataset)))}
    assert {n: (c.label, c.frames) for n, c in clips.items()} == {"walk 1": (-1, 10), "deep/walk 2": (-1, 7)}
    for clip in clips.values():
        assert not clip.tracks[0].joints[0, 0].any()  # the pelvis is the origin


def test_files_become_clips_or_rejects(tmp_path: Path):
    spec = load_spec("bvh").changed(
        naming="(?P<subject>[0-9])_(?P<action>[0-9])", classes={4: "walk"}, example=""
    )
    for name, data in (
        ("1_4.bvh", person(3)),
        ("2_4.bvh", b"solid"),
        ("3_4.BVH", person(2, 4)),
        ("4_5.bvh", b""),
    ):
        (tmp_path / name).write_bytes(data)
    items = read_folder(tmp_path, spec)
    (clip,) = [i for i in items if isinstance(i, Clip)]
    at = tmp_path.name
    assert (clip.name, clip.label, clip.subject, clip.frames, clip.source) == (
        "1_4",
        0,
        1,
        3,
        f"{at}/1_4.bvh",
    )
    assert [(t.slot, t.frames.tolist(), t.inferred) for t in clip.tracks] == [(0, [0, 1, 2], None)]
    first, second, third = rejects(items)
    assert first == (f"{at}/4_5.bvh", "unknown_class", "action 5 is not in bvh")
    assert second == (f"{at}/2_4.bvh", "not_skeleton", "line 1 is not HIERARCHY: 'solid'")
    assert (third[0], third[1]) == (f"{at}/3_4.BVH", "height")


def test_position_channels_are_added_to_offsets_where_the_layout_says_so():
    moved = person(2).replace(b"OFFSET 0 95.0 0", b"OFFSET 0 5.0 1")
    assert moved != person(2)
    pelvis = load_spec("bvh").skeleton.index("pelvis")
    for offsets, height, depth in (("replaced", 0.95, 0.0), ("added", 1.0, -0.01)):
        joints = read(moved, offsets=offsets).tracks[0].joints
        np.testing.assert_allclose(joints[:, pelvis, 1:], [[height, depth]] * 2, atol=1e-9)


def test_positions_that_are_none_are_refused_by_their_frame():
    far = person(3).replace(b"\n2.0 95.0 0", b"\n200000.0 95.0 0")
    assert far != person(3)
    with pytest.raises(RejectError, match=r"out_of_range: frame 2, joint 1 \(1-based\) is at -2000 m"):
        read(far)


def test_a_family_knows_its_files():
    family = BvhFamily()
    assert family.sniff(b"\xef\xbb\xbf\n hierarchy\r\nROOT", "x")
    assert not family.sniff(b"ROOT HIERARCHY", "x.bvh")


def test_the_guide_s_own_spec_is_one():
    text = (Path(__file__).parents[3] / "docs" / "datasets.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```yaml\n(naming: 'take_.*?)```", text, re.S)
    spec = {**load_spec("bvh").model_dump(), **yaml.safe_load(block), "classes": {1: "walk"}}
    assert check_spec(DatasetSpec.model_validate(spec)).name == "bvh"
