"""View-independent input: against the recipe's own rotation and scale, against loops over frames, and by
hand."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from amr_data import BodyTrack, Clip, Recipe, SplitArrays, UsageError, convert, load_spec, open_dataset
from amr_data.errors import RejectError
from amr_data.recipes.normalize import body_frame
from amr_train import embed, load_encoder, run_experiment
from amr_train.config import InputConfig, ModelConfig
from amr_train.data.dense import dense_input
from amr_train.data.feed import Feed
from amr_train.data.input import apply_input, check_input, count_bridged
from amr_train.data.landmarks import anatomy_of, path_of
from amr_train.data.reading import read_split
from amr_train.deploy.export import export_model
from amr_train.deploy.predicting import composition, predictions
from amr_train.evaluation.classifier import load_classifier
from amr_train.evaluation.evaluating import evaluate
from amr_train.evaluation.subjects import coordinates
from amr_train.models.encoder import SkeletonEncoder
from amr_train.models.files import ClipEncoder, EncoderConfig, as_sequences
from amr_train.parallel.processes import Processes
from tests.amr_train.runs import FAST_FINETUNING, small

SPEC = load_spec("ntu60")
SKELETON = SPEC.skeleton
F64 = npt.NDArray[np.float64]
WHEN = ("recorded", "first", "every")
ALL_KINDS = [
    InputConfig(frame=frame, centre=centre, lengths=lengths, stream=stream)
    for frame, centre, lengths, stream in product(
        ("recorded", "first", "every"),
        ("recorded", "first", "every", "path"),
        ("recorded", "spine"),
        ("joint", "bone", "motion"),
    )
]
FORMS = (("first", "path", "joint"), ("every", "every", "bone"), ("first", "first", "motion"))
PLACED = (("limbs", "together"), ("spec", "each"), ("limbs", "each"))
ALL_KINDS += [
    InputConfig(
        frame=frame, centre=centre, lengths="spine", stream=stream, landmarks=landmarks, bodies=bodies
    )
    for (frame, centre, stream), (landmarks, bodies) in product(FORMS, PLACED)
]


def split_of(clips: list[list[tuple[list[int], F64]]], frames: list[int]) -> SplitArrays:
    """A split from bodies: of each clip the bodies' frames and joints (K, V, 3)."""
    bodies = [(number, *body) for number, clip in enumerate(clips) for body in clip]
    rows = np.array([len(frame) for _, frame, _ in bodies])
    joints = np.concatenate([joints for *_, joints in bodies]).astype(np.float32)
    return SplitArrays(
        joints,
        np.ones((len(joints), joints.shape[1], 1), np.float32),
        np.concatenate([frame for _, frame, _ in bodies]).astype(np.int64),
        np.cumsum(rows) - rows,
        rows,
        np.array([number for number, *_ in bodies]),
        np.zeros(len(clips), np.int64),
        [f"c{i}" for i in range(len(clips))],
        np.array(frames),
    )


def dataset_of(spec: Any = SPEC, scale: bool = False) -> Any:
    return SimpleNamespace(spec=spec, manifest={"recipe": {"scale": scale}}, path="here")


def hard_clips() -> SplitArrays:
    """Three clips: a whole body; two bodies, the main actor with gaps and late, and once without a spine or
    shoulders; a main actor that never has a spine."""
    rng = np.random.default_rng(0)

    def body(frames: int) -> F64:
        return rng.normal(size=(frames, 25, 3)) + rng.normal(size=3)

    low, high = (SKELETON.index(j) for j in SKELETON.spine)
    right, left = (SKELETON.index(j) for j in SKELETON.shoulders)
    main = body(5)
    main[0, high] = main[0, low]  # no frame in its first
    main[3, left] = main[3, right]
    main[4] = 0  # recorded, but nothing there
    never = body(3)
    never[:, high] = never[:, low]
    return split_of(
        [
            [([0, 1, 2, 3], body(4))],
            [([1, 2, 4, 6, 7], main), ([0, 2, 3, 4, 5, 6, 7, 8], body(8))],
            [([0, 1, 2], never)],
        ],
        [4, 9, 3],
    )


def placed_by(joints: F64, config: InputConfig) -> F64:
    """A frame (V, 3) in which the joints that place a body are where `config.landmarks` says."""
    if config.landmarks == "spec":
        return joints
    hips = (joints[SKELETON.index("left_hip")] + joints[SKELETON.index("right_hip")]) / 2
    arms = [joints[SKELETON.index(side)] for side in ("right_shoulder", "left_shoulder")]
    out = joints.copy()
    for name, place in zip(SKELETON.shoulders, arms, strict=True):
        out[SKELETON.index(name)] = place
    out[SKELETON.index(SKELETON.centre)] = out[SKELETON.index(SKELETON.spine[0])] = hips
    out[SKELETON.index(SKELETON.spine[1])] = (arms[0] + arms[1]) / 2
    return out


def measured(
    arrays: SplitArrays, rows: range, config: InputConfig
) -> tuple[dict[int, F64], dict[int, F64], float]:
    """A body's centres and turns by frame, and its unit."""
    centres, turns, spines = {}, {}, []
    for row in rows:
        joints = arrays.joints[row].astype(np.float64)
        if not joints.any():
            continue
        joints = placed_by(joints, config)
        centres[int(arrays.frame[row])] = joints[SKELETON.index(SKELETON.centre)]
        low, high = (joints[SKELETON.index(j)] for j in SKELETON.spine)
        if np.linalg.norm(high - low) > 1e-3:
            spines.append(np.linalg.norm(high - low))
        try:
            track = BodyTrack(np.array([0]), joints[None], "1", 0)
            turns[int(arrays.frame[row])] = body_frame(Clip("c", label=0, frames=1, tracks=[track]), SPEC)
        except RejectError:
            pass
    return centres, turns, float(np.mean(spines)) if config.lengths == "spine" and spines else 1.0


def held(values: dict[int, F64], when: str, frame: int, otherwise: F64) -> F64:
    if when == "recorded" or not values:
        return otherwise
    before = [f for f in values if f <= frame]
    return values[max(before) if when in ("every", "path") and before else min(values)]


def slowly(arrays: SplitArrays, config: InputConfig) -> F64:
    """Clip by clip and frame by frame, with the recipe's own body frame."""
    out, zero = arrays.joints.astype(np.float64), np.zeros(3)
    for number in range(len(arrays.names)):
        mine = [q for q in range(len(arrays.clip)) if arrays.clip[q] == number]
        rows = [range(arrays.first_row[q], arrays.first_row[q] + arrays.rows[q]) for q in mine]
        lead = measured(arrays, rows[0], config)
        for row, body in ((row, whole) for whole in rows for row in whole):
            if not arrays.joints[row].any():
                continue
            frame = int(arrays.frame[row])
            centres, turns, unit = measured(arrays, body, config) if config.bodies == "each" else lead
            turn, first = (held(of, config.frame, frame, np.eye(3)).T for of in (turns, lead[1]))
            joints = (out[row] - held(centres, config.centre, frame, zero)) / unit @ turn
            come = (
                (held(centres, "every", frame, zero) - held(lead[0], "first", frame, zero)) / lead[2] @ first
            )
            out[row] = joints
            if config.stream == "bone":
                for child, parent in SKELETON.bones:
                    a, b = SKELETON.index(child), SKELETON.index(parent)
                    out[row, a] = joints[a] - joints[b]
            if config.centre == "path" and (config.bodies == "each" or body == rows[0]):
                out[row, SKELETON.index(SKELETON.centre)] += come
        for body in rows if config.stream == "motion" else ():
            places = {int(arrays.frame[row]): out[row].copy() for row in body if arrays.joints[row].any()}
            for row in body:
                at = int(arrays.frame[row])
                steps = at in places and at + 1 in places and (at == 0 or at - 1 in places)
                out[row] = 30 * (places[at + 1] - places[at]) if steps else 0
    return out


def test_the_centre_shows_the_path_of_the_main_actor():
    """Two people that walk side by side, one of them the main actor: its own centre says where it has come,
    all else is seen from there."""
    body = np.zeros((3, 25, 3)) + np.arange(75).reshape(25, 3) / 10
    steps = np.array([[0, 0, 0], [1, 0, 2], [3, 0, 2]], np.float64)
    clip = [([0, 1, 2], body + steps[:, None]), ([0, 1, 2], body + steps[:, None] + [5, 0, 0])]
    arrays = split_of([clip], [3])
    apply_input(arrays, dataset_of(), InputConfig(centre="path"))
    centre = SKELETON.index(SKELETON.centre)
    np.testing.assert_allclose(arrays.joints[:3, centre], steps, atol=1e-6)
    still = body - body[:, [centre]]
    others = [joint for joint in range(25) if joint != centre]
    np.testing.assert_allclose(arrays.joints[:3, others], still[:, others], atol=1e-6)
    np.testing.assert_allclose(arrays.joints[3:], still + np.array([5, 0, 0]), atol=1e-6)
    # each as the main actor, the other one's centre where it is from where the main actor began
    arrays = split_of([clip], [3])
    apply_input(arrays, dataset_of(), InputConfig(centre="path", bodies="each"))
    np.testing.assert_allclose(arrays.joints[3:, centre], steps + np.array([5, 0, 0]), atol=1e-6)
    np.testing.assert_allclose(arrays.joints[3:, others], still[:, others], atol=1e-6)


def test_the_path_is_shown_by_the_same_joint_whatever_the_centre_is():
    """Bodies that are centred between the hips keep the bend of their spine beside the path; a skeleton
    without such a joint shows it by its centre."""
    pelvic = SKELETON.model_copy(update={"centre": "base_of_spine"})
    assert path_of(InputConfig(centre="path"), SKELETON) == SKELETON.index("middle_of_spine")
    assert path_of(InputConfig(centre="path"), pelvic) == SKELETON.index("middle_of_spine")
    assert path_of(InputConfig(centre="every"), pelvic) is None
    bare = load_spec("openpose").skeleton
    assert path_of(InputConfig(centre="path"), bare) == bare.index(bare.centre)
    made = {}
    for centre in ("every", "path"):
        arrays = hard_clips()
        spec = SPEC.model_copy(update={"skeleton": pelvic})
        apply_input(arrays, dataset_of(spec), InputConfig(centre=centre))
        made[centre] = arrays.joints
    differs = (made["every"] != made["path"]).any(axis=2)  # (F, V)
    assert np.flatnonzero(differs.any(axis=0)).tolist() == [SKELETON.index("middle_of_spine")]


def test_no_joint_is_made_of_one_that_shows_a_path():
    """A classifier's joint between the middle of the spine and the shoulders, of NTU's joints."""
    data = SimpleNamespace(spec=SPEC)
    lower = {"middle_of_spine": 0.75, "spine_at_shoulders": 0.25}

    def config(centre: str) -> Any:
        shown = InputConfig(centre=centre)
        model = SimpleNamespace(names=[*lower])
        return SimpleNamespace(
            input=shown, model=model, joint_names=["low"], shares=[lower], skeleton="other"
        )

    assert composition(config("every"), data)[0, SKELETON.index("middle_of_spine")] == 0.75
    with pytest.raises(UsageError, match="lacks low"):
        composition(config("path"), data)


def test_limbs_place_bodies_of_any_sensor_alike(tmp_path):
    """A body as Kinect and as OpenNI name it, centre and spine at other places of it, comes out the same by
    its limbs, and otherwise does not; joints that only one of them has are left out."""
    kinect, openni = load_spec("nw-ucla").skeleton, load_spec("sbu").skeleton
    rng = np.random.default_rng(1)
    body = {name: rng.normal(size=(6, 3)) for name in {*kinect.common_names, *openni.common_names}}
    both = [name for name in kinect.common_names if name in openni.common_names]
    forms: dict[str, list[F64]] = {"limbs": [], "spec": []}
    for spec in (load_spec("nw-ucla"), load_spec("sbu")):
        names = spec.skeleton.common_names
        for landmarks, found in forms.items():
            joints = np.stack([body[name] for name in names], axis=1)
            arrays = split_of([[(list(range(6)), joints)]], [6])
            config = InputConfig(frame="first", centre="every", lengths="spine", landmarks=landmarks)
            apply_input(arrays, dataset_of(spec), config)
            found.append(arrays.joints[:, [names.index(name) for name in both]])
    np.testing.assert_allclose(*forms["limbs"], atol=1e-5)
    assert np.abs(forms["spec"][0] - forms["spec"][1]).max() > 0.1


def test_a_skeleton_without_hips_is_placed_by_the_lower_end_of_its_spine():
    names = {joint: joint for joint in ("left_hip", "right_hip")}
    bare = SKELETON.model_copy(
        update={"counterparts": {**SKELETON.counterparts, **{n: f"{n}_bone" for n in names}}}
    )
    assert anatomy_of(SKELETON).hips == ("right_hip", "left_hip")
    assert anatomy_of(bare).hips == ("base_of_spine",)
    same = SKELETON.model_copy(update={"counterparts": {"neck": "head"}})  # two joints of one name
    made = []
    for skeleton in (SKELETON, same):
        arrays = hard_clips()
        spec = SPEC.model_copy(update={"skeleton": skeleton})
        apply_input(arrays, dataset_of(spec), InputConfig(landmarks="limbs", centre="every", stream="bone"))
        made.append(arrays.joints)
    np.testing.assert_array_equal(*made)


@pytest.mark.parametrize("config", ALL_KINDS, ids=lambda config: "-".join(config.model_dump().values()))
def test_every_form_equals_a_loop_over_frames(config):
    arrays = hard_clips()
    wanted = slowly(arrays, config)
    apply_input(arrays, dataset_of(), config)
    rounding = 30 if config.stream == "motion" else 1  # of what is multiplied with the frames a second
    np.testing.assert_allclose(arrays.joints, wanted, atol=2e-5 * rounding)
    # the same for whole clips as tensors, absent frames zeros, and bodies that are never there
    dense, rows, empty = [], hard_clips(), (0, 1, 2)
    for number in range(3):
        clip = torch.zeros(1, 4, 9, 25, 3)
        for slot, q in enumerate(np.flatnonzero(rows.clip == number), empty[number]):
            mine = slice(rows.first_row[q], rows.first_row[q] + rows.rows[q])
            clip[0, slot, rows.frame[mine]] = torch.from_numpy(rows.joints[mine])
        dense.append(clip)
    made = dense_input(torch.cat(dense), config, anatomy_of(SKELETON), SKELETON.common_names, 30)
    for q, number in enumerate(rows.clip):
        mine = slice(rows.first_row[q], rows.first_row[q] + rows.rows[q])
        slot = empty[number] + int((rows.clip[:q] == number).sum())
        np.testing.assert_allclose(made[number, slot, rows.frame[mine]], wanted[mine], atol=5e-5 * rounding)
        absent = np.setdiff1d(np.arange(9), rows.frame[mine])
        assert not made[number, slot, absent].any()


def test_the_body_frame_of_the_first_frame_is_the_recipes(ntu_raw, tmp_path):
    """A plain conversion in the body frame and spine units is the conversion with --rotate --scale, its
    energies too; and that one, asked again, stays as it is."""
    for name, recipe in (("plain", Recipe()), ("turned", Recipe(rotate=True, scale=True))):
        convert(ntu_raw, tmp_path / name, "ntu60", recipe=recipe, workers=1)
    plain, turned = (open_dataset(tmp_path / name) for name in ("plain", "turned"))
    assert plain.names == turned.names
    clips, config = np.arange(len(plain)), InputConfig(frame="first", lengths="spine")
    want = turned.arrays(clips)
    for dataset in (plain, turned):
        found = read_split(dataset, clips, Processes(), energy=True, shown=config)
        np.testing.assert_allclose(found.joints, want.joints, atol=2e-5)
        np.testing.assert_allclose(found.energy, want.energy, rtol=1e-3, atol=1e-6)
    assert np.abs(plain.arrays(clips).joints - want.joints).max() > 0.1


def test_as_recorded_nothing_changes(ntu_shards):
    dataset = open_dataset(ntu_shards)
    clips = np.arange(len(dataset))
    want, found = dataset.arrays(clips), read_split(dataset, clips, Processes(), energy=True)
    assert found.joints.tobytes() == want.joints.tobytes()
    assert found.energy.tobytes() == want.energy.tobytes()
    assert coordinates(48, dataset).digest == "coordinates-48"
    about = coordinates(48, dataset, InputConfig()).about()
    assert about == {"kind": "coordinates", "digest": "coordinates-48", "frames": 48}


def velocities(places: list[float], frames: list[int], zero: Sequence[int] = ()) -> list[float]:
    """Of a body in a clip of 10 frames, 5 a second; frames in `zero` are recorded without data."""
    arrays = split_of([[(frames, line([x + 1 for x in places]))]], [10])
    for row in zero:
        arrays.joints[row] = 0
    arrays.joints = np.repeat(arrays.joints, 9, axis=1)[:, :25]
    arrays.energy = arrays.energy[:, :, :0]
    spec = SimpleNamespace(frame_rate=5, dimensions=3, skeleton=SKELETON)
    apply_input(arrays, dataset_of(spec), InputConfig(stream="motion"))
    assert not arrays.joints[..., 1:].any()
    return [round(float(x), 4) for x in arrays.joints[:, 0, 0]]


def test_motion_by_hand():
    """Lengths a second to the next frame; none where there is none, and none beside an absence."""
    assert velocities([0, 0.1, 0.3, 0.2], [0, 1, 2, 3]) == [0.5, 1, -0.5, 0]
    assert velocities([0, 0.1, 0.3, 0.2], [1, 2, 3, 4]) == [0, 1, -0.5, 0]  # it comes in the second frame
    assert velocities([0, 0.1, 9, 9.1, 9.3], [0, 1, 5, 6, 7]) == [0.5, 0, 0, 1, 0]  # a gap is no motion
    assert velocities([0, 0.1, 9, 9.1, 9.3], [0, 1, 2, 3, 4], zero=[2]) == [0.5, 0, 0, 0, 0]
    assert velocities([3], [0]) == velocities([3], [4]) == [0]


def test_what_stands_in_for_an_absent_body_does_not_move():
    """In batches and in whole clips: resampled to other frames, every absent frame of motion is 0."""
    rng = np.random.default_rng(0)
    places = {3: rng.normal(size=(6, 25, 3)), 12: rng.normal(size=(5, 25, 3))}
    frames = [*range(3, 9), *range(12, 17)]
    arrays = split_of(
        [[(list(range(20)), rng.normal(size=(20, 25, 3))), (frames, np.concatenate([*places.values()]))]],
        [20],
    )
    clip = torch.zeros(1, 2, 20, 25, 3)
    clip[0, 0], clip[0, 1, frames] = (
        torch.from_numpy(arrays.joints[:20]),
        torch.from_numpy(arrays.joints[20:]),
    )
    shown = InputConfig(stream="motion")
    apply_input(arrays, dataset_of(), shown)
    feed = Feed(arrays, torch.device("cpu"), 48)
    batch = feed.batch(feed.centre_views(1, 1.0), 0)
    about = EncoderConfig(
        model=ModelConfig(frames=48, target_ratio=1),
        joints=25,
        skeleton="kinect_v2",
        input=shown,
        anatomy=anatomy_of(SKELETON),
    )
    flat, present, _, weight = as_sequences(clip, about, 48)
    assert weight.tolist() == [True, True]
    for joints, there in ((batch.joints, batch.present), (flat, present)):
        assert not joints[1][~there[1]].any()
        assert joints[1][there[1]].any()
        assert 20 < int(there[1].sum()) < 30  # 11 frames of 20, times 48 / 20
    torch.testing.assert_close(flat, batch.joints, atol=1e-4, rtol=1e-5)
    assert torch.equal(present, batch.present)


def test_a_body_that_stands_still_is_there():
    """A person who does not move has a motion of zeros, which is not an absent person's."""
    about = EncoderConfig(
        model=ModelConfig(frames=12, segment=4, width=16, heads=2, encoder_layers=1, target_ratio=1),
        joints=25,
        skeleton="kinect_v2",
        input=InputConfig(stream="motion"),
        anatomy=anatomy_of(SKELETON),
    )
    still = torch.randn(1, 1, 1, 25, 3).expand(1, 2, 12, 25, 3).clone()
    still[0, 1] = 0
    flat, present, _, weight = as_sequences(still, about, 12)
    assert not flat.any()
    assert (present.all(dim=1).tolist(), weight.tolist()) == ([True, False], [True, False])
    features = ClipEncoder(SkeletonEncoder(about.model, 25), about)(still)
    assert features.any()


def test_a_velocity_is_the_same_in_crops_and_at_other_frame_rates():
    """A body at a steady pace: 2 m/s in whatever crop, and recorded at half the rate."""
    for rate, count in ((30, 61), (15, 31)):
        arrays = split_of(
            [[(list(range(count)), np.repeat(line([2 * f / rate for f in range(count)]), 9, 1)[:, :25])]],
            [count],
        )
        spec = SimpleNamespace(frame_rate=rate, dimensions=3, skeleton=SKELETON)
        arrays.energy = arrays.energy[:, :, :0]
        apply_input(arrays, dataset_of(spec), InputConfig(stream="motion"))
        feed = Feed(arrays, torch.device("cpu"), 24)
        for crop in (0.3, 0.9):
            seen = feed.batch(feed.centre_views(1, crop), 0).joints[0, :, :, 0]
            torch.testing.assert_close(seen, torch.full_like(seen, 2.0), atol=1e-3, rtol=0)


def line(places: list[float]) -> F64:
    """A body of three joints at x = 0, 1 and 2 m beyond these places, frame by frame."""
    return np.array([[[x + joint, 0, 0] for joint in range(3)] for x in places])


def bridged_places(places: list[float], frames: list[int] | None = None, scale: bool = False) -> list[float]:
    spec = SimpleNamespace(frame_rate=10, dimensions=3, skeleton=SKELETON)
    frames = frames or list(range(len(places)))
    arrays = split_of([[(frames, line(places))]], [frames[-1] + 1])
    arrays.joints = np.repeat(arrays.joints, 9, axis=1)[:, :25]  # as many joints as the skeleton has
    arrays.energy = arrays.energy[:, :, :0]
    apply_input(arrays, dataset_of(spec, scale), InputConfig(jumps="bridge"))
    return [round(float(x), 4) for x in arrays.joints[:, 0, 0]]


def test_tracking_jumps_are_bridged_by_hand():
    """At 10 frames a second a jump is a step of more than 1 m, and two frames last less than 0.25 s."""
    assert bridged_places([0, 0, 0, 9, 9, 0.3, 0.3, 0.3]) == [0, 0, 0, 0.1, 0.2, 0.3, 0.3, 0.3]
    assert bridged_places([0, 0, 0, 9, -9, 0.3, 0.3, 0.3]) == [0, 0, 0, 0.1, 0.2, 0.3, 0.3, 0.3]  # one run
    assert bridged_places([0, 0.9, 1.8, 2.7]) == [0, 0.9, 1.8, 2.7]  # 9 m/s is a sprint
    for kept in ([0, 0, 0, 9, 9, 9, 0, 0, 0], [0, 0, 0, 9, 9, 9, 9], [0, 9, 0, 9]):
        assert bridged_places(kept) == kept  # which of the stretches is wrong?
    assert bridged_places([9, 0, 0.1, 0.2, 9, 9]) == [0, 0, 0.1, 0.2, 0.2, 0.2]  # the only neighbour
    assert bridged_places([9, 0, 0.1, 0.2], [0, 2, 3, 4]) == [9, 0, 0.1, 0.2]  # over a gap nothing is known
    # by time, not by row: the body is not there in frames 4 and 5
    assert bridged_places([0, 0, 0, 9, 0.4, 0.4, 0.4, 8], [0, 1, 2, 3, 6, 7, 8, 9])[-1] == 0.4
    assert bridged_places([0, 0, 0, 1.5, 0, 0, 0])[3] == 0
    assert bridged_places([0, 0, 0, 1.5, 0, 0, 0], scale=True)[3] == 1.5  # 0.75 m, in spine lengths


def test_bridged_frames_are_counted():
    good, bad, cut = (
        (list(range(7)), line(x)) for x in ([0] * 7, [0, 0, 0, 9, 0, 0, 0], [0, 0, 0, 0, 9, 9, 9])
    )
    arrays = split_of([[good, bad], [cut], [good]], [7, 7, 7])
    dataset = dataset_of(SimpleNamespace(frame_rate=10, dimensions=3))
    dataset.arrays = lambda clips, energy: arrays
    assert count_bridged(dataset, np.arange(3)) == {"clips": 1, "frames": 1, "left": 1}


def test_what_cannot_be_is_refused(ntu_shards, tmp_path):
    flat = dataset_of(SimpleNamespace(dimensions=2))
    for config, said in (
        (InputConfig(frame="first"), "input.frame=first; set input.frame=recorded"),
        (InputConfig(jumps="bridge"), "input.jumps=bridge; set input.jumps=keep"),
    ):
        with pytest.raises(UsageError, match=f"two-dimensional.*{said}"):
            check_input(config, flat)
    check_input(InputConfig(centre="every", lengths="spine", stream="bone"), flat)
    check_input(InputConfig(stream="motion"), flat)
    with pytest.raises(
        UsageError, match=r"stream=motion does not show where bodies and joints are.*augment\.noise=0"
    ):
        small(ntu_shards, "input.stream=motion", "augment.noise=0.01")
    clips = torch.randn(
        1, 1, 4, 25, 3
    )  # motion needs to know of no joint, for an encoder of several skeletons
    moved = dense_input(clips, InputConfig(stream="motion"), None, SKELETON.common_names, 10)
    torch.testing.assert_close(moved[:, :, :3], 10 * clips.diff(dim=2))
    with pytest.raises(UsageError, match="its input is unknown"):
        dense_input(clips, InputConfig(stream="bone"), None, SKELETON.common_names, 10)
    for word in ("stream=bone", "stream=motion", "frame=every", "centre=every", "jumps=bridge"):
        with pytest.raises(UsageError, match=r"take guidance\.source=online"):
            run_experiment(small(ntu_shards, "guidance.source=shard", f"input.{word}"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "differs",
    [
        {"stream": "bone"},
        {"stream": "motion"},
        {"frame": "first", "centre": "path", "landmarks": "limbs", "bodies": "each"},
    ],
    ids=["bone", "motion", "path"],
)
def test_an_encoder_takes_its_input_along(ntu_shards, tmp_path, differs):
    """Run, eval, embed, predict and export see one form of the very same clips."""
    shown = {"frame": "every", "centre": "every", "lengths": "spine", "jumps": "bridge", **differs}
    words = [*(f"input.{key}={value}" for key, value in shown.items()), "guidance.source=online"]
    run = tmp_path / "run"
    found = run_experiment(small(ntu_shards, *words, "evaluation.protocols=[knn]", *FAST_FINETUNING), run)
    assert load_encoder(run).config.input.changes == shown
    for record in found["evaluations"]:
        assert record["subject"]["input"] == shown
        assert set(record["bridged"]) == {"clips", "frames", "left"}
    assert evaluate(run, ntu_shards, "xsub", "knn")["figures"] == found["evaluations"][-1]["figures"]

    dataset, encoder = open_dataset(ntu_shards), load_encoder(run)
    clips = [5, 40]
    features = embed(run, ntu_shards, device="cpu", crop=1.0)[0][clips]
    with torch.no_grad():
        for number, feature in zip(clips, features, strict=True):
            np.testing.assert_allclose(encoder(whole(dataset, number))[0], feature, atol=2e-4)
    record = evaluate(run, ntu_shards, "xsub", "supervised", settings_of(run), folder=tmp_path / "kept")
    assert record["subject"]["input"] == shown
    (file,) = (tmp_path / "kept").rglob("classifier.safetensors")
    classifier = load_classifier(file)
    said = predictions(classifier, dataset, crop=1.0)[clips]
    with torch.no_grad():
        for number, row in zip(clips, said, strict=True):
            np.testing.assert_allclose(classifier(whole(dataset, number)).softmax(1)[0], row, atol=2e-4)
    assert export_model(run, tmp_path / "encoder.pt2")["difference"] < 1e-4


def settings_of(run: Path) -> Any:
    return small(run, *FAST_FINETUNING).evaluation


def whole(dataset: Any, number: int) -> torch.Tensor:
    """A clip as it was recorded, (1, M, T, V, 3)."""
    clip = dataset.clip(number)
    joints = torch.zeros(1, dataset.spec.max_bodies, clip.frames, 25, 3)
    for track in clip.tracks:
        joints[0, track.slot, track.frames] = torch.from_numpy(track.joints)
    return joints
