"""The same training as fine-tuning from an encoder of chance, without layer decay."""

from __future__ import annotations

import torch

from amr_train.config import EvaluationConfig, FinetuneConfig
from amr_train.evaluation.protocols.finetune import Finetune
from amr_train.evaluation.task import Task
from amr_train.models.encoder import SkeletonEncoder
from amr_train.models.layers import name_joints


class Supervised(Finetune):
    name = "supervised"

    def training(self, config: EvaluationConfig) -> FinetuneConfig:
        return config.finetune.model_copy(update=config.supervised.model_dump())

    def start(self, task: Task) -> SkeletonEncoder:
        torch.manual_seed(task.seed)
        encoder = SkeletonEncoder(task.encoder.config, task.encoder.joints).to(task.device)
        if (naming := task.encoder.position.naming) is not None:
            name_joints(encoder, naming)
        return encoder
