"""The report's pictures as SVG text: curves, cost against accuracy, confusion, features in the plane."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, MaxNLocator

from amr_data import AmrError, open_dataset
from amr_data.recipes.motion import WINDOWS
from amr_train.evaluation.classifier import embed
from amr_train.models.flops import count_flops
from amr_train.models.masked import MaskedModel
from amr_train.report.collect import Run
from amr_train.training.folder import recorded_experiment

CLIPS_SHOWN = 600
MOST_NAMED = 20
MARKERS = "os^D"


def curves(runs: Sequence[Run]) -> str | None:
    """Training loss by epoch, each run's as a share of its first epoch's: methods' losses have different
    units."""
    figure, axes = _figure(7, 3.6)
    names = list(dict.fromkeys(run.name for run in runs if run.curve))
    if not names:
        return None
    for index, name in enumerate(names):
        for number, run in enumerate(r for r in runs if r.name == name and r.curve):
            epochs, losses = zip(*run.curve, strict=True)
            axes.plot(
                epochs,
                np.array(losses) / losses[0],
                color=f"C{index % 10}",
                lw=1,
                label=None if number else name,
            )
    axes.set(xlabel="epoch", ylabel="loss / loss of the first epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(fontsize=8, frameon=False)
    return _svg(figure)


def costs(rows: Sequence[dict[str, Any]], runs: Sequence[Run]) -> list[str]:
    """Linear accuracy against seconds of pre-training, and against FLOPs of a forward pass of one body."""
    linear = {
        row["experiment"]: row for row in rows if row["protocol"] == "linear" and row["seconds"] is not None
    }
    firsts = {run.name: run for run in reversed(runs) if run.name in linear}
    if not firsts:
        return []
    flops = {name: flops_of(run) / 1e9 for name, run in firsts.items()}
    seconds = {name: max(row["seconds"], 1e-3) for name, row in linear.items()}
    drawn = []
    for label, costs in (("seconds of pre-training", seconds), ("GFLOPs of a forward pass, one body", flops)):
        figure, axes = _figure(4.6, 3.4)
        for index, (name, row) in enumerate(linear.items()):
            axes.plot(
                costs[name],
                row["mean"],
                MARKERS[index // 10 % len(MARKERS)],
                color=f"C{index % 10}",
                label=name,
            )
        axes.set(xscale="log", xlabel=label, ylabel="linear, top-1 in %")
        axes.xaxis.set_major_formatter(LogFormatter(minor_thresholds=(2, 0.5)))
        axes.xaxis.set_minor_formatter(LogFormatter(minor_thresholds=(2, 0.5)))
        axes.margins(0.15)
        axes.legend(fontsize=7, frameon=False)
        drawn.append(_svg(figure))
    return drawn


def flops_of(run: Run) -> int:
    """FLOPs of a forward pass of one body, attention included."""
    experiment = recorded_experiment(run.record)
    experiment = experiment.model_copy(
        update={"guidance": experiment.guidance.model_copy(update={"source": "online"})}
    )
    joints = len(open_joints(run))
    return sum(count_flops(MaskedModel(experiment, joints, WINDOWS), bodies=1))


def open_joints(run: Run) -> list[str]:
    """Joint names of the run's encoder."""
    from amr_train.models.files import load_encoder

    config = load_encoder(run.path).config
    return config.joint_names or [str(i) for i in range(config.joints)]


def confusion(run: Run, classes: Sequence[str]) -> str | None:
    """Share of each class's test clips by the class that the linear layer took them for."""
    counts = np.array(run.results["protocols"]["linear"]["confusion"], dtype=float)
    present = (counts.sum(axis=1) > 0) | (counts.sum(axis=0) > 0)
    counts, names = (
        counts[present][:, present],
        [name for name, here in zip(classes, present, strict=True) if here],
    )
    if not len(names):
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
    """t-SNE of the test clips' features, coloured by class; None where the dataset has gone or scikit-learn
    is not installed."""
    path = Path(run.record["data"]["path"])
    try:
        from sklearn.manifold import TSNE

        dataset = open_dataset(path)
        clips = dataset.split(run.results["protocol"], "test")[:CLIPS_SHOWN]
        if len(clips) < 5:
            return None
        features, _ = embed(run.path, path, device="cpu", clips=clips)
    except ImportError:
        note("t-SNE is left out: pip install 'amr-skeleton[report]'")
        return None
    except AmrError as error:
        note(f"features of {run.path} are left out: {error}")
        return None
    tsne = TSNE(2, perplexity=min(30, len(clips) / 4), init="pca", random_state=0)
    points = tsne.fit_transform(features)
    figure, axes = _figure(4.6, 4.2)
    axes.scatter(*points.T, c=dataset.clips["label"][clips] % 20, cmap="tab20", s=9, lw=0)
    axes.set(xticks=[], yticks=[])
    return _svg(figure)


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
