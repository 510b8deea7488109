"""Masked reconstruction: the shared encoder, a method's decoder, mask, target and loss. AMR, MAE, MAMP and
the ablations are its settings."""

from __future__ import annotations

import torch
from torch import Tensor

from amr_train.config import Experiment
from amr_train.data.batching import Batch, filled_up
from amr_train.models.decoders import make_decoder
from amr_train.models.guidance import online_weights, shard_weights
from amr_train.models.masking import token_order, visible_count
from amr_train.models.method import Method
from amr_train.models.targets import make_target, patchify


class MaskedReconstruction(Method):
    """Encoder and decoder with the loss that an experiment's mask, target and guidance describe."""

    whole_clips = False

    def __init__(self, experiment: Experiment, joints: int, windows: tuple[int, ...]) -> None:
        super().__init__(experiment, joints, windows)
        self.decoder = make_decoder(experiment.model, joints, experiment.target.channels)
        self.patch_frames = experiment.model.patch_frames
        self.visible = visible_count(self.encoder.tokens, experiment.mask)
        self.scales: list[int] = []
        if experiment.guidance.focal and experiment.guidance.source == "shard":
            self.scales = [windows.index(n) for n in experiment.guidance.windows]
            self.needs_energy = True

    def loss(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted error of each sequence (S,); logged: the same without focal weights, which is
        comparable between settings."""
        sequences, shown = len(batch.joints), self.shown(batch, generator, self.room_of(batch))
        loss, plain = self(*shown, **named(batch))  # what was filled up does not count
        return loss[:sequences], {"loss_without_weights": plain[:sequences]}

    def room_of(self, batch: Batch) -> int | None:
        """Sequences that a batch is filled up to, None where it stays as it is."""
        return batch.room if self.config.compile == "cuda-graphs" else None

    def shown(self, view: Batch, generator: torch.Generator, room: int | None) -> list[Tensor | None]:
        """What `forward` takes of a view by position: joints, noise, energy, present; filled up to `room`
        sequences."""
        tokens = self.encoder.steps * view.joints.shape[2]
        noise = torch.rand(view.total, tokens, generator=generator, device=view.joints.device)
        noise = noise[view.first : view.first + len(view.joints)]
        found = [view.joints, noise, view.energy, view.present]
        if room is None:
            return found
        fills = (0, 0, 0, True)
        return [v if v is None else filled_up(v, room, fill) for v, fill in zip(found, fills, strict=True)]

    def forward(
        self,
        joints: Tensor,
        noise: Tensor,
        energy: Tensor | None = None,
        present: Tensor | None = None,
        naming: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Mask, encode what is visible, predict the targets, weigh the error.

        Args:
            joints: (S, T, V, 3) metres.
            noise: (S, N) uniform in [0, 1), which decides the mask.
            energy: (S, T, V, S_n), where guidance comes from the shard.
            present: (S, T) bool, the frames in which the body is there, None for all. Others are not shown,
                as long as there are enough tokens, and never compared.
            naming: (V, names), of which names the joints are, see `Batch`.
        Returns: the training loss of each sequence (S,), and the same without focal weights.
        """
        order = token_order(noise, joints, self.encoder.segment, self.config.mask, present)
        visible = order[:, : visible_count(order.shape[1], self.config.mask)]
        shown = self.encoder(joints, visible, naming=naming)
        return self.reconstruction(shown, order, joints, energy, present, naming)

    def reconstruction(
        self,
        visible: Tensor,
        order: Tensor,
        joints: Tensor,
        energy: Tensor | None = None,
        present: Tensor | None = None,
        naming: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The error of what is decoded from the visible features (S, N_v, D) of the tokens that come first in
        `order` (S, N); arguments and result else as in `forward`."""
        predicted, which = self.decoder(visible, order, naming)
        target = make_target(joints, self.config.target, self.patch_frames)
        weights, counted = self.weights(joints, energy, present), self._counted(joints, present)
        if which is not None:
            index = which[..., None].expand(-1, -1, target.shape[-1])
            target = target.gather(1, index)
            weights = None if weights is None else weights.gather(1, index)
            counted = None if counted is None else counted.gather(1, index)
        error = (predicted.float() - target).square()  # (S, P, values)
        over: Tensor | int = error.shape[1] * error.shape[2] if which is not None else order.shape[1]
        if counted is not None:
            error = error * counted
            over = over * counted.mean(dim=(1, 2)).clamp(min=1 / counted[0].numel())
        plain = error.sum(dim=(1, 2)) / over
        loss = plain if weights is None else (error * weights).sum(dim=(1, 2)) / over
        return loss, plain.detach()

    def weights(self, joints: Tensor, energy: Tensor | None, present: Tensor | None = None) -> Tensor | None:
        """W, cut into patches like the target, or None without focal reconstruction."""
        guidance = self.config.guidance
        if not guidance.focal:
            return None
        if guidance.source == "shard":
            assert energy is not None
            weights = shard_weights(energy, self.scales, guidance.windows, guidance.k, present)
        else:
            weights = online_weights(joints, guidance.windows, guidance.k, present)
        return self._patches(weights)

    def _counted(self, joints: Tensor, present: Tensor | None) -> Tensor | None:
        """1 for each target value of a frame in which the body is there, 0 for others (S, P, values)."""
        if present is None:
            return None
        return self._patches(present[..., None].expand(joints.shape[:3]).to(joints.dtype))

    def _patches(self, values: Tensor) -> Tensor:
        """(S, T, V) of joints to (S, P, values) of target patches."""
        channels = self.config.target.channels
        return patchify(values[..., None].expand(-1, -1, -1, channels), self.patch_frames)


def named(batch: Batch) -> dict[str, Tensor]:
    """What `forward` takes of a batch by name: of which names its joints are, where they are told so."""
    return {} if batch.naming is None else {"naming": batch.naming}
