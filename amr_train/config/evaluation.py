"""How an encoder is judged."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from amr_train.config.section import Batches, Precision, Section


class LinearConfig(Section):
    """The linear probe: one layer trained with SGD and a cosine to 0.

    `views`: the centre crop of each training clip, or a new random view of it in every epoch, as MAMP's code
    has it. `batch_norm` puts a BatchNorm without affine parameters before the layer, as MAMP's probe does.
    """

    views: Literal["centre", "augmented"] = "centre"
    epochs: int = Field(100, ge=1)
    batch_size: int = Field(256, ge=1)
    lr: float = Field(0.01, gt=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(0.0, ge=0)
    batch_norm: bool = True


class LogisticConfig(Section):
    """The converged probe: logistic regression by L-BFGS. `strengths` of its L2 penalty, by mean loss; the
    best one is chosen by cross-validation in `folds` parts of the training clips."""

    strengths: list[Annotated[float, Field(gt=0)]] = Field([1e-3, 1e-2, 1e-1, 1.0], min_length=1)
    folds: int = Field(5, ge=2)
    iterations: int = Field(100, ge=1)


class FinetuneConfig(Section):
    """Fine-tuning with labels, also with few of them, and on another dataset. `batch_size` and `batches` as
    in pre-training."""

    epochs: int = Field(100, ge=1)
    warmup_epochs: int = Field(5, ge=0)
    batch_size: int = Field(48, ge=1)
    batches: Batches = "drawn"
    lr: float = Field(3e-4, gt=0)
    min_lr: float = Field(1e-5, ge=0)
    weight_decay: float = Field(0.05, ge=0)
    betas: tuple[float, float] = (0.9, 0.999)
    layer_decay: float = Field(0.8, gt=0, le=1)
    drop_path: float = Field(0.3, ge=0, lt=1)
    head_dropout: float = Field(0.3, ge=0, lt=1)
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    hidden: int = Field(2048, ge=1)
    checkpoint_epochs: int = Field(5, ge=1)


class SupervisedConfig(Section):
    """From scratch: as fine-tuning, with these instead."""

    layer_decay: float = Field(1.0, gt=0, le=1)


class SemiConfig(Section):
    """Few labels: shares of each class's training clips in percent, each drawn with every seed of `draws`.
    The training's own seed is the evaluation's."""

    percent: list[Annotated[float, Field(gt=0, le=100)]] = Field([1, 10], min_length=1)
    draws: list[int] = Field([0, 1, 2, 3, 4], min_length=1)

    @model_validator(mode="after")
    def _check(self) -> SemiConfig:
        shown = [f"{share:g}" for share in self.percent]
        for name, values in (("percent", shown), ("draws", self.draws)):
            if len(set(values)) < len(values):
                raise ValueError(f"{name} holds a value twice: {', '.join(map(str, values))}")
        return self


class DetectConfig(Section):
    """Finding actions in whole recordings. `encoder`: frozen, or trained on windows first, for
    `encoder_updates` at `encoder_lr`. `heads`: each is trained and judged. `lengths`: of the windows, in
    those that the encoder is made for; features of several stand side by side. `cover`: windows over each
    frame. `pooling`: of an encoder's tokens at a time, the mean over the joints or the joints kept.

    Of the heads: `updates` at `lr`, `dropout`; of the temporal one `width`, dilated `layers` and `ahead_s`,
    how far it sees ahead at most.
    """

    encoder: Literal["frozen", "finetuned"] = "frozen"
    encoder_updates: int = Field(1000, ge=1)
    encoder_lr: float = Field(3e-4, gt=0)
    heads: list[Literal["linear", "temporal"]] = Field(["linear", "temporal"], min_length=1)
    lengths: list[Annotated[float, Field(gt=0, le=16)]] = Field([1.0], min_length=1, max_length=4)
    cover: int = Field(1, ge=1, le=16)
    pooling: Literal["mean", "joints"] = "mean"
    updates: int = Field(400, ge=1)
    lr: float = Field(2e-3, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    dropout: float = Field(0.3, ge=0, lt=1)
    width: int = Field(64, ge=1, le=4096)
    layers: int = Field(6, ge=1, le=12)
    ahead_s: float = Field(2.0, ge=0, le=600)

    @model_validator(mode="after")
    def _check(self) -> DetectConfig:
        for name, values in (("heads", self.heads), ("lengths", self.lengths)):
            if len(set(values)) < len(values):
                raise ValueError(f"{name} holds a value twice: {', '.join(map(str, values))}")
        return self


class EvaluationConfig(Section):
    """How an encoder is judged. `protocols`: what a run is evaluated with at its end; `baselines`: what
    stands beside it in the protocols of frozen features; `crop`: share of each clip in its middle that is
    seen.

    `part`: which clips judge. `validation` are held-out training clips (`amr_train.evaluation.parts` says
    which), on which choices are made: pre-training leaves them out too, and test clips are never read.
    `subjects` are all training clips, each subject's judged by what the others' teach a probe, so that
    choices rest on more clips; pre-training sees them without labels.
    `bodies`: frozen features are means over the bodies of a clip; `apart` judges those in which bodies are
    kept apart besides, where clips have several.
    `feature_precision`: of the frozen encoder. `knn_neighbours`: that vote. `coordinate_frames`: to which the
    baseline `coordinates` resamples each body. `options`: settings of protocols of one's own.
    """

    part: Literal["test", "validation", "subjects"] = "test"
    protocols: list[str] = Field(["linear", "knn"])
    baselines: list[Literal["untrained", "coordinates"]] = Field(["untrained", "coordinates"])
    crop: float = Field(0.95, gt=0, le=1)
    batch_size: int = Field(64, ge=1)
    bodies: Literal["mean", "apart"] = "mean"
    feature_precision: Precision = "float32"
    knn_neighbours: int = Field(1, ge=1)
    coordinate_frames: int = Field(48, ge=1)
    linear: LinearConfig = LinearConfig()
    logistic: LogisticConfig = LogisticConfig()
    finetune: FinetuneConfig = FinetuneConfig()
    supervised: SupervisedConfig = SupervisedConfig()
    semi: SemiConfig = SemiConfig()
    detect: DetectConfig = DetectConfig()
    options: dict[str, Any] = Field({})
