"""Two views that agree, against literal computations."""

from __future__ import annotations

import math

import pytest
import torch

from amr_data import UsageError
from amr_train.config import Experiment
from amr_train.data.feed import Feed
from amr_train.experiments.loading import load_experiment
from amr_train.identity import training_digest
from amr_train.models.agreeing import AgreeingViews, contrast
from amr_train.models.masked import MaskedReconstruction
from amr_train.models.registry import make_method
from amr_train.training.optimizers import make_optimizer
from tests.amr_train.tracing import SETTINGS, TAUGHT, clips

JOINTS, WINDOWS = 5, (4, 8, 12)


def experiment_of(*settings: str) -> Experiment:
    return load_experiment("ntu60-xsub-agreement", [*SETTINGS, "guidance.source=online", *settings])


def model_and_batch(*settings: str):
    experiment = experiment_of(*settings)
    torch.manual_seed(0)
    model = make_method(experiment, JOINTS, WINDOWS)
    feed = Feed(clips(), torch.device("cpu"), 24)
    views = feed.train_views(8, experiment.augment, torch.Generator().manual_seed(3), count=model.views)
    batch = feed.batch(views, 0)
    assert len(batch.joints) > len(batch.clips)  # some clips have two bodies
    return model, batch


def test_contrast_against_loops():
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.randn(5, 7, generator=generator, dtype=torch.float64) for _ in range(2))
    cosine = [
        [
            sum(x * y for x, y in zip(a, b, strict=True))
            / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))
            for b in other.tolist()
        ]
        for a in one.tolist()
    ]
    total = 0.0
    for i in range(5):
        for scores in (cosine[i], [cosine[j][i] for j in range(5)]):
            chosen = math.exp(scores[i] / 0.2)
            total -= math.log(chosen / sum(math.exp(s / 0.2) for s in scores)) / 10
    assert contrast(one, other, 0.2).item() == pytest.approx(total, abs=1e-12)


def test_contrast_among_clips_of_one_person_against_loops():
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.randn(6, 7, generator=generator, dtype=torch.float64) for _ in range(2))
    people, total = [3, 8, 3, 3, 8, -1], 0.0
    closeness = torch.cosine_similarity(one[:, None], other[None], dim=2).div(0.2).exp().tolist()
    for i in range(6):
        mine = [j for j in range(6) if people[j] == people[i]]
        for chosen in ([closeness[i][j] for j in mine], [closeness[j][i] for j in mine]):
            total -= math.log(closeness[i][i] / sum(chosen)) / 12
    found = contrast(one, other, 0.2, people=torch.tensor(people))
    assert found.item() == pytest.approx(total, abs=1e-12)
    alone = contrast(one, other, 0.2, people=torch.arange(6))
    assert alone.item() == 0  # nobody to be told from


def test_contrast_is_not_rounded_under_autocast():
    one, other = torch.randn(2, 16, 32, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        found = contrast(one, other, 0.01)
    torch.testing.assert_close(found, contrast(one, other, 0.01), atol=0, rtol=0)


def test_the_loss_is_the_mean_of_both_views_and_the_weighted_rest():
    model, batch = model_and_batch(*TAUGHT, "agreement.contrast=0.3")
    assert isinstance(model, AgreeingViews)
    found, logged = model.loss(batch, torch.Generator().manual_seed(1))
    chance, wanted, pooled, missed = torch.Generator().manual_seed(1), [], [], []
    for view in (batch, *batch.others):
        noise = torch.rand(view.total, model.encoder.tokens, generator=chance)
        loss, _ = MaskedReconstruction.forward(model, view.joints, noise, None, view.present)
        _, _, projected, error = model(view.joints, noise, None, view.present)
        wanted.append(loss.mean() / 24)  # 4 frames of 6 values
        missed.append(error.mean())
        pooled.append(
            torch.stack([projected[view.clip == clip].mean(dim=0) for clip in range(len(view.clips))])
        )
    together = contrast(*pooled, 0.2)
    torch.testing.assert_close(logged["contrast"], together)
    torch.testing.assert_close(logged["teacher"], torch.stack(missed).mean())
    torch.testing.assert_close(found, sum(wanted) / 2 + 0.3 * together + 0.5 * sum(missed) / 2)


def test_the_teachers_features_by_hand():
    """The last blocks' outputs, each normalised, averaged, normalised again; Huber's error of what is
    predicted of masked tokens."""
    model, batch = model_and_batch("agreement.teacher=1", "agreement.layers=2", "model.encoder_layers=3")
    joints = batch.joints[:2]
    noise = torch.rand(2, model.encoder.tokens, generator=torch.Generator().manual_seed(2))
    outputs: list[torch.Tensor] = []
    hooks = [b.register_forward_hook(lambda *found: outputs.append(found[-1])) for b in model.teacher.blocks]
    model.teacher(joints)
    for hook in hooks:
        hook.remove()

    def plainly(x: torch.Tensor) -> torch.Tensor:
        x = x.double()
        return (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, correction=0) + 1e-5).sqrt()

    wanted = plainly((plainly(outputs[1]) + plainly(outputs[2])) / 2)
    order = noise.argsort(dim=1)
    predicted, which = model.features(model.encoder(joints, order[:, : model.visible]), order)
    assert which.tolist() == order[:, model.visible :].tolist()
    for sequence in range(2):
        distance = (predicted[sequence].double() - wanted[sequence, which[sequence]]).abs()
        huber = torch.where(distance < 1, distance**2 / 2, distance - 0.5)
        found = model(joints, noise)[3][sequence]
        torch.testing.assert_close(found.double(), huber.mean(), atol=1e-6, rtol=1e-5)


def test_what_stands_in_for_absent_frames_is_no_target_of_the_teacher():
    model, batch = model_and_batch("agreement.teacher=1", "agreement.layers=1", "mask.ratio=0.5")
    present = torch.ones(1, 24, dtype=torch.bool)
    present[:, 12:] = False
    noise = torch.rand(1, model.encoder.tokens, generator=torch.Generator().manual_seed(2))
    joints = batch.joints[:1].clone()
    before = model(joints, noise, None, present)[3]
    joints[:, 12:] += 5
    torch.testing.assert_close(model(joints, noise, None, present)[3], before)
    assert not torch.isclose(model(joints, noise)[3], before)


def test_the_teacher_follows_and_is_not_trained():
    model, batch = model_and_batch(*TAUGHT)
    optimizer = make_optimizer(model, model.config.pretrain)
    trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert not trained & {id(p) for p in model.teacher.parameters()}
    model.loss(batch, torch.Generator().manual_seed(1))[0].backward()
    optimizer.step()
    slow, quick = model.teacher.embed.weight.clone(), model.encoder.embed.weight.clone()
    assert not torch.equal(slow, quick)
    model.after_step(25, 100)
    part = 0.01 * (1 + math.cos(math.pi / 4)) / 2
    torch.testing.assert_close(model.teacher.embed.weight, slow + part * (quick - slow))
    slow = model.teacher.embed.weight.clone()
    model.after_step(100, 100)
    assert torch.equal(model.teacher.embed.weight, slow)


def test_agreement_is_built_where_it_is_asked_for_and_decides_a_digest():
    experiment = load_experiment("ntu60-xsub-amr", SETTINGS)
    assert type(make_method(experiment, JOINTS, WINDOWS)) is MaskedReconstruction
    other = load_experiment("ntu60-xsub-amr", [*SETTINGS, "agreement.contrast=0.1"])
    assert training_digest(other) != training_digest(experiment)


def test_more_layers_of_the_teacher_than_there_are_are_refused():
    with pytest.raises(UsageError, match=r"agreement\.layers"):
        experiment_of("agreement.teacher=1", "agreement.layers=9")
