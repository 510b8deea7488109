"""What a spec makes of files, told before anything is converted."""

from __future__ import annotations

import numpy as np
import pytest

from amr_data.errors import UsageError
from amr_data.looking.understanding import describe
from amr_data.readers import RawSource
from amr_data.specs import load_spec
from tests.amr_data.readers.table.people import PERSON, moving, stick

NAMING = "s(?P<subject>[0-9])_a(?P<action>[0-9])_c(?P<camera>[0-9])"


@pytest.fixture
def source(tmp_path):
    for name in ("s1_a1_c1", "s1_a2_c2", "s2_a2_c1", "s3_a2_c1"):
        np.save(tmp_path / f"{name}.npy", moving(5)[:, None] * 1000)
    np.save(tmp_path / "holiday.npy", moving(5) * 1000)
    np.save(tmp_path / "s1_a9_c1.npy", moving(5) * 1000)
    return RawSource([tmp_path])


def test_everything_that_a_person_can_check(source):
    spec = stick(
        {"shape": "T M V C", "unit": "mm"},
        naming=NAMING,
        classes={1: "bow", 2: "wave", 3: "never seen"},
        protocols={"xsub": {"by": "subject", "train": [1], "validation": [2], "test": [3]}},
    )
    told = describe(spec, source)
    assert {
        k: told[k] for k in ("dataset", "family", "unit", "files", "units", "units_read", "clips_read")
    } == {
        "dataset": "mine",
        "family": "table",
        "unit": "metres",
        "files": 6,
        "units": 4,
        "units_read": 4,
        "clips_read": 4,
    }
    assert told["complete"] is True
    assert told["clips"][0] == {
        "name": "s1_a1_c1",
        "label": "1 bow",
        "frames": 5,
        "bodies": 1,
        "frames_with_a_body": 5,
        "first_frame": 0,
        "notes": [],
    }
    # head to spine to a foot: 0.6, and the way from (0, 1.1) to (0.1, 0.05)
    tall = 0.6 + float(np.hypot(0.1, 1.05))
    assert told["height_m"]["median"] == pytest.approx(tall)
    assert told["height_m"]["measured"] == "head to ankles along the bones"
    assert told["joints_m"]["left_foot"] == pytest.approx((PERSON[4] - PERSON[1]).tolist())
    assert told["joints_m"]["right_hand"] == pytest.approx([0.5, -0.18, -0.1])  # 2 cm up on average
    assert told["joints_m"]["spine"] == [0, 0, 0]
    assert told["classes"] == {"1 bow": 1, "2 wave": 3, "3 never seen": 0}
    assert (told["subjects"], told["cameras"]) == ({1: 2, 2: 1, 3: 1}, {1: 3, 2: 1})
    assert told["splits"] == {"xsub": {"train": 2, "test": 1, "validation": 1, "unassigned": 0}}
    assert {r: v["count"] for r, v in told["rejects"].items()} == {"name": 1, "unknown_class": 1}
    assert "holiday.npy" in told["rejects"]["name"]["first"]["where"]
    assert told["warnings"] == []


def test_upside_down_is_a_warning(tmp_path):
    np.save(tmp_path / "a.npy", moving(2))
    told = describe(stick({"axes": ["x", "-y", "z"]}), RawSource([tmp_path]))
    assert told["warnings"] == ["the head is 1.65 below the ankles: the axis that points up looks wrong"]
    assert told["classes"] == {"no label": 1}


def test_people_who_lie_are_a_warning(tmp_path):
    for name, axes in (("a", ["x", "-z", "y"]), ("b", ["x", "z", "y"])):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "a.npy", moving(2))
        (line,) = describe(stick({"axes": axes}), RawSource([tmp_path / name]))["warnings"]
        assert "axis points up" in line or "axis that points up" in line


def test_a_step_that_draws_frames_together_and_an_empty_side_are_warnings(tmp_path):
    rows = moving(8).reshape(8, -1)
    numbers = np.arange(0, 16, 2)[:, None]
    np.savetxt(tmp_path / "s1_a1_c1.csv", np.concatenate([numbers, rows], axis=1), delimiter=",")
    of = {"naming": NAMING, "classes": {1: "bow"}}
    of |= {"protocols": {"xsub": {"by": "subject", "train": [1], "test": [3]}}}
    columns = {"frame": 0}
    told = describe(stick({**columns, "frame_step": 4}, **of), RawSource([tmp_path]))
    assert told["warnings"] == [
        "in 1 of 1 clips frames with numbers of their own fall onto others and are left out: is "
        "frame_step more than numbers are apart?",
        "the split xsub has no test clip: look at its rule and at what names and files say of clips",
    ]
    fits = describe(stick({**columns, "frame_step": 2}, **of), RawSource([tmp_path]))
    assert fits["warnings"] == told["warnings"][1:]


def test_folds_and_found_classes_are_part_of_it(tmp_path):
    for word in ("bow", "wave"):
        (tmp_path / word).mkdir()
        for subject in (1, 2):
            np.save(tmp_path / word / f"{subject}.npy", moving(2))
    spec = stick(
        {},
        naming="(?P<action>[a-z]+)/(?P<subject>[0-9])",
        protocols={"fold": {"by": "subject", "folds": 2}},
    )
    told = describe(spec, RawSource([tmp_path]))
    assert told["classes"] == {"1 bow": 2, "2 wave": 2}
    assert told["splits"] == {f"fold{i}": {"train": 2, "test": 2, "unassigned": 0} for i in (1, 2)}


def test_other_families_are_described_alike(ntu_raw):
    told = describe(load_spec("ntu60"), RawSource([ntu_raw]))
    assert (told["family"], told["unit"]) == ("ntu", "metres")
    assert 1.2 < told["height_m"]["median"] < 2
    assert set(told["splits"]) == {"xsub", "xview"}
    assert sum(entry["count"] for entry in told["rejects"].values()) > 0


def test_nothing_that_fits_is_said(tmp_path):
    (tmp_path / "a.doc").write_text("x")
    with pytest.raises(UsageError, match="no Mine file in it"):
        describe(stick({}), RawSource([tmp_path]))


def test_too_few_values_for_folds_are_told_beside_the_rest(source):
    spec = stick(
        {"shape": "T M V C", "unit": "mm"}, naming=NAMING, protocols={"f": {"by": "subject", "folds": 9}}
    )
    said = describe(spec, source)
    assert said["warnings"] == ["split f: 3 subject values for 9 folds"]
    assert said["clips_read"] > 0


def test_frames_with_a_space_between_their_numbers_are_told(tmp_path):
    for name, step in (("a", 1), ("b", 2)):
        (tmp_path / name).mkdir()
        rows = [[step * t, *joints.ravel()] for t, joints in enumerate(moving(9))]
        np.savetxt(tmp_path / name / "x.csv", rows, delimiter=",")
    spec = stick({"frame": 0})
    assert describe(spec, RawSource([tmp_path / "a"]))["warnings"] == []
    (told,) = describe(spec, RawSource([tmp_path / "b"]))["warnings"]
    assert told.startswith("most frames are 2 after the one before")
