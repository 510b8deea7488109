"""Datasets and skeletons as validated data, read from `data_specs/` or from a user's own YAML file."""

from amr_data.errors import unknown
from amr_data.specs.dataset import FIELDS, NO_LABEL, DatasetSpec, plain_name
from amr_data.specs.loading import (
    first_problem,
    load_skeleton,
    load_spec,
    skeleton_names,
    spec_from_json,
    spec_names,
    spec_text,
)
from amr_data.specs.names import Shares, common_vocabulary, name_matrix, names_in, shares_of
from amr_data.specs.skeleton import Skeleton
from amr_data.specs.splits import NAMED, TEST, TRAIN, UNASSIGNED, VALIDATION, Protocol, unfolded
from amr_data.specs.strict import Strict

__all__ = [
    "FIELDS",
    "NAMED",
    "NO_LABEL",
    "TEST",
    "TRAIN",
    "UNASSIGNED",
    "VALIDATION",
    "DatasetSpec",
    "Protocol",
    "Shares",
    "Skeleton",
    "Strict",
    "common_vocabulary",
    "first_problem",
    "load_skeleton",
    "load_spec",
    "name_matrix",
    "names_in",
    "plain_name",
    "shares_of",
    "skeleton_names",
    "spec_from_json",
    "spec_names",
    "spec_text",
    "unfolded",
    "unknown",
]
