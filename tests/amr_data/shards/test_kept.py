"""What the tables of kept recordings may hold, number by number."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from amr_data.shards.kept import KeptTables, check_kept, depth
from amr_data.shards.layout import (
    INTERVAL_DTYPE,
    MAX_DEPTH,
    MAX_RECORDING_FRAMES,
    VIEW_DTYPE,
    clip_dtype,
    recording_dtype,
    stretch_dtype,
    track_dtype,
)

ROWS, CLASSES = 16, 3
STILL = (np.zeros(3), np.eye(3))


def sound() -> dict[str, np.ndarray]:
    """Two recordings of ten frames. The first: a body in frames 0 to 3 and 6 to 9, another in 2 and 3; the
    second: a body in frames 4 to 9. Clips: frames 1 to 7 and 2 to 3 of the first, 5 to 9 of the second."""
    recordings = np.zeros(2, recording_dtype(2))
    recordings["frames"] = 10
    stretches = [(0, 0, 0, 0, 4), (0, 0, 4, 6, 4), (0, 1, 8, 2, 2), (1, 0, 10, 4, 6)]
    tracks = [(0, 0, 1, 0, 3), (0, 0, 4, 5, 2), (0, 1, 8, 1, 2), (1, 0, 2, 0, 2), (2, 0, 11, 0, 5)]
    clips = np.zeros(3, clip_dtype(1, 1, 2, 3))
    clips["frames"] = [7, 2, 5]
    return {
        "clips": clips,
        "tracks": np.array([(*t, b"7") for t in tracks], track_dtype(1)),
        "recordings": recordings,
        "stretches": np.array([(*s, b"7") for s in stretches], stretch_dtype(1)),
        "views": np.array([(0, 1, *STILL), (0, 2, *STILL), (1, 5, *STILL)], VIEW_DTYPE),
        "intervals": np.array([(0, 2, 1, 8), (0, 0, 2, 4), (1, 1, 0, 10)], INTERVAL_DTYPE),
    }


def problem(tables: dict[str, np.ndarray]) -> Any:
    kept = KeptTables(*(tables[k] for k in ("recordings", "stretches", "views", "intervals")), [])
    return check_kept(tables["clips"], tables["tracks"], kept, ROWS, CLASSES)


def test_sound_tables_have_no_problem():
    assert problem(sound()) is None
    empty = {name: table[:0] for name, table in sound().items()}
    assert problem(empty) is None
    assert problem({**sound(), "intervals": empty["intervals"]}) is None


WRONG = [
    ("recordings", "frames", 0, 0, "a recording's frames are outside"),
    ("recordings", "frames", 1, MAX_RECORDING_FRAMES + 1, "a recording's frames are outside"),
    ("recordings", "frames", 1, 9, "a track ends after its recording"),
    ("stretches", "recording", 3, 2, "a track belongs to no recording"),
    ("stretches", "slot", 2, 64, "a slot outside 0 to 63"),
    ("stretches", "first_row", 3, 9, "the stretches do not follow each other"),
    ("stretches", "frames", 3, 7, "a track ends after its recording"),
    ("stretches", "slot", 0, 1, "not in the order of recordings and slots"),
    ("intervals", "recording", 2, 2, "an interval belongs to no recording"),
    ("intervals", "recording", 0, 1, "not in the order of recordings and of time"),
    ("intervals", "first", 0, 3, "not in the order of recordings and of time"),
    ("intervals", "first", 1, 4, "an interval is empty"),
    ("intervals", "end", 2, 11, "or does not lie within its recording"),
    ("intervals", "label", 1, 3, "an interval's label is outside 0 to 2"),
    ("intervals", "label", 1, -1, "an interval's label is outside 0 to 2"),
    ("views", "recording", 2, 2, "a clip belongs to no recording"),
    ("views", "recording", 0, 1, "not in the order of recordings"),
    ("views", "first", 2, 6, "a clip does not lie within its recording"),
    ("views", "first", 0, -1, "a clip does not lie within its recording"),
    ("views", "first", 0, 2, "at another frame of its recording"),
    ("views", "origin", 1, np.nan, "a view's origin is no number"),
    ("views", "turn", 1, 1e9, "a view's turn is no number"),
    ("tracks", "first_row", 4, 2, "lies in no stretch of its recording"),
    ("tracks", "first_row", 0, -1, "lies in no stretch of a recording"),
    ("tracks", "first_row", 2, 15, "lies in no stretch of its recording"),
    ("tracks", "frames", 0, 4, "lies in no stretch of its recording"),
    ("tracks", "first_row", 3, 1, "at another frame of its recording"),
]


@pytest.mark.parametrize(("table", "field", "row", "value", "told"), WRONG)
def test_each_rule_is_asked_for(table, field, row, value, told):
    tables = sound()
    tables[table][field][row] = value
    kind, detail = problem(tables)
    assert kind in ("structure", "range")
    assert told in detail


def test_a_row_belongs_to_few_clips():
    tables = sound()
    for name in ("clips", "views"):
        tables[name] = np.repeat(tables[name][2:], MAX_DEPTH)
    tracks = np.repeat(tables["tracks"][4:], MAX_DEPTH)
    tracks["clip"] = np.arange(MAX_DEPTH)
    tables["tracks"] = tracks
    assert problem(tables) is None
    more = {n: np.concatenate([tables[n], tables[n][:1]]) for n in ("clips", "views", "tracks")}
    more["tracks"]["clip"][-1] = MAX_DEPTH
    assert problem({**tables, **more}) == ("structure", f"a row belongs to more than {MAX_DEPTH} clips")
    assert problem({**tables, "views": tables["views"][:-1]})[1] == "63 views for 64 clips"


@pytest.mark.parametrize(
    ("ranges", "expected"),
    [([], 0), ([(0, 2), (2, 4)], 1), ([(0, 9), (3, 5), (4, 6)], 3), ([(0, 2), (1, 3), (5, 6), (5, 7)], 2)],
)
def test_depth_counts_ranges_over_each_other(ranges, expected):
    low, high = (np.array([r[i] for r in ranges], np.int64) for i in (0, 1))
    assert depth(low, high) == expected
