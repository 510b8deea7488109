"""An encoder as a folder that can be uploaded to the Hugging Face hub as it is: weights as safetensors,
settings as JSON, and the model card. Nothing in it is pickled, and nothing names a place on this machine."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from amr_data import UsageError
from amr_data.files import write_json, write_text
from amr_train.experiments.card import LIBRARY, model_card
from amr_train.experiments.facts import Facts, facts_of
from amr_train.models.files import PUBLISHED, save_encoder
from amr_train.training.encoders import load_encoder

CARD, SETTINGS = "README.md", "config.json"
FILES = (CARD, SETTINGS, PUBLISHED)
UNKNOWN = "unknown"
_OF_A_CLONE = (".git", ".gitattributes", ".cache")
_UNFINISHED = re.compile(r"\.(README\.md|config\.json|model\.safetensors)\.[0-9]+\.tmp")
"""What an export that was killed leaves."""


def export_to_hub_folder(source: str | Path, out: str | Path, licence: str = UNKNOWN) -> dict[str, Any]:
    """Lay out README.md (the card), config.json and model.safetensors; `load_encoder` reads the folder.

    Args:
        source: a run's folder, one of its checkpoints or milestones, or an encoder file. Of a run, the seeds
            of the same settings that lie beside it stand in the card's table.
        out: the folder; a new one, an empty one, or one of an earlier export, whose three files are replaced.
        licence: of the weights, an identifier of the hub, such as apache-2.0.
    Returns: the folder, the bytes of each file, how many results the card has, and of which seeds.
    Raises: UsageError where there is no encoder, or the folder holds anything else; AmrError.
    """
    source, out = Path(source), Path(out)
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,60}", licence):
        raise UsageError(
            f"'{licence}' is no licence as the hub writes them, such as apache-2.0, cc-by-nc-4.0"
        )
    _check_place(source, out)
    encoder = load_encoder(source)
    config = encoder.config
    facts = facts_of(_run_of(source), siblings=True)
    if facts.run and (facts.run.get("digest"), _seed(facts.run)) != (config.training, config.seed):
        facts = Facts()  # of a run that the file merely lies in
    card = model_card(config, facts, licence)
    save_encoder(encoder.encoder, config, out / PUBLISHED)
    write_json(out / SETTINGS, {"library_name": LIBRARY, **config.model_dump(mode="json")})
    write_text(out / CARD, card)  # last: a folder with a card is whole
    for left in out.iterdir():
        if _UNFINISHED.fullmatch(left.name):
            left.unlink(missing_ok=True)
    sizes = {name: (out / name).stat().st_size for name in FILES}
    results = len(facts.own(config))
    return {"folder": str(out), "files": sizes, "results": results, "seeds": facts.seeds_of(config)}


def _check_place(source: Path, out: Path) -> None:
    """Raises UsageError where something would be overwritten that an export did not write."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; name a folder")
    if out.resolve() == source.resolve():
        raise UsageError(f"{out} is what is to be exported; name another folder")
    found = sorted(p.name for p in out.iterdir()) if out.is_dir() else []
    known = (*FILES, *_OF_A_CLONE)
    if other := [name for name in found if name not in known and not _UNFINISHED.fullmatch(name)]:
        raise UsageError(f"{out} holds {other[0]}, which is no part of a hub folder; name a new folder")


def _seed(run: Mapping[str, Any]) -> Any:
    experiment = run.get("experiment")
    return experiment.get("seed") if isinstance(experiment, Mapping) else None


def _run_of(source: Path) -> Path:
    """The run's folder that an encoder lies in: itself, or the one that has it, its checkpoint or
    milestone."""
    if source.is_dir():
        return source
    folder = source.resolve().parent
    return folder.parent if folder.name in ("checkpoints", "milestones") else folder
