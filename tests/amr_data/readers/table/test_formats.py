"""Every format of a layout gives the same person, worked out by hand in metres."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.io

from tests.amr_data.readers.table.people import JOINTS, PERSON, moving, only, read, stick, text

T = 5
HEADER = ",".join(f"{joint}_{axis}" for joint in JOINTS for axis in "xyz")


def write_csv(path: Path) -> dict:
    (path / "a.csv").write_text(HEADER + "\n" + text(moving(T).reshape(T, -1)))
    return {"header": True, "columns": "{joint}_{value}"}


def write_csv_by_order(path: Path) -> dict:
    (path / "a.csv").write_text(text(moving(T).reshape(T, -1)))
    return {}


def write_semicolons(path: Path) -> dict:
    (path / "a.csv").write_text("made by hand\n# a remark\n" + text(moving(T).reshape(T, -1), ";"))
    return {"delimiter": ";", "skip": 1, "comment": "#"}


def write_trailing_commas(path: Path) -> dict:
    (path / "a.csv").write_text(text(moving(T).reshape(T, -1)).replace("\n", ",\r\n"))
    return {}


def write_white_space(path: Path) -> dict:
    rows = text(moving(T).reshape(T, -1), "  \t ")
    (path / "a.txt").write_bytes(b"\xef\xbb\xbf" + ("  " + rows.replace("\n", "  \n\n")).encode())
    return {}


def write_joint_a_row(path: Path) -> dict:
    rows = np.concatenate([moving(T).reshape(-1, 3), np.full((T * 6, 1), 0.7)], axis=1)
    (path / "a.txt").write_text(text(rows, " "))
    return {"shape": "(T V) C", "values": ["x", "y", "z", "confidence"]}


def write_long(path: Path) -> dict:
    lines = ["frame,joint,x,y,z"]
    for frame, body in enumerate(moving(T)):
        lines += [f"{frame},{j},{x:.6g},{y:.6g},{z:.6g}" for j, (x, y, z) in zip(JOINTS, body, strict=True)]
    (path / "a.csv").write_text("\n".join(lines))
    return {"header": True, "frame": "frame", "joint": "joint"}


def write_npy(path: Path) -> dict:
    np.save(path / "a.npy", moving(T).astype(np.float32))
    return {}


def write_npy_fortran(path: Path) -> dict:
    np.save(path / "a.npy", np.asfortranarray(moving(T).transpose(2, 0, 1)))
    return {"shape": "C T V"}


def write_npz(path: Path) -> dict:
    np.savez_compressed(path / "a.npz", other=np.zeros(3), joints=moving(T)[:, None], frames=np.arange(T))
    return {"key": "joints", "shape": "T M V C", "frame": "frames"}


def write_mat(path: Path) -> dict:
    scipy.io.savemat(
        path / "a.mat", {"d": moving(T).transpose(1, 2, 0), "about": "text"}, do_compression=True
    )
    return {"shape": "V C T"}


def write_mat_plain(path: Path) -> dict:
    scipy.io.savemat(path / "a.mat", {"first": np.zeros(2), "d": moving(T).reshape(T, 18)})
    return {"key": "d", "shape": "T (V C)"}


def write_mat_73(path: Path) -> dict:
    with h5py.File(path / "a.mat", "w", userblock_size=512) as file:
        file["d"] = moving(T).transpose(2, 1, 0)  # HDF5 has MATLAB's axes the other way round
    return {"key": "d", "shape": "T V C"}


def write_mat_73_packed(path: Path) -> dict:
    with h5py.File(path / "a.mat", "w") as file:
        data = moving(T).transpose(2, 1, 0)
        file.create_dataset("d", data=data, chunks=(2, 4, 3), compression="gzip", shuffle=True)
    return {"key": "d", "shape": "T V C"}


def write_bin(path: Path) -> dict:
    (path / "a.bin").write_bytes(moving(T).astype(">f8").tobytes())
    return {"dtype": "float64", "endian": "big", "shape": "T V C"}


def write_parquet(path: Path) -> dict:
    names = HEADER.split(",")
    table = pa.table({n: moving(T).reshape(T, -1)[:, i] for i, n in enumerate(names)})
    pq.write_table(table.append_column("remark", pa.array(["x"] * T)), path / "a.parquet")
    return {"columns": "{joint}_{value}"}


def write_json_lists(path: Path) -> dict:
    (path / "a.json").write_text(json.dumps({"take": {"frames": moving(T).tolist()}}))
    return {"key": "take.frames"}


def write_json_flat(path: Path) -> dict:
    frames = [{"n": i, "pose": f.reshape(-1).tolist()} for i, f in enumerate(moving(T))]
    (path / "a.json").write_text(json.dumps(frames))
    return {"key": "*.pose", "shape": "T (V C)", "frame": "*.n"}


def write_json_objects(path: Path) -> dict:
    def body(points: np.ndarray) -> dict:
        return {
            j.upper(): dict(zip("XYZ", map(float, p), strict=True))
            for j, p in zip(JOINTS, points, strict=True)
        }

    (path / "a.json").write_text(json.dumps({"frames": [{"people": [body(f)]} for f in moving(T)]}))
    return {
        "key": "frames.*.people",
        "shape": "T M V C",
        "joints": {j: j.upper() for j in JOINTS},
        "values": {"x": "X", "y": "Y", "z": "Z"},
    }


def write_json_records(path: Path) -> dict:
    names = HEADER.split(",")
    rows = [dict(zip(names, map(float, f.reshape(-1)), strict=True)) for f in moving(T)]
    (path / "a.json").write_text(json.dumps({"rows": rows}))
    return {"key": "rows", "columns": "{joint}_{value}"}


WRITERS = [w for name, w in sorted(globals().items()) if name.startswith("write_")]


@pytest.mark.parametrize("write", WRITERS, ids=lambda w: w.__name__.removeprefix("write_"))
def test_every_format_gives_the_same_person(tmp_path, write):
    clip = only(stick(write(tmp_path)), tmp_path)
    (track,) = clip.tracks
    assert (clip.name, clip.label, clip.frames, clip.start) == ("a", -1, T, 0)
    assert track.frames.tolist() == list(range(T))
    np.testing.assert_allclose(track.joints, moving(T), atol=1e-6)
    assert track.inferred is None


def test_a_single_frame_of_matlab_keeps_its_dropped_axis(tmp_path):
    scipy.io.savemat(tmp_path / "a.mat", {"d": moving(1).transpose(1, 2, 0)[..., 0]})
    assert only(stick({"shape": "V C T"}), tmp_path).frames == 1


def test_units_scale_and_axes_come_to_metres(tmp_path):
    # a file in millimetres with z up and y towards the sensor: ours are x, z, -y
    person = moving(T)
    file = np.stack([person[..., 0], -person[..., 2], person[..., 1]], axis=-1) * 1000
    np.save(tmp_path / "a.npy", file)
    clip = only(stick({"unit": "mm", "axes": ["x", "z", "-y"]}), tmp_path)
    np.testing.assert_allclose(clip.tracks[0].joints, person, atol=1e-9)


def test_scale_and_offset_are_about_the_files_axes(tmp_path):
    # SBU's conversion, in reverse: x = 1280 - 2560 x, y = 960 - 1920 y, z = 1280 z, in millimetres
    file = moving(T) * 1000
    file = np.stack([(1280 - file[..., 0]) / 2560, (960 - file[..., 1]) / 1920, file[..., 2] / 1280], axis=-1)
    np.save(tmp_path / "a.npy", file)
    layout = {"unit": "mm", "scale": {"x": -2560, "y": -1920, "z": 1280}, "offset": {"x": 1280, "y": 960}}
    np.testing.assert_allclose(only(stick(layout), tmp_path).tracks[0].joints, moving(T), atol=1e-9)


def test_joints_in_another_order_with_some_skipped_and_some_derived(tmp_path):
    # the file has a thumb that the skeleton lacks, and no spine
    order = ["right_foot", None, "left_foot", "head", "left_hand", "right_hand"]
    file = np.stack([PERSON[JOINTS.index(j)] if j else np.full(3, 99.0) for j in order])[None]
    np.save(tmp_path / "a.npy", file)
    spec = stick({"joints": order, "derived": {"spine": ["head", "left_foot", "right_foot"]}})
    joints = only(spec, tmp_path).tracks[0].joints[0]
    expected = PERSON.copy()
    expected[1] = (PERSON[0] + PERSON[4] + PERSON[5]) / 3
    np.testing.assert_allclose(joints, expected)


def test_image_coordinates_become_image_heights_from_the_middle(tmp_path):
    # the middle of a 640 x 480 image is the origin; y grows downwards in the image, upwards here
    corner, middle = [640, 480], [320, 240]
    np.save(tmp_path / "a.npy", np.array([[corner, middle, [0, 0], [320, 0], middle, middle]], float))
    spec = stick({"unit": "pixel", "image": [640, 480], "values": ["x", "y"]}, dimensions=2)
    joints = only(spec, tmp_path).tracks[0].joints[0]
    expected = [[2 / 3, -0.5, 0], [0, 0, 0], [-2 / 3, 0.5, 0], [0, 0.5, 0], [0, 0, 0], [0, 0, 0]]
    np.testing.assert_allclose(joints, expected)
    # the same as fractions of width and height
    np.save(tmp_path / "a.npy", np.array([[[1, 1], [0.5, 0.5], [0, 0], [0.5, 0], [0.5, 0.5], [0.5, 0.5]]]))
    spec = stick({"unit": "fraction", "image": [640, 480], "values": ["x", "y"]}, dimensions=2)
    np.testing.assert_allclose(only(spec, tmp_path).tracks[0].joints[0], expected)


def test_bodies_from_column_blocks_and_from_a_column(tmp_path):
    two = np.concatenate([moving(T).reshape(T, -1), moving(T, 1.0).reshape(T, -1)], axis=1)
    (tmp_path / "a.csv").write_text(text(two))
    clip = only(stick({}), tmp_path)
    assert [(t.slot, t.body_id) for t in clip.tracks] == [(0, "1"), (1, "2")]
    np.testing.assert_allclose(clip.tracks[1].joints, moving(T, 1.0), atol=1e-6)
    # the same as rows of one body each, the second body from the third frame on
    rows = ["frame,id," + HEADER]
    for frame in range(T):
        for name, body in (("anna", moving(T)), ("bert", moving(T, 1.0))):
            if name == "anna" or frame >= 2:
                rows.append(f"{frame},{name}," + text(body[frame].reshape(1, -1)).strip())
    (tmp_path / "a.csv").write_text("\n".join(rows))
    clip = only(stick({"header": True, "frame": "frame", "body": "id"}), tmp_path)
    assert [(t.slot, t.body_id, t.frames.tolist()) for t in clip.tracks] == [
        (0, "anna", [0, 1, 2, 3, 4]),
        (1, "bert", [2, 3, 4]),
    ]


def test_a_body_of_zeros_or_of_nothing_is_a_gap(tmp_path):
    two = np.concatenate([moving(T).reshape(T, -1), moving(T, 1.0).reshape(T, -1)], axis=1)
    two[1:3, 18:] = 0
    lines = text(two).splitlines()
    lines[4] = ",".join([*lines[4].split(",")[:18], *[""] * 18])
    (tmp_path / "a.csv").write_text("\n".join(lines))
    clip = only(stick({}), tmp_path)
    assert [t.frames.tolist() for t in clip.tracks] == [[0, 1, 2, 3, 4], [0, 3]]


def test_files_of_one_frame_each(tmp_path):
    # OpenPose's way: a file a frame, people in any number, x, y and a score; the folder says nothing
    for frame in (0, 1, 3):
        people = (
            [] if frame == 1 else [{"pose": np.c_[moving(4)[frame, :, :2], np.ones(6)].reshape(-1).tolist()}]
        )
        (tmp_path / f"walk_{frame:012d}_keypoints.json").write_text(json.dumps({"people": people * 2}))
    (tmp_path / "readme.json").write_text("{}")
    layout = {
        "frame_files": "(?P<clip>.+)_(?P<frame>[0-9]{12})_keypoints",
        "key": "people.*.pose",
        "shape": "M (V C)",
        "values": ["x", "y", "score"],
    }
    clip = only(stick(layout, dimensions=2), tmp_path)
    assert (clip.name, clip.frames, [t.frames.tolist() for t in clip.tracks]) == ("walk", 4, [[0, 3], [0, 3]])
    np.testing.assert_allclose(clip.tracks[1].joints[1, 3], [0.5, 0.93, 0])


def test_wrong_shapes_and_names_are_told(tmp_path):
    (tmp_path / "a.csv").write_text(text(moving(T).reshape(T, -1)[:, :-1]))
    _, (reject,) = read(stick({}), tmp_path)
    assert (reject.kind, "17 columns" in reject.detail) == ("joint_count", True)
    (tmp_path / "a.csv").write_text(HEADER + "\n" + text(moving(T).reshape(T, -1)))
    _, (reject,) = read(stick({"header": True, "columns": "{joint}.{value}"}), tmp_path)
    assert reject.detail.startswith("no column 'head.x': the file has head_x, head_y, head_z")
    (tmp_path / "a.csv").write_text("1,2,three\n")
    _, (reject,) = read(stick({"shape": "(T V) C"}), tmp_path)
    assert reject.kind == "bad_number"
    assert "three" in reject.detail
