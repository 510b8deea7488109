"""What maps of features are made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

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
