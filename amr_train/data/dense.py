"""`amr_train.data.input` for whole clips as tensors, in operations that can be exported: what encoders do
with clips that come from no dataset."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from amr_data import UsageError
from amr_data.recipes.normalize import MIN_SPINE
from amr_train.config import InputConfig
from amr_train.data.landmarks import Anatomy, landmarks_of

Actor = tuple[Tensor, Tensor]
"""A clip's main actor (B, T, V, 3), and where it is there (B, T)."""
Measures = tuple[Tensor | None, Tensor | None]
"""The unit and the turn that a main actor gives its clip."""


def dense_input(
    joints: Tensor, config: InputConfig, anatomy: Anatomy | None, names: Sequence[str], rate: float
) -> Tensor:
    """What `apply_input` makes of clips, but for jumps: joints (B, M, T, V, 3), likewise returned.

    The main actor is the first body that is there at all; frames of zeros hold no data, and stay zeros.
    `names` : of the joints. `rate` : frames a second. Raises: UsageError where a joint that is needed is not
    among them.
    """
    changes = {key: value for key, value in config.changes.items() if key != "jumps"}
    if not changes:
        return joints
    place: dict[str, list[int]] = {}
    if changes != {"stream": "motion"}:
        if anatomy is None:
            raise UsageError(
                "the encoder's file does not say which joints make a spine, so its input is unknown"
            )
        place = landmarks_of(config, anatomy, names)
    there = (joints.flatten(3) != 0).any(dim=3)  # (B, M, T)
    main = there.any(dim=2).to(torch.uint8).argmax(dim=1)  # (B,)
    actor = (_body(joints, main), _body(there, main))
    measures = _measures(actor[0], place, config)
    where = None
    if config.centre == "path":
        where = _where(joints, there, actor, place["centre"], measures)
        if config.bodies == "together":
            whose = torch.arange(joints.shape[1], device=joints.device) == main[:, None]  # (B, M)
            where = where * whose[..., None, None]
    if config.bodies == "each":
        every, present = joints.flatten(0, 1), there.flatten(0, 1)
        own = _measures(every, place, config)
        apart = _placed(every[:, None], present[:, None], (every, present), place, config, own)
        joints = apart.view_as(joints)
    else:
        joints = _placed(joints, there, actor, place, config, measures)
    if config.stream == "bone":
        rows = list(range(len(names)))
        has = torch.zeros(len(names), 1, device=joints.device, dtype=joints.dtype)
        for child, parent in zip(place["below"], place["above"], strict=True):
            rows[child], has[child] = parent, 1
        joints = joints - joints[:, :, :, rows] * has
    if where is not None:
        shown = torch.zeros(len(names), 1, device=joints.device, dtype=joints.dtype)
        shown[place["shown"]] = 1
        joints = joints + shown * where[:, :, :, None]
    if config.stream == "motion":
        joined = there[:, :, 1:] & there[:, :, :-1]  # (B, M, T - 1)
        before = torch.cat([torch.ones_like(there[:, :, :1]), joined], dim=2)[:, :, :-1]
        moves = (joined & before)[..., None, None]
        step = torch.where(moves, joints[:, :, 1:] - joints[:, :, :-1], 0) * rate
        joints = torch.cat([step, torch.zeros_like(joints[:, :, :1])], dim=2)
    return joints


def _body(values: Tensor, which: Tensor) -> Tensor:
    """One body of each clip, which (B,), of values (B, M, ...): (B, ...)."""
    index = which.view(-1, *(1,) * (values.ndim - 1)).expand(-1, 1, *values.shape[2:])
    return values.gather(1, index)[:, 0]


def _placed(
    joints: Tensor,
    there: Tensor,
    actor: Actor,
    place: dict[str, list[int]],
    config: InputConfig,
    measures: Measures,
) -> Tensor:
    """Bodies centred, in their unit and turned by the main actor. there : (B, M, T)."""
    unit, turn = measures
    if config.centre != "recorded":
        when = "first" if config.centre == "first" else "every"
        origin = _held(_middle(actor[0], place["centre"]), actor[1], when)
        joints = torch.where(there[..., None, None], joints - origin[:, None, :, None], 0)
    if unit is not None:
        joints = joints / unit[:, None, None, None, None]
    return joints if turn is None else torch.einsum("bmtvc,btdc->bmtvd", joints, turn)


def _where(joints: Tensor, there: Tensor, actor: Actor, centre: list[int], measures: Measures) -> Tensor:
    """Where bodies are, seen from where the main actor began, in its unit and its axes: (B, M, T, 3); zeros
    in frames without a body."""
    unit, turn = measures
    start = _held(_middle(actor[0], centre), actor[1], "first")
    centres = joints[..., centre, :].mean(dim=3)
    where = torch.where(there[..., None], centres - start[:, None], 0)
    if unit is not None:
        where = where / unit[:, None, None, None]
    return where if turn is None else torch.einsum("bmtc,btdc->bmtd", where, turn)


def _measures(main: Tensor, place: dict[str, list[int]], config: InputConfig) -> Measures:
    """The unit (B,) and the turn (B, T, 3, 3) that a main actor (B, T, V, 3) gives its clip; None where there
    is to be none."""
    unit, turn = None, None
    if config.lengths == "spine" or config.frame != "recorded":
        spine = _middle(main, place["high"]) - _middle(main, place["low"])  # (B, T, 3)
    if config.lengths == "spine":
        length = spine.norm(dim=2)
        counted = length > MIN_SPINE
        number = counted.sum(dim=1)
        mean = (length * counted).sum(dim=1) / number.clamp(min=1)
        unit = torch.where(number > 0, mean, 1)
    if config.frame != "recorded":
        turns, found = _body_frames(spine, _middle(main, place["left"]) - _middle(main, place["right"]))
        eye = torch.eye(3, device=main.device, dtype=main.dtype).expand(turns.shape)
        turn = torch.where(found.any(dim=1)[:, None, None, None], _held(turns, found, config.frame), eye)
    return unit, turn


def _middle(joints: Tensor, rows: list[int]) -> Tensor:
    """(B, T, V, 3) to the mean (B, T, 3) of some joints."""
    return joints[:, :, rows].mean(dim=2)


def _held(values: Tensor, found: Tensor, when: str) -> Tensor:
    """values (B, T, ...) where they were found (B, T) last, before that the first found; with `first` that
    one throughout. Zeros where none is found."""
    frames = values.shape[1]
    time = torch.arange(frames, device=values.device)
    first = torch.where(found, time, frames).amin(dim=1, keepdim=True).expand(found.shape)  # (B, T)
    chosen = first
    if when == "every":
        up_to = found[:, None, :] & (time[None, :] <= time[:, None])  # (B, T, T)
        last = torch.where(up_to, time, -1).amax(dim=2)
        chosen = torch.where(last < 0, first, last)
    index = chosen.clamp(max=frames - 1)
    shape = (*index.shape, *(1,) * (values.ndim - 2))
    held = values.gather(1, index.view(shape).expand(values.shape))
    return torch.where(found.any(dim=1).view(-1, *(1,) * (values.ndim - 1)), held, 0)


def _body_frames(spine: Tensor, across: Tensor) -> tuple[Tensor, Tensor]:
    """As `amr_train.data.input.body_frames`: (B, T, 3, 3) and (B, T)."""
    length = spine.norm(dim=2, keepdim=True)
    z = spine / length.clamp(min=MIN_SPINE)
    x = across - (across * z).sum(dim=2, keepdim=True) * z
    width = x.norm(dim=2, keepdim=True)
    x = x / width.clamp(min=MIN_SPINE)
    turn = torch.stack([x, torch.linalg.cross(z, x), z], dim=2)
    return turn, ((length > MIN_SPINE) & (width > MIN_SPINE))[..., 0]
