"""Weights & Biases and MLflow, where they are installed and asked for. Their own settings come from their own
environment variables."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from amr_data import UsageError
from amr_train.config import Experiment


class Tracker(Protocol):
    """Somewhere that metrics go."""

    def log(self, values: dict[str, float], step: int) -> None: ...

    def close(self) -> None: ...


class _Wandb:
    def __init__(self, library: Any, path: Path, experiment: Experiment) -> None:
        settings = experiment.model_dump(mode="json")
        self._run = library.init(
            project="amr", dir=str(path), name=path.name, id=path.name, resume="allow", config=settings
        )

    def log(self, values: dict[str, float], step: int) -> None:
        self._run.log({**values, "epoch": step})

    def close(self) -> None:
        self._run.finish()


class _Mlflow:
    def __init__(self, library: Any, path: Path, experiment: Experiment) -> None:
        self._library = library
        library.set_experiment("amr")
        library.start_run(run_name=path.name)
        library.log_params(_flat(experiment.model_dump(mode="json")))

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
    """Begin a run there, or take it up, named like the run's folder."""
    return _KINDS[name](tracker_library(name), path, experiment)


_KINDS: dict[str, Callable[[Any, Path, Experiment], Tracker]] = {"wandb": _Wandb, "mlflow": _Mlflow}


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        flat.update(_flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value})
    return flat
