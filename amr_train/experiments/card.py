"""The model card of an encoder: what it was trained on, how, what it reached, what it is for and where its
limits are. Written from the run's own records, as Markdown with the front matter that the Hugging Face hub
reads.

The hub's format: https://huggingface.co/docs/hub/model-cards.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import yaml

from amr_data.looking.words import recipe_in_words
from amr_data.specs import load_spec, spec_names
from amr_train.evaluation.parts import SUBJECTS
from amr_train.evaluation.records import Record, part_of
from amr_train.evaluation.scores import spread
from amr_train.experiments.facts import Facts, alike, place_of
from amr_train.models.files import EncoderConfig, fresh_encoder

CARD = "model-card.md"
"""What a run's own card is called in its folder."""
LIBRARY = "amr-skeleton"
PAPER = (
    "Exploring Adaptive Masked Reconstruction for Self-Supervised Skeleton-Based Action Recognition, CVPR "
    "2026, [arXiv 2606.11450](https://arxiv.org/abs/2606.11450)"
)
METHODS = {"amr": "Adaptive Masked Reconstruction (AMR)", "mamp": "MAMP", "mae": "a masked autoencoder (MAE)"}


def model_card(config: EncoderConfig, facts: Facts, licence: str = "unknown") -> str:
    """The card as a text.

    licence : of the weights, an identifier of the hub, such as apache-2.0.
    """
    own = facts.own(config)
    front = {
        "license": licence,
        "library_name": LIBRARY,
        "pipeline_tag": "feature-extraction",
        "tags": _tags(config),
        "model-index": [{"name": _name(config), "results": _index(config, facts, own)}],
    }
    if not own or config.synthetic:
        del front["model-index"]  # nothing that may stand beside other models
    head = yaml.safe_dump(front, sort_keys=False, allow_unicode=True, width=10_000)
    parts = [
        f"# {plain(_name(config))}",
        *(
            ["> **SYNTHETIC**: trained on invented motion. Its figures say nothing about people."]
            * config.synthetic
        ),
        _summary(config),
        "## Use",
        _use(config),
        "## Intended use and limits",
        _limits(config, facts, own),
        "## Training data",
        _data(config, facts),
        "## Training",
        _training(config, facts),
        "## Results",
        _results(config, facts, own),
        "## Reference",
        f"The method is after: {PAPER}." if config.method == "amr" else f"AMR: {PAPER}.",
    ]
    return f"---\n{head}---\n\n" + "\n\n".join(parts) + "\n"


def plain(text: object) -> str:
    """Text that Markdown shows as it is, in one line."""
    shown = re.sub(r"([\\`*_\[\]|#~$])", r"\\\1", str(text))
    return " ".join(shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").split())


def _name(config: EncoderConfig) -> str:
    return f"{config.experiment or config.method or 'encoder'}-{config.seed}"


def _tags(config: EncoderConfig) -> list[str]:
    about = [config.method, *_datasets(config), *(["synthetic"] if config.synthetic else [])]
    return ["skeleton", "action-recognition", "self-supervised", *dict.fromkeys(tag for tag in about if tag)]


def _datasets(config: EncoderConfig) -> list[str]:
    return [one.dataset for one in config.datasets] or ([config.dataset] if config.dataset else [])


def _summary(config: EncoderConfig) -> str:
    method = METHODS.get(config.method, config.method)
    by = f" by {plain(method)}" if method else ""
    return (
        f"An encoder of human motion, pre-trained without labels{by}: a clip of bodies with {config.joints} "
        f"joints ({plain(config.skeleton)}) and any number of frames becomes {config.model.width} values, or "
        "as many for each joint, body and moment."
    )


def _use(config: EncoderConfig) -> str:
    bodies = config.bodies or 1
    code = (
        "import torch\n"
        "from amr_train import load_encoder\n\n"
        'encoder = load_encoder("path/of/this/folder")\n'
        f"clips = torch.zeros(1, {bodies}, 100, {config.joints}, 3)  # clips, bodies, frames, joints, axes\n"
        f"features = encoder(clips)  # (1, {config.model.width})\n"
    )
    joints = ", ".join(map(plain, config.joint_names)) or "not known"
    return (
        f"With the package `{LIBRARY}`, from a checkout or a wheel of it:\n\n```python\n{code}```\n\n"
        f"Clips are normalised as the training clips were: recipe {plain(recipe_in_words(config.recipe))}, "
        f"{config.frame_rate:g} frames a second. Zeros stand for a body that is not there. Joints, in order: "
        f"{joints}."
    )


def _limits(config: EncoderConfig, facts: Facts, own: Sequence[Record]) -> str:
    judged = sorted({f"{r['data']['dataset']} ({r['split']})" for r in own})
    seeds = facts.seeds_of(config)
    lines = [
        "Meant for research on what people do in a clip: as features for classification and retrieval, and "
        "as a start for fine-tuning. One clip holds one action.",
        "Not meant for recognising persons, nor for decisions about a person's health, safety or rights: "
        "none of that was judged, and how people move can tell who they are.",
        f"Judged on {plain(', '.join(judged))} and nothing else; other sensors, people and actions may give "
        "less."
        if judged
        else "Not judged yet: there are no results.",
        f"{len(seeds)} seeds of these settings are known; the table has their spread."
        if len(seeds) > 1
        else "One seed: on small sets another one moves such figures by several points.",
    ]
    if config.epochs and config.epoch < config.epochs:
        lines.append(f"Not trained to the end: {config.epoch:g} of {config.epochs} epochs.")
    if config.held_out:
        lines.append("Some training clips were held out for validation, and it has not seen them.")
    return "\n".join(f"- {line}" for line in lines)


def _data(config: EncoderConfig, facts: Facts) -> str:
    sets = facts.run.get("data", {}).get("sets") or ([facts.run["data"]] if facts.run.get("data") else [])
    if not sets:
        sets = [{"name": name} for name in _datasets(config)]
    if not sets:
        return "Not known: the encoder was imported."
    lines = [
        "| dataset | split | clips, both parts | recipe | content | licence of the data |",
        "|---|---|---|---|---|---|",
    ]
    for one in sets:
        name = str(one.get("name", ""))
        title, licence, homepage = _terms(one)
        recipe = one.get("recipe") or config.recipe
        fingerprint = str(one.get("fingerprint", "") or config.fingerprint)[:12]
        invented, address = bool(one.get("synthetic")), f" (<{homepage}>)" if homepage else ""
        cells = [
            plain(title or name) + (", synthetic" if invented else ""),
            plain(config.split_of(name) or ""),
            f"{one['clips']:,}" if isinstance(one.get("clips"), int) else "",
            plain(recipe_in_words(recipe)),
            f"`{plain(fingerprint)}`" if fingerprint else "",
            "none: invented motion" if invented else plain(licence or "not known") + address,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        "What the terms of the data allow for weights that were trained on them is for whoever passes these "
        "on to find out.",
    ]
    return "\n".join(lines)


def _terms(one: Mapping[str, Any]) -> tuple[str, str, str]:
    """Title, licence and address of a dataset, from the run, or from the built-in spec of its name where the
    run is from before these were kept."""
    title, licence, homepage = (str(one.get(key) or "") for key in ("title", "licence", "homepage"))
    if not (title and licence) and one.get("name") in spec_names():
        known = load_spec(str(one["name"]))
        title, licence, homepage = title or known.title, licence or known.licence, homepage or known.homepage
    return title, licence, homepage if re.fullmatch(r"https?://[^\s<>()\[\]\\`|]+", homepage) else ""


def _training(config: EncoderConfig, facts: Facts) -> str:
    model = config.model
    with torch.device("meta"):
        parameters = sum(p.numel() for p in fresh_encoder(config).parameters())
    rows = {
        "encoder": f"{model.encoder_layers} layers, width {model.width}, {model.heads} heads, {parameters:,} "
        "parameters",
        "input": f"{model.frames} frames, tokens of {model.segment} frames of a joint",
        "GFLOPs": f"{config.body_gflops:.3g} a body"
        + (f", {config.clip_gflops:.3g} a clip" if config.bodies else ""),
    }
    experiment = facts.run.get("experiment") or {}
    if experiment:
        pretrain, hardware = experiment.get("pretrain", {}), facts.run.get("hardware", {})
        rows |= {
            "epochs": f"{config.epoch:g} of {config.epochs}, batch {pretrain.get('batch_size')}",
            "optimiser": f"{pretrain.get('optimizer')}, learning rate {pretrain.get('lr')}",
            "seed": f"{config.seed}",
            "took": f"{facts.ended['seconds']:,.0f} s" if "seconds" in facts.ended else "not finished",
            "machine": f"{hardware.get('gpu') or hardware.get('machine')}, processes: "
            f"{hardware.get('processes')}",
            "versions": ", ".join(f"{k} {v}" for k, v in (facts.run.get("versions") or {}).items()),
            "code": str((facts.run.get("git") or {}).get("commit", "an installed package")),
        }
    table = ["| | |", "|---|---|", *(f"| {key} | {plain(value)} |" for key, value in rows.items())]
    return "\n".join(table) + (f"\n\n{_settings(experiment)}" if experiment else "")


def _settings(experiment: Mapping[str, Any]) -> str:
    """All settings, but for where the data lay."""
    data = {key: value for key, value in experiment.get("data", {}).items() if key not in ("path", "paths")}
    text = yaml.safe_dump({**experiment, "data": data}, sort_keys=False, allow_unicode=True, width=100)
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", text))])
    return f"<details><summary>All settings</summary>\n\n{fence}yaml\n{text}{fence}\n\n</details>"


def _results(config: EncoderConfig, facts: Facts, own: Sequence[Record]) -> str:
    if not own:
        return "None yet."
    lines = []
    for place in dict.fromkeys(map(place_of, own)):
        here = [record for record in own if place_of(record) == place]
        clips, part = here[0]["clips"], part_of(here[0])
        where = f"{plain(here[0]['data']['dataset'])}, split {plain(here[0]['split'])}"
        counts = f"{clips['train']:,} clips to learn from, {clips[part]:,} of the {part} part judged"
        if part == SUBJECTS:
            counts = f"{clips[part]:,} training clips, those of each subject judged by what the others' teach"
        if here[0].get("seen"):
            counts += ", which it has seen without labels"
        lines += [
            f"**{where}**, in percent; {counts}:",
            "",
            "| figure | this encoder | over seeds | untrained | how |",
            "|---|---|---|---|---|",
        ]
        for record in here:
            lines += [_row(record, name, facts) for name in record["figures"]]
        known = [r for r in facts.records if r["subject"]["kind"] == "coordinates" and place_of(r) == place]
        told = [f"{plain(name)} {value:.1f}" for r in known for name, value in r["figures"].items()]
        lines += [
            "",
            *([f"Coordinates alone, without any learning before: {', '.join(told)}."] if told else []),
            "",
        ]
    return "\n".join(lines).rstrip()


def _row(record: Record, name: str, facts: Facts) -> str:
    value = record["figures"][name]
    others = facts.under_other_seeds(record, name)
    seeds = {**others, int(record["subject"]["seed"]): value}
    over = spread(list(seeds.values()))
    untrained = [r["figures"][name] for r in alike(record, name, facts.records, "untrained")]
    cells = [
        plain(name),
        f"{value:.1f}",
        f"{over['mean']:.1f} ± {over['std']:.1f} (seeds {', '.join(map(str, sorted(seeds)))})"
        if others
        else "",
        f"{untrained[0]:.1f}" if untrained else "",
        plain(record["spoken"]),
    ]
    return f"| {' | '.join(cells)} |"


def _index(config: EncoderConfig, facts: Facts, own: Sequence[Record]) -> list[dict[str, Any]]:
    """The results as the hub reads them: this encoder's own, on test parts."""
    found = []
    for record in own:
        if part_of(record) != "test":
            continue
        dataset = record["data"]["dataset"]
        about = {"type": dataset, "name": _terms({"name": dataset})[0] or dataset, "split": record["split"]}
        for name, value in record["figures"].items():
            kind = "mean_average_precision" if "mAP" in name else "accuracy"
            metric = {
                "type": kind,
                "value": round(float(value), 2),
                "name": f"{name}, % ({record['spoken']})",
            }
            task = {"type": "feature-extraction", "name": "Skeleton action recognition"}
            found.append({"task": task, "dataset": about, "metrics": [metric]})
    return found
