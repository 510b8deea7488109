"""Clips a second of whole training, feed included: every method, both bodies fed and absent ones left out, at
batch 128 and at the best batch; the share of the measured peak, memory, and the parts of a step.

`python -m benchmarks throughput --html` writes a page besides; docs/speed.md explains how to read it. Made
for a GPU; on a CPU batches are small, and `--quick` takes tiny models, to see the page. Synthetic clips have
NTU's make-up: 40 to 130 frames, two bodies in every sixth clip.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from amr_data import SplitArrays
from amr_train.config import Experiment
from amr_train.data.batching import Batch
from amr_train.data.feed import Feed
from amr_train.experiments.loading import load_experiment
from amr_train.models.flops import count_flops
from amr_train.models.masked import MaskedReconstruction
from amr_train.parallel.precision import arithmetic, precise, products
from amr_train.parallel.processes import Processes, choose_device
from amr_train.training.loop import prepare, train_step
from amr_train.training.optimizers import make_optimizer
from benchmarks.step import JOINTS, METHODS, WINDOWS
from benchmarks.timing import best_seconds

EPOCH_CLIPS, EPOCHS = 40_091, 400
PARTS = ("views", "masks, targets, loss", "forward", "backward", "optimiser")
BODIES = {"skip": "absent left out", "keep": "both fed"}
GAIN = 1.02
"""A larger batch is better where it is faster by so much."""


@dataclass(frozen=True)
class Scale:
    """How much is measured: steps, the batch that all methods are compared at, and the largest one tried."""

    clips: int
    batch: int
    largest: int
    warm: int
    steps: int
    settings: tuple[str, ...] = ()


GPU = Scale(clips=16_384, batch=128, largest=4096, warm=10, steps=30)
CPU = Scale(clips=64, batch=8, largest=16, warm=1, steps=2)
QUICK = Scale(clips=32, batch=4, largest=8, warm=1, steps=2, settings=("scale=tiny",))


@dataclass(frozen=True)
class Row:
    """One line. `memory` in bytes: the most that the GPU held, on a CPU what the process holds. `share` of
    the measured peak."""

    method: str
    bodies: str
    batch: int
    best: bool
    clips_per_second: float
    share: float
    memory: int

    @property
    def step_ms(self) -> float:
        return 1000 * self.batch / self.clips_per_second

    @property
    def minutes(self) -> float:
        """Of 400 epochs of NTU-60 cross-subject."""
        return EPOCH_CLIPS * EPOCHS / self.clips_per_second / 60


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser("python -m benchmarks throughput", description=__doc__)
    parser.add_argument("--html", nargs="?", const="throughput.html", type=Path, metavar="FILE")
    parser.add_argument("--quick", action="store_true", help="tiny models, to see the page")
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE", help="settings such as compile=default")
    given = parser.parse_args(arguments)
    device = choose_device("auto")
    scale = QUICK if given.quick else GPU if device.type == "cuda" else CPU
    settings = [*scale.settings, *given.settings]
    if device.type == "cuda" and not any(word.startswith("compile=") for word in settings):
        settings.append("compile=default")
    if "compile=cuda-graphs" in settings:
        settings.insert(0, "pretrain.batches=even")
    experiment = experiment_on(device, "amr", settings)
    peak = matrix_peak(device, experiment.precision, 8192 if device.type == "cuda" else 1024)
    about = facts(device, peak, experiment)
    print("\n".join(f"{key:14}{value}" for key, value in about.items()))
    arrays = clips_like_ntu(scale.clips)
    rows: list[Row] = []
    shares: dict[str, dict[str, float]] = {}
    print(f"\n{'method':20}{'bodies':>17}{'batch':>7}{'clips/s':>10}{'of peak':>9}{'ms a step':>11}", end="")
    print(f"{'GiB':>7}{'NTU-60, 400 epochs':>20}")
    for method in METHODS:
        for bodies in BODIES:
            words = [*settings, f"data.empty_bodies={bodies}"]
            found = measured(method, words, arrays, device, scale, peak)
            rows += found
            said = [in_a_line(row) for row in found] or [f"{method:20}batch {scale.batch} does not fit"]
            print("\n".join(said), flush=True)
    print(f"\nparts of a step at batch {scale.batch}, ms, not compiled")
    print(f"{'method':20}" + "".join(f"{name:>22}" for name in PARTS))
    for method in METHODS:
        words = [*settings, "compile=none", f"pretrain.batch_size={scale.batch}"]
        shares[method] = parts(experiment_on(device, method, words), arrays, device, scale)
        print(f"{method:20}" + "".join(f"{1000 * shares[method][name]:22.2f}" for name in PARTS), flush=True)
    if given.html:
        given.html.write_text(page(about, rows, shares, scale), encoding="utf-8")
        print(f"\npage → {given.html}")


def facts(device: torch.device, peak: float, experiment: Experiment) -> dict[str, str]:
    """What the figures were measured with."""
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    threads = "1 thread" if torch.get_num_threads() == 1 else f"{torch.get_num_threads()} threads"
    return {
        "device": gpu or f"{device.type}, {platform.machine()}, {threads}",
        "peak": f"{peak / 1e9:,.0f} GFLOP/s in {experiment.precision}, measured by one large matrix product",
        "torch": torch.__version__,
        "compile": experiment.compile,
        "model": f"{experiment.model.encoder_layers} layers, width {experiment.model.width}, "
        f"{experiment.model.frames} frames" + (f", scale {experiment.scale}" * (experiment.scale != "full")),
        "measured": time.strftime("%Y-%m-%d"),
    }


def in_a_line(row: Row) -> str:
    star = "*" if row.best else ""
    return (
        f"{row.method:20}{BODIES[row.bodies]:>17}{f'{row.batch}{star}':>7}{row.clips_per_second:10,.0f}"
        f"{row.share:9.1%}{row.step_ms:11.1f}{row.memory / 2**30:7.1f}{row.minutes:16.1f} min"
    )


def measured(
    method: str, settings: Sequence[str], arrays: SplitArrays, device: torch.device, scale: Scale, peak: float
) -> list[Row]:
    """At the scale's batch, and at the best one if that is another: doubled as long as it gains and fits."""
    experiment = experiment_on(device, method, settings)
    linear, attention = count_flops(MaskedReconstruction(experiment, JOINTS, WINDOWS))
    sequence = 3 * (linear + attention) / 2  # forward and backward, of one body
    found: list[Row] = []
    batch = scale.batch
    while batch <= min(scale.largest, len(arrays.names)):
        try:
            words = [*settings, f"pretrain.batch_size={batch}"]
            speed, sequences, memory = whole(experiment_on(device, method, words), arrays, device, scale)
        except torch.OutOfMemoryError:
            break
        share = speed * sequences * sequence / peak
        row = Row(method, experiment.data.empty_bodies, batch, False, speed, share, memory)
        if found and speed < GAIN * found[-1].clips_per_second:
            break
        found.append(row)
        batch *= 2
    if not found:
        return []
    best = found[-1]
    marked = replace(best, best=True)
    return [marked] if best is found[0] else [found[0], marked]


def whole(
    experiment: Experiment, arrays: SplitArrays, device: torch.device, scale: Scale
) -> tuple[float, float, int]:
    """Training as the loop does it. Returns clips a second, sequences a clip, and memory in bytes."""
    model, feed = made(experiment, arrays, device)
    trained = prepare(model, experiment, Processes(), device)
    optimizer = make_optimizer(model, experiment.pretrain)
    batches = endless(feed, experiment)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()

    def steps(count: int) -> int:
        sequences = 0
        for step in range(count):
            batch = next(batches)
            sequences += batch.total
            train_step(trained, batch, optimizer, experiment, step, Processes())
        wait(device)
        return sequences

    steps(scale.warm)
    began = time.perf_counter()
    sequences = steps(scale.steps)
    seconds = time.perf_counter() - began
    memory = (
        torch.cuda.max_memory_allocated() if device.type == "cuda" else psutil.Process().memory_info().rss
    )
    clips = scale.steps * experiment.pretrain.batch_size
    return clips / seconds, sequences / clips, memory


def parts(
    experiment: Experiment, arrays: SplitArrays, device: torch.device, scale: Scale
) -> dict[str, float]:
    """Seconds of the parts of a step, means over steps; they add up to the step."""
    model, feed = made(experiment, arrays, device)
    optimizer = make_optimizer(model, experiment.pretrain)
    views = feed.train_views(experiment.pretrain.batch_size, experiment.augment, torch.Generator())
    clock = Clock(device)
    model.encoder.register_forward_pre_hook(lambda *_: clock.mark("masks, targets, loss"))
    model.decoder.register_forward_hook(lambda *_: clock.mark("forward"))
    for step in range(scale.warm + scale.steps):
        if step == scale.warm:
            clock.clear()
        clock.begin()
        batch = feed.batch(views, step % len(views))
        clock.mark("views")
        with arithmetic(experiment.precision, device):
            found, _ = model.loss(batch, torch.Generator(device).manual_seed(step))
        loss = found.sum() / batch.total
        clock.mark("masks, targets, loss")
        optimizer.zero_grad(set_to_none=True)
        with products(experiment.precision):
            loss.backward()
        clock.mark("backward")
        optimizer.step()
        clock.mark("optimiser")
    found_seconds = clock.seconds()
    return {name: found_seconds[name] / scale.steps for name in PARTS}


class Clock:
    """Time between marks, on the device's own clock, so that nothing waits for it meanwhile."""

    def __init__(self, device: torch.device) -> None:
        self.cuda = device.type == "cuda"
        self.marks: list[tuple[str | None, Any]] = []

    def begin(self) -> None:
        self.marks.append((None, self._now()))

    def mark(self, name: str) -> None:
        """What happened since the mark before was this."""
        self.marks.append((name, self._now()))

    def clear(self) -> None:
        self.marks.clear()

    def seconds(self) -> dict[str, float]:
        """All that was spent on each."""
        if self.cuda:
            torch.cuda.synchronize()
        total: dict[str, float] = {}
        for (_, before), (name, now) in zip(self.marks, self.marks[1:], strict=False):
            if name is not None:
                spent = before.elapsed_time(now) / 1000 if self.cuda else now - before
                total[name] = total.get(name, 0.0) + spent
        return total

    def _now(self) -> Any:
        if not self.cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event


def made(
    experiment: Experiment, arrays: SplitArrays, device: torch.device
) -> tuple[MaskedReconstruction, Feed]:
    torch.manual_seed(0)
    model = MaskedReconstruction(experiment, JOINTS, WINDOWS).to(device).train()
    bodies = 2 if experiment.data.empty_bodies == "keep" else None
    return model, Feed(arrays, device, experiment.model.frames, bodies=bodies)


def endless(feed: Feed, experiment: Experiment) -> Iterator[Batch]:
    """Batches of epoch after epoch."""
    for epoch in cycle(range(1000)):
        chance, config = torch.Generator().manual_seed(epoch), experiment.pretrain
        yield from feed.batches(
            feed.train_views(config.batch_size, experiment.augment, chance, batches=config.batches)
        )


def page(
    about: dict[str, str], rows: Sequence[Row], shares: dict[str, dict[str, float]], scale: Scale
) -> str:
    """One HTML file that loads nothing."""
    from jinja2 import Environment, FileSystemLoader, select_autoescape

    templates = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=templates, autoescape=select_autoescape(), trim_blocks=True)
    longest = max(sum(seconds.values()) for seconds in shares.values())
    return environment.get_template("throughput.html").render(
        about=about,
        rows=rows,
        bodies=BODIES,
        top=max((row.clips_per_second for row in rows), default=1),
        parts=PARTS,
        shares=shares,
        longest=longest,
        batch=scale.batch,
        tiny=bool(scale.settings),
    )


def timed(function: Callable[[], object], device: torch.device) -> float:
    def once() -> None:
        function()
        wait(device)

    once()
    return best_seconds(once, 10 if device.type == "cuda" else 3)


def experiment_on(device: torch.device, method: str, settings: Sequence[str]) -> Experiment:
    """A method's experiment in the precision that the device computes in."""
    return precise(load_experiment(f"ntu60-xsub-{method}", settings), device)[0]


def matrix_peak(device: torch.device, precision: str, size: int) -> float:
    """FLOP/s of a matrix product of (size, size) on random data."""
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    with products(precision):
        return 2 * size**3 / timed(lambda: a @ b, device)


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def clips_like_ntu(count: int) -> SplitArrays:
    rng = np.random.default_rng(0)
    bodies = np.where(np.arange(count) % 6 == 0, 2, 1)
    clip = np.repeat(np.arange(count), bodies)
    frames = rng.integers(40, 131, count)
    rows = frames[clip]
    joints = rng.normal(0, 0.3, (int(rows.sum()), JOINTS, 3)).astype(np.float32)
    energy = np.zeros((len(joints), JOINTS, 0), np.float32)
    names = [str(i) for i in range(count)]
    first = np.cumsum(rows) - rows
    frame = np.arange(len(joints)) - np.repeat(first, rows)
    labels = np.zeros(count, np.int64)
    return SplitArrays(joints, energy, frame, first, rows, clip, labels, names, frames)
