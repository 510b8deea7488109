"""What a detector finds in recordings of any length: raw files of any name, folders, archives or converted
datasets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from amr_data import BodyTrack, Clip, DatasetSpec, Record, Recording, ShardDataset, UsageError, open_dataset
from amr_data.interval_files import FoundInterval, IntervalsOf
from amr_data.shards.reader import read_rejects
from amr_train.deploy.anything import MANIFEST, check_recipe, converted, own_spec, path_in
from amr_train.detection.detector import detect_long
from amr_train.detection.files import LoadedDetector, load_detector
from amr_train.detection.intervals import Intervals, joined
from amr_train.detection.windows import Bodies
from amr_train.listening import Listener
from amr_train.parallel.processes import choose_device


@dataclass(frozen=True)
class Timeline:
    """`recording` : its name.  `path` : its file, or the dataset's folder.  `fps` : frames a second.
    `frames` : of the source, up to the last that was seen.  `found` : the intervals, in frames of the
    source, by their first."""

    recording: str
    path: str
    fps: float
    frames: int
    found: Intervals

    def as_intervals(self, classes: Sequence[str]) -> IntervalsOf:
        """As it is written to files; scores to four digits."""
        table = self.found
        columns = (table.label.tolist(), table.first.tolist(), table.end.tolist(), table.score.tolist())
        rows = (
            FoundInterval(label, first, end, round(score, 4), classes[label])
            for label, first, end, score in zip(*columns, strict=True)
        )
        return IntervalsOf(self.recording, self.fps, self.frames, tuple(rows))

    def as_dict(self, classes: Sequence[str]) -> dict[str, Any]:
        """As it is told in JSON."""
        return self.as_intervals(classes).as_dict(classes)


def timelines(
    detector: str | Path | LoadedDetector,
    sources: Sequence[str | Path],
    dataset: str | Path | DatasetSpec | None = None,
    device: str = "auto",
    options: Mapping[str, Any] | None = None,
    least: float | None = None,
    listener: Listener | None = None,
) -> tuple[list[Timeline], list[Record]]:
    """What is done when in every recording that the sources hold, and what was rejected.

    Names of raw files need not follow any rule; labels are not read. Memory does not grow with what is found
    out of a recording, only with its frames.

    Args:
        detector: its file, or as `load_detector` gives it.
        sources: each is a raw file, a folder, an archive, or a converted dataset, of which the recordings are
            taken where it keeps them, its clips otherwise.
        dataset: whose raw files these are; by default those that the detector was trained on, or what their
            content says.
        options: the raw family's own, see `amr_data.convert`.
        least: the lowest score that is told; by default the one that was best on held-out recordings.
        listener: is told how far each recording is.
    Raises: UsageError, AmrError.
    """
    where = choose_device(device)
    given = isinstance(detector, LoadedDetector)
    loaded = detector.to(where) if given else load_detector(detector, where)  # type: ignore[union-attr, arg-type]
    assert isinstance(loaded, LoadedDetector)
    told = loaded.about.sure if least is None else least
    follower = listener or Listener()
    made: list[Timeline] = []
    rejects: list[Record] = []
    for source in map(Path, sources):
        if (source / MANIFEST).is_file():
            data = open_dataset(source)
            check_recipe(data, loaded.about.recipe, "detector")
            data.check_unchanged(follower.following("comparing files"))
            found = _of_dataset(loaded, data, told, follower, as_kept=True)
            made += [_at(one, str(source)) for one in found]
            continue
        with TemporaryDirectory() as scratch:
            own = own_spec(loaded.about.spec)
            data = converted(
                source, dataset, loaded.about.recipe, own, Path(scratch), options, follower, True
            )
            rejects += read_rejects(data.path)
            found = _of_dataset(loaded, data, told, follower)
            made += [_at(one, path_in(source, one.path)) for one in found]
    return made, rejects


def _of_dataset(
    loaded: LoadedDetector, data: ShardDataset, least: float, listener: Listener, as_kept: bool = False
) -> Iterator[Timeline]:
    """Recording by recording; the path is its source. Frames are the file's; `as_kept` : those of a recording
    are counted from its first, as its labels are and `inspect --found` does."""
    order = joints_in(loaded, data)
    fps = data.spec.frame_rate
    several: Sequence[Recording] | Iterator[Clip] = data.recordings if data.keeps_recordings else iter(data)
    for one in several:
        tracks = [track.changed(joints=track.joints[:, order]) for track in one.tracks]
        listener.stage(f"actions in {one.name}")
        found = actions(loaded, one.frames, tracks, fps, listener)
        kept = found.take(found.score >= least)
        start = 0 if as_kept and isinstance(one, Recording) else one.start
        moved = Intervals(kept.recording, kept.label, kept.first + start, kept.end + start, kept.score)
        yield Timeline(one.name, one.source, fps, start + one.frames, moved)


def actions(
    detector: LoadedDetector, frames: int, tracks: Sequence[BodyTrack], fps: float, listener: Listener
) -> Intervals:
    """All that a detector finds in one recording, by the first frame. tracks : joints as the detector has
    them."""
    about = detector.about
    bodies = Bodies(frames, tracks, about.bodies, len(about.names))
    parts = []
    for done, _, found in detect_long(detector, bodies, fps):
        parts.append(found)
        listener.advance(done, max(1, frames), {})
    table = joined(parts)
    return table.take(np.lexsort((table.end, table.first)))


def joints_in(loaded: LoadedDetector, data: ShardDataset) -> list[int]:
    """Where the detector's joints lie in a dataset's skeleton. Raises: UsageError where some are not in
    it."""
    skeleton, wanted = data.spec.skeleton, loaded.about.names
    missing = [name for name in wanted if name not in skeleton.common_names]
    if missing:
        raise UsageError(
            f"the detector knows the joints of {loaded.about.skeleton}, and {data.spec.title} is in "
            f"{skeleton.name}, which lacks {', '.join(missing[:5])}{', ...' if missing[5:] else ''}"
        )
    return [skeleton.common_names.index(name) for name in wanted]


def _at(one: Timeline, path: str) -> Timeline:
    return Timeline(one.recording, path, one.fps, one.frames, one.found)
