"""What the rows of a shard may hold, number by number, and what splits are told by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from amr_data.shards.layout import MAX_CLIP_FRAMES, clip_dtype, track_dtype
from amr_data.shards.tables import check_rows, decoded, side_counts, split_values
from amr_data.specs import Protocol

Tables = tuple[np.ndarray, np.ndarray]
ROWS, CLASSES, BODIES = 20, 3, 2


def sound() -> Tables:
    """Two clips of ten frames. The first: a body in frames 0 to 3 and 6 to 9, another in 2 and 3; the second:
    a body in frames 0 to 4 and 6 to 9, with a row of nobody's before it."""
    clips = np.zeros(2, clip_dtype(2, 4, 2, 3))
    clips["name"], clips["video"] = ["é".encode(), b"b"], [b"film", b""]
    clips["label"], clips["frames"], clips["bodies"] = [2, -1], 10, [2, 1]
    clips["inferred_share"], clips["still_share"] = [np.nan, 0.5], [1, np.nan]
    rows = [(0, 0, 0, 0, 4), (0, 0, 4, 6, 4), (0, 1, 8, 2, 2), (1, 0, 11, 0, 5), (1, 0, 16, 6, 4)]
    tracks = np.array([(*row, b"7") for row in rows], track_dtype(2))
    return clips, tracks


def problem(change: Callable[[np.ndarray, np.ndarray], Any] | None = None, **sizes: int) -> Any:
    clips, tracks = sound()
    if change is not None:
        change(clips, tracks)
    of = {"rows": ROWS, "classes": CLASSES, "bodies": BODIES} | sizes
    return check_rows(clips, tracks, **of)


def put(table: str, field: str, row: int, value: Any) -> Callable[[np.ndarray, np.ndarray], None]:
    def change(clips: np.ndarray, tracks: np.ndarray) -> None:
        {"clips": clips, "tracks": tracks}[table][field][row] = value

    return change


def test_sound_rows_have_no_problem():
    assert problem() is None
    assert check_rows(sound()[0][:0], sound()[1][:0], 0, 0, 1) is None
    assert problem(rows=30) is None  # rows that no track has are nobody's
    for field, value in (
        ("label", 0),
        ("frames", MAX_CLIP_FRAMES),
        ("mean_energy", 9.5),
        ("path_length", 9.5),
    ):
        assert problem(put("clips", field, 0, value)) is None
    for field in ("inferred_share", "still_share"):
        for value in (0, 1, np.nan):
            assert problem(put("clips", field, 1, value)) is None

    def unknown(clips: np.ndarray, tracks: np.ndarray) -> None:
        clips["inferred_share"] = clips["still_share"] = np.nan

    assert problem(unknown) is None


@pytest.mark.parametrize(
    ("table", "field", "says"),
    [
        ("clips", "name", "a name is not UTF-8"),
        ("clips", "video", "a video is not UTF-8"),
        ("tracks", "body_id", "a body_id is not UTF-8"),
    ],
)
def test_text_that_is_none(table, field, says):
    assert problem(put(table, field, 0, b"\xff")) == ("structure", says)
    assert problem(put(table, field, 0, "ü".encode())) is None


@pytest.mark.parametrize(
    ("field", "row", "value", "says"),
    [
        ("clip", 0, -1, "a track belongs to no clip"),
        ("clip", 4, 2, "a track belongs to no clip"),
        ("slot", 0, -1, "a track has a slot outside 0 to 1"),
        ("slot", 2, 2, "a track has a slot outside 0 to 1"),
        ("frames", 3, 0, "a track has no frame, or begins before its clip"),
        ("first_frame", 0, -1, "a track has no frame, or begins before its clip"),
        ("first_frame", 1, 7, "a track ends after its clip"),
        ("frames", 3, 11, "a track ends after its clip"),
        ("first_row", 0, -1, "the tracks do not follow each other in the frames, or point outside them"),
        ("first_row", 1, 3, "the tracks do not follow each other in the frames, or point outside them"),
        ("first_row", 4, 17, "the tracks do not follow each other in the frames, or point outside them"),
        (
            "first_row",
            4,
            2**63 - 1,
            "the tracks do not follow each other in the frames, or point outside them",
        ),
        (
            "first_row",
            1,
            2**63 - 1,
            "the tracks do not follow each other in the frames, or point outside them",
        ),
        (
            "first_row",
            1,
            -(2**63),
            "the tracks do not follow each other in the frames, or point outside them",
        ),
        ("first_row", 2, 10, "the tracks do not follow each other in the frames, or point outside them"),
        ("slot", 0, 1, "the tracks are not in the order of clips and slots"),
        ("clip", 0, 1, "the tracks are not in the order of clips and slots"),
        ("first_frame", 1, 3, "two stretches of one body overlap, or are not in the order of time"),
        ("first_frame", 1, 0, "two stretches of one body overlap, or are not in the order of time"),
        ("slot", 2, 0, "two stretches of one body overlap, or are not in the order of time"),
        ("clip", 2, 1, "the tracks are not in the order of clips and slots"),
    ],
)
def test_tracks_that_cannot_be(field, row, value, says):
    assert problem(put("tracks", field, row, value)) == ("structure", says)


def test_limits_of_tracks_are_kept_with_their_ends():
    assert problem(put("tracks", "first_frame", 1, 4)) is None  # right after the stretch before
    assert problem(put("tracks", "first_frame", 1, 5)) is None
    assert problem(put("tracks", "first_row", 2, 9)) is None
    assert problem(put("tracks", "frames", 2, 1)) is None
    for sizes in ({"rows": 19}, {"bodies": 1}):
        assert problem(None, **sizes)[0] == "structure"
    says = "a track has a slot outside 0 to 0"
    assert problem(None, bodies=1) == ("structure", says)


def test_a_stretch_is_held_against_the_one_before_it():
    def overlapping(clips: np.ndarray, tracks: np.ndarray) -> None:
        tracks["slot"][2], tracks["first_frame"][2] = 0, 8

    says = "two stretches of one body overlap, or are not in the order of time"
    assert problem(overlapping) == ("structure", says)

    def thrice(clips: np.ndarray, tracks: np.ndarray) -> None:
        tracks["slot"][2], tracks["first_frame"][:3] = 0, [0, 4, 8]
        clips["bodies"][0] = 1

    assert problem(thrice) is None


def test_a_clip_may_have_a_body_in_two_stretches_and_the_last_none():
    clips, tracks = sound()
    more = tracks[[0, 1, 2, 2, 3, 4]]
    more["first_row"] = [0, 4, 8, 10, 12, 17]
    more["first_frame"][3] = 5
    assert check_rows(clips, more, 21, CLASSES, BODIES) is None
    three = clips[[0, 1, 1]]
    three["bodies"][2] = 0
    assert check_rows(three, tracks, ROWS, CLASSES, BODIES) is None


def test_plain_text_is_looked_at_as_a_whole(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("amr_data.shards.tables.decoded", None)
    assert problem(put("clips", "name", 0, b"a")) is None


@pytest.mark.parametrize(
    ("field", "value", "kind", "says"),
    [
        ("bodies", 3, "structure", "a clip has other bodies than its tracks"),
        ("bodies", 1, "structure", "a clip has other bodies than its tracks"),
        ("label", -2, "range", "a clip's label is outside -1 to 2"),
        ("label", 3, "range", "a clip's label is outside -1 to 2"),
        ("frames", MAX_CLIP_FRAMES + 1, "range", f"a clip's frames is outside 1 to {MAX_CLIP_FRAMES:,}"),
        ("inferred_share", -0.1, "range", "a clip's inferred_share is not a number from 0 up"),
        ("inferred_share", 1.1, "range", "a clip's inferred_share is not a number from 0 up"),
        ("still_share", -0.1, "range", "a clip's still_share is not a number from 0 up"),
        ("still_share", 1.1, "range", "a clip's still_share is not a number from 0 up"),
        ("mean_energy", -0.1, "range", "a clip's mean_energy is not a number from 0 up"),
        ("mean_energy", np.inf, "range", "a clip's mean_energy is not a number from 0 up"),
        ("mean_energy", np.nan, "range", "a clip's mean_energy is not a number from 0 up"),
        ("path_length", -0.1, "range", "a clip's path_length is not a number from 0 up"),
        ("path_length", np.inf, "range", "a clip's path_length is not a number from 0 up"),
        ("path_length", np.nan, "range", "a clip's path_length is not a number from 0 up"),
    ],
)
def test_clips_that_cannot_be(field, value, kind, says):
    assert problem(put("clips", field, 0, value)) == (kind, says)


def test_clips_without_a_frame_or_a_track():
    nothing = np.zeros(1, clip_dtype(1, 1, 1, 1))
    assert check_rows(nothing, sound()[1][:0], 0, 1, 1) == (
        "range",
        f"a clip's frames is outside 1 to {1 << 20:,}",
    )
    nothing["frames"] = 1
    assert check_rows(nothing, sound()[1][:0], 0, 1, 1) is None
    assert check_rows(nothing, sound()[1][:0], 0, 0, 1) == ("range", "a clip's label is outside -1 to -1")
    alone = sound()[1][:1]
    assert check_rows(nothing[:0], alone, 20, 1, 1) == ("structure", "a track belongs to no clip")


def test_a_body_that_comes_back_after_another_is_out_of_order():
    def swapped(clips: np.ndarray, tracks: np.ndarray) -> None:
        tracks["slot"][:3] = [0, 1, 0]

    assert problem(swapped) == ("structure", "the tracks are not in the order of clips and slots")


def test_what_splits_go_by():
    clips, _ = sound()
    clips["subject"], clips["camera"], clips["setup"], clips["replication"] = [5, 6], [7, 8], [1, 2], [3, 4]
    values = {
        f: split_values(clips, f).tolist() for f in ("subject", "camera", "setup", "replication", "label")
    }
    assert values == {
        "subject": [5, 6],
        "camera": [7, 8],
        "setup": [1, 2],
        "replication": [3, 4],
        "label": [2, -1],
    }
    assert split_values(clips, "name").tolist() == ["é", "b"]
    assert split_values(clips, "video").tolist() == ["film", "b"]  # of no recording: its own name
    for field in ("name", "video"):
        assert split_values(clips, field).dtype.kind == split_values(clips[:0], field).dtype.kind == "U"
    assert decoded(clips["name"]) == ["é", "b"]


def test_clips_in_each_part():
    sides = np.array([0, 0, 1, 2, -1, 0, -1], np.int8)
    rule = Protocol(by="subject", train=[1], test=[2], validation=[3])
    assert side_counts(sides, rule) == {"train": 3, "test": 1, "unassigned": 2, "validation": 1}
    plain = Protocol(by="subject", train=[1], test=[2])
    assert side_counts(sides[sides != 2], plain) == {"train": 3, "test": 1, "unassigned": 2}
    assert side_counts(sides[:0], plain) == {"train": 0, "test": 0, "unassigned": 0}
