"""Evaluation protocols, each usable alone: how good an encoder is, frozen or trained further.

`transfer` is no protocol of its own: it is `finetune` (or any other) on another dataset than the encoder was
trained on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch

from amr_data import UsageError
from amr_data.files import write_json
from amr_train.config import PROTOCOLS
from amr_train.data.feed import Feed
from amr_train.evaluation.features import Features, features_of
from amr_train.evaluation.finetuning import Classifier, Setting, finetune
from amr_train.evaluation.frozen import knn, linear_probe, probe_name, retrieval
from amr_train.evaluation.labels import draw_labelled
from amr_train.models.encoder import SkeletonEncoder

Found = dict[str, Any]
FROZEN = ("linear", "knn", "retrieval")


class Evaluation:
    """One encoder on one protocol of a dataset. Features are computed once, when the first frozen protocol
    asks for them.

    `stage` is told what begins; `folder` keeps the drawn label lists and the checkpoints of what takes long;
    `keep` is given every classifier that was fine-tuned on all labels, and a folder for it.
    """

    def __init__(
        self,
        encoder: SkeletonEncoder,
        train: Feed,
        test: Feed,
        classes: int,
        setting: Setting,
        folder: Path | None = None,
        stage: Callable[[str], None] = lambda title: None,
        keep: Callable[[Classifier, Path], None] | None = None,
    ) -> None:
        self.encoder, self.train, self.test, self.classes = encoder, train, test, classes
        self.setting, self.folder, self.stage, self.keep = setting, folder, stage, keep
        self._features: Features | None = None

    def run(self, names: Sequence[str]) -> dict[str, Found]:
        """Results by protocol. Raises: UsageError for a protocol that does not exist."""
        unknown = [name for name in names if name not in PROTOCOLS]
        if unknown:
            raise UsageError(f"there is no protocol '{unknown[0]}'; known: {', '.join(PROTOCOLS)}")
        found = {}
        for name in names:
            if name not in FROZEN or self._features is None:
                self.stage("features" if name in FROZEN else name)
            found[name] = getattr(self, name)()
        return found

    def linear(self) -> Found:
        config = self.setting.config.linear
        probe = linear_probe(self.features(), config, self.setting.seed)
        return {**probe.scores.as_dict(), "best_epoch": probe.best_epoch, "probe": probe_name(config)}

    def knn(self) -> Found:
        neighbours = self.setting.config.knn_neighbours
        return {**knn(self.features(), neighbours).as_dict(), "neighbours": neighbours}

    def retrieval(self) -> Found:
        return dict(retrieval(self.features()))

    def finetune(self) -> Found:
        return self._finetuned(self.encoder, "finetune")

    def supervised(self) -> Found:
        """The same training from an encoder of chance."""
        torch.manual_seed(self.setting.seed)
        fresh = SkeletonEncoder(self.encoder.config, self.encoder.joints).to(self.train.device)
        return self._finetuned(fresh, "supervised")

    def semi(self) -> Found:
        """Fine-tuning with few labels, for every share and seed. Returns, for each share in percent, top-1 by
        seed, mean and spread."""
        config = self.setting.config.semi
        found: Found = {}
        for percent in config.percent:
            values, counts = [], []
            for seed in config.seeds:
                chosen = draw_labelled(self.train.labels, percent, seed)
                part = self.train.subset(chosen)
                name = f"semi-{percent:g}-{seed}"
                if self.folder and self.setting.processes.main:
                    self.folder.mkdir(parents=True, exist_ok=True)
                    write_json(
                        self.folder / f"{name}.json", {"percent": percent, "seed": seed, "clips": part.names}
                    )
                setting = replace(self._setting(name), seed=seed)
                values.append(finetune(self.encoder, part, self.test, self.classes, setting)[0].top1)
                counts.append(len(part))
            found[f"{percent:g}"] = {
                "top1": values,
                "clips": counts[0],
                **spread(values),
                "seeds": config.seeds,
            }
        return found

    def features(self) -> Features:
        """Those of the frozen encoder, computed once."""
        if self._features is None:
            report = partial(_silent, self.setting.report)
            parts = (self.encoder, self.train, self.test, self.classes, self.setting.config)
            self._features = features_of(*parts, report, self.setting.processes)
        return self._features

    def _finetuned(self, encoder: SkeletonEncoder, name: str) -> Found:
        scores, model = finetune(encoder, self.train, self.test, self.classes, self._setting(name))
        if self.folder and self.keep and self.setting.processes.main:
            self.keep(model, self.folder / name)
        return scores.as_dict()

    def _setting(self, name: str) -> Setting:
        return replace(self.setting, checkpoints=self.folder / name if self.folder else None)


def spread(values: Sequence[float]) -> dict[str, float]:
    """Mean, and the sample's standard deviation (0 for a single value)."""
    return {"mean": mean(values), "std": stdev(values) if len(values) > 1 else 0.0}


def _silent(report: Callable[[int, int, dict[str, float]], None], done: int, total: int) -> None:
    report(done, total, {})
