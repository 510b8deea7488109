"""The run's folder: run.json says what ran on what, metrics.jsonl and TensorBoard how it went, results.json
what came out."""

from __future__ import annotations

import json
import platform
import subprocess
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from torch.utils.tensorboard import SummaryWriter

from amr_data import ShardDataset, UsageError
from amr_data.files import whole_file, write_json
from amr_train.config import Experiment
from amr_train.training.trackers import open_tracker, tracker_library

NO_RESULT: Any = {
    "evaluation": True,
    "data": {"path", "resident"},
    "pretrain": {"checkpoint_epochs", "checkpoint_minutes", "keep_checkpoints", "check_steps"},
}
"""Settings that change nothing of a pre-training."""
RUN, RESULTS, METRICS = "run.json", "results.json", "metrics.jsonl"


class RunFolder:
    """Opens or takes up a run. A folder that belongs to other settings or other data is refused, so that no
    run is mixed with another; settings that change nothing of its pre-training may differ.

    Args:
        trackers: further services that metrics go to, 'wandb' or 'mlflow'.
    Raises: UsageError, also while another process is at work in the folder.
    """

    def __init__(
        self,
        path: Path,
        experiment: Experiment,
        dataset: ShardDataset,
        device: torch.device,
        processes: int = 1,
        trackers: Sequence[str] = (),
    ) -> None:
        self.path = path
        identity = {
            "experiment": experiment.model_dump(mode="json", exclude=NO_RESULT),
            "data_fingerprint": dataset.fingerprint,
        }
        existing = path / RUN
        if existing.is_file():
            try:
                old = json.loads(existing.read_text(encoding="utf-8"))
            except ValueError:
                old = {}
            if any(old.get(k) != v for k, v in identity.items()):
                raise UsageError(
                    f"{path} holds a run with other settings or data; choose another --out, or remove it"
                )
        elif path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise UsageError(f"{path} is not empty and holds no run; choose another --out")
        for name in trackers:
            tracker_library(name)  # before anything is made
        if not existing.is_file():
            path.mkdir(parents=True, exist_ok=True)
            data = {
                "path": str(dataset.path.resolve()),
                "clips": len(dataset),
                "recipe": dataset.manifest["recipe"],
            }
            write_json(
                existing, {**identity, "data": data, "started": _now(), **environment(device, processes)}
            )
        self._lock = FileLock(path / ".lock")
        try:
            self._lock.acquire(timeout=0)  # let go by the system when the process ends, however it ends
        except Timeout:
            raise UsageError(
                f"another process is at work in {path}; wait for it, or choose another --out"
            ) from None
        self._metrics = (path / METRICS).open("a", encoding="utf-8")
        self._board = SummaryWriter(str(path / "tensorboard"))
        self._trackers = [open_tracker(name, path, experiment) for name in trackers]

    def results(self) -> dict[str, Any] | None:
        """What a finished run found, or None."""
        try:
            content = json.loads((self.path / RESULTS).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return content if isinstance(content, dict) else None

    def log(self, stage: str, step: int, values: dict[str, float]) -> None:
        self._metrics.write(json.dumps({"time": _now(), "stage": stage, "step": step, **values}) + "\n")
        self._metrics.flush()
        for key, value in values.items():
            self._board.add_scalar(f"{stage}/{key}", value, step)
        for tracker in self._trackers:
            tracker.log({f"{stage}/{key}": value for key, value in values.items()}, step)

    def rewind(self, stage: str, step: int) -> None:
        """Forget what was logged of a stage beyond a step: a run that is taken up there says it again."""
        self._metrics.close()
        path = self.path / METRICS
        kept = [line for line in path.read_text(encoding="utf-8").splitlines() if _before(line, stage, step)]
        with whole_file(path) as temporary:
            temporary.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
        self._metrics = path.open("a", encoding="utf-8")
        if step:
            self._board.close()
            self._board = SummaryWriter(str(self.path / "tensorboard"), purge_step=step + 1)

    def finish(self, results: dict[str, Any]) -> None:
        write_json(self.path / RESULTS, results)

    def close(self) -> None:
        self._metrics.close()
        self._board.close()
        for tracker in self._trackers:
            tracker.close()
        self._lock.release()


def recorded_experiment(record: Mapping[str, Any]) -> Experiment:
    """The experiment that a run.json tells of, without its data. Raises: KeyError, pydantic's
    ValidationError."""
    return Experiment.model_validate({k: v for k, v in record["experiment"].items() if k != "data"})


def environment(device: torch.device, processes: int = 1) -> dict[str, Any]:
    """Versions, hardware and git state, for the record."""
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {
        "versions": {
            **{name: version(name) for name in ("amr-skeleton", "torch", "numpy", "h5py")},
            "python": platform.python_version(),
        },
        "hardware": {
            "machine": platform.machine(),
            "threads": torch.get_num_threads(),
            "gpu": gpu,
            "device": str(device),
            "processes": processes,
        },
        "git": _git_state(),
    }


def _git_state() -> dict[str, Any] | None:
    """Commit of the checkout that this code runs from, and whether it was changed; None for an installed
    package."""
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


def _before(line: str, stage: str, step: int) -> bool:
    """Whether a line of the metrics file stays; one that a kill cut short does not."""
    try:
        entry = json.loads(line)
        return bool(entry["stage"] != stage or entry["step"] <= step)
    except (ValueError, KeyError, TypeError):
        return False


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")
