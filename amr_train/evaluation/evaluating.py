"""The one evaluation that runs, `amr-train eval`, suites and transfer share."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from amr_data import ShardDataset, UsageError, open_dataset
from amr_train.config import EvaluationConfig
from amr_train.evaluation.about import about_task, spoken_of
from amr_train.evaluation.kept import keep_scores, scores_file
from amr_train.evaluation.parts import SUBJECTS, only_split
from amr_train.evaluation.protocols import Protocol, Result, protocol_named
from amr_train.evaluation.records import (
    EVALUATIONS,
    Record,
    read_record_of,
    record_digest,
    write_record,
)
from amr_train.evaluation.subjects import Subject, coordinates, trained, untrained
from amr_train.evaluation.task import PARTS, Task
from amr_train.evaluation.whole import figures_in
from amr_train.listening import Listener
from amr_train.models.files import ClipEncoder, EncoderConfig
from amr_train.models.skeletons import told_of
from amr_train.parallel.precision import precision_on
from amr_train.parallel.processes import Processes, choose_device
from amr_train.training.folder import environment, now
from amr_train.training.locks import LOCK, hold


def evaluate(
    encoder: str | Path | ClipEncoder,
    dataset: str | Path | ShardDataset,
    split: str | None = None,
    protocol: str = "linear",
    settings: EvaluationConfig | None = None,
    processes: Processes | None = None,
    *,
    seed: int = 0,
    precision: str = "float32",
    device: str = "auto",
    folder: str | Path | None = None,
    listener: Listener | None = None,
    compile: str = "none",
) -> Record:
    """Judge an encoder by one protocol on one split of a dataset, which need not be the one it was trained
    on: between skeletons, the joints that both have are used.

    Args:
        encoder: a run's folder, finished or not, one of its checkpoints, an encoder file, or an encoder.
        dataset: a folder made by `amr-data convert`.
        split: the dataset's train/test rule, such as 'xsub'; may be left out where it has only one.
        protocol: 'linear', 'logistic', 'knn', 'retrieval', 'finetune', 'supervised', 'semi', or one of one's
            own.
        seed: of heads, views and probes.
        precision: of fine-tuning, 'float32', 'tf32', 'bfloat16' or 'auto', see
            `amr_train.parallel.precision`.
        folder: keeps the result, the encoder's features, and what a long protocol needs to be taken up; what
            it holds already is not computed again.
        compile: of fine-tuning, 'none', 'default' or 'cuda-graphs'.
    Returns: the record: `figures` in percent by column, `details`, and all that decides them.
    Raises: UsageError where encoder and dataset do not fit together, AmrError.
    """
    how = (seed, precision, device, folder, listener, compile)
    return judged(task_of(encoder, dataset, split, settings, processes, *how), protocol_named(protocol))


def evaluate_encoder(
    encoder: str | Path | ClipEncoder,
    dataset: str | Path | ShardDataset,
    split: str | None = None,
    protocols: Sequence[str] | None = None,
    settings: EvaluationConfig | None = None,
    processes: Processes | None = None,
    *,
    seed: int = 0,
    precision: str = "float32",
    device: str = "auto",
    folder: str | Path | None = None,
    baselines: str | Path | None = None,
    listener: Listener | None = None,
    compile: str = "none",
) -> list[Record]:
    """`evaluate` by several protocols, with the baselines that the settings name beside them; those of the
    settings where `protocols` is None. The encoder and its features are made once. `baselines` : the folder
    that keeps the baselines' results, `folder` where it is None."""
    how = (seed, precision, device, folder, listener, compile)
    task = task_of(encoder, dataset, split, settings, processes, *how)
    chosen = task.settings.protocols if protocols is None else protocols
    return judged_all(task, chosen, Path(baselines) if baselines else None)


def task_of(
    encoder: str | Path | ClipEncoder,
    dataset: str | Path | ShardDataset,
    split: str | None,
    settings: EvaluationConfig | None,
    processes: Processes | None,
    seed: int,
    precision: str,
    device: str,
    folder: str | Path | None,
    listener: Listener | None,
    compile: str = "none",
) -> Task:
    """An encoder on one split of a dataset, with what is not said by default. Raises: see `evaluate`."""
    processes, listener = processes or Processes(), listener or Listener()
    where = processes.device or choose_device(device)
    settings = settings or EvaluationConfig()
    precision, said = precision_on(precision, where)
    features, also = precision_on(settings.feature_precision, where)
    for line in dict.fromkeys(filter(None, (said, also))):
        listener.warn(line)
    data = dataset if isinstance(dataset, ShardDataset) else open_dataset(dataset)
    subject = trained(encoder, data, where)
    if subject.encoder is not None:
        for line in told_of(subject.encoder.config, data.spec.skeleton):
            listener.warn(line)
    task = Task(
        subject,
        data,
        only_split(data, split),
        settings.model_copy(update={"feature_precision": features}),
        where,
        seed,
        precision,
        processes,
        listener,
        Path(folder) if folder else None,
        compile=compile,
    )
    for line in _never_taught(task):
        listener.warn(line)
    return task


def _never_taught(task: Task) -> list[str]:
    """A word about classes that are judged and that no training clip shows."""
    labels = {part: np.unique(task.dataset.clips["label"][task.indices[part]]) for part in PARTS}
    never = np.setdiff1d(labels["test"], labels["train"])
    if not len(never):
        return []
    names = ", ".join(task.dataset.spec.class_title(int(label)) for label in never[:3])
    clips = int(np.isin(task.dataset.clips["label"][task.indices["test"]], never).sum())
    return [
        f"{len(never)} of the {len(labels['test'])} classes that are judged have no training clip in "
        f"{task.dataset.path} ({names}{', ...' if len(never) > 3 else ''}): "
        f"{clips:,} of {len(task.indices['test']):,} clips cannot be told"
    ]


def judged_all(task: Task, protocols: Sequence[str], baselines: Path | None = None) -> list[Record]:
    """Judge by several protocols: the baselines that the settings name first, by those of them that train
    nothing, then the subject by all.

    baselines : the folder that keeps the baselines' results, the task's own where it is None.
    """
    chosen = [protocol_named(name) for name in dict.fromkeys(protocols)]
    records = []
    for subject in _baselines(task):
        beside = replace(task, subject=subject, folder=baselines or task.folder)
        records += [judged(beside, protocol) for protocol in chosen if protocol.frozen]
    return records + [judged(task, protocol) for protocol in chosen]


def judge_beside(
    kind: str,
    config: EncoderConfig,
    dataset: ShardDataset,
    split: str,
    protocols: Sequence[str],
    settings: EvaluationConfig,
    folder: Path,
    *,
    seed: int = 0,
    precision: str = "float32",
    device: str = "auto",
    listener: Listener | None = None,
) -> list[Record]:
    """Judge what stands beside an encoder of these settings, which need not be trained yet: the baseline
    `kind`, by those of the protocols that train nothing. `folder` : keeps the results, as `baselines` of
    `evaluate_encoder`."""
    stand_in = untrained(config, config.seed, dataset, choose_device(device)).encoder
    assert stand_in is not None
    task = task_of(stand_in, dataset, split, settings, None, seed, precision, device, folder, listener)
    chosen = [protocol_named(name) for name in dict.fromkeys(protocols)]
    beside = [replace(task, subject=subject) for subject in _baselines(task) if subject.kind == kind]
    return [judged(one, protocol) for one in beside for protocol in chosen if protocol.frozen]


def judged(task: Task, protocol: Protocol) -> Record:
    """Judge, or take what is kept of it, if the dataset's files are as the conversion wrote them: results and
    features are kept by its fingerprint. Every process has the record."""
    protocol.check_on(task.dataset, task.part)
    comparing = task.listener.following("comparing files")
    task.processes.shared(lambda: task.dataset.check_unchanged(comparing))
    about = about_task(task, protocol)
    known = None
    if task.folder is not None:
        known = task.processes.shared(lambda: read_record_of(Path(str(task.folder)), about))
        task.work = task.folder / EVALUATIONS / f"{protocol.name.replace(':', '-')}-{record_digest(about)}"
    if known is not None:
        return known
    began = time.perf_counter()
    if not (protocol.frozen and protocol.of_clips):
        pass
    elif task.subject.encoder is not None:
        _ = task.features  # made by all processes together; what follows is done by the main one
    else:
        task.processes.from_main(lambda: task.features)
    collective = protocol.collective(task.settings)
    doing = task if collective else task.on_its_own()

    def made() -> dict[str, Any]:
        result = _by_subject(protocol, doing) if task.part == SUBJECTS else protocol.run(doing)
        checked = _checked(protocol, result)
        if result.scores and task.folder is not None and task.processes.main:
            names = [task.dataset.names[i] for i in task.indices["test"]]
            keep_scores(scores_file(task.folder, about), result.scores, names)
        return checked

    with _alone(task, protocol):
        found = made() if collective else task.processes.shared(made)
    record = {
        **about,
        **found,
        "spoken": spoken_of(protocol, about["settings"]),
        **({"bridged": task.bridged} if task.bridged is not None else {}),
        "seconds": round(time.perf_counter() - began, 2),
        "made": now(),
        **environment(task.device, task.processes.size),
    }
    if "batch_size" in vars(doing):  # it was needed
        record["hardware"]["clips_at_once"] = doing.batch_size
    if task.folder is not None and task.processes.main:
        write_record(task.folder, record)
        for left in task.work.rglob("checkpoints") if task.work else ():
            shutil.rmtree(left, ignore_errors=True)  # they were there to be taken up
    return record


def _by_subject(protocol: Protocol, task: Task) -> Result:
    """One subject after another judged by the others' clips: each figure's mean over clips, and the scores of
    all. Raises: UsageError where a protocol gives another subject other figures."""
    task.listener.stage(f"{protocol.name}, {task.subject.kind}, one subject after another")
    whose = task.whose("test")
    subjects, counts = np.unique(whose, return_counts=True)
    clips: dict[int, int] = dict(zip(subjects.tolist(), counts.tolist(), strict=True))
    results: dict[int, Result] = {}
    each: dict[int, dict[str, float]] = {}
    for subject, one in task.by_subject():
        results[subject] = protocol.run(one)
        each[subject] = _checked(protocol, results[subject])["figures"]
        task.listener.advance(len(each), len(clips), {})
    first = min(each)
    for other in (subject for subject in each if set(each[subject]) != set(each[first])):
        raise UsageError(
            f"protocol {protocol.name}: evaluation.part=subjects wants the same figures of every subject; of "
            f"{first} they are {', '.join(each[first])}, of {other} {', '.join(each[other])}"
        )
    figures = {name: sum(each[s][name] * n for s, n in clips.items()) / len(whose) for name in each[first]}
    scores = {
        name: task.together({subject: result.scores[name] for subject, result in results.items()})
        for name in results[first].scores
        if all(name in result.scores for result in results.values())
    }
    details = {str(s): {**each[s], "clips": n} for s, n in clips.items()}
    return Result(figures, {"subjects": details}, scores)


@contextmanager
def _alone(task: Task, protocol: Protocol) -> Iterator[None]:
    """Hold the folder of a protocol that trains, so that no other process trains into it. Raises:
    Held."""
    if protocol.frozen or task.work is None:
        yield
        return
    folder = task.work
    held: list[FileLock] = []

    def acquire() -> None:
        folder.mkdir(parents=True, exist_ok=True)
        held.append(hold(folder / LOCK, folder))

    task.processes.from_main(acquire)
    try:
        yield
    finally:
        for lock in held:
            lock.release()


def _checked(protocol: Protocol, result: object) -> dict[str, Any]:
    """Figures and details as they are kept. Raises: UsageError where a protocol gives something else."""
    figures = figures_in(result.figures) if isinstance(result, Result) else None
    if not isinstance(result, Result) or figures is None:
        given = repr(getattr(result, "figures", result))[:100]
        raise UsageError(f"protocol {protocol.name}: a Result with finite figures is expected, not {given}")
    found = {"figures": figures, "details": result.details}
    try:
        json.dumps(found, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UsageError(f"protocol {protocol.name}: its details cannot be kept as JSON: {error}") from None
    return found


def _baselines(task: Task) -> list[Subject]:
    """What the settings name, without what the task judges itself."""
    found = []
    for kind in task.settings.baselines:
        if kind == "untrained" and task.subject.encoder is not None and task.subject.kind == "encoder":
            config = task.subject.encoder.config
            found.append(untrained(config, config.seed, task.dataset, task.device))
        elif kind == "coordinates" and task.subject.kind != "coordinates":
            found.append(coordinates(task.settings.coordinate_frames, task.dataset, task.subject.input))
    return found
