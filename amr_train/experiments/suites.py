"""Suites: experiments by data set, method and seed, and transfers between them, run in order; what is
finished is not run again.

A suite is a YAML file (`experiments/suites/`): `experiments` name a data set's split, methods and protocols;
`transfers` evaluate an encoder of the suite on another dataset; `settings` lie over the shipped experiments.
Every stage has a folder of its own, so a suite that was stopped goes on where it stopped, and evaluations
share their pre-training.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from amr_data import UsageError, open_dataset
from amr_train.config import Experiment
from amr_train.evaluation.evaluate_old import evaluate_encoder
from amr_train.experiments.loading import explain, load_experiment, read_shipped, shipped_names
from amr_train.experiments.running import Listener, run_experiment

PREFIX = "suite/"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Row(_Part):
    """Methods on one split of a dataset."""

    data: str
    methods: list[str] = Field(min_length=1)
    protocols: list[str] = ["linear", "knn"]


class Transfer(_Part):
    """An encoder of the suite on another dataset."""

    encoder: str
    dataset: str
    split: str
    protocols: list[str] = ["finetune"]


class Suite(_Part):
    """What a suite's file says."""

    name: str
    description: str = ""
    seeds: list[int] = Field([0], min_length=1)
    settings: dict[str, Any] = {}
    experiments: list[Row] = Field(min_length=1)
    transfers: list[Transfer] = []


@dataclass(frozen=True)
class Stage:
    """One run, or the evaluation of a run's encoder elsewhere. `data` is None where the suite was not given
    the dataset."""

    name: str
    seed: int
    experiment: Experiment
    folder: Path
    data: Path | None
    transfer: Transfer | None = None

    @property
    def dataset(self) -> str:
        return self.transfer.dataset if self.transfer else str(self.experiment.data.dataset)


def suite_names() -> list[str]:
    """Names of the shipped suites, with their prefix."""
    return [PREFIX + name for name in shipped_names("experiments/suites")]


def load_suite(name: str) -> Suite:
    """A shipped suite by its name, `suite/NAME`. Raises: UsageError."""
    if name not in suite_names():
        near = difflib.get_close_matches(name, suite_names(), n=1)
        raise UsageError(
            f"there is no suite '{name}'"
            + (f": did you mean '{near[0]}'?" if near else f"; suites: {', '.join(suite_names())}")
        )
    try:
        return Suite(name=name, **read_shipped(f"experiments/{name.replace(PREFIX, 'suites/')}.yaml"))
    except ValidationError as error:
        raise UsageError(f"{name}: {explain(error)}") from None


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
    """The stages in order: every seed's runs, then its transfers. Raises: UsageError."""
    stages: list[Stage] = []
    for seed in suite.seeds:
        runs = {}
        for row in suite.experiments:
            for method in row.methods:
                settings = {**suite.settings, "seed": seed}
                settings["evaluation"] = {**settings.get("evaluation", {}), "protocols": row.protocols}
                experiment = load_experiment(f"{row.data}-{method}", overrides, settings)
                path = data.get(str(experiment.data.dataset))
                if path:
                    where = experiment.data.model_copy(update={"path": str(path)})
                    experiment = experiment.model_copy(update={"data": where})
                runs[experiment.name] = Stage(
                    experiment.name, seed, experiment, out / f"{experiment.name}-{seed}", path
                )
        stages += runs.values()
        for transfer in suite.transfers:
            source = runs[transfer.encoder]
            name = f"{transfer.encoder} to {transfer.dataset}-{transfer.split}"
            folder = out / f"{transfer.encoder}-to-{transfer.dataset}-{transfer.split}-{seed}"
            path = data.get(transfer.dataset) if source.data else None
            stages.append(Stage(name, seed, source.experiment, folder, path, transfer))
    return stages


def run_stage(stage: Stage, listener: Listener | None = None, trackers: Sequence[str] = ()) -> dict[str, Any]:
    """Run a stage or take it up. Returns the content of its results.json. Raises: UsageError, AmrError."""
    if stage.data is None:
        raise UsageError(f"{stage.name} needs {stage.dataset}: give --data DIR with it")
    if stage.transfer is None:
        return run_experiment(stage.experiment, stage.folder, listener, trackers)
    encoder = stage.folder.parent / f"{stage.transfer.encoder}-{stage.seed}"
    settings = stage.experiment.evaluation
    return evaluate_encoder(
        encoder,
        stage.data,
        stage.transfer.split,
        stage.transfer.protocols,
        settings,
        stage.seed,
        stage.experiment.device,
        stage.experiment.precision,
        stage.folder,
        listener,
    )
