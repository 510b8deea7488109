"""Splits of one's own: lists of clips and recordings, folds, a validation part; for every family."""

from __future__ import annotations

import numpy as np
import pytest
import yaml

from amr_data import convert, open_dataset, verify
from amr_data.errors import UsageError
from amr_data.specs import load_spec


def own(tmp_path, dataset, protocols):
    path = tmp_path / f"{dataset}.yaml"
    spec = load_spec(dataset).model_dump(mode="json") | {"name": "mine", "protocols": protocols}
    path.write_text(yaml.safe_dump(spec))
    return path


def test_clips_are_listed_by_name_in_the_ntu_family(ntu_raw, tmp_path):
    names = sorted(p.stem for p in ntu_raw.glob("S*C*A*.skeleton"))
    (tmp_path / "train.txt").write_text("\n".join(names[:20]))
    rules = {
        "named": {"by": "name", "train": "train.txt", "test": names[20:25]},
        "video": {"by": "video", "train": names[:3], "test": names[3:7], "validation": names[7:9]},
    }
    report = convert(ntu_raw, tmp_path / "out", own(tmp_path, "ntu60", rules), workers=1)
    dataset = open_dataset(report.path)
    there = set(dataset.names)
    assert {dataset.names[i] for i in dataset.split("named", "train")} == set(names[:20]) & there
    assert {dataset.names[i] for i in dataset.split("video", "validation")} == set(names[7:9]) & there
    counts = report.manifest["protocol_counts"]["video"]
    assert counts["validation"] == len(set(names[7:9]) & there)
    assert sum(counts.values()) == len(dataset)
    assert verify(report.path) == []


def test_folds_are_dealt_over_the_subjects_that_occur(ntu_raw, tmp_path):
    rules = {"fold": {"by": "subject", "folds": 3}}
    report = convert(ntu_raw, tmp_path / "out", own(tmp_path, "ntu60", rules), workers=1)
    dataset = open_dataset(report.path)
    assert list(dataset.spec.protocols) == ["fold1", "fold2", "fold3"]
    people = sorted(set(dataset.clips["subject"].tolist()))
    tested = [set(dataset.clips["subject"][dataset.split(f"fold{k}", "test")].tolist()) for k in (1, 2, 3)]
    assert tested == [set(people[k::3]) for k in range(3)]
    for k in (1, 2, 3):
        sides = dataset.membership(f"fold{k}")
        assert set(np.unique(sides).tolist()) == {0, 1}
    assert verify(report.path) == []


def test_more_folds_than_people_are_refused(ntu_raw, tmp_path):
    rules = {"fold": {"by": "subject", "folds": 50}}
    with pytest.raises(UsageError, match="4 subject values for 50 folds"):
        convert(ntu_raw, tmp_path / "out", own(tmp_path, "ntu60", rules), workers=1)


def test_all_is_a_split_of_every_dataset(ntu_shards):
    dataset = open_dataset(ntu_shards)
    assert len(dataset.split("all", "train")) == len(dataset)
    assert len(dataset.split("all", "test")) == 0
