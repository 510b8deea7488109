"""The datasets that a run is trained on, one or several, once everything fits together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from amr_data import ShardDataset, UsageError, open_dataset
from amr_data.errors import unknown
from amr_data.looking.words import recipe_in_words
from amr_data.specs import names_in, spec_names
from amr_train.config import Experiment
from amr_train.data.exclusion import excluded_of
from amr_train.data.input import check_input, energies_fit
from amr_train.data.landmarks import anatomy_of, placed_by
from amr_train.data.mixing import apportioned
from amr_train.data.people import nobody_known
from amr_train.data.performances import check_cameras
from amr_train.data.views import check_changes, moves_alike
from amr_train.evaluation.parts import TEST, only_split, parts_of, training_clips
from amr_train.evaluation.protocols import protocol_named
from amr_train.experiments.length import long_enough
from amr_train.experiments.places import place_of
from amr_train.parallel.processes import Processes
from amr_train.training.compiling import check_compiler

NO_ENERGIES = (
    "the shard's energies are those of its joints: with input.stream=bone or motion, a frame or centre "
    "of every frame, or bridged jumps take {}"
)
NO_ENERGIES_LEFT = (
    "the shard's energies are those of bodies as they are: with augment.limbs, noise or drop_axis take {}"
)
Clips = npt.NDArray[np.int64]
Opening = Callable[[Path], ShardDataset]


@dataclass(frozen=True)
class Source:
    """A dataset that a run is trained on. `clips`: of its split's training part, without those that are
    excluded.  `unjudged`: why it is not judged, '' where it is.  `left_out`: how many are excluded."""

    dataset: ShardDataset
    split: str
    clips: Clips
    unjudged: str = ""
    left_out: int = 0

    @property
    def name(self) -> str:
        return self.dataset.spec.name


@dataclass(frozen=True)
class Sources:
    """experiment : with its splits and names resolved.  every : the datasets, by name.  lines : what a user
    should know of them."""

    experiment: Experiment
    every: tuple[Source, ...]
    lines: tuple[str, ...] = ()

    @property
    def datasets(self) -> list[ShardDataset]:
        return [source.dataset for source in self.every]

    @property
    def clips(self) -> int:
        """Training clips of all."""
        return sum(len(source.clips) for source in self.every)

    @property
    def windows(self) -> tuple[int, ...]:
        """Lengths of the precomputed energies that all have."""
        first, *others = (dataset.windows for dataset in self.datasets)
        return tuple(n for n in first if all(n in other for other in others))


def opened(experiment: Experiment, processes: Processes, device: torch.device) -> Sources:
    """The datasets of an experiment, and all that is resolved by them. Raises: UsageError."""
    check_compiler(experiment.compile, device)
    even = experiment.pretrain.batches == "even" or experiment.data.empty_bodies == "keep"
    if experiment.compile == "cuda-graphs" and not even:
        raise UsageError(
            "compile=cuda-graphs needs batches of one size: add pretrain.batches=even (which clips meet in a "
            "batch decides results, so a run that was begun without it goes on with compile=default)"
        )
    protocols = [protocol_named(name) for name in experiment.evaluation.protocols]
    found = settled(experiment)
    for dataset in found.datasets:
        check_input(experiment.input, dataset)
        for protocol in protocols:
            protocol.check_on(dataset, experiment.evaluation.part)
    unmirrored = check_changes(experiment.augment, found.datasets, experiment.input)
    trained = [(source.dataset, source.clips) for source in found.every]
    check_cameras(experiment.agreement, trained)
    found = replace(found, lines=(*found.lines, *unmirrored, *nobody_known(experiment.agreement, trained)))
    _check_guidance(experiment, found)
    if len(found.every) == 1 and found.every[0].unjudged:
        raise UsageError(found.every[0].unjudged)
    if experiment.evaluation.protocols and all(source.unjudged for source in found.every):
        raise UsageError("; ".join(source.unjudged for source in found.every))
    size = min(experiment.pretrain.batch_size, found.clips)
    each = apportioned([len(source.clips) for source in found.every], size, experiment.pretrain.mixing)
    if min(each) < processes.size:
        of = "" if len(each) == 1 else f" with {min(each)} of {found.every[each.index(min(each))].name}"
        raise UsageError(
            f"a batch of {experiment.pretrain.batch_size} clips{of} cannot be shared by {processes.size} "
            "processes"
        )
    return found


def settled(experiment: Experiment, opening: Opening = open_dataset) -> Sources:
    """The datasets of an experiment by name, with the splits that are trained on and, of several skeletons,
    the names that their joints are told by. `opening` : opens a dataset. Raises: UsageError."""
    places = experiment.data.paths or [experiment.data.path or ""]
    if not all(places):
        raise UsageError("no dataset: give --data DIR, a folder made by `amr-data convert`")
    several = len(places) > 1
    opened_places: list[tuple[ShardDataset, str | None]] = []
    for place in places:
        path, split = place_of(place) if experiment.data.paths else (Path(place), None)
        dataset = opening(path)
        _check_meant(experiment, dataset, several)
        opened_places.append((dataset, split))
    excluded = excluded_of(experiment.data, [dataset for dataset, _ in opened_places])
    experiment = experiment.model_copy(
        update={"data": experiment.data.model_copy(update={"excluded": excluded})}
    )
    sources = [
        _source(experiment, dataset, split or _split_of(experiment, dataset, several), several)
        for dataset, split in opened_places
    ]
    sources.sort(key=lambda source: source.name)
    for one, other in pairwise(sources):
        if one.name == other.name:
            paths = f"{one.dataset.path} and {other.dataset.path}"
            raise UsageError(f"{paths} both hold {one.name}; give one of them")
    lines = _about_splits(experiment, sources)
    lines += [f"{s.name} trains and is not judged: {s.unjudged}" for s in sources if s.unjudged]
    lines += [
        f"{s.left_out:,} of the {s.left_out + len(s.clips):,} training clips of {s.name} are excluded"
        for s in sources
        if s.name in excluded
    ]
    data: dict[str, Any] = {"split": sources[0].split, "splits": {}}
    if several:
        _check_dimensions(sources)
        data = {"split": None, "splits": {source.name: source.split for source in sources}}
        lines += [*_about_recipes(experiment, sources), *_about_landmarks(experiment, sources)]
    experiment, word = _told_by(experiment, sources)
    experiment, more = long_enough(experiment, sum(len(source.clips) for source in sources))
    update = {"data": experiment.data.model_copy(update=data)}
    return Sources(experiment.model_copy(update=update), tuple(sources), (*word, *more, *lines))


def _check_meant(experiment: Experiment, dataset: ShardDataset, several: bool) -> None:
    meant, found = experiment.data.dataset, dataset.spec.name
    if meant and several:
        raise UsageError(
            f"{experiment.name} is meant for {meant} alone; data.dataset=null trains it on several datasets"
        )
    if meant and meant != found:
        raise UsageError(
            f"{experiment.name} is meant for {meant}, but {dataset.path} holds {found}; "
            f"data.dataset={found} runs it all the same"
        )


def _split_of(experiment: Experiment, dataset: ShardDataset, several: bool) -> str:
    """The split that the settings name for a dataset, or its only one."""
    named, known = experiment.data.splits.get(dataset.spec.name), list(dataset.spec.protocols)
    if named is not None and (several or experiment.data.split is None):
        return named
    if not several:
        if named not in (None, experiment.data.split):
            raise UsageError(
                f"data.split={experiment.data.split} and data.splits.{dataset.spec.name}={named} say two "
                "things: leave one of them out"
            )
        return only_split(dataset, experiment.data.split)
    if experiment.data.split in known:
        return str(experiment.data.split)
    if len(known) > 1:
        lacks = f"no split '{experiment.data.split}' but " if experiment.data.split else ""
        raise UsageError(
            f"{dataset.path} has {lacks}several train/test splits: {', '.join(known)}; say which with "
            f"--data {dataset.path}:{known[0]}, or with data.splits.{dataset.spec.name}={known[0]}"
        )
    return only_split(dataset, None)


def _about_splits(experiment: Experiment, sources: Sequence[Source]) -> list[str]:
    """A word about splits of datasets that are not here. The shipped experiments name those of all datasets
    that come with a spec, which says nothing."""
    here = [source.name for source in sources]
    known = {*here, *spec_names()}
    return [
        f"data.splits.{name} is left aside: {unknown('dataset', name, here)}; a name is that of a spec"
        for name in experiment.data.splits
        if name not in known
    ]


def _source(experiment: Experiment, dataset: ShardDataset, split: str, several: bool) -> Source:
    """A dataset with its training clips. One of several that has no clips to judge by trains all the same,
    and then without any held out."""
    split, part = only_split(dataset, split), experiment.evaluation.part
    excluded = experiment.data.excluded.get(dataset.spec.name, ())

    def source(of_part: str, unjudged: str = "") -> Source:
        clips = training_clips(dataset, split, of_part, excluded)
        every = training_clips(dataset, split, of_part) if excluded else clips
        return Source(dataset, split, clips, unjudged, len(every) - len(clips))

    unjudged = ""
    try:
        if experiment.evaluation.protocols:
            parts_of(dataset, split, part, excluded)
        return source(part)
    except UsageError as error:
        unjudged = str(error)
    if several or part == TEST:
        return source(TEST, unjudged)
    raise UsageError(unjudged)


def _check_dimensions(sources: Sequence[Source]) -> None:
    flat = [source for source in sources if source.dataset.spec.dimensions == 2]
    if flat and len(flat) < len(sources):
        other = next(source for source in sources if source.dataset.spec.dimensions == 3)
        raise UsageError(
            f"{flat[0].dataset.path} is two-dimensional and {other.dataset.path} is not: an encoder is "
            "trained on datasets of one kind"
        )


def _about_recipes(experiment: Experiment, sources: Sequence[Source]) -> list[str]:
    """A warning where coordinates of one dataset mean other lengths or axes than those of another."""
    recipes = {source.name: source.dataset.manifest["recipe"] for source in sources}
    keys = [
        key
        for key, setting in (("scale", experiment.input.lengths), ("rotate", experiment.input.frame))
        if setting == "recorded"
    ]
    if len({tuple(bool(recipe.get(key)) for key in keys) for recipe in recipes.values()}) < 2:
        return []
    said = ", ".join(f"{name} {recipe_in_words(recipe)}" for name, recipe in recipes.items())
    return [
        f"the datasets were converted differently ({said}): input.lengths=spine and input.frame=first make "
        "them alike"
    ]


def _about_landmarks(experiment: Experiment, sources: Sequence[Source]) -> list[str]:
    """A warning where bodies of one dataset are placed by other joints than those of another."""
    shown = experiment.input
    of = {s.name: placed_by(shown, anatomy_of(s.dataset.spec.skeleton)) for s in sources}
    first = next(iter(of.values()))
    roles = [role for role in first if any(placed[role] != first[role] for placed in of.values())]
    if not roles:
        return []
    said = "; ".join(
        f"{name}: {', '.join(f'{role} {placed[role]}' for role in roles)}" for name, placed in of.items()
    )
    instead = ""
    if roles == ["path"]:
        instead = ": input.centre=every shows no path"
    elif shown.landmarks == "spec":
        instead = ": input.landmarks=limbs places their bodies alike"
    return [f"bodies of the datasets are placed by different joints ({said}){instead}"]


def _told_by(experiment: Experiment, sources: Sequence[Source]) -> tuple[Experiment, list[str]]:
    """The experiment with the names of all joints where they are told by name, as those of several skeletons
    must be; and a word about it where nobody asked for it. Raises: UsageError."""
    skeletons = [source.dataset.spec.skeleton for source in sources]
    several = len({tuple(skeleton.common_names) for skeleton in skeletons}) > 1
    if experiment.model.joints == "index" and not several:
        return experiment, []
    for source, skeleton in zip(sources, skeletons, strict=True):
        shares = [tuple(sorted(one.items())) for one in skeleton.shares]
        twice = [j for j, one in zip(skeleton.joints, shares, strict=True) if shares.count(one) > 1]
        if twice:
            raise UsageError(
                f"{source.dataset.path}: the joints {' and '.join(twice[:2])} of {skeleton.name} have the "
                "same name, so nothing tells them apart; give one another in `counterparts`"
            )
    names = names_in(one for skeleton in skeletons for one in skeleton.shares)
    given = experiment.model.names
    if given and given != names:
        raise UsageError("model.names follow from the datasets; leave them out")
    word = []
    if experiment.model.joints == "index":
        word = ["several skeletons: joints are told by their names (model.joints=name)"]
    model = experiment.model.model_copy(update={"joints": "name", "names": names})
    return experiment.model_copy(update={"model": model}), word


def _check_guidance(experiment: Experiment, found: Sources) -> None:
    guidance = experiment.guidance
    if not guidance.focal or guidance.source != "shard":
        return
    check_energies(experiment, "guidance.source=online")
    for dataset in found.datasets:
        missing = [n for n in guidance.windows if n not in dataset.windows]
        if missing:
            raise UsageError(
                f"guidance.source=shard needs windows among {list(dataset.windows)}, not {missing[0]}; "
                "or use source=online"
            )


def check_energies(experiment: Experiment, otherwise: str) -> None:
    """Refuse the shard's energies where what is trained on moves otherwise. `otherwise` : what to take.
    Raises: UsageError."""
    if not energies_fit(experiment.input):
        raise UsageError(NO_ENERGIES.format(otherwise))
    if not moves_alike(experiment.augment):
        raise UsageError(NO_ENERGIES_LEFT.format(otherwise))
