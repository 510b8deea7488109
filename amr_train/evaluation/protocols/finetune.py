"""Fine-tuning: the encoder and a new head are trained on all labels."""

from __future__ import annotations

from typing import Any

from amr_train.config import AugmentConfig, EvaluationConfig, FinetuneConfig
from amr_train.data.feed import Feed
from amr_train.evaluation.classifier import keep_classifier
from amr_train.evaluation.finetuning import Classifier, Setting, classify, train_classifier
from amr_train.evaluation.protocols.base import Protocol, Result
from amr_train.evaluation.scores import Scores, score
from amr_train.evaluation.task import Task
from amr_train.models.encoder import SkeletonEncoder


class Finetune(Protocol):
    name = "finetune"
    frozen = False

    def settings(self, config: EvaluationConfig, augment: AugmentConfig) -> dict[str, Any]:
        return settings_of(self.training(config), config, augment)

    def training(self, config: EvaluationConfig) -> FinetuneConfig:
        """How it is trained."""
        return config.finetune

    def start(self, task: Task) -> SkeletonEncoder:
        """The encoder that training begins with."""
        return task.encoder

    def run(self, task: Task) -> Result:
        task.listener.stage(self.name)
        training = self.training(task.settings)
        scores, model = trained_scores(task, self.start(task), task.feed("train"), training)
        if task.work is not None and task.processes.main:
            assert task.subject.encoder is not None
            keep_classifier(model, task.subject.encoder.config, task.dataset, task.work)
        return Result({self.name: scores.top1}, scores.as_dict())

    def spoken(self, settings: dict[str, Any]) -> str:
        training = settings["finetune"]
        return (
            f"lr {training['lr']:g}, batch {training['batch_size']}, {training['epochs']} epochs, last epoch"
        )


def settings_of(training: FinetuneConfig, config: EvaluationConfig, augment: AugmentConfig) -> dict[str, Any]:
    """What decides a fine-tuning."""
    later = {"batches"} if training.batches == "drawn" else set()  # results from before have no such key
    kept = training.model_dump(mode="json", exclude={"checkpoint_epochs", *later})
    return {"crop": config.crop, "finetune": kept, "augment": augment.judged}


def trained_scores(
    task: Task, encoder: SkeletonEncoder, train: Feed, training: FinetuneConfig, name: str = ""
) -> tuple[Scores, Classifier]:
    """Train a copy of an encoder with a new head on the labels of `train`, and score it on the test part.
    `name` : of a folder of its own under the task's, for checkpoints."""
    setting = Setting(
        training,
        task.augment,
        task.precision,
        task.seed,
        task.processes,
        task.work / name / "checkpoints" if task.work else None,
        task.listener,
        task.compile,
    )
    model = train_classifier(encoder, train, task.classes, setting)
    test = task.feed("test")
    logits = classify(model, test, task.batch_size, task.settings.crop, setting)
    return score(logits, test.labels, "the classifier's scores"), model
