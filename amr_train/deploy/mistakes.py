"""What a run took the clips of a dataset for, from the scores that its evaluations keep: for `amr-data serve
--run`, which shows them beside the clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from amr_data import AmrError, ShardDataset, UsageError
from amr_data.looking.clip_table import Judged
from amr_train.evaluation.kept import kept_scores, scores_file
from amr_train.evaluation.parts import SUBJECTS, TEST, parts_of
from amr_train.evaluation.records import Record, part_of, records_in
from amr_train.training.folder import RUN


def kept_predictions(run: str | Path, dataset: ShardDataset) -> list[Judged]:
    """The class with the highest score for every clip that judged a run's encoder on this dataset, for each
    evaluation and pooling of which scores are kept (linear and logistic), in the order of their names.

    Raises: UsageError where the folder is no run's, or keeps no scores on this dataset's content.
    """
    folder = Path(run)
    if not (folder / RUN).is_file():
        raise UsageError(f"{folder} is no run's folder: there is no {RUN} in it")
    classes, found = len(dataset.spec.classes), []
    others = 0
    for record in records_in(folder):
        if record["subject"]["kind"] != "encoder":
            continue
        if record["data"]["fingerprint"] != dataset.fingerprint:
            others += 1
            continue
        try:
            clips = parts_of(dataset, record["split"], part_of(record))[1]
        except AmrError:  # a split that the dataset's spec does not have any more
            continue
        scores = kept_scores(scores_file(folder, record), [dataset.names[i] for i in clips], classes)
        for pooling, values in (scores or {}).items():
            predicted = np.full(len(dataset), -1, np.int64)
            predicted[clips] = values.argmax(dim=1).numpy()
            found.append(Judged(_title(record, pooling), predicted))
    if not found:
        other = f"; {others} of its results are of other data" if others else ""
        raise UsageError(
            f"{folder} keeps no scores of the clips of {dataset.path}{other}: "
            f"`amr-train eval {folder} --data {dataset.path} --protocol linear` makes some"
        )
    return _told_apart(found)


def _title(record: Record, pooling: str) -> str:
    part = part_of(record)
    of = {TEST: "", SUBJECTS: ", each subject by the others"}.get(part, f", {part} part")
    return f"{record['protocol']} {pooling}, {record['split']}{of}"


def _told_apart(found: list[Judged]) -> list[Judged]:
    """Those of one name, such as of two seeds, are numbered."""
    names = [one.name for one in found]
    return [
        one
        if names.count(one.name) == 1
        else Judged(f"{one.name} ({names[: i + 1].count(one.name)})", one.predicted)
        for i, one in enumerate(found)
    ]
