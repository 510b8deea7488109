"""How fast long recordings are labelled, in how much memory: `python -m benchmarks.detection --hours 1`.

Two bodies of 25 joints that wander, at 30 frames a second; a detector of the size of `nw-ucla-amr` (48
frames, 4 layers, width 96) with weights of chance and a temporal head. With `--stream` the frames come one by
one, and the memory is said as it goes on.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np
import psutil
import torch

from amr_data import BodyTrack
from amr_data.specs import load_skeleton
from amr_train.config import InputConfig, ModelConfig
from amr_train.data.dense import anatomy_of
from amr_train.detection.decoding import Decoding
from amr_train.detection.dense import MEAN, DenseEncoder, Placing
from amr_train.detection.detector import Detector, Stream, Windowing, detect_long
from amr_train.detection.heads import Head, HeadConfig
from amr_train.detection.windows import Bodies
from amr_train.models.encoder import SkeletonEncoder
from amr_train.models.files import ClipEncoder, EncoderConfig

RATE, CLASSES, BODIES = 30.0, 51, 2
PIECE = 10_000


def detector(cover: int) -> Detector:
    skeleton = load_skeleton("kinect_v2")
    torch.manual_seed(0)
    model = ModelConfig(frames=48, segment=4, width=96, heads=4, encoder_layers=4)
    count = len(skeleton.joints)
    about = EncoderConfig(model=model, joints=count, skeleton="kinect_v2", joint_names=skeleton.common_names)
    encoder = ClipEncoder(SkeletonEncoder(model, count), about).eval()
    place = Placing(InputConfig(centre="first"), anatomy_of(skeleton), tuple(skeleton.common_names))
    dense = DenseEncoder(encoder, place, MEAN)
    head = Head(HeadConfig(inputs=dense.width, classes=CLASSES + 1, layers=6, ahead=15)).eval()
    windowing = Windowing((1.0,), cover, model.segment / RATE)
    return Detector(dense, head, windowing, Decoding(floor=0.0), BODIES, count).eval()


def wandering(frames: int, joints: int) -> Bodies:
    generator = np.random.default_rng(0)
    tracks = []
    for slot in range(BODIES):
        way = generator.normal(0, 0.01, (frames, 1, 3)).astype(np.float32).cumsum(axis=0)
        pose = generator.normal(0, 0.4, (joints, 3)).astype(np.float32)
        tracks.append(BodyTrack(np.arange(frames), way + pose, str(slot), slot))
    return Bodies(frames, tracks, BODIES, joints)


def peak() -> float:
    """GB that this process held at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cover", type=int, default=2, help="windows over each frame (2)")
    parser.add_argument("--stream", action="store_true", help="frames come one by one")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    made, frames = detector(asked.cover), int(asked.hours * 3600 * RATE)
    bodies = wandering(frames, made.joints)
    print(f"{frames:,} frames of {BODIES} bodies, {asked.threads} threads, cover {asked.cover}")
    print(f"{peak():.2f} GB with the recording itself, before anything is labelled")
    began, used = time.perf_counter(), time.process_time()
    found = 0
    if asked.stream:
        stream = Stream(made, RATE)
        for start in range(0, frames, PIECE):
            piece = bodies.cut(start, min(frames, start + PIECE))
            for k in range(piece.shape[1]):
                last = start + k + 1 == frames
                found += len(stream.push(piece[:, k : k + 1], last)[1])
            now = psutil.Process().memory_info().rss / 1e9
            print(f"{start + piece.shape[1]:>9,} frames, {now:.3f} GB", flush=True)
    else:
        found = sum(len(table) for _, _, table in detect_long(made, bodies, RATE))
    wall, cpu = time.perf_counter() - began, time.process_time() - used
    print(f"{wall:.1f} s ({cpu:.1f} s of all cores), {peak():.2f} GB at most, {found:,} intervals")


if __name__ == "__main__":
    main()
