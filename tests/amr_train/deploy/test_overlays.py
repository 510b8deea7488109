"""What a model is shown and makes of it, as scenes."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from amr_cli.data import main
from amr_data import UsageError, open_dataset
from amr_train import load_experiment, run_experiment
from amr_train.deploy.overlays import model_scenes, restored
from amr_train.models.masked import MaskedReconstruction
from amr_train.models.targets import make_target
from tests.amr_train.runs import small


@pytest.fixture(scope="module")
def run(ntu_shards, tmp_path_factory):
    folder = tmp_path_factory.mktemp("overlay") / "run"
    run_experiment(small(ntu_shards, "pretrain.epochs=2"), folder)
    return folder


@pytest.mark.parametrize("method", ["amr", "mae", "mamp", "subset", "pooled"])
@pytest.mark.parametrize("normalize", ["none", "patch", "clip"])
@pytest.mark.parametrize("kind", ["joints", "motion", "both"])
def test_a_perfect_prediction_gives_the_input_back(method, normalize, kind):
    size = [
        "model.frames=24",
        "model.target_ratio=2",
        "model.width=16",
        "model.encoder_layers=1",
        "model.decoder_layers=1",
    ]
    size = [s for s in size if method in ("amr", "subset", "pooled") or "ratio" not in s]
    experiment = load_experiment(
        f"ntu60-xsub-{method}",
        [*size, f"target.normalize={normalize}", f"target.kind={kind}", "guidance.windows=[4,8]"],
    )
    model = MaskedReconstruction(experiment, 25, (4, 8, 12))
    joints = torch.randn(2, 24, 25, 3, generator=torch.Generator().manual_seed(0)).cumsum(dim=1) * 0.1
    target = make_target(joints, experiment.target, model.patch_frames)
    torch.testing.assert_close(restored(model, joints, target, None), joints, atol=2e-4, rtol=0)
    which = torch.tensor([[1, 5, 7], [0, 3, 30]])
    some = target.gather(1, which[..., None].expand(-1, -1, target.shape[-1]))
    torch.testing.assert_close(restored(model, joints, some, which), joints, atol=2e-4, rtol=0)
    wrong = restored(model, joints, some + 1, which)
    assert (wrong - joints).abs().max() > 0.01


def test_mask_reconstruction_and_layers_of_a_run(run, ntu_shards):
    dataset = open_dataset(ntu_shards)
    index = int(np.flatnonzero(dataset.clips["bodies"] == 2)[0])
    (scene,) = model_scenes(run, dataset, [index], seed=3)
    assert [p.title for p in scene.panels] == ["input", "what stays visible", "reconstruction"]
    shape = (2, 24, 25)
    assert {p.joints.shape for p in scene.panels} == {(*shape, 3)}
    seconds = dataset.clips["frames"][index] / dataset.spec.frame_rate
    assert scene.frames / scene.frame_rate == pytest.approx(
        0.95 * seconds
    )  # as long as the part that is shown
    assert (scene.panels[0].marked == np.isfinite(scene.panels[1].joints[..., 0])).all()
    assert [p.ghost for p in scene.panels] == [False, False, True]
    assert scene.layer("masked").states == ("visible", "masked")
    masked = scene.layer("masked").values
    assert (np.isfinite(scene.panels[1].joints[..., 0]) == (masked == 0)).all()
    experiment = load_experiment(str(_written(run)))
    assert masked.mean() == pytest.approx(experiment.mask.ratio, abs=0.02)
    error = np.linalg.norm(scene.panels[2].joints - scene.panels[0].joints, axis=-1) * 1000
    np.testing.assert_allclose(scene.layer("error").values, error, atol=1e-2)
    assert error.max() > 0
    assert scene.layer("focal").values.shape == shape
    (same,) = model_scenes(run, dataset, [index], seed=3)
    (other,) = model_scenes(run, dataset, [index], seed=4)
    assert (same.layer("masked").values == masked).all()
    assert (other.layer("masked").values != masked).any()


def test_a_run_whose_views_agree_is_shown_too(ntu_shards, tmp_path):
    """Its checkpoints hold a projector and a teacher beside encoder and decoder."""
    agreement = [f"agreement.{key}" for key in ("contrast=0.1", "teacher=0.1", "layers=1")]
    run_experiment(
        small(ntu_shards, "pretrain.epochs=2", "evaluation.protocols=[]", *agreement), tmp_path / "run"
    )
    (scene,) = model_scenes(tmp_path / "run", open_dataset(ntu_shards), [0])
    assert scene.panels[-1].title == "reconstruction"


@pytest.mark.parametrize("landmarks", ["spec", "limbs"])
@pytest.mark.parametrize("bodies", ["together", "each"])
def test_a_body_is_drawn_where_its_path_has_led_it(ntu_shards, tmp_path, bodies, landmarks):
    """Drawn along its path, the main actor is where the first frame's centre shows it; the other one stands
    beside it, or, placed by itself, turned as the main actor is and where it is from there. Placed by its
    hips, the joint that shows the path has a place in the body besides."""
    dataset, drawn = open_dataset(ntu_shards), {}
    index = int(np.flatnonzero(dataset.clips["bodies"] == 2)[0])
    for centre in ("first", "path"):
        shown = [f"input.centre={centre}", f"input.landmarks={landmarks}", "guidance.source=online"]
        shown += [f"input.bodies={bodies}"] if centre == "path" else []
        shown += ["evaluation.protocols=[]"]
        run_experiment(small(ntu_shards, "pretrain.epochs=2", *shown), tmp_path / centre)
        (scene,) = model_scenes(tmp_path / centre, dataset, [index])
        drawn[centre] = scene.panels[0].joints
        assert np.isfinite(scene.panels[-1].joints).any()
    np.testing.assert_allclose(drawn["path"], drawn["first"], atol=2e-5)


def test_an_experiment_alone_draws_its_mask(ntu_shards):
    dataset = open_dataset(ntu_shards)
    (scene,) = model_scenes("ntu60-xsub-mamp", dataset, [0])
    assert [p.title for p in scene.panels] == ["input", "what stays visible"]
    assert scene.layer("masked").values.mean() == pytest.approx(0.9, abs=0.01)
    with pytest.raises(UsageError, match="there is no layer 'error'"):
        scene.layer("error")


def test_from_the_command_line(run, ntu_shards, tmp_path):
    words = ["inspect", str(ntu_shards), "--clip", "0", "--run", str(run)]
    done = CliRunner().invoke(
        main, [*words, "--html", str(tmp_path / "clip.html"), "--png", str(tmp_path / "clip.png"), "--json"]
    )
    assert done.exit_code == 0, done.output
    assert "reconstruction" in (tmp_path / "clip.html").read_text()
    wrong = CliRunner().invoke(main, [*words[:-1], str(tmp_path)])
    assert wrong.exit_code == 2
    assert "neither a run's folder nor an experiment" in wrong.stderr.replace("\n", " ")


def test_a_run_without_a_readable_checkpoint(run, ntu_shards, tmp_path):
    import shutil

    shutil.copytree(run, tmp_path / "run")
    for checkpoint in (tmp_path / "run" / "checkpoints").glob("*.pt"):
        checkpoint.write_bytes(b"")
    with pytest.raises(UsageError, match="no checkpoint that can be read"):
        model_scenes(tmp_path / "run", open_dataset(ntu_shards), [0])


def _written(run):
    """The run's settings as a file that load_experiment takes."""
    path = run / "settings.yaml"
    settings = json.loads((run / "run.json").read_text())["experiment"]
    path.write_text(json.dumps(settings))
    return path
