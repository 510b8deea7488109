"""A finished encoder on a converted data set: any protocols, without a run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from amr_data import UsageError, open_dataset
from amr_data.files import write_json
from amr_train.config import EvaluationConfig
from amr_train.data.feed import Feed
from amr_train.evaluation.classifier import keeper
from amr_train.evaluation.finetuning import Setting
from amr_train.evaluation.joints import encoder_for, joints_of, shared_joints
from amr_train.evaluation.protocols_old import Evaluation
from amr_train.experiments.running import Listener, parts_of
from amr_train.models.files import ClipEncoder, load_encoder
from amr_train.parallel.processes import choose_device
from amr_train.training.folder import RESULTS


def evaluate_encoder(
    encoder: str | Path,
    dataset: str | Path,
    split: str,
    protocols: Sequence[str] = ("linear", "knn"),
    settings: EvaluationConfig | None = None,
    seed: int = 0,
    device: str = "auto",
    precision: str = "float32",
    folder: str | Path | None = None,
    listener: Listener | None = None,
) -> dict[str, Any]:
    """Evaluate an encoder file on one split of a dataset, which need not be the one it was trained on:
    between skeletons, the joints that both have are used.

    Args:
        encoder: a run's folder, or the encoder.safetensors of a run or of `import_mamp`.
        dataset: a folder made by `amr-data convert`.
        split: the dataset's protocol, such as 'xsub'.
        protocols: 'linear', 'knn', 'retrieval', 'finetune', 'supervised', 'semi'.
        precision: of fine-tuning, 'float32' or 'bfloat16'.
        folder: keeps results.json, the checkpoints of fine-tuning, to be taken up, and the lists of drawn
            labels; a finished evaluation is not run again.
    Returns: `protocols` with the results of each, and what was evaluated.
    Raises: UsageError where encoder and dataset do not fit together.
    """
    settings = settings or EvaluationConfig()
    where = choose_device(device)
    loaded = load_encoder(encoder, where)
    data = open_dataset(dataset)
    if folder:
        _claim(
            Path(folder),
            {"precision": precision, **_identity(loaded, data.fingerprint, split, settings, seed)},
        )
        finished = _finished(Path(folder), protocols)
        if finished is not None:
            return finished
    parts, shared = parts_of(data, split), shared_joints(loaded, data)
    arrays = [data.arrays(clips) for clips in parts]
    module = loaded.encoder
    if shared is not None:
        module, arrays = encoder_for(loaded, data, shared), [joints_of(a, shared) for a in arrays]
    bodies = data.spec.max_bodies if loaded.config.empty_bodies == "keep" else None
    train, test = map(partial(Feed, device=where, frames=loaded.config.model.frames, bodies=bodies), arrays)
    setting = Setting(settings, loaded.config.augment, precision, seed)
    evaluation = Evaluation(
        module, train, test, len(data.spec.classes), setting, Path(folder) if folder else None
    )
    evaluation.keep = keeper(loaded.config, data)
    if listener:
        evaluation.setting, evaluation.stage = replace(setting, report=listener.advance), listener.stage
    recipes = loaded.config.recipe, data.manifest["recipe"]
    results = {
        "encoder": {"method": loaded.config.method, "dataset": loaded.config.dataset, "path": str(encoder)},
        "dataset": data.spec.name,
        "split": split,
        "clips": {"train": len(train), "test": len(test)},
        "joints": module.joints,
        "recipes_differ": bool(recipes[0]) and recipes[0] != recipes[1],
        "protocols": evaluation.run(protocols),
    }
    if folder:
        write_json(Path(folder) / RESULTS, results)
    return results


def _identity(
    encoder: ClipEncoder, fingerprint: str, split: str, settings: EvaluationConfig, seed: int
) -> dict[str, Any]:
    digest = hashlib.sha256()
    for name, value in sorted(encoder.encoder.state_dict().items()):
        digest.update(name.encode() + value.cpu().numpy().tobytes())
    evaluation = settings.model_dump(mode="json", exclude={"protocols"})
    return {
        "encoder": digest.hexdigest(),
        "data_fingerprint": fingerprint,
        "split": split,
        "seed": seed,
        "evaluation": evaluation,
    }


def _finished(folder: Path, protocols: Sequence[str]) -> dict[str, Any] | None:
    """The results of an earlier evaluation that had these protocols."""
    try:
        results = json.loads((folder / RESULTS).read_text(encoding="utf-8"))
        found = {name: results["protocols"][name] for name in protocols}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return {**results, "protocols": found}


def _claim(folder: Path, identity: dict[str, Any]) -> None:
    """Take a folder for one evaluation, so that none is taken up by another. Raises: UsageError."""
    record = folder / "evaluation.json"
    if record.is_file():
        try:
            same = json.loads(record.read_text(encoding="utf-8")) == identity
        except ValueError:
            same = False
        if not same:
            raise UsageError(
                f"{folder} holds an evaluation with other settings, encoder or data; choose another --out, "
                f"or remove it"
            )
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is not empty and holds no evaluation; choose another --out")
    else:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(record, identity)
