"""Results of many runs as rows: ours over seeds, beside the published value where it may stand there.

A row is one subject, dataset, split, figure and way to judge; two settings never share one. The folds of a
dataset are one split: their mean is a seed's value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from amr_data.looking.words import recipe_in_words
from amr_train.config import Experiment
from amr_train.evaluation.protocols import PROTOCOLS
from amr_train.evaluation.records import KINDS, Record, part_of
from amr_train.evaluation.scores import spread
from amr_train.identity import differences, digest_of
from amr_train.report.collect import Run
from amr_train.report.costs import bodies_of, gflops_of
from amr_train.report.folds import Folds, mean_over, name_of
from amr_train.report.grouping import (
    Groups,
    Subject,
    changed,
    distinct,
    epoch_in_words,
    shipped,
    with_changes,
)
from amr_train.report.published import beside, by_others, decisive, shipped_decisive

Row = dict[str, Any]


@dataclass(frozen=True)
class _Value:
    """One figure of one record. `judged` : a digest of how; `subject` : completed.  `folds` : those of the
    mean that it has a part in.  `trained` : the fold that the subject was trained on, where it is another."""

    record: Record
    subject: dict[str, Any]
    group: str
    figure: str
    judged: str
    folds: Folds = ()
    trained: str = ""

    @property
    def seed(self) -> int:
        """The training's, of an untrained encoder its own; of the coordinates, the evaluation's."""
        return int(self.subject["seed"] if "seed" in self.subject else self.record["seed"])

    @property
    def split(self) -> str:
        return name_of(self.folds) if self.folds else str(self.record["split"])

    @property
    def place(self) -> tuple[str, str, int, str]:
        return self.record["data"]["fingerprint"], self.split, len(self.folds), part_of(self.record)

    @property
    def key(self) -> tuple[Any, ...]:
        return (self.group, *self.place, self.trained, self.figure, self.judged)


def rows_of(runs: Sequence[Run]) -> list[Row]:
    """A row for every subject, dataset, split, figure and settings of the evaluation; by dataset and split,
    first the baselines, then the experiments as their folders are named.

    `experiment` the name, with what differs from the first of that name; `name` alone; `kind`, `method`,
    `group` (equal for seeds of the same training), `epoch` ('' where it was trained to the end), `dataset`,
    `fingerprint`, `split`, `part` (`test`, `validation` or `subjects`), `seen` (clips of the
    latter two in pre-training), `clips`, `protocol`, `figure`, `column` (the figure without a
    transfer's prefix), `transfer`; `values` by `seeds` (of the training;
    several of one seed are averaged), `mean`, `std` of the sample; `published` where it may stand beside,
    `in_print` and `differs` where it may not; `others`, what is published of methods that are not ours;
    `seconds` of the fastest run's pre-training; `body_gflops`
    and `clip_gflops`, what the encoder's features of one body and of a clip with the dataset's bodies cost,
    None where that is not known; `spoken`, the settings that matter, and all of them as values in `settings`;
    `input`, what is shown of a clip in other form than recorded; `synthetic`, `scale`.

    Of folds `split` is their common name, `clips` a fold's on average, `values` the means over `folds`,
    `fold_values` the figures of each seed by fold, `missing_folds` those that no seed that counts was judged
    on, and `left_out` the folds that seeds lack which do not count; see `mean_over`. All are empty elsewhere.
    """
    groups = Groups(runs)
    gathered: dict[tuple[Any, ...], list[_Value]] = {}
    for run in runs:
        for record in run.records:
            subject = groups.completed(record["subject"], run)
            group = groups.group(subject)
            folds = groups.folds(subject, record["data"], record["split"])
            for figure in record["figures"]:
                judged = digest_of(_how(record, subject, figure))
                value = _Value(record, subject, group, figure, judged, *folds)
                gathered.setdefault(value.key, []).append(value)
    firsts = {key: values[0] for key, values in gathered.items()}
    names, datasets = _names(groups, firsts), _datasets(list(firsts.values()))
    of_data: dict[str, list[Record]] = {}
    for record in (record for run in runs for record in run.records):
        of_data.setdefault(record["data"]["fingerprint"], []).append(record)
    bodies = {content: bodies_of(records) for content, records in of_data.items()}
    rows = [_row(groups, values, names[key], datasets, bodies) for key, values in gathered.items()]
    places = list(dict.fromkeys(value.place for value in firsts.values()))
    order = {key: _order(groups, value, places, names[key], key) for key, value in firsts.items()}
    return [row for _, row in sorted(zip(order.values(), rows, strict=True), key=lambda pair: pair[0])]


PERCENT = ("values", "fold_values", "mean", "std", "published", "in_print")


def row_as_values(row: Row) -> Row:
    """A row for scripts: keys that end in the unit, and no settings in words."""
    kept = {key: value for key, value in row.items() if key != "spoken"}
    return {f"{key}_percent" if key in PERCENT else key: value for key, value in kept.items()}


def _how(record: Record, subject: Subject, figure: str) -> dict[str, Any]:
    """Everything of an evaluation that decides a figure; its seed where it is not that of the training."""
    other = record["seed"] if subject.get("seed", record["seed"]) != record["seed"] else None
    return {**decisive(record, figure), **({} if other is None else {"seed": other})}


def _row(
    groups: Groups,
    values: Sequence[_Value],
    name: str,
    datasets: dict[str, str],
    bodies: dict[str, int | None],
) -> Row:
    first = values[0]
    record, subject, data = first.record, first.subject, first.record["data"]
    of_seeds: dict[int, dict[str, list[float]]] = {}
    for value in values:
        of_folds = of_seeds.setdefault(value.seed, {})
        of_folds.setdefault(value.record["split"], []).append(float(value.record["figures"][first.figure]))
    found = mean_over(of_seeds, first.folds or (record["split"],))
    transfer = not groups.home(subject, data["fingerprint"], data["dataset"], record["split"])
    figure = f"transfer {data['dataset']}-{first.split} {first.figure}" if transfer else first.figure
    experiment = groups.experiment(subject) if subject["kind"] == "encoder" else None
    gflops, most = gflops_of(record), bodies[data["fingerprint"]]
    published, in_print, differs = beside(record, subject, figure, experiment, found.missing)
    return {
        "experiment": name,
        "name": str(subject.get("experiment") or subject.get("name") or subject["kind"]),
        "kind": subject["kind"],
        "method": str(subject.get("method") or ""),
        "group": first.group,
        "epoch": epoch_in_words(subject),
        "dataset": datasets[data["fingerprint"]],
        "fingerprint": data["fingerprint"][:12],
        "split": first.split,
        "folds": list(found.folds) if first.folds else [],
        "missing_folds": list(found.missing),
        "left_out": {str(seed): list(folds) for seed, folds in found.left_out.items()},
        "part": part_of(record),
        "seen": any(bool(value.record.get("seen", False)) for value in values),
        "clips": _clips(values),
        "protocol": record["protocol"],
        "figure": figure,
        "column": first.figure,
        "transfer": transfer,
        "values": found.means,
        "fold_values": found.values if first.folds else [],
        "seeds": found.seeds,
        **spread(found.means),
        "published": published,
        "in_print": in_print,
        "differs": differs,
        "others": by_others(data, first.split, record),
        "seconds": groups.seconds(subject) if subject["kind"] == "encoder" else None,
        "body_gflops": gflops,
        "clip_gflops": gflops * most if gflops is not None and most is not None else None,
        "settings": record["settings"],
        "spoken": record["spoken"],
        "input": dict(subject.get("input", {})),
        "synthetic": bool(data.get("synthetic") or subject.get("synthetic")),
        "scale": experiment.scale if experiment else "",
    }


def _clips(values: Sequence[_Value]) -> dict[str, int]:
    """Of each part, of folds on average."""
    of_splits = {value.record["split"]: value.record["clips"] for value in values}
    if len(of_splits) == 1:
        return dict(values[0].record["clips"])
    parts = list(values[0].record["clips"])
    return {part: round(sum(of[part] for of in of_splits.values()) / len(of_splits)) for part in parts}


def _names(groups: Groups, firsts: dict[Any, _Value]) -> dict[Any, str]:
    """What each row's experiment is called: the subject's label, and where it was judged in several ways,
    how this one differs from the first."""
    ways: dict[tuple[Any, ...], dict[Any, _Value]] = {}
    for key, value in firsts.items():
        ways.setdefault((value.group, value.place, value.figure), {})[key] = value
    names: dict[Any, str] = {}
    for values in ways.values():
        reference = min(values.values(), key=lambda value: _place_among(groups, value))
        settings = _how_told(reference)
        own: dict[Any, str] = {}
        for key, value in values.items():
            changes = changed(differences(_how_told(value), settings))
            own[key] = with_changes(groups.label(value.subject), changes)
        names |= distinct(own, lambda key: str(key[-1]))
    return names


def _how_told(value: _Value) -> dict[str, Any]:
    how = _how(value.record, value.subject, value.figure)
    return {**how, **({"trained on split": value.trained} if value.trained else {})}


def _place_among(groups: Groups, value: _Value) -> tuple[bool, bool, str]:
    """As its experiment ships before others, then as its own run says, then the first that was made."""
    experiment = groups.experiment(value.subject) if value.subject["kind"] == "encoder" else None
    own = experiment is not None and _judged_as(experiment, value)
    return _unusual(value), not own, str(value.record.get("made", ""))


def _judged_as(experiment: Experiment, value: _Value) -> bool:
    how = _how(value.record, value.subject, value.figure)
    return how == shipped_decisive(experiment, value.record, value.figure)


def _unusual(value: _Value) -> bool:
    """Whether it was judged otherwise than its experiment ships."""
    known = shipped(str(value.subject.get("experiment", "")))
    if known is None:
        return True
    return not _judged_as(known, value)


def _datasets(values: Sequence[_Value]) -> dict[str, str]:
    """Names of the datasets by fingerprint, told apart by recipe or content where two share one."""
    found = {value.record["data"]["fingerprint"]: value.record["data"] for value in values}
    names = {content: str(data["dataset"]) for content, data in found.items()}
    shared = {name for name in names.values() if list(names.values()).count(name) > 1}
    told = {
        content: f"{name} (recipe {recipe_in_words(found[content]['recipe'])})" if name in shared else name
        for content, name in names.items()
    }
    return distinct(told)


def _order(
    groups: Groups, value: _Value, places: Sequence[tuple[str, str, int, str]], name: str, key: Any
) -> tuple[Any, ...]:
    protocols, figures = list(PROTOCOLS), list(value.record["figures"])
    protocol = value.record["protocol"]
    return (
        places.index(value.place),
        KINDS.index(value.subject["kind"]),
        groups.place(value.subject),
        _unusual(value) and name != groups.label(value.subject),
        name,
        protocols.index(protocol) if protocol in protocols else len(protocols),
        protocol,
        figures.index(value.figure),
        key,
    )
