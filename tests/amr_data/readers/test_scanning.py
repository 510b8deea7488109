"""The compiled scanner and the compiled loops against the patient readers and numpy: the same bits, the same
words about what is wrong. Skipped where numba is missing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from amr_data import convert
from amr_data import workers as making
from amr_data.compiling import SWITCH, _load, compiled, want_compiled
from amr_data.errors import RejectError
from amr_data.readers.ntu import parse_ntu
from amr_data.readers.pku_mmd import parse_video
from amr_data.synth import synthesize

pytest.importorskip("numba")


@pytest.fixture(autouse=True, scope="module")
def _wanted():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(SWITCH, "1")
        yield
    want_compiled(False)  # which a conversion here may have left on, and other tests mean the patient readers


SCANNER = "amr_data.readers.scanning"

digits = st.text("0123456789", max_size=22)
exponents = st.one_of(
    st.just(""),
    st.builds("{}{}{}".format, st.sampled_from("eE"), st.sampled_from(["", "+", "-"]), st.integers(0, 330)),
)
built = st.builds("{}{}.{}{}".format, st.sampled_from(["", "-", "+"]), digits, digits, exponents)
numbers = st.one_of(
    built,
    st.builds("{}{}{}".format, st.sampled_from(["", "-"]), digits, exponents),
    st.floats(-1e6, 1e6).map(lambda x: f"{x:.7g}"),
    st.floats().map(repr),
    st.sampled_from(
        ["nan", "NaN", "-inf", "Infinity", "1_0", "0x10", "", "1e", "e5", ".", "-", "--1", "1.2.3", "\uff11"]
    ),
)


def patiently(monkeypatch, work):
    """Without the compiled loops: the result, or reason and detail of the reject."""
    with monkeypatch.context() as without:
        without.setenv(SWITCH, "0")
        return outcome(work)


def outcome(work):
    try:
        return work()
    except RejectError as error:
        return error.reason, error.detail


def bits(parsed):
    """What `parse_ntu` gives, with every number as its bits."""
    if isinstance(parsed[0], str):
        return parsed
    frames, tracks, notes = parsed
    shown = [(t.body_id, t.slot, t.frames.tolist(), t.joints.tobytes(), t.inferred.tobytes()) for t in tracks]
    return frames, shown, notes


def one_body(tokens: list[str], end: str) -> bytes:
    lines = ["1", "1", "72057594037931101 0 1 1 1 1 0 0.1 -0.2 2", "3"]
    lines += [" ".join([*tokens[3 * j : 3 * j + 3], *"00000000", "2"]) for j in range(3)]
    return (end.join(lines) + end).encode()


def test_the_loops_are_there():
    assert compiled(SCANNER) is not None
    assert compiled("amr_data.recipes.motion_loops") is not None


@settings(max_examples=400, deadline=None)
@given(numbers)
@example("9007199254740993")  # 2^53 + 1: halfway between two doubles
@example("900719925474099.3e1")
@example("1e23")  # 10^23 is no double
@example("4503599627370497.5")
@example("0.1e-22")
@example("-0")
@example("00000000.5")
@example("123456789.5")
def test_a_number_has_the_bits_that_float_gives_or_is_refused(text):
    found = compiled(SCANNER).scan_rows(f"{text} 7\n".encode(), 2)
    if found is None:
        return
    assert found.shape == (1, 2)
    assert found[0].tobytes() == np.array([float(text), 7.0]).tobytes()


@pytest.mark.parametrize(
    "text", ["0", "-0.0", "0.2181153", "-0.07663021", "3.785547", "1e-05", "277.419", "2.50E+2"]
)
def test_numbers_as_the_datasets_write_them_are_not_refused(text):
    found = compiled(SCANNER).scan_rows(f"{text} {text}\r\n{text} {text}".encode(), 2)
    assert found is not None
    assert found.tobytes() == np.full((2, 2), float(text)).tobytes()


@settings(max_examples=200, deadline=None)
@given(tokens=st.lists(numbers, min_size=9, max_size=9), end=st.sampled_from(["\n", "\r\n", "\r", " \n"]))
def test_a_file_of_any_numbers_reads_as_it_does_patiently(tokens, end):
    data = one_body(tokens, end)
    with pytest.MonkeyPatch.context() as patch:
        assert bits(outcome(lambda: parse_ntu(data, 3))) == bits(patiently(patch, lambda: parse_ntu(data, 3)))


@settings(max_examples=300, deadline=None)
@given(
    changes=st.lists(
        st.tuples(
            st.integers(0, 10_000),
            st.sampled_from(
                [b"", b" ", b"  ", b"\t", b"\r", b"\n", b"\0", b"x", b"\xff", b"9", b"-", b".", b"e", b"0"]
            ),
            st.integers(0, 2),
        ),
        max_size=4,
    ),
    cut=st.integers(0, 12_000),
    crlf=st.booleans(),
)
def test_a_damaged_file_is_read_or_rejected_as_it_is_patiently(ntu_file, changes, cut, crlf):
    rng = np.random.default_rng(0)
    a, b = "72057594037931100", "72057594037931101"
    some = [rng.normal(0, 1, (25, 3)).round(6) for _ in range(4)]
    data = ntu_file([[(a, some[0])], [(a, some[1]), (b, some[2])], [], [(b, some[3])]])
    data = data if crlf else data.replace(b"\r\n", b"\n")
    for at, text, width in changes:
        at %= len(data)
        data = data[:at] + text + data[at + width :]
    data = data[:cut] if cut < len(data) else data
    with pytest.MonkeyPatch.context() as patch:
        assert bits(outcome(lambda: parse_ntu(data, 25))) == bits(
            patiently(patch, lambda: parse_ntu(data, 25))
        )


def test_videos_of_pku_mmd_read_as_they_do_patiently(monkeypatch):
    rng = np.random.default_rng(0)
    row = " ".join(f"{x:.6f}" for x in rng.normal(0, 1, 12))
    for data in (
        f"{row}\n{row}\n",
        f"{row} \r\n{row}\r\n\r\n",
        f"{row}\n\n{row}",
        f" {row}",
        f"{row} 1",
        f"{row}\n1 2",
        "",
    ):
        mine = outcome(lambda d=data: parse_video(d.encode(), 2))
        patient = patiently(monkeypatch, lambda d=data: parse_video(d.encode(), 2))
        assert type(mine) is type(patient)
        assert mine.tobytes() == patient.tobytes() if isinstance(mine, np.ndarray) else mine == patient


def test_line_ends_alone_take_no_memory():
    tracemalloc.start()
    try:
        assert compiled(SCANNER).scan_rows(b"1 2\n" + b"\n" * 1_000_000, 150) is None
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_the_shortest_lines_find_room(end):
    found = compiled(SCANNER).scan_rows(b"1 2 3\n" * 9 + b"4 5 6" + end, 3)
    assert found is not None
    assert found.tolist() == [[1, 2, 3]] * 9 + [[4, 5, 6]]


@pytest.mark.parametrize(("dataset", "recipe"), [("ntu60", "amr"), ("ntu60", "ctrgcn"), ("pku-mmd-1", "amr")])
def test_a_conversion_has_the_same_content_with_and_without_the_loops(tmp_path, monkeypatch, dataset, recipe):
    synthesize(tmp_path / "raw", dataset, classes=3, subjects=3, replications=1, workers=1)

    def content(out: Path) -> tuple[list[str], list[str]]:
        convert(tmp_path / "raw", out, dataset, recipe=recipe, workers=2)
        manifest = json.loads((out / "manifest.json").read_text())
        return [s["checksum"] for s in manifest["shards"]], (out / "rejects.jsonl").read_text().splitlines()

    with_loops = content(tmp_path / "with")
    monkeypatch.setenv(SWITCH, "0")
    assert content(tmp_path / "without") == with_loops
    assert with_loops[1]


def test_files_scanned_together_give_what_each_gives_alone(tmp_path):
    synthesize(tmp_path, "ntu60", classes=3, subjects=1, replications=1, workers=1)
    texts = [p.read_bytes() for p in sorted(tmp_path.glob("*.skeleton"))]
    short = b"40\n" + b"1\n1 0 0 0 0 0 0 0 0 2\n1\n0 0 0 0 0 0 0 0 0 0 0 2\n" * 40
    assert _load(SCANNER).scan_ntu([], 25) == []
    for group, joints in ((texts, 25), ([short, b"nothing", short[:-1]], 1)):
        together = _load(SCANNER).scan_ntu(group, joints)
        alone = [_load(SCANNER).scan_ntu([text], joints)[0] for text in group]
        assert len(together) == len(alone) == len(group)
        for one, other in zip(together, alone, strict=True):
            assert (one is None) == (other is None)
            for here, there in zip(one or (), other or (), strict=True):
                np.testing.assert_array_equal(here, there)
    assert [found is None for found in together] == [False, True, False]


def test_a_module_that_cannot_be_had_is_none(monkeypatch):
    assert compiled("amr_data.no_such_loops") is None
    assert _load(SCANNER) is not None
    want_compiled(True)
    monkeypatch.setenv(SWITCH, "0")
    assert compiled(SCANNER) is None
    monkeypatch.delenv(SWITCH)
    assert compiled(SCANNER) is not None
    want_compiled(False)
    assert compiled(SCANNER) is None


@pytest.mark.parametrize("workers", [1, 2])
def test_the_loops_are_loaded_where_there_is_enough_to_do(tmp_path, monkeypatch, workers):
    synthesize(tmp_path / "raw", "ntu60", classes=2, subjects=2, replications=1, workers=1)
    size = sum(p.stat().st_size for p in (tmp_path / "raw").glob("*.skeleton"))
    monkeypatch.delenv(SWITCH)
    for worth, loaded in ((size // workers + 1, False), (size // workers // 2, True)):
        monkeypatch.setattr(making, "WORTH_COMPILED", worth)
        convert(tmp_path / "raw", tmp_path / "out", "ntu60", workers=workers, overwrite=True)
        assert (compiled(SCANNER) is not None) == loaded
        shutil.rmtree(tmp_path / "out")


def test_without_a_folder_for_its_cache_nothing_is_compiled():
    code = (
        "from numba.core import caching; caching.CompileResultCacheImpl._locator_classes = []; "
        "from amr_data.compiling import compiled; print(compiled('amr_data.readers.scanning'))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "None"


def test_numba_starts_without_scipys_linear_algebra_and_finds_it_where_it_is_wanted():
    code = (
        "import gc, sys; from amr_data.compiling import compiled; "
        "assert compiled('amr_data.readers.scanning'); print('scipy.linalg' in sys.modules, gc.isenabled()); "
        "from numba.np.linalg import ensure_blas; ensure_blas(); print('scipy.linalg' in sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, SWITCH: "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.split() == ["False", "True", "True"]
