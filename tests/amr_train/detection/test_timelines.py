"""Detectors in use: on raw files of any length, as files for annotators, on frames as they come."""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from amr_cli.timeline import _until_stopped
from amr_cli.train import main as train_command
from amr_data import AmrError, UsageError, open_dataset
from amr_data.interval_files import read_intervals
from amr_data.looking.recordings import found_in
from amr_train.deploy.following import Ended, Found, Now, Refused, follow, growing_lines, lines_of, read_frame
from amr_train.deploy.tiers import as_eaf, write_timelines
from amr_train.deploy.timelines import Timeline, _of_dataset, timelines
from amr_train.detection.files import LoadedDetector, load_detector
from amr_train.detection.intervals import intervals
from amr_train.listening import Listener

CLASSES = ["bow", "clap", "=1+1"]


@pytest.fixture(scope="module")
def loaded(detector_file: Path) -> LoadedDetector:
    return load_detector(detector_file)


@pytest.fixture(scope="module")
def raw(strung: Path) -> Path:
    return strung / "raw" / "skeleton" / "S08V1R00.txt"


def frames_of(raw: Path) -> np.ndarray:
    """(F, 20, 3) of the only body."""
    return np.loadtxt(raw).reshape(-1, 2, 20, 3)[:, 0]


def json_lines(joints: np.ndarray) -> list[bytes]:
    return [json.dumps([body.tolist()]).encode() + b"\n" for body in joints]


def found_rows(found) -> list[tuple]:  # type: ignore[no-untyped-def]
    return [
        (row["label"], row["first"], row["end"], round(row["score"], 2))
        for one in found
        for row in one.as_dict(["x"] * 20)["intervals"]
    ]


def test_a_raw_file_of_any_name_is_labelled_as_the_recording_that_it_is(
    loaded: LoadedDetector, raw: Path, strung: Path, tmp_path: Path
) -> None:
    other = tmp_path / "my recording.txt"
    shutil.copy(raw, other)
    found, rejects = timelines(loaded, [other], device="cpu")
    assert not rejects
    assert (found[0].path, found[0].frames) == (str(other), len(frames_of(raw)))
    data = open_dataset(strung / "data")
    number = data.recordings.names.index("S08V1R00")
    whole, _ = timelines(loaded, [strung / "data"], device="cpu")
    assert found_rows([whole[number]]) == found_rows(found)
    truth = [(one.label, one.first, one.end) for one in data.recordings.intervals_of(number)]
    hit = sum(
        any(label == t[0] and min(end, t[2]) - max(first, t[1]) > 15 for t in truth)
        for label, first, end, _ in found_rows(found)
    )
    assert hit >= 3
    assert len(timelines(loaded, [other], device="cpu", least=1.0)[0][0].found) == 0


def test_a_kept_recording_is_told_in_the_frames_of_its_labels(loaded: LoadedDetector, strung: Path) -> None:
    """Also where its file counts frames from another number on, so that `inspect --found` takes it."""
    data = open_dataset(strung / "data")
    first = data.recordings.part(0, 0, 300)
    made = []
    for start in (0, 1000):
        given = SimpleNamespace(
            spec=data.spec, keeps_recordings=True, recordings=[replace(first, start=start)]
        )
        made += list(_of_dataset(loaded, given, 0.0, Listener(), True))  # type: ignore[arg-type]
    assert made[0].as_dict(CLASSES * 9) == made[1].as_dict(CLASSES * 9)
    assert made[1].frames == first.frames
    found_in(data, 0, [made[1].as_intervals(data.spec.class_names)])


def test_a_dataset_that_was_changed_is_not_labelled(
    loaded: LoadedDetector, strung: Path, tmp_path: Path
) -> None:
    there = shutil.copytree(strung / "data", tmp_path / "data")
    with h5py.File(there / "shard-00000.h5", "r+") as file:
        file["frames/joints"][0, 0, 0] += 0.25
    with pytest.raises(AmrError, match="was changed after its conversion"):
        timelines(loaded, [there])


@pytest.mark.parametrize("content", [b"", b"1 2 3\n4 5\n", b"nobody knows\n"])
def test_files_that_are_no_recordings_are_named(
    loaded: LoadedDetector, tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "strange.txt"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"strange\.txt"):
        timelines(loaded, [path], _spec(loaded), device="cpu")


def test_damage_and_emptiness_are_named_and_the_others_are_labelled(
    loaded: LoadedDetector, raw: Path, tmp_path: Path
) -> None:
    whole = raw.read_bytes()
    for name, content in (
        ("cut", whole[: len(whole) // 2]),
        ("nobody", b" ".join([b"0"] * 120) + b"\n"),
        ("words", whole[:20_000].rpartition(b"\n")[0] + b"\nnobody knows\n"),
        ("empty", b""),
        ("noise", np.random.default_rng(0).bytes(2000)),
        ("other", b"1 2 3\n"),
        ("labels", b"1,20,50,1\n"),
        ("good", whole),
    ):
        (tmp_path / f"{name}.txt").write_bytes(content)
    found, rejects = timelines(loaded, [tmp_path], _spec(loaded), device="cpu")
    assert [Path(one.path).name for one in found] == ["good.txt"]
    named = sorted(Path(reject.where).stem for reject in rejects)
    assert named == ["cut", "empty", "nobody", "noise", "other", "words"]


def _spec(loaded: LoadedDetector):  # type: ignore[no-untyped-def]
    from amr_train.deploy.anything import own_spec

    return own_spec(loaded.about.spec)


def test_a_recording_of_one_frame_is_labelled(loaded: LoadedDetector, raw: Path, tmp_path: Path) -> None:
    path = tmp_path / "one.txt"
    path.write_bytes(raw.read_bytes().split(b"\n", 1)[0] + b"\n")
    found, _ = timelines(loaded, [path], _spec(loaded), device="cpu")
    assert (found[0].frames, len(found)) == (1, 1)


def test_a_raw_recording_may_be_longer_than_a_clip(
    loaded: LoadedDetector, raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "long.txt"
    shutil.copy(raw, other)
    wanted, _ = timelines(loaded, [other], device="cpu")
    for module in ("shards.writer", "keeping"):
        monkeypatch.setattr(f"amr_data.{module}.MAX_CLIP_FRAMES", 50)
    found, rejects = timelines(loaded, [other], device="cpu")
    assert not rejects
    assert found_rows(found) == found_rows(wanted)
    assert found[0].frames > 50


def some() -> Timeline:
    rows = [(1, 30, 60, 0.9), (0, 45, 90, 0.51), (1, 58, 100, 0.4), (2, 100, 110, 0.333333)]
    return Timeline("day <1> & night", "a.skeleton", 30.0, 120, intervals(rows))


def test_tables_by_hand_that_inspect_reads(tmp_path: Path) -> None:
    write_timelines([some()], CLASSES, tmp_path / "found.json")
    (value,) = json.loads((tmp_path / "found.json").read_text())
    assert value["recording"] == "day <1> & night"
    assert (value["fps"], value["frames"]) == (30.0, 120)
    assert value["intervals"][0] == {"label": 1, "class": "clap", "first": 30, "end": 60, "score": 0.9}
    write_timelines([some()], CLASSES, tmp_path / "found.csv")
    rows = list(csv.DictReader((tmp_path / "found.csv").read_text().splitlines()))
    assert (rows[1]["start_s"], rows[1]["end_s"], rows[1]["score"]) == ("1.500", "3.000", "0.51")
    assert rows[3]["score"] == "0.3333"
    assert read_intervals(tmp_path / "found.csv")[0].intervals == some().as_intervals(CLASSES).intervals


def test_what_elan_opens_holds_the_same_times(tmp_path: Path) -> None:
    pympi = pytest.importorskip("pympi")
    path = tmp_path / "found.eaf"
    path.write_bytes(as_eaf(some(), CLASSES))
    read = pympi.Elan.Eaf(str(path))
    assert sorted(read.get_tier_names()) == ["=1+1", "bow", "clap", "clap 2"]  # two claps overlap
    assert [a[:3] for a in read.get_annotation_data_for_tier("clap")] == [(1000, 2000, "clap 0.90")]
    assert [a[:3] for a in read.get_annotation_data_for_tier("bow")] == [(1500, 3000, "bow 0.51")]
    again = tmp_path / "again.eaf"
    read.to_file(str(again))
    assert pympi.Elan.Eaf(str(again)).get_full_time_interval() == (1000, 3667)
    clash = Timeline("a", "", 30.0, 9, intervals([(0, 0, 5, 1.0), (0, 2, 6, 0.9), (1, 0, 5, 0.8)]))
    (tmp_path / "clash.eaf").write_bytes(as_eaf(clash, ["clap", "clap 2"]))
    assert sorted(pympi.Elan.Eaf(str(tmp_path / "clash.eaf")).get_tier_names()) == [
        "clap",
        "clap 2",
        "clap 2 2",
    ]
    strange = Timeline("a\x00b", "", 30.0, 5, intervals([(0, 0, 5, 1.0)]))
    (tmp_path / "strange.eaf").write_bytes(as_eaf(strange, ["no\x01name"]))
    assert list(pympi.Elan.Eaf(str(tmp_path / "strange.eaf")).get_tier_names()) == ["no\ufffdname"]


def test_files_by_their_ending_and_folders(tmp_path: Path) -> None:
    both = [some(), some()]
    files = write_timelines(both, CLASSES, tmp_path / "all")
    assert (
        sorted(f.name for f in files)
        == [f"day -1- - night{more}{form}" for more in ("", "-2") for form in (".csv", ".eaf", ".json")]
        or len(files) == 6
    )
    assert all(file.is_file() for file in files)
    long = Timeline("-" + "x" * 250, "", 30.0, 5, intervals([]))
    (named, *_) = write_timelines([long], CLASSES, tmp_path / "long")
    assert (named.parent, named.name[:2]) == (tmp_path / "long", "xx")
    with pytest.raises(UsageError, match="give a folder"):
        write_timelines(both, CLASSES, tmp_path / "two.eaf")
    with pytest.raises(UsageError, match=r"not \.txt"):
        write_timelines(both, CLASSES, tmp_path / "two.txt")


def test_a_followed_stream_says_what_the_file_says(loaded: LoadedDetector, raw: Path) -> None:
    whole, _ = timelines(loaded, [raw], _spec(loaded), device="cpu")
    events = list(follow(loaded, iter(json_lines(frames_of(raw)))))
    # the file's frames have five digits after the point, as these have
    found = sorted((e.label, e.first, e.end, round(e.score, 2)) for e in events if isinstance(e, Found))
    assert found == sorted(found_rows(whole))
    labels = [e.label for e in events if isinstance(e, Now)]
    assert len(set(labels)) >= 3
    assert all(one != other for one, other in itertools.pairwise(labels))
    assert events[-1] == Ended(len(frames_of(raw)), 0)
    csv_lines = [",".join(map(str, body.reshape(-1))).encode() + b"\r\n" for body in frames_of(raw)]
    assert list(follow(loaded, iter(csv_lines))) == events


BAD = {
    b"\n": "an empty line",
    b"[[1, 2]]\n": "body 1 is 2 joints, not 20 joints",
    b"[1]\n": "body 1 is int",
    b'{"frame": 1}\n': 'without "bodies"',
    b"[" * 100_000 + b"\n": "not JSON",
    b'{"bodies": 3}\n': "not a list of bodies",
    json.dumps([[[1e9, 0, 0]] * 20]).encode(): "more than 10000 m away",
    json.dumps([[[10**400, 0, 0]] * 20]).encode(): "not a point of three numbers",
    json.dumps([[[float("nan"), 0, 0]] * 20]).encode(): "not a point of three numbers",
    json.dumps([[["1", 0, 0]] * 20]).encode(): "not a point of three numbers",
    json.dumps([[[1, 0, 0]] * 20] * 2).encode(): "2 bodies, the detector takes 1",
    b",".join([b"1"] * 59): "59 numbers",
    b",".join([b"1"] * 59 + [b"x"]): "field 60 is 'x'",
    b",".join([b"1"] * 59 + [b"inf"]): "not a finite number",
    b",".join([b"1"] * 59 + [b"1_0"]): "field 60 is '1_0'",
    b"\xff\xfe\x00": "numbers",
    b"1" * (2 << 20): "longer than",
}


def test_malformed_lines_are_named_and_the_stream_goes_on(loaded: LoadedDetector, raw: Path) -> None:
    good = json_lines(frames_of(raw)[:40])
    events = list(follow(loaded, iter([*good, *BAD, b"[]\n", *good])))
    refused = [event for event in events if isinstance(event, Refused)]
    assert [event.line for event in refused] == list(range(41, 41 + len(BAD)))
    for event, said in zip(refused, BAD.values(), strict=True):
        assert said in event.reason
        assert len(event.reason) < 200
    assert events[-1] == Ended(81 + len(BAD), len(BAD))


def test_a_second_body_of_zeros_is_none(loaded: LoadedDetector) -> None:
    out = np.zeros((2, 20, 3), np.float32)
    read_frame(b",".join([b"1"] * 60 + [b"0"] * 60), out)
    assert (out[0] == 1).all()
    assert not out[1].any()


def test_a_growing_file_is_read_as_it_grows(tmp_path: Path) -> None:
    path = tmp_path / "grows"
    path.write_bytes(b"one\ntw")

    def write() -> None:
        for piece in (b"o\n", b"x" * (1 << 20), b"x" * 9, b"y\nthree"):
            time.sleep(0.15)
            with open(path, "ab") as file:
                file.write(piece)

    writer = threading.Thread(target=write)
    writer.start()
    lines = list(growing_lines(path, idle_s=0.9))
    writer.join()
    assert [line[:3] for line in lines] == [b"one", b"two", b"xxx", b"thr"]
    assert max(map(len, lines)) <= (1 << 20) + 10
    assert [len(line) for line in lines_of(io.BytesIO(b"a\n" + b"x" * (3 << 20) + b"\nb"))][::2] == [2, 1]


def test_a_file_that_is_cut_while_it_is_followed_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cut"
    path.write_bytes(b"one\ntwo\n")
    lines = growing_lines(path)
    assert [next(lines), next(lines)] == [b"one\n", b"two\n"]
    os.truncate(path, 2)
    with pytest.raises(AmrError, match="was cut"):
        next(lines)


def test_ctrl_c_while_a_frame_is_looked_at_ends_the_stream_and_no_sooner() -> None:
    handler = signal.getsignal(signal.SIGINT)
    came = []
    for line in _until_stopped(iter([b"one", b"two", b"three"])):
        came.append(line)
        if line == b"two":
            os.kill(os.getpid(), signal.SIGINT)
            came.append(b"done with two")
    assert came == [b"one", b"two", b"done with two"]
    assert signal.getsignal(signal.SIGINT) is handler

    def waits() -> Iterator[bytes]:
        yield b"one"
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)

    assert list(_until_stopped(waits())) == [b"one"]


def test_the_command_prints_a_timeline_and_writes_files(
    detector_file: Path, raw: Path, tmp_path: Path
) -> None:
    arguments = ["predict", str(detector_file), str(raw)]
    files = ["-o", str(tmp_path / "a.csv"), "-o", str(tmp_path / "a.eaf"), "-o", str(tmp_path / "all")]
    shown = CliRunner().invoke(train_command, [*arguments, *files])
    assert shown.exit_code == 0, shown.output
    assert "S08V1R00" in shown.output
    assert "█" in shown.output
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.csv", "a.eaf", "all"]
    value = json.loads(CliRunner().invoke(train_command, [*arguments, "--json"]).stdout)
    assert value["recordings"][0]["recording"] == "S08V1R00"
    assert len(value["recordings"][0]["intervals"]) == len((tmp_path / "a.csv").read_text().split("\n")) - 2
    assert not value["rejects"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "say which files"),
        (["{raw}", "--fps", "30"], "--fps and --idle are of --follow"),
        (["--follow", "{raw}", "{raw}"], "takes one file"),
        (["--follow", "{folder}"], "takes a file with a line a frame"),
        (["--follow", "-o", "x.csv"], "leave --out and options of files out"),
        (["--follow", "--dataset", "ntu60"], "leave --out and options of files out"),
        (["--follow", "--idle", "3"], "--idle is of a file that grows"),
        (["--follow", "{raw}", "--idle", "nan"], "nan is not a finite number"),
        (["--follow", "--fps", "nan"], "nan is not a finite number"),
        (["{raw}", "--least", "nan"], "nan is not a finite number"),
        (["{raw}", "-o", "x.txt"], "not .txt"),
        (["{raw}", "-o", "{folder}/{name}/a.csv"], "is a file, so nothing can be written into it"),
    ],
)
def test_wrong_use_of_the_command_is_said(
    detector_file: Path, raw: Path, arguments: list[str], said: str
) -> None:
    filled = [a.format(raw=raw, folder=raw.parent, name=raw.name) for a in arguments]
    shown = CliRunner().invoke(train_command, ["predict", str(detector_file), *filled], input="[]\n")
    assert shown.exit_code == 2
    assert said in " ".join(shown.output.split())
    assert "actions in" not in shown.output  # before any work


def test_the_command_labels_a_pipe(detector_file: Path, raw: Path) -> None:
    lines = json_lines(frames_of(raw))
    given = b"".join([*lines[:100], b"nonsense\n", *lines[100:]])
    words = ["predict", str(detector_file), "--follow", "--json"]
    made = CliRunner().invoke(train_command, words, input=given)
    assert made.exit_code == 0, made.output
    events = [json.loads(line) for line in made.stdout.splitlines()]
    assert [e["line"] for e in events if e["event"] == "rejected"] == [101]
    assert events[-1] == {"event": "ended", "frames": len(lines) + 1, "rejected": 1}
    assert {"found", "now"} <= {e["event"] for e in events}
