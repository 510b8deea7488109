"""What an encoder costs, by hand and against torch's counter, and where it is shown."""

from __future__ import annotations

import csv
import io
import json

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from amr_train import load_experiment
from amr_train.config import ModelConfig
from amr_train.models.encoder import SkeletonEncoder
from amr_train.models.files import EncoderConfig
from amr_train.models.flops import encoder_flops, gflops_in_words
from amr_train.report import find_runs, rows_of, write_report
from amr_train.report.charts import flops_of
from amr_train.report.costs import bodies_of, gflops_of
from amr_train.report.pivot import sections_of
from tests.amr_train.report.folders import judge, write_run

BODY = 14.049792
"""750 tokens of width 256 in 8 layers: twice 750 x 12 x 256 + 8 (750 x 256 x 12 x 256 + 2 x 750^2 x 256)."""


@pytest.mark.parametrize(
    ("model", "joints"),
    [
        ({}, 25),
        ({"frames": 64, "segment": 8, "registers": 4, "time": "rotary", "target_ratio": 2}, 25),
        (
            {"frames": 48, "width": 96, "heads": 4, "encoder_layers": 4, "mlp_ratio": 2.5, "target_ratio": 3},
            20,
        ),
    ],
)
def test_flops_are_those_that_torch_counts(model, joints):
    config = ModelConfig.model_validate(model)
    with torch.device("meta"):  # where attention is no fused operation
        encoder = SkeletonEncoder(config, joints)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            encoder(torch.empty(3, config.frames, joints, 3))
    assert counter.get_total_flops() == 3 * encoder_flops(config, joints)


def test_the_papers_size_by_hand():
    assert encoder_flops(ModelConfig(), 25) / 1e9 == BODY
    about = EncoderConfig(model=ModelConfig(), joints=25, skeleton="kinect_v2", bodies=2)
    kept = json.loads(about.model_dump_json())
    assert (kept["body_gflops"], kept["clip_gflops"]) == (BODY, 2 * BODY)
    assert EncoderConfig.model_validate(kept) == about
    older = EncoderConfig.model_validate(
        {k: v for k, v in kept.items() if not k.endswith(("gflops", "bodies"))}
    )
    assert (older.body_gflops, older.clip_gflops) == (BODY, None)
    words = [gflops_in_words(value) for value in (2 * BODY, BODY, 0.8087, 123.4, None)]
    assert words == ["28.1", "14.0", "0.809", "123", "-"]


def table(folder):
    """The one table."""
    (section,) = sections_of(rows_of(find_runs([folder], lambda line: None)))
    return section


def test_records_from_before_are_counted_from_their_settings(tmp_path):
    """Of a shipped dataset, whose spec says how many bodies a clip has."""
    experiment = write_run(tmp_path / "run")
    record = judge(tmp_path / "run", experiment)
    assert "body_gflops" not in record
    judge(tmp_path / "run", experiment, kind="untrained")
    judge(tmp_path / "run", experiment, kind="coordinates")
    section = table(tmp_path)
    none = {"coordinates, positions": "-", "coordinates, motion": "-"}
    assert section.gflops == {**none, "untrained": "28.1", "ntu60-xsub-amr": "28.1"}
    assert any(
        "a clip of 2 bodies, 2 times those of one body; two for a multiply-add" in n for n in section.notes
    )
    (row, *_) = rows_of(find_runs([tmp_path], lambda line: None))[-1:]
    assert (row["body_gflops"], row["clip_gflops"]) == (BODY, 2 * BODY)
    shown = write_report([tmp_path], form="md")
    assert "| GFLOPs | seconds of pre-training |" in shown
    assert "| 28.1 | 100 |" in shown
    assert ">GFLOPs</th>" in write_report([tmp_path])
    assert "<td>28.1</td>" in write_report([tmp_path])
    told = json.loads(write_report([tmp_path], form="json"))["table"]
    assert {(r["kind"], r["body_gflops"], r["clip_gflops"]) for r in told} == {
        ("coordinates", None, None),
        ("untrained", BODY, 2 * BODY),
        ("encoder", BODY, 2 * BODY),
    }
    lines = csv.DictReader(io.StringIO(write_report([tmp_path], form="csv")))
    assert {line["clip_gflops"] for line in lines} == {"", str(2 * BODY)}


def test_what_a_record_says_goes_before_its_settings(tmp_path):
    own = {"dataset": "mine"}
    experiment = write_run(tmp_path / "run", dataset="mine")
    judge(tmp_path / "run", experiment, "knn")
    section = table(tmp_path)  # nobody knows how many bodies a clip of it has
    assert section.gflops == {"ntu60-xsub-amr": "14.0"}
    assert any("features of one body; two for" in note for note in section.notes)
    judge(tmp_path / "run", experiment, "linear", body_gflops=2.0, clip_gflops=6.0)
    assert bodies_of([{"data": own}, {"data": own, "body_gflops": 2.0, "clip_gflops": 6.0}]) == 3
    costs = {row["protocol"]: row["clip_gflops"] for row in rows_of(find_runs([tmp_path], lambda line: None))}
    assert costs == {"knn": 3 * BODY, "linear": 6.0}


def test_what_says_nothing_has_a_dash(tmp_path):
    experiment = write_run(tmp_path / "run")
    record = judge(tmp_path / "run", experiment)
    model = record["subject"]["model"]
    for wrong in (
        {"subject": {"kind": "encoder"}},
        {"subject": {"kind": "encoder", "model": 5}},
        {"subject": {"kind": "encoder", "model": {**model, "width": 255}}},
        {"subject": {"kind": "encoder", "model": {**model, "width": 8 * 10**200, "frames": 4 * 10**200}}},
        {"joints": None},
        {"body_gflops": float("inf"), "joints": None},
        {"subject": {"kind": "fused", "of": [record["subject"], {}]}},
    ):
        assert gflops_of({**record, **wrong}) is None, wrong
    both = {"kind": "fused", "of": [record["subject"]] * 2}
    assert gflops_of({**record, "subject": both}) == 2 * BODY
    assert bodies_of([{"data": {"dataset": "mine"}, "body_gflops": 5e-324, "clip_gflops": 1e308}]) is None


def test_compact_tokens_cost_about_a_fifth():
    """204 tokens for 750, and fewer pairs of them to attend: 4.8 times less; not quite a fifth."""
    default = load_experiment("ntu60-xsub-amr").model
    compact = load_experiment("ntu60-xsub-amr", ["scale=compact"]).model
    assert 2 * encoder_flops(compact, 25) / 1e9 == pytest.approx(5.82, abs=0.005)
    assert encoder_flops(default, 25) / encoder_flops(compact, 25) == pytest.approx(4.83, abs=0.005)
    alone = compact.model_copy(update={"registers": 0})
    assert encoder_flops(default, 25) / encoder_flops(alone, 25) == pytest.approx(4.94, abs=0.005)


def test_no_number_in_a_folder_decides_how_long_a_report_takes(tmp_path):
    for name, words in {
        "deep": ["model.encoder_layers=1000000000000"],
        "deep-decoder": ["model.decoder_layers=1000000000000"],
        "wide": ["model.width=8000000"],
        "long": ["model.frames=480000000"],
        "usual": ["scale=tiny"],
    }.items():
        judge(tmp_path / name, write_run(tmp_path / name, "ntu60-xsub-amr", *words))
    found = {run.path.name: run for run in find_runs([tmp_path], print)}
    assert [name for name, run in found.items() if flops_of(run) is not None] == ["usual"]
    for seconds in (10**400, float("inf"), float("nan")):
        write = tmp_path / "usual" / "pretraining.json"
        write.write_text(json.dumps({"seconds": seconds}))
        (run,) = find_runs([tmp_path / "usual"], print)
        assert run.pretraining is None
        assert rows_of([run])[0]["seconds"] is None
