"""What a run's folder, and those beside it, tell of an encoder: the ground that its model card stands on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from amr_data import UsageError
from amr_train.evaluation.records import BASELINES, Record, part_of, records_in
from amr_train.models.files import EncoderConfig
from amr_train.training.folder import PRETRAINING, RUN, read_record


@dataclass(frozen=True)
class Facts:
    """What is known of an encoder beside its file. `run`: run.json, {} where no run is at hand; `ended`:
    pretraining.json; `records`: what it and what stands beside it reached; `seeds`: results of the same
    settings under other seeds."""

    run: Mapping[str, Any] = field(default_factory=dict)
    ended: Mapping[str, Any] = field(default_factory=dict)
    records: Sequence[Record] = ()
    seeds: Sequence[Record] = ()

    def own(self, config: EncoderConfig) -> list[Record]:
        """The results of this very encoder."""
        return [record for record in self.records if _is_of(record, config)]

    def under_other_seeds(self, record: Record, figure: str) -> dict[int, float]:
        """The figure by seed, of encoders trained as far and judged alike."""
        subject = record["subject"]
        return {
            int(other["subject"]["seed"]): other["figures"][figure]
            for other in alike(record, figure, self.seeds, "encoder")
            if other["subject"]["training"] == subject["training"]
            and float(other["subject"]["epoch"]) == float(subject["epoch"])
        }

    def seeds_of(self, config: EncoderConfig) -> list[int]:
        """The seeds that stand behind its results, its own among them."""
        figures = [(record, name) for record in self.own(config) for name in record["figures"]]
        others = {seed for record, name in figures for seed in self.under_other_seeds(record, name)}
        return sorted({config.seed, *others})


def facts_of(folder: Path, siblings: bool = False) -> Facts:
    """What a run's folder tells; nothing where there is no run in it. `siblings` : also the seeds of the same
    settings on the same data that lie beside it. Raises: UsageError where run.json cannot be read."""
    if not (folder / RUN).is_file():
        return Facts()
    here = folder.resolve()
    run = read_record(here / RUN)
    records = [*records_in(here), *records_in(here.parent / BASELINES)]
    others: list[Record] = []
    for other in sorted(here.parent.iterdir()) if siblings else ():
        if other != here and _same_settings(other, run):
            others += records_in(other)
    return Facts(run, _read(here / PRETRAINING), records, others)


def alike(record: Record, figure: str, records: Sequence[Record], kind: str) -> list[Record]:
    """Results of others of a kind that were judged as this one was."""
    wanted = _how(record)
    return [
        r for r in records if r["subject"]["kind"] == kind and _how(r) == wanted and figure in r["figures"]
    ]


def place_of(record: Record) -> tuple[str, str, str]:
    """What was judged: a dataset's content, a split, a part of it."""
    return record["data"]["fingerprint"], record["split"], part_of(record)


def _how(record: Record) -> tuple[Any, ...]:
    about = (record["protocol"], record["settings"], record["precision"], record.get("joints"))
    return (*place_of(record), *about)


def _is_of(record: Record, config: EncoderConfig) -> bool:
    subject = record["subject"]
    return bool(
        subject["kind"] == "encoder"
        and (subject["training"], subject["seed"]) == (config.training, config.seed)
        and float(subject["epoch"]) == float(config.epoch)
    )


def _same_settings(folder: Path, run: Mapping[str, Any]) -> bool:
    """Whether a folder holds a finished run of the same settings on the same data."""
    other = _read(folder / RUN)
    if not other or not _read(folder / PRETRAINING):
        return False
    same = [(one.get("digest"), (one.get("data") or {}).get("fingerprint")) for one in (run, other)]
    return same[0] == same[1]


def _read(file: Path) -> dict[str, Any]:
    """What a file holds, {} where it is not there or damaged."""
    try:
        return read_record(file)
    except UsageError:
        return {}
