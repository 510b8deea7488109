"""Weights & Biases and MLflow, where they are installed and asked for. Their own settings come from their own
environment variables.

Which of a service's runs belongs to a run's folder stands in its tracking.json, so that a run that is taken
up goes on there, and folders that happen to have the same name do not share one.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from amr_data import UsageError
from amr_data.files import read_json, write_json
from amr_train.config import Experiment

TRACKING = "tracking.json"
PROJECT = "amr"
"""Where runs go, unless WANDB_PROJECT or MLFLOW_EXPERIMENT_NAME says otherwise."""


class Tracker(Protocol):
    """Somewhere that metrics go."""

    def log(self, values: dict[str, float], step: int) -> None: ...

    def close(self) -> None: ...


class _Wandb:
    def __init__(self, library: Any, path: Path, experiment: Experiment) -> None:
        name = _kept(path, "wandb") or secrets.token_hex(8)
        _keep(path, "wandb", name)
        self._run = library.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            dir=str(path),
            name=path.name,
            id=name,
            resume="allow",
            config=experiment.model_dump(mode="json"),
            allow_val_change=True,  # settings that decide nothing may be others when a run is taken up
        )
        self._run.define_metric("*", step_metric="epoch")  # an epoch that is trained again is drawn once

    def log(self, values: dict[str, float], step: int) -> None:
        self._run.log({**values, "epoch": step})

    def close(self) -> None:
        self._run.finish()


class _Mlflow:
    def __init__(self, library: Any, path: Path, experiment: Experiment) -> None:
        self._library = library
        if "MLFLOW_EXPERIMENT_NAME" not in os.environ and "MLFLOW_EXPERIMENT_ID" not in os.environ:
            library.set_experiment(PROJECT)
        kept = _kept(path, "mlflow")
        if kept is not None:
            library.start_run(run_id=kept)
            return
        begun = library.start_run(run_name=path.name)
        _keep(path, "mlflow", begun.info.run_id)
        library.log_params(_flat(experiment.model_dump(mode="json")))  # which may never change there

    def log(self, values: dict[str, float], step: int) -> None:
        self._library.log_metrics(values, step=step)

    def close(self) -> None:
        self._library.end_run()


def tracker_library(name: str) -> Any:
    """Raises: UsageError where there is no such service or its library is not installed."""
    if name not in _KINDS:
        raise UsageError(f"there is no tracker '{name}'; known: {', '.join(_KINDS)}")
    try:
        return import_module(name)
    except ImportError:
        raise UsageError(f"--track {name} needs the package {name}: pip install {name}") from None


def open_tracker(name: str, path: Path, experiment: Experiment) -> Tracker:
    """Begin a run there, or take up the one that the run's folder names. Raises: UsageError where the service
    refuses, as MLflow does where it has no such run."""
    library = tracker_library(name)
    kind, error_name = _KINDS[name]
    kept = _kept(path, name)
    try:
        return kind(library, path, experiment)
    except getattr(library, error_name) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        run = f" the run {kept} that {path / TRACKING} names" if kept else ""
        raise UsageError(
            f"--track {name} cannot {'take up' if kept else 'begin a run'}{run}: {reason}; where it looks "
            f"follows from the environment variables {name.upper()}_..."
        ) from None


_KINDS: dict[str, tuple[Callable[[Any, Path, Experiment], Tracker], str]] = {
    "wandb": (_Wandb, "Error"),
    "mlflow": (_Mlflow, "MlflowException"),
}
"""Each service, and what its library calls its errors."""


def _kept(path: Path, service: str) -> str | None:
    """The service's name of the folder's run, None where there is none yet. Raises: UsageError."""
    found = _read(path).get(service)
    if found is not None and not (isinstance(found, str) and found.isalnum()):
        raise UsageError(f"{path / TRACKING} names no run of {service}; remove it to begin another")
    return found


def _keep(path: Path, service: str, name: str) -> None:
    write_json(path / TRACKING, {**_read(path), service: name})


def _read(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path / TRACKING)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{path / TRACKING} cannot be read: {type(error).__name__}; remove it to begin another run there"
        ) from None
    return content if isinstance(content, dict) else {}


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        flat.update(_flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value})
    return flat
