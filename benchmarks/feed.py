"""Batched views on the device against a plain loader that makes the same views clip by clip."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.functional import interpolate

from amr_data import SplitArrays
from amr_train.config import AugmentConfig
from amr_train.data.augment import rotation_matrices
from amr_train.data.feed import Feed
from benchmarks.timing import best_seconds

CLIPS, FRAMES, JOINTS, OUT = 1024, 90, 25, 120


def main() -> None:
    rng = np.random.default_rng(0)
    joints = rng.normal(0, 1, (CLIPS * FRAMES, JOINTS, 3)).astype(np.float32)
    first = np.arange(CLIPS) * FRAMES
    arrays = SplitArrays(
        joints,
        np.zeros((len(joints), JOINTS, 0), np.float32),
        np.tile(np.arange(FRAMES), CLIPS),
        first,
        np.full(CLIPS, FRAMES),
        np.arange(CLIPS),
        np.zeros(CLIPS, np.int64),
        [str(i) for i in range(CLIPS)],
        np.full(CLIPS, FRAMES),
    )
    feed = Feed(arrays, torch.device("cpu"), OUT)
    augment = AugmentConfig()
    generator = torch.Generator().manual_seed(0)

    def batched() -> None:
        for _ in feed.batches(feed.train_views(128, augment, generator)):
            pass

    def clip_by_clip() -> None:
        order = torch.randperm(CLIPS, generator=generator).tolist()
        for begin in range(0, CLIPS, 128):
            torch.stack([_one(joints, first[i], augment) for i in order[begin : begin + 128]])

    ours, plain = CLIPS / best_seconds(batched, 20), CLIPS / best_seconds(clip_by_clip, 5)
    print(f"clip by clip   {plain:10,.0f} clips/s   1.0")
    print(f"batched        {ours:10,.0f} clips/s   {ours / plain:.1f}")


def _one(joints: np.ndarray, first: int, augment: AugmentConfig) -> torch.Tensor:
    share = augment.min_crop + (1 - augment.min_crop) * float(torch.rand(()))
    length = max(int(np.ceil(FRAMES * share)), min(augment.min_frames, FRAMES))
    start = int(torch.randint(FRAMES - length + 1, ()))
    crop = torch.from_numpy(joints[first + start : first + start + length])
    crop = interpolate(crop.flatten(1).T[None], size=OUT, mode="linear", align_corners=False)[0].T.reshape(
        OUT, JOINTS, 3
    )
    angles = (torch.rand(1, 3) * 2 - 1) * augment.rotation
    return crop @ rotation_matrices(angles)[0].T
