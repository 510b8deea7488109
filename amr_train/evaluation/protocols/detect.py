"""Detection: heads on an encoder's tokens find actions in whole recordings, judged as PKU-MMD's scorer
counts."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from amr_data import Recording, ShardDataset, UsageError
from amr_train.config import AugmentConfig, DetectConfig, EvaluationConfig, InputConfig
from amr_train.data.landmarks import anatomy_of
from amr_train.detection.choosing import chosen_decoding, held_out, judged_on, truth_of
from amr_train.detection.decoding import Decoding
from amr_train.detection.dense import DenseCoordinates, DenseEncoder, Placing
from amr_train.detection.detector import Windowing, dense_features
from amr_train.detection.files import DETECTOR, DetectorConfig, fresh_detector, save_detector
from amr_train.detection.heads import Head
from amr_train.detection.misses import worst_misses
from amr_train.detection.scoring import HEADLINE
from amr_train.detection.training import (
    Example,
    Span,
    head_config,
    middles,
    outside,
    targets_of,
    train_encoder,
    train_head,
)
from amr_train.detection.windows import Bodies, Grid
from amr_train.evaluation.parts import TEST, VALIDATION
from amr_train.evaluation.protocols.base import Protocol, Result
from amr_train.evaluation.task import Task
from amr_train.listening import Listener
from amr_train.models.skeletons import encoder_on

SEGMENT = 4
"""Frames of a step of the coordinates."""
SURE = 0.2
"""The score from which detections are told where nobody could be held out."""


class Detect(Protocol):
    """Every head that is asked for, trained on the training recordings. Its decoding, and which head is kept
    as a file, are chosen on some of them that it was not trained on."""

    name = "detect"
    of_clips = False

    def settings(self, config: EvaluationConfig, augment: AugmentConfig) -> dict[str, Any]:
        return {"detect": config.detect.model_dump(mode="json")}

    def check(self, dataset: ShardDataset) -> None:
        if not dataset.keeps_recordings:
            raise UsageError(
                f"{dataset.path} keeps no recordings, in which the protocol detect finds actions; convert it "
                f"again with --keep recordings, if its sources are untrimmed"
            )

    def spoken(self, settings: dict[str, Any]) -> str:
        how = settings["detect"]
        encoder = "" if how["encoder"] == "frozen" else "encoder fine-tuned, "
        lengths = ", ".join(f"{length:g}" for length in how["lengths"])
        return (
            f"overlap {HEADLINE}, {encoder}windows of length {lengths}, {how['updates']} updates, lr "
            f"{how['lr']:g}"
        )

    def run(self, task: Task) -> Result:
        how, dataset = task.settings.detect, task.dataset
        train, test = recording_parts(dataset, task.split, task.part)
        work = _Work(task, how)
        if how.encoder == "finetuned" and isinstance(work.dense, DenseEncoder):
            task.listener.stage(f"encoder on windows, {task.subject.kind}")
            both = [
                (work.bodies(one), one.intervals, work.excluded(number))
                for number, one in zip(train.tolist(), map(dataset.recordings.part, train), strict=True)
            ]
            given = (work.grid, task.classes, work.rate, how, task.seed, task.device, task.listener)
            train_encoder(work.dense, both, *given)
            del both
        task.listener.stage(f"features of recordings, {task.subject.kind}")
        total = len(train) + len(test)
        learnt = [work.example(i, (k, total)) for k, i in enumerate(train.tolist())]
        judged = [work.example(i, (k + len(train), total)) for k, i in enumerate(test.tolist())]
        held = held_out([recording for recording, _ in learnt])
        figures: dict[str, float] = {}
        details: dict[str, Any] = {}
        best = -1.0
        for kind in how.heads:
            made, decoding, validated, sure = work.head(kind, learnt, held)
            scores, right, found = work.judged(made, judged, decoding)
            figures[f"detect {kind} mAP_a"] = 100 * scores.map_action[HEADLINE]
            figures[f"detect {kind} mAP_v"] = 100 * scores.map_video[HEADLINE]
            figures[f"detect {kind} frames"] = right
            recordings = [recording for recording, _ in judged]
            details[kind] = {
                **scores.as_dict(),
                "frame_accuracy": right,
                "validated": validated,
                "sure": sure,
                "decoding": decoding.model_dump(mode="json"),
                "found": len(found),
                "misses": worst_misses(
                    found, truth_of(recordings), [one.name for one in recordings], dataset.spec.class_names
                ),
            }
            if (validated or 0.0) > best and task.work is not None:
                best = validated or 0.0
                work.keep(made, decoding, sure)
        counts = {"train": len(train), task.part: len(test), "held_out": int(held.sum())}
        return Result(figures, {**details, "recordings": counts})


def recording_parts(
    dataset: ShardDataset, split: str, part: str
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Numbers of the recordings that train and of those that judge, by the rules of
    `amr_train.evaluation.parts`. Raises: UsageError where either has none."""
    train, judging = dataset.recordings_of(split, "train"), dataset.recordings_of(split, TEST)
    if part == VALIDATION:
        judging = dataset.recordings_of(split, VALIDATION)
        if not len(judging) and len(train):
            held = held_out([dataset.recordings.part(i, 0, 0) for i in train.tolist()])
            train, judging = train[~held], train[held]
    for name, found in (("train", train), (part, judging)):
        if not len(found):
            raise UsageError(f"{dataset.path} has no {name} recording in the split {split}")
    return train, judging


Learnt = tuple[Recording, Example]


@dataclass
class _Work:
    """What the heads of a subject share."""

    task: Task
    how: DetectConfig

    def __post_init__(self) -> None:
        dataset, subject = self.task.dataset, self.task.subject
        self.rate = dataset.spec.frame_rate
        skeleton = dataset.spec.skeleton
        shared = None if self.task.shared is None else tuple(self.task.shared)
        place = Placing(
            placed_as(dataset.manifest["recipe"]), anatomy_of(skeleton), tuple(skeleton.common_names), shared
        )
        self.dense: DenseEncoder | DenseCoordinates
        if subject.encoder is None:
            segment = next(n for n in range(SEGMENT, 0, -1) if subject.frames % n == 0)
            shown = subject.input if subject.input.changes else InputConfig(centre="every")
            bodies = dataset.spec.max_bodies
            self.dense = DenseCoordinates(subject.frames, segment, bodies, place, shown)
        else:
            encoder = encoder_on(subject.encoder, skeleton, self.task.shared)
            if self.how.encoder == "finetuned":
                encoder = copy.deepcopy(encoder)
            segment = encoder.encoder.segment
            self.dense = DenseEncoder(encoder, place, self.how.pooling)
        self.segment = segment
        self.dense.to(self.task.device).eval()
        self.windowing = Windowing(tuple(self.how.lengths), self.how.cover, segment / self.rate)
        self.grid: Grid = self.windowing.grid(self.dense.tokens, self.rate)

    def bodies(self, recording: Recording) -> Bodies:
        spec = self.task.dataset.spec
        return Bodies(recording.frames, recording.tracks, spec.max_bodies, len(spec.skeleton.joints))

    def example(self, number: int, at: tuple[int, int]) -> Learnt:
        """A recording without its frames, and what is learnt from it. `at` : how far the work is."""
        recording = self.task.dataset.recordings[number]
        features, there = dense_features(
            self.dense, self.bodies(recording), self.grid, self.rate, self.task.device
        )
        middle = middles(recording.frames, self.grid)
        targets = targets_of(recording.intervals, middle, self.task.classes)
        teaches = there & outside(self.excluded(number), middle)
        self.task.listener.advance(at[0] + 1, at[1], {})
        bare = Recording(**{**vars(recording), "tracks": ()})
        return bare, Example(features, there, targets, teaches)

    def excluded(self, number: int) -> list[Span]:
        """Where a recording's excluded clips lie in it: they train neither their class nor rest."""
        dataset, gone = self.task.dataset, set(self.task.excluded or ())
        mine = np.flatnonzero(dataset.recording_of == number).tolist() if gone else []
        spans = (
            (int(dataset.first_frame[i]), int(dataset.clips["frames"][i]))
            for i in mine
            if dataset.names[i] in gone
        )
        return [(first, first + frames) for first, frames in spans]

    def head(
        self, kind: str, learnt: Sequence[Learnt], held: npt.NDArray[np.bool_]
    ) -> tuple[Head, Decoding, float | None, float]:
        """A head trained on all of them, its decoding, what that is worth on those held out, None where
        nobody can be, and the score from which its detections are to be told."""
        decoding, validated, sure = Decoding(), None, SURE
        if held.any():
            self.task.listener.stage(f"{kind} head without held-out recordings, {self.task.subject.kind}")
            kept = [example for (_, example), out in zip(learnt, held, strict=True) if not out]
            asked = [one for one, out in zip(learnt, held, strict=True) if out]
            made = self._trained(kind, kept)
            recordings, examples = [r for r, _ in asked], [e for _, e in asked]
            chosen = chosen_decoding(made, examples, recordings, self.grid, self.task.classes)
            decoding, validated, sure = chosen
        self.task.listener.stage(f"{kind} head, {self.task.subject.kind}")
        return self._trained(kind, [example for _, example in learnt]), decoding, validated, sure

    def judged(self, made: Head, judged: Sequence[Learnt], decoding: Decoding) -> Any:
        recordings, examples = [r for r, _ in judged], [e for _, e in judged]
        return judged_on(made, examples, recordings, decoding, self.grid, self.task.classes)

    def keep(self, made: Head, decoding: Decoding, sure: float) -> None:
        """Save the detector in the task's folder, with all that is needed to use it."""
        task, dataset, place = self.task, self.task.dataset, self.dense.placing
        assert task.work is not None
        encoder = None if isinstance(self.dense, DenseCoordinates) else self.dense.encoder.config
        coordinates = self.dense.shown if isinstance(self.dense, DenseCoordinates) else InputConfig()
        config = DetectorConfig(
            encoder=encoder,
            frames=task.subject.frames,
            segment=self.segment,
            coordinates=coordinates,
            pooling=self.how.pooling,
            head=made.config,
            decoding=decoding,
            lengths=self.windowing.lengths,
            cover=self.windowing.cover,
            token_s=self.windowing.token_s,
            bodies=dataset.spec.max_bodies,
            classes=dataset.spec.class_names,
            skeleton=dataset.spec.skeleton.name,
            spec=dataset.spec.unlabelled().model_dump(mode="json"),
            recipe=dict(dataset.manifest["recipe"]),
            shown=place.shown,
            anatomy=place.anatomy,
            names=list(place.names),
            kept=None if place.kept is None else list(place.kept),
            frame_rate=self.rate,
            dataset=dataset.spec.name,
            synthetic=dataset.synthetic,
            sure=sure,
        )
        detector = fresh_detector(config)
        detector.dense.load_state_dict(self.dense.state_dict())
        detector.head.load_state_dict(made.state_dict())
        save_detector(detector, config, task.work / DETECTOR)

    def _trained(self, kind: str, examples: Sequence[Example]) -> Head:
        task: Task = self.task
        inputs = self.dense.width * len(self.windowing.lengths)
        config = head_config(kind, inputs, task.classes, self.grid, self.rate, self.how)
        listener: Listener = task.listener
        return train_head(examples, config, self.how, task.seed, task.device, listener)


def placed_as(recipe: dict[str, Any]) -> InputConfig:
    """What a recipe did to each clip as a whole, to be done to each window. recipe : as a manifest has it."""
    return InputConfig(
        centre="first" if recipe.get("centred", True) else "recorded",
        frame="first" if recipe.get("rotate") else "recorded",
        lengths="spine" if recipe.get("scale") else "recorded",
    )
