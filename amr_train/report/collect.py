"""Runs and evaluations as their folders tell of them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amr_data import UsageError
from amr_train.report.tables import Entry, rows_of
from amr_train.training.folder import METRICS, RESULTS, RUN


@dataclass(frozen=True)
class Run:
    """record : run.json, or evaluation.json of an encoder's evaluation elsewhere.  results : results.json.
    curve : (epoch, loss) pairs."""

    path: Path
    record: dict[str, Any]
    results: dict[str, Any]
    curve: list[tuple[int, float]]

    @property
    def transfer(self) -> bool:
        """Whether it is the evaluation of an encoder on its own, not a run."""
        return "pretraining" not in self.results

    @property
    def name(self) -> str:
        if self.transfer:
            return re.sub(r"-\d+$", "", Path(self.results["encoder"]["path"]).name)
        return str(self.results["experiment"])

    @property
    def seed(self) -> int:
        return int(self.record["seed"] if self.transfer else self.record["experiment"]["seed"])


def find_runs(paths: Sequence[Path], note: Callable[[str], None]) -> list[Run]:
    """Finished runs in folders and in the folders right beneath them, in the order of their names. Raises:
    UsageError where there is none."""
    found = []
    for path in paths:
        if not path.is_dir():
            raise UsageError(f"no run at {path}")
        folders = [path] if _is_run(path) else sorted(p for p in path.iterdir() if _is_run(p))
        for folder in folders:
            run = _read(folder)
            if run is None:
                note(f"{folder} is not finished or cannot be read, and is left out")
            else:
                found.append(run)
    if not found:
        raise UsageError(f"no finished run in {', '.join(map(str, paths))}")
    return found


def table(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Rows as of a suite: ours over seeds beside the published value."""
    return rows_of(
        Entry(
            run.name,
            run.seed,
            run.results,
            "" if run.transfer else str(run.record["experiment"].get("scale", "full")),
            f"transfer {run.results['dataset']}-{run.results['split']} " if run.transfer else "",
        )
        for run in runs
    )


def _is_run(path: Path) -> bool:
    return (path / RUN).is_file() or (path / "evaluation.json").is_file()


def _read(path: Path) -> Run | None:
    try:
        record = json.loads(
            (path / (RUN if (path / RUN).is_file() else "evaluation.json")).read_text(encoding="utf-8")
        )
        results = json.loads((path / RESULTS).read_text(encoding="utf-8"))
        results["protocols"]
        lines = (
            (path / METRICS).read_text(encoding="utf-8").splitlines() if (path / METRICS).is_file() else []
        )
        entries = [json.loads(line) for line in lines if line.endswith("}")]
        return Run(
            path,
            record,
            results,
            [(int(e["step"]), float(e["loss"])) for e in entries if e["stage"] == "pretrain"],
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
