"""One training step of AMR at the paper's settings, and its counted cost. Runs on the GPU where there is one."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from amr_train.config import load_experiment
from amr_train.feed import Batch
from amr_train.models.amr import AMR
from amr_train.pretrain import make_optimizer
from amr_train.run import choose_device
from benchmarks.timing import best_seconds


def main() -> None:
    experiment = load_experiment("ntu60-xsub-amr")
    device = choose_device("auto")
    model = AMR(experiment, 25, (4, 8, 12)).to(device)
    optimizer = make_optimizer(model, experiment.pretrain, device)
    clips = 128 if device.type == "cuda" else 8
    row = torch.arange(clips, device=device).repeat_interleave(2)
    joints = torch.randn(2 * clips, 120, 25, 3, device=device).cumsum(1) * 0.01
    batch = Batch(joints, None, row, torch.arange(clips, device=device))
    one = Batch(joints[:2], None, row[:2], row[:1])
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(one)
    print(
        f"parameters {sum(p.numel() for p in model.parameters()):,}; forward {counter.get_total_flops() / 1e9:.2f} GFLOPs a clip of two bodies"
    )
    for name, enabled in (("float32", False), ("bfloat16", True)):

        def step(enabled: bool = enabled) -> None:
            with torch.autocast(device.type, torch.bfloat16, enabled=enabled):
                loss = model(batch).loss
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            if device.type == "cuda":
                torch.cuda.synchronize()

        step()
        seconds = best_seconds(step)
        print(
            f"{name:9} step on {device.type}: {1000 * seconds / clips:8.2f} ms a clip, {clips / seconds:,.0f} clips/s at batch {clips}"
        )
