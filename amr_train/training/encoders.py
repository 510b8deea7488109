"""The encoder of a run, finished or not, of one of its checkpoints, or of a file."""

from __future__ import annotations

from pathlib import Path

import torch
from pydantic import ValidationError

from amr_data import AmrError, UsageError
from amr_data.specs import Skeleton, load_skeleton
from amr_train.identity import recorded_experiment
from amr_train.models.files import ENCODER, PUBLISHED, ClipEncoder, EncoderConfig, clip_encoder, read_encoder
from amr_train.models.skeletons import encoder_on
from amr_train.training.checkpoints import READ_ERRORS, list_checkpoints, load_state
from amr_train.training.folder import RUN, read_record


def load_encoder(
    path: str | Path, device: str | torch.device = "cpu", skeleton: str | Skeleton | None = None
) -> ClipEncoder:
    """An encoder that `amr-train run` or `amr-train import-mamp` wrote, in evaluation mode. Its
    `config.epoch` of `config.epochs` says how far it was trained.

    Args:
        path: a run's folder (its encoder, or that of its newest whole checkpoint while it is not finished),
            one of its checkpoints, an encoder file, or a folder for the Hugging Face hub, from there or from
            `export_to_hub_folder`.
        skeleton: whose clips it shall take, by its name or as it is; the one it was trained on by default.
            `config.joint_names` say which of the joints it knows, in the order in which it takes them.
    Raises: UsageError where there is none, or it knows no joint of the skeleton; AmrError where it is
        damaged.
    """
    found = _loaded(Path(path), device)
    if skeleton is None:
        return found
    return encoder_on(found, load_skeleton(skeleton) if isinstance(skeleton, str) else skeleton)


def _loaded(place: Path, device: str | torch.device) -> ClipEncoder:
    if place.is_file() and place.suffix == ".pt":
        return _of_checkpoint(place, device)
    file = place / ENCODER if place.is_dir() else place
    for found in (file, place / PUBLISHED):
        if found.is_file():
            return read_encoder(found, device)
    kept = list_checkpoints(place / "checkpoints")
    if not kept:
        raise UsageError(f"no encoder at {file}; give a run's folder, a checkpoint of it, or an encoder file")
    problem: AmrError | None = None
    for checkpoint in reversed(kept):
        try:
            return _of_checkpoint(checkpoint, device)
        except UsageError:
            raise
        except AmrError as error:
            problem = problem or error
    assert problem is not None
    raise problem


def _of_checkpoint(file: Path, device: str | torch.device) -> ClipEncoder:
    record_file = file.parent.parent / RUN
    if not record_file.is_file():
        raise UsageError(f"{file} does not lie in a run's folder: there is no {record_file}")
    record = read_record(record_file)
    experiment = recorded_experiment(record, record_file)
    try:
        state = load_state(file, torch.device(device))
        weights = {
            name.removeprefix("encoder."): value
            for name, value in state["model"].items()
            if name.startswith("encoder.")
        }
        config = EncoderConfig.model_validate(record["encoder"])
        share = state["step"] / max(1, int(record["steps"]))
        done = config.model_copy(update={"epoch": round(share * experiment.pretrain.epochs, 2)})
        return clip_encoder(done, weights, device)
    except (*READ_ERRORS, KeyError, TypeError, ValidationError) as error:
        raise AmrError(f"{file} cannot be read: {str(error).splitlines()[0]}") from None
