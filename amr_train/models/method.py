"""What a pre-training method is: an encoder, and a loss of a batch. The training loop knows no more of it.

Masked reconstruction (`amr_train.models.masked`) is one, with MAE, MAMP, AMR and the ablations as its
settings. A method of one's own is a class that takes the same arguments, named in the settings as
`package.module:Class` or by an entry point of the group `amr_train.methods`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from amr_train.config import Experiment
from amr_train.data.batching import Batch
from amr_train.models.encoder import SkeletonEncoder


class Method(nn.Module, ABC):
    """Args:
    experiment: its settings; `experiment.options` are the method's own.
    joints: V of the dataset's skeleton.
    windows: lengths of the dataset's precomputed energies, in frames.

    Whatever must be saved with a checkpoint is a parameter or a buffer. `encoder` is what is evaluated and
    kept. With `compile`, what the module's `forward` does is compiled, so `loss` calls `self(...)` for the
    heavy part; the first axis of each tensor among its arguments by position may vary. For
    `compile=cuda-graphs` it may not: `loss` fills them up to `batch.room` and leaves out what comes of that
    (`filled_up`).
    """

    encoder: SkeletonEncoder
    views = 1
    """How many views of each clip a batch holds; the second and following are `batch.others`."""
    whole_clips = True
    """Whether a loss may look at the bodies of a clip together, so that they must be with one process; False
    where each body has a loss of its own, whose processes then have equally many."""
    needs_energy = False
    """Whether batches carry the energies of the shard."""

    def __init__(self, experiment: Experiment, joints: int, windows: tuple[int, ...]) -> None:
        super().__init__()
        self.config = experiment
        self.encoder = SkeletonEncoder(experiment.model, joints)

    @abstractmethod
    def loss(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch, and what else is worth logging.

        Args:
            batch: of the training feed. Of several datasets at once it is the part of one, and the next call
                is about another's: `batch.naming` then says which joints these are, and networks are told so
                (`self.encoder(..., naming=batch.naming)`).
            generator: on the batch's device; all chance of the step comes from it. Draw for all `batch.total`
                sequences and take `batch.first` onwards, and several processes do what one does.
        Returns: one value a sequence (S,), or one for the batch (); likewise for what is logged.
        """

    def after_step(self, step: int, steps: int) -> None:
        """Called after each optimiser step, `step` of `steps`; a teacher follows its student here."""
