"""What a model sees and makes of a clip, as scenes for `amr_data.viz`: the mask, the reconstruction beside
its target, weights and error."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from amr_data import ShardDataset, UsageError
from amr_data.looking.units import UNITS, length_unit
from amr_data.specs import names_in
from amr_data.viz.scene import Layer, Panel, Scene, robust_top
from amr_train.config import Experiment, InputConfig
from amr_train.data.batching import Batch
from amr_train.data.feed import Feed
from amr_train.data.landmarks import path_of
from amr_train.data.reading import read_split
from amr_train.experiments.loading import experiment_names, load_experiment, method_names
from amr_train.identity import recorded_experiment
from amr_train.models.files import naming_of
from amr_train.models.guidance import online_weights, window_energy
from amr_train.models.layers import name_joints
from amr_train.models.masked import MaskedReconstruction
from amr_train.models.masking import token_order
from amr_train.models.registry import make_method
from amr_train.models.targets import EPS, UNBIASED, patchify, unpatchify
from amr_train.parallel.processes import Processes
from amr_train.training.checkpoints import load_latest
from amr_train.training.folder import RUN, read_record

CROP = 0.95
"""Share of a clip that is shown, as in test views."""


def model_scenes(
    run: str | Path, dataset: ShardDataset, indices: Sequence[int], seed: int = 0
) -> list[Scene]:
    """Clips as a run's model sees them, resampled to its frames.

    Args:
        run: a run's folder: mask, reconstruction and target; or an experiment's name: the mask that its
            settings draw.
        indices: of clips.
        seed: of the mask.
    Returns: scenes whose first panel is the input and carries the layers; the second has only what is
        visible, the third, with a run, the
        reconstruction: predicted motion is added up within each patch from the input's position at the
            patch's begin, and a normalised
        target takes the true patch's mean and spread, since a model that predicts normalised values says
        nothing about these.
    Raises: UsageError where there is no such run or experiment, or its skeleton is another.
    """
    folder = Path(run)
    trained = (folder / RUN).is_file()
    if not trained and str(run) not in experiment_names():
        raise UsageError(f"{run} is neither a run's folder nor an experiment (`amr-train list`)")
    file = folder / RUN
    experiment = recorded_experiment(read_record(file), file) if trained else load_experiment(str(run))
    if experiment.method not in method_names():
        raise UsageError(f"{run} was trained by {experiment.method}; only masked reconstruction can be shown")
    if experiment.input.stream != "joint":
        shown = "bones" if experiment.input.stream == "bone" else "motion"
        raise UsageError(f"{run} is shown {shown}, which is no body that could be drawn; joints can be")
    model = _method(experiment, dataset)
    if trained:
        state, problems = load_latest(folder / "checkpoints", torch.device("cpu"))
        if state is None:
            raise UsageError(
                f"{run} has no checkpoint that can be read; "
                f"{problems[0] if problems else 'start it with `amr-train run`'}"
            )
        try:
            model.load_state_dict(state["model"])
        except RuntimeError:
            raise UsageError(
                f"{run} was trained on another skeleton than that of {dataset.path}; "
                "give a dataset with the skeleton that it was trained on"
            ) from None
    return [_scene(model, dataset, index, seed, trained) for index in indices]


def _method(experiment: Experiment, dataset: ShardDataset) -> MaskedReconstruction:
    """With weights of chance, for a dataset's joints. Raises: UsageError where it does not know one by its
    name."""
    skeleton = dataset.spec.skeleton
    if experiment.model.joints == "name" and not experiment.model.names:
        named = {"names": names_in(skeleton.shares)}
        experiment = experiment.model_copy(update={"model": experiment.model.model_copy(update=named)})
    model = make_method(experiment, len(skeleton.joints), dataset.windows).eval()
    assert isinstance(model, MaskedReconstruction)  # as every shipped method is
    if experiment.model.names:
        name_joints(model, naming_of(skeleton.shares, experiment.model.names))
    return model


@torch.no_grad()
def _scene(model: MaskedReconstruction, dataset: ShardDataset, index: int, seed: int, trained: bool) -> Scene:
    config, spec = model.config, dataset.spec
    unit = UNITS["spine_lengths"] if config.input.lengths == "spine" else length_unit(dataset)
    feed, batch = _seen(dataset, index, config.input, config.model.frames)
    joints, present = batch.joints, batch.present  # (M, T, V, 3), (M, T) or None
    noise = torch.rand(len(joints), model.encoder.tokens, generator=torch.Generator().manual_seed(seed))
    order = token_order(noise, joints, model.encoder.segment, config.mask, present)
    shown = _visible(model, order, joints)
    name = f"{dataset.names[index]} · {spec.class_title(int(feed.labels[0]))}"
    title = f"{name} · as {config.name} sees it, {joints.shape[1]} frames"
    seen = np.asarray(shown.numpy())
    path, placed = path_of(config.input, spec.skeleton), joints
    if path is not None:  # the joint that shows it has a place in the body as well
        still = config.input.model_copy(update={"centre": "every"})
        placed = _seen(dataset, index, still, config.model.frames)[1].joints

    def drawn(bodies: Tensor) -> npt.NDArray[np.float32]:
        if path is not None:
            way = bodies[:, :, path] - placed[:, :, path]
            bodies = _moved(bodies, way, path, each=config.input.bodies == "each")
        # what stands in for an absent body is not drawn
        return _array(bodies if present is None else torch.where(present[..., None, None], bodies, torch.nan))

    given = drawn(joints)
    panels = [
        Panel("input", given, marked=seen),
        Panel("what stays visible", np.where(seen[..., None], given, np.nan), marked=seen),
    ]
    layers = [Layer("masked", _array((~shown).float()), 1.0, printed=True, states=("visible", "masked"))]
    if config.guidance.focal:
        weights = online_weights(joints, config.guidance.windows, config.guidance.k, present)
        layers.append(
            Layer(
                f"focal weight, k = {config.guidance.k:g}", _array(weights), 1.0, "", "viridis", printed=True
            )
        )
    window = config.model.segment
    energy = _array(window_energy(joints, window).sqrt().repeat_interleave(window, dim=1) * unit.per)
    layers.append(Layer(f"energy, {window} frames", energy, robust_top(energy), unit.fine))
    if trained:
        predicted, which = model.decoder(model.encoder(joints, order[:, : model.visible]), order)
        rebuilt = restored(model, joints, predicted.float(), which)
        error = _array((rebuilt - joints).norm(dim=-1) * unit.per)
        panels.append(Panel("reconstruction", drawn(rebuilt), ghost=True))
        top = robust_top(error)
        layers.insert(1, Layer("error of the reconstruction", error, top, unit.fine, printed=True))
    return Scene(
        dataset.names[index],
        title,
        spec.skeleton,
        # its frames are spread over the part of the clip that is shown, which lasts as long as it did
        spec.frame_rate * joints.shape[1] / (CROP * int(dataset.clips["frames"][index])),
        panels,
        layers,
        dataset.up if config.input.frame == "recorded" else 2,
        synthetic=dataset.synthetic,
        unit=unit,
    )


def _seen(dataset: ShardDataset, index: int, shown: InputConfig, frames: int) -> tuple[Feed, Batch]:
    """A clip in a form, in so many frames."""
    arrays = read_split(dataset, np.array([index]), Processes(), shown=shown)
    feed = Feed(arrays, torch.device("cpu"), frames)
    return feed, feed.batch(feed.centre_views(1, CROP), 0)


def _moved(joints: Tensor, way: Tensor, path: int, each: bool) -> Tensor:
    """The bodies of one clip (M, T, V, 3) where their way (M, T, 3) has led them, or that of the main actor,
    whose joint `path` is there already."""
    own = slice(None) if each else slice(1)
    moved = joints + way[own, :, None]
    moved[own, :, path] = joints[own, :, path]
    return moved


def _visible(model: MaskedReconstruction, order: Tensor, joints: Tensor) -> Tensor:
    """(M, T, V) bool: which joints at which frames the encoder is shown."""
    shown = torch.zeros(order.shape, dtype=torch.bool)
    shown.scatter_(1, order[:, : model.visible], True)
    segment = model.encoder.segment
    return shown.reshape(len(joints), -1, joints.shape[2]).repeat_interleave(segment, dim=1)


def restored(model: MaskedReconstruction, joints: Tensor, predicted: Tensor, which: Tensor | None) -> Tensor:
    """Predictions as positions: (S, P, values) of the patches `which` (S, P), all where it is None, to (S, T,
    V, 3) metres; patches that are not predicted have the input's. Of motion and coordinates side by side the
    latter count."""
    config, length = model.config.target, model.patch_frames
    if config.kind == "both":
        predicted = predicted[..., length * 3 :]
    moving = config.kind == "motion"
    values = torch.cat([joints.diff(dim=1), torch.zeros_like(joints[:, :1])], dim=1) if moving else joints
    true = patchify(values, length)  # (S, T / length * V, length * 3)
    if config.normalize == "patch":
        variance, mean = torch.var_mean(true, dim=2, keepdim=True, correction=UNBIASED)
    elif config.normalize == "clip":
        parts = torch.var_mean(values, dim=1, keepdim=True, correction=0)
        variance, mean = (patchify(part.expand_as(values), length) for part in parts)
    else:
        variance, mean = torch.ones_like(true) - EPS, torch.zeros_like(true)
    if which is not None:
        index = which[..., None].expand(-1, -1, true.shape[-1])
        grid = ((true - mean) * (variance + EPS).rsqrt()).scatter(1, index, predicted)
    else:
        grid = predicted
    rebuilt: Tensor = unpatchify(grid * (variance + EPS).sqrt() + mean, joints.shape[2], 3)
    if not moving:
        return rebuilt
    steps = rebuilt.unflatten(1, (-1, length))  # (S, patches, length, V, 3)
    begin = joints.unflatten(1, (-1, length))[:, :, :1]
    moved = torch.cat([torch.zeros_like(begin), steps[:, :, :-1].cumsum(dim=2)], dim=2)
    return torch.flatten(begin + moved, 1, 2)


def _array(values: Tensor) -> npt.NDArray[np.float32]:
    return np.asarray(values.numpy(), np.float32)
