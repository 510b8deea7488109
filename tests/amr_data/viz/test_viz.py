"""Pictures: the values in them are the dataset's, whatever they are drawn on."""

from __future__ import annotations

import base64
import json
import re
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from PIL import Image

from amr_data import Recipe, UsageError, convert, open_dataset
from amr_data.looking.inspection import find_clips
from amr_data.viz import (
    braille,
    clip_scene,
    contact_sheet,
    side_by_side,
    viewer_page,
    with_raw,
    write_animation,
)
from amr_data.viz.contact_sheet import moments
from amr_data.viz.page import ABSENT, NO_VALUE, packed


@pytest.fixture(scope="module")
def dataset(ntu_shards):
    return open_dataset(ntu_shards)


@pytest.fixture(scope="module")
def pair(dataset):
    """A clip of two people."""
    return clip_scene(dataset, find_clips(dataset, ["S*A060"])[0])


def maps_of(figure):
    return [a for a in figure.axes if a.get_label() != "<colorbar>" and a.images]


def test_a_contact_sheet_has_poses_and_two_maps_for_each_body(dataset, pair, tmp_path):
    figure = contact_sheet(pair, poses=5)
    poses = figure.axes[0]
    assert len(poses.get_xticks()) == 5
    bones = [c for c in poses.collections if isinstance(c, LineCollection)]
    assert sum(len(lines.get_segments()) for lines in bones) == 5 * 2 * 24
    frames = moments(pair.panels[0].joints, 5)
    assert [t.get_text().split("\n")[0] for t in poses.get_xticklabels()] == [f"frame {t}" for t in frames]
    assert [text.get_text() for text in poses.texts] == ["1", "2"] * 5  # over the heads
    maps = maps_of(figure)
    assert [a.get_title(loc="left") for a in maps[:2]] == [
        "energy, 8 frames, body 1 (mm)",
        "focal weight, fused, k = 0.01, body 1",
    ]
    values = [a.images[0].get_array() for a in maps]
    assert [v.shape for v in values] == [(25, pair.frames)] * 4
    order = [dataset.spec.skeleton.index(j) for p in dataset.spec.skeleton.parts.values() for j in p]
    track = next(t for t in dataset.clip(pair.name).tracks if t.slot == 0)
    np.testing.assert_allclose(
        values[0][:, track.frames], np.sqrt(track.energy[:, order, 1].T) * 1000, rtol=1e-5
    )
    figure.savefig(tmp_path / "clip.png", dpi=50)
    assert (tmp_path / "clip.png").read_bytes()[:4] == b"\x89PNG"


def test_the_person_is_not_mirrored(genuine, tmp_path):
    """Somebody who faces the sensor has the right shoulder on the left of the picture, synthetic or
    genuine."""
    convert(genuine("ntu-rgbd"), tmp_path / "plain", "ntu60", workers=1)
    convert(genuine("ntu-rgbd"), tmp_path / "turned", "ntu60", recipe=Recipe("amr", rotate=True), workers=1)
    from amr_data.viz.scene import front_view

    for folder in ("plain", "turned"):
        scene = clip_scene(open_dataset(tmp_path / folder), 0)
        right, up = front_view(scene.panels[0].joints, scene.up)
        i, j, head, hip = (
            scene.skeleton.index(n) for n in ("right_shoulder", "left_shoulder", "head", "base_of_spine")
        )
        assert np.nanmean(right[0, :, i]) < np.nanmean(right[0, :, j])
        assert np.nanmean(up[0, :, head]) > np.nanmean(up[0, :, hip]) + 0.4


def test_focal_layers_are_those_of_every_scale_and_fused(pair):
    titles = [layer.title for layer in pair.layers]
    assert titles[:4] == [
        "energy, 8 frames",
        "energy, 4 frames",
        "energy, 12 frames",
        "focal weight, fused, k = 0.01",
    ]
    fused, *scales = (layer.values for layer in pair.layers[3:])
    np.testing.assert_allclose(fused, np.mean(scales, axis=0), atol=1e-6)
    assert pair.layer("focal weight, 4").values is scales[0]
    with pytest.raises(UsageError, match="there is no layer 'speed'"):
        pair.layer("speed")


@pytest.mark.parametrize(("frames", "speed"), [(103, 1.0), (103, 4.0), (103, 0.5), (7, 1.0), (1, 1.0)])
def test_a_gif_lasts_as_long_as_its_clip(pair, tmp_path, frames, speed):
    """103 frames at 30 a second last 3.43 s, which its delays, whole hundredths, add up to."""
    clip = replace(pair, panels=[replace(p, joints=p.joints[:, np.arange(frames) % 70]) for p in pair.panels])
    out, told = tmp_path / "clip.gif", []
    count = write_animation(
        clip, out, height=64, speed=speed, progress=lambda done, total: told.append((done, total))
    )
    assert told[-1] == (count, count)
    with Image.open(out) as picture:
        delays = []
        for frame in range(picture.n_frames):
            picture.seek(frame)
            delays.append(picture.info["duration"] / 1000)
    assert sum(delays) == pytest.approx(frames / 30 / speed, abs=0.0051)
    assert min(delays) >= 0.02  # shorter ones are shown for a tenth of a second


def test_an_mp4_lasts_as_long_as_its_clip_and_is_large(pair, tmp_path):
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
    out = tmp_path / "clip.mp4"
    count = write_animation(pair, out, pair.layers[0], speed=2.0)
    frames, seconds = imageio_ffmpeg.count_frames_and_secs(str(out))
    assert frames == count == pair.frames
    assert seconds == pytest.approx(pair.frames / 60, abs=0.02)
    about = next(imageio_ffmpeg.read_frames(str(out)))
    assert about["size"][1] == 720


def test_wrong_animations_leave_nothing(pair, tmp_path):
    for out, options, says in (
        ("clip.avi", {}, "ends in .gif or .mp4"),
        ("clip.gif", {"height": 8}, "64 to 2160"),
        ("clip.gif", {"speed": 0}, "0.05 to 20"),
    ):
        with pytest.raises(UsageError, match=says):
            write_animation(pair, tmp_path / out, **options)
    assert list(tmp_path.iterdir()) == []


def test_braille_shows_bodies_side_by_side(pair):
    text = braille(pair, pair.frames // 2, 60, 18)
    lines = text.split("\n")
    assert [len(line) for line in lines] == [60] * 18
    dots = [sum(bin(ord(c) - 0x2800).count("1") for c in line) for line in lines]
    assert sum(dots) > 60
    columns = [i for i in range(60) if any(line[i] != "\u2800" for line in lines)]
    assert max(columns) - min(columns) > 10
    two = braille(side_by_side([pair, pair]), 0, 60, 18).split("\n")
    assert [line[:30] for line in two] == [line[30:] for line in two]


def test_a_packed_scene_holds_the_positions(dataset, pair):
    data = packed(pair)
    panel = data["panels"][0]
    steps = np.frombuffer(base64.b64decode(panel["joints"]), "<i2").reshape(
        panel["bodies"], panel["frames"], 25, 3
    )
    joints = pair.panels[0].joints
    there = np.isfinite(joints)
    np.testing.assert_allclose(steps[there] * panel["step"], joints[there], atol=3e-4)
    assert (steps[~there] == ABSENT).all()
    layer = data["layers"][0]
    values = np.frombuffer(base64.b64decode(layer["values"]), np.uint8).reshape(joints.shape[:3])
    true = pair.layers[0].values
    assert ((values == NO_VALUE) == ~np.isfinite(true)).all()
    np.testing.assert_allclose(
        values[np.isfinite(true)] / 254 * layer["top"],
        np.minimum(true[np.isfinite(true)], layer["top"]),
        atol=layer["top"] / 254,
    )


def test_the_page_is_whole_small_and_loads_nothing(dataset, pair):
    page = viewer_page([clip_scene(dataset, i) for i in range(12)])
    assert len(page) < 6e6
    loaded = re.findall(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=\"([^\"]*)", page)
    assert loaded == ["data:,"]
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.S).group(1))
    assert len(data["clips"]) == 12
    assert "<" not in re.search(r'id="data">(.*?)</script>', page, re.S).group(1)
    with pytest.raises(UsageError, match="no clip"):
        viewer_page([])


def test_raw_bodies_beside_the_cleaned(dataset, ntu_raw, tmp_path):
    found = [
        i
        for i in range(len(dataset))
        if any("ghost" in line or "seen in" in line for line in dataset.clip(i).dropped)
    ]
    assert found, "the synthetic clips have visitors that the clean-up leaves out"
    index = found[0]
    (scene,) = with_raw([clip_scene(dataset, index)], dataset, [ntu_raw])
    cleaned, raw = scene.panels
    assert len(raw.joints) > len(cleaned.joints)
    assert (cleaned.title, raw.title) == ("cleaned", f"raw: {len(raw.joints)} bodies")
    frames = cleaned.joints.shape[1]
    difference = np.abs(
        raw.joints[:, None, :frames] - cleaned.joints[None]
    )  # some raw body is the main actor, shifted alike
    assert np.nanmax(difference, axis=(2, 3, 4)).min() < 2e-3
    (tmp_path / "other").mkdir()
    with pytest.raises(UsageError, match="give the sources that"):
        with_raw([clip_scene(dataset, index)], dataset, [tmp_path / "other"])


def test_side_by_side_needs_one_skeleton(pair):
    other = replace(pair, skeleton=pair.skeleton.model_copy(update={"name": "other"}))
    with pytest.raises(UsageError, match="different skeletons"):
        side_by_side([pair, other])
    assert [p.title for p in side_by_side([pair, pair]).panels] == [pair.title] * 2


def test_a_clip_of_one_frame_can_be_shown(dataset, tmp_path):
    scene = clip_scene(dataset, 0)
    panel = replace(scene.panels[0], joints=scene.panels[0].joints[:, :1])
    layers = [replace(layer, values=layer.values[:, :1]) for layer in scene.layers]
    one = replace(scene, panels=[panel], layers=layers)
    assert len(maps_of(contact_sheet(one))) == 2
    assert write_animation(one, tmp_path / "one.gif", height=64) == 1
    assert "\u2800" in braille(one, 0)
    assert packed(one)["frames"] == 1


def test_pictures_from_the_command_line(ntu_shards, ntu_raw, tmp_path):
    from click.testing import CliRunner

    from amr_cli.data import main

    def inspect(*words):
        return CliRunner().invoke(main, ["inspect", str(ntu_shards), *map(str, words)])

    files: list[Path] = [tmp_path / "a" / name for name in ("clip.png", "clip.gif", "clip.html")]
    shown = inspect(
        "--clip",
        "S*C001*A060",
        "--png",
        files[0],
        "--animate",
        files[1],
        "--html",
        files[2],
        "--raw",
        ntu_raw,
        "--speed",
        4,
    )
    assert shown.exit_code == 0, shown.output
    assert all(f.stat().st_size > 1000 for f in files)
    assert "S001" in shown.stdout or "S002" in shown.stdout
    one = inspect("--clip", "0")
    assert "\u2801" <= max(one.stdout) <= "\u28ff" or any("\u2800" < c <= "\u28ff" for c in one.stdout)
    many = json.loads(inspect("--class", "walking apart", "--random", 3, "--json").stdout)
    assert len(many["clips"]) == 3
    for words, says in (
        (["--png", "x.png"], "--png is for clips"),
        (["--clip", "0", "--html", "x.htm"], "--html x.htm: give a name that ends in .html"),
        (["--clip", "0", "--raw", ntu_raw, "--run", "demo"], "give one of them"),
        (
            ["--clip", "0", "--animate", tmp_path / "x.gif", "--layer", "nothing"],
            "there is no layer 'nothing'",
        ),
        (["--class", "swimming"], "there is no class 'swimming' of NTU RGB+D 60"),
    ):
        wrong = inspect(*words)
        assert wrong.exit_code == 2, wrong.output
        assert says in wrong.stderr.replace("\n", " ")


def test_a_dollar_in_a_name_is_a_dollar(pair, tmp_path):
    """matplotlib would take what stands between two for mathematics, and fail on a name that is none."""
    odd = "costs $5 \\frac{ and $6"
    named = replace(pair, title=odd, panels=[replace(p, title=odd) for p in pair.panels * 2])
    figure = contact_sheet(named)
    figure.savefig(tmp_path / "x.png", dpi=30)
    assert figure.get_suptitle().startswith(odd)
    assert write_animation(named, tmp_path / "x.gif", height=64) > 1


def test_raw_archives_are_opened_once_for_all_clips(dataset, ntu_raw, tmp_path, monkeypatch):
    archive = tmp_path / "raw.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(ntu_raw.rglob("*.skeleton")):
            file.write(path, path.name)
    opened = []
    original = zipfile.ZipFile.__init__
    monkeypatch.setattr(
        zipfile.ZipFile, "__init__", lambda self, *a, **k: (opened.append(a), original(self, *a, **k))[1]
    )
    scenes = with_raw([clip_scene(dataset, i) for i in range(6)], dataset, [archive])
    assert len(scenes) == 6
    assert opened.count((archive,)) == 1
