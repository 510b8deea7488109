"""Encoders as files and modules, and published MAMP checkpoints as encoders."""

from __future__ import annotations

import argparse
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from amr_data import AmrError, UsageError, open_dataset
from amr_train import evaluate_encoder, import_mamp, load_encoder, run_experiment
from amr_train.config import EvaluationConfig, LinearConfig
from amr_train.data.feed import Feed
from amr_train.evaluation.features import encode
from amr_train.models.files import as_sequences
from tests.amr_train.runs import small

FAST = EvaluationConfig(linear=LinearConfig(epochs=3))


@pytest.fixture(scope="module")
def run(ntu_shards, tmp_path_factory):
    out = tmp_path_factory.mktemp("encoders") / "run"
    results = run_experiment(small(ntu_shards, "pretrain.epochs=2"), out)
    return out, results


def test_features_of_whole_clips_are_those_of_the_probe(run, ntu_shards):
    """Every clip, of one body and of two, also of bodies that are there for different times, against the
    trainer's own features of the uncropped view."""
    encoder = load_encoder(run[0])
    dataset = open_dataset(ntu_shards)
    feed = Feed(dataset.arrays(np.arange(len(dataset))), torch.device("cpu"), 24)
    expected = encode(encoder.encoder, feed, feed.centre_views(16, 1.0))
    uneven = 0
    for index in range(len(feed)):
        clip = dataset.clip(index)
        uneven += len({len(track.frames) for track in clip.tracks}) > 1
        joints = torch.from_numpy(clip.dense(2))[None]
        torch.testing.assert_close(encoder(joints)[0], expected["mean"][index], atol=1e-5, rtol=1e-4)
        kept = encoder.joint_features(joints).flatten()
        torch.testing.assert_close(kept, expected["joints"][index], atol=1e-5, rtol=1e-4)
    assert uneven > 0


@pytest.mark.parametrize("frames", [24, 50])
def test_what_stands_in_for_an_absent_frame_changes_no_feature(run, frames):
    encoder = load_encoder(run[0])
    joints = torch.randn(1, 2, frames, 25, 3)
    joints[0, 1, frames // 2 :] = 0
    flat, present, _, _ = as_sequences(joints, encoder.config, 24)
    tokens = encoder.encoder(flat, present=present)
    flat[1, 13:] += 3.0  # frame 12 may share a segment with frames that are there
    again = encoder.encoder(flat, present=present)
    shown = torch.arange(150) // 25 < 3
    torch.testing.assert_close(tokens[1, shown], again[1, shown], atol=1e-5, rtol=1e-5)


def test_shapes_and_absent_bodies(run):
    encoder = load_encoder(run[0])
    joints = torch.randn(2, 2, 50, 25, 3)
    joints[1, 1] = 0
    assert encoder.tokens(joints).shape == (2, 2, 6, 25, 16)
    features = encoder(joints)
    assert features.shape == (2, 16)
    torch.testing.assert_close(features[1:], encoder(joints[1:, :1]))
    assert not encoder(torch.zeros(1, 2, 24, 25, 3)).any()
    assert not encoder.training
    assert (encoder.config.skeleton, encoder.config.dataset, encoder.config.method) == (
        "kinect_v2",
        "ntu60",
        "amr",
    )
    for wrong in ((2, 50, 25, 3), (1, 1, 24, 20, 3), (1, 1, 0, 25, 3), (1, 1, 24, 25, 2)):
        with pytest.raises(UsageError, match=r"takes \(B, M, T, 25, 3\)"):
            encoder(torch.zeros(wrong))


def test_an_encoder_on_a_dataset_has_the_accuracies_of_its_run(run, ntu_shards):
    out, results = run
    settings = small(ntu_shards).evaluation
    found = evaluate_encoder(out, ntu_shards, "xsub", settings=settings)
    figures = [(r["subject"]["kind"], r["protocol"], r["figures"]) for r in found]
    assert figures == [(r["subject"]["kind"], r["protocol"], r["figures"]) for r in results["evaluations"]]
    assert {kind for kind, _, _ in figures} == {"encoder", "untrained", "coordinates"}
    with pytest.raises(UsageError, match="there is no split 'xset'"):
        evaluate_encoder(out, ntu_shards, "xset")


def test_files_that_are_no_encoder(run, tmp_path):
    good = run[0] / "encoder.safetensors"
    with pytest.raises(UsageError, match="no encoder at"):
        load_encoder(tmp_path)
    path = tmp_path / "e.safetensors"
    path.write_bytes(good.read_bytes()[:300])
    with pytest.raises(AmrError, match="not an encoder that can be read"):
        load_encoder(path)
    save_file(load_file(good), path)
    with pytest.raises(AmrError, match="says nothing about their model"):
        load_encoder(path)
    save_file(load_file(good), path, {"amr_encoder": json.dumps({"model": {"width": 16}})})
    with pytest.raises(AmrError, match="not an encoder"):
        load_encoder(path)


class TheirBlock(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = nn.ModuleDict({"qkv": nn.Linear(width, 3 * width), "proj": nn.Linear(width, width)})
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)})

    def forward(self, x):
        query, key, value = self.attn["qkv"](self.norm1(x)).chunk(3, dim=-1)
        parts = []
        for q, k, v in zip(*(t.chunk(self.heads, dim=-1) for t in (query, key, value)), strict=True):
            parts.append(torch.softmax(q @ k.transpose(1, 2) / q.shape[-1] ** 0.5, -1) @ v)
        x = x + self.attn["proj"](torch.cat(parts, -1))
        return x + self.mlp["fc2"](torch.nn.functional.gelu(self.mlp["fc1"](self.norm2(x))))


class TheirEncoder(nn.Module):
    """MAMP's encoder by its published names: a convolution as patch embedding, two added embeddings, blocks,
    norm."""

    def __init__(self, frames=24, joints=25, width=32, layers=2, heads=4) -> None:
        super().__init__()
        self.joints_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, (4, 1), (4, 1))})
        self.temp_embed = nn.Parameter(torch.randn(1, frames // 4, 1, width))
        self.pos_embed = nn.Parameter(torch.randn(1, 1, joints, width))
        self.blocks = nn.ModuleList(TheirBlock(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, joints):
        x = self.joints_embed["proj"](joints.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)  # (S, T / 4, V, D)
        x = (x + self.temp_embed + self.pos_embed).flatten(1, 2)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_an_imported_mamp_encoder_computes_what_the_published_one_does(tmp_path, ntu_shards, prefix):
    torch.manual_seed(0)
    theirs = TheirEncoder().eval()
    weights = {prefix + name: value for name, value in theirs.state_dict().items()}
    decoder = {
        prefix + "decoder_embed.weight": torch.randn(3, 3),
        prefix + "mask_token": torch.zeros(1, 1, 32),
    }
    path = tmp_path / "mamp.pth"
    torch.save({"model": {**weights, **decoder}, "epoch": 400, "args": argparse.Namespace(lr=1e-3)}, path)
    import_mamp(path, tmp_path / "out.safetensors", heads=4)
    ours = load_encoder(tmp_path / "out.safetensors")
    joints = torch.randn(3, 24, 25, 3)
    with torch.no_grad():
        expected = theirs(joints)
        torch.testing.assert_close(ours.encoder(joints), expected, atol=1e-5, rtol=1e-5)
        # published pipelines average over the empty second body as well
        empty = theirs(torch.zeros(3, 24, 25, 3))
        clips = torch.stack([joints, torch.zeros_like(joints)], dim=1)
        torch.testing.assert_close(ours(clips), (expected.mean(1) + empty.mean(1)) / 2, atol=1e-5, rtol=1e-4)
    found = evaluate_encoder(tmp_path / "out.safetensors", ntu_shards, "xsub", settings=FAST)
    assert {record["subject"]["kind"] for record in found} == {"encoder", "untrained", "coordinates"}
    assert all(0 <= value <= 100 for record in found for value in record["figures"].values())


def test_what_is_no_mamp_checkpoint_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (type(tmp_path).touch, (tmp_path / "touched",))

    good = TheirEncoder().state_dict()
    cases = [
        (UsageError, "no checkpoint at", None),
        (AmrError, "cannot be read as weights", {"model": {"x": Evil()}}),
        (AmrError, "holds no weights", {"model": 5}),
        (AmrError, "not a MAMP checkpoint", {"model": {"a": torch.zeros(2)}}),
        (AmrError, "it is another model's", {"model": {**good, "gcn.weight": torch.zeros(1)}}),
        (AmrError, "does not fit", {"model": {k: v for k, v in good.items() if k != "norm.weight"}}),
        (UsageError, "see --heads", {"model": good}),
    ]
    for kind, says, content in cases:
        path = tmp_path / "x.pth"
        if content is not None:
            torch.save(content, path)
        with pytest.raises(kind, match=says):
            import_mamp(path, tmp_path / "x.safetensors", heads=5 if "heads" in says else 4)
        assert not (tmp_path / "x.safetensors").exists()
    assert not (tmp_path / "touched").exists()
