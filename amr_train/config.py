"""The settings of an experiment, validated; `amr_train.loading` makes them from files and overrides.

A method is a combination of these settings (`experiments/methods/`): its decoder, its mask, its target, its
loss.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Batches = Literal["drawn", "even"]
Precision = Literal["auto", "float32", "tf32", "bfloat16"]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataConfig(Section):
    """Which converted dataset, and which of its train/test splits. `dataset` is the name the experiment is
    meant for; None takes any. `split`: None takes the dataset's only one.

    `empty_bodies`: leave out the bodies and frames that a clip does not have, or feed them as zeros and count
    them, as published pipelines do. `resident`: the split's frames on the device, on the host (views are made
    there and streamed), or on the device where they fit.
    """

    path: str | None = None
    dataset: str | None = None
    split: str | None = None
    empty_bodies: Literal["skip", "keep"] = "skip"
    resident: Literal["auto", "device", "host"] = "auto"


class InputConfig(Section):
    """What of a clip is shown, see `amr_train.data.input`. The defaults show it as the shard holds it.

    `frame`: turned into the main actor's body frame (spine along z, shoulders along x) of its first frame, or
    of every frame. `centre`: the main actor's centre joint in the origin, in its first frame or in every
    frame; other bodies move with it. `lengths`: in units of the main actor's mean spine. `jumps`: short
    stretches between tracking jumps of a whole body bridged. `stream`: positions, or bones, each joint from
    its parent.
    """

    frame: Literal["recorded", "first", "every"] = "recorded"
    centre: Literal["recorded", "first", "every"] = "recorded"
    lengths: Literal["recorded", "spine"] = "recorded"
    jumps: Literal["keep", "bridge"] = "keep"
    stream: Literal["joint", "bone"] = "joint"

    @property
    def changes(self) -> dict[str, str]:
        """The settings that are not the default, JSON's types."""
        return self.model_dump(mode="json", exclude_defaults=True)


class ModelConfig(Section):
    """The network. `frames` T, `segment` l frames of one joint per encoder token, `target_ratio` r: N / r
    targets.

    `decoder`, what it attends over and predicts:
        decoupled       N / r queries of r * l frames each ask the visible tokens (AMR)
        self-attention  the same, with self-attention among the queries added back
        grid            visible and mask tokens, N in all, attend to each other; masked ones are predicted
        subset          as grid, with N / r of the masked tokens drawn at random and the others left out
        pooled          the grid averaged over r segments of a joint, N / r tokens of r * l frames each
    """

    frames: int = Field(120, ge=4)
    segment: int = Field(4, ge=1)
    width: int = Field(256, ge=8)
    heads: int = Field(8, ge=1)
    mlp_ratio: float = Field(4.0, gt=0)
    encoder_layers: int = Field(8, ge=1)
    decoder_layers: int = Field(5, ge=1)
    target_ratio: int = Field(6, ge=1)
    decoder: Literal["decoupled", "self-attention", "grid", "subset", "pooled"] = "decoupled"

    @model_validator(mode="after")
    def _check(self) -> ModelConfig:
        if self.frames % self.segment:
            raise ValueError(f"frames ({self.frames}) must be a multiple of segment ({self.segment})")
        if (self.frames // self.segment) % self.target_ratio:
            raise ValueError(
                f"target_ratio ({self.target_ratio}) must divide frames / segment "
                f"({self.frames // self.segment})"
            )
        if self.width % self.heads:
            raise ValueError(f"width ({self.width}) must be a multiple of heads ({self.heads})")
        if self.decoder == "grid" and self.target_ratio != 1:
            raise ValueError(
                f"decoder=grid predicts every masked token: target_ratio must be 1, not {self.target_ratio}"
            )
        return self

    @property
    def patch_frames(self) -> int:
        """Frames of a target patch."""
        return self.segment * (1 if self.decoder in ("grid", "subset") else self.target_ratio)


class MaskConfig(Section):
    """Which encoder tokens are hidden: a share `ratio`, at random, or moving ones more often (MAMP's law with
    temperature `tau`, which only that law has)."""

    ratio: float = Field(0.9, gt=0, lt=1)
    by: Literal["random", "motion"] = "random"
    tau: float | None = Field(None, gt=0)

    @model_validator(mode="after")
    def _check(self) -> MaskConfig:
        if (self.tau is not None) != (self.by == "motion"):
            needs = "needs a temperature tau" if self.by == "motion" else "has no temperature tau"
            raise ValueError(f"by={self.by} {needs}")
        return self


class TargetConfig(Section):
    """What is reconstructed: coordinates or frame differences; normalised not at all, per patch, or per axis
    over the clip's frames."""

    kind: Literal["joints", "motion"] = "motion"
    normalize: Literal["none", "patch", "clip"] = "patch"


class GuidanceConfig(Section):
    """Focal reconstruction. `source`: energies read from the shard, or measured on the augmented input
    (online, as the paper does)."""

    focal: bool = True
    k: float = Field(0.01, gt=0)
    windows: list[int] = Field([4, 8, 12], min_length=1)
    source: Literal["shard", "online"] = "shard"


class AugmentConfig(Section):
    """Training views: share of the clip that a crop keeps at least, frames it keeps at least, rotation about
    each axis in radians.

    `rounding` of crop lengths, in training and in the centre crops of tests: `up` to whole frames, or `mamp`,
    as the published code has it (down in training; in the centre, the same number cut off at both ends).
    """

    min_crop: float = Field(0.5, gt=0, le=1)
    min_frames: int = Field(64, ge=1)
    rotation: float = Field(0.3, ge=0)
    rounding: Literal["up", "mamp"] = "up"


class PretrainConfig(Section):
    """AdamW with linear warm-up and a cosine to `min_lr`; a checkpoint every so many epochs, and every so
    many minutes at any step.

    `batch_size` counts clips over all processes. `batches`: clips in an order drawn freely, or so that every
    batch, and every process's part of it, has the same number of bodies but for one (`even`), which CUDA
    graphs need. `clip_grad`: largest norm of the gradient. `check_steps`: the loss is read from a GPU every
    so many steps, and checked then.
    """

    epochs: int = Field(400, ge=1)
    warmup_epochs: int = Field(20, ge=0)
    batch_size: int = Field(128, ge=1)
    batches: Batches = "drawn"
    lr: float = Field(1e-3, gt=0)
    min_lr: float = Field(5e-4, ge=0)
    weight_decay: float = Field(0.05, ge=0)
    betas: tuple[float, float] = (0.9, 0.95)
    checkpoint_epochs: int = Field(20, ge=1)
    checkpoint_minutes: float = Field(10, gt=0)
    keep_checkpoints: int = Field(2, ge=1)
    clip_grad: float | None = Field(None, gt=0)
    check_steps: int = Field(50, ge=1)


class MonitorConfig(Section):
    """What is watched while an encoder trains; it changes nothing of the training.

    `every_epochs`: a kNN probe on held-out training clips, `clips` of them at most, and the features' spread;
    0: never. `milestone_epochs`: the encoder is kept every so many epochs; 0: never.
    """

    every_epochs: int = Field(20, ge=0)
    clips: int = Field(2000, ge=10)
    milestone_epochs: int = Field(0, ge=0)


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


class EvaluationConfig(Section):
    """How an encoder is judged. `protocols`: what a run is evaluated with at its end; `baselines`: what
    stands beside it in the protocols of frozen features; `crop`: share of each clip in its middle that is
    seen.

    `part`: which clips judge. `validation` are held-out training clips (`amr_train.evaluation.parts` says
    which), on which choices are made: pre-training leaves them out too, and test clips are never read.
    `feature_precision`: of the frozen encoder. `knn_neighbours`: that vote. `coordinate_frames`: to which the
    baseline `coordinates` resamples each body. `options`: settings of protocols of one's own.
    """

    part: Literal["test", "validation"] = "test"
    protocols: list[str] = ["linear", "knn"]
    baselines: list[Literal["untrained", "coordinates"]] = ["untrained", "coordinates"]
    crop: float = Field(0.95, gt=0, le=1)
    batch_size: int = Field(64, ge=1)
    feature_precision: Precision = "float32"
    knn_neighbours: int = Field(1, ge=1)
    coordinate_frames: int = Field(48, ge=1)
    linear: LinearConfig = LinearConfig()
    logistic: LogisticConfig = LogisticConfig()
    finetune: FinetuneConfig = FinetuneConfig()
    supervised: SupervisedConfig = SupervisedConfig()
    semi: SemiConfig = SemiConfig()
    options: dict[str, Any] = {}


class Experiment(Section):
    """Everything that decides a run, besides the machine.

    `method`: a shipped one, that of an entry point, or `package.module:Class`; `options`: settings of such a
    one. `scale`: a shipped set of sizes laid over all, such as tiny. `precision`: of training and
    fine-tuning, see `amr_train.parallel.precision`. `compile`: torch.compile of the training step, with CUDA
    graphs or without. `deterministic`: only operations that repeat bit by bit.
    """

    name: str
    description: str = ""
    method: str = "amr"
    scale: str = "full"
    seed: int = Field(0, ge=0, lt=2**63)
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Precision = "float32"
    compile: Literal["none", "default", "cuda-graphs"] = "none"
    deterministic: bool = False
    data: DataConfig = DataConfig()
    input: InputConfig = InputConfig()
    model: ModelConfig = ModelConfig()
    mask: MaskConfig = MaskConfig()
    target: TargetConfig = TargetConfig()
    guidance: GuidanceConfig = GuidanceConfig()
    augment: AugmentConfig = AugmentConfig()
    options: dict[str, Any] = {}
    pretrain: PretrainConfig = PretrainConfig()
    monitor: MonitorConfig = MonitorConfig()
    evaluation: EvaluationConfig = EvaluationConfig()

    @model_validator(mode="after")
    def _check(self) -> Experiment:
        if not self.name.isprintable():
            raise ValueError(f"name {self.name!r} holds a character that cannot be shown")
        for length in self.guidance.windows:
            if length < 2 or self.model.frames % length:
                raise ValueError(
                    f"guidance.windows: {length} does not divide model.frames ({self.model.frames}) into "
                    f"windows of 2 or more"
                )
        if self.pretrain.warmup_epochs >= self.pretrain.epochs:
            raise ValueError(
                f"pretrain.warmup_epochs ({self.pretrain.warmup_epochs}) must be below pretrain.epochs "
                f"({self.pretrain.epochs})"
            )
        if self.model.decoder == "subset" and 1 / self.model.target_ratio > self.mask.ratio:
            raise ValueError(
                f"decoder=subset: 1 / target_ratio must not exceed mask.ratio ({self.mask.ratio})"
            )
        if self.model.decoder == "subset" and self.mask.by != "random":
            raise ValueError("decoder=subset draws its targets at random: it needs mask.by=random")
        return self
