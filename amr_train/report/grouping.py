"""Which results belong together, and what each group is called.

A subject is told from others by what decided it (the training's settings, the data it was trained on, how far
it was trained), never by its name; subjects that share a name are told apart by what differs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from amr_data import UsageError
from amr_data.looking.words import recipe_in_words
from amr_train.config import Experiment, InputConfig
from amr_train.experiments.loading import experiment_names, load_experiment
from amr_train.identity import differences, digest_of, training_digest, training_settings
from amr_train.report.collect import Run
from amr_train.report.folds import Families, Folds

Subject = Mapping[str, Any]
OF_THE_DECODER = ("decoder", "decoder_layers", "target_ratio")
"""Settings of a model that its encoder does not have."""
SHOWN = 4


@cache
def shipped(name: str, scale: str = "full") -> Experiment | None:
    """The shipped experiment of that name, None where there is none."""
    if name not in experiment_names():
        return None
    try:
        return load_experiment(name, [] if scale == "full" else [f"scale={scale}"])
    except UsageError:
        return None


class Groups:
    """The subjects of some runs."""

    def __init__(self, runs: Sequence[Run]) -> None:
        own = [run for run in runs if run.experiment is not None]
        self.families = Families(record for run in runs for record in run.records)
        # a record keeps the digest that its release computed; a later one's settings have more keys
        self._digests = {run.record.get("digest"): training_digest(_of(run)) for run in own}
        self._made = {
            record["subject"]["digest"]: run
            for run in own
            for record in run.records
            if record["subject"]["kind"] == "encoder" and self._belongs(record["subject"], run)
        }
        self._experiments: dict[str, Experiment] = {}
        self._seconds: dict[str, list[float]] = {}
        every: dict[str, dict[str, Any]] = {}
        self._names: dict[str, dict[str, None]] = {}
        for run in own:
            subject = self.completed(run.subject or {}, run)
            group = self.group(subject)
            self._experiments[group] = self.families.alike(_of(run), run.record["data"])
            if run.pretraining is not None:
                self._seconds.setdefault(group, []).append(float(run.pretraining["seconds"]))
            every.setdefault(group, subject)
            self._names.setdefault(group, {})[_name(subject)] = None
        for run in runs:
            for record in run.records:
                subject = self.completed(record["subject"], run)
                every.setdefault(self.group(subject), subject)
        self._labels = self._named(every)

    def completed(self, subject: Subject, run: Run) -> dict[str, Any]:
        """A subject with today's digest of its training, which folds share, and, where that is known, the
        fingerprint of what it was `trained_on` and the `splits` by the fingerprints of its datasets."""
        if subject["kind"] == "fused":
            return {**subject, "of": [self.completed(one, run) for one in subject["of"]]}
        if subject["kind"] != "encoder":
            return dict(subject)
        mine = run.experiment is not None and self._belongs(subject, run)
        maker = run if mine else self._made.get(subject["digest"])
        digest = self._digests.get(subject["training"], subject["training"])
        if maker is None:
            return {**subject, "training": digest, "trained_on": "", "splits": _splits(subject)}
        data, experiment = maker.record["data"], _of(maker)
        alike = self.families.alike(experiment, data)
        digest = digest if alike is experiment else training_digest(alike)
        splits = self.families.trained(experiment, data)
        return {**subject, "training": digest, "trained_on": data["fingerprint"], "splits": splits}

    def group(self, subject: Subject) -> str:
        """Equal for seeds and folds of the same. `subject` : completed."""
        if subject["kind"] != "encoder":
            return digest_of({"kind": subject["kind"], **self._about(subject)})
        keys = ("training", "method", "trained_on", "dataset", "recipe", "synthetic")
        numbers = {key: float(subject[key]) for key in ("epoch", "epochs")}  # 10 and 10.0 are one
        decides = {**{key: subject.get(key) for key in keys}, **numbers}
        weights = "" if subject["training"] else subject["digest"]  # imported: its settings are not known
        return digest_of({**decides, "weights": weights})

    def label(self, subject: Subject) -> str:
        """The name, with what differs from the first subject of that name."""
        return self._labels[self.group(subject)]

    def experiment(self, subject: Subject) -> Experiment | None:
        """The settings it was trained with, where a run of it is at hand."""
        group = self.group({**subject, "epoch": subject.get("epochs")})
        return self._experiments.get(group)

    def seconds(self, subject: Subject) -> float | None:
        """Of the fastest run's pre-training."""
        return min(self._seconds.get(self.group(subject), ()), default=None)

    def place(self, subject: Subject) -> int:
        """Where it stands among the others: as the folders do, the reference of a name first."""
        return list(self._labels).index(self.group(subject))

    def _belongs(self, subject: Subject, run: Run) -> bool:
        known = run.experiment is not None and subject["training"] in (
            run.record.get("digest"),
            self._digests.get(run.record.get("digest")),
        )
        return known and subject["seed"] == run.seed

    def _about(self, subject: Subject) -> dict[str, Any]:
        """Its settings, by which it can be told from others of its name."""
        model = dict(subject.get("model") or {})
        shown = {**InputConfig().model_dump(), **subject.get("input", {})}
        if subject["kind"] == "fused":
            return {"of": {str(n): self.group(one) for n, one in enumerate(subject["of"], 1)}}
        if subject["kind"] == "coordinates":
            return {"frames": subject.get("frames"), "input": shown}
        if subject["kind"] == "untrained":
            kept = {key: value for key, value in model.items() if key not in OF_THE_DECODER}
            return {"model": kept, "parameters": subject.get("parameters"), "input": shown}
        experiment = self.experiment(subject)
        recipe = subject.get("recipe") or {}
        data = {
            "dataset": subject.get("dataset"),
            "recipe": recipe_in_words(recipe),
            "synthetic": subject.get("synthetic"),
            "fingerprint": str(subject.get("trained_on") or "unknown")[:8],
        }
        settings = {"method": subject.get("method"), "model": model}
        return {**(training_settings(experiment) if experiment else settings), "trained on": data}

    def _named(self, every: Mapping[str, dict[str, Any]]) -> dict[str, str]:
        names: dict[str, dict[str, dict[str, Any]]] = {}
        for group, subject in every.items():
            names.setdefault(_name(subject), {})[group] = subject
        labels: dict[str, str] = {}
        for name, groups in names.items():
            first = min(groups, key=lambda group: self._distance(name, groups[group]))
            for group in [first, *(g for g in groups if g != first)]:
                changes = [] if group == first else self._changes(name, groups[group], groups[first])
                others = [f"also named {other}" for other in self._names.get(group, {}) if other != name]
                epoch = epoch_in_words(groups[group])
                labels[group] = with_changes(name, [*changes, *([epoch] if epoch else []), *others])
        return distinct(labels)

    def _distance(self, name: str, subject: Subject) -> int:
        """0 for what is shipped under this name, so that others are told from it, and for baselines that are
        shown clips as recorded; the rest by training done."""
        if subject["kind"] != "encoder":
            return 1 if subject.get("input") else 0
        known = shipped(name)
        if known is not None and subject.get("training") == training_digest(known):
            return 0 if not epoch_in_words(subject) else 1
        return 2 if not epoch_in_words(subject) else 3

    def _changes(self, name: str, subject: Subject, reference: Subject) -> list[str]:
        ours, theirs = self._about(subject), self._about(reference)
        experiment, other = self.experiment(subject), self.experiment(reference)
        words = []
        if experiment and other and experiment.scale != other.scale:
            words.append(f"scale {experiment.scale}")
            known = shipped(name, experiment.scale)
            if known is not None:
                theirs = {**training_settings(known), "trained on": theirs["trained on"]}
        return [*words, *changed(differences(ours, theirs))]

    def home(self, subject: Subject, fingerprint: str, dataset: str, split: str) -> bool:
        """Whether a subject is judged where it was trained; elsewhere it is a transfer."""
        if subject["kind"] != "encoder" or not subject.get("dataset"):
            return True
        several = subject.get("datasets") or []
        if several:
            return any((fingerprint, split) == (one["fingerprint"], one["split"]) for one in several)
        trained_on = subject["trained_on"]
        if trained_on:
            return fingerprint == trained_on and subject["splits"].get(trained_on) in (None, split)
        known = self.experiment(subject)
        return dataset == subject["dataset"] and (known is None or known.data.split in (None, split))

    def folds(self, subject: Subject, data: Mapping[str, Any], split: str) -> tuple[Folds, str]:
        """The folds that a result of a subject has a part in the mean of, () where it has in none; and the
        fold that the subject was trained on where it is not the one that it is judged on, '' otherwise.

        A fold counts of encoders that were trained on this fold, or never on this dataset. `data` : of the
        record.
        """
        family = self.families.of(data["fingerprint"], split)
        elsewhere: dict[str, None] = {}
        for one in subject["of"] if subject["kind"] == "fused" else [subject]:
            if one["kind"] != "encoder":
                continue
            known = one["splits"] or one.get("dataset") != data["dataset"]
            if not known or one["splits"].get(data["fingerprint"], split) != split:
                family = ()
            for trained_on, own in one["splits"].items():
                if self.families.of(trained_on, own) and (trained_on, own) != (data["fingerprint"], split):
                    elsewhere[own] = None
        return family, " + ".join(elsewhere)


def changed(found: Mapping[str, tuple[Any, Any]]) -> list[str]:
    """Differences as a name shows them: `model.target_ratio 2`."""
    data = [key for key in found if key.startswith("trained on.")]
    keys = [key for key in found if key != "trained on.fingerprint" or len(data) == 1]
    return [f"{key} {_shown(found[key][0])}" for key in keys]


def with_changes(name: str, changes: Sequence[str]) -> str:
    """A name, and in brackets what differs."""
    more = f" and {len(changes) - SHOWN} more" if len(changes) > SHOWN else ""
    return f"{name} ({', '.join(changes[:SHOWN])}{more})" if changes else name


def distinct(labels: Mapping[Any, str], shown: Callable[[Any], str] = str) -> dict[Any, str]:
    """Labels, with the group's digest behind those that would read alike."""
    texts = list(labels.values())
    return {k: f"{t} [{shown(k)[:8]}]" if texts.count(t) > 1 else t for k, t in labels.items()}


def epoch_in_words(subject: Subject) -> str:
    """`epoch 20 of 400` where it was not trained to the end; of several together, what holds of any."""
    if subject["kind"] == "fused":
        return ", ".join(dict.fromkeys(filter(None, map(epoch_in_words, subject["of"]))))
    if subject["kind"] != "encoder" or not subject["epoch"] < subject["epochs"]:
        return ""
    return f"epoch {subject['epoch']:g} of {subject['epochs']:g}"


def _name(subject: Subject) -> str:
    if subject["kind"] != "encoder":
        return str(subject.get("name") or subject["kind"])
    return str(subject["experiment"] or f"{subject.get('method') or 'encoder'} {subject['digest'][:8]}")


def _splits(subject: Subject) -> dict[str, str]:
    """What an encoder says itself of the splits that it was trained on, by the datasets' fingerprints."""
    each = [one for one in subject.get("datasets") or [subject] if isinstance(one, Mapping)]
    pairs = [(one.get("fingerprint"), one.get("split")) for one in each]
    return {str(fingerprint): str(split) for fingerprint, split in pairs if fingerprint and split}


def _of(run: Run) -> Experiment:
    assert run.experiment is not None
    return run.experiment


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)
