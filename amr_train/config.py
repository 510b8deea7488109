"""The settings of an experiment, validated; `amr_train.loading` makes them from files and overrides.

A method is a combination of these settings (`experiments/methods/`): its decoder, its mask, its target, its
loss.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

PROTOCOLS = ("linear", "knn", "retrieval", "finetune", "supervised", "semi")


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataConfig(Section):
    """Which converted dataset, and which of its protocols. `dataset` is the name the experiment is meant for;
    None takes any.

    `empty_bodies`: skip bodies that a clip does not have, or keep them as zeros, as published pipelines do.
        `resident`: the split's frames
    on the device, on the host (views are made there and streamed), or on the device where they fit.
    """

    path: str | None = None
    dataset: str | None = None
    protocol: str = "xsub"
    empty_bodies: Literal["skip", "keep"] = "skip"
    resident: Literal["auto", "device", "host"] = "auto"


class ModelConfig(Section):
    """The network. `frames` T, `segment` l frames of one joint per encoder token, `target_ratio` r: N / r
    targets.

    `decoder`, what it attends over and predicts:
        decoupled       N / r queries of r * l frames each ask the visible tokens (AMR)
        self-attention  the same, with self-attention among the queries added back
        grid            visible and mask tokens, N in all, attend to each other; masked tokens are predicted
        (MAE, MAMP) subset          as grid, with N / r of the masked tokens drawn at random and the others
        left out pooled          the grid averaged over r segments of a joint, N / r tokens of r * l frames
        each
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
    temperature `tau`)."""

    ratio: float = Field(0.9, gt=0, lt=1)
    by: Literal["random", "motion"] = "random"
    tau: float = Field(0.8, gt=0)


class TargetConfig(Section):
    """What is reconstructed: coordinates or frame differences; normalised not at all, per patch, or per axis
    over the clip's frames."""

    kind: Literal["joints", "motion"] = "motion"
    normalize: Literal["none", "patch", "clip"] = "patch"


class GuidanceConfig(Section):
    """Focal reconstruction. `source`: energies of the augmented input (online, as the paper does), or read
    from the shard."""

    focal: bool = True
    k: float = Field(0.01, gt=0)
    windows: list[int] = Field([4, 8, 12], min_length=1)
    source: Literal["online", "shard"] = "online"


class AugmentConfig(Section):
    """Pre-training views: share of the clip that a crop keeps at least, frames it keeps at least, rotation
    about each axis in radians."""

    min_crop: float = Field(0.5, gt=0, le=1)
    min_frames: int = Field(64, ge=1)
    rotation: float = Field(0.3, ge=0)


class PretrainConfig(Section):
    """AdamW with linear warm-up and a cosine to `min_lr`; a checkpoint every so many epochs, and every so
    many minutes at any step.

    `batch_size` counts clips over all processes. `clip_grad`: largest norm of the gradient. `check_steps`:
    the loss is read from a GPU every so many steps, and checked then.
    """

    epochs: int = Field(400, ge=1)
    warmup_epochs: int = Field(20, ge=0)
    batch_size: int = Field(128, ge=1)
    lr: float = Field(1e-3, gt=0)
    min_lr: float = Field(5e-4, ge=0)
    weight_decay: float = Field(0.05, ge=0)
    betas: tuple[float, float] = (0.9, 0.95)
    checkpoint_epochs: int = Field(20, ge=1)
    checkpoint_minutes: float = Field(10, gt=0)
    keep_checkpoints: int = Field(2, ge=1)
    clip_grad: float | None = Field(None, gt=0)
    check_steps: int = Field(50, ge=1)


class LinearConfig(Section):
    """The linear probe. `batch_norm` puts a BatchNorm without affine parameters before the layer, as MAMP's
    probe does."""

    epochs: int = Field(100, ge=1)
    batch_size: int = Field(256, ge=1)
    lr: float = Field(0.01, gt=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(0.0, ge=0)
    batch_norm: bool = True


class FinetuneConfig(Section):
    """Fine-tuning with labels, also from scratch, with few of them, and on another dataset. `batch_size`
    counts clips over all processes."""

    epochs: int = Field(100, ge=1)
    warmup_epochs: int = Field(5, ge=0)
    batch_size: int = Field(48, ge=1)
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


class SemiConfig(Section):
    """Few labels: shares of each class's training clips in percent, each drawn with every seed."""

    percent: list[float] = Field([1, 5, 10], min_length=1)
    seeds: list[int] = Field([0, 1, 2], min_length=1)


class EvaluationConfig(Section):
    """Evaluation on a centre crop of each clip. `protocols`: what a run is evaluated with at its end."""

    protocols: list[Literal["linear", "knn", "retrieval", "finetune", "supervised", "semi"]] = [
        "linear",
        "knn",
    ]

    crop: float = Field(0.95, gt=0, le=1)
    batch_size: int = Field(64, ge=1)
    linear: LinearConfig = LinearConfig()
    knn_neighbours: int = Field(1, ge=1)
    finetune: FinetuneConfig = FinetuneConfig()
    semi: SemiConfig = SemiConfig()


class Experiment(Section):
    """Everything that decides a run, besides the machine.

    `scale`: a shipped set of sizes laid over all, such as tiny. `compile`: torch.compile of the training
        step, with CUDA graphs or without.
    `deterministic`: only operations that repeat bit by bit.
    """

    name: str
    description: str = ""
    method: str = "amr"
    scale: str = "full"
    seed: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["float32", "bfloat16"] = "float32"
    compile: Literal["none", "default", "cuda-graphs"] = "none"
    deterministic: bool = False
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    mask: MaskConfig = MaskConfig()
    target: TargetConfig = TargetConfig()
    guidance: GuidanceConfig = GuidanceConfig()
    augment: AugmentConfig = AugmentConfig()
    pretrain: PretrainConfig = PretrainConfig()
    evaluation: EvaluationConfig = EvaluationConfig()

    @model_validator(mode="after")
    def _check(self) -> Experiment:
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
