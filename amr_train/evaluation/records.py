"""Results as files: one a protocol, subject and settings in the folder `evaluations`, never overwritten by
another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from amr_data.files import read_json, write_json
from amr_train.evaluation.whole import is_whole
from amr_train.identity import SCHEMA, digest_of

EVALUATIONS = "evaluations"
BASELINES = "baselines"
"""The folder beside a suite's runs that keeps what stands beside all of them."""
KINDS = ("coordinates", "untrained", "encoder", "fused")
"""What a record may judge, in the order of the tables."""
Record = dict[str, Any]


def record_digest(about: Record) -> str:
    """What tells results apart: everything that decides them. `about` : a record, or what will become one."""
    keys = ("protocol", "settings", "split", "seed", "precision")
    decides = {key: about[key] for key in keys}
    if part_of(about) != "test":  # results from before have no such key
        decides["part"] = part_of(about)
    data = about["data"]["fingerprint"]
    return digest_of(
        {**decides, "subject": about["subject"]["digest"], "data": data, "joints": about["joints"]}
    )


def part_of(record: Record) -> str:
    """Which part was judged: 'test', 'validation' or 'subjects'."""
    return str(record.get("part", "test"))


def record_file(folder: Path, about: Record) -> Path:
    """Where a result lies in a run's folder."""
    name = "".join(c if c.isalnum() or c in "-_." else "-" for c in about["protocol"])
    return folder / EVALUATIONS / f"{name}-{record_digest(about)}.json"


def models_of(folder: Path, record: Record) -> list[Path]:
    """The classifier or detector that a result left in a folder of its own, beside its file."""
    file = record_file(folder, record)
    return sorted((file.parent / file.stem).glob("*.safetensors"))


def write_record(folder: Path, record: Record) -> None:
    """Keep a result."""
    path = record_file(folder, record)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, record)


def read_record_of(folder: Path, about: Record) -> Record | None:
    """The result that is kept of what `about` describes, or None."""
    return _read(record_file(folder, about))


def records_in(folder: Path) -> Iterator[Record]:
    """Every result that a run's folder keeps, in the order of their files' names; damaged ones are passed
    over."""
    for path in sorted((folder / EVALUATIONS).glob("*.json")):
        record = _read(path)
        if record is not None:
            yield record


def brief(record: Record) -> Record:
    """A record without its details."""
    return {key: value for key, value in record.items() if key != "details"}


def _read(path: Path) -> Record | None:
    try:
        record = read_json(path)
        sound = record["schema"] == SCHEMA and is_whole(record)
        return record if sound and path.stem.endswith(record_digest(record)) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return None  # such as a whole number that no float holds
