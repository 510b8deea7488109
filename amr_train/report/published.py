"""Which published value may stand beside a result, and in words why another may not.

It may where everything that decides the result is as shipped, at full scale, on the benchmark as the
literature prepares it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from amr_data.looking.words import recipe_in_words
from amr_train.config import Experiment
from amr_train.evaluation.protocols import PROTOCOLS
from amr_train.evaluation.records import Record, part_of
from amr_train.experiments.settings import read_shipped
from amr_train.identity import differences, in_words, training_digest, training_settings
from amr_train.report.grouping import Subject, epoch_in_words, shipped

RECIPE = "ctrgcn"
"""The recipe that the literature's numbers were made with, neither rotated nor scaled."""
OTHERS = "others"
"""The key of the file of published values under which those of other methods stand."""
WHOLE = 0.99
"""Share of the benchmark's clips that a conversion of all of it has at least; clean-ups differ by a few."""


@cache
def benchmarks() -> dict[str, list[int]]:
    """Train and test clips of the benchmarks, by dataset and split."""
    return read_shipped("experiments/benchmarks.yaml")


@cache
def published() -> dict[str, dict[str, float]]:
    """Published top-1 in percent by experiment and figure."""
    found = read_shipped("experiments/published.yaml")
    return {name: figures for name, figures in found.items() if name != OTHERS}


@cache
def _others() -> dict[str, list[dict[str, Any]]]:
    return dict(read_shipped("experiments/published.yaml")[OTHERS])


def by_others(data: Mapping[str, Any], split: str, record: Record) -> list[dict[str, Any]]:
    """What is published of methods that are not ours, for the protocol of a record on the test part of a
    dataset's split: `name`, `top1_percent`, `protocol` in words and `source` of each, by value.

    They are said below a table and never set against a row: how the clips were prepared, and how large the
    encoder was, differs between them."""
    if part_of(record) != "test" or data.get("synthetic"):
        return []
    return [
        {"name": name, "top1_percent": value, "protocol": of["protocol"], "source": source}
        for of in _others().get(f"{data['dataset']}-{split}", [])
        if of["figures"] == record["protocol"]
        for name, (value, source) in sorted(of["values"].items(), key=lambda pair: pair[1][0])
    ]


def beside(
    record: Record,
    subject: Subject,
    figure: str,
    experiment: Experiment | None,
    missing: Sequence[str] = (),
) -> tuple[float | None, float | None, str]:
    """What is published of a figure.

    Args:
        subject: of the record, see `Groups.completed`.
        figure: as the table names it, a transfer with its prefix.
        experiment: what trained the subject, None where its run is not at hand.
        missing: folds that the figure lacks.
    Returns: the value that may stand beside ours; the one in print, which may not; why, '' otherwise.
    """
    name = str(subject.get("experiment", "")) if subject["kind"] == "encoder" else ""
    known, value = shipped(name), published().get(name, {}).get(figure)
    if known is None or value is None:
        return None, None, ""
    reasons = [
        *_of_data(known, subject),
        *_of_recipe(record["data"]),
        *_of_part(record),
        *([f"no result of {', '.join(missing)}"] if missing else []),
        *_of_clips(record),
        *_of_training(known, subject, experiment),
        *_of_evaluation(known, record, figure),
    ]
    words = "; ".join(dict.fromkeys(reasons))
    return (None, value, words) if words else (value, value, "")


def decisive(record: Record, figure: str) -> dict[str, Any]:
    """Everything of an evaluation that decides one of its figures, apart from subject, data and seed. Which
    other shares of labels were tried decides nothing of one share's."""
    settings = dict(record["settings"])
    if record["protocol"] == "semi" and isinstance(settings.get("semi"), Mapping):
        settings["semi"] = {k: v for k, v in settings["semi"].items() if k != "percent"}
    return {"precision": record["precision"], "joints": record.get("joints"), **settings}


def shipped_decisive(known: Experiment, record: Record, figure: str) -> dict[str, Any] | None:
    """What `decisive` says of the shipped settings of an experiment; None for a protocol of one's own."""
    protocol = PROTOCOLS.get(record["protocol"])
    if protocol is None:
        return None
    settings = protocol.settings(known.evaluation, known.augment)
    precision = known.evaluation.feature_precision if protocol.frozen else known.precision
    as_shipped = {**record, "settings": settings, "precision": precision}
    return decisive(as_shipped, figure)


def _of_data(known: Experiment, subject: Subject) -> list[str]:
    ours, meant = subject.get("dataset"), known.data.dataset
    return [*([] if ours == meant else [f"trained on {ours} instead of {meant}"]), *_of_recipe(subject)]


def _of_part(record: Record) -> list[str]:
    clips = {"validation": "held-out training clips", "subjects": "training clips"}.get(part_of(record))
    return [f"{clips} instead of the test part"] if clips else []


def _of_clips(record: Record) -> list[str]:
    """Where a part of the benchmark is missing."""
    meant = benchmarks().get(f"{record['data']['dataset']}-{record['split']}")
    if part_of(record) != "test":
        return []
    counts = [record["clips"][part] for part in ("train", "test")]
    if meant is None or all(ours >= WHOLE * theirs for ours, theirs in zip(counts, meant, strict=True)):
        return []
    shown = [" / ".join(f"{n:,}" for n in numbers) for numbers in (counts, meant)]
    return [f"{shown[0]} clips instead of {shown[1]}"]


def _of_recipe(data: Mapping[str, Any]) -> list[str]:
    found = ["synthetic clips"] if data.get("synthetic") else []
    recipe = recipe_in_words(data.get("recipe") or {})
    return found if recipe == RECIPE else [*found, f"recipe {recipe} instead of {RECIPE}"]


def _of_training(known: Experiment, subject: Subject, experiment: Experiment | None) -> list[str]:
    found = []
    if experiment is not None:
        scale = f"scale {experiment.scale}: " if experiment.scale != "full" else ""
        words = in_words(differences(training_settings(experiment), training_settings(known)))
        found = [scale + words] if words else []
    elif subject["training"] != training_digest(known):
        found = ["trained with other settings than are shipped"]
    epoch = epoch_in_words(subject)
    return [*found, *([epoch] if epoch else [])]


def _of_evaluation(known: Experiment, record: Record, figure: str) -> list[str]:
    as_shipped = shipped_decisive(known, record, figure)
    if as_shipped is None:
        return ["a protocol of one's own"]
    words = in_words(differences(decisive(record, figure), as_shipped))
    return [words] if words else []
