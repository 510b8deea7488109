"""Rows as tables that one reads: for each dataset and split, experiments as rows and figures as columns, and
below them in words what the figures mean. The page, Markdown and the terminal show the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from amr_train.evaluation.features import BODIES, JOINTS, MEAN, MOTION, POSITIONS
from amr_train.evaluation.protocols import PROTOCOLS
from amr_train.models.flops import gflops_in_words
from amr_train.report.differences import leaders

Row = dict[str, Any]
SMALL = 5000
"""Training clips below which the converged probe is the headline."""
VALIDATION, BY_SUBJECT = "validation", "each training subject by the others"
SEEN = "seen without labels in pre-training"
CHOOSING = tuple(f"{mark}{more}" for mark in (VALIDATION, BY_SUBJECT) for more in ("", f", {SEEN}"))
"""Marks of figures that choices are made on."""
POOLINGS = (
    "mean: features averaged over time, joints and bodies. joints: averaged over time and bodies, every "
    "joint kept."
)
APART = "bodies: averaged over time, every joint of every body kept."
COORDINATES = (
    "coordinates: no encoder at all, the positions of every joint in every frame, or their motion from frame "
    "to frame; they stand in the columns of joints kept."
)

LEADS = (
    "bold: the highest trained encoder of its column, where its lead over each of the others exceeds the "
    "noise (paired by seed, 95 % t interval without zero). italic: the highest, which the seeds do not tell "
    "from the next."
)


@dataclass
class Line:
    """One experiment. `cells` : its rows by column.  `marks` : what sets it apart from the table, such as
    `synthetic`."""

    label: str
    kind: str
    cells: dict[str, Row] = field(default_factory=dict)
    marks: list[str] = field(default_factory=list)

    @property
    def seeds(self) -> int:
        return max(len(row["seeds"]) for row in self.cells.values())

    @property
    def seconds(self) -> float | None:
        return next((row["seconds"] for row in self.cells.values()), None)

    def gflops(self, of: str) -> str:
        """What its encoder costs; `of` : 'clip' or 'body'."""
        found = (row[f"{of}_gflops"] for row in self.cells.values())
        return gflops_in_words(next((value for value in found if value is not None), None))

    @property
    def name(self) -> str:
        return f"{self.label} [{', '.join(self.marks)}]" if self.marks else self.label


@dataclass
class Section:
    """What was judged on one split of a dataset. `marks` : of all its lines, for its title.  `columns` : in
    order.  `best` : each column's highest trained encoder, where its lead exceeds the noise between seeds.
    `highest` : where it does not, those that are highest.  `gflops` : what encoders cost, by their line's
    label.  `notes` : what the figures mean and which settings made them.  `others` : what is published of
    other methods."""

    title: str
    marks: list[str]
    columns: list[str]
    lines: list[Line]
    best: dict[str, set[str]]
    highest: dict[str, set[str]]
    gflops: dict[str, str]
    notes: list[str]
    published: list[str]
    differs: list[str]
    others: list[str]

    @property
    def heading(self) -> str:
        return (
            f"{self.title} [{', '.join(mark.upper() for mark in self.marks)}]" if self.marks else self.title
        )


def sections_of(rows: Sequence[Row]) -> list[Section]:
    """The tables, in the rows' order."""
    places: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        folds = len(row["folds"]) + len(row["missing_folds"])
        place = (row["dataset"], row["fingerprint"], row["split"], str(folds), row["part"])
        places.setdefault(place, []).append(row)
    return [_section(of_place) for of_place in places.values()]


def column_of(row: Row) -> tuple[str, str]:
    """Where a row's figure stands, and what its experiment is called there: a transfer beside what was
    trained here, the coordinates among the figures that keep the joints."""
    figure = str(row["column"])
    if row["transfer"]:
        return figure, f"{row['experiment']}, transferred"
    word, _, pooling = figure.rpartition(" ")
    if row["kind"] == "coordinates" and pooling in (POSITIONS, MOTION):
        return f"{word} {JOINTS}", f"{row['experiment']}, {pooling}"
    return figure, str(row["experiment"])


def cell(row: Row, seeds: int | None = None) -> str:
    """`57.7 ± 4.4`; with `(n 2)` where the line has another number of seeds, and `(2 of 5 folds)` where it is
    no mean over all folds."""
    text = f"{row['mean']:.1f}" + (f" ± {row['std']:.1f}" if len(row["seeds"]) > 1 else "")
    folds = len(row["folds"])
    few = [] if seeds in (None, len(row["seeds"])) else [f"n {len(row['seeds'])}"]
    some = [f"{folds} of {folds + len(row['missing_folds'])} folds"] if row["missing_folds"] else []
    return f"{text} ({', '.join([*few, *some])})" if few or some else text


def marks_of(row: Row) -> list[str]:
    """What a reader must know before the number."""
    scale = row["scale"]
    small = [f"scale {scale}"] if scale not in ("", "full") else []
    held = {"validation": [VALIDATION], "subjects": [BY_SUBJECT]}.get(row["part"], [])
    held = [f"{mark}, {SEEN}" if row["seen"] else mark for mark in held]
    return [*held, *(["synthetic"] if row["synthetic"] else []), *small]


def all_marks(rows: Sequence[Row]) -> list[str]:
    """Every mark that any row has."""
    return list(dict.fromkeys(mark for row in rows for mark in marks_of(row)))


def _section(rows: Sequence[Row]) -> Section:
    lines: dict[str, Line] = {}
    for row in rows:
        column, label = column_of(row)
        line = lines.setdefault(label, Line(label, row["kind"]))
        line.cells[column] = row
        line.marks = list(dict.fromkeys([*line.marks, *marks_of(row)]))
    ranked = [line for line in lines.values() if line.kind == "encoder"]
    common = [
        mark for mark in all_marks(rows) if all(mark in line.marks for line in ranked or lines.values())
    ]
    for line in lines.values():
        line.marks = [mark for mark in line.marks if mark not in common and mark not in line.label]
    columns = _columns(list(lines.values()))
    best: dict[str, set[str]] = {}
    highest: dict[str, set[str]] = {}
    for column in columns:
        among = [line for line in ranked if column in line.cells and not line.cells[column]["missing_folds"]]
        found, clear = leaders({line.label: line.cells[column] for line in among})
        (best if clear else highest)[column] = found
    of = "body" if all(row["clip_gflops"] is None for row in rows) else "clip"
    return Section(
        _title(rows[0]),
        common,
        columns,
        list(lines.values()),
        best,
        highest,
        {line.label: line.gflops(of) for line in lines.values()},
        [*_notes(rows, columns), *_costs(rows)],
        _published(rows),
        _differs(rows),
        _others(rows),
    )


def _title(row: Row) -> str:
    clips, part = row["clips"], row["part"]
    counts = f"{clips['train']:,} training and {clips[part]:,} {part} clips"
    if part == "subjects":
        counts = f"{clips[part]:,} training clips"
    folds = len(row["folds"]) + len(row["missing_folds"])
    if folds:
        return f"{row['dataset']}, mean over {folds} folds: about {counts} in each"
    return f"{row['dataset']}, {row['split']}: {counts}"


def _columns(lines: Sequence[Line]) -> list[str]:
    """By protocol, the published pooling before the other; what only baselines have stands among them."""
    found = {column: row for line in lines for column, row in line.cells.items()}
    protocols, order = list(PROTOCOLS), list(found)

    def place(column: str) -> tuple[int, str, int, int]:
        name = found[column]["protocol"]
        number = protocols.index(name) if name in protocols else len(protocols)
        pooling = {JOINTS: 1, BODIES: 2}.get(column.rpartition(" ")[2], 0)
        return number, name, pooling, order.index(column)

    return sorted(found, key=place)


def _notes(rows: Sequence[Row], columns: Sequence[str]) -> list[str]:
    found = []
    clips = rows[0]["clips"]["train"]
    if clips < SMALL and any(row["protocol"] == "linear" for row in rows):
        probe = any(column.startswith("logistic ") for column in columns)
        headline = "logistic, a converged probe, is the headline" if probe else "no figure here is a headline"
        others = "the others are" if probe else "the figures are"
        more = "" if probe else "; the protocol logistic, a converged probe, would be one"
        found.append(
            f"With {clips:,} training clips, SGD probes end before they converge: {headline}{more}; {others} "
            "given as the published protocols have them."
        )
    if any(column.endswith((f" {MEAN}", f" {JOINTS}")) for column in columns):
        found.append(POOLINGS)
    if any(column.endswith(f" {BODIES}") for column in columns):
        found.append(APART)
    if any(row["kind"] == "coordinates" for row in rows):
        found.append(COORDINATES)
    if len({row["experiment"] for row in rows if row["kind"] == "encoder"}) > 1:
        found.append(LEADS)
    return [*found, *_folds(rows), *_shown(rows), *_spoken(rows)]


def _folds(rows: Sequence[Row]) -> list[str]:
    """What means over folds lack, one line for all figures of an experiment that lack the same."""
    lacking: dict[tuple[str, str], dict[str, None]] = {}
    for row in rows:
        if row["missing_folds"]:
            words = f"{', '.join(row['folds'])} alone, without {', '.join(row['missing_folds'])}"
            lacking.setdefault((row["experiment"], words), {})[row["column"]] = None
        for seed, folds in row["left_out"].items():
            words = f"seed {seed} is left out, for it lacks {', '.join(folds)}"
            lacking.setdefault((row["experiment"], words), {})[row["column"]] = None
    found = [f"{name}, {', '.join(columns)}: {words}" for (name, words), columns in lacking.items()]
    if any(row["folds"] for row in rows):
        found.insert(0, "A seed's value is the mean over its folds; the spread is that over seeds.")
    return found


def _costs(rows: Sequence[Row]) -> list[str]:
    """What the column of costs counts."""
    known = [row for row in rows if row["body_gflops"] is not None]
    if not known:
        return []
    bodies = {round(r["clip_gflops"] / r["body_gflops"]) for r in known if r["clip_gflops"] is not None}
    clip = f"a clip of {max(bodies)} bodies" if bodies else "one body"
    part = f", {max(bodies)} times those of one body" if bodies else ""
    if bodies == {1}:
        clip, part = "a clip of one body", ""
    return [
        f"GFLOPs: those of the encoder's features of {clip}{part}; two for a multiply-add, with the products "
        "inside attention."
    ]


def _shown(rows: Sequence[Row]) -> list[str]:
    """`input: frame first, stream bone (names)`, one line a form in which clips are shown, if not as
    recorded."""
    forms: dict[str, dict[str, None]] = {}
    for row in (row for row in rows if row["kind"] != "fused"):
        words = ", ".join(f"{key} {value}" for key, value in row["input"].items()) or "as recorded"
        forms.setdefault(words, {})[row["experiment"]] = None
    if list(forms) in ([], ["as recorded"]):
        return []
    names = {words: f" ({', '.join(found)})" if len(forms) > 1 else "" for words, found in forms.items()}
    return [f"input: {words}{names[words]}" for words in forms]


def _spoken(rows: Sequence[Row]) -> list[str]:
    """`linear: lr 0.1, batch 256`, one line a distinct setting, with names where there are several."""
    settings: dict[str, dict[str, dict[str, None]]] = {}
    for row in rows:
        if row["spoken"]:
            of_protocol = settings.setdefault(row["protocol"], {})
            of_protocol.setdefault(row["spoken"], {})[row["experiment"]] = None
    return [
        f"{protocol}: {spoken}" + (f" ({', '.join(names)})" if len(found) > 1 else "")
        for protocol, found in settings.items()
        for spoken, names in found.items()
    ]


def _published(rows: Sequence[Row]) -> list[str]:
    return [
        f"{row['experiment']}, {row['figure']}: published {row['published']:.1f}, here "
        f"{row['mean'] - row['published']:+.1f}"
        for row in rows
        if row["published"] is not None
    ]


def _differs(rows: Sequence[Row]) -> list[str]:
    """One line for all figures of an experiment that differ alike from what was published."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row["differs"]:
            value = f"{row['figure']} {row['in_print']:.1f}"
            found.setdefault((row["experiment"], row["differs"]), []).append(value)
    return [
        f"{name}: not beside the published {', '.join(values)}, for it has {why}"
        for (name, why), values in found.items()
    ]


def _others(rows: Sequence[Row]) -> list[str]:
    """One line for all methods that were judged alike."""
    found: dict[str, dict[str, None]] = {}
    for one in (one for row in rows for one in row["others"]):
        words = f"{one['name']} {one['top1_percent']:.1f} ({one['source']})"
        found.setdefault(one["protocol"], {})[words] = None
    return [f"others, as published ({protocol}): {', '.join(each)}" for protocol, each in found.items()]
