"""Results as files."""

from __future__ import annotations

from pathlib import Path

from amr_train.evaluation.records import models_of, record_file


def test_a_classifier_is_found_by_the_result_that_left_it(tmp_path: Path):
    about = {
        "protocol": "finetune",
        "settings": {},
        "split": "xsub",
        "seed": 0,
        "precision": "float32",
        "data": {"fingerprint": "f"},
        "subject": {"digest": "d"},
        "joints": "all",
    }
    left = record_file(tmp_path, about).with_suffix("") / "classifier.safetensors"
    (left.parent / "checkpoints").mkdir(parents=True)
    for file in (left, left.parent / "checkpoints" / "step.safetensors", left.with_suffix(".json")):
        file.touch()
    assert models_of(tmp_path, about) == [left]
    assert models_of(tmp_path, {**about, "seed": 1}) == []
