"""Other projects' files from content to clip: what is looked at, what is hashed, what each part becomes."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from xxhash import xxh3_128_hexdigest

from amr_data.clip import Clip
from amr_data.errors import AmrError, UsageError
from amr_data.readers import RawSource, load_family
from amr_data.readers.base import Unit
from amr_data.readers.imports import NpzFamily, PysklFamily
from amr_data.readers.sources import Member
from amr_data.specs import Protocol, load_spec
from tests.amr_data.readers.reading import rejects

NTU, UCLA = load_spec("ntu60"), load_spec("nw-ucla")
NAME = "S001C002P003R002A004"
BODY = np.arange(1.0, 151, dtype=np.float32).reshape(1, 2, 25, 3)


def pickled(path: Path, content: object) -> RawSource:
    path.write_bytes(pickle.dumps(content))
    return RawSource([path])


def annotation(name: object = NAME, label: object = 3, **more: Any) -> dict[str, Any]:
    return {"frame_dir": name, "label": label, "keypoint": BODY, **more}


def of_pickle(path: Path, *annotations: object, **more: object) -> RawSource:
    return pickled(path, {"annotations": list(annotations), **more})


def of_npz(path: Path, **arrays: np.ndarray) -> RawSource:
    np.savez(path, **arrays)
    return RawSource([path])


def read(family: PysklFamily | NpzFamily, source: RawSource, spec=NTU) -> list:
    options = family.options()
    found = family.discover(source, spec, options)
    return [*found.rejects, *family.read(source, found.units, spec, options)]


def test_a_file_is_loaded_once_until_it_changes(tmp_path: Path):
    family = PysklFamily()
    source = of_pickle(tmp_path / "x.pkl", annotation())
    first = family.content(source)
    assert family.content(source) is first
    os.utime(tmp_path / "x.pkl", ns=(1, 1))
    assert family.content(source) is not first
    second = family.content(source)
    assert family.content(of_pickle(tmp_path / "y.pkl", annotation("b"))) is not second
    two = RawSource([tmp_path / "x.pkl", tmp_path / "y.pkl"])
    with pytest.raises(UsageError, match="another project's file is converted alone, not together with"):
        family.content(two)


def test_checksums_are_compared_once_and_not_for_each_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    asked: list[bool] = []
    real = NpzFamily.load

    def load(self: NpzFamily, path: Path, given: str, check: bool) -> dict[str, Any]:
        asked.append(check)
        return real(self, path, given, check)

    monkeypatch.setattr(NpzFamily, "load", load)
    source = of_npz(tmp_path / "x.npz", x_train=np.ones((1, 2, 150), np.float32), y_train=np.zeros(1))
    found = NpzFamily().discover(source, NTU, NpzFamily.options())
    assert asked == [True]
    for part in ("values", "clip"):
        family = NpzFamily()  # as in another process
        if part == "values":
            family.values(source, found.units[0])
        else:
            family.clip(source, found.units[0], NTU, "x")
        assert asked.pop() is False
    asked.clear()
    content = {"annotations": [annotation()]}
    monkeypatch.setattr(PysklFamily, "load", lambda *a: (asked.append(a[3]), content)[1])
    unit = Unit("a", (Member(0, "0", 0, 0),))
    PysklFamily().values(source, unit)
    PysklFamily().clip(source, unit, NTU, "x")
    PysklFamily().matches(source, NTU)
    assert asked == [False, False, True]


def test_what_is_hashed_is_everything_that_is_said_of_a_clip(tmp_path: Path):
    score = np.ones((1, 2, 25), np.float16)
    source = of_pickle(
        tmp_path / "x.pkl",
        annotation("a", 3, keypoint_score=score, img_shape=(1080, 1920), other=5),
        annotation("b", np.int16(4)),
        annotation("c", 2.5, img_shape=[1, 2, 3]),
        annotation("d", 2**63, keypoint=["x"] * 2),
        annotation("e", -(2**63) + 1, img_shape=(1.5, "x")),
    )
    list(read(PysklFamily(), source))
    keypoint = b"<f4(1, 2, 25, 3)" + BODY.tobytes()
    said = {
        "0": b"3\0" + keypoint + b"<f2(1, 2, 25)" + score.tobytes() + b"1080,1920\0",
        "1": b"<i2()" + np.int16(4).tobytes() + keypoint + b"NoneType\0NoneType\0",
        "2": b"2.5\0" + keypoint + b"NoneType\0list\0",
        "3": b"int\0" + b"str,str\0" + b"NoneType\0NoneType\0",
        "4": b"-9223372036854775807\0" + keypoint + b"NoneType\0" + b"1.5,str\0",
    }
    found = {m.path: digest for m, digest in source.hashes.items()}
    assert found == {path: xxh3_128_hexdigest(text) for path, text in said.items()}


def test_values_of_npz_files_are_hashed_with_their_labels(tmp_path: Path):
    x = np.arange(300, dtype=np.float32).reshape(2, 1, 150)
    source = of_npz(tmp_path / "x.npz", x_train=x, y_train=np.array([5, 6]), x_test=x + 1)
    list(read(NpzFamily(), source))
    row = b"<f4(1, 150)"
    said = {
        "train/0": row + x[0].tobytes() + b"<i8()" + np.int64(5).tobytes(),
        "train/1": row + x[1].tobytes() + b"<i8()" + np.int64(6).tobytes(),
        "test/0": row + (x[0] + 1).tobytes(),
        "test/1": row + (x[1] + 1).tobytes(),
    }
    found = {m.path: digest for m, digest in source.hashes.items()}
    assert found == {path: xxh3_128_hexdigest(text) for path, text in said.items()}


def test_a_clean_up_is_that_of_the_dataset_s_own_family(monkeypatch: pytest.MonkeyPatch):
    asked: list[tuple[Any, ...]] = []

    def told(*what: Any) -> Any:
        asked.append(what)
        return what[1]

    ntu = load_family("ntu")
    monkeypatch.setattr(ntu, "clean", lambda clip, recipe, spec: told("ntu", clip, recipe, spec))
    monkeypatch.setattr(ntu, "centres", lambda recipe, spec: told("ntu", recipe, spec))
    monkeypatch.setattr(
        "amr_data.readers.family.clean_slots", lambda clip, recipe: told("slots", clip, recipe)
    )
    clip = Clip(NAME, 3, 0, [])
    own = NTU.model_copy(update={"raw": "pyskl"})
    family = PysklFamily()
    assert family.clean(clip, "amr", NTU) is family.clean(clip, "ctrgcn", own) is clip
    assert family.centres("amr", NTU) == "amr"
    assert asked == [("ntu", clip, "amr", NTU), ("slots", clip, "ctrgcn"), ("ntu", "amr", NTU)]


def test_where_imported_clips_are_centred():
    own = NTU.model_copy(update={"raw": "pyskl"})
    for spec, alike in ((NTU, True), (load_spec("pku-mmd-1"), False), (own, True)):
        centred = [PysklFamily().centres(recipe, spec) for recipe in ("amr", "ctrgcn", "none")]
        assert centred == [True, alike, False]


def test_a_damaged_npz_is_told_by_its_given_name_where_it_is_checked(tmp_path: Path):
    of_npz(tmp_path / "x.npz", x_train=np.ones((2, 300, 150), np.float32))
    data = bytearray((tmp_path / "x.npz").read_bytes())
    data[5000] ^= 1
    (tmp_path / "x.npz").write_bytes(data)
    source = RawSource([tmp_path / "x.npz"], given=["called"])
    assert list(NpzFamily().content(source, check=False)) == ["x_train"]
    with pytest.raises(AmrError, match=r"^called cannot be read as \.npz: Bad CRC"):
        NpzFamily().content(source)


def test_a_spec_of_imported_files_has_no_layout():
    own = NTU.model_copy(update={"raw": "npz"})
    NpzFamily().check(own)
    with pytest.raises(ValueError, match=r"^layout belongs to other families than npz$"):
        NpzFamily().check(own.model_copy(update={"layout": {"a": 1}}))


@pytest.mark.parametrize(
    ("family", "head", "name", "likely"),
    [
        (PysklFamily, b"\x80\x04", "x", True),
        (PysklFamily, b"x", "X.PKL", True),
        (PysklFamily, b"x", "x.pickle", True),
        (PysklFamily, b"x\x80", "x", False),
        (PysklFamily, b"", "x", False),
        (NpzFamily, b"PK\x03", "X.NPZ", True),
        (NpzFamily, b"PK\x03", "x.zip", False),
        (NpzFamily, b"\x80PK", "x.npz", False),
    ],
)
def test_how_other_projects_files_begin(family, head, name, likely):
    assert family().sniff(head, name) is likely


@pytest.mark.parametrize("content", [[], {"split": {}}, {"annotations": {}}, {"annotations": None}])
def test_a_pickle_of_other_content_is_no_annotation_file(tmp_path: Path, content):
    says = "is not a PYSKL annotation file: expected a dict with 'split' and 'annotations'$"
    with pytest.raises(AmrError, match=f"^{tmp_path}/x.pkl {says}"):
        PysklFamily().content(pickled(tmp_path / "x.pkl", content))


def test_a_pickle_that_runs_code_is_refused_by_its_name(tmp_path: Path):
    with pytest.raises(AmrError, match=f"^{tmp_path}/x.pkl is refused: .*getcwd"):
        PysklFamily().content(pickled(tmp_path / "x.pkl", os.getcwd))


def test_annotations_that_are_of_a_dataset(tmp_path: Path):
    """The name, the class that it says, and the number of joints have to agree."""
    few = np.ones((1, 2, 20, 3), np.float32)
    sound = [annotation(), annotation(label=3.0), annotation("S001C002P003R002A060", 59)]
    other = [
        annotation(label=4),
        annotation(label=None),
        annotation(label="4"),
        annotation(label=-1),
        annotation("S001C002P003R002A061", 60),
        annotation("other", 3),
        annotation(5, 3),
        annotation(None),
        annotation(keypoint=few),
        annotation(keypoint=None),
        annotation(keypoint=BODY[0, 0]),
        5,
        {},
    ]
    source = of_pickle(tmp_path / "x.pkl", *sound, *other)
    assert PysklFamily().matches(source, NTU) == (3, 16)
    assert PysklFamily().matches(source, NTU.unlabelled()) == (0, 16)
    people = NTU.changed(naming="P(?P<subject>[0-9]+)", example="", mutual=[], protocols={}, unusable=[])
    assert PysklFamily().matches(of_pickle(tmp_path / "y.pkl", annotation("P3", None)), people) == (1, 1)
    assert PysklFamily().matches(of_pickle(tmp_path / "z.pkl", annotation("P3", 99)), people) == (0, 1)


def test_annotations_become_units_or_rejects(tmp_path: Path):
    broken = [annotation(n) for n in ("", None, 3)] + [5]
    listed = NTU.unusable[0]
    content = [annotation("a"), *broken, annotation("a"), annotation(listed), annotation("b", keypoint=None)]
    split = {"own_train": ["a", "b", "a"], "own_val": ("c",)}
    source = of_pickle(tmp_path / "x.pkl", *content, split=split, synthetic=True)
    found = PysklFamily().discover(source, NTU, PysklFamily.options())
    stamp = (tmp_path / "x.pkl").stat().st_mtime_ns
    told = [(u.name, [(m.source, m.path, m.size, m.stamp) for m in u.members]) for u in found.units]
    assert told == [("a", [(0, "0", BODY.nbytes, stamp)]), ("b", [(0, "7", 0, stamp)])]
    assert rejects(found.rejects) == [
        *((f"x.pkl:{i}", "name", "the annotation has no frame_dir") for i in (1, 2, 3, 4)),
        ("x.pkl:5", "duplicate", "a was already taken"),
        ("x.pkl:6", "listed_unusable", f"listed by {NTU.title} as without a usable skeleton"),
    ]
    assert (found.sources, found.replace_protocols, found.synthetic) == (8, True, True)
    assert found.protocols == {"own": Protocol(by="name", train=["a", "b"], test=["c"])}
    for given in (1, "yes", None):
        source = of_pickle(tmp_path / "x.pkl", annotation("a"), synthetic=given)
        assert PysklFamily().discover(source, NTU, PysklFamily.options()).synthetic is False


def test_an_annotation_becomes_a_clip(tmp_path: Path):
    two = np.concatenate([BODY, BODY * 2])
    two[1, 0] = 0
    shapes = [BODY.astype(int), BODY[0], [[1.0]], None]
    source = of_pickle(
        tmp_path / "x.pkl",
        annotation(keypoint=two.astype(np.float64), keypoint_score=np.full((2, 2, 25), 0.1)),
        *(annotation(f"n{i}", keypoint=keypoint) for i, keypoint in enumerate(shapes)),
        annotation("o", label=60),
    )
    clip, *others = read(PysklFamily(), source)
    assert (clip.name, clip.label, clip.frames, clip.source, clip.video) == (NAME, 3, 2, "x.pkl:0", "")
    assert (clip.setup, clip.camera, clip.subject, clip.replication) == (1, 2, 3, 2)
    assert [(t.slot, t.frames.tolist(), bool(t.inferred.all())) for t in clip.tracks] == [
        (0, [0, 1], True),
        (1, [1], True),
    ]
    np.testing.assert_array_equal(clip.tracks[1].joints[0], two[1, 1])
    assert rejects(others) == [
        *(
            (f"x.pkl:{i}", "not_skeleton", "keypoint is not an array of floats (M, T, V, 3)")
            for i in (1, 2, 3, 4)
        ),
        ("x.pkl:5", "unknown_class", "label 60 is not one of 0 to 59"),
    ]


def test_pixels_need_the_image_s_shape(tmp_path: Path):
    flat = NTU.model_copy(update={"dimensions": 2})
    pixels = np.full((1, 1, 25, 2), 100, np.float32)
    source = of_pickle(tmp_path / "x.pkl", annotation(keypoint=pixels, img_shape=(100, 400)))
    (clip,) = read(PysklFamily(), source, flat)
    assert clip.tracks[0].joints[0, 0].tolist() == [-1, -0.5, 0]


X = np.arange(1, 1 + 3 * 4 * 150, dtype=np.float32).reshape(3, 4, 150) / 8


def test_npz_files_that_are_of_a_dataset(tmp_path: Path):
    hot = np.eye(60, dtype=np.float32)[:3]
    family = NpzFamily()
    assert family.matches(of_npz(tmp_path / "a.npz", x_train=X, y_train=hot, x_test=X, y_test=hot), NTU) == (
        6,
        6,
    )
    assert family.matches(of_npz(tmp_path / "b.npz", x_train=X, y_train=hot, x_test=X), NTU) == (0, 6)
    assert family.matches(of_npz(tmp_path / "c.npz", x_val=X, y_val=hot[:, :59]), NTU) == (0, 3)
    assert family.matches(of_npz(tmp_path / "d.npz", x_test=X[..., :75], y_test=hot), NTU) == (0, 3)
    assert family.matches(of_npz(tmp_path / "e.npz", x_test=X, y_test=np.arange(3)), NTU) == (0, 3)
    ucla = of_npz(tmp_path / "f.npz", x_test=X[..., :60], y_test=hot[:, :10])
    assert (family.matches(ucla, UCLA), family.matches(ucla, NTU)) == ((3, 3), (0, 3))


def test_parts_of_an_npz_file_become_units_and_a_split(tmp_path: Path):
    spec = NTU.model_copy(update={"unusable": ["test_000001"]})
    source = of_npz(tmp_path / "x.npz", x_train=X, x_test=X[:2].astype(np.float64))
    found = NpzFamily().discover(source, spec, NpzFamily.options())
    stamp = (tmp_path / "x.npz").stat().st_mtime_ns
    told = [(u.name, [(m.source, m.path, m.size, m.stamp) for m in u.members]) for u in found.units]
    assert told == [
        *((f"train_00000{i}", [(0, f"train/{i}", 4 * 4 * 150, stamp)]) for i in range(3)),
        ("test_000000", [(0, "test/0", 8 * 4 * 150, stamp)]),
    ]
    why = f"listed by {NTU.title} as without a usable skeleton"
    assert rejects(found.rejects) == [("x.npz:x_test[1]", "listed_unusable", why)]
    assert (found.sources, found.replace_protocols, found.synthetic) == (5, True, False)
    assert found.protocols == {"split": Protocol(by="video", train=["train"], test=["test"])}
    source = of_npz(tmp_path / "y.npz", x_val=X)
    found = NpzFamily().discover(source, NTU, NpzFamily.options())
    rule = Protocol(by="video", train=["train"], test=["test"], validation=["val"])
    assert (found.protocols, [u.name for u in found.units][2]) == ({"split": rule}, "val_000002")
    says = "^x.npz: x_train has 150 values a frame, no multiple of the 20 joints x 3 of nw-ucla$"
    with pytest.raises(AmrError, match=says):
        NpzFamily().discover(RawSource([tmp_path / "x.npz"]), UCLA, NpzFamily.options())


def test_a_row_of_an_npz_file_becomes_a_clip_up_to_its_last_frame_with_a_value(tmp_path: Path):
    x = np.concatenate([X, np.zeros_like(X[:1])])
    x[0, 3] = x[0, 1] = 0  # a gap, and zeros at the end that are none of the clip's
    x[1, :, 75:] = 0
    x[2] = 0
    x[2, 0, 149] = 7
    source = of_npz(tmp_path / "x.npz", x_test=x, y_test=np.array([5, -1, 59, 3]), x_val=X[:1])
    items = read(NpzFamily(), source)
    clips = [i for i in items if isinstance(i, Clip)]
    assert [(c.name, c.label, c.frames, c.video, c.source) for c in clips] == [
        ("test_000000", 5, 3, "test", "x.npz:x_test[0]"),
        ("test_000001", -1, 4, "test", "x.npz:x_test[1]"),
        ("test_000002", 59, 1, "test", "x.npz:x_test[2]"),
        ("val_000000", -1, 4, "val", "x.npz:x_val[0]"),
    ]
    assert [[(t.slot, t.frames.tolist()) for t in c.tracks] for c in clips] == [
        [(0, [0, 2]), (1, [0, 2])],
        [(0, [0, 1, 2, 3])],
        [(1, [0])],
        [(0, [0, 1, 2, 3]), (1, [0, 1, 2, 3])],
    ]
    np.testing.assert_array_equal(clips[0].tracks[1].joints[1], x[0, 2, 75:].reshape(25, 3))
    assert rejects(items) == [("x.npz:x_test[3]", "no_body", "0 frames, 2 bodies")]
    hot = np.eye(60, dtype=np.float32)[[7, 8, 9]]
    hot[1, 3] = 1
    items = read(NpzFamily(), of_npz(tmp_path / "y.npz", x_train=X, y_train=hot))
    assert [i.label for i in items if isinstance(i, Clip)] == [7, 9]
    assert rejects(items) == [("y.npz:x_train[1]", "label_mismatch", "the label is not one-hot")]


@pytest.mark.parametrize(
    ("split", "says"),
    [
        (5, "'split' is a int, not a dict of lists of names"),
        ({"train": 5}, "'split' holds train, which is no list of names"),
        ({"train": ["a", 5]}, "'split' holds train, which is no list of names"),
        ({3: ["a"]}, "'split' holds 3, which is no list of names"),
        ({"x" * 61: 5}, f"'split' holds {'x' * 60}, which is no list of names"),
        ({"train": ["a"], "val": ["a"]}, "'split': split split: a is in train and in test"),
    ],
)
def test_what_is_no_split_is_told_with_the_file(tmp_path: Path, split, says):
    source = of_pickle(tmp_path / "x.pkl", annotation("a"), split=split)
    with pytest.raises(AmrError) as error:
        PysklFamily().discover(source, NTU, PysklFamily.options())
    assert str(error.value) == f"x.pkl: {says}"


@pytest.mark.parametrize("split", [None, {}])
def test_no_split_is_none(tmp_path: Path, split):
    source = of_pickle(tmp_path / "x.pkl", annotation("a"), split=split)
    assert PysklFamily().discover(source, NTU, PysklFamily.options()).protocols == {}
