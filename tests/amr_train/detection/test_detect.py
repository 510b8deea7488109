"""The protocol on untrimmed recordings, end to end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from amr_data import AmrError, Interval, UsageError, convert, load_spec, open_dataset
from amr_data.specs import TRAIN
from amr_train import load_experiment, run_experiment
from amr_train.config import DetectConfig
from amr_train.detection.choosing import held_out, sure_from
from amr_train.detection.files import is_detector, load_detector
from amr_train.detection.heads import HeadConfig
from amr_train.detection.intervals import intervals
from amr_train.detection.misses import worst_misses
from amr_train.detection.training import Example, outside, targets_of, train_head
from amr_train.evaluation.evaluating import evaluate, evaluate_encoder
from amr_train.evaluation.protocols import PROTOCOLS, detect
from amr_train.evaluation.protocols.detect import recording_parts
from amr_train.experiments.judging import judging_of
from amr_train.listening import Listener
from amr_train.models.files import read_described, save_encoder
from amr_train.training.encoders import load_encoder
from tests.amr_train.detection.conftest import QUICK
from tests.untrimmed import spec, strings, write


def test_unmistakable_actions_are_found_in_their_coordinates(judged: tuple[list[dict], Path]) -> None:
    records, _ = judged
    coordinates, encoder = records
    assert [r["subject"]["kind"] for r in records] == ["coordinates", "encoder"]
    assert list(coordinates["figures"]) == [
        f"detect {head} {what}" for head in ("linear", "temporal") for what in ("mAP_a", "mAP_v", "frames")
    ]
    # three of the spec's ten classes occur, so that thirty is all that the mean over classes can reach
    assert coordinates["figures"]["detect temporal mAP_a"] > 20
    assert coordinates["figures"]["detect temporal mAP_v"] > 60
    assert coordinates["figures"]["detect temporal frames"] > 70
    assert coordinates["details"]["recordings"] == {"train": 6, "test": 2, "held_out": 2}
    detail = coordinates["details"]["temporal"]
    assert list(detail["map_action"]) == ["0.1", "0.3", "0.5", "0.7"]
    assert detail["map_action"]["0.1"] >= detail["map_action"]["0.5"] >= detail["map_action"]["0.7"]
    assert sum(value is not None for value in detail["per_class"]) == 3
    assert all(0 <= value <= 100 for value in encoder["figures"].values())


def test_what_is_kept_is_not_computed_again(
    strung: Path, chance: Path, judged: tuple[list[dict], Path]
) -> None:
    records, folder = judged
    data = open_dataset(strung / "data")
    again = evaluate_encoder(chance, data, "xsub", settings=QUICK, folder=folder, device="cpu")
    assert again == records


def test_excluded_clips_teach_neither_head_nor_encoder(
    strung: Path, chance: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All training clips of two of the three classes are excluded: neither these classes are taught there,
    nor rest, and everything else is."""
    data, encoder = open_dataset(strung / "data"), load_encoder(chance)
    train = data.membership("xsub") == TRAIN
    gone = [data.names[i] for i in np.flatnonzero(train & (data.clips["label"] != 2))]
    about = encoder.config.model_copy(update={"excluded": {data.spec.name: gone}})
    save_encoder(encoder.encoder, about, tmp_path / "encoder.safetensors")
    of_heads: list[Example] = []
    of_encoder: list[tuple[Any, ...]] = []

    def head(examples: Sequence[Example], *rest: Any) -> Any:
        of_heads.extend(examples)
        return train_head(examples, *rest)

    monkeypatch.setattr(detect, "train_head", head)
    monkeypatch.setattr(detect, "train_encoder", lambda _, recordings, *rest: of_encoder.extend(recordings))
    how = DetectConfig(encoder="finetuned", heads=["linear"], updates=1)
    settings = QUICK.model_copy(update={"detect": how})
    records = evaluate_encoder(
        tmp_path / "encoder.safetensors", data, "xsub", settings=settings, device="cpu"
    )
    assert [r["settings"]["excluded"]["clips"] for r in records] == [len(gone)] * 2
    assert sum(len(without) for _, _, without in of_encoder) == len(gone)
    taught = np.concatenate([one.targets[one.teaches] for one in of_heads])
    assert taught.any(axis=0).tolist() == [False, False, True, *[False] * 7, True]
    for one in of_heads:
        excluded = one.targets[:, :2].any(axis=1)
        assert np.array_equal(one.teaches, one.there & ~excluded)


def test_steps_that_teach_nothing_change_nothing() -> None:
    generator = np.random.default_rng(0)
    features, teaches = generator.normal(size=(300, 5)).astype(np.float32), np.arange(300) % 100 >= 40
    targets = np.eye(3, dtype=np.uint8)[generator.integers(0, 3, 300)]
    others = np.where(teaches[:, None], targets, targets[:, ::-1])
    made = []
    for wanted in (targets, others):
        example = Example(features, np.ones(300, bool), wanted, teaches)
        config = HeadConfig(inputs=5, classes=3, layers=2, width=8)
        head = train_head([example], config, QUICK.detect, 0, torch.device("cpu"), Listener())
        made.append(head.state_dict())
    assert all(torch.equal(made[0][key], made[1][key]) for key in made[0])
    assert outside([(2, 4), (3, 5)], np.arange(6)).tolist() == [True, True, False, False, False, True]


def test_a_dataset_without_recordings_is_refused_by_name(strung: Path, chance: Path) -> None:
    with pytest.raises(UsageError, match=r"clips keeps no recordings.*--keep recordings"):
        evaluate(chance, strung / "clips", "xsub", "detect", QUICK, device="cpu")
    with pytest.raises(UsageError, match="keeps no recordings"):
        judging_of(chance, strung / "clips", "xsub", ["detect"])
    experiment = load_experiment(
        "nw-ucla-amr",
        [
            f"data.path={strung / 'clips'}",
            "data.dataset=untrimmed-nw-ucla",
            "data.split=xsub",
            "evaluation.protocols=[detect]",
        ],
    )
    with pytest.raises(UsageError, match="keeps no recordings"):  # before anything is trained
        run_experiment(experiment, strung / "never")
    assert not (strung / "never").exists()


def test_validation_holds_whole_subjects_out(strung: Path) -> None:
    data = open_dataset(strung / "data")
    train, test = recording_parts(data, "xsub", "test")
    kept, held = recording_parts(data, "xsub", "validation")
    names = data.recordings.names
    assert {names[i][:3] for i in test.tolist()} == {"S08"}
    assert {names[i][:3] for i in held.tolist()} == {"S03"}
    assert sorted([*kept.tolist(), *held.tolist()]) == train.tolist()


def test_recordings_of_nobody_known_are_held_out_with_their_other_views() -> None:
    from amr_data import Recording

    def named(name: str) -> Recording:
        return Recording(name, -1, -1, -1, 30.0, 0, (), ())

    names = [f"{n:04}-{view}" for n in range(10) for view in "LMR"]
    held = held_out([named(name) for name in names])
    assert {name[:4] for name, out in zip(names, held, strict=True) if out} == {"0004", "0009"}
    assert held.sum() == 6
    assert not held_out([named("one-L"), named("one-R")]).any()


def test_overlapping_actions_share_a_step() -> None:
    found = targets_of([Interval(0, 2, 6), Interval(2, 4, 8)], np.arange(0, 10, 2), 3)
    assert found.tolist() == [[0, 0, 0, 1], [1, 0, 0, 0], [1, 0, 1, 0], [0, 0, 1, 0], [0, 0, 0, 1]]


def test_the_score_to_tell_from_by_hand() -> None:
    truth = intervals([(0, 0, 10), (0, 20, 30)])
    found = intervals([(0, 0, 10, 0.8), (0, 20, 30, 0.5), (0, 40, 50, 0.3), (0, 60, 70, 0.1)])
    assert sure_from(found, truth) == 0.5


def test_the_worst_misses_by_hand() -> None:
    truth = intervals([(0, 0, 10), (1, 20, 30), (2, 50, 60)])
    found = intervals([(0, 0, 10, 0.9), (0, 21, 30, 0.8), (1, 80, 90, 0.4)])
    rows = worst_misses(found, truth, ["video"], ["bow", "clap", "sit"])
    assert [(r["kind"], r["class"], r["first"], r["score"], r["other"]) for r in rows] == [
        ("false", "bow", 21, 0.8, "clap"),
        ("false", "clap", 80, 0.4, None),
        ("missed", "clap", 20, 0.8, "bow"),
        ("missed", "sit", 50, None, None),
    ]


def test_a_fine_tuned_encoder_is_another_and_the_given_one_stays(strung: Path, chance: Path) -> None:
    how = DetectConfig(encoder="finetuned", encoder_updates=2, heads=["linear"], updates=10)
    settings = QUICK.model_copy(update={"detect": how, "baselines": []})
    before = chance.read_bytes()
    (record,) = evaluate_encoder(
        chance, strung / "data", "xsub", settings=settings, folder=strung / "tuned", device="cpu"
    )
    (file,) = (strung / "tuned" / "evaluations").glob("detect-*/detector.safetensors")
    tuned = load_detector(file).state_dict()["dense.encoder.encoder.embed.weight"]
    given = load_encoder(chance).encoder.embed.weight.detach()
    assert float((tuned - given).abs().max()) > 1e-5
    assert chance.read_bytes() == before
    assert "fine-tuned" in record["spoken"]


def test_damaged_detectors_and_other_files_are_refused(
    detector_file: Path, chance: Path, tmp_path: Path
) -> None:
    assert is_detector(detector_file)
    assert not is_detector(chance)
    with pytest.raises(UsageError, match="no detector at"):
        load_detector(tmp_path / "none.safetensors")
    with pytest.raises(UsageError, match="is no detector"):
        load_detector(chance)
    data = detector_file.read_bytes()
    for name, damaged in (("cut", data[: len(data) // 2]), ("empty", b""), ("text", b"not safetensors" * 9)):
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(AmrError, match="not a detector that can be read"):
            load_detector(tmp_path / name)
        assert not is_detector(tmp_path / name)


@pytest.mark.parametrize(
    "change",
    [
        {"kept": [0, 99]},
        {"segment": 5},
        {"token_s": 3600.0},
        {"frame_rate": float("inf")},
        {"lengths": [float("nan")]},
        {"head": {"inputs": 1 << 20, "classes": 1 << 16}},
        {"head": {"inputs": 8, "classes": 11, "layers": 12, "width": 4096}},
    ],
)
def test_detectors_with_other_settings_than_weights_are_refused(
    detector_file: Path, tmp_path: Path, change: dict
) -> None:
    described, tensors = read_described(detector_file, "amr_detector", "cpu")
    about = json.dumps({**json.loads(described or ""), **change})
    save_file(tensors, tmp_path / "d.safetensors", {"amr_detector": about})
    with pytest.raises(AmrError, match="not a detector that can be read"):
        load_detector(tmp_path / "d.safetensors")


@pytest.mark.parametrize("change", [{"width": 8 << 20, "heads": 1}, {"encoder_layers": 10**9}])
def test_an_encoder_that_would_fill_the_memory_is_refused_before(
    chance: Path, tmp_path: Path, change: dict
) -> None:
    described, tensors = read_described(chance, "amr_encoder", "cpu")
    about = json.loads(described or "")
    about["model"].update(change)
    save_file(tensors, tmp_path / "e.safetensors", {"amr_encoder": json.dumps(about)})
    with pytest.raises(AmrError, match="weights are fewer than its settings ask for"):
        load_encoder(tmp_path / "e.safetensors")


@pytest.mark.parametrize("change", [{"heads": []}, {"heads": ["linear", "linear"]}, {"lengths": [0]}])
def test_settings_that_make_no_sense_are_refused(change: dict) -> None:
    with pytest.raises(ValueError, match=r"heads|lengths"):
        DetectConfig(**change)


def test_the_protocol_is_known_by_name() -> None:
    assert "detect" in PROTOCOLS


def test_real_clips_strung_together_are_converted_and_judged(genuine, tmp_path: Path, chance: Path) -> None:  # type: ignore[no-untyped-def]
    archive = genuine("nw-ucla/all_sqe.zip")
    found = strings(archive, clips=6, subjects={1, 2, 8}, most=1)
    path = write(found, tmp_path / "raw")
    convert(tmp_path / "raw", tmp_path / "data", load_spec(path), keep="recordings", workers=1)
    data = open_dataset(tmp_path / "data")
    assert data.spec.name == spec()["name"]
    assert len(data.recordings) == len(found) == 9
    assert data.recordings.frames.tolist() == [len(found[name][0]) for name in data.recordings.names]
    quick = DetectConfig(updates=40, lr=0.01, heads=["linear"])
    settings = QUICK.model_copy(update={"detect": quick})
    record = evaluate_encoder(chance, data, "xsub", settings=settings, device="cpu")[0]
    assert record["details"]["recordings"] == {"train": 6, "test": 3, "held_out": 3}
    assert record["figures"]["detect linear frames"] > 100 / 11  # what guessing gives
