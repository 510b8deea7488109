"""The run's folder: run.json says what ran on what, metrics.jsonl and TensorBoard how it went,
pretraining.json how the training ended; encoder.safetensors and evaluations/ are what came out."""

from __future__ import annotations

import json
import math
import platform
import subprocess
import time
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch.utils.tensorboard import SummaryWriter

from amr_data import ShardDataset, UsageError
from amr_data.files import parse_json, read_json, whole_file, write_json
from amr_train.config import Experiment
from amr_train.identity import differences, in_words, record_of, recorded_experiment, training_settings
from amr_train.listening import Listener
from amr_train.models.files import encoder_config, joined_fingerprint, joined_names
from amr_train.training.locks import LOCK, hold
from amr_train.training.trackers import Tracker, open_tracker, tracker_library

RUN, METRICS, PRETRAINING = "run.json", "metrics.jsonl", "pretraining.json"


class RunFolder(Listener):
    """Opens or takes up a run, and keeps what is logged of it. A folder that belongs to other settings or
    other data is refused, so that no run is mixed with another; settings that decide nothing of its
    pre-training may differ.

    Args:
        datasets: that it is trained on, by name.
        steps: of the whole pre-training.
        trackers: further services that metrics go to, 'wandb' or 'mlflow'.
    Raises: UsageError; Held while another process is at work in the folder.
    """

    def __init__(
        self,
        path: Path,
        experiment: Experiment,
        datasets: Sequence[ShardDataset],
        device: torch.device,
        steps: int,
        processes: int = 1,
        trackers: Sequence[str] = (),
    ) -> None:
        self.path = path
        existing = path / RUN
        if existing.is_file():
            _check_same(existing, experiment, datasets)
        elif path.exists() and (not path.is_dir() or any(map(_is_content, path.iterdir()))):
            raise UsageError(f"{path} is not empty and holds no run; choose another --out")
        for name in trackers:
            tracker_library(name)  # before anything is made
        path.mkdir(parents=True, exist_ok=True)
        self._lock = hold(path / LOCK, path)
        if existing.is_file():
            try:
                _check_same(existing, experiment, datasets)  # another may have begun it since
            except UsageError:
                self._lock.release()
                raise
        else:
            record = {
                **record_of(experiment),
                "steps": steps,
                "data": data_record(datasets),
                "encoder": encoder_config(experiment, *datasets).model_dump(mode="json"),
                "started": now(),
            }
            write_json(existing, {**record, **environment(device, processes)})
        self._metrics = (path / METRICS).open("a", encoding="utf-8")
        self._board = SummaryWriter(str(path / "tensorboard"))
        self._trackers: list[Tracker] = []
        try:
            for name in trackers:
                self._trackers.append(open_tracker(name, path, experiment))
        except BaseException:  # Ctrl-C while a service does not answer, too
            self.close()
            raise

    def log(self, stage: str, step: int, values: dict[str, float]) -> None:
        line = {"time": now(), "stage": stage, "step": step, **finite(values)}
        self._metrics.write(json.dumps(line) + "\n")
        self._metrics.flush()
        for key, value in values.items():
            self._board.add_scalar(f"{stage}/{key}", value, step)
        for tracker in self._trackers:
            tracker.log({f"{stage}/{key}": value for key, value in values.items()}, step)

    def rewind(self, step: int) -> None:
        self._metrics.close()
        path = self.path / METRICS
        kept = [line for line in path.read_text(encoding="utf-8").splitlines() if _before(line, step)]
        with whole_file(path) as temporary:
            temporary.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
        self._metrics = path.open("a", encoding="utf-8")
        if step:
            self._board.close()
            self._board = SummaryWriter(str(self.path / "tensorboard"), purge_step=step + 1)

    def close(self) -> None:
        self._metrics.close()
        self._board.close()
        for tracker in self._trackers:
            tracker.close()
        self._lock.release()


def finite(values: dict[str, Any]) -> dict[str, Any]:
    """Without figures that are not finite, such as a method's mean over nothing: JSON has no word for them,
    and whoever reads the file refuses the rest with them."""
    return {k: v for k, v in values.items() if not (isinstance(v, float) and not math.isfinite(v))}


def read_record(path: Path) -> dict[str, Any]:
    """A run's run.json. Raises: UsageError where there is none, or it cannot be read."""
    remedy = "put a copy of it back, or train in another folder"
    try:
        content = read_json(path)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {type(error).__name__}; {remedy}") from None
    if not isinstance(content, dict):
        raise UsageError(f"{path} cannot be read: it holds no record of a run; {remedy}")
    return content


def data_record(datasets: Sequence[ShardDataset]) -> dict[str, Any]:
    """What the datasets of a run are, for the record; several have `sets`, a record each."""
    if len(datasets) > 1:
        sets = [data_record([dataset]) for dataset in datasets]
        same = all(one["recipe"] == sets[0]["recipe"] for one in sets)
        return {
            "name": joined_names(datasets),
            "fingerprint": joined_fingerprint(datasets),
            "clips": sum(one["clips"] for one in sets),
            "recipe": sets[0]["recipe"] if same else {},
            "synthetic": any(one["synthetic"] for one in sets),
            "sets": sets,
        }
    (dataset,) = datasets
    return {
        "path": str(dataset.path.resolve()),
        "name": dataset.spec.name,
        "title": dataset.spec.title,
        "licence": dataset.spec.licence,
        "homepage": dataset.spec.homepage,
        "fingerprint": dataset.fingerprint,
        "clips": len(dataset),
        "recipe": dataset.manifest["recipe"],
        "synthetic": dataset.synthetic,
    }


def _is_content(path: Path) -> bool:
    """Whether a file is more than what a process leaves that was killed before it wrote run.json."""
    return path.name != LOCK and not (path.name.startswith(f".{RUN}.") and path.name.endswith(".tmp"))


def _check_same(file: Path, experiment: Experiment, datasets: Sequence[ShardDataset]) -> None:
    """Raises UsageError, naming what differs, where a folder's run is not this one."""
    record = read_record(file)
    old = recorded_experiment(record, file)
    found = differences(training_settings(experiment), training_settings(old))
    if experiment.seed != old.seed:
        found["seed"] = (experiment.seed, old.seed)
    if found:
        raise UsageError(
            f"{file.parent} holds a run with other settings: {in_words(found)}; choose another --out"
        )
    if record.get("data", {}).get("fingerprint") != joined_fingerprint(datasets):
        places = " and ".join(str(dataset.path) for dataset in datasets)
        holds = "holds" if len(datasets) == 1 else "hold"
        raise UsageError(
            f"{file.parent} holds a run on other data than {places} {holds} now; choose another --out"
        )


def environment(device: torch.device, processes: int = 1) -> dict[str, Any]:
    """Versions, hardware and git state, for the record."""
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {
        "versions": _versions(),
        "hardware": {
            "machine": platform.machine(),
            "threads": torch.get_num_threads(),
            "gpu": gpu,
            "device": str(device),
            "processes": processes,
        },
        "git": _git_state(),
    }


@cache
def _versions() -> dict[str, str]:
    found = {name: version(name) for name in ("amr-skeleton", "torch", "numpy", "h5py")}
    return {**found, "python": platform.python_version()}


@cache
def _git_state() -> dict[str, Any] | None:
    """Commit of the checkout that this code runs from, and whether it was changed; None for an installed
    package. Asked for once: what has been imported is what runs, whatever becomes of the checkout."""
    here = Path(__file__).resolve().parent
    try:
        head = subprocess.run(
            ["git", "-C", here, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=True
        )
        state = subprocess.run(
            ["git", "-C", here, "status", "--porcelain", "."], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": head.stdout.strip(), "changed": bool(state.stdout.strip())}


def _before(line: str, step: int) -> bool:
    """Whether a line of the metrics file stays; one that a kill cut short does not."""
    try:
        entry = parse_json(line)
        return bool(entry["step"] <= step)
    except (ValueError, KeyError, TypeError):
        return False


def now() -> str:
    """The time, for the record."""
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")
