"""The report's pictures as SVG text: curves, cost against accuracy, confusion, features in the plane."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, MaxNLocator

from amr_data import AmrError, ShardDataset, open_dataset
from amr_data.recipes.motion import WINDOWS
from amr_train.deploy.predicting import embed
from amr_train.evaluation.features import MEAN, kept_features
from amr_train.evaluation.parts import judging_clips
from amr_train.experiments.loading import method_names
from amr_train.models.flops import count_flops
from amr_train.models.masked import MaskedReconstruction
from amr_train.report.collect import Curve, Run
from amr_train.report.pivot import SMALL

CLIPS_SHOWN = 600
MOST_NAMED = 20
MARKERS = "os^D"
ACCURACY = {True: "logistic mean", False: "linear mean"}
"""The accuracy that cost is set against, where all training parts are small and elsewhere."""
"""The figure that is drawn against costs."""
Labelled = Mapping[str, Sequence[Run]]
"""Runs by what their experiment is called, seeds together."""


def losses(runs: Labelled) -> str | None:
    """Training loss by epoch, each run's as a share of its first epoch's: methods' losses have different
    units."""

    def share(run: Run) -> Curve:
        first = next((loss for _, loss in run.curve), 0.0)
        return [(epoch, loss / first) for epoch, loss in run.curve] if first else []

    return _lines(runs, share, "loss / loss of the first epoch")


def monitored(runs: Labelled) -> str | None:
    """Accuracy of the nearest neighbour on held-out training clips while the encoders were trained."""
    return _lines(runs, lambda run: run.monitor, "kNN on held-out training clips, %", marker=".")


def _lines(runs: Labelled, curve: Callable[[Run], Curve], label: str, **style: Any) -> str | None:
    drawn = {name: [c for c in map(curve, of_name) if c] for name, of_name in runs.items()}
    if not any(drawn.values()):
        return None
    figure, axes = _figure(4.6, 3.4)
    for index, (name, curves) in enumerate(drawn.items()):
        for number, found in enumerate(curves):
            named = None if number else _literal(name)
            epochs, values = zip(*found, strict=True)
            axes.plot(epochs, values, color=f"C{index % 10}", lw=1, label=named, **style)
    axes.set(xlabel="epoch", ylabel=label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(fontsize=7, frameon=False)
    return _svg(figure)


def costs(rows: Sequence[dict[str, Any]], runs: Mapping[str, Run]) -> list[str]:
    """Accuracy of a linear layer against seconds of pre-training, and against FLOPs of a forward pass of one
    body.
    `runs` : one of each group. Figures of the validation part only where there are none of the test part."""
    part = "test" if any(row["part"] == "test" for row in rows) else "validation"
    rows = [row for row in rows if row["part"] == part]
    small = all(row["clips"]["train"] < SMALL for row in rows)
    converged = small and any(row["figure"] == ACCURACY[True] for row in rows)
    accuracy = ACCURACY[converged]
    linear = {
        row["experiment"]: row
        for row in rows
        if row["figure"] == accuracy and row["seconds"] is not None and row["group"] in runs
    }
    if not linear:
        return []
    seconds = {name: max(row["seconds"], 1e-3) for name, row in linear.items()}
    counted = {name: flops_of(runs[row["group"]]) for name, row in linear.items()}
    flops = {name: count / 1e6 for name, count in counted.items() if count is not None}
    drawn = []
    for label, cost in (("seconds of pre-training", seconds), ("MFLOPs of a forward pass, one body", flops)):
        if not cost:
            continue
        figure, axes = _figure(4.6, 3.4)
        for index, (name, row) in enumerate(linear.items()):
            if name in cost:
                marker, colour = MARKERS[index // 10 % len(MARKERS)], f"C{index % 10}"
                axes.plot(cost[name], row["mean"], marker, color=colour, label=_literal(name))
        axes.set(xscale="log", xlabel=label, ylabel=f"{accuracy}, {part} part, top-1 in %")
        axes.xaxis.set_major_formatter(LogFormatter(minor_thresholds=(2, 0.5)))
        axes.xaxis.set_minor_formatter(LogFormatter(minor_thresholds=(2, 0.5)))
        axes.margins(0.15)
        axes.legend(fontsize=7, frameon=False)
        drawn.append(_svg(figure))
    return drawn


def flops_of(run: Run) -> int | None:
    """FLOPs of a forward pass of one body, attention included; None for a method of one's own, whose code is
    not run for a report."""
    experiment, joints = run.experiment, run.record["encoder"].get("joints")
    if experiment is None or experiment.method not in method_names() or not isinstance(joints, int):
        return None
    guidance = experiment.guidance.model_copy(update={"source": "online"})
    model = experiment.model.model_copy(update={"joints": "index", "names": []})  # which cost the same
    online = experiment.model_copy(update={"guidance": guidance, "model": model})
    return sum(count_flops(MaskedReconstruction(online, joints, WINDOWS), bodies=1))


def confusion(counts: npt.NDArray[np.float64], classes: Sequence[str]) -> str | None:
    """Share of each class's clips by the class that they were taken for; counts : (C, C)."""
    present = (counts.sum(axis=1) > 0) | (counts.sum(axis=0) > 0)
    counts = counts[present][:, present]
    names = [_literal(name) for name, here in zip(classes, present, strict=True) if here]
    if not names:
        return None
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure, axes = _figure(5.2, 4.6)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if len(names) <= MOST_NAMED:
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
        axes.set_yticks(range(len(names)), names, fontsize=7)
    axes.set(xlabel="taken for", ylabel="class")
    figure.colorbar(image, shrink=0.8, label="share of the class")
    return _svg(figure)


def plane(run: Run, note: Callable[[str], None]) -> str | None:
    """t-SNE of the features of the clips that judge, coloured by class; None where the dataset has gone or is
    another now, or scikit-learn is not installed."""
    try:
        from sklearn.manifold import TSNE
    except ImportError:
        note("t-SNE is left out: pip install 'amr-skeleton[report]'")
        return None
    assert run.experiment is not None
    try:
        dataset = open_dataset(Path(str(run.record["data"]["path"])))
        if dataset.fingerprint != run.record["data"]["fingerprint"]:
            raise AmrError(f"{dataset.path} holds other clips than it was trained on")
        split, part = str(run.experiment.data.split), run.experiment.evaluation.part
        clips = judging_clips(dataset, split, part)[:CLIPS_SHOWN]
        if len(clips) < 5:
            return None
        features = _features(run, dataset, clips)
    except (AmrError, KeyError) as error:
        note(f"features of {run.path} are left out: {error}")
        return None
    tsne = TSNE(2, perplexity=min(30, len(clips) / 4), init="pca", random_state=0)
    points = tsne.fit_transform(features)
    figure, axes = _figure(4.6, 4.2)
    axes.scatter(*points.T, c=dataset.clips["label"][clips] % 20, cmap="tab20", s=9, lw=0)
    axes.set(xticks=[], yticks=[])
    return _svg(figure)


def _features(run: Run, dataset: ShardDataset, clips: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Mean features of some clips: those that an evaluation kept, made anew where there are none."""
    joints = len(dataset.spec.skeleton.joints)
    for file in sorted((run.path / "features").glob(f"*-{dataset.fingerprint[:12]}-*.safetensors")):
        if file.name.split("-")[0] in own_weights(run):
            found = kept_features(file, len(dataset), joints, torch.device("cpu"))
            if found is not None:
                kept: npt.NDArray[np.float32] = found[MEAN].numpy()[clips]
                return kept
    return embed(run.path, dataset.path, device="cpu", clips=clips)[0]


def own_weights(run: Run) -> set[str]:
    """Digests of the run's encoder, trained to the end."""
    subjects = [record["subject"] for record in run.records]
    return {
        subject["digest"]
        for subject in subjects
        if subject["kind"] == "encoder"
        and subject["training"] == run.record.get("digest")
        and subject["epoch"] >= subject["epochs"]
    }


def _literal(text: str) -> str:
    """Text that Matplotlib draws as it is: no formulas, and a label that begins with an underscore too."""
    return text.replace("$", r"\$") if not text.startswith("_") else "\u200b" + text.replace("$", r"\$")


def _figure(width: float, height: float) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasSVG(figure)
    return figure, figure.subplots()


def _svg(figure: Figure) -> str:
    """The drawing alone, scaling with the page, with identifiers of its own so that several can stand on one
    page."""
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    text = re.sub(r"^.*?(?=<svg)", "", out.getvalue(), flags=re.DOTALL)
    unique = f"p{torch.randint(1 << 62, ()).item():x}-"
    text = re.sub(r'\bid="', f'id="{unique}', text)
    text = re.sub(r'(xlink:href="#|url\(#)', rf"\g<1>{unique}", text)
    return re.sub(
        r'<svg([^>]*?) width="[^"]*"',
        r"<svg\1",
        re.sub(r'<svg([^>]*?) height="[^"]*"', r"<svg\1", text, count=1),
        count=1,
    )
