"""Fine-tuned classifiers as files, and as modules that take whole clips."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from torch import Tensor, nn

from amr_data import AmrError, ShardDataset, UsageError
from amr_train.config import FinetuneConfig
from amr_train.data.landmarks import anatomy_of
from amr_train.evaluation.finetuning import Classifier
from amr_train.models.files import (
    EncoderConfig,
    as_sequences,
    check_room,
    fresh_encoder,
    read_described,
    save_described,
)
from amr_train.models.skeletons import known_joints

CLASSIFIER = "classifier.safetensors"
_KEY = "amr_classifier"


class ClassifierConfig(BaseModel):
    """What a classifier's file says beside its weights: its encoder, its head's width, its classes' names by
    label, and the spec of the dataset that it was trained on, for reading other files of its kind; {} in
    files from before."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    encoder: EncoderConfig
    hidden: int
    classes: list[str]
    spec: dict[str, Any] = {}


class ClipClassifier(nn.Module):
    """A fine-tuned classifier for whole clips: (B, M, T, V, C) in metres, normalised as its training clips
    were, to logits (B, classes)."""

    def __init__(self, model: Classifier, config: ClassifierConfig) -> None:
        super().__init__()
        self.model, self.config = model, config

    def forward(self, joints: Tensor) -> Tensor:
        """joints : (B, M, T, V, 3). Returns logits (B, classes); absent frames and bodies are left out."""
        flat, present, clip, weight = as_sequences(joints, self.config.encoder, self.model.encoder.frames)
        logits: Tensor = self.model(flat, present, clip, joints.shape[0], weight)
        return logits


def save_classifier(model: Classifier, config: ClassifierConfig, path: Path) -> None:
    """Write the weights, with what builds them again in the file's metadata."""
    save_described(model, _KEY, config, path)


def keep_classifier(model: Classifier, encoder: EncoderConfig, dataset: ShardDataset, folder: Path) -> None:
    """Save a classifier fine-tuned on a dataset in a folder, with all that is needed to use it."""
    skeleton = dataset.spec.skeleton
    known = known_joints(encoder, skeleton)  # of another skeleton perhaps not all
    kept = range(len(skeleton.joints)) if known is None else known
    described = encoder.model_copy(
        update={
            "dataset": dataset.spec.name,
            "recipe": dict(dataset.manifest["recipe"]),
            "skeleton": skeleton.name,
            "joints": model.encoder.joints,
            "joint_names": [skeleton.common_names[i] for i in kept],
            "shares": [skeleton.shares[i] for i in kept] if encoder.model.names else [],
            "anatomy": anatomy_of(skeleton) if encoder.input.changes else None,
            "synthetic": dataset.synthetic,
            "frame_rate": dataset.spec.frame_rate,
            "bodies": dataset.spec.max_bodies,
        }
    )
    classes = dataset.spec.class_names
    folder.mkdir(parents=True, exist_ok=True)
    spec = dataset.spec.unlabelled().model_dump(mode="json")
    config = ClassifierConfig(encoder=described, hidden=model.hidden, classes=classes, spec=spec)
    save_classifier(model, config, folder / CLASSIFIER)


def load_classifier(path: str | Path, device: str | torch.device = "cpu") -> ClipClassifier:
    """A classifier that the protocol `finetune` or `supervised` wrote, in evaluation mode. Raises:
    UsageError, AmrError."""
    file = Path(path)
    if not file.is_file():
        raise UsageError(
            f"no classifier at {file}; give a {CLASSIFIER}, which `amr-train eval --protocol finetune "
            f"--out DIR` leaves in DIR"
        )
    try:
        described, tensors = read_described(file, _KEY, device)
        if described is None:
            raise UsageError(
                f"{file} is no classifier; `amr-train eval --protocol finetune --out DIR` leaves one in DIR"
            )
        config = ClassifierConfig.model_validate(json.loads(described))
        check_room(config.encoder, tensors, config.hidden * len(config.classes))
        encoder = fresh_encoder(config.encoder)
        model = Classifier(encoder, len(config.classes), FinetuneConfig(hidden=config.hidden)).to(device)
        model.load_state_dict(tensors)
    except (SafetensorError, OSError, ValidationError, ValueError, RuntimeError) as error:
        raise AmrError(f"{file} is not a classifier that can be read: {str(error).splitlines()[0]}") from None
    return ClipClassifier(model, config).eval()
