"""What a run's encoder takes for what: confusion, the clips behind it, and its features in the plane."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from amr_data import AmrError, ShardDataset, load_spec, open_dataset
from amr_train.deploy.predicting import embed
from amr_train.evaluation.features import MEAN, kept_features
from amr_train.evaluation.kept import kept_scores, scores_file
from amr_train.evaluation.parts import parts_of
from amr_train.evaluation.records import Record, part_of
from amr_train.report.charts import ACCURACY
from amr_train.report.collect import Run
from amr_train.report.pivot import SMALL

Note = Callable[[str], None]
Values = dict[str, Any]
Clips = npt.NDArray[np.int64]
SHOWN = ("linear mean", "logistic mean", "kNN mean", "finetune", "supervised")
"""Figures whose confusion is drawn: the first of these that a run has; of a small set the converged
probe's."""
CLIPS_SHOWN = 600
"""In the plane."""
CLIPS_OF_A_CELL = 40
"""Named of each cell of the confusion."""


@dataclass(frozen=True)
class Judged:
    """A figure of a run whose classes are shown, the record that it is of, and what this keeps of it."""

    figure: str
    record: Record
    scores: Mapping[str, Any]

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """(C, C), clips of a class by the class that they were taken for."""
        return np.array(self.scores["confusion"], dtype=np.int64)


def judged_classes(run: Run) -> Judged | None:
    """The figure whose confusion is shown of a run: of the encoder as it was trained to the end, on the data
    and the split that it was trained on, and on the part that its settings name."""
    weights = own_weights(run)
    found: dict[str, Judged] = {}
    order = list(SHOWN)
    for record in run.records:
        here = record["data"]["fingerprint"] == run.record["data"]["fingerprint"]
        split = run.experiment is not None and record["split"] == run.experiment.data.split
        asked = run.experiment is not None and part_of(record) == run.experiment.evaluation.part
        if not (here and split and asked and record["subject"]["digest"] in weights):
            continue
        if record["clips"]["train"] < SMALL:
            order.sort(key=lambda figure: figure != ACCURACY[True])
        for figure in record["figures"]:
            details = record.get("details") or {}
            scores = details.get(figure.rpartition(" ")[2], details)
            if isinstance(scores, Mapping) and _is_confusion(scores.get("confusion")):
                found.setdefault(figure, Judged(figure, record, scores))
    return next((found[figure] for figure in order if figure in found), None)


def own_weights(run: Run) -> set[str]:
    """Digests of the run's encoder, trained to the end."""
    subjects = [record["subject"] for record in run.records]
    return {
        subject["digest"]
        for subject in subjects
        if subject["kind"] == "encoder"
        and subject["training"] == run.record.get("digest")
        and subject["epoch"] >= subject["epochs"]
    }


def _is_confusion(counts: object) -> bool:
    rows = counts if isinstance(counts, list) else []
    return bool(rows) and all(
        isinstance(row, list)
        and len(row) == len(rows)
        and all(isinstance(n, int) and 0 <= n < 2**53 for n in row)
        for row in rows
    )


class Classes:
    """What is shown of one run's classes. `note` : is told what cannot be."""

    def __init__(self, run: Run, judged: Judged, note: Note) -> None:
        self.run, self.judged, self.note = run, judged, note

    @cached_property
    def dataset(self) -> ShardDataset | None:
        """What it was judged on; None where that has gone or is another now."""
        try:
            dataset = open_dataset(Path(str(self.run.record["data"]["path"])))
            if dataset.fingerprint != self.run.record["data"]["fingerprint"]:
                raise AmrError(f"{dataset.path} holds other clips than it was trained on")
        except (AmrError, KeyError) as error:
            self.note(f"features and clips of {self.run.path} are left out: {error}")
            return None
        return dataset

    @cached_property
    def clips(self) -> Clips:
        """Indices of those that judged it."""
        assert self.dataset is not None
        record = self.judged.record
        return parts_of(self.dataset, record["split"], part_of(record))[1]

    @cached_property
    def names(self) -> list[str]:
        """Of the classes; of a dataset of somebody's own whose folder has gone, numbers."""
        count = len(self.judged.counts)
        try:
            spec = self.dataset.spec if self.dataset else load_spec(self.run.record["data"]["name"])
            names = list(spec.class_names)
        except (AmrError, KeyError):
            names = []
        return names if len(names) == count else [str(number) for number in range(count)]

    @property
    def right(self) -> dict[str, float]:
        """Percent of each class that has clips."""
        counts = self.judged.counts
        total = counts.sum(axis=1)
        return {
            name: 100 * float(n / of)
            for name, n, of in zip(self.names, counts.diagonal(), total, strict=True)
            if of > 0
        }

    def confusion(self) -> Values:
        """Cells that are not empty, as (class, taken for, clips), over the classes that occur, and for each
        cell some of its clips."""
        counts = self.judged.counts
        present = np.flatnonzero((counts.sum(axis=1) > 0) | (counts.sum(axis=0) > 0))
        shown = counts[np.ix_(present, present)]
        named = self._clips_by_cell(present)
        cells = [[int(i), int(j), int(shown[i, j])] for i, j in np.argwhere(shown > 0)]
        return {
            "classes": [self.names[i] for i in present],
            "cells": [[*cell, named.get((cell[0], cell[1]), [])] for cell in cells],
        }

    def _clips_by_cell(self, present: Sequence[int] | Clips) -> dict[tuple[int, int], list[str]]:
        """Names of clips by where their class and the one that they were taken for stand; none where the
        dataset or the scores are not at hand."""
        dataset, record = self.dataset, self.judged.record
        if dataset is None:
            return {}
        names = [dataset.names[i] for i in self.clips]
        kept = kept_scores(scores_file(self.run.path, record), names, len(self.judged.counts))
        scores = (kept or {}).get(self.judged.figure.rpartition(" ")[2])
        if scores is None:
            self.note(f"clips behind the confusion of {self.run.path} are left out: its scores are not kept")
            return {}
        labels = dataset.clips["label"][self.clips].astype(np.int64)
        taken = scores.topk(1, dim=1).indices[:, 0].numpy()  # as it was counted, also where scores are equal
        counted = np.zeros_like(self.judged.counts)
        np.add.at(counted, (labels, taken), 1)
        if not np.array_equal(counted, self.judged.counts):
            self.note(f"clips behind the confusion of {self.run.path} are left out: its scores are others")
            return {}
        place = {int(label): number for number, label in enumerate(present)}
        found: dict[tuple[int, int], list[str]] = {}
        for name, label, guess in zip(names, labels.tolist(), taken.tolist(), strict=True):
            of_cell = found.setdefault((place[label], place[guess]), [])
            if len(of_cell) < CLIPS_OF_A_CELL:
                of_cell.append(name)
        return found

    def plane(self) -> Values | None:
        """t-SNE of the mean features of clips that judge, evenly drawn, with their classes and names; None
        where the dataset is not at hand or scikit-learn is not installed."""
        try:
            from sklearn.manifold import TSNE
        except ImportError:
            self.note("t-SNE is left out: pip install 'amr-skeleton[report]'")
            return None
        dataset = self.dataset
        if dataset is None or len(self.clips) < 5:
            return None
        some = np.linspace(0, len(self.clips) - 1, min(CLIPS_SHOWN, len(self.clips))).round().astype(int)
        clips = self.clips[some]
        try:
            features = self._features(dataset, clips)
        except AmrError as error:
            self.note(f"features of {self.run.path} are left out: {error}")
            return None
        points = TSNE(2, perplexity=min(30, len(clips) / 4), init="pca", random_state=0).fit_transform(
            features
        )
        labels = dataset.clips["label"][clips].astype(int).tolist()
        order = sorted(set(labels))
        return {
            "classes": [self.names[label] for label in order],
            "points": [
                [round(float(x), 2), round(float(y), 2), order.index(label), dataset.names[clip]]
                for (x, y), label, clip in zip(points, labels, clips.tolist(), strict=True)
            ],
        }

    def _features(self, dataset: ShardDataset, clips: Clips) -> npt.NDArray[np.float32]:
        """Mean features of some clips: those that an evaluation kept, made anew where there are none."""
        joints = len(dataset.spec.skeleton.joints)
        for file in sorted((self.run.path / "features").glob(f"*-{dataset.fingerprint[:12]}-*.safetensors")):
            if file.name.split("-")[0] in own_weights(self.run):
                found = kept_features(file, len(dataset), joints, torch.device("cpu"))
                if found is not None:
                    kept: npt.NDArray[np.float32] = found[MEAN].numpy()[clips]
                    return kept
        return embed(self.run.path, dataset.path, device="cpu", clips=clips)[0]
