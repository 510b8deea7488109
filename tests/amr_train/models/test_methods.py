"""What tells the methods apart: masks by frequency, which tokens the loss sees, what the decoders attend
over, costs as published."""

from __future__ import annotations

import itertools

import pytest
import torch

from amr_train.config import Experiment, GuidanceConfig, MaskConfig
from amr_train.experiments.loading import experiment_names, load_experiment, method_names
from amr_train.models.masked import MaskedReconstruction
from amr_train.models.masking import patch_motion, token_order, visible_count
from amr_train.models.targets import make_target

SIZES = {"frames": 24, "width": 32, "heads": 4, "encoder_layers": 2, "decoder_layers": 2}
WINDOWS = (4, 8, 12)


def method(name: str, *overrides: str) -> Experiment:
    """A method at a small size: 24 frames in 6 segments, 5 joints, so 30 tokens; r = 3 where the method
    leaves it open."""
    sizes = [f"model.{k}={v}" for k, v in SIZES.items()]
    ratio = [] if name in ("mae", "mamp") else ["model.target_ratio=3"]
    return load_experiment(f"ntu60-xsub-{name}", [*sizes, *ratio, *overrides])


def clips(sequences: int, frames: int = 24, joints: int = 5) -> torch.Tensor:
    return (
        torch.randn(sequences, frames, joints, 3, generator=torch.Generator().manual_seed(0)).cumsum(1) * 0.05
    )


def noise(sequences: int, tokens: int = 30, seed: int = 1) -> torch.Tensor:
    return torch.rand(sequences, tokens, generator=torch.Generator().manual_seed(seed))


def test_patch_motion_by_hand():
    joints = torch.zeros(1, 8, 2, 3)
    joints[0, 4:, 1, 0] = 3.0  # joint 1 jumps by 3 along one of three axes between the two segments
    torch.testing.assert_close(patch_motion(joints, 4), torch.tensor([[0.0, 1, 0, 1]]))
    assert patch_motion(joints, 8).tolist() == [[0.0, 0.0]]  # one segment has no neighbour


def test_mamps_masking_law_by_frequency():
    """One of four tokens is masked: its probability is the softmax itself. Two of four: the sum over both
    orders of drawing without replacement, worked out by enumeration."""
    joints = torch.zeros(1, 8, 2, 3)
    joints[0, 4:, 0], joints[0, 4:, 1] = 0.5, 1.0  # motions 0.5 and 1, the same in both segments
    config = MaskConfig(by="motion", tau=0.5, ratio=0.5)
    p = torch.softmax(torch.tensor([0.5, 1.0, 0.5, 1.0]) / 0.5, 0)
    trials = 40_000
    order = token_order(noise(trials, 4), joints.expand(trials, -1, -1, -1), 4, config)
    last = torch.bincount(order[:, 3], minlength=4) / trials
    torch.testing.assert_close(last, p, atol=0.01, rtol=0)
    both = torch.zeros(4)
    for i, j in itertools.permutations(range(4), 2):
        both[[i, j]] += p[i] * p[j] / (1 - p[i])
    masked = torch.bincount(order[:, 2:].flatten(), minlength=4) / trials
    torch.testing.assert_close(masked, both, atol=0.012, rtol=0)
    assert visible_count(4, config) == 2


def test_a_sequence_without_motion_is_masked_at_random():
    order = token_order(noise(20_000, 4), torch.zeros(20_000, 8, 2, 3), 4, MaskConfig(by="motion", tau=0.8))
    assert all(sorted(row) == [0, 1, 2, 3] for row in order[:20].tolist())
    torch.testing.assert_close(
        torch.bincount(order[:, 0]) / 20_000, torch.full((4,), 0.25), atol=0.02, rtol=0
    )


@pytest.mark.parametrize(("name", "count"), [("mae", 27), ("mamp", 27), ("subset", 10)])
def test_the_loss_sees_masked_tokens_only(name, count):
    """The loss is the mean squared error over the predicted patches, all of them masked: worked out again
    from the decoder's output."""
    torch.manual_seed(0)
    model = MaskedReconstruction(method(name), 5, WINDOWS)
    joints, random = clips(3), noise(3)
    order = token_order(random, joints, 4, model.config.mask)
    visible = order[:, :3]
    predicted, which = model.decoder(model.encoder(joints, visible), order)
    assert predicted.shape == (3, count, 12)
    target = make_target(joints, model.config.target, 4)
    loss, _ = model(joints, random)
    for s in range(3):
        assert not set(which[s].tolist()) & set(visible[s].tolist())
        assert len(set(which[s].tolist())) == count
        errors = [(predicted[s, i] - target[s, t]).square().mean() for i, t in enumerate(which[s].tolist())]
        torch.testing.assert_close(loss[s], torch.stack(errors).mean())


def test_focal_weights_follow_the_drawn_targets():
    """In a clip where one joint moves, each masked token counts with its own joint's weight."""
    config = method("mae").model_copy(
        update={"guidance": GuidanceConfig(focal=True, k=0.01, source="online")}
    )
    torch.manual_seed(0)
    model = MaskedReconstruction(config, 5, WINDOWS)
    joints = torch.zeros(1, 24, 5, 3)
    joints[0, ::2, 3, 0] = 0.1
    random = noise(1)
    order = token_order(random, joints, 4, config.mask)
    predicted, which = model.decoder(model.encoder(joints, order[:, :3]), order)
    target = make_target(joints, config.target, 4)
    still = 1 / (1 + 0.01 * (0.0025 / 5) / 1e-8)  # e of the moving joint is 0.05^2, of the others 0
    moving = 1 / (1 + 0.01 * (0.0025 / 5) / (0.0025 + 1e-8))
    weights = [moving if t % 5 == 3 else still for t in which[0].tolist()]
    errors = [(predicted[0, i] - target[0, t]).square().sum() for i, t in enumerate(which[0].tolist())]
    expected = sum(e * w for e, w in zip(errors, weights, strict=True)) / (27 * 12)
    torch.testing.assert_close(model(joints, random)[0][0], expected, rtol=1e-4, atol=1e-7)


def test_a_grid_decoder_does_not_mind_the_order_of_its_tokens():
    """Predictions belong to tokens, not to places in the mask's order."""
    torch.manual_seed(0)
    model = MaskedReconstruction(method("mae"), 5, WINDOWS)
    features, order = torch.randn(1, 3, 32), noise(1).argsort(1)
    predicted, which = model.decoder(features, order)
    turned = torch.cat([order[:, :3], order[:, 3:].flip(1)], dim=1)
    again, which_again = model.decoder(features, turned)
    torch.testing.assert_close(again.flip(1), predicted, atol=1e-5, rtol=1e-5)
    assert torch.equal(which_again.flip(1), which)


def test_self_attention_lets_queries_meet_and_the_decoupled_decoder_does_not():
    changed = {}
    for name in ("amr", "amr-self-attention"):
        torch.manual_seed(0)
        model = MaskedReconstruction(method(name), 5, WINDOWS)
        features, order = torch.randn(1, 3, 32), noise(1).argsort(1)
        before = model.decoder(features, order)[0]
        with torch.no_grad():
            model.decoder.position.joint[0, 0, 2] += 1.0
        moved = (model.decoder(features, order)[0] - before).abs().amax(-1)[0] > 1e-7
        changed[name] = moved.nonzero().flatten().tolist()
    assert changed == {"amr": [2, 7], "amr-self-attention": list(range(10))}


def test_the_pooled_decoder_averages_r_segments_of_a_joint():
    """Against a loop: with no layers left, the decoder is head(norm(mean over the r tokens of a joint))."""
    torch.manual_seed(0)
    decoder = MaskedReconstruction(method("pooled"), 5, WINDOWS).decoder
    decoder.blocks = torch.nn.ModuleList()
    visible, order = torch.randn(1, 3, 32), noise(1).argsort(1)
    predicted, which = decoder(visible, order)
    assert which is None
    assert predicted.shape == (1, 10, 36)
    shown = {int(t): decoder.embed(visible[0, i]) for i, t in enumerate(order[0, :3])}
    for patch in range(10):
        step, joint = divmod(patch, 5)
        tokens = [(step * 3 + i) * 5 + joint for i in range(3)]
        values = [shown.get(t, decoder.mask_token[0, 0]) + decoder.position()[0, t] for t in tokens]
        expected = decoder.head(decoder.norm(torch.stack(values).mean(0)))
        torch.testing.assert_close(predicted[0, patch], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", method_names())
def test_every_method_learns_and_every_weight_takes_part(name):
    torch.manual_seed(0)
    model = MaskedReconstruction(method(name), 5, WINDOWS)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    joints = clips(8)
    losses = []
    for step in range(30):
        loss, _ = model(joints, noise(8, seed=step))
        optimizer.zero_grad()
        loss.mean().backward()
        if step == 0:
            idle = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
            assert not [n for n in idle if "key" not in n]
        optimizer.step()
        losses.append(loss.mean().item())
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])


def test_methods_share_the_encoder():
    states = []
    for name in ("amr", "mae", "mamp", "pooled", "subset"):
        torch.manual_seed(0)
        states.append(MaskedReconstruction(method(name), 5, WINDOWS).encoder.state_dict())
    assert all(torch.equal(states[0][k], other[k]) for other in states for k in states[0])


def test_a_shipped_experiment_is_a_data_set_with_a_method():
    assert "nw-ucla-amr-no-focal" in experiment_names()
    one = load_experiment("nw-ucla-amr-no-focal")
    assert (one.name, one.method, one.guidance.focal, one.model.target_ratio) == (
        "nw-ucla-amr-no-focal",
        "amr-no-focal",
        False,
        3,
    )
    mamp = load_experiment("nw-ucla-amr", ["method=mamp", "mask.tau=0.7"])
    assert (mamp.name, mamp.method, mamp.model.decoder, mamp.model.target_ratio) == (
        "nw-ucla-mamp",
        "mamp",
        "grid",
        1,
    )
    assert (mamp.mask.by, mamp.mask.tau, mamp.model.width) == ("motion", 0.7, 96)


def test_published_settings_for_every_benchmark():
    shipped = {name: load_experiment(name) for name in experiment_names()}
    expected = ["ntu60-xsub", "ntu60-xview", "ntu120-xsub", "ntu120-xset", "nw-ucla"]
    expected += [f"pku-mmd-{phase}-{split}" for phase in (1, 2) for split in ("xsub", "xview")]
    expected += ["any-skeleton", "any-skeleton-small", "utd-mhad", "sbu", "wmft"]
    assert {f"{base}-{method}" for base in expected for method in method_names()} | {"demo"} == set(shipped)
    assert shipped["pku-mmd-2-xview-amr"].data.model_dump(include={"dataset", "split"}) == {
        "dataset": "pku-mmd-2",
        "split": "xview",
    }
    assert shipped["ntu120-xset-amr"].pretrain == shipped["ntu60-xsub-amr"].pretrain
    assert [shipped[f"{base}-mamp"].mask.tau for base in ("ntu60-xsub", "ntu120-xset", "pku-mmd-1-xsub")] == [
        0.8,
        0.75,
        0.8,
    ]


def test_a_scale_lies_over_all_but_the_overrides():
    tiny = load_experiment("ntu60-xsub-mamp", ["scale=tiny", "model.width=32"])
    assert (tiny.scale, tiny.model.width, tiny.model.frames, tiny.model.decoder, tiny.pretrain.epochs) == (
        "tiny",
        32,
        24,
        "grid",
        2,
    )
    for name in experiment_names():
        load_experiment(name, ["scale=tiny"])
        compact = load_experiment(name, ["scale=compact"]).model
        assert (compact.frames, compact.segment, compact.registers, compact.time) == (64, 8, 4, "rotary")
        assert compact.target_ratio == (1 if compact.decoder == "grid" else 2)


def test_a_method_lies_under_a_file_of_ones_own(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("method: mamp\nmask: {tau: 0.6}\n")
    mine = load_experiment(str(path), ["mask.ratio=0.8"])
    assert (mine.name, mine.method, mine.mask.by, mine.mask.tau, mine.mask.ratio) == (
        "mine",
        "mamp",
        "motion",
        0.6,
        0.8,
    )


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["method=mampp"], "there is no method 'mampp': did you mean 'mamp'"),
        (["scale=huge"], "there is no scale 'huge': known: full, compact, tiny"),
        (["method=mae", "model.target_ratio=6"], "target_ratio must be 1"),
        (["method=subset", "mask.by=motion", "mask.tau=0.8"], "needs mask.by=random"),
        (["method=subset", "model.target_ratio=1"], "1 / target_ratio must not exceed mask.ratio"),
    ],
)
def test_settings_that_contradict_a_method_are_refused(overrides, says):
    from amr_data import UsageError

    with pytest.raises(UsageError, match=says):
        load_experiment("demo" if "model.target_ratio=1" in overrides else "ntu60-xsub-amr", overrides)


def literal_mamp_loss(
    model: MaskedReconstruction, joints: torch.Tensor, random: torch.Tensor
) -> torch.Tensor:
    """MAMP's loss from its definition, with loops: frame differences cut into patches of one joint and four
    frames, each patch with its own mean taken out and divided by its own unbiased deviation, compared on
    masked tokens."""
    sequences, frames, joint_count, _ = joints.shape
    order = token_order(random, joints, 4, model.config.mask)
    predicted, which = model.decoder(model.encoder(joints, order[:, : model.visible]), order)
    losses = []
    for s in range(sequences):
        errors = []
        for place, token in enumerate(which[s].tolist()):
            segment, joint = divmod(token, joint_count)
            values = []
            for t in range(segment * 4, segment * 4 + 4):
                step = joints[s, t + 1, joint] - joints[s, t, joint] if t + 1 < frames else torch.zeros(3)
                values += step.tolist()
            mean = sum(values) / 12
            variance = sum((v - mean) ** 2 for v in values) / 11
            target = [(v - mean) / (variance + 1e-6) ** 0.5 for v in values]
            errors += [(p - t) ** 2 for p, t in zip(predicted[s, place].tolist(), target, strict=True)]
        losses.append(sum(errors) / len(errors))
    return torch.tensor(losses)


def test_mamps_loss_from_its_definition():
    torch.manual_seed(0)
    model = MaskedReconstruction(method("mamp"), 5, WINDOWS)
    joints, random = clips(3), noise(3)
    torch.testing.assert_close(
        model(joints, random)[0], literal_mamp_loss(model, joints, random), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("name", ["amr", "mamp", "mae", "subset", "pooled"])
def test_absent_frames_are_neither_shown_nor_compared(name):
    """What stands in for an absent body changes no loss, as long as enough tokens are there to be shown."""
    torch.manual_seed(0)
    settings = [
        "target.normalize=none",
        "guidance.focal=false",
    ]  # a target patch may hold both kinds of frames
    model = MaskedReconstruction(method(name, *settings), 5, WINDOWS).eval()
    joints, random = clips(4), noise(4)
    present = torch.ones(4, 24, dtype=torch.bool)
    present[1, 12:] = present[2, :8] = False
    held = joints.clone()
    held[1, 12:], held[2, :8] = held[1, 11], held[2, 8]
    moved = held.clone()
    moved[1, 13:] += 5.0
    moved[2, :4] -= 5.0  # the segment before a present one says how that one moves
    before, _ = model(held, random, present=present)
    after, _ = model(moved, random, present=present)
    torch.testing.assert_close(before, after, atol=1e-5, rtol=1e-5)
    order = token_order(random, held, 4, model.config.mask, present)
    shown = order[:, : model.visible] // 5  # segments
    assert (shown[1] < 3).all()
    assert (shown[2] >= 2).all()
    whole, _ = model(joints[:1], random[:1])
    torch.testing.assert_close(before[:1], whole, atol=1e-6, rtol=1e-6)


def test_a_loss_counts_present_values_alone():
    """Half of the frames absent: the mean over the other half, worked out from the decoder's output."""
    torch.manual_seed(0)
    model = MaskedReconstruction(method("amr", "target.normalize=none", "guidance.focal=false"), 5, WINDOWS)
    joints, random = clips(1), noise(1)
    present = torch.arange(24)[None] < 12
    order = token_order(random, joints, 4, model.config.mask, present)
    predicted, _ = model.decoder(model.encoder(joints, order[:, : model.visible]), order)
    error = (
        predicted - make_target(joints, model.config.target, 12)
    ).square()  # patches of 12 frames: 5 in each half
    loss, _ = model(joints, random, present=present)
    torch.testing.assert_close(loss[0], error[0, :5].sum() / (30 / 2))


def test_one_temperature_for_the_law_that_has_one():
    assert MaskConfig().tau is None
    with pytest.raises(ValueError, match="has no temperature"):
        MaskConfig(by="random", tau=0.8)
    with pytest.raises(ValueError, match="needs a temperature"):
        MaskConfig(by="motion")
    for name in experiment_names():
        mask = load_experiment(name).mask
        assert (mask.tau is None) == (mask.by == "random"), name
    assert [load_experiment(f"ntu{n}-xsub-mamp").mask.tau for n in (60, 120)] == [0.8, 0.75]
    layers = {
        name: load_experiment(f"{name}-mamp").model.decoder_layers for name in ("ntu60-xview", "ntu120-xset")
    }
    assert layers == {"ntu60-xview": 3, "ntu120-xset": 5}
