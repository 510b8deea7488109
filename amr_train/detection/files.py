"""Detectors as files: safetensors with the settings that build them again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from safetensors import SafetensorError

from amr_data import AmrError, UsageError
from amr_train.config import InputConfig
from amr_train.data.landmarks import Anatomy
from amr_train.detection.decoding import Decoding
from amr_train.detection.dense import DenseCoordinates, DenseEncoder, Placing
from amr_train.detection.detector import Detector, Windowing
from amr_train.detection.heads import Head, HeadConfig
from amr_train.models.files import (
    ClipEncoder,
    EncoderConfig,
    check_room,
    fresh_encoder,
    read_described,
    save_described,
)

DETECTOR = "detector.safetensors"
_KEY = "amr_detector"
Lengths = tuple[Annotated[float, Field(gt=0, le=16)], ...]
MOST_STEP = 1 << 12
"""Frames of a recording in a time step of the encoder."""


class DetectorConfig(BaseModel):
    """What a detector's file says beside its weights.

    `encoder` : None of one that sees the coordinates in `frames`, `segment` to a step.  `classes` : by label.
    `spec` : of the dataset that it was trained on, for reading other files of its kind.  `recipe` : how its
    recordings were converted.  `shown`, `anatomy`, `names`, `kept` : how a window is laid, see `Placing`.
    `lengths`, `cover`, `token_s` : see `Windowing`.  `bodies` : of a recording, at most.
    `sure` : the score from which detections are told, the best one on held-out recordings.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    encoder: EncoderConfig | None
    frames: int = Field(ge=1, le=1 << 16)
    segment: int = Field(ge=1, le=1 << 16)
    coordinates: InputConfig = InputConfig(centre="every")
    pooling: str
    head: HeadConfig
    decoding: Decoding
    lengths: Lengths = Field(min_length=1, max_length=16)
    cover: int = Field(ge=1, le=64)
    token_s: float = Field(gt=0, le=3600)
    bodies: int = Field(ge=1, le=64)
    classes: list[str] = Field(min_length=1)
    skeleton: str
    spec: dict[str, Any] = {}
    recipe: dict[str, Any] = {}
    shown: InputConfig
    anatomy: Anatomy
    names: list[str] = Field(min_length=1)
    kept: list[int] | None = None
    frame_rate: float = Field(gt=0)
    dataset: str = ""
    synthetic: bool = False
    sure: float = Field(0.2, ge=0, le=1)

    @model_validator(mode="after")
    def _check(self) -> DetectorConfig:
        seen = len(self.names) if self.kept is None else len(self.kept)
        if any(not 0 <= joint < len(self.names) for joint in self.kept or ()):
            raise ValueError("kept has a joint that is not among its names")
        if self.encoder is None and self.frames % self.segment:
            raise ValueError(f"frames ({self.frames}) must be a multiple of segment ({self.segment})")
        if self.encoder is not None and self.encoder.joints != seen:
            raise ValueError(f"its encoder takes {self.encoder.joints} joints, it sees {seen}")
        if not max(self.lengths) * self.token_s * self.frame_rate <= MOST_STEP:
            raise ValueError(f"a step of its windows has more than {MOST_STEP:,} frames")
        return self

    @property
    def placing(self) -> Placing:
        kept = None if self.kept is None else tuple(self.kept)
        return Placing(self.shown, self.anatomy, tuple(self.names), kept)


class LoadedDetector(Detector):
    """A detector with what its file says."""

    about: DetectorConfig


def fresh_detector(config: DetectorConfig) -> LoadedDetector:
    """A detector of these settings, with weights of chance. Raises: UsageError, ValueError."""
    if config.encoder is None:
        dense: DenseEncoder | DenseCoordinates = DenseCoordinates(
            config.frames, config.segment, config.bodies, config.placing, config.coordinates
        )
    else:
        module = ClipEncoder(fresh_encoder(config.encoder), config.encoder)
        dense = DenseEncoder(module, config.placing, config.pooling)
    windowing = Windowing(config.lengths, config.cover, config.token_s)
    if config.head.inputs != dense.width * len(config.lengths) or len(config.classes) + 1 != (
        config.head.classes
    ):
        raise ValueError("its head does not fit its features and classes")
    head = Head(config.head)
    made = LoadedDetector(dense, head, windowing, config.decoding, config.bodies, len(config.names))
    made.about = config
    return made.eval()


def save_detector(detector: Detector, config: DetectorConfig, path: Path) -> None:
    """Write the weights, with what builds them again in the file's metadata."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_described(detector, _KEY, config, path)


def is_detector(path: str | Path) -> bool:
    """Whether a file says that it is one; what cannot be read is none."""
    try:
        return Path(path).is_file() and read_described(Path(path), _KEY, "cpu")[0] is not None
    except (SafetensorError, OSError):
        return False


def load_detector(path: str | Path, device: str | torch.device = "cpu") -> LoadedDetector:
    """A detector that the protocol `detect` wrote, in evaluation mode. Raises: UsageError where there is
    none, AmrError where it is damaged."""
    file = Path(path)
    remedy = f"`amr-train eval RUN --protocol detect --out DIR` leaves a {DETECTOR} in DIR/evaluations"
    if not file.is_file():
        raise UsageError(f"no detector at {file}; {remedy}")
    try:
        described, tensors = read_described(file, _KEY, "cpu")
        if described is None:
            raise UsageError(f"{file} is no detector; {remedy}")
        config = DetectorConfig.model_validate(json.loads(described))
        if config.encoder is not None:
            check_room(config.encoder, tensors)
        if config.head.weights > sum(value.numel() for value in tensors.values()):
            raise ValueError("its head has fewer weights than its settings ask for")
        made = fresh_detector(config)
        made.load_state_dict(tensors)
    except (SafetensorError, OSError, ValidationError, ValueError, RuntimeError) as error:
        raise AmrError(f"{file} is not a detector that can be read: {str(error).splitlines()[0]}") from None
    return made.to(device)
