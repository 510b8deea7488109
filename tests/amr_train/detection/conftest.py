"""A small untrimmed dataset of three unmistakable actions, an encoder of chance, and what the protocol makes
of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from amr_data import convert, load_spec, open_dataset
from amr_data.specs import load_skeleton
from amr_train.config import DetectConfig, EvaluationConfig, ModelConfig
from amr_train.evaluation.evaluating import evaluate_encoder
from amr_train.models.encoder import SkeletonEncoder
from amr_train.models.files import EncoderConfig, save_encoder
from tests.untrimmed import string, write

QUICK = EvaluationConfig(
    protocols=["detect"],
    baselines=["coordinates"],
    coordinate_frames=24,
    detect=DetectConfig(updates=60, lr=0.01, dropout=0.1, layers=3, width=16, ahead_s=0.5),
)


def person(seed: int) -> np.ndarray:
    """(20, 3) metres, standing."""
    skeleton, generator = load_skeleton("kinect_v1"), np.random.default_rng(seed)
    joints = np.zeros((20, 3))
    for place, (child, parent) in enumerate(skeleton.bone_indices.tolist()):
        joints[child] = joints[parent] + generator.normal(0, 0.02, 3)
        joints[child, 1] += 0.15 if place < 4 else 0.0
    return joints + np.array([0, 0.9, 3])


def action(number: int, pose: np.ndarray, frames: int) -> np.ndarray:
    """1 waves both arms, 2 bends, 3 walks."""
    made = np.repeat(pose[None], frames, axis=0)
    phase = np.sin(np.linspace(0, 4 * np.pi, frames))[:, None]
    if number == 1:
        made[:, 4:12, 1] += 0.6 + 0.3 * phase
    elif number == 2:
        made[:, 1:12, 1] -= 0.5 * np.sin(np.linspace(0, np.pi, frames))[:, None]
    else:
        made[:, 12:, 2] += 0.3 * phase
        made[:, :, 0] += np.linspace(0, 1, frames)[:, None]
    return made


def recordings() -> dict[str, tuple[np.ndarray, list]]:
    """Four subjects, two recordings each; the last one tests."""
    found = {}
    for subject in (1, 2, 3, 8):
        for number in range(2):
            generator = np.random.default_rng([subject, number])
            pose = person(subject)
            order = generator.permutation([1, 2, 3, 1, 2, 3]).tolist()
            clips = [(n, action(n, pose, int(generator.integers(40, 70)))) for n in order]
            found[f"S{subject:02}V1R{number:02}"] = string(clips, pose - pose[0], generator)
    return found


@pytest.fixture(scope="session")
def strung(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `raw/`, `raw/untrimmed.yaml`, and `data/` with recordings and `clips/` without."""
    out = tmp_path_factory.mktemp("strung")
    path = write(recordings(), out / "raw")
    convert(out / "raw", out / "data", load_spec(path), keep="recordings", workers=1)
    convert(out / "raw", out / "clips", load_spec(path), workers=1)
    return out


@pytest.fixture(scope="session")
def chance(strung: Path) -> Path:
    """An encoder file with weights of chance."""
    torch.manual_seed(0)
    skeleton = load_skeleton("kinect_v1")
    model = ModelConfig(frames=24, segment=4, width=16, heads=2, encoder_layers=1)
    about = EncoderConfig(
        model=model, joints=20, skeleton="kinect_v1", joint_names=skeleton.common_names, epoch=1, epochs=1
    )
    save_encoder(SkeletonEncoder(model, 20), about, strung / "encoder.safetensors")
    return strung / "encoder.safetensors"


@pytest.fixture(scope="session")
def judged(strung: Path, chance: Path) -> tuple[list[dict], Path]:
    """The records of the protocol, and the folder that keeps them and the detectors."""
    data = open_dataset(strung / "data")
    records = evaluate_encoder(chance, data, "xsub", settings=QUICK, folder=strung / "run", device="cpu")
    return records, strung / "run"


@pytest.fixture(scope="session")
def detector_file(judged: tuple[list[dict], Path]) -> Path:
    """The detector that sees the coordinates."""
    from amr_train.detection.files import load_detector

    files = sorted((judged[1] / "evaluations").glob("detect-*/detector.safetensors"))
    return next(file for file in files if load_detector(file).about.encoder is None)
