"""Late fusion: several encoders that were judged alike, such as one of joints and one of bones, judged
together. The probes' class scores are summed, features stand side by side for the nearest neighbour."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from amr_data import UsageError
from amr_train.evaluation.about import about_task, spoken_of
from amr_train.evaluation.evaluating import judged, task_of
from amr_train.evaluation.features import Features
from amr_train.evaluation.kept import kept_scores, scores_file
from amr_train.evaluation.parts import SUBJECTS
from amr_train.evaluation.protocols import protocol_named
from amr_train.evaluation.protocols.knn import Knn, votes
from amr_train.evaluation.records import Record, record_file, write_record
from amr_train.evaluation.scores import score
from amr_train.evaluation.task import Task
from amr_train.experiments.judging import Judging, check_results_folder, judging_of
from amr_train.experiments.naming import safe_name
from amr_train.identity import differences, digest_of, in_words
from amr_train.listening import Listener
from amr_train.training.folder import environment, now

FUSED = ("linear", "logistic", "knn")
"""The protocols of frozen features whose scores mean the same for every encoder."""
TIES = 0.5
"""Percent by which kept scores may give another figure than their result: which of equal scores is the first
depends on the device."""


def fuse(
    runs: Sequence[str | Path],
    protocols: Sequence[str] = (),
    out: str | Path | None = None,
    listener: Listener | None = None,
    data: str | Path | None = None,
    split: str | None = None,
) -> tuple[list[Record], Path]:
    """Judge the encoders of runs together, each shown its own form of the same clips.

    Args:
        runs: two or more, on the same data, split, part and seed. What of their evaluations is missing is
            made, and kept in their folders.
        protocols: among `FUSED`; those of the first run's settings by default.
        out: the folder that keeps the results, beside the first run by default.
        data, split: another dataset than the runs', and by which split, as of `judging_of`.
    Returns: a record for each protocol, and the folder.
    Raises: UsageError where they are fewer than two, or were judged otherwise than each other; AmrError.
    """
    if len({Path(run).resolve() for run in runs}) < max(2, len(runs)):
        raise UsageError("give two runs or more, each once")
    judgings = [judging_of(run, data, split) for run in runs]
    asked = list(dict.fromkeys(protocols)) or [n for n in judgings[0].protocols if n in FUSED]
    other = [name for name in asked if name not in FUSED]
    if other or not asked:
        raise UsageError(f"{other[0] if other else 'nothing'} cannot be fused; {', '.join(FUSED)} can")
    tasks = []
    for judging in judgings:
        where = (judging.seed, judging.precision, judging.device, judging.folder, listener)
        what = (judging.encoder, judging.data, judging.split, judging.settings, None)
        tasks.append(task_of(*what, *where))
    abouts = [[about_task(task, protocol_named(name)) for task in tasks] for name in asked]
    for of_protocol in abouts:
        _check_alike(runs, of_protocol)
    _check_kept(runs, asked, tasks)
    folder = _beside(judgings[0], abouts[0]) if out is None else Path(out)
    check_results_folder(folder)
    for run, judging in zip(runs, judgings, strict=True):
        if judging.standing:
            tasks[0].listener.warn(f"{run}: {judging.standing}")
    records = [_fused(name, tasks, found) for name, found in zip(asked, abouts, strict=True)]
    for record in records:
        write_record(folder, record)
    return records, folder


def _beside(first: Judging, abouts: Sequence[Record]) -> Path:
    """The folder beside the first run, or the run of a first checkpoint, named after what is fused."""
    run = first.run or first.encoder
    parent = run.resolve().parent if run.name in ("", "..") else run.parent  # `.` is its own parent
    subject = _subject([about["subject"] for about in abouts])
    return parent / safe_name(f"{subject['name']}-{abouts[0]['seed']}".replace(" ", ""))


def _check_kept(runs: Sequence[str | Path], asked: Sequence[str], tasks: Sequence[Task]) -> None:
    """Raises UsageError where probes are asked for, and an encoder has no folder that keeps its scores."""
    for run, task in zip(runs, tasks, strict=True):
        for name in asked:
            if task.folder is None and not isinstance(protocol_named(name), Knn):
                raise UsageError(
                    f"{run} lies in no run's folder, and {name} takes the scores that are kept there; "
                    "--protocol knn takes encoder files too"
                )


def _check_alike(runs: Sequence[str | Path], abouts: Sequence[Record]) -> None:
    """Raises UsageError, naming what differs, where two results are not of the same clips, or are of
    one encoder."""

    def decides(about: Record) -> dict[str, Any]:
        keys = ("split", "part", "seed", "clips", "precision", "settings")
        return {"data": about["data"]["fingerprint"][:12], **{key: about[key] for key in keys}}

    known: dict[str, str | Path] = {}
    for run, about in zip(runs, abouts, strict=True):
        if (same := known.setdefault(about["subject"]["digest"], run)) is not run:
            raise UsageError(f"{same} and {run} are the same encoder: give each once")
        found = differences(decides(about), decides(abouts[0]))
        if found:
            raise UsageError(f"{run} was not judged as {runs[0]} was: it has {in_words(found)}")


def _fused(name: str, tasks: Sequence[Task], abouts: Sequence[Record]) -> Record:
    began = time.perf_counter()
    protocol, first = protocol_named(name), tasks[0]
    labels = first.labels("test")
    if isinstance(protocol, Knn):
        scores = _votes_by_subject(tasks) if first.part == SUBJECTS else _votes(tasks)
        prefix, how = "kNN", "features side by side, each of length 1"
    else:
        every = [_scores(task, about) for task, about in zip(tasks, abouts, strict=True)]
        scores = {
            pooling: torch.stack([of[pooling].softmax(dim=1) for of in every]).mean(dim=0)
            for pooling in every[0]
        }
        prefix, how = name, "mean of the encoders' softmax scores"
    figures, details = {}, {}
    for pooling, values in scores.items():
        found = score(values, labels.to(values.device))
        figures[f"{prefix} {pooling}"], details[pooling] = found.top1, found.as_dict()
    spoken = "; ".join(filter(None, (spoken_of(protocol, abouts[0]["settings"]), how)))
    seen = {"seen": any(about["seen"] for about in abouts)} if "seen" in abouts[0] else {}
    return {
        **abouts[0],
        **seen,
        **{key: sum(about[key] for about in abouts) for key in ("body_gflops", "clip_gflops")},
        "subject": _subject([about["subject"] for about in abouts]),
        "figures": figures,
        "details": details,
        "spoken": spoken,
        "seconds": round(time.perf_counter() - began, 2),
        "made": now(),
        **environment(first.device),
    }


def _votes(tasks: Sequence[Task]) -> dict[str, Tensor]:
    """Of the nearest neighbours in the features of several encoders, by the way of pooling."""
    features = [task.features for task in tasks]
    joined = Features(
        _side_by_side([one.train for one in features]),
        features[0].train_labels,
        _side_by_side([one.test for one in features]),
        features[0].test_labels,
        features[0].classes,
    )
    return {pooling: votes(joined, pooling, tasks[0].settings.knn_neighbours) for pooling in joined.train}


def _votes_by_subject(tasks: Sequence[Task]) -> dict[str, Tensor]:
    """The same where each subject's clips have their neighbours among those of the others."""
    found: dict[int, dict[str, Tensor]] = {}
    for of_subject in zip(*(task.by_subject() for task in tasks), strict=True):
        found[of_subject[0][0]] = _votes([one for _, one in of_subject])
    poolings = next(iter(found.values()))
    return {name: tasks[0].together({s: of[name] for s, of in found.items()}) for name in poolings}


def _scores(task: Task, about: Record) -> dict[str, Tensor]:
    """The kept scores of a run by the ways of pooling, whose evaluation is made where it is missing. Raises:
    UsageError where they are not kept, or give other figures than the result beside them."""
    assert task.folder is not None
    protocol = protocol_named(about["protocol"])
    record = judged(task, protocol)
    names = [task.dataset.names[i] for i in task.indices["test"]]
    found = kept_scores(scores_file(task.folder, about), names, task.classes)
    file = record_file(task.folder, about)
    if found is None:
        raise UsageError(f"no scores are kept beside {file}: remove it, and they are made anew")
    labels, figures = task.labels("test").cpu(), _by_pooling(record)
    for pooling, figure in figures.items():
        values = found.get(pooling)
        # a class without training clips has scores of -inf, which are no weight in what is summed
        unfit = values is None or not values.softmax(dim=1).isfinite().all()
        if values is None or unfit or abs(score(values, labels).top1 - figure) > TIES:
            raise UsageError(
                f"the scores beside {file} are not those of its {record['protocol']} {pooling}: remove it, "
                "and they are made anew"
            )
    return {pooling: found[pooling] for pooling in figures}


def _by_pooling(record: Record) -> dict[str, float]:
    """A probe's figures by the way of pooling, the last word of their names."""
    return {name.rpartition(" ")[2]: value for name, value in record["figures"].items()}


def _side_by_side(parts: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Features (N, D) of several encoders as (N, sum of D); each has length 1, so that all weigh alike."""
    return {name: torch.cat([normalize(part[name], dim=1) for part in parts], dim=1) for name in parts[0]}


def _subject(of: list[dict[str, Any]]) -> dict[str, Any]:
    """Named after the streams where these tell the encoders apart, after their experiments otherwise."""
    streams = [one.get("input", {}).get("stream", "joint") for one in of]
    names = (
        streams
        if len(set(streams)) == len(of)
        else [str(one.get("experiment") or one["digest"]) for one in of]
    )
    return {
        "kind": "fused",
        "digest": digest_of({"of": [one["digest"] for one in of]}),
        "name": " + ".join(names),
        "seed": of[0]["seed"],
        "parameters": sum(one["parameters"] for one in of),
        "of": of,
    }
