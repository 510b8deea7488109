"""Checkpoints: whole or absent, checked by their SHA-256, loaded without unpickling code, the last few kept.

The checksum's first digits stand in the file's name, so that file and checksum come into being in one rename.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import torch

from amr_data.files import sha256_of, whole_file

DIGITS = 16
READ_ERRORS = (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile)
"""What reading a damaged checkpoint raises."""
_NAME = re.compile(rf"step-(\d{{9}})-([0-9a-f]{{{DIGITS}}})\.pt")


def save_checkpoint(folder: Path, step: int, state: dict[str, Any], keep: int) -> Path:
    """Write `step-NNNNNNNNN-CHECKSUM.pt` after `step` finished steps, then remove all but the last `keep`."""
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(".step-*.tmp"):  # of a killed run
        left.unlink(missing_ok=True)
    content = io.BytesIO()
    torch.save({"step": step, **state}, content)
    path = folder / f"step-{step:09d}-{hashlib.sha256(content.getbuffer()).hexdigest()[:DIGITS]}.pt"
    with whole_file(path) as temporary:
        temporary.write_bytes(content.getbuffer())
    for old in list_checkpoints(folder)[:-keep]:
        old.unlink(missing_ok=True)
    return path


def list_checkpoints(folder: Path) -> list[Path]:
    """Checkpoints of a run, oldest first."""
    return sorted(p for p in folder.glob("step-*.pt") if _NAME.fullmatch(p.name)) if folder.is_dir() else []


def load_latest(folder: Path, device: torch.device) -> tuple[dict[str, Any] | None, list[str]]:
    """The newest checkpoint that is whole, or None, and a line about each that is not."""
    problems: list[str] = []
    for path in reversed(list_checkpoints(folder)):
        try:
            return load_state(path, device), problems
        except READ_ERRORS as error:
            problems.append(
                f"{path} is damaged ({error}); going back to the one before".replace("\n", " ")[:400]
            )
    return None, problems


def load_state(path: Path, device: torch.device) -> dict[str, Any]:
    """Read tensors and plain values only; anything else in the file is refused by torch.

    Raises: ValueError where the checksum in the name does not fit or the content is no checkpoint; what
        torch.load raises.
    """
    named = _NAME.fullmatch(path.name)
    if named and sha256_of(path)[:DIGITS] != named[2]:
        raise ValueError("its checksum is not the one in its name")
    state = torch.load(path, map_location=device, weights_only=True)
    if not isinstance(state, dict) or "step" not in state:
        raise ValueError("not a checkpoint of this project")
    return state
