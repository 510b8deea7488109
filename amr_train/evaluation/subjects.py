"""What is judged: a trained encoder, one that was never trained, or the coordinates themselves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from amr_data import ShardDataset
from amr_train.config import InputConfig
from amr_train.identity import digest_of, without_added
from amr_train.models.files import ClipEncoder, EncoderConfig, fresh_encoder, weights_digest
from amr_train.training.encoders import load_encoder

KEPT = (
    "experiment",
    "method",
    "training",
    "epoch",
    "epochs",
    "dataset",
    "fingerprint",
    "split",
    "recipe",
    "synthetic",
)
"""What a record keeps of an encoder's training."""
BESIDE = {"decoder", "decoder_layers", "target_ratio"}
Kind = Literal["encoder", "untrained", "coordinates"]


@dataclass(frozen=True)
class Subject:
    """`encoder` : with its settings; None for the coordinates.
    `digest` : equal for what gives equal features.
    `frames` : to which clips are resampled.
    `bodies` : so many of every clip, zeros for absent ones; None for those that are there.
    `input` : what of a clip it is shown.
    """

    kind: Kind
    encoder: ClipEncoder | None
    digest: str
    frames: int
    bodies: int | None
    input: InputConfig = InputConfig()  # noqa: RUF009

    def about(self) -> dict[str, Any]:
        """What a record keeps of it."""
        found: dict[str, Any] = {"kind": self.kind, "digest": self.digest}
        if self.input.changes:  # results from before have no such key
            found["input"] = self.input.changes
        if self.encoder is None:
            return {**found, "frames": self.frames}
        config = self.encoder.config
        found |= {
            "model": encoder_settings(config),
            "empty_bodies": config.empty_bodies,
            "parameters": sum(p.numel() for p in self.encoder.parameters()),
            "seed": config.seed,
        }
        if self.kind == "untrained":
            return found
        of = [one.model_dump(mode="json") for one in config.datasets]
        return found | {key: getattr(config, key) for key in KEPT} | ({"datasets": of} if of else {})


def encoder_settings(config: EncoderConfig) -> dict[str, Any]:
    """The sizes that an encoder has, without those of what was trained beside it; results from before some
    settings have none of them."""
    return without_added("model", config.model.model_dump(mode="json", exclude=BESIDE))


def trained(source: str | Path | ClipEncoder, dataset: ShardDataset, device: torch.device) -> Subject:
    """An encoder by its path, see `load_encoder`, or as it is. Raises: UsageError, AmrError."""
    encoder = source if isinstance(source, ClipEncoder) else load_encoder(source, device)
    return _of("encoder", encoder.to(device).eval(), dataset)


def untrained(config: EncoderConfig, seed: int, dataset: ShardDataset, device: torch.device) -> Subject:
    """The encoder of these settings as training with this seed begins with it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = fresh_encoder(config).to(device)
    fresh = config.model_copy(update={"seed": seed})
    return _of("untrained", ClipEncoder(encoder, fresh).eval(), dataset)


def coordinates(frames: int, dataset: ShardDataset, shown: InputConfig | None = None) -> Subject:
    """Every body's positions in the form that is shown, resampled to so many frames, and their differences:
    what needs no learning."""
    shown = shown or InputConfig()
    digest = f"coordinates-{frames}" + (f"-{digest_of(shown.changes)}" if shown.changes else "")
    return Subject("coordinates", None, digest, frames, dataset.spec.max_bodies, shown)


def _of(kind: Kind, encoder: ClipEncoder, dataset: ShardDataset) -> Subject:
    config = encoder.config
    shown = [config.input.changes] if config.input.changes else []
    named = [config.shares] if config.shares else []
    sees = (config.joints, config.joint_names, config.empty_bodies, config.augment.rounding, *shown, *named)
    bodies = dataset.spec.max_bodies if config.empty_bodies == "keep" else None
    return Subject(
        kind,
        encoder,
        weights_digest(encoder.encoder, encoder_settings(config), *sees),
        config.model.frames,
        bodies,
        config.input,
    )
