"""What focal weights do to the loss of a finished run: `python -m benchmarks.focal RUN DATASET`.

Target patches of the test part by how much their joint moves, against the sequence's mean: the error that is
left, the weight, and the share of the loss with and without weights.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import torch

from amr_data import open_dataset
from amr_train.data.feed import Feed
from amr_train.evaluation.parts import only_split
from amr_train.identity import recorded_experiment
from amr_train.models.guidance import online_weights, window_energy
from amr_train.models.masked import MaskedReconstruction
from amr_train.models.targets import make_target, patchify
from amr_train.training.checkpoints import list_checkpoints, load_state
from amr_train.training.folder import RUN, read_record

QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
STRENGTHS = (0.001, 0.01, 0.1, 1.0)


def main(run: Path, data: Path) -> None:
    experiment, dataset = recorded_experiment(read_record(run / RUN), run / RUN), open_dataset(data)
    model = MaskedReconstruction(experiment, len(dataset.spec.skeleton.joints), dataset.windows).eval()
    model.load_state_dict(load_state(list_checkpoints(run / "checkpoints")[-1], torch.device("cpu"))["model"])
    split = only_split(dataset, experiment.data.split)
    feed = Feed(dataset.arrays(dataset.split(split, "test")), torch.device("cpu"), experiment.model.frames)
    joints = feed.batch(
        feed.train_views(len(feed), experiment.augment, torch.Generator().manual_seed(0)), 0
    ).joints
    noise = torch.rand(len(joints), model.encoder.tokens, generator=torch.Generator().manual_seed(1))
    order = noise.argsort(dim=1)
    with torch.no_grad():
        predicted, which = model.decoder(model.encoder(joints, order[:, : model.visible]), order)
        assert which is None, "a method that predicts every patch, such as amr or amr-no-focal"
        error = (
            (predicted - make_target(joints, experiment.target, model.patch_frames)).square().mean(dim=-1)
        )  # (S, P)
    energy = window_energy(joints, model.patch_frames).flatten(1)
    ratio = energy / energy.mean(dim=1, keepdim=True).clamp(min=1e-12)
    weights = {
        k: patchify(
            online_weights(joints, experiment.guidance.windows, k)[..., None], model.patch_frames
        ).mean(dim=-1)
        for k in STRENGTHS
    }
    edges = torch.quantile(ratio.flatten(), torch.tensor(QUANTILES)).tolist()
    print(f"error over all patches {error.mean():.3f}")
    print(
        "| patches by e / e_t | motion, mm rms | error | share of the loss |"
        + "".join(f" k = {k:g}: weight, share |" for k in STRENGTHS)
    )
    for (low, high), (a, b) in zip(itertools.pairwise(edges), itertools.pairwise(QUANTILES), strict=True):
        here = (ratio >= low) & (ratio <= high)
        cells = [
            f"{a:.0%} to {b:.0%}: {low:.3f} to {high:.3f}",
            f"{energy[here].mean().sqrt() * 1000:.0f}",
            f"{error[here].mean():.2f}",
        ]
        cells.append(f"{error[here].sum() / error.sum():.0%}")
        cells += [
            f"{w[here].mean():.2f}, {(error * w)[here].sum() / (error * w).sum():.0%}"
            for w in weights.values()
        ]
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
