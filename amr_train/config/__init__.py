"""The settings of an experiment, validated; `amr_train.loading` makes them from files and overrides.

A method is a combination of these settings (`experiments/methods/`): its decoder, its mask, its target, its
loss.
"""

from __future__ import annotations

from amr_train.config.evaluation import (
    DetectConfig,
    EvaluationConfig,
    FinetuneConfig,
    LinearConfig,
    LogisticConfig,
    SemiConfig,
    SupervisedConfig,
)
from amr_train.config.experiment import Experiment
from amr_train.config.section import Batches, Precision, Section
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

__all__ = [
    "AgreementConfig",
    "AugmentConfig",
    "Batches",
    "DataConfig",
    "DetectConfig",
    "EvaluationConfig",
    "Experiment",
    "FinetuneConfig",
    "GuidanceConfig",
    "InputConfig",
    "LinearConfig",
    "LogisticConfig",
    "MaskConfig",
    "ModelConfig",
    "MonitorConfig",
    "Precision",
    "PretrainConfig",
    "Section",
    "SemiConfig",
    "SupervisedConfig",
    "TargetConfig",
]
