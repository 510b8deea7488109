"""amr-train: pre-training and evaluation of AMR (Adaptive Masked Reconstruction, CVPR 2026) on converted datasets."""

from amr_train.config import Experiment, experiment_names, load_experiment
from amr_train.dataset import ClipDataset
from amr_train.run import run_experiment

__all__ = ["ClipDataset", "Experiment", "experiment_names", "load_experiment", "run_experiment"]
