"""What amr-data shows and refuses, from the outside."""

from __future__ import annotations

import json

from click.testing import CliRunner, Result

from amr_cli.data import main


def call(*words: object) -> Result:
    return CliRunner().invoke(main, [str(w) for w in words])


def test_synthetic_data_are_called_so_wherever_they_are_shown(ntu_raw, ntu_shards, tmp_path):
    converted = call("convert", ntu_raw, tmp_path / "out", "--dataset", "ntu60", "--workers", 1)
    assert "invented motion, never to be shown as real data" in converted.stdout
    again = call("convert", ntu_raw, tmp_path / "out", "--dataset", "ntu60", "--json")
    assert json.loads(again.stdout)["synthetic"] is True
    seen = call("inspect", ntu_shards, "--no-faults", "--html", tmp_path / "all.html")
    assert "NTU RGB+D 60 · synthetic: invented motion" in seen.stdout
    assert 'id="synthetic" role="note"' in (tmp_path / "all.html").read_text()
    assert json.loads(call("inspect", ntu_shards, "--no-faults", "--json").stdout)["synthetic"] is True
    for choice in (["--clip", 0], ["--random", 2]):
        assert "invented motion" in call("inspect", ntu_shards, *choice).stdout
        shown = json.loads(call("inspect", ntu_shards, *choice, "--json").stdout)
        assert all(clip["synthetic"] is True for clip in shown.get("clips", [shown]))


def test_clips_in_a_run_s_eyes_are_marked_too(ntu_shards, tmp_path):
    done = call("inspect", ntu_shards, "--clip", 0, "--run", "demo", "--html", tmp_path / "x.html")
    assert done.exit_code == 0, done.output
    assert "frames · synthetic</title>" in (tmp_path / "x.html").read_text()


def test_real_data_are_not(ntu_file, tmp_path):
    (tmp_path / "raw").mkdir()
    frames = [[("1", [[j / 50, (j + t) / 60, 3.0] for j in range(25)])] for t in range(4)]
    (tmp_path / "raw" / "S001C001P001R001A001.skeleton").write_bytes(ntu_file(frames))
    converted = call("convert", tmp_path / "raw", tmp_path / "out", "--dataset", "ntu60", "--workers", 1)
    assert converted.exit_code == 0, converted.output
    for words in ((), ("--clip", 0)):
        assert json.loads(call("inspect", tmp_path / "out", *words, "--json").stdout)["synthetic"] is False
        assert "invented" not in converted.stdout + call("inspect", tmp_path / "out", *words).stdout


def test_a_dataset_s_rule_is_a_split_and_the_old_word_says_so(ntu_shards, tmp_path):
    words = ["export", ntu_shards, tmp_path / "x.npz", "--format", "npz"]
    old = call(*words, "--protocol", "xview")
    assert old.exit_code == 2
    assert (
        "--protocol is now --split: --protocol is how an encoder is judged, see amr-train eval" in old.stderr
    )
    assert not list(tmp_path.iterdir())
    assert call(*words, "--split", "xview").exit_code == 0
    nowhere = call(*words, "--split", "xveiw")
    assert (nowhere.exit_code, "no split 'xveiw' of ntu60: did you mean 'xview'" in nowhere.stderr) == (
        2,
        True,
    )
    assert "choose one with --split" in call(*words).stderr
    assert "--protocol" not in call("export", "--help").stdout


def test_people_read_of_splits(ntu_shards, tmp_path):
    """The JSON keeps the manifest's key."""
    seen = call("inspect", ntu_shards, "--no-faults", "--html", tmp_path / "all.html").stdout
    assert "protocol" not in seen
    assert "protocol" not in (tmp_path / "all.html").read_text()
    assert "protocols" in json.loads(call("inspect", ntu_shards, "--no-faults", "--json").stdout)
