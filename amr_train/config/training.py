"""What an encoder is trained on, and how."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import Field, model_validator

from amr_train.config.section import Batches, Section


class DataConfig(Section):
    """Which converted dataset, and which of its train/test splits. `dataset` is the name the experiment is
    meant for; None takes any. `split`: None takes the dataset's only one.

    `paths`: of several datasets that an encoder is trained on at once, in place of `path`; `splits`: of each,
    by its name, where it has several.

    `exclude`: a list of decisions that `amr-data serve` writes, whose excluded clips train nothing; `beside`
    takes the one that lies beside each dataset. `excluded`: their names by the dataset's, filled in from it.

    `empty_bodies`: leave out the bodies and frames that a clip does not have, or feed them as zeros and count
    them, as published pipelines do. `resident`: the split's frames on the device, on the host (views are made
    there and streamed), or on the device where they fit.
    """

    path: str | None = None
    dataset: str | None = None
    split: str | None = None
    paths: list[str] = Field([])
    splits: dict[str, str] = Field({})
    exclude: str | None = None
    excluded: dict[str, list[str]] = Field({})
    empty_bodies: Literal["skip", "keep"] = "skip"
    resident: Literal["auto", "device", "host"] = "auto"


class InputConfig(Section):
    """What of a clip is shown, see `amr_train.data.input`. The defaults show it as the shard holds it.

    `frame`: turned into the main actor's body frame (spine along z, shoulders along x) of its first frame,
    or of every frame. `centre`: the main actor's centre joint in the origin, in its first frame or in every
    frame; other bodies move with it; or in every frame, and one joint, the middle of the spine, shows
    beside its place in the body the path that the centre has come since the first one. `landmarks`: centre,
    spine and shoulders are those of the dataset's spec; or the middle between the hips, from there to the
    middle between the shoulders, and these. `bodies`: the others are placed together with the main actor;
    or each as though it were the main actor, and a path then shows where it is from where the main actor
    began. `lengths`: in units of the main actor's mean spine. `jumps`: short stretches between tracking
    jumps of a whole body bridged. `stream`: positions; bones, each joint from its parent; or motion, each
    joint's velocity from frame to frame.
    """

    frame: Literal["recorded", "first", "every"] = "recorded"
    centre: Literal["recorded", "first", "every", "path"] = "recorded"
    landmarks: Literal["spec", "limbs"] = "spec"
    bodies: Literal["together", "each"] = "together"
    lengths: Literal["recorded", "spine"] = "recorded"
    jumps: Literal["keep", "bridge"] = "keep"
    stream: Literal["joint", "bone", "motion"] = "joint"

    @property
    def changes(self) -> dict[str, str]:
        """The settings that are not the default, JSON's types."""
        return self.model_dump(mode="json", exclude_defaults=True)

    @property
    def places(self) -> bool:
        """Whether bodies are turned, centred or measured."""
        return not self.frame == self.centre == self.lengths == "recorded"


class ModelConfig(Section):
    """The network. `frames` T, `segment` l frames of one joint per encoder token, `target_ratio` r: N / r
    targets.

    `registers`: learnable tokens in the encoder that stand for no patch, which its blocks may use and nobody
    sees. `time`: the encoder knows a token's segment by a learnt vector added to it, or by a rotation in
    attention, which then sees how far apart two tokens are (rotary).

    `decoder`, what it attends over and predicts:
        decoupled       N / r queries of r * l frames each ask the visible tokens (AMR)
        self-attention  the same, with self-attention among the queries added back
        grid            visible and mask tokens, N in all, attend to each other; masked ones are predicted
        subset          as grid, with N / r of the masked tokens drawn at random and the others left out
        pooled          the grid averaged over r segments of a joint, N / r tokens of r * l frames each

    `joints`, by what they are told apart: their place in the skeleton's order, or their anatomical names,
    which several skeletons share. `names`: those that are known, filled in from the data.
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
    registers: int = Field(0, ge=0)
    time: Literal["learnt", "rotary"] = "learnt"
    joints: Literal["index", "name"] = "index"
    names: list[str] = Field([])

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
        if self.time == "rotary" and self.width // self.heads % 2:
            raise ValueError(
                f"time=rotary turns pairs of values: width / heads ({self.width // self.heads}) must be even"
            )
        if self.decoder == "grid" and self.target_ratio != 1:
            raise ValueError(
                f"decoder=grid predicts every masked token: target_ratio must be 1, not {self.target_ratio}"
            )
        if self.names and self.joints == "index":
            raise ValueError("joints=index knows no names")
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
    """What is reconstructed: coordinates, frame differences, or both side by side; normalised not at all, per
    patch, or per axis over the clip's frames, each of the two by itself."""

    kind: Literal["joints", "motion", "both"] = "motion"
    normalize: Literal["none", "patch", "clip"] = "patch"

    @property
    def channels(self) -> int:
        """Values of a joint in one frame."""
        return 6 if self.kind == "both" else 3


class GuidanceConfig(Section):
    """Focal reconstruction. `source`: energies read from the shard, or measured on the augmented input
    (online, as the paper does)."""

    focal: bool = True
    k: float = Field(0.01, gt=0)
    windows: list[int] = Field([4, 8, 12], min_length=1)
    source: Literal["shard", "online"] = "shard"


class AgreementConfig(Section):
    """What two masked views of a clip have to do with each other and with a slow teacher, beside
    reconstruction; see `amr_train.models.agreeing`. Both weights 0: nothing, one view a clip.

    `contrast`: weight of telling the other view of a clip from the other clips of the batch, by the mean of
    the visible tokens; `temperature`: of that choice; `projection`: values in which views are compared;
    `cameras`: share of the clips whose other view is what another camera saw of the same performance, where
    one did. `negatives`: the clips of the batch that a clip is told from, all others or those of the same
    subject in the same setup, of which batches then hold more; see `amr_train.data.people`.
    `teacher`: weight of predicting the features that a slow average of the encoder gives the masked tokens,
    of its last `layers` blocks; `momentum`: of the average at first, 1 at last.
    """

    contrast: float = Field(0.0, ge=0)
    temperature: float = Field(0.2, gt=0)
    projection: int = Field(128, ge=2)
    cameras: float = Field(0.0, ge=0, le=1)
    negatives: Literal["all", "subject"] = "all"
    teacher: float = Field(0.0, ge=0)
    layers: int = Field(2, ge=1)
    momentum: float = Field(0.99, ge=0, lt=1)

    @property
    def asked(self) -> bool:
        return self.contrast > 0 or self.teacher > 0


class AugmentConfig(Section):
    """Training views: share of the clip that a crop keeps at least, frames it keeps at least, rotation about
    each axis in radians.

    `rounding` of crop lengths, in training and in the centre crops of tests: `up` to whole frames, or `mamp`,
    as the published code has it (down in training; in the centre, the same number cut off at both ends).

    What follows is done to views of pre-training alone, see `amr_train.data.views`; off by default. `turn`:
    about the vertical axis by up to so many radians, before `rotation`. `mirror`: share of the views in
    which left and right are exchanged. `limbs`: bones longer or shorter by up to this share, left and right
    alike; `scale`: the whole body. `noise`: standard deviation, in metres, of an error of each joint that
    drifts over time. `bias`: of an error of each joint that stays as it is throughout a view, as joints lie
    elsewhere in other bodies, for other sensors and from other sides. `shift`: the bodies of a clip together
    by up to so many metres along each level axis, as a second person stands beside the main actor. These five
    change every second view. `drop_axis`: share of the views of which one axis is zero.
    """

    min_crop: float = Field(0.5, gt=0, le=1)
    min_frames: int = Field(64, ge=1)
    rotation: float = Field(0.3, ge=0)
    rounding: Literal["up", "mamp"] = "up"
    turn: float = Field(0, ge=0, le=math.pi)
    mirror: float = Field(0, ge=0, le=1)
    limbs: float = Field(0, ge=0, lt=1)
    scale: float = Field(0, ge=0, lt=1)
    noise: float = Field(0, ge=0)
    bias: float = Field(0, ge=0)
    shift: float = Field(0, ge=0)
    drop_axis: float = Field(0, ge=0, le=1)

    @property
    def judged(self) -> dict[str, Any]:
        """What evaluations take of it, JSON's types."""
        return self.model_dump(mode="json", include={"min_crop", "min_frames", "rotation", "rounding"})

    @property
    def changes(self) -> dict[str, float]:
        """What is done to bodies, of that which is not off."""
        return self.model_dump(mode="json", exclude=set(self.judged), exclude_defaults=True)


class PretrainConfig(Section):
    """An optimiser with linear warm-up and a cosine to `min_lr`; a checkpoint every so many epochs, and every
    so many minutes at any step.

    `min_steps`: where clips are so few that `epochs` are fewer steps, there are as many more epochs; settings
    that lie over it and name `epochs` switch it off. `batch_size` counts clips over all processes.
    `batches`: clips in an order drawn freely, or so that every batch, and every process's part of it, has the
    same number of bodies but for one (`even`), which CUDA graphs need. `mixing`: of several datasets each has
    a share of every batch in proportion to its clips to this power: 1 by size, 0 all alike. `optimizer`:
    AdamW, or Muon for the matrices of transformer blocks and AdamW, whose `betas` are, for the rest.
    `clip_grad`: largest norm of the gradient. `check_steps`: the loss is read from a GPU every so many steps,
    and checked then.
    """

    epochs: int = Field(400, ge=1)
    warmup_epochs: int = Field(20, ge=0)
    min_steps: int = Field(0, ge=0)
    batch_size: int = Field(128, ge=1)
    batches: Batches = "drawn"
    optimizer: Literal["adamw", "muon"] = "adamw"
    mixing: float = Field(0.5, ge=0, le=1)
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
