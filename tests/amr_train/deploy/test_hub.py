"""Model cards, and folders for the hub: what the hub's own library reads in them is what the run reached, and
the encoder in them is the run's."""

from __future__ import annotations

import json
import re
import statistics
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt

from amr_cli.train import main
from amr_data import AmrError, UsageError
from amr_train import load_encoder, run_experiment
from amr_train.deploy.hub import export_to_hub_folder
from amr_train.experiments.card import model_card
from amr_train.experiments.facts import Facts, facts_of
from amr_train.models.files import EncoderConfig
from tests.amr_train.runs import small

HOSTILE = "<img src=x onerror=alert(1)> | `a` [b](javascript:c) ```"


@pytest.fixture(scope="module")
def runs(ntu_shards, tmp_path_factory) -> Path:
    """Two seeds of the same settings, and a run of others, of which the last is not judged."""
    out = tmp_path_factory.mktemp("hub") / "runs"
    knn = ["pretrain.epochs=2", "evaluation.protocols=[knn]"]
    for seed in (0, 1):
        run_experiment(
            small(ntu_shards, *knn, f"seed={seed}"), out / f"demo-{seed}", baselines=out / "baselines"
        )
    run_experiment(small(ntu_shards, *knn, "mask.ratio=0.5"), out / "other", judged=False)
    return out


@pytest.fixture(scope="module")
def folder(runs) -> Path:
    out = runs.parent / "hub"
    made = export_to_hub_folder(runs / "demo-0", out, "cc-by-nc-4.0")
    assert (made["results"], made["seeds"]) == (1, [0, 1])
    return out


def figures(run: Path) -> dict[str, float]:
    (record,) = json.loads((run / "results.json").read_text())["evaluations"][:1]
    assert record["subject"]["kind"] == "encoder"
    return record["figures"]


def test_the_folder_holds_the_encoder_and_no_place(runs, folder):
    assert {p.name for p in folder.iterdir()} == {"README.md", "config.json", "model.safetensors"}
    encoder, original = load_encoder(folder), load_encoder(runs / "demo-0")
    assert encoder.config == original.config
    clips = torch.randn(2, 2, 30, 25, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(encoder(clips), original(clips))
    settings = json.loads((folder / "config.json").read_text())
    assert EncoderConfig.model_validate(settings) == original.config
    for name in ("README.md", "config.json", "model.safetensors"):
        assert str(runs.parent).encode() not in (folder / name).read_bytes()


def test_the_hub_reads_the_card(folder):
    card = ModelCard.load(folder / "README.md")
    about = card.data.to_dict()
    assert (about["license"], about["library_name"]) == ("cc-by-nc-4.0", "amr-skeleton")
    assert {"amr", "ntu60", "skeleton", "synthetic"} <= set(about["tags"])
    assert card.data.eval_results is None  # invented motion stands beside no other model
    assert "SYNTHETIC" in card.content


def test_the_hub_reads_the_results(runs):
    facts = facts_of(runs / "demo-1")
    config = EncoderConfig.model_validate({**facts.run["encoder"], "synthetic": False})
    card = ModelCard(model_card(config, facts))
    assert card.data.model_name == "demo-1"
    found = {result.metric_name: result for result in card.data.eval_results}
    assert {name.split(",")[0]: r.metric_value for name, r in found.items()} == pytest.approx(
        figures(runs / "demo-1"), abs=0.01
    )
    one = found["kNN mean, % (1 neighbour)"]
    assert (one.dataset_type, one.dataset_name, one.dataset_split) == ("ntu60", "NTU RGB+D 60", "xsub")
    assert one.metric_type == "accuracy"
    detected = {"detect linear mAP_a": 40.0, "detect linear frames": 50.0}
    records = [{**record, "figures": detected} for record in facts.own(config)]
    card = ModelCard(model_card(config, replace(facts, records=records)))
    types = {one.metric_name.split(",")[0]: one.metric_type for one in card.data.eval_results}
    assert types == {"detect linear mAP_a": "mean_average_precision", "detect linear frames": "accuracy"}


def test_a_runs_own_card_has_its_seed_and_an_exported_one_the_spread(runs, folder):
    own, told = (runs / "demo-0" / "model-card.md").read_text(), (folder / "README.md").read_text()
    for name, value in figures(runs / "demo-0").items():
        assert f"| {name} | {value:.1f} |  | " in own
        values = [figures(runs / f"demo-{seed}")[name] for seed in (0, 1)]
        spread = f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f} (seeds 0, 1)"
        assert f"| {name} | {value:.1f} | {spread} | " in told
    assert "One seed" in own
    assert "2 seeds of these settings" in told
    assert "Coordinates alone, without any learning before: kNN positions" in told
    untrained = [r for r in facts_of(runs / "demo-0").records if r["subject"]["kind"] == "untrained"]
    assert (
        f"| {next(r['figures']['kNN mean'] for r in untrained if r['seed'] == 0):.1f} | 1 neighbour |" in told
    )
    assert not (runs / "other" / "model-card.md").read_text().count("| figure |")


def test_what_data_and_machine_it_was(runs, folder):
    text = (folder / "README.md").read_text()
    run = json.loads((runs / "demo-0" / "run.json").read_text())
    assert f"| 48 | amr | `{run['data']['fingerprint'][:12]}` | none: invented motion |" in text
    assert f"torch {run['versions']['torch']}" in text
    assert re.search(r"^mask:\n  ratio: 0.9$", text, re.M)
    facts = facts_of(runs / "demo-0")
    older = {k: v for k, v in facts.run["data"].items() if k not in ("title", "licence", "homepage")}
    seen = model_card(
        EncoderConfig.model_validate(facts.run["encoder"]),
        replace(facts, run={**facts.run, "data": {**older, "synthetic": False}}),
    )
    assert "| NTU RGB+D 60 | xsub | 48 |" in seen  # from the built-in spec
    assert "academic research only" in seen


def test_names_stay_text(runs):
    facts = facts_of(runs / "demo-0")
    data = {**facts.run["data"], "title": HOSTILE, "licence": HOSTILE, "homepage": "javascript:alert(1)"}
    experiment = {**facts.run["experiment"], "description": HOSTILE}
    run = {**facts.run, "data": {**data, "synthetic": False}, "experiment": experiment}
    config = EncoderConfig.model_validate(
        {**facts.run["encoder"], "experiment": HOSTILE, "joint_names": [HOSTILE] * 25, "synthetic": False}
    )
    text = model_card(config, replace(facts, run=run))
    assert ModelCard(text).data.model_name == f"{HOSTILE}-0"
    html = MarkdownIt("gfm-like", {"linkify": False}).render(text.split("---\n", 2)[2])
    ours = "h1|h2|p|pre|code|ul|li|table|thead|tbody|tr|th|td|strong|details|summary|a"
    assert re.sub(rf"</?(?:{ours})[ >]", "", html).count("<") == 0
    assert set(re.findall(r'href="([^"]*)"', html)) == {"https://arxiv.org/abs/2606.11450"}
    assert html.count("</details>") == 1


def test_an_encoder_without_a_run(runs, folder, tmp_path):
    alone = tmp_path / "encoder.safetensors"
    alone.write_bytes((runs / "demo-0" / "encoder.safetensors").read_bytes())
    made = export_to_hub_folder(alone, tmp_path / "out")
    assert (made["results"], made["seeds"]) == (0, [0])
    text = (tmp_path / "out" / "README.md").read_text()
    assert "license: unknown\n" in text
    assert "None yet." in text
    strange = runs / "demo-1" / "strange.safetensors"  # lies in a run that it is not of
    strange.write_bytes(alone.read_bytes())
    assert export_to_hub_folder(strange, tmp_path / "strange")["results"] == 0
    strange.unlink()
    assert "Not known: the encoder was imported." in model_card(
        EncoderConfig(model=load_encoder(alone).config.model, joints=25, skeleton="x"), Facts()
    )


def call(*words: object) -> Result:
    return CliRunner().invoke(main, ["export", *(str(w) for w in words)])


def test_the_command(runs, folder, tmp_path):
    before = (folder / "model.safetensors").read_bytes()
    again = call(runs / "demo-0", "--hub-folder", folder, "--licence", "cc-by-nc-4.0", "--json")  # replaced
    assert json.loads(again.stdout)["files"].keys() == {"README.md", "config.json", "model.safetensors"}
    assert (folder / "model.safetensors").read_bytes() == before
    said = call(runs / "other", "--hub-folder", tmp_path / "x")
    assert "no results yet" in said.stdout
    killed = tmp_path / "x" / ".model.safetensors.4711.tmp"  # what an export that was killed left
    killed.write_bytes(b"half")
    said = call(runs / "other", "--hub-folder", tmp_path / "x")
    assert (said.exit_code, killed.exists()) == (0, False)
    (tmp_path / "x" / "mine.txt").write_text("")
    for words, message in [
        (
            (runs / "other", "--hub-folder", tmp_path / "x"),
            "holds mine.txt, which is no part of a hub folder",
        ),
        ((folder, "--hub-folder", folder), "is what is to be exported"),
        ((folder, "--hub-folder", folder / "README.md"), "README.md is a file; name a folder"),
        (
            (folder, "--hub-folder", tmp_path / "y", "--licence", "MIT License"),
            "no licence as the hub writes them",
        ),
        ((folder, "--hub-folder", tmp_path / "y", "--skeleton", "kinect_v1"), "go with --out"),
        ((folder,), "one of the two"),
        ((folder, "--hub-folder", tmp_path / "y", "-o", "x.onnx"), "one of the two"),
        ((folder, "-o", tmp_path / "x.onnx", "--licence", "mit"), "--licence goes with --hub-folder"),
    ]:
        refused = call(*words)
        assert (refused.exit_code, message in " ".join(refused.output.split())) == (2, True), refused.output
    assert not (tmp_path / "y").exists()


def test_damaged_sources_leave_nothing(runs, tmp_path):
    (tmp_path / "encoder.safetensors").write_bytes(b"no weights")
    with pytest.raises(AmrError, match="not an encoder that can be read"):
        export_to_hub_folder(tmp_path, tmp_path / "out")
    with pytest.raises(UsageError, match="no encoder at"):
        export_to_hub_folder(tmp_path / "nowhere", tmp_path / "out")
    assert not (tmp_path / "out").exists()
