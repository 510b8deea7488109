"""Which arithmetic a device computes in, and what is said of it."""

from __future__ import annotations

import json

import pytest
import torch

from amr_train import evaluate, run_experiment
from amr_train.evaluation.finetuning import SharedBatchNorm
from amr_train.identity import training_digest
from amr_train.parallel import precision
from amr_train.parallel.precision import arithmetic, precise, precision_on
from tests.amr_train.runs import FAST_FINETUNING, Listener, small

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


def with_gpu(monkeypatch, capability: tuple[int, int], hip: str | None = None) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla T4")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    monkeypatch.setattr(torch.version, "hip", hip)


@pytest.mark.parametrize(
    ("capability", "hip", "auto", "lacks"),
    [
        ((9, 0), None, "bfloat16", []),
        ((8, 0), None, "bfloat16", []),
        ((7, 5), None, "float32", ["tf32", "bfloat16"]),
        ((9, 4), "6.2", "bfloat16", ["tf32"]),
    ],
)
def test_a_gpu_computes_in_what_it_has(monkeypatch, capability, hip, auto, lacks):
    with_gpu(monkeypatch, capability, hip)
    assert precision_on("auto", GPU) == (auto, None)
    assert precision_on("float32", GPU) == ("float32", None)
    for wanted in ("tf32", "bfloat16"):
        found, said = precision_on(wanted, GPU)
        assert found == ("float32" if wanted in lacks else wanted)
        if wanted in lacks:
            assert said == f"precision={wanted}: Tesla T4 does not have it; computed in float32"


def test_a_cpu_computes_in_float32_unless_told_otherwise():
    assert precision_on("auto", CPU) == ("float32", None)
    assert precision_on("bfloat16", CPU) == ("bfloat16", None)
    assert precision_on("tf32", CPU)[0] == "float32"


@pytest.mark.parametrize(("newer", "named"), [(True, "bfloat16"), (False, "float32")])
def test_apples_gpus_compute_in_bfloat16_where_it_is_named_and_macos_has_it(monkeypatch, newer, named):
    monkeypatch.setattr(torch.backends.mps, "is_macos_or_newer", lambda major, minor: newer)
    metal = torch.device("mps")
    assert precision_on("auto", metal) == ("float32", None)
    assert precision_on("bfloat16", metal)[0] == named
    assert precision_on("tf32", metal)[0] == "float32"


def test_products_of_tf32_end_with_the_step():
    before = torch.get_float32_matmul_precision()
    with arithmetic("tf32", CPU):
        assert torch.get_float32_matmul_precision() == "high"
    assert torch.get_float32_matmul_precision() == before == "highest"


def test_a_run_records_what_it_computed_in(ntu_shards, tmp_path):
    """With a warning instead of an end where the device lacks what is asked for; the run is the same as one
    that asked for what it got."""
    listener = Listener()
    settings = ["precision=tf32", "evaluation.feature_precision=auto", "pretrain.epochs=2"]
    run_experiment(small(ntu_shards, *settings), tmp_path / "run", listener)
    assert listener.lines == ["precision=tf32: a cpu device does not have it; computed in float32"]
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["experiment"]["precision"] == "float32"
    assert record["experiment"]["evaluation"]["feature_precision"] == "float32"
    again, _ = precise(small(ntu_shards, "precision=auto", "pretrain.epochs=2"), CPU)
    run_experiment(again, tmp_path / "run")
    assert record["digest"] == training_digest(again)


def test_features_in_bfloat16_are_kept_apart(ntu_shards, tmp_path):
    settings = ["evaluation.protocols=[knn]", "evaluation.baselines=[]", "pretrain.epochs=2"]
    experiment = small(ntu_shards, *settings)
    run_experiment(experiment, tmp_path / "run")
    changed = {"feature_precision": "bfloat16"}
    coarse = experiment.evaluation.model_copy(update=changed)
    folder = tmp_path / "run"
    record = evaluate(folder, ntu_shards, "xsub", "knn", coarse, folder=folder)
    assert record["precision"] == "bfloat16"
    names = sorted(p.name.split("-0.95")[1] for p in (folder / "features").iterdir())
    assert names == ["-bfloat16.safetensors", ".safetensors"]
    assert len(list((folder / "evaluations").glob("knn-*.json"))) == 2


def test_batch_norm_sums_in_float32():
    norm = SharedBatchNorm(4)
    values = torch.randn(8, 4).bfloat16()
    with arithmetic("bfloat16", CPU):
        out = norm(values)
    torch.testing.assert_close(out.mean(dim=0), torch.zeros(4), atol=1e-3, rtol=0)
    assert norm.running_mean.dtype == torch.float32


def test_training_and_fine_tuning_run_in_bfloat16(ntu_shards, tmp_path):
    settings = [*FAST_FINETUNING, "precision=bfloat16", "evaluation.protocols=[finetune]"]
    results = run_experiment(small(ntu_shards, *settings), tmp_path / "run")
    assert results["evaluations"][-1]["precision"] == "bfloat16"


def test_no_gpu_is_asked_for_on_a_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: pytest.fail("asked"))
    assert not precision._has_bfloat16(CPU)
