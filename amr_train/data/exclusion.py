"""Clips that train nothing: what `data.exclude` names, resolved once, so that a run's settings hold the very
names, whatever becomes of the list."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from amr_data import ShardDataset, UsageError
from amr_data.errors import unknown
from amr_data.looking.decisions import decisions_file, excluded_clips
from amr_train.config import DataConfig

BESIDE = "beside"


def excluded_of(config: DataConfig, datasets: Sequence[ShardDataset]) -> dict[str, list[str]]:
    """The names of the clips that are excluded, sorted, by the name of their dataset; without those of which
    no clip is.

    Raises: UsageError where there is no such list, it names a clip that its dataset does not have, or
        `data.excluded` was given with it and says otherwise.
    """
    found = _listed(config, datasets) if config.exclude is not None else _given(config, datasets)
    found = {name: clips for name, clips in sorted(found.items()) if clips}
    if config.exclude is not None and config.excluded and config.excluded != found:
        raise UsageError("data.excluded follows from the list that data.exclude names; leave it out")
    return found


def _listed(config: DataConfig, datasets: Sequence[ShardDataset]) -> dict[str, list[str]]:
    if config.exclude != BESIDE:
        if len(datasets) > 1:
            raise UsageError(
                f"data.exclude={config.exclude} is the list of one dataset, and there are {len(datasets)}: "
                f"data.exclude={BESIDE} takes the list beside each"
            )
        lists = [Path(str(config.exclude))]
    else:
        lists = [decisions_file(dataset.path) for dataset in datasets]
        if not any(path.exists() for path in lists):
            raise UsageError(
                f"data.exclude={BESIDE}: there is no {' and no '.join(map(str, lists))}; `amr-data serve` "
                "writes it"
            )
    return {
        dataset.spec.name: excluded_clips(path, dataset.names, dataset.path)
        for path, dataset in zip(lists, datasets, strict=True)
        if config.exclude != BESIDE or path.exists()
    }


def _given(config: DataConfig, datasets: Sequence[ShardDataset]) -> dict[str, list[str]]:
    """The names in the settings themselves, as those of a run that was begun have them."""
    of = {dataset.spec.name: dataset for dataset in datasets}
    for name, clips in config.excluded.items():
        if name not in of:
            raise UsageError(f"data.excluded: {unknown('dataset', name, of)}")
        known = set(of[name].names)
        for clip in clips:
            if clip not in known:
                where = f" in {of[name].path}"
                raise UsageError(f"data.excluded: {unknown('clip', clip, of[name].names, where)}")
    return {name: sorted(set(clips)) for name, clips in config.excluded.items()}
