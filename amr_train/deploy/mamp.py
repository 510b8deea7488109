"""Published MAMP checkpoints (arXiv 2308.07092): their encoder's weights under our names.

Theirs: `joints_embed.proj` is a convolution over l frames of one joint, `temp_embed` (1, T / l, 1, D) and
`pos_embed` (1, 1, V, D) are added to its output, then `blocks.i` and `norm`. Decoder weights and
classification heads stay behind.
"""

from __future__ import annotations

import argparse
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from amr_data import AmrError, UsageError
from amr_train.config import ModelConfig
from amr_train.models.encoder import SkeletonEncoder
from amr_train.models.files import ClipEncoder, EncoderConfig, save_encoder

SKELETONS = {25: "kinect_v2", 20: "kinect_v1"}
_WRAPPERS = ("module.", "backbone.", "encoder.")
_BEHIND = re.compile(r"(decoder|mask_token|head|fc\b|cls|pred)")


def import_mamp(checkpoint: str | Path, out: str | Path, heads: int = 8) -> ClipEncoder:
    """Write the encoder of a MAMP checkpoint as an encoder file of ours.

    Args:
        checkpoint: a .pth as MAMP's pre-training or fine-tuning saves it; read without running code from it.
        out: the .safetensors file to write.
        heads: attention heads, which the weights do not tell; published models have 8.
    Raises: UsageError where a file is not there, AmrError where it holds no MAMP encoder.
    """
    theirs = _weights(Path(checkpoint))
    model, joints = _shape(theirs, heads, Path(checkpoint))
    ours, used = _renamed(theirs, model.encoder_layers)
    strange = [name for name in theirs if name not in used and not _BEHIND.search(name)]
    if strange:
        raise AmrError(
            f"{checkpoint} holds {strange[0]}, which MAMP's encoder does not have; it is another model's"
        )
    encoder = SkeletonEncoder(model, joints)
    try:
        encoder.load_state_dict(ours)
    except RuntimeError as error:
        raise AmrError(
            f"{checkpoint} does not fit MAMP's encoder: {str(error).splitlines()[-1].strip()}"
        ) from None
    config = EncoderConfig(
        model=model, joints=joints, skeleton=SKELETONS.get(joints, ""), empty_bodies="keep", method="mamp"
    )
    save_encoder(encoder, config, Path(out))
    return ClipEncoder(encoder, config).eval()


def _weights(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise UsageError(f"no checkpoint at {path}")
    try:
        with torch.serialization.safe_globals(
            [argparse.Namespace]
        ):  # the training script's settings, which lie beside the weights
            content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (
        OSError,
        RuntimeError,
        ValueError,
        EOFError,
        KeyError,
        pickle.UnpicklingError,
        zipfile.BadZipFile,
    ) as error:
        raise AmrError(f"{path} cannot be read as weights: {str(error).splitlines()[0]}") from None
    for key in ("model", "state_dict"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise AmrError(f"{path} holds no weights")
    return {_unwrapped(str(name)): value.float() for name, value in content.items()}


def _unwrapped(name: str) -> str:
    for wrapper in _WRAPPERS:
        name = name.removeprefix(wrapper)
    return name


def _shape(theirs: dict[str, Tensor], heads: int, path: Path) -> tuple[ModelConfig, int]:
    """The model's sizes, read off its weights."""
    for name, axes in (
        ("joints_embed.proj.weight", 4),
        ("temp_embed", 4),
        ("pos_embed", 4),
        ("blocks.0.mlp.fc1.weight", 2),
    ):
        if name not in theirs or theirs[name].ndim != axes:
            raise AmrError(f"{path} has no {name} of {axes} axes: not a MAMP checkpoint")
    width, channels, segment, joints_wide = theirs["joints_embed.proj.weight"].shape
    if (channels, joints_wide) != (3, 1):
        raise AmrError(f"{path} embeds {channels} channels of {joints_wide} joints; ours are 3 of 1")
    layers = 1 + max(int(m[1]) for name in theirs if (m := re.match(r"blocks\.(\d+)\.", name)))
    steps, joints = theirs["temp_embed"].shape[1], theirs["pos_embed"].shape[2]
    ratio = theirs["blocks.0.mlp.fc1.weight"].shape[0] / width
    sizes = {"frames": steps * segment, "segment": segment, "width": width, "heads": heads}
    try:
        model = ModelConfig(**sizes, encoder_layers=layers, mlp_ratio=ratio, decoder="grid", target_ratio=1)
    except ValidationError as error:
        raise UsageError(
            f"{path}: {error.errors()[0]['msg'].removeprefix('Value error, ')}; see --heads"
        ) from None
    return model, joints


def _renamed(theirs: dict[str, Tensor], layers: int) -> tuple[dict[str, Tensor], set[str]]:
    names = {
        "joints_embed.proj.bias": "embed.bias",
        "norm.weight": "norm.weight",
        "norm.bias": "norm.bias",
    }
    parts = {
        "norm1": "norm1",
        "attn.qkv": "attn.qkv",
        "attn.proj": "attn.proj",
        "norm2": "norm2",
        "mlp.fc1": "mlp.0",
        "mlp.fc2": "mlp.2",
    }
    for i in range(layers):
        for there, here in parts.items():
            for kind in ("weight", "bias"):
                names[f"blocks.{i}.{there}.{kind}"] = f"blocks.{i}.{here}.{kind}"
    ours = {here: theirs[there] for there, here in names.items() if there in theirs}
    for i in range(layers):  # a checkpoint may have been trained without this bias
        qkv = ours.get(f"blocks.{i}.attn.qkv.weight")
        if qkv is not None:
            ours.setdefault(f"blocks.{i}.attn.qkv.bias", torch.zeros(len(qkv)))
    # (D, C, l, 1) to (D, l * C): our patches are frame by frame
    ours["embed.weight"] = theirs["joints_embed.proj.weight"][..., 0].transpose(1, 2).flatten(1)
    ours["position.time"], ours["position.joint"] = theirs["temp_embed"], theirs["pos_embed"]
    return ours, {*names, "joints_embed.proj.weight", "temp_embed", "pos_embed"}
