"""What maps of features are made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from amr_data import UsageError, open_dataset
from amr_data.looking import maps
from amr_data.shards import features as files


def test_principal_components_of_pieces_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    features = (rng.normal(size=(50, 6)) * [1, 2, 3, 4, 5, 6] + 100).astype(np.float32)
    monkeypatch.setattr(maps, "AT_ONCE", 7)

    found = maps.principal(features, 3)

    centred = features - features.mean(axis=0)
    _, _, directions = np.linalg.svd(centred)
    wanted = centred @ directions[:3].T
    signs = np.sign((found * wanted).sum(axis=0))
    np.testing.assert_allclose(found, wanted * signs, atol=2e-3)
    assert maps.principal(features[:, :1]).shape == (50, 2)


def test_features_read_in_pieces_keep_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).normal(size=(23, 4)).astype(np.float32)
    names = [f"clip{i}" for i in range(23)]
    files.write_features(tmp_path / "x.parquet", values, names, np.arange(23), {})
    monkeypatch.setattr(files, "AT_ONCE", 5)

    read_names, read = files.read_features(tmp_path / "x.parquet")

    assert read_names == names
    np.testing.assert_array_equal(read, values)


def test_features_of_which_no_map_can_be_made(ntu_shards: Path, tmp_path: Path) -> None:
    dataset = open_dataset(ntu_shards)
    huge = np.full((2, 3), 1e30, np.float32)
    files.write_features(tmp_path / "x.parquet", huge, dataset.names[:2], np.zeros(2, np.int64), {})
    with pytest.raises(UsageError, match=r"x\.parquet: a feature of 1e\+30"):
        maps.map_features(tmp_path / "x.parquet", dataset)
    alike = np.ones((9, 3), np.float32)
    assert maps.neighbours(alike) is None  # nothing is nearer than anything else
    assert np.isfinite(maps.placed(maps.principal(alike), np.arange(9), 9)).all()
