"""Checkpoints: whole or absent, loaded without unpickling code, the last few kept."""

from __future__ import annotations

import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import torch

from amr_data.files import whole_file

_NAME = re.compile(r"epoch-(\d{6})\.pt")


def save_checkpoint(folder: Path, epoch: int, state: dict[str, Any], keep: int) -> Path:
    """Write `epoch-NNNNNN.pt` after `epoch` finished epochs, then remove all but the last `keep`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"epoch-{epoch:06d}.pt"
    with whole_file(path) as temporary:
        torch.save({"epoch": epoch, **state}, temporary)
    for old in list_checkpoints(folder)[:-keep]:
        old.unlink(missing_ok=True)
    return path


def list_checkpoints(folder: Path) -> list[Path]:
    """Checkpoints of a run, oldest first."""
    return sorted(p for p in folder.glob("epoch-*.pt") if _NAME.fullmatch(p.name)) if folder.is_dir() else []


def load_latest(folder: Path, device: torch.device) -> tuple[dict[str, Any] | None, list[str]]:
    """The newest checkpoint that can be read, or None, and a line about each that could not."""
    problems: list[str] = []
    for path in reversed(list_checkpoints(folder)):
        try:
            return load_state(path, device), problems
        except (
            OSError,
            RuntimeError,
            ValueError,
            KeyError,
            EOFError,
            pickle.UnpicklingError,
            zipfile.BadZipFile,
        ) as error:
            problems.append(f"{path} is damaged ({type(error).__name__}); going back to the one before")
    return None, problems


def load_state(path: Path, device: torch.device) -> dict[str, Any]:
    """Read tensors and plain values only; anything else in the file is refused by torch."""
    state = torch.load(path, map_location=device, weights_only=True)
    if not isinstance(state, dict) or "epoch" not in state:
        raise ValueError("not a checkpoint of this project")
    return state
