"""Registers and rotary time: against the encoder written out in complex numbers, what attention can know of
time, and that the defaults change nothing."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from amr_train.config import Experiment, FinetuneConfig, ModelConfig
from amr_train.evaluation.finetuning import Classifier, layer_groups
from amr_train.evaluation.subjects import encoder_settings
from amr_train.experiments.loading import load_experiment
from amr_train.identity import training_digest
from amr_train.models.encoder import SkeletonEncoder
from amr_train.models.files import EncoderConfig
from amr_train.models.layers import Attention, Rotary, turned
from amr_train.models.masked import MaskedReconstruction
from tests.amr_train.models.test_models import WINDOWS, clips_of, noise_of, small

JOINTS = 5
DECODERS = ("decoupled", "self-attention", "grid", "subset", "pooled")


def encoder_of(**model) -> SkeletonEncoder:
    torch.manual_seed(0)
    return SkeletonEncoder(small(**model).model, JOINTS).double()


def in_complex(values: Tensor, times: list[float]) -> Tensor:
    """values (N, width) of one head as complex numbers (N, width / 2), turned by the times in segments; base
    100."""
    half = values.shape[1] // 2
    pairs = torch.complex(values[:, :half], values[:, half:])
    angles = [[time * 100 ** (-i / half) for i in range(half)] for time in times]
    return pairs * torch.exp(1j * torch.tensor(angles, dtype=torch.float64))


def written_out(encoder: SkeletonEncoder, joints: Tensor, numbers: list[int], seen: list[bool]) -> Tensor:
    """The features of the tokens `numbers` of one body (T, V, 3), token by token; `seen`, whether each may be
    attended to."""
    config, weights = encoder.config, encoder.state_dict()

    def linear(name: str, x: Tensor) -> Tensor:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(name: str, x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    rows, times = [], []
    for register in range(config.registers):
        rows.append(weights["registers"][0, register])
        times.append(0.0)
    for number in numbers:
        segment, joint = divmod(number, JOINTS)
        patch = joints[segment * config.segment : (segment + 1) * config.segment, joint].reshape(-1)
        place = weights["position.joint"][0, 0, joint]
        if config.time == "learnt":
            place = place + weights["position.time"][0, segment, 0]
        rows.append(linear("embed", patch) + place)
        times.append(float(segment) if config.time == "rotary" else 0.0)
    x, allowed = torch.stack(rows), [True] * config.registers + seen
    size = config.width // config.heads
    for layer in range(config.encoder_layers):
        query, key, value = linear(f"blocks.{layer}.attn.qkv", norm(f"blocks.{layer}.norm1", x)).chunk(3, 1)
        mixed = torch.zeros_like(x)
        for head in range(config.heads):
            part = slice(head * size, (head + 1) * size)
            asking, asked = in_complex(query[:, part], times), in_complex(key[:, part], times)
            logits = (asking @ asked.conj().T).real / math.sqrt(size)
            logits[:, [not there for there in allowed]] = -math.inf
            mixed[:, part] = logits.softmax(1) @ value[:, part]
        x = x + linear(f"blocks.{layer}.attn.proj", mixed)
        hidden = torch.nn.functional.gelu(linear(f"blocks.{layer}.mlp.0", norm(f"blocks.{layer}.norm2", x)))
        x = x + linear(f"blocks.{layer}.mlp.2", hidden)
    return norm("norm", x)[config.registers :]


@pytest.mark.parametrize("registers", [0, 3])
@pytest.mark.parametrize("time", ["learnt", "rotary"])
def test_the_encoder_written_out_in_complex_numbers(registers, time):
    """Visible tokens in any order, and whole clips of a body that is not there all the time."""
    encoder = encoder_of(registers=registers, time=time)
    joints = clips_of(2).double()
    visible = torch.tensor([[17, 3, 29, 8], [0, 26, 11, 12]])
    present = torch.ones(2, 24, dtype=torch.bool)
    present[1, 9:] = False  # three segments of six are left
    with torch.no_grad():
        masked, whole = encoder(joints, visible), encoder(joints, present=present)
    assert (masked.shape, whole.shape) == ((2, 4, 32), (2, 30, 32))
    for s in range(2):
        numbers = visible[s].tolist()
        # the table of angles is kept in float32
        expected = written_out(encoder, joints[s], numbers, [True] * 4)
        torch.testing.assert_close(masked[s], expected, atol=1e-6, rtol=1e-6)
        seen = [bool(present[s, n // JOINTS * 4 : n // JOINTS * 4 + 4].any()) for n in range(30)]
        expected = written_out(encoder, joints[s], list(range(30)), seen)
        torch.testing.assert_close(whole[s], expected, atol=1e-6, rtol=1e-6)


def test_logits_depend_on_the_time_difference_alone():
    generator = torch.Generator().manual_seed(0)
    query, key = torch.randn(2, 1, 1, 1, 16, generator=generator).double()
    turn = Rotary(torch.arange(30), 16).double()

    def logit(a: int, b: int) -> float:
        rows = turn(torch.tensor([[a, b]]))
        return float((turned(query, rows[:, :, :1]) * turned(key, rows[:, :, 1:])).sum())

    assert logit(0, 0) == pytest.approx(float((query * key).sum()), abs=1e-6)
    for difference in (-7, -1, 0, 1, 12):
        found = [logit(a, a + difference) for a in range(max(0, -difference), 30 - max(0, difference))]
        assert max(found) - min(found) < 1e-5
    assert logit(0, 1) != pytest.approx(logit(1, 0), abs=1e-3)  # it knows before from after
    assert logit(0, 1) != pytest.approx(logit(0, 2), abs=1e-3)


def test_an_encoder_of_rotary_time_knows_differences_and_with_registers_moments():
    """The same patches two segments later: the same features, unless something does not turn."""
    joints, later = clips_of(1).double(), torch.zeros(1, 24, JOINTS, 3, dtype=torch.float64)
    later[:, 8:] = joints[:, :-8]
    visible = torch.tensor([[0, 8, 14]])
    for registers, alike in ((0, True), (2, False)):
        encoder = encoder_of(time="rotary", registers=registers)
        with torch.no_grad():
            difference = (encoder(later, visible + 2 * JOINTS) - encoder(joints, visible)).abs().max()
        assert bool(difference < 1e-5) == alike
    learnt = encoder_of()
    assert (learnt(later, visible + 2 * JOINTS) - learnt(joints, visible)).abs().max() > 1e-3


def test_registers_see_and_are_seen_whatever_is_absent():
    encoder = encoder_of(registers=2)
    present = torch.zeros(1, 24, dtype=torch.bool)
    present[0, :4] = True
    joints = clips_of(1).double()
    with torch.no_grad():
        before = encoder(joints, present=present)
        encoder.registers[0, 1] += torch.linspace(-1, 1, 32)
        after = encoder(joints, present=present)
        joints[:, 4:] += 5  # what stands in for the absent body
        again = encoder(joints, present=present)
    assert ((after - before).abs().amax(-1) > 1e-4).all()
    torch.testing.assert_close(again[:, :JOINTS], after[:, :JOINTS], atol=1e-12, rtol=0)


def order_of(*first: int) -> torch.Tensor:
    """(1, 30) all tokens, these first."""
    return torch.tensor([[*first, *(token for token in range(30) if token not in first)]])


def test_the_decoupled_decoder_asks_by_the_middle_of_a_patch():
    """Rotary features do not say when they are, their angles do: as far from the middle of the patch that is
    asked for."""
    torch.manual_seed(0)
    model = MaskedReconstruction(small(time="rotary"), JOINTS, WINDOWS).double()
    features, order = torch.randn(1, 2, 32, dtype=torch.float64), order_of(2, 22)
    with torch.no_grad():
        model.decoder.position.time.zero_()  # then nothing but the angles knows a patch's time
        there = model.decoder(features, order)[0]
        swapped = model.decoder(features, order_of(22, 2))[0]
        # r = 3: patches around segments 1 and 4
        low = model.decoder(features, order_of(2, 12))[0]  # segments 0, 2, from 1: -1, 1
        high = model.decoder(features, order_of(17, 27))[0]  # segments 3, 5, from 4: -1, 1
    assert (there - swapped).abs().max() > 1e-4
    torch.testing.assert_close(low[:, :JOINTS], high[:, JOINTS:], atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("decoder", DECODERS)
def test_compact_tokens_with_every_decoder_and_ratio(decoder):
    """64 frames in patches of 8: every ratio that divides 8 segments, energies in windows that divide 64
    frames, and every weight learns."""
    for ratio in (1,) if decoder == "grid" else (2, 4, 8) if decoder == "subset" else (1, 2, 4, 8):
        sizes = {"width": 16, "heads": 2, "encoder_layers": 1, "decoder_layers": 1, "target_ratio": ratio}
        compact = {"frames": 64, "segment": 8, "registers": 2, "time": "rotary", "decoder": decoder}
        settings = {"name": "x", "model": {**sizes, **compact}, "guidance": {"windows": [4, 8, 16]}}
        for source in ("online", "shard"):
            settings["guidance"]["source"] = source
            model = MaskedReconstruction(Experiment.model_validate(settings), JOINTS, (4, 8, 16))
            energy = torch.rand(3, 64, JOINTS, 3) if source == "shard" else None
            loss, _ = model(clips_of(3, 64), noise_of(3, 40), energy)
            assert loss.shape == (3,)
            loss.mean().backward()
            for name, parameter in model.named_parameters():
                assert parameter.grad is not None, name
                assert torch.isfinite(parameter.grad).all(), name
                assert parameter.grad.any(), name


@pytest.mark.parametrize("decoder", DECODERS)
def test_defaults_are_what_they_were(decoder):
    """Numbers of the release before these settings."""
    features, losses = {
        "decoupled": (1493.43103, [24.2638378, 20.7980347]),
        "self-attention": (1493.43103, [21.6543274, 23.4398918]),
        "grid": (1493.43103, [1.71029592, 1.98433411]),
        "subset": (1493.43103, [2.0457375, 1.72787416]),
        "pooled": (1493.43103, [22.6932659, 23.0669746]),
    }[decoder]
    torch.manual_seed(0)
    config = small(decoder=decoder, target_ratio=1 if decoder == "grid" else 3)
    model = MaskedReconstruction(config, JOINTS, WINDOWS)
    present = torch.ones(2, 24, dtype=torch.bool)
    present[1, 12:] = False
    with torch.no_grad():
        assert float(model.encoder(clips_of(2), present=present).abs().sum()) == pytest.approx(
            features, rel=1e-5
        )
        assert model(clips_of(2), noise_of(2), present=present)[0].tolist() == pytest.approx(losses, rel=1e-4)


def test_all_else_begins_alike_and_nothing_is_kept_of_the_angles():
    plain, other = encoder_of().state_dict(), encoder_of(registers=2, time="learnt").state_dict()
    assert set(other) == {*plain, "registers"}
    for name, value in plain.items():
        assert torch.equal(value, other[name]), name
    assert set(encoder_of(time="rotary").state_dict()) == set(plain) - {"position.time"}


def test_defaults_are_no_part_of_what_a_record_keeps():
    plain = EncoderConfig(model=ModelConfig(), joints=25, skeleton="kinect_v2")
    shown = ("frames", "segment", "width", "heads", "mlp_ratio", "encoder_layers")
    assert list(encoder_settings(plain)) == list(shown)
    new = plain.model_copy(update={"model": ModelConfig(registers=4, time="rotary")})
    assert {**encoder_settings(plain), "registers": 4, "time": "rotary"} == encoder_settings(new)
    digests = {
        training_digest(load_experiment("demo", settings))
        for settings in (
            [],
            ["model.registers=0", "model.time=learnt"],
            ["model.registers=1"],
            ["model.time=rotary"],
        )
    }
    assert len(digests) == 3


def test_registers_are_trained_as_embeddings_are():
    config = FinetuneConfig(layer_decay=0.5)
    model = Classifier(SkeletonEncoder(small(registers=2).model, JOINTS), 3, config)
    (group,) = (
        g for g in layer_groups(model, config) if any(p is model.encoder.registers for p in g["params"])
    )
    assert any(p is model.encoder.position.joint for p in group["params"])
    assert group["scale"] == 0.5**3


def test_what_is_turned_keeps_its_precision_and_length():
    values = torch.randn(2, 4, 6, 8, dtype=torch.bfloat16)
    turn = Rotary(torch.arange(6), 8)()
    found = turned(values, turn)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found, turned(values.float(), turn).bfloat16())
    lengths = turned(values.float(), turn).norm(dim=-1)
    torch.testing.assert_close(lengths, values.float().norm(dim=-1))
    attention = Attention(32, 4)
    with torch.autocast("cpu", torch.bfloat16):
        assert attention(torch.randn(2, 6, 32), turn=turn).dtype == torch.bfloat16


def test_pairs_need_an_even_width_of_a_head():
    with pytest.raises(
        ValueError, match=r"time=rotary turns pairs of values: width / heads \(3\) must be even"
    ):
        ModelConfig(width=24, heads=8, time="rotary")
    assert ModelConfig(width=24, heads=8).time == "learnt"


def test_an_encoder_for_fewer_joints_is_the_same_that_sees_these_alone():
    """As transfer between skeletons makes it."""
    encoder = encoder_of(registers=2, time="rotary")
    rows = [3, 0, 4]
    weights = encoder.state_dict()
    weights["position.joint"] = weights["position.joint"][:, :, rows]
    fewer = SkeletonEncoder(encoder.config, 3).double()
    fewer.load_state_dict(weights)
    joints = clips_of(1).double()
    visible = torch.tensor([[step * JOINTS + row for step in range(6) for row in rows]])
    with torch.no_grad():
        torch.testing.assert_close(fewer(joints[:, :, rows]), encoder(joints, visible), atol=1e-6, rtol=1e-6)
