"""Hand-written pickles that try to do harm, and plain ones that come through whole."""

from __future__ import annotations

import contextlib
import pickle
import struct
import time
import tracemalloc

import numpy as np
import pytest

from amr_data.readers import plain_arrays, safe_pickle
from amr_data.readers.safe_pickle import UnsafePickle, load_plain

HEAD, STOP = b"\x80\x04", b"."


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def name(module: str, attribute: str) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


def laughs(container: tuple[bytes, bytes], levels: int = 30) -> bytes:
    """Level n holds level n - 1 four times; unfolded 4^levels values."""
    opened, closed = container
    out = HEAD + b"(K\x01" + closed + b"q\x00" if opened == b"(" else HEAD + b"](K\x01eq\x00"
    for level in range(1, levels):
        again = b"h" + bytes([level - 1])
        out += opened + again * 4 + closed + b"q" + bytes([level])
    return out + STOP


LISTS, TUPLES = (b"](", b"e"), (b"(", b"t")


@pytest.mark.parametrize("data", [laughs(LISTS), laughs(TUPLES)])
def test_shared_references_that_unfold_without_end_are_refused_at_once(data):
    assert len(data) < 450
    started = time.perf_counter()
    with pytest.raises(UnsafePickle, match="shared references"):
        load_plain(data)
    assert time.perf_counter() - started < 1


def test_the_few_references_that_files_share_are_no_harm():
    shape = (1080, 1920)
    value = [{"img_shape": shape, "frame_dir": "a"} for _ in range(1000)]
    assert load_plain(pickle.dumps(value)) == value


def test_a_tuple_of_tuples_is_never_hashed():
    data = laughs(TUPLES)[:-1]
    started = time.perf_counter()
    for harm in (b"}" + data[2:] + b"K\x01s", b"\x8f(" + data[2:] + b"\x90", b"(" + data[2:] + b"\x91"):
        with pytest.raises(UnsafePickle, match="key"):
            load_plain(HEAD + harm + STOP)
    assert time.perf_counter() - started < 1


def test_numbers_that_collide_as_keys_are_refused():
    """Multiples of 2^61 - 1 all hash to 0: a dict of them takes quadratic time."""
    rows = b"".join(
        b"\x8a\x09" + (n * (2**61 - 1)).to_bytes(9, "little", signed=True) + b"N" for n in range(2, 50)
    )
    with pytest.raises(UnsafePickle, match="key"):
        load_plain(HEAD + b"}(" + rows + b"u" + STOP)


def test_containers_that_hold_themselves_or_go_too_deep_are_refused():
    with pytest.raises(UnsafePickle, match="holds itself"):
        load_plain(HEAD + b"]q\x00h\x00a" + STOP)
    with pytest.raises(UnsafePickle, match="holds itself"):
        load_plain(HEAD + b"}q\x00K\x01h\x00s" + STOP)
    with pytest.raises(UnsafePickle, match="nested deeper"):
        load_plain(HEAD + b"]" * 100_000 + b"a" * 99_999 + STOP)
    deep = [[[[1]]]]
    assert load_plain(pickle.dumps(deep)) == deep


@pytest.mark.parametrize(
    "target",
    [
        name("_codecs", "encode"),
        name("numpy", "dtype"),
        name("numpy.core.multiarray", "_reconstruct"),
        name("collections", "OrderedDict"),
        name("collections", "OrderedDict") + b")R",
        name("numpy", "ndarray"),
        b"]",
        text("abc"),
    ],
)
def test_no_state_is_set_on_anything_but_arrays_and_their_types(target):
    before = {k: dict(vars(c)) for k, c in plain_arrays.CONSTRUCTORS.items()}
    state = b"}" + text("__doc__") + text("harm") + b"s"
    for form in (state, b"N" + state + b"\x86"):
        with pytest.raises(UnsafePickle, match="state"):
            load_plain(HEAD + target + form + b"b" + STOP)
    assert {k: dict(vars(c)) for k, c in plain_arrays.CONSTRUCTORS.items()} == before
    assert safe_pickle.load_plain.__doc__ != "harm"


@pytest.mark.parametrize(
    "data",
    [
        name("_codecs", "encode"),  # a function as the content itself
        b"]" + name("numpy", "ndarray") + b"a",
        b"}K\x01" + name("numpy.core.multiarray", "_reconstruct") + b")Rs",  # an array without content
        name("numpy", "ndarray") + b")R",
        text("x") + b")R",
        name("os", "system") + text("true") + b"\x85R",
        text("os") + text("system") + b"\x93" + text("true") + b"\x85R",
        name("builtins", "eval") + text("1") + b"\x85R",
        name("builtins", "getattr") + text("1") + text("real") + b"\x86R",
        name("numpy", "dtype") + text("O8") + b"\x85R",
        name("numpy", "dtype") + text("f4,f4") + b"\x85R",
        b"(ios\nsystem\n",
        name("collections", "OrderedDict") + b")\x81",
        text("x") + b"Q",
        b"\x82\x01",
        b"\x97",
    ],
)
def test_everything_else_is_refused(data):
    with pytest.raises(UnsafePickle):
        load_plain(HEAD + data + STOP)


@pytest.mark.parametrize(
    "data",
    [
        b"\x8e" + struct.pack("<Q", 1 << 60),
        b"\x96" + struct.pack("<Q", 1 << 60),
        b"\x8d" + struct.pack("<Q", 1 << 60),
        b"\x95" + struct.pack("<Q", 1 << 60),
        b"B" + struct.pack("<I", (1 << 32) - 1),
        b"\x8b" + struct.pack("<I", (1 << 31) - 1),
        b"Nr" + struct.pack("<I", (1 << 32) - 1),
        b"",
        b"t",
        b"\x87",
        b"h\x07",
        b"R",
        b"\xff",
    ],
)
def test_no_memory_is_taken_by_a_numbers_word(data):
    tracemalloc.start()
    try:
        with contextlib.suppress(UnsafePickle):
            assert load_plain(HEAD + data + STOP) is None
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "call",
    [
        (name("_codecs", "encode"), text("x" * 20_000) + b"q\x00", text("latin1") + b"\x86"),
        (name("builtins", "set"), b"](" + b"N" * 20_000 + b"eq\x00", b"\x85"),
    ],
)
def test_copies_of_one_value_again_and_again_are_refused(call):
    function, value, end = call
    again = b"0" + function + b"h\x00" + end + b"R"
    data = HEAD + value + (b"N" + again) * 400 + STOP
    with pytest.raises(UnsafePickle, match="again and again"):
        load_plain(data)


def array_pickle(shape: bytes, kind: str, content: bytes) -> bytes:
    array = name("numpy.core.multiarray", "_reconstruct") + name("numpy", "ndarray") + b"K\x00\x85C\x01b\x87R"
    dtype = name("numpy", "dtype") + text(kind) + b"\x89\x88\x87R(K\x03" + text("<") + b"NNNJ\xff\xff\xff\xff"
    dtype += b"J\xff\xff\xff\xffK\x00tb"
    return HEAD + array + b"(K\x01" + shape + dtype + b"\x89B" + struct.pack("<I", len(content)) + content


def test_a_hand_written_array_and_its_damaged_kin():
    content = np.arange(6, dtype="<f4").tobytes()
    good = array_pickle(b"K\x02K\x03\x86", "f4", content) + b"tb" + STOP
    np.testing.assert_array_equal(load_plain(good), np.arange(6, dtype=np.float32).reshape(2, 3))
    for shape, kind in (
        (b"K\x02K\x04\x86", "f4"),
        (b"K\x02K\x03\x86", "f8"),
        (b"K\x02J\xfd\xff\xff\xff\x86", "f4"),
        (b"K\x06", "f4"),
        (b"(" + b"K\x01" * 40 + b"t", "f4"),
        (b"K\x02K\x03\x86", "V4"),
        (b"K\x02K\x03\x86", "O"),
    ):
        with pytest.raises(UnsafePickle):
            load_plain(array_pickle(shape, kind, content) + b"tb" + STOP)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_arrays_of_every_layout_come_through(protocol):
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(3, 4))
    value = {
        "fortran": np.asfortranarray(rng.normal(size=(5, 7)).astype(np.float16)),
        "swapped": np.arange(9, dtype=">i4"),
        "empty": np.zeros((0, 25, 3), np.float32),
        "zero axes": np.array(2.5),
        "text": np.array(["a", "bc"]),
        "twice": [shared, shared],
        "bytes": b"x" * 1000,
        "numbers": (1.5, -(2**40), True, None, np.float32(0.5), frozenset({1}), {"a"}),
    }
    back = load_plain(pickle.dumps(value, protocol=protocol))
    assert back["twice"][0] is back["twice"][1]
    for key in ("fortran", "swapped", "empty", "zero axes", "text"):
        np.testing.assert_array_equal(back[key], value[key])
        assert back[key].dtype == value[key].dtype
    assert (back["bytes"], back["numbers"]) == (value["bytes"], value["numbers"])
    np.testing.assert_array_equal(back["twice"][1], shared)


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_a_files_arrays_are_not_copied(tmp_path, protocol):
    arrays = [np.full(1 << 18, n, np.float32) for n in range(8)]  # 8 MiB in all
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(arrays, protocol=protocol))
    tracemalloc.start()
    try:
        back = load_plain(tmp_path / "x.pkl")
        assert tracemalloc.get_traced_memory()[1] < 1 << 18
    finally:
        tracemalloc.stop()
    assert [float(a[-1]) for a in back] == list(range(8))
    with pytest.raises(ValueError, match="read-only"):
        back[0][0] = 1


def test_empty_and_absent_files_are_refused(tmp_path):
    (tmp_path / "x.pkl").write_bytes(b"")
    with pytest.raises(UnsafePickle, match="empty"):
        load_plain(tmp_path / "x.pkl")
    with pytest.raises(UnsafePickle, match="cannot be read"):
        load_plain(tmp_path / "y.pkl")
    with pytest.raises(UnsafePickle, match="protocol 2"):
        load_plain(pickle.dumps([1], protocol=0))
