"""Fine-tuned classifiers as files, and what encoders and classifiers say about whole datasets."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from torch import Tensor, nn

from amr_data import AmrError, ShardDataset, UsageError, open_dataset
from amr_train.config import EvaluationConfig, FinetuneConfig
from amr_train.data.feed import Feed
from amr_train.evaluation.features import Report, extract_features
from amr_train.evaluation.finetuning import Classifier
from amr_train.evaluation.joints import encoder_for, joints_of, shared_joints
from amr_train.models.encoder import SkeletonEncoder
from amr_train.models.files import (
    EncoderConfig,
    load_encoder,
    mean_over_present,
    read_described,
    resampled,
    save_described,
)
from amr_train.parallel.processes import choose_device

CLASSIFIER = "classifier.safetensors"
_KEY = "amr_classifier"


class ClassifierConfig(BaseModel):
    """What a classifier's file says beside its weights: its encoder, its head's width, its classes' names by
    label."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    encoder: EncoderConfig
    hidden: int
    classes: list[str]


class ClipClassifier(nn.Module):
    """A fine-tuned classifier for whole clips: (B, M, T, V, C) in metres, normalised as its training clips
    were, to scores (B, classes)."""

    def __init__(self, model: Classifier, config: ClassifierConfig) -> None:
        super().__init__()
        self.model, self.config = model, config

    def forward(self, joints: Tensor) -> Tensor:
        """joints : (B, M, T, V, 3). Returns scores (B, classes); the mean is over the bodies that are
        there."""
        flat = resampled(joints, self.config.encoder, self.model.encoder.frames)  # (B * M, T, V, 3)
        clips, bodies = joints.shape[:2]
        tokens = self.model.encoder(flat).unflatten(1, (self.model.encoder.steps, -1))  # (B * M, T / l, V, D)
        features = tokens.mean(dim=1).flatten(1).view(clips, bodies, -1)
        return self.model.head(mean_over_present(features, joints, self.config.encoder))  # type: ignore[no-any-return]


def save_classifier(model: Classifier, config: ClassifierConfig, path: Path) -> None:
    """Write the weights, with what builds them again in the file's metadata."""
    save_described(model, _KEY, config, path)


def keeper(encoder: EncoderConfig, dataset: ShardDataset) -> Callable[[Classifier, Path], None]:
    """Saves a classifier fine-tuned on a dataset in a folder, with all that is needed to use it."""
    skeleton = dataset.spec.skeleton
    about = {
        "dataset": dataset.spec.name,
        "recipe": dict(dataset.manifest["recipe"]),
        "skeleton": skeleton.name,
    }

    def keep(model: Classifier, folder: Path) -> None:
        names = skeleton.common_names
        if model.encoder.joints != len(names):  # a skeleton that shares some of its joints
            names = [name for name in names if name in encoder.joint_names]
        described = encoder.model_copy(update={**about, "joints": model.encoder.joints, "joint_names": names})
        classes = dataset.spec.class_names
        folder.mkdir(parents=True, exist_ok=True)
        save_classifier(
            model,
            ClassifierConfig(encoder=described, hidden=model.hidden, classes=classes),
            folder / CLASSIFIER,
        )

    return keep


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
        encoder = SkeletonEncoder(config.encoder.model, config.encoder.joints)
        model = Classifier(encoder, len(config.classes), FinetuneConfig(hidden=config.hidden)).to(device)
        model.load_state_dict(tensors)
    except (SafetensorError, OSError, ValidationError, ValueError, RuntimeError) as error:
        raise AmrError(f"{file} is not a classifier that can be read: {str(error).splitlines()[0]}") from None
    return ClipClassifier(model, config).eval()


def embed(
    encoder: str | Path,
    dataset: str | Path,
    device: str = "auto",
    crop: float = 0.95,
    report: Report | None = None,
    clips: npt.NDArray[np.int64] | None = None,
) -> tuple[npt.NDArray[np.float32], ShardDataset]:
    """Features of clips of a dataset, in its order: (N, D) float32, and the dataset.

    Args:
        crop: the share of each clip, from its middle, that is seen.
        clips: sorted indices; every clip by default.
    Raises: UsageError, AmrError.
    """
    where = choose_device(device)
    loaded, data = load_encoder(encoder, where), open_dataset(dataset)
    shared, arrays = (
        shared_joints(loaded, data),
        data.arrays(np.arange(len(data)) if clips is None else clips),
    )
    module = loaded.encoder if shared is None else encoder_for(loaded, data, shared)
    arrays = arrays if shared is None else joints_of(arrays, shared)
    bodies = data.spec.max_bodies if loaded.config.empty_bodies == "keep" else None
    feed = Feed(arrays, where, loaded.config.model.frames, bodies=bodies)
    return extract_features(module, feed, EvaluationConfig(crop=crop), report).cpu().numpy(), data


@torch.no_grad()
def predict(
    classifier: str | Path, dataset: str | Path, device: str = "auto", crop: float = 0.95
) -> dict[str, Tensor]:
    """Probabilities of the classifier's classes for every clip of a dataset: {name: (classes,) float32}.

    Raises: UsageError where its skeleton is another.
    """
    where = choose_device(device)
    loaded, data = load_classifier(classifier, where), open_dataset(dataset)
    names, wanted = data.spec.skeleton.common_names, loaded.config.encoder.joint_names
    if not set(wanted) <= set(names):
        raise UsageError(
            f"the classifier knows {loaded.config.encoder.skeleton}, {data.path} holds "
            f"{data.spec.skeleton.name}"
        )
    bodies = data.spec.max_bodies if loaded.config.encoder.empty_bodies == "keep" else None
    arrays = joints_of(data.arrays(np.arange(len(data))), [names.index(name) for name in wanted])
    feed = Feed(arrays, where, loaded.config.encoder.model.frames, bodies=bodies)
    found = {}
    for batch in feed.batches(feed.centre_views(64, crop)):
        said = loaded.model(batch.joints, batch.clip, len(batch.clips)).softmax(dim=1).cpu()
        found.update({feed.names[i]: row for i, row in zip(batch.clips.tolist(), said, strict=True)})
    return found
