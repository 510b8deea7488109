"""`amr_train.data.input` for whole clips as tensors, in operations that can be exported: what encoders do
with clips that come from no dataset."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from amr_data import UsageError
from amr_data.recipes.normalize import MIN_SPINE
from amr_data.specs import Skeleton
from amr_train.config import InputConfig


class Anatomy(BaseModel):
    """The joints that an input is made by, by the names that skeletons share; see `Skeleton`."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    centre: str
    spine: tuple[str, str]
    shoulders: tuple[str, str]
    bones: list[tuple[str, str]]


def anatomy_of(skeleton: Skeleton) -> Anatomy:
    """What a skeleton says of its joints."""
    called = dict(zip(skeleton.joints, skeleton.common_names, strict=True))
    spine, shoulders = ((called[a], called[b]) for a, b in (skeleton.spine, skeleton.shoulders))
    bones = [(called[a], called[b]) for a, b in skeleton.bones]
    return Anatomy(centre=called[skeleton.centre], spine=spine, shoulders=shoulders, bones=bones)


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
    place = {} if changes == {"stream": "motion"} else _places(config, anatomy, names)
    there = (joints.flatten(3) != 0).any(dim=3)  # (B, M, T)
    main, known = joints[:, 0], there[:, 0]
    walked = torch.zeros_like(main[:, :, 0])  # (B, T, 3), what the main actor's centre shows of its path
    if config.centre != "recorded":
        centres = main[:, :, place["centre"][0]]
        origin = _held(centres, known, "first" if config.centre == "first" else "every")
        if config.centre == "path":
            walked = torch.where(known[..., None], origin - _held(centres, known, "first"), 0)
        joints = torch.where(there[..., None, None], joints - origin[:, None, :, None], 0)
    if config.lengths == "spine" or config.frame != "recorded":
        low, high = place["spine"]
        spine = main[:, :, high] - main[:, :, low]  # (B, T, 3)
    if config.lengths == "spine":
        length = spine.norm(dim=2)
        counted = length > MIN_SPINE
        number = counted.sum(dim=1)
        mean = (length * counted).sum(dim=1) / number.clamp(min=1)
        unit = torch.where(number > 0, mean, 1)
        joints, walked = joints / unit[:, None, None, None, None], walked / unit[:, None, None]
    if config.frame != "recorded":
        right, left = place["shoulders"]
        turn, found = _body_frames(spine, main[:, :, left] - main[:, :, right])
        eye = torch.eye(3, device=joints.device, dtype=joints.dtype).expand(turn.shape)
        turn = torch.where(found.any(dim=1)[:, None, None, None], _held(turn, found, config.frame), eye)
        joints = torch.einsum("bmtvc,btdc->bmtvd", joints, turn)
        walked = torch.einsum("btc,btdc->btd", walked, turn)
    if config.stream == "bone":
        parents = place["parents"]
        has = torch.tensor([parent >= 0 for parent in parents], device=joints.device)
        joints = joints - joints[:, :, :, [max(parent, 0) for parent in parents]] * has[:, None]
    if config.centre == "path":
        shown = torch.zeros(joints.shape[1], len(names), 1, device=joints.device, dtype=joints.dtype)
        shown[0, place["centre"]] = 1
        joints = joints + shown[:, None] * walked[:, None, :, None]
    if config.stream == "motion":
        joined = there[:, :, 1:] & there[:, :, :-1]  # (B, M, T - 1)
        before = torch.cat([torch.ones_like(there[:, :, :1]), joined], dim=2)[:, :, :-1]
        moves = (joined & before)[..., None, None]
        step = torch.where(moves, joints[:, :, 1:] - joints[:, :, :-1], 0) * rate
        joints = torch.cat([step, torch.zeros_like(joints[:, :, :1])], dim=2)
    return joints


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


def _places(config: InputConfig, anatomy: Anatomy | None, names: Sequence[str]) -> dict[str, list[int]]:
    """Rows of the joints that are needed; of `parents` one a joint, -1 for the root."""
    if anatomy is None:
        raise UsageError("the encoder's file does not say which joints make a spine, so its input is unknown")
    needed: dict[str, list[str]] = {}
    if config.centre != "recorded":
        needed["centre"] = [anatomy.centre]
    if config.lengths == "spine" or config.frame != "recorded":
        needed["spine"] = list(anatomy.spine)
    if config.frame != "recorded":
        needed["shoulders"] = list(anatomy.shoulders)
    parent = dict(anatomy.bones)
    wanted = [name for group in needed.values() for name in group]
    if config.stream == "bone":
        wanted += [parent[name] for name in names if name in parent]
    for name in wanted:
        if name not in names:
            raise UsageError(
                f"the model is shown an input that is made by the joint '{name}', which is not among its own "
                f"{len(names)}; use a converted dataset with it"
            )
    found = {key: [list(names).index(name) for name in group] for key, group in needed.items()}
    if config.stream == "bone":
        found["parents"] = [list(names).index(parent[n]) if n in parent else -1 for n in names]
    return found
