"""Encoders as files: safetensors with the settings that build them again, and as modules that take whole
clips."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from amr_data import AmrError, ShardDataset, UsageError
from amr_data.files import whole_file
from amr_train.config import AugmentConfig, Experiment, ModelConfig
from amr_train.data.augment import gather_resampled
from amr_train.models.encoder import SkeletonEncoder

ENCODER = "encoder.safetensors"
_KEY = "amr_encoder"


class EncoderConfig(BaseModel):
    """What an encoder file says beside its weights. `recipe`: how the clips it was trained on were
    normalised; empty where it is not known.
    `joint_names`: in order, by the names that skeletons share. `augment`: its training views."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    model: ModelConfig
    joints: int
    skeleton: str
    joint_names: list[str] = []
    recipe: dict[str, Any] = {}
    augment: AugmentConfig = AugmentConfig()
    empty_bodies: str = "skip"
    method: str = ""
    dataset: str = ""


def encoder_config(experiment: Experiment, dataset: ShardDataset) -> EncoderConfig:
    """The settings of the encoder that an experiment trains on a dataset."""
    return EncoderConfig(
        model=experiment.model,
        joints=len(dataset.spec.skeleton.joints),
        skeleton=dataset.spec.skeleton.name,
        joint_names=dataset.spec.skeleton.common_names,
        recipe=dict(dataset.manifest["recipe"]),
        augment=experiment.augment,
        empty_bodies=experiment.data.empty_bodies,
        method=experiment.method,
        dataset=dataset.spec.name,
    )


def save_encoder(encoder: SkeletonEncoder, config: EncoderConfig, path: Path) -> None:
    """Write the weights, with the settings in the file's metadata."""
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


class ClipEncoder(nn.Module):
    """A trained encoder for whole clips: (B, M, T, V, C) in metres, normalised as its training clips were, to
    features (B, D).

    Any number of frames; they are resampled to those of the encoder. A body of zeros counts as absent, unless
    it was trained with such bodies kept; a clip without a body gives zeros.
    """

    def __init__(self, encoder: SkeletonEncoder, config: EncoderConfig) -> None:
        super().__init__()
        self.encoder, self.config = encoder, config

    def forward(self, joints: Tensor) -> Tensor:
        """joints : (B, M, T, V, 3). Returns the mean over joints, time and bodies, (B, D). Raises: UsageError
        for another shape."""
        tokens = self.tokens(joints)  # (B, M, T / l, V, D)
        return mean_over_present(tokens.mean(dim=(2, 3)), joints, self.config)

    def tokens(self, joints: Tensor) -> Tensor:
        """joints : (B, M, T, V, 3). Returns the features of every body, time step and joint, (B, M, T / l, V,
        D)."""
        tokens: Tensor = self.encoder(resampled(joints, self.config, self.encoder.frames))
        return tokens.view(*joints.shape[:2], self.encoder.steps, self.config.joints, -1)


def mean_over_present(values: Tensor, joints: Tensor, config: EncoderConfig) -> Tensor:
    """Mean of values (B, M, D) over the bodies of clips (B, M, T, V, 3) that are there, (B, D); zeros for a
    clip without one."""
    present = (joints.flatten(2) != 0).any(dim=2) | (config.empty_bodies == "keep")  # (B, M)
    return (values * present[..., None]).sum(dim=1) / present.sum(dim=1, keepdim=True).clamp(min=1)


def resampled(joints: Tensor, config: EncoderConfig, frames: int) -> Tensor:
    """Every body of clips (B, M, T, V, 3) as a sequence of its own, over all frames: (B * M, frames, V, 3).
    Raises: UsageError."""
    if joints.ndim != 5 or joints.shape[3:] != (config.joints, 3) or not joints.shape[2]:
        raise UsageError(f"this encoder takes (B, M, T, {config.joints}, 3), not {tuple(joints.shape)}")
    flat = joints.flatten(0, 1)
    if joints.shape[2] == frames:
        return flat
    first = torch.arange(len(flat), device=flat.device) * joints.shape[2]
    return gather_resampled(flat.flatten(0, 1), first, torch.full_like(first, joints.shape[2]), frames)


def load_encoder(path: str | Path, device: str | torch.device = "cpu") -> ClipEncoder:
    """An encoder that `amr-train run` or `amr-train import-mamp` wrote, in evaluation mode.

    Args:
        path: the run's folder or its encoder.safetensors.
    Raises: UsageError where there is none, AmrError where it is damaged.
    """
    file = Path(path) / ENCODER if Path(path).is_dir() else Path(path)
    if not file.is_file():
        raise UsageError(f"no encoder at {file}; give a finished run's folder or its {ENCODER}")
    try:
        described, tensors = read_described(file, _KEY, device)
        if described is None:
            raise AmrError(
                f"{file} holds weights but says nothing about their model; it was not written by amr-train"
            )
        config = EncoderConfig.model_validate(json.loads(described))
        encoder = SkeletonEncoder(config.model, config.joints).to(device)
        encoder.load_state_dict(tensors)
    except (SafetensorError, OSError, ValidationError, ValueError, RuntimeError) as error:
        raise AmrError(f"{file} is not an encoder that can be read: {str(error).splitlines()[0]}") from None
    return ClipEncoder(encoder, config).eval()
