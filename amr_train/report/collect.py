"""Runs and evaluations as their folders tell of them; nothing that a folder names is imported."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from amr_data import UsageError
from amr_data.files import parse_json
from amr_train.config import Experiment
from amr_train.evaluation.records import BASELINES, EVALUATIONS, Record, part_of, records_in
from amr_train.experiments.results import read_pretraining
from amr_train.identity import recorded_experiment
from amr_train.training.folder import METRICS, RUN, read_record

Note = Callable[[str], None]
Curve = list[tuple[int, float]]
LARGEST = 1e300


@dataclass(frozen=True)
class Run:
    """`record` : run.json; empty, and `experiment` None, for a folder that holds evaluations alone.
    `pretraining` : how its training ended, None where it has not.  `curve`, `monitor` : (epoch, loss) and
    (epoch, kNN on held-out training clips) pairs."""

    path: Path
    record: dict[str, Any]
    experiment: Experiment | None
    pretraining: dict[str, Any] | None
    curve: Curve
    monitor: Curve
    records: list[Record]

    @property
    def seed(self) -> int:
        return 0 if self.experiment is None else self.experiment.seed

    @property
    def subject(self) -> dict[str, Any] | None:
        """The run's encoder, trained to the end, as records have it; None without a run.json."""
        if self.experiment is None:
            return None
        return {"kind": "encoder", "digest": "", **self.record["encoder"]}


def find_runs(paths: Sequence[Path], note: Note) -> list[Run]:
    """Runs, and folders of evaluations alone, in folders and in the folders right beneath them, in the order
    of their names; beside a single run, the baselines of its suite.

    note : is told what is left out, and why.  Raises: UsageError where no result is found.
    """
    found: dict[Path, Run | None] = {}
    beside: dict[Path, None] = {}
    for path in paths:
        if not path.is_dir():
            raise UsageError(f"no run at {path}")
        single = _is_run(path)
        for folder in [path] if single else sorted(p for p in path.iterdir() if _is_run(p)):
            if folder.resolve() not in found:
                found[folder.resolve()] = _read(folder, note)
        if single and _is_run(path.resolve().parent / BASELINES):
            beside[path.resolve().parent / BASELINES] = None
    runs = [run for run in found.values() if run is not None]
    if not runs:
        raise UsageError(
            f"no finished run in {', '.join(map(str, paths))}; name folders of runs, or folders of these "
            "(the same `amr-train run` again finishes a run)"
        )
    for folder in beside:
        baselines = None if folder in found else _read(folder, note)
        if baselines is not None:
            runs.insert(0, replace(baselines, records=_of_these(baselines.records, runs)))
    return runs


def _is_run(path: Path) -> bool:
    return (path / RUN).is_file() or (path / EVALUATIONS).is_dir()


def _read(folder: Path, note: Note) -> Run | None:
    """A folder's run; None, said to `note`, where there is nothing to show of it."""
    record: dict[str, Any] = {}
    experiment = None
    if (folder / RUN).is_file():
        try:
            record = read_record(folder / RUN)
            experiment = recorded_experiment(record, folder / RUN)
            sound = isinstance(record["encoder"], dict) and isinstance(record["data"]["fingerprint"], str)
        except (UsageError, KeyError, TypeError) as error:
            note(f"{folder} is left out: {error if isinstance(error, UsageError) else 'run.json is damaged'}")
            return None
        if not sound:
            note(f"{folder} is left out: run.json is damaged")
            return None
    records = list(records_in(folder))
    damaged = len(list((folder / EVALUATIONS).glob("*.json"))) - len(records)
    if damaged:
        note(f"{damaged} files in {folder / EVALUATIONS} hold no result that this release reads")
    pretraining = read_pretraining(folder) if experiment is not None else None
    if pretraining is not None and not _is_number(pretraining.get("seconds")):
        pretraining = None
    if not records:
        what = "is not finished" if experiment is not None and pretraining is None else "holds no result yet"
        note(f"{folder} {what}, and is left out")
        return None
    curve, monitor = (_curve(folder, *names) for names in (("pretrain", "loss"), ("monitor", "knn")))
    return Run(folder, record, experiment, pretraining, curve, monitor, records)


def _is_number(value: object) -> bool:
    """Whether a float can hold it, which a whole number of JSON may be too large for."""
    return isinstance(value, int | float) and abs(value) < LARGEST


def _of_these(records: Sequence[Record], runs: Sequence[Run]) -> list[Record]:
    """Baselines that belong to what these runs were judged on, untrained encoders by their sizes."""
    judged = [record for run in runs for record in run.records]
    data = {_place(record) for record in judged}
    models = [record["subject"].get("model") for record in judged]
    return [
        record
        for record in records
        if _place(record) in data
        and (record["subject"]["kind"] != "untrained" or record["subject"].get("model") in models)
    ]


def _place(record: Record) -> tuple[str, str, str]:
    return record["data"]["fingerprint"], record["split"], part_of(record)


def _curve(folder: Path, stage: str, key: str) -> Curve:
    """(epoch, value) pairs of metrics.jsonl; lines that a kill cut short are passed over."""
    try:
        lines = (folder / METRICS).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return []
    found: dict[int, float] = {}
    for line in lines:
        try:
            entry = parse_json(line)
            if entry["stage"] == stage:
                found[int(entry["step"])] = float(entry[key])
        except (ValueError, KeyError, TypeError, OverflowError):
            continue
    return sorted(found.items())
