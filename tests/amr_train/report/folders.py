"""Run folders made by hand: what `amr-train run` leaves, without training anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from amr_train import load_experiment
from amr_train.config import Experiment
from amr_train.evaluation.protocols import PROTOCOLS
from amr_train.evaluation.records import Record, write_record
from amr_train.identity import SCHEMA, record_of, training_digest

CTRGCN = {"name": "ctrgcn", "rotate": False, "scale": False}
FIGURES = {
    "linear": {"linear mean": 80.0, "linear joints": 82.0},
    "knn": {"kNN mean": 60.0, "kNN joints": 61.0},
    "logistic": {"logistic mean": 70.0, "logistic joints": 71.0},
    "finetune": {"finetune": 90.0},
    "semi": {"semi 1 %": 50.0, "semi 10 %": 75.0},
}
COORDINATES = {"linear": {"linear positions": 66.0, "linear motion": 55.0}}


def write_run(
    folder: Path,
    name: str = "ntu60-xsub-amr",
    *overrides: str,
    seed: int = 0,
    recipe: dict[str, Any] = CTRGCN,
    synthetic: bool = False,
    dataset: str | None = None,
    seconds: float | None = 100.0,
    called: str | None = None,
    fingerprint: str = "f1",
) -> Experiment:
    """run.json, and pretraining.json unless `seconds` is None. `called` : the experiment's name, of a file of
    one's own."""
    experiment = load_experiment(name, [*overrides, f"seed={seed}"])
    if called is not None:
        experiment = experiment.model_copy(update={"name": called})
    data = data_of(dataset or str(experiment.data.dataset), recipe, synthetic, fingerprint)
    encoder = {**subject_of(experiment, data), "joints": 25}
    data = {**data, "name": data["dataset"]}
    folder.mkdir(parents=True)
    record = {**record_of(experiment), "steps": 1, "data": data, "encoder": encoder}
    (folder / "run.json").write_text(json.dumps(record))
    if seconds is not None:
        (folder / "pretraining.json").write_text(json.dumps({"seconds": seconds, "steps": 1, "loss": 1.0}))
    return experiment


def judge(
    folder: Path,
    experiment: Experiment,
    protocol: str = "linear",
    shift: float = 0.0,
    *,
    judged_by: Experiment | None = None,
    epoch: float | None = None,
    kind: str = "encoder",
    train: int = 65_000,
    **changes: Any,
) -> Record:
    """One result in the folder. `judged_by` : whose evaluation settings were used.  `shift` : added to the
    figures.  `changes` : to the record."""
    run = json.loads((folder / "run.json").read_text()) if (folder / "run.json").is_file() else {}
    data = run.get("data") or data_of("ntu60")
    digest = f"{folder.name}-{kind}-{epoch}-{experiment.model.width}"
    subject = {**subject_of(experiment, data), "kind": kind, "digest": digest}
    if epoch is not None:
        subject["epoch"] = epoch
    if kind != "encoder":
        subject = {key: subject[key] for key in ("kind", "digest", "model")}
    if kind == "coordinates":
        subject = {"kind": kind, "digest": "coordinates-48", "frames": 48}
    figures = (COORDINATES if kind == "coordinates" else FIGURES)[protocol]
    judged = judged_by or experiment
    settings = PROTOCOLS[protocol].settings(judged.evaluation, judged.augment)
    record = {
        "schema": SCHEMA,
        "protocol": protocol,
        "subject": subject,
        "data": data,
        "split": experiment.data.split,
        "clips": {"train": train, "test": 60_000},
        "joints": 25,
        "seed": experiment.seed,
        "precision": "float32" if PROTOCOLS[protocol].frozen else judged.precision,
        "settings": settings,
        "figures": {name: value + shift for name, value in figures.items()},
        "details": {},
        "spoken": PROTOCOLS[protocol].spoken(settings),
        **changes,
    }
    write_record(folder, record)
    return record


def run_with(
    folder: Path, *overrides: str, shift: float = 0.0, protocol: str = "linear", **made: Any
) -> None:
    """A finished run with one result."""
    judge(folder, write_run(folder, *(["ntu60-xsub-amr", *overrides]), **made), protocol, shift)


def data_of(
    dataset: str, recipe: dict[str, Any] = CTRGCN, synthetic: bool = False, fingerprint: str = "f1"
) -> dict[str, Any]:
    return {
        "dataset": dataset,
        "fingerprint": fingerprint,
        "recipe": recipe,
        "synthetic": synthetic,
        "path": "",
    }


def subject_of(experiment: Experiment, data: dict[str, Any]) -> dict[str, Any]:
    return {
        "experiment": experiment.name,
        "method": experiment.method,
        "training": training_digest(experiment),
        "seed": experiment.seed,
        "epoch": experiment.pretrain.epochs,
        "epochs": experiment.pretrain.epochs,
        "model": experiment.model.model_dump(mode="json"),
        "dataset": data["dataset"],
        "recipe": data["recipe"],
        "synthetic": data["synthetic"],
    }
