"""The list of what people decide about clips: it is read as it was written, whatever stands in it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amr_data import UsageError
from amr_data.files import WriteError
from amr_data.looking.decisions import (
    MAX_NOTE,
    Decision,
    decide,
    decisions_file,
    decisions_text,
    excluded_clips,
    read_decisions,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


def test_it_lies_beside_the_dataset_under_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert decisions_file("sets/ntu60/") == tmp_path / "sets" / "ntu60.decisions.csv"
    assert decisions_file(".") == tmp_path.parent / f"{tmp_path.name}.decisions.csv"


def test_a_decision_is_added_changed_and_taken_back(tmp_path):
    path = tmp_path / "a.decisions.csv"
    decide(path, "one", "exclude", "jumps at 34")
    decide(path, "two", "keep")
    assert path.read_text() == "clip,decision,note\none,exclude,jumps at 34\ntwo,keep,\n"
    decide(path, "one", "", "  look again\r\nlater ")
    assert list(read_decisions(path).values()) == [
        Decision("one", "", "look again\nlater"),
        Decision("two", "keep"),
    ]
    decide(path, "one", note="again")  # of two people, each changes a part
    decide(path, "one", "keep")
    assert read_decisions(path)["one"] == Decision("one", "keep", "again")
    decide(path, "two", "", "")
    decide(path, "one", "", "")
    assert path.read_text() == "clip,decision,note\n"


@given(st.dictionaries(TEXT, st.tuples(st.sampled_from(["keep", "exclude", ""]), TEXT), max_size=4))
@settings(max_examples=60, deadline=None)
def test_any_text_comes_back_and_no_cell_is_a_formula(tmp_path_factory, found):
    decisions = {name: Decision(name, decision, note) for name, (decision, note) in found.items()}
    text = decisions_text(decisions)
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_text(text, encoding="utf-8", newline="")
    assert read_decisions(path) == decisions
    for one in decisions.values():
        for cell in (one.clip, one.note):
            if cell[:1] in ("=", "+", "-", "@"):
                assert f"'{cell[0]}" in text


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "line 1: expected the heading clip,decision,note"),
        (b"name,decision,note\n", "line 1: expected the heading"),
        (b"clip,decision,note\na,drop,\n", "line 2: the decision 'drop' is neither keep nor exclude"),
        (b"clip,decision,note\na,keep,\na,exclude,\n", "line 3: the clip 'a' stands there twice"),
        (b"clip,decision,note\na,keep\n", "line 2: 2 columns"),
        (b'clip,decision,note\na,keep,"x\n', "line 2"),
        (b"clip,decision,note\n\xff,keep,\n", "byte 19 is not UTF-8"),
        (b"clip,decision,note\na\0,keep,\n", "it holds a NUL"),
    ],
)
def test_what_is_no_list_is_refused_by_its_line(tmp_path, content, said):
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"a\.csv") as error:
        read_decisions(path)
    assert said in str(error.value)
    with pytest.raises(UsageError):
        decide(path, "b", "keep")
    assert path.read_bytes() == content  # what cannot be understood is not written over


def test_notes_that_cannot_be_kept_are_refused(tmp_path):
    with pytest.raises(UsageError, match="at most 2,000"):
        decide(tmp_path / "a.csv", "b", "keep", "x" * (MAX_NOTE + 1))
    with pytest.raises(UsageError, match="cannot be shown"):
        decide(tmp_path / "a.csv", "b", "keep", "bell\a")
    assert not (tmp_path / "a.csv").exists()


def test_a_place_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match="cannot be written"):
        decide(tmp_path / "file" / "a.csv", "b", "keep")


def test_writers_at_once_lose_nothing(tmp_path):
    path = tmp_path / "a.csv"

    def write(of: int) -> None:
        for i in range(5):
            decide(path, f"{of}-{i}", "exclude")

    threads = [threading.Thread(target=write, args=(of,)) for of in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read_decisions(path)) == 20


def test_the_excluded_clips_are_those_of_the_dataset(tmp_path):
    path = Path(tmp_path / "a.csv")
    for name, decision in (("b", "exclude"), ("a", "exclude"), ("c", "keep"), ("d", "")):
        decide(path, name, decision, "why")
    assert excluded_clips(path, ["a", "b", "c", "d", "e"], "x/") == ["a", "b"]
    with pytest.raises(UsageError, match=r"a\.csv: there is no clip 'c' in x/"):
        excluded_clips(path, ["a", "b", "d"], "x/")
