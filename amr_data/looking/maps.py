"""Features of clips as points in the plane, near each other where the features are alike: their two principal
components at once, and t-SNE (van der Maaten & Hinton, 2008) where there are not too many."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from amr_data.errors import UsageError, unknown
from amr_data.shards.features import read_features
from amr_data.shards.reader import ShardDataset

F32 = npt.NDArray[np.float32]
MOST_TSNE = 5000
"""Clips that t-SNE is made of: half a minute on a core."""
WIDTH = 256
"""Wider features are seen through so many random directions, which keep distances (Johnson and
Lindenstrauss)."""
COMPONENTS = 50
LARGEST = 1e15
"""Of a feature; the squares of larger ones are soon more than a float holds."""
AT_ONCE = 4096
"""Clips that are centred at once."""


def map_features(path: str | Path, dataset: ShardDataset) -> tuple[npt.NDArray[np.int64], F32]:
    """Which clips have features, and what a map is made of: (K,) indices and (K, W) float32.

    Raises: UsageError for a file without features, or of a clip that the dataset does not have.
    """
    through: list[F32] = []

    def seen(rows: F32) -> F32:
        most = float(np.abs(rows).max(initial=0))
        if most > LARGEST:
            raise UsageError(f"{path}: a feature of {most:.0e}, of which no map can be made")
        if rows.shape[1] <= WIDTH:
            return rows
        if not through:
            drawn = np.random.default_rng(0).standard_normal((rows.shape[1], WIDTH), np.float32)
            through.append(drawn / np.float32(np.sqrt(WIDTH)))
        return np.asarray(rows @ through[0])

    names, features = read_features(path, seen)
    index = {name: i for i, name in enumerate(dataset.names)}
    clips = np.empty(len(names), np.int64)
    for k, name in enumerate(names):
        if name not in index:
            raise UsageError(f"{path}: {unknown('clip', name, dataset.names, f' in {dataset.path}')}")
        clips[k] = index[name]
    if len(np.unique(clips)) != len(clips):
        raise UsageError(f"{path}: a clip stands there twice")
    return clips, features


def principal(features: F32, components: int = 2) -> F32:
    """(K, components) the directions of the largest variance, the widest first."""
    mean = features.mean(axis=0, dtype=np.float64).astype(np.float32)
    width = features.shape[1]
    scatter = np.zeros((width, width))
    for first in range(0, len(features), AT_ONCE):  # no second copy of all features
        centred = features[first : first + AT_ONCE] - mean
        scatter += centred.T @ centred
    _, vectors = np.linalg.eigh(scatter)
    kept = vectors[:, ::-1][:, :components].astype(np.float32)
    # each direction has two signs: the one in which its largest part is positive
    kept *= np.sign(kept[np.abs(kept).argmax(axis=0), np.arange(kept.shape[1])])
    found = features @ kept - mean @ kept
    missing = components - found.shape[1]
    return np.pad(found, ((0, 0), (0, max(missing, 0))))


def neighbours(features: F32) -> F32 | None:
    """(K, 2) t-SNE of the first `COMPONENTS` components; None where scikit-learn is not installed, or for
    fewer than 5 or more than `MOST_TSNE` clips, and where all are alike."""
    if not 5 <= len(features) <= MOST_TSNE or (features == features[:1]).all():
        return None
    try:
        from sklearn.manifold import TSNE
    except ImportError:
        return None
    tsne = TSNE(2, perplexity=min(30, len(features) / 4), init="pca", random_state=0)
    return np.asarray(tsne.fit_transform(principal(features, min(COMPONENTS, features.shape[1]))), np.float32)


def placed(points: F32, clips: npt.NDArray[np.int64], size: int) -> F32:
    """Points (K, 2) of clips as places (N, 2) from 0 to 1 that keep their proportions, NaN for other clips;
    single points far from all others stand at the edge."""
    low, high = np.quantile(points, (0.002, 0.998), axis=0)
    reach = max(float((high - low).max()), 1e-6) * 1.06
    found = np.full((size, 2), np.nan, np.float32)
    found[clips] = np.clip((points - (low + high) / 2) / reach + 0.5, 0, 1)
    return found
