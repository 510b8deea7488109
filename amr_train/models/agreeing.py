"""Masked reconstruction of two views of each clip that agree: the visible tokens of one view tell the other
view of the clip from the other clips of the batch, and masked tokens get the features that a slow teacher
gives them.

Contrast is InfoNCE (arXiv 1807.03748) in the form of SimCLR (arXiv 2002.05709) between the two views, but no
view of the same side is a negative; masks and crops make most of the difference between the views, so the
visible tokens alone are pooled and no pass over all tokens is needed. The teacher's features are data2vec's
(arXiv 2202.03555): the mean of the last blocks, normalised.
"""

from __future__ import annotations

import copy
import math

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, layer_norm, normalize, smooth_l1_loss

from amr_train.config import Experiment
from amr_train.data.batching import Batch
from amr_train.models.decoders import FeatureDecoder
from amr_train.models.encoder import take_tokens
from amr_train.models.layers import initialize
from amr_train.models.masked import MaskedReconstruction, named
from amr_train.models.masking import token_order, token_present, visible_count
from amr_train.models.pooling import mean_over_bodies


class AgreeingViews(MaskedReconstruction):
    """Encoder and decoder, and with them what the settings `agreement` ask for: a projector of pooled visible
    features, a teacher that follows the encoder and a decoder of its features."""

    views = 2
    whole_clips = True

    def __init__(self, experiment: Experiment, joints: int, windows: tuple[int, ...]) -> None:
        super().__init__(experiment, joints, windows)
        config, width = experiment.agreement, self.encoder.width
        each = experiment.model.decoder in ("grid", "subset")  # their loss is a mean over values already
        self.values = 1 if each else experiment.model.segment * experiment.target.channels
        self.projector = self.teacher = self.features = None
        if config.contrast:
            self.projector = nn.Sequential(
                nn.Linear(width, 2 * width),
                nn.LayerNorm(2 * width),
                nn.GELU(),
                nn.Linear(2 * width, config.projection),
            )
            self.projector.apply(initialize)
        if config.teacher:
            self.features = FeatureDecoder(experiment.model, joints)
            self.teacher = copy.deepcopy(self.encoder).requires_grad_(False)

    def loss(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """The mean of both views' reconstruction, a mean over values so that weights say the same for every
        method, and what agreement adds; logged: each by itself."""
        config, both = self.config.agreement, (batch, *batch.others)
        sizes, room = [len(view.joints) for view in both], self.room_of(batch)
        parts = [self.shown(view, generator, room) for view in both]
        loss, plain, pooled, missed = self(*map(_joined, zip(*parts, strict=True)), **named(batch))
        cut = sizes if room is None else [room, room]

        def of_views(values: Tensor) -> list[Tensor]:
            return [view[:size] for view, size in zip(values.split(cut), sizes, strict=True)]

        def mean(values: Tensor) -> Tensor:
            """Of both views: their sums over this process's sequences, each as a share of the whole batch."""
            shares = [v.sum() / view.total for v, view in zip(of_views(values), both, strict=True)]
            return torch.stack(shares).mean()

        total = mean(loss)
        logged = {"loss_without_weights": mean(plain)}
        if pooled is not None:
            one, other = (
                mean_over_bodies(z, view.clip, len(view.clips))
                for z, view in zip(of_views(pooled), both, strict=True)
            )
            logged["contrast"] = contrast(one, other, config.temperature, *batch.part, batch.people)
            total = total + config.contrast * logged["contrast"]
        if missed is not None:
            logged["teacher"] = mean(missed)
            total = total + config.teacher * logged["teacher"]
        # one value for a batch is taken for the mean of this process's sequences
        scale = batch.total / max(1, sizes[0])
        return total * scale, {name: value * scale for name, value in logged.items()}

    def forward(  # type: ignore[override]
        self,
        joints: Tensor,
        noise: Tensor,
        energy: Tensor | None = None,
        present: Tensor | None = None,
        naming: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        """Arguments as of masked reconstruction, of both views one behind the other.

        Returns: of each sequence the error of its reconstruction and the same without focal weights (S,),
        means over its values; its projection (S, P), and the error of the teacher's features (S,); None for
        what is not asked for.
        """
        order = token_order(noise, joints, self.encoder.segment, self.config.mask, present)
        kept = order[:, : visible_count(order.shape[1], self.config.mask)]
        visible = self.encoder(joints, kept, naming=naming)
        loss, plain = self.reconstruction(visible, order, joints, energy, present, naming)
        pooled = None if self.projector is None else self.projector(visible.mean(dim=1)).float()
        missed = None
        if self.features is not None and self.teacher is not None:
            predicted, which = self.features(visible, order, naming)
            with torch.no_grad():
                deep = self.teacher.deep(joints, present, self.config.agreement.layers, naming).float()
                wanted = layer_norm(take_tokens(deep, which), deep.shape[-1:])
            error = smooth_l1_loss(predicted.float(), wanted, reduction="none").mean(dim=2)  # (S, N - N_v)
            if present is not None:
                there = token_present(present, self.encoder.segment, joints.shape[2]).gather(1, which).float()
                missed = (error * there).sum(dim=1) / there.sum(dim=1).clamp(min=1)
            else:
                missed = error.mean(dim=1)
        return loss / self.values, plain / self.values, pooled, missed

    @torch.no_grad()
    def after_step(self, step: int, steps: int) -> None:
        """The teacher goes a part of the way to the encoder, a smaller one at each step."""
        if self.teacher is None:
            return
        part = (1 - self.config.agreement.momentum) * (1 + math.cos(math.pi * step / steps)) / 2
        slow: list[Tensor] = list(self.teacher.parameters())
        torch._foreach_lerp_(slow, list(self.encoder.parameters()), part)


def contrast(
    one: Tensor,
    other: Tensor,
    temperature: float,
    first: int = 0,
    clips: int | None = None,
    people: Tensor | None = None,
) -> Tensor:
    """The cross-entropy of choosing, by cosine over temperature, the other view of each clip among those of
    all clips of the batch, or of those of the same person; mean of both directions.

    one, other : (B, P), rows of the same clips.  first, clips : number of this process's first clip in the
        batch and how many that has; then this is the process's part of the mean.  people : (B,) int64, whose
        these clips are, if others' are not to be chosen from.
    """
    clips = len(one) if clips is None else clips
    with torch.autocast(one.device.type, enabled=False):  # cosines of bfloat16 have three digits
        one, other = normalize(one, dim=1), normalize(other, dim=1)
        mine = torch.arange(first, first + len(one), device=one.device)
        foreign = None if people is None else people[:, None] != _of_all(people[:, None], first, clips).T

        def chosen(here: Tensor, there: Tensor) -> Tensor:
            closeness = here @ _of_all(there, first, clips).T / temperature
            if foreign is not None:
                closeness = closeness.masked_fill(foreign, -torch.inf)
            return cross_entropy(closeness, mine, reduction="sum")

        directions = [chosen(one, other), chosen(other, one)]
        return torch.stack(directions).mean() / clips


def _of_all(rows: Tensor, first: int, clips: int) -> Tensor:
    """The rows of all processes (B, P), with gradients to them."""
    if len(rows) == clips:
        return rows
    from torch.distributed.nn.functional import all_reduce

    placed = rows.new_zeros(clips, rows.shape[1]).index_copy(
        0, torch.arange(first, first + len(rows), device=rows.device), rows
    )
    return all_reduce(placed, dist.ReduceOp.SUM)  # type: ignore[no-any-return]


def _joined(values: tuple[Tensor | None, ...]) -> Tensor | None:
    there = [value for value in values if value is not None]
    return torch.cat(there) if there else None
