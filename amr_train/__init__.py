"""amr-train: pre-training and evaluation of AMR (Adaptive Masked Reconstruction, CVPR 2026) and its rivals on
converted datasets."""

from amr_train.config import Experiment
from amr_train.data.batching import Batch
from amr_train.data.clips import ClipDataset
from amr_train.deploy.mamp import import_mamp
from amr_train.deploy.predicting import embed, predict
from amr_train.evaluation.evaluating import evaluate, evaluate_encoder
from amr_train.evaluation.protocols import Protocol, Result
from amr_train.evaluation.task import Task
from amr_train.experiments.loading import experiment_names, load_experiment
from amr_train.experiments.running import run_experiment
from amr_train.listening import Listener
from amr_train.models.files import ClipEncoder
from amr_train.models.masked import MaskedReconstruction
from amr_train.models.method import Method
from amr_train.training.encoders import load_encoder

__all__ = [
    "Batch",
    "ClipDataset",
    "ClipEncoder",
    "Experiment",
    "Listener",
    "MaskedReconstruction",
    "Method",
    "Protocol",
    "Result",
    "Task",
    "embed",
    "evaluate",
    "evaluate_encoder",
    "experiment_names",
    "import_mamp",
    "load_encoder",
    "load_experiment",
    "predict",
    "run_experiment",
]
