"""The whole split on the device, batches by index arithmetic: no worker processes, no per-clip Python, no
host synchronisation.

A sequence is one body of one clip on the time axis that all bodies of the clip share. What an epoch shows
(order, crops, angles) is drawn on the CPU beforehand and laid on the device once, so a batch is a few slices
and gathers. Where a split does not fit, its frames stay in host memory, views are gathered there one batch
ahead and sent over from pinned memory; the batches are the same.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from amr_data import SplitArrays
from amr_train.config import AugmentConfig
from amr_train.data.augment import (
    centre_bounds,
    crop_bounds,
    gather_present,
    gather_resampled,
    rotate,
    rotation_matrices,
)
from amr_train.data.batching import Batch, EvenBatches, Views, shares
from amr_train.data.people import in_chance_order
from amr_train.data.performances import Performances
from amr_train.data.timeline import timeline_of, zero_timeline
from amr_train.data.views import Changes

RESIDENT_SHARE = 0.5
"""Share of the device's free memory that a split may take to live there."""


class Feed:
    """Args:
    arrays: a split as `ShardDataset.arrays` or `read_split` gives it.
    device: where batches are wanted.
    frames: T, frames of every view.
    with_energy: resample the shard's energies with the joints.
    bodies: feed so many bodies of every clip, zeros for bodies and frames that it does not have; None feeds
        what is there.
    resident: keep the frames on the device, on the host, or on the device where they fit.
    naming: (V, names), what every batch says of its joints, see `Batch`.
    changes: of the bodies in training views; None leaves them as they are.
    performances: what other cameras saw of the clips, for the second view of each; None: every view is of the
        clip itself.
    people: whose each clip is, (N,) int64; clips of one person then stand together in the order of an epoch,
        and batches say whose theirs are.
    """

    def __init__(
        self,
        arrays: SplitArrays,
        device: torch.device,
        frames: int,
        with_energy: bool = False,
        bodies: int | None = None,
        resident: Literal["auto", "device", "host"] = "auto",
        naming: Tensor | None = None,
        changes: Changes | None = None,
        performances: Performances | None = None,
        people: Tensor | None = None,
    ) -> None:
        self.performances, self.people = performances, people
        self.naming = None if naming is None else naming.to(device)
        self.device, self.frames, self.bodies = device, frames, bodies
        joints = torch.from_numpy(arrays.joints)
        energy = torch.from_numpy(arrays.energy) if with_energy else None
        if bodies is not None:  # a last frame of zeros, which stands where there is no body
            rows = len(arrays.frame)
            joints = _with_zero_frame(joints, rows)
            energy = None if energy is None else _with_zero_frame(energy, rows)
        size = joints.nbytes + (0 if energy is None else energy.nbytes)
        fits = resident == "device" or (resident == "auto" and _fits(size, device))
        self.home = device if fits else torch.device("cpu")
        self.joints = joints.to(self.home)
        self.energy = None if energy is None else energy.to(self.home)
        self.labels = torch.from_numpy(arrays.labels).to(device)
        self.names = arrays.names
        # on the CPU, where epochs are planned:
        self.timeline = (
            timeline_of(arrays) if bodies is None else zero_timeline(arrays, bodies, len(arrays.frame))
        )
        self._row = None if self.timeline.row is None else self.timeline.row.to(self.home)
        self._present = None if self.timeline.present is None else self.timeline.present.to(self.home)
        self._clip_frames = torch.from_numpy(arrays.clip_frames)
        self._counts = self.timeline.counts
        self._first_sequence = self._counts.cumsum(0) - self._counts
        self._people = None if people is None else people.to(self.home)
        self._even: dict[int, EvenBatches] = {}
        self.changes = None if changes is None else changes.to(device)

    def __len__(self) -> int:
        return len(self.names)

    def subset(self, clips: Tensor) -> Feed:
        """The same frames, with these clips alone. clips : (K,) indices on the CPU."""
        part = copy.copy(self)
        part.labels = self.labels[clips.to(self.device)]
        part.names = [self.names[i] for i in clips.tolist()]
        part._clip_frames = self._clip_frames[clips]
        part._counts, part._first_sequence = self._counts[clips], self._first_sequence[clips]
        part._even = {}
        part.performances = part.people = part._people = None  # they number all clips
        return part

    @property
    def streams(self) -> bool:
        """Whether frames stay in host memory while batches go to another device."""
        return self.home != self.device

    def train_views(
        self,
        batch_size: int,
        augment: AugmentConfig,
        generator: torch.Generator,
        rank: int = 0,
        processes: int = 1,
        count: int = 1,
        batches: str = "drawn",
        whole_clips: bool = True,
        steps: int | None = None,
    ) -> Views:
        """One epoch of random views in random order; `generator` (on the CPU) decides all of it. A last batch
        that is not full is left out, unless it is the only one. Each process gets its own part of every
        batch.

        count : views of each clip, the second and following as `others`.
        batches : 'drawn', or 'even' in their numbers of bodies, see `EvenBatches`; whichever the processes.
        whole_clips : all bodies of a clip are with one process; otherwise processes have the same number of
            sequences but for one. Only for one view of each clip.
        steps : batches, None for as many as the clips fill; for more of them the clips are gone through
            again, in another order.
        """
        size = min(batch_size, len(self))
        steps = len(self) // size if steps is None else steps
        even = self.even(size) if batches == "even" else None
        room = None if even is None else even.room(processes, whole_clips)
        orders: list[Tensor] = []
        while sum(map(len, orders)) < steps * size:
            orders.append(
                in_chance_order(len(self), self.people, generator)
                if even is None
                else even.draw(generator, self.people)
            )
        order = torch.cat(orders)[: steps * size]
        shown = [order] * count
        if self.performances is not None:
            shown[1:] = [self.performances.seen_again(order, generator) for _ in shown[1:]]
        drawn = [self._drawn(clips, augment, generator) for clips in shown]
        made = [
            self._views(clips, *each, size, rank, processes, whole_clips)
            for clips, each in zip(shown, drawn, strict=True)
        ]
        if self.changes is not None:  # drawn last, so that crops and angles are those without
            made = [self._with_changes(views, self.changes, generator) for views in made]
        return replace(made[0], others=tuple(made[1:]), room=room)

    def even(self, size: int) -> EvenBatches:
        """The clips dealt out to batches of so many; a crop can have fewer bodies than its clip, never
        more."""
        if size not in self._even:
            self._even[size] = EvenBatches(self._counts, size)
        return self._even[size]

    def centre_views(
        self, batch_size: int, crop: float, rank: int = 0, processes: int = 1, rounding: str = "up"
    ) -> Views:
        """Every clip once in order, seen through a centre crop."""
        start, length = centre_bounds(self._clip_frames, crop, rounding)
        order, angles = torch.arange(len(self)), torch.zeros(len(self), 3)
        return self._views(order, start, length, angles, batch_size * processes, rank, processes)

    def augmented_views(
        self,
        batch_size: int,
        augment: AugmentConfig,
        generator: torch.Generator,
        rank: int = 0,
        processes: int = 1,
    ) -> Views:
        """Every clip once in order, seen through a random view, as in training."""
        order = torch.arange(len(self))
        drawn = self._drawn(order, augment, generator)
        return self._views(order, *drawn, batch_size * processes, rank, processes)

    def _drawn(
        self, order: Tensor, augment: AugmentConfig, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """First frame, frames and angles of a random view of each clip in `order`."""
        random = torch.rand(len(order), 5, generator=generator)
        share = augment.min_crop + (1 - augment.min_crop) * random[:, 0]
        frames = self._clip_frames[order]
        start, length = crop_bounds(frames, share, random[:, 1], augment.min_frames, augment.rounding)
        return start, length, (random[:, 2:] * 2 - 1) * augment.rotation

    def _with_changes(self, views: Views, changes: Changes, generator: torch.Generator) -> Views:
        """Draw what is done to the bodies of each clip, which share it."""
        drawn = changes.draw(len(views.index), generator)
        seeds = torch.randint(2**62, (len(views),), generator=generator)
        return replace(views, changes=self._put(drawn), seeds=tuple(seeds.tolist()))

    def batch(self, views: Views, step: int) -> Batch:
        """Gather, resample and rotate the views of one batch."""
        return self._send(self._gather(views, step))

    def batches(self, views: Views, start: int = 0) -> Iterator[Batch]:
        """The batches from `start` on; one is gathered ahead where frames are streamed."""
        if not self.streams:
            yield from (self.batch(views, step) for step in range(start, len(views)))
            return
        with ThreadPoolExecutor(1) as ahead:
            waiting = ahead.submit(self._gather, views, start) if start < len(views) else None
            for step in range(start, len(views)):
                assert waiting is not None
                gathered = waiting.result()
                waiting = ahead.submit(self._gather, views, step + 1) if step + 1 < len(views) else None
                yield self._send(gathered)

    def _views(
        self,
        order: Tensor,
        start: Tensor,
        length: Tensor,
        angles: Tensor,
        size: int,
        rank: int,
        processes: int,
        whole_clips: bool = True,
    ) -> Views:
        """Views of clips in `order`, (K,): first frame and frames of each clip's crop, and its angles; its
        bodies share them. A body that is not there in the whole crop is left out, unless the clip has no
        other."""
        counts = self._counts[order]
        row = torch.arange(len(order)).repeat_interleave(counts)
        sequence = (
            torch.arange(len(row)) - (counts.cumsum(0) - counts)[row] + self._first_sequence[order][row]
        )
        first = self.timeline.first[sequence] + start[row]
        if self.timeline.present is not None:
            there = self.timeline.among(first, length[row]) > 0
            lonely = torch.zeros(len(order), dtype=torch.int64).index_add_(0, row, there.long())[row] == 0
            kept = there | (lonely & (sequence == self._first_sequence[order][row]))
            row, first = row[kept], first[kept]
            counts = torch.bincount(row, minlength=len(order))
        ends = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        whole = [(a, min(a + size, len(order))) for a in range(0, len(order), size)]
        bounds = [(int(ends[a]), int(ends[b])) for a, b in whole]  # of the sequences
        if whole_clips:
            mine = [shares(a, b, processes)[rank] for a, b in whole]
            held = [(int(ends[a]), int(ends[b])) for a, b in mine]
        else:
            held = [shares(a, b, processes)[rank] for a, b in bounds]
            mine = [(int(row[a]), int(row[b - 1]) + 1) if a < b else (0, 0) for a, b in held]
        return Views(
            self._put(first),
            self._put(length[row]),
            self._put(angles[row]),
            self._put(row),
            self._put(order),
            clips=tuple(order[a:b] for a, b in mine),
            parts=tuple(mine),
            bounds=tuple(held),
            shares=tuple((low - a, b - a) for (a, b), (low, _) in zip(bounds, held, strict=True)),
            dealt=tuple((low - a, b - a) for (a, b), (low, _) in zip(whole, mine, strict=True)),
        )

    def _put(self, table: Tensor) -> Tensor:
        return sent(table, self.home)

    def _gather(self, views: Views, step: int) -> list[_Gathered]:
        """A batch of every view, before it is turned."""
        gathered = []
        for view in (views, *views.others):
            low, high = view.bounds[step]
            first, length, row = view.first[low:high], view.length[low:high], view.row[low:high]
            joints = gather_resampled(self.joints, first, length, self.frames, self._row)  # (S, T, V, 3)
            energy = present = None
            if self.energy is not None:
                energy = gather_resampled(self.energy, first, length, self.frames, self._row)
            if self._present is not None:
                present = gather_present(self._present, first, length, self.frames)
            clip = row - row[:1] if len(row) else row
            clips = view.index[slice(*view.parts[step])]
            batch = Batch(
                joints,
                energy,
                present,
                clip,
                clips,
                *view.shares[step],
                view.dealt[step],
                room=views.room,
                naming=self.naming,
                people=None if self._people is None else self._people[clips],
            )
            changes = None if view.changes is None else view.changes[row]
            seed = view.seeds[step] if view.seeds else 0
            gathered.append(_Gathered(batch, view.angles[low:high], changes, seed))
        return gathered

    def _send(self, gathered: list[_Gathered]) -> Batch:
        there = []
        for view in gathered:
            batch, angles, drawn = view.batch, view.angles, view.changes
            if self.streams:
                batch, angles = self._sent(batch), sent(angles, self.device)
                drawn = None if drawn is None else sent(drawn, self.device)
            if self.changes is None or drawn is None:
                there.append(replace(batch, joints=rotate(batch.joints, rotation_matrices(angles))))
            else:
                there.append(self.changes.apply(batch, angles, drawn, view.seed))
        return replace(there[0], others=tuple(there[1:]))

    def _sent(self, batch: Batch) -> Batch:
        moved: dict[str, Any] = {
            name: sent(values, self.device)
            for name in ("joints", "energy", "present", "clip", "clips", "people")
            if (values := getattr(batch, name)) is not None
        }
        return replace(batch, **moved)


@dataclass(frozen=True)
class _Gathered:
    """A view of a batch where it was gathered: as recorded, and what is to be done to it on the device."""

    batch: Batch
    angles: Tensor
    changes: Tensor | None
    seed: int


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of the host on the device, by a copy that nobody waits for."""
    if device.type == "cpu":
        return tensor
    return tensor.pin_memory().to(device, non_blocking=True)


def _with_zero_frame(values: Tensor, rows: int) -> Tensor:
    """(rows, ...) with a frame of zeros behind, unless it is there already."""
    if len(values) > rows:
        return values
    return torch.cat([values, values.new_zeros(1, *values.shape[1:])])


def _fits(size: int, device: torch.device) -> bool:
    return device.type != "cuda" or size < RESIDENT_SHARE * torch.cuda.mem_get_info(device)[0]
