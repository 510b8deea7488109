"""What `amr-train eval RUN` does: an encoder judged as its own run was, unless it is told otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from amr_data import UsageError, open_dataset
from amr_train.config import EvaluationConfig, Experiment
from amr_train.data.input import check_input
from amr_train.evaluation.evaluating import evaluate_encoder
from amr_train.evaluation.joints import shared_joints
from amr_train.evaluation.parts import only_split, parts_of
from amr_train.evaluation.protocols import protocol_named
from amr_train.evaluation.records import BASELINES, Record
from amr_train.experiments.places import place_of
from amr_train.experiments.results import write_results
from amr_train.experiments.running import MILESTONES, determinism
from amr_train.experiments.settings import Settings, explain, over, parse_overrides
from amr_train.identity import recorded_experiment
from amr_train.listening import Listener
from amr_train.models.files import EncoderConfig
from amr_train.parallel.processes import choose_device, joined
from amr_train.training.encoders import load_encoder
from amr_train.training.folder import RUN, read_record


@dataclass(frozen=True)
class Judging:
    """An evaluation with all that it needs. `standing`: how far the encoder is trained, in words where it is
    not to the end.  `run`: the folder of the run that the encoder belongs to, None
    for an encoder file alone.  `folder`: where results are kept, None for nowhere.  `baselines`: where a
    suite keeps those of all its runs."""

    encoder: Path
    standing: str
    run: Path | None
    data: Path
    split: str
    protocols: tuple[str, ...]
    settings: EvaluationConfig
    seed: int
    precision: str
    device: str
    compile: str
    deterministic: bool
    folder: Path | None
    baselines: Path | None


def judging_of(
    encoder: str | Path,
    data: str | Path | None = None,
    split: str | None = None,
    protocols: Sequence[str] = (),
    seed: int | None = None,
    precision: str | None = None,
    out: str | Path | None = None,
    overrides: Sequence[str] = (),
) -> Judging:
    """What is not said is taken from the encoder's run: its data, split, settings of evaluation, seed and
    precision; its folder keeps the results.

    Args:
        encoder: a run's folder, finished or not, one of its checkpoints or milestones, or an encoder file.
        data: a dataset's folder, with the split behind a colon if that is not said by `split`.
        overrides: settings as `linear.lr=0.1` or `evaluation.linear.lr=0.1`.
    Raises: UsageError where there is no such encoder, nothing says on which data, or the dataset has several
        splits and none is said.
    """
    place = Path(encoder)
    run = run_of(place)
    experiment, kept = (None, None) if run is None else _recorded(run)
    settings = evaluation_settings(overrides, experiment)
    asked = [protocol_named(name) for name in protocols or settings.protocols]
    config = (loaded := load_encoder(place)).config
    if data is not None:
        data, named = place_of(str(data))
        if named and split and named != split:
            raise UsageError(
                f"--data {data}:{named} and --split {split} say two things: leave one of them out"
            )
        split = named or split
    dataset = open_dataset(_data(data, kept, place))
    if split is None and experiment is not None:
        own = experiment.data.splits.get(dataset.spec.name, experiment.data.split)
        split = own if own in dataset.spec.protocols else None
    split = only_split(dataset, split)
    # what does not fit together is said here, once, before processes are started
    parts_of(dataset, split, settings.part, config.excluded.get(dataset.spec.name, ()))
    check_input(config.input, dataset)
    for protocol in asked:
        protocol.check_on(dataset, settings.part)
    shared_joints(loaded, dataset)
    if out is not None:
        check_results_folder(Path(out))
    shared = run.parent / BASELINES if run is not None and out is None else None
    return Judging(
        encoder=place,
        standing=_standing(config, place.is_dir()),
        run=run,
        data=dataset.path,
        split=split,
        protocols=tuple(protocols or settings.protocols),
        settings=settings,
        seed=seed if seed is not None else experiment.seed if experiment else 0,
        precision=precision or (experiment.precision if experiment else "float32"),
        device=experiment.device if experiment and experiment.device in ("cpu", "mps") else "auto",
        compile=experiment.compile if experiment else "none",
        deterministic=experiment.deterministic if experiment else False,
        folder=Path(out) if out is not None else run,
        baselines=shared if shared is not None and shared.is_dir() else None,
    )


def judge(judging: Judging, listener: Listener | None = None) -> list[Record]:
    """Judge, alone or as one of the processes that torchrun started, and make the run's results.json anew.

    Returns: a record for each protocol and subject, the baselines' first; only the main process has them.
    Raises: UsageError, AmrError; Stopped after SIGINT or SIGTERM in a fine-tuning.
    """
    with joined(choose_device(judging.device)) as (processes, device), determinism(judging.deterministic):
        records = evaluate_encoder(
            judging.encoder,
            judging.data,
            judging.split,
            judging.protocols,
            judging.settings,
            processes,
            seed=judging.seed,
            precision=judging.precision,
            device=device.type,
            folder=judging.folder,
            baselines=judging.baselines,
            listener=listener if processes.main else None,
            compile=judging.compile if device.type == "cuda" else "none",
        )
        if not processes.main:
            return []
    if judging.folder is not None:
        write_results(judging.folder)
    return records


def check_results_folder(folder: Path) -> None:
    """Raises UsageError where a file stands in the place of a folder for results, or above it; so before
    anything is made."""
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not there.is_dir():
        raise UsageError(f"{there} is a file: results are kept in a folder; choose another --out")


def run_of(place: Path) -> Path | None:
    """The run's folder that an encoder belongs to: itself, or where its checkpoint, milestone or encoder file
    lies; None for a file alone."""
    candidates = [place]
    if place.is_file():
        candidates = [place.parent]
        if place.parent.name in (MILESTONES, "checkpoints"):
            candidates = [place.parent.parent]
    return next((folder for folder in candidates if (folder / RUN).is_file()), None)


def evaluation_settings(overrides: Sequence[str], experiment: Experiment | None = None) -> EvaluationConfig:
    """The settings of an experiment's evaluation with overrides over them. Raises: UsageError."""
    changes: Settings = {}
    for word in overrides:
        key = word.partition("=")[0].strip()
        section = key.partition(".")[0]
        if key in ("seed", "precision", "split"):
            raise UsageError(
                f"{key} of an evaluation is an option: --{key} {word.partition('=')[2]}".rstrip()
            )
        if section != "evaluation" and section in Experiment.model_fields and section not in _OWN:
            raise UsageError(
                f"{key} decides a training, and this one is done; eval takes settings of `evaluation`"
            )
        prefix = "" if section == "evaluation" else "evaluation."
        changes = over(changes, parse_overrides([word], prefix)["evaluation"])
    base = (experiment.evaluation if experiment else EvaluationConfig()).model_dump()
    try:
        return EvaluationConfig.model_validate(over(base, changes))
    except ValidationError as error:
        raise UsageError(f"evaluation: {explain(error)}") from None


_OWN = set(EvaluationConfig.model_fields)


def _standing(config: EncoderConfig, whole_run: bool) -> str:
    if config.epoch >= config.epochs:
        return ""
    return f"epoch {config.epoch:g} of {config.epochs}" + (", not finished" if whole_run else "")


def _recorded(run: Path) -> tuple[Experiment, dict[str, Any]]:
    record = read_record(run / RUN)
    return recorded_experiment(record, run / RUN), dict(record.get("data", {}))


def _data(data: str | Path | None, kept: dict[str, Any] | None, encoder: Path) -> Path:
    if data is not None:
        return Path(data)
    if kept is None:
        raise UsageError(f"{encoder} does not say on which clips to judge it: give --data DIR")
    if "sets" in kept:
        places = ", ".join(f"{one['name']} in {one['path']}" for one in kept["sets"])
        raise UsageError(f"{encoder} was trained on several datasets: say which with --data DIR ({places})")
    path = Path(str(kept.get("path", "")))
    if not (path / "manifest.json").is_file():
        raise UsageError(
            f"{encoder} was trained on {kept.get('name')} in {path}, which is not there now: give --data DIR"
        )
    return path
