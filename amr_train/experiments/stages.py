"""The stages of a suite: which runs and transfers it has, in which folders, and how each is run or taken up.

A grid point's values stand in its run's name, so that its folder is found again. A transfer has no folder of
its own: its results describe themselves, and lie in the folder of the run whose encoder they judge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

from amr_data import UsageError, open_dataset
from amr_train.config import Experiment
from amr_train.data.input import check_input
from amr_train.data.views import check_changes
from amr_train.evaluation.evaluating import evaluate_encoder
from amr_train.evaluation.parts import only_split, parts_of
from amr_train.evaluation.protocols import protocol_named
from amr_train.evaluation.records import BASELINES, Record
from amr_train.experiments.loading import Settings, nested, over, resolve
from amr_train.experiments.results import results_of, write_results
from amr_train.experiments.running import determinism, run_experiment
from amr_train.experiments.sources import settled
from amr_train.experiments.suites import ELSEWHERE, Row, Suite, Transfer
from amr_train.listening import Listener


@dataclass(frozen=True)
class Stage:
    """One run, or the evaluation of its encoder elsewhere.

    `base`: the experiment's name without the grid point.  `data` is None where the dataset was not given.
    `baselines`: where what stands beside all runs is kept, None for the run's own folder.  `origins`: where
    each setting came from.  `together`: names of the datasets that it is trained on at once, which judge it
    in stages of their own; `data` is then the first of them.
    """

    name: str
    seed: int
    experiment: Experiment
    folder: Path
    data: Path | None
    base: str = ""
    baselines: Path | None = None
    transfer: Transfer | None = None
    origins: Mapping[str, str] = field(default_factory=dict)
    together: tuple[str, ...] = ()

    @property
    def dataset(self) -> str:
        if self.transfer:
            return self.transfer.dataset
        return " + ".join(self.together) or self.experiment.data.dataset or "a dataset"


def datasets_by_name(paths: Sequence[Path]) -> dict[str, Path]:
    """Converted datasets by the name that each carries. Raises: UsageError for two of one name."""
    found: dict[str, Path] = {}
    for path in paths:
        name = open_dataset(path).spec.name
        if name in found:
            raise UsageError(f"{found[name]} and {path} both hold {name}; give one of them")
        found[name] = path
    return found


def stages_of(
    suite: Suite, data: Mapping[str, Path], out: Path, overrides: Sequence[str] = ()
) -> list[Stage]:
    """The stages in order: every seed's runs, then its transfers. `out`: the folder of the runs' folders.
    Raises: UsageError."""
    stages: list[Stage] = []
    for seed in suite.seeds:
        runs: list[Stage] = []
        judged: list[Stage] = []
        for row in suite.experiments:
            for name in [f"{row.data}-{m}" for m in row.methods] or [str(row.experiment)]:
                for point in _points(suite, row):
                    run = _run(suite, row, name, point, seed, data, out, overrides)
                    judged += _judged_on(run, data)
                    runs.append(_trained_alone(run) if run.together else run)
        stages += runs + judged
        stages += [
            _elsewhere(run, transfer, data) for transfer in suite.transfers for run in _of(transfer, runs)
        ]
    for stage in stages:  # before hours of training, what could not be judged at their end
        _check(stage)
    known: dict[Path, Stage] = {}
    for stage in stages:
        if not stage.transfer and known.setdefault(stage.folder, stage) is not stage:
            raise UsageError(
                f"{suite.name} has two runs named {stage.name}: give one of them another name with "
                "`settings: {name: ...}`"
            )
    return stages


def _check(stage: Stage) -> None:
    """Raises UsageError where a protocol does not exist, or the dataset has no such split."""
    transfer = stage.transfer
    protocols = transfer.protocols if transfer else stage.experiment.evaluation.protocols
    for name in protocols:
        protocol_named(name)
    if stage.data is not None:
        dataset = open_dataset(stage.data)
        check_input(stage.experiment.input, dataset)
        if stage.together:
            check_changes(stage.experiment.augment, settled(stage.experiment).datasets)
            return
        if transfer is None:
            check_changes(stage.experiment.augment, [dataset])
        split = only_split(dataset, transfer.split if transfer else stage.experiment.data.split)
        if protocols:
            parts_of(dataset, split, stage.experiment.evaluation.part)


def run_stage(stage: Stage, listener: Listener | None = None, trackers: Sequence[str] = ()) -> dict[str, Any]:
    """Run a stage or take it up. Returns what results.json says, with the results of this stage in
    `evaluations`. Raises: UsageError, AmrError."""
    if stage.data is None:
        raise UsageError(f"{stage.name} needs {stage.dataset}: give --data DIR with it")
    if stage.transfer is None:
        return run_experiment(stage.experiment, stage.folder, listener, trackers, baselines=stage.baselines)
    return results_of(stage.folder, judge_stage(stage, stage.transfer.protocols, listener))


def judge_stage(stage: Stage, protocols: Sequence[str], listener: Listener | None = None) -> list[Record]:
    """Judge the encoder of a stage whose data is given by some of its protocols, and make results.json anew.
    Raises: UsageError, AmrError."""
    assert stage.data is not None
    with determinism(stage.experiment.deterministic):
        records = evaluate_encoder(
            stage.folder,
            stage.data,
            stage.transfer.split if stage.transfer else stage.experiment.data.split,
            protocols,
            stage.experiment.evaluation,
            seed=stage.seed,
            precision=stage.experiment.precision,
            device=stage.experiment.device,
            folder=stage.folder,
            baselines=stage.baselines,
            listener=listener,
            compile=stage.experiment.compile,
        )
    write_results(stage.folder)
    return records


def point_name(values: Mapping[str, Any]) -> str:
    """A grid point's values as a part of a file's name: `target_ratio=2-lr=0.001`. A key is short where its
    last word tells it from the others."""
    lasts = [key.rsplit(".", 1)[-1] for key in values]
    keys = [last if lasts.count(last) == 1 else key for key, last in zip(values, lasts, strict=True)]
    return safe_name(
        "-".join(f"{key}={_spelt(value)}" for key, value in zip(keys, values.values(), strict=True))
    )


def safe_name(text: str) -> str:
    """A name that is one file's on any system."""
    return "".join(c if c.isalnum() or c in "-_.=+" else "_" for c in text)


def _run(
    suite: Suite,
    row: Row,
    name: str,
    point: Mapping[str, Any],
    seed: int,
    data: Mapping[str, Path],
    out: Path,
    overrides: Sequence[str],
) -> Stage:
    settings: Settings = over(over(suite.settings, row.settings), {"seed": seed})
    if row.protocols is not None:
        settings = over(settings, {"evaluation": {"protocols": row.protocols}})
    grid: Settings = {}
    for key, value in point.items():
        grid = over(grid, nested(key, value))
    changed = [word.partition("=")[0].strip() for word in overrides]
    for key in changed:
        if key in point or key in (*ELSEWHERE, "name"):
            why = ELSEWHERE.get(
                key, "it is in the grid" if key in point else "its runs have names of their own"
            )
            raise UsageError(f"{key} cannot be changed for all of {suite.name}: {why}")
    found = resolve(name, overrides, settings, grid)
    experiment, base = found.experiment, found.experiment.name
    if point:
        experiment = experiment.model_copy(update={"name": f"{base}-{point_name(point)}"})
    folder = out / safe_name(f"{experiment.name}-{seed}")
    paths = [data[dataset] for dataset in row.together if dataset in data]
    if row.together:
        whole = len(paths) == len(row.together)  # one is missing: then there is nothing to train on
        given: Settings = {"path": None, "dataset": None, "paths": [str(path) for path in paths if whole]}
        path = paths[0] if whole else None
    else:
        path = _data_of(experiment, data)
        given = {"path": str(path)} if path is not None else {}
    where = experiment.data.model_copy(update=given)
    experiment = experiment.model_copy(update={"data": where})
    place = (experiment.name, seed, experiment, folder, path, base, out / BASELINES)
    return Stage(*place, origins=found.origins, together=tuple(row.together))


def _trained_alone(run: Stage) -> Stage:
    """A run on several datasets without its evaluations, which are stages of their own."""
    evaluation = run.experiment.evaluation.model_copy(update={"protocols": []})
    return replace(run, experiment=run.experiment.model_copy(update={"evaluation": evaluation}))


def _judged_on(run: Stage, data: Mapping[str, Path]) -> list[Stage]:
    """The evaluations of a run on several datasets, on each by the split that it is trained on."""
    experiment, alone = run.experiment, _trained_alone(run)
    protocols = experiment.evaluation.protocols
    if not run.together or not protocols:
        return []
    splits = dict(experiment.data.splits)
    if run.data is not None:
        splits = {source.name: source.split for source in settled(experiment).every if not source.unjudged}
    transfers = [
        Transfer(encoder=run.name, dataset=name, split=splits.get(name, ""), protocols=protocols)
        for name in run.together
        if name in splits or run.data is None
    ]
    return [_elsewhere(alone, transfer, data, "on") for transfer in transfers]


def _data_of(experiment: Experiment, data: Mapping[str, Path]) -> Path | None:
    meant, own = experiment.data.dataset, experiment.data.path
    if meant is None and own is None and len(data) > 1:
        raise UsageError(
            f"{experiment.name} is meant for any dataset, and there are {', '.join(data)}: "
            "say which with data.dataset in its settings"
        )
    given = data.get(meant) if meant else next(iter(data.values())) if len(data) == 1 else None
    return given or (Path(own) if own else None)


def _points(suite: Suite, row: Row) -> list[dict[str, Any]]:
    """Every combination of the values of a row's and the suite's grid; one without values where there is
    none."""
    grid = {**suite.grid, **row.grid}
    return [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]


def _of(transfer: Transfer, runs: Sequence[Stage]) -> list[Stage]:
    found = [run for run in runs if transfer.encoder in (run.name, run.base)]
    if not found:
        names = ", ".join(dict.fromkeys(run.base for run in runs))
        raise UsageError(f"a transfer names the encoder of {transfer.encoder}; the suite has {names}")
    return found


def _elsewhere(run: Stage, transfer: Transfer, data: Mapping[str, Path], word: str = "to") -> Stage:
    name = f"{run.name} {word} {transfer.dataset}" + (f"-{transfer.split}" if transfer.split else "")
    path = data.get(transfer.dataset) if run.data else None
    return Stage(
        name, run.seed, run.experiment, run.folder, path, run.base, run.baselines, transfer, run.origins
    )


def _spelt(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "+".join(map(_spelt, value))
    if isinstance(value, str):
        try:  # YAML 1.1 reads 1e-3 as text
            return _spelt(float(value))
        except ValueError:
            return value
    return str(value).lower() if isinstance(value, bool) else str(value)
