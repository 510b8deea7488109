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


def dense_input(
    joints: Tensor, config: InputConfig, anatomy: Anatomy | None, names: Sequence[str], rate: float
) -> Tensor:
    """What `apply_input` makes of clips, but for jumps: joints (B, M, T, V, 3), likewise returned.

    The main actor is the first body; frames of zeros hold no data, and stay zeros. `names` : of the joints.
    `rate` : frames a second. Raises: UsageError where a joint that is needed is not among them.
    """
    changes = {key: value for key, value in config.changes.items() if key != "jumps"}
    if not changes:
        return joints
    if config.bodies == "each":
        apart = joints.flatten(0, 1)[:, None]
        return dense_input(apart, together(config), anatomy, names, rate).view_as(joints)
    place: dict[str, list[int]] = {}
    if changes != {"stream": "motion"}:
        if anatomy is None:
            raise UsageError(
                "the encoder's file does not say which joints make a spine, so its input is unknown"
            )
        place = landmarks_of(config, anatomy, names)
    there = (joints.flatten(3) != 0).any(dim=3)  # (B, M, T)
    main, known = joints[:, 0], there[:, 0]
    walked = torch.zeros_like(main[:, :, 0])  # (B, T, 3), what the main actor shows of its path
    if config.centre != "recorded":
        centres = _middle(main, place["centre"])
        origin = _held(centres, known, "first" if config.centre == "first" else "every")
        if config.centre == "path":
            walked = torch.where(known[..., None], origin - _held(centres, known, "first"), 0)
        joints = torch.where(there[..., None, None], joints - origin[:, None, :, None], 0)
    if config.lengths == "spine" or config.frame != "recorded":
        spine = _middle(main, place["high"]) - _middle(main, place["low"])  # (B, T, 3)
    if config.lengths == "spine":
        length = spine.norm(dim=2)
        counted = length > MIN_SPINE
        number = counted.sum(dim=1)
        mean = (length * counted).sum(dim=1) / number.clamp(min=1)
        unit = torch.where(number > 0, mean, 1)
        joints, walked = joints / unit[:, None, None, None, None], walked / unit[:, None, None]
    if config.frame != "recorded":
        turn, found = _body_frames(spine, _middle(main, place["left"]) - _middle(main, place["right"]))
        eye = torch.eye(3, device=joints.device, dtype=joints.dtype).expand(turn.shape)
        turn = torch.where(found.any(dim=1)[:, None, None, None], _held(turn, found, config.frame), eye)
        joints = torch.einsum("bmtvc,btdc->bmtvd", joints, turn)
        walked = torch.einsum("btc,btdc->btd", walked, turn)
    if config.stream == "bone":
        rows = list(range(len(names)))
        has = torch.zeros(len(names), 1, device=joints.device, dtype=joints.dtype)
        for child, parent in zip(place["below"], place["above"], strict=True):
            rows[child], has[child] = parent, 1
        joints = joints - joints[:, :, :, rows] * has
    if config.centre == "path":
        shown = torch.zeros(joints.shape[1], len(names), 1, device=joints.device, dtype=joints.dtype)
        shown[0, place["shown"]] = 1
        joints = joints + shown[:, None] * walked[:, None, :, None]
    if config.stream == "motion":
        joined = there[:, :, 1:] & there[:, :, :-1]  # (B, M, T - 1)
        before = torch.cat([torch.ones_like(there[:, :, :1]), joined], dim=2)[:, :, :-1]
        moves = (joined & before)[..., None, None]
        step = torch.where(moves, joints[:, :, 1:] - joints[:, :, :-1], 0) * rate
        joints = torch.cat([step, torch.zeros_like(joints[:, :, :1])], dim=2)
    return joints


def together(config: InputConfig) -> InputConfig:
    """The same for one body at a time."""
    return config.model_copy(update={"bodies": "together"})


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
