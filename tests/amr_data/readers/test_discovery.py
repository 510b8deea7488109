"""Units, rejects and clips by the names of files, and what a source brings along to the spec."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest

from amr_data.clip import Clip
from amr_data.errors import RejectError
from amr_data.readers import RawSource
from amr_data.readers.base import (
    Discovery,
    Unit,
    discover_by_name,
    files_ending,
    name_fields,
    name_problem,
    new_clip,
    path_names,
)
from amr_data.readers.sources import Member
from amr_data.specs import DatasetSpec, Protocol, load_skeleton


@pytest.fixture
def spec(own_spec: dict[str, Any]) -> DatasetSpec:
    """Names such as P1A3 of the classes 3 and 8."""
    own_spec["skeleton"] = load_skeleton("kinect_v2").model_dump()
    return DatasetSpec.model_validate(own_spec | {"unusable": ["P4A3"], "example": "P1A3"})


def source_of(path: Path, *names: str) -> Path:
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(name)
    return path


def test_a_unit_is_as_large_as_its_files():
    assert Unit("a", (Member(0, "a", 3, 1), Member(0, "b", 4, 1))).size == 7


def test_what_a_source_brings_along_goes_before_the_spec(spec):
    rule = Protocol(by="name", train=["a"], test=["b"])
    added = Discovery(protocols={"own": rule}, classes={1: "one"})
    assert list(added.applied_to(spec).protocols) == ["xsub", "own"]
    assert added.applied_to(spec).classes == spec.classes
    alone = Discovery(protocols={"own": rule}, classes={1: "one"}, replace_protocols=True)
    assert alone.applied_to(spec.unlabelled()).classes == {1: "one"}
    assert list(alone.applied_to(spec).protocols) == ["own"]
    assert alone.applied_to(spec).protocol("own").train == ["a"]
    replaced = Discovery(protocols={"xsub": Protocol(by="subject", train=[5], test=[6])}).applied_to(spec)
    assert replaced.protocol("xsub").train == [5]
    assert Discovery().applied_to(spec) == spec


def test_files_become_units_or_rejects_by_their_names(tmp_path: Path, spec):
    names = ["a/P1A3.x", "b/P1A3.x", "P2A8.x", "P4A3.x", "c/notes.x", "d/notes.x", "P2A7.x", "P3A3.x"]
    source = RawSource([source_of(tmp_path / "raw", *names)])
    found = discover_by_name(source, spec, source.members())
    assert [(u.name, [m.path for m in u.members]) for u in found.units] == [
        ("P2A8", ["P2A8.x"]),
        ("P3A3", ["P3A3.x"]),
        ("P1A3", ["a/P1A3.x"]),
    ]
    assert [(r.where, r.kind, r.detail) for r in found.rejects] == [
        ("raw/P2A7.x", "unknown_class", "action 7 is not in mine"),
        ("raw/P4A3.x", "listed_unusable", "listed by My clips as without a usable skeleton"),
        ("raw/b/P1A3.x", "duplicate", "P1A3 was already taken from another folder or archive"),
        ("raw/c/notes.x", "name", "expected a name like P1A3"),
        ("raw/d/notes.x", "duplicate", "notes was already taken from another folder or archive"),
    ]
    assert found.sources == 8
    assert (found.protocols, found.classes, found.replace_protocols, found.synthetic) == (
        {},
        {},
        False,
        False,
    )


def test_a_refused_file_takes_nobody_s_name(tmp_path: Path, spec):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("../P1A3.x", "out of the folder")
        archive.writestr("b/P1A3.x", "sound")
    source = RawSource([tmp_path / "x.zip"])
    why = "its name leads out of the archive's folder"
    for one, name in ((spec, "P1A3"), (spec.unlabelled(), "b/P1A3")):
        found = discover_by_name(source, one, source.members())
        assert [u.name for u in found.units] == [name]
        assert [(r.where, r.kind, r.detail) for r in found.rejects] == [
            ("x.zip/../P1A3.x", "unsafe_name", why)
        ]


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["a.x", "b/a.x"], ["a", "b/a"]),
        (["a.x", "a.y"], ["a.x", "a.y"]),
        (["a.x"], ["a"]),
        ([], []),
    ],
)
def test_without_a_naming_a_file_is_called_by_its_path(tmp_path: Path, spec, files, names):
    source = RawSource([source_of(tmp_path, *files)])
    assert path_names(source, spec.unlabelled(), source.members()) == names
    found = discover_by_name(source, spec.unlabelled(), source.members())
    assert ([u.name for u in found.units], found.rejects) == (names, [])


def test_sources_of_one_layout_are_told_apart_by_their_names(tmp_path: Path, spec):
    one, two = source_of(tmp_path / "one", "a.x"), source_of(tmp_path / "two", "a.x")
    alike = source_of(tmp_path / "again" / "one", "a.x")
    for paths, names in (
        ([one, two], ["one/a.x", "two/a.x"]),
        ([one, alike], ["one/a.x#0", "one/a.x#1"]),
    ):
        source = RawSource(paths)
        assert path_names(source, spec.unlabelled(), source.members()) == names


def test_names_of_refused_files_are_not_compared(tmp_path: Path, spec):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a.x", "one")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a.x", "two")
        archive.writestr("b.x", "three")
    source = RawSource([tmp_path / "x.zip"])
    assert path_names(source, spec.unlabelled(), source.members()) == ["a", "a", "b"]


def test_a_name_of_a_spec_without_classes_says_no_class(spec):
    assert name_problem(spec, "P1A3") is None
    assert name_problem(spec, "P1A4") == ("unknown_class", "action 4 is not in mine")
    assert name_problem(spec, "P1") == ("name", "expected a name like P1A3")
    assert name_problem(spec.unlabelled(), "P1") is None
    people = spec.changed(naming="P(?P<subject>[0-9]+)", example="")
    assert name_problem(people, "P1") is None


def test_files_are_picked_by_their_endings_in_any_case(tmp_path: Path):
    names = ["A.X", "b.y", "c.z", "._a.x", "__MACOSX/a.x", "in/__MACOSX/a.x", "x"]
    source = RawSource([source_of(tmp_path, *names)])
    assert [m.path for m in files_ending(source, (".x", ".y"))] == ["A.X", "b.y"]


def test_a_clip_begins_with_what_its_name_says(spec):
    naming = (
        "S(?P<setup>[0-9]+)C(?P<camera>[0-9]+)P(?P<subject>[0-9]+)R(?P<replication>[0-9]+)A(?P<action>[0-9]+)"
    )
    full = spec.changed(naming=naming, example="")
    assert new_clip(Unit("S1C2P3R4A8", ()), full, "raw/x") == Clip(
        "S1C2P3R4A8", 1, 0, [], subject=3, camera=2, setup=1, replication=4, source="raw/x"
    )
    assert new_clip(Unit("P5A3", ()), spec, "y") == Clip("P5A3", 0, 0, [], subject=5, source="y")
    assert new_clip(Unit("any", ()), spec.unlabelled(), "y") == Clip("any", -1, 0, [], source="y")
    assert new_clip(Unit("odd", ()), spec, "y").label == -1
    with pytest.raises(RejectError) as error:
        new_clip(Unit("P5A4", ()), spec, "y")
    assert (error.value.reason, error.value.detail) == ("unknown_class", "action 4 is not in mine")
    assert name_fields(full, "S1C2P3R4A8") == {"subject": 3, "camera": 2, "setup": 1, "replication": 4}
    assert name_fields(spec, "odd") == {"subject": -1, "camera": -1, "setup": -1, "replication": -1}
