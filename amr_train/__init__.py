"""amr-train: pre-training and evaluation of AMR (Adaptive Masked Reconstruction, CVPR 2026) and its rivals on converted datasets."""

from amr_train.config import Experiment
from amr_train.dataset import ClipDataset
from amr_train.encoders import ClipEncoder, load_encoder
from amr_train.evaluation import evaluate_encoder
from amr_train.loading import experiment_names, load_experiment
from amr_train.mamp_import import import_mamp
from amr_train.run import run_experiment

__all__ = [
    "ClipDataset",
    "ClipEncoder",
    "Experiment",
    "evaluate_encoder",
    "experiment_names",
    "import_mamp",
    "load_encoder",
    "load_experiment",
    "run_experiment",
]
