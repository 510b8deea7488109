"""A suite as a queue: who takes what, what an error and a death cost; workers find what one finds."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import yaml
from click.testing import CliRunner

from amr_cli import crew as crew_module
from amr_cli.terminal import Terminal
from amr_cli.train import main
from amr_data import AmrError
from amr_train.evaluation.records import BASELINES, records_in
from amr_train.experiments import queue as queue_module
from amr_train.experiments import workers as workers_module
from amr_train.experiments.jobs import Job, jobs_of, work
from amr_train.experiments.queue import DONE, FAILED, OPEN, Queue, Told, work_through
from amr_train.experiments.schedule import Slot, schedule, whole
from amr_train.experiments.stages import Stage, datasets_by_name, run_stage, stages_of
from amr_train.experiments.suites import Transfer, load_suite
from amr_train.experiments.workers import places, run_workers
from amr_train.training.checkpoints import list_checkpoints
from amr_train.training.locks import Held, hold, is_held
from amr_train.training.stopping import Stopped
from tests.amr_train.runs import Listener

pytestmark = pytest.mark.long

TINY = ["scale=tiny", "monitor.every_epochs=0"]
LONG = {"experiment": "ntu60-xsub-mae", "settings": {"name": "long"}, "grid": {"pretrain.epochs": [15]}}
TWELVE = {
    "seeds": [0, 1],
    "settings": {"evaluation": {"protocols": ["knn"]}},
    "experiments": [LONG, {"data": "ntu60-xsub", "methods": ["mamp", "subset", "pooled", "amr", "mae"]}],
}


class Heard(Told):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.failed: dict[str, str] = {}
        self.waited = 0
        self.died: list[str | None] = []

    def took(self, worker: int, job: Job) -> None:
        self.taken.append(job.title)

    def ended(self, worker: int, job: Job, done: int, count: int, error: str | None) -> None:
        if error is not None:
            self.failed[job.title] = error

    def waits(self, worker: int) -> None:
        self.waited += 1

    def left(self, worker: int, job: Job | None) -> None:
        self.died.append(job and job.title)


@pytest.fixture(scope="module")
def suite_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("suite") / "twelve.yaml"
    file.write_text(yaml.safe_dump(TWELVE))
    return file


@pytest.fixture
def stages(suite_file: Path, ntu_shards: Path, tmp_path: Path) -> list[Stage]:
    data = datasets_by_name([ntu_shards])
    return stages_of(load_suite(str(suite_file)), data, tmp_path / "runs", TINY)


def numbered(*needs: tuple[int, ...]) -> list[Job]:
    """Jobs named 0, 1, ... of which each needs those."""
    stage = Stage("x", 0, None, Path("x"), Path("x"))  # type: ignore[arg-type]
    return [
        Job("evaluation", str(number), stage, Path(f"{number}.lock"), needed)
        for number, needed in enumerate(needs)
    ]


@pytest.fixture
def worked(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """What is done of a queue, in order, where some jobs fail and some are held at first."""
    done: list[str] = []

    def through(
        queue: Queue, fail: str = "", held: str = "", told: Told | None = None, **how: bool
    ) -> list[str]:
        refusals = list(held)

        def pretended(job: Job, listener: object) -> None:
            if job.title in refusals:
                refusals.remove(job.title)
                raise Held("held")
            if job.title in fail:
                raise AmrError(f"no {job.title}")
            done.append(job.title)

        monkeypatch.setattr(queue_module, "work", pretended)
        monkeypatch.setattr(queue_module, "PAUSE", 0.0)
        work_through(queue, told or Told(), **how)
        return done

    return through


def test_the_first_job_whose_needs_are_met_and_that_nobody_holds_is_taken(worked):
    jobs = numbered((), (0,), (), (2,), ())
    assert worked(Queue(jobs)) == ["0", "1", "2", "3", "4"]


def test_what_is_held_comes_last_and_what_needs_it_waits(worked):
    heard, jobs = Heard(), numbered((), (0,), (), (2,), ())
    # held when it is asked for before 2, 3, 4 and once more, when nothing else is left
    assert worked(Queue(jobs), held="0000", told=heard) == ["2", "3", "4", "0", "1"]
    assert heard.waited == 1


def test_without_waiting_what_is_held_is_left_to_others(worked):
    queue = Queue(numbered((), (0,), ()))
    assert worked(queue, held="0000", wait=False) == ["2"]
    assert list(queue.states) == [OPEN, OPEN, DONE]


def test_an_error_ends_what_needs_the_job_and_nothing_else(worked):
    heard, queue = Heard(), Queue(numbered((), (0,), (1,), (), (2, 3)))
    assert worked(queue, fail="1", told=heard) == ["0", "3"]
    assert list(queue.states) == [DONE, FAILED, OPEN, DONE, OPEN]
    assert heard.failed == {"1": "no 1"}
    assert queue.blocked() == [2, 4]
    with pytest.raises(AmrError, match="no 0"):
        worked(Queue(numbered((), ())), fail="0", strict=True)


def test_a_job_at_which_a_worker_died_is_tried_last(worked):
    assert worked(Queue(numbered((), (), ()), deaths=[0, 1, 0])) == ["0", "2", "1"]


def test_a_stage_is_a_training_its_baselines_and_its_evaluations(stages):
    both = [
        {"evaluation": {**stages[0].experiment.evaluation.model_dump(), "protocols": p}}
        for p in (["knn", "finetune", "linear", "semi"], ["retrieval"])
    ]
    runs = [
        replace(
            stage, experiment=type(stage.experiment).model_validate({**stage.experiment.model_dump(), **more})
        )
        for stage, more in zip((stages[1], stages[2]), both, strict=True)
    ]
    moved = replace(
        runs[0], transfer=Transfer(encoder="x", dataset="ntu60", split="xview", protocols=["knn"])
    )
    jobs = jobs_of([*runs, moved])
    found = [(job.kind, job.stage.name, job.protocols, job.needs) for job in jobs]
    first, second = (run.name for run in runs)
    assert found == [
        ("pre-training", first, (), ()),
        ("untrained", first, (), ()),
        ("coordinates", first, (), ()),
        ("evaluation", first, ("knn", "linear"), (0, 1, 2)),
        ("evaluation", first, ("finetune",), (0,)),
        ("evaluation", first, ("semi",), (0,)),
        ("pre-training", second, (), ()),
        ("evaluation", second, ("retrieval",), (6, 1, 2)),  # mae and mamp have the same encoder
        ("evaluation", moved.name, ("knn",), (0, 1, 2)),
    ]
    assert [stage.name for stage in jobs[1].others] == [second, moved.name]
    assert len({job.lock for job in jobs}) == len(jobs)


def test_a_lock_keeps_others_away_until_its_process_ends(stages):
    training = jobs_of(stages)[0]
    work(training)  # its folder is there now
    lock = hold(training.lock, training.stage.folder)
    with pytest.raises(Held, match="another process is at work"):
        work(training)
    lock.release()
    assert not is_held(training.lock)
    assert not is_held(training.stage.folder / "none")
    assert not (training.stage.folder / "none").exists()
    code = f"import sys; from filelock import FileLock; lock = FileLock({str(training.lock)!r}); "
    code += "lock.acquire(timeout=0); print('held', flush=True); sys.stdin.read()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], text=True, **pipes) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        assert is_held(training.lock)
        other.kill()
    assert not is_held(training.lock)


def test_what_was_killed_before_it_said_what_it_is_does_not_refuse_the_next(stages):
    folder = stages[0].folder
    folder.mkdir(parents=True)
    (folder / ".lock").touch()
    (folder / ".run.json.4711.tmp").write_text("{")
    work(jobs_of(stages)[0])
    assert (folder / "encoder.safetensors").is_file()


def test_workers_take_gpus_in_turn_and_share_the_cores(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(workers_module, "cores", lambda: 12)
    assert places("auto", ["auto"]) == [{"OMP_NUM_THREADS": "12"}]
    assert places("5", ["cpu"]) == [{"OMP_NUM_THREADS": "2"}] * 5
    assert places("99", ["cpu"])[98] == {"OMP_NUM_THREADS": "1"}
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,MIG-a, 7")
    gpus = [place["CUDA_VISIBLE_DEVICES"] for place in places("auto", ["cpu", "auto"])]
    assert gpus == ["4", "MIG-a", "7"]
    assert [p["CUDA_VISIBLE_DEVICES"] for p in places("4", ["cuda"])] == ["4", "MIG-a", "7", "4"]
    assert places("2", ["cpu"]) == [{"OMP_NUM_THREADS": "6"}] * 2
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert places("auto", ["cuda"])[2] == {"CUDA_VISIBLE_DEVICES": "2", "OMP_NUM_THREADS": "3"}


def test_the_schedule_of_one_two_and_eight_workers():
    """Two trainings of 10 and 20 minutes, with evaluations of 5, and one of 0 that is not shown."""
    jobs = list(zip(numbered((), (0,), (), (2,), (2,)), (10.0, 5.0, 20.0, 5.0, 0.0), strict=True))
    assert whole(schedule(jobs, 1)) == 40
    assert schedule(jobs, 2) == [
        Slot("0", 1, 0, 10),
        Slot("2", 2, 0, 20),
        Slot("1", 1, 10, 15),
        Slot("3", 1, 20, 25),
    ]
    assert whole(schedule(jobs, 8)) == 25


def words_of(suite: Path, shards: Path, out: Path, workers: int) -> list[str]:
    words = ["run", str(suite), "--data", str(shards), "-o", str(out), "--workers", str(workers)]
    return [*words, *TINY, "pretrain.checkpoint_epochs=1"]


def until_beyond(run: Path, step: int) -> int:
    """Wait for a checkpoint beyond a step; gives its step."""
    before = time.monotonic()
    while time.monotonic() - before < 120:
        if (kept := list_checkpoints(run / "checkpoints")) and int(kept[-1].name[5:14]) > step:
            return int(kept[-1].name[5:14])
        time.sleep(0.01)
    raise AssertionError(f"no checkpoint beyond step {step} in {run}")


def figures_of(folder: Path) -> list[tuple]:
    keys = ("protocol", "split", "seed", "clips", "figures", "details")
    return sorted(
        (str(record["subject"]), *(json.dumps(record[key]) for key in keys)) for record in records_in(folder)
    )


@pytest.fixture
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.mark.usefixtures("_one_thread")
def test_two_workers_find_what_one_finds_though_one_is_killed_and_a_third_joins(
    suite_file, ntu_shards, stages, tmp_path
):
    assert len(stages) == 12
    for stage in stages:
        run_stage(stage)
    one, out = tmp_path / "runs", tmp_path / "shared"
    metrics = out / stages[0].folder.name / "metrics.jsonl"
    found: list[subprocess.Popen[str]] = []
    killed: list[int] = []

    def kill_and_join() -> None:
        until_beyond(metrics.parent, 2)
        workers = [p for p in psutil.Process().children() if "spawn_main" in " ".join(p.cmdline())]
        for number, worker in enumerate(sorted(workers, key=lambda process: process.create_time())):
            if any(file.path == str(metrics) for file in worker.open_files()):
                worker.kill()
                killed.append(number + 1)
        command = [sys.executable, "-m", "amr_cli.train", *words_of(suite_file, ntu_shards, out, 1)]
        pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        found.append(subprocess.Popen(command, text=True, **pipes))

    thread = threading.Thread(target=kill_and_join)
    thread.start()
    two = CliRunner().invoke(main, words_of(suite_file, ntu_shards, out, 2))
    thread.join()
    _, told = found[0].communicate(timeout=200)
    assert (two.exit_code, found[0].returncode) == (0, 0), (two.output, told)
    assert "2 workers on the CPU, 1 thread each" in two.stderr
    title = f"{stages[0].name}, seed 0: pre-training"
    assert f"worker {killed[0]} has died; {title} is free for the others" in two.stderr
    for stage in stages:
        name = stage.folder.name
        ours, theirs = one / name, out / name
        assert (theirs / "encoder.safetensors").read_bytes() == (ours / "encoder.safetensors").read_bytes(), (
            name
        )
        assert figures_of(theirs) == figures_of(ours)
        epochs = [json.loads(line)["step"] for line in (theirs / "metrics.jsonl").read_text().splitlines()]
        assert epochs == list(range(1, stage.experiment.pretrain.epochs + 1))
        assert json.loads((theirs / "results.json").read_text())["evaluations"]
        assert json.loads((theirs / "run.json").read_text())["hardware"]["threads"] == 1
    assert figures_of(out / BASELINES) == figures_of(one / BASELINES)
    assert len(list((out / BASELINES / "evaluations").iterdir())) == 4  # untrained and coordinates, two seeds


@pytest.mark.usefixtures("_one_thread")
def test_an_error_stops_no_worker_and_a_signal_stops_all_at_a_steps_end(stages):
    other, long = stages[1], stages[0]
    other.folder.mkdir(parents=True)
    (other.folder / "mine.txt").touch()
    jobs, heard = jobs_of([other, long]), Heard()

    def stop() -> None:
        until_beyond(long.folder, 2)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=stop)
    thread.start()
    with pytest.raises(Stopped, match="what they did is kept") as raised:
        run_workers(jobs, [{"OMP_NUM_THREADS": "1"}], heard)
    thread.join()
    assert (raised.value.signal, raised.value.kept) == (signal.SIGTERM, True)
    assert list(heard.failed) == [f"{other.name}, seed 0: pre-training"]
    assert "is not empty and holds no run" in next(iter(heard.failed.values()))
    beside = [f"{kind}, beside {other.name}, seed 0" for kind in ("untrained", "coordinates")]
    assert heard.taken == [*beside, f"{long.name}, seed 0: pre-training"]
    assert heard.died == []
    kept = until_beyond(long.folder, 2)
    assert not (long.folder / "encoder.safetensors").exists()
    listener = Listener()
    run_stage(long, listener)
    assert listener.steps[0] == kept + 1


def test_a_command_ends_with_1_after_errors_and_leaves_a_report(
    stages, suite_file, ntu_shards, tmp_path, monkeypatch
):
    def failing(jobs, environments, told, wait):
        queue = Queue(jobs)
        for number in range(len(jobs)):
            work(jobs[number]) if number < 4 else None
            queue.states[number] = DONE if number < 4 else OPEN
        queue.states[4] = FAILED
        told.ended(0, jobs[4], 4, len(jobs), "the disk is full")
        return queue

    monkeypatch.setattr(workers_module, "run_workers", failing)
    words = [
        "run",
        str(suite_file),
        "--data",
        str(ntu_shards),
        "-o",
        str(tmp_path / "o"),
        "--workers",
        "2",
        *TINY,
    ]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 1, done.output
    assert "1 job failed; " in done.stderr
    assert f"{jobs_of(stages)[4].title}: the disk is full" in done.stderr
    assert "long-epochs=15" in done.stdout
    assert (tmp_path / "o" / "twelve.html").is_file()


def test_a_run_with_other_settings_is_no_result_of_a_suite(ntu_shards, tmp_path, monkeypatch):
    def here(jobs, environments, told, wait):
        queue = Queue(jobs)
        work_through(queue, told, wait=wait)
        return queue

    monkeypatch.setattr(workers_module, "run_workers", here)
    suite, out = tmp_path / "two.yaml", tmp_path / "out"
    words = ["run", str(suite), "--data", str(ntu_shards), "-o", str(out), *TINY]
    rows = [{"data": "ntu60-xsub", "methods": [name], "protocols": ["knn"]} for name in ("mae", "mamp")]
    suite.write_text(yaml.safe_dump({"experiments": rows}))
    assert CliRunner().invoke(main, words).exit_code == 0
    rows[0]["settings"] = {"pretrain": {"lr": 0.01}}
    suite.write_text(yaml.safe_dump({"experiments": rows}))
    done = CliRunner().invoke(main, [*words, "--workers", "2", "--json"])
    assert done.exit_code == 1
    assert "pretrain.lr 0.01 instead of" in done.stderr.replace("\n", " ")
    named = {row["experiment"] for row in json.loads(done.stdout)}
    assert named == {"untrained", "coordinates", "ntu60-xsub-mamp"}


def test_a_suite_that_judges_nothing_ends_well(ntu_shards, tmp_path):
    suite = tmp_path / "bare.yaml"
    row = {"data": "ntu60-xsub", "methods": ["mae"], "protocols": []}
    suite.write_text(yaml.safe_dump({"experiments": [row]}))
    words = ["run", str(suite), "--data", str(ntu_shards), "-o", str(tmp_path / "out"), *TINY]
    for more, said in (([], "none of which is judged"), (["--json"], "[]")):
        done = CliRunner().invoke(main, [*words, *more])
        assert done.exit_code == 0, done.output
        assert said in done.stdout
    assert (tmp_path / "out" / "ntu60-xsub-mae-0" / "encoder.safetensors").is_file()


def test_jobs_go_to_a_dask_cluster(stages):
    distributed = pytest.importorskip("distributed")
    from amr_train.experiments.cluster import run_on_cluster

    chosen, heard = [stages[2], stages[3]], Heard()
    jobs = jobs_of(chosen)
    # threads, not processes, so that it is up at once; the scheduler gives each worker one job at a time
    how = {"n_workers": 1, "processes": False, "dashboard_address": None}
    with distributed.LocalCluster(threads_per_worker=1, protocol="tcp://", **how) as cluster:
        queue = run_on_cluster(jobs, cluster.scheduler_address, heard)
    assert list(queue.states) == [DONE] * len(jobs)
    assert all((stage.folder / "results.json").is_file() for stage in chosen)
    with distributed.LocalCluster(threads_per_worker=2, protocol="tcp://", **how) as cluster:
        queue = run_on_cluster(jobs, cluster.scheduler_address, heard)
    assert set(heard.failed.values()) == {"a Dask worker with 2 threads; start workers with --nthreads 1"}
    with pytest.raises(AmrError, match="no Dask scheduler answers"):
        run_on_cluster(jobs, "tcp://127.0.0.1:9", heard)


def test_a_terminal_shows_a_line_for_each_worker(monkeypatch):
    screen = {"file": io.StringIO(), "force_terminal": True, "width": 80, "legacy_windows": False}
    console = Terminal(**screen)
    monkeypatch.setattr(crew_module, "errors", console)
    monkeypatch.setattr("amr_cli.ui.errors", console)

    def lines() -> list[str]:
        rendered = console.render_lines(crew.bar.get_renderable(), console.options)
        return ["".join(segment.text for segment in line).rstrip() for line in rendered]

    jobs = [replace(job, title=f"ntu60-xsub-amr, seed {job.title}: knn") for job in numbered((), (), ())]
    with crew_module.Crew(3, quiet=False) as crew:
        assert [line.split()[:3] for line in lines()] == [["worker", str(n), "starting"] for n in (1, 2, 3)]
        crew.took(0, jobs[0])
        crew.stage(0, "features, encoder")
        assert lines()[0].startswith("worker 1 ntu60-xsub-amr, seed 0: knn")
        assert "features" in lines()[0]
        crew.advance(0, 3, 4, {"loss": 0.5, "epoch": 1, "epochs": 2})
        assert "loss 0.5" in lines()[0]
        crew.waits(1)
        crew.left(2, jobs[2])
        assert lines()[1].startswith("worker 2 waiting for what others are")
        assert lines()[2].startswith("worker 3 dead")
        crew.ended(0, jobs[0], 1, 3, None)
        crew.ended(1, jobs[1], 1, 3, "the disk is full")
        assert lines()[0].startswith("worker 1 free")
        assert max(map(len, lines())) <= 80
    shown = console.file.getvalue()
    assert "1/3 ntu60-xsub-amr, seed 0: knn, 0 s" in shown
    assert "ntu60-xsub-amr, seed 2: knn is free for the others" in shown.replace("\n", " ")
    assert crew.failures == {"ntu60-xsub-amr, seed 1: knn": "the disk is full"}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["suite/nw-ucla", "--workers", "0"], "neither 'auto' nor a number"),
        (["suite/nw-ucla", "--backend", "dask"], "--scheduler tcp://HOST:PORT go together"),
        (
            ["suite/nw-ucla", "--backend", "dask", "--scheduler", "tcp://x:1", "--workers", "2"],
            "the cluster has",
        ),
        (["demo", "--workers", "2"], "--workers goes with a suite"),
        (["demo", "--no-wait"], "--no-wait goes with a suite"),
    ],
)
def test_wrong_use(words, says):
    done = CliRunner().invoke(main, ["run", *words])
    assert done.exit_code == 2, done.output
    assert says in done.stderr.replace("\n", " ")
