"""Encoders and classifiers without this package: ONNX and torch.export, each checked against the model it was
made from."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from amr_data import AmrError, UsageError
from amr_data.files import whole_file
from amr_data.specs import Skeleton
from amr_train.evaluation.classifier import load_classifier
from amr_train.models.files import ENCODER, EncoderConfig
from amr_train.training.encoders import load_encoder

TOLERANCE = 1e-4
BATCHES = (1, 3)
FORMS = (".onnx", ".pt2")


def export_model(
    source: str | Path, out: str | Path, bodies: int = 2, skeleton: str | Skeleton | None = None
) -> dict[str, Any]:
    """Write an encoder or a classifier as ONNX or torch.export, for any number of clips of `bodies` bodies
    and the model's own frames.

    Args:
        source: a run's folder, an encoder.safetensors or a classifier.safetensors.
        out: ends in .onnx or .pt2.
        skeleton: of an encoder, whose clips it shall take, see `load_encoder`.
    Returns: input and output shapes, the joints that it takes, in order, and the largest difference from the
        model itself over batches of one and three clips.
    Raises: UsageError; AmrError where the difference is above 1e-4, and nothing is written then.
    """
    out = Path(out)
    if out.suffix not in FORMS:
        raise UsageError(f"models are exported to {' or '.join(FORMS)}, not {out.suffix or out.name}")
    model, config = _load(Path(source), skeleton)
    frames, joints = config.model.frames, config.joints
    model = model.eval()
    sample = _clips(2, bodies, frames, joints)
    batch = torch.export.Dim("batch", min=1, max=65_536)
    out.parent.mkdir(parents=True, exist_ok=True)
    with torch.no_grad(), warnings.catch_warnings(), whole_file(out) as temporary:
        warnings.simplefilter("ignore")  # the exporter's own
        program = torch.export.export(model, (sample,), dynamic_shapes=({0: batch},))
        if out.suffix == ".onnx":
            _to_onnx(program, sample, temporary)
        else:
            with open(temporary, "wb") as file:
                torch.export.save(program, file)
        wanted = {count: model(_clips(count, bodies, frames, joints)) for count in BATCHES}
        run = _onnx if out.suffix == ".onnx" else _exported
        difference = max(
            float((run(temporary, _clips(count, bodies, frames, joints)) - value).abs().max())
            for count, value in wanted.items()
        )
        if not difference <= TOLERANCE:
            raise AmrError(
                f"the exported model differs from the original by {difference:.1e}, more than "
                f"{TOLERANCE:.0e}; nothing was written"
            )
    return {
        "input": ["batch", bodies, frames, joints, 3],
        "output": ["batch", wanted[1].shape[1]],
        "joints": config.joint_names,
        "difference": difference,
    }


def _load(source: Path, skeleton: str | Skeleton | None) -> tuple[nn.Module, EncoderConfig]:
    """The model, and what it says of its clips. Raises: UsageError."""
    if source.is_dir() or source.name == ENCODER:
        return _encoder(source, skeleton)
    try:
        classifier = load_classifier(source)
    except UsageError:
        return _encoder(source, skeleton)
    if skeleton is not None:
        raise UsageError(
            "--skeleton is of an encoder: a classifier takes the joints that it was trained with"
        )
    return classifier, classifier.config.encoder


def _encoder(source: Path, skeleton: str | Skeleton | None) -> tuple[nn.Module, EncoderConfig]:
    encoder = load_encoder(source, skeleton=skeleton)
    if skeleton is None and len({one.skeleton for one in encoder.config.datasets}) > 1:
        raise UsageError(
            f"{source} was trained on several skeletons: say whose clips it shall take, --skeleton"
        )
    return encoder, encoder.config


def _clips(count: int, bodies: int, frames: int, joints: int) -> Tensor:
    """Random clips, the last of which lacks its last body."""
    clips = torch.randn(count, bodies, frames, joints, 3, generator=torch.Generator().manual_seed(count))
    if bodies > 1:
        clips[-1, -1] = 0
    return clips


def _to_onnx(program: torch.export.ExportedProgram, sample: Tensor, path: Path) -> None:
    try:
        import onnxscript  # noqa: F401
    except ImportError:
        raise UsageError("ONNX export needs more packages: pip install 'amr-skeleton[export]'") from None
    converted = torch.onnx.export(
        program, (sample,), input_names=["joints"], output_names=["output"], dynamo=True, verbose=False
    )
    assert converted is not None
    converted.save(str(path), external_data=False)


def _onnx(path: Path, clips: Tensor) -> Tensor:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return torch.from_numpy(np.asarray(session.run(None, {session.get_inputs()[0].name: clips.numpy()})[0]))


def _exported(path: Path, clips: Tensor) -> Tensor:
    with open(path, "rb") as file:
        return torch.export.load(file).module()(clips)  # type: ignore[no-any-return]
