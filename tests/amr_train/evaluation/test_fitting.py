"""The largest batch that fits, with a stand-in for a GPU that runs out of memory."""

from __future__ import annotations

import pytest
import torch

from amr_data import AmrError, open_dataset
from amr_train.config import EvaluationConfig
from amr_train.evaluation.evaluating import judged
from amr_train.evaluation.fitting import largest_batch
from amr_train.evaluation.protocols import protocol_named
from amr_train.evaluation.subjects import untrained
from amr_train.evaluation.task import Task
from amr_train.experiments.running import run_experiment
from amr_train.parallel.processes import Processes
from amr_train.training.encoders import load_encoder
from tests.amr_train.runs import small


@pytest.mark.parametrize(
    ("room", "first", "most", "found", "tried"),
    [
        (1000, 64, 4096, 512, [80, 160, 320, 640, 1280]),  # a quarter more than 512 clips fit, than 1,024 not
        (640, 64, 4096, 512, [80, 160, 320, 640, 1280]),
        (639, 64, 4096, 256, [80, 160, 320, 640]),
        (10**6, 64, 200, 200, [80, 160, 250]),
        (10**6, 64, 10, 10, [12]),
        (30, 64, 4096, 16, [80, 40, 20]),
        (1, 64, 4096, 1, [80, 40, 20, 10, 5, 2, 1]),
    ],
)
def test_doubled_while_it_fits_and_halved_where_it_does_not(room, first, most, found, tried):
    seen: list[int] = []

    def attempt(clips: int) -> None:
        seen.append(clips)
        if clips > room:
            raise torch.OutOfMemoryError("CUDA out of memory")

    assert largest_batch(attempt, first, most) == found
    assert seen == tried


def test_nothing_fits_and_other_errors_are_not_taken_for_it():
    def full(clips: int) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    def broken(clips: int) -> None:
        raise ValueError("something else")

    with pytest.raises(AmrError, match="does not hold the encoder's work on a single clip"):
        largest_batch(full, 64, 4096)
    with pytest.raises(ValueError, match="something else"):
        largest_batch(broken, 64, 4096)


def test_an_evaluation_keeps_its_batch_on_the_cpu_and_records_it(ntu_shards, tmp_path):
    run_experiment(small(ntu_shards, "evaluation.protocols=[]"), tmp_path / "run")
    dataset = open_dataset(ntu_shards)
    subject = untrained(load_encoder(tmp_path / "run").config, 0, dataset, torch.device("cpu"))
    settings = EvaluationConfig(batch_size=7)
    task = Task(subject, dataset, "xsub", settings, torch.device("cpu"))
    record = judged(task, protocol_named("knn"))
    assert record["hardware"]["clips_at_once"] == 7
    task._seen(3)  # what is tried on a GPU


def test_on_a_gpu_the_most_that_fits_is_found_once(monkeypatch, ntu_shards):
    tried: list[int] = []
    task = object.__new__(Task)
    task.settings, task.dataset = EvaluationConfig(batch_size=4), open_dataset(ntu_shards)
    task.device, task.processes = torch.device("cuda"), Processes()
    monkeypatch.setattr("torch.tensor", lambda value, device: value)  # there is no GPU to put it on
    monkeypatch.setattr(task, "_seen", tried.append)
    assert (task.batch_size, task.batch_size) == (48, 48)  # all clips there are
    assert tried == [5, 10, 20, 40, 60]


def test_work_of_one_process_shares_nothing_new_with_the_others(ntu_shards, tmp_path):
    """What is made already is taken; a feed that it makes is not the others', who would make theirs
    together."""
    run_experiment(small(ntu_shards, "evaluation.protocols=[]"), tmp_path / "run")
    dataset, cpu = open_dataset(ntu_shards), torch.device("cpu")
    subject = untrained(load_encoder(tmp_path / "run").config, 0, dataset, cpu)
    task = Task(subject, dataset, "xsub", EvaluationConfig(), cpu, processes=Processes(1, 4, 1, cpu, 4))
    task.processes, together = Processes(), task.processes
    features, train = task.features, task.feed("train")
    task.processes = together
    alone = task.on_its_own()
    assert (alone.processes, task.processes) == (Processes(device=cpu), together)
    assert alone.features is features
    assert alone.feed("train") is train
    alone.feed("test")
    assert list(task._feeds) == ["train"]
