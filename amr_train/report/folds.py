"""The folds of one dataset as one figure of a seed: which splits are folds of each other, and the mean over
them. Published values of such datasets are means over all folds; one of some folds is never shown as if it
were that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from amr_data import load_spec, spec_names
from amr_train.config import Experiment
from amr_train.evaluation.records import Record

Folds = tuple[str, ...]


class Families:
    """The folds that splits belong to, by the dataset's fingerprint; of those alone of which two or more were
    judged, so that a single fold stays the split that it is."""

    def __init__(self, records: Iterable[Record]) -> None:
        found: dict[str, dict[Folds, set[str]]] = {}
        for record in records:
            if folds := _folds_of(record):
                of_data = found.setdefault(record["data"]["fingerprint"], {})
                of_data.setdefault(folds, set()).add(record["split"])
        self._families = {
            (fingerprint, split): folds
            for fingerprint, families in found.items()
            for folds, judged in families.items()
            if len(judged) > 1
            for split in folds
        }

    def of(self, fingerprint: str, split: str) -> Folds:
        """() where the split is no fold."""
        return self._families.get((fingerprint, split), ())

    def trained(self, experiment: Experiment, data: Mapping[str, Any]) -> dict[str, str]:
        """The splits that a run is trained on, by its datasets' fingerprints. `data` : of its record."""
        data = data if isinstance(data, Mapping) else {}
        splits, sets = experiment.data.splits, data.get("sets")
        if not isinstance(sets, list):
            split = experiment.data.split
            return {} if split is None else {str(data.get("fingerprint")): split}
        every = [one for one in sets if isinstance(one, Mapping)]
        return {str(one.get("fingerprint")): splits[n] for one in every if (n := one.get("name")) in splits}

    def alike(self, experiment: Experiment, data: Mapping[str, Any]) -> Experiment:
        """The experiment as its first fold has it, so that all folds are one."""
        first = {
            fingerprint: folds[0]
            for fingerprint, split in self.trained(experiment, data).items()
            if (folds := self.of(fingerprint, split))
        }
        if not first:
            return experiment
        config = experiment.data
        if config.splits:
            names = {str(one.get("fingerprint")): one.get("name") for one in data["sets"]}
            changed = {str(names[fingerprint]): split for fingerprint, split in first.items()}
            config = config.model_copy(update={"splits": {**config.splits, **changed}})
        else:
            (split,) = first.values()
            config = config.model_copy(update={"split": split})
        return experiment.model_copy(update={"data": config})


def _folds_of(record: Record) -> Folds:
    """As a record says; records from before do not, and are asked by the shipped spec of their dataset."""
    found = record.get("folds")
    if found is None:
        return _shipped_folds(str(record["data"]["dataset"]), record["split"])
    sound = isinstance(found, list) and all(isinstance(one, str) for one in found)
    return tuple(dict.fromkeys(found)) if sound and record["split"] in found else ()


@cache
def _shipped_folds(dataset: str, split: str) -> Folds:
    return load_spec(dataset).folds_with(split) if dataset in spec_names() else ()


def name_of(folds: Folds) -> str:
    """What folds share: `fold` of fold1 to fold5."""
    return folds[0][:-1] if folds[0].endswith("1") else folds[0]


@dataclass(frozen=True)
class Mean:
    """The mean over folds of each seed that counts.

    `folds` : that it is over.  `missing` : those that it lacks.  `values` : (seeds, folds) figures.
    `means` : of each seed.  `left_out` : the other seeds, with the folds that they lack of those counted.
    """

    folds: Folds
    missing: Folds
    seeds: list[int]
    values: list[list[float]]
    means: list[float]
    left_out: dict[int, Folds]


def mean_over(figures: Mapping[int, Mapping[str, Sequence[float]]], folds: Folds) -> Mean:
    """Figures of each seed over the folds: those of one seed and fold are averaged first, then folds.

    All seeds that count have the same folds: all of them, or where no seed has all, the most that any has (of
    equally many those of most seeds, then of the first seed). So no mean is over other folds than its
    neighbour.
    """
    has = {seed: tuple(f for f in folds if figures[seed].get(f)) for seed in sorted(figures)}
    sets = list(has.values())
    counted = max(dict.fromkeys(sets), key=lambda one: (len(one), sets.count(one)))
    seeds = [seed for seed, own in has.items() if own == counted]
    values = [[sum(figures[s][f]) / len(figures[s][f]) for f in counted] for s in seeds]
    return Mean(
        counted,
        tuple(fold for fold in folds if fold not in counted),
        seeds,
        values,
        [sum(of_seed) / len(of_seed) for of_seed in values],
        {
            seed: tuple(fold for fold in counted if fold not in own)
            for seed, own in has.items()
            if own != counted
        },
    )
