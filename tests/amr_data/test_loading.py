"""Specs from YAML: which files are read, how values are taken, and what is said of a file that is none."""

from __future__ import annotations

import io
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from amr_data.errors import UsageError
from amr_data.specs import DatasetSpec, load_skeleton, load_spec, loading
from amr_data.specs.loading import first_problem, skeleton_names, spec_from_json, spec_names, spec_text

BUILT_IN = Path(str(files("amr_specs")))


@pytest.fixture
def write(tmp_path: Path, own_spec: dict[str, Any]):
    """Write a user's spec with changed fields and lines after it; returns its path."""

    def written(more: str = "", without: str = "", **changes: Any) -> Path:
        content = {k: v for k, v in {**own_spec, **changes}.items() if k != without}
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content, sort_keys=False) + more, encoding="utf-8")
        return tmp_path / "mine.yaml"

    return written


def said(path: Path | str) -> str:
    """What is said of a spec, without where it lies."""
    with pytest.raises(UsageError) as error:
        load_spec(path)
    return str(error.value).replace(str(path), "FILE")


def test_the_built_in_names_are_those_of_the_files():
    assert spec_names() == sorted(p.stem for p in (BUILT_IN / "datasets").glob("*.yaml"))
    assert skeleton_names() == sorted(p.stem for p in (BUILT_IN / "skeletons").glob("*.yaml"))
    assert {"ntu60", "nw-ucla"} < set(spec_names())


def test_the_text_of_what_is_built_in():
    for name, folder in (("ntu60", "datasets"), ("kinect_v2", "skeletons")):
        assert spec_text(name, folder) == (BUILT_IN / folder / f"{name}.yaml").read_text(encoding="utf-8")
    assert spec_text("ntu60") == spec_text("ntu60", "datasets")
    with pytest.raises(UsageError, match=r"there is no dataset 'kinect_v2'"):
        spec_text("kinect_v2")
    with pytest.raises(UsageError, match=r"there is no skeleton 'ntu60'"):
        spec_text("ntu60", "skeletons")


def test_names_of_nothing_built_in():
    assert said("ntu61").startswith("there is no dataset 'FILE': did you mean 'ntu60'? known: bvh, ")
    assert said("ntu61").endswith(", or the path of a .yaml file of your own")
    with pytest.raises(UsageError, match=r"there is no skeleton 'kinect_v3': did you mean 'kinect_v2'"):
        load_skeleton("kinect_v3")


def test_a_built_in_spec_is_read_once_and_names_its_skeleton_and_lists():
    assert load_spec("ntu60") is load_spec("ntu60")
    assert load_spec("ntu60").skeleton == load_skeleton("kinect_v2")
    assert load_skeleton("kinect_v2").name == "kinect_v2"
    assert "S001C002P005R002A008" in load_spec("ntu60").unusable


@pytest.mark.parametrize("ending", [".yaml", ".yml"])
def test_a_file_is_told_by_its_ending(tmp_path: Path, write, ending):
    path = tmp_path / f"other{ending}"
    assert said(path) == "no spec file FILE"
    path.mkdir()
    assert said(path) == "no spec file FILE"
    path.rmdir()
    write().rename(path)
    assert load_spec(path).name == load_spec(str(path)).name == "mine"


def test_lists_lie_beside_the_file_that_names_them_wherever_it_is_linked(tmp_path: Path, write):
    (tmp_path / "lists" / "deep").mkdir(parents=True)
    for name in ("lists/deep/a.txt", "b.txt"):
        (tmp_path / name).write_text(f" {Path(name).stem}1 \n\n  \n{Path(name).stem}2\n", encoding="utf-8")
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "x.yaml").symlink_to(tmp_path / "mine.yaml")
    ways = ("lists/deep/a.txt", "lists/../lists/deep/../deep/a.txt", str(tmp_path / "lists/deep/a.txt"))
    for way in ways:
        write(unusable=way)
        assert load_spec(tmp_path / "links" / "x.yaml").unusable == ["a1", "a2"]
    write(unusable="b.txt").rename(tmp_path / "lists" / "own.yaml")
    assert "b.txt" in said(tmp_path / "lists" / "own.yaml")
    write(unusable="../b.txt").rename(tmp_path / "lists" / "own.yaml")
    assert load_spec(tmp_path / "lists" / "own.yaml").unusable == ["b1", "b2"]


def test_a_skeleton_is_named_or_given(write):
    two = load_skeleton("kinect_v1").model_dump(mode="json")
    assert load_spec(write(skeleton="kinect_v1")).skeleton == load_spec(write(skeleton=two)).skeleton
    assert said(write(skeleton="kinect_v9")).startswith("there is no skeleton 'kinect_v9'")


def test_lists_of_every_part_may_stand_in_files(tmp_path: Path, write):
    for name, text in (
        ("n1", "1\n2"),
        ("n2", "3"),
        ("n3", "0004"),
        ("t1", "a\n 12"),
        ("t2", "b"),
        ("t3", "c"),
    ):
        (tmp_path / f"{name}.txt").write_text(text, encoding="utf-8")
    rules = {
        "numbers": {"by": "subject", "train": "n1.txt", "test": "n2.txt", "validation": "n3.txt"},
        "names": {"by": "name", "train": "t1.txt", "test": "t2.txt", "validation": "t3.txt"},
        "videos": {"by": "video", "train": "t1.txt", "test": ["x"]},
        "f": {"by": "subject", "folds": ["n1.txt", [7], "n3.txt"]},
    }
    spec = load_spec(write(protocols=rules))
    found = {n: (r.train, r.test, r.validation) for n, r in spec.protocols.items()}
    assert found == {
        "numbers": ([1, 2], [3], [4]),
        "names": (["a", "12"], ["b"], ["c"]),
        "videos": (["a", "12"], ["x"], []),
        "f1": ([7, 4], [1, 2], []),
        "f2": ([1, 2, 4], [7], []),
        "f3": ([1, 2, 7], [4], []),
    }


def test_what_lists_of_numbers_hold(tmp_path: Path, write):
    path = write(protocols={"x": {"by": "subject", "train": "a.txt", "test": [1]}})
    for line, shown in (("1x", "1x"), ("-1", "-1"), ("1" * 11, "1" * 11), ("x" * 41, "x" * 40)):
        (tmp_path / "a.txt").write_text(f"2\n{line}\n")
        assert said(path) == f"a.txt: '{shown}' is not a number; this split lists numbers"
    (tmp_path / "a.txt").write_text("2147483647\n0\n" + "0" * 9 + "3")
    assert load_spec(path).protocols["x"].train == [2147483647, 0, 3]


def test_lists_that_cannot_be_read(tmp_path: Path, write, monkeypatch: pytest.MonkeyPatch):
    assert said(write(unusable="gone.txt")).startswith("FILE: [Errno 2] No such file or directory: ")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
    assert said(write(unusable="latin.txt")).startswith("latin.txt: 'utf-8' codec can't decode byte 0xe9")
    path = write(unusable="long.txt")
    (tmp_path / "long.txt").write_text("P1A3\n" * 3000)
    monkeypatch.setattr(loading, "MOST_BYTES", 15_000)
    assert load_spec(path).unusable == ["P1A3"] * 3000
    monkeypatch.setattr(loading, "MOST_BYTES", 14_999)
    assert said(path) == "long.txt: larger than 14,999 bytes"


def test_other_shapes_of_fields_are_left_to_the_model(write):
    assert said(write(protocols={"x": 5})) == "FILE: protocols.x: Input should be a valid dictionary or " + (
        "instance of Protocol"
    )
    assert said(write(protocols=[1])).startswith("FILE: protocols: ")
    assert said(write(unusable=5)).startswith("FILE: unusable: ")
    assert said(write(without="skeleton")) == "FILE: skeleton: Field required"
    assert said(write(mutual=[5])) == "FILE: spec: mutual names class 5, which is not in classes"
    assert load_spec(write(protocols={})).protocols == {}
    assert load_spec(write(without="protocols")).protocols == {}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: 1\nb: [1, 2\n", "FILE is not YAML, line 3: expected ',' or ']', but got '<stream end>'"),
        ("a: 1\n\tb: 2\n", "FILE is not YAML, line 2: found character '\\t' that cannot start any token"),
        ("a: 1\nb: 2\na: 3\n", "FILE is not YAML: line 3 gives 'a' a second time"),
        ("a: 1\n? [1, 2]\n: 3\n", "FILE is not YAML: line 2 has a key that is no plain value"),
        ("a:\n  b: 1\n  b: 2\n", "FILE is not YAML: line 3 gives 'b' a second time"),
        ("- a\n- b\n", "FILE: expected a mapping of fields, found list"),
        ("", "FILE: expected a mapping of fields, found NoneType"),
        ("&x [*x]\n", "FILE is not YAML: aliases make it grow without end"),
        ("a: &x [*x]\n", "FILE is not YAML: aliases make it grow without end"),
        ("a: !own 3\n", "FILE is not YAML, line 1: could not determine a constructor for the tag '!own'"),
    ],
)
def test_a_file_that_is_no_spec_is_told_by_its_line(tmp_path: Path, text, says):
    (tmp_path / "mine.yaml").write_text(text)
    assert said(tmp_path / "mine.yaml") == says


def test_a_file_that_is_no_text_or_nested_too_deep(tmp_path: Path):
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"a: caf\xe9\n")
    assert said(path).startswith("FILE is not YAML: 'utf-8' codec can't decode byte 0xe9")
    path.write_text("a: " + "[" * 1000)
    assert said(path).startswith("FILE is not YAML: maximum recursion depth exceeded")


def test_the_size_of_a_file_is_bounded(write, monkeypatch: pytest.MonkeyPatch):
    path = write("#" * 20_000)
    size = path.stat().st_size
    monkeypatch.setattr(loading, "MOST_BYTES", size)
    assert load_spec(path).name == "mine"
    monkeypatch.setattr(loading, "MOST_BYTES", size - 1)
    assert said(path) == f"FILE: larger than {size - 1:,} bytes"


def test_no_more_is_read_than_may_be(monkeypatch: pytest.MonkeyPatch):
    asked: list[int | None] = []

    class Endless(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            asked.append(size)
            return b"x" * 101

    monkeypatch.setattr(loading, "MOST_BYTES", 100)
    monkeypatch.setattr(Path, "open", lambda *_: Endless())
    with pytest.raises(ValueError, match="larger than 100 bytes"):
        loading._read_text(Path("x"))
    assert asked == [101]


@pytest.mark.parametrize(
    ("text", "nodes"),
    [
        ("a: 1", 3),
        ("a: [1, 2]", 5),
        ("a: {b: 1, c: 2}", 7),
        ("a: &x [1, 2]\nb: *x", 9),  # written out: a mapping, two keys, two lists of two
        ("a: &x [1]\nb: &y [*x, *x]\nc: [*y, *y]", 1 + (1 + 2) + (1 + 5) + (1 + 11)),
    ],
)
def test_nodes_are_counted_with_every_alias_written_out(text, nodes, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loading, "MOST_NODES", nodes)
    assert yaml.load(text, loading._Loader) == yaml.safe_load(text)
    monkeypatch.setattr(loading, "MOST_NODES", nodes - 1)
    with pytest.raises(yaml.YAMLError, match="aliases make it grow without end"):
        yaml.load(text, loading._Loader)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("010", 10),
        ("-7", -7),
        ("+7", 7),
        ("0o17", "0o17"),
        ("1_000", "1_000"),
        ("1" * 18, 111111111111111111),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("-.inf", float("-inf")),
        ("no", "no"),
        ("TRUE", True),
        ("~", None),
        ("2017-01-01", "2017-01-01"),
        ("12:30", "12:30"),
    ],
)
def test_plain_values_are_those_of_yaml_1_2(text, value):
    found = yaml.load(f"a: {text}", loading._Loader)["a"]
    assert (found, type(found)) == (value, type(value))


def test_the_first_problem_of_a_model_in_a_line():
    def of(data: Any, *whole: str) -> str:
        with pytest.raises(ValidationError) as error:
            DatasetSpec.model_validate(data)
        return first_problem(error.value, *whole)

    sound = load_spec("nw-ucla").model_dump()
    assert of(sound | {"max_bodies": 9}) == "max_bodies: Input should be less than or equal to 8"
    assert of(sound | {"mutual": [77]}) == "mutual names class 77, which is not in classes"
    assert of(sound | {"mutual": [77]}, "spec") == "spec: mutual names class 77, which is not in classes"
    assert of(sound | {"mutual": ["x" * 900]}).startswith("mutual.0: Input should be a valid integer")
    told = of(sound | {"x" * 130: 1, "y": 2})
    assert told.startswith(f"there is no field '{'x' * 120}': known: name, title, ")
    assert of(sound | {"\ud800": 1}).startswith("there is no field '\\ud800': known: ")
    rule = {"by": "subject", "trian": [1], "test": [1]}
    told = of(sound | {"protocols": {"p": rule}})
    assert told.startswith("protocols.p: there is no field 'trian': did you mean 'train'? known: by, train, ")
    rule = {"by": "subject", "train": [1], "test": [1]}
    assert of(sound | {"protocols": {"p": rule}}) == "protocols.p: 1 is in train and in test"


def test_an_expression_of_anybodys_is_not_tried_on_its_example():
    sound = load_spec("nw-ucla").model_dump(mode="json")
    assert spec_from_json(sound) == load_spec("nw-ucla")
    assert spec_from_json(sound | {"example": "other"}).example == "other"
    with pytest.raises(ValidationError):
        DatasetSpec.model_validate(sound | {"example": "other"})
