"""results.json and the model card: views over what a run's folder keeps, made anew after every evaluation.
The results themselves lie in `evaluations`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock

from amr_data.files import read_json, write_json, write_text
from amr_train.config import ModelConfig
from amr_train.evaluation.records import Record, brief, records_in
from amr_train.experiments.card import CARD, model_card
from amr_train.experiments.facts import facts_of
from amr_train.identity import recorded_experiment
from amr_train.models.files import EncoderConfig
from amr_train.models.flops import encoder_flops
from amr_train.training.folder import PRETRAINING, RUN, read_record

RESULTS = "results.json"


def results_of(folder: Path, records: Sequence[Record] | None = None) -> dict[str, Any]:
    """What a run is and what came out of it.

    records : those to show, with their details; by default all that the folder keeps, without.
    """
    run = read_record(folder / RUN)
    experiment = recorded_experiment(run, folder / RUN)
    shown = [brief(record) for record in records_in(folder)] if records is None else list(records)
    return {
        "experiment": experiment.name,
        "method": experiment.method,
        "seed": experiment.seed,
        "scale": experiment.scale,
        "training": run["digest"],
        "dataset": run["data"]["name"],
        "synthetic": run["data"]["synthetic"],
        "split": experiment.data.split or " + ".join(experiment.data.splits.values()) or None,
        **_gflops(experiment.model, run["encoder"]),
        "pretraining": read_pretraining(folder),
        "evaluations": shown,
    }


def _gflops(model: ModelConfig, encoder: Mapping[str, Any]) -> dict[str, float | None]:
    """What the encoder's features of one body and of a clip with all its dataset's bodies cost. `encoder` :
    what run.json says of it; runs from before do not know the bodies."""
    body = encoder_flops(model, encoder["joints"]) / 1e9
    bodies = encoder.get("bodies")
    return {"body_gflops": body, "clip_gflops": body * bodies if bodies else None}


def write_results(folder: Path) -> None:
    """Make results.json and the model card anew, where the folder is a run's."""
    if (folder / RUN).is_file():
        with FileLock(folder / f".{RESULTS}.lock"):  # several workers may judge a run at once
            write_json(folder / RESULTS, results_of(folder))
            if (folder / PRETRAINING).is_file():
                facts = facts_of(folder)
                write_text(
                    folder / CARD, model_card(EncoderConfig.model_validate(facts.run["encoder"]), facts)
                )


def read_pretraining(folder: Path) -> dict[str, Any] | None:
    """How the pre-training of a run ended: seconds, steps, the last figures; None while it has not."""
    try:
        content = read_json(folder / PRETRAINING)
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
