"""The pictures of README and docs, from NW-UCLA's clips: `make figures UCLA=all_sqe.zip`; only the README's
moving one, from synthetic clips and a small run on them: `python docs/figures.py hero .figures`; only its
table of results as bars: `python docs/figures.py results`."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.patches import Patch
from playwright.sync_api import sync_playwright

from amr_data import convert, open_dataset
from amr_data.looking.faults import find_faults
from amr_data.looking.inspection import dataset_summary, find_clips
from amr_data.synth import synthesize
from amr_data.viz import clip_scene, contact_sheet, viewer_page, write_animation
from amr_data.viz.overview import overview_page
from amr_train import load_experiment, run_experiment
from amr_train.deploy.overlays import model_scenes

IMAGES = Path(__file__).parent / "images"
CLIP = "a05_s06_e04_v03"
PUSHING = "S002C003P001R001A052"


def hero(scratch: Path) -> None:
    """What goes in, what the mask leaves of it, and what a model that was trained for a minute makes of
    that."""
    if not (scratch / "hero").is_dir():
        synthesize(scratch / "raw", "ntu60", classes=8, subjects=4, replications=1)
        convert(scratch / "raw", scratch / "hero", "ntu60")
    dataset = open_dataset(scratch / "hero")
    run_experiment(load_experiment("demo", [f"data.path={dataset.path}"]), scratch / "hero-run")
    scene = model_scenes(scratch / "hero-run", dataset, [dataset.index(PUSHING)], seed=1)[0]
    write_animation(scene, IMAGES / "hero.gif", height=330)


def results() -> None:
    """The README's table, a panel for each dataset, a bar for each method."""
    text = (IMAGES.parents[1] / "README.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line[:1] == "|"]
    head = next(row for row in rows if row[:2] == ["", ""] and "agreement" in row)
    first = rows.index(head) + 2
    methods = head[2:]
    name, panels = "", dict[str, dict[str, list[str]]]()
    for dataset, protocol, *cells in rows[first:]:
        if len(cells) != len(methods):
            break
        name = dataset or name
        panels.setdefault(name, {})[protocol] = cells
    colours = [
        "#b8bec6",
        "#d9dde2",
        "#8fb3d9",
        "#5b8fc7",
        "#2f6db0",
        "#d9622b",
        "#a8431a",
        "#e79a6f",
        "#f3c9af",
    ]
    figure = Figure(figsize=(12, 5.4), layout="constrained")
    shown = ("converged", "kNN")
    for number, axes in enumerate(figure.subplots(len(shown), len(panels), sharey="row").flat):
        protocol, (name, figures) = shown[number // len(panels)], list(panels.items())[number % len(panels)]
        for place, (method, colour) in enumerate(zip(methods, colours, strict=True)):
            cell = figures[protocol][place]
            if not (found := re.findall(r"\d+\.\d+", cell)):
                axes.text(place, 2, "not measured", rotation=90, ha="center", fontsize=7, color="#777")
                continue
            mean, *spread = map(float, found)
            bar = axes.bar(place, mean, 0.85, color=colour)[0]
            if "¹" in cell or "³" in cell:
                bar.set(hatch="///", edgecolor="white", linewidth=0)
            if spread:
                axes.errorbar(place, mean, spread[0], color="#333", lw=1, capsize=2)
            ink = "white" if method.startswith(("MAMP", "AMR", "agreement")) else "black"
            axes.text(place, 2, f"{mean:.0f}", ha="center", fontsize=8, color=ink)
        axes.set(xticks=[], ylim=(0, 100))
        axes.spines[["top", "right"]].set_visible(False)
        if number < len(panels):
            axes.set_title(name, fontsize=11)
        if number % len(panels) == 0:
            axes.set_ylabel({"converged": "converged probe, %", "kNN": "nearest neighbour, %"}[protocol])
    few = Patch(facecolor="#999", hatch="///", edgecolor="white", label="one seed or fold")
    handles = [Patch(color=colour, label=method) for method, colour in zip(methods, colours, strict=True)]
    place = {"loc": "outside lower center", "ncols": 5, "frameon": False, "fontsize": 9}
    figure.legend(handles=[*handles, few], **place)
    figure.savefig(IMAGES / "results.png", dpi=90)


def main(archive: Path, scratch: Path) -> None:
    convert([archive], scratch / "nw-ucla", "nw-ucla")
    dataset = open_dataset(scratch / "nw-ucla")
    index = find_clips(dataset, [CLIP])[0]
    scene = clip_scene(dataset, index)
    contact_sheet(scene).savefig(IMAGES / "clip.png", dpi=100)
    write_animation(scene, IMAGES / "clip.gif", scene.layers[0], height=320)
    run = scratch / "run"
    run_experiment(load_experiment("nw-ucla-amr", [f"data.path={dataset.path}", "pretrain.epochs=30"]), run)
    contact_sheet(model_scenes(run, dataset, [index])[0], poses=7).savefig(
        IMAGES / "reconstruction.png", dpi=80
    )
    pages = {
        "viewer": viewer_page([clip_scene(dataset, i) for i in [index, *find_clips(dataset, random=11)]]),
        "overview": overview_page(dataset_summary(dataset), find_faults(dataset)),
    }
    with sync_playwright() as p:
        options = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
        browser = p.chromium.launch(executable_path=shutil.which("chromium"), args=options)
        for name, text in pages.items():
            path = scratch / f"{name}.html"
            path.write_text(text, encoding="utf-8")
            page = browser.new_page(viewport={"width": 1100, "height": 760})
            page.goto(path.resolve().as_uri())
            if name == "viewer":
                page.wait_for_selector("body[data-ready]")
                page.fill("#scrub", "8")
                page.evaluate("() => document.activeElement.blur()")
                page.wait_for_timeout(500)
            page.screenshot(path=IMAGES / f"{name}.png")
        browser.close()


if __name__ == "__main__":
    if sys.argv[1:] != ["results"]:
        hero(Path(sys.argv[2]))
        if sys.argv[1] != "hero":
            main(Path(sys.argv[1]), Path(sys.argv[2]))
    results()
