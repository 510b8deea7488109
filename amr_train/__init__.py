"""amr-train: pre-training and evaluation of AMR (Adaptive Masked Reconstruction, CVPR 2026) and its rivals on
converted datasets."""

from amr_train.config import Experiment
from amr_train.data.clips import ClipDataset
from amr_train.deploy.mamp import import_mamp
from amr_train.evaluation.evaluate_old import evaluate_encoder
from amr_train.experiments.loading import experiment_names, load_experiment
from amr_train.experiments.running import run_experiment
from amr_train.models.files import ClipEncoder, load_encoder

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
