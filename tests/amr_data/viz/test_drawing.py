"""Colours that can be seen, floors under feet, rows of intervals, and text that lies on nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from PIL import ImageFont

from amr_data import load_spec, open_dataset
from amr_data.errors import Record
from amr_data.looking.faults import find_faults
from amr_data.looking.inspection import find_clips
from amr_data.viz import Interval, clip_scene, contact_sheet, fault_track, side_by_side
from amr_data.viz.colours import LEAST, SCALES, THEMES, bone_colours, contrast, scale
from amr_data.viz.drawing import Drawing, fitted
from amr_data.viz.floor import floor_of
from amr_data.viz.scene import Layer


@pytest.fixture(scope="module")
def dataset(ntu_shards):
    return open_dataset(ntu_shards)


@pytest.fixture(scope="module")
def scene(dataset):
    return clip_scene(dataset, find_clips(dataset, ["S*A060"])[0])


def test_contrast_is_that_of_the_guidelines():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)  # WebAIM's well-known grey
    assert contrast("#123456", "#123456") == 1


@pytest.mark.parametrize("name", THEMES)
def test_every_joint_and_bone_stands_out_from_its_ground(name):
    theme = THEMES[name]
    drawn = [*theme.parts.values(), theme.other, *theme.bodies, *theme.states, theme.neutral, theme.ghost]
    drawn += [theme.mark, theme.alarm, *theme.labels]
    drawn += [tuple(c) for s in SCALES for c in scale(s, theme.ground).tolist()]
    assert min(contrast(colour, theme.ground) for colour in drawn) >= LEAST


@pytest.mark.parametrize("name", THEMES)
def test_left_is_cool_and_right_is_warm(name):
    skeleton = load_spec("ntu60").skeleton
    colours = bone_colours(skeleton, THEMES[name])
    for (joint, _), colour in zip(skeleton.bones, colours, strict=True):
        red, _, blue = to_rgb(colour)
        if "left" in joint:
            assert blue > red + 0.2
        if "right" in joint:
            assert red > blue + 0.2


def test_the_floor_lies_under_the_feet_of_somebody_who_jumps_before_a_tilted_sensor():
    rng = np.random.default_rng(0)
    frames = 120
    turn = np.linspace(0, 2 * np.pi, frames)
    walk = np.stack([1.5 * np.cos(turn), np.zeros(frames), 2.5 + np.sin(turn)], axis=1)
    body = rng.normal(0, 0.1, (25, 3)) * (1, 0, 1) + (0, 1, 0) * np.linspace(0, 1.7, 25)[:, None]
    joints = walk[:, None] + body
    joints[..., 1] += 0.3 * joints[..., 0] - 0.1 * joints[..., 2] - 1.1  # the sensor's tilt
    joints[50:62, :, 1] += 0.5  # the jump
    height, across, away = floor_of(joints[None].astype(np.float32), 1)
    assert (height, across, away) == pytest.approx((-1.1, 0.3, -0.1), abs=0.03)
    feet = joints[:, 0]
    off = feet[:, 1] - (height + across * feet[:, 0] + away * feet[:, 2])
    assert np.abs(np.delete(off, np.r_[50:62])).max() < 0.03


def test_somebody_who_stands_stands_on_a_level_floor_and_so_do_points_of_an_image():
    rng = np.random.default_rng(1)
    joints = rng.normal(0, 0.02, (1, 40, 25, 3)) + (0, 1, 2) * np.linspace(0, 1, 25)[:, None]
    assert np.abs(floor_of(joints.astype(np.float32), 1)[1:]).max() < 0.1
    flat = joints.astype(np.float32)
    flat[..., 2] = 0
    flat[..., 1] += 0.5 * flat[..., 0]
    assert floor_of(flat, 1)[1:] == (0, 0)
    assert floor_of(np.full((1, 3, 25, 3), np.nan, np.float32), 1) == (0, 0, 0)


def test_the_faults_of_one_clip_are_those_that_the_whole_search_finds(dataset):
    joints = np.concatenate([dataset.clip(i).tracks[0].joints for i in range(3)])
    assert joints.shape[1] == 25
    whole = find_faults(dataset)
    for index in range(len(dataset)):
        name = dataset.names[index]
        assert find_faults(dataset, clips=[index]) == [f for f in whole if f.where == name]


def test_faults_become_intervals_in_the_order_of_time():
    faults = [
        Record(
            "c", "bone length", "", 2, None, {"joint": "a", "parent": "b", "spread_share": 0.5, "mean_cm": 20}
        ),
        Record("c", "frozen", "", 1.5, 70, {"body": 1, "still_frames": 20}),
        Record("c", "joint jump", "", 3, 12, {"joint": "head", "speed_m_per_second": 40.0}),
    ]
    track = fault_track(faults, 80)
    assert track.alarm
    assert track.intervals == [
        Interval("bone length", 0, 80, "a to b varies by 50% around 20 cm"),
        Interval("joint jump", 12, 13, "head at 40 m/s"),
        Interval("frozen", 70, 80, "body 1 does not move for 20 frames"),
    ]


def test_all_rows_of_one_clip_show_the_same_frames_and_a_mask_has_two_colours(scene):
    base = scene.panels[0]
    partial = base.joints.copy()
    partial[:, ::2] = np.nan  # as where a mask hides whole moments
    masked = Layer(
        "masked", np.isnan(partial[..., 0]).astype(np.float32), 1.0, printed=True, states=("a", "b")
    )
    three = replace(scene, panels=[base, replace(base, joints=partial)], layers=[masked])
    figure = contact_sheet(three, poses=4)
    rows = [[t.get_text() for t in axes.get_xticklabels()] for axes in figure.axes[:2]]
    assert rows[0] == rows[1]
    image = figure.axes[2].images[0]
    assert image.cmap.N == 2
    assert not [a for a in figure.axes if a.get_label() == "<colorbar>"]
    assert [t.get_text() for t in figure.axes[2].texts if t.get_text() in ("a", "b")] == ["a", "b"]


def test_people_fill_the_row_of_their_poses(scene):
    """However far somebody walks, each pose stands in its own place and is as tall as the row."""
    far = scene.panels[0].joints[:1].copy()
    far[..., 0] += np.linspace(0, 8, far.shape[1])[None, :, None]
    axes = contact_sheet(replace(scene, panels=[replace(scene.panels[0], joints=far)], layers=[])).axes[0]
    bones = [c for c in axes.collections if isinstance(c, LineCollection)]
    tall = max(np.ptp(np.concatenate(c.get_segments())[:, 1]) for c in bones)
    assert tall > 0.8 * np.ptp(axes.get_ylim())
    for at, lines in zip(axes.get_xticks(), bones, strict=True):
        points = np.concatenate(lines.get_segments())[:, 0]
        assert (points.min() + points.max()) / 2 == pytest.approx(at, abs=0.02)
    inches = axes.get_position().height * axes.figure.get_figheight()
    assert inches > 2.5


def test_titles_are_broken_and_cut_to_their_width():
    font = ImageFont.load_default(20)
    title = "S001C001P001R001A060 · 60 walking apart from each other · 103 frames, 3.4 s · synthetic"
    for width in (120, 260, 700, 2000):
        lines = fitted(title, font, width)
        assert len(lines) <= 2
        assert max(map(font.getlength, lines)) <= width
    assert fitted(title, font, 2000) == [title]


def test_titles_of_many_clips_lie_in_their_own_columns(scene):
    drawing = Drawing(side_by_side([replace(scene, title="w" * 200)] * 6), None, 240)
    assert drawing.rows == 2
    image = np.asarray(drawing.picture(0).convert("L"))
    border = np.array([left for _, left, top in drawing.cells if top == 0][1:]) // 2
    for column in border:  # no letter reaches from one into the next
        assert (image[:, column - 1 : column + 1] > 240).all()
