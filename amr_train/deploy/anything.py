"""What a classifier says about anything: raw files of any name, folders, archives or converted datasets."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import Tensor

from amr_data import (
    DatasetSpec,
    Recipe,
    Record,
    ShardDataset,
    UsageError,
    convert,
    open_dataset,
    spec_from_json,
)
from amr_data.plan import RECORDINGS, NoRecordings
from amr_data.shards.reader import read_rejects
from amr_train.deploy.predicting import predictions
from amr_train.evaluation.classifier import ClipClassifier, load_classifier
from amr_train.listening import Listener
from amr_train.parallel.processes import choose_device

MANIFEST = "manifest.json"
ARCHIVES = (".zip", ".7z", ".tar", ".gz", ".tgz")


@dataclass(frozen=True)
class Prediction:
    """path : the file, or the dataset's folder.  name : the clip's.  start, stop : frames of the source.
    rate : frames a second.  probabilities : (classes,) float32, on the CPU."""

    path: str
    name: str
    start: int
    stop: int
    rate: float
    probabilities: Tensor

    def as_dict(self, classes: Sequence[str], top: int) -> dict[str, Any]:
        """Plain values; the likeliest classes first."""
        best = self.probabilities.topk(min(top, len(classes)))
        pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        named = [{"label": i, "class": classes[i], "probability": p} for i, p in pairs]
        return {
            "path": self.path,
            "name": self.name,
            "start_frame": self.start,
            "stop_frame": self.stop,
            "start_s": round(self.start / self.rate, 3),
            "stop_s": round(self.stop / self.rate, 3),
            **named[0],
            "classes": named,
        }


def predict_anything(
    classifier: str | Path | ClipClassifier,
    sources: Sequence[str | Path],
    dataset: str | Path | DatasetSpec | None = None,
    device: str = "auto",
    options: Mapping[str, Any] | None = None,
    listener: Listener | None = None,
) -> tuple[list[Prediction], list[Record]]:
    """Predictions for every clip that the sources hold, and what was rejected.

    Names of raw files need not follow any rule; labels are not read. Files are cleaned and normalised as the
    classifier's training clips were.

    Args:
        classifier: its file, or as `load_classifier` gives it.
        sources: each is a raw file, a folder, an archive, another project's file or a converted dataset.
        dataset: whose raw files these are, see `amr_data.convert`; by default those that the classifier was
            trained on, or what their content says.
        options: the raw family's own, see `amr_data.convert`.
        listener: is told how far it is, and which joints are ignored.
    Raises: UsageError, AmrError.
    """
    where = choose_device(device)
    loaded = (
        classifier.to(where) if isinstance(classifier, ClipClassifier) else load_classifier(classifier, where)
    )
    told = listener or Listener()
    found: list[Prediction] = []
    rejects: list[Record] = []
    for given in map(Path, sources):
        if (given / MANIFEST).is_file():
            data = open_dataset(given)
            check_recipe(data, loaded.config.encoder.recipe, "classifier")
            found += [replace(p, path=str(given)) for p in _of_dataset(loaded, data, told)]
            continue
        with TemporaryDirectory() as scratch:
            own = own_spec(loaded.config.spec)
            known = loaded.config.encoder.recipe
            made = converted(given, dataset, known, own, Path(scratch), options, told)
            rejects += read_rejects(made.path)
            found += [replace(p, path=path_in(given, p.path)) for p in _of_dataset(loaded, made, told)]
    return found, rejects


def _of_dataset(loaded: ClipClassifier, data: ShardDataset, listener: Listener) -> list[Prediction]:
    """For every clip; the path is its source."""
    made = []
    for clip, row in zip(data, predictions(loaded, data, listener=listener), strict=True):
        stop = clip.start + clip.frames
        made.append(Prediction(clip.source, clip.name, clip.start, stop, data.spec.frame_rate, row))
    return made


def converted(
    given: Path,
    dataset: str | Path | DatasetSpec | None,
    known: Mapping[str, Any],
    own: DatasetSpec | None,
    scratch: Path,
    options: Mapping[str, Any] | None,
    listener: Listener,
    recordings: bool = False,
) -> ShardDataset:
    """Convert a source as a model's training clips were, by the recipe that is `known` of them; its `own`
    kind of files is tried first. recordings : whole, which may be longer than clips, where a kind of files
    has such."""
    recipe = Recipe(**{key: known[key] for key in ("name", "rotate", "scale") if key in known})
    ways = [dataset] if dataset is not None else [kind for kind in (own,) if kind] + [None]
    listener.stage(f"reading {given.name}")
    made: list[ShardDataset] = []
    problems: dict[str, None] = {}  # each once, in their order
    keeps = (RECORDINGS, None) if recordings else (None,)
    for number, (way, keep) in enumerate(product(ways, keeps)):
        try:
            report = convert(
                given,
                scratch / str(number),
                way,
                recipe=recipe,
                options=options,
                unlabelled=True,
                workers=1,
                keep=keep,
                progress=lambda done, total, _: listener.advance(done, total, {}),
            )
        except NoRecordings:
            continue
        except UsageError as error:  # no file of that kind: what is it then?
            problems[str(error)] = None
            continue
        made.append(open_dataset(report.path))
        if len(made[-1]) or (made[-1].keeps_recordings and len(made[-1].recordings)):
            return made[-1]
    if not made:
        raise UsageError("; ".join(problems) + other_layout(dataset, problems))
    return made[0]


def other_layout(dataset: object, problems: Collection[object]) -> str:
    """What may be the matter with files of which nothing came, as the end of a message; nothing where it was
    said whose they are."""
    told = any("--spec" in str(problem) for problem in problems)
    advice = "; if the files have another layout, say which: --dataset NAME or --spec FILE.yaml"
    return advice if dataset is None and problems and not told else ""


def check_recipe(data: ShardDataset, known: Mapping[str, Any], model: str) -> None:
    """Refuse clips that were cleaned otherwise than those that a model (in words) learnt from. Raises:
    UsageError."""
    there = data.manifest["recipe"]
    other = [k for k in ("name", "rotate", "scale") if k in known and known[k] != there.get(k, False)]
    if other:
        has, wants = (", ".join(f"{k} {r.get(k, False)}" for k in other) for r in (there, known))
        raise UsageError(
            f"{data.path} was converted with the recipe's {has}, the {model} learnt from clips with "
            f"{wants}; convert the files again, or give them as they are"
        )


def own_spec(described: dict[str, Any]) -> DatasetSpec | None:
    """The spec of the dataset that a model was trained on, as its file has it. A family that is named as
    module:Class is not believed, since naming one would import it."""
    try:
        spec = spec_from_json(described) if described else None
    except ValueError:
        return None
    return None if spec is None or ":" in spec.raw else spec


def path_in(given: Path, source: str) -> str:
    """A clip's file as the user can name it: the source itself, or what lies in it."""
    inside = source.partition("/")[2]
    return str(given / inside) if given.is_dir() or given.suffix.lower() in ARCHIVES else str(given)
