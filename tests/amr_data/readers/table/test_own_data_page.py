"""docs/own-data.md: every spec on the page is whole, and converts files of the kind that the page describes;
the person that comes out is the one that was written."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from amr_data import convert
from amr_data.clip import Clip
from amr_data.readers.family import check_spec
from amr_data.readers.stature import odd_axes
from amr_data.readers.table.layout import Labels, Layout
from amr_data.shards.reader import ShardDataset
from amr_data.specs import DatasetSpec, Skeleton, load_skeleton, load_spec
from tests.amr_data.readers.table.people import read, stick, text

PAGE = (Path(__file__).parents[4] / "docs" / "own-data.md").read_text(encoding="utf-8")
SPECS = {
    match[1]: match[0]
    for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.S)
    if (match := re.match(r"name: (\S+)\n(?s:.*)", block))
}
T = 6
# x to the person's right, y up, z away from the sensor, which the person faces
PARTS = {
    "nose": (0, 1.6, 2.85),
    "eye": (0.03, 1.65, 2.9),
    "ear": (0.07, 1.62, 3),
    "head": (0, 1.65, 3),
    "neck": (0, 1.45, 3),
    "shoulder_centre": (0, 1.42, 3),
    "spine_chest": (0, 1.3, 3),
    "spine_navel": (0, 1.1, 3),
    "torso": (0, 1.15, 3),
    "spine": (0, 1.1, 3),
    "pelvis": (0, 0.92, 3),
    "hip_centre": (0, 0.92, 3),
    "mid_hip": (0, 0.92, 3),
    "clavicle": (0.08, 1.42, 3),
    "collar": (0.08, 1.42, 3),
    "shoulder": (0.18, 1.4, 3),
    "elbow": (0.25, 1.1, 3),
    "wrist": (0.25, 0.85, 2.95),
    "thumb": (0.22, 0.8, 2.9),
    "hand": (0.26, 0.78, 2.95),
    "hip": (0.1, 0.9, 3),
    "knee": (0.1, 0.5, 3),
    "ankle": (0.1, 0.1, 3),
    "heel": (0.1, 0.03, 3.05),
    "toe": (0.1, 0.02, 2.8),
    "foot": (0.1, 0.02, 2.85),
}


def person(skeleton: Skeleton, frames: int = T, shift: float = 0.0) -> np.ndarray:
    """(T, V, 3) metres; the person rises by a centimetre a frame."""
    rows = []
    for joint in skeleton.joints:
        x, y, z = PARTS[
            next(
                p
                for p in PARTS
                if joint.removeprefix("left_").removeprefix("right_").startswith(p) or p in joint
            )
        ]
        rows.append((-x if joint.startswith("left") else x, y, z))
    out = np.repeat(np.array(rows, float)[None], frames, axis=0)
    out[..., 0] += shift
    out[..., 1] += 0.01 * np.arange(frames)[:, None]
    return out


def columns_by_name(folder: Path, spec: DatasetSpec) -> list[np.ndarray]:
    body = person(spec.skeleton)
    header = "frame," + ",".join(f"{j}_{a}" for j in spec.skeleton.joints for a in "xyz")
    file = np.stack([-body[..., 0], -body[..., 1], body[..., 2]], axis=-1) * 1000
    for name in ("bow/p1_1.csv", "bow/p2_1.csv", "wave/p1_1.csv"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(header + "\n" + text(np.c_[np.arange(T), file.reshape(T, -1)]))
    return [body] * 3


def columns_by_order(folder: Path, spec: DatasetSpec) -> list[np.ndarray]:
    body = person(spec.skeleton)
    at = spec.skeleton.index
    body[:, at("torso")] = body[:, [at("neck"), at("left_hip"), at("right_hip")]].mean(axis=1)
    order = [j and at(j) for j in spec.layout["joints"]]
    file = np.stack([body[:, j] if j is not None else np.full((T, 3), 7.0) for j in order], axis=1)
    (folder / "act02_sub01.txt").write_text(text(np.c_[np.arange(T), file.reshape(T, -1)], "  "))
    return [body]


def a_line_a_joint(folder: Path, spec: DatasetSpec) -> list[np.ndarray]:
    body = person(spec.skeleton)
    file = np.concatenate([body, np.ones((T, 20, 1))], axis=-1)
    (folder / "a02_s01_e01_skeleton.txt").write_text(text(file.reshape(-1, 4), " "))
    return [body]


def long_table(folder: Path, spec: DatasetSpec) -> list[np.ndarray]:
    # pixels of a 1280 x 720 image; the second of two people is seen from the third frame on
    bodies = [person(spec.skeleton), person(spec.skeleton, shift=0.4)]
    rows = [
        (frame, f"p{i}", joint, 640 + 720 * (x / 4), 360 - 720 * (y / 4 - 0.25), 0.9)
        for frame in range(T)
        for i, body in enumerate(bodies)
        if i == 0 or frame >= 2
        for joint, (x, y, _) in zip(spec.skeleton.joints, body[frame], strict=True)
    ]
    names = ("frame", "person", "joint", "x", "y", "score")
    pq.write_table(
        pa.table(dict(zip(names, zip(*rows, strict=True), strict=True))), folder / "street.parquet"
    )
    flat = [np.stack([b[..., 0] / 4, b[..., 1] / 4 - 0.25, 0 * b[..., 2]], axis=-1) for b in bodies]
    return [flat[0]]


def arrays_with_a_label_table(folder: Path, spec: DatasetSpec) -> list[np.ndarray]:
    bodies = np.stack([person(spec.skeleton), person(spec.skeleton, shift=1)])
    file = np.stack([bodies[..., 0], -bodies[..., 2], bodies[..., 1]], axis=-1)
    rows = ["file,action,person"]
    for i, action in enumerate(("run", "walk", "jump"), 1):
        np.savez(folder / f"clip{i}.npz", positions=file, framerate=60)
        rows.append(f"clip{i}.npz,{action},{i}")
    (folder / "labels.csv").write_text("\n".join(rows))
    return [bodies[0]] * 3


def intervals(folder: Path, spec: DatasetSpec) -> list[np.ndarray]:
    body = person(spec.skeleton, 20)
    for take in ("take1", "take2"):
        (folder / f"{take}.csv").write_text(text(np.c_[np.arange(20) + 100, body.reshape(20, -1)]))
    (folder / "intervals.csv").write_text("take1,100,105,read\ntake1,110,115,drink\ntake2,100,105,write\n")
    return [body[:6], body[10:16], body[:6]]


def label_blocks(folder: Path, spec: DatasetSpec) -> list[np.ndarray]:
    block = re.search(r"```text\n(s01_e01.*?)```", PAGE, re.S)
    (folder / "actionLabel.txt").write_text(block[1])
    body = person(spec.skeleton, 450)
    for name, first in (("s01_e01", 240), ("s01_e02", 100)):
        rows = np.c_[2 * np.arange(450) + first, body.reshape(450, -1)]
        (folder / f"joints_{name}.txt").write_text(text(np.insert(rows, 5, rows[5], axis=0), " "))
    return [body[6:76], body[166:224], body[27:77]]


def one_table(folder: Path, spec: DatasetSpec) -> list[np.ndarray]:
    body = person(spec.skeleton)
    rows = [np.r_[1 + i // 2, 1 + i // 2, 1 + i // 2, body[i].reshape(-1) * 1000] for i in range(T)]
    (folder / "everything.txt").write_text(text(np.array(rows), " "))
    return [body[:2], body[2:4], body[4:]]


def json_objects(folder: Path, spec: DatasetSpec) -> list[np.ndarray]:
    body = person(spec.skeleton)
    frames = [
        {
            "n": n,
            "joints": {
                j.upper(): dict(zip("XYZ", p, strict=True))
                for j, p in zip(spec.skeleton.joints, b, strict=True)
            },
        }
        for n, b in enumerate(body.tolist())
    ]
    (folder / "anything.json").write_text(json.dumps({"frames": frames}))
    return [body]


def openpose_at_720p(folder: Path, spec: DatasetSpec) -> list[np.ndarray]:
    body = person(spec.skeleton)
    points = np.stack(
        [640 + 720 * body[..., 0] / 4, 360 - 720 * (body[..., 1] / 4 - 0.25), np.ones((T, 25))], -1
    )
    for n, frame in enumerate(points):
        people = [{"pose_keypoints_2d": frame.reshape(-1).tolist()}]
        (folder / f"street_{n:012d}_keypoints.json").write_text(json.dumps({"people": people}))
    return [np.stack([body[..., 0] / 4, body[..., 1] / 4 - 0.25, 0 * body[..., 2]], axis=-1)]


@pytest.mark.parametrize("name", list(SPECS))
def test_every_spec_on_the_page_converts_such_files(tmp_path, name):
    (tmp_path / "mine.yaml").write_text(SPECS[name], encoding="utf-8")
    spec = load_spec(tmp_path / "mine.yaml")
    check_spec(spec)
    raw = tmp_path / "raw"
    raw.mkdir()
    expected = globals()[name.replace("-", "_")](raw, spec)
    clips, rejects = read(spec, raw)
    assert rejects == []
    assert len(clips) == len(expected)
    for clip, body in zip(clips, expected, strict=True):
        np.testing.assert_allclose(clip.tracks[0].joints, body, atol=1e-4, err_msg=clip.name)
    if spec.dimensions == 3:
        assert odd_axes(clips, spec.skeleton) == []
    report = convert(raw, tmp_path / "out", tmp_path / "mine.yaml", workers=1)
    assert (report.manifest["totals"]["clips"], report.damaged) == (len(expected), 0)
    dataset = ShardDataset(tmp_path / "out")
    for split in dataset.spec.protocols:
        sides = dataset.membership(split).tolist()
        assert 0 in sides
        assert 1 in sides


def test_labels_are_those_that_the_page_speaks_of(tmp_path):
    def classes(name: str) -> list[str]:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "mine.yaml").write_text(SPECS[name], encoding="utf-8")
        spec = load_spec(folder / "mine.yaml")
        (folder / "raw").mkdir()
        globals()[name.replace("-", "_")](folder / "raw", spec)
        convert(folder / "raw", folder / "out", spec, workers=1)
        dataset = ShardDataset(folder / "out")
        clips: list[Clip] = [dataset.clip(i) for i in range(len(dataset))]
        return [
            f"{c.name} {c.subject} {'' if c.label < 0 else dataset.spec.class_names[c.label]}".strip()
            for c in clips
        ]

    assert classes("columns-by-name") == ["bow/p1_1 1 bow", "bow/p2_1 2 bow", "wave/p1_1 1 wave"]
    assert classes("arrays-with-a-label-table") == ["clip1 1 run", "clip2 2 walk", "clip3 3 jump"]
    assert classes("intervals") == ["take1_001 -1 read", "take1_002 -1 drink", "take2_001 -1 write"]
    assert classes("label-blocks") == [
        "joints_s01_e01_001 1 walk",
        "joints_s01_e01_002 1 sitDown",
        "joints_s01_e02_001 1 walk",
    ]
    assert classes("one-table") == [
        "everything_1 1 wave",
        "everything_2 2 drink from a bottle",
        "everything_3 3 answer phone",
    ]
    assert classes("long-table") == ["street -1"]


@pytest.mark.parametrize(
    ("axes", "seen"),
    [
        # the file's numbers for a point 1 m up, 1 m to the person's right, 3 m off the camera
        ("[-x, -y, z]", (-1, -1, 3)),
        ("[-x, y, -z]", (-1, 1, -3)),
        ("[-x, y, z]", (-1, 1, 3)),
        ("[-x, z, y]", (-1, 3, 1)),
    ],
)
def test_the_table_of_axes(tmp_path, axes, seen):
    assert f"| `{axes}` |" in PAGE
    skeleton = load_skeleton("coco_17")
    np.save(tmp_path / "a.npy", np.tile(np.array(seen, float), (2, 17, 1)) + person(skeleton, 2) * 0)
    spec = stick({"axes": axes.strip("[]").split(", "), "height": [0, 1e9]}, skeleton=skeleton)
    clips, _ = read(spec, tmp_path)
    assert clips[0].tracks[0].joints[0, 0].tolist() == [1, 1, 3]


def test_the_page_knows_every_field_of_a_layout():
    table = PAGE[PAGE.index("## All fields") :]
    assert [f for f in [*Layout.model_fields, *Labels.model_fields] if f"`{f}`" not in table] == []
