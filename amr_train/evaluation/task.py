"""One subject on one split of a dataset: everything that a protocol may ask for, made when it is asked
for."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from amr_data import ALL, ShardDataset, UsageError
from amr_train.config import AugmentConfig, EvaluationConfig
from amr_train.data.feed import Feed
from amr_train.data.input import check_input, count_bridged
from amr_train.data.reading import read_split
from amr_train.evaluation.features import (
    BODIES,
    Features,
    coordinate_features,
    encode,
    keep_features,
    kept_features,
    standardised,
)
from amr_train.evaluation.fitting import MOST, largest_batch
from amr_train.evaluation.joints import encoder_for, joints_of, shared_joints
from amr_train.evaluation.parts import TEST, VALIDATION, parts_of, training_clips
from amr_train.evaluation.subjects import Subject
from amr_train.listening import Listener
from amr_train.models.encoder import SkeletonEncoder
from amr_train.models.flops import encoder_flops
from amr_train.models.pooling import clip_features
from amr_train.parallel.precision import arithmetic
from amr_train.parallel.processes import Processes

PARTS = ("train", "test")
"""What trains, and what is judged: the split's test part, its validation part, or training subjects."""


@dataclass
class Task:
    """`settings`: of the evaluation.  `seed`: of heads, views and probes.  `precision`: of what is trained;
    this and `settings.feature_precision` are some that the device has.  `compile`: of training steps.
    `folder`: where features are kept, None for nowhere.
    `part`: which part is judged, `test`, `validation` or `subjects`; whichever it is, `indices`, `feed` and
    `labels` have it as `test`, and but for `test` the split's test clips are not even read. Of `subjects`
    both are all clips, and `by_subject` takes them apart.
    `excluded`: names of clips that train nothing here either; None for those that were left out of the
    encoder's training.
    `work`: of the protocol at hand, for checkpoints, drawn labels and classifiers; None for nowhere.

    Raises: UsageError where a part of the split has no clip, the dataset no such form as is shown, or the
        encoder and the dataset share too few joints.
    """

    subject: Subject
    dataset: ShardDataset
    split: str
    settings: EvaluationConfig
    device: torch.device
    seed: int = 0
    precision: str = "float32"
    processes: Processes = Processes()  # noqa: RUF009
    listener: Listener = field(default_factory=Listener)
    folder: Path | None = None
    work: Path | None = None
    compile: str = "none"
    excluded: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if self.excluded is None:
            config = self.subject.encoder.config if self.subject.encoder else None
            self.excluded = config.excluded.get(self.dataset.spec.name, ()) if config else ()
        parts = parts_of(self.dataset, self.split, self.part, self.excluded)
        self.indices = dict(zip(PARTS, parts, strict=True))
        check_input(self.subject.input, self.dataset)
        encoder = self.subject.encoder
        if encoder is None:  # coordinates have no training views to be seen in
            linear = self.settings.linear.model_copy(update={"views": "centre"})
            self.settings = self.settings.model_copy(update={"linear": linear})
        self.shared = None if encoder is None else shared_joints(encoder, self.dataset)

    def on_its_own(self) -> Task:
        """The same, with what is made already, for work that one process does without the others."""
        single = copy.copy(self)
        single.processes = Processes(device=self.processes.device)
        single.__dict__["_feeds"] = dict(self._feeds)
        return single

    def by_subject(self) -> Iterator[tuple[int, Task]]:
        """Each subject whose clips are judged, with the task of judging them by the others' clips, of the
        same features."""
        _ = self.clip_features
        whose = {part: self.whose(part) for part in PARTS}
        for subject in np.unique(whose["test"]).tolist():
            one = copy.copy(self)
            one.listener, one.work = Listener(), None
            for made in ("features", "_feeds"):
                one.__dict__.pop(made, None)
            one.indices = {
                "train": self.indices["train"][whose["train"] != subject],
                "test": self.indices["test"][whose["test"] == subject],
            }
            yield subject, one

    def together(self, of_subjects: Mapping[int, Tensor]) -> Tensor:
        """What was made of each subject's clips that are judged (n, ...), in the order of all of them (N,
        ...)."""
        whose = self.whose("test")
        place = np.concatenate([np.flatnonzero(whose == subject) for subject in of_subjects])
        return torch.cat(list(of_subjects.values()))[torch.from_numpy(np.argsort(place))]

    @property
    def part(self) -> str:
        return self.settings.part

    @cached_property
    def left_out(self) -> dict[str, Any]:
        """What `excluded` takes from the clips that train here, as a setting: how many, and which; empty
        where it takes none."""
        if not self.excluded:
            return {}
        every, _ = parts_of(self.dataset, self.split, self.part)
        gone = [self.dataset.names[i] for i in np.setdiff1d(every, self.indices["train"])]
        which = hashlib.sha256("\n".join(gone).encode()).hexdigest()[:12]
        return {"excluded": {"clips": len(gone), "digest": which}} if gone else {}

    @property
    def seen(self) -> bool:
        """Whether clips that are judged but no test clips were among those that the encoder was pre-trained
        on."""
        encoder = self.subject.encoder
        if self.part == TEST or encoder is None or self.subject.kind != "encoder":
            return False
        split = encoder.config.split_of(self.dataset.spec.name)
        if split is None:
            return False
        if split not in (*self.dataset.spec.protocols, ALL):
            return True  # nobody can say
        part = VALIDATION if encoder.config.held_out else TEST
        return bool(np.isin(self.indices["test"], training_clips(self.dataset, split, part)).any())

    @cached_property
    def bridged(self) -> dict[str, int] | None:
        """What was replaced in the clips that train and judge, see `count_bridged`; None where jumps are
        kept."""
        if self.subject.input.jumps == "keep":
            return None
        clips = np.union1d(self.indices["train"], self.indices["test"])
        return self.processes.shared(lambda: count_bridged(self.dataset, clips))

    @cached_property
    def clips(self) -> npt.NDArray[np.int64]:
        """Indices of the clips whose features are made: all, so that every split of the dataset shares them;
        where the test part is not judged, those that train and judge."""
        if self.part == TEST:
            return np.arange(len(self.dataset))
        return np.union1d(self.indices["train"], self.indices["test"])

    @property
    def classes(self) -> int:
        return len(self.dataset.spec.classes)

    @property
    def joints(self) -> int:
        """Joints that are seen."""
        return len(self.dataset.spec.skeleton.joints) if self.shared is None else len(self.shared)

    @property
    def augment(self) -> AugmentConfig:
        """The subject's training views."""
        return AugmentConfig() if self.subject.encoder is None else self.subject.encoder.config.augment

    @cached_property
    def encoder(self) -> SkeletonEncoder:
        """The subject's encoder, restricted to the joints that the dataset shares with it. Raises: UsageError
        for the coordinates."""
        if self.subject.encoder is None:
            raise UsageError(
                "the coordinates have no encoder to be trained: judge them by linear, logistic or knn"
            )
        if self.shared is None:
            return self.subject.encoder.encoder
        return encoder_for(self.subject.encoder, self.dataset, self.shared).eval()

    @property
    def gflops(self) -> dict[str, float]:
        """What the features of one body cost, and those of a clip with all the dataset's bodies; nothing of
        the coordinates."""
        if self.subject.encoder is None:
            return {}
        body = encoder_flops(self.subject.encoder.config.model, self.joints) / 1e9
        return {"body_gflops": body, "clip_gflops": body * self.dataset.spec.max_bodies}

    @property
    def bodies(self) -> int:
        """Of a clip, whose features are kept apart too: as many as any of the dataset has; 1 where that is
        not asked for."""
        most = int(self.dataset.clips["bodies"].max(initial=1)) if self.settings.bodies == "apart" else 1
        return most if most == 1 else self.subject.bodies or most

    @property
    def apart(self) -> dict[str, Any]:
        """That bodies are kept apart, as a setting; empty where they are not."""
        return {"bodies": "apart"} if self.bodies > 1 and self.subject.encoder is not None else {}

    def whose(self, part: str) -> npt.NDArray[np.integer]:
        """(N,) the subject of each clip."""
        subjects: npt.NDArray[np.integer] = self.dataset.clips["subject"][self.indices[part]]
        return subjects

    def labels(self, part: str) -> Tensor:
        """(N,) int64 on the device."""
        labels = self.dataset.clips["label"][self.indices[part]].astype(np.int64)
        return torch.from_numpy(labels).to(self.device)

    def feed(self, part: str) -> Feed:
        """Clips of a part, as the subject sees them; made once."""
        if part not in self._feeds:
            self._feeds[part] = self._feed_of(self.indices[part], self.processes)
        return self._feeds[part]

    @cached_property
    def _feeds(self) -> dict[str, Feed]:
        return {}

    @cached_property
    def features(self) -> Features:
        """Of the frozen subject, both parts, in their centre crops."""
        both = self.clip_features
        parts = {part: {name: values[self._rows(part)] for name, values in both.items()} for part in PARTS}
        labels = (self.labels("train"), self.labels("test"))
        if self.subject.kind != "coordinates":
            return Features(parts["train"], labels[0], parts["test"], labels[1], self.classes)
        for name in both:
            pair = standardised(parts["train"][name], parts["test"][name])
            parts["train"][name], parts["test"][name] = pair
        return Features(parts["train"], labels[0], parts["test"], labels[1], self.classes, "euclidean")

    @cached_property
    def clip_features(self) -> dict[str, Tensor]:
        """Of the task's `clips`, in their order; from the folder where they were kept."""
        if self.subject.kind == "coordinates":
            return self._coordinates()
        path, clips = self.features_file, len(self.clips)
        known = self.processes.main and path is not None and path.is_file()
        if self.processes.any(known) and path is not None:
            found = kept_features(path, clips, self.joints, self.device, self.bodies)
            if not self.processes.any(found is None):
                assert found is not None
                return found
        feed = self._feed_of(self.clips, self.processes)
        self.listener.stage(f"features, {self.subject.kind}")
        settings = self.settings
        where = (self.processes.rank, self.processes.size, self.augment.rounding)
        views = feed.centre_views(self.batch_size, settings.crop, *where)
        told = (self.processes, self.listener, settings.feature_precision)
        features = encode(self.encoder, feed, views, *told, bodies=self.bodies)
        if path is not None and self.processes.main:
            keep_features(path, features)
        return features

    def _coordinates(self) -> dict[str, Tensor]:
        """They cost less than to be shared: whoever asks makes them alone."""
        feed = self._feed_of(self.clips, Processes())
        self.listener.stage(f"features, {self.subject.kind}")
        return coordinate_features(feed, self.settings.batch_size, self.settings.crop)

    @cached_property
    def batch_size(self) -> int:
        """Clips that one process puts through the encoder at once: the settings', on a CUDA GPU the most that
        fits, the same in all processes."""
        wanted = self.settings.batch_size
        if self.device.type != "cuda":
            return wanted
        found = largest_batch(self._seen, wanted, min(MOST, len(self.dataset)))
        return int(self.processes.least(torch.tensor(found, device=self.device)))

    @torch.no_grad()
    def _seen(self, clips: int) -> None:
        """The encoder's work on so many clips, all their bodies there."""
        bodies = self.dataset.spec.max_bodies
        joints = torch.zeros(clips * bodies, self.subject.frames, self.joints, 3, device=self.device)
        clip = torch.arange(clips, device=self.device).repeat_interleave(bodies)
        with arithmetic(self.settings.feature_precision, self.device):
            clip_features(self.encoder, joints, None, clip, clips)

    @property
    def features_file(self) -> Path | None:
        """Where the features of this subject, dataset, crop, precision and clips are kept."""
        if self.folder is None or self.subject.kind == "coordinates":
            return None
        precision = self.settings.feature_precision
        of = [self.subject.digest, self.dataset.fingerprint[:12], f"{self.settings.crop:g}"]
        if self.part != TEST:
            of.append(f"{self.part}-{hashlib.sha256(self.clips.tobytes()).hexdigest()[:8]}")
        if self.bodies > 1:
            of.append(BODIES)
        name = "-".join(of if precision == "float32" else [*of, precision])
        return self.folder / "features" / f"{name}.safetensors"

    def _rows(self, part: str) -> Tensor:
        return torch.from_numpy(np.searchsorted(self.clips, self.indices[part])).to(self.device)

    def _feed_of(self, clips: npt.NDArray[np.int64], processes: Processes) -> Feed:
        """Of some clips, as the subject sees them; all of the processes call it."""
        arrays = read_split(
            self.dataset,
            clips,
            processes,
            zero_frame=self.subject.bodies is not None,
            shown=self.subject.input,
            listener=self.listener,
        )
        seen = arrays if self.shared is None else joints_of(arrays, self.shared)
        return Feed(seen, self.device, self.subject.frames, bodies=self.subject.bodies)
