"""The faults list finds what was planted and leaves sound clips alone."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

from amr_cli.data import main
from amr_data import UsageError, convert, open_dataset
from amr_data.looking.faults import KINDS, find_faults
from amr_data.looking.inspection import class_energy
from amr_data.looking.words import fault_in_words
from amr_data.synth import synthesize
from benchmarks.faults import plant, score


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faults")
    synthesize(folder / "raw", "ntu60", classes=20, subjects=4, replications=1, broken=0, workers=1)
    convert(folder / "raw", folder / "shards", "ntu60", workers=1)
    return folder / "shards"


@pytest.fixture(scope="module")
def damaged(sound, tmp_path_factory):
    out = tmp_path_factory.mktemp("damaged") / "shards"
    return out, plant(sound, out, 12)


def test_sound_clips_are_left_alone(sound):
    assert find_faults(open_dataset(sound)) == []


def test_planted_faults_are_found(damaged):
    out, planted = damaged
    assert set(planted) == set(KINDS)
    rows = {kind: (wanted, found, false) for kind, wanted, found, false in score(open_dataset(out), planted)}
    assert all(wanted == 12 for wanted, _, _ in rows.values())
    for kind in (
        "swapped bodies",
        "upside down",
        "mirrored",
        "side flip",
    ):  # these have no size that could lie below the limit
        assert rows[kind] == (12, 12, 0), kind
    for kind, (_, found, false) in rows.items():
        assert found >= 5, kind
        assert false == 0, kind


def test_the_list_is_ranked_and_says_where(damaged):
    out, planted = damaged
    faults = find_faults(open_dataset(out))
    assert [f.severity for f in faults] == sorted((f.severity for f in faults), reverse=True)
    assert len({(f.where, f.kind) for f in faults}) == len(faults)
    assert all(f.severity >= 1 for f in faults)
    jump = next(f for f in faults if f.kind == "joint jump" and f.where in planted["joint jump"])
    clip = open_dataset(out).clip(jump.where)
    track = next(t for t in clip.tracks if jump.frame in t.frames)
    row = int(np.searchsorted(track.frames, jump.frame))
    speed = np.linalg.norm(track.joints[row] - track.joints[row - 1], axis=1) * 30
    name = open_dataset(out).spec.skeleton.joints[int(speed.argmax())]
    assert jump.values == {"joint": name, "speed_m_per_second": pytest.approx(speed.max(), rel=1e-5)}
    assert fault_in_words(jump) == f"{name} at {speed.max():.0f} m/s"
    only = find_faults(open_dataset(out), ("mirrored",))
    assert {f.kind for f in only} == {"mirrored"}
    with pytest.raises(UsageError, match="there is no fault 'mirror': did you mean 'mirrored'"):
        find_faults(open_dataset(out), ("mirror",))


def test_scaled_and_rotated_datasets_are_judged_alike(tmp_path):
    synthesize(tmp_path / "raw", "ntu60", classes=4, subjects=4, replications=1, broken=0, workers=1)
    from amr_data import Recipe

    convert(
        tmp_path / "raw",
        tmp_path / "shards",
        "ntu60",
        recipe=Recipe("amr", rotate=True, scale=True),
        workers=1,
    )
    assert find_faults(open_dataset(tmp_path / "shards")) == []


def test_in_the_terminal_on_a_page_and_as_json(damaged, tmp_path):
    out, planted = damaged
    page = tmp_path / "pages" / "data.html"
    shown = CliRunner().invoke(main, ["inspect", str(out), "--html", str(page)])
    assert shown.exit_code == 0, shown.output
    for text in ("suspicious clips", "mirrored", "motion energy by class", "m/s"):
        assert text in shown.stdout
    text = page.read_text()
    assert "<script" not in text
    assert next(iter(planted["upside down"])) in text
    data = json.loads(CliRunner().invoke(main, ["inspect", str(out), "--json"]).stdout)
    assert {f["kind"] for f in data["faults"]} == set(KINDS)
    without = json.loads(CliRunner().invoke(main, ["inspect", str(out), "--json", "--no-faults"]).stdout)
    assert without["faults"] is None


def test_the_worst_clips_are_shown_with_their_reasons(damaged, tmp_path):
    out, _ = damaged
    faults = find_faults(open_dataset(out))
    page = tmp_path / "worst.html"
    done = CliRunner().invoke(main, ["inspect", str(out), "--worst", "3", "--html", str(page), "--json"])
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)["clips"]
    assert [r["name"] for r in rows] == list(dict.fromkeys(f.where for f in faults))[:3]
    assert faults[0].as_dict() in rows[0]["suspicious"]
    assert fault_in_words(faults[0]) in page.read_text()
    wrong = CliRunner().invoke(main, ["inspect", str(out), "--worst", "3", "--clip", "0"])
    assert wrong.exit_code == 2
    assert "--worst chooses clips by itself" in wrong.stderr


def test_a_dataset_without_suspicious_clips_is_told_so(sound, tmp_path):
    page = tmp_path / "worst.html"
    none = CliRunner().invoke(main, ["inspect", str(sound), "--worst", "3", "--html", str(page)])
    assert (none.exit_code, page.exists()) == (0, False)
    assert "no suspicious clip" in none.stdout
    values = CliRunner().invoke(main, ["inspect", str(sound), "--worst", "3", "--json"])
    assert json.loads(values.stdout) == {"clips": [], "of": 0}


def test_more_than_a_screen_of_drawn_clips_are_all_shown(sound, tmp_path):
    page = tmp_path / "drawn.html"
    words = ["inspect", str(sound), "--random", "30", "--html", str(page)]
    shown = json.loads(CliRunner().invoke(main, [*words, "--json"]).stdout)
    names = [row["name"] for row in shown["clips"]]
    assert (len(set(names)), shown["of"]) == (30, 30)
    assert all(name in page.read_text() for name in names)
    again = json.loads(CliRunner().invoke(main, [*words[:-2], "--json"]).stdout)
    assert [row["name"] for row in again["clips"]] == names
    wrong = CliRunner().invoke(main, [*words, "--seed", "-1"])
    assert (wrong.exit_code, "--seed" in wrong.stderr) == (2, True)


def test_energy_by_class_is_the_mean_of_its_clips(sound):
    dataset = open_dataset(sound)
    values = class_energy(dataset)
    assert list(values.values()) == sorted(values.values(), reverse=True)
    label = int(dataset.clips["label"][0])
    mine = dataset.clips["mean_energy"][dataset.clips["label"] == label, 1]
    name = f"{dataset.spec.class_ids[label]} {dataset.spec.class_names[label]}"
    assert values[name] == pytest.approx(np.sqrt(mine.astype(float).mean()))


def test_the_genuine_clips_are_judged_sound(genuine, tmp_path):
    convert(genuine("ntu-rgbd"), tmp_path / "shards", "ntu60", workers=1)
    assert find_faults(open_dataset(tmp_path / "shards")) == []


def test_nw_ucla_has_bodies_that_jump(genuine, tmp_path):
    convert(genuine("nw-ucla/all_sqe.zip"), tmp_path / "shards", "nw-ucla", workers=1)
    faults = find_faults(open_dataset(tmp_path / "shards"))
    worst = faults[0]
    assert (worst.where, worst.kind, worst.frame) == ("a04_s01_e01_v01", "body jump", 34)
    assert worst.severity == pytest.approx(11.5, abs=0.1)
    assert {f.kind for f in faults} == {"body jump", "bone length", "joint jump", "side flip"}
