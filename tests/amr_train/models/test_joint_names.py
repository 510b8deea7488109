"""Joints told apart by name: what is composed, and one network for several skeletons."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from amr_data import UsageError
from amr_data.specs import Skeleton, load_skeleton, names_in
from amr_train import load_experiment
from amr_train.config import Experiment, InputConfig, ModelConfig
from amr_train.data.batching import Batch
from amr_train.data.landmarks import anatomy_of
from amr_train.data.mixing import Mixed
from amr_train.models.encoder import SkeletonEncoder
from amr_train.models.files import ClipEncoder, EncoderConfig, naming_of
from amr_train.models.layers import PositionEmbedding, name_joints
from amr_train.models.method import Method
from amr_train.models.registry import make_method
from amr_train.models.skeletons import encoder_on, ignored_in_words, known_joints, placed_in_words
from amr_train.parallel.processes import Processes
from amr_train.training.loop import make_optimizer, prepare, train_step, weighted
from tests.amr_train.sensors import TAILED
from tests.amr_train.tracing import METHODS, SETTINGS

NAMES = ["hip", "neck", "hand", "wrist"]
FIVE = torch.tensor([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0.5, 0.5, 0, 0]])
THREE = torch.tensor([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0.5, 0.5]])


def experiment_of(method: str, *settings: str) -> Experiment:
    named = ["model.joints=name", f"model.names=[{','.join(NAMES)}]", "guidance.source=shard"]
    return load_experiment(f"ntu60-xsub-{method}", [*SETTINGS, *named, *settings])


def method_of(experiment: Experiment, naming: torch.Tensor) -> Method:
    torch.manual_seed(0)
    made = make_method(experiment, len(naming), (4, 8, 12))
    name_joints(made, naming)
    return made


def batch_of(sequences: int, joints: int, naming: torch.Tensor | None) -> Batch:
    chance = torch.Generator().manual_seed(sequences)
    views = torch.randn(sequences, 24, joints, 3, generator=chance)
    energy = torch.rand(sequences, 24, joints, 3, generator=chance)
    present = torch.rand(sequences, 24, generator=chance) > 0.3
    index = torch.arange(sequences)
    whole = (0, sequences, (0, sequences))
    return Batch(views, energy, present, index, index, *whole, naming=naming)


def views_of(model: Method, sequences: int, joints: int, naming: torch.Tensor | None) -> Batch:
    """With as many views of each clip as the method wants."""
    first = batch_of(sequences, joints, naming)
    return replace(first, others=(replace(first, joints=-first.joints),) * (model.views - 1))


def test_a_joint_is_the_mean_of_its_names_by_hand():
    embedding = PositionEmbedding(2, 3, 2, names=4)
    with torch.no_grad():
        embedding.time.copy_(torch.tensor([[100.0, 0], [200, 0]]).view(1, 2, 1, 2))
        embedding.joint.copy_(torch.tensor([[1.0, 1], [2, 4], [3, 9], [4, 16]]).view(1, 1, 4, 2))
    with pytest.raises(RuntimeError, match="none were given"):
        embedding()
    name_joints(embedding, THREE)
    joints = [[2, 4], [1, 1], [3.5, 12.5]]
    expected = [[100 + x, y] for x, y in joints] + [[200 + x, y] for x, y in joints]
    assert embedding()[0].tolist() == expected
    assert embedding(torch.tensor([[5, 0]]))[0].tolist() == [expected[5], expected[0]]
    other = embedding(naming=torch.tensor([[0.25, 0.75, 0, 0]]))
    assert other[0].tolist() == [[101.75, 3.25], [201.75, 3.25]]
    assert list(embedding.state_dict()) == ["time", "joint"]  # whose joints they are is no weight


@pytest.mark.parametrize(
    "more", [[], ["model.time=rotary", "model.registers=2", "agreement.teacher=0.5", "agreement.layers=1"]]
)
@pytest.mark.parametrize("method", METHODS)
def test_a_part_of_another_skeleton_is_that_skeletons_own_network(method, more):
    """Every encoder and decoder, told of other joints by a batch, gives what it gives where they are its
    own."""
    experiment = experiment_of(method, *more)
    wide, narrow = method_of(experiment, FIVE), method_of(experiment, THREE)
    narrow.load_state_dict(wide.state_dict())
    here, there = (
        model.loss(views_of(model, 4, 3, naming), torch.Generator().manual_seed(1))
        for model, naming in ((wide, THREE), (narrow, None))
    )
    torch.testing.assert_close(here, there, rtol=0, atol=0)


def test_a_mixed_step_is_the_weighted_sum_of_the_separate_ones():
    """Six sequences of five joints and two of three: the mean over all eight, in value and in gradient."""
    experiment = experiment_of("amr")
    parts = (batch_of(6, 5, None), batch_of(2, 3, THREE))
    model, again = method_of(experiment, FIVE), method_of(experiment, FIVE)
    chance = torch.Generator().manual_seed(3)
    loss, logged = weighted(
        prepare(model, experiment, Processes(), parts[0].joints.device)(parts, chance), parts
    )
    chance = torch.Generator().manual_seed(3)
    first, plain = again.loss(parts[0], chance)
    second, also = again.loss(parts[1], chance)
    by_hand = first.mean() * 6 / 8 + second.mean() * 2 / 8
    torch.testing.assert_close(loss, by_hand)
    name = "loss_without_weights"
    torch.testing.assert_close(logged[name], plain[name].mean() * 6 / 8 + also[name].mean() * 2 / 8)
    loss.backward()
    by_hand.backward()
    for (key, one), other in zip(model.named_parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, msg=key)


def test_a_mixed_step_says_the_loss_of_each_dataset():
    experiment = experiment_of("mae")
    model = method_of(experiment, FIVE)
    batch = Mixed((batch_of(6, 5, None), batch_of(2, 3, THREE)), ("a", "b"))
    optimizer = make_optimizer(model, experiment.pretrain)
    trained = prepare(model, experiment, Processes(), torch.device("cpu"))
    loss, logged = train_step(trained, batch, optimizer, experiment, 0, Processes())
    assert list(logged) == ["loss_without_weights", "loss_a", "loss_b"]
    torch.testing.assert_close(loss, logged["loss_a"] * 6 / 8 + logged["loss_b"] * 2 / 8)


def known_by(*names: str) -> ClipEncoder:
    sizes = {"frames": 24, "width": 16, "heads": 2, "encoder_layers": 1, "target_ratio": 1}
    model = ModelConfig.model_validate({**sizes, "joints": "name", "names": names})
    shares = [{name: 1.0} for name in names]
    config = EncoderConfig(
        model=model, joints=len(names), skeleton="all", joint_names=list(names), shares=shares
    )
    encoder = SkeletonEncoder(model, len(names))
    name_joints(encoder, naming_of(shares, names))
    return ClipEncoder(encoder, config).eval()


def test_bodies_placed_by_other_joints_than_learnt_are_said():
    """OpenNI's spine begins at the navel; COCO's bodies begin and show their path at the left hip, where an
    encoder of several skeletons has learnt a path from the middle of the spine."""
    kinect, openni, coco = map(load_skeleton, ("kinect_v2", "openni_15", "coco_17"))
    several = known_by(*names_in(kinect.shares)).config

    def said(skeleton: Skeleton, learnt_from: Skeleton | None = None, **shown: str) -> str:
        anatomy = None if learnt_from is None else anatomy_of(learnt_from)
        told = {"input": InputConfig.model_validate(shown), "anatomy": anatomy}
        return placed_in_words(several.model_copy(update=told), skeleton)

    assert said(openni, kinect, lengths="spine") == (
        "bodies of openni_15 are placed by other joints than those learnt from: "
        "spine from middle_of_spine, not base_of_spine"
    )
    assert said(openni, kinect, lengths="spine", landmarks="limbs") == ""
    assert said(openni, kinect, centre="path") == said(openni, kinect) == said(coco, kinect) == ""
    assert said(coco, kinect, centre="path").endswith(
        "centre left_hip, not middle_of_spine; path left_hip, not middle_of_spine"
    )
    assert said(coco, centre="path", landmarks="limbs").endswith("from: path left_hip, not middle_of_spine")
    assert said(openni, centre="path") == said(coco, centre="every") == ""


def test_an_encoder_takes_the_joints_that_it_can_compose_of_its_names():
    openni, tailed = load_skeleton("openni_15"), Skeleton.model_validate(TAILED)
    encoder = known_by(*names_in(openni.shares))
    assert known_joints(encoder.config, tailed) == [0, 1, 2, 3, 4, 5, 6]
    assert ignored_in_words(encoder.config, tailed) == (
        "1 of the 8 joints of tailed_8 are ignored, since the encoder does not know them: tail"
    )
    assert ignored_in_words(encoder.config, openni) == ""
    kinect = load_skeleton("kinect_v2")
    known = [kinect.joints[i] for i in known_joints(encoder.config, kinect) or ()]
    assert set(kinect.joints) - set(known) == {
        *("base_of_spine", "neck", "left_hand_tip", "left_thumb", "right_hand_tip", "right_thumb"),
        *("left_foot", "right_foot"),
    }
    restricted = encoder_on(encoder, tailed)
    assert restricted.config.joint_names == [
        "spine_at_shoulders",
        "head",
        "arm_l",
        "arm_r",
        *tailed.common_names[4:7],
    ]
    table, names = encoder.encoder.position.joint[0, 0], encoder.config.model.names
    shoulder, elbow = (table[names.index(f"left_{part}")] for part in ("shoulder", "elbow"))
    time = restricted.encoder.position.time[0, 0, 0]
    torch.testing.assert_close(restricted.encoder.position()[0, 2] - time, (shoulder + elbow) / 2)
    assert restricted(torch.randn(2, 1, 30, 7, 3)).shape == (2, 16)
    with pytest.raises(UsageError, match=r"knows none of the joints of tailed_8: chest, crown"):
        encoder_on(known_by("left_ear"), tailed)
