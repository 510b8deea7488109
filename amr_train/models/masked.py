"""Masked reconstruction: the shared encoder, a method's decoder, mask, target and loss. AMR, MAE, MAMP and
the ablations are its settings."""

from __future__ import annotations

from torch import Tensor, nn

from amr_train.config import Experiment
from amr_train.models.decoders import make_decoder
from amr_train.models.encoder import SkeletonEncoder
from amr_train.models.guidance import online_weights, shard_weights
from amr_train.models.masking import token_order, visible_count
from amr_train.models.targets import make_target, patchify


class MaskedModel(nn.Module):
    """Encoder and decoder with the loss of an experiment. `windows` are the lengths of the dataset's
    precomputed energies."""

    def __init__(self, experiment: Experiment, joints: int, windows: tuple[int, ...]) -> None:
        super().__init__()
        self.config = experiment
        self.encoder = SkeletonEncoder(experiment.model, joints)
        self.decoder = make_decoder(experiment.model, joints)
        self.patch_frames = experiment.model.patch_frames
        self.visible = visible_count(self.encoder.tokens, experiment.mask)
        self.scales: list[int] = []
        if experiment.guidance.focal and experiment.guidance.source == "shard":
            self.scales = [windows.index(n) for n in experiment.guidance.windows]

    def forward(self, joints: Tensor, noise: Tensor, energy: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mask, encode what is visible, predict the targets, weigh the error.

        Args:
            joints: (S, T, V, 3) metres.
            noise: (S, N) uniform in [0, 1), which decides the mask.
            energy: (S, T, V, S_n), where guidance comes from the shard.
        Returns: the training loss of each sequence (S,), and the same without focal weights, comparable
            between settings.
        """
        order = token_order(noise, joints, self.encoder.segment, self.config.mask)
        predicted, which = self.decoder(self.encoder(joints, order[:, : self.visible]), order)
        target = make_target(joints, self.config.target, self.patch_frames)
        weights = self.weights(joints, energy)
        if which is not None:
            index = which[..., None].expand(-1, -1, target.shape[-1])
            target = target.gather(1, index)
            weights = None if weights is None else weights.gather(1, index)
        error = (predicted.float() - target).square()  # (S, P, values)
        over = error.shape[1] * error.shape[2] if which is not None else self.encoder.tokens
        plain = error.sum(dim=(1, 2)) / over
        loss = plain if weights is None else (error * weights).sum(dim=(1, 2)) / over
        return loss, plain.detach()

    def weights(self, joints: Tensor, energy: Tensor | None) -> Tensor | None:
        """W, cut into patches like the target, or None without focal reconstruction."""
        guidance = self.config.guidance
        if not guidance.focal:
            return None
        if guidance.source == "shard":
            assert energy is not None
            weights = shard_weights(energy, self.scales, guidance.windows, guidance.k)
        else:
            weights = online_weights(joints, guidance.windows, guidance.k)
        return patchify(weights[..., None].expand(-1, -1, -1, 3), self.patch_frames)
