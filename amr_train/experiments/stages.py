"""The stages of a suite: which runs and transfers it has, in which folders, and how each is run or taken up.

A grid point's values stand in its run's name, so that its folder is found again. A transfer has no folder of
its own: its results describe themselves, and lie in the folder of the run whose encoder they judge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from amr_data import ShardDataset, UsageError, open_dataset
from amr_train.config import Experiment
from amr_train.data.input import check_input
from amr_train.data.views import check_changes
from amr_train.evaluation.evaluating import evaluate_encoder
from amr_train.evaluation.parts import only_split, parts_of
from amr_train.evaluation.protocols import protocol_named
from amr_train.evaluation.records import BASELINES, Record
from amr_train.experiments.naming import safe_name
from amr_train.experiments.places import place_of
from amr_train.experiments.results import results_of, write_results
from amr_train.experiments.rows import Entry, experiments_of
from amr_train.experiments.running import determinism, run_experiment
from amr_train.experiments.sources import Opening, settled
from amr_train.experiments.suites import ELSEWHERE, Suite, Transfer
from amr_train.listening import Listener

ANY = "a dataset"
"""What is needed by an experiment that is meant for none in particular."""


@dataclass(frozen=True)
class Stage:
    """One run, or the evaluation of its encoder on another dataset, or on one of several that it was trained
    on.

    `base`: the experiment's name without the grid point.  `data`: where the clips that judge lie, None where
    they were not given and of a run on several datasets.  `baselines`: where what stands beside all runs is
    kept, None for the run's own folder.  `origins`: where each setting came from.  `together`: names of the
    datasets that the run is trained on at once, empty for one.  `missing`: names of the datasets that it
    needs and that were not given.
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
    missing: tuple[str, ...] = ()

    @property
    def dataset(self) -> str:
        """What it is judged on."""
        if self.transfer:
            return self.transfer.dataset
        return " + ".join(self.together) or self.experiment.data.dataset or ANY

    @property
    def split(self) -> str | None:
        """By which it is judged, None for the dataset's only one."""
        if self.transfer:
            return self.transfer.split
        return self.experiment.data.split or self.experiment.data.splits.get(self.dataset)

    @property
    def protocols(self) -> tuple[str, ...]:
        """By which it is judged; a run on several datasets is judged by stages of their own."""
        if self.transfer is None and self.together:
            return ()
        return tuple(dict.fromkeys((self.transfer or self.experiment.evaluation).protocols))


def datasets_by_name(paths: Sequence[Path]) -> dict[str, Path]:
    """Converted datasets by the name that each carries. Raises: UsageError for two of one name, or a split
    that is given with one."""
    found: dict[str, Path] = {}
    for path in paths:
        place, split = place_of(str(path))
        if split:
            raise UsageError(f"--data {path}: a suite's file says by which splits; give --data {place}")
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
    opening = cache(open_dataset)  # each once, however many stages use it
    stages: list[Stage] = []
    for seed in suite.seeds:
        runs: list[Stage] = []
        for entry in experiments_of(suite, seed, overrides):
            run = _run(entry, seed, data, out)
            runs.append(run)
            stages += [run, *_judgements(run, entry.judged, data, opening)]
        stages += [
            _elsewhere(run, transfer, data) for transfer in suite.transfers for run in _of(transfer, runs)
        ]
    for stage in stages:  # before hours of training, what could not be judged at their end
        _check(stage, opening)
    known: dict[Path, Stage] = {}
    for stage in stages:
        if not stage.transfer and known.setdefault(stage.folder, stage) is not stage:
            raise UsageError(
                f"{suite.name} has two runs named {stage.name}: give one of them another name with "
                "`settings: {name: ...}`"
            )
    return stages


def stages_alone(experiment: Experiment, folder: Path) -> list[Stage]:
    """A single experiment as a suite of its own: its run and, of several datasets, the evaluation on each.
    Raises: UsageError."""
    name = experiment.name
    for protocol in map(protocol_named, experiment.evaluation.protocols):
        protocol.check_part(experiment.evaluation.part)
    run = Stage(name, experiment.seed, experiment, folder, None, name)
    if not experiment.data.paths:
        data = Path(experiment.data.path) if experiment.data.path else None
        return [replace(run, data=data, missing=() if data else (run.dataset,))]
    sources = settled(experiment)
    places = {source.name: source.dataset.path for source in sources.every}
    run = replace(run, together=tuple(places))
    return [run, *_judgements(run, run.together, places, open_dataset)]


def _check(stage: Stage, opening: Opening) -> None:
    """Raises UsageError where a protocol does not exist, the dataset has no such split, or the datasets of a
    run do not go together."""
    experiment = stage.experiment
    protocols = [protocol_named(name) for name in stage.protocols]
    datasets: list[ShardDataset] = []
    if stage.data is not None:
        datasets = [opening(stage.data)]
        split = only_split(datasets[0], stage.split)
        if stage.protocols:
            parts_of(datasets[0], split, experiment.evaluation.part)
        for protocol in protocols:
            protocol.check_on(datasets[0], experiment.evaluation.part)
    elif not stage.missing:
        datasets = settled(experiment, opening).datasets
    for dataset in datasets:
        check_input(experiment.input, dataset)
    if stage.transfer is None:
        check_changes(experiment.augment, datasets, experiment.input)


def run_stage(stage: Stage, listener: Listener | None = None, trackers: Sequence[str] = ()) -> dict[str, Any]:
    """Run a stage or take it up. Returns what results.json says, with the results of this stage in
    `evaluations`. Raises: UsageError, AmrError."""
    if stage.missing:
        raise UsageError(f"{stage.name} needs {', '.join(stage.missing)}: give --data DIR with it")
    if stage.transfer is None:
        settings = (stage.experiment, stage.folder, listener, trackers)
        return run_experiment(*settings, baselines=stage.baselines, judged=not stage.together)
    return results_of(stage.folder, judge_stage(stage, stage.transfer.protocols, listener))


def judge_stage(stage: Stage, protocols: Sequence[str], listener: Listener | None = None) -> list[Record]:
    """Judge the encoder of a stage whose data is given by some of its protocols, and make results.json anew.
    Raises: UsageError, AmrError."""
    assert stage.data is not None
    with determinism(stage.experiment.deterministic):
        records = evaluate_encoder(
            stage.folder,
            stage.data,
            stage.split,
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


def _run(entry: Entry, seed: int, data: Mapping[str, Path], out: Path) -> Stage:
    experiment, folder = entry.experiment, out / safe_name(f"{entry.name}-{seed}")
    if experiment.data.paths and not entry.together:  # its file names them
        raise UsageError(f"{entry.name}: data.paths: {ELSEWHERE['data.paths']}")
    run = Stage(entry.name, seed, experiment, folder, None, entry.base, out / BASELINES)
    run = replace(run, origins=entry.origins, together=entry.together)
    if entry.together:
        missing = tuple(name for name in entry.together if name not in data)
        given: dict[str, Any] = {"path": None}
        given |= {} if missing else {"paths": [str(data[name]) for name in entry.together]}
        mine = set(entry.together)
    else:
        path = _data_of(experiment, data)
        run, missing = replace(run, data=path), () if path else (run.dataset,)
        given = {"path": str(path)} if path else {}
        mine = {name for name, place in data.items() if place == path}
    # a suite may name the splits of all its datasets at once: those of the others are not this row's
    splits = experiment.data.splits.items()
    given["splits"] = {name: split for name, split in splits if name in mine or name not in data}
    where = experiment.data.model_copy(update=given)
    return replace(run, missing=missing, experiment=experiment.model_copy(update={"data": where}))


def _data_of(experiment: Experiment, data: Mapping[str, Path]) -> Path | None:
    meant, own = experiment.data.dataset, experiment.data.path
    if meant is None and own is None and len(data) > 1:
        raise UsageError(
            f"{experiment.name} is meant for any dataset, and there are {', '.join(data)}: "
            "say which with data.dataset in its settings"
        )
    given = data.get(meant) if meant else next(iter(data.values())) if len(data) == 1 else None
    return given or (Path(own) if own else None)


def _judgements(run: Stage, judged: Sequence[str], data: Mapping[str, Path], opening: Opening) -> list[Stage]:
    """The evaluations of a run on several datasets, on each by the split that it is trained on."""
    protocols = run.experiment.evaluation.protocols
    if not judged or not protocols:
        return []
    splits: dict[str, str | None] = {name: run.experiment.data.splits.get(name) for name in judged}
    if not run.missing:
        sources = settled(run.experiment, opening).every
        splits = {source.name: source.split for source in sources if not source.unjudged}
    transfers = [
        Transfer(encoder=run.name, dataset=name, split=splits[name], protocols=protocols)
        for name in judged
        if name in splits
    ]
    return [_elsewhere(run, transfer, data) for transfer in transfers]


def _of(transfer: Transfer, runs: Sequence[Stage]) -> list[Stage]:
    found = [run for run in runs if transfer.encoder in (run.name, run.base)]
    if not found:
        names = ", ".join(dict.fromkeys(run.base for run in runs))
        raise UsageError(f"a transfer names the encoder of {transfer.encoder}; the suite has {names}")
    return found


def _elsewhere(run: Stage, transfer: Transfer, data: Mapping[str, Path]) -> Stage:
    """The evaluation of a run's encoder on another dataset, or on one of several that it was trained on."""
    word = "on" if transfer.dataset in run.together else "to"
    where = transfer.dataset if transfer.split is None else f"{transfer.dataset}-{transfer.split}"
    missing = run.missing if transfer.dataset in data else (*run.missing, transfer.dataset)
    return replace(
        run,
        name=f"{run.name} {word} {where}",
        data=None if missing else data[transfer.dataset],
        missing=tuple(dict.fromkeys(missing)),
        transfer=transfer,
    )
