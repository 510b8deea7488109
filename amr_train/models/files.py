"""Encoders as files: safetensors with the settings that build them again, and as modules that take whole
clips."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, ValidationError, computed_field
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from amr_data import AmrError, ShardDataset, UsageError
from amr_data.files import whole_file
from amr_data.specs import Shares, name_matrix
from amr_train.config import AugmentConfig, Experiment, InputConfig, ModelConfig
from amr_train.data.augment import gather_present, gather_resampled, nearest_present
from amr_train.data.dense import dense_input
from amr_train.data.landmarks import Anatomy, anatomy_of
from amr_train.identity import training_digest
from amr_train.models.encoder import SkeletonEncoder
from amr_train.models.flops import encoder_flops
from amr_train.models.layers import name_joints
from amr_train.models.pooling import clip_features

ENCODER = "encoder.safetensors"
PUBLISHED = "model.safetensors"
"""What an encoder file is called in a folder for the Hugging Face hub."""
MOST_FRAMES = 1 << 20
"""That an encoder in a file may be made for."""
_KEY = "amr_encoder"


class Seen(BaseModel):
    """One of several datasets that an encoder was trained on."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    dataset: str
    skeleton: str
    fingerprint: str
    split: str
    recipe: dict[str, Any] = {}


class EncoderConfig(BaseModel):
    """What an encoder file says beside its weights. `recipe`: how the clips it was trained on were
    normalised; empty where it is not known. `joint_names`: in order, by the names that skeletons share.
    `augment`: its training views. `input`: what of a clip it is shown, `anatomy`: the joints that this needs;
        None where it is shown as recorded.
    `experiment`, `training`, `seed`: what trained it, and the digest of its settings.
    `fingerprint`, `split`: the content and the split it was trained on; `held_out`: without the validation
        part. `epoch` of `epochs`: how far.
    `shares`: where joints are told by name, of which names each of `joint_names` is composed.
    `excluded`: by the dataset's name the clips that were left out of its training.
    `datasets`: what it was trained on where these are several; `joint_names` are then all names that it
        knows, or, of one skeleton, that one's.
    `frame_rate`: of the clips it was trained on, of several datasets the first, by which the motion of clips
        from no dataset is measured.
    `bodies`: of a clip of the dataset it was trained on, at most; 0 where that is not known.
    `body_gflops`, `clip_gflops`: what one body's features cost, and a clip's with so many; see
        `encoder_flops`."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    model: ModelConfig
    joints: int
    skeleton: str
    joint_names: list[str] = []
    recipe: dict[str, Any] = {}
    augment: AugmentConfig = AugmentConfig()
    empty_bodies: str = "skip"
    input: InputConfig = InputConfig()
    anatomy: Anatomy | None = None
    method: str = ""
    dataset: str = ""
    synthetic: bool = False
    experiment: str = ""
    training: str = ""
    seed: int = 0
    fingerprint: str = ""
    split: str = ""
    held_out: bool = False
    excluded: dict[str, list[str]] = {}
    epoch: float = 0
    epochs: int = 0
    shares: list[Shares] = []
    datasets: list[Seen] = []
    frame_rate: float = 30.0
    bodies: int = 0

    def split_of(self, dataset: str) -> str | None:
        """The split that it was trained on of a dataset, None where it was not trained on it."""
        splits = {one.dataset: one.split for one in self.datasets} or {self.dataset: self.split}
        return splits.get(dataset)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def body_gflops(self) -> float:
        return encoder_flops(self.model, self.joints) / 1e9

    @computed_field  # type: ignore[prop-decorator]
    @property
    def clip_gflops(self) -> float | None:
        return self.bodies * self.body_gflops if self.bodies else None


def encoder_config(experiment: Experiment, *datasets: ShardDataset) -> EncoderConfig:
    """The settings of the encoder that an experiment trains on datasets, in the order of their names, trained
    to the end."""
    names, splits = experiment.model.names, experiment.data.splits
    skeletons = [dataset.spec.skeleton for dataset in datasets]
    recipes = [dict(dataset.manifest["recipe"]) for dataset in datasets]
    about: dict[str, Any] = {
        "joints": len(names),
        "skeleton": " + ".join(dict.fromkeys(skeleton.name for skeleton in skeletons)),
        "joint_names": names,
        "shares": [{name: 1.0} for name in names],
    }
    if len({tuple(skeleton.common_names) for skeleton in skeletons}) == 1:
        about |= {
            "joints": len(skeletons[0].joints),
            "joint_names": skeletons[0].common_names,
            "shares": skeletons[0].shares if names else [],
            "anatomy": anatomy_of(skeletons[0]) if experiment.input.changes else None,
        }
    seen = [
        Seen(
            dataset=dataset.spec.name,
            skeleton=dataset.spec.skeleton.name,
            fingerprint=dataset.fingerprint,
            split=splits.get(dataset.spec.name, ""),
            recipe=recipe,
        )
        for dataset, recipe in zip(datasets, recipes, strict=True)
    ]
    return EncoderConfig(
        **about,
        model=experiment.model,
        recipe=recipes[0] if all(recipe == recipes[0] for recipe in recipes) else {},
        augment=experiment.augment,
        empty_bodies=experiment.data.empty_bodies,
        input=experiment.input,
        method=experiment.method,
        dataset=joined_names(datasets),
        synthetic=any(dataset.synthetic for dataset in datasets),
        experiment=experiment.name,
        training=training_digest(experiment),
        seed=experiment.seed,
        fingerprint=joined_fingerprint(datasets),
        split=experiment.data.split or " + ".join(splits.values()),
        datasets=seen if len(seen) > 1 else [],
        held_out=experiment.evaluation.part == "validation",
        excluded=experiment.data.excluded,
        epoch=experiment.pretrain.epochs,
        epochs=experiment.pretrain.epochs,
        frame_rate=datasets[0].spec.frame_rate,
        bodies=max(dataset.spec.max_bodies for dataset in datasets),
    )


def joined_names(datasets: Sequence[ShardDataset]) -> str:
    """What datasets are called together."""
    return " + ".join(dataset.spec.name for dataset in datasets)


def joined_fingerprint(datasets: Sequence[ShardDataset]) -> str:
    """That of the only dataset, or one of all, in their order."""
    if len(datasets) == 1:
        return datasets[0].fingerprint
    return hashlib.sha256("\n".join(dataset.fingerprint for dataset in datasets).encode()).hexdigest()


def save_encoder(encoder: SkeletonEncoder, config: EncoderConfig, path: Path) -> None:
    """Write the weights, with the settings in the file's metadata."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_described(encoder, _KEY, config, path)


def save_described(module: nn.Module, key: str, about: BaseModel, path: Path) -> None:
    """Write a module's weights as safetensors, with what builds it again under `key` in the file's
    metadata."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in module.state_dict().items()}
    with whole_file(path) as temporary:
        save_file(tensors, temporary, {key: about.model_dump_json()})


def read_described(file: Path, key: str, device: str | torch.device) -> tuple[str | None, dict[str, Tensor]]:
    """What `save_described` wrote under `key`, None where there is nothing, and the weights. Raises:
    SafetensorError, OSError."""
    with safe_open(file, "pt", device=str(device)) as content:
        names = list(content.keys())
        return (content.metadata() or {}).get(key), {name: content.get_tensor(name) for name in names}


def read_encoder(file: Path, device: str | torch.device) -> ClipEncoder:
    """An encoder file, in evaluation mode. Raises: AmrError where it is damaged or none."""
    try:
        described, tensors = read_described(file, _KEY, device)
        if described is None:
            raise AmrError(
                f"{file} holds weights but says nothing about their model; it was not written by amr-train"
            )
        config = EncoderConfig.model_validate(json.loads(described))
        check_room(config, tensors)
        return clip_encoder(config, tensors, device)
    except (SafetensorError, OSError, ValidationError, ValueError, RuntimeError) as error:
        raise AmrError(f"{file} is not an encoder that can be read: {str(error).splitlines()[0]}") from None


def clip_encoder(
    config: EncoderConfig, weights: dict[str, Tensor], device: str | torch.device
) -> ClipEncoder:
    """The encoder that these settings describe, with these weights. Raises: RuntimeError where they do not
    fit."""
    encoder = fresh_encoder(config).to(device)
    encoder.load_state_dict(weights)
    return ClipEncoder(encoder, config).eval()


def check_room(config: EncoderConfig, weights: Mapping[str, Tensor], more: int = 0) -> None:
    """Refuse settings that ask for more weights than a file holds, before room is made for them: a few bytes
    of settings can ask for any amount.

    more : weights beside the encoder's, at least.  Raises: ValueError.
    """
    model, held = config.model, sum(value.numel() for value in weights.values())
    least = model.encoder_layers * 4 * model.width**2 + model.width * (0 if model.names else config.joints)
    if least + more > held or model.frames > MOST_FRAMES:
        raise ValueError(f"its {held:,} weights are fewer than its settings ask for")


def fresh_encoder(config: EncoderConfig) -> SkeletonEncoder:
    """An encoder of these settings, for their joints, with weights of chance. Raises: UsageError."""
    encoder = SkeletonEncoder(config.model, config.joints)
    if config.model.names:
        name_joints(encoder, naming_of(config.shares, config.model.names))
    return encoder


def naming_of(shares: Sequence[Shares], names: Sequence[str]) -> Tensor:
    """`amr_data.specs.name_matrix` as a tensor (V, names)."""
    return torch.from_numpy(name_matrix(shares, names))


def weights_digest(module: nn.Module, *about: object) -> str:
    """Twelve hexadecimal digits of the SHA-256 over weights and what else decides what they give."""
    digest = hashlib.sha256(repr(about).encode())
    for name, value in sorted(module.state_dict().items()):
        digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


class ClipEncoder(nn.Module):
    """A trained encoder for whole clips: (B, M, T, V, C) in metres, normalised as its training clips were, to
    features (B, D).

    They are changed here as the encoder's `input` settings say, but for jumps: bridge them before. Motion is
    measured as if they had the frame rate of the training clips. Any number of frames; they are resampled to
    those of the encoder. Frames of zeros count as absent, and a body of nothing else with them, unless the
    encoder was trained with such bodies kept; a clip without a body gives zeros.
    """

    def __init__(self, encoder: SkeletonEncoder, config: EncoderConfig) -> None:
        super().__init__()
        self.encoder, self.config = encoder, config

    def forward(self, joints: Tensor) -> Tensor:
        """joints : (B, M, T, V, 3). Returns the mean over joints, time and bodies, (B, D). Raises: UsageError
        for another shape."""
        return self.joint_features(joints).mean(dim=1)

    def joint_features(self, joints: Tensor) -> Tensor:
        """joints : (B, M, T, V, 3). Returns the mean over time and bodies, (B, V, D)."""
        flat, present, clip, weight = as_sequences(joints, self.config, self.encoder.frames)
        return clip_features(self.encoder, flat, present, clip, joints.shape[0], weight)

    def tokens(self, joints: Tensor) -> Tensor:
        """joints : (B, M, T, V, 3). Returns the features of every body, time step and joint, (B, M, T / l, V,
        D), also where a body is absent."""
        flat, present, _, _ = as_sequences(joints, self.config, self.encoder.frames)
        tokens: Tensor = self.encoder(flat, present=present)
        return tokens.view(*joints.shape[:2], self.encoder.steps, self.config.joints, -1)


def as_sequences(
    joints: Tensor, config: EncoderConfig, frames: int
) -> tuple[Tensor, Tensor | None, Tensor, Tensor | None]:
    """Every body of clips (B, M, T, V, 3) as a sequence of its own, as the feed makes them.

    Returns: joints (B * M, frames, V, 3); the frames in which the body is there (B * M, frames); the row of
        each sequence's clip (B * M,); 1 for bodies that are there (B * M,). Where absent bodies are kept as
        zeros, None in place of the second and fourth. Raises: UsageError for another shape.
    """
    if joints.ndim != 5 or joints.shape[3:] != (config.joints, 3) or not joints.shape[2]:
        raise UsageError(f"this encoder takes (B, M, T, {config.joints}, 3), not {tuple(joints.shape)}")
    recorded = joints.flatten(0, 1)
    joints = dense_input(joints, config.input, config.anatomy, config.joint_names, config.frame_rate)
    flat, length = joints.flatten(0, 1), joints.shape[2]
    clip = torch.arange(flat.shape[0], device=flat.device) // joints.shape[1]
    first = torch.arange(flat.shape[0], device=flat.device) * length
    whole = torch.full_like(first, length)
    if config.empty_bodies == "keep":
        if length != frames:
            flat = gather_resampled(flat.flatten(0, 1), first, whole, frames)
        return flat, None, clip, None
    present = (recorded.flatten(2) != 0).any(dim=2)  # (B * M, T), a body that stands still too
    weight = present.any(dim=1)
    row = nearest_present(present)
    if length == frames:
        index = row[..., None, None].expand(flat.shape)
        return flat.gather(1, index), present, clip, weight
    row = (row + first[:, None]).flatten()
    flat = gather_resampled(flat.flatten(0, 1), first, whole, frames, row)
    return flat, gather_present(present.flatten(), first, whole, frames), clip, weight
