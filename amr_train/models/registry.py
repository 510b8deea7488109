"""A method by its name: a shipped one, one of an entry point, or a class in a file of one's own."""

from __future__ import annotations

from amr_data.extensions import load_extension
from amr_train.config import Experiment
from amr_train.models.agreeing import AgreeingViews
from amr_train.models.masked import MaskedReconstruction
from amr_train.models.method import Method

GROUP = "amr_train.methods"


def make_method(experiment: Experiment, joints: int, windows: tuple[int, ...]) -> Method:
    """The method that an experiment names, with fresh weights. Raises: UsageError where there is none of that
    name, or what is there is no method."""
    kind = load_extension(GROUP, experiment.method, Method)  # type: ignore[type-abstract]
    shipped = AgreeingViews if experiment.agreement.asked else MaskedReconstruction
    return (kind or shipped)(experiment, joints, windows)
