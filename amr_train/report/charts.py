"""What the page draws of tables and trainings, as plain values: seeds and intervals, paired differences, cost
against accuracy, curves. How it is drawn is the page's script's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any

from amr_data.recipes.motion import WINDOWS
from amr_train.experiments.loading import method_names
from amr_train.models.flops import count_flops, encoder_flops
from amr_train.models.masked import MaskedReconstruction
from amr_train.report.collect import Curve, Run
from amr_train.report.differences import Difference, interval, of_sample, paired
from amr_train.report.pivot import SMALL, Line, Row, Section

ACCURACY = {True: "logistic mean", False: "linear mean"}
"""The headline where the training part is small and elsewhere."""
MOST_POINTS = 400
"""Of a curve."""
MOST_WEIGHTS, MOST_FLOPS = 10**9, 10**13
"""Of a network that is made to count what its forward pass costs: a few bytes of settings ask for any."""
Values = dict[str, Any]
Labelled = Mapping[str, Sequence[Run]]
"""Runs by what their experiment is called, seeds together."""


def headline(section: Section) -> str:
    """The column that costs and differences show first."""
    rows = [row for line in section.lines for row in line.cells.values()]
    small = all(row["clips"]["train"] < SMALL for row in rows)
    wanted = (ACCURACY[small], ACCURACY[False])
    of_encoders = [c for c in section.columns if any(c in line.cells for line in encoders(section))]
    return next((c for c in wanted if c in of_encoders), (of_encoders or section.columns)[0])


def encoders(section: Section) -> list[Line]:
    """The lines that are no baselines."""
    return [line for line in section.lines if line.kind not in ("coordinates", "untrained")]


def reference(section: Section) -> str:
    """The experiment that others are compared with at first: the highest in the headline."""
    column = headline(section)
    of_column = [line for line in encoders(section) if column in line.cells]
    return max(of_column or section.lines, key=lambda line: _mean(line, column)).label


def _mean(line: Line, column: str) -> float:
    return float(line.cells[column]["mean"]) if column in line.cells else float("-inf")


def compared(section: Section) -> dict[str, dict[str, Difference]]:
    """Of every other experiment to the reference, by its label and by column."""
    first = next(line for line in section.lines if line.label == reference(section))
    found: dict[str, dict[str, Difference]] = {}
    for line in (line for line in section.lines if line is not first):
        for column in section.columns:
            if column in line.cells and column in first.cells:
                difference = paired(line.cells[column], first.cells[column])
                if difference is not None:
                    found.setdefault(line.label, {})[column] = difference
    return found


def compared_values(section: Section) -> list[Values]:
    """The same for scripts."""
    less = reference(section)
    return [
        {
            "experiment": label,
            "less": less,
            "figure": column,
            "seeds": list(found.seeds),
            "values_percent": list(found.values),
            "mean_percent": found.mean,
            "low_percent": found.low,
            "high_percent": found.high,
        }
        for label, columns in compared(section).items()
        for column, found in columns.items()
    ]


def section_values(section: Section, runs: Mapping[str, Run]) -> Values:
    """A table's figures with their seeds, every pair's differences, and what the headline costs. `runs` : one
    of each group."""
    return {
        "title": section.title,
        "headline": headline(section),
        "reference": reference(section),
        "lines": [
            {"label": line.label, "experiment": _experiment(line), "kind": line.kind}
            for line in section.lines
        ],
        "figures": [_figure(section, column) for column in section.columns],
        "costs": _costs(section, runs),
    }


def _experiment(line: Line) -> str:
    return str(next(iter(line.cells.values()))["experiment"])


def _figure(section: Section, column: str) -> Values:
    cells = {n: line.cells[column] for n, line in enumerate(section.lines) if column in line.cells}
    pairs = []
    for one, other in combinations(cells, 2):
        found = paired(cells[one], cells[other])
        if found is not None:
            about = {"seeds": found.seeds, "values": _rounded(found.values), "mean": round(found.mean, 4)}
            between = None if found.low is None or found.high is None else _rounded((found.low, found.high))
            pairs.append({"one": one, "other": other, **about, "interval": between})
    return {
        "name": column,
        "rows": [{"line": line, **_row(row)} for line, row in cells.items()],
        "pairs": pairs,
    }


def _row(row: Row) -> Values:
    several = len(row["values"]) > 1
    between = interval(row["values"]) if several else of_sample(row)
    return {
        "seeds": row["seeds"],
        "values": _rounded(row["values"]),
        "mean": round(row["mean"], 4),
        "std": round(row["std"], 4),
        "interval": None if between is None else _rounded(between),
        "of": "seeds" if several else "clips",
        "published": row["published"],
        "in_print": row["in_print"],
    }


def _rounded(values: Sequence[float]) -> list[float]:
    return [round(float(value), 4) for value in values]


def _costs(section: Section, runs: Mapping[str, Run]) -> list[Values]:
    """The headline against seconds of pre-training, and against FLOPs of a forward pass of one body."""
    column = headline(section)
    ours = {
        number: line.cells[column]
        for number, line in enumerate(section.lines)
        if column in line.cells and not line.cells[column]["transfer"]
    }
    trained = {n: row for n, row in ours.items() if row["seconds"] is not None and row["group"] in runs}
    seconds = {n: max(row["seconds"], 1e-3) for n, row in trained.items()}
    counted = {n: flops_of(runs[row["group"]]) for n, row in trained.items()}
    flops = {n: count / 1e6 for n, count in counted.items() if count is not None}
    named = (("seconds of pre-training", seconds), ("MFLOPs of a forward pass, one body", flops))
    return [
        {"name": name, "points": [{"line": n, "cost": value} for n, value in cost.items()]}
        for name, cost in named
        if cost
    ]


def flops_of(run: Run) -> int | None:
    """FLOPs of a forward pass of one body, attention included; None for a method of one's own, whose code is
    not run for a report, and for a network that would have to be made first and is too large for that."""
    experiment, joints = run.experiment, run.record["encoder"].get("joints")
    if experiment is None or experiment.method not in method_names() or not isinstance(joints, int):
        return None
    guidance = experiment.guidance.model_copy(update={"source": "online"})
    model = experiment.model.model_copy(update={"joints": "index", "names": []})  # which cost the same
    layers = model.encoder_layers + model.decoder_layers
    of_all = model.model_copy(update={"encoder_layers": layers})
    if layers * 12 * model.width**2 > MOST_WEIGHTS or encoder_flops(of_all, joints) > MOST_FLOPS:
        return None
    online = experiment.model_copy(update={"guidance": guidance, "model": model})
    return sum(count_flops(MaskedReconstruction(online, joints, WINDOWS), bodies=1))


def curve_values(runs: Labelled) -> list[Values]:
    """Training loss as a share of the first epoch's, since methods' losses have different units, and the
    accuracy of the nearest neighbour on held-out training clips; each by epoch, a line a run."""

    def share(run: Run) -> Curve:
        first = next((loss for _, loss in run.curve), 0.0)
        return [(epoch, loss / first) for epoch, loss in run.curve] if first else []

    charts = (
        ("loss / loss of the first epoch", share),
        ("kNN on held-out training clips, %", lambda run: run.monitor),
    )
    return [found for name, curve in charts if (found := _curves(name, runs, curve))["lines"]]


def _curves(name: str, runs: Labelled, curve: Callable[[Run], Curve]) -> Values:
    lines = [
        {"experiment": label, "run": run.path.name, "seed": run.seed, "points": _thinned(points)}
        for label, of_label in runs.items()
        for run in of_label
        if (points := curve(run))
    ]
    return {"name": name, "lines": lines}


def _thinned(points: Curve) -> list[list[float]]:
    step = -(-len(points) // MOST_POINTS)
    return [[epoch, round(value, 5)] for epoch, value in points[::step]]
