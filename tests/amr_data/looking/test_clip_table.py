"""Searches: what they mean, what they refuse, and that facets count what a click would find."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amr_data import Record, UsageError, open_dataset
from amr_data.looking.clip_table import ClipTable, Judged
from amr_data.looking.columns import Places
from amr_data.looking.decisions import Decision
from amr_data.looking.searching import Term, parse_search, quoted

KEYS = ("class", "frames", "fault")


def test_a_search_is_terms():
    assert parse_search('class:throw,"sit down" -fault:any frames>=20 "two words" -x', KEYS) == [
        Term("class", ":", ("throw", "sit down")),
        Term("fault", ":", ("any",), True),
        Term("frames", ">=", ("20",)),
        Term("", ":", ("two words",)),
        Term("", ":", ("x",), True),
    ]
    assert parse_search('  CLASS="a \\" \\\\ b"  ', KEYS) == [Term("class", ":", ('a " \\ b',))]
    assert parse_search("", KEYS) == parse_search("   ", KEYS) == []
    assert parse_search("a,b", KEYS) == [Term("", ":", ("a,b",))]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("clas:throw", "there is no key 'clas': did you mean 'class'?"),
        ("a:b", 'text that holds : stands in quotes: "..."'),
        ("class:", "'class:' says nothing to look for"),
        ("class:a,", "'class:a,' says nothing to look for"),
        ("throw -", "'-' says nothing to look for"),
        ('""', "says nothing to look for"),
        ('class:"sit', 'the quote does not end: "sit'),
        ("x" * 3000, "3,000 characters"),
    ],
)
def test_what_cannot_be_understood_is_said_in_one_line(text, said):
    with pytest.raises(UsageError) as error:
        parse_search(text, KEYS)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["", "class", "fault"]),
            st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=3),
            st.booleans(),
        ),
        max_size=4,
    )
)
def test_a_term_that_is_shown_means_itself(drawn):
    terms = [Term(key, ":", tuple(values if key else values[:1]), negated) for key, values, negated in drawn]
    assert parse_search(" ".join(term.shown for term in terms), KEYS) == terms


@given(st.text())
def test_any_text_is_terms_or_a_message(text):
    with suppress(UsageError):
        assert all(term.values for term in parse_search(text, KEYS))


REJECTS = [Record("a.skeleton", "truncated", "line 3"), Record("b.skeleton", "empty", "no byte")]


@pytest.fixture(scope="module")
def table(ntu_shards):
    dataset = open_dataset(ntu_shards)
    predicted = np.full(len(dataset), -1, np.int64)
    judged = dataset.split("xsub", "test")
    predicted[judged] = dataset.clips["label"][judged]
    predicted[judged[:3]] = (predicted[judged[:3]] + 1) % 60
    found = ClipTable(dataset, REJECTS, [Judged("linear mean", predicted)])
    found.set_faults(
        [
            Record(dataset.names[0], "body jump", "", 3.0, 4),
            Record(dataset.names[0], "flicker", "", 1.5),
            Record(dataset.names[5], "joint jump", "", 7.0, 1),
        ]
    )
    found.set_decisions(
        {
            dataset.names[1]: Decision(dataset.names[1], "exclude", "odd"),
            dataset.names[2]: Decision(dataset.names[2], "keep"),
            "elsewhere": Decision("elsewhere", "exclude"),
        }
    )
    found.dataset = dataset
    return found


def found(table, search, **how):
    return table.find(search, **how).clips.tolist()


def test_terms_of_one_key_are_any_of_different_keys_all(table):
    clips, n = table.dataset.clips, len(table.dataset)
    walking = np.flatnonzero(clips["label"] == 59).tolist()
    drinking = np.flatnonzero(clips["label"] == 0).tolist()
    assert found(table, "class:walking") == found(table, "class:60") == walking
    assert found(table, "class:60 class:1") == found(table, "class:60,1") == sorted(walking + drinking)
    assert found(table, "-class:60") == sorted(set(range(n)) - set(walking))
    test = set(table.dataset.split("xsub", "test").tolist())
    assert found(table, "class:60 split:xsub/test") == sorted(set(walking) & test)
    assert found(table, "camera:1 camera:2 -camera:2") == np.flatnonzero(clips["camera"] == 1).tolist()


def test_numbers_compare(table):
    frames = table.dataset.clips["frames"]
    middle = int(np.median(frames))
    assert found(table, f"frames>{middle}") == np.flatnonzero(frames > middle).tolist()
    assert found(table, f"frames>={middle} frames<{middle + 9}") == (
        np.flatnonzero((frames >= middle) & (frames < middle + 9)).tolist()
    )
    assert found(table, f"-frames<={middle}") == np.flatnonzero(frames > middle).tolist()
    assert found(table, "severity>2") == [0, 5]
    with pytest.raises(UsageError, match="frames>many: 'many' is not a number"):
        table.find("frames>many")
    with pytest.raises(UsageError, match="class is no number"):
        table.find("class>3")


def test_faults_decisions_judgements_and_text(table):
    assert found(table, "fault:jump") == [0, 5]
    assert found(table, "fault:any -fault:flicker") == [5]
    assert found(table, "decision:exclude") == found(table, 'decision:"with a note"') == [1]
    assert found(table, "decision:keep,exclude") == [1, 2]
    wrong = table.dataset.split("xsub", "test")[:3].tolist()
    assert found(table, "judged:wrong") == wrong
    assert len(found(table, "judged:right")) == len(table.dataset.split("xsub", "test")) - 3
    name = table.dataset.names[7]
    assert found(table, name.lower()) == [7]
    assert found(table, f'"{name}" nothing') == []
    with pytest.raises(UsageError, match="there is no fault 'jumps'"):
        table.find("fault:jumps")
    with pytest.raises(UsageError, match="could be any of xsub/test, xview/test"):
        table.find("split:test")
    with pytest.raises(UsageError, match="there is no figure 'other'"):
        table.find("", by="other")


def test_facets_count_what_a_click_would_find(table):
    answer = table.find("class:60 camera:1")
    facets = answer.facets
    for key in ("class", "camera", "subject", "split", "fault", "decision", "judged"):
        for value, count in facets[key]:
            others = {"class": "camera:1", "camera": "class:60"}.get(key, "class:60 camera:1")
            assert len(found(table, f"{others} {key}:{quoted(value)}")) == count, (key, value)
    assert dict(facets["reject"]) == {"truncated": 1, "empty": 1}


def test_orders(table):
    frames = table.dataset.clips["frames"]
    longest = found(table, "", sort="-frames")
    assert (np.diff(frames[longest].astype(int)) <= 0).all()
    assert sorted(longest) == list(range(len(table.dataset)))
    assert found(table, "class:60", sort="-severity")[:1] != []
    assert found(table, "", sort="-severity")[:2] == [5, 0]
    names = [table.dataset.names[i] for i in found(table, "", sort="name")]
    assert names == sorted(names)
    with pytest.raises(UsageError, match="there is no order 'length'"):
        table.find("", sort="length")


def test_rejected_sources_are_found_too(table):
    answer = table.find("reject:any")
    assert [r.where for r in answer.rejects] == ["a.skeleton", "b.skeleton"]
    assert [r.where for r in table.find("reject:trunc").rejects] == ["a.skeleton"]
    assert [r.where for r in table.find("reject:any byte").rejects] == ["b.skeleton"]
    with pytest.raises(UsageError, match="class: does not go with it"):
        table.find("reject:any class:60")


def test_a_place_on_a_map_is_a_term(table):
    places = np.full((len(table.dataset), 2), np.nan, np.float32)
    places[:3] = [[0.1, 0.1], [0.5, 0.5], [0.9, 0.2]]
    table.columns["pca"] = Places("pca", "principal components", places)
    try:
        assert found(table, "pca:0.4/0/1/0.6") == [1, 2]
        assert 0 not in found(table, "-pca:0/0/0.2/0.2")
        with pytest.raises(UsageError, match="left/bottom/right/top"):
            table.find("pca:1/2")
    finally:
        del table.columns["pca"]


def test_faults_are_not_there_before_they_were_looked_for(ntu_shards):
    fresh = ClipTable(open_dataset(ntu_shards))
    with pytest.raises(UsageError, match="still being looked for; ask again"):
        fresh.find("fault:jump")
    with pytest.raises(UsageError, match="still being looked for"):
        fresh.find("", sort="-severity")
    assert "fault" not in fresh.find("").facets
