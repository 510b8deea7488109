"""Everything that decides a run."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from amr_train.config.evaluation import EvaluationConfig
from amr_train.config.section import Precision, Section
from amr_train.config.training import (
    AgreementConfig,
    AugmentConfig,
    DataConfig,
    GuidanceConfig,
    InputConfig,
    MaskConfig,
    ModelConfig,
    MonitorConfig,
    PretrainConfig,
    TargetConfig,
)


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
    agreement: AgreementConfig = AgreementConfig()
    augment: AugmentConfig = AugmentConfig()
    options: dict[str, Any] = Field({})
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
        for key in ("landmarks", "bodies") if not self.input.places else ():
            if (asked := self.input.changes.get(key)) is not None:
                raise ValueError(
                    f"input.{key}={asked} says how bodies are placed, which input.frame, centre and lengths "
                    f"leave as recorded: set one of these, or leave input.{key} at "
                    f"{InputConfig.model_fields[key].default}"
                )
        unseen = {"joint": (), "bone": ("shift",), "motion": ("shift", "noise", "bias")}[self.input.stream]
        if moving := [f"augment.{key}" for key in unseen if getattr(self.augment, key)]:
            raise ValueError(
                f"input.stream={self.input.stream} does not show where bodies and joints are, which "
                f"{' and '.join(moving)} would change: set {' '.join(f'{key}=0' for key in moving)}"
            )
        if self.pretrain.warmup_epochs >= self.pretrain.epochs:
            raise ValueError(
                f"pretrain.warmup_epochs ({self.pretrain.warmup_epochs}) must be below pretrain.epochs "
                f"({self.pretrain.epochs}); for a short training say pretrain.warmup_epochs=0 too"
            )
        if self.model.decoder == "subset" and 1 / self.model.target_ratio > self.mask.ratio:
            raise ValueError(
                f"decoder=subset: 1 / target_ratio must not exceed mask.ratio ({self.mask.ratio})"
            )
        for key in ("cameras", "negatives"):
            asked, none = getattr(self.agreement, key), AgreementConfig.model_fields[key].default
            if asked != none and not self.agreement.contrast:
                raise ValueError(
                    f"agreement.{key} says what the contrast compares: it needs agreement.contrast above 0, "
                    f"or agreement.{key}={none}"
                )
        if self.agreement.cameras and self.pretrain.batches == "even":
            raise ValueError(
                "agreement.cameras shows clips with other numbers of bodies than pretrain.batches=even deals "
                "out: set it to drawn"
            )
        if self.agreement.teacher and self.agreement.layers > self.model.encoder_layers:
            raise ValueError(
                f"agreement.layers ({self.agreement.layers}) must not exceed model.encoder_layers "
                f"({self.model.encoder_layers})"
            )
        if self.model.decoder == "subset" and self.mask.by != "random":
            raise ValueError("decoder=subset draws its targets at random: it needs mask.by=random")
        return self
