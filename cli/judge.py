"""amr-train eval: how good an encoder is."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from amr_cli.outcome import as_values, clips_in_words, cost_in_words, data_in_words, print_figures
from amr_cli.ui import GOES_ON, facts, guarded, guarded_saying, renamed, say, warn
from amr_data.looking.words import recipe_in_words


@click.command("eval", short_help="Say how good an encoder is, on any dataset.")
@click.argument("encoder", metavar="RUN", type=click.Path(path_type=Path))
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option(
    "--protocol",
    "protocols",
    multiple=True,
    help="linear, logistic, knn, retrieval, finetune, supervised, semi, detect, or one of your own; may be "
    "repeated.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Another converted dataset than the run's; DIR:SPLIT says by which split.",
)
@click.option("--split", help="The dataset's train/test split; the run's, or the only one.")
@click.option("--seed", type=int, help="Seed of heads, views and probes; the run's by default.")
@click.option(
    "--precision",
    type=click.Choice(["auto", "float32", "tf32", "bfloat16"]),
    help="Precision of fine-tuning; the run's by default.",
)
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), help="Folder for the results; the run's by default."
)
@click.option(
    "--nproc",
    type=click.IntRange(min=1),
    help="So many processes on this machine, one for each GPU; for several machines use torchrun.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
@renamed("--dataset", "--data")
@guarded_saying(
    f"finished evaluations are kept in the run's folder or --out: with one {GOES_ON}, else it starts anew"
)
def eval_command(
    encoder: Path,
    overrides: tuple[str, ...],
    nproc: int | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Say how good an encoder is: RUN is a run's folder, finished or not, one of its checkpoints or
    milestones, or an encoder file.

    Data, split and settings of evaluation are the run's unless you say otherwise; the dataset may be another
    than it was trained on (transfer), also of another skeleton. What was found before is not computed again.

    \b
    amr-train eval runs/nw-ucla-amr-0 --protocol logistic --protocol retrieval
    amr-train eval runs/ntu60-xsub-amr-0 --protocol finetune --data pku2/ --split xsub
    amr-train eval mamp.safetensors --data ntu60/ --split xsub -o mamp/ linear.lr=0.1
    """
    from amr_cli.panel import Panel
    from amr_train.evaluation.records import models_of
    from amr_train.experiments.judging import judge, judging_of
    from amr_train.parallel.launch import started_by_torchrun, with_processes

    judging = judging_of(encoder, overrides=overrides, **options)
    if nproc and nproc > 1 and not started_by_torchrun():
        sys.exit(with_processes(nproc, sys.argv[1:]))
    panel = Panel(quiet=as_json)
    with panel.bar:
        records = judge(judging, panel)
    if not records:  # another process has them
        return
    if as_json:
        click.echo(json.dumps({"evaluations": [as_values(record) for record in records]}))
        return
    record = records[-1]
    say((encoder, "bold"), f" on {data_in_words(record)}")
    print_figures(records, "")
    trained, seen = record["subject"].get("recipe") or {}, record["data"]["recipe"]
    rows = {
        "clips": f"{clips_in_words(record)}; recipe {recipe_in_words(seen)}",
        "joints": record["joints"],
        "seed": f"{judging.seed}, {record['precision']}",
    }
    if record.get("body_gflops") is not None:
        rows["features"] = cost_in_words(record)
    facts("", {**({"encoder": judging.standing} if judging.standing else {}), **rows})
    folder = judging.folder
    say(f"results → {folder}" if folder else "results are not kept; --out keeps them")
    for one in records:
        for file in models_of(folder, one) if folder else []:
            say(f"{file.stem} → {file}")
    if trained and recipe_in_words(trained) != recipe_in_words(seen):
        warn(
            f"the encoder was trained on clips of another recipe ({recipe_in_words(trained)}) than these "
            f"({recipe_in_words(seen)})"
        )
    if record["data"]["synthetic"]:
        warn("these clips are synthetic: the figures say nothing of real data")


@click.command("fuse", short_help="Judge the encoders of several runs together.")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--protocol", "protocols", multiple=True, help="linear, logistic or knn; may be repeated.")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Another converted dataset than the runs'; DIR:SPLIT says by which split.",
)
@click.option("--split", help="The dataset's train/test split; the runs', or the only one.")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    help="Folder for the results; beside the first run by default.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
@guarded
def fuse_command(
    runs: tuple[Path, ...],
    protocols: tuple[str, ...],
    data: Path | None,
    split: str | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Judge the encoders of several RUNS together, such as one of joints and one of bones.

    They must have been judged on the same data, split, part and seed. Probes give the mean of their softmax
    scores, nearest neighbours see the features side by side.

    \b
    amr-train fuse runs/joint-0 runs/bone-0
    amr-train fuse runs/joint-0 runs/bone-0 --protocol knn -o runs/both-0
    amr-train fuse runs/any-joint-0 runs/any-bone-0 --data own/
    """
    from amr_cli.panel import Panel
    from amr_train.experiments.fusing import fuse

    panel = Panel(quiet=as_json)
    with panel.bar:
        records, folder = fuse(runs, protocols, out, panel, data, split)
    if as_json:
        click.echo(json.dumps({"evaluations": [as_values(record) for record in records]}))
        return
    say((records[0]["subject"]["name"], "bold"), f" on {data_in_words(records[0])}")
    print_figures(records, "")
    say(f"results → {folder}")
