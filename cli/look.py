"""amr-data: inspect and serve."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.live import Live
from rich.text import Text

from amr_cli.recording import PICTURES, check_recording, show_recording
from amr_cli.show import doubts_in_words, print_clip, print_clips, print_dataset, print_faults
from amr_cli.ui import ANEW, Within, console, guarded_saying, progress_bar, say, tell, warn
from amr_data import Record, ShardDataset, UsageError, open_dataset

if TYPE_CHECKING:
    from amr_data.viz import Scene


@click.command("inspect")
@click.argument("dataset_dir", type=click.Path(path_type=Path))
@click.option(
    "--clip",
    "clips",
    multiple=True,
    help="A clip's name, a glob such as 'S001*A058', or its index; may be repeated.",
)
@click.option("--class", "class_name", help="Clips of a class: its number, or a part of its name.")
@click.option("--random", type=int, help="Draw so many of the clips, and show them all.")
@click.option("--worst", type=click.IntRange(min=1), help="The most suspicious clips, so many of them.")
@click.option(
    "--seed",
    default=0,
    show_default=True,
    type=click.IntRange(min=0),
    help="Seed of --random, and of the mask of --run.",
)
@click.option("--recording", help="A recording that was kept whole: its name, or its number.")
@click.option("--timeline", is_flag=True, help="Of a recording: print what happens when.")
@click.option(
    "--found",
    type=click.Path(path_type=Path),
    help="Of a recording: intervals that were found in it (.json or .csv), to be shown beside the true ones.",
)
@click.option(
    "--raw",
    multiple=True,
    type=click.Path(path_type=Path),
    help="The raw sources: shows a clip beside its raw bodies.",
)
@click.option(
    "--run",
    "run",
    type=click.Path(path_type=Path),
    help="A run's folder: shows its mask, reconstruction and target.",
)
@click.option(
    "--layer",
    help="What the joints' colours show in --animate: the beginning of a layer's name, such as 'focal'.",
)
@click.option(
    "--k",
    default=0.01,
    show_default=True,
    type=Within(0, min_open=True),
    help="Strength of the focal weights.",
)
@click.option(
    "--png",
    type=click.Path(path_type=Path),
    help="Write a contact sheet here (.png, .pdf or .svg); of a recording its timeline.",
)
@click.option("--animate", type=click.Path(path_type=Path), help="Write an animation here (.gif or .mp4).")
@click.option(
    "--speed",
    default=1.0,
    show_default=True,
    type=Within(0, min_open=True),
    help="Of --animate and of the sketch in the terminal; 1 is real time.",
)
@click.option(
    "--html",
    type=click.Path(path_type=Path),
    help="Write a page here: the dataset's charts, or a viewer of the clips or the recording.",
)
@click.option(
    "--faults/--no-faults", default=True, show_default=True, help="Of a dataset: look for suspicious clips."
)
@click.option("--json", "as_json", is_flag=True, help="Print what is shown as JSON.")
@guarded_saying(f"pictures and pages that were finished are kept; {ANEW}")
def inspect_command(
    dataset_dir: Path,
    clips: tuple[str, ...],
    class_name: str | None,
    random: int | None,
    worst: int | None,
    seed: int,
    faults: bool,
    as_json: bool,
    html: Path | None,
    recording: str | None,
    timeline: bool,
    found: Path | None,
    **options: Any,
) -> None:
    """Show a converted dataset, or clips or a recording of it.

    \b
    amr-data inspect ntu60/ --html ntu60.html
    amr-data inspect ntu60/ --clip 'S001C001*A058' --png clip.png --animate clip.gif
    amr-data inspect ntu60/ --class 'shaking hands' --random 12 --html clips.html
    amr-data inspect ntu60/ --worst 12 --html worst.html
    amr-data inspect ntu60/ --clip S001C003P008R002A058 --raw raw/ --html beside.html
    amr-data inspect nw-ucla/ --clip 17 --run runs/nw-ucla-amr-0 --html reconstruction.html
    amr-data inspect pku1/ --recording 0002-L --timeline --found found.json --html 0002-L.html
    """
    from amr_data.looking.inspection import find_clips

    dataset = open_dataset(dataset_dir)
    if html and html.suffix.lower() != ".html":
        raise UsageError(f"--html {html}: give a name that ends in .html")
    about = {"clips": clips, "class_name": class_name, "random": random, "worst": worst, **options}
    check_recording(recording, {**about, "timeline": timeline, "found": found})
    if recording is not None:
        show_recording(dataset, recording, timeline, found, options["png"], html, as_json)
        return
    chosen = clips or class_name is not None or random is not None
    if worst:
        if chosen:
            raise UsageError("--worst chooses clips by itself: leave --clip, --class and --random out")
        doubts = _most_suspicious(dataset, worst, as_json)
        if not doubts:
            none = f"no suspicious clip in {dataset.path}, so there is nothing to show"
            click.echo(json.dumps({"clips": [], "of": 0})) if as_json else say(none)
            return
        _show_clips(dataset, list(doubts), doubts, seed, html, as_json, True, **options)
        return
    if chosen:
        named = find_clips(dataset, clips, class_name, random, seed)
        _show_clips(dataset, named, {}, seed, html, as_json, random is not None, **options)
        return
    given = [f"--{name}" for name in ("raw", "run", "layer", "png", "animate") if options[name]]
    if given:
        raise UsageError(f"{given[0]} is for clips: name them with --clip, --class, --random or --worst")
    _show_dataset(dataset, html, faults, as_json)


def _faults(dataset: ShardDataset, quiet: bool) -> list[Record]:
    from amr_data.looking.faults import find_faults

    with progress_bar("looking for faults", quiet=quiet, counted=True) as bar:
        return find_faults(dataset, progress=lambda done, total: bar(done, total, "shards"))


def _most_suspicious(dataset: ShardDataset, count: int, quiet: bool) -> dict[int, list[Record]]:
    """Index of each clip, the worst first, and what is wrong with it."""
    found: dict[str, list[Record]] = {}
    for fault in _faults(dataset, quiet):
        if fault.where in found or len(found) < count:
            found.setdefault(fault.where, []).append(fault)
    return {dataset.index(name): faults for name, faults in found.items()}


def _show_dataset(dataset: ShardDataset, html: Path | None, faults: bool, as_json: bool) -> None:
    from amr_data.files import write_text
    from amr_data.looking.inspection import dataset_summary
    from amr_data.viz.overview import overview_page

    summary = dataset_summary(dataset)
    found = _faults(dataset, as_json) if faults else None
    if html:
        write_text(html, overview_page(summary, found))
    if as_json:
        listed = None if found is None else [fault.as_dict() for fault in found]
        click.echo(json.dumps({**summary, "faults": listed}))
        return
    print_dataset(summary, dataset)
    if found is not None:
        print_faults(summary, found)
    if html:
        say(f"page → {html}")


def _show_clips(
    dataset: ShardDataset,
    indices: list[int],
    doubts: dict[int, list[Record]],
    seed: int,
    html: Path | None,
    as_json: bool,
    all_of_them: bool,
    raw: tuple[Path, ...],
    run: Path | None,
    layer: str | None,
    k: float,
    png: Path | None,
    animate: Path | None,
    speed: float,
) -> None:
    from amr_data.files import write_text
    from amr_data.looking.inspection import clip_facts
    from amr_data.viz import clip_scene, contact_sheet, side_by_side, viewer_page, with_raw, write_animation
    from amr_data.viz.scene import MAX_DRAWN, MAX_MOVING, MAX_SHOWN

    for path, endings in ((png, PICTURES), (animate, (".gif", ".mp4"))):
        if path and path.suffix.lower() not in endings:
            raise UsageError(f"{path}: give a name that ends in {' or '.join(endings)}")
    if raw and run:
        raise UsageError("--raw and --run each fill the place beside the clip: give one of them")
    chosen = indices[: MAX_DRAWN if all_of_them else MAX_SHOWN]
    if run:
        from amr_train.deploy.overlays import model_scenes

        scenes = model_scenes(run, dataset, chosen, seed)
    else:
        scenes = [clip_scene(dataset, i, k) for i in chosen]
        scenes = with_raw(scenes, dataset, raw) if raw else scenes
    scenes = [replace(s, synthetic=dataset.synthetic) for s in scenes]  # those of a run do not know
    scenes = [
        replace(s, title=f"{s.title} · {doubts_in_words(doubts[i])}") if i in doubts else s
        for s, i in zip(scenes, chosen, strict=True)
    ]

    def together(most: int) -> Scene:
        return scenes[0] if len(scenes) == 1 else side_by_side(scenes[:most])

    written: dict[str, str] = {}
    if png:
        png.parent.mkdir(parents=True, exist_ok=True)
        contact_sheet(together(MAX_SHOWN)).savefig(png, dpi=130)
        written["picture"] = str(png)
    if animate:
        with progress_bar("drawing", quiet=as_json, counted=True) as bar:
            one = together(MAX_MOVING)
            write_animation(
                one,
                animate,
                one.layer(layer) if layer else None,
                speed=speed,
                progress=lambda d, t: bar(d, t, ""),
            )
        written["animation"] = str(animate)
    if html:
        write_text(html, viewer_page(scenes))
        written["page"] = str(html)
    shown = [{"name": dataset.names[i], **clip_facts(dataset, i)} for i in chosen]
    for row, i in zip(shown, chosen, strict=True):
        row.update({"suspicious": [fault.as_dict() for fault in doubts[i]]} if i in doubts else {})
    if as_json:
        click.echo(
            json.dumps(
                {**shown[0], **written}
                if len(shown) == 1
                else {"clips": shown, "of": len(indices), **written}
            )
        )
        return
    if len(shown) == 1:
        print_clip(shown[0])
        _play(scenes[0], speed)
    else:
        print_clips(shown)
    if len(indices) > len(chosen):
        tell(f"the first {len(chosen)} of {len(indices):,} clips; `amr-data serve {dataset.path}` shows all")
    most = {"picture": MAX_SHOWN, "animation": MAX_MOVING}
    for name, where in written.items():
        only = f" (the first {most[name]})" if len(scenes) > most.get(name, len(scenes)) else ""
        say(f"{name} → {where}{only}")


def _play(scene: Scene, speed: float) -> None:
    """The clip in braille: moving in a terminal, four moments of it elsewhere."""
    from amr_data.viz import braille
    from amr_data.viz.contact_sheet import moments

    width, height = min(console.width - 1, 76), 18
    if not console.is_terminal:
        for t in moments(scene.panels[0].joints, 4):
            say(f"frame {t}")
            console.print(Text(braille(replace(scene, panels=scene.panels[:1]), t, 40, 12)))
        return
    began = time.monotonic()
    with Live(console=console, auto_refresh=False) as live:
        t = 0
        while t < scene.frames:
            live.update(
                Text(f"{braille(scene, t, width, height)}\nframe {t} of {scene.frames}"), refresh=True
            )
            time.sleep(0.04)
            t = max(t + 1, int((time.monotonic() - began) * scene.frame_rate * speed))


@click.command("serve", short_help="Look through a dataset in the browser, and exclude clips.")
@click.argument("dataset_dir", type=click.Path(path_type=Path))
@click.option(
    "--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="0 takes any free one."
)
@click.option(
    "--features",
    type=click.Path(path_type=Path),
    help="Features of the clips, shown as a map: a Parquet file of `amr-train embed`.",
)
@click.option(
    "--run",
    type=click.Path(path_type=Path),
    help="A run's folder: what its encoder took the clips for, and where it was wrong.",
)
@click.option(
    "--decisions",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The list of what is kept and excluded; beside the dataset by default.",
)
@guarded_saying("what was decided is in the list")
def serve_command(
    dataset_dir: Path, port: int, features: Path | None, run: Path | None, decisions: Path | None
) -> None:
    """Look through a whole dataset in the browser, on this machine only (127.0.0.1): find clips, look at
    them, and decide which to leave out of training.

    Nothing is written but the list of decisions, which `data.exclude` of a training takes. From another
    machine: `ssh -L 8000:127.0.0.1:8000 THERE`, then open the address here.

    \b
    amr-data serve ntu60/
    amr-data serve nw-ucla/ --features features.parquet --run runs/nw-ucla-amr-0
    amr-data serve ntu60/ --port 0
    """
    from amr_data.viz.server import open_server
    from amr_data.viz.workbench import Workbench

    dataset = open_dataset(dataset_dir)
    judged = []
    if run:
        from amr_train.deploy.mistakes import kept_predictions

        judged = kept_predictions(run, dataset)
    bench = Workbench(dataset, features, judged, str(run or ""), decisions)
    if bench.strangers:
        many, one = len(bench.strangers), bench.strangers[0]
        warn(f"{bench.list} names {many:,} clips that are not in {dataset_dir}, such as '{one}'")
    server = open_server(bench, port)
    bench.start()
    say(f"{dataset_dir} → http://127.0.0.1:{server.effective_port}/  (Ctrl-C ends it)")
    server.run()
