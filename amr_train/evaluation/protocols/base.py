"""What a protocol is: a way to judge an encoder, with the figures that tables show of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from amr_data import ShardDataset, UsageError
from amr_train.config import AugmentConfig, EvaluationConfig
from amr_train.evaluation.parts import SUBJECTS
from amr_train.evaluation.task import Task


@dataclass(frozen=True)
class Result:
    """`figures` : in percent, by the name of their column, the headline first.  `details` : what else is
    kept, JSON's types.  `scores` : of the clips that judge (N, C), by pooling, for late fusion."""

    figures: dict[str, float]
    details: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, Tensor] = field(default_factory=dict)


class Protocol(ABC):
    """One way to judge. `name` : as in `--protocol`.  `frozen` : the encoder is not trained, so that
    untrained encoders and coordinates can stand beside it, and one process does it for all.  `of_clips` : it
    asks for the features of clips, which all processes make before it runs."""

    name: str
    frozen = True
    of_clips = True

    @abstractmethod
    def settings(self, config: EvaluationConfig, augment: AugmentConfig) -> dict[str, Any]:
        """Every setting that decides the result, JSON's types: two results are the same where these, the
        encoder, the data, the split and the seed are. `augment` : the encoder's training views."""

    @abstractmethod
    def run(self, task: Task) -> Result:
        """Judge. Raises: UsageError, AmrError."""

    def check(self, dataset: ShardDataset) -> None:  # noqa: B027
        """Refuse a dataset that cannot be judged by it, before anything is trained. Raises: UsageError."""

    def check_part(self, part: str) -> None:
        """Refuse a part that cannot be judged by it. Raises: UsageError."""
        if part == SUBJECTS and not (self.frozen and self.of_clips):
            raise UsageError(
                f"evaluation.part=subjects judges frozen features of clips, and {self.name} does not: leave "
                "it out, or use part=validation"
            )

    def check_on(self, dataset: ShardDataset, part: str) -> None:
        """Both checks. Raises: UsageError."""
        self.check_part(part)
        self.check(dataset)

    def collective(self, config: EvaluationConfig) -> bool:
        """Whether all processes take part in `run`; otherwise the main one alone does it."""
        return not self.frozen

    def spoken(self, settings: dict[str, Any]) -> str:
        """The settings that matter, in a few words beside the figure."""
        return ""
