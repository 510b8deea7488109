"""The scores of a probe, kept beside its result so that they can be fused with those of others."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from amr_data.files import whole_file
from amr_train.evaluation.records import Record, record_file

CLIPS = "clips"


def scores_file(folder: Path, about: Record) -> Path:
    """Where the scores of a result lie in a run's folder."""
    return record_file(folder, about).with_suffix(".npz")


def clips_digest(names: Sequence[str]) -> str:
    """SHA-256 over the names of clips in their order."""
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


def keep_scores(path: Path, scores: Mapping[str, Tensor], names: Sequence[str]) -> None:
    """Write scores (N, C), by the name of their pooling, as float32, and which clips they are of."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {name: values.detach().cpu().float().numpy() for name, values in scores.items()}
    with whole_file(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **{CLIPS: np.array(clips_digest(names))}, **arrays)  # type: ignore[arg-type]


def kept_scores(path: Path, names: Sequence[str], classes: int) -> dict[str, Tensor] | None:
    """What `keep_scores` wrote of these clips; None where it is not there, or is not that."""
    try:
        with np.load(path, allow_pickle=False) as file:
            if str(file[CLIPS]) != clips_digest(names):
                return None
            arrays = {name: file[name] for name in file.files if name != CLIPS}
    except (OSError, ValueError, KeyError, EOFError, TypeError, RuntimeError, zipfile.BadZipFile, zlib.error):
        return None  # an array alone is no archive (TypeError), a member may be encrypted (RuntimeError)
    shape = (len(names), classes)
    if not arrays or any(a.shape != shape or a.dtype != np.float32 for a in arrays.values()):
        return None
    return {name: torch.from_numpy(values) for name, values in arrays.items()}
