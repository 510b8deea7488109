"""What pre-training does to the bodies of a view beside cropping and rotating it: they are turned, mirrored,
given other limbs and another size, jittered, flattened, as SLiM does it (NeurIPS 2026), and their joints are
displaced for the whole view, which it does not.

All of it but noise and displacements is linear in the joints and leaves the origin where it is. So bones and
motion, differences of joints, are treated as the joints are; a frame of zeros stays one, and the bodies of a
clip stay together. Noise and displacements are refused where motion is shown. What is done to a clip is drawn
with its crop, for whole epochs on the CPU; errors have too many values for that, and are drawn where they are
used, for all sequences of a batch, from a seed that was drawn there.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from math import pi

import torch
from torch import Tensor

from amr_data import ShardDataset, UsageError
from amr_train.config import AugmentConfig, InputConfig
from amr_train.data.augment import rotate, rotation_matrices
from amr_train.data.batching import Batch
from amr_train.data.bodies import Body, body_of, hung_past, mirrored_joints, paths_to
from amr_train.data.landmarks import path_of

CHANGED = 0.5
"""Share of the views that other limbs, another size or noise are given. The others stay as they are, as tests
show them."""
DRIFT = 16
"""Frames over which noise becomes other noise. Errors of pose estimates last; and noise of single frames
would drown the motion that is to be predicted."""
LATERAL = 0
"""The axis that runs to the side, in a sensor's coordinates and in a body frame."""
DRAWS = 8
"""Numbers drawn for a clip, before those of its bones."""
SHIFTS = 3
"""Behind them, where bodies are shifted: whether, and by how much along the two level axes."""
BIASES = 1
"""Behind these, where joints are displaced: whether."""
BIASED = 0x5DEECE66D
"""Makes another seed of a batch's, so that displacements are not drawn by the numbers of its noise."""


def check_changes(config: AugmentConfig, datasets: Sequence[ShardDataset], shown: InputConfig) -> list[str]:
    """Refuse what cannot be done to the bodies of datasets that are trained on together, in the form that is
    shown. Of several, only those are mirrored that can be.

    Returns: a line for each that is not. Raises: UsageError.
    """
    for dataset in datasets:
        for key in ("turn", "drop_axis") if dataset.spec.dimensions == 2 else ():
            if getattr(config, key):
                raise UsageError(
                    f"{dataset.path} is two-dimensional: it has no depth for augment.{key}; set it to 0"
                )
    reasons = [unmirrored(dataset, shown) for dataset in datasets] if config.mirror else []
    if reasons and all(reasons):
        raise UsageError(f"augment.mirror: {'; '.join(reasons)}; or set it to 0")
    return [f"not mirrored: {reason}" for reason in reasons if reason]


def unmirrored(dataset: ShardDataset, shown: InputConfig) -> str:
    """Why the bodies of a dataset cannot be mirrored in the form that is shown, '' where they can."""
    spec, joints = dataset.spec, dataset.spec.skeleton.joints
    if not spec.skeleton.symmetric:
        return (
            f"the skeleton {spec.skeleton.name} of {dataset.path} does not say which joints are left and "
            "right of each other (`symmetric`)"
        )
    if spec.handed is None:
        return (
            f"the spec of {spec.name} does not say whether its classes tell left from right; if they do "
            f"not, add `handed: false` to it and convert {dataset.path} again, which keeps its shards"
        )
    if spec.handed:
        return f"classes of {spec.name} tell left from right"
    path = path_of(shown, spec.skeleton)
    if path is None or (other := mirrored_joints(spec.skeleton)[path]) == path:
        return ""
    return (
        f"{spec.name} shows its path by {joints[path]}, which would be {joints[other]} in a mirror; "
        "input.centre=every shows none"
    )


def make_changes(config: AugmentConfig, shown: InputConfig, dataset: ShardDataset) -> Changes | None:
    """What an experiment does to the bodies of one of its datasets, once `check_changes` has seen them all;
    None where it leaves them as they are."""
    if unmirrored(dataset, shown):
        config = config.model_copy(update={"mirror": 0.0})
    return Changes(config, body_of(dataset, shown)) if config.changes else None


def moves_alike(config: AugmentConfig) -> bool:
    """Whether the shard's energies are still those of the joints: a turn leaves them, a mirror exchanges
    them, a size scales them, anything else makes other motion of it."""
    return not (config.limbs or config.noise or config.drop_axis)


class Changes:
    """Args:
    config: which changes, how often and how much.
    body: whose.
    """

    def __init__(self, config: AugmentConfig, body: Body) -> None:
        self.config, self.body = config, body
        parent, mirror = torch.tensor(body.parent), torch.tensor(body.mirror)
        joint = torch.arange(len(parent))
        bones = torch.minimum(joint, mirror)  # left and right alike
        limbs, limb = bones[parent != joint].unique(return_inverse=True)
        self.limbs = len(limbs)
        self.draws = DRAWS + self.limbs + (SHIFTS if config.shift else 0) + (BIASES if config.bias else 0)
        # hung on the other side's counterparts, the bones of one side are those of the other
        self._alike = bool((parent[mirror] == mirror[parent]).all())
        limb_of = torch.tensor(hung_past(body.parent, body.apart))
        self._tables = {
            "parent": parent,
            "mirror": mirror,
            "hangs": (parent != joint).float(),
            "stretched": (limb_of != joint).float(),
            "limb_of": limb_of,
            "limb_path": paths_to(tuple(limb_of.tolist())),
            "limb": torch.zeros_like(parent).masked_scatter(parent != joint, limb),
            "path": paths_to(body.parent),
            "three": torch.arange(3),
            "axes": torch.tensor([1.0, 1.0, 0.0 if body.flat else 1.0]),
        }

    def to(self, device: torch.device) -> Changes:
        """The same with its tables there."""
        there = copy.copy(self)
        there._tables = {name: table.to(device) for name, table in self._tables.items()}
        return there

    def draw(self, clips: int, generator: torch.Generator) -> Tensor:
        """Chance of so many clips, (K, E) uniform in [0, 1); as many for every setting but for a shift and
        displacements, whose columns come last."""
        return torch.rand(clips, self.draws, generator=generator)

    def apply(self, batch: Batch, angles: Tensor, drawn: Tensor, seed: int) -> Batch:
        """The batch with its bodies changed and turned, and its energies with them.

        angles : (S, 3), of the rotation about each axis.  drawn : (S, E), as `draw` gives it, of the clip of
        each sequence.  seed : of noise and displacements.
        """
        config, joints, energy = self.config, batch.joints, batch.energy
        turn, mirror, limbs, scale, size, drop, axis, noise = drawn[:, :DRAWS].unbind(1)
        matrix = rotation_matrices(angles)
        if config.turn:
            about = torch.zeros_like(angles)
            about[:, self.body.up] = (turn * 2 - 1) * config.turn
            matrix = matrix @ rotation_matrices(about)
        if config.limbs:
            stretch = (
                (drawn[:, DRAWS : DRAWS + self.limbs] * 2 - 1) * config.limbs * (limbs < CHANGED)[:, None]
            )
            joints = self._stretched(joints, stretch)
        if config.mirror:
            mirrored = mirror < config.mirror
            joints = self._mirrored(joints, mirrored)
            energy = None if energy is None else self._exchanged(energy, mirrored)
            side = torch.ones_like(angles)
            side[:, LATERAL] = 1 - 2 * mirrored.to(side.dtype)
            matrix = matrix * side[:, None, :]
        if config.scale:
            factor = 1 + (size * 2 - 1) * config.scale * (scale < CHANGED)
            matrix = matrix * factor[:, None, None]
            energy = None if energy is None else energy * factor.square()[:, None, None, None]
        kept = (drop >= config.drop_axis)[:, None] | ((axis * 3).long()[:, None] != self._tables["three"])
        if config.drop_axis:
            matrix = matrix * kept[:, :, None]
        recorded, joints = joints, rotate(joints, matrix)
        if config.shift or config.noise or config.bias:
            there = (recorded != 0).any(dim=3, keepdim=True).any(dim=2, keepdim=True)
        if config.shift:
            first = DRAWS + self.limbs
            whether, *place = drawn[:, first : first + SHIFTS].unbind(1)
            level = [axis for axis in range(3) if axis != self.body.up][: 1 if self.body.flat else 2]
            offset = torch.zeros_like(angles)
            for number, along in zip(level, place, strict=False):
                offset[:, number] = (along * 2 - 1) * (config.shift / self.body.metres)
            offset = offset * (whether < CHANGED)[:, None] * kept
            joints = joints + offset[:, None, None] * there
        errors = []
        if config.noise:
            errors.append((self._drifting(batch, seed), config.noise, noise))
        if config.bias:
            errors.append((self._normal(batch, 1, seed ^ BIASED), config.bias, drawn[:, -1]))
        for error, deviation, whether in errors:
            error = (self._bones(error) if self.body.bones else error) * (deviation / self.body.metres)
            chosen = (whether < CHANGED)[:, None] * kept * self._tables["axes"]
            joints = joints + error * chosen[:, None, None] * there
        return replace(batch, joints=joints, energy=energy)

    def _stretched(self, joints: Tensor, stretch: Tensor) -> Tensor:
        """Bones longer by a share, stretch (S, L) of each limb; the root stays where it is, and so does a
        path."""
        table = self._tables
        each = (stretch[:, table["limb"]] * table["stretched"])[:, None, :, None]  # (S, 1, V, 1)
        if self.body.bones:
            return joints + joints * each
        bones = (joints - joints[:, :, table["limb_of"]]) * each
        return joints + torch.einsum("uv,stvc->stuc", table["limb_path"], bones)

    def _mirrored(self, joints: Tensor, mirrored: Tensor) -> Tensor:
        """Left and right exchanged where a sequence is mirrored, (S,) bool."""
        if self._alike or not self.body.bones:
            return self._exchanged(joints, mirrored)
        return self._bones(self._exchanged(self._placed(joints), mirrored))

    def _exchanged(self, values: Tensor, mirrored: Tensor) -> Tensor:
        return torch.where(mirrored[:, None, None, None], values[:, :, self._tables["mirror"]], values)

    def _drifting(self, batch: Batch, seed: int) -> Tensor:
        """(S, T, V, 3) of deviation 1 in every frame, of these sequences of the whole batch."""
        frames, device = batch.joints.shape[1], batch.joints.device
        values = self._normal(batch, -(-frames // DRIFT) + 1, seed)
        place = torch.arange(frames, device=device) / DRIFT
        before = place.long()
        angle = ((place - before) * (pi / 2))[:, None, None]
        # squares of the two weights add up to 1
        return angle.cos() * values[:, before] + angle.sin() * values[:, before + 1]

    @staticmethod
    def _normal(batch: Batch, times: int, seed: int) -> Tensor:
        """(S, times, V, 3), normal, of these sequences of the whole batch."""
        sequences, _, joints, axes = batch.joints.shape
        device = batch.joints.device
        chance = chance_on(device, seed)
        values = torch.randn(batch.total, times, joints, axes, generator=chance, device=device)
        return values[batch.first : batch.first + sequences]

    def _bones(self, joints: Tensor) -> Tensor:
        """Each joint as seen from its parent, the root as it is."""
        return joints - joints[:, :, self._tables["parent"]] * self._tables["hangs"][:, None]

    def _placed(self, bones: Tensor) -> Tensor:
        """The joints that `_bones` makes these of."""
        return torch.einsum("uv,stvc->stuc", self._tables["path"], bones)


def chance_on(device: torch.device, seed: int) -> torch.Generator:
    """All chance of a step, or of a batch's noise, where it is used."""
    return torch.Generator(device).manual_seed(seed)
