"""A stream says what the whole recording says, step by step, late by no more than it promises, and in memory
that does not grow."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from amr_data import BodyTrack
from amr_data.specs import load_skeleton
from amr_train.config import InputConfig, ModelConfig
from amr_train.data.landmarks import anatomy_of
from amr_train.detection.decoding import Decoder, Decoding, decode, runs
from amr_train.detection.dense import JOINTS, MEAN, DenseCoordinates, DenseEncoder, Placing
from amr_train.detection.detector import Detector, Stream, Windowing, dense_features, detect_long
from amr_train.detection.heads import Head, HeadConfig, HeadStream
from amr_train.detection.intervals import joined
from amr_train.detection.windows import Bodies, StepSums
from amr_train.models.encoder import SkeletonEncoder
from amr_train.models.files import ClipEncoder, EncoderConfig

CLASSES, RATE = 3, 30.0
SKELETON = load_skeleton("kinect_v1")
JOINTS_OF = len(SKELETON.joints)


def placing(**shown: str) -> Placing:
    return Placing(InputConfig(**shown), anatomy_of(SKELETON), tuple(SKELETON.common_names))  # type: ignore[arg-type]


def encoder(**settings: object) -> ClipEncoder:
    torch.manual_seed(0)
    model = ModelConfig(frames=24, segment=4, width=16, heads=2, encoder_layers=2)
    about = EncoderConfig(
        model=model, joints=JOINTS_OF, skeleton="kinect_v1", joint_names=SKELETON.common_names, **settings
    )
    return ClipEncoder(SkeletonEncoder(model, JOINTS_OF), about).eval()


def detector(
    kind: str = "encoder",
    lengths: tuple[float, ...] = (1.0,),
    layers: int = 4,
    cover: int = 2,
    pooling: str = MEAN,
    **settings: object,
) -> Detector:
    """With weights of chance, whose probabilities move enough to cross every threshold."""
    torch.manual_seed(1)
    place = placing(centre="first")
    dense = DenseEncoder(encoder(**settings), place, pooling) if kind == "encoder" else None
    dense = dense or DenseCoordinates(24, 4, 2, place)
    inputs = dense.width * len(lengths)
    head = Head(HeadConfig(inputs=inputs, classes=CLASSES + 1, layers=layers, width=8, ahead=5)).eval()
    made = Detector(
        dense, head, Windowing(lengths, cover, 4 / RATE), Decoding(floor=0.0), 2, JOINTS_OF
    ).eval()
    whole = recording(300)
    features, _ = dense_features(dense, whole, made.grid(RATE), RATE, torch.device("cpu"))
    head.standardise(torch.from_numpy(features))
    with torch.no_grad():
        logits = head(torch.from_numpy(features)[None])[0]
        head.last.weight.mul_(3 / logits.std(dim=0)[:, None])
        head.last.bias.copy_((head.last.bias - logits.mean(dim=0)) * 3 / logits.std(dim=0))
    return made


def walk(frames: int, seed: int) -> np.ndarray:
    """A body that wanders."""
    generator = np.random.default_rng(seed)
    steps = generator.normal(0, 0.02, (frames, JOINTS_OF, 3)).cumsum(axis=0)
    return (steps + generator.normal(0, 0.3, (JOINTS_OF, 3)) + 2).astype(np.float32)


def recording(frames: int) -> Bodies:
    """Two bodies: the second comes and goes, and for a while nobody is there."""
    here = np.arange(frames)
    first = here[(here < 150) | (here >= 200)]
    second = here[(here >= 60) & (here < 120)]
    tracks = [BodyTrack(f, walk(frames, slot)[f], str(slot), slot) for slot, f in enumerate((first, second))]
    return Bodies(frames, tracks, 2, JOINTS_OF)


def streamed(made: Detector, whole: Bodies, pieces: list[int]) -> tuple[np.ndarray, list[tuple], list[int]]:
    """Classes of steps, intervals, and frames that had come when each step was certain."""
    stream, at, labels, found, known = Stream(made, RATE), 0, [], [], []
    for size in pieces:
        end = min(whole.frames, at + size)
        said, table = stream.push(whole.cut(at, end), end == whole.frames)
        labels += said.tolist()
        known += [end] * len(said)
        found += as_rows(table)
        at = end
        if end == whole.frames:
            break
    return np.array(labels), found, known


def bytes_of(values: dict) -> int:
    """Of all arrays that an object keeps, directly or in parts of its own."""
    total = 0
    for value in values.values():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, np.ndarray):
                total += one.nbytes
            elif isinstance(one, StepSums | Decoder | HeadStream):
                total += bytes_of(vars(one))
    return total


def as_rows(table) -> list[tuple]:  # type: ignore[no-untyped-def]
    columns = (table.label.tolist(), table.first.tolist(), table.end.tolist(), table.score.round(5).tolist())
    return sorted(zip(*columns, strict=True))


WAYS = {
    "temporal": {},
    "linear": {"layers": 0},
    "several lengths": {"lengths": (0.75, 1.0, 1.75), "cover": 1},
    "no overlap": {"cover": 1},
    "joints kept": {"pooling": JOINTS},
    "absent bodies as zeros": {"empty_bodies": "keep"},
    "coordinates": {"kind": "coordinates"},
    "motion shown": {"input": InputConfig(stream="motion"), "anatomy": anatomy_of(SKELETON)},
}


@pytest.mark.parametrize("way", WAYS)
def test_a_stream_says_what_the_whole_says(way: str) -> None:
    made = detector(**WAYS[way])  # type: ignore[arg-type]
    whole = recording(263)
    frames, table = made.detect(whole, RATE)
    assert len(frames) == 263
    assert len(table) > 0
    assert set(frames[150:200][30:-30].tolist()) <= {CLASSES}  # nobody is there
    generator = np.random.default_rng(2)
    grid = made.grid(RATE)
    for pieces in (
        [263],
        [1] * 263 if way == "temporal" else [7] * 59,
        generator.integers(0, 40, 200).tolist(),
    ):
        labels, found, known = streamed(made, whole, pieces)
        assert labels.repeat(grid.step)[:263].tolist() == frames.tolist()
        assert sorted(found) == as_rows(table)
        if max(pieces) == 1:
            late = np.array(known) - np.arange(len(known)) * grid.step
            assert late.max() <= Stream(made, RATE).delay
    assert as_rows(joined([part for _, _, part in detect_long(made, whole, RATE)])) == as_rows(table)


@pytest.mark.parametrize("layers", [0, 5])
def test_probabilities_of_a_stream_are_those_of_the_whole_to_a_hundred_thousandth(layers: int) -> None:
    torch.manual_seed(0)
    head = Head(HeadConfig(inputs=6, classes=4, layers=layers, width=8, ahead=7)).eval()
    generator = np.random.default_rng(0)
    features = generator.normal(size=(300, 6)).astype(np.float32)
    there = generator.random(300) > 0.1
    whole = head.probabilities(features, there)
    stream, parts, at = HeadStream(head), [], 0
    for size in [1, 2, 90, 0, 3] * 60:
        part = slice(at, min(300, at + size))
        parts.append(stream.push(features[part], there[part], part.stop == 300))
        at = part.stop
        if at == 300:
            break
    assert np.abs(np.concatenate(parts) - whole).max() < 1e-5
    assert (whole[~there] == [0, 0, 0, 1]).all()


def test_a_step_depends_on_just_so_many_steps() -> None:
    torch.manual_seed(0)
    head = Head(HeadConfig(inputs=3, classes=3, layers=4, width=6, ahead=4)).eval()
    with torch.no_grad():  # so that nothing is cut off at zero
        for weight in head.parameters():
            weight.abs_()
    assert (head.left, head.right) == (1 + 2 + 2 * 4 + 2 * 8, 1 + 2)
    features = torch.rand(1, 80, 3, requires_grad=True)
    head(features)[0, 40].sum().backward()
    touched = features.grad.abs().sum(dim=2)[0].nonzero()[:, 0]
    assert (touched.min(), touched.max()) == (40 - head.left, 40 + head.right)


@pytest.mark.parametrize("seed", range(20))
def test_intervals_of_steps_that_come_bit_by_bit_are_those_of_all(seed: int) -> None:
    generator = np.random.default_rng(seed)
    noise = generator.normal(size=(160, 4)).cumsum(axis=0).astype(np.float32)
    values = np.exp(noise) / np.exp(noise).sum(axis=1, keepdims=True)
    config = Decoding(smooth=int(generator.choice([1, 3, 7])), gap=int(generator.integers(0, 4)), most=24)
    labels, table = decode(values, config, 4, 160 * 4 - 3)
    decoder, found, said, at, waited = Decoder(config, 3, 4), [], [], 0, 0
    while at < 160:
        end = min(160, at + int(generator.integers(1, 9)))
        some, part = decoder.push(values[at:end], 160 * 4 - 3 if end == 160 else None)
        said += some.tolist()
        found += as_rows(part)
        waited = max(waited, *(end * 4 - stop for stop in part.end.tolist())) if len(part) else waited
        at = end
    assert said == labels.tolist()
    assert sorted(found) == as_rows(table)
    assert len(table) > 0
    assert table.end.max() <= 160 * 4 - 3
    assert (table.end - table.first).max() <= 24 * 4
    assert waited <= 4 * (config.most + config.wait + 8)


def test_stretches_by_hand() -> None:
    above = np.array([0, 1, 1, 0, 1, 0, 0, 1, 0, 0, 0, 1], bool)
    assert runs(above, 0) == [(1, 3), (4, 5), (7, 8), (11, 12)]
    assert runs(above, 1) == [(1, 5), (7, 8), (11, 12)]
    assert runs(above, 2) == [(1, 8), (11, 12)]
    assert runs(~above & above, 1) == []


def test_an_action_by_hand_is_found_where_it_is() -> None:
    values = np.full((60, 3), [0.0, 0.0, 1.0], np.float32)
    values[10:30] = [0.95, 0.0, 0.05]
    values[40:45] = [0.0, 0.55, 0.45]
    labels, table = decode(values, Decoding(smooth=1, gap=0), 5, 300)
    assert labels.tolist() == [2] * 10 + [0] * 20 + [2] * 10 + [1] * 5 + [2] * 15
    assert as_rows(table) == [(0, 50, 150, 0.95), (1, 200, 225, 0.55)]


@pytest.mark.parametrize("frames", [0, 1, 2, 23, 24, 25])
def test_recordings_shorter_than_a_window(frames: int) -> None:
    made = detector()
    labels, table = made.detect(recording(frames), RATE)
    assert len(labels) == frames
    assert not len(table) or table.end.max() <= frames
    said, _, _ = streamed(made, recording(frames), [frames])
    assert len(said) == made.grid(RATE).steps(frames)


def test_memory_of_a_stream_does_not_grow() -> None:
    made = detector("coordinates")
    stream, piece, held = Stream(made, RATE), recording(600).cut(0, 600), []
    for _ in range(8):
        stream.push(piece)
        held.append(bytes_of(vars(stream)))
    assert held[0] > 10_000
    assert max(held[4:]) <= 1.1 * max(held[1:4])


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"smooth": 2}, "odd"), ({"thresholds": (0.5, 0.2)}, "rise"), ({"thresholds": (0.5, 1.5)}, "between")],
)
def test_a_decoding_that_makes_no_sense_is_refused(settings: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Decoding(**settings)
